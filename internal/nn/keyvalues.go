package nn

// KeyValues are the keys and values of several heads' attention, laid out once
// for the queries of many steps: those of one call share one pass over them.
// As 16-bit floats (IEEE 754 binary16), where the processor can widen them as
// it goes, they are half as many bytes to read. It is not safe for concurrent
// use while it is filled.
type KeyValues struct {
	isa      isa
	heads, d int
	half     bool
	n        int
	w        weights // by head, the keys [n][d] and the values [n][d] as panels
}

// NewKeyValues makes empty ones for heads of d elements, with 16-bit floats if
// half.
func NewKeyValues(heads, d int, half bool) *KeyValues {
	return newKeyValues(active, heads, d, half)
}

func newKeyValues(v isa, heads, d int, half bool) *KeyValues {
	check(heads > 0 && d > 0, "NewKeyValues")
	return &KeyValues{isa: v, heads: heads, d: d, half: half && v.widens()}
}

// Fill takes n rows of keys, head after head, and behind them in each row as
// many values; the keys are multiplied by scale. Neither slice is kept. What is
// too large for 16 bits becomes the largest that is not.
func (c *KeyValues) Fill(kv []float32, ld, n int, scale float32) {
	width := c.heads * c.d
	check(n >= 0 && covers(kv, ld, n, 2*width), "KeyValues.Fill")
	c.n = n
	size := c.heads * (c.keys().size() + c.values().size())
	if c.half {
		c.w.half = sized(c.w.half, size)
	} else {
		c.w.full = sized(c.w.full, size)
	}
	if n == 0 {
		return
	}
	for h := range c.heads {
		c.fillKeys(c.keysOf(h), kv[h*c.d:], ld, scale)
		c.fillValues(c.valuesOf(h), kv[width+h*c.d:], ld)
	}
}

func (c *KeyValues) fillKeys(to weights, k []float32, ld int, scale float32) {
	var buf [blockK * panelN]float32
	p := c.keys()
	step := p.block()
	for k0 := 0; k0 < p.k; k0 += step {
		kb := min(step, p.k-k0)
		for j := 0; j < p.n; j += panelN {
			at, rows := p.at(j, k0), min(panelN, p.n-j)
			if !c.half {
				c.isa.packRows(to.full[at:][:kb*panelN], k[j*ld+k0:], ld, rows, kb, scale)
				continue
			}
			c.isa.packRows(buf[:], k[j*ld+k0:], ld, rows, kb, scale)
			c.isa.saturate(to.half[at:][:kb*panelN], buf[:kb*panelN])
		}
	}
}

func (c *KeyValues) fillValues(to weights, v []float32, ld int) {
	var buf [blockK * panelN]float32
	p := c.values()
	step := p.block()
	for k0 := 0; k0 < p.k; k0 += step {
		kb := min(step, p.k-k0)
		for j := 0; j < p.n; j += panelN {
			at, cols := p.at(j, k0), min(panelN, p.n-j)
			if !c.half {
				packCols(to.full[at:][:kb*panelN], v[k0*ld+j:], ld, kb, cols)
				continue
			}
			packCols(buf[:], v[k0*ld+j:], ld, kb, cols)
			c.isa.saturate(to.half[at:][:kb*panelN], buf[:kb*panelN])
		}
	}
}

// Len is the number of keys.
func (c *KeyValues) Len() int { return c.n }

// Scores computes dst[m][n] = q[m][d] · scale · k[n][d]ᵀ for one head.
func (c *KeyValues) Scores(dst []float32, ldd int, q []float32, ldq, m, head int) {
	check(head >= 0 && head < c.heads && covers(dst, ldd, m, c.n) && covers(q, ldq, m, c.d), "KeyValues.Scores")
	c.isa.product(dst, ldd, q, ldq, m, c.keys(), c.keysOf(head), nil, false)
}

// Mix computes dst[m][d] = w[m][n] · v[n][d] for one head; there is at least
// one value.
func (c *KeyValues) Mix(dst []float32, ldd int, w []float32, ldw, m, head int) {
	check(c.n > 0 && head >= 0 && head < c.heads && covers(dst, ldd, m, c.d) && covers(w, ldw, m, c.n), "KeyValues.Mix")
	c.isa.product(dst, ldd, w, ldw, m, c.values(), c.valuesOf(head), nil, false)
}

func (c *KeyValues) keys() panels   { return panels{k: c.d, n: c.n} }
func (c *KeyValues) values() panels { return panels{k: c.n, n: c.d} }

func (c *KeyValues) keysOf(head int) weights {
	return c.w.from(head * (c.keys().size() + c.values().size()))
}

func (c *KeyValues) valuesOf(head int) weights {
	return c.w.from(head*(c.keys().size()+c.values().size()) + c.keys().size())
}

// sized returns a slice of length n with whatever content, x's memory if it is
// large enough.
func sized[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}
