package tensor

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestFloats(t *testing.T) {
	var full []byte
	for _, v := range []float32{1.5, -2} {
		full = binary.LittleEndian.AppendUint32(full, math.Float32bits(v))
	}
	cases := []Tensor{
		{Float32, []int{2}, full},
		{Float16, []int{2}, []byte{0x00, 0x3e, 0x00, 0xc0}},
		{BFloat16, []int{2}, []byte{0xc0, 0x3f, 0x00, 0xc0}},
	}
	for _, c := range cases {
		if got, err := c.Floats(); err != nil || !slices.Equal(got, []float32{1.5, -2}) {
			t.Errorf("%s: %v, %v", c.Type, got, err)
		}
	}
	for _, bad := range []Type{Int8, "complex64"} {
		if _, err := (Tensor{Type: bad}).Floats(); err == nil || !strings.Contains(err.Error(), string(bad)) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestBytes(t *testing.T) {
	cases := []struct {
		t     Type
		shape []int
		most  int
		want  int
		ok    bool
	}{
		{Float32, nil, 4, 4, true},
		{Float16, []int{3, 5}, 30, 30, true},
		{Float16, []int{3, 5}, 29, 0, false},
		{Float64, []int{0, math.MaxInt}, 10, 0, true},
		{Int8, []int{math.MaxInt, math.MaxInt}, math.MaxInt, 0, false},
		{Int8, []int{-1, -1}, 10, 0, false},
		{"complex64", nil, 10, 0, false},
	}
	for _, c := range cases {
		if n, ok := Bytes(c.t, c.shape, c.most); n != c.want || ok != c.ok {
			t.Errorf("%s %v within %d: %d, %v; want %d, %v", c.t, c.shape, c.most, n, ok, c.want, c.ok)
		}
	}
}
