package model

import (
	"bytes"
	"math"
	"os"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
)

// clip reads an evaluation clip as float32 at 16 kHz.
//
// 8 kHz is brought to 16 kHz by the integer half-band filter of
// testdata/peer.py, so that the reference has heard the very same samples.
func clip(tb testing.TB, key string) []float32 {
	tb.Helper()
	raw, err := os.ReadFile(needs.Eval(tb, "asr", key))
	if err != nil {
		tb.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(raw))
	if err != nil {
		tb.Fatalf("%s: %v", key, err)
	}
	x := a.Channels[0]
	if a.Rate == 8000 {
		x = double(x)
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v) / 32768
	}
	return out
}

func double(x []int16) []int16 {
	const taps = 32
	var c [taps]int64
	for k := range c {
		u := math.Pi * (float64(k) + 0.5)
		c[k] = int64(math.RoundToEven(32768 * (1 - 2*float64(k%2)) / u * math.Pow(math.Cos(u/64), 2)))
	}
	at := func(i int) int64 {
		if i < 0 || i >= len(x) {
			return 0
		}
		return int64(x[i])
	}
	out := make([]int16, 0, 2*len(x))
	for n, v := range x {
		var s int64
		for k, w := range c {
			s += w * (at(n-k) + at(n+1+k))
		}
		out = append(out, v, int16(max(-32768, min(32767, (s+1<<14)>>15))))
	}
	return out
}
