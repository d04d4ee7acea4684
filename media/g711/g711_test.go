package g711

import (
	"strings"
	"testing"
)

// expand is the standard's tables as formulas, written apart from the library:
// table 2 for mu-law, table 1 for A-law, scaled to 16 bits.
func expand(law Law, code byte) int {
	if law == MuLaw {
		c := ^code
		m := (int(c&15)<<3+0x84)<<(c>>4&7) - 0x84
		if c&0x80 != 0 {
			return -m
		}
		return m
	}
	c := code ^ 0x55
	m, segment := int(c&15)<<4+8, c>>4&7
	if segment > 0 {
		m = (m + 0x100) << (segment - 1)
	}
	if c&0x80 == 0 {
		return -m
	}
	return m
}

func codecs(t testing.TB) []*Codec {
	t.Helper()
	var all []*Codec
	for _, law := range []Law{MuLaw, ALaw} {
		c, err := New(law)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestDecodeAllCodes(t *testing.T) {
	src := make([]byte, 256)
	for i := range src {
		src[i] = byte(i)
	}
	for _, c := range codecs(t) {
		dst := make([]int16, 256)
		n, err := c.Decode(dst, src)
		if n != 256 || err != nil {
			t.Fatalf("%v: %d, %v", c, n, err)
		}
		for i, v := range dst {
			if want := expand(c.Law(), byte(i)); int(v) != want {
				t.Errorf("%v: code %#02x is %d, want %d", c, i, v, want)
			}
		}
	}
}

// decision is the least magnitude, on 16 bits, that the standard gives to the
// k-th code counted from zero; code 128 stands for clipping.
func decision(law Law, k int) int {
	segment, m := k>>4, k&15
	switch {
	case law == MuLaw:
		return max(0, (m+16)<<(segment+1)-33) * 4
	case segment == 0:
		return m * 2 * 8
	default:
		return (m + 16) << segment * 8
	}
}

// TestEncodeAllSamples holds the code of every sample against the standard's
// decision values. They are not the middle between two codes where a segment
// begins, so the nearest code is not always the right one.
func TestEncodeAllSamples(t *testing.T) {
	for _, c := range codecs(t) {
		for s := -32768; s <= 32767; s++ {
			var code [1]byte
			if _, err := c.Encode(code[:], []int16{int16(s)}); err != nil {
				t.Fatal(err)
			}
			k := int(^code[0] & 0x7F)
			if c.Law() == ALaw {
				k = int((code[0] ^ 0x55) & 0x7F)
			}
			// A negative 16-bit sample may be cut to 14 or 13 bits towards
			// zero or away from it: hence the 1.
			low, high := decision(c.Law(), k)-1, decision(c.Law(), k+1)
			if k == 127 {
				high = 1 << 16
			}
			if m := max(s, -s); m < low || m > high || s != 0 && m > 4 && (code[0]&0x80 == 0) != (s < 0) {
				t.Fatalf("%v: %d has code %#02x, which is for %d to %d", c, s, code[0], low, high)
			}
		}
	}
}

func TestRoundTripOfCodes(t *testing.T) {
	for _, c := range codecs(t) {
		for b := range 256 {
			var lin [1]int16
			var code [1]byte
			if _, err := c.Decode(lin[:], []byte{byte(b)}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Encode(code[:], lin[:]); err != nil {
				t.Fatal(err)
			}
			if int(code[0]) != b && lin[0] != 0 {
				t.Errorf("%v: code %#02x became %#02x", c, b, code[0])
			}
		}
	}
}

func TestShortBuffers(t *testing.T) {
	for _, c := range codecs(t) {
		if n, err := c.Decode(make([]int16, 3), make([]byte, 4)); n != 0 || err == nil {
			t.Errorf("%v: Decode: %d, %v", c, n, err)
		}
		if n, err := c.Encode(make([]byte, 3), make([]int16, 4)); n != 0 || err == nil {
			t.Errorf("%v: Encode: %d, %v", c, n, err)
		}
		if n, err := c.Decode(nil, nil); n != 0 || err != nil {
			t.Errorf("%v: empty packet: %d, %v", c, n, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		law  Law
		pt   uint8
	}{{"PCMU", MuLaw, 0}, {"PCMA", ALaw, 8}} {
		law, err := ParseLaw(strings.ToLower(c.name))
		if err != nil || law != c.law || law.String() != c.name || law.PayloadType() != c.pt {
			t.Errorf("%s: %v, %v, payload type %d", c.name, law, err, law.PayloadType())
		}
	}
	if _, err := ParseLaw("G729"); err == nil || !strings.Contains(err.Error(), `"G729"`) {
		t.Errorf("ParseLaw: %v", err)
	}
	if _, err := New(7); err == nil {
		t.Error("New took an unknown law")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	pcm, bytes := make([]int16, 160), make([]byte, 160)
	for _, c := range codecs(t) {
		if n := testing.AllocsPerRun(100, func() {
			c.Decode(pcm, bytes)
			c.Encode(bytes, pcm)
		}); n != 0 {
			t.Errorf("%v: %g allocations", c, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	c := codecs(b)[0]
	dst, src := make([]int16, 160), make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		c.Decode(dst, src)
	}
}
