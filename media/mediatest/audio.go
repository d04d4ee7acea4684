package mediatest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sidetone/internal/pcm"
)

// Tone is n samples of a tone of 400 Hz with an amplitude of 8000, from sample
// from on, 16 bits little-endian.
func Tone(rate, from, n int) []byte {
	var b []byte
	for i := range n {
		x := 8000 * math.Sin(2*math.Pi*400*float64(from+i)/float64(rate))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(x)))
	}
	return b
}

// Pitch is how many Hz the tone has that the leg heard, and 0 if it heard none.
// It is the inverse of the median time between rising zero crossings, which
// gaps do not move.
func (l Leg) Pitch() float64 {
	var periods []float64
	last := 0.0
	for i := 1; i < len(l.Samples); i++ {
		if a, b := l.Samples[i-1], l.Samples[i]; a < 0 && b >= 0 {
			at := float64(i) - float64(b)/float64(int(b)-int(a))
			periods = append(periods, at-last)
			last = at
		}
	}
	if len(periods) == 0 {
		return 0
	}
	slices.Sort(periods)
	return pcm.Rate / periods[len(periods)/2]
}

// Bytes reads a line of hexadecimal words, of which XX*N stands for N times XX.
func Bytes(line string) ([]byte, error) {
	var b []byte
	for _, word := range strings.Fields(line) {
		digits, times, repeated := strings.Cut(word, "*")
		part, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		n := 1
		if repeated {
			if n, err = strconv.Atoi(times); err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
		}
		for range n {
			b = append(b, part...)
		}
	}
	return b, nil
}
