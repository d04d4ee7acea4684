package nn

// MatMul computes dst[m][n] = a[m][k] · b[k][n].
func MatMul(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int) {
	check(covers(dst, ldd, m, n) && covers(a, lda, m, k) && covers(b, ldb, k, n), "MatMul")
	active.matMul(dst, ldd, a, lda, b, ldb, m, k, n)
}

// MatMulT computes dst[m][n] = scale · a[m][k] · b[n][k]ᵀ.
func MatMulT(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int, scale float32) {
	check(covers(dst, ldd, m, n) && covers(a, lda, m, k) && covers(b, ldb, n, k), "MatMulT")
	active.matMulT(dst, ldd, a, lda, b, ldb, m, k, n, scale)
}

func (v isa) matMul(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int) {
	for i := range m {
		d := dst[i*ldd : i*ldd+n]
		clear(d)
		for p := range k {
			x := a[i*lda+p]
			for j, w := range b[p*ldb : p*ldb+n] {
				d[j] += x * w
			}
		}
	}
}

func (v isa) matMulT(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int, scale float32) {
	for i := range m {
		for j := range n {
			dst[i*ldd+j] = scale * v.dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
		}
	}
}

// Attention computes scaled dot-product attention (Vaswani et al., 2017, 3.2.1)
// for one head at a time. It holds the scratch of one call: it is not safe for
// concurrent use.
type Attention struct {
	isa     isa
	n, d    int
	keys    []float32
	values  []float32
	weights []float32
}

// attentionM is the number of query rows whose weights are held at once.
const attentionM = 4 * tileM

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

// Attend computes dst[m][d] = softmax(scale · q[m][d] · k[n][d]ᵀ) · v[n][d].
func (a *Attention) Attend(dst []float32, ldd int, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, m, n, d int, scale float32) {
	check(n <= a.n && d <= a.d && covers(dst, ldd, m, d) && covers(q, ldq, m, d) && covers(k, ldk, n, d) && covers(v, ldv, n, d), "Attend")
	for i := 0; i < m; i += attentionM {
		rows := min(attentionM, m-i)
		a.isa.matMulT(a.weights, n, q[i*ldq:], ldq, k, ldk, rows, d, n, scale)
		for r := range rows {
			a.isa.softmax(a.weights[r*n : (r+1)*n])
		}
		a.isa.matMul(dst[i*ldd:], ldd, a.weights, n, v, ldv, rows, n, d)
	}
}
