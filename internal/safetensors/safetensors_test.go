package safetensors

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/tensor"
)

func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

const good = `{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,1],"data_offsets":[1,5]},` +
	`"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"c":{"dtype":"F8_E4M3","shape":[9],"data_offsets":[5,6]}}`

func TestParse(t *testing.T) {
	f, err := Parse(file(good, 7, 1, 2, 3, 4, 9))
	if err != nil {
		t.Fatal(err)
	}
	a := f["a"]
	if a.Type != tensor.Float16 || !slices.Equal(a.Shape, []int{2, 1}) || !slices.Equal(a.Data, []byte{1, 2, 3, 4}) {
		t.Errorf("a: %+v", a)
	}
	if b := f["b"]; b.Type != tensor.Uint8 || len(b.Shape) != 0 || !slices.Equal(b.Data, []byte{7}) {
		t.Errorf("b: %+v", b)
	}
	if c := f["c"]; c.Type != "F8_E4M3" || len(c.Data) != 1 {
		t.Errorf("an unknown type: %+v", c)
	}
	if len(f) != 3 {
		t.Errorf("%d tensors, want 3", len(f))
	}
}

func TestTypes(t *testing.T) {
	for name, size := range map[string]int{
		"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F4": 0,
	} {
		if got := elements(name).Size(); got != size {
			t.Errorf("%s: %d bytes, want %d", name, got, size)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	one := func(h string) []byte { return file(`{"a":`+h+`}`, make([]byte, 24)...) }
	cases := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "too short"},
		{"not safetensors", []byte(strings.Repeat("RIFF", 9)), "header of"},
		{"bad JSON", file("{]"), "header:"},
		{"no object", one(`1`), `tensor "a"`},
		{"cut off", one(`{"dtype":"F32","shape":[8],"data_offsets":[0,32]}`), "cut off"},
		{"negative", one(`{"dtype":"F32","shape":[8],"data_offsets":[-8,24]}`), "bytes [-8 24]"},
		{"backwards", one(`{"dtype":"F32","shape":[0],"data_offsets":[8,4]}`), "bytes [8 4]"},
		{"no offsets", one(`{"dtype":"F32","shape":[8]}`), "bytes []"},
		{"shape", one(`{"dtype":"F32","shape":[2,2],"data_offsets":[0,24]}`), "24 bytes do not make a shape of [2 2] in float32"},
		{"huge", one(`{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}`), "do not make"},
		{"negative shape", one(`{"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]}`), "do not make"},
	}
	for _, c := range cases {
		if _, err := Parse(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(good, 7, 1, 2, 3, 4, 9))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add(file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[-8,16]}}      `))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, err := Parse(b)
		if err != nil {
			return
		}
		for name, x := range tensors {
			n := x.Type.Size()
			for _, d := range x.Shape {
				n *= d
			}
			if x.Type.Size() > 0 && n != len(x.Data) {
				t.Errorf("%q: %d bytes for %v of %s", name, len(x.Data), x.Shape, x.Type)
			}
		}
	})
}
