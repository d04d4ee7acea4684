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
	"sidetone/cmd/sidetone/internal/voicecal"
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

// world writes recordings of speakers: enrolments of 20 s and tests of 3 s under two
// conditions, with lists of trials of one and two seconds, as the evaluation data has
// them.
func world(t *testing.T, adults, children int) string {
	t.Helper()
	root := t.TempDir()
	w := &worldWriter{rng: rand.New(rand.NewPCG(1, 1)), root: root}
	for i := range w.sine {
		w.sine[i] = math.Sin(2 * math.Pi * float64(i) / period)
	}
	type person struct{ name, group string }
	var all []person
	speakers := "spk\tgender\tgroup\n"
	for i := range adults + children {
		p := person{fmt.Sprintf("s%02d", i), voice.Adult}
		if i >= adults {
			p.group = voice.Child
		}
		all = append(all, p)
		speakers += fmt.Sprintf("%s\t%c\t%s\n", p.name, "fm"[i%2], p.group)
		var loud [tones]float64
		for k := range loud {
			loud[k] = math.Abs(w.rng.NormFloat64())
		}
		w.write(t, p.name+"/enrol_tel.wav", 20, 400, loud)
		w.write(t, p.name+"/test1_tel.wav", 3, 400, loud)
		w.write(t, p.name+"/test1_noise.wav", 3, 4000, loud)
	}
	save(t, filepath.Join(root, "speakers.tsv"), speakers)
	for _, condition := range []string{"tel", "noise"} {
		list := "label\tenrol_spk\tenrol\ttest\tstart_s\tdur_s\ttest_spk\tsame_gender\tgroup\tchannel\n"
		for i, p := range all {
			for j, q := range all {
				if p.group != q.group || i != j && w.rng.IntN(4) > 0 {
					continue
				}
				label := "impostor"
				if i == j {
					label = "target"
				}
				for _, part := range []string{"0\t1", "1\t1", "0\t2"} {
					list += fmt.Sprintf("%s\t%s\twav/%s/enrol_tel.wav\twav/%s/test1_%s.wav\t%s\t%s\t%d\t%s\t%s\n",
						label, p.name, p.name, q.name, condition, part, q.name, (i+j+1)%2, p.group, condition)
				}
			}
		}
		save(t, filepath.Join(root, "trials_"+condition+".tsv"), list)
	}
	return root
}

func save(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	// lineRate is of the recordings; period is that of all tones, in its samples.
	lineRate = 8000
	period   = 160
)

type worldWriter struct {
	rng  *rand.Rand
	root string
	sine [period]float64
}

// write writes a voice with hiss. Each recording differs a little in each tone.
func (w *worldWriter) write(t *testing.T, name string, seconds int, hiss float64, loud [tones]float64) {
	t.Helper()
	for k := range loud {
		loud[k] = max(loud[k]+0.25*w.rng.NormFloat64(), 0)
	}
	var cycle [period]float64
	for i := range cycle {
		for k := range loud {
			cycle[i] += 1500 * loud[k] * w.sine[i*int(frequency(k))*period/lineRate%period]
		}
	}
	x := make([]int16, seconds*lineRate)
	for i := range x {
		x[i] = int16(min(max(cycle[i%period]+hiss*w.rng.NormFloat64(), -32768), 32767))
	}
	var b bytes.Buffer
	if err := wav.Encode(&b, &wav.Audio{Rate: lineRate, Channels: [][]int16{x}}, wav.MuLaw); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.root, "wav", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s Selection) []voice.Trial {
	t.Helper()
	trials, err := s.Trials()
	if err != nil {
		t.Fatal(err)
	}
	return trials
}

// looks are a verifier's of recordings of two seconds.
func looks() []time.Duration {
	return []time.Duration{time.Second, 1500 * time.Millisecond, 2 * time.Second}
}

// short is a policy for recordings of two seconds.
func short(far float64) voiceprint.Policy {
	return voiceprint.Policy{FAR: far, Miss: 0.001, Least: time.Second, MismatchAfter: time.Second, Limit: 2 * time.Second}
}

