package voicecal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/bench/voice"
	"sidetone/internal/leaktest"
	"sidetone/internal/wav"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// level is the sample that fills the recordings of one speaker of the tests.
const level = 200

// recording writes a file of a speaker, of so many seconds.
func recording(t testing.TB, path string, speaker, seconds int) {
	t.Helper()
	x := make([]int16, 16000*seconds)
	for i := range x {
		x[i] = int16(level * (speaker + 1))
	}
	write(t, path, &wav.Audio{Rate: 16000, Channels: [][]int16{x}})
}

func write(t testing.TB, path string, a *wav.Audio) {
	t.Helper()
	var b bytes.Buffer
	if err := wav.Encode(&b, a, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	text(t, path, b.String())
}

func text(t testing.TB, path, s string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
}

// network tells the speakers of the tests apart, less surely the less it hears.
type network struct {
	asked *int
	err   error
}

const dim = 12

func (network) Model() voiceprint.Model { return voiceprint.Model{ID: "test", Dim: dim} }

func (n network) Embed(x []float32) (voiceprint.Embedding, error) {
	if n.asked != nil {
		*n.asked++
	}
	speaker := uint64(math.Round(float64(x[0]) * (1 << 15) / level))
	own := rand.New(rand.NewPCG(speaker, 1))
	// Recordings are alike, so what is heard differs by its length alone.
	now := rand.New(rand.NewPCG(speaker, uint64(len(x))))
	out := make(voiceprint.Embedding, dim)
	for i := range out {
		out[i] = float32(own.NormFloat64() + 0.3*math.Sqrt(160000/float64(len(x)))*now.NormFloat64())
	}
	voiceprint.Unit(out)
	return out, n.err
}

func hearing() Hearing {
	return Hearing{
		Raw: network{}, Policy: voiceprint.DefaultPolicy(), Jobs: 2, Progress: func(int) {},
		Looks: []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second},
	}
}

// eval is evaluation data of some speakers, all with one line.
func eval(t testing.TB, speakers int) string {
	t.Helper()
	root := t.TempDir()
	list := "spk\tsource\tgender\tgroup\n"
	for s := range speakers {
		id := fmt.Sprintf("d%03d", s)
		list += fmt.Sprintf("%s\tx\t%c\tadult\n", id, "mf"[s%2])
		recording(t, filepath.Join(root, "wav", id, "enrol_tel.wav"), s, 20)
		recording(t, filepath.Join(root, "wav", id, "test1_codec.wav"), s, 16)
	}
	text(t, filepath.Join(root, "speakers.tsv"), list)
	text(t, filepath.Join(root, "cohort.tsv"), "id\tsource\tgender\nc001\tx\tf\n")
	recording(t, filepath.Join(root, "cohort", "c001.wav"), speakers, 2)
	return root
}

