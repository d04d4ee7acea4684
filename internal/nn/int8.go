package nn

import "math"

// Int8 is a Linear whose weights are kept as 8-bit integers: a quarter of the
// memory and, where the processor multiplies bytes (Int8Fast), a quarter of
// the time. Each output has its own step, the largest of its weights divided
// by 127. Each row of x is turned to bytes on the way, 255 steps from its
// least to its largest element, so one outlier costs the whole row its
// precision; NewInt8Fine is for these. A row of x that is not finite, or whose sum is not, gives a row
// that is not. It is immutable.
type Int8 struct {
	isa  isa
	k, n int
	// w holds panels [k/4][16][4], the last groups filled up with zeros.
	w []int8
	// cols are what a product needs to know of the outputs of each panel.
	cols []int8Cols
	// low is cols for the lower bytes of x: the steps alone. It is nil where x
	// is rounded to bytes.
	low []int8Cols
}

// int8Cols are figures of the outputs of a panel.
type int8Cols struct {
	step [panelN]float32 // what a weight of one is worth
	sum  [panelN]float32 // the sum of the weights, in full
	bias [panelN]float32
}

// int8Row are figures of a row of x.
type int8Row struct{ step, least float32 }

const (
	// int8M is the number of rows of x that a kernel of bytes takes at once.
	int8M = 14
	// int8Rows is the number of rows of x that are kept as bytes, if there is
	// room for them.
	int8Rows   = 12 * int8M
	int8Buffer = 64 << 10
	int8Small  = 8 << 10
	// int8Chunk is chunk in bytes.
	int8Chunk = 128 << 10
	// int8Near is the size of weights that stay in the second cache.
	int8Near = 1 << 20
)

// Int8Fast tells whether this processor multiplies bytes faster than floats.
// Where it does not, Linear and Half are faster than Int8.
func Int8Fast() bool { return active.multipliesBytes() }

// NewInt8 lays out w [out][in] rounded to bytes; bias may be nil. Neither
// slice is kept. in is at most 65536, so that no sum overflows.
func NewInt8(w, bias []float32, out, in int) *Int8 { return newInt8(active, w, bias, out, in) }

// NewInt8Fine is NewInt8 for rows of x that hold outliers, as GELU leaves
// them: they are rounded to 16 bits, 65535 steps, and the product takes twice
// the time where it does not wait for the memory.
func NewInt8Fine(w, bias []float32, out, in int) *Int8 {
	return newInt8(active, w, bias, out, in).fine()
}

func (l *Int8) fine() *Int8 {
	l.low = make([]int8Cols, len(l.cols))
	for i := range l.low {
		l.low[i].step = l.cols[i].step
	}
	return l
}

func newInt8(v isa, w, bias []float32, out, in int) *Int8 {
	check(out > 0 && in > 0 && in <= int8Buffer && len(w) == out*in && (bias == nil || len(bias) == out), "NewInt8")
	width := (out + panelN - 1) / panelN
	l := &Int8{isa: v, k: in, n: out, w: make([]int8, width*panelN*quads(in)), cols: make([]int8Cols, width)}
	for i := range out {
		row := w[i*in:][:in]
		var hi float32
		for _, x := range row {
			hi = max(hi, x, -x)
		}
		step, sum := hi/math.MaxInt8, 0
		for j, x := range row {
			q := int8(0)
			if step > 0 {
				// A subnormal step is rounded itself.
				q = int8(min(max(math.RoundToEven(float64(x)/float64(step)), -math.MaxInt8), math.MaxInt8))
			}
			l.w[l.at(i, j)] = q
			sum += int(q)
		}
		c := &l.cols[i/panelN]
		c.step[i%panelN], c.sum[i%panelN] = step, step*float32(sum)
		if bias != nil {
			c.bias[i%panelN] = bias[i]
		}
	}
	return l
}

// quads is k rounded up to whole groups of four.
func quads(k int) int { return (k + 3) &^ 3 }

// at is the position of the weight of output i for input j.
func (l *Int8) at(i, j int) int {
	return i/panelN*quads(l.k)*panelN + j/4*4*panelN + i%panelN*4 + j%4
}

// In is the length of a row of x.
func (l *Int8) In() int { return l.k }

// Out is the length of a row of dst.
func (l *Int8) Out() int { return l.n }

// Row writes row i of the rounded w to dst[in].
func (l *Int8) Row(dst []float32, i int) {
	check(len(dst) == l.k && i >= 0 && i < l.n, "Row")
	step := l.cols[i/panelN].step[i%panelN]
	for j := range dst {
		dst[j] = step * float32(l.w[l.at(i, j)])
	}
}

// Mul computes dst[rows][out] = x[rows][in] · wᵀ + bias.
func (l *Int8) Mul(dst, x []float32, rows int) { l.mul(dst, l.n, x, l.k, rows, false) }

// MulAdd computes dst[rows][out] += x[rows][in] · wᵀ + bias.
func (l *Int8) MulAdd(dst, x []float32, rows int) { l.mul(dst, l.n, x, l.k, rows, true) }

