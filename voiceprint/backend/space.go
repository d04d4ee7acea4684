package backend

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"sidetone/voiceprint"
)

// Space lays the raw embeddings of one model out. It is immutable and safe for
// concurrent use.
//
// A raw embedding is made a unit vector, the mean is subtracted, made a unit vector,
// multiplied as a row by the lower triangular L with L·Lᵀ = W⁻¹, and made a unit
// vector: W is the covariance within speakers, shrunk towards a sphere.
type Space struct {
	of      voiceprint.Model
	version string
	mean    []float32 // [dim]
	lower   []float32 // L's rows up to the diagonal, [dim·(dim+1)/2]
}

func newSpace(of voiceprint.Model, mean, lower []float32) *Space {
	s := &Space{of: of, mean: mean, lower: lower}
	var h sum
	h.b = append(h.b, of.ID...)
	for _, v := range [][]float32{mean, lower} {
		for _, x := range v {
			h.b = binary.LittleEndian.AppendUint32(h.b, math.Float32bits(x))
		}
	}
	s.version = h.String()
	return s
}

// Of is the model whose embeddings it lays out.
func (s *Space) Of() voiceprint.Model { return s.of }

// Model is the model of what lies in it: that of the raw embeddings and, after a
// slash, the space's version, which follows from its content.
func (s *Space) Model() voiceprint.Model {
	return voiceprint.Model{ID: s.of.ID + "/" + s.version, Dim: s.of.Dim}
}

// Map lays out a raw embedding, of any length greater than zero.
func (s *Space) Map(raw voiceprint.Embedding) (voiceprint.Embedding, error) {
	if len(raw) != s.of.Dim {
		return nil, fmt.Errorf("backend: an embedding of %d dimensions, %s has %d: %w", len(raw), s.of.ID, s.of.Dim, voiceprint.ErrModel)
	}
	x := slices.Clone(raw)
	ok := voiceprint.Unit(x)
	for i := range x {
		x[i] -= s.mean[i]
	}
	ok = ok && voiceprint.Unit(x)
	y := make(voiceprint.Embedding, len(x))
	rest := s.lower
	for i, xi := range x {
		for j, l := range rest[:i+1] {
			y[j] += xi * l
		}
		rest = rest[i+1:]
	}
	if !ok || !voiceprint.Unit(y) {
		return nil, fmt.Errorf("backend: an embedding of %s that has no direction in the space", s.of.ID)
	}
	return y, nil
}

// Embedder embeds into a space.
type Embedder struct {
	raw   voiceprint.Embedder
	space *Space
}

var _ voiceprint.Embedder = (*Embedder)(nil)

// Over embeds into the space what raw embeds; raw must be the model that the space
// was trained for.
func (s *Space) Over(raw voiceprint.Embedder) (*Embedder, error) {
	if m := raw.Model(); m != s.of {
		return nil, fmt.Errorf("backend: a space for %s (%d dimensions) over embeddings %w: %s (%d)", s.of.ID, s.of.Dim, voiceprint.ErrModel, m.ID, m.Dim)
	}
	return &Embedder{raw, s}, nil
}

// Model is that of Space.Model.
func (e *Embedder) Model() voiceprint.Model { return e.space.Model() }

// Embed embeds net speech.
func (e *Embedder) Embed(samples []float32) (voiceprint.Embedding, error) {
	raw, err := e.raw.Embed(samples)
	if err != nil {
		return nil, err
	}
	return e.space.Map(raw)
}

// Sample is one raw embedding of a speaker. Speakers with one sample count for the
// mean only.
type Sample struct {
	Speaker string
	Raw     voiceprint.Embedding
}

