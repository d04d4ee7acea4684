package nonspeech

import "math"

// beat is one step of a cadence: frequencies in Hz that sound at once, none
// being a pause, for so many seconds.
type beat struct {
	seconds float64
	hz      []float64
}

func on(seconds float64, hz ...float64) beat { return beat{seconds, hz} }
func off(seconds float64) beat               { return beat{seconds: seconds} }

// The cadences of North America, Britain, France and of the countries that
// follow E.180's recommendation, 425 Hz.

func dialTones() [][]beat {
	return [][]beat{{on(9, 350, 440), off(1)}, {on(9, 350, 450), off(1)}, {on(9, 425), off(1)}, {on(0.2, 425), off(0.2), on(0.6, 425), off(1)}}
}

func ringbackTones() [][]beat {
	return [][]beat{
		{on(2, 440, 480), off(4)},
		{on(0.4, 400, 450), off(0.2), on(0.4, 400, 450), off(2)},
		{on(1, 425), off(4)},
		{on(1.5, 440), off(3.5)},
	}
}

func busyTones() [][]beat {
	return [][]beat{{on(0.5, 480, 620), off(0.5)}, {on(0.375, 400), off(0.375)}, {on(0.5, 425), off(0.5)}}
}

func congestionTones() [][]beat {
	return [][]beat{
		{on(0.25, 480, 620), off(0.25)},
		{on(0.4, 400), off(0.35), on(0.225, 400), off(0.525)},
		{on(0.25, 425), off(0.25)},
	}
}

func specialTones() [][]beat {
	return [][]beat{
		{on(0.33, 950), on(0.33, 1400), on(0.33, 1800), off(1)},
		{on(0.274, 913.8), on(0.274, 1370.6), on(0.380, 1776.7), off(3)},
		{on(0.380, 985.2), on(0.380, 1428.5), on(0.380, 1776.7), off(3)},
	}
}

func waitingTones() [][]beat {
	return [][]beat{{on(0.3, 440), off(5)}, {on(0.2, 425), off(0.2), on(0.2, 425), off(4)}, {on(0.1, 400), off(3)}}
}

func howlerTones() [][]beat {
	return [][]beat{{on(0.1, 1400, 2060, 2450, 2600), off(0.1)}}
}

// cadence plays one of the cadences after the other, off key and level by as
// much as E.180 allows, with the line's noise.
func cadence(all [][]beat) func(*source, []float64) {
	return func(s *source, x []float64) {
		next := 0
		s.parts(x, 15, 25, func(x []float64) {
			s.noise(x, s.gain(-75, -50))
			peak, off := s.gain(-25, -6), s.within(0.99, 1.01)
			beats := all[next%len(all)]
			next++
			for i := 0; len(x) > 0; i++ {
				b := beats[i%len(beats)]
				n := min(len(x), max(1, int(b.seconds*Rate)))
				y := make([]float64, n)
				for _, hz := range b.hz {
					tone(y, hz*off, peak/float64(len(b.hz)))
				}
				fade(y, Rate/500)
				add(x, y)
				x = x[n:]
			}
		})
	}
}

// beeps are an answering machine's, a recorder's, a scanner's.
func beeps(s *source, x []float64) {
	s.noise(x, gain(-65))
	s.events(x, 0.5, func(x []float64) {
		y := make([]float64, min(len(x), int(s.within(0.05, 0.8)*Rate)))
		hz, peak := s.within(350, 2800), s.gain(-25, -3)
		tone(y, hz, peak)
		if s.IntN(3) == 0 {
			tone(y, hz*float64(2+s.IntN(3)), peak/2)
		}
		fade(y, Rate/200)
		add(x, y)
	})
}

// bell is another telephone ringing in the room: a bell, or the warble of an
// electronic one.
func bell(s *source, x []float64) {
	s.noise(x, gain(-60))
	s.parts(x, 4, 6, func(x []float64) {
		y := make([]float64, min(len(x), int(s.within(1, 2)*Rate)))
		low, high, peak, rate := s.within(500, 1200), s.within(1.1, 1.6), s.gain(-35, -12), s.within(12, 25)
		struck := s.IntN(2) == 0
		phase := 0.0
		for i := range y {
			_, beat := math.Modf(float64(i) / Rate * rate)
			hz := low
			if beat >= 0.5 {
				hz = low * high
			}
			phase += 2 * math.Pi * hz / Rate
			if struck {
				y[i] = peak * math.Exp(-4*math.Mod(beat, 0.5)) * (math.Sin(phase) + 0.5*math.Sin(2.76*phase) + 0.2*math.Sin(5.4*phase)) / 2
				continue
			}
			y[i] = peak * math.Sin(phase)
		}
		fade(y, Rate/100)
		add(x, y)
	})
}

