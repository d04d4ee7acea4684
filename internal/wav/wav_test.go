package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sidetone/internal/needs"
)

// chunk is one RIFF chunk with its padding byte.
func chunk(id string, body []byte) []byte {
	b := append([]byte(id), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// fmtBody is the body of a fmt chunk with consistent derived fields.
func fmtBody(tag, channels, rate, bits int) []byte {
	b := make([]byte, 16)
	le := binary.LittleEndian
	align := channels * bits / 8
	le.PutUint16(b, uint16(tag))
	le.PutUint16(b[2:], uint16(channels))
	le.PutUint32(b[4:], uint32(rate))
	le.PutUint32(b[8:], uint32(rate*align))
	le.PutUint16(b[12:], uint16(align))
	le.PutUint16(b[14:], uint16(bits))
	return b
}

func extensible(tag, channels, rate, bits int) []byte {
	b := fmtBody(tagExtensible, channels, rate, bits)
	b = append(b, 22, 0, byte(bits), 0, 0, 0, 0, 0, byte(tag), byte(tag>>8))
	return append(b, extensibleGUID...)
}

func riff(chunks ...[]byte) []byte {
	body := append([]byte("WAVE"), bytes.Join(chunks, nil)...)
	return chunk("RIFF", body)
}

// setSize overwrites the length field of the named chunk.
func setSize(b []byte, id string, size uint32) []byte {
	i := bytes.Index(b, []byte(id))
	binary.LittleEndian.PutUint32(b[i+4:], size)
	return b
}

type decodeCase struct {
	name string
	in   []byte
	want *Audio
	err  string
}

func decodeCases() []decodeCase {
	pcm := []byte{0x01, 0x00, 0xFF, 0xFF, 0xFF, 0x7F, 0x00, 0x80}
	mono := fmtBody(tagPCM, 1, 8000, 16)
	bad := func(at int, v byte) []byte {
		b := fmtBody(tagPCM, 1, 8000, 16)
		b[at] = v
		return b
	}
	foreign := extensible(tagPCM, 1, 8000, 16)
	foreign[30] ^= 0xFF
	return []decodeCase{
		{name: "mono", in: riff(chunk("fmt ", mono), chunk("data", pcm)),
			want: &Audio{8000, [][]int16{{1, -1, 32767, -32768}}}},
		{name: "stereo", in: riff(chunk("fmt ", fmtBody(tagPCM, 2, 44100, 16)), chunk("data", pcm)),
			want: &Audio{44100, [][]int16{{1, 32767}, {-1, -32768}}}},
		{name: "other chunks, odd length", in: riff(chunk("LIST", []byte("abc")), chunk("fmt ", mono), chunk("fact", []byte{1, 2, 3, 4}), chunk("data", pcm[:2]), chunk("junk", nil)),
			want: &Audio{8000, [][]int16{{1}}}},
		{name: "mu-law", in: riff(chunk("fmt ", append(fmtBody(tagMuLaw, 1, 8000, 8), 0, 0)), chunk("data", []byte{0x00, 0x80, 0xFF})),
			want: &Audio{8000, [][]int16{{-32124, 32124, 0}}}},
		{name: "A-law", in: riff(chunk("fmt ", fmtBody(tagALaw, 1, 8000, 8)), chunk("data", []byte{0x2A, 0xAA, 0xD5, 0x55})),
			want: &Audio{8000, [][]int16{{-32256, 32256, 8, -8}}}},
		{name: "extensible", in: riff(chunk("fmt ", extensible(tagPCM, 2, 48000, 16)), chunk("data", pcm)),
			want: &Audio{48000, [][]int16{{1, 32767}, {-1, -32768}}}},
		{name: "written to a pipe, cut inside a sample", in: append(setSize(riff(chunk("fmt ", mono), chunk("data", pcm[:4])), "data", 0xFFFFFFFF), 7),
			want: &Audio{8000, [][]int16{{1, -1}}}},
		{name: "no samples", in: riff(chunk("fmt ", mono), chunk("data", nil)),
			want: &Audio{8000, [][]int16{nil}}},

		{name: "empty", in: nil, err: "ends inside the file header"},
		{name: "not RIFF", in: []byte("OggS01234567"), err: `begins with "OggS"`},
		{name: "not WAVE", in: []byte("RIFF\x04\x00\x00\x00AVI "), err: `holds "AVI "`},
		{name: "RF64", in: []byte("RF64\xFF\xFF\xFF\xFFWAVE"), err: "only RIFF"},
		{name: "no data", in: riff(chunk("fmt ", mono)), err: "no data chunk"},
		{name: "data before fmt", in: riff(chunk("data", pcm), chunk("fmt ", mono)), err: "before the fmt chunk"},
		{name: "short fmt", in: riff(chunk("fmt ", mono[:14])), err: "fmt chunk has 14 bytes"},
		{name: "huge fmt", in: setSize(riff(chunk("fmt ", mono)), "fmt ", 1<<31), err: "fmt chunk has 2147483648 bytes"},
		{name: "truncated fmt", in: riff(chunk("fmt ", mono))[:30], err: "ends inside the fmt chunk"},
		{name: "truncated extra chunk", in: setSize(riff(chunk("LIST", nil)), "LIST", 1<<30), err: `ends inside the "LIST" chunk`},
		{name: "float", in: riff(chunk("fmt ", fmtBody(3, 1, 8000, 32)), chunk("data", pcm)), err: "format tag 3 with 32 bits"},
		{name: "24 bits", in: riff(chunk("fmt ", fmtBody(tagPCM, 1, 8000, 24)), chunk("data", pcm)), err: "format tag 1 with 24 bits"},
		{name: "no channels", in: riff(chunk("fmt ", fmtBody(tagPCM, 0, 8000, 16))), err: "0 channels"},
		{name: "no rate", in: riff(chunk("fmt ", fmtBody(tagPCM, 1, 0, 16))), err: "sample rate 0"},
		{name: "wrong alignment", in: riff(chunk("fmt ", bad(12, 4))), err: "block alignment 4, expected 2"},
		{name: "short extensible", in: riff(chunk("fmt ", extensible(tagPCM, 1, 8000, 16)[:26])), err: "at least 40"},
		{name: "foreign GUID", in: riff(chunk("fmt ", foreign)), err: "unknown sub-format"},
		{name: "truncated data", in: setSize(riff(chunk("fmt ", mono), chunk("data", pcm)), "data", 1000), err: "ends 992 bytes early"},
	}
}

func TestDecode(t *testing.T) {
	for _, c := range decodeCases() {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(bytes.NewReader(c.in))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				if !errors.Is(err, ErrFormat) {
					t.Errorf("error %v does not wrap ErrFormat", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			slow, err := Decode(iotest.OneByteReader(bytes.NewReader(c.in)))
			if err != nil || !reflect.DeepEqual(slow, c.want) {
				t.Errorf("byte by byte: got %+v, %v", slow, err)
			}
		})
	}
}

func TestDecodeReportsReaderError(t *testing.T) {
	broken := errors.New("cable cut")
	whole := riff(chunk("fmt ", fmtBody(tagPCM, 1, 8000, 16)), chunk("data", make([]byte, 100)))
	for _, cut := range []int{0, 14, 30, 60} {
		_, err := Decode(io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Errorf("cut at %d: error %v, want the reader's", cut, err)
		}
	}
}

func TestDecodeLyingHeaderCostsLittle(t *testing.T) {
	in := setSize(riff(chunk("fmt ", fmtBody(tagPCM, 2, 8000, 16)), chunk("data", make([]byte, 8))), "data", streamedLength-1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Decode(bytes.NewReader(in)); err == nil {
		t.Fatal("no error")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("a file of %d bytes that claims 2 GiB cost %d bytes of memory", len(in), grown)
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	ramp := make([]int16, 3*blockFrames+7)
	down := make([]int16, len(ramp))
	for i := range ramp {
		ramp[i] = int16(i * 5)
		down[i] = -ramp[i]
	}
	for _, c := range []struct {
		name string
		a    *Audio
		enc  Encoding
	}{
		{"mono PCM", &Audio{16000, [][]int16{ramp}}, PCM16},
		{"stereo PCM", &Audio{8000, [][]int16{ramp, down}}, PCM16},
		{"mono mu-law", &Audio{8000, [][]int16{ramp}}, MuLaw},
		{"stereo mu-law", &Audio{8000, [][]int16{ramp, down}}, MuLaw},
	} {
		t.Run(c.name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := Encode(&buf, c.a, c.enc); err != nil {
				t.Fatal(err)
			}
			if size := binary.LittleEndian.Uint32(buf.Bytes()[4:]); int(size) != buf.Len()-8 {
				t.Errorf("RIFF size %d in a file of %d bytes", size, buf.Len())
			}
			got, err := Decode(&buf)
			if err != nil {
				t.Fatal(err)
			}
			want := c.a
			if c.enc == MuLaw {
				want = &Audio{Rate: c.a.Rate}
				for _, ch := range c.a.Channels {
					q := make([]int16, len(ch))
					for i, s := range ch {
						q[i] = expandMuLaw(compressMuLaw(s))
					}
					want.Channels = append(want.Channels, q)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Error("decoded audio differs from what was encoded")
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		a    *Audio
		enc  Encoding
		want string
	}{
		{&Audio{8000, nil}, PCM16, "0 channels"},
		{&Audio{0, [][]int16{{1}}}, PCM16, "0 Hz"},
		{&Audio{8000, [][]int16{{1}, {}}}, PCM16, "channel 1 has 0 samples"},
		{&Audio{8000, [][]int16{{1}}}, 9, "unknown encoding 9"},
	} {
		if err := Encode(io.Discard, c.a, c.enc); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	a := &Audio{Rate: 8000, Channels: [][]int16{make([]int16, 12000)}}
	if got := a.Duration(); got != 1500*time.Millisecond {
		t.Errorf("duration %v", got)
	}
	if got := new(Audio).Duration(); got != 0 {
		t.Errorf("duration of nothing %v", got)
	}
}

func TestMuLawRoundTrip(t *testing.T) {
	for s := -32768; s <= 32767; s++ {
		got := int(expandMuLaw(compressMuLaw(int16(s))))
		// Half a step of the sample's segment; above 32124 the code clips.
		limit := max(4, (abs(s)+muLawBias)/32)
		if abs(s) > 32124 {
			limit = abs(s) - 32124
		}
		if abs(got-s) > limit {
			t.Fatalf("%d became %d, more than %d away", s, got, limit)
		}
	}
	for c := range 256 {
		if c == 0x7F {
			continue // the second code of zero
		}
		if got := compressMuLaw(expandMuLaw(byte(c))); got != byte(c) {
			t.Errorf("code %#02x became %#02x", c, got)
		}
	}
}

func abs(x int) int { return max(x, -x) }

// TestAgainstFFmpeg reads what another program wrote, and the reverse.
func TestAgainstFFmpeg(t *testing.T) {
	ffmpeg := needs.Program(t, "ffmpeg")
	dir := t.TempDir()
	for _, codec := range []string{"pcm_s16le", "pcm_mulaw", "pcm_alaw"} {
		for channels := 1; channels <= 3; channels++ {
			file := filepath.Join(dir, fmt.Sprintf("%s-%d.wav", codec, channels))
			out, err := exec.Command(ffmpeg, "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=0.5",
				"-ac", fmt.Sprint(channels), "-c:a", codec, "-y", file).CombinedOutput()
			if err != nil {
				t.Fatalf("ffmpeg: %v: %s", err, out)
			}
			raw, err := exec.Command(ffmpeg, "-nostdin", "-loglevel", "error", "-i", file, "-f", "s16le", "-").Output()
			if err != nil {
				t.Fatal(err)
			}
			streamed, err := exec.Command(ffmpeg, "-nostdin", "-loglevel", "error", "-i", file, "-c:a", codec, "-f", "wav", "-").Output()
			if err != nil {
				t.Fatal(err)
			}
			a, err := Decode(bytes.NewReader(streamed))
			if err != nil {
				t.Fatalf("%s, %d channels: %v", codec, channels, err)
			}
			if len(a.Channels) != channels || a.Samples() != 4000 || a.Rate != 8000 {
				t.Fatalf("%s: %d channels, %d samples at %d Hz", codec, len(a.Channels), a.Samples(), a.Rate)
			}
			for i := range a.Samples() {
				for c := range channels {
					want := int16(binary.LittleEndian.Uint16(raw[2*(i*channels+c):]))
					if a.Channels[c][i] != want {
						t.Fatalf("%s: channel %d sample %d is %d, ffmpeg says %d", codec, c, i, a.Channels[c][i], want)
					}
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range decodeCases() {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := Decode(bytes.NewReader(in))
		if err != nil {
			return
		}
		if a.Samples()*len(a.Channels) > len(in) {
			t.Fatalf("%d samples in %d channels out of %d bytes", a.Samples(), len(a.Channels), len(in))
		}
		var buf bytes.Buffer
		if err := Encode(&buf, a, PCM16); err != nil {
			t.Fatalf("decoded audio cannot be encoded: %v", err)
		}
		b, err := Decode(&buf)
		if err != nil || b.Rate != a.Rate || b.Samples() != a.Samples() {
			t.Fatalf("decoded audio does not survive a round trip: %v", err)
		}
	})
}
