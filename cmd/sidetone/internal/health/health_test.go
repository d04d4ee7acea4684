package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/cmd/sidetone/internal/health"
	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func add(t *testing.T, s *health.Set, c health.Check) {
	t.Helper()
	if err := s.Add(c); err != nil {
		t.Fatal(err)
	}
}

func TestReadyOnlyWhereAllIsWell(t *testing.T) {
	var s health.Set
	defer s.Close()
	ask := func() (int, health.Report) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		var r health.Report
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return w.Code, r
	}
	if status, r := ask(); status != 200 || !r.Ready || r.Checks == nil {
		t.Errorf("without checks: %d, %+v", status, r)
	}
	var broken atomic.Bool
	add(t, &s, health.Check{Name: "models", Run: func(context.Context) error { return nil }})
	add(t, &s, health.Check{Name: "journal", Run: func(context.Context) error {
		if broken.Load() {
			return errors.New("9 events wait")
		}
		return nil
	}})
	if status, r := ask(); status != 200 || !r.Ready || len(r.Checks) != 2 || r.Problems() != "" {
		t.Errorf("well: %d, %+v", status, r)
	}
	broken.Store(true)
	status, r := ask()
	if status != 503 || r.Ready || r.Problems() != "journal: 9 events wait" || !r.Checks[0].OK {
		t.Errorf("broken: %d, %+v", status, r)
	}
	broken.Store(false)
	if status, r = ask(); status != 200 || !r.Ready {
		t.Errorf("mended: %d, %+v", status, r)
	}
	var late health.Set
	defer late.Close()
	add(t, &late, health.Check{Name: "records", Advisory: true, Run: func(context.Context) error { return errors.New("behind") }})
	if r := late.Report(t.Context()); !r.Ready || r.Checks[0].OK || !r.Checks[0].Advisory || r.Problems() != "records: behind" {
		t.Errorf("an advisory check: %+v", r)
	}
}

func TestResultsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s health.Set
		defer s.Close()
		runs := 0
		add(t, &s, health.Check{Name: "disk", Keep: time.Second, Run: func(context.Context) error { runs++; return nil }})
		for range 3 {
			s.Report(t.Context())
		}
		if runs != 1 {
			t.Errorf("%d runs within the time a result counts, want 1", runs)
		}
		time.Sleep(time.Second)
		if s.Report(t.Context()); runs != 2 {
			t.Errorf("%d runs after it, want 2", runs)
		}
	})
}

// A check that heeds nothing neither holds up the answer for longer than its
// limit nor is begun twice.
func TestAnswerComesWithoutTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s health.Set
		var runs atomic.Int32
		release := make(chan struct{})
		add(t, &s, health.Check{Name: "nats", Timeout: time.Second, Run: func(context.Context) error { runs.Add(1); <-release; return nil }})
		add(t, &s, health.Check{Name: "well", Run: func(context.Context) error { return nil }, Timeout: time.Millisecond})
		for i := range 2 {
			begun := time.Now()
			r := s.Report(t.Context())
			if r.Ready || !strings.Contains(r.Problems(), "nats: no answer for") || !r.Checks[1].OK {
				t.Errorf("%+v", r)
			}
			if took := time.Since(begun); took != time.Second {
				t.Errorf("report %d took %v, want 1s", i, took)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("begun %d times", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := s.Report(ctx); r.Ready {
			t.Errorf("ready though nobody knows: %+v", r)
		}
		close(release)
		synctest.Wait()
		s.Close()
	})
}

func TestCloseEndsChecks(t *testing.T) {
	var s health.Set
	entered := make(chan struct{})
	add(t, &s, health.Check{Name: "slow", Timeout: time.Hour, Run: func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}})
	reported := make(chan health.Report)
	go func() { reported <- s.Report(context.Background()) }()
	<-entered
	s.Close()
	s.Close()
	if r := <-reported; r.Ready {
		t.Errorf("%+v", r)
	}
	if err := s.Add(health.Check{Name: "x", Run: func(context.Context) error { return nil }}); err == nil {
		t.Error("a closed set takes checks")
	}
	if r := s.Report(context.Background()); r.Ready {
		t.Errorf("a closed set is ready: %+v", r)
	}
}

func TestBadChecksAreRefused(t *testing.T) {
	var s health.Set
	well := func(context.Context) error { return nil }
	add(t, &s, health.Check{Name: "a", Run: well})
	for name, c := range map[string]health.Check{
		"twice": {Name: "a", Run: well}, "nameless": {Run: well}, "nothing to run": {Name: "b"},
		"time": {Name: "c", Run: well, Timeout: -1}, "keep": {Name: "d", Run: well, Keep: -1},
	} {
		if s.Add(c) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
