package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"sidetone/asr/whisper/model/ct2"
	"sidetone/internal/nn"
)

// loader reads variables and keeps the first error.
type loader struct {
	file *ct2.File
	err  error
}

func (m *Model) loadWeights(file *ct2.File) error {
	l := &loader{file: file}
	conv := l.shape("encoder/conv1/weight", 3)
	m.width, m.mels = conv[0], conv[1]
	m.audioCtx = l.shape("encoder/position_encodings/encodings", 2)[0]
	m.textCtx = l.shape("decoder/position_encodings/encodings", 2)[0]
	m.vocabSize = l.shape("decoder/embeddings/weight", 2)[0]
	m.heads = l.integer("encoder/num_heads")
	switch heads := l.integer("decoder/num_heads"); {
	case l.err != nil:
		return l.err
	case m.heads < 1 || heads != m.heads || m.width%m.heads != 0:
		return fmt.Errorf("%d and %d attention heads do not fit a width of %d", m.heads, heads, m.width)
	case m.mels < 1 || m.mels > maxBands || m.audioCtx < 1 || m.textCtx < 16:
		return fmt.Errorf("impossible dimensions: %d mel bands, contexts of %d and %d", m.mels, m.audioCtx, m.textCtx)
	}
	m.conv1 = l.conv("encoder/conv1", m.mels, m.width)
	m.conv2 = l.conv("encoder/conv2", m.width, m.width)
	m.audioPos = l.floats("encoder/position_encodings/encodings", m.audioCtx, m.width)
	m.textPos = l.floats("decoder/position_encodings/encodings", m.textCtx, m.width)
	m.audioNorm = l.norm("encoder", m.width)
	m.textNorm = l.norm("decoder", m.width)
	m.embedding = l.matrix("decoder/embeddings/weight", "", m.vocabSize, m.width)
	for i := 0; l.err == nil && l.has(fmt.Sprintf("encoder/layer_%d/ffn/linear_0/weight", i)); i++ {
		scope := fmt.Sprintf("encoder/layer_%d", i)
		m.audio = append(m.audio, audioLayer{
			self: l.selfAttention(scope, m.width),
			ffn:  l.feedForward(scope, m.width),
		})
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
	_, ok := l.file.Var(name)
	return ok
}

// get returns a variable of the given shape.
func (l *loader) get(name string, shape ...int) ct2.Variable {
	v, ok := l.file.Var(name)
	switch {
	case l.err != nil:
	case !ok:
		l.err = fmt.Errorf("variable %q is missing", name)
	case !slices.Equal(v.Shape, shape):
		l.err = fmt.Errorf("variable %q has shape %v, expected %v", name, v.Shape, shape)
	}
	return v
}

// shape returns a variable's dimensions, zeros after an error.
func (l *loader) shape(name string, rank int) []int {
	v, ok := l.file.Var(name)
	switch {
	case l.err != nil:
	case !ok:
		l.err = fmt.Errorf("variable %q is missing", name)
	case len(v.Shape) != rank || slices.Contains(v.Shape, 0):
		l.err = fmt.Errorf("variable %q has shape %v, expected %d dimensions", name, v.Shape, rank)
	default:
		return v.Shape
	}
	return make([]int, rank)
}

func (l *loader) integer(name string) int {
	v := l.get(name)
	if l.err != nil {
		return 0
	}
	switch v.Type {
	case ct2.Int8:
		return int(int8(v.Data[0]))
	case ct2.Int16:
		return int(int16(binary.LittleEndian.Uint16(v.Data)))
	case ct2.Int32:
		return int(int32(binary.LittleEndian.Uint32(v.Data)))
	}
	l.err = fmt.Errorf("variable %q is %v, expected an integer", name, v.Type)
	return 0
}

func (l *loader) floats(name string, shape ...int) []float32 {
	v := l.get(name, shape...)
	if l.err != nil {
		return nil
	}
	switch v.Type {
	case ct2.Float32:
		out := make([]float32, len(v.Data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Data[4*i:]))
		}
		return out
	case ct2.Float16:
		out := make([]float32, len(v.Data)/2)
		nn.HalfToFloat(out, halves(v.Data))
		return out
	}
	l.err = fmt.Errorf("variable %q is %v; only float16 and float32 weights are read (convert the model with --quantization float16)", name, v.Type)
	return nil
}

func halves(data []byte) []uint16 {
	out := make([]uint16, len(data)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return out
}

// matrix keeps the precision of the file. An empty bias is none.
func (l *loader) matrix(weight, bias string, out, in int) matrix {
	var b []float32
	if bias != "" {
		b = l.floats(bias, out)
	}
	if v := l.get(weight, out, in); l.err == nil && v.Type == ct2.Float16 {
		return nn.NewHalf(halves(v.Data), b, out, in)
	}
	w := l.floats(weight, out, in)
	if l.err != nil {
		return nil
	}
	return nn.NewLinear(w, b, out, in)
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