// TrainSpace estimates a space. Shrink is the share of the sphere, tr(W)/dim·I, in
// the covariance, over 0 and up to 1; 0.3 did best in development. All speakers
// weigh the same.
func TrainSpace(of voiceprint.Model, samples []Sample, shrink float64) (*Space, error) {
	if !(shrink > 0 && shrink <= 1) {
		return nil, fmt.Errorf("backend: shrinkage of %v; it lies above 0 and up to 1", shrink)
	}
	unit, err := units(of, samples)
	if err != nil {
		return nil, err
	}
	mean := make([]float32, of.Dim)
	for i, x := range weighted(unit, of.Dim) {
		mean[i] = float32(x)
	}
	w := mat.NewSymDense(of.Dim, nil)
	several := 0
	for _, vs := range unit {
		for _, v := range vs {
			for i := range v {
				v[i] -= float64(mean[i])
			}
			toUnit(v)
		}
		if len(vs) > 1 {
			several++
			addScatter(w, vs)
		}
	}
	if several < 2 {
		return nil, &TooLittleError{What: "speakers with two samples or more", Have: several, Need: 2}
	}
	w.ScaleSym(1/float64(several), w)
	ball := shrink * mat.Trace(w) / float64(of.Dim)
	w.ScaleSym(1-shrink, w)
	for i := range of.Dim {
		w.SetSym(i, i, w.At(i, i)+ball)
	}
	lower, ok := inverseFactor(w)
	if !ok {
		return nil, fmt.Errorf("backend: the covariance within speakers cannot be inverted: all samples of a speaker are alike")
	}
	return newSpace(of, mean, lower), nil
}

// units are the samples as unit vectors by speaker, in the order of their first.
func units(of voiceprint.Model, samples []Sample) ([][][]float64, error) {
	var out [][][]float64
	at := map[string]int{}
	for n, s := range samples {
		if len(s.Raw) != of.Dim {
			return nil, fmt.Errorf("backend: sample %d, of %s, has %d dimensions, %s has %d: %w", n, s.Speaker, len(s.Raw), of.ID, of.Dim, voiceprint.ErrModel)
		}
		v := make([]float64, of.Dim)
		for i, x := range s.Raw {
			v[i] = float64(x)
		}
		if !toUnit(v) {
			return nil, fmt.Errorf("backend: sample %d, of %s, has no direction", n, s.Speaker)
		}
		i, known := at[s.Speaker]
		if !known {
			i = len(out)
			at[s.Speaker] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], v)
	}
	return out, nil
}

func toUnit(v []float64) bool {
	var sum float64
	for _, x := range v {
		sum += x * x
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return false
	}
	by := 1 / math.Sqrt(sum)
	for i := range v {
		v[i] *= by
	}
	return true
}

// weighted is the mean of the speakers' means.
func weighted(speakers [][][]float64, dim int) []float64 {
	mean := make([]float64, dim)
	for _, vs := range speakers {
		by := 1 / float64(len(vs)*len(speakers))
		for _, v := range vs {
			for i, x := range v {
				mean[i] += x * by
			}
		}
	}
	return mean
}

// addScatter adds the covariance of one speaker's vectors to w.
func addScatter(w *mat.SymDense, vs [][]float64) {
	dim := len(vs[0])
	own := weighted([][][]float64{vs}, dim)
	x := mat.NewDense(len(vs), dim, nil)
	for r, v := range vs {
		for i := range v {
			x.Set(r, i, v[i]-own[i])
		}
	}
	w.SymRankK(w, 1/float64(len(vs)-1), x.T())
}

// inverseFactor is the lower triangle L with L·Lᵀ = w⁻¹, row by row.
func inverseFactor(w *mat.SymDense) ([]float32, bool) {
	var c mat.Cholesky
	if !c.Factorize(w) {
		return nil, false
	}
	var inverse mat.SymDense
	if c.InverseTo(&inverse) != nil || !c.Factorize(&inverse) {
		return nil, false
	}
	var l mat.TriDense
	c.LTo(&l)
	n := w.SymmetricDim()
	out := make([]float32, 0, n*(n+1)/2)
	for i := range n {
		for j := range i + 1 {
			out = append(out, float32(l.At(i, j)))
		}
	}
	return out, true
}
