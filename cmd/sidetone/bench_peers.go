package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/bench"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/cmd/sidetone/internal/benchpeer"
	"sidetone/cmd/sidetone/internal/core"
	"sidetone/internal/models"
)

// benchEngines are the recognisers that are measured side by side.
type benchEngines struct {
	names []string
	model string
	// scripts is the folder of the peers' scripts.
	scripts string
}

func (o *benchEngines) flags(c *cobra.Command, names ...string) {
	c.Flags().StringSliceVar(&o.names, "engines", names, "what is measured: sidetone, stream, faster-whisper, ctranslate2 and whisper.cpp, the first four with :int8 or :float32")
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model, in CTranslate2's form if there are peers")
	c.Flags().StringVar(&o.scripts, "peers", filepath.Join("bench", "peers"), "folder of the peers' scripts")
}

// prepare finds out how each engine is started, and has the peers installed if
// there are any.
func (o *benchEngines) prepare(ctx context.Context, store *models.Store) ([]benchpeer.Engine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	weights, err := store.Path(o.model, "model.bin")
	if err != nil {
		return nil, err
	}
	folder, peer := filepath.Dir(weights), filepath.Join(o.scripts, "peer.py")
	var out []benchpeer.Engine
	peers := false
	for _, name := range o.names {
		e, err := benchEngine(name, o.model, self, peer, folder)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		peers = peers || !e.Ours
	}
	if !peers {
		return out, nil
	}
	c := exec.CommandContext(ctx, peer, "prepare", folder)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("installing the peers (%s prepare; --engines chooses others): %w", peer, err)
	}
	return out, nil
}

// benchEngine reads an engine's name.
func benchEngine(name, weights, self, peer, folder string) (benchpeer.Engine, error) {
	engine, compute, _ := strings.Cut(name, ":")
	e := benchpeer.Engine{}
	if compute == "int8" {
		e.Kind = bench.Int8
	}
	switch engine {
	case "sidetone", "stream":
		if _, err := model.ParseCompute(compute); err != nil {
			return e, fmt.Errorf("engine %q: %w", name, err)
		}
		mode := "whole"
		if engine == "stream" {
			mode, e.Streams = "stream", true
		}
		e.Ours = true
		e.Name = benchName(weights, mode, compute)
		e.Args = []string{self, "bench", "serve", "--model", weights, "--mode", mode, "--compute", compute}
		return e, nil
	case "faster-whisper", "ctranslate2":
		if compute != "int8" && compute != "float32" {
			return e, fmt.Errorf("engine %q: want %s:int8 or %[2]s:float32", name, engine)
		}
	case "whisper.cpp":
		if compute != "" && compute != "float16" {
			return e, fmt.Errorf("engine %q: want whisper.cpp, whose weights are 16-bit floats", name)
		}
		compute, e.Kind = "float16", bench.Either
	default:
		return e, fmt.Errorf("engine %q: want sidetone, stream, faster-whisper, ctranslate2 or whisper.cpp", name)
	}
	e.Name = engine + " " + strings.TrimPrefix(weights, "whisper-") + " " + compute
	e.Args = []string{peer, engine, compute, folder}
	return e, nil
}

// benchName is our engine's name in tables and baselines.
func benchName(weights, mode, compute string) string {
	name := "sidetone " + strings.TrimPrefix(weights, "whisper-") + " " + mode
	if compute != "" && compute != "default" {
		name += " " + compute
	}
	return name
}

// benchServeCmd answers requests as an engine of its own process.
func benchServeCmd() *cobra.Command {
	var o benchASR
	c := &cobra.Command{
		Use:    "serve",
		Short:  "Answer requests for decodes on standard input, for compare, latency and words",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), models.Default())
		},
	}
	c.Flags().StringVar(&o.mode, "mode", "whole", "whole or stream")
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model")
	c.Flags().StringVar(&o.compute, "compute", "default", "numbers that the model computes in")
	return c
}

func (o *benchASR) serve(ctx context.Context, r io.Reader, w io.Writer, store *models.Store) error {
	m, err := loadModel(store, o.model, o.compute)
	if err != nil {
		return err
	}
	ready := benchName(o.model, o.mode, o.compute) + ", " + version
	if o.mode == "whole" {
		return benchpeer.Serve(ctx, r, w, ready, benchpeer.Whole(m))
	}
	v, err := loadVAD(store)
	if err != nil {
		return err
	}
	s, err := benchasr.NewStream(m, v, whisper.Config{})
	if err != nil {
		return err
	}
	return errors.Join(benchpeer.Serve(ctx, r, w, ready, benchpeer.Live(s)), s.Close())
}

// benchCompare is what `sidetone bench compare` was told.
type benchCompare struct {
	engines benchEngines
	clips   benchasr.Selection
	cores   []int
	asJSON  bool
	write   string
	// baseline is held to, saveBaseline is written.
	baseline, saveBaseline string
}

