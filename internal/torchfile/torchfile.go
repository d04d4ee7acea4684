// Package torchfile reads the tensors of PyTorch checkpoints, as torch.save
// writes them. It runs nothing of what is in them.
//
// Since version 1.6 a checkpoint is a ZIP archive without compression:
//
//	NAME/data.pkl   a pickle: dictionaries of tensors, which name their storage
//	NAME/data/KEY   the bytes of a storage
//	NAME/byteorder  "little", in files of newer versions
//
// Before, it was a row of pickles with the bytes of the storages behind them.
package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sidetone/internal/tensor"
)

// File is what a checkpoint holds. The keys of nested dictionaries are joined
// by slashes: "model_state_dict/encoder.conv1.weight". What is neither a tensor
// nor a number is left out.
type File struct {
	// Tensors may alias the parsed file.
	Tensors map[string]tensor.Tensor
	// Numbers are the integers, such as those in a dictionary of dimensions.
	Numbers map[string]int64
}

// Parse reads a checkpoint.
func Parse(b []byte) (*File, error) {
	root, err := load(b)
	if err != nil {
		return nil, fmt.Errorf("torch checkpoint: %w", err)
	}
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("torch checkpoint: it holds a %T, expected a dictionary of tensors", root)
	}
	f := &File{Tensors: map[string]tensor.Tensor{}, Numbers: map[string]int64{}}
	budget := maxEntries
	if err := f.add("", d, maxDepth, &budget); err != nil {
		return nil, fmt.Errorf("torch checkpoint: %w", err)
	}
	return f, nil
}

// load returns the object that was saved.
func load(b []byte) (any, error) {
	if bytes.HasPrefix(b, []byte(legacyMagic)) {
		return parseLegacy(b)
	}
	a, err := open(b)
	if err != nil {
		return nil, err
	}
	root, err := unpickle(a.pickle, a.storage)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	return root, nil
}

// A dictionary may stand in itself, or twice in each of a chain of others:
// bounds keep such a tree finite.
const (
	maxDepth   = 8
	maxEntries = 1 << 18
)

func (f *File) add(prefix string, d *dict, depth int, budget *int) error {
	if depth == 0 {
		return fmt.Errorf("dictionaries in dictionaries, more than %d deep", maxDepth)
	}
	for _, e := range d.entries {
		if *budget--; *budget < 0 {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		key, ok := e.key.(string)
		if !ok {
			continue
		}
		var err error
		switch v := e.value.(type) {
		case tensor.Tensor:
			f.Tensors[prefix+key] = v
		case int64:
			f.Numbers[prefix+key] = v
		case *dict:
			err = f.add(prefix+key+"/", v, depth-1, budget)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// archive is a checkpoint's ZIP file.
type archive struct {
	pickle []byte
	// files are the bytes of the storages by their key.
	files map[string][]byte
}

func open(b []byte) (*archive, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if errors.Is(err, zip.ErrFormat) {
		return nil, errors.New("neither a ZIP archive nor a file of PyTorch before 1.6")
	}
	if err != nil {
		return nil, err
	}
	a := &archive{files: map[string][]byte{}}
	for _, f := range z.File {
		_, name, _ := strings.Cut(f.Name, "/")
		key, data := strings.CutPrefix(name, "data/")
		if !data && name != "data.pkl" && name != "byteorder" {
			continue
		}
		body, err := content(b, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		switch {
		case data:
			a.files[key] = body
		case name == "data.pkl":
			a.pickle = body
		case string(body) != "little":
			return nil, fmt.Errorf("byte order %.20q: only little endian is read", body)
		}
	}
	if a.pickle == nil {
		return nil, errors.New("no data.pkl in it: is it a checkpoint?")
	}
	return a, nil
}

// content is what lies in b for f, not copied.
func content(b []byte, f *zip.File) ([]byte, error) {
	if f.Method != zip.Store {
		return nil, errors.New("it is compressed, which torch.save never does")
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, err
	}
	n := f.UncompressedSize64
	if at < 0 || at > int64(len(b)) || n > uint64(int64(len(b))-at) {
		return nil, errors.New("it reaches beyond the end of the file")
	}
	end := at + int64(n)
	return b[at:end:end], nil
}

// storage resolves a persistent id: ("storage", class, key, device, elements).
func (a *archive) storage(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return nil, errors.New("a persistent object that is no storage")
	}
	class, cok := t[1].(global)
	key, kok := t[2].(string)
	if !cok || !kok {
		return nil, errors.New("a storage without class or key")
	}
	data, ok := a.files[key]
	if !ok {
		return nil, fmt.Errorf("storage %q is not in the archive", key)
	}
	return storage{class.elements(), data}, nil
}

type storage struct {
	elements tensor.Type
	data     []byte
}

// elements is the type of a storage class's elements.
func (g global) elements() tensor.Type {
	switch g {
	case "torch DoubleStorage":
		return tensor.Float64
	case "torch FloatStorage":
		return tensor.Float32
	case "torch HalfStorage":
		return tensor.Float16
	case "torch BFloat16Storage":
		return tensor.BFloat16
	case "torch LongStorage":
		return tensor.Int64
	case "torch IntStorage":
		return tensor.Int32
	case "torch ShortStorage":
		return tensor.Int16
	case "torch CharStorage":
		return tensor.Int8
	case "torch ByteStorage":
		return tensor.Uint8
	case "torch BoolStorage":
		return tensor.Bool
	}
	return tensor.Type(g)
}

// rebuild makes a tensor of the arguments of torch._utils._rebuild_tensor_v2:
// (storage, offset, shape, strides, ...).
func rebuild(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor of %d arguments", len(args))
	}
	s, ok := args[0].(storage)
	offset, isInt := args[1].(int64)
	shape, shaped := ints(args[2])
	strides, strided := ints(args[3])
	if !ok || !isInt || !shaped || !strided || len(shape) != len(strides) {
		return nil, errors.New("a tensor without storage, offset, shape or strides")
	}
	t := tensor.Tensor{Type: s.elements, Shape: shape}
	if s.elements.Size() == 0 {
		return t, nil
	}
	n, ok := tensor.Bytes(t.Type, shape, len(s.data))
	if !ok || offset < 0 || offset > int64(len(s.data)-n)/int64(t.Type.Size()) {
		return nil, fmt.Errorf("a tensor of shape %v at %d does not fit its storage of %d bytes (is the file cut off?)", shape, offset, len(s.data))
	}
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] > 1 && strides[i] != step {
			return nil, fmt.Errorf("a tensor of shape %v has strides %v: only contiguous ones are read", shape, strides)
		}
		step *= max(1, shape[i])
	}
	at := int(offset) * t.Type.Size()
	t.Data = s.data[at : at+n : at+n]
	return t, nil
}

func ints(v any) ([]int, bool) {
	t, ok := v.(tuple)
	if !ok {
		return nil, false
	}
	out := make([]int, len(t))
	for i, x := range t {
		n, isInt := x.(int64)
		if !isInt || int64(int(n)) != n {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}
