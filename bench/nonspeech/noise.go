package nonspeech

import "math"

// lineNoise is an analogue line's: white or duller, at levels from hardly
// there to a bad line.
func lineNoise(s *source, x []float64) {
	s.parts(x, 5, 15, func(x []float64) {
		s.noise(x, 1)
		if s.IntN(2) == 0 {
			lowpass(s.within(300, 3000)).run(x)
		}
		level(x, s.gain(-75, -35))
	})
}

// comfortNoise is what a decoder makes of RFC 3389's descriptions: white noise
// of a level through an all-pole filter given by reflection coefficients, both
// sent anew now and then.
func comfortNoise(s *source, x []float64) {
	const order = 10
	var delay [order + 1]float64
	s.parts(x, 10, 20, func(x []float64) {
		base := s.within(-70, -40)
		var k [order]float64
		s.parts(x, 0.2, 2, func(x []float64) {
			for i := range k {
				most := 0.8 / float64(i+1)
				k[i] = max(-most, min(most, k[i]+s.within(-0.1, 0.1)))
			}
			for i := range x {
				f := s.NormFloat64()
				for j := order - 1; j >= 0; j-- {
					f -= k[j] * delay[j]
					delay[j+1] = delay[j] + k[j]*f
				}
				delay[0] = f
				x[i] = f
			}
			level(x, gain(base+s.within(-2, 2)))
		})
	})
}

// hum is the mains', 50 or 60 Hz with harmonics, as a bad earth or a cheap
// power supply gives it, over some noise.
func hum(s *source, x []float64) {
	s.parts(x, 5, 15, func(x []float64) {
		mains := 50 + 10*float64(s.IntN(2))
		hz := mains * s.within(0.998, 1.002)
		fall := s.within(3, 12) // dB an octave
		for n := 1; float64(n)*hz < 2000; n++ {
			loss := fall * math.Log2(float64(n))
			if n%2 == 0 {
				loss += 6
			}
			tone(x, float64(n)*hz, gain(-loss)*s.within(0.3, 1))
		}
		level(x, s.gain(-50, -18))
		s.noise(x, s.gain(-75, -55))
	})
}

// mobileBuzz is what a GSM telephone's transmitter induces in audio beside it:
// bursts of 577 µs, one every 4.615 ms, a pause every 26 of them, in the
// rhythms of a hand-over or a message.
func mobileBuzz(s *source, x []float64) {
	s.noise(x, gain(-65))
	s.events(x, 0.3, func(x []float64) {
		peak := s.gain(-30, -6)
		end := min(len(x), int(s.within(0.1, 3)*Rate))
		for at, n := 0, 0; at < end; n++ {
			if n%26 != 25 {
				for i := at; i < min(at+5, end); i++ {
					x[i] += peak * s.within(0.6, 1)
				}
			}
			at = int(float64(n+1) * 0.004615 * Rate)
		}
	})
}

// wind blows into a microphone: low noise in gusts, some of which overload it.
func wind(s *source, x []float64) {
	s.parts(x, 5, 15, func(x []float64) {
		low, gust := lowpass(s.within(150, 500)), lowpass(s.within(0.3, 1.5))
		loud, rough := s.gain(-30, -5), s.within(2, 5)
		for i := range x {
			g := gust.next(s.NormFloat64()) * 50
			x[i] = low.next(s.NormFloat64()) * 3 * loud * math.Exp(min(g*rough/5, 1.5))
		}
		s.noise(x, s.gain(-70, -50))
	})
}

// fan is an office's air: noise that falls with frequency, and the blades.
func fan(s *source, x []float64) {
	s.parts(x, 10, 20, func(x []float64) {
		pink, blade := 0.0, s.within(80, 400)
		for i := range x {
			pink += 0.05 * (s.NormFloat64() - pink)
			x[i] = pink
		}
		level(x, 1)
		tone(x, blade, 0.5)
		tone(x, 2*blade, 0.2)
		level(x, s.gain(-60, -30))
	})
}

// clippedNoise overloads the telephone.
func clippedNoise(s *source, x []float64) {
	s.parts(x, 2, 8, func(x []float64) {
		s.noise(x, 1)
		lowpass(s.within(500, 3500)).run(x)
		level(x, s.gain(0, 20))
		clip, low := s.gain(-20, 0), s.gain(-10, 0)
		for i, v := range x {
			x[i] = max(-clip, min(clip*low, v))
		}
	})
}

// clicks are a crackling line's: short impulses, each with an echo of the line.
func clicks(s *source, x []float64) {
	s.noise(x, gain(-65))
	s.parts(x, 3, 10, func(x []float64) {
		loud := s.within(-25, -3)
		s.events(x, s.within(0.5, 30), func(x []float64) {
			ring, peak := bandpass(s.within(500, 3000), s.within(0.5, 4)), s.gain(loud-10, loud)
			for i := range min(len(x), 80) {
				v := 0.0
				if i < 2 {
					v = peak * 2
				}
				x[i] += ring.next(v) + v/4
			}
		})
	})
}
