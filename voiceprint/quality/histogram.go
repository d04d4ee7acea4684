package quality

const (
	// A histogram's bins go from quietest on in steps, in dB.
	bins     = 240
	quietest = -100.0
	step     = 0.5
)

// histogram counts levels in dB; what lies outside is counted at the ends.
type histogram struct {
	count [bins]uint32
	n     uint32
}

func (h *histogram) add(dB float64) {
	h.count[max(0, min(bins-1, int((dB-quietest)/step)))]++
	h.n++
}

// quantile is the level below which the given share lies, of at least one.
func (h *histogram) quantile(share float64) float64 {
	rest := share * float64(h.n)
	for i, c := range h.count {
		if f := float64(c); f > 0 && rest <= f {
			return quietest + step*(float64(i)+rest/f)
		} else {
			rest -= f
		}
	}
	return quietest + step*bins
}

// curve is a function given by points, straight between them and level outside. Its
// points' x rise.
type curve []struct{ x, y float64 }

func (l curve) at(x float64) float64 {
	if x <= l[0].x {
		return l[0].y
	}
	for i := 1; i < len(l); i++ {
		if a, b := l[i-1], l[i]; x <= b.x {
			return a.y + (b.y-a.y)*(x-a.x)/(b.x-a.x)
		}
	}
	return l[len(l)-1].y
}
