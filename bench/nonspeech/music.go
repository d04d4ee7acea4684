package nonspeech

import "math"

// instrument is a sound of a note: the strengths of its partials, how fast it
// begins and dies away, in seconds, and its vibrato as a share of the pitch.
type instrument struct {
	partials       []float64
	attack, decay  float64
	vibrato, noise float64
}

func instruments() []instrument {
	return []instrument{
		{partials: []float64{1, 0.5, 0.3, 0.2, 0.1, 0.05}, attack: 0.005, decay: 0.6},                              // piano
		{partials: []float64{1, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2}, attack: 0.1, decay: 20, vibrato: 0.006},            // strings
		{partials: []float64{1, 0.1, 0.05}, attack: 0.05, decay: 20, vibrato: 0.004, noise: 0.03},                  // flute
		{partials: []float64{1, 0.05, 0.4, 0.05, 0.3, 0.05, 0.15}, attack: 0.04, decay: 20, vibrato: 0.003},        // clarinet
		{partials: []float64{1, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2}, attack: 0.04, decay: 5},                        // brass
		{partials: []float64{1, 0.7, 0.4, 0.3, 0.15, 0.1}, attack: 0.003, decay: 0.35},                             // guitar
		{partials: []float64{1, 0, 0, 0.6, 0, 0, 0, 0, 0, 0.2}, attack: 0.002, decay: 0.8},                         // vibraphone
		{partials: []float64{1, 0.7, 0.6, 0.3, 0.25, 0.2, 0.2, 0.1, 0.1}, attack: 0.08, decay: 20, vibrato: 0.012}, // a choir's ah
	}
}

// music is what waits in a queue hear: chords, a melody, a bass and, mostly,
// drums, in one of a few styles, squeezed into the telephone's band.
func music(s *source, x []float64) {
	all := instruments()
	s.parts(x, 20, 40, func(x []float64) {
		play(s, x, all)
		level(x, s.gain(-28, -14))
		s.noise(x, gain(-65))
	})
}

// note adds a note that sounds for so many samples.
func note(s *source, x []float64, in *instrument, hz, peak float64, n int) {
	y := make([]float64, min(len(x), n))
	phase := 0.0
	for i := range y {
		t := float64(i) / Rate
		phase += 2 * math.Pi * hz / Rate * (1 + in.vibrato*math.Sin(2*math.Pi*5.5*t))
		v := in.noise * s.NormFloat64()
		for k, p := range in.partials {
			if float64(k+1)*hz < Rate/2 {
				v += p * math.Sin(float64(k+1)*phase)
			}
		}
		y[i] = peak * v * (1 - math.Exp(-t/in.attack)) * math.Exp(-t/in.decay)
	}
	fade(y, Rate/100)
	add(x, y)
}

// drum adds a stroke: a bass drum, a snare or a cymbal.
func drum(s *source, x []float64, which int, peak float64) {
	high, phase := bandpass(3200, 0.7), 0.0
	for i := range min(len(x), Rate/3) {
		t := float64(i) / Rate
		switch which {
		case 0:
			phase += 2 * math.Pi * (50 + 100*math.Exp(-t/0.03)) / Rate
			x[i] += peak * 2 * math.Sin(phase) * math.Exp(-t/0.1)
		case 1:
			x[i] += peak * (0.5*math.Sin(2*math.Pi*190*t) + 0.6*s.NormFloat64()) * math.Exp(-t/0.06)
		default:
			x[i] += peak * high.next(s.NormFloat64()) * math.Exp(-t/0.04)
		}
	}
}

// play fills x with a piece of its own key, speed and instruments.
func play(s *source, x []float64, all []instrument) {
	key := s.within(100, 200)
	beat := int(60 / s.within(65, 140) * Rate)
	chords := [4][4]int{{0, 5, 3, 4}, {0, 3, 4, 0}, {5, 3, 0, 4}, {0, 4, 5, 3}}[s.IntN(4)]
	scale := [7]int{0, 2, 4, 5, 7, 9, 11}
	hz := func(step int) float64 {
		octave := step / 7
		return key * math.Pow(2, float64(octave)+float64(scale[step%7])/12)
	}
	pad, lead, bass := &all[s.IntN(len(all))], &all[s.IntN(len(all))], &all[5]
	drums, melody := s.IntN(4) > 0, s.IntN(5) > 0
	at := 0
	for bar := 0; at < len(x); bar++ {
		root := chords[bar%4]
		for _, third := range []int{0, 2, 4} {
			note(s, x[at:], pad, 2*hz(root+third), 0.25, 4*beat)
		}
		for k := range 4 {
			from := at + k*beat
			if from >= len(x) {
				return
			}
			note(s, x[from:], bass, hz(root)/2, 0.5, beat)
			if drums {
				drum(s, x[from:], k%2, 0.4)
				drum(s, x[from:], 2, 0.3)
				drum(s, x[min(len(x), from+beat/2):], 2, 0.2)
			}
			if !melody {
				continue
			}
			for left := beat; left > 0; {
				n := beat / (1 + s.IntN(3))
				if s.IntN(5) > 0 {
					note(s, x[min(len(x), from+beat-left):], lead, 2*hz(root+7+[5]int{0, 1, 2, 4, 5}[s.IntN(5)]), 0.4, n)
				}
				left -= n
			}
		}
		at += 4 * beat
	}
}
