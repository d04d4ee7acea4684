// Package tensor is what the readers of weight files hand out: an array's
// element type, its shape and its bytes.
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"sidetone/internal/nn"
)

// Type names the type of an array's elements.
type Type string

// The types whose size is known. Readers pass on others by the name that their
// file has for them.
const (
	Float64  Type = "float64"
	Float32  Type = "float32"
	Float16  Type = "float16"
	BFloat16 Type = "bfloat16"
	Int64    Type = "int64"
	Int32    Type = "int32"
	Int16    Type = "int16"
	Int8     Type = "int8"
	Uint8    Type = "uint8"
	Bool     Type = "bool"
)

// Size is the number of bytes of an element, 0 where it is not known.
func (t Type) Size() int {
	switch t {
	case Float64, Int64:
		return 8
	case Float32, Int32:
		return 4
	case Float16, BFloat16, Int16:
		return 2
	case Int8, Uint8, Bool:
		return 1
	}
	return 0
}

// Tensor is an array. Readers see to it that Data has as many bytes as Type and
// Shape say.
type Tensor struct {
	Type Type
	// Shape is empty for a scalar.
	Shape []int
	// Data holds the elements in row-major order, little endian. It may alias
	// the file that was read.
	Data []byte
}

// Bytes is the number of bytes that an array of this type and shape has. It is
// false for an unknown type, for negative dimensions and for more bytes than
// most.
func Bytes(t Type, shape []int, most int) (int, bool) {
	n := t.Size()
	if n == 0 || n > most {
		return 0, false
	}
	if slices.Contains(shape, 0) {
		// A zero makes the others free to be anything.
		n = 0
	}
	for _, d := range shape {
		if d < 0 || d > 0 && n > most/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Floats returns a copy of the elements, which must be 32-bit floats or 16-bit
// ones of either kind.
func (t Tensor) Floats() ([]float32, error) {
	switch t.Type {
	case Float32:
		out := make([]float32, len(t.Data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
		return out, nil
	case Float16:
		out := make([]float32, len(t.Data)/2)
		nn.HalfToFloat(out, t.Words())
		return out, nil
	case BFloat16:
		out := make([]float32, len(t.Data)/2)
		for i, w := range t.Words() {
			out[i] = math.Float32frombits(uint32(w) << 16)
		}
		return out, nil
	}
	return nil, fmt.Errorf("elements of type %s; expected float32, float16 or bfloat16", t.Type)
}

// Words returns a copy of the elements of a 16-bit type, as their bits.
func (t Tensor) Words() []uint16 {
	out := make([]uint16, len(t.Data)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(t.Data[2*i:])
	}
	return out
}
