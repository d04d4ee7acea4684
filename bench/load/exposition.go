package load

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Metrics are the samples of a Prometheus page: the name with its labels, as
// written, to the value.
type Metrics map[string]float64

// ParseMetrics reads the text format of Prometheus, version 0.0.4. Time stamps
// are left out.
func ParseMetrics(page []byte) (Metrics, error) {
	m := Metrics{}
	n := 0
	for line := range bytes.Lines(page) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		// Blanks may stand between the braces, within quotes.
		end := strings.IndexAny(text, " \t{")
		if end > 0 && text[end] == '{' {
			end = labelsEnd(text, end)
		}
		if end <= 0 {
			return nil, fmt.Errorf("metrics: line %d, %.60q: no name and value", n, text)
		}
		fields := strings.Fields(text[end:])
		if len(fields) == 0 || len(fields) > 2 {
			return nil, fmt.Errorf("metrics: line %d, %.60q: no value", n, text)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: line %d: %q is no number", n, fields[0])
		}
		m[text[:end]] = v
	}
	return m, nil
}

// labelsEnd is where the labels that begin at from end; -1 where they do not.
func labelsEnd(s string, from int) int {
	quoted := false
	for i := from; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return i + 1
		}
	}
	return -1
}

// Sum adds up all samples of a name, whatever their labels.
func (m Metrics) Sum(name string) float64 {
	sum := 0.0
	for k, v := range m {
		if k == name || strings.HasPrefix(k, name+"{") {
			sum += v
		}
	}
	return sum
}

// Histogram is a Prometheus histogram, or how one grew.
type Histogram struct {
	// Bounds are the buckets' upper bounds, ascending, the last infinite; Counts
	// are cumulative.
	Bounds, Counts []float64
}

// Histogram reads the histogram of a name without labels; it is empty where
// there is none.
func (m Metrics) Histogram(name string) Histogram {
	type bucket struct{ bound, n float64 }
	var all []bucket
	for k, n := range m {
		le, ok := strings.CutPrefix(k, name+`_bucket{le="`)
		if !ok {
			continue
		}
		bound, err := strconv.ParseFloat(strings.TrimSuffix(le, `"}`), 64)
		if err == nil && !math.IsNaN(bound) {
			all = append(all, bucket{bound, n})
		}
	}
	slices.SortFunc(all, func(a, b bucket) int {
		if a.bound < b.bound {
			return -1
		}
		return 1
	})
	var h Histogram
	for _, b := range all {
		h.Bounds, h.Counts = append(h.Bounds, b.bound), append(h.Counts, b.n)
	}
	return h
}

// Since is how a histogram grew since an earlier reading.
func (h Histogram) Since(o Histogram) Histogram {
	if len(o.Counts) != len(h.Counts) {
		return h
	}
	d := Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts)}
	for i := range d.Counts {
		d.Counts[i] -= o.Counts[i]
	}
	return d
}

// Count is the number of observations.
func (h Histogram) Count() int {
	if len(h.Counts) == 0 {
		return 0
	}
	return int(h.Counts[len(h.Counts)-1])
}

// Quantile estimates a quantile as Prometheus does: evenly spread within its
// bucket; of the last bucket it is the lower bound. 0 without observations.
func (h Histogram) Quantile(q float64) float64 {
	total := float64(h.Count())
	if total <= 0 {
		return 0
	}
	rank := q * total
	low, below := 0.0, 0.0
	for i, n := range h.Counts {
		if n >= rank {
			if math.IsInf(h.Bounds[i], 1) || n == below {
				return low
			}
			return low + (h.Bounds[i]-low)*(rank-below)/(n-below)
		}
		low, below = h.Bounds[i], n
	}
	return low
}