func benchCompareCmd() *cobra.Command {
	var o benchCompare
	c := &cobra.Command{
		Use:   "compare",
		Short: "Measure accuracy and cost side by side with other recognisers",
		Long: `Compare has Sidetone and its peers hear every clip of the evaluation data, in
one run, one after the other on each clip, greedily and with the same weights.
It prints word error rates and real-time factors: the seconds of processor time
spent on a second of audio.

Each core that is named takes its share of the clips, with processes of its own
that run nowhere else. The peers are installed once, by pip, into the user's
cache folder.`,
		Example: `  sidetone bench compare
  sidetone bench compare --engines sidetone:int8,faster-whisper:int8 --conditions tel8k --limit 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	o.engines.flags(c, "sidetone", "faster-whisper:float32", "sidetone:int8", "faster-whisper:int8", "sidetone:float32", "whisper.cpp", "stream")
	selectFlags(c, &o.clips)
	c.Flags().IntSliceVar(&o.cores, "cores", everyCore(), "processor cores, counted from 0, -1 for any; more than one to have it done sooner")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the rows as JSON")
	c.Flags().StringVar(&o.write, "write", "", "write every clip's transcripts to this file, for bench wer")
	c.Flags().StringVar(&o.baseline, "baseline", "", "fail if one of Sidetone's rows is worse than this file")
	c.Flags().StringVar(&o.saveBaseline, "save-baseline", "", "put Sidetone's rows into this file, which is made if it is not there")
	return c
}

// everyCore is the cores that compare takes by itself: few, since each has
// processes of its own.
func everyCore() []int {
	if !core.Pinned {
		return []int{-1}
	}
	var out []int
	for i := range min(runtime.NumCPU(), 4) {
		out = append(out, i)
	}
	return out
}

func (o *benchCompare) run(ctx context.Context, w io.Writer, store *models.Store) error {
	var base *bench.Baseline
	if o.baseline != "" {
		var err error
		if base, err = readBaseline(o.baseline); err != nil {
			return err
		}
	}
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	engines, err := o.engines.prepare(ctx, store)
	if err != nil {
		return err
	}
	us, err := benchpeer.Compare(ctx, engines, clips, o.cores, progress(len(clips), "clips"))
	if err != nil {
		return err
	}
	if o.write != "" {
		if err := writeFile(o.write, func(f io.Writer) error { return bench.WriteUtterances(f, us) }); err != nil {
			return err
		}
	}
	rows := bench.Tally(us, wer.New())
	if err := printRows(w, rows, o.asJSON); err != nil {
		return err
	}
	var ours []bench.Row
	for _, r := range rows {
		if strings.HasPrefix(r.Engine, "sidetone ") {
			ours = append(ours, r)
		}
	}
	if o.saveBaseline != "" {
		if err := saveBaseline(o.saveBaseline, ours); err != nil {
			return err
		}
	}
	if base != nil {
		return base.Compare(ours)
	}
	return nil
}

// benchLatency is what `sidetone bench latency` was told.
type benchLatency struct {
	engines   benchEngines
	clips     benchasr.Selection
	core      int
	perLength int
	rounds    int
	asJSON    bool
}

func benchLatencyCmd() *cobra.Command {
	var o benchLatency
	c := &cobra.Command{
		Use:   "latency",
		Short: "Time single decodes side by side with other recognisers, and against the machine's limits",
		Long: `Latency times decodes of 2, 5, 10 and 30 s of telephone speech, at 30 s of
context and at a context fitted to the audio (2 s more than it, 6 s at least),
by Sidetone and its peers: greedily, without timestamps and fallback, with the
same weights, everything on one core, the engines in turn on each clip.

It prints medians, the middle half's bounds, and time per token. The encoder's
time is what the engine says, or the time of a decode that is stopped after its
first token or two, less theirs. Of the clips nearest to each length it takes
those on which the engines differ least in the number of tokens, so that they
do the same work. In the same run it measures what the core can
multiply and read at most, and says how near Sidetone's encoder and decoder come.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	o.engines.flags(c, "sidetone", "ctranslate2:float32", "sidetone:int8", "ctranslate2:int8", "sidetone:float32", "whisper.cpp")
	selectFlags(c, &o.clips)
	c.Flags().Lookup("conditions").DefValue = "[tel8k]"
	o.clips.Conditions = []string{"tel8k"}
	c.Flags().IntVar(&o.core, "core", lastCore(), "processor core that everything runs on, counted from 0; -1 for any")
	c.Flags().IntVar(&o.perLength, "clips", 2, "clips of each length")
	c.Flags().IntVar(&o.rounds, "rounds", 5, "how often each decode is timed")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the results as JSON")
	return c
}

// lastCore is the core that the rest of a machine uses least by habit.
func lastCore() int {
	if !core.Pinned {
		return -1
	}
	return runtime.NumCPU() - 1
}

func (o *benchLatency) run(ctx context.Context, w io.Writer, store *models.Store) error {
	if o.rounds < 1 || o.perLength < 1 {
		return errors.New("bench latency: --rounds and --clips must be 1 or more")
	}
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	tasks, err := benchpeer.Tasks(clips, 2*o.perLength)
	if err != nil {
		return err
	}
	engines, err := o.engines.prepare(ctx, store)
	if err != nil {
		return err
	}
	weights, err := store.Path(o.engines.model, "model.bin")
	if err != nil {
		return err
	}
	file, err := os.ReadFile(weights)
	if err != nil {
		return err
	}
	shape, err := benchpeer.ReadShape(file)
	if err != nil {
		return err
	}
	if err = core.Pin(o.core); err != nil {
		return err
	}
	children, end, err := benchpeer.StartAll(ctx, engines, o.core)
	if err != nil {
		return err
	}
	limits := benchpeer.Measure()
	rows, err := benchpeer.Latency(ctx, engines, children, tasks, o.perLength, o.rounds,
		progress(benchpeer.Decodes(engines, tasks, o.perLength, o.rounds), "decodes"))
	limits = limits.Best(benchpeer.Measure())
	if err = errors.Join(err, end()); err != nil {
		return err
	}
	report := latencyReport{
		Rows: rows, Crowded: bench.Crowded(rows), Speedups: bench.Speedups(rows), Limits: limits,
		Distances: benchpeer.Distances(rows, shape, limits, weightBytes),
	}
	for i, c := range children {
		report.Engines = append(report.Engines, engines[i].Name+": "+c.Ready)
	}
	if o.asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return report.print(w)
}

// weightBytes is what one of our engines keeps for each weight of its decoder.
func weightBytes(engine string) float64 {
	switch {
	case strings.HasSuffix(engine, " int8"):
		return 1
	case strings.HasSuffix(engine, " float32"):
		return 4
	}
	return 2
}

// latencyReport is all that `sidetone bench latency` found.
type latencyReport struct {
	Engines   []string             `json:"engines"`
	Rows      []bench.LatencyRow   `json:"rows"`
	Crowded   float64              `json:"crowded"`
	Speedups  []bench.Speedup      `json:"speedups"`
	Limits    benchpeer.Limits     `json:"limits"`
	Distances []benchpeer.Distance `json:"distances"`
}

func (r *latencyReport) print(w io.Writer) error {
	fmt.Fprintln(w, strings.Join(r.Engines, "\n"))
	if r.Crowded > 1.1 {
		fmt.Fprintf(w, "\nThe core was not free: by the clock a decode took %.1f times its processor time. Trust the latter only.\n", r.Crowded)
	}
	for _, part := range []struct {
		title string
		print func() error
	}{
		{"Time of a decode", func() error { return bench.LatencyTable(w, r.Rows) }},
		{"Sidetone and the fastest peer of its kind (int8, or floats of 16 and 32 bits)", func() error { return bench.SpeedupTable(w, r.Speedups) }},
		{"What this core can do", func() error { return r.Limits.Table(w) }},
		{"How near Sidetone comes", func() error { return benchpeer.DistanceTable(w, r.Distances) }},
	} {
		fmt.Fprintf(w, "\n%s\n", part.title)
		if err := part.print(); err != nil {
			return err
		}
	}
	return nil
}

// benchWords is what `sidetone bench words` was told.
type benchWords struct {
	engines benchEngines
	clips   benchasr.Selection
	core    int
}

func benchWordsCmd() *cobra.Command {
	var o benchWords
	c := &cobra.Command{
		Use:   "words",
		Short: "Compare the times of words with another recogniser's",
		Long: `Words compares when words begin and end: the first of --engines with the second,
whose times are taken for right, over the words that both hear.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	o.engines.flags(c, "sidetone", "faster-whisper:float32")
	selectFlags(c, &o.clips)
	c.Flags().Lookup("conditions").DefValue = "[tel8k]"
	o.clips.Conditions = []string{"tel8k"}
	c.Flags().IntVar(&o.core, "core", -1, "processor core that both run on, counted from 0; -1 for any")
	return c
}

func (o *benchWords) run(ctx context.Context, w io.Writer, store *models.Store) error {
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	if len(o.engines.names) != 2 {
		return fmt.Errorf("bench words: %d engines, want two", len(o.engines.names))
	}
	engines, err := o.engines.prepare(ctx, store)
	if err != nil {
		return err
	}
	children, end, err := benchpeer.StartAll(ctx, engines, o.core)
	if err != nil {
		return err
	}
	t, err := benchpeer.Words(children[0], children[1], clips, progress(len(clips), "clips"))
	if err = errors.Join(err, end()); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s against %s: %d clips, %d words, %d heard by both\n", engines[0].Name, engines[1].Name, len(clips), t.Words, t.Matched)
	for _, part := range []struct {
		name  string
		times []float64
	}{{"begins", t.Starts}, {"ends", t.Ends}} {
		fmt.Fprintf(w, "%-6s  within 100 ms %5.1f %%, 200 ms %5.1f %%, 400 ms %5.1f %%; median of the difference %.0f ms\n", part.name,
			100*bench.Within(part.times, 0.1), 100*bench.Within(part.times, 0.2), 100*bench.Within(part.times, 0.4), 1000*bench.Typical(part.times))
	}
	return nil
}

// progress shows how much of n is done, on a terminal.
func progress(n int, what string) func(done int) {
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(newMeter(os.Stderr).terminal), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	return func(done int) {
		// The bar fails only when its writer does, and then nobody looks.
		_ = bar.Set(done)
	}
}
