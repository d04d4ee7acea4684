package model

import (
	"errors"
	"fmt"
	"slices"

	"sidetone/asr/whisper/model/checkpoint"
	"sidetone/internal/nn"
	"sidetone/internal/tensor"
)

// loader reads arrays and keeps the first error.
type loader struct {
	from *checkpoint.Checkpoint
	err  error
	// make lays out the matrices that are read next.
	make func(w tensor.Tensor, bias []float32, out, in int) (matrix, error)
}

func (m *Model) loadWeights(from *checkpoint.Checkpoint, compute Compute) error {
	l := &loader{from: from, make: compute.encoderMatrix}
	conv := l.shape("encoder/conv1/weight", 3)
	m.width, m.mels = conv[0], conv[1]
	m.audioCtx = l.shape("encoder/position_encodings/encodings", 2)[0]
	m.textCtx = l.shape("decoder/position_encodings/encodings", 2)[0]
	m.vocabSize = l.shape("decoder/embeddings/weight", 2)[0]
	m.heads = from.AudioHeads
	switch {
	case l.err != nil:
		return l.err
	case m.heads < 1 || from.TextHeads != m.heads || m.width%m.heads != 0:
		return fmt.Errorf("%d and %d attention heads do not fit a width of %d", m.heads, from.TextHeads, m.width)
	case m.mels < 1 || m.mels > maxBands || m.audioCtx < 1 || m.textCtx < 16:
		return fmt.Errorf("impossible dimensions: %d mel bands, contexts of %d and %d", m.mels, m.audioCtx, m.textCtx)
	}
	m.conv1 = l.conv("encoder/conv1", m.mels, m.width)
	m.conv2 = l.conv("encoder/conv2", m.width, m.width)
	m.audioPos = l.floats("encoder/position_encodings/encodings", m.audioCtx, m.width)
	m.textPos = l.floats("decoder/position_encodings/encodings", m.textCtx, m.width)
	m.audioNorm = l.norm("encoder", m.width)
	m.textNorm = l.norm("decoder", m.width)
	for i := 0; l.err == nil && l.has(fmt.Sprintf("encoder/layer_%d/ffn/linear_0/weight", i)); i++ {
		scope := fmt.Sprintf("encoder/layer_%d", i)
		m.audio = append(m.audio, audioLayer{
			self: l.selfAttention(scope, m.width),
			ffn:  l.feedForward(scope, m.width),
		})
	}
	l.make = compute.decoderMatrix
	m.embedding = l.matrix("decoder/embeddings/weight", "", m.vocabSize, m.width)
	if half, ok := m.embedding.(*nn.Half); ok && nn.Int8Fast() {
		m.exact, m.rough = half, rough(half)
	}
	for i := 0; l.err == nil && l.has(fmt.Sprintf("decoder/layer_%d/ffn/linear_0/weight", i)); i++ {
		scope := fmt.Sprintf("decoder/layer_%d", i)
		m.text = append(m.text, textLayer{
			self: l.selfAttention(scope, m.width),
			cross: attention{
				norm: l.norm(scope+"/attention", m.width),
				in:   l.linear(scope+"/attention/linear_0", m.width, m.width),
				kv:   l.linear(scope+"/attention/linear_1", 2*m.width, m.width),
				out:  l.linear(scope+"/attention/linear_2", m.width, m.width),
			},
			ffn: l.feedForward(scope, m.width),
		})
	}
	if l.err == nil && (len(m.audio) == 0 || len(m.text) == 0) {
		return errors.New("no encoder or no decoder layers")
	}
	return l.err
}

func (l *loader) selfAttention(scope string, width int) attention {
	scope += "/self_attention"
	return attention{
		norm: l.norm(scope, width),
		in:   l.linear(scope+"/linear_0", 3*width, width),
		out:  l.linear(scope+"/linear_1", width, width),
	}
}

func (l *loader) feedForward(scope string, width int) feedForward {
	scope += "/ffn"
	hidden := l.shape(scope+"/linear_0/weight", 2)[0]
	return feedForward{
		norm: l.norm(scope, width),
		in:   l.linear(scope+"/linear_0", hidden, width),
		out:  l.linear(scope+"/linear_1", width, hidden),
	}
}

func (l *loader) norm(scope string, width int) norm {
	return norm{
		gamma: l.floats(scope+"/layer_norm/gamma", width),
		beta:  l.floats(scope+"/layer_norm/beta", width),
	}
}

func (l *loader) linear(scope string, out, in int) matrix {
	return l.matrix(scope+"/weight", scope+"/bias", out, in)
}

func (l *loader) has(name string) bool {
	_, ok := l.from.Shape(name)
	return ok
}

// get returns an array of the given shape.
func (l *loader) get(name string, shape ...int) tensor.Tensor {
	if l.err != nil {
		return tensor.Tensor{}
	}
	t, err := l.from.Tensor(name)
	switch {
	case err != nil:
		l.err = err
	case !slices.Equal(t.Shape, shape):
		l.err = fmt.Errorf("array %q has shape %v, expected %v", name, t.Shape, shape)
	}
	return t
}

// shape returns an array's dimensions, zeros after an error.
func (l *loader) shape(name string, rank int) []int {
	if l.err == nil {
		shape, ok := l.from.Shape(name)
		switch {
		case !ok:
			l.err = fmt.Errorf("array %q is missing", name)
		case len(shape) != rank || slices.Contains(shape, 0):
			l.err = fmt.Errorf("array %q has shape %v, expected %d dimensions", name, shape, rank)
		default:
			return shape
		}
	}
	return make([]int, rank)
}

func (l *loader) floats(name string, shape ...int) []float32 {
	t := l.get(name, shape...)
	if l.err != nil {
		return nil
	}
	out, err := t.Floats()
	if err != nil {
		l.err = fmt.Errorf("array %q: %w", name, err)
	}
	return out
}

// matrix reads weights and, unless its name is empty, a bias.
func (l *loader) matrix(weight, bias string, out, in int) matrix {
	var b []float32
	if bias != "" {
		b = l.floats(bias, out)
	}
	w := l.get(weight, out, in)
	if l.err != nil {
		return nil
	}
	m, err := l.make(w, b, out, in)
	if err != nil {
		l.err = fmt.Errorf("array %q: %w", weight, err)
	}
	return m
}

// conv turns the weights [out][in][3] of a convolution over time to a matrix
// [out][3·in], for rows that hold three frames one after the other.
func (l *loader) conv(scope string, in, out int) matrix {
	w := l.floats(scope+"/weight", out, in, 3)
	b := l.floats(scope+"/bias", out)
	if l.err != nil {
		return nil
	}
	rows := make([]float32, len(w))
	for o := range out {
		for i := range in {
			for k := range 3 {
				rows[(o*3+k)*in+i] = w[(o*in+i)*3+k]
			}
		}
	}
	return nn.NewLinear(rows, b, out, 3*in)
}

// rough is w in 8 bits.
func rough(w *nn.Half) *nn.Int8 {
	full := make([]float32, w.Out()*w.In())
	for i := range w.Out() {
		w.Row(full[i*w.In():(i+1)*w.In()], i)
	}
	return nn.NewInt8(full, nil, w.Out(), w.In())
}
