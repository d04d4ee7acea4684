package load

import (
	"math"
	"time"
)

const (
	sketchMin = 0.001 // seconds; what is shorter counts as this
	sketchMax = 120.0
)

// Sketch keeps the distribution of latencies in buckets whose bounds grow by a
// constant factor, so that every quantile is right to within SketchError (the
// idea of DDSketch: Masson, Rim and Lee, 2019). Its size does not depend on how
// much it has seen. The zero value is empty and ready; it is for one goroutine.
type Sketch struct {
	buckets []uint32
	n       uint64
	sum     float64
	max     float64
}

// growth is the ratio of a bucket's bounds.
const growth = (1 + SketchError) / (1 - SketchError)

func bucketOf(s float64) int {
	if s <= sketchMin {
		return 0
	}
	return int(math.Ceil(math.Log(min(s, sketchMax)/sketchMin) / math.Log(growth)))
}

// Add notes a latency. What is negative counts as none.
func (s *Sketch) Add(d time.Duration) {
	v := max(d.Seconds(), 0)
	i := bucketOf(v)
	s.grow(i + 1)
	s.buckets[i]++
	s.n++
	s.sum += v
	s.max = max(s.max, v)
}

func (s *Sketch) grow(n int) {
	if n > len(s.buckets) {
		s.buckets = append(s.buckets, make([]uint32, n-len(s.buckets))...)
	}
}

// Merge adds all that another sketch has seen.
func (s *Sketch) Merge(o *Sketch) {
	s.grow(len(o.buckets))
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
	s.n += o.n
	s.sum += o.sum
	s.max = max(s.max, o.max)
}

// Count is the number of latencies seen.
func (s *Sketch) Count() int { return int(s.n) }

// Max is the longest latency in seconds, exactly.
func (s *Sketch) Max() float64 { return s.max }

// Mean is the mean latency in seconds, exactly; 0 without any.
func (s *Sketch) Mean() float64 {
	if s.n == 0 {
		return 0
	}
	return s.sum / float64(s.n)
}

// Quantile is the latency in seconds that the share q of all does not exceed;
// 0 without any.
func (s *Sketch) Quantile(q float64) float64 {
	if s.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(s.n))), 1)
	var seen uint64
	for i, n := range s.buckets {
		if seen += uint64(n); seen >= rank {
			return min(middle(i), s.max)
		}
	}
	return s.max
}

// middle is the value that is as far from one bound of a bucket as from the
// other, relatively.
func middle(i int) float64 {
	return sketchMin * math.Pow(growth, float64(i)) * 2 / (1 + growth)
}

// Spread sums up a distribution of latencies, in seconds.
type Spread struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Spread sums the sketch up.
func (s *Sketch) Spread() Spread {
	return Spread{s.Count(), s.Mean(), s.Quantile(0.5), s.Quantile(0.95), s.Quantile(0.99), s.max}
}

// Bar is a stretch of a distribution for a picture.
type Bar struct {
	// From and To are seconds.
	From, To float64
	Count    int
}

// Bars are the distribution in stretches of equal ratio, per stretches to each
// doubling, without empty ones at both ends.
func (s *Sketch) Bars(per int) []Bar {
	var out []Bar
	width := math.Log(2) / float64(per)
	first := math.MaxInt
	counts := map[int]int{}
	last := 0
	for i, n := range s.buckets {
		if n == 0 {
			continue
		}
		k := int(math.Floor(math.Log(middle(i)/sketchMin) / width))
		k = max(k, 0)
		counts[k] += int(n)
		first, last = min(first, k), max(last, k)
	}
	for k := first; k <= last && first != math.MaxInt; k++ {
		at := func(k int) float64 { return sketchMin * math.Exp(float64(k)*width) }
		out = append(out, Bar{at(k), at(k + 1), counts[k]})
	}
	return out
}
