// Package safetensors reads weight files in the form of that name
// (github.com/huggingface/safetensors, "Format"):
//
//	8 bytes  n, little-endian
//	n bytes  JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}
//	rest     the tensors' bytes, little-endian, row-major
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"sidetone/internal/tensor"
)

// maxHeader bounds the JSON; that of Whisper's largest model has 0.2 MB.
const maxHeader = 16 << 20

type header struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets []int  `json:"data_offsets"`
}

// Parse returns a file's tensors by name. They alias b.
func Parse(b []byte) (map[string]tensor.Tensor, error) {
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
	data := rest[n:]
	out := make(map[string]tensor.Tensor, len(raw))
	for name, r := range raw {
		if name == "__metadata__" {
			continue
		}
		var h header
		if err := json.Unmarshal(r, &h); err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		t, err := h.tensor(data)
		if err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

func (h *header) tensor(data []byte) (tensor.Tensor, error) {
	if len(h.Offsets) != 2 || h.Offsets[0] < 0 || h.Offsets[1] < h.Offsets[0] || h.Offsets[1] > len(data) {
		return tensor.Tensor{}, fmt.Errorf("bytes %v of %d (is the file cut off?)", h.Offsets, len(data))
	}
	t := tensor.Tensor{Type: elements(h.DType), Shape: h.Shape, Data: data[h.Offsets[0]:h.Offsets[1]:h.Offsets[1]]}
	if t.Type.Size() == 0 {
		return t, nil
	}
	if n, ok := tensor.Bytes(t.Type, t.Shape, len(data)); !ok || n != len(t.Data) {
		return t, fmt.Errorf("%d bytes do not make a shape of %v in %s", len(t.Data), t.Shape, t.Type)
	}
	return t, nil
}

// elements is the type that a file calls so.
func elements(name string) tensor.Type {
	switch name {
	case "F64":
		return tensor.Float64
	case "F32":
		return tensor.Float32
	case "F16":
		return tensor.Float16
	case "BF16":
		return tensor.BFloat16
	case "I64":
		return tensor.Int64
	case "I32":
		return tensor.Int32
	case "I16":
		return tensor.Int16
	case "I8":
		return tensor.Int8
	case "U8":
		return tensor.Uint8
	case "BOOL":
		return tensor.Bool
	}
	return tensor.Type(name)
}