// digits are keys pressed on a telephone (ITU-T Q.23), fast and slow.
func digits(s *source, x []float64) {
	s.noise(x, gain(-65))
	rows, columns := [4]float64{697, 770, 852, 941}, [4]float64{1209, 1336, 1477, 1633}
	s.parts(x, 3, 10, func(x []float64) {
		long, gap := s.within(0.05, 0.4), s.within(0.05, 0.5)
		peak, twist := s.gain(-22, -6), s.gain(-6, 3)
		for len(x) > 0 {
			y := make([]float64, min(len(x), int(long*Rate)))
			tone(y, rows[s.IntN(4)]*s.within(0.985, 1.015), peak)
			tone(y, columns[s.IntN(4)]*s.within(0.985, 1.015), peak*twist)
			add(x, y)
			x = x[min(len(x), int((long+gap*s.within(0.8, 1.5))*Rate)):]
		}
	})
}

// fax is what one hears of two fax machines: the calling tone of T.30, the
// answer tone of V.25 with its phase reversals, V.21's preamble, and data.
func fax(s *source, x []float64) {
	s.parts(x, 15, 20, func(x []float64) {
		peak := s.gain(-20, -9)
		s.noise(x, gain(-65))
		for range 2 {
			y := make([]float64, min(len(x), Rate/2))
			tone(y, 1100, peak)
			add(x, y)
			x = x[min(len(x), 7*Rate/2):]
		}
		answer := make([]float64, min(len(x), 3*Rate))
		tone(answer, 2100, peak)
		for i := range answer {
			if i/(Rate*9/20)%2 == 1 {
				answer[i] = -answer[i]
			}
		}
		add(x, answer)
		x = x[min(len(x), 3*Rate+Rate/13):]
		n := min(len(x), Rate)
		shift(s, x[:n], 300, 1650, 1850, peak)
		phases(s, x[n:], 2400, 1700, 8, peak)
	})
}

// modem is V.22's and V.22bis' data, in the channels of both sides, and V.21's.
func modem(s *source, x []float64) {
	s.parts(x, 4, 10, func(x []float64) {
		peak := s.gain(-20, -9)
		switch s.IntN(4) {
		case 0:
			shift(s, x, 300, 980, 1180, peak)
		case 1:
			phases(s, x, 600, 1200, 4, peak)
		case 2:
			phases(s, x, 600, 2400, 4, peak)
		default:
			phases(s, x, 600, 1200, 16, peak/2)
			phases(s, x, 600, 2400, 16, peak/2)
		}
		s.noise(x, gain(-60))
	})
}

// textTelephone types in Baudot code (TIA-825): 45.45 baud, 1400 and 1800 Hz,
// a character at a time, with the tone held for a moment after it.
func textTelephone(s *source, x []float64) {
	s.noise(x, gain(-65))
	peak := s.gain(-20, -9)
	for len(x) > 0 {
		n := min(len(x), Rate*165/1000*(1+s.IntN(12)))
		shift(s, x[:n], 45.45, 1800, 1400, peak)
		x = x[n:]
		n = min(len(x), int(s.within(0, 0.3)*Rate))
		tone(x[:n], 1400, peak)
		x = x[min(len(x), n+int(s.within(0, 1)*Rate)):]
	}
}

// shift adds random bits by frequency shift keying.
func shift(s *source, x []float64, baud, zero, one, peak float64) {
	phase, hz, left := 0.0, zero, 0.0
	for i := range x {
		if left--; left < 0 {
			left += Rate / baud
			hz = [2]float64{zero, one}[s.IntN(2)]
		}
		phase += 2 * math.Pi * hz / Rate
		x[i] += peak * math.Sin(phase)
	}
}

// phases adds random symbols by phase shift keying with soft edges.
func phases(s *source, x []float64, baud, carrier float64, points int, peak float64) {
	var from, to, left float64
	for i := range x {
		if left--; left < 0 {
			left += Rate / baud
			from, to = to, 2*math.Pi*float64(s.IntN(points))/float64(points)
		}
		w := 0.5 + 0.5*math.Cos(math.Pi*left*baud/Rate)
		carry := 2 * math.Pi * carrier * float64(i) / Rate
		x[i] += peak * (w*math.Sin(carry+to) + (1-w)*math.Sin(carry+from))
	}
}
