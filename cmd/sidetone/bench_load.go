package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/bench/load"
	"sidetone/cmd/sidetone/internal/benchload"
	"sidetone/cmd/sidetone/internal/core"
)

// benchLoad is what `sidetone bench load` was told.
type benchLoad struct {
	cfg              benchload.Config
	server           benchload.Server
	minutes          float64
	ramp             string
	settle, hold     time.Duration
	stagger          time.Duration
	service          string
	end, loss        string
	material, eval   string
	serverCores, pin string
	serverLog        string
	jsonFile, report string
	title            string
}

func benchLoadCmd() *cobra.Command {
	var o benchLoad
	c := &cobra.Command{
		Use:   "load",
		Short: "Bring many calls into a server at the pace of speech, and verify each",
		Long: `Load plays two-leg calls into a server, so many at once, one after the other for
each agent, with a pane for each agent that acknowledges cards as the page does.
Every call is verified: exactly one end state, its transcript against what was
said, its cards against the script, its packets. How late words, finals and
painted cards are is measured on the pane; the server's processor time, memory,
goroutines and files are sampled every second.

Without --url it starts a server of its own, a process with a configuration and a
data folder made for the run, and stops it afterwards.

With --ramp it adds calls in steps until the service level breaks, and prints how
many calls were held and what bounded them. The service level is a list such as
the default of --slo: latencies card, final and stable (a word) by quantile, and
events that must not happen (refusal, dropped frame, error, lost packet, lost
turn, missing card, wrong card).

New calls begin for --minutes; those that run then are played to their end. The
first Ctrl-C hangs up all calls and reports.`,
		Example: `  sidetone bench load --calls 50 --minutes 10
  sidetone bench load --ramp 4:4:100 --html ramp.html
  sidetone bench load --calls 20 --minutes 60 --server-cpus 0 --pin 1 --html soak.html --json soak.json
  SIDETONE_TOKEN=st_... sidetone bench load --url http://10.1.0.5:8080 --calls 50 --loss 5%`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.flags(c)
	return c
}

func (o *benchLoad) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&o.cfg.Calls, "calls", 10, "calls at once")
	f.Float64Var(&o.minutes, "minutes", 10, "for how many minutes new calls begin")
	f.StringVar(&o.ramp, "ramp", "", "instead: calls in steps, as `from:step:to`")
	f.DurationVar(&o.settle, "settle", 30*time.Second, "of a step of the ramp, the time in which its new calls begin")
	f.DurationVar(&o.hold, "hold", 2*time.Minute, "of a step of the ramp, the time that is measured")
	f.StringVar(&o.service, "slo", load.DefaultService, "the service level")
	f.StringVar(&o.cfg.URL, "url", "", "address of a running server; empty: one is started")
	f.StringVar(&o.cfg.Token, "token", "", "token that is shown to the server; empty: SIDETONE_TOKEN")
	f.IntVar(&o.cfg.PID, "pid", 0, "process of the server at --url, where it runs on this machine")
	f.StringVar(&o.server.Config, "config", "", "configuration of the server that is started; empty: one is made")
	f.IntVar(&o.server.Workers, "workers", 0, "recognition.workers of the configuration that is made; 0: one for each of --server-cpus, else the default")
	f.StringVar(&o.server.Compute, "compute", "", "recognition.compute of the configuration that is made; empty: the default")
	f.StringVar(&o.server.Model, "model", "", "recognition.model of the configuration that is made; empty: the default")
	f.StringVar(&o.serverCores, "server-cpus", "", "cores of the server that is started, such as 0,2-3; empty: any")
	f.StringVar(&o.pin, "pin", "", "cores of the load itself, such as 1; empty: any")
	f.StringVar(&o.serverLog, "server-log", "", "`file` for the log of the server that is started")
	f.StringVar(&o.material, "material", "all", "what is played: demo (the built-in call, with a script of cards), eval (people's calls of the evaluation data) or all")
	root := os.Getenv("SIDETONE_EVAL")
	if root == "" {
		root = filepath.Join("..", "shared", "eval")
	}
	f.StringVar(&o.eval, "eval", root, "folder of the evaluation data (SIDETONE_EVAL)")
	f.Uint64Var(&o.cfg.Seed, "seed", 1, "seed of the order of calls")
	f.DurationVar(&o.stagger, "stagger", -1, "time within which the first calls begin; below zero: a call's length, at most a fifth of the time")
	f.DurationVar(&o.cfg.Pause, "pause", time.Second, "mean time between two calls of an agent")
	f.StringVar(&o.end, "end", "api", "how calls end: api (hung up) or silence (nobody says goodbye)")
	f.BoolVar(&o.cfg.NoBye, "no-bye", false, "the same as --end silence")
	f.StringVar(&o.loss, "loss", "0%", "share of packets that is lost on the way, such as 5%")
	f.DurationVar(&o.cfg.Paint, "paint", 25*time.Millisecond, "time that a pane takes to paint a card: one to two frames of a screen")
	f.StringVar(&o.jsonFile, "json", "", "write the result to this `file`")
	f.StringVar(&o.report, "html", "", "write a report with charts to this `file`")
	f.StringVar(&o.title, "title", "", "title of the report")
}

