// Package benchload brings calls into a running server for
// `sidetone bench load`: two legs of RTP each, at the pace of speech, with a
// pane for each agent; and samples what the server uses up meanwhile.
//
// One goroutine sends the packets of all calls, one lets the panes' time of
// painting pass; each call and each pane have one more, which mostly wait. What
// is kept does not grow with time.
//
// It is larger than other packages, since it stands for a PBX, its agents' pages
// and who watches the server, which share the books of each call.
package benchload

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sidetone/bench/load"
)

// Config says what is run.
type Config struct {
	// URL is the server's address, Token what is shown to it, if anything.
	URL, Token string
	// PID is the server's process, where it runs on this machine; else 0. CPUs is
	// how many processors it may use. Own says that nobody else calls it.
	PID, CPUs int
	Own       bool

	Material []*Material
	Seed     uint64
	// Calls run at once; new ones begin for Length, and those that run then are
	// played to their end.
	Calls  int
	Length time.Duration
	// Ramp, where it is given, stands for Calls and Length.
	Ramp *Ramp
	// Stagger is the time within which the first calls begin, Pause that between
	// two calls of an agent.
	Stagger, Pause time.Duration
	Service        load.Service
	// NoBye leaves calls to their silence instead of hanging up.
	NoBye bool
	// Loss is the share of packets that is lost on the way, 0 to 1.
	Loss float64
	// Paint is how long a pane takes to paint a card.
	Paint time.Duration
	// WarmUp is the length of the call before anything counts, 8 s if it is 0.
	WarmUp time.Duration
	// Progress, where it is given, is told about once a second how things stand.
	Progress func(Status)
}

// Ramp goes from a number of calls to another in steps, until the service level
// breaks.
type Ramp struct {
	From, Step, To int
	// Settle is the time in which a step's new calls begin, Hold that which is
	// measured then.
	Settle, Hold time.Duration
}

func (c *Config) validate() error {
	switch {
	case len(c.Material) == 0:
		return errors.New("load: there is no call to play")
	case c.Ramp == nil && (c.Calls < 1 || c.Length <= 0):
		return fmt.Errorf("load: %d calls for %v: at least one, for a time above zero", c.Calls, c.Length)
	case c.Ramp != nil && (c.Ramp.From < 1 || c.Ramp.Step < 1 || c.Ramp.To < c.Ramp.From || c.Ramp.Hold <= 0):
		return fmt.Errorf("load: a ramp from %d by %d to %d, %v each, is none", c.Ramp.From, c.Ramp.Step, c.Ramp.To, c.Ramp.Hold)
	case c.Loss < 0 || c.Loss >= 1:
		return fmt.Errorf("load: a loss of %g; it is a share below 1", c.Loss)
	}
	for _, m := range c.Material {
		if m.Length() == 0 {
			return fmt.Errorf("load: call %s is empty", m.Name)
		}
	}
	return nil
}

const (
	// refusedPause and failedPause are how long an agent waits after a call that
	// was refused, as the server's Retry-After says, or failed.
	refusedPause = 5 * time.Second
	failedPause  = 2 * time.Second
	warmUpLength = 8 * time.Second
	// toldWithin is how long after a call's end its pane must know of it.
	toldWithin = 10 * time.Second
	// silenceLimit bounds the wait for a call that ends by silence.
	silenceLimit = 3 * time.Minute
	// settleLimit bounds the wait for the server to give back what calls took.
	settleLimit = 30 * time.Second
)

// runner is a run under way.
type runner struct {
	cfg   Config
	id    string
	api   *api
	led   *ledger
	sam   *sampler
	pace  *pacer
	paint *painter
	// until is when no new calls begin any more; zero: when cut ends.
	until time.Time
	slots sync.WaitGroup
	n     int
}

// Run plays calls until the time is over, the service level broke or ctx ends;
// in the last case the calls are hung up. It returns an error where there is
// nothing to tell.
func Run(ctx context.Context, cfg Config) (*load.Result, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a, err := newAPI(cfg.URL, cfg.Token)
	if err != nil {
		return nil, fmt.Errorf("load: the server: %w", err)
	}
	defer a.close()
	result := &load.Result{Server: cfg.URL, Started: time.Now(), Series: map[string][]load.Sample{}, Service: cfg.Service.String()}
	if result.Version, err = a.version(ctx); err != nil {
		return nil, fmt.Errorf("load: the server does not answer; is `sidetone serve` running? %w", err)
	}
	// What serves the calls ends after them, whatever ends them.
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	var services sync.WaitGroup
	defer services.Wait()
	defer stop()

	warm := newRunner(cfg, a)
	services.Go(func() { warm.pace.run(base) })
	services.Go(func() { warm.paint.run(base) })
	if err = warm.warmUp(ctx, base); err != nil {
		return nil, fmt.Errorf("load: the first call: %w", err)
	}
	before, err := warm.sam.settled(base, a, nil)
	if err != nil {
		return nil, fmt.Errorf("load: the server's metrics: %w", err)
	}

	r := newRunner(cfg, a)
	r.pace, r.paint = warm.pace, warm.paint
	services.Go(func() { r.sam.run(base) })
	services.Go(func() { r.tell(base) })
	if cfg.Ramp != nil {
		r.climb(ctx, base, result)
	} else {
		r.hold(ctx, base, result)
	}
	result.Interrupted = ctx.Err() != nil
	a.close()
	after, err := r.sam.settled(base, a, &before)
	if err != nil {
		r.led.trouble(load.Error, "metrics after the run: "+err.Error())
	}
	r.report(result, before, after)
	return result, nil
}

