package l16

import (
	"slices"
	"strings"
	"testing"
)

func codec(t testing.TB, rate, channels int) *Codec {
	t.Helper()
	c, err := New(rate, channels)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOrder holds the byte order: the most significant byte comes first (RFC
// 3551, section 4.5.11).
func TestOrder(t *testing.T) {
	x := make([]int16, 4)
	n, err := codec(t, 16000, 1).Decode(x, []byte{0x01, 0x02, 0x80, 0x00, 0x7F, 0xFF, 0xFF, 0xFE})
	if want := []int16{258, -32768, 32767, -2}; err != nil || n != 4 || !slices.Equal(x, want) {
		t.Errorf("%v, %v; want %v", x[:n], err, want)
	}
}

func TestMixdown(t *testing.T) {
	x := make([]int16, 3)
	n, err := codec(t, 44100, 2).Decode(x, []byte{0x80, 0, 0x80, 0, 0x7F, 0xFF, 0x7F, 0xFF, 0, 100, 0xFF, 0xFF})
	if want := []int16{-32768, 32767, 49}; err != nil || n != 3 || !slices.Equal(x, want) {
		t.Errorf("%v, %v; want %v", x[:n], err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	x := make([]int16, 65536)
	for i := range x {
		x[i] = int16(i)
	}
	for channels := 1; channels <= 2; channels++ {
		c := codec(t, 8000, channels)
		b := make([]byte, 2*channels*len(x))
		if n, err := c.Encode(b, x); err != nil || n != len(b) || c.Samples(b) != len(x) {
			t.Fatal(n, err)
		}
		y := make([]int16, len(x))
		if n, err := c.Decode(y, b); err != nil || n != len(x) || !slices.Equal(x, y) {
			t.Errorf("%v: %d samples differ, %v", c, n, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		rate, channels int
		want           string
	}{{7999, 1, "7999 Hz"}, {48050, 1, "48050 Hz"}, {8025, 1, "8025 Hz"}, {8000, 0, "0 channels"}, {8000, 3, "3 channels"}} {
		if _, err := New(c.rate, c.channels); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	c := codec(t, 8000, 2)
	if n := c.Samples(make([]byte, 6)); n != 0 {
		t.Errorf("6 bytes are %d samples of two channels", n)
	}
	if _, err := c.Decode(make([]int16, 9), make([]byte, 6)); err == nil || !strings.Contains(err.Error(), "no whole samples") {
		t.Error(err)
	}
	if _, err := c.Decode(make([]int16, 1), make([]byte, 8)); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Error(err)
	}
	if _, err := c.Encode(make([]byte, 7), make([]int16, 2)); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Error(err)
	}
	if n, err := c.Decode(nil, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	c, b, x := codec(t, 16000, 1), make([]byte, 640), make([]int16, 320)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Decode(x, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, true)
	f.Add([]byte{1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, b []byte, stereo bool) {
		channels := 1
		if stereo {
			channels = 2
		}
		c := codec(t, 16000, channels)
		n, err := c.Decode(make([]int16, len(b)), b)
		if n != c.Samples(b) || err == nil && 2*n*channels != len(b) {
			t.Errorf("%d samples of %d bytes, %v", n, len(b), err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	c, p, x := codec(b, 16000, 1), make([]byte, 640), make([]int16, 320)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(x, p); err != nil {
			b.Fatal(err)
		}
	}
}
