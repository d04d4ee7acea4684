package nonspeech

import "math"

// keyboard is typing beside the telephone: each key knocks when it is pressed
// and, more softly, when it comes up.
func keyboard(s *source, x []float64) {
	s.noise(x, s.gain(-70, -55))
	s.parts(x, 2, 8, func(x []float64) {
		loud, low := s.within(-40, -15), s.within(400, 1500)
		knock := func(x []float64, peak float64) {
			body, top := bandpass(low*s.within(0.9, 1.1), 3), bandpass(2800, 2)
			for i := range min(len(x), Rate/40) {
				v := s.NormFloat64() * math.Exp(-float64(i)/40)
				x[i] += peak * (body.next(v) + 0.5*top.next(v))
			}
		}
		s.events(x, s.within(2, 9), func(x []float64) {
			peak := s.gain(loud-6, loud)
			knock(x, peak)
			knock(x[min(len(x), int(s.within(0.05, 0.12)*Rate)):], peak/2)
		})
	})
}

// handset is the receiver being taken, put down and rubbed.
func handset(s *source, x []float64) {
	s.noise(x, s.gain(-70, -55))
	s.events(x, 0.5, func(x []float64) {
		peak := s.gain(-25, 0)
		for range 1 + s.IntN(4) {
			thump, rattle := bandpass(s.within(60, 250), 2), bandpass(s.within(800, 2500), 1)
			for i := range min(len(x), Rate/5) {
				v := s.NormFloat64() * math.Exp(-float64(i)/(0.01*Rate))
				x[i] += peak * (8*thump.next(v) + rattle.next(v))
			}
			x = x[min(len(x), int(s.within(0.03, 0.3)*Rate)):]
		}
		if s.IntN(2) == 0 {
			n := min(len(x), int(s.within(0.2, 1.5)*Rate))
			rub, y, sway := bandpass(s.within(300, 1500), 0.7), make([]float64, n), s.within(0.001, 0.004)
			for i := range y {
				y[i] = rub.next(s.NormFloat64()) * peak / 4 * (1 + math.Sin(float64(i)*sway))
			}
			fade(y, n/4)
			add(x, y)
		}
	})
}

// breath goes in and out past the microphone.
func breath(s *source, x []float64) {
	s.noise(x, s.gain(-70, -55))
	s.parts(x, 10, 20, func(x []float64) {
		peak, per := s.gain(-40, -10), s.within(1.5, 4)
		s.parts(x, per, 1.3*per, func(x []float64) {
			puff(s, x, s.within(0.5, 1.2), s.within(700, 2200), peak)
			puff(s, x[len(x)/2:], s.within(0.5, 1.2), s.within(400, 1200), peak*s.within(0.5, 1))
		})
	})
}

// puff adds air that streams for some seconds, coloured by the mouth.
func puff(s *source, x []float64, seconds, hz, peak float64) {
	y := make([]float64, min(len(x), int(seconds*Rate)))
	mouth, second := bandpass(hz, 2), bandpass(hz*s.within(1.8, 2.5), 3)
	for i := range y {
		v := s.NormFloat64() * math.Pow(math.Sin(math.Pi*float64(i)/float64(len(y))), 1.5)
		y[i] = peak * (mouth.next(v) + second.next(v)/2)
	}
	add(x, y)
}

// coughs come in fits: a burst of air, a noisy tail, and often a voiced end
// (the three phases of Korpáš et al., 1996). Sneezes are one long intake and
// burst; throats are cleared with a rattle.
func coughs(s *source, x []float64) {
	s.noise(x, s.gain(-70, -55))
	s.events(x, 0.25, func(x []float64) {
		peak := s.gain(-22, -3)
		low := s.within(350, 700)
		for range 1 + s.IntN(4) {
			n := min(len(x), int(s.within(0.2, 0.45)*Rate))
			y := make([]float64, n)
			throat, mouth, top := bandpass(low, 2), bandpass(low*s.within(2, 3), 2), bandpass(2600, 1)
			voiced := s.within(0, 1)
			pitch, phase := s.within(90, 300), 0.0
			for i := range y {
				t := float64(i) / Rate
				air := math.Exp(-t/0.03) + 0.3*math.Exp(-t/0.12)
				v := s.NormFloat64() * air
				if t > 0.1 {
					phase += pitch * s.within(0.9, 1.1) / Rate
					if phase >= 1 {
						phase--
						v += 4 * voiced * math.Exp(-(t-0.1)/0.1)
					}
				}
				y[i] = peak * 2 * (throat.next(v) + 0.8*mouth.next(v) + 0.4*top.next(v))
			}
			fade(y, Rate/400)
			add(x, y)
			x = x[min(len(x), n+int(s.within(0.05, 0.4)*Rate)):]
		}
	})
}

// farBabble is a room full of people too far off to be understood: 20 dB or
// more below a talker at the telephone, who would have about -20 dB.
func farBabble(s *source, x []float64) {
	s.noise(x, gain(-70))
	y := make([]float64, len(x))
	for range 8 {
		talker(s, y)
	}
	level(y, gain(-45))
	add(x, y)
}

// talker adds the voice of someone who says nothing: syllables of a glottal
// source through vowels' resonances, fricatives, pauses.
func talker(s *source, x []float64) {
	base, size := s.within(85, 240), s.within(0.9, 1.2)
	loud := s.within(0.5, 1)
	for len(x) > 0 {
		for range 3 + s.IntN(12) {
			n := min(len(x), int(s.within(0.08, 0.3)*Rate))
			y := x[:n]
			if s.IntN(4) == 0 {
				hiss := bandpass(s.within(1800, 3500), 1)
				for i := range y {
					y[i] += loud / 4 * hiss.next(s.NormFloat64()) * math.Sin(math.Pi*float64(i)/float64(n))
				}
			} else {
				f1, f2, f3 := bandpass(size*s.within(280, 800), 6), bandpass(size*s.within(900, 2300), 8), bandpass(size*2600, 8)
				pitch, glide, phase := base*s.within(0.85, 1.2), s.within(-0.2, 0.2), 0.0
				for i := range y {
					part := float64(i) / float64(n)
					v := 0.0
					if phase += pitch * (1 + glide*part) / Rate; phase >= 1 {
						phase--
						v = 8
					}
					y[i] += loud * (f1.next(v) + 0.6*f2.next(v) + 0.3*f3.next(v)) * math.Sin(math.Pi*part)
				}
			}
			x = x[n:]
		}
		x = x[min(len(x), int(s.within(0.2, 2)*Rate)):]
	}
}