func newRunner(cfg Config, a *api) *runner {
	r := &runner{cfg: cfg, id: strings.ToLower(rand.Text()[:6]), api: a, led: newLedger(time.Now()), pace: &pacer{}, paint: newPainter(cfg.Paint)}
	r.sam = newSampler(a, cfg.PID, r.led)
	return r
}

// warmUp plays a short call, so that what the server takes once it has taken,
// and what is wrong shows at once.
func (r *runner) warmUp(ctx, base context.Context) error {
	panes, stop := context.WithCancel(base)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	s := r.newSlot()
	wait.Go(func() { s.pane.run(panes) })
	if err := s.pane.connected(ctx); err != nil {
		return err
	}
	s.call(ctx, r.cfg.Material[0].cut(cmp.Or(r.cfg.WarmUp, warmUpLength)))
	r.led.mu.Lock()
	defer r.led.mu.Unlock()
	if r.led.calls.Opened == 0 {
		for text := range r.led.problems {
			return errors.New(text)
		}
	}
	return ctx.Err()
}

// settled waits until the server holds no more than before, where that is given,
// or its figures stand still, and reads them.
func (s *sampler) settled(ctx context.Context, a *api, before *reading) (reading, error) {
	var last reading
	for deadline := time.Now().Add(settleLimit); ; {
		a.close()
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(time.Second):
		}
		now, err := s.read(ctx)
		if err != nil {
			return now, err
		}
		want := last
		if before != nil {
			want = *before
		}
		if now.goroutines <= want.goroutines && now.files <= want.files && last.metrics != nil || time.Now().After(deadline) {
			return now, nil
		}
		last = now
	}
}

// hold keeps the calls running for the configured time.
func (r *runner) hold(ctx, base context.Context, result *load.Result) {
	r.until = r.led.begun.Add(r.cfg.Length)
	r.grow(ctx, base, r.cfg.Calls, r.cfg.Stagger)
	r.slots.Wait()
	result.From = min(r.cfg.Stagger, r.cfg.Length/2).Seconds()
	result.To = min(r.cfg.Length, time.Since(r.led.begun)).Seconds()
}

// climb adds calls until the service level breaks.
func (r *runner) climb(ctx, base context.Context, result *load.Result) {
	calls, hangUp := context.WithCancel(ctx)
	defer r.slots.Wait()
	defer hangUp()
	ramp := r.cfg.Ramp
	capacity := 0
	for n := ramp.From; n <= ramp.To; n += ramp.Step {
		r.grow(calls, base, n, ramp.Settle)
		if !pause(ctx, ramp.Settle) {
			break
		}
		from, events := time.Since(r.led.begun), r.led.counted()
		if !pause(ctx, ramp.Hold) {
			break
		}
		to := time.Since(r.led.begun)
		f := r.led.figures(from, to, events)
		step := load.Step{
			Calls: n, Seconds: (to - from).Seconds(), Latencies: latencyFigures(f),
			Usage: r.sam.usage(from, to, r.cfg.CPUs), Breaches: r.cfg.Service.Breaches(f),
		}
		result.Steps = append(result.Steps, step)
		result.From, result.To = from.Seconds(), to.Seconds()
		if !step.Holds() {
			result.Bound = load.Bounds(&step)
			break
		}
		capacity = n
	}
	result.Capacity = &capacity
}

// pause waits, or reports that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// grow adds agents until there are n, who begin within a time.
func (r *runner) grow(ctx, base context.Context, n int, within time.Duration) {
	first := r.n
	for r.n < n {
		s := r.newSlot()
		delay := within * time.Duration(s.n-first) / time.Duration(n-first)
		r.slots.Go(func() { s.run(ctx, base, delay) })
	}
}

// tell tells how things stand until ctx ends.
func (r *runner) tell(ctx context.Context) {
	if r.cfg.Progress == nil {
		return
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			r.cfg.Progress(r.led.status(now))
		}
	}
}
