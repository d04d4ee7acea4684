package nn

// Linear is a weight matrix [out][in] with an optional bias [out], laid out
// for multiplication. It is immutable.
type Linear struct{ matrix }

// NewLinear lays out w [out][in]; bias may be nil. Neither slice is kept.
func NewLinear(w, bias []float32, out, in int) *Linear {
	return newLinear(active, w, bias, out, in)
}

func newLinear(v isa, w, bias []float32, out, in int) *Linear {
	m := newMatrix(v, len(w), bias, out, in)
	m.w.full = make([]float32, m.size())
	pack(m.panels, m.w.full, w)
	return &Linear{m}
}

// matrix is what Linear and Half have in common.
type matrix struct {
	panels
	isa  isa
	w    weights
	bias []float32
}

func newMatrix(v isa, size int, bias []float32, out, in int) matrix {
	check(out > 0 && in > 0 && size == out*in && (bias == nil || len(bias) == out), "a new matrix")
	m := matrix{panels: panels{k: in, n: out}, isa: v}
	if bias != nil {
		m.bias = make([]float32, m.width()*panelN)
		copy(m.bias, bias)
	}
	return m
}

// In is the length of a row of x.
func (m *matrix) In() int { return m.k }

// Out is the length of a row of dst.
func (m *matrix) Out() int { return m.n }

// Mul computes dst[rows][out] = x[rows][in] · wᵀ + bias.
func (m *matrix) Mul(dst, x []float32, rows int) {
	m.mul(dst, m.n, x, m.k, rows, false)
}

// MulAdd computes dst[rows][out] += x[rows][in] · wᵀ + bias.
func (m *matrix) MulAdd(dst, x []float32, rows int) {
	m.mul(dst, m.n, x, m.k, rows, true)
}

// MulRows is Mul on rows ldd and ldx elements apart. ldx may be less than In:
// with overlapping rows of x it is a convolution over time.
func (m *matrix) MulRows(dst []float32, ldd int, x []float32, ldx int, rows int) {
	m.mul(dst, ldd, x, ldx, rows, false)
}

// MulAddRows is MulRows that adds to dst.
func (m *matrix) MulAddRows(dst []float32, ldd int, x []float32, ldx int, rows int) {
	m.mul(dst, ldd, x, ldx, rows, true)
}

func (m *matrix) mul(dst []float32, ldd int, x []float32, ldx int, rows int, add bool) {
	check(covers(dst, ldd, rows, m.n) && covers(x, ldx, rows, m.k), "Mul")
	m.isa.product(dst, ldd, x, ldx, rows, m.panels, m.w, m.bias, add)
}

// Dot is the inner product of x[in] and row i of w, without the bias. It is for
// a few rows: a product of all takes less time a row.
func (m *matrix) Dot(x []float32, i int) float32 {
	check(len(x) == m.k && i >= 0 && i < m.n, "Dot")
	var sum float32
	step := m.block()
	for k0 := 0; k0 < m.k; k0 += step {
		at := m.at(i, k0)
		if m.w.half != nil {
			for _, v := range x[k0:min(k0+step, m.k)] {
				sum += v * halfToFloat(m.w.half[at])
				at += panelN
			}
			continue
		}
		for _, v := range x[k0:min(k0+step, m.k)] {
			sum += v * m.w.full[at]
			at += panelN
		}
	}
	return sum
}

// Row writes row i of w to dst[in].
func (m *matrix) Row(dst []float32, i int) {
	check(len(dst) == m.k && i >= 0 && i < m.n, "Row")
	for j := range dst {
		at := m.at(i, j)
		if m.w.half != nil {
			dst[j] = halfToFloat(m.w.half[at])
		} else {
			dst[j] = m.w.full[at]
		}
	}
}

// A matrix [n][k] of weights lies in blocks of at most blockK columns, so that
// a block of one panel fits in the first cache beside the rows of x. A block
// holds its panels one after the other, and a panel the weights of panelN
// outputs, [kb][panelN]; the last panel is filled up with zeros. Every
// instruction set reads this layout: a wider one takes two panels at once.
const (
	panelN = 16
	blockK = 384
	// tileM is the number of rows of x that a kernel takes at once.
	tileM = 6
	// chunk is the number of weights that a pass over the rows of x keeps in
	// the second cache.
	chunk = 64 << 10
)

// panels is the shape of a matrix [n][k] in panels.
type panels struct{ k, n int }

func (p panels) width() int { return (p.n + panelN - 1) / panelN }

func (p panels) size() int { return p.width() * panelN * p.k }

// block is the number of columns in each block but the last.
func (p panels) block() int {
	blocks := max(1, (p.k+blockK-1)/blockK)
	return max(4, ((p.k+blocks-1)/blocks+3)&^3)
}

// at is the position of the weight of output i for input j.
func (p panels) at(i, j int) int {
	b := p.block()
	k0 := j / b * b
	kb := min(b, p.k-k0)
	return k0*p.width()*panelN + i/panelN*kb*panelN + (j-k0)*panelN + i%panelN
}

// pack lays w [n][k] out as panels.
func pack[T any](p panels, dst, w []T) {
	step := p.block()
	for k0 := 0; k0 < p.k; k0 += step {
		k := min(step, p.k-k0)
		for i := range p.n {
			d := dst[p.at(i, k0):]
			for q, x := range w[i*p.k+k0:][:k] {
				d[q*panelN] = x
			}
		}
	}
}

// weights are panels of 16-bit floats or else of float32.
type weights struct {
	full []float32
	half []uint16
}

func (w weights) from(i int) weights {
	if w.half != nil {
		return weights{half: w.half[i:]}
	}
	return weights{full: w.full[i:]}
}
