//go:build unix

package nn

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// guard hands out copies of slices that touch a page which must not be
// accessed: behind their end, or before their start. A kernel that reaches
// past its slices ends the test by a fault. So does qemu, to version 7.2 at
// least, where masked loads touch what the mask leaves out: skip TestBounds
// there.
type guard struct {
	t      *testing.T
	before bool
}

func guarded[T any](g guard, x []T) []T {
	page := os.Getpagesize()
	var elem T
	size := len(x) * int(unsafe.Sizeof(elem))
	inner := (size + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, inner+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			g.t.Error(err)
		}
	})
	for _, fence := range [][]byte{m[:page], m[page+inner:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			g.t.Fatal(err)
		}
	}
	start := page + inner - size
	if g.before {
		start = page
	}
	y := unsafe.Slice((*T)(unsafe.Pointer(&m[start])), len(x))
	copy(y, x)
	return y
}

func equal(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, g := range got {
		if !same(g, want[i]) {
			t.Fatalf("%s: element %d of %d: got %v, want %v", what, i, len(got), g, want[i])
		}
	}
}

func forEachGuard(t *testing.T, f func(t *testing.T, v isa, g guard, r *rand.Rand)) {
	forEach(t, func(t *testing.T, v isa) {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("before %v", before), func(t *testing.T) {
				f(t, v, guard{t, before}, newRand())
			})
		}
	})
}

func TestBoundsVectors(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, n := range lengths()[1:] {
			x, y, z := normal(r, n), normal(r, n), normal(r, n)
			gx, gy, gz := guarded(g, x), guarded(g, y), guarded(g, z)
			if got, want := v.dot(gx, gy), v.dot(x, y); got != want {
				t.Fatalf("dot: got %v, want %v", got, want)
			}
			half, back := make([]uint16, n), make([]float32, n)
			v.floatToHalf(half, x)
			v.halfToFloat(back, half)
			gh, gb := guarded(g, half), guarded(g, back)
			clear(gh)
			v.floatToHalf(gh, gx)
			v.halfToFloat(gb, gh)
			equal(t, "half", gb, back)
			v.layerNorm(gb, gx, gy, gz)
			v.layerNorm(back, x, y, z)
			equal(t, "layerNorm", gb, back)
			six, four := normal(r, 6*n), make([]float32, 4*n)
			g6, g4 := guarded(g, six), guarded(g, four)
			v.winogradOut(g4, n, g6, n, n)
			v.winogradOut(four, n, six, n, n)
			equal(t, "winogradOut", g4, four)
			v.winogradIn(g6, n, g6, n, n)
			v.winogradIn(six, n, six, n, n)
			equal(t, "winogradIn", g6, six)
			v.scaleReLU(gb, gx, gy, gz)
			v.scaleReLU(back, x, y, z)
			equal(t, "scaleReLU", gb, back)
			v.addReLU(gb, gx)
			v.addReLU(back, x)
			equal(t, "addReLU", gb, back)
			v.add(gx, gy)
			v.add(x, y)
			equal(t, "add", gx, x)
			v.relu(gx)
			v.relu(x)
			equal(t, "relu", gx, x)
			v.gelu(gy)
			v.gelu(y)
			equal(t, "gelu", gy, y)
			v.softmax(gz)
			v.softmax(z)
			equal(t, "softmax", gz, z)
		}
	})
}

