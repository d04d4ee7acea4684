package mediatest

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"sidetone/internal/pcm"
)

func TestPitch(t *testing.T) {
	var l Leg
	if got := l.Pitch(); got != 0 {
		t.Errorf("silence has %v Hz", got)
	}
	b := Tone(pcm.Rate, 0, pcm.Rate)
	for i := 0; i < len(b); i += 2 {
		if i < 8000 || i > 9000 { // a gap
			l.Samples = append(l.Samples, int16(binary.LittleEndian.Uint16(b[i:])))
		}
	}
	if got := l.Pitch(); math.Abs(got-400) > 1 {
		t.Errorf("a tone of 400 Hz has %v Hz", got)
	}
	if two := append(Tone(8000, 0, 30), Tone(8000, 30, 50)...); !bytes.Equal(two, Tone(8000, 0, 80)) {
		t.Error("a tone in two parts is another")
	}
}

func TestBytes(t *testing.T) {
	if b, err := Bytes("01 0aff*2  00*3"); err != nil || !bytes.Equal(b, []byte{1, 10, 255, 10, 255, 0, 0, 0}) {
		t.Errorf("got % x, %v", b, err)
	}
	for _, line := range []string{"0", "xx", "00*x"} {
		if b, err := Bytes(line); err == nil {
			t.Errorf("%q is read as % x", line, b)
		}
	}
}