func (o *benchLoad) run(ctx context.Context, out, status io.Writer) (err error) {
	if err = o.prepare(); err != nil {
		return err
	}
	if o.cfg.URL == "" {
		child, failed := o.startServer(ctx)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, child.Close()) }()
		o.cfg.URL, o.cfg.PID, o.cfg.Own = child.URL, child.PID, true
	}
	o.cfg.Token = cmp.Or(o.cfg.Token, os.Getenv(envToken))
	bar := newLoadBar(status, o.total())
	o.cfg.Progress = bar.show
	result, err := benchload.Run(ctx, o.cfg)
	bar.end()
	if err != nil {
		return err
	}
	result.Title, result.Settings = o.title, o.settings()
	if err = o.write(result, out); err != nil {
		return err
	}
	if failed := result.Failed(); len(failed) > 0 {
		names := make([]string, len(failed))
		for i, c := range failed {
			names[i] = c.Name
		}
		return fmt.Errorf("bench load: %d of %d checks failed: %s", len(failed), len(result.Checks), strings.Join(names, ", "))
	}
	return nil
}

// prepare finds what may be wrong before anything is started.
func (o *benchLoad) prepare() (err error) {
	if o.cfg.Service, err = load.ParseService(o.service); err != nil {
		return fmt.Errorf("--slo: %w", err)
	}
	if o.cfg.Loss, err = parseShare(o.loss); err != nil {
		return fmt.Errorf("--loss: %w", err)
	}
	switch o.end {
	case "api":
	case "silence":
		o.cfg.NoBye = true
	default:
		return fmt.Errorf("--end %q: want api or silence", o.end)
	}
	if o.cfg.Material, err = o.readMaterial(); err != nil {
		return err
	}
	o.cfg.Length = time.Duration(o.minutes * float64(time.Minute))
	if o.ramp != "" {
		if o.cfg.Ramp, err = parseRamp(o.ramp); err != nil {
			return err
		}
		o.cfg.Ramp.Settle, o.cfg.Ramp.Hold = o.settle, o.hold
		o.cfg.Calls = o.cfg.Ramp.To
	}
	if o.cfg.Stagger = o.stagger; o.stagger < 0 {
		o.cfg.Stagger = min(benchload.TypicalLength(o.cfg.Material), o.cfg.Length/5)
	}
	own, err := core.ParseSet(o.pin)
	if err != nil {
		return fmt.Errorf("--pin: %w", err)
	}
	if o.server.Cores, err = core.ParseSet(o.serverCores); err != nil {
		return fmt.Errorf("--server-cpus: %w", err)
	}
	o.cfg.CPUs = len(o.server.Cores)
	if o.cfg.CPUs == 0 {
		o.cfg.CPUs = runtime.NumCPU()
	}
	if own != nil && o.server.Cores == nil {
		// The server is not to inherit where the load runs.
		for c := range runtime.NumCPU() {
			o.server.Cores = append(o.server.Cores, c)
		}
	}
	return core.PinSet(own)
}

