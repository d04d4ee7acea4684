package fingerprint

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	// keys are the parts of a word that calls are found by: lower and upper bands
	// suffer from different things.
	keys    = 2
	keyBits = bits / keys
	// Every so many words of what is kept can be found by its keys.
	keyed = 2
	none  = -1
)

// IndexConfig shapes NewIndex.
type IndexConfig struct {
	// Capacity is how much audio is kept, the oldest of it forgotten first; 0 means
	// 10 h. An hour takes 1.8 MB.
	Capacity time.Duration
	// Keep is for how long a print is found; 0 means 30 days.
	Keep time.Duration
}

// Index finds which of many earlier legs a new one repeats. It is safe for
// concurrent use; Finds run side by side.
//
// Prints lie behind each other in a ring; words with the same 16 bits are chained
// from the latest to the oldest, as in a Lempel-Ziv compressor, so that what is
// forgotten needs no clearing up.
type Index struct {
	keep time.Duration

	mu   sync.RWMutex
	ring []uint32
	// head is the position of the latest word with a key, before the one before it.
	// Positions count all words that ever came.
	head   [keys][]int64
	before [keys][]int64
	end    int64
	legs   []leg
}

// Source is whose speech a print is of.
type Source struct {
	// Person is the customer as whom the caller was treated, empty where that is not
	// known; Call the call.
	Person, Call string
}

type leg struct {
	source   Source
	from, to int64
	at       time.Time
}

// NewIndex makes an empty index and takes all its memory.
func NewIndex(c IndexConfig) (*Index, error) {
	if c.Capacity == 0 {
		c.Capacity = 10 * time.Hour
	}
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Capacity < time.Minute || c.Keep <= 0 {
		return nil, fmt.Errorf("fingerprint: an index of %v kept for %v; it holds at least a minute, for more than no time", c.Capacity, c.Keep)
	}
	n := int(c.Capacity / Step)
	x := &Index{keep: c.Keep, ring: make([]uint32, n)}
	for k := range keys {
		x.head[k] = make([]int64, 1<<keyBits)
		for i := range x.head[k] {
			x.head[k][i] = none
		}
		x.before[k] = make([]int64, (n+keyed-1)/keyed+1)
	}
	return x, nil
}

// Add keeps the print of a leg whose call is over. Of a print longer than the index
// only the beginning is kept. The print is copied.
func (x *Index) Add(source Source, p Print, now time.Time) {
	p = p[:min(len(p), len(x.ring))]
	x.mu.Lock()
	defer x.mu.Unlock()
	from := x.end
	for _, w := range p {
		x.ring[x.end%int64(len(x.ring))] = w
		if w != Gap && x.end%keyed == 0 {
			for k := range keys {
				b := key(w, k)
				x.before[k][x.slot(x.end)] = x.head[k][b]
				x.head[k][b] = x.end
			}
		}
		x.end++
	}
	x.legs = append(x.legs, leg{source: source, from: from, to: x.end, at: now})
	x.forget(now)
}

func key(w uint32, k int) uint32 { return w >> (k * keyBits) & (1<<keyBits - 1) }

func (x *Index) slot(at int64) int64 { return at / keyed % int64(len(x.before[0])) }

// forget drops the legs that are too old or that the ring has begun to overwrite.
func (x *Index) forget(now time.Time) {
	n := 0
	for n < len(x.legs) && (x.legs[n].from < x.end-int64(len(x.ring)) || now.Sub(x.legs[n].at) > x.keep) {
		x.wipe(x.legs[n])
		n++
	}
	x.legs = x.legs[:copy(x.legs, x.legs[n:])]
}

// wipe clears what is still in the ring of a leg.
func (x *Index) wipe(l leg) {
	for at := max(l.from, x.end-int64(len(x.ring))); at < l.to; at++ {
		x.ring[at%int64(len(x.ring))] = Gap
	}
}

// Remove forgets the legs of such sources at once and says how many there were. What
// the chains say of them, the order of equal 16 bits, goes as the ring turns.
func (x *Index) Remove(such func(Source) bool) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, kept := 0, x.legs[:0]
	for _, l := range x.legs {
		if such(l.source) {
			x.wipe(l)
			n++
			continue
		}
		kept = append(kept, l)
	}
	x.legs = kept
	return n
}

