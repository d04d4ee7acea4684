package netsim

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestArrivals(t *testing.T) {
	const n, apart = 30000, 20 * time.Millisecond
	for _, w := range Networks() {
		t.Run(w.Name, func(t *testing.T) {
			all := w.Arrivals(n, apart, 1)
			if !slices.Equal(all, w.Arrivals(n, apart, 1)) {
				t.Error("the same seed made other arrivals")
			}
			if share := 1 - float64(len(all))/n; math.Abs(share-w.Loss) > 0.01 {
				t.Errorf("%.3f are lost, want %.3f", share, w.Loss)
			}
			var most, last time.Duration
			held := 0
			for _, a := range all {
				late := a.At - time.Duration(a.Packet)*apart
				if late < 0 || a.At < last {
					t.Fatalf("packet %d arrives at %v", a.Packet, a.At)
				}
				most, last = max(most, late), a.At
				if late > 5*time.Millisecond {
					held++
				}
			}
			if limit := max(w.Jitter, w.Burst); most > limit || limit > 0 && most < limit*8/10 {
				t.Errorf("packets are up to %v late, want %v", most, limit)
			}
			// Ten packets in a burst, one burst each 3.2 s.
			if want := n * 20 / 3200.0 * 9; w.Burst > 0 && math.Abs(float64(held)-want) > want/5 {
				t.Errorf("%d packets are held up, want %.0f", held, want)
			}
			if all[0].Packet != 0 && w.Burst == 0 && w.Loss == 0 || all[len(all)-1].At < (n-1)*apart {
				t.Error("the first or the last is missing")
			}
		})
	}
}
