package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
	"sidetone/media/jitter"
	"sidetone/media/netsim"
)

// timed is a sink that notes how long after it was spoken each frame comes.
type timed struct {
	recorder
	now    time.Duration
	delays []time.Duration
}

func (s *timed) Frame(f *pcm.Frame) {
	s.recorder.Frame(f)
	s.delays = append(s.delays, s.now-pcm.Duration(f.End()))
}

// TestNetworks is R4, and the bound on the jitter buffer's delay: minutes of
// talk and pauses over networks that lose and hold up packets.
func TestNetworks(t *testing.T) {
	const minutes, apart = 2, 20 * time.Millisecond
	const n = minutes * 60 * 50
	for _, network := range netsim.Networks() {
		t.Run("R4 "+network.Name, func(t *testing.T) {
			s := &timed{recorder: recorder{t: t}}
			leg := newLeg(t, s, g711.MuLaw)
			packets := talk(t, n)
			arrivals := network.Arrivals(n, apart, 1)
			var worst time.Duration
			for next, end := apart, n*apart; next < end; next += apart {
				for len(arrivals) > 0 && arrivals[0].At < next {
					a := arrivals[0]
					// A packet leaves when its last sample has been spoken.
					s.now = a.At + apart
					worst = max(worst, a.At-time.Duration(a.Packet)*apart)
					leg.Push(packets[a.Packet], here, epoch.Add(s.now))
					arrivals = arrivals[1:]
				}
				s.now = next + apart
				leg.Tick(epoch.Add(s.now))
			}
			for _, a := range arrivals {
				leg.Push(packets[a.Packet], here, epoch.Add(a.At+apart))
			}
			inTime := len(s.delays)
			leg.End(media.End{At: epoch.Add(s.now)})

			lost := n - len(network.Arrivals(n, apart, 1))
			if s.stats.Lost != uint64(lost) || s.stats.Received != uint64(n-lost) {
				t.Errorf("R4: %d lost and %d received, really %d and %d", s.stats.Lost, s.stats.Received, lost, n-lost)
			}
			off := pcm.Duration(int64(len(s.samples))) - n*apart
			if off > minutes*20*time.Millisecond || off < -minutes*20*time.Millisecond {
				t.Errorf("R4: the audio is %v too long after %d minutes", off, minutes)
			}
			delays := slices.Clone(s.delays[:inTime])
			slices.Sort(delays)
			// What waits is what came after a gap: for MaxDepth at most, besides
			// a tick and the end of its block.
			if limit := worst + jitter.DefaultMaxDepth + 2*apart; delays[len(delays)-1] > limit {
				t.Errorf("a frame came %v after it was spoken, the limit is %v", delays[len(delays)-1], limit)
			}
			t.Logf("frames come %v (median), %v (95 %%), %v (most) after they were spoken; concealed %.2f %%, inserted %.2f %%, late packets %d, length off by %v",
				delays[len(delays)/2], delays[len(delays)*95/100], delays[len(delays)-1],
				100*float64(s.stats.ConcealedFrames)/float64(len(s.flags)), 100*float64(s.stats.InsertedFrames)/float64(len(s.flags)), s.stats.Late, off)
		})
	}
}

// talk makes packets of noise that comes and goes like words, never quite
// silent.
func talk(t testing.TB, n int) [][]byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	c := newCodec(t, g711.MuLaw)
	var all [][]byte
	x := make([]int16, 160)
	for i := range n {
		loud := 60
		if i/17%2 == 0 && i/200%4 != 0 {
			loud = 6000
		}
		for j := range x {
			x[j] = int16(rng.IntN(2*loud+1) - loud)
		}
		b := []byte{0x80, 0, byte(i >> 8), byte(i), byte(i * 160 >> 24), byte(i * 160 >> 16), byte(i * 160 >> 8), byte(i * 160), 0, 0, 0, 7}
		b = append(b, make([]byte, 160)...)
		if _, err := c.Encode(b[12:], x); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestConcealmentEnds: what is made up for lost packets is silent 60 ms after
// the last real sample, since a recogniser would hear words in it.
func TestConcealmentEnds(t *testing.T) {
	for _, missing := range []int{1, 2, 3, 4, 10, 40} {
		t.Run(fmt.Sprint(missing, " packets"), func(t *testing.T) {
			r := &recorder{t: t}
			c := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			c.play(s, 50)
			for range missing {
				s.packet(nil)
				c.pass(20 * time.Millisecond)
			}
			c.play(s, 50)
			c.leg.End(media.End{At: c.now})
			if got := r.stats.Lost; got != uint64(missing) {
				t.Errorf("%d packets lost, want %d", got, missing)
			}
			// The resampler's delay is 70 samples; the gap begins after a second.
			silentFrom, silentTo := pcm.Rate+60*pcm.Rate/1000+160, pcm.Rate+missing*320-160
			for i := silentFrom; i < silentTo; i++ {
				if v := r.samples[i]; v > 3 || v < -3 {
					t.Fatalf("sample %d of the gap is %d", i-pcm.Rate, v)
				}
			}
		})
	}
}
