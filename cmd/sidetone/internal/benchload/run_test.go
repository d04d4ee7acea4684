package benchload

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/bench/load"
)

func config(f *fake) Config {
	return Config{
		URL: f.URL, Token: "secret", Own: true, CPUs: 1, Material: []*Material{material(50)}, Calls: 3, Length: time.Second,
		Stagger: 300 * time.Millisecond, Pause: 100 * time.Millisecond, Paint: 10 * time.Millisecond, WarmUp: 200 * time.Millisecond,
	}
}

func check(t *testing.T, r *load.Result, name string) load.Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c load.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q in %v", name, r.Checks)
	}
	return r.Checks[i]
}

func figure(t *testing.T, r *load.Result, name string) load.LatencyFigure {
	t.Helper()
	i := slices.IndexFunc(r.Latencies, func(l load.LatencyFigure) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("no latency %q in %v", name, r.Latencies)
	}
	return r.Latencies[i]
}

func TestRun(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r, err := Run(t.Context(), config(f))
	if err != nil {
		t.Fatal(err)
	}
	c := r.Calls
	if c.Opened < 3 || c.Whole != c.Opened || c.Cut+c.Refused+c.NotOnce+c.LostTurns+c.PaneLosses != 0 || c.States["ended"] != c.Opened || c.AtOnce > 3 {
		t.Errorf("calls %+v", c)
	}
	if p := r.Packets; p.Sent != 100*c.Opened || p.Received != p.Sent || p.Vanished != 0 {
		t.Errorf("packets %+v of %d calls", p, c.Opened)
	}
	if len(r.Words) != 1 || r.Words[0].Both != 0 || r.Words[0].Calls != c.Opened {
		t.Errorf("words %+v", r.Words)
	}
	if k := r.Cards; k.Expected != c.Opened || k.Missing+k.Wrong+k.Unpainted != 0 || k.Judged != c.Opened {
		t.Errorf("cards %+v", k)
	}
	for name, count := range map[string]int{load.CardLatency: c.Opened, load.FinalLatency: c.Opened, load.StableLatency: 2 * c.Opened, "server card": c.Opened} {
		if l := figure(t, r, name); l.Count != count {
			t.Errorf("%s: %+v, want %d", name, l, count)
		}
	}
	// The card is painted no sooner than that takes.
	if l := figure(t, r, load.CardLatency); l.P50 < 0.009 {
		t.Errorf("cards are painted after %g s", l.P50)
	}
	for _, name := range []string{
		"one end state a call", "the server counts the same calls", "goroutines given back", "files and ports given back",
		"every packet arrives", "every turn recognised", "cards as the script has them", "service level",
	} {
		if k := check(t, r, name); !k.OK {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if len(r.Problems) != 0 || r.Interrupted || r.Version != "fake" {
		t.Errorf("problems %v, interrupted %v, version %s", r.Problems, r.Interrupted, r.Version)
	}
}

func TestRunFindsEndStatesThatAreNotOne(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*fake){
		"told twice": func(f *fake) { f.endTwice = true },
		"changed":    func(f *fake) { f.forgetful = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			breakIt(f)
			cfg := config(f)
			cfg.Calls, cfg.Length = 1, 100*time.Millisecond
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if k := check(t, r, "one end state a call"); k.OK || r.Calls.NotOnce == 0 || len(r.Problems) == 0 {
				t.Errorf("%+v, problems %v", k, r.Problems)
			}
		})
	}
}

// Ctrl-C hangs up all calls and still reports.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := 0
	f.heard = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		// The first is the warm-up's.
		if heard++; heard == 4 {
			cancel()
		}
	}
	cfg := config(f)
	cfg.Length = time.Hour
	cfg.Stagger = 0
	cfg.Material = []*Material{material(500)}
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Calls; !r.Interrupted || c.Opened != 3 || c.Cut != 3 || c.Whole != 0 || c.NotOnce != 0 || c.States["ended"] != 3 {
		t.Errorf("interrupted %v, calls %+v, problems %v", r.Interrupted, r.Calls, r.Problems)
	}
	if k := check(t, r, "one end state a call"); !k.OK {
		t.Errorf("%+v", k)
	}
}

func TestRamp(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.Ramp = &Ramp{From: 1, Step: 2, To: 9, Settle: 100 * time.Millisecond, Hold: 2 * time.Second}
	// A card cannot be painted sooner than that takes, so the first step breaks.
	service, err := load.ParseService("card p50 < 1ms")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Service = service
	cfg.Paint = 50 * time.Millisecond
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	last := r.Steps[len(r.Steps)-1]
	if r.Capacity == nil || *r.Capacity >= last.Calls || last.Holds() || !strings.HasPrefix(last.Breaches[0], "card p50") || len(r.Bound) == 0 {
		t.Errorf("capacity %v, steps %+v, bound by %q", r.Capacity, r.Steps, r.Bound)
	}
	if k := check(t, r, "one end state a call"); !k.OK {
		t.Errorf("%+v: %v", k, r.Problems)
	}
}

func TestRunRefuses(t *testing.T) {
	f := newFake(t)
	for name, c := range map[string]struct {
		change func(*fake, *Config)
		want   string
	}{
		"no material":  {func(_ *fake, c *Config) { c.Material = nil }, "no call to play"},
		"no calls":     {func(_ *fake, c *Config) { c.Calls = 0 }, "at least one"},
		"no ramp":      {func(_ *fake, c *Config) { c.Ramp = &Ramp{From: 4, Step: 1, To: 3, Hold: 1} }, "a ramp from 4"},
		"all lost":     {func(_ *fake, c *Config) { c.Loss = 1 }, "a loss of 1"},
		"empty call":   {func(_ *fake, c *Config) { c.Material = []*Material{{}} }, "is empty"},
		"no address":   {func(_ *fake, c *Config) { c.URL = "server" }, "is no address"},
		"nobody there": {func(_ *fake, c *Config) { c.URL = "http://127.0.0.1:1" }, "does not answer"},
		"no token":     {func(_ *fake, c *Config) { c.Token = "" }, "answered 401: no token"},
		"no room":      {func(f *fake, _ *Config) { f.refuse = true }, "no room"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(f)
			c.change(f, &cfg)
			_, err := Run(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			f.refuse = false
		})
	}
}
