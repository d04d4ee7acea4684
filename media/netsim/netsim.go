// Package netsim says when the packets of a stream would arrive over a network
// that loses some and holds up others, in simulated time and always alike: for
// measurements of the path from packets to words.
package netsim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Network is how a network treats packets. The zero value does nothing to them.
type Network struct {
	Name string
	// Loss is the probability that a packet is lost, of each on its own.
	Loss float64
	// Jitter delays each packet by a random time below it; packets overtake each
	// other where it is longer than they are apart.
	Jitter time.Duration
	// Burst is how long the network stands still, Every how often on average it
	// does; what was sent meanwhile arrives together at the end.
	Burst, Every time.Duration
}

// Networks are those that Sidetone is measured on.
func Networks() []Network {
	const jitter = 5 * time.Millisecond
	return []Network{
		{Name: "clean"},
		{Name: "loss 1 %", Loss: 0.01, Jitter: jitter},
		{Name: "loss 5 %", Loss: 0.05, Jitter: jitter},
		{Name: "loss 10 %", Loss: 0.10, Jitter: jitter},
		{Name: "200 ms bursts", Jitter: jitter, Burst: 200 * time.Millisecond, Every: 3 * time.Second},
	}
}

// Arrival is a packet's.
type Arrival struct {
	// Packet is its number, from 0.
	Packet int
	// At is the time since the first packet was sent.
	At time.Duration
}

// Arrivals sends n packets that are so far apart and returns their arrivals in
// order. The first and the last are not lost, so that the stream's length can
// be told from what arrives.
func (w Network) Arrivals(n int, apart time.Duration, seed uint64) []Arrival {
	rng := rand.New(rand.NewPCG(seed, 0x4e6574))
	all := make([]Arrival, 0, n)
	burst := w.next(rng, 0)
	for i := range n {
		sent := time.Duration(i) * apart
		at := sent
		if w.Jitter > 0 {
			at += time.Duration(rng.Int64N(int64(w.Jitter)))
		}
		for w.Burst > 0 && sent >= burst+w.Burst {
			burst = w.next(rng, burst+w.Burst)
		}
		if w.Burst > 0 && sent >= burst {
			at = burst + w.Burst
		}
		lost := rng.Float64() < w.Loss
		if !lost || i == 0 || i == n-1 {
			all = append(all, Arrival{i, at})
		}
	}
	slices.SortStableFunc(all, func(a, b Arrival) int { return cmp.Compare(a.At, b.At) })
	return all
}

// next is when the network next stands still.
func (w Network) next(rng *rand.Rand, after time.Duration) time.Duration {
	if w.Every <= 0 {
		return after
	}
	return after + w.Every/2 + time.Duration(rng.Int64N(int64(w.Every)))
}
