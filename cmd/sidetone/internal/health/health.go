// Package health answers whether the server can take calls: checks with names,
// each with a limit of time and a result that is kept for a while, so that asking
// often costs nothing.
//
// Those that know of a thing that can fail add a Check for it. A check that does
// not come back is reported as such and is not begun again before it has.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultTimeout stands for zero in Check.Timeout.
	DefaultTimeout = 2 * time.Second
	// maxChecks bounds how many there may be: they are written by hand.
	maxChecks = 100
)

// Check is one thing that must hold for new calls to be taken.
type Check struct {
	// Name is short and stays, such as "journal".
	Name string
	// Run says what is wrong, in words for the operator; nil is well. It is
	// called from a goroutine of its own, never twice at once. The words must
	// name no caller and hold nothing that was said: anybody may read them.
	Run func(ctx context.Context) error
	// Advisory checks are reported, but do not make the server unready: what they
	// look at can be waited for.
	Advisory bool
	// Timeout is when the context of Run ends; zero means DefaultTimeout.
	Timeout time.Duration
	// Keep is how long a result counts; zero: it is found out each time.
	Keep time.Duration
}

// Result is what a check has found.
type Result struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Advisory says that the server is ready without it.
	Advisory bool `json:"advisory,omitempty"`
	// Problem says what is wrong.
	Problem string `json:"problem,omitempty"`
	// At is when the check ended, MS how long it took, in milliseconds.
	At time.Time `json:"at"`
	MS int64     `json:"ms"`
}

// Report is all results; it is the body of GET /readyz.
type Report struct {
	Ready  bool     `json:"ready"`
	Checks []Result `json:"checks"`
}

// Problems are the results that are not well, in words; empty where all are.
func (r *Report) Problems() string {
	var out []string
	for _, c := range r.Checks {
		if !c.OK {
			out = append(out, c.Name+": "+c.Problem)
		}
	}
	return strings.Join(out, "; ")
}

// Set holds the checks. The zero value has none and is ready; it must not be
// copied. It is safe for concurrent use.
type Set struct {
	mu     sync.Mutex
	closed bool
	checks []*state
	wg     sync.WaitGroup
}

// state is a check and what became of it.
type state struct {
	Check
	ctx    context.Context //nolint:containedctx // it ends the run in progress when the set is closed
	cancel context.CancelFunc
	// The rest is guarded by the set's mu. running is closed when the run in
	// progress ends; nil while there is none.
	running chan struct{}
	since   time.Time
	last    Result
}

// Add takes one more check.
func (s *Set) Add(c Check) error {
	switch {
	case c.Name == "" || c.Run == nil:
		return fmt.Errorf("health: check %q: a name and a function are needed", c.Name)
	case c.Timeout < 0 || c.Keep < 0:
		return fmt.Errorf("health: check %q: times below zero", c.Name)
	case c.Timeout == 0:
		c.Timeout = DefaultTimeout
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("health: closed")
	}
	if len(s.checks) >= maxChecks || slices.ContainsFunc(s.checks, func(o *state) bool { return o.Name == c.Name }) {
		return fmt.Errorf("health: check %q: there is one of that name, or there are %d already", c.Name, maxChecks)
	}
	st := &state{Check: c}
	st.ctx, st.cancel = context.WithCancel(context.Background())
	s.checks = append(s.checks, st)
	return nil
}

// Report runs the checks whose results are old, all at once, and returns what is
// known of all, in the order in which they were added. It takes no longer than
// the longest timeout, or than ctx.
func (s *Set) Report(ctx context.Context) Report {
	s.mu.Lock()
	checks := slices.Clone(s.checks)
	waits := make([]chan struct{}, len(checks))
	for i, c := range checks {
		waits[i] = s.begin(c, time.Now())
	}
	s.mu.Unlock()
	r := Report{Ready: true, Checks: make([]Result, len(checks))}
	longest := time.Duration(0)
	for _, c := range checks {
		longest = max(longest, c.Timeout)
	}
	limit := time.NewTimer(longest)
	defer limit.Stop()
	over := false
	for i, c := range checks {
		if waits[i] != nil && !over {
			select {
			case <-waits[i]:
			case <-limit.C:
				over = true
			case <-ctx.Done():
				over = true
			}
		}
		r.Checks[i] = s.result(c, time.Now())
		r.Checks[i].Advisory = c.Advisory
		r.Ready = r.Ready && (r.Checks[i].OK || c.Advisory)
	}
	return r
}

// begin starts the check unless its result still counts, and returns what is
// closed when it is over; nil where nothing runs. The caller holds mu.
func (s *Set) begin(c *state, now time.Time) chan struct{} {
	switch {
	case c.running != nil:
		return c.running
	case s.closed, !c.last.At.IsZero() && now.Sub(c.last.At) < c.Keep:
		return nil
	}
	done := make(chan struct{})
	c.running, c.since = done, now
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.Timeout)
		err := c.Run(ctx)
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		at := time.Now()
		c.last = Result{Name: c.Name, OK: err == nil, At: at, MS: at.Sub(c.since).Milliseconds()}
		if err != nil {
			c.last.Problem = err.Error()
		}
		c.running = nil
		close(done)
	})
	return done
}

// result is what is known of a check now.
func (s *Set) result(c *state, now time.Time) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if took := now.Sub(c.since); c.running != nil && (took >= c.Timeout || c.last.At.IsZero()) {
		return Result{Name: c.Name, Problem: fmt.Sprintf("no answer for %v", took.Round(time.Millisecond)), At: now, MS: took.Milliseconds()}
	}
	if c.last.At.IsZero() {
		return Result{Name: c.Name, Problem: "the server is stopping", At: now}
	}
	return c.last
}

// Close ends the checks and waits for those that run. Idempotent.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.checks {
		c.cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// ServeHTTP answers GET /readyz: 200 with the Report where all is well, 503 with
// it where something is not.
func (s *Set) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report := s.Report(r.Context())
	status := http.StatusOK
	if !report.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	b, err := json.Marshal(report)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that has gone away is nobody's error.
	_, _ = w.Write(append(b, '\n'))
}
