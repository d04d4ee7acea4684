package benchvoice

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
	"sync/atomic"
	"testing"
	"time"

	"sidetone/bench/voice"
	"sidetone/internal/wav"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
)

// A voice is here how loud each of some tones is; an ear measures that.
const tones = 6

// frequency is in Hz.
func frequency(i int) float64 { return 250 + 200*float64(i) }

var toneModel = voiceprint.Model{ID: "tones", Dim: tones}

// ear is an engine for such voices.
type ear struct{ heard atomic.Int64 }

func (*ear) Model() voiceprint.Model { return toneModel }

func (e *ear) Embed(x []float32) (voiceprint.Embedding, error) {
	if len(x) < voiceprint.Rate/2 {
		return nil, voiceprint.ErrTooShort
	}
	e.heard.Add(1)
	out := make(voiceprint.Embedding, tones)
	for i := range out {
		step := 2 * math.Pi * frequency(i) / voiceprint.Rate
		turn, at := complex(math.Cos(step), -math.Sin(step)), complex(1, 0)
		var sum complex128
		for _, v := range x {
			sum += complex(float64(v), 0) * at
			at *= turn
		}
		out[i] = float32(math.Hypot(real(sum), imag(sum)) / float64(len(x)))
	}
	if !voiceprint.Unit(out) {
		return nil, errors.New("silence")
	}
	return out, nil
}

