package whisper

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper/model"
	"sidetone/bench/wer"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

func loadModel(t testing.TB) *model.Model {
	t.Helper()
	dir := filepath.Dir(needs.Model(t, "whisper-tiny.en", "model.bin"))
	for _, f := range []string{"config.json", "tokenizer.json", "vocabulary.txt"} {
		needs.Model(t, "whisper-tiny.en", f)
	}
	m, err := model.Load(os.DirFS(dir), model.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func loadVAD(t testing.TB) *vad.Model {
	t.Helper()
	f, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := vad.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// channels reads a sound file of the evaluation data at 16 kHz.
func channels(t testing.TB, elem ...string) [][]int16 {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, append([]string{"asr"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range a.Channels {
		if a.Rate == pcm.Rate/2 {
			a.Channels[i] = double(x)
		}
	}
	return a.Channels
}

// double brings 8 kHz to 16 kHz with a half-band filter.
func double(x []int16) []int16 {
	const taps = 32
	var c [taps]float64
	for k := range c {
		u := math.Pi * (float64(k) + 0.5)
		c[k] = float64(1-2*(k%2)) / u * math.Pow(math.Cos(u/64), 2)
	}
	at := func(i int) float64 {
		if i < 0 || i >= len(x) {
			return 0
		}
		return float64(x[i])
	}
	out := make([]int16, 0, 2*len(x))
	for n, v := range x {
		s := 0.0
		for k, w := range c {
			s += w * (at(n-k) + at(n+1+k))
		}
		out = append(out, v, int16(max(-32768, min(32767, math.Round(s)))))
	}
	return out
}

// rows reads a table of the evaluation data, without its head.
func rows(t testing.TB, elem ...string) [][]string {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, append([]string{"asr"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		out = append(out, strings.Split(line, "\t"))
	}
	return out
}

// listen runs a leg's audio through detector and stream as fast as it can, and
// waits for each decode: the result does not depend on the machine's speed.
func (l *leg) listen(v *vad.Model, x []int16) {
	l.t.Helper()
	d, err := v.NewDetector(vad.Config{})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range frames(0, slices.Concat(x, make([]int16, pcm.Rate))) {
		hs, err := l.s.Accept(&f, d.Accept(&f))
		if err != nil {
			l.t.Fatal(err)
		}
		l.at = f.End()
		l.take(hs)
		if err := l.s.Settle(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.finish(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leg) words() string { return strings.ReplaceAll(l.text(), "|", " ") }

func realEngine(t testing.TB, m *model.Model, c Config) *Engine {
	t.Helper()
	e, err := New(m, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestTelephoneClips(t *testing.T) {
	m, v := loadModel(t), loadVAD(t)
	e := realEngine(t, m, Config{})
	n := wer.New()
	var all wer.Counts
	for _, c := range []struct{ set, name string }{
		{"asterisk", "vm-tocallnum"}, // loops on a context that is too short
		{"asterisk", "demo-thanks"},
		{"librispeech", "1688-142285-0003"},
		{"librispeech", "2033-164914-0001"},
		{"other", "osr34-02"},
	} {
		rs := rows(t, c.set, "manifest.tsv")
		i := slices.IndexFunc(rs, func(r []string) bool { return r[0] == "wav16/"+c.name+".wav" })
		if i < 0 {
			t.Fatalf("%s is not in the manifest", c.name)
		}
		l := newLeg(t, e, c.name)
		l.listen(v, channels(t, c.set, "tel8k", c.name+".wav")[0])
		k := n.Score(rs[i][2], l.words())
		all.Add(k)
		t.Logf("%s: %d hypotheses, %d errors in %d words: %s", c.name, len(l.all), k.Sub+k.Ins+k.Del, k.Words, l.words())
		if len(l.all) < 2*len(l.finals) {
			t.Errorf("%s: %d hypotheses for %d utterances: no partials", c.name, len(l.all), len(l.finals))
		}
	}
	if p := all.Percent(); p > 15 {
		t.Errorf("word error rate %.1f %%, want at most 15 %%", p)
	}
}

// noises are what a telephone carries besides speech.
func noises(n int) map[string][]int16 {
	rng := rand.New(rand.NewPCG(1, 2))
	tone := func(i int, hz float64) float64 { return math.Sin(2 * math.Pi * hz * float64(i) / pcm.Rate) }
	low := 0.0
	all := map[string]func(i int) float64{
		"silence": func(int) float64 { return 0 },
		"comfort noise": func(int) float64 {
			low += (rng.NormFloat64()*60 - low) * 0.4
			return low
		},
		"hiss": func(int) float64 { return rng.NormFloat64() * 600 },
		"ringback": func(i int) float64 {
			if i%(6*pcm.Rate) >= 2*pcm.Rate {
				return 0
			}
			return 5000 * (tone(i, 440) + tone(i, 480))
		},
		"dtmf": func(i int) float64 {
			if i%4800 >= 2400 {
				return 0
			}
			return 5000 * (tone(i, 770) + tone(i, []float64{1209, 1336, 1477}[i/4800%3]))
		},
		"busy": func(i int) float64 {
			if i%pcm.Rate >= pcm.Rate/2 {
				return 0
			}
			return 8000 * tone(i, 425)
		},
		"hum": func(i int) float64 {
			return 3000*tone(i, 50) + 1000*tone(i, 150) + 700*tone(i, 250) + rng.NormFloat64()*50
		},
		"clicks": func(i int) float64 {
			if i%9000 >= 20 {
				return 0
			}
			return 20000 * rng.NormFloat64()
		},
	}
	out := map[string][]int16{}
	for name, f := range all {
		x := make([]int16, n)
		for i := range x {
			x[i] = int16(max(-32768, min(32767, f(i))))
		}
		out[name] = x
	}
	return out
}

// No word comes of what is no speech: a minute of it does not wake the
// detector, and if it did, the guards would hold.
func TestNoWordsWithoutSpeech(t *testing.T) {
	m, v := loadModel(t), loadVAD(t)
	e := realEngine(t, m, Config{})
	for name, x := range noises(60 * pcm.Rate) {
		t.Run(name, func(t *testing.T) {
			l := newLeg(t, e, name)
			l.listen(v, x)
			if len(l.finals) > 0 {
				t.Errorf("detected: %d finals, text %q", len(l.finals), l.words())
			}
			l = newLeg(t, e, name+", taken for speech")
			l.settle = true
			for _, n := range []int64{1, 3} {
				start := l.at
				fs := frames(start, x[start:start+n*pcm.Rate])
				l.must(fs, begin(start), end(fs[len(fs)-1].End()-pcm.Rate/4))
			}
			if err := l.finish(); err != nil {
				t.Fatal(err)
			}
			for _, h := range l.all {
				if len(h.Words) > 0 {
					t.Errorf("utterance %d, final %v: %q", h.Utterance, h.Final, h.Text())
				}
			}
		})
	}
}

// callTexts are the words of a call's legs.
func callTexts(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	for _, r := range rows(t, "calls", name+".turns.tsv") {
		c, err := strconv.Atoi(r[0])
		if err != nil {
			t.Fatal(err)
		}
		for len(out) < c {
			out = append(out, "")
		}
		out[c-1] += r[8] + " "
	}
	return out
}

// BenchmarkCalls and BenchmarkClips measure what is written about accuracy:
// run them once, with -benchtime 1x. "lag" is the time from a word's end to
// the audio with which it became stable, "core" the share of one core.
func BenchmarkCalls(b *testing.B) {
	m, v := loadModel(b), loadVAD(b)
	n := wer.New()
	for i := 1; i <= 5; i++ {
		name := fmt.Sprintf("call%02d", i)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var r report
				e := realEngine(b, m, Config{})
				legs := channels(b, "calls", name+".wav")
				for c, text := range callTexts(b, name) {
					k := r.listen(b, e, v, n, legs[c], text)
					b.Logf("leg %d: WER %.1f", c+1, k.Percent())
				}
				r.metrics(b, e)
			}
		})
	}
}

func BenchmarkClips(b *testing.B) {
	m, v := loadModel(b), loadVAD(b)
	n := wer.New()
	for _, partials := range []bool{true, false} {
		for _, cond := range []string{"wav16", "tel8k", "tel8k_loss3", "tel8k_noise10"} {
			for _, set := range []string{"asterisk", "librispeech", "other"} {
				b.Run(fmt.Sprintf("partials=%v/%s/%s", partials, cond, set), func(b *testing.B) {
					c := Config{}
					if !partials {
						c.PartialEvery = -1
					}
					for b.Loop() {
						var r report
						e := realEngine(b, m, c)
						for _, row := range rows(b, set, "manifest.tsv") {
							x := channels(b, set, cond, filepath.Base(row[0]))[0]
							r.listen(b, e, v, n, x, row[2])
						}
						r.metrics(b, e)
					}
				})
			}
		}
	}
}

type report struct {
	words wer.Counts
	audio int
	lag   []float64
}

func (r *report) listen(b *testing.B, e *Engine, v *vad.Model, n *wer.Normaliser, x []int16, ref string) wer.Counts {
	b.Helper()
	s, err := e.NewStream(b.Context(), asr.StreamConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	d, err := v.NewDetector(vad.Config{})
	if err != nil {
		b.Fatal(err)
	}
	stable := map[int]int{}
	text := ""
	take := func(hs []asr.Hypothesis, now int64) {
		for _, h := range hs {
			if h.Final {
				text += " " + h.Text()
				continue
			}
			for _, w := range h.Words[stable[h.Utterance]:h.Stable] {
				r.lag = append(r.lag, pcm.Duration(now-w.End).Seconds())
			}
			stable[h.Utterance] = h.Stable
		}
	}
	for _, f := range frames(0, slices.Concat(x, make([]int16, pcm.Rate))) {
		hs, err := s.Accept(&f, d.Accept(&f))
		if err != nil {
			b.Fatal(err)
		}
		take(hs, f.Start)
		if err := s.(*Stream).Settle(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	hs, err := s.Finish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	take(hs, int64(len(x)))
	k := n.Score(ref, text)
	if k.Ins > 4 && 2*k.Ins > k.Words {
		b.Logf("many insertions: %q for %q", text, ref)
	}
	r.words.Add(k)
	r.audio += len(x)
	return k
}

func (r *report) metrics(b *testing.B, e *Engine) {
	st := e.Stats()
	b.ReportMetric(r.words.Percent(), "WER%")
	b.ReportMetric(float64(st.Busy.Load())/1e9/pcm.Duration(int64(r.audio)).Seconds(), "core")
	b.ReportMetric(float64(st.Loops.Load()), "loops")
	b.ReportMetric(float64(st.Retries.Load()), "retries")
	if slices.Sort(r.lag); len(r.lag) > 0 {
		b.ReportMetric(r.lag[len(r.lag)/2], "lag50-s")
		b.ReportMetric(r.lag[len(r.lag)*9/10], "lag90-s")
	}
}
