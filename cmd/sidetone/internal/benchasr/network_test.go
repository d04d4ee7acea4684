package benchasr

import (
	"context"
	"math"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media/netsim"
)

// keep hears nothing and keeps the last clip.
type keep struct{ x []int16 }

func (k *keep) Recognise(_ context.Context, x []int16) (Heard, error) {
	k.x = x
	return Heard{Text: "heard"}, nil
}

func TestNetwork(t *testing.T) {
	x := make([]int16, 10*pcm.Rate+77)
	for i := range x {
		x[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(i)/pcm.Rate))
	}
	power := func(x []int16) (sum float64) {
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		return sum
	}
	for _, w := range netsim.Networks() {
		t.Run(w.Name, func(t *testing.T) {
			var k keep
			n := NewNetwork(&k, w)
			h, err := n.Recognise(t.Context(), x)
			if err != nil || h.Text != "heard" {
				t.Fatalf("%+v, %v", h, err)
			}
			s := n.Stats()
			if s.Clips != 1 || s.Sent != 501 || s.Frames != uint64(len(k.x)/pcm.FrameSamples) {
				t.Errorf("%+v of %d samples", s, len(k.x))
			}
			if lost := 501 - len(w.Arrivals(501, packetTime, 1)); s.Lost != uint64(lost) || s.Concealed+s.Inserted < s.Lost {
				t.Errorf("%+v; %d are lost", s, lost)
			}
			// A recogniser hears as much of the tone as has come, at its loudness.
			if share := power(k.x) / power(x); share < 0.99-w.Loss || share > 1.02 {
				t.Errorf("%.3f of the power arrives", share)
			}
			if s.Off > 200*time.Millisecond || w.Burst == 0 && s.Off > packetTime {
				t.Errorf("the audio is off by %v", s.Off)
			}
			if w.Name == "clean" && (s.Lost != 0 || s.Concealed+s.Inserted != 0 || s.Off != 0) {
				t.Errorf("a clean network: %+v", s)
			}
			if n.Recognise(t.Context(), x); w.Loss > 0 && n.Stats().Lost == 2*s.Lost && n.Stats().Concealed == 2*s.Concealed {
				t.Error("two clips met the same chances")
			}
		})
	}
}