// MulRows is Mul on rows ldd and ldx elements apart. ldx may be less than In:
// with overlapping rows of x it is a convolution over time.
func (l *Int8) MulRows(dst []float32, ldd int, x []float32, ldx int, rows int) {
	l.mul(dst, ldd, x, ldx, rows, false)
}

func (l *Int8) mul(dst []float32, ldd int, x []float32, ldx int, rows int, add bool) {
	check(covers(dst, ldd, rows, l.n) && covers(x, ldx, rows, l.k), "Mul")
	// The buffers are cleared by the compiler, which takes its time.
	switch size := rows * l.rowSize(); {
	case size <= int8Small:
		var buf [int8Small]uint8
		l.product(buf[:], dst, ldd, x, ldx, rows, add)
	case size <= 4*int8Small:
		var buf [4 * int8Small]uint8
		l.product(buf[:], dst, ldd, x, ldx, rows, add)
	default:
		var buf [2 * int8Buffer]uint8
		l.product(buf[:], dst, ldd, x, ldx, rows, add)
	}
}

// rowSize is the number of bytes that a row of x becomes.
func (l *Int8) rowSize() int {
	if l.low != nil {
		return 2 * quads(l.k)
	}
	return quads(l.k)
}

func (l *Int8) product(buf []uint8, dst []float32, ldd int, x []float32, ldx int, rows int, add bool) {
	stride := quads(l.k)
	most := min(len(buf)/l.rowSize(), int8Rows)
	if most > int8M {
		most -= most % int8M
	}
	high, low := buf[:most*stride], buf[most*stride:]
	cols := max(2, int8Chunk/(stride*panelN)&^1) * panelN
	far := len(l.w) > int8Near
	var upper, lower [int8Rows]int8Row
	for r := 0; r < rows; r += most {
		m := min(most, rows-r)
		for i := range m {
			row, at := x[(r+i)*ldx:][:l.k], i*stride
			if l.low == nil {
				upper[i] = l.isa.toBytes(high[at:][:l.k], row)
				continue
			}
			f := l.isa.toWords(high[at:][:l.k], low[at:][:l.k], row)
			upper[i], lower[i].step = int8Row{256 * f.step, f.least}, f.step
		}
		tiles := (m + int8M - 1) / int8M
		step := (m + tiles - 1) / tiles
		for j := 0; j < l.n; j += cols {
			n, w := min(cols, l.n-j), l.w[j*stride:]
			for i := 0; i < m; i += step {
				to, tile := dst[(r+i)*ldd+j:], min(step, m-i)
				l.isa.gemmInt8(tile, n, stride, high[i*stride:], upper[i:], w, l.cols[j/panelN:], to, ldd, add, far)
				if l.low != nil {
					l.isa.gemmInt8(tile, n, stride, low[i*stride:], lower[i:], w, l.low[j/panelN:], to, ldd, true, false)
				}
			}
		}
	}
}

// toBytesGo writes x in steps above its least element to dst.
func toBytesGo(dst []uint8, x []float32) int8Row {
	f, inverse := steps(x, math.MaxUint8)
	for i, v := range x {
		dst[i] = uint8(int32(math.RoundToEven(float64((v - f.least) * inverse))))
	}
	return f
}

// toWordsGo is toBytesGo for numbers of 16 bits, in two bytes.
func toWordsGo(high, low []uint8, x []float32) int8Row {
	f, inverse := steps(x, math.MaxUint16)
	for i, v := range x {
		q := int32(math.RoundToEven(float64((v - f.least) * inverse)))
		high[i], low[i] = uint8(q>>8), uint8(q)
	}
	return f
}

// steps divides the range of x into count steps; inverse is how many there are
// in one.
func steps(x []float32, count float32) (f int8Row, inverse float32) {
	lo, hi, sum := x[0], x[0], float32(0)
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		sum += v
	}
	spread := hi - lo
	if spread < leastSpread {
		spread = 0
	}
	if spread > 0 {
		inverse = count / spread
	}
	return int8Row{step: spread * (1 / count), least: lo + 0*sum}, inverse
}

// leastSpread is the least spread of a row whose inverse is finite; a smaller
// one is taken for zero.
const leastSpread = 1e-30

// gemmInt8Go computes c[m][n] (+)= a[m][k] · b + bias for panels b of bytes,
// each [k/4][16][4].
func gemmInt8Go(m, n, k int, a []uint8, rows []int8Row, b []int8, cols []int8Cols, c []float32, ldc int, add bool) {
	for j := range n {
		w, f, p := b[j/panelN*k*panelN+j%panelN*4:], &cols[j/panelN], j%panelN
		for i := range m {
			var sum int32
			for q, x := range a[i*k : (i+1)*k] {
				sum += int32(x) * int32(w[q/4*4*panelN+q%4])
			}
			v := float32(sum)*f.step[p]*rows[i].step + (rows[i].least*f.sum[p] + f.bias[p])
			if add {
				v += c[i*ldc+j]
			}
			c[i*ldc+j] = v
		}
	}
}