// Has says whether there is a leg of that source.
func (x *Index) Has(s Source) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(x.legs, func(l leg) bool { return l.source == s })
}

// Len is how many legs are kept.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.legs)
}

// Hit is a leg that was heard before.
type Hit struct {
	Source Source
	// Heard is when it was added.
	Heard time.Time
	// Stretch is what it has in common with the new print, A there, B in the leg.
	Stretch
}

// Find looks for legs that repeat in p what they had said, at its words from the
// given one on: those that are new since the last Find. Of each leg the longest
// stretch is told; the longest first.
func (x *Index) Find(p Print, from int, now time.Time) []Hit {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var hits []Hit
	type diagonal struct {
		leg int
		off int64
	}
	seen := map[diagonal]bool{}
	for q := max(0, from); q < len(p); q++ {
		if p[q] == Gap {
			continue
		}
		for k := range keys {
			b := key(p[q], k)
			for at := x.head[k][b]; at >= 0 && at >= x.end-int64(len(x.ring)); at = x.before[k][x.slot(at)] {
				if !x.near(p, q, at) {
					continue
				}
				i := x.leg(at)
				if i < 0 || now.Sub(x.legs[i].at) > x.keep {
					continue
				}
				d := diagonal{i, at - int64(q)}
				if seen[d] {
					continue
				}
				seen[d] = true
				if s, ok := x.along(p, x.legs[i], d.off); ok {
					hits = longest(hits, Hit{Source: x.legs[i].source, Heard: x.legs[i].at, Stretch: s})
				}
			}
		}
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].Length > hits[j].Length })
	return hits
}

func longest(hits []Hit, h Hit) []Hit {
	for i := range hits {
		if hits[i].Source == h.Source && hits[i].Heard.Equal(h.Heard) {
			if h.Length > hits[i].Length {
				hits[i] = h
			}
			return hits
		}
	}
	return append(hits, h)
}

// near says whether the second before or after q might be the audio around at.
func (x *Index) near(p Print, q int, at int64) bool {
	return x.side(p, q, at, -1) || x.side(p, q, at, 1)
}

func (x *Index) side(p Print, q int, at int64, way int) bool {
	const (
		few  = 6
		many = 12
	)
	var err, count int
	n := int64(len(x.ring))
	for i := 0; i < stretch && count < many; i += sparse {
		j, s := q+way*i, at+int64(way*i)
		if j < 0 || j >= len(p) || s < 0 || s >= x.end || s < x.end-n {
			break
		}
		if w := x.ring[s%n]; w != Gap && p[j] != Gap {
			err, count = err+ones(w^p[j]), count+1
		}
		if count == few && float64(err) > looseError*few*bits {
			return false
		}
	}
	return count == many && float64(err) <= looseError*many*bits
}

func (x *Index) leg(at int64) int {
	i := sort.Search(len(x.legs), func(i int) bool { return x.legs[i].to > at })
	if i == len(x.legs) || x.legs[i].from > at {
		return none
	}
	return i
}

// along lays p beside a leg and finds what they have in common.
func (x *Index) along(p Print, l leg, off int64) (Stretch, bool) {
	lo, hi := max(0, int(l.from-off)), min(len(p), int(l.to-off))
	if hi-lo < stretch {
		return Stretch{}, false
	}
	start, n := int((int64(lo)+off)%int64(len(x.ring))), hi-lo
	var b Print
	if start+n <= len(x.ring) {
		b = x.ring[start : start+n]
	} else {
		b = slices.Concat(x.ring[start:], x.ring[:start+n-len(x.ring)])
	}
	r := common(p[lo:hi], b)
	if r.n == 0 {
		return Stretch{}, false
	}
	return Stretch{
		A: time.Duration(lo+r.from) * Step, B: time.Duration(int64(lo+r.from)+off-l.from) * Step,
		Length: time.Duration(r.n) * Step, Errors: r.errors,
	}, true
}
