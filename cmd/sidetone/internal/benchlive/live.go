// Package benchlive plays legs to the recogniser in real time, all on one
// core, and measures what callers and agents would notice: how long after it
// was said a word is shown, when it is stable, when the final comes.
package benchlive

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"sidetone/asr"
	"sidetone/bench"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/core"
	"sidetone/internal/pcm"
)

// Counters are an engine's counts since it began.
type Counters struct {
	// Refused are decodes that a guard refused, Retries second decodes for that
	// reason, Stale partials that were dropped for newer ones, Lost finals that
	// were given up.
	Refused, Retries, Stale, Lost int64
	// Busy is the time for which the engine decoded.
	Busy time.Duration
}

func (c Counters) since(o Counters) Counters {
	return Counters{c.Refused - o.Refused, c.Retries - o.Retries, c.Stale - o.Stale, c.Lost - o.Lost, c.Busy - o.Busy}
}

// Config says what is run.
type Config struct {
	Engine asr.Engine
	// Counters reads the engine's counts.
	Counters func() Counters
	// NewDetector makes what finds the edges of a leg's speech.
	NewDetector func() (Detector, error)
	// Warm is the time before anything counts, Measured the time that counts.
	Warm, Measured time.Duration
	// MaxLag bounds the 95th percentile of the words' lags, MaxWait that of the
	// finals' waits after the end of speech.
	MaxLag, MaxWait time.Duration
}

// Detector finds the edges of speech, as vad.Detector does.
type Detector interface {
	Accept(f *pcm.Frame) []asr.Edge
}

// Result is what was measured with so many legs. Times are seconds.
type Result struct {
	Legs int `json:"legs"`
	// Seconds is the time measured; Stopped says that it is short, since the
	// legs were too many beyond doubt.
	Seconds float64 `json:"seconds"`
	Stopped bool    `json:"stopped,omitempty"`
	Words   int     `json:"words"`
	// Lag is from a word's end until it is stable, First until it is shown.
	Lag50   float64 `json:"lag_p50"`
	Lag95   float64 `json:"lag_p95"`
	Lag99   float64 `json:"lag_p99"`
	First50 float64 `json:"first_p50"`
	First95 float64 `json:"first_p95"`
	// Wait is from the end of speech until its final, Edge from when the end
	// was certain. Missing finals count as if they had come in the end.
	Finals  int     `json:"finals"`
	Missing int     `json:"missing,omitempty"`
	Wait50  float64 `json:"wait_p50"`
	Wait95  float64 `json:"wait_p95"`
	Edge50  float64 `json:"edge_p50"`
	Edge95  float64 `json:"edge_p95"`
	// WER is the finals', in errors per hundred words.
	WER float64 `json:"wer"`
	// Core is the share of a core that all of this took, Decoding that of the
	// engine's worker by the clock on the wall.
	Core     float64 `json:"core"`
	Decoding float64 `json:"decoding"`
	// Partials are revisions a second and leg.
	Partials float64 `json:"partials"`
	// Late is the worst delay of a frame on its way to the recogniser.
	Late float64 `json:"late"`
	// Memory is the heap that a leg keeps, in bytes: what is free without them.
	Memory float64 `json:"memory"`
	Counters
	// Holds says that both limits were kept and no final was lost.
	Holds bool `json:"holds"`
}

// leg is one leg while it is heard.
type leg struct {
	player
	*record
	detector Detector
	stream   asr.Stream
	// begin is when its first sample is spoken.
	begin time.Time
}

// drain is how much longer the legs are played, so that the finals of what was
// said to the end can come.
const drain = 4 * time.Second

// Run plays tracks, each as a leg of its own. Frames that are late are given
// late, and everything that they delay counts.
func Run(ctx context.Context, c Config, tracks []Track) (r Result, err error) {
	var legs []*leg
	hangUp := func() {
		for _, l := range legs {
			err = errors.Join(err, l.stream.Close())
		}
		legs = nil
	}
	defer hangUp()
	for i, t := range tracks {
		l := &leg{player: player{track: t}, record: newRecord()}
		if l.detector, err = c.NewDetector(); err != nil {
			return r, err
		}
		name := asr.StreamConfig{Call: fmt.Sprintf("bench-%d", i/2), Leg: fmt.Sprintf("leg-%d", i), Language: "en"}
		if l.stream, err = c.Engine.NewStream(ctx, name); err != nil {
			return r, err
		}
		legs = append(legs, l)
	}
	r, err = play(ctx, &c, legs)
	if err != nil {
		return r, err
	}
	// What was noted is not the recogniser's.
	for _, l := range legs {
		l.record, l.said = nil, nil
	}
	with := heap()
	hangUp()
	r.Memory = max(float64(with)-float64(heap()), 0) / float64(r.Legs)
	r.Holds = r.Words > 0 && r.Lost == 0 && r.Lag95 < c.MaxLag.Seconds() && r.Wait95 < c.MaxWait.Seconds()
	return r, nil
}

