// Package ge2e embeds voices with the network of Wan et al. (2018; GE2E is its loss)
// as Resemble AI trained it for Resemblyzer: 256 dimensions. It has a fifth of
// CAM++'s weights and, on the telephone, ten times its error rates: a fallback.
package ge2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"time"

	"sidetone/internal/dsp"
	"sidetone/internal/nn"
	"sidetone/internal/tensor"
	"sidetone/internal/torchfile"
	"sidetone/voiceprint"
)

// Dim is the length of the embeddings.
const Dim = 256

// Shortest is the speech below which there is no embedding.
const Shortest = 500 * time.Millisecond

const (
	hidden = 256
	bands  = 40
	layers = 3

	// A partial is what the network hears at once: 1.6 s, a new one each 0.77 s.
	partial = 160
	step    = 77
	// batch is the number of partials that go through the network together, and
	// block the number of frames of each.
	batch = 8
	block = 32

	// level is what softer speech is brought to, in dB of full scale.
	level = -30
	// maxFile bounds what Load reads; the real file has 17 MB.
	maxFile = 64 << 20
)

// Engine is the loaded network: immutable and safe for concurrent use. Each Embed
// runs on its caller's goroutine and processor alone.
type Engine struct {
	model  voiceprint.Model
	layers [layers]layer
	out    *nn.Linear
	// scratch keeps what calls work with, at most as many as run at once.
	scratch chan *scratch
}

var _ voiceprint.Embedder = (*Engine)(nil)

// layer is one of the LSTM's: [4·256][in] and [4·256][256].
type layer struct{ input, state *nn.Linear }

// Load reads the weights: the checkpoint that torch.save has written
// (resemblyzer/pretrained.pt).
func Load(r io.Reader) (*Engine, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("ge2e: read weights: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("ge2e: weights of more than %d bytes: not Resemblyzer's", maxFile)
	}
	f, err := torchfile.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("ge2e: %w", err)
	}
	sum := sha256.Sum256(b)
	e := &Engine{
		model:   voiceprint.Model{ID: "ge2e-en-" + hex.EncodeToString(sum[:4]), Dim: Dim},
		scratch: make(chan *scratch, runtime.GOMAXPROCS(0)),
	}
	if err := e.load(f.Tensors); err != nil {
		return nil, fmt.Errorf("ge2e: %w", err)
	}
	return e, nil
}

func (e *Engine) load(tensors map[string]tensor.Tensor) error {
	var failed error
	get := func(name string, shape ...int) []float32 {
		v, err := floats(tensors, "model_state/"+name, shape)
		if err == nil {
			return v
		}
		if failed == nil {
			failed = err
		}
		n := 1
		for _, s := range shape {
			n *= s
		}
		return make([]float32, n)
	}
	in := bands
	for i := range e.layers {
		bias := get(fmt.Sprintf("lstm.bias_ih_l%d", i), 4*hidden)
		nn.Add(bias, get(fmt.Sprintf("lstm.bias_hh_l%d", i), 4*hidden))
		e.layers[i] = layer{
			input: nn.NewLinear(get(fmt.Sprintf("lstm.weight_ih_l%d", i), 4*hidden, in), bias, 4*hidden, in),
			state: nn.NewLinear(get(fmt.Sprintf("lstm.weight_hh_l%d", i), 4*hidden, hidden), nil, 4*hidden, hidden),
		}
		in = hidden
	}
	e.out = nn.NewLinear(get("linear.weight", Dim, hidden), get("linear.bias", Dim), Dim, hidden)
	return failed
}

// floats returns a copy of the named tensor, which must have this shape.
func floats(f map[string]tensor.Tensor, name string, shape []int) ([]float32, error) {
	t, ok := f[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("no tensor %q", name)
	case !slices.Equal(t.Shape, shape):
		return nil, fmt.Errorf("tensor %q: shape %v, want %v", name, t.Shape, shape)
	}
	out, err := t.Floats()
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	for i, v := range out {
		if v != v || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("tensor %q: element %d is %v", name, i, v)
		}
	}
	return out, nil
}

// Model names the weights by their hash: "ge2e-en-39373b86".
func (e *Engine) Model() voiceprint.Model { return e.model }

