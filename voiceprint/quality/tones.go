package quality

import "math"

const (
	// toneLow is the lowest line that a tone's peak is looked for on: 250 Hz.
	toneLow = 8
	// lobe is how many lines beside its peak a tone fills.
	lobe = 2
	// pure is the share of the power that two tones have at least: vowels on a
	// narrow line come near.
	pure = 0.98
	// still is how far, in lines, a tone may move from frame to frame, steady by how
	// much, in dB, its level may.
	still, steady = 0.06, 0.25
)

// tones tells digits and the network's tones, which are one or two pure tones that
// stand still, from speech.
type tones struct {
	// at are the last frame's, in lines, and its level.
	at    [2]float32
	level float64
	any   bool
}

func (t *tones) breakOff() { t.any = false }

// heard reports whether the frame and the one before it are the same tones.
func (t *tones) heard(power *[window/2 + 1]float32) bool {
	var sum float32
	first := toneLow
	for i := 1; i < len(power)-1; i++ {
		sum += power[i]
		if i > toneLow && power[i] > power[first] {
			first = i
		}
	}
	was := *t
	t.any = false
	in := around(power, first)
	if in < sum/4 {
		return false
	}
	second := -1
	for i := toneLow; i < len(power)-1; i++ {
		if (i < first-2*lobe || i > first+2*lobe) && (second < 0 || power[i] > power[second]) {
			second = i
		}
	}
	beside := around(power, second)
	if beside < in/100 {
		second, beside = first, 0
	}
	if in+beside < pure*sum || sum < 1e-8 {
		return false
	}
	t.any = true
	t.at = [2]float32{place(power, min(first, second)), place(power, max(first, second))}
	t.level = decibels(float64(sum))
	return was.any && math.Abs(t.level-was.level) < steady && same(t.at[0], was.at[0]) && same(t.at[1], was.at[1])
}

func same(a, b float32) bool { return a-b < still && b-a < still }

// place is where the peak at a line lies, in lines.
func place(power *[window/2 + 1]float32, k int) float32 {
	return float32(k) + vertex(power[k-1], power[k], power[k+1])
}

func around(power *[window/2 + 1]float32, at int) float32 {
	var sum float32
	for _, p := range power[at-lobe : min(len(power), at+lobe+1)] {
		sum += p
	}
	return sum
}
