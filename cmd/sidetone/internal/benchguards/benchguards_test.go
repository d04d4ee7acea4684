package benchguards

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media/g711"
)

func tone(n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(i)/g711.Rate))
	}
	return x
}

func TestSoundsTakeTheWayOfACall(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		var samples, lost int
		var loudest int16
		next := int64(0)
		if err := carry(tone(10*g711.Rate+7), g711.ALaw, loss, func(f *pcm.Frame) {
			if f.Start != next {
				t.Errorf("a frame at %d, want %d", f.Start, next)
			}
			next = f.End()
			samples += len(f.Samples)
			if f.Flags&pcm.Lost != 0 {
				lost++
			}
			loudest = max(loudest, slices.Max(f.Samples[:]))
		}); err != nil {
			t.Fatal(err)
		}
		if samples < 10*pcm.Rate || samples > 10*pcm.Rate+2*pcm.FrameSamples {
			t.Errorf("loss %v: %d samples of 10 s", loss, samples)
		}
		if loudest < 7500 || loudest > 8600 {
			t.Errorf("loss %v: peak %d, want that of the tone, 8000", loss, loudest)
		}
		if want := int(500 * loss); lost < want/2 || lost > 3*want/2+1 {
			t.Errorf("loss %v: %d of 501 frames concealed", loss, lost)
		}
	}
}

func TestSoundsAreFound(t *testing.T) {
	all, err := Synthetic(nil, 1, time.Second)
	if err != nil || len(all) < 25 {
		t.Errorf("%d kinds, error %v", len(all), err)
	}
	two, err := Synthetic([]string{"hum", "music"}, 1, time.Second)
	if err != nil || len(two) != 2 || two[0].Kind != "hum" || two[1].Kind != "music" {
		t.Errorf("%v, error %v", two, err)
	}
	if _, err := Synthetic([]string{"hum", "moonlight"}, 1, time.Second); err == nil || !strings.Contains(err.Error(), "moonlight") {
		t.Errorf("error %v of an unknown kind", err)
	}

	dir := t.TempDir()
	write := func(name string, a *wav.Audio) {
		t.Helper()
		var b bytes.Buffer
		if err := wav.Encode(&b, a, wav.PCM16); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Recordings(dir, false); err == nil {
		t.Error("an empty folder: no error")
	}
	x := tone(g711.Rate)
	write("dogs/a.wav", &wav.Audio{Rate: pcm.Rate, Channels: [][]int16{x, make([]int16, len(x))}})
	write("plain.WAV", &wav.Audio{Rate: g711.Rate, Channels: [][]int16{x}})
	got, err := Recordings(dir, true)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d recordings, error %v", len(got), err)
	}
	for i, want := range []struct {
		kind    string
		samples int
		peak    int
	}{{"dogs", g711.Rate / 2, 4000}, {filepath.Base(dir), g711.Rate, 8000}} {
		y, err := got[i].load()
		if err != nil {
			t.Fatal(err)
		}
		if got[i].Kind != want.kind || !got[i].Foreign || len(y) != want.samples {
			t.Errorf("%s: %d samples of kind %s, want %d of %s", got[i].Name, len(y), got[i].Kind, want.samples, want.kind)
		}
		if p := int(slices.Max(y)); p < want.peak*9/10 || p > want.peak*11/10 {
			t.Errorf("%s: peak %d, want %d", got[i].Name, p, want.peak)
		}
	}
}

func TestWordsAreCounted(t *testing.T) {
	words := func(n int) []asr.Word {
		out := make([]asr.Word, n)
		for i := range out {
			out[i] = asr.Word{Text: "no", Confidence: 0.5}
		}
		return out
	}
	r := Row{Kind: "x", Seconds: 1800, Speech: 90, Utterances: 2}
	shown := 0
	for _, h := range []asr.Hypothesis{
		{Words: words(3)}, {Words: words(2)}, {Final: true, Words: words(1)}, // two flashed
		{Words: words(1)}, {Final: true}, // another
		{Final: true, Words: words(3)},
	} {
		shown = r.take(&h, shown)
	}
	r.finish()
	if r.Words != 4 || r.Flashed != 3 || r.WordsPerHour != 8 || r.UtterancesPerHour != 4 || r.Speech != 0.05 || r.Confidence != 0.5 {
		t.Errorf("%+v", r)
	}
	all := Total([]Row{r, {Kind: "fr", Foreign: true, Seconds: 9, Words: 99}, {Kind: "y", Seconds: 1800}})
	if all.Words != 4 || all.WordsPerHour != 4 || all.Speech != 0.025 || all.Confidence != 0.5 {
		t.Errorf("total %+v", all)
	}
	var b strings.Builder
	if err := Table(&b, []Row{r, all}, 1); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(b.String()), "\n"); len(lines) != 3 || !strings.Contains(lines[1], "no") || strings.Contains(lines[1], "|") {
		t.Errorf("table:\n%s", b.String())
	}
}

func recogniser(t *testing.T) Recogniser {
	t.Helper()
	dir := filepath.Dir(needs.Model(t, "whisper-tiny.en", "model.bin"))
	for _, f := range []string{"config.json", "tokenizer.json", "vocabulary.txt"} {
		needs.Model(t, "whisper-tiny.en", f)
	}
	m, err := model.Load(os.DirFS(dir), model.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := vad.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	e, err := whisper.New(m, whisper.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return Recogniser{Engine: e, VAD: v}
}

// Minutes of everything but far babble, which is faint speech, make no word.
func TestNobodySpeaksNobodyIsQuoted(t *testing.T) {
	sounds, err := Synthetic(nil, 4, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	sounds = slices.DeleteFunc(sounds, func(s Sound) bool { return s.Kind == "far babble" })
	rows, err := recogniser(t).Run(context.Background(), sounds, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(sounds) {
		t.Errorf("%d rows of %d kinds", len(rows), len(sounds))
	}
	for _, r := range rows {
		if r.Seconds < 9.9 || r.Words > 0 || r.Flashed > 0 {
			t.Errorf("%s: %d words, %d flashed in %.1f s: %q", r.Kind, r.Words, r.Flashed, r.Seconds, r.Texts)
		}
	}
}

// Even where the detector is not asked, the guards let no word through.
func TestGuardsHoldWithoutTheDetector(t *testing.T) {
	sounds, err := Synthetic([]string{"silence", "line noise", "ringback", "busy", "fan", "keyboard", "breath", "music"}, 5, 6*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rec := recogniser(t)
	rec.Forced = true
	rows, err := rec.Run(context.Background(), sounds, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Utterances != 1 || r.Words > 0 {
			t.Errorf("%s: %d utterances, %d words: %q", r.Kind, r.Utterances, r.Words, r.Texts)
		}
	}
}
