package g722

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/needs"
)

// speechlike is noise that comes and goes, with tones of both bands.
func speechlike(n int) []int16 {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]int16, n)
	for i := range x {
		t := float64(i) / Rate
		env := 0.5 - 0.5*math.Cos(2*math.Pi*3*t)
		v := 6000*math.Sin(2*math.Pi*300*t) + 2500*math.Sin(2*math.Pi*5200*t) + 1500*rng.NormFloat64()
		x[i] = int16(env * v)
	}
	return x
}

func encode(t *testing.T, x []int16) []byte {
	t.Helper()
	b := make([]byte, len(x)/2)
	if n, err := NewEncoder().Encode(b, x); err != nil || n != len(b) {
		t.Fatal(n, err)
	}
	return b
}

func decode(t *testing.T, b []byte) []int16 {
	t.Helper()
	x := make([]int16, 2*len(b))
	if n, err := NewDecoder().Decode(x, b); err != nil || n != len(x) {
		t.Fatal(n, err)
	}
	return x
}

// snr compares y with x, which it follows by delay samples.
func snr(x, y []int16, delay int) float64 {
	var signal, noise float64
	for i := delay; i < len(y); i++ {
		a, d := float64(x[i-delay]), float64(y[i])-float64(x[i-delay])
		signal += a * a
		noise += d * d
	}
	return 10 * math.Log10(signal/noise)
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		hz, least float64
	}{{100, 35}, {440, 35}, {1000, 30}, {3000, 25}, {5000, 12}, {6500, 12}} {
		x := make([]int16, Rate)
		for i := range x {
			x[i] = int16(math.Round(8000 * math.Sin(2*math.Pi*c.hz*float64(i)/Rate)))
		}
		y := decode(t, encode(t, x))
		if got := snr(x, y, 22); got < c.least {
			t.Errorf("%g Hz: SNR %.1f dB, want %g", c.hz, got, c.least)
		}
		t.Logf("%g Hz: SNR %.1f dB", c.hz, snr(x, y, 22))
	}
	x := speechlike(2 * Rate)
	y := decode(t, encode(t, x))
	if got := snr(x, y, 22); got < 15 {
		t.Errorf("SNR %.1f dB", got)
	}
	t.Logf("SNR %.1f dB", snr(x, y, 22))
}

// TestR2 holds the rate: one second of RTP clock is 8000 units and 16000
// samples (RFC 3551, section 4.5.2).
func TestR2(t *testing.T) {
	t.Run("R2 8000 units yield 16000 samples", func(t *testing.T) {
		if n := NewDecoder().Samples(make([]byte, Clock)); n != Rate {
			t.Errorf("%d samples", n)
		}
		if n := len(decode(t, make([]byte, Clock))); n != Rate {
			t.Errorf("%d samples", n)
		}
	})
}

// ffmpeg runs it over raw data.
func ffmpeg(t *testing.T, in []byte, from, to []string) []byte {
	t.Helper()
	bin := needs.Program(t, "ffmpeg")
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(src, in, 0o600); err != nil {
		t.Fatal(err)
	}
	args := slices.Concat([]string{"-v", "error"}, from, []string{"-i", src}, to, []string{dst})
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	b, err := os.ReadFile(dst)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func words(b []byte) []int16 {
	x := make([]int16, len(b)/2)
	for i := range x {
		x[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return x
}

// TestAgainstFFmpeg has another implementation decode our code and encode for
// us: in both ways the samples are to be the same to the last bit.
func TestAgainstFFmpeg(t *testing.T) {
	x := speechlike(2 * Rate)
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, x); err != nil {
		t.Fatal(err)
	}
	pcm := []string{"-f", "s16le", "-ar", "16000", "-ac", "1"}
	theirs := ffmpeg(t, raw.Bytes(), pcm, []string{"-c:a", "g722", "-f", "g722"})
	for name, code := range map[string][]byte{"their code": theirs, "our code": encode(t, x)} {
		got, want := decode(t, code), words(ffmpeg(t, code, []string{"-f", "g722"}, pcm))
		if len(got) != len(want) {
			t.Fatalf("%s: %d samples, want %d", name, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: sample %d is %d, want %d", name, i, got[i], want[i])
			}
		}
	}
	t.Logf("ours of theirs: SNR %.1f dB; ours of ours %.1f dB", snr(x, decode(t, theirs), 22), snr(x, decode(t, encode(t, x)), 22))
}

func TestReset(t *testing.T) {
	b := encode(t, speechlike(4000))
	d := NewDecoder()
	first, second := make([]int16, 4000), make([]int16, 4000)
	for _, x := range [][]int16{first, second} {
		if _, err := d.Decode(x, b); err != nil {
			t.Fatal(err)
		}
		d.Reset()
	}
	if !slices.Equal(first, second) {
		t.Error("the decoder remembers what was before Reset")
	}
}

func TestShortBuffers(t *testing.T) {
	if _, err := NewDecoder().Decode(make([]int16, 3), make([]byte, 2)); err == nil || !strings.Contains(err.Error(), "4 samples do not fit") {
		t.Errorf("decode: %v", err)
	}
	for _, c := range [][2]int{{1, 4}, {2, 3}} {
		if _, err := NewEncoder().Encode(make([]byte, c[0]), make([]int16, c[1])); err == nil || !strings.Contains(err.Error(), "two go into each") {
			t.Errorf("encode %v: %v", c, err)
		}
	}
}

// FuzzDecode feeds what is no speech: the predictors must stay within their
// bounds, so that the same code after a Reset gives the same samples.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0x20, 0xFF, 0x00}, 500))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDecoder()
		x := make([]int16, 2*len(b))
		if n, err := d.Decode(x, b); err != nil || n != len(x) {
			t.Fatal(n, err)
		}
		if d.low.nb < 0 || d.low.nb > 18432 || d.high.nb < 0 || d.high.nb > 22528 {
			t.Errorf("scales %d and %d", d.low.nb, d.high.nb)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	code := make([]byte, 160)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range code {
		code[i] = byte(rng.Uint32())
	}
	d, x := NewDecoder(), make([]int16, 320)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(x, code); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d, code, x := NewDecoder(), make([]byte, 160), make([]int16, 320)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(x, code); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
