package model

import (
	"fmt"

	"sidetone/internal/nn"
	"sidetone/internal/tensor"
)

// Compute says in which numbers a model computes.
type Compute uint8

const (
	// Default is in floats. The encoder, which multiplies many rows at a time,
	// takes numbers of bfloat16 where the processor multiplies them, else of 32
	// bits; the decoder, which waits for the memory, keeps its weights and what
	// it hears of the audio in 16 bits. Every sum is in 32 bits. It makes no more
	// errors than Float32.
	Default Compute = iota
	// Float32 has 32-bit weights throughout: the reference, half as fast.
	Float32
	// Int8 has 8-bit weights in encoder and decoder and rounds what they are
	// multiplied with. It is the fastest and smallest where Fast says so.
	Int8
)

// ParseCompute reads a mode's name: default, float32 or int8. The empty name is
// that of Default.
func ParseCompute(name string) (Compute, error) {
	switch name {
	case "", "default":
		return Default, nil
	case "float32":
		return Float32, nil
	case "int8":
		return Int8, nil
	}
	return 0, fmt.Errorf("compute mode %q: want default, float32 or int8", name)
}

func (c Compute) String() string {
	switch c {
	case Default:
		return "default"
	case Float32:
		return "float32"
	case Int8:
		return "int8"
	}
	return fmt.Sprintf("compute mode %d", uint8(c))
}

// Fast tells whether this machine has the instructions that the mode is made
// for. Without them it works, but another would be faster.
func (c Compute) Fast() bool { return c != Int8 || nn.Int8Fast() }

// maxInt8 bounds the rows of an nn.Int8, maxBfloat those of an nn.Bfloat.
const (
	maxInt8   = 1 << 16
	maxBfloat = 1 << 16
)

func (c Compute) encoderMatrix(w tensor.Tensor, bias []float32, out, in int) (matrix, error) {
	full, err := w.Floats()
	switch {
	case err != nil:
		return nil, err
	case c == Int8 && in > maxInt8:
		return nil, fmt.Errorf("rows of %d weights; 8-bit sums hold %d", in, maxInt8)
	case c == Int8:
		return nn.NewInt8(full, bias, out, in), nil
	case c == Default && nn.BfloatFast() && in <= maxBfloat:
		return nn.NewBfloat(full, bias, out, in), nil
	}
	return nn.NewLinear(full, bias, out, in), nil
}

func (c Compute) decoderMatrix(w tensor.Tensor, bias []float32, out, in int) (matrix, error) {
	if c != Default {
		return c.encoderMatrix(w, bias, out, in)
	}
	if w.Type == tensor.Float16 {
		return nn.NewHalf(w.Words(), bias, out, in), nil
	}
	full, err := w.Floats()
	if err != nil {
		return nil, err
	}
	half := make([]uint16, len(full))
	nn.FloatToHalf(half, full)
	return nn.NewHalf(half, bias, out, in), nil
}

// attention makes the encoder's attention to up to n keys of d elements, and
// that to any number where another is needed from closeKeys on.
func (c Compute) attention(n, d int) (near, far *nn.Attention) {
	switch {
	case c == Float32:
		near = nn.NewAttention(n, d)
	case nn.BfloatFast():
		near = nn.NewAttentionBfloat(n, d)
	case c == Int8:
		return nn.NewAttentionInt8(min(n, closeKeys), d), nn.NewAttention(n, d)
	default:
		near = nn.NewAttention(n, d)
	}
	return near, near
}

// closeKeys is up to how many keys attention in 8 bits is exact enough. Over the
// full context it costs a point of word error rate; on contexts that fit the
// audio, with all weights in 8 bits too, a quarter of one.
const closeKeys = 1000
