package turn_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"sidetone/voiceprint"
	"sidetone/voiceprint/store/turn"
)

func key(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16) }

func made(t testing.TB, key []byte, name string, dim int) *turn.Turn {
	t.Helper()
	out, err := turn.New(key, name, dim)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func vector(r *rand.Rand, dim int) voiceprint.Embedding {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	voiceprint.Unit(v)
	return v
}

func TestCosinesStay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, dim := range []int{1, 2, 3, 192, 256} {
		a := made(t, key(1), "a", dim)
		v, w := vector(r, dim), vector(r, dim)
		tv, tw := a.Apply(v), a.Apply(w)
		if d := voiceprint.Cosine(v, w) - voiceprint.Cosine(tv, tw); math.Abs(d) > 1e-6 {
			t.Errorf("%d dimensions: the cosine changed by %v", dim, d)
		}
		back := a.Undo(tv)
		for i := range v {
			if math.Abs(float64(back[i]-v[i])) > 1e-6 {
				t.Fatalf("%d dimensions: number %d is %v, was %v", dim, i, back[i], v[i])
			}
		}
	}
}

// What one voice leaves under two names, or two keys, has nothing in common: the
// cosine is that of random vectors, of standard deviation 1/sqrt(192) = 0.072.
func TestUnlinkable(t *testing.T) {
	v := vector(rand.New(rand.NewPCG(2, 2)), 192)
	var sum, squares float64
	const n = 400
	base := made(t, key(1), "template", 192).Apply(v)
	for i := range n {
		k, name := key(1), fmt.Sprint(i)
		if i%2 == 1 {
			k, name = key(i+2), "template"
		}
		c := voiceprint.Cosine(base, made(t, k, name, 192).Apply(v))
		sum, squares = sum+c, squares+c*c
	}
	if mean, dev := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 0.015 || dev < 0.062 || dev > 0.082 {
		t.Errorf("cosines have mean %.3f and deviation %.3f, want 0 and 0.072", mean, dev)
	}
}

// matrix is the transform written out, column by column.
func matrix(a *turn.Turn) [][]float32 {
	out := make([][]float32, a.Dim())
	for i := range out {
		e := make([]float32, a.Dim())
		e[i] = 1
		out[i] = a.Apply(e)
	}
	return out
}

// Of a Haar matrix the trace has mean 0 and variance 1, each entry variance 1/n,
// and both determinants are as likely (Diaconis and Shahshahani, 1994).
func TestUniform(t *testing.T) {
	const n, dim = 4000, 3
	var trace, squares, positive float64
	var entry [dim][dim]float64
	for i := range n {
		m := matrix(made(t, key(i), "u", dim))
		tr := float64(m[0][0] + m[1][1] + m[2][2])
		trace, squares = trace+tr, squares+tr*tr
		for c := range m {
			for r := range m[c] {
				entry[c][r] += float64(m[c][r]) * float64(m[c][r]) / n
			}
		}
		det := m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) - m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) + m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
		if math.Abs(math.Abs(float64(det))-1) > 1e-5 {
			t.Fatalf("determinant %v", det)
		}
		if det > 0 {
			positive++
		}
	}
	if mean, v := trace/n, squares/n; math.Abs(mean) > 0.07 || math.Abs(v-1) > 0.1 || math.Abs(positive/n-0.5) > 0.035 {
		t.Errorf("trace: mean %.3f, variance %.3f; positive %.3f", mean, v, positive/n)
	}
	for c := range entry {
		for r, v := range entry[c] {
			if math.Abs(v-1.0/dim) > 0.03 {
				t.Errorf("entry %d,%d has variance %.3f", r, c, v)
			}
		}
	}
}

// Templates that lie in databases must open after years: the transform of a key and
// a name never changes.
func TestNeverChanges(t *testing.T) {
	got := made(t, key(7), "a template", 4).Apply([]float32{0.1, 0.7, -0.5, 0.5})
	if s := fmt.Sprintf("%.5f", got); s != golden {
		t.Errorf("got %s, want %s", s, golden)
	}
}

const golden = "[-0.07198 -0.19652 -0.84113 0.49871]"

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		key []byte
		dim int
	}{"key": {key(1)[:31], 192}, "none": {key(1), 0}, "huge": {key(1), 5000}} {
		if _, err := turn.New(c.key, "x", c.dim); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := turn.New(key(1), "x", 192); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	a, v := made(b, key(1), "x", 192), vector(rand.New(rand.NewPCG(1, 1)), 192)
	for b.Loop() {
		a.Apply(v)
	}
}
