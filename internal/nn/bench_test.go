package nn

import (
	"fmt"
	"testing"
)

// rate reports how many thousand millions of the n per iteration are done in
// a second.
func rate(b *testing.B, n int, unit string) {
	b.ReportMetric(float64(n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), unit)
}

// each runs a benchmark on every instruction set.
func each(b *testing.B, name string, f func(b *testing.B, v isa)) {
	for _, v := range isas() {
		b.Run(fmt.Sprintf("%v/%s", v, name), func(b *testing.B) { f(b, v) })
	}
}

func BenchmarkLinear(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, in, out int }{
		{1500, 384, 384}, {1500, 384, 1536}, {1500, 1536, 384}, {250, 384, 384}, {250, 384, 1536}, {250, 1536, 384},
		{3000, 240, 384}, {1500, 1152, 384},
		{1, 384, 384}, {1, 384, 1536}, {1, 1536, 384}, {1, 384, 51864}, {4, 384, 51864}, {16, 384, 51864}, {1, 256, 1024},
	} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.in, s.out), func(b *testing.B, v isa) {
			l := newLinear(v, normal(r, s.in*s.out), normal(r, s.out), s.out, s.in)
			x, dst := normal(r, s.m*s.in), make([]float32, s.m*s.out)
			for b.Loop() {
				l.Mul(dst, x, s.m)
			}
			rate(b, 2*s.m*s.in*s.out, "GFLOP/s")
		})
	}
}

func BenchmarkHalf(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, in, out int }{
		{1, 384, 384}, {1, 384, 1536}, {1, 1536, 384}, {1, 384, 51864}, {4, 384, 51864}, {16, 384, 51864}, {250, 384, 768},
	} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.in, s.out), func(b *testing.B, v isa) {
			w := make([]uint16, s.in*s.out)
			FloatToHalf(w, normal(r, len(w)))
			h := newHalf(v, w, normal(r, s.out), s.out, s.in)
			x, dst := normal(r, s.m*s.in), make([]float32, s.m*s.out)
			for b.Loop() {
				h.Mul(dst, x, s.m)
			}
			rate(b, 2*s.m*s.in*s.out, "GFLOP/s")
		})
	}
}

// The products of one head lie in rows that hold all heads and q, k and v.
const headRow = 3 * 384

func BenchmarkMatMulT(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, k, n int }{{1500, 64, 1500}, {250, 64, 250}, {1, 64, 1500}} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.k, s.n), func(b *testing.B, v isa) {
			x, y, dst := normal(r, s.m*headRow), normal(r, s.n*headRow), make([]float32, s.m*s.n)
			for b.Loop() {
				v.matMulT(dst, s.n, x, headRow, y, headRow, s.m, s.k, s.n, 0.125)
			}
			rate(b, 2*s.m*s.k*s.n, "GFLOP/s")
		})
	}
}

func BenchmarkMatMul(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, k, n int }{{1500, 1500, 64}, {250, 250, 64}, {1, 1500, 64}} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.k, s.n), func(b *testing.B, v isa) {
			x, y, dst := normal(r, s.m*s.k), normal(r, s.k*headRow), make([]float32, s.m*384)
			for b.Loop() {
				v.matMul(dst, 384, x, s.k, y, headRow, s.m, s.k, s.n)
			}
			rate(b, 2*s.m*s.k*s.n, "GFLOP/s")
		})
	}
}

func BenchmarkAttend(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, n int }{{1500, 1500}, {250, 250}, {1, 1500}, {1, 250}} {
		each(b, fmt.Sprintf("%dx%dx64", s.m, s.n), func(b *testing.B, v isa) {
			q, kv, dst := normal(r, s.m*headRow), normal(r, s.n*headRow), make([]float32, s.m*384)
			a := newAttention(v, s.n, 64)
			for b.Loop() {
				a.Attend(dst, 384, q, headRow, kv[384:], headRow, kv[768:], headRow, s.m, s.n, 64, 0.125)
			}
			rate(b, 4*s.m*s.n*64, "GFLOP/s")
		})
	}
}

