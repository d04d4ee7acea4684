package red

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const (
	redType  = 63
	opusType = 111
)

// packet builds an RTP packet.
func packet(pt uint8, seq uint16, stamp uint32, payload []byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], stamp)
	binary.BigEndian.PutUint32(b[8:], 0xCAFE)
	return append(b, payload...)
}

// pack builds a payload of the last of the frames with copies of those before.
func pack(step uint32, frames ...[]byte) []byte {
	var b []byte
	last := len(frames) - 1
	for i, f := range frames[:last] {
		b = binary.BigEndian.AppendUint32(b, (opusType|0x80)<<24|uint32(last-i)*step<<10|uint32(len(f)))
	}
	b = append(b, opusType)
	for _, f := range frames {
		b = append(b, f...)
	}
	return b
}

func TestSplit(t *testing.T) {
	// The first two payloads of a stream as Chromium begins it: one block, then
	// one of 95 bytes, 960 earlier, and the new one.
	first := append([]byte{0x6f}, "first"...)
	second := append([]byte{0xef, 0x0f, 0x00, 0x5f, 0x6f}, bytes.Repeat([]byte{7}, 95)...)
	second = append(second, "second"...)
	for _, c := range []struct {
		name    string
		payload []byte
		want    string
		fail    string
	}{
		{"no copy", first, "111-0:5", ""},
		{"one copy", second, "111-960:95 111-0:6", ""},
		{"two copies", pack(960, []byte("a"), []byte("bb"), []byte("ccc")), "111-1920:1 111-960:2 111-0:3", ""},
		{"an empty copy", pack(960, nil, []byte("x")), "111-960:0 111-0:1", ""},
		{"nothing new", []byte{0x6f}, "111-0:0", ""},
		{"empty", nil, "", "end among the headers"},
		{"header cut", []byte{0xef, 0x0f}, "", "2 of 4 bytes"},
		{"no last header", []byte{0xef, 0x0f, 0, 0}, "", "end among the headers"},
		{"block too long", []byte{0xef, 0x0f, 0, 9, 0x6f, 1, 2}, "", "said to have 9 bytes, 2 are left"},
		{"too many blocks", pack(960, make([][]byte, 10)...), "", "more than 8 blocks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := Split(nil, c.payload)
			if c.fail != "" {
				if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.fail) {
					t.Errorf("error %v, want %q", err, c.fail)
				}
				return
			}
			var got []string
			for _, b := range blocks {
				got = append(got, fmt.Sprintf("%d-%d:%d", b.PayloadType, b.Offset, len(b.Payload)))
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%v, %v; want %s", got, err, c.want)
			}
		})
	}
}

// play sends frames through an Unwrapper, all but those that lose takes, and
// returns what comes out as "seq@stamp payload".
func play(t *testing.T, n, copies int, lose func(i int) bool) (got, want []string, u *Unwrapper) {
	t.Helper()
	u = New(redType, func(b []byte) {
		if b[0] != 0x80 || b[1]&0x7f != opusType || binary.BigEndian.Uint32(b[8:]) != 0xCAFE {
			t.Errorf("header % x", b[:12])
		}
		got = append(got, fmt.Sprintf("%d@%d %s", binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), b[12:]))
	})
	var frames [][]byte
	for i := range n {
		seq, stamp := uint16(65530+i), uint32(0xFFFFF000)+uint32(i)*960
		frame := fmt.Appendf(nil, "frame %d", i)
		frames = append(frames, frame)
		want = append(want, fmt.Sprintf("%d@%d %s", seq, stamp, frame))
		if lose(i) {
			continue
		}
		if err := u.Unwrap(packet(redType, seq, stamp, pack(960, frames[max(0, i-copies):]...))); err != nil {
			t.Fatal(err)
		}
	}
	return got, want, u
}

