// Package benchload brings calls into a running server for
// `sidetone bench load`: two legs of RTP each, at the pace of speech, with a
// pane for each agent; and samples what the server uses up meanwhile.
//
// One goroutine sends the packets of all calls, one lets the panes' time of
// painting pass; each call and each pane have one more, which mostly wait. What
// is kept does not grow with time.
package benchload

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/bench/load"
	"sidetone/media/netsim"
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

// slot is an agent with one call after the other.
type slot struct {
	*runner
	n     int
	made  int
	pane  *pane
	rng   *mathrand.Rand
	order []int
	last  *watch
}

func (r *runner) newSlot() *slot {
	s := &slot{runner: r, n: r.n, rng: mathrand.New(mathrand.NewPCG(r.cfg.Seed, uint64(r.n)))}
	s.pane = newPane(r.api, fmt.Sprintf("load-%s-%d", r.id, s.n), r.led, r.paint)
	r.n++
	return s
}

// next is the next recording: each once, in random order, then anew. What the
// agents begin with goes round, so that few calls are not all alike.
func (s *slot) next() *Material {
	all := s.cfg.Material
	if s.order == nil {
		s.order = []int{s.n % len(all)}
	}
	if len(s.order) == 0 {
		s.order = s.rng.Perm(len(all))
	}
	m := all[s.order[0]]
	s.order = s.order[1:]
	return m
}

// run makes calls until no new ones begin or ctx ends.
func (s *slot) run(ctx, base context.Context, delay time.Duration) {
	panes, stop := context.WithCancel(base)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() { s.pane.run(panes) })
	defer func() { s.settle(nil) }()
	if err := s.pane.connected(ctx); err != nil && ctx.Err() == nil {
		s.led.trouble(load.Error, err.Error())
	}
	for pause(ctx, delay) && (s.until.IsZero() || time.Now().Before(s.until)) {
		delay = s.call(ctx, s.next())
	}
}

// call makes one call. It returns how long to wait before the next.
func (s *slot) call(ctx context.Context, m *Material) time.Duration {
	s.made++
	w := newWatch(fmt.Sprintf("load-%s-%d-%d", s.id, s.n, s.made), &m.Script)
	s.pane.follow(w)
	o, err := s.api.open(ctx, w.call, s.pane.agent)
	if err != nil {
		s.pane.forget(w)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errRefused):
			s.led.refused(err)
			return refusedPause
		default:
			s.led.trouble(load.Error, "opening a call: "+err.Error())
		}
		return failedPause
	}
	s.led.opened()
	streams, keptBack, err := s.streams(m, o)
	var p *play
	whole := false
	if err == nil {
		p = s.pace.start(streams)
		s.pane.plays(w, p.begun)
		select {
		case <-p.done:
			whole, err = p.err == nil, p.err
		case <-ctx.Done():
			s.pace.stop(p)
		}
	}
	for _, x := range streams {
		x.conn.Close()
	}
	if err != nil {
		s.led.trouble(load.Error, "sending: "+err.Error())
	}
	var played time.Duration
	if p != nil {
		played = min(time.Since(p.begun), m.Length())
	}
	rec, err := s.hangUp(context.WithoutCancel(ctx), w, ctx.Err() != nil)
	s.led.over(played)
	if err != nil {
		s.led.trouble(load.Error, "ending a call: "+err.Error())
		s.led.notOnce("none is known: " + err.Error())
		return failedPause
	}
	s.account(w, &rec, whole)
	if whole {
		f := load.Verify(&m.Script, &rec, s.pane.lead(rec.Started, p.begun), s.led.norm)
		s.led.carried(p.sent, keptBack, &rec)
		s.led.verified(&m.Script, &rec, &f)
	}
	return s.cfg.Pause/2 + time.Duration(s.rng.Int64N(int64(s.cfg.Pause)+1))
}

// streams opens a socket for each leg and lays out its packets.
func (s *slot) streams(m *Material, o opened) (streams []*stream, keptBack int, err error) {
	for i, l := range o.Legs {
		to, err := net.ResolveUDPAddr("udp", l.Address)
		if err != nil {
			return streams, 0, err
		}
		conn, err := net.DialUDP("udp", nil, to)
		if err != nil {
			return streams, 0, err
		}
		var order []netsim.Arrival
		if s.cfg.Loss > 0 {
			n := len(m.Legs[i]) / payloadLen
			order = netsim.Network{Loss: s.cfg.Loss}.Arrivals(n, packetTime, s.rng.Uint64())
			keptBack += n - len(order)
		}
		streams = append(streams, newStream(conn, m.Legs[i], order))
	}
	return streams, keptBack, nil
}

