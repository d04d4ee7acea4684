package nn

import "math"

// Bfloat is a Linear whose weights are kept in bfloat16, the upper half of a
// float32: half of the memory and, where the processor multiplies them
// (BfloatFast), half of the time. The rows of x are rounded as well; sums are
// in 32 bits. It is immutable.
type Bfloat struct {
	isa  isa
	k, n int
	// w holds panels [k/2][16][2], the last pairs filled up with zeros.
	w []uint16
	// bias reaches to the end of the last panel, or is nil.
	bias []float32
}

const (
	// bfloatM is the number of rows of x that a kernel takes at once.
	bfloatM = 12
	// bfloatRows is the number of rows of x that are kept rounded, if there is
	// room for them.
	bfloatRows   = 14 * bfloatM
	bfloatBuffer = 64 << 10
	bfloatSmall  = 8 << 10
	// bfloatChunk is the number of weights that a pass over these rows keeps in
	// the second cache.
	bfloatChunk = 64 << 10
	// bfloatNear is the number of weights that stay in the second cache.
	bfloatNear = 512 << 10
)

// BfloatFast tells whether this processor multiplies 16-bit floats faster than
// wider ones. Where it does not, Linear is faster than Bfloat.
func BfloatFast() bool { return active.multipliesBfloats() }

// NewBfloat lays out w [out][in], rounded; bias may be nil. Neither slice is
// kept. in is at most 65536.
func NewBfloat(w, bias []float32, out, in int) *Bfloat { return newBfloat(active, w, bias, out, in) }

func newBfloat(v isa, w, bias []float32, out, in int) *Bfloat {
	check(out > 0 && in > 0 && in <= bfloatBuffer && len(w) == out*in && (bias == nil || len(bias) == out), "NewBfloat")
	width := (out + panelN - 1) / panelN
	l := &Bfloat{isa: v, k: in, n: out, w: make([]uint16, width*panelN*even(in))}
	row := make([]uint16, in)
	for i := range out {
		v.toBfloat(row, w[i*in:][:in])
		for j, b := range row {
			l.w[l.at(i, j)] = b
		}
	}
	if bias != nil {
		l.bias = make([]float32, width*panelN)
		copy(l.bias, bias)
	}
	return l
}

// even is k rounded up to whole pairs.
func even(k int) int { return (k + 1) &^ 1 }

// at is the position of the weight of output i for input j.
func (l *Bfloat) at(i, j int) int {
	return i/panelN*even(l.k)*panelN + j/2*2*panelN + i%panelN*2 + j%2
}

// In is the length of a row of x.
func (l *Bfloat) In() int { return l.k }

// Out is the length of a row of dst.
func (l *Bfloat) Out() int { return l.n }

// Row writes row i of the rounded w to dst[in].
func (l *Bfloat) Row(dst []float32, i int) {
	check(len(dst) == l.k && i >= 0 && i < l.n, "Row")
	for j := range dst {
		dst[j] = fromBfloat(l.w[l.at(i, j)])
	}
}

// Mul computes dst[rows][out] = x[rows][in] · wᵀ + bias.
func (l *Bfloat) Mul(dst, x []float32, rows int) { l.mul(dst, l.n, x, l.k, rows, false) }

// MulAdd computes dst[rows][out] += x[rows][in] · wᵀ + bias.
func (l *Bfloat) MulAdd(dst, x []float32, rows int) { l.mul(dst, l.n, x, l.k, rows, true) }

// MulRows is Mul on rows ldd and ldx elements apart. ldx may be less than In:
// with overlapping rows of x it is a convolution over time.
func (l *Bfloat) MulRows(dst []float32, ldd int, x []float32, ldx int, rows int) {
	l.mul(dst, ldd, x, ldx, rows, false)
}

// MulAddRows is MulRows that adds to dst.
func (l *Bfloat) MulAddRows(dst []float32, ldd int, x []float32, ldx int, rows int) {
	l.mul(dst, ldd, x, ldx, rows, true)
}

