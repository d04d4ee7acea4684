package vad_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// double brings 8 kHz to 16 kHz with a half-band filter of 2·taps points.
func double(x []int16) []int16 {
	const taps = 24
	var h [taps]float64
	for k := range h {
		t := float64(k) + 0.5
		h[k] = math.Sin(math.Pi*t) / (math.Pi * t) * (0.5 + 0.5*math.Cos(math.Pi*t/taps))
	}
	out := make([]int16, 2*len(x))
	for i := range x {
		out[2*i] = x[i]
		s := 0.0
		for k, w := range h {
			if i-k >= 0 {
				s += w * float64(x[i-k])
			}
			if i+1+k < len(x) {
				s += w * float64(x[i+1+k])
			}
		}
		out[2*i+1] = int16(max(-32768, min(32767, math.Round(s))))
	}
	return out
}

func readCall(t *testing.T, name string) [][]int16 {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, "asr", "calls", name+".wav"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	legs := make([][]int16, len(a.Channels))
	for i, c := range a.Channels {
		legs[i] = double(c)
	}
	return legs
}

type span struct{ start, end int64 }

func readTurns(t *testing.T, name string, channel int) []span {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, "asr", "calls", name+".turns.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var out []span
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		f := strings.Split(line, "\t")
		if f[0] != strconv.Itoa(channel) {
			continue
		}
		var s [2]float64
		for i := range s {
			if s[i], err = strconv.ParseFloat(f[6+i], 64); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, span{int64(s[0] * pcm.Rate), int64(s[1] * pcm.Rate)})
	}
	return out
}

func overlap(a, b span) int64 { return max(0, min(a.end, b.end)-max(a.start, b.start)) }

// Every turn of the calls is found, and in the clean ones (call05 has babble of
// six talkers on one leg) nothing is found where nobody speaks.
// A turn with pauses inside may be found in parts; two turns of one leg with
// less than the hangover between them may be found as one.
func TestTurnsOfCalls(t *testing.T) {
	f, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := vad.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	const preRoll = 300 * time.Millisecond
	for n := 1; n <= 5; n++ {
		name := fmt.Sprintf("call%02d", n)
		var missed, extra, parts, turns int
		var early, late, covered []float64
		for leg, samples := range readCall(t, name) {
			d, err := m.NewDetector(vad.Config{PreRoll: preRoll})
			if err != nil {
				t.Fatal(err)
			}
			var found []span
			var frame pcm.Frame
			for at := 0; at+pcm.FrameSamples <= len(samples); at += pcm.FrameSamples {
				frame.Start = int64(at)
				copy(frame.Samples[:], samples[at:])
				for _, e := range d.Accept(&frame) {
					switch e.Kind {
					case asr.Begin:
						found = append(found, span{e.At, int64(len(samples))})
					case asr.End:
						found[len(found)-1].end = e.At
					}
				}
			}
			for _, turn := range readTurns(t, name, leg+1) {
				turns++
				var in []span
				var sum int64
				for _, s := range found {
					if o := overlap(s, turn); o > 0 {
						in = append(in, s)
						sum += o
					}
				}
				if len(in) == 0 {
					missed++
					continue
				}
				parts += len(in) - 1
				covered = append(covered, float64(sum)/float64(turn.end-turn.start))
				early = append(early, float64(in[0].start-turn.start)/pcm.Rate+preRoll.Seconds())
				late = append(late, float64(in[len(in)-1].end-turn.end)/pcm.Rate)
			}
			for _, s := range found {
				if !slices.ContainsFunc(readTurns(t, name, leg+1), func(x span) bool { return overlap(s, x) > 0 }) {
					extra++
				}
			}
		}
		t.Logf("%s: %d turns, %d missed, %d extra, %d splits; begin less pre-roll %+.2f s (%+.2f to %+.2f), end %+.2f s (%+.2f to %+.2f); least covered %.0f %%",
			name, turns, missed, extra, parts, median(early), slices.Min(early), slices.Max(early),
			median(late), slices.Min(late), slices.Max(late), 100*slices.Min(covered))
		if missed > 0 || extra > 0 && n != 5 {
			t.Errorf("%s: %d turns missed, %d found where nobody speaks", name, missed, extra)
		}
	}
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
