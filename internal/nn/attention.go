package nn

// Attention computes scaled dot-product attention (Vaswani et al., 2017, 3.2.1)
// for one head at a time. It holds the scratch of one call: it is not safe for
// concurrent use.
type Attention struct {
	isa  isa
	n, d int
	// keys [n/16][d][16] and values, in blocks of at most packK rows.
	keys, values []float32
	// weights [attentionM][n], n in whole panels.
	weights []float32
	// bytes is set where several queries are multiplied as bytes.
	bytes *byteAttention
	// pairs is set where several queries are multiplied as 16-bit floats.
	pairs *bfloatAttention
}

// attentionM is the number of query rows whose weights are held at once.
const attentionM = 24

// NewAttention makes scratch for up to n keys and values of up to d elements.
func NewAttention(n, d int) *Attention { return newAttention(active, n, d) }

func newAttention(v isa, n, d int) *Attention {
	wide := panels{n: n}.width() * panelN
	return &Attention{isa: v, n: n, d: d,
		keys:    make([]float32, wide*d),
		values:  make([]float32, n*panels{n: d}.width()*panelN),
		weights: make([]float32, attentionM*wide),
	}
}

// Attend computes dst[m][d] = softmax(scale · q[m][d] · k[n][d]ᵀ) · v[n][d];
// n and d are at least one. dst may be q.
func (a *Attention) Attend(dst []float32, ldd int, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, m, n, d int, scale float32) {
	check(n > 0 && d > 0 && n <= a.n && d <= a.d && covers(dst, ldd, m, d) && covers(q, ldq, m, d) && covers(k, ldk, n, d) && covers(v, ldv, n, d), "Attend")
	if m < packM {
		for i := range m {
			w := a.weights[:n]
			a.isa.dots(w, q[i*ldq:i*ldq+d], k, ldk, d, n, scale)
			a.isa.softmax(w)
			a.isa.mix(dst[i*ldd:i*ldd+d], w, v, ldv, n, d)
		}
		return
	}
	if a.bytes != nil {
		a.bytes.attend(a.isa, dst, ldd, q, ldq, k, ldk, v, ldv, m, n, d, scale)
		return
	}
	if a.pairs != nil {
		a.pairs.attend(a.isa, dst, ldd, q, ldq, k, ldk, v, ldv, m, n, d, scale)
		return
	}
	keys := panels{k: d, n: n}
	wide := keys.width() * panelN
	a.isa.packT(a.keys, k, ldk, n, d, scale)
	step := blocks(n, d).k
	for k0 := 0; k0 < n; k0 += step {
		packCols(a.values[k0*panels{n: d}.width()*panelN:], v[k0*ldv:], ldv, min(step, n-k0), d)
	}
	for i := 0; i < m; i += attentionM {
		rows := min(attentionM, m-i)
		a.isa.tiles(a.weights, wide, q[i*ldq:], ldq, rows, d, wide, weights{full: a.keys}, nil, false)
		for r := range rows {
			a.isa.softmax(a.weights[r*wide : r*wide+n])
		}
		for k0 := 0; k0 < n; k0 += step {
			block := weights{full: a.values[k0*panels{n: d}.width()*panelN:]}
			a.isa.tiles(dst[i*ldd:], ldd, a.weights[k0:], wide, rows, min(step, n-k0), d, block, nil, k0 > 0)
		}
	}
}
