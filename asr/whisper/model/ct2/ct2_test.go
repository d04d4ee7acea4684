package ct2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

type builder struct{ bytes.Buffer }

func (b *builder) u(v any) *builder {
	binary.Write(b, binary.LittleEndian, v)
	return b
}

func (b *builder) s(s string) *builder {
	b.u(uint16(len(s) + 1)).WriteString(s + "\x00")
	return b
}

func head(count int) *builder {
	b := &builder{}
	return b.u(uint32(6)).s("WhisperSpec").u(uint32(3)).u(uint32(count))
}

func (b *builder) variable(name string, t Type, data []byte, shape ...uint32) *builder {
	b.s(name).u(uint8(len(shape))).u(shape).u(uint8(t)).u(uint32(len(data))).Write(data)
	return b
}

func good() []byte {
	return head(2).
		variable("decoder/num_heads", Int16, []byte{6, 0}).
		variable("w", Float16, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3).
		u(uint32(1)).s("alias").s("w").Bytes()
}

func TestParse(t *testing.T) {
	f, err := Parse(good())
	if err != nil {
		t.Fatal(err)
	}
	if f.Spec != "WhisperSpec" || !slices.Equal(f.Names(), []string{"alias", "decoder/num_heads", "w"}) {
		t.Errorf("spec %q, names %v", f.Spec, f.Names())
	}
	for _, name := range []string{"w", "alias"} {
		v, ok := f.Var(name)
		if !ok || v.Type != Float16 || !slices.Equal(v.Shape, []int{2, 3}) || len(v.Data) != 12 || v.Data[11] != 12 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v, _ := f.Var("decoder/num_heads"); len(v.Shape) != 0 || !bytes.Equal(v.Data, []byte{6, 0}) {
		t.Errorf("scalar: %+v", v)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		file []byte
		want string
	}{
		"empty":     {nil, "binary version"},
		"version":   {(&builder{}).u(uint32(9)).Bytes(), "binary version 9"},
		"html":      {[]byte("<!doctype html>"), "is this a CTranslate2 model.bin"},
		"shape":     {head(1).variable("w", Float16, []byte{1, 2}, 3).u(uint32(0)).Bytes(), `variable "w" has 2 bytes; its shape [3] of float16 needs 6`},
		"huge":      {head(1).variable("w", Float16, nil, 1<<31, 1<<31).Bytes(), "impossible shape"},
		"type":      {head(1).variable("w", 77, nil).Bytes(), "unknown element type 77"},
		"twice":     {head(2).variable("w", Int8, []byte{1}).variable("w", Int8, []byte{1}).Bytes(), "twice"},
		"alias":     {head(0).u(uint32(1)).s("a").s("b").Bytes(), `alias "a" names "b"`},
		"left over": {append(good(), 1), "1 bytes are left over"},
		"many":      {head(1 << 30).Bytes(), "name of variable 0"},
	}
	for name, c := range cases {
		_, err := Parse(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	whole := good()
	for n := range whole {
		if _, err := Parse(whole[:n]); !errors.Is(err, errShort) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good())
	f.Add(head(1).variable("w", Float32, make([]byte, 16), 2, 2).u(uint32(0)).Bytes())
	f.Add(head(1).variable("w", Float16, nil, 1<<31, 1<<31).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			v, _ := file.Var(name)
			n := v.Type.size()
			for _, d := range v.Shape {
				n *= d
			}
			if n != len(v.Data) {
				t.Errorf("%s: %d bytes for shape %v of %v", name, len(v.Data), v.Shape, v.Type)
			}
		}
	})
}
