package load

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseService(t *testing.T) {
	for _, c := range []struct{ text, want, fault string }{
		{DefaultService, "card p50 < 1s, card p95 < 2.5s, final p95 < 2s, stable p95 < 3s, no refusal, no dropped frame, no error", ""},
		{" card  p99.9<250ms,final max < 3s ", "card p99.9 < 250ms, final max < 3s", ""},
		{"no  dropped   frame", "no dropped frame", ""},
		{"", "", "empty"},
		{"card p95 < 1s,", "", "empty"},
		{"card p95 1s", "", "is no clause"},
		{"card < 1s", "", "is no clause"},
		{"word p95 < 1s", "", `no latency "word"`},
		{"card p0 < 1s", "", "is no quantile"},
		{"card p100 < 1s", "", "is no quantile"},
		{"card pNaN < 1s", "", "is no quantile"},
		{"card mean < 1s", "", "neither a quantile"},
		{"card p95 < 1", "", "is no time"},
		{"card p95 < -1s", "", "is no time"},
		{"card p95 < 1s < 2s", "", "is no time"},
		{"no trouble", "", `no event "trouble"`},
	} {
		s, err := ParseService(c.text)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%q: error %v, want %q in it", c.text, err, c.fault)
			}
			continue
		}
		if err != nil || s.String() != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, s, err, c.want)
		}
	}
}

func FuzzParseService(f *testing.F) {
	for _, s := range []string{DefaultService, "card max < 1h2m", "no error,no refusal", "stable p0.001 < 1ns", ",", "card p 95 < 1s", "no "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseService(text)
		if err != nil {
			return
		}
		again, err := ParseService(s.String())
		if err != nil || !slices.Equal(again, s) {
			t.Errorf("%q is printed as %q and read back as %v, %v", text, s, again, err)
		}
	})
}

func TestBreaches(t *testing.T) {
	s, err := ParseService("card p95 < 1s, final max < 2s, stable p50 < 1s, no refusal, no error")
	if err != nil {
		t.Fatal(err)
	}
	card, final := &Sketch{}, &Sketch{}
	for range 100 {
		card.Add(900 * time.Millisecond)
		final.Add(time.Second)
	}
	f := Figures{Latencies: map[string]*Sketch{CardLatency: card, FinalLatency: final}, Events: map[string]int{LostTurn: 3}}
	if got := s.Breaches(f); len(got) != 0 {
		t.Errorf("breaches %q, want none", got)
	}
	for range 10 {
		card.Add(3 * time.Second)
	}
	final.Add(2 * time.Second)
	f.Events[Refusal] = 2
	got := s.Breaches(f)
	if len(got) != 3 || !strings.HasPrefix(got[0], "card p95 < 1s: ") || got[1] != "final max < 2s: 2.00s" || got[2] != "no refusal: 2" {
		t.Errorf("breaches %q", got)
	}
}
