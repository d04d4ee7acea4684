package main

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// verbs are the verbs of one installation, as a test calls them.
type verbs struct{ t *testing.T }

// says runs a verb that must go well and say something.
func (v verbs) says(want string, args ...string) string {
	v.t.Helper()
	out, err := verb(v.t, args...)
	if err != nil || !strings.Contains(out, want) {
		v.t.Errorf("%v: %v, want %q in %q", args, err, want, out)
	}
	return out
}

// refuses runs a verb that must say what is wrong, in words for people.
func (v verbs) refuses(want string, args ...string) {
	v.t.Helper()
	out, err := verb(v.t, args...)
	if err == nil || !strings.Contains(out+err.Error(), want) {
		v.t.Errorf("%v: %v, want %q in %q", args, err, want, out)
		return
	}
	for _, inner := range []string{"voices:", "watchlist:", "vault:", "enrol:"} {
		if strings.Contains(err.Error(), inner) {
			v.t.Errorf("%v: %v names the package %s", args, err, inner)
		}
	}
}

// speakers writes a file in which the demo's customer speaks, and one of a second.
func speakers(t *testing.T, dir string) (whole, short string) {
	t.Helper()
	needs.Model(t, config.VoiceModel, "campplus_cn_en_common.pt")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	speech, err := demo.Enrolment()
	if err != nil {
		t.Fatal(err)
	}
	whole, short = filepath.Join(dir, "margaret.wav"), filepath.Join(dir, "short.wav")
	if err = writeFile(whole, func(w io.Writer) error { return wav.Encode(w, speech, wav.MuLaw) }); err != nil {
		t.Fatal(err)
	}
	speech.Channels[0] = speech.Channels[0][:5*speech.Rate]
	if err = writeFile(short, func(w io.Writer) error { return wav.Encode(w, speech, wav.MuLaw) }); err != nil {
		t.Fatal(err)
	}
	return whole, short
}

// onStore does what a server would with what is kept.
func onStore(t *testing.T, do func(*voicestore.Store, voicestore.Actor) error) {
	t.Helper()
	cfg, err := config.Load("")
	if err != nil {
		t.Fatal(err)
	}
	k, err := app.OpenVoices(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err = do(k.Store, voicestore.Actor{Name: "test"}); err != nil {
		t.Error(err)
	}
}

// A voice is looked for, extended, heard, judged, and removed.
func TestVoiceWatch(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(config.EnvData, filepath.Join(dir, "data"))
	whole, short := speakers(t, dir)
	v := verbs{t}
	soon, later := time.Now().AddDate(0, 1, 0).Format(time.DateOnly), time.Now().AddDate(1, 0, 0).Format(time.DateOnly)
	add := func(more ...string) []string {
		return append([]string{"voice", "watch", "add", "--reason", "case 4711", "--basis", "order 8/26"}, more...)
	}
	v.refuses("required", add(whole, "--review", soon)...)
	v.refuses("is over", add(whole, "--review", "2020-01-01", "--expires", later)...)
	v.refuses("nobody would look", add(whole, "--review", later, "--expires", soon)...)
	v.refuses("channels are counted", add(whole, "--review", soon, "--expires", later, "--channel", "0")...)
	v.refuses("more are needed", add(short, "--review", soon, "--expires", later)...)
	out := v.says("On the watch list as ", add(whole, "--review", soon, "--expires", later, "--customer", "LB-9")...)
	_, rest, _ := strings.Cut(out, "On the watch list as ")
	id, _, _ := strings.Cut(rest, " ")
	if list := v.says("case 4711", "voice", "watch", "list"); !strings.Contains(list, id) || !strings.Contains(list, soon) {
		t.Errorf("the list:\n%s", list)
	}
	further := time.Now().AddDate(0, 6, 0).Format(time.DateOnly)
	v.says("", "voice", "watch", "extend", id, "--review", further, "--expires", later)
	v.says(further, "voice", "watch", "list")
	v.refuses("there is no such entry", "voice", "watch", "extend", "none", "--review", further, "--expires", later)

	onStore(t, func(s *voicestore.Store, by voicestore.Actor) error {
		_, err := s.Watch().Hit(t.Context(), by, watchlist.Hit{Watch: id, Call: "call-7", Leg: "customer", LLR: 7.25})
		return err
	})
	hits := strings.Fields(v.says("call-7", "voice", "watch", "hits"))
	hit := ""
	for i, w := range hits {
		if w == "WATCH" {
			hit = hits[i+1]
		}
	}
	v.refuses("confirmed or dismissed", "voice", "watch", "judge", hit, "perhaps")
	v.says("", "voice", "watch", "judge", hit, "confirmed")
	v.refuses("is confirmed", "voice", "watch", "judge", hit, "dismissed")
	v.refuses("--state", "voice", "watch", "hits", "--state", "seen")
	if out = v.says("", "voice", "watch", "hits"); strings.Contains(out, "call-7") {
		t.Errorf("a hit that was judged is open: %s", out)
	}
	v.says("confirmed", "voice", "watch", "hits", "--state", "", "--call", "call-7")
	v.says("", "voice", "watch", "remove", id)
	v.refuses("there is no such entry", "voice", "watch", "remove", id)
	if out = v.says("", "voice", "watch", "list"); strings.Contains(out, id) {
		t.Errorf("still listed: %s", out)
	}
	if out = v.says(id, "voice", "watch", "list", "--removed"); strings.Contains(out, "case 4711") {
		t.Errorf("the reason outlives the voice: %s", out)
	}
	v.says("voice.watch.removed", "audit", "list", "--action", "voice")
}
