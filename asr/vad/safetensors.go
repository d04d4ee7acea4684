package vad

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// A safetensors file (github.com/huggingface/safetensors, "Format"):
//
//	8 bytes  n, little-endian
//	n bytes  JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}
//	rest     the tensors' bytes, little-endian, row-major
type tensorHeader struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets []int  `json:"data_offsets"`
}

// maxHeader bounds the JSON; the real one has 1208 bytes.
const maxHeader = 1 << 20

type tensorFile struct {
	headers map[string]tensorHeader
	data    []byte
}

func parseSafetensors(b []byte) (*tensorFile, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes, too short for a header length", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	rest := b[8:]
	if n > maxHeader || n > uint64(len(rest)) {
		return nil, fmt.Errorf("safetensors: header of %d bytes in a file of %d", n, len(b))
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(rest[:n], &raw); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	f := &tensorFile{headers: make(map[string]tensorHeader, len(raw)), data: rest[n:]}
	for name, r := range raw {
		if name == "__metadata__" {
			continue
		}
		var h tensorHeader
		if err := json.Unmarshal(r, &h); err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		f.headers[name] = h
	}
	return f, nil
}

// float32s returns a copy of the named tensor, which must have this shape.
func (f *tensorFile) float32s(name string, shape ...int) ([]float32, error) {
	h, ok := f.headers[name]
	if !ok {
		return nil, fmt.Errorf("safetensors: no tensor %q", name)
	}
	if h.DType != "F32" {
		return nil, fmt.Errorf("safetensors: tensor %q: type %q, want F32", name, h.DType)
	}
	n := 1
	same := len(h.Shape) == len(shape)
	for i, s := range shape {
		n *= s
		same = same && h.Shape[i] == s
	}
	if !same {
		return nil, fmt.Errorf("safetensors: tensor %q: shape %v, want %v", name, h.Shape, shape)
	}
	if len(h.Offsets) != 2 || h.Offsets[0] < 0 || h.Offsets[0] > len(f.data) ||
		h.Offsets[1] > len(f.data) || h.Offsets[1]-h.Offsets[0] != 4*n {
		return nil, fmt.Errorf("safetensors: tensor %q: bytes %v of %d, want %d of them (is the file cut off?)",
			name, h.Offsets, len(f.data), 4*n)
	}
	out := make([]float32, n)
	for i := range out {
		v := math.Float32frombits(binary.LittleEndian.Uint32(f.data[h.Offsets[0]+4*i:]))
		if v != v || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("safetensors: tensor %q: element %d is %v", name, i, v)
		}
		out[i] = v
	}
	return out, nil
}