// Embed implements voiceprint.Embedder: the direction of the sum of the embeddings
// of overlapping partials, which is what Resemblyzer's embed_utterance gives at its
// usual rate. Its error is voiceprint.ErrTooShort for speech of less than Shortest,
// and another for what is no sound at all.
func (e *Engine) Embed(samples []float32) (voiceprint.Embedding, error) {
	least := int(Shortest * voiceprint.Rate / time.Second)
	if len(samples) < least {
		return nil, fmt.Errorf("ge2e: %d samples, at least %d are needed: %w", len(samples), least, voiceprint.ErrTooShort)
	}
	var power float64
	for _, v := range samples {
		power += float64(v) * float64(v)
	}
	power = math.Sqrt(power / float64(len(samples)))
	if !(power > 0) || math.IsInf(power, 0) {
		return nil, errors.New("ge2e: no sound: the samples are all zero, or not all finite")
	}
	gain := max(1, float32(math.Pow(10, level/20.)/power))

	s := e.borrow()
	defer e.giveBack(s)
	out := make(voiceprint.Embedding, Dim)
	total := partials(len(samples))
	for p := 0; p < total; p += batch {
		n := min(batch, total-p)
		s.listen(samples, gain, p*step, (n-1)*step+partial)
		e.run(s, n)
		for i := range n {
			v := s.out[i*Dim : (i+1)*Dim]
			if !voiceprint.Unit(v) {
				return nil, errors.New("ge2e: the network has no answer to these samples")
			}
			nn.Add(out, v)
		}
	}
	if !voiceprint.Unit(out) {
		return nil, errors.New("ge2e: stretches of these samples contradict each other")
	}
	return out, nil
}

// partials is their number for n samples. The last one reaches beyond the end, into
// zeros, by at most a quarter.
func partials(n int) int {
	frames := (n + dsp.Hop) / dsp.Hop
	count := (max(1, frames-partial+step+1) + step - 1) / step
	covered := n - (count-1)*step*dsp.Hop
	if count > 1 && 4*covered < 3*partial*dsp.Hop {
		count--
	}
	return count
}

func (e *Engine) borrow() *scratch {
	select {
	case s := <-e.scratch:
		return s
	default:
		return &scratch{mel: dsp.NewMel(bands)}
	}
}

func (e *Engine) giveBack(s *scratch) {
	select {
	case e.scratch <- s:
	default:
	}
}

// scratch is what one call works with, 2 MB.
type scratch struct {
	mel   *dsp.Mel
	frame [dsp.Window]float32
	// features are those of a batch.
	features [((batch-1)*step + partial) * bands]float32
	// x [block][partials][in] is what a layer reads and writes, gates what lies
	// between.
	x     [block * batch * hidden]float32
	gates [block * batch * 4 * hidden]float32
	h, c  [layers][batch * hidden]float32
	out   [batch * Dim]float32
}

// listen computes so many features of samples, from frame first on: mel energies
// of windows around every Hop-th sample.
func (s *scratch) listen(samples []float32, gain float32, first, frames int) {
	for t := range frames {
		from := (first+t)*dsp.Hop - dsp.Window/2
		for i := range s.frame {
			s.frame[i] = 0
			if at := from + i; at >= 0 && at < len(samples) {
				s.frame[i] = samples[at] * gain
			}
		}
		s.mel.Energies(s.features[t*bands:(t+1)*bands], s.frame[:])
	}
}

// run embeds n partials.
func (e *Engine) run(s *scratch, n int) {
	s.h, s.c = [layers][batch * hidden]float32{}, [layers][batch * hidden]float32{}
	for t := 0; t < partial; t += block {
		for u := range block {
			for p := range n {
				copy(s.x[(u*n+p)*bands:][:bands], s.features[(p*step+t+u)*bands:])
			}
		}
		for i, l := range e.layers {
			l.run(s, s.h[i][:n*hidden], s.c[i][:n*hidden], n)
		}
	}
	e.out.Mul(s.out[:], s.h[layers-1][:], n)
	nn.ReLU(s.out[:n*Dim])
}

// run takes a block of frames of n partials.
func (l layer) run(s *scratch, h, c []float32, n int) {
	l.input.Mul(s.gates[:], s.x[:], block*n)
	for u := range block {
		gates := s.gates[u*n*4*hidden:][:n*4*hidden]
		l.state.MulAdd(gates, h, n)
		for p := range n {
			at := p * hidden
			nn.LSTMGates(h[at:at+hidden], c[at:at+hidden], gates[p*4*hidden:(p+1)*4*hidden])
		}
		copy(s.x[u*n*hidden:], h)
	}
}
