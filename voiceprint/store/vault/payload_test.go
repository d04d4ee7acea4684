package vault

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"
	"time"

	"sidetone/voiceprint"
)

var sample = Voice{
	Embedding: voiceprint.Embedding{0.6, -0.8},
	Quality:   voiceprint.Quality{Net: 20 * time.Second, SNR: 21, Level: -26, Clipped: 0.5, Edge: 3400, Reverberation: 1, Music: 0, Unlike: math.Inf(-1)},
	Note:      "file",
}

// Voices that lie in databases must open after years.
const golden = "53545631" + "00000003" + "00000002" + "00000004a817c800" +
	"4035000000000000" + "c03a000000000000" + "3fe0000000000000" + "40aa900000000000" + "3ff0000000000000" + "0000000000000000" + "fff0000000000000" +
	"00000004" + "66696c65" + "3f19999a" + "bf4ccccd"

func TestPayload(t *testing.T) {
	b, err := marshal(&sample, 3)
	if err != nil || hex.EncodeToString(b) != golden {
		t.Fatalf("got %x, %v", b, err)
	}
	v, generation, err := unmarshal(b)
	if err != nil || generation != 3 || v.Note != sample.Note || v.Quality != sample.Quality || len(v.Embedding) != 2 || v.Embedding[1] != -0.8 {
		t.Errorf("got %+v, %d, %v", v, generation, err)
	}
	change := func(at int, to ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], to)
		return c
	}
	for name, c := range map[string][]byte{
		"nothing": nil, "cut off": b[:len(b)-1], "more": append(bytes.Clone(b), 0), "another kind": change(3, '2'),
		"no generation": change(4, 0, 0, 0, 0), "huge generation": change(4, 0xff), "no numbers": change(8, 0, 0, 0, 0), "many numbers": change(8, 0xff, 0xff, 0xff, 0xff),
		"a long note": change(fixed-4, 0xff, 0xff, 0xff, 0xff), "no number": change(len(b)-4, 0x7f, 0xc0), "no end": change(len(b)-4, 0x7f, 0x80, 0, 0),
	} {
		if _, _, err := unmarshal(c); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is read is what is written again, byte for byte.
func FuzzPayload(f *testing.F) {
	b, err := hex.DecodeString(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:fixed])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, generation, err := unmarshal(b)
		if err != nil {
			return
		}
		again, err := marshal(&v, generation)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

// Keys as they are read make a file that reads the same.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("pseudonym " + hex.EncodeToString(make([]byte, 32)) + "\ntransform 1 " + hex.EncodeToString(make([]byte, 32)) + "\n"))
	f.Add([]byte("# x\n\npseudonym 00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseKey(b)
		if err != nil {
			return
		}
		if len(k.name) != keySize || len(k.turns) == 0 {
			t.Errorf("%q became %+v", b, k)
		}
	})
}
