package load

import (
	"math"
	"time"
)

// Series keeps values over time in at most MaxPoints steps: when they are full,
// neighbours are joined and the step doubles. The zero value has steps of a
// second. It is for one goroutine.
type Series struct {
	step   time.Duration
	points []point
}

type point struct {
	sum, most float64
	n         int
}

// Sample is a step of a Series.
type Sample struct {
	// At is the middle of the step, in seconds since the beginning.
	At float64 `json:"at"`
	// Mean and Max are over the step's values.
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

// Add notes a value at a time since the beginning. Times may come out of order.
func (s *Series) Add(at time.Duration, v float64) {
	if at < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if s.step == 0 {
		s.step = time.Second
	}
	for at >= MaxPoints*s.step {
		s.fold()
	}
	i := int(at / s.step)
	for len(s.points) <= i {
		s.points = append(s.points, point{})
	}
	p := &s.points[i]
	if p.n == 0 || v > p.most {
		p.most = v
	}
	p.sum += v
	p.n++
}

func (s *Series) fold() {
	s.step *= 2
	half := s.points[:0]
	for i := 0; i < len(s.points); i += 2 {
		p := s.points[i]
		if i+1 < len(s.points) {
			o := s.points[i+1]
			if p.n == 0 || o.n > 0 && o.most > p.most {
				p.most = o.most
			}
			p.sum += o.sum
			p.n += o.n
		}
		half = append(half, p)
	}
	s.points = half
}

// Samples are the steps that have values, in order, within from and to.
func (s *Series) Samples(from, to time.Duration) []Sample {
	var out []Sample
	for i, p := range s.points {
		at := time.Duration(i)*s.step + s.step/2
		if p.n == 0 || at < from || at > to {
			continue
		}
		out = append(out, Sample{at.Seconds(), p.sum / float64(p.n), p.most})
	}
	return out
}

// Latencies keeps a Sketch for each step of time, in a bounded number of steps.
// The zero value has steps of five seconds. It is for one goroutine.
type Latencies struct {
	step  time.Duration
	steps []Sketch
}

// maxSteps bounds the sketches of Latencies.
const maxSteps = 240

// Add notes a latency at a time since the beginning.
func (l *Latencies) Add(at, d time.Duration) {
	if l.step == 0 {
		l.step = 5 * time.Second
	}
	at = max(at, 0)
	for at >= maxSteps*l.step {
		l.step *= 2
		half := make([]Sketch, 0, maxSteps/2)
		for i := range l.steps {
			if i%2 == 0 {
				half = append(half, Sketch{})
			}
			half[i/2].Merge(&l.steps[i])
		}
		l.steps = half
	}
	i := int(at / l.step)
	for len(l.steps) <= i {
		l.steps = append(l.steps, Sketch{})
	}
	l.steps[i].Add(d)
}

// Between joins the steps whose middle is within from and to.
func (l *Latencies) Between(from, to time.Duration) *Sketch {
	s := &Sketch{}
	for i := range l.steps {
		if at := time.Duration(i)*l.step + l.step/2; at >= from && at <= to {
			s.Merge(&l.steps[i])
		}
	}
	return s
}

// All joins all steps.
func (l *Latencies) All() *Sketch { return l.Between(0, math.MaxInt64) }

// Quantiles is a quantile of each step that has latencies, in seconds.
func (l *Latencies) Quantiles(q float64) []Sample {
	var out []Sample
	for i := range l.steps {
		if s := &l.steps[i]; s.n > 0 {
			out = append(out, Sample{(time.Duration(i)*l.step + l.step/2).Seconds(), s.Quantile(q), s.max})
		}
	}
	return out
}