// world writes recordings of speakers, an enrolment and two conditions' tests of two
// seconds each, and lists of trials of one and two seconds.
func world(t *testing.T, adults, children int) string {
	t.Helper()
	root := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	type person struct {
		name, group string
		loud        [tones]float64
	}
	var all []person
	for i := range adults + children {
		p := person{name: fmt.Sprintf("s%02d", i), group: voice.Adult}
		if i >= adults {
			p.group = voice.Child
		}
		for k := range p.loud {
			p.loud[k] = math.Abs(rng.NormFloat64())
		}
		all = append(all, p)
	}
	for _, p := range all {
		for _, kind := range []string{"enrol", "tel", "noise"} {
			const rate = 8000
			x := make([]int16, 2*rate)
			hiss := 400.0
			if kind == "noise" {
				hiss = 4000
			}
			// Sessions differ a little in each tone.
			loud := p.loud
			for k := range loud {
				loud[k] = max(loud[k]+0.25*rng.NormFloat64(), 0)
			}
			for i := range x {
				v := hiss * rng.NormFloat64()
				for k := range loud {
					v += 1500 * loud[k] * math.Sin(2*math.Pi*frequency(k)*float64(i)/rate)
				}
				x[i] = int16(min(max(v, -32768), 32767))
			}
			var b bytes.Buffer
			if err := wav.Encode(&b, &wav.Audio{Rate: rate, Channels: [][]int16{x}}, wav.MuLaw); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, p.name+"_"+kind+".wav"), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, condition := range []string{"tel", "noise"} {
		var b strings.Builder
		fmt.Fprintln(&b, "label\tenrol_spk\tenrol\ttest\tstart_s\tdur_s\ttest_spk\tsame_gender\tgroup\tchannel")
		for i, p := range all {
			for j, q := range all {
				if p.group != q.group || i != j && rng.IntN(4) > 0 {
					continue
				}
				label := "impostor"
				if i == j {
					label = "target"
				}
				for _, part := range []string{"0\t1", "1\t1", "0\t2"} {
					fmt.Fprintf(&b, "%s\t%s\t%s_enrol.wav\t%s_%s.wav\t%s\t%s\t%d\t%s\t%s\n", label, p.name, p.name, q.name, condition, part, q.name, (i+j+1)%2, p.group, condition)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(root, "trials_"+condition+".tsv"), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, s Selection) []voice.Trial {
	t.Helper()
	trials, err := s.Trials()
	if err != nil {
		t.Fatal(err)
	}
	return trials
}

// short is a policy for recordings of two seconds.
func short(far float64) voiceprint.Policy {
	return voiceprint.Policy{FAR: far, Miss: 0.001, Least: time.Second, MismatchAfter: time.Second, Limit: 2 * time.Second}
}

func TestRun(t *testing.T) {
	root := world(t, 54, 6)
	trials := read(t, Selection{Root: root, Conditions: []string{"tel", "noise"}})
	e := &ear{}
	stock := NewStock(root, e, 2)
	training := backend.Training{Of: toneModel, Data: "a test", Date: "2026-11-23", Folds: 4, Policy: short(0.05)}
	var folds *Folds
	what := map[string]int{}
	r, err := Run(t.Context(), Config{
		Trials: trials, Stock: stock, Bootstrap: voice.Bootstrap{Rounds: 40, Seed: 1},
		Policies: []voiceprint.Policy{short(0.05), short(1e-6)},
		Progress: func(s string, n, of int) {
			if n != what[s]+1 || n > of {
				t.Errorf("%s: %d of %d after %d", s, n, of, what[s])
			}
			what[s] = n
		},
		Judges: func(ctx context.Context) (_ Judges, err error) {
			if training.Recordings, err = Recordings(ctx, stock, trials, nil); err != nil {
				return nil, err
			}
			folds, err = NewFolds(ctx, training, 6, 2, nil)
			return folds, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// 60 enrolments, each as a whole and without parts of 5 s; 120 tests at 0-1, 1-2 and
	// 0-2 s, and looks at 1, 1.5 and 2 s.
	timed := speedFiles * len(r.Speeds)
	if want := 60 + 120*4 + timed; int(e.heard.Load()) != want || len(r.Speeds) != 2 {
		t.Errorf("%d embeddings, %d of them timed, want %d: each is made once", e.heard.Load(), timed, want)
	}
	if r.Speakers != 60 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "0.0001 %") {
		t.Errorf("%d speakers, notes %q", r.Speakers, r.Notes)
	}
	rows := map[string]voice.Row{}
	for _, x := range r.Rows {
		rows[fmt.Sprint(x.Cut, " ", x.Seconds)] = x
	}
	pooled := rows["pooled 2"]
	if pooled.Targets != 108 || pooled.Impostors < 1000 || pooled.EER.Value > 0.2 || pooled.EER.Value == 0 || pooled.Cllr > 0.7 || pooled.Loss > 0.1 {
		t.Errorf("pooled at 2 s: %+v", pooled)
	}
	if rows["children 1"].Targets != 24 || rows["tel 2"].Targets+rows["noise 2"].Targets != pooled.Targets {
		t.Errorf("children %+v, tel %+v", rows["children 1"], rows["tel 2"])
	}
	if d := r.Decisions[0]; d.Cut != voice.Pooled || d.True.Count != 108 || d.Impostors.Match.Value > d.FAR || math.Abs(1-d.True.Match.Value-d.Expected) > 0.1 {
		t.Errorf("true callers matched: %v, promised were %v; impostors %v", d.True.Match.Value, 1-d.Expected, d.Impostors.Match.Value)
	}
	if len(what) != 3 || what["scores"] != len(trials) {
		t.Errorf("progress %v", what)
	}
	unseen(t, folds, training)
	replaysAsScored(t, Config{Trials: trials, Stock: stock}, folds)
}

// unseen checks that the judge of two speakers is what training without their folds
// makes.
func unseen(t *testing.T, f *Folds, training backend.Training) {
	t.Helper()
	a, b := "s03", "s17"
	all := training.Recordings
	training.Recordings = nil
	left := map[string]bool{}
	for _, r := range all {
		if k := f.fold[r.Speaker]; k != f.fold[a] && k != f.fold[b] {
			training.Recordings = append(training.Recordings, r)
			left[r.Speaker] = true
		}
	}
	if left[a] || left[b] || len(left) != 40 {
		t.Errorf("%d speakers are left to train on, with %s: %v, with %s: %v", len(left), a, left[a], b, left[b])
	}
	p, _, err := backend.Train(training)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Judge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Scorer.Info().Calibration != p.Version() || got.Space.Model() != p.Space.Model() {
		t.Errorf("judged by %+v, want %s in %s", got.Scorer.Info(), p.Version(), p.Space.Model().ID)
	}
	if again, err := f.Judge(b, a); err != nil || again != got {
		t.Error("the other way round another one judges")
	}
	if own, err := f.Judge(a, a); err != nil || own == got {
		t.Error("a fold alone is judged as a pair")
	}
	if _, err := f.Judge(a, "nobody"); err == nil {
		t.Error("a stranger is judged")
	}
}

// replaysAsScored checks that a call's evidence is that of the trial of all of its
// speech.
func replaysAsScored(t *testing.T, c Config, judges Judges) {
	t.Helper()
	c.Progress = func(string, int, int) {}
	p := short(0.05)
	p.Least, p.MismatchAfter = p.Limit, p.Limit
	answers, _, err := c.replay(t.Context(), judges, p)
	if err != nil {
		t.Fatal(err)
	}
	scored, err := c.score(judges)
	if err != nil {
		t.Fatal(err)
	}
	want := map[[2]string]float64{}
	for _, s := range scored {
		if s.Net == 2*time.Second {
			want[[2]string{s.Enrol, s.Test}] = s.LLR
		}
	}
	if len(answers) != len(want) {
		t.Fatalf("%d calls of %d pairs", len(answers), len(want))
	}
	for _, a := range answers {
		if got := want[[2]string{a.Enrol, a.Test}]; a.LLR != got || a.Looks != 3 || a.Answer.Net != 2*time.Second {
			t.Fatalf("%s against %s: %v nats after %v, the trial has %v", a.Test, a.Enrol, a.LLR, a.Answer.Net, got)
		}
	}
}

func TestSelection(t *testing.T) {
	root := world(t, 4, 2)
	all := read(t, Selection{Root: root, Conditions: []string{"tel", "noise"}})
	if n := speakers(all); n != 6 {
		t.Errorf("%d speakers", n)
	}
	few := read(t, Selection{Root: root, Conditions: []string{"tel"}, Lengths: []float64{1}, Limit: 1})
	if len(few) != 4 || speakers(few) != 2 {
		t.Errorf("%d trials of %d speakers, want both groups' first against themselves, twice", len(few), speakers(few))
	}
	for name, s := range map[string]Selection{
		"no such condition": {Root: root, Conditions: []string{"shout"}},
		"no such length":    {Root: root, Conditions: []string{"tel"}, Lengths: []float64{7}},
	} {
		if _, err := s.Trials(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got, err := Conditions(root); err != nil || strings.Join(got, " ") != "noise tel" {
		t.Errorf("conditions %q, %v", got, err)
	}
	if _, err := Conditions(t.TempDir()); err == nil {
		t.Error("an empty folder has conditions")
	}
	if err := os.WriteFile(filepath.Join(root, "trials_bad.tsv"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Selection{Root: root, Conditions: []string{"bad"}}).Trials(); err == nil || !strings.Contains(err.Error(), "trials_bad.tsv") {
		t.Errorf("error %v", err)
	}
}

func TestStockRefuses(t *testing.T) {
	root := world(t, 1, 0)
	if err := os.WriteFile(filepath.Join(root, "no.wav"), []byte("RIFF"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStock(root, &ear{}, 0)
	for name, at := range map[string]Stretch{
		"beyond the end": {"s00_tel.wav", voiceprint.Rate, 2 * voiceprint.Rate},
		"no file":        {File: "none.wav"},
		"no sound file":  {File: "no.wav"},
		"too short":      {File: "s00_tel.wav", Length: 100},
	} {
		if err := s.Make(t.Context(), []Stretch{at}, nil); err == nil || !strings.Contains(err.Error(), at.File) {
			t.Errorf("%s: error %v", name, err)
		}
		if s.Get(at) != nil {
			t.Errorf("%s: there is an embedding", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Make(ctx, []Stretch{{File: "s00_tel.wav"}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFoldsRefuse(t *testing.T) {
	if _, err := NewFolds(t.Context(), backend.Training{}, 2, 1, nil); err == nil {
		t.Error("two folds are taken")
	}
	root := world(t, 8, 0)
	trials := read(t, Selection{Root: root, Conditions: []string{"tel"}})
	rs, err := Recordings(t.Context(), NewStock(root, &ear{}, 1), trials, nil)
	if err != nil {
		t.Fatal(err)
	}
	var little *backend.TooLittleError
	if _, err = NewFolds(t.Context(), backend.Training{Of: toneModel, Recordings: rs}, 4, 1, nil); !errors.As(err, &little) {
		t.Errorf("of 8 speakers: %v", err)
	}
}

// An enrolment of 12 s is a template and, besides it, two parts of 5 s; a test is
// looked at each half second up to its longest trial's end.
func TestCuts(t *testing.T) {
	trials := []voice.Trial{
		{Target: true, Enrolled: "a", Speaker: "a", Enrol: "e", Test: "x", Net: 3 * time.Second, Group: voice.Adult, Channel: "gsm"},
		{Target: true, Enrolled: "a", Speaker: "a", Enrol: "e", Test: "x", Start: 2 * time.Second, Net: 3 * time.Second, Group: voice.Adult, Channel: "gsm"},
	}
	got := cuts(trials, map[string]int{"e": 12 * voiceprint.Rate})
	if len(got) != 2 {
		t.Fatalf("%d recordings", len(got))
	}
	e, x := got[0], got[1]
	const s = voiceprint.Rate
	if e.Speaker != "a" || e.enrolled != (Stretch{File: "e"}) || fmt.Sprint(e.parts) != fmt.Sprint([]Stretch{{"e", 0, 0}, {"e", 0, 5 * s}, {"e", 5 * s, 5 * s}}) || len(e.looks) > 0 {
		t.Errorf("enrolment %+v", e)
	}
	if x.enrolled.File != "" || x.Line != "gsm" || fmt.Sprint(x.parts) != fmt.Sprint([]Stretch{{"x", 0, 3 * s}, {"x", 2 * s, 3 * s}}) ||
		len(x.looks) != 9 || x.looks[0].Length != s || x.looks[8].Length != 5*s {
		t.Errorf("test %+v", x)
	}
}
