package quality

import "math"

const (
	// A track is a peak of the spectrum that stays within drift lines of where it
	// began; one of tonal frames (280 ms) and more is a held tone. Vowels of half that
	// are common.
	drift = 0.35
	tonal = 14
	// prominent is how much a peak rises above the lines three beside it, as a
	// factor.
	prominent = 6
	// hum is the change from frame to frame, in dB, of what changes least but is no
	// music.
	hum = 1.5
	// blockFrames is what is judged at once: two seconds.
	blockFrames = 100
)

// music looks for what music has and speech has not: tones that are held at one
// pitch in a spectrum that changes little from frame to frame. Percussion alone, or
// singing alone, is not found.
type music struct {
	age   [window/2 + 1]uint8
	begun [window/2 + 1]float32
	// before is the last frame's levels in bands, if run is above 0.
	before [fallBands]float64
	run    int

	block  block
	sum    float64
	blocks int
}

// block is what is known of some seconds.
type block struct {
	n, fluxes int
	// held sums the frames' shares of power in held tones, flux the changes of the
	// bands' levels in dB.
	held, flux float64
}

func (m *music) breakOff() {
	m.run = 0
	m.age = [window/2 + 1]uint8{}
}

func (m *music) add(power *[window/2 + 1]float32) {
	total, held := m.track(power)
	b := &m.block
	b.n++
	if total > 0 {
		b.held += float64(held / total)
	}
	edges := fallEdges()
	for i := range m.before {
		e := float32(1e-9)
		for _, p := range power[edges[i]:edges[i+1]] {
			e += p
		}
		now := decibels(float64(e))
		if m.run > 0 {
			b.flux += math.Abs(now - m.before[i])
			b.fluxes++
		}
		m.before[i] = now
	}
	m.run++
	if b.n == blockFrames {
		m.sum += b.probability()
		m.blocks++
		*b = block{}
	}
}

// track follows the peaks and returns the power in the band and what of it lies in
// held tones.
func (m *music) track(power *[window/2 + 1]float32) (total, held float32) {
	var age [window/2 + 1]uint8
	var begun [window/2 + 1]float32
	for k := bandLow; k <= bandHigh; k++ {
		p := power[k]
		total += p
		if p <= power[k-1] || p < power[k+1] || p < prominent*max(power[k-3], power[k+3]) {
			continue
		}
		at := place(power, k)
		age[k], begun[k] = 1, at
		for j := k - 1; j <= k+1; j++ {
			if d := m.begun[j] - at; m.age[j] >= age[k] && d < drift && d > -drift {
				age[k], begun[k] = min(m.age[j]+1, 250), m.begun[j]
			}
		}
		if age[k] >= tonal {
			held += power[k-1] + p + power[k+1]
		}
	}
	m.age, m.begun = age, begun
	return total, held
}

// vertex is where the parabola through the levels of three neighbours has its peak,
// in lines from the middle one.
func vertex(a, b, c float32) float32 {
	x, y, z := math.Log(float64(a)+1e-20), math.Log(float64(b)+1e-20), math.Log(float64(c)+1e-20)
	d := x - 2*y + z
	if d >= 0 {
		return 0
	}
	return float32((x - z) / (2 * d))
}

// probability is of a logistic regression on the model music of bench/nonspeech
// against speech, noisy speech and noise: music holds a seventh of its power in tones
// and changes by 1.5 dB from frame to frame, speech nothing and 4 dB, noise nothing
// and 2 dB.
func (b *block) probability() float64 {
	held, flux := b.held/float64(b.n), max(hum, b.flux/float64(max(1, b.fluxes)))
	return 1 / (1 + math.Exp(2.4*flux-31*math.Sqrt(held)-1.5))
}

// probability is the mean of the blocks' and of one more that has none: a vowel that
// is held once in a few seconds is no music yet.
func (m *music) probability() float64 {
	sum, n := m.sum, float64(m.blocks)
	if m.block.n > 0 {
		part := float64(m.block.n) / blockFrames
		sum += part * m.block.probability()
		n += part
	}
	if n*blockFrames < fewFrames {
		return math.NaN()
	}
	return sum / (n + 1)
}