func TestRun(t *testing.T) {
	root := world(t, 54, 6)
	trials := read(t, Selection{Root: root, Conditions: []string{"tel", "noise"}})
	e := &ear{}
	cache, err := voicecal.OpenCache(filepath.Join(t.TempDir(), "cache"), toneModel)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	stock := NewStock(root, e, 2, cache)
	hearing := voicecal.Hearing{Raw: e, Looks: looks(), Policy: short(0.05), Jobs: 2, Cache: cache, Progress: func(int) {}}
	training := backend.Training{Of: toneModel, Data: "a test", Date: "2026-11-23", Policy: short(0.05)}
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
		Judges: func(ctx context.Context) (Judges, error) {
			us, err := voicecal.Eval(root, false)
			if err != nil {
				return nil, err
			}
			if training.Recordings, err = hearing.Hear(ctx, us); err != nil {
				return nil, err
			}
			folds, err = NewFolds(ctx, training, 6, 2, nil)
			return folds, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// 60 enrolments, each as a whole and in parts of 5 and 10 s; 120 tests at 0-1, 1-2
	// and 0-2 s, looked at after 1, 1.5 and 2 s, and as a part of 3 s.
	timed := speedFiles * len(r.Speeds)
	if want := 60*(1+4+2) + 120*5 + timed; int(e.heard.Load()) != want || len(r.Speeds) != 2 {
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
	p, err := backend.Estimate(training)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Judge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Space.Model() != p.Space.Model() {
		t.Errorf("judged in %s, want %s", got.Space.Model().ID, p.Space.Model().ID)
	}
	e := voiceprint.Embedding{1, 2, 3, 4, 5, 6}
	if e, err = p.Space.Map(e); err != nil {
		t.Fatal(err)
	}
	for _, net := range looks() {
		llr, err := got.Scorer.LLR([]voiceprint.Embedding{e}, e, net)
		if want := p.Calibration.LLR(1, net); err != nil || math.Abs(llr-want) > 1e-5 {
			t.Errorf("a voice is itself after %v by %v nats (%v), want %v", net, llr, err, want)
		}
	}
	// In four folds 36 adults and 4 children are left: each against their own group, in
	// two conditions.
	if words := got.Scorer.Info().Trained; !strings.Contains(words, "80 calls of true callers and 2544 of impostors, 40 speakers") {
		t.Errorf("thresholds from %s", words)
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
	save(t, filepath.Join(root, "trials_bad.tsv"), "x\n")
	if _, err := (Selection{Root: root, Conditions: []string{"bad"}}).Trials(); err == nil || !strings.Contains(err.Error(), "trials_bad.tsv") {
		t.Errorf("error %v", err)
	}
}

func TestStockRefuses(t *testing.T) {
	root := world(t, 1, 0)
	save(t, filepath.Join(root, "no.wav"), "RIFF")
	s := NewStock(root, &ear{}, 0, nil)
	const file = "wav/s00/test1_tel.wav"
	for name, at := range map[string]Stretch{
		"beyond the end": {file, voiceprint.Rate, 3 * voiceprint.Rate},
		"no file":        {File: "none.wav"},
		"no sound file":  {File: "no.wav"},
		"too short":      {File: file, Length: 100},
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
	if err := s.Make(ctx, []Stretch{{File: file}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFoldsRefuse(t *testing.T) {
	if _, err := NewFolds(t.Context(), backend.Training{}, 2, 1, nil); err == nil {
		t.Error("two folds are taken")
	}
	var little *backend.TooLittleError
	if _, err := NewFolds(t.Context(), backend.Training{Of: toneModel}, 4, 1, nil); !errors.As(err, &little) {
		t.Errorf("without recordings: %v", err)
	}
}

// A stock finds what a training has kept, under the same names.
func TestKeys(t *testing.T) {
	for want, c := range map[string]struct {
		at Stretch
		n  int
	}{
		"d001/enrol_tel.wav 0 27312":  {Stretch{File: "wav/d001/enrol_tel.wav"}, 27312*16 + 8},
		"d001/test1_tel.wav 500 2500": {Stretch{File: "wav/d001/test1_tel.wav", Start: 8000, Length: 32000}, 32000},
	} {
		if got := c.at.key(c.n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
