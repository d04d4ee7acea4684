package model

import "math"

// medianWidth is how many frames the median is taken of.
const medianWidth = 7

// medians replaces each element of x, of which there are more than half of
// medianWidth, by the median of those around it; x goes on mirrored at both
// ends. A NaN counts as the least. It returns its scratch, for the next call.
func medians(x []float32, scratch []int32) []int32 {
	const half = medianWidth / 2
	n := len(x)
	if need := n + medianWidth; cap(scratch) < need {
		scratch = make([]int32, need)
	}
	ranks := scratch[:n+medianWidth]
	for i, v := range x {
		ranks[half+i] = rankOf(v)
	}
	for i := range half {
		ranks[i] = ranks[2*half-i]
		ranks[half+n+i] = ranks[half+n-2-i]
	}
	// Two neighbours have all but one each in common. Of these the middle two
	// are found; the one that is not in common decides between them, or is the
	// median itself if it lies between them.
	for i := 0; i < n; i += 2 {
		w := (*[medianWidth + 1]int32)(ranks[i:])
		a0, a1, a2 := sort3(w[1], w[2], w[3])
		b0, b1, b2 := sort3(w[4], w[5], w[6])
		third := min(a2, b2, max(a0, b1), max(a1, b0))
		fourth := min(max(a0, b2), max(a1, b1), max(a2, b0))
		x[i] = ofRank(min(max(w[0], third), fourth))
		if i+1 < n {
			x[i+1] = ofRank(min(max(w[7], third), fourth))
		}
	}
	return scratch
}

func sort3(a, b, c int32) (least, middle, most int32) {
	a, b = min(a, b), max(a, b)
	b, c = min(b, c), max(b, c)
	return min(a, b), max(a, b), c
}

// noNumber is the rank of NaN.
const noNumber = math.MinInt32

// rankOf maps numbers to integers of the same order, which take less time to
// compare; ofRank leads back.
func rankOf(v float32) int32 {
	if v != v {
		return noNumber
	}
	return flip(int32(math.Float32bits(v)))
}

func ofRank(r int32) float32 {
	if r == noNumber {
		return float32(math.NaN())
	}
	return math.Float32frombits(uint32(flip(r)))
}

// flip reverses the order of negative numbers' bits.
func flip(b int32) int32 { return b ^ b>>31&math.MaxInt32 }