// heap is the memory in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// play feeds the legs, one frame of each after the other, until the time is
// over.
func play(ctx context.Context, c *Config, legs []*leg) (Result, error) {
	const frame = time.Second * pcm.FrameSamples / pcm.Rate
	r := Result{Legs: len(legs)}
	w := window{c.Warm.Seconds(), (c.Warm + c.Measured).Seconds()}
	begin := time.Now()
	for i, l := range legs {
		// Their frames do not all come at once.
		l.begin = begin.Add(frame * time.Duration(i) / time.Duration(len(legs)))
	}
	var started, ended meter
	for k := time.Duration(1); ; k++ {
		at := frame * (k - 1)
		switch {
		case started.at == 0 && at >= c.Warm:
			started = c.read(begin)
		case ended.at == 0 && at >= c.Warm+c.Measured:
			ended = c.read(begin)
		}
		if at >= c.Warm+c.Measured+drain {
			break
		}
		for _, l := range legs {
			late, err := l.feed(ctx, k*frame)
			if err != nil {
				return r, err
			}
			if at >= c.Warm {
				r.Late = max(r.Late, late.Seconds())
			}
		}
		// Every second, whether it is worth while to go on.
		if passed := time.Since(begin); ended.at == 0 && k%50 == 0 && passed > c.Warm+c.Measured/4 && hopeless(c, legs, w, at, passed) {
			r.Stopped = true
			w.to = at.Seconds()
			ended = c.read(begin)
			break
		}
	}
	r.sum(legs, w, started, ended)
	return r, nil
}

// feed waits until the frame that ends at due has been spoken, and gives it to
// the leg. late is by how much it was later.
func (l *leg) feed(ctx context.Context, due time.Duration) (late time.Duration, err error) {
	if wait := due - time.Since(l.begin); wait > 0 {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, ctx.Err()
		}
	} else if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	f := l.play()
	edges := l.detector.Accept(f)
	found := time.Since(l.begin)
	hyps, err := l.stream.Accept(f, edges)
	if err != nil {
		return 0, err
	}
	now := time.Since(l.begin).Seconds()
	for _, e := range edges {
		l.edge(e, found.Seconds())
	}
	for i := range hyps {
		l.take(&hyps[i], now)
	}
	return found - due, nil
}

// meter is a reading of what has been used up.
type meter struct {
	at, processor time.Duration
	counters      Counters
}

func (c *Config) read(begin time.Time) meter {
	return meter{time.Since(begin), core.Time(), c.Counters()}
}

// hopeless says whether the legs are so much too many that a longer look
// would not change it.
func hopeless(c *Config, legs []*leg, w window, at, passed time.Duration) bool {
	if passed-at > 2*c.MaxLag {
		return true
	}
	var lag []float64
	for _, l := range legs {
		x, _ := l.lags(w, passed.Seconds())
		lag = append(lag, x...)
	}
	slices.Sort(lag)
	return bench.Quantile(lag, 0.95) > 2*c.MaxLag.Seconds()
}

func (r *Result) sum(legs []*leg, w window, started, ended meter) {
	r.Seconds = w.to - w.from
	var lag, first, wait, edge []float64
	var counts wer.Counts
	n := wer.New()
	partials := 0
	for _, l := range legs {
		now := time.Since(l.begin).Seconds()
		a, b := l.lags(w, now)
		lag, first = append(lag, a...), append(first, b...)
		a, b, missing := l.waits(w, now)
		wait, edge = append(wait, a...), append(edge, b...)
		r.Missing += missing
		counts.Add(l.score(l.said, n))
		for _, t := range l.partials {
			if w.has(t) {
				partials++
			}
		}
	}
	for _, x := range [][]float64{lag, first, wait, edge} {
		slices.Sort(x)
	}
	r.Words, r.Finals = len(lag), len(wait)
	r.Lag50, r.Lag95, r.Lag99 = bench.Quantile(lag, 0.5), bench.Quantile(lag, 0.95), bench.Quantile(lag, 0.99)
	r.First50, r.First95 = bench.Quantile(first, 0.5), bench.Quantile(first, 0.95)
	r.Wait50, r.Wait95 = bench.Quantile(wait, 0.5), bench.Quantile(wait, 0.95)
	r.Edge50, r.Edge95 = bench.Quantile(edge, 0.5), bench.Quantile(edge, 0.95)
	r.WER = counts.Percent()
	r.Partials = float64(partials) / r.Seconds / float64(len(legs))
	r.Counters = ended.counters.since(started.counters)
	passed := (ended.at - started.at).Seconds()
	r.Core = (ended.processor - started.processor).Seconds() / passed
	r.Decoding = r.Busy.Seconds() / passed
}
