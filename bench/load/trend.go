package load

import (
	"fmt"
	"math"
)

// Trend is a straight line through samples (least squares).
type Trend struct {
	// Mean is the mean of the values, Slope the growth in a second.
	Mean, Slope float64
	// Scatter is the standard deviation about the line.
	Scatter float64
	// Seconds is the time that the samples span.
	Seconds float64
	N       int
}

// NewTrend fits a line to the samples' means.
func NewTrend(xs []Sample) Trend {
	t := Trend{N: len(xs)}
	if t.N == 0 {
		return t
	}
	var mx float64
	for _, x := range xs {
		mx += x.At / float64(t.N)
		t.Mean += x.Mean / float64(t.N)
	}
	t.Seconds = xs[t.N-1].At - xs[0].At
	var sxx, sxy float64
	for _, x := range xs {
		sxx += (x.At - mx) * (x.At - mx)
		sxy += (x.At - mx) * (x.Mean - t.Mean)
	}
	if sxx > 0 {
		t.Slope = sxy / sxx
	}
	if t.N > 2 {
		var rest float64
		for _, x := range xs {
			d := x.Mean - t.Mean - t.Slope*(x.At-mx)
			rest += d * d
		}
		t.Scatter = math.Sqrt(rest / float64(t.N-2))
	}
	return t
}

// Growth is by how much the line rises over the samples' time.
func (t Trend) Growth() float64 { return t.Slope * t.Seconds }

const (
	// flatShare is the growth over the time looked at, as a share of the mean,
	// up to which memory counts as flat.
	flatShare = 0.05
	// steadyPoints is how many samples a verdict takes at least, steadySeconds
	// how much time: in less, a heap that has yet to find its size grows.
	steadyPoints  = 20
	steadySeconds = 300
)

// CheckFlat judges whether memory is flat: its line rises by no more than a
// twentieth of the mean over the time looked at, or by less than the scatter
// about the line.
func CheckFlat(what string, t Trend) Check {
	c := Check{Name: what + " flat"}
	if t.N < steadyPoints || t.Seconds < steadySeconds {
		c.Skipped = true
		c.Text = fmt.Sprintf("%d samples over %.0f s are too few to tell", t.N, t.Seconds)
		return c
	}
	limit := max(flatShare*t.Mean, t.Scatter)
	c.OK = t.Growth() <= limit
	c.Text = fmt.Sprintf("%.0f MB in the mean, %+.1f MB over %.0f s (%+.1f MB an hour); limit %.1f MB",
		t.Mean/1e6, t.Growth()/1e6, t.Seconds, t.Slope*3600/1e6, limit/1e6)
	return c
}

const (
	// driftShare and driftSlack are by how much the 95th percentile of the last
	// third may exceed that of the first: a share of it, and seconds.
	driftShare, driftSlack = 0.25, 0.1
	// driftCount is how many latencies each third takes at least, driftSeconds
	// how long it is: in less time it hears other calls, not the same later.
	driftCount   = 20
	driftSeconds = 100
)

// CheckDrift judges whether latencies stay where they are: the 95th percentile
// of the last third of the time against that of the first. A third lasts so many
// seconds.
func CheckDrift(what string, first, last *Sketch, third float64) Check {
	c := Check{Name: what + " latency steady"}
	if third < driftSeconds {
		c.Skipped = true
		c.Text = fmt.Sprintf("%.0f s a third are too few to tell", third)
		return c
	}
	if first.Count() < driftCount || last.Count() < driftCount {
		c.Skipped = true
		c.Text = fmt.Sprintf("%d in the first third and %d in the last are too few to tell", first.Count(), last.Count())
		return c
	}
	a, b := first.Quantile(0.95), last.Quantile(0.95)
	limit := a*(1+driftShare) + driftSlack
	c.OK = b <= limit
	c.Text = fmt.Sprintf("first third p50 %.2f s, p95 %.2f s; last third p50 %.2f s, p95 %.2f s; limit of the last p95 %.2f s",
		first.Quantile(0.5), a, last.Quantile(0.5), b, limit)
	return c
}

// Check is a question that a run answers.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Skipped says that the run cannot tell.
	Skipped bool   `json:"skipped,omitempty"`
	Text    string `json:"text"`
}

// CheckBack judges whether something that the server takes for calls, such as
// descriptors, is given back when they are over.
func CheckBack(what string, before, after, slack float64) Check {
	c := Check{Name: what + " given back", OK: after <= before+slack}
	c.Text = fmt.Sprintf("%.0f before, %.0f after", before, after)
	if before == 0 && after == 0 {
		c.OK, c.Skipped, c.Text = false, true, "not known"
	}
	return c
}
