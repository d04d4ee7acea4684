package whisper

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/asr/whisper/model"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The tests' audio is its own transcript: a run of samples of value k is word
// number k, whose only token is k.

// speak writes words of 300 ms with 100 ms of silence after each, in frames
// from the given place.
func speak(start int64, words ...int16) []pcm.Frame {
	var x []int16
	for _, w := range words {
		for range 300 * 16 {
			x = append(x, w)
		}
		x = append(x, make([]int16, 100*16)...)
	}
	return frames(start, x)
}

func quiet(start int64, d time.Duration) []pcm.Frame {
	return frames(start, make([]int16, pcm.Samples(d)))
}

func frames(start int64, x []int16) []pcm.Frame {
	var fs []pcm.Frame
	for i := 0; i < len(x); i += pcm.FrameSamples {
		f := pcm.Frame{Start: start + int64(i)}
		copy(f.Samples[:], x[i:])
		fs = append(fs, f)
	}
	return fs
}

// fake is a decoder that reads such audio. before, where set, comes first and
// may answer instead.
type fake struct {
	before func(ctx context.Context, heard []model.Word, seconds float64, o model.Options) (*model.Result, error)
}

func (f *fake) Decode(ctx context.Context, samples []float32, o model.Options) (model.Result, error) {
	if err := ctx.Err(); err != nil {
		return model.Result{}, err
	}
	heard := hear(samples)
	if f.before != nil {
		r, err := f.before(ctx, heard, float64(len(samples))/pcm.Rate, o)
		if err != nil {
			return model.Result{}, err
		}
		if r != nil {
			return *r, nil
		}
	}
	return result(heard...), nil
}

func (f *fake) DecodeAll(jobs []model.Job, done func(int, model.Result, error)) {
	for i, j := range jobs {
		r, err := f.Decode(j.Ctx, j.Samples, j.Options)
		done(i, r, err)
	}
}

func (f *fake) DetectLanguage(context.Context, []float32, int) (string, float64, error) {
	return "en", 1, nil
}

func hear(samples []float32) []model.Word {
	var ws []model.Word
	last := 0
	for i, v := range samples {
		k := int(math.Round(float64(v) * 32768))
		t := float64(i) / pcm.Rate
		if k != last && k != 0 {
			ws = append(ws, said(k, t, t))
		}
		if k != 0 {
			ws[len(ws)-1].End = t + 1.0/pcm.Rate
		}
		last = k
	}
	return ws
}

func said(k int, start, end float64) model.Word {
	return model.Word{Text: fmt.Sprintf(" w%d", k), Start: start, End: end, Prob: 0.9, Tokens: []int{k}}
}

func result(ws ...model.Word) model.Result {
	r := model.Result{Words: ws, AvgLogProb: -0.2, CompressionRatio: 1}
	for _, w := range ws {
		r.Tokens = append(r.Tokens, w.Tokens...)
		r.Text += w.Text
	}
	return r
}

func numbers(from, to int16) []int16 {
	var ns []int16
	for n := from; n <= to; n++ {
		ns = append(ns, n)
	}
	return ns
}

func engine(t *testing.T, c Config, d decoder) *Engine {
	t.Helper()
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(func() [2]*stage { g := &stage{decoder: d}; return [2]*stage{g, g} }, c, defaultPolicy())
	t.Cleanup(func() { e.Close() })
	return e
}

// leg drives a stream and checks that it keeps the contract of asr.Hypothesis.
type leg struct {
	t  *testing.T
	s  *Stream
	at int64
	// all holds every hypothesis, finals the last of each utterance.
	all    []asr.Hypothesis
	finals []asr.Hypothesis
	// settle waits for each decode.
	settle bool
}

func newLeg(t *testing.T, e *Engine, name string) *leg {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &leg{t: t, s: s.(*Stream)}
}

// feed gives frames to the stream. A begin goes with the frame that holds its
// place, an end, which detectors find late, with the last frame.
func (l *leg) feed(fs []pcm.Frame, edges ...asr.Edge) error {
	l.t.Helper()
	for i := range fs {
		f := &fs[i]
		var es []asr.Edge
		for len(edges) > 0 && (edges[0].Kind == asr.Begin && edges[0].At < f.End() || i == len(fs)-1) {
			es = append(es, edges[0])
			edges = edges[1:]
		}
		hs, err := l.s.Accept(f, es)
		l.take(hs)
		if err != nil {
			return err
		}
		l.at = f.End()
		if l.settle {
			if err := l.s.Settle(l.t.Context()); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	return nil
}

func (l *leg) must(fs []pcm.Frame, edges ...asr.Edge) {
	l.t.Helper()
	if err := l.feed(fs, edges...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leg) finish() error {
	l.t.Helper()
	hs, err := l.s.Finish(l.t.Context())
	l.take(hs)
	return err
}

func (l *leg) take(hs []asr.Hypothesis) {
	l.t.Helper()
	for _, h := range hs {
		l.check(h)
		l.all = append(l.all, h)
		if h.Final {
			l.finals = append(l.finals, h)
		}
	}
}

func (l *leg) check(h asr.Hypothesis) {
	t := l.t
	t.Helper()
	if h.Stable > len(h.Words) || h.Final && h.Stable != len(h.Words) {
		t.Errorf("utterance %d revision %d: %d of %d words stable, final %v", h.Utterance, h.Revision, h.Stable, len(h.Words), h.Final)
		return
	}
	at := h.Start
	for _, w := range h.Words {
		if w.Start < at || w.End < w.Start || w.End > h.End || w.Text == "" || w.Confidence < 0 || w.Confidence > 1 {
			t.Errorf("utterance %d revision %d (%d to %d): word %+v after %d", h.Utterance, h.Revision, h.Start, h.End, w, at)
		}
		at = w.End
	}
	var before *asr.Hypothesis
	for i := range l.all {
		if l.all[i].Utterance == h.Utterance {
			before = &l.all[i]
		}
	}
	if before == nil {
		if h.Revision != 1 {
			t.Errorf("utterance %d begins with revision %d", h.Utterance, h.Revision)
		}
		if h.Utterance != 1+len(l.finals) {
			t.Errorf("utterance %d begins after %d finals", h.Utterance, len(l.finals))
		}
		return
	}
	if before.Final || h.Revision != before.Revision+1 {
		t.Errorf("utterance %d: revision %d (final %v), then revision %d", h.Utterance, before.Revision, before.Final, h.Revision)
	}
	if h.Final && len(h.Words) == 0 {
		return
	}
	for i, w := range before.Words[:before.Stable] {
		var now asr.Word
		if i < h.Stable {
			now = h.Words[i]
		}
		if h.Final && stable.Normal(now.Text) == stable.Normal(w.Text) {
			now.Text = w.Text
		}
		if now != w {
			t.Errorf("utterance %d revision %d: stable word %d %+v changed: %+v", h.Utterance, h.Revision, i, w, h.Words)
			return
		}
	}
}

// text is the finals' words.
func (l *leg) text() string {
	s := ""
	for _, h := range l.finals {
		s += h.Text() + "|"
	}
	return s
}

func begin(at int64) asr.Edge { return asr.Edge{Kind: asr.Begin, At: at} }
func end(at int64) asr.Edge   { return asr.Edge{Kind: asr.End, At: at} }
