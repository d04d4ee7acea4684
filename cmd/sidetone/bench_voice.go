package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sidetone/bench/voice"
	"sidetone/cmd/sidetone/internal/benchvoice"
	"sidetone/cmd/sidetone/internal/voicecal"
	"sidetone/internal/models"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/embed/ge2e"
)

// benchVoice is what `sidetone bench voice` was told.
type benchVoice struct {
	eval       string
	engine     string
	params     string
	cache      string
	conditions []string
	durations  []string
	limit      int
	fars       []string
	calls      bool
	cv         bool
	folds      int
	looks      []time.Duration
	parallel   int
	bootstrap  voice.Bootstrap

	jsonFile, report       string
	baseline, saveBaseline string
}

func benchVoiceCmd() *cobra.Command {
	var o benchVoice
	c := &cobra.Command{
		Use:   "voice",
		Short: "Measure how well voices are verified",
		Long: `Voice holds the evaluation data's test recordings against its enrolments and
prints, by kind of line, speech length, gender and age: the equal error rate, the
false rejects (FRR) at two shares of false accepts (FAR), the detection cost, and
the cost of the scores as evidence (Cllr) with its loss by calibration. Intervals
are of 95 % and by speaker.

Then it plays each recording as a call, in the name of its speaker and in the names
of others, to the verifier that runs in calls, and prints how many are matched,
mismatched and undecided, and after how much speech, for each FAR asked for.

With --cv the speakers are dealt into folds. Each trial is scored by a space and a
calibration that were trained without the folds of both its speakers, and decided by
thresholds that were measured on calls between speakers of other folds. That is the
default where the parameters were trained on these recordings: scored by themselves
they would look better than they are.

With --baseline it prints what differs from the file's figures, and fails if a rate
is worse by more than the file's points, or is not in the file.`,
		Example: `  sidetone bench voice
  sidetone bench voice --html voice.html --json voice.json
  sidetone bench voice --conditions tel --durations 5,10 --calls=false
  sidetone bench voice --baseline bench/testdata/voice-baseline.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default(), cmd.Flags().Changed("cv"))
		},
	}
	o.flags(c)
	return c
}

func (o *benchVoice) flags(c *cobra.Command) {
	root := os.Getenv("SIDETONE_EVAL")
	if root == "" {
		root = filepath.Join("..", "shared", "eval")
	}
	f := c.Flags()
	f.StringVar(&o.eval, "eval", root, "folder of the evaluation data (SIDETONE_EVAL)")
	f.StringVar(&o.engine, "engine", "campplus", "what embeds voices: campplus or ge2e")
	f.StringVar(&o.params, "params", "", "`file` of parameters; empty: those of the program")
	f.StringVar(&o.cache, "cache", "", "`file` that keeps raw embeddings for another run, as that of voice train; empty: only for this run")
	f.StringSliceVar(&o.conditions, "conditions", nil, "lists of trials, such as tel,codec,noise; empty: all")
	f.StringSliceVar(&o.durations, "durations", nil, "seconds of speech of the trials, such as 3,5,10,15; empty: all")
	f.IntVar(&o.limit, "limit", 0, "at most this many speakers, of adults and of children; 0: all")
	f.StringSliceVar(&o.fars, "far", []string{"1%", "0.1%", "0.05%"}, "shares of impostors that calls may accept")
	f.BoolVar(&o.calls, "calls", true, "replay the recordings as calls")
	f.BoolVar(&o.cv, "cv", true, "train anew without each trial's speakers; by default, if the parameters were trained on these recordings")
	f.IntVar(&o.folds, "folds", 12, "into how many parts --cv deals the speakers")
	f.DurationSliceVar(&o.looks, "looks", nil, "net speech at which --cv looks at the calls that it measures thresholds on; empty: each half second")
	f.IntVar(&o.parallel, "parallel", runtime.GOMAXPROCS(0), "embeddings and trainings at once")
	f.IntVar(&o.bootstrap.Rounds, "rounds", 1000, "drawings of speakers that intervals are made of")
	f.Uint64Var(&o.bootstrap.Seed, "seed", 1, "seed of the drawings")
	f.StringVar(&o.jsonFile, "json", "", "write the result to this `file`")
	f.StringVar(&o.report, "html", "", "write a report with charts to this `file`")
	f.StringVar(&o.baseline, "baseline", "", "compare with this file, fail if worse")
	f.StringVar(&o.saveBaseline, "save-baseline", "", "put what is measured into this file, which is made if it is not there")
}

func (o *benchVoice) run(ctx context.Context, w io.Writer, store *models.Store, cvAsked bool) (err error) {
	// Everything that may be wrong with the request is found before the work.
	policies, err := o.policies()
	if err != nil {
		return err
	}
	var base *voice.Baseline
	if o.baseline != "" {
		if base, err = readVoiceBaseline(o.baseline); err != nil {
			return err
		}
	}
	trials, err := o.trials()
	if err != nil {
		return err
	}
	engine, err := loadVoice(store, o.engine)
	if err != nil {
		return err
	}
	params, err := o.readParams(engine.Model(), cvAsked)
	if err != nil {
		return err
	}
	cache, end, err := o.openCache(engine.Model())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	started := time.Now()
	stock := benchvoice.NewStock(o.root(), engine, o.parallel, cache)
	show := stages()
	r, err := benchvoice.Run(ctx, benchvoice.Config{
		Trials: trials, Stock: stock, Policies: policies, Bootstrap: o.bootstrap, Progress: show,
		Judges: func(ctx context.Context) (benchvoice.Judges, error) {
			if !o.cv {
				return benchvoice.NewJudge(params)
			}
			return o.folded(ctx, engine, cache, show)
		},
	})
	if err != nil {
		return err
	}
	o.describe(r, engine, params)
	r.Started, r.Seconds = started, time.Since(started).Seconds()
	return o.write(r, base, w)
}

func (o *benchVoice) root() string { return filepath.Join(o.eval, "voice") }

// policies are the default decision at each FAR.
func (o *benchVoice) policies() ([]voiceprint.Policy, error) {
	var out []voiceprint.Policy
	for _, s := range o.fars {
		far, err := parseShare(s)
		if err != nil || far == 0 {
			return nil, fmt.Errorf("bench voice: --far %q: want shares above 0, such as 0.1%%", s)
		}
		p := voiceprint.DefaultPolicy()
		p.FAR = far
		out = append(out, p)
	}
	if !o.calls {
		return nil, nil
	}
	return out, nil
}

func (o *benchVoice) trials() ([]voice.Trial, error) {
	s := benchvoice.Selection{Root: o.root(), Conditions: o.conditions, Limit: o.limit}
	for _, d := range o.durations {
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(d), "s"), 64)
		if err != nil || !(v > 0) {
			return nil, fmt.Errorf("bench voice: --durations %q: want seconds, such as 3,5,10", d)
		}
		s.Lengths = append(s.Lengths, v)
	}
	if len(s.Conditions) == 0 {
		var err error
		if s.Conditions, err = benchvoice.Conditions(s.Root); err != nil {
			return nil, err
		}
	}
	return s.Trials()
}

// loadVoice loads an embedding engine.
func loadVoice(store *models.Store, name string) (voiceprint.Embedder, error) {
	switch name {
	case "campplus":
		return rawVoice(store)
	case "ge2e":
		path, err := store.Path("ge2e-speaker", "pretrained.pt")
		if err != nil {
			return nil, err
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return ge2e.Load(f)
	default:
		return nil, fmt.Errorf("bench voice: --engine %q: want campplus or ge2e", name)
	}
}

// developmentData is how parameters name what `sidetone voice train` made them of.
const developmentData = "the development half of the shared evaluation data"

// readParams reads the parameters, and settles whether they are trained anew.
func (o *benchVoice) readParams(of voiceprint.Model, cvAsked bool) (*backend.Params, error) {
	p, err := voiceParams(o.params)
	if err != nil {
		return nil, err
	}
	other := p.Space.Of() != of
	if !cvAsked {
		seen := strings.HasPrefix(p.Trained.Space, developmentData) || strings.HasPrefix(p.Trained.Calibration, developmentData)
		// The held-back half has no cohort.
		_, err := os.Stat(filepath.Join(o.root(), "cohort.tsv"))
		o.cv = other && o.params == "" || seen && err == nil
	}
	if other && !o.cv {
		return nil, fmt.Errorf("bench voice: parameters for %s, embeddings %w: %s", p.Space.Of().ID, voiceprint.ErrModel, of.ID)
	}
	return p, nil
}

// folded trains a judge for each pair of folds, on all of the folder's recordings.
func (o *benchVoice) folded(ctx context.Context, engine voiceprint.Embedder, cache *voicecal.Cache, show func(what string, n, of int)) (benchvoice.Judges, error) {
	us, err := voicecal.Eval(o.root(), false)
	if err != nil {
		return nil, err
	}
	h := voicecal.Hearing{
		Raw: engine, Looks: o.looks, Policy: voiceprint.DefaultPolicy(), Jobs: o.parallel, Cache: cache,
		Progress: func(n int) { show("recordings to train on", n, len(us)) },
	}
	rs, err := h.Hear(ctx, us)
	if err != nil {
		return nil, err
	}
	t := backend.Training{Of: engine.Model(), Recordings: rs, Data: "the trials' recordings", Policy: h.Policy}
	return benchvoice.NewFolds(ctx, t, o.folds, o.parallel, func(n, of int) { show("trainings", n, of) })
}

// openCache opens the file that was named, or one for this run; end gives it back.
func (o *benchVoice) openCache(m voiceprint.Model) (c *voicecal.Cache, end func() error, err error) {
	name := o.cache
	remove := func() error { return nil }
	if name == "" {
		f, made := os.CreateTemp("", "sidetone-voice-")
		if made != nil {
			return nil, nil, made
		}
		name = f.Name()
		if err = f.Close(); err != nil {
			return nil, nil, err
		}
		remove = func() error { return os.Remove(name) }
	}
	if c, err = voicecal.OpenCache(name, m); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return c, func() error { return errors.Join(c.Close(), remove()) }, nil
}

// describe says in the result how it was made.
func (o *benchVoice) describe(r *voice.Result, engine voiceprint.Embedder, params *backend.Params) {
	r.Version, r.Engine, r.Model = version, "sidetone "+o.engine, engine.Model().ID
	if o.cv {
		r.Folds, r.Calibration = o.folds, "of each fold"
		r.Engine += fmt.Sprintf(", %d folds", o.folds)
		r.Trained = "Space, calibration and thresholds trained on the other speakers of the same recordings."
	} else {
		r.Model, r.Calibration = params.Space.Model().ID, params.Version()
		r.Trained = fmt.Sprintf("Space trained on %s, calibration on %s.", params.Trained.Space, params.Trained.Calibration)
	}
	lengths := "all"
	if len(o.durations) > 0 {
		lengths = strings.Join(o.durations, ", ") + " s"
	}
	conditions := "all"
	if len(o.conditions) > 0 {
		conditions = strings.Join(o.conditions, ", ")
	}
	r.Settings = []voice.Fact{
		{Name: "engine", Value: engine.Model().ID}, {Name: "conditions", Value: conditions}, {Name: "trials' lengths", Value: lengths},
		{Name: "speakers of each group", Value: fmt.Sprintf("at most %d (0: all)", o.limit)},
		{Name: "intervals", Value: fmt.Sprintf("%d drawings of speakers, seed %d", o.bootstrap.Rounds, o.bootstrap.Seed)},
		{Name: "machine", Value: fmt.Sprintf("%s, %d at once", runtime.GOARCH, o.parallel)},
	}
}

func (o *benchVoice) write(r *voice.Result, base *voice.Baseline, w io.Writer) error {
	err := voice.Table(w, r)
	if o.jsonFile != "" {
		err = errors.Join(err, writeFile(o.jsonFile, func(f io.Writer) error {
			e := json.NewEncoder(f)
			e.SetIndent("", "  ")
			return e.Encode(r)
		}))
	}
	if o.report != "" {
		err = errors.Join(err, writeFile(o.report, func(f io.Writer) error { return voice.HTML(f, r) }))
	}
	if o.saveBaseline != "" {
		err = errors.Join(err, saveVoiceBaseline(o.saveBaseline, r))
	}
	if base != nil {
		changes, worse := base.Compare(r)
		fmt.Fprintf(w, "\n%d figures differ from %s\n", len(changes), o.baseline)
		for _, c := range changes {
			fmt.Fprintln(w, "  "+c)
		}
		err = errors.Join(err, worse)
	}
	return err
}

func readVoiceBaseline(name string) (*voice.Baseline, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := voice.ReadBaseline(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func saveVoiceBaseline(name string, r *voice.Result) error {
	b, err := readVoiceBaseline(name)
	if errors.Is(err, fs.ErrNotExist) {
		// A rate may move by as much when a decision or two turn.
		b, err = &voice.Baseline{Points: 0.1}, nil
	}
	if err != nil {
		return err
	}
	b.Set(r)
	return writeFile(name, b.Write)
}

// stages shows progress bars, one after the other.
func stages() func(what string, n, of int) {
	var now string
	var bar func(done int)
	return func(what string, n, of int) {
		if what != now {
			now, bar = what, progress(of, what)
		}
		bar(n)
	}
}
