package load

import (
	"math"
	"strings"
	"testing"
)

const exposed = `# HELP sidetone_calls_total Calls that are over, by end state.
# TYPE sidetone_calls_total counter
sidetone_calls_total{state="ended"} 12
sidetone_calls_total{state="timed out"} 3 1700000000000
sidetone_calls_total_other 100
odd{text="a } b \" {",more="x"}	7.5
process_cpu_seconds_total 1.5e+02

lag_seconds_bucket{le="0.1"} 10
lag_seconds_bucket{le="+Inf"} 100
lag_seconds_bucket{le="1"} 90
lag_seconds_sum 42
lag_seconds_count 100
`

func TestParseMetrics(t *testing.T) {
	m, err := ParseMetrics([]byte(exposed))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		`sidetone_calls_total{state="timed out"}`: 3, `odd{text="a } b \" {",more="x"}`: 7.5, "process_cpu_seconds_total": 150,
	} {
		if m[name] != want {
			t.Errorf("%s is %g, want %g", name, m[name], want)
		}
	}
	if got := m.Sum("sidetone_calls_total"); got != 15 {
		t.Errorf("sum %g, want 15", got)
	}
	for text, want := range map[string]string{
		"name": "no name and value", " {a=\"b\"} 1": "no name and value", "a{b=\"c\" 1": "no name and value", "a 1 2 3": "no value", "a b": "is no number",
	} {
		if _, err := ParseMetrics([]byte("ok 1\n" + text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestHistogram(t *testing.T) {
	m, err := ParseMetrics([]byte(exposed))
	if err != nil {
		t.Fatal(err)
	}
	h := m.Histogram("lag_seconds")
	if h.Count() != 100 || len(h.Bounds) != 3 || !math.IsInf(h.Bounds[2], 1) {
		t.Fatalf("%+v", h)
	}
	for q, want := range map[float64]float64{0.05: 0.05, 0.1: 0.1, 0.5: 0.55, 0.9: 1, 0.99: 1} {
		if got := h.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	before := Histogram{Bounds: h.Bounds, Counts: []float64{10, 50, 60}}
	if d := h.Since(before); d.Count() != 40 || math.Abs(d.Quantile(0.5)-0.55) > 1e-9 || h.Count() != 100 {
		t.Errorf("since: %+v", d)
	}
	if none := m.Histogram("none"); none.Count() != 0 || none.Quantile(0.5) != 0 || h.Since(none).Count() != 100 {
		t.Error("a histogram that is not there has values")
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add([]byte(exposed))
	f.Add([]byte("a{b=\"\\\"} 1"))
	f.Add([]byte("h_bucket{le=\"nan\"} 1\nh_bucket{le=\"2\"} NaN"))
	f.Fuzz(func(t *testing.T, page []byte) {
		m, err := ParseMetrics(page)
		if err != nil {
			return
		}
		for name := range m {
			if name == "" {
				t.Error("a sample without a name")
			}
		}
		h := m.Histogram("h")
		if len(h.Bounds) != len(h.Counts) {
			t.Errorf("%d bounds, %d counts", len(h.Bounds), len(h.Counts))
		}
		h.Quantile(0.95)
	})
}
