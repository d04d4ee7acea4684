// Package turn turns vectors in space by a secret: an orthogonal transform that is
// drawn from a key, so that lengths and cosines among what was turned alike stay,
// and what was turned differently has nothing in common any more.
//
// A transform is a point of the Haar measure, the uniform distribution over all
// rotations and reflections: the product of Householder reflections of Gaussian
// vectors, with signs (G. W. Stewart, The Efficient Generation of Random Orthogonal
// Matrices, SIAM J. Numer. Anal. 17, 1980). The Gaussian numbers come by Box and
// Muller from ChaCha8Rand (C2SP), whose seed is HMAC-SHA-256 of the name under the
// key; the reflections are applied as such, in O(n²) and without a matrix.
//
// Under one uniform transform that is used once, a unit vector is a uniform point
// of the sphere whatever it was: who lacks the key learns nothing from it. That is
// what makes a template cancellable (ISO/IEC 24745). Of several vectors under one
// transform their cosines show, and who knows n pairs of before and after can solve
// for it.
package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// maxDim bounds vectors: a transform takes 4·n² bytes.
const maxDim = 4096

// Turn is one transform. It is immutable and safe for concurrent use.
type Turn struct {
	dim int
	// normals are the unit normals of the reflections, of dim, dim-1, ... 2 numbers,
	// one behind the other; signs are applied before them.
	normals []float64
	signs   []float64
}

// New draws the transform of that name for vectors of dim numbers. The same key,
// name and dim give the same transform, for ever and on every machine, up to
// rounding.
func New(key []byte, name string, dim int) (*Turn, error) {
	if len(key) < sha256.Size {
		return nil, fmt.Errorf("turn: a key of %d bytes; at least %d are needed", len(key), sha256.Size)
	}
	if dim < 1 || dim > maxDim {
		return nil, fmt.Errorf("turn: vectors of %d numbers; 1 to %d can be turned", dim, maxDim)
	}
	m := hmac.New(sha256.New, key)
	m.Write(binary.BigEndian.AppendUint32([]byte("sidetone turn 1"), uint32(dim)))
	m.Write([]byte(name))
	g := gauss{from: rand.NewChaCha8([sha256.Size]byte(m.Sum(nil)))}
	t := &Turn{dim: dim, normals: make([]float64, 0, dim*(dim+1)/2-1), signs: make([]float64, dim)}
	for k := range dim - 1 {
		at := len(t.normals)
		for range dim - k {
			t.normals = append(t.normals, g.next())
		}
		u := t.normals[at:]
		// The reflection takes u to the axis on the other side of zero, which loses
		// no digits; the sign makes the result uniform.
		far := math.Copysign(math.Sqrt(dot(u, u)), u[0])
		t.signs[k] = math.Copysign(1, -u[0])
		u[0] += far
		by := 1 / math.Sqrt(dot(u, u))
		for i := range u {
			u[i] *= by
		}
	}
	t.signs[dim-1] = math.Copysign(1, g.next())
	return t, nil
}

// Dim is the length of the vectors that it turns.
func (t *Turn) Dim() int { return t.dim }

// Apply turns v into a new vector. It panics where v has another length than Dim.
func (t *Turn) Apply(v []float32) []float32 {
	x := t.wide(v)
	for i := range x {
		x[i] *= t.signs[i]
	}
	end := len(t.normals)
	for n := 2; n <= t.dim; n++ {
		reflect(x[t.dim-n:], t.normals[end-n:end])
		end -= n
	}
	return narrow(x)
}

// Undo turns back what Apply has turned, into a new vector. It panics where v has
// another length than Dim.
func (t *Turn) Undo(v []float32) []float32 {
	x := t.wide(v)
	at := 0
	for n := t.dim; n >= 2; n-- {
		reflect(x[t.dim-n:], t.normals[at:at+n])
		at += n
	}
	for i := range x {
		x[i] *= t.signs[i]
	}
	return narrow(x)
}

func (t *Turn) wide(v []float32) []float64 {
	if len(v) != t.dim {
		panic(fmt.Sprintf("turn: a vector of %d numbers, the transform is for %d", len(v), t.dim))
	}
	x := make([]float64, len(v))
	for i, f := range v {
		x[i] = float64(f)
	}
	return x
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, f := range x {
		out[i] = float32(f)
	}
	return out
}

// reflect reflects x at the plane of the unit normal u.
func reflect(x, u []float64) {
	by := 2 * dot(x, u)
	for i, f := range u {
		x[i] -= by * f
	}
}

func dot(a, b []float64) float64 {
	var sum float64
	for i, f := range a {
		sum += f * b[i]
	}
	return sum
}

// gauss draws numbers of the standard normal distribution.
type gauss struct {
	from  *rand.ChaCha8
	other float64
	left  bool
}

func (g *gauss) next() float64 {
	if g.left {
		g.left = false
		return g.other
	}
	// Of the two uniform numbers the first is never 0.
	const unit = 1.0 / (1 << 53)
	r := math.Sqrt(-2 * math.Log(float64(g.from.Uint64()>>11+1)*unit))
	sin, cos := math.Sincos(2 * math.Pi * float64(g.from.Uint64()>>11) * unit)
	g.other, g.left = r*sin, true
	return r * cos
}
