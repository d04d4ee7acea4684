// Package torchtest writes PyTorch checkpoints, for tests.
package torchtest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"sidetone/internal/tensor"
)

// Item is an entry of a dictionary: Value is an int, a tensor.Tensor, a
// []Item, which is a dictionary, or a string.
type Item struct {
	Key   string
	Value any
}

// Write returns a checkpoint that holds the dictionary, in the form of
// torch.save. It panics on a value that it cannot write.
func Write(root []Item) []byte {
	w := &writer{}
	w.pickle.WriteString("\x80\x02")
	w.dict(root)
	w.pickle.WriteByte('.')
	return Archive(w.pickle.Bytes(), w.storages...)
}

// Archive returns a checkpoint of a pickle and its storages, whose keys are
// their numbers.
func Archive(pickle []byte, storages ...[]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(name string, data []byte) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	put("data.pkl", pickle)
	put("byteorder", []byte("little"))
	for i, s := range storages {
		put("data/"+strconv.Itoa(i), s)
	}
	put("version", []byte("3\n"))
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type writer struct {
	pickle   bytes.Buffer
	storages [][]byte
}

func (w *writer) dict(items []Item) {
	w.pickle.WriteString("}(")
	for _, it := range items {
		w.text(it.Key)
		w.value(it.Value)
	}
	w.pickle.WriteByte('u')
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case int:
		w.int(v)
	case string:
		w.text(v)
	case []Item:
		w.dict(v)
	case tensor.Tensor:
		w.tensor(v)
	default:
		panic(fmt.Sprintf("torchtest: cannot write a %T", v))
	}
}

func (w *writer) text(s string) {
	w.pickle.WriteByte('X')
	w.pickle.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	w.pickle.WriteString(s)
}

func (w *writer) int(n int) {
	w.pickle.WriteByte('J')
	w.pickle.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// tensor writes _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()).
func (w *writer) tensor(t tensor.Tensor) {
	class := map[tensor.Type]string{
		tensor.Float32: "FloatStorage", tensor.Float16: "HalfStorage", tensor.BFloat16: "BFloat16Storage", tensor.Int64: "LongStorage",
	}[t.Type]
	if class == "" {
		panic("torchtest: cannot write " + string(t.Type))
	}
	w.pickle.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
	w.text("storage")
	w.pickle.WriteString("ctorch\n" + class + "\n")
	w.text(strconv.Itoa(len(w.storages)))
	w.text("cpu")
	w.int(len(t.Data) / t.Type.Size())
	w.pickle.WriteString("tQ")
	w.int(0)
	strides := make([]int, len(t.Shape))
	step := 1
	for i := len(strides) - 1; i >= 0; i-- {
		strides[i] = step
		step *= t.Shape[i]
	}
	for _, list := range [][]int{t.Shape, strides} {
		w.pickle.WriteByte('(')
		for _, n := range list {
			w.int(n)
		}
		w.pickle.WriteByte('t')
	}
	w.pickle.WriteString("\x89ccollections\nOrderedDict\n)RtR")
	w.storages = append(w.storages, t.Data)
}