func BenchmarkAttendInt8(b *testing.B) {
	r := newRand()
	for _, n := range []int{1500, 550, 250} {
		each(b, fmt.Sprintf("%dx%dx64", n, n), func(b *testing.B, v isa) {
			if !v.multipliesBytes() {
				b.Skip("plain Go")
			}
			q, kv, dst := normal(r, n*headRow), normal(r, n*headRow), make([]float32, n*384)
			a := newAttention(v, n, 64)
			a.bytes = newByteAttention(n, 64)
			for b.Loop() {
				a.Attend(dst, 384, q, headRow, kv[384:], headRow, kv[768:], headRow, n, n, 64, 0.125)
			}
			rate(b, 4*n*n*64, "GOP/s")
		})
	}
}

func BenchmarkVectors(b *testing.B) {
	r := newRand()
	const n = 1500
	x, y, z, dst := normal(r, n), normal(r, n), normal(r, n), make([]float32, n)
	half, bytes := make([]uint16, n), make([]uint8, n)
	var sink float32
	for name, f := range map[string]func(v isa){
		"toBytes":     func(v isa) { v.toBytes(bytes, x) },
		"Softmax":     func(v isa) { copy(dst, x); v.softmax(dst) },
		"GELU":        func(v isa) { copy(dst, x); v.gelu(dst) },
		"LayerNorm":   func(v isa) { v.layerNorm(dst, x, y, z) },
		"Add":         func(v isa) { v.add(dst, x) },
		"Dot":         func(v isa) { sink += v.dot(x, y) },
		"HalfToFloat": func(v isa) { v.halfToFloat(dst, half) },
		"FloatToHalf": func(v isa) { v.floatToHalf(half, x) },
	} {
		each(b, name, func(b *testing.B, v isa) {
			for b.Loop() {
				f(v)
			}
			rate(b, n, "Gelem/s")
		})
	}
}

func BenchmarkInt8(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, in, out int }{
		{1500, 384, 384}, {1500, 384, 1536}, {500, 384, 1536}, {1500, 1536, 384}, {128, 384, 1536}, {128, 1536, 384},
		{1, 384, 384}, {1, 384, 1536}, {1, 1536, 384}, {1, 384, 51864}, {4, 384, 51864}, {16, 384, 51864},
	} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.in, s.out), func(b *testing.B, v isa) {
			if !v.multipliesBytes() {
				b.Skip("plain Go")
			}
			l := newInt8(v, normal(r, s.in*s.out), normal(r, s.out), s.out, s.in)
			x, dst := normal(r, s.m*s.in), make([]float32, s.m*s.out)
			b.Run("bytes", func(b *testing.B) {
				for b.Loop() {
					l.Mul(dst, x, s.m)
				}
				rate(b, 2*s.m*s.in*s.out, "GOP/s")
			})
			l.fine()
			b.Run("fine", func(b *testing.B) {
				for b.Loop() {
					l.Mul(dst, x, s.m)
				}
				rate(b, 2*s.m*s.in*s.out, "GOP/s")
			})
		})
	}
}

func BenchmarkBfloat(b *testing.B) {
	r := newRand()
	for _, s := range []struct{ m, in, out int }{
		{1500, 384, 384}, {1500, 384, 1536}, {1500, 1536, 384}, {250, 384, 384}, {128, 384, 1536}, {128, 1536, 384},
		{3000, 240, 384}, {1500, 1152, 384},
	} {
		each(b, fmt.Sprintf("%dx%dx%d", s.m, s.in, s.out), func(b *testing.B, v isa) {
			if !v.multipliesBfloats() {
				b.Skip("plain Go")
			}
			l := newBfloat(v, normal(r, s.in*s.out), normal(r, s.out), s.out, s.in)
			x, dst := normal(r, s.m*s.in), make([]float32, s.m*s.out)
			for b.Loop() {
				l.Mul(dst, x, s.m)
			}
			rate(b, 2*s.m*s.in*s.out, "GFLOP/s")
		})
	}
}

func BenchmarkAttendBfloat(b *testing.B) {
	r := newRand()
	for _, n := range []int{1500, 550, 250} {
		each(b, fmt.Sprintf("%dx%dx64", n, n), func(b *testing.B, v isa) {
			if !v.multipliesBfloats() {
				b.Skip("plain Go")
			}
			q, kv, dst := normal(r, n*headRow), normal(r, n*headRow), make([]float32, n*384)
			a := newAttention(v, n, 64)
			a.pairs = newBfloatAttention(n, 64)
			for b.Loop() {
				a.Attend(dst, 384, q, headRow, kv[384:], headRow, kv[768:], headRow, n, n, 64, 0.125)
			}
			rate(b, 4*n*n*64, "GFLOP/s")
		})
	}
}