func (l *Bfloat) mul(dst []float32, ldd int, x []float32, ldx int, rows int, add bool) {
	check(covers(dst, ldd, rows, l.n) && covers(x, ldx, rows, l.k), "Mul")
	// The buffers are cleared by the compiler, which takes its time.
	switch size := rows * even(l.k); {
	case size <= bfloatSmall:
		var buf [bfloatSmall]uint16
		l.product(buf[:], dst, ldd, x, ldx, rows, add)
	default:
		var buf [bfloatBuffer]uint16
		l.product(buf[:], dst, ldd, x, ldx, rows, add)
	}
}

func (l *Bfloat) product(buf []uint16, dst []float32, ldd int, x []float32, ldx int, rows int, add bool) {
	stride := even(l.k)
	most := min(len(buf)/stride, bfloatRows)
	if most > bfloatM {
		most -= most % bfloatM
	}
	cols := max(2, bfloatChunk/(stride*panelN)&^1) * panelN
	far := len(l.w) > bfloatNear
	for r := 0; r < rows; r += most {
		m := min(most, rows-r)
		for i := range m {
			l.isa.toBfloat(buf[i*stride:][:l.k], x[(r+i)*ldx:][:l.k])
		}
		tiles := (m + bfloatM - 1) / bfloatM
		step := (m + tiles - 1) / tiles
		for j := 0; j < l.n; j += cols {
			n := min(cols, l.n-j)
			for i := 0; i < m; i += step {
				l.isa.gemmBfloat(min(step, m-i), n, stride, buf[i*stride:], stride, l.w[j*stride:],
					dst[(r+i)*ldd+j:], ldd, rest(l.bias, j), add, far)
			}
		}
	}
}

// toBfloatGo rounds x to the nearest, of two the even one. Numbers below the
// least normal one become zero, as in the processor.
func toBfloatGo(dst []uint16, x []float32) {
	for i, v := range x {
		b := math.Float32bits(v)
		switch size := b &^ signBit; {
		case size < leastNormal:
			b &= signBit
		case size > infinity:
			b |= quiet
		default:
			b += 1<<15 - 1 + b>>16&1
		}
		dst[i] = uint16(b >> 16)
	}
}

// Bits of a float32.
const (
	signBit     = 1 << 31
	leastNormal = 1 << 23
	infinity    = 255 << 23
	quiet       = 1 << 22
)