// hangUp ends a call, or waits until it has ended by its silence, and returns
// its record.
func (s *slot) hangUp(ctx context.Context, w *watch, early bool) (load.Record, error) {
	if !s.cfg.NoBye || early {
		return s.api.end(ctx, w.call)
	}
	deadline := time.Now().Add(silenceLimit)
	for {
		rec, err := s.api.record(ctx, w.call)
		switch {
		case err != nil:
			return rec, err
		case rec.State != "running":
			// The record has its end state before the last words.
			select {
			case <-w.ended:
			case <-time.After(toldWithin):
			}
			return s.api.record(ctx, w.call)
		case time.Now().After(deadline):
			return rec, fmt.Errorf("call %s still runs, %v after its last packet", w.call, silenceLimit)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// account checks that a call has exactly one end state.
func (s *slot) account(w *watch, rec *load.Record, whole bool) {
	s.led.ended(rec.State, whole)
	want := "ended"
	if s.cfg.NoBye && whole {
		want = "timed out"
	}
	if rec.State != want {
		s.led.notOnce(fmt.Sprintf("%q (%s), want %q", rec.State, rec.Reason, want))
	}
	t := time.NewTimer(toldWithin)
	defer t.Stop()
	select {
	case <-w.ended:
	case <-t.C:
		s.led.notOnce(fmt.Sprintf("the pane was not told within %v", toldWithin))
	}
	if ends, state := s.pane.seen(w); ends > 0 && state != rec.State {
		s.led.notOnce(fmt.Sprintf("%q in the record, %q on the pane", rec.State, state))
	}
	again, err := s.api.record(context.Background(), w.call)
	if err != nil {
		s.led.notOnce("asked again: " + err.Error())
	} else if again.State != rec.State || again.Reason != rec.Reason {
		s.led.notOnce(fmt.Sprintf("%q (%s) first, %q (%s) when asked again", rec.State, rec.Reason, again.State, again.Reason))
	}
	s.settle(w)
}

// settle looks once more at the call before, which may have been told to have
// ended twice, and lets go of it.
func (s *slot) settle(next *watch) {
	if w := s.last; w != nil {
		if ends, state := s.pane.seen(w); ends > 1 {
			s.led.notOnce(fmt.Sprintf("the pane was told %d times, at last %q", ends, state))
		}
		s.pane.forget(w)
	}
	s.last = next
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

// report sums the run up.
func (r *runner) report(result *load.Result, before, after reading) {
	result.Seconds = time.Since(r.led.begun).Seconds()
	from, to := seconds(result.From), seconds(result.To)
	r.sam.fill(result)
	r.led.fill(result)
	all := r.led.figures(0, 1<<62, nil)
	result.Latencies = append(latencyFigures(all), serverLatencies(before.metrics, after.metrics)...)
	if result.Capacity == nil {
		result.Breaches = r.cfg.Service.Breaches(all)
	}
	result.Usage = r.sam.usage(from, to, r.cfg.CPUs)
	own, _ := r.sam.mean("own cores", from, to)
	calls, _ := r.sam.mean("calls", from, to)
	memory, _ := r.sam.mean("own memory", from, to)
	result.Tool = load.ToolUsage{Cores: own, Memory: memory, Late: r.pace.lateness()}
	if calls > 0 {
		result.Tool.PerCall = own / calls
	}
	result.Packets.BufferErrors = -1
	if before.bufferErrors >= 0 && after.bufferErrors >= 0 {
		result.Packets.BufferErrors = int(after.bufferErrors - before.bufferErrors)
	}
	result.Checks = r.checks(result, before, after, from, to)
}

// serverLatencies are the server's own figures, from its histograms.
func serverLatencies(before, after load.Metrics) []load.LatencyFigure {
	var out []load.LatencyFigure
	for _, h := range []struct{ name, metric, what string }{
		{"server card", "card_latency_seconds", "as the server measured it, painting included"},
		{"server final", "final_lag_seconds", "as the server measured it, until it left the recogniser"},
		{"server stable", "stable_word_lag_seconds", "as the server measured it, until it left the recogniser"},
	} {
		d := after.Histogram("sidetone_" + h.metric).Since(before.Histogram("sidetone_" + h.metric))
		if d.Count() == 0 {
			continue
		}
		sum := after["sidetone_"+h.metric+"_sum"] - before["sidetone_"+h.metric+"_sum"]
		out = append(out, load.LatencyFigure{Name: h.name, What: h.what, Estimated: true, Spread: load.Spread{
			Count: d.Count(), Mean: sum / float64(d.Count()), P50: d.Quantile(0.5), P95: d.Quantile(0.95), P99: d.Quantile(0.99),
		}})
	}
	return out
}

// checks answers what a run is made for.
func (r *runner) checks(result *load.Result, before, after reading, from, to time.Duration) []load.Check {
	c := result.Calls
	out := []load.Check{{
		Name: "one end state a call", OK: c.NotOnce == 0 && c.Opened == c.Whole+c.Cut && c.Opened > 0,
		Text: fmt.Sprintf("%d opened, %d played to the end, %d hung up early, %d without exactly one end state", c.Opened, c.Whole, c.Cut, c.NotOnce),
	}}
	if r.cfg.Own && after.metrics != nil {
		ended := ends(after.metrics) - ends(before.metrics)
		out = append(out, load.Check{
			Name: "the server counts the same calls", OK: int(ended) == c.Opened && after.metrics["sidetone_calls_running"] == 0,
			Text: fmt.Sprintf("%.0f ended by its count, %d opened by ours, %.0f still running", ended, c.Opened, after.metrics["sidetone_calls_running"]),
		})
	}
	if result.Capacity == nil {
		slo := load.Check{Name: "service level", OK: len(result.Breaches) == 0, Text: result.Service}
		if !slo.OK {
			slo.Text = strings.Join(result.Breaches, "; ")
		}
		out = append(out, slo)
		third := (to - from) / 3
		for _, k := range kinds() {
			first, last := r.led.figures(from, from+third, nil).Latencies[k], r.led.figures(to-third, to, nil).Latencies[k]
			if first != nil && last != nil {
				out = append(out, load.CheckDrift(k, first, last, third.Seconds()))
			}
		}
		out = append(out,
			load.CheckFlat("server's memory", r.sam.trend("memory", from+third, to)),
			load.CheckFlat("server's heap", r.sam.trend("heap", from+third, to)),
			load.CheckFlat("load tool's memory", r.sam.trend("own memory", from+third, to)))
	}
	const fewGoroutines, fewFiles = 5, 3
	out = append(out,
		load.CheckBack("goroutines", before.goroutines, after.goroutines, fewGoroutines),
		load.CheckBack("files and ports", before.files, after.files, fewFiles))
	p := result.Packets
	out = append(out, load.Check{
		Name: "every packet arrives", OK: p.Vanished == 0, Skipped: p.Sent == 0,
		Text: fmt.Sprintf("%d sent, %d received, %d vanished, %d frames dropped, %d full socket buffers", p.Sent, p.Received, p.Vanished, p.Dropped, p.BufferErrors),
	}, load.Check{
		Name: "every turn recognised", OK: c.LostTurns == 0, Skipped: c.Whole == 0,
		Text: fmt.Sprintf("%d turns without a word in %d calls", c.LostTurns, c.Whole),
	}, load.Check{
		Name: "cards as the script has them", OK: result.Cards.Missing+result.Cards.Wrong == 0, Skipped: result.Cards.Judged == 0,
		Text: fmt.Sprintf("%d expected in %d calls, %d missing, %d for nothing", result.Cards.Expected, result.Cards.Judged, result.Cards.Missing, result.Cards.Wrong),
	}, load.Check{
		Name: "packets sent in time", OK: result.Tool.Late.P99 < 2*packetTime.Seconds(),
		Text: fmt.Sprintf("%.1f ms late in the 99th percentile, %.1f ms at most", 1000*result.Tool.Late.P99, 1000*result.Tool.Late.Max),
	})
	return out
}

// ends is how many calls a server counts that are over, without those that
// never began.
func ends(m load.Metrics) float64 {
	refused := m[`sidetone_calls_total{state="refused"}`]
	return m.Sum("sidetone_calls_total") - refused
}

// TypicalLength is the median length of calls.
func TypicalLength(ms []*Material) time.Duration {
	lengths := make([]time.Duration, 0, len(ms))
	for _, m := range ms {
		lengths = append(lengths, m.Length())
	}
	if len(lengths) == 0 {
		return 0
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2]
}
