package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/cmd/sidetone/internal/benchlive"
	"sidetone/cmd/sidetone/internal/core"
	"sidetone/internal/models"
	"sidetone/internal/pcm"
)

// benchStreams is what `sidetone bench streams` was told.
type benchStreams struct {
	clips            benchasr.Selection
	model, compute   string
	core             int
	calls            bool
	counts           []int
	start, most      int
	partials         time.Duration
	warm, measured   time.Duration
	maxLag, maxWait  time.Duration
	asJSON           bool
	atLeast, exactTo int
}

func benchStreamsCmd() *cobra.Command {
	var o benchStreams
	c := &cobra.Command{
		Use:   "streams",
		Short: "Find how many talking legs, or calls, one core holds in real time",
		Long: `Streams plays legs to the recogniser in real time, all on one core, and looks for
the largest number that keeps both limits: the 95th percentile of the time from
the end of a word until it is stable (--max-lag), and that of the time from the
end of speech until its final (--max-wait). It doubles the number and then
bisects.

The legs of telephone clips talk all the time, with pauses of 0.5 to 0.8 s. With
--calls two-party calls are played instead, both legs of each, and calls are
counted. Frames that are late are given late, and everything that this delays
counts. Nothing is measured during --warm.`,
		Example: `  sidetone bench streams
  sidetone bench streams --compute int8 --start 16
  sidetone bench streams --calls --n 10,20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	selectFlags(c, &o.clips)
	c.Flags().Lookup("conditions").DefValue = "[tel8k]"
	o.clips.Conditions = []string{"tel8k"}
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model")
	c.Flags().StringVar(&o.compute, "compute", "default", "numbers that the model computes in: default, float32 or int8")
	c.Flags().IntVar(&o.core, "core", lastCore(), "processor core that everything runs on, counted from 0; -1 for any")
	c.Flags().BoolVar(&o.calls, "calls", false, "play calls, both legs of each, and count calls")
	c.Flags().IntSliceVar(&o.counts, "n", nil, "measure these numbers instead of searching")
	c.Flags().IntVar(&o.start, "start", 8, "the number that the search begins with")
	c.Flags().IntVar(&o.most, "most", 256, "the number that the search ends at")
	c.Flags().IntVar(&o.exactTo, "exact", 16, "the search is content with one part in so many")
	c.Flags().DurationVar(&o.partials, "partial-every", time.Second, "time between two partials of an utterance")
	c.Flags().DurationVar(&o.warm, "warm", 10*time.Second, "time before anything is measured")
	c.Flags().DurationVar(&o.measured, "duration", time.Minute, "time that is measured")
	c.Flags().DurationVar(&o.maxLag, "max-lag", 1500*time.Millisecond, "limit of the words' lag")
	c.Flags().DurationVar(&o.maxWait, "max-wait", 700*time.Millisecond, "limit of the finals' wait after the end of speech")
	c.Flags().IntVar(&o.atLeast, "at-least", 0, "fail if fewer are held")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the results as JSON")
	return c
}

// streamsReport is all that `sidetone bench streams` found.
type streamsReport struct {
	Model   string             `json:"model"`
	Compute string             `json:"compute"`
	Calls   bool               `json:"calls"`
	Results []benchlive.Result `json:"results"`
	// Held is the largest number, of calls or of legs, that kept the limits.
	Held int `json:"held"`
	// ModelBytes is the heap that the model keeps.
	ModelBytes float64 `json:"model_bytes"`
}

func (o *benchStreams) run(ctx context.Context, w io.Writer, store *models.Store) error {
	if o.measured < time.Second || o.warm < 0 {
		return fmt.Errorf("bench streams: %v are measured after %v: want a second or more, after 0 or more", o.measured, o.warm)
	}
	if err := core.Pin(o.core); err != nil {
		return err
	}
	play, err := o.tracks()
	if err != nil {
		return err
	}
	before := heapInUse()
	m, err := loadModel(store, o.model, o.compute)
	if err != nil {
		return err
	}
	report := streamsReport{Model: o.model, Compute: o.compute, Calls: o.calls, ModelBytes: heapInUse() - before}
	v, err := loadVAD(store)
	if err != nil {
		return err
	}
	e, err := whisper.New(m, whisper.Config{Workers: 1, PartialEvery: o.partials})
	if err != nil {
		return err
	}
	defer e.Close()
	if err = warmUp(ctx, e, v, play(1)[0]); err != nil {
		return err
	}
	c := benchlive.Config{
		Engine:      e,
		NewDetector: func() (benchlive.Detector, error) { return v.NewDetector(vad.Config{}) },
		Counters:    func() benchlive.Counters { return counters(e.Stats()) },
		Warm:        o.warm, Measured: o.measured, MaxLag: o.maxLag, MaxWait: o.maxWait,
	}
	err = o.search(ctx, w, &report, func(n int) (benchlive.Result, error) { return benchlive.Run(ctx, c, play(n)) })
	if err != nil {
		return err
	}
	if o.asJSON {
		j := json.NewEncoder(w)
		j.SetIndent("", "  ")
		err = j.Encode(report)
	} else {
		_, err = fmt.Fprintf(w, "%s, %s: one core holds %d %s; the model takes %.0f MB, a leg %.0f kB\n", o.model, o.compute,
			report.Held, o.unit(), report.ModelBytes/1e6, report.memory()/1e3)
	}
	if err == nil && report.Held < o.atLeast {
		err = fmt.Errorf("bench streams: %d %s are held, at least %d are asked for", report.Held, o.unit(), o.atLeast)
	}
	return err
}

// memory is what a leg kept where the most were held.
func (r *streamsReport) memory() float64 {
	out := 0.0
	for _, x := range r.Results {
		if x.Holds || out == 0 {
			out = x.Memory
		}
	}
	return out
}

func (o *benchStreams) unit() string {
	if o.calls {
		return "calls"
	}
	return "legs"
}

func (o *benchStreams) legs() int {
	if o.calls {
		return 2
	}
	return 1
}

// search measures the numbers that were asked for, or looks for the largest
// that holds.
func (o *benchStreams) search(ctx context.Context, w io.Writer, r *streamsReport, measure func(n int) (benchlive.Result, error)) error {
	if !o.asJSON {
		if err := benchlive.Head(w, o.unit()); err != nil {
			return err
		}
	}
	try := func(n int) (bool, error) {
		x, err := measure(n)
		if err != nil {
			return false, err
		}
		r.Results = append(r.Results, x)
		if !o.asJSON {
			err = x.Row(w, o.legs())
		}
		return x.Holds, err
	}
	if len(o.counts) == 0 {
		held, err := bench.Largest(o.start, o.most, o.exactTo, try)
		r.Held = held
		return err
	}
	for _, n := range o.counts {
		if n < 1 {
			return fmt.Errorf("bench streams: %d %s", n, o.unit())
		}
		holds, err := try(n)
		if err != nil {
			return err
		}
		if holds {
			r.Held = max(r.Held, n)
		}
	}
	return ctx.Err()
}

// tracks reads all audio, before anything is timed.
func (o *benchStreams) tracks() (func(n int) []benchlive.Track, error) {
	if o.calls {
		o.clips.Sets = []string{benchasr.Calls}
	}
	clips, err := o.clips.Clips()
	if err != nil {
		return nil, err
	}
	var sounds []benchlive.Sound
	for i := range clips {
		x, err := clips[i].Samples()
		if err != nil {
			return nil, err
		}
		s := benchlive.Sound{Samples: x}
		if o.calls {
			turns, err := clips[i].Turns()
			if err != nil {
				return nil, err
			}
			for _, t := range turns {
				s.Said = append(s.Said, benchlive.Said{Start: int64(t.Start * pcm.Rate), End: int64(t.End * pcm.Rate), Text: t.Text})
			}
		} else {
			s.Said = []benchlive.Said{{End: int64(len(x)), Text: clips[i].Ref}}
		}
		sounds = append(sounds, s)
	}
	if !o.calls {
		return func(n int) []benchlive.Track { return benchlive.Talkers(sounds, n) }, nil
	}
	var calls []benchlive.Call
	for i := 0; i+1 < len(sounds); i += 2 {
		calls = append(calls, benchlive.Call{sounds[i], sounds[i+1]})
	}
	if len(calls) == 0 {
		return nil, errors.New("bench streams: no call has both legs")
	}
	return func(n int) []benchlive.Track { return benchlive.Calls(calls, n) }, nil
}

// warmUp lets the engine's worker grow its scratch, which is no leg's.
func warmUp(ctx context.Context, e asr.Engine, v *vad.Model, t benchlive.Track) error {
	var x []int16
	for len(x) < 15*pcm.Rate {
		x = append(x, t().Samples...)
	}
	_, err := benchasr.StreamOf(e, v).Recognise(ctx, x)
	return err
}

func counters(s *whisper.Stats) benchlive.Counters {
	return benchlive.Counters{
		Refused: s.Loops.Load() + s.NoSpeech.Load() + s.Excess.Load(),
		Retries: s.Retries.Load(), Stale: s.StalePartials.Load(), Lost: s.Lost.Load(),
		Busy: time.Duration(s.Busy.Load()),
	}
}

// heapInUse is the memory in use after a collection, in bytes.
func heapInUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
