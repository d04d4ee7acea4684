package nn

// Linear is a weight matrix [out][in] with an optional bias [out], laid out
// for multiplication. It is immutable.
type Linear struct {
	panels
	isa  isa
	w    []float32
	bias []float32
}

// NewLinear lays out w [out][in]; bias may be nil. Neither slice is kept.
func NewLinear(w, bias []float32, out, in int) *Linear {
	return newLinear(active, w, bias, out, in)
}

func newLinear(v isa, w, bias []float32, out, in int) *Linear {
	check(out > 0 && in > 0 && len(w) == out*in && (bias == nil || len(bias) == out), "NewLinear")
	p := panels{k: in, n: out}
	l := &Linear{panels: p, isa: v, w: make([]float32, p.size()), bias: padBias(bias)}
	pack(p, l.w, w)
	return l
}

// Mul computes dst[m][out] = x[m][in] · wᵀ + bias.
func (l *Linear) Mul(dst, x []float32, m int) {
	l.mul(dst, l.n, x, l.k, m, false)
}

// MulAdd computes dst[m][out] += x[m][in] · wᵀ + bias.
func (l *Linear) MulAdd(dst, x []float32, m int) {
	l.mul(dst, l.n, x, l.k, m, true)
}

// MulRows is Mul on rows ldd and ldx elements apart. ldx may be less than In:
// with overlapping rows of x it is a convolution over time.
func (l *Linear) MulRows(dst []float32, ldd int, x []float32, ldx int, m int) {
	l.mul(dst, ldd, x, ldx, m, false)
}

func (l *Linear) mul(dst []float32, ldd int, x []float32, ldx int, m int, add bool) {
	check(covers(dst, ldd, m, l.n) && covers(x, ldx, m, l.k), "Linear.Mul")
	l.isa.product(dst, ldd, x, ldx, m, l.panels, l.w, nil, l.bias, add)
}

// Row writes row i of w to dst[in].
func (l *Linear) Row(dst []float32, i int) {
	check(len(dst) == l.k && i >= 0 && i < l.n, "Linear.Row")
	for j := range dst {
		dst[j] = l.w[l.at(i, j)]
	}
}

// In is the number of columns of the weight matrix, the length of a row of x.
func (p panels) In() int { return p.k }

// Out is the number of rows of the weight matrix, the length of a row of dst.
func (p panels) Out() int { return p.n }

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

// padBias fills bias up to whole panels; nil stays nil.
func padBias(bias []float32) []float32 {
	if len(bias) == 0 {
		return nil
	}
	b := make([]float32, panels{n: len(bias)}.width()*panelN)
	copy(b, bias)
	return b
}
