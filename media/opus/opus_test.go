package opus

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidetone/media/g711"
)

// vector is what libopus 1.3 made of a synthetic voice, and what it decodes
// from it at 16 kHz, the mean of both channels where there are two, in 8 bits
// of mu-law, which bound the agreement that can be seen at some 38 dB.
type vector struct {
	Milliseconds float64
	Packets      [][]byte
	MuLaw        []byte
}

func vectors(tb testing.TB) map[string]vector {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", "vectors.json.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var all map[string]vector
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		tb.Fatal(err)
	}
	return all
}

func decoder(tb testing.TB) *Decoder {
	tb.Helper()
	d, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// TestVectors compares with libopus: all modes, bandwidths and frame lengths
// that senders use, one and two channels, discontinuous transmission, and
// packets that carry a redundant copy of the one before.
func TestVectors(t *testing.T) {
	// The voice of this one breaks off at the pause: there libopus lets its end
	// die away, in frames without content.
	least := map[string]float64{"celt-48k-20ms-dtx": 24}
	law, err := g711.New(g711.MuLaw)
	if err != nil {
		t.Fatal(err)
	}
	all := vectors(t)
	if len(all) != 11 {
		t.Fatalf("%d vectors", len(all))
	}
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			want := make([]int16, len(v.MuLaw))
			if _, err := law.Decode(want, v.MuLaw); err != nil {
				t.Fatal(err)
			}
			d := decoder(t)
			got := play(t, d, v)
			if len(got) != len(want) {
				t.Fatalf("%d samples, want %d", len(got), len(want))
			}
			wanted := least[name]
			if wanted == 0 {
				wanted = 36
			}
			s := snr(want, got)
			t.Logf("SNR %.1f dB", s)
			if s < wanted {
				t.Errorf("SNR %.1f dB against libopus, want %g", s, wanted)
			}
			d.Reset()
			if again := play(t, d, v); !slices.Equal(again, got) {
				t.Errorf("after Reset the same packets sound otherwise: SNR %.1f dB", snr(got, again))
			}
		})
	}
}

func play(tb testing.TB, d *Decoder, v vector) []int16 {
	tb.Helper()
	var x []int16
	buf := make([]int16, maxPacket)
	for i, p := range v.Packets {
		if n := d.Samples(p); float64(n) != v.Milliseconds*Rate/1000 {
			tb.Fatalf("packet %d of %g ms has %d samples", i, v.Milliseconds, n)
		}
		n, err := d.Decode(buf, p)
		if err != nil || n != d.Samples(p) {
			tb.Fatalf("packet %d: %d samples, %v", i, n, err)
		}
		x = append(x, buf[:n]...)
	}
	return x
}

func snr(want, got []int16) float64 {
	var signal, noise float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		signal += float64(w) * float64(w)
		noise += d * d
	}
	return 10 * math.Log10(signal/(noise+1))
}

func TestSilence(t *testing.T) {
	d := decoder(t)
	buf := make([]int16, maxPacket)
	for name, c := range map[string]struct {
		packet  []byte
		samples int
	}{
		"what Chromium sends in a pause":       {[]byte{0xF8, 0xFF, 0xFE}, 320},
		"and then":                             {[]byte{0xF8}, 320},
		"SILK":                                 {[]byte{9 << 3}, 320},
		"two empty frames":                     {[]byte{15<<3 | 1}, 640},
		"three empty frames":                   {[]byte{15<<3 | 3, 3}, 960},
		"three of one byte":                    {[]byte{15<<3 | 3, 3, 1, 2, 3}, 960},
		"an empty frame and one of a byte":     {[]byte{15<<3 | 2, 0, 1}, 640},
		"an empty frame within 260 of padding": {append([]byte{31<<3 | 3, 0x41, 255, 6}, make([]byte, 260)...), 320},
	} {
		n, err := d.Decode(buf, c.packet)
		if err != nil || n != c.samples || d.Samples(c.packet) != n {
			t.Errorf("%s: %d samples, %v", name, n, err)
		}
		for _, v := range buf[:n] {
			if v != 0 {
				t.Errorf("%s: not silent", name)
				break
			}
		}
	}
}

