package fingerprint

import (
	mathbits "math/bits"
	"time"
)

const (
	// MinStretch is the shortest stretch that is taken for the same audio.
	MinStretch = 2 * time.Second
	// MaxErrors is the share of bits that may differ in it.
	MaxErrors = 0.33

	stretch = int(MinStretch / Step)
	// leastSpeech is how many words of a stretch both must have.
	leastSpeech = stretch * 4 / 5
	// A first look takes every so many words at every so many offsets: neighbouring
	// words overlap in most of their audio.
	sparse     = 4
	strides    = 2
	looseError = 0.42
)

func ones(w uint32) int { return mathbits.OnesCount32(w) }

// Stretch is audio that two prints have in common.
type Stretch struct {
	// A and B are where it begins in either, Length how long it is. Its ends are known
	// to about a second, A-B to a Step or two.
	A, B, Length time.Duration
	// Errors is the share of bits that differ within it: 0.5 is chance.
	Errors float64
}

// Match finds the longest stretch that a and b have in common, at any offset, and
// reports whether there is one.
func Match(a, b Print) (Stretch, bool) {
	if len(a) > len(b) {
		s, ok := Match(b, a)
		s.A, s.B = s.B, s.A
		return s, ok
	}
	var best run
	var at int
	for off := -(len(a) - stretch); off <= len(b)-stretch; off += strides {
		from, n := max(0, -off), min(len(a), len(b)-off)
		if n-from < stretch || !plausible(a[from:n], b[from+off:n+off]) {
			continue
		}
		for o := off - strides + 1; o < off+strides; o++ {
			lo, hi := max(0, -o), min(len(a), len(b)-o)
			if hi-lo < stretch {
				continue
			}
			if r := common(a[lo:hi], b[lo+o:hi+o]); r.better(best) {
				r.from += lo
				best, at = r, o
			}
		}
	}
	if best.n == 0 {
		return Stretch{}, false
	}
	return Stretch{
		A: time.Duration(best.from) * Step, B: time.Duration(best.from+at) * Step,
		Length: time.Duration(best.n) * Step, Errors: best.errors,
	}, true
}

// run is a stretch within two prints that are laid beside each other.
type run struct {
	from, n int
	errors  float64
}

func (r run) better(than run) bool {
	return r.n > than.n || r.n == than.n && r.n > 0 && r.errors < than.errors
}

// plausible says whether any window of two aligned prints might agree, by a few of
// its words.
func plausible(a, b Print) bool {
	const (
		n     = stretch / sparse
		least = leastSpeech / sparse * 3 / 4
	)
	var errs, words [n]int
	var err, count int
	for i := 0; i < len(a); i += sparse {
		k := i / sparse % n
		err, count = err-errs[k], count-words[k]
		errs[k], words[k] = 0, 0
		if a[i] != Gap && b[i] != Gap {
			errs[k], words[k] = ones(a[i]^b[i]), 1
			err, count = err+errs[k], count+1
		}
		if count >= least && float64(err) <= looseError*float64(count*bits) {
			return true
		}
	}
	return false
}

// common is the longest stretch of two aligned prints, of one length, within which
// every window of MinStretch has few errors.
func common(a, b Print) run {
	var best run
	var err, count, sum, words, since int
	for i := range a {
		if a[i] != Gap && b[i] != Gap {
			err, count = err+ones(a[i]^b[i]), count+1
		}
		if j := i - stretch; j >= 0 && a[j] != Gap && b[j] != Gap {
			err, count = err-ones(a[j]^b[j]), count-1
		}
		if i < stretch-1 || count < leastSpeech || float64(err) > MaxErrors*float64(count*bits) {
			since = 0
			continue
		}
		if since == 0 {
			sum, words = err, count
		} else if a[i] != Gap && b[i] != Gap {
			sum, words = sum+ones(a[i]^b[i]), words+1
		}
		since++
		r := run{from: i - stretch - since + 2, n: stretch + since - 1, errors: float64(sum) / float64(words*bits)}
		if r.better(best) {
			best = r
		}
	}
	return best
}