func fromBfloat(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// gemmBfloatGo computes c[m][n] (+)= a[m][k] · b + bias for panels b of pairs,
// each [k/2][16][2].
func gemmBfloatGo(m, n, k int, a []uint16, lda int, b []uint16, c []float32, ldc int, bias []float32, add bool) {
	for j := range n {
		w := b[j/panelN*k*panelN+j%panelN*2:]
		for i := range m {
			var sum float32
			for q, x := range a[i*lda:][:k] {
				sum += fromBfloat(x) * fromBfloat(w[q/2*2*panelN+q%2])
			}
			if bias != nil {
				sum += bias[j]
			}
			if add {
				sum += c[i*ldc+j]
			}
			c[i*ldc+j] = sum
		}
	}
}

// bfloatAttention is the scratch of an attention in bfloat16.
type bfloatAttention struct {
	keys    []uint16  // panels [d/2][16][2]
	values  []uint16  // panels [n/2][16][2]
	key     []uint16  // one key
	queries []uint16  // [bfloatM][d]
	scores  []float32 // [bfloatM][n]
	weights []uint16  // [bfloatM][n]
}

// NewAttentionBfloat is NewAttention for products of bfloat16, where the
// processor has them (BfloatFast) and where there are several queries. With
// values of normal distribution the result is off by a few parts in a thousand.
func NewAttentionBfloat(n, d int) *Attention {
	a := newAttention(active, n, d)
	if active.multipliesBfloats() {
		a.keys, a.values, a.weights = nil, nil, a.weights[:n:n]
		a.pairs = newBfloatAttention(n, d)
	}
	return a
}

func newBfloatAttention(n, d int) *bfloatAttention {
	high, wide := panels{n: n}.width()*panelN, panels{n: d}.width()*panelN
	return &bfloatAttention{
		keys:    make([]uint16, high*even(d)),
		values:  make([]uint16, wide*even(n)),
		key:     make([]uint16, even(d)),
		queries: make([]uint16, bfloatM*even(d)),
		scores:  make([]float32, bfloatM*high),
		weights: make([]uint16, bfloatM*even(n)),
	}
}

func (b *bfloatAttention) attend(isa isa, dst []float32, ldd int, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, m, n, d int, scale float32) {
	nq, dq := even(n), even(d)
	b.packKeys(isa, k, ldk, n, d)
	for j := 0; j < d; j += panelN {
		isa.packPairs(b.values[j*nq:], v[j:], ldv, n, min(panelN, d-j))
	}
	wide := (n + panelN - 1) / panelN * panelN
	tiles := (m + bfloatM - 1) / bfloatM
	step := (m + tiles - 1) / tiles
	for r := range step {
		// What stands beside the last of an odd number is multiplied with zero,
		// and must be a number.
		b.queries[(r+1)*dq-1] = 0
		b.weights[(r+1)*nq-1] = 0
	}
	var inverse [bfloatM]float32
	for i := 0; i < m; i += step {
		rows := min(step, m-i)
		for r := range rows {
			isa.toBfloat(b.queries[r*dq:][:d], q[(i+r)*ldq:][:d])
		}
		isa.gemmBfloat(rows, n, dq, b.queries, dq, b.keys, b.scores, wide, nil, false, false)
		for r := range rows {
			inverse[r] = 1 / isa.powersBfloat(b.weights[r*nq:][:n], b.scores[r*wide:][:n], scale*math.Log2E)
		}
		isa.gemmBfloat(rows, d, nq, b.weights, nq, b.values, dst[i*ldd:], ldd, nil, false, false)
		for r := range rows {
			for e := range dst[(i+r)*ldd:][:d] {
				dst[(i+r)*ldd+e] *= inverse[r]
			}
		}
	}
}

// packKeys rounds and lays out k[n][d].
func (b *bfloatAttention) packKeys(isa isa, k []float32, ldk, n, d int) {
	dq := even(d)
	b.key[dq-1] = 0
	for j := range n {
		isa.toBfloat(b.key[:d], k[j*ldk:][:d])
		to := b.keys[j/panelN*panelN*dq+j%panelN*2:]
		for p := 0; p < dq; p += 2 {
			*(*[2]uint16)(to[p*panelN:]) = *(*[2]uint16)(b.key[p:])
		}
	}
}

// packPairsGo rounds rows first to n of x[n][cols] to the panel dst[n/2][16][2].
func packPairsGo(dst []uint16, x []float32, ld, first, n, cols int) {
	var row [panelN]uint16
	for i := first; i < n; i++ {
		toBfloatGo(row[:cols], x[i*ld:][:cols])
		for j, b := range row[:cols] {
			at := i/2*2*panelN + j*2
			dst[at+i%2] = b
			if i%2 == 0 && i == n-1 {
				dst[at+1] = 0
			}
		}
	}
}

// powersBfloatGo writes 2^(scale·(x - the largest x)), rounded, to dst and
// returns the sum before rounding. The assembly is off by one part in ten
// thousand.
func powersBfloatGo(dst []uint16, x []float32, scale float32) float32 {
	hi := float32(math.Inf(-1))
	for _, v := range x {
		hi = max(hi, v)
	}
	var sum float64
	var one [1]uint16
	for i, v := range x {
		p := math.Exp2(max(float64(scale*(v-hi)), -100))
		sum += p
		toBfloatGo(one[:], []float32{float32(p)})
		dst[i] = one[0]
	}
	return float32(sum)
}
