package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// What is kept is counted at most each minute; what cannot be counted has no figure.
func TestVoiceCounts(t *testing.T) {
	counted, now := 0, time.Unix(1000, 0)
	var fault error
	c := newVoiceCounts(func(context.Context) (voicestore.Stats, error) {
		counted++
		return voicestore.Stats{
			Persons: map[voicestore.State]int64{voicestore.Consented: 3}, Enrolled: 2, Templates: map[string]int64{"m": 4}, Provisional: 1,
			Watch: watchlist.Stats{Voices: 5, Overdue: 1, Hits: int64(counted)}, Stale: 6, Unaudited: 7,
		}, fault
	}, slog.New(slog.DiscardHandler))
	c.now = func() time.Time { return now }
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(c)
	shown := func() []string {
		t.Helper()
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		var out []string
		for line := range strings.Lines(w.Body.String()) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, strings.TrimPrefix(line, "sidetone_voice_"))
			}
		}
		return out
	}
	want := []string{
		"hits_open 1", `people{state="consented"} 3`, `people{state="enrolled"} 2`, "rows_stale 6", `templates{model="",use="provisional"} 1`,
		`templates{model="m",use="compared"} 4`, "unaudited 7", "watch_overdue 1", "watch_voices 5",
	}
	for range 2 {
		if got := shown(); !slices.Equal(got, want) || counted != 1 {
			t.Errorf("counted %d times: %q", counted, got)
		}
	}
	now, fault = now.Add(countEvery), errors.New("no database")
	if got := shown(); len(got) != 0 || counted != 2 {
		t.Errorf("counted %d times, figures of what cannot be counted: %q", counted, got)
	}
	now, fault = now.Add(countEvery), nil
	if got := shown(); len(got) != len(want) || counted != 3 {
		t.Errorf("counted %d times: %q", counted, got)
	}
	c.stats = nil
	if got := shown(); len(got) != 0 {
		t.Errorf("figures where no voices are kept: %q", got)
	}
}
