package nn

import "math"

// byteAttention is the scratch of an attention in bytes. Keys have a step for
// each, values one for each column, queries one for each row, and weights are
// whole numbers of 16 bits: the largest of a row is 65535, and small ones,
// which are many, do not vanish. A weight is multiplied as two bytes.
type byteAttention struct {
	keys      []int8 // panels [d/4][16][4]
	keyCols   []int8Cols
	values    []int8 // panels [n/4][16][4]
	valueCols []int8Cols
	key       []int8    // one key
	queries   []uint8   // [int8M][d]
	scores    []float32 // [int8M][n]
	high, low []uint8   // [int8M][n]
}

// NewAttentionInt8 is NewAttention for products of bytes, where the processor
// has them (Int8Fast) and where there are several queries. With values of
// normal distribution the result is off by about one part in a hundred, a few
// where attention is to few keys.
func NewAttentionInt8(n, d int) *Attention {
	return newAttentionInt8(active, n, d)
}

func newAttentionInt8(v isa, n, d int) *Attention {
	if !v.multipliesBytes() || n > int8Buffer || d > int8Buffer {
		return newAttention(v, n, d)
	}
	return &Attention{isa: v, n: n, d: d, weights: make([]float32, n), bytes: newByteAttention(n, d)}
}

func newByteAttention(n, d int) *byteAttention {
	high, wide := panels{n: n}.width(), panels{n: d}.width()
	return &byteAttention{
		keys:      make([]int8, high*panelN*quads(d)),
		keyCols:   make([]int8Cols, high),
		values:    make([]int8, wide*panelN*quads(n)),
		valueCols: make([]int8Cols, wide),
		key:       make([]int8, quads(d)),
		queries:   make([]uint8, int8M*quads(d)),
		scores:    make([]float32, int8M*high*panelN),
		high:      make([]uint8, int8M*quads(n)),
		low:       make([]uint8, int8M*quads(n)),
	}
}

func (b *byteAttention) attend(isa isa, dst []float32, ldd int, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, m, n, d int, scale float32) {
	b.packKeys(isa, k, ldk, n, d, scale*math.Log2E)
	b.packValues(isa, v, ldv, n, d)
	wide, nq, dq := (n+panelN-1)/panelN*panelN, quads(n), quads(d)
	tiles := (m + int8M - 1) / int8M
	step := (m + tiles - 1) / tiles
	for r := range step {
		// The weights of keys that are not.
		clear(b.high[r*nq+n : (r+1)*nq])
		clear(b.low[r*nq+n : (r+1)*nq])
	}
	var query, high, low [int8M]int8Row
	for i := 0; i < m; i += step {
		rows := min(step, m-i)
		for r := range rows {
			query[r] = isa.toBytes(b.queries[r*dq:][:d], q[(i+r)*ldq:][:d])
		}
		isa.gemmInt8(rows, n, dq, b.queries, query[:], b.keys, b.keyCols, b.scores, wide, false, false)
		for r := range rows {
			sum := isa.powers(b.high[r*nq:][:n], b.low[r*nq:][:n], b.scores[r*wide:][:n])
			high[r].step, low[r].step = 256/sum, 1/sum
		}
		isa.gemmInt8(rows, d, nq, b.high, high[:], b.values, b.valueCols, dst[i*ldd:], ldd, false, false)
		isa.gemmInt8(rows, d, nq, b.low, low[:], b.values, b.valueCols, dst[i*ldd:], ldd, true, false)
	}
}

// packKeys rounds and lays out scale · k[n][d].
func (b *byteAttention) packKeys(isa isa, k []float32, ldk, n, d int, scale float32) {
	dq := quads(d)
	clear(b.key[d:dq])
	for j := range n {
		step, sum := isa.toSigned(b.key[:d], k[j*ldk:][:d])
		to := b.keys[j/panelN*panelN*dq+j%panelN*4:]
		for p := 0; p < dq; p += 4 {
			*(*[4]int8)(to[p*panelN:]) = *(*[4]int8)(b.key[p:])
		}
		c := &b.keyCols[j/panelN]
		c.step[j%panelN] = scale * step
		c.sum[j%panelN] = scale * step * sum
	}
}

// packValues rounds and lays out v[n][d].
func (b *byteAttention) packValues(isa isa, v []float32, ldv, n, d int) {
	for j := 0; j < d; j += panelN {
		cols, c := min(panelN, d-j), &b.valueCols[j/panelN]
		var hi, inverse [panelN]float32
		isa.columnMax(hi[:cols], v[j:], ldv, n)
		for p, x := range hi {
			c.step[p] = x * (1. / math.MaxInt8)
			if x > leastSpread {
				inverse[p] = math.MaxInt8 / x
			}
		}
		isa.packBytes(b.values[j*quads(n):], v[j:], ldv, n, inverse[:cols])
	}
}

// toSignedGo writes x in steps to dst and returns the step and the sum of dst.
func toSignedGo(dst []int8, x []float32) (step, sum float32) {
	var hi float32
	for _, v := range x {
		hi = max(hi, v, -v)
	}
	var inverse float32
	if hi > leastSpread {
		inverse = math.MaxInt8 / hi
	}
	all := 0
	for i, v := range x {
		q := int8(math.RoundToEven(float64(v * inverse)))
		dst[i] = q
		all += int(q)
	}
	return hi * (1. / math.MaxInt8), float32(all)
}

// columnMaxGo writes the largest size in each column of x[n][len(dst)] to dst.
func columnMaxGo(dst, x []float32, ld, n int) {
	clear(dst)
	for i := range n {
		for j, v := range x[i*ld:][:len(dst)] {
			dst[j] = max(dst[j], v, -v)
		}
	}
}

// packBytesGo writes x[n][len(inverse)] times inverse, rounded, to the panel
// dst[n/4][16][4], rows from first on.
func packBytesGo(dst []int8, x []float32, ld, first, n int, inverse []float32) {
	for i := first; i < n; i++ {
		for j, v := range x[i*ld:][:len(inverse)] {
			dst[i/4*4*panelN+j*4+i%4] = int8(math.RoundToEven(float64(v * inverse[j])))
		}
	}
}

// powersGo writes 65535 · 2^(x - the largest x) to the bytes of high and low
// and returns the sum of what it wrote, before rounding. The assembly is off by
// one part in ten thousand.
func powersGo(high, low []uint8, x []float32) float32 {
	hi := float32(math.Inf(-1))
	for _, v := range x {
		hi = max(hi, v)
	}
	var sum float64
	for i, v := range x {
		p := float32(math.MaxUint16 * math.Exp2(float64(v-hi)))
		sum += float64(p)
		q := int32(math.RoundToEven(float64(p)))
		high[i], low[i] = uint8(q>>8), uint8(q)
	}
	return float32(sum)
}