func TestBoundsProducts(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for m := 1; m <= 13; m++ {
			for _, s := range []struct{ k, n int }{{1, 1}, {3, 16}, {16, 16}, {8, 15}, {9, 33}, {64, 50}, {67, 64}, {130, 20}, {390, 17}} {
				a, b := normal(r, m*s.k), normal(r, s.k*s.n)
				ga, gb := guarded(g, a), guarded(g, b)
				dst := make([]float32, m*s.n)
				gd := guarded(g, dst)
				v.matMul(dst, s.n, a, s.k, b, s.n, m, s.k, s.n)
				v.matMul(gd, s.n, ga, s.k, gb, s.n, m, s.k, s.n)
				equal(t, "matMul", gd, dst)
				v.matMulT(dst, s.n, a, s.k, b, s.k, m, s.k, s.n, 2)
				v.matMulT(gd, s.n, ga, s.k, gb, s.k, m, s.k, s.n, 2)
				equal(t, "matMulT", gd, dst)

				l := newLinear(v, b, normal(r, s.n), s.n, s.k)
				l.Mul(dst, a, m)
				l.w.full, l.bias = guarded(g, l.w.full), guarded(g, l.bias)
				l.Mul(gd, ga, m)
				equal(t, "Linear.Mul", gd, dst)

				half := make([]uint16, len(b))
				v.floatToHalf(half, b)
				h := newHalf(v, half, normal(r, s.n), s.n, s.k)
				h.Mul(dst, a, m)
				if h.w.half != nil {
					h.w.half = guarded(g, h.w.half)
				}
				h.bias = guarded(g, h.bias)
				h.Mul(gd, ga, m)
				equal(t, "Half.Mul", gd, dst)

				i8 := newInt8(v, b, normal(r, s.n), s.n, s.k)
				i8.Mul(dst, a, m)
				i8.w, i8.cols = guarded(g, i8.w), guarded(g, i8.cols)
				i8.Mul(gd, ga, m)
				equal(t, "Int8.Mul", gd, dst)
				i8.fine().Mul(dst, a, m)
				i8.low = guarded(g, i8.low)
				i8.Mul(gd, ga, m)
				equal(t, "Int8.Mul, fine", gd, dst)

				bf := newBfloat(v, b, normal(r, s.n), s.n, s.k)
				bf.Mul(dst, a, m)
				bf.w, bf.bias = guarded(g, bf.w), guarded(g, bf.bias)
				bf.Mul(gd, ga, m)
				equal(t, "Bfloat.Mul", gd, dst)
			}
		}
	})
}

func TestBoundsAttend(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, s := range []struct{ m, n, d int }{{1, 1, 1}, {1, 30, 64}, {5, 17, 7}, {6, 17, 7}, {29, 270, 64}, {31, 33, 20}} {
			q, k, x, dst := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d), make([]float32, s.m*s.d)
			gq, gk, gx, gd := guarded(g, q), guarded(g, k), guarded(g, x), guarded(g, dst)
			a := newAttention(v, s.n, s.d)
			a.Attend(dst, s.d, q, s.d, k, s.d, x, s.d, s.m, s.n, s.d, 1)
			a.keys, a.values, a.weights = guarded(g, a.keys), guarded(g, a.values), guarded(g, a.weights)
			a.Attend(gd, s.d, gq, s.d, gk, s.d, gx, s.d, s.m, s.n, s.d, 1)
			equal(t, "Attend", gd, dst)
		}
	})
}

func TestBoundsKeyValues(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, half := range []bool{false, true} {
			for _, s := range []struct{ m, n, d int }{{1, 1, 1}, {1, 30, 64}, {5, 17, 7}, {7, 385, 16}, {13, 33, 20}} {
				const heads = 2
				kv, q, w := normal(r, s.n*2*heads*s.d), normal(r, s.m*s.d), normal(r, s.m*s.n)
				gkv, gq, gw := guarded(g, kv), guarded(g, q), guarded(g, w)
				c, gc := newKeyValues(v, heads, s.d, half), newKeyValues(v, heads, s.d, half)
				c.Fill(kv, 2*heads*s.d, s.n, 1)
				if c.half {
					gc.w.half = guarded(g, c.w.half)
				} else {
					gc.w.full = guarded(g, c.w.full)
				}
				gc.Fill(gkv, 2*heads*s.d, s.n, 1)
				scores, mixed := make([]float32, s.m*s.n), make([]float32, s.m*s.d)
				gs, gm := guarded(g, scores), guarded(g, mixed)
				for h := range heads {
					c.Scores(scores, s.n, q, s.d, s.m, h)
					gc.Scores(gs, s.n, gq, s.d, s.m, h)
					equal(t, "Scores", gs, scores)
					c.Mix(mixed, s.d, w, s.n, s.m, h)
					gc.Mix(gm, s.d, gw, s.n, s.m, h)
					equal(t, "Mix", gm, mixed)
				}
			}
		}
		for _, n := range lengths()[1:] {
			x, to := normal(r, n), make([]uint16, n)
			gx, gt := guarded(g, x), guarded(g, to)
			v.saturate(to, x)
			v.saturate(gt, gx)
			for i, h := range gt {
				if h != to[i] {
					t.Fatalf("saturate of %d: element %d", n, i)
				}
			}
		}
	})
}