func (o *benchLoad) readMaterial() ([]*benchload.Material, error) {
	var out []*benchload.Material
	switch o.material {
	case "demo", "eval", "all":
	default:
		return nil, fmt.Errorf("--material %q: want demo, eval or all", o.material)
	}
	if o.material != "eval" {
		m, err := benchload.Demo()
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if o.material != "demo" {
		ms, err := benchload.Eval(o.eval)
		if err != nil {
			return nil, err
		}
		if len(ms) == 0 && o.material == "eval" {
			return nil, fmt.Errorf("--eval %s: there are no calls in asr/calls", o.eval)
		}
		out = append(out, ms...)
	}
	return out, nil
}

func (o *benchLoad) startServer(ctx context.Context) (_ *benchload.Child, err error) {
	s := o.server
	if s.Program, err = os.Executable(); err != nil {
		return nil, err
	}
	// The calls of before may still be saying their last words.
	s.Calls = 2*o.cfg.Calls + 10
	if s.Workers == 0 && o.serverCores != "" {
		s.Workers = len(s.Cores)
	}
	if o.cfg.NoBye {
		s.SilenceTimeout = 5 * time.Second
	}
	if o.serverLog != "" {
		f, err := os.Create(o.serverLog)
		if err != nil {
			return nil, err
		}
		s.Log = f
	}
	return benchload.Start(ctx, s)
}

// total is how long the run takes, if it takes all of its time.
func (o *benchLoad) total() time.Duration {
	if r := o.cfg.Ramp; r != nil {
		return time.Duration((r.To-r.From)/r.Step+1) * (r.Settle + r.Hold)
	}
	return o.cfg.Length
}

// settings are what the report says of how the run was made.
func (o *benchLoad) settings() []load.Fact {
	var names []string
	for _, m := range o.cfg.Material {
		names = append(names, fmt.Sprintf("%s (%v)", m.Name, m.Length().Round(time.Second)))
	}
	calls := strconv.Itoa(o.cfg.Calls)
	if o.ramp != "" {
		calls = "ramp " + o.ramp
	}
	or := func(s, instead string) string {
		if s == "" {
			return instead
		}
		return s
	}
	workers := "default"
	if n := max(o.server.Workers, len(o.server.Cores)); n > 0 && (o.server.Workers > 0 || o.serverCores != "") {
		workers = strconv.Itoa(n)
	}
	if o.server.Workers > 0 {
		workers = strconv.Itoa(o.server.Workers)
	}
	return []load.Fact{
		{Name: "calls", Value: calls}, {Name: "recordings", Value: strings.Join(names, ", ")},
		{Name: "server's cores", Value: or(o.serverCores, "any")}, {Name: "load's cores", Value: or(o.pin, "any")},
		{Name: "workers", Value: workers}, {Name: "compute", Value: or(o.server.Compute, "default")},
		{Name: "loss", Value: o.loss}, {Name: "end", Value: o.end}, {Name: "seed", Value: strconv.FormatUint(o.cfg.Seed, 10)},
		{Name: "machine", Value: fmt.Sprintf("%s, %d processors", runtime.GOARCH, runtime.NumCPU())},
	}
}

func (o *benchLoad) write(r *load.Result, out io.Writer) error {
	err := load.Table(out, r)
	if o.jsonFile != "" {
		err = errors.Join(err, writeFile(o.jsonFile, func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(r)
		}))
	}
	if o.report != "" {
		err = errors.Join(err, writeFile(o.report, func(w io.Writer) error { return load.HTML(w, r) }))
	}
	return err
}

// parseShare reads a share such as 5% or 0.05.
func parseShare(s string) (float64, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(text, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return 0, fmt.Errorf("%q is no share such as 5%%", s)
	}
	return v, nil
}

// parseRamp reads from:step:to.
func parseRamp(s string) (*benchload.Ramp, error) {
	var n [3]int
	parts := strings.Split(s, ":")
	ok := len(parts) == len(n)
	for i := 0; ok && i < len(n); i++ {
		v, err := strconv.Atoi(parts[i])
		n[i], ok = v, err == nil && v > 0
	}
	if !ok || n[2] < n[0] {
		return nil, fmt.Errorf("--ramp %q: want from:step:to, such as 4:4:40", s)
	}
	return &benchload.Ramp{From: n[0], Step: n[1], To: n[2]}, nil
}

// loadBar shows how a run stands: a bar on a terminal, else a line now and then.
type loadBar struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	total time.Duration
	last  time.Duration
}

func newLoadBar(out io.Writer, total time.Duration) *loadBar {
	b := &loadBar{out: out, total: total}
	if f, ok := out.(*os.File); ok && interactive(f) && os.Getenv("TERM") != "dumb" {
		b.bar = progressbar.NewOptions64(total.Milliseconds(), progressbar.OptionSetWriter(f), progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(false), progressbar.OptionFullWidth())
	}
	return b
}

// lineEvery is how often a line is printed where there is no terminal.
const lineEvery = time.Minute

func (b *loadBar) show(s benchload.Status) {
	text := fmt.Sprintf("%d calls, %d done, card p95 %.2f s, final p95 %.2f s, %d refused, %d errors", s.Running, s.Whole, s.Card, s.Final, s.Refused, s.Errors)
	at := fmt.Sprintf("%v of %v", s.Elapsed.Truncate(time.Second), b.total)
	if b.bar != nil {
		b.bar.Describe(text + ", " + at)
		// The bar fails only when its writer does, and then nobody looks.
		_ = b.bar.Set64(min(s.Elapsed, b.total).Milliseconds())
		return
	}
	if s.Elapsed-b.last >= lineEvery {
		b.last = s.Elapsed
		fmt.Fprintf(b.out, "%s: %s\n", at, text)
	}
}

// end closes the bar's line.
func (b *loadBar) end() {
	if b.bar != nil {
		fmt.Fprintln(b.out)
	}
}