func TestTrainAndReport(t *testing.T) {
	us, err := Eval(eval(t, 40), false)
	if err != nil {
		t.Fatal(err)
	}
	if u := us[1]; len(us) != 80 || u.Name != "d000/test1_codec.wav" || u.Line != "codec" || u.Gender != "m" || !u.Calls || u.Enrols || !us[0].Enrols {
		t.Fatalf("%d utterances, %+v", len(us), u)
	}
	rs, err := hearing().Hear(t.Context(), us)
	if err != nil {
		t.Fatal(err)
	}
	if r := rs[0]; r.Template == nil || len(r.Looks) != 0 || len(r.Parts) != 4+2 || r.Name != us[0].Name {
		t.Errorf("an enrolment of 20 s: template %v, %d looks, %d parts", r.Template != nil, len(r.Looks), len(r.Parts))
	}
	if r := rs[1]; r.Template != nil || len(r.Looks) != 5 || len(r.Parts) != 3+1 || r.Looks[4].Net != 15*time.Second {
		t.Errorf("a call of 16 s: template %v, %d looks, %d parts", r.Template != nil, len(r.Looks), len(r.Parts))
	}
	p, paths, err := backend.Train(backend.Training{Of: network{}.Model(), Recordings: rs, Data: "tests", Folds: 4})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Report(p, paths, us, 4, []time.Duration{3 * time.Second, 10 * time.Second}, voice.Bootstrap{Rounds: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != p.Space.Model().ID || r.Speakers != 40 || len(r.Rows) != 4 {
		t.Fatalf("%+v", r)
	}
	// Pooled and same gender, at 3 and 10 s: half of the impostors have one gender.
	for i, want := range []struct {
		cut     string
		seconds float64
		n       int
	}{{voice.Pooled, 3, 1560}, {voice.Pooled, 10, 1560}, {voice.SameGender, 3, 760}, {voice.SameGender, 10, 760}} {
		if x := r.Rows[i]; x.Cut != want.cut || x.Seconds != want.seconds || x.Impostors != want.n || x.Targets != 40 || x.EER.CI == nil {
			t.Errorf("row %d: %+v", i, x)
		}
	}
	if r.Rows[1].EER.Value > r.Rows[0].EER.Value {
		t.Errorf("EER of %v with 10 s, of %v with 3 s", r.Rows[1].EER.Value, r.Rows[0].EER.Value)
	}
	if len(r.Decisions) != len(p.Operating.Points) {
		t.Fatalf("decisions at %d points, there are %d", len(r.Decisions), len(p.Operating.Points))
	}
	// What the thresholds promise is what the calls' endings show.
	for i, d := range r.Decisions {
		op := p.Operating.Points[i]
		if frr := 1 - d.True.Match.Value; math.Abs(frr-op.FRR) > 1e-9 || d.Impostors.Match.Value > op.FAR+1e-9 {
			t.Errorf("point %+v: %v of true callers not matched, %v of impostors matched", op, frr, d.Impostors.Match.Value)
		}
	}
	var b strings.Builder
	if err := errors.Join(voice.Table(&b, r), Thresholds(&b, &p.Operating)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pooled", "none of them trained on", "The default policy asks for 0.05 % and will be refused", "51 speakers"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, b.String())
		}
	}
}

func TestEvalCohortAndErrors(t *testing.T) {
	root := eval(t, 1)
	us, err := Eval(root, true)
	if err != nil || len(us) != 3 || us[2].Speaker != "c001" || us[2].Enrols || us[2].Calls {
		t.Fatalf("%+v, %v", us, err)
	}
	rs, err := hearing().Hear(t.Context(), us[2:])
	if err != nil || len(rs[0].Parts) != 1 || rs[0].Parts[0].Net != 2*time.Second {
		t.Errorf("a voice of 2 s: %+v, %v", rs, err)
	}
	text(t, filepath.Join(root, "cohort.tsv"), "id\n")
	if _, err := Eval(root, true); err == nil || !strings.Contains(err.Error(), `no column "gender"`) {
		t.Error(err)
	}
	recording(t, filepath.Join(root, "wav", "d000", "noname.wav"), 0, 1)
	if _, err := Eval(root, false); err == nil || !strings.Contains(err.Error(), "which line") {
		t.Error(err)
	}
	text(t, filepath.Join(root, "speakers.tsv"), "spk\tgender\tgroup\nd9\tm\tadult\n")
	if _, err := Eval(root, false); err == nil || !strings.Contains(err.Error(), "no recordings of d9") {
		t.Error(err)
	}
	if _, err := Eval(t.TempDir(), false); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	root := t.TempDir()
	recording(t, filepath.Join(root, "ann", "1.wav"), 0, 1)
	recording(t, filepath.Join(root, "ann", "may", "2.WAV"), 0, 1)
	recording(t, filepath.Join(root, "bob", "1.wav"), 1, 1)
	text(t, filepath.Join(root, "bob", "notes.txt"), "x")
	us, err := List(root)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, u := range us {
		got += u.Speaker + ":" + u.Name + " "
		if !u.Enrols || !u.Calls || u.Whole || u.Group != "adult" || u.Line != "call" {
			t.Errorf("%+v", u)
		}
	}
	if got != "ann:ann/1.wav ann:ann/may/2.WAV bob:bob/1.wav " {
		t.Error(got)
	}
	list := filepath.Join(root, "list.csv")
	text(t, list, "file,speaker,line\nann/1.wav, ann,phone\n"+filepath.Join(root, "bob", "1.wav")+",bob,\n")
	us, err = List(list)
	if err != nil || len(us) != 2 || us[0].Line != "phone" || us[1].Line != "call" || us[0].Path != filepath.Join(root, "ann", "1.wav") || us[1].Path != filepath.Join(root, "bob", "1.wav") {
		t.Errorf("%+v, %v", us, err)
	}
	for content, want := range map[string]string{
		"":                            "empty",
		"speaker,path\n":              `no column "file"`,
		"speaker,file\nann,\n":        "row 1 names no speaker or no file",
		"speaker,file\nann,1.wav,x\n": "wrong number of fields",
		"speaker,file\n\"ann\n":       "extraneous or missing",
	} {
		text(t, list, content)
		if _, err := List(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	recording(t, filepath.Join(root, "stray.wav"), 0, 1)
	if _, err := List(root); err == nil || !strings.Contains(err.Error(), "put it into that of its speaker") {
		t.Error(err)
	}
	if _, err := List(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no folder of a speaker") {
		t.Error(err)
	}
	if _, err := List(filepath.Join(root, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestHearFails(t *testing.T) {
	root := eval(t, 2)
	us, err := Eval(root, false)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	h := hearing()
	h.Raw = network{err: broken}
	if _, err := h.Hear(t.Context(), us); !errors.Is(err, broken) || !strings.Contains(err.Error(), "d00") {
		t.Errorf("a broken network: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := hearing().Hear(stopped, us); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	write(t, us[0].Path, &wav.Audio{Rate: 16000, Channels: [][]int16{{1}, {2}}})
	if _, err := hearing().Hear(t.Context(), us[:1]); err == nil || !strings.Contains(err.Error(), "2 channels") {
		t.Errorf("two channels: %v", err)
	}
	text(t, us[0].Path, "no sound")
	if _, err := hearing().Hear(t.Context(), us[:1]); !errors.Is(err, wav.ErrFormat) {
		t.Errorf("no WAV: %v", err)
	}
	us[0].Path += "x"
	if _, err := hearing().Hear(t.Context(), us[:1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestLooksAreTheVerifiers(t *testing.T) {
	looks := Hearing{Policy: voiceprint.DefaultPolicy()}.looks()
	if len(looks) != 27 || looks[0] != 2*time.Second || looks[1] != 2500*time.Millisecond || looks[26] != 15*time.Second {
		t.Errorf("%v", looks)
	}
}

func TestCache(t *testing.T) {
	us, err := Eval(eval(t, 1), false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cache")
	asked := 0
	hear := func() []backend.Recording {
		t.Helper()
		h := hearing()
		h.Raw, h.Jobs = network{asked: &asked}, 1
		if h.Cache, err = OpenCache(path, h.Raw.Model()); err != nil {
			t.Fatal(err)
		}
		rs, err := h.Hear(t.Context(), us)
		if err := errors.Join(err, h.Cache.Close()); err != nil {
			t.Fatal(err)
		}
		return rs
	}
	first := hear()
	all := asked
	again := hear()
	if asked != all || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("%d embeddings, then %d more", all, asked-all)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text(t, path, string(b[:len(b)-5]))
	if again = hear(); asked != all+1 || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("%d embeddings after the last was lost", asked-all)
	}
	if hear(); asked != all+1 {
		t.Error("what was lost is lost for good")
	}
	if _, err := OpenCache(path, voiceprint.Model{ID: "other", Dim: dim}); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("another model's cache: %v", err)
	}
}

func TestAdvise(t *testing.T) {
	few := &backend.TooLittleError{What: "speakers", Have: 3, Need: 20}
	err := Advise(few)
	if !errors.Is(err, few) || !strings.Contains(err.Error(), "20 speakers with two recordings each") {
		t.Error(err)
	}
	if other := errors.New("other"); Advise(other).Error() != "other" {
		t.Error("other errors are changed")
	}
}

// What is not good enough is not used, and told; a file may hold two speakers.
func TestHearRefuses(t *testing.T) {
	root := t.TempDir()
	x := make([]int16, 16000*20)
	y := make([]int16, 16000*20)
	for i := range x {
		x[i], y[i] = level, 2*level
	}
	write(t, filepath.Join(root, "both.wav"), &wav.Audio{Rate: 16000, Channels: [][]int16{x, y}})
	list := filepath.Join(root, "list.csv")
	text(t, list, "speaker,file,channel\nann,both.wav,1\nbob,both.wav,2\n")
	us, err := List(list)
	if err != nil {
		t.Fatal(err)
	}
	h := hearing()
	var told []string
	h.Refused = func(u *Utterance, as Use, why []voiceprint.Reason) {
		told = append(told, fmt.Sprint(u.Speaker, as, why))
	}
	h.Net = func(s []int16) (Spoken, error) {
		out := Spoken{Speech: make([]float32, len(s))}
		for i, v := range s {
			out.Speech[i] = float32(v) / (1 << 15)
		}
		if s[0] == level {
			out.Enrolment = []voiceprint.Reason{voiceprint.Noise}
		} else {
			out.Call = []voiceprint.Reason{voiceprint.Music}
		}
		return out, nil
	}
	h.Jobs = 1
	rs, err := h.Hear(t.Context(), us)
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].Template != nil || len(rs[0].Looks) == 0 || rs[1].Template == nil || len(rs[1].Looks) != 0 || rs[0].Name == rs[1].Name {
		t.Errorf("%d looks and template %v, %d looks and template %v", len(rs[0].Looks), rs[0].Template != nil, len(rs[1].Looks), rs[1].Template != nil)
	}
	if got := strings.Join(told, " "); got != "annenrolment[noise] bobcall[music]" {
		t.Error(got)
	}
	us[0].Channel = 2
	if _, err = h.Hear(t.Context(), us[:1]); err == nil || !strings.Contains(err.Error(), "no channel 3") {
		t.Error(err)
	}
	text(t, list, "speaker,file,channel\nann,both.wav,0\n")
	if _, err = List(list); err == nil || !strings.Contains(err.Error(), "the channel") {
		t.Error(err)
	}
}

// Lists of recordings are read or refused, whatever they hold.
func FuzzList(f *testing.F) {
	f.Add("speaker,file,line,channel\nann,1.wav,phone,2\n")
	f.Add("file,speaker\n\"a\nb\",x\n")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "list.csv")
		text(t, path, content)
		us, err := List(path)
		if err != nil {
			return
		}
		for _, u := range us {
			if u.Speaker == "" || u.Path == "" || u.Channel < -1 {
				t.Errorf("%q: %+v", content, u)
			}
		}
	})
}