func TestBoundsLSTMGates(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, n := range lengths()[1:] {
			gates, c, h := normal(r, 4*n), normal(r, n), make([]float32, n)
			gg, gc, gh := guarded(g, gates), guarded(g, c), guarded(g, h)
			v.lstmGates(h, c, gates)
			v.lstmGates(gh, gc, gg)
			equal(t, "c", gc, c)
			equal(t, "h", gh, h)
		}
	})
}

func TestBoundsBytes(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, s := range []struct{ m, n, d int }{{6, 1, 1}, {7, 30, 64}, {15, 17, 7}, {16, 66, 30}, {29, 270, 64}} {
			q, k, x, dst := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d), make([]float32, s.m*s.d)
			gq, gk, gx, gd := guarded(g, q), guarded(g, k), guarded(g, x), guarded(g, dst)
			a := newAttention(v, s.n, s.d)
			a.bytes = newByteAttention(s.n, s.d)
			a.Attend(dst, s.d, q, s.d, k, s.d, x, s.d, s.m, s.n, s.d, 1)
			b := a.bytes
			b.keys, b.keyCols, b.values, b.valueCols = guarded(g, b.keys), guarded(g, b.keyCols), guarded(g, b.values), guarded(g, b.valueCols)
			b.key, b.queries, b.scores = guarded(g, b.key), guarded(g, b.queries), guarded(g, b.scores)
			b.high, b.low = guarded(g, b.high), guarded(g, b.low)
			a.Attend(gd, s.d, gq, s.d, gk, s.d, gx, s.d, s.m, s.n, s.d, 1)
			equal(t, "Attend", gd, dst)
		}
		for _, n := range lengths()[1:] {
			x := normal(r, n)
			gx := guarded(g, x)
			u, s, low := make([]uint8, n), make([]int8, n), make([]uint8, n)
			gu, gs, gl := guarded(g, u), guarded(g, s), guarded(g, low)
			if v.toBytes(u, x) != v.toBytes(gu, gx) || string(u) != string(gu) {
				t.Fatalf("toBytes of %d", n)
			}
			if v.toWords(u, low, x) != v.toWords(gu, gl, gx) || string(u) != string(gu) || string(low) != string(gl) {
				t.Fatalf("toWords of %d", n)
			}
			v.toSigned(s, x)
			v.toSigned(gs, gx)
			for i, b := range gs {
				if b != s[i] {
					t.Fatalf("toSigned of %d: byte %d", n, i)
				}
			}
			if v.powers(u, low, x) != v.powers(gu, gl, gx) || string(u) != string(gu) || string(low) != string(gl) {
				t.Fatalf("powers of %d", n)
			}
		}
	})
}

func TestBoundsBfloats(t *testing.T) {
	forEachGuard(t, func(t *testing.T, v isa, g guard, r *rand.Rand) {
		for _, s := range []struct{ m, n, d int }{{6, 1, 1}, {7, 30, 64}, {15, 17, 7}, {16, 66, 30}, {29, 270, 64}} {
			q, k, x, dst := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d), make([]float32, s.m*s.d)
			gq, gk, gx, gd := guarded(g, q), guarded(g, k), guarded(g, x), guarded(g, dst)
			a := newAttention(v, s.n, s.d)
			a.pairs = newBfloatAttention(s.n, s.d)
			a.Attend(dst, s.d, q, s.d, k, s.d, x, s.d, s.m, s.n, s.d, 1)
			b := a.pairs
			b.keys, b.values, b.key, b.queries = guarded(g, b.keys), guarded(g, b.values), guarded(g, b.key), guarded(g, b.queries)
			b.scores, b.weights = guarded(g, b.scores), guarded(g, b.weights)
			a.Attend(gd, s.d, gq, s.d, gk, s.d, gx, s.d, s.m, s.n, s.d, 1)
			equal(t, "Attend", gd, dst)
		}
		for _, n := range lengths()[1:] {
			x, y := normal(r, n), make([]uint16, n)
			gx, gy := guarded(g, x), guarded(g, y)
			v.toBfloat(y, x)
			v.toBfloat(gy, gx)
			words(t, "toBfloat", gy, y)
			if v.powersBfloat(y, x, 1) != v.powersBfloat(gy, gx, 1) {
				t.Fatalf("powersBfloat of %d: another sum", n)
			}
			words(t, "powersBfloat", gy, y)
		}
	})
}