// TestFraming holds RFC 6716, section 3.2, and its requirements R1 to R7.
func TestFraming(t *testing.T) {
	long := func(head ...byte) []byte { return append(head, make([]byte, 3000)...) }
	for _, c := range []struct {
		name   string
		packet []byte
		want   string // of the error, or nothing
		sizes  []uint16
	}{
		{"one frame", []byte{0xF8, 1, 2}, "", []uint16{2}},
		{"two of one size", []byte{0xF9, 1, 2, 3, 4}, "", []uint16{2, 2}},
		{"two of two sizes", []byte{0xFA, 1, 2, 3, 4}, "", []uint16{1, 2}},
		{"two, the first of 252 and more", append([]byte{0xFA, 252, 1}, make([]byte, 260)...), "", []uint16{256, 4}},
		{"many of one size", []byte{0xFB, 3, 1, 2, 3, 4, 5, 6}, "", []uint16{2, 2, 2}},
		{"many of many sizes", []byte{0xFB, 0x83, 1, 2, 1, 2, 3, 4}, "", []uint16{1, 2, 1}},
		{"with padding", []byte{0xFB, 0xC2, 2, 1, 9, 8, 0, 0}, "", []uint16{1, 1}},
		{"R1 empty", nil, "empty packet", nil},
		{"R2 too large", long(0xF8), "longer than 1275", nil},
		{"R3 odd", []byte{0xF9, 1}, "no two frames", nil},
		{"R4 no size", []byte{0xFA}, "longer than the packet", nil},
		{"R4 half a size", []byte{0xFA, 252}, "longer than the packet", nil},
		{"R4 beyond the end", []byte{0xFA, 5, 1, 2}, "longer than the packet", nil},
		{"R5 no number", []byte{0xFB}, "lacks their number", nil},
		{"R5 none", []byte{0xFB, 0}, "0 frames", nil},
		{"R5 140 ms", []byte{0xFB, 7, 1, 2, 3, 4, 5, 6, 7}, "exceed 120 ms", nil},
		{"R5 49 of 2.5 ms", append([]byte{0xE3, 49}, make([]byte, 49)...), "49 frames", nil},
		{"R6 not divisible", []byte{0xFB, 3, 1, 2}, "not 3 frames", nil},
		{"R6 padding beyond the end", []byte{0xFB, 0x41, 9, 1}, "9 of padding", nil},
		{"R6 padding cut off", []byte{0xFB, 0x41, 255}, "cut off", nil},
		{"R7 sizes cut off", []byte{0xFB, 0x83, 1}, "cut off", nil},
		{"R7 beyond the end", []byte{0xFB, 0x82, 9, 1}, "longer than the packet", nil},
		{"R7 last too large", long(0xFB, 0x82, 1), "longer than 1275", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f framing
			err := f.split(c.packet)
			if c.want == "" {
				if err != nil || !slices.Equal(f.size[:f.count], c.sizes) {
					t.Errorf("%v, %v", f.size[:f.count], err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			d := decoder(t)
			if n := d.Samples(c.packet); n != 0 {
				t.Errorf("%d samples", n)
			}
			if _, err := d.Decode(make([]int16, maxPacket), c.packet); err == nil {
				t.Error("decoded")
			}
		})
	}
}

func TestShortBuffer(t *testing.T) {
	if _, err := decoder(t).Decode(make([]int16, 319), []byte{0xF8, 1, 2}); err == nil || !strings.Contains(err.Error(), "320 samples do not fit into a buffer of 319") {
		t.Error(err)
	}
}

// TestLibraryFails has the library panic and fail: that costs frames, not the
// call.
func TestLibraryFails(t *testing.T) {
	d := decoder(t)
	good := d.decode
	buf := make([]int16, maxPacket)
	d.decode = func([]byte, []int16) (int, error) { panic("index out of range") }
	if _, err := d.Decode(buf, []byte{0xF8, 1, 2}); err == nil || !strings.Contains(err.Error(), "gave up on a frame of 2 bytes: index out of range") {
		t.Errorf("panic: %v", err)
	}
	broken := errors.New("broken")
	d.decode = func([]byte, []int16) (int, error) { return 0, broken }
	if _, err := d.Decode(buf, []byte{0xF8, 1, 2}); !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
	// One of two frames.
	calls := 0
	d.decode = func(_ []byte, out []int16) (int, error) {
		if calls++; calls == 1 {
			return 0, broken
		}
		for i := range 320 {
			out[i] = 7
		}
		return 320, nil
	}
	if n, err := d.Decode(buf, []byte{0xF9, 1, 2, 3, 4}); err != nil || n != 640 || buf[0] != 0 || buf[319] != 0 || buf[320] != 7 || buf[639] != 7 {
		t.Errorf("%d samples, %v: %d %d", n, err, buf[0], buf[320])
	}
	d.decode = good
	if v := vectors(t)["hybrid-24k-20ms"]; len(play(t, d, v)) == 0 {
		t.Error("nothing to hear afterwards")
	}
}

// TestGarbage mutates good packets and decodes on: there is an error or there
// are as many samples as Samples says, and good packets are heard afterwards.
func TestGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	buf := make([]int16, maxPacket)
	for name, v := range vectors(t) {
		d := decoder(t)
		for i := range 1000 {
			p := slices.Clone(v.Packets[rng.IntN(len(v.Packets))])
			for range 1 + rng.IntN(4) {
				switch at := rng.IntN(len(p) + 1); {
				case at == len(p):
					p = append(p, byte(rng.Uint32()))
				case rng.IntN(4) == 0:
					p = p[:at]
				default:
					p[at] = byte(rng.Uint32())
				}
				if len(p) == 0 {
					break
				}
			}
			check(t, d, buf, p)
			if i%100 == 99 {
				d.Reset()
				if !slices.Equal(play(t, d, v), play(t, decoder(t), v)) {
					t.Fatalf("%s: garbage before Reset is heard after it", name)
				}
			}
		}
	}
}

func check(t *testing.T, d *Decoder, buf []int16, p []byte) {
	t.Helper()
	want := d.Samples(p)
	n, err := d.Decode(buf, p)
	switch {
	case err == nil && n != want, want > maxPacket:
		t.Fatalf("%d samples of %x, want %d", n, p, want)
	case err != nil && (n != 0 || err.Error() == ""):
		t.Fatalf("%d samples and %v", n, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Packets[0], v.Packets[len(v.Packets)/2])
	}
	f.Add([]byte{0xFB, 0x83, 1}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := decoder(t)
		buf := make([]int16, maxPacket)
		for _, p := range [][]byte{a, b, a} {
			check(t, d, buf, p)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"silk-nb-8k-20ms", "hybrid-24k-20ms", "hybrid-32k-20ms-stereo", "celt-48k-20ms-dtx"} {
		v := vectors(b)[name]
		b.Run(name, func(b *testing.B) {
			d := decoder(b)
			buf := make([]int16, maxPacket)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := d.Decode(buf, v.Packets[i%len(v.Packets)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