func TestUnwrap(t *testing.T) {
	t.Run("B7 every fourth packet is lost and recovered, nothing comes twice", func(t *testing.T) {
		got, want, u := play(t, 100, 1, func(i int) bool { return i%4 == 1 })
		if !slices.Equal(got, want) || u.Recovered() != 25 {
			t.Errorf("recovered %d, got %q", u.Recovered(), got)
		}
	})
	t.Run("nothing lost", func(t *testing.T) {
		got, want, u := play(t, 100, 1, func(int) bool { return false })
		if !slices.Equal(got, want) || u.Recovered() != 0 {
			t.Errorf("recovered %d, got %q", u.Recovered(), got)
		}
	})
	t.Run("two in a row with two copies", func(t *testing.T) {
		got, want, _ := play(t, 99, 2, func(i int) bool { return i%5 == 1 || i%5 == 2 })
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("two in a row with one copy", func(t *testing.T) {
		got, want, u := play(t, 10, 1, func(i int) bool { return i == 4 || i == 5 })
		if len(got) != len(want)-1 || slices.Contains(got, want[4]) || u.Recovered() != 1 {
			t.Errorf("got %q", got)
		}
	})
	t.Run("late and repeated packets", func(t *testing.T) {
		var got []uint16
		u := New(redType, func(b []byte) { got = append(got, binary.BigEndian.Uint16(b[2:])) })
		for _, seq := range []uint16{10, 12, 11, 12, 13} {
			if err := u.Unwrap(packet(redType, seq, uint32(seq)*960, pack(960, []byte("a"), []byte("b")))); err != nil {
				t.Fatal(err)
			}
		}
		// 11 was made of 12's copy; that it comes itself is the jitter buffer's.
		if !slices.Equal(got, []uint16{10, 11, 12, 11, 12, 13}) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("other payload types, extensions and padding", func(t *testing.T) {
		var got [][]byte
		u := New(redType, func(b []byte) { got = append(got, slices.Clone(b)) })
		plain := packet(13, 1, 0, []byte{60})
		dressed := packet(redType, 2, 960, append([]byte{0xBE, 0xDE, 0, 1, 1, 2, 3, 4}, append(pack(960, []byte("new")), 0, 0, 3)...))
		dressed[0] |= 0x30
		probe := packet(redType, 3, 960, []byte{0, 0, 0, 4})
		probe[0] |= 0x20
		for _, b := range [][]byte{plain, dressed, probe} {
			if err := u.Unwrap(b); err != nil {
				t.Fatal(err)
			}
		}
		want := [][]byte{plain, packet(opusType, 2, 960, []byte("new")), probe}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("another source", func(t *testing.T) {
		n := 0
		u := New(redType, func([]byte) { n++ })
		a, b := packet(redType, 5, 0, pack(960, []byte("a"))), packet(redType, 900, 0, pack(960, []byte("x"), []byte("b")))
		b[8] = 1
		for _, p := range [][]byte{a, b} {
			if err := u.Unwrap(p); err != nil {
				t.Fatal(err)
			}
		}
		if n != 2 || u.Recovered() != 0 {
			t.Errorf("%d packets, %d recovered: the new source's past is no loss", n, u.Recovered())
		}
	})
}

func TestNoAllocation(t *testing.T) {
	n := 0
	u := New(redType, func([]byte) { n++ })
	b := packet(redType, 0, 0, pack(960, make([]byte, 90), make([]byte, 95)))
	seq := uint16(0)
	if got := testing.AllocsPerRun(1000, func() {
		seq += 2 // every other packet is lost
		binary.BigEndian.PutUint16(b[2:], seq)
		if err := u.Unwrap(b); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
	if u.Recovered() < 1000 || n != int(u.Recovered())+1001 {
		t.Errorf("%d packets of which %d recovered", n, u.Recovered())
	}
}

// TestMutations spoils good packets: each is read or refused in words.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(2198, 1))
	u := New(redType, func(b []byte) {
		if len(b) < 12 {
			t.Errorf("a packet of %d bytes", len(b))
		}
	})
	refused := 0
	for range 1000 {
		b := packet(redType, uint16(rng.IntN(100)), rng.Uint32(), pack(960, make([]byte, rng.IntN(50)), make([]byte, rng.IntN(50))))
		for range 1 + rng.IntN(4) {
			b[rng.IntN(len(b))] = byte(rng.IntN(256))
		}
		if err := u.Unwrap(b[:rng.IntN(len(b)+1)]); err != nil {
			refused++
			if !errors.Is(err, ErrMalformed) || len(err.Error()) < 20 {
				t.Errorf("error %v", err)
			}
		}
	}
	if refused < 100 {
		t.Errorf("only %d were refused", refused)
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add(packet(redType, 7, 960, pack(960, []byte("before"), []byte("now"))))
	f.Add(packet(redType, 7, 960, pack(960, []byte("now"))))
	f.Add(packet(13, 7, 960, []byte{60}))
	f.Fuzz(func(t *testing.T, b []byte) {
		u := New(redType, func(out []byte) {
			if len(out) < 12 || out[0]>>6 != 2 {
				t.Errorf("handed on % x", out)
			}
		})
		if err := u.Unwrap(b); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
