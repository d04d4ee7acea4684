package bridge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
)

// The tests of this file and others named by R and a number are the points of
// the project's conformance checklist for RTP.

// TestR3: numbers and timestamps wrap.
func TestR3(t *testing.T) {
	for name, begin := range map[string]func(*sender){
		"R3 sequence 65534 to 1": func(s *sender) { s.seq, s.ts = 65534, 1000 },
		"R3 timestamp":           func(s *sender) { s.seq, s.ts = 1, 0xFFFFFFFF-159 },
		"R3 both":                func(s *sender) { s.seq, s.ts = 65534, 0xFFFFFFFF-319 },
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			begin(s)
			k.play(s, 50)
			k.leg.End(media.End{At: k.now})
			if want := (media.LegStats{Received: 50}); r.stats != want || len(r.samples) != pcm.Rate || snr(r.samples[320:], pcm.Rate, 440) < 35 {
				t.Errorf("%d samples, SNR %.1f dB, stats %+v", len(r.samples), snr(r.samples[320:], pcm.Rate, 440), r.stats)
			}
		})
	}
}

// TestR5: what the network puts out of order and repeats is heard as it was
// sent.
func TestR5(t *testing.T) {
	// A packet comes every 20 ms; every tenth is overtaken by others.
	play := func(overtaken int, twice bool) *recorder {
		r := &recorder{t: t}
		leg := newLeg(t, r, g711.MuLaw)
		s := newSender(t, g711.MuLaw)
		now := epoch
		push := func(b []byte) {
			leg.Push(b, here, now)
			if twice {
				leg.Push(b, here, now)
			}
		}
		var held []byte
		for i := range 120 {
			now = epoch.Add(time.Duration(i) * 20 * time.Millisecond)
			b := s.packet(nil)
			if i%10 == 5 && overtaken > 0 {
				held = b
				leg.Tick(now)
				continue
			}
			push(b)
			if i%10 == 5+overtaken && held != nil {
				push(held)
			}
			leg.Tick(now)
		}
		leg.End(media.End{At: now.Add(20 * time.Millisecond)})
		return r
	}
	want := play(0, false)
	if snr(want.samples[320:], pcm.Rate, 440) < 35 {
		t.Fatal("the tone is not heard")
	}
	for _, c := range []struct {
		name      string
		overtaken int
		twice     bool
	}{
		{"R5 every packet twice", 0, true},
		{"R5 overtaken by one", 1, false},
		{"R5 overtaken by two", 2, false},
		{"R5 overtaken by three", 3, false},
		{"R5 overtaken by three, every packet twice", 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := play(c.overtaken, c.twice)
			if !slices.Equal(got.samples, want.samples) || !slices.Equal(got.flags, want.flags) {
				t.Errorf("SNR %.1f dB, %d frames concealed, stats %+v", snr(got.samples[320:], pcm.Rate, 440), got.frames(pcm.Lost), got.stats)
			}
			duplicates := uint64(0)
			if c.twice {
				duplicates = 120
			}
			if got.stats.Lost != 0 || got.stats.Late != 0 || got.stats.Received != 120 || got.stats.Duplicate != duplicates {
				t.Errorf("stats %+v", got.stats)
			}
		})
	}
}

// TestR6: thirty seconds of discontinuous transmission.
func TestR6(t *testing.T) {
	const pause = 30 * time.Second
	t.Run("R6 at the pace of the clock", func(t *testing.T) {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.MuLaw), epoch}
		s := newSender(t, g711.MuLaw)
		k.play(s, 50)
		s.wait(pause)
		for range 300 {
			k.pass(pause / 300)
			if ahead := pcm.Duration(int64(len(r.samples))) - k.now.Sub(epoch); ahead > 0 || ahead < -80*time.Millisecond {
				t.Fatalf("in the pause frames are %v ahead of the time", ahead)
			}
		}
		k.play(s, 50)
		k.leg.End(media.End{At: k.now})
		if len(r.samples) != 32*pcm.Rate || r.frames(pcm.Inserted) != 1500 || r.stats.Lost != 0 {
			t.Errorf("%d samples, %d frames inserted, stats %+v", len(r.samples), r.frames(pcm.Inserted), r.stats)
		}
		if got := snr(r.samples[31*pcm.Rate+320:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR after the pause %.1f dB", got)
		}
	})
	t.Run("R6 at once", func(t *testing.T) {
		var starts []int64
		inserted := 0
		leg := newLeg(t, frames(func(f *pcm.Frame) {
			starts = append(starts, f.Start)
			if f.Flags&pcm.Inserted != 0 {
				inserted++
			}
		}), g711.MuLaw)
		s := newSender(t, g711.MuLaw)
		leg.Push(s.packet(nil), here, epoch)
		s.wait(pause)
		leg.Push(s.packet(nil), here, epoch.Add(pause+20*time.Millisecond))
		if last := starts[len(starts)-1]; last != pcm.Samples(pause)+pcm.FrameSamples || inserted > 101 || !slices.IsSorted(starts) {
			t.Errorf("the last of %d frames stands at %d; %d frames of silence", len(starts), last, inserted)
		}
	})
}

// TestR7: comfort noise never is audio.
func TestR7(t *testing.T) {
	for _, pt := range []uint8{13, 19} {
		t.Run(fmt.Sprintf("R7 payload type %d", pt), func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 25)
			for i := range byte(10) {
				// A level and reflection coefficients, which as PCMU were a noise.
				k.leg.Push(s.other(pt, append([]byte{0x80 | 40 + i}, bytes.Repeat([]byte{0}, 10)...)...), here, k.now)
				s.wait(100 * time.Millisecond)
				k.pass(100 * time.Millisecond)
			}
			k.leg.Push(s.other(pt), here, k.now) // no level
			k.play(s, 25)
			k.leg.End(media.End{At: k.now})
			if r.stats.Noise != 10 || r.stats.NoiseLevel != -49 || r.stats.Invalid != 1 || r.stats.Lost != 0 {
				t.Errorf("stats %+v", r.stats)
			}
			for i, v := range r.samples[pcm.Rate/2+1600 : 3*pcm.Rate/2] {
				if v != 0 {
					t.Fatalf("sample %d of the pause is %d", i, v)
				}
			}
		})
	}
}

// TestR10: packets of nothing but padding.
func TestR10(t *testing.T) {
	t.Run("R10 padding alone", func(t *testing.T) {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.MuLaw), epoch}
		s := newSender(t, g711.MuLaw)
		for i := range 100 {
			if i%5 == 4 {
				pad := bytes.Repeat([]byte{0}, 1+i)
				pad[i] = byte(1 + i)
				b := s.other(0, pad...)
				b[0] |= 0x20
				k.leg.Push(b, here, k.now)
			}
			k.play(s, 1)
		}
		k.leg.End(media.End{At: k.now})
		if r.stats.Lost != 0 || r.stats.Received != 120 || len(r.samples) != 2*pcm.Rate || r.frames(pcm.Lost|pcm.Inserted) != 0 || snr(r.samples[320:], pcm.Rate, 440) < 35 {
			t.Errorf("%d samples, %d frames made up, stats %+v", len(r.samples), r.frames(pcm.Lost|pcm.Inserted), r.stats)
		}
	})
}

// TestR15: packets of all lengths, one after the other.
func TestR15(t *testing.T) {
	t.Run("R15 sizes that vary", func(t *testing.T) {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.ALaw), epoch}
		s := newSender(t, g711.ALaw)
		total := 0
		for i := range 400 {
			// As ffmpeg cuts blocks of 1024, and what ptimes there are.
			s.samples = []int{320, 320, 320, 64, 80, 160, 240, 480, 1, 159}[i%10]
			total += s.samples
			k.play(s, 1)
		}
		k.leg.End(media.End{At: k.now})
		if off := len(r.samples) - 2*total; off < -320 || off > 320 || r.stats.Lost+r.stats.Late+r.stats.Invalid != 0 {
			t.Errorf("%d samples too many, stats %+v", off, r.stats)
		}
		if got := snr(r.samples[320:len(r.samples)-640], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR %.1f dB", got)
		}
	})
}

// TestR17: whatever arrives, the leg lives and good packets are heard. FuzzPush
// looks further.
func TestR17(t *testing.T) {
	t.Run("R17 garbage", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		r := &recorder{t: t}
		leg := legOf(t, r, payload(t, 111, "opus"), payload(t, 0, "PCMU"), payload(t, 9, "G722"), payload(t, 96, "L16/16000/2"))
		k := &clock{leg, epoch}
		s := newSender(t, g711.MuLaw)
		k.play(s, 10)
		speech := opusPackets(t)
		huge := make([]byte, 65507)
		for i := range 20_000 {
			var b []byte
			switch i % 6 {
			case 0: // noise of any length
				b = make([]byte, rng.IntN(200))
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
			case 1: // a good packet, cut off
				b = s.packet(nil)
				b = b[:rng.IntN(len(b))]
			case 2: // a good packet with bytes changed, of the source or not
				b = s.packet(nil)
				for range 1 + rng.IntN(3) {
					b[rng.IntN(len(b))] = byte(rng.Uint32())
				}
			case 3: // changed speech
				p := slices.Clone(speech[rng.IntN(len(speech))])
				p[rng.IntN(len(p))] = byte(rng.Uint32())
				b = s.other(111, p...)
			case 4: // another payload type
				b = s.other(uint8(rng.IntN(128)), make([]byte, rng.IntN(200))...)
			case 5:
				b = huge
				copy(b, s.other(uint8(rng.IntN(128))))
			}
			from := here
			if i%7 == 0 {
				from = there
			}
			leg.Push(b, from, k.now)
			k.pass(time.Duration(rng.IntN(4)) * time.Millisecond)
		}
		k.pass(3 * time.Second)
		fresh := newSender(t, g711.MuLaw)
		fresh.ssrc = 0xFEED
		k.play(fresh, 100)
		leg.End(media.End{At: k.now})
		if got := snr(r.samples[len(r.samples)-pcm.Rate:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR of a good source afterwards %.1f dB", got)
		}
		if len(r.ends) != 1 {
			t.Errorf("ends %v", r.ends)
		}
	})
}

// TestR12: see TestR9 for the other half.
func TestR12(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration
		heard bool
	}{
		{"R12 refused while the first is live", 1900 * time.Millisecond, false},
		{"R12 accepted after 2 s of silence", 2 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 50)
			k.now = epoch.Add(49*20*time.Millisecond + c.pause)
			other := newSender(t, g711.MuLaw)
			other.ssrc = 9
			k.leg.Push(other.packet(nil), netip.MustParseAddrPort("192.0.2.7:9"), k.now)
			if got := k.leg.Stats(); (got.SSRCChanges == 1) != c.heard || (got.Foreign == 1) == c.heard {
				t.Errorf("stats %+v", got)
			}
			if _, ssrc, _ := k.leg.Source(); (ssrc == 9) != c.heard {
				t.Errorf("the source is %d", ssrc)
			}
		})
	}
}

// TestR8 repeats a press as devices and networks deform it; see TestDigits for
// more.
func TestR8(t *testing.T) {
	t.Run("R8 one press with all that goes wrong", func(t *testing.T) {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.MuLaw), epoch}
		s := newSender(t, g711.MuLaw)
		k.play(s, 20)
		// No marker anywhere, the first packet lost, the steps of the duration
		// too long, and the three ends under one sequence number.
		all := press(s, 7, 6)[1:]
		last := len(all) - 3
		for i, b := range all {
			binary.BigEndian.PutUint16(b[14:], uint16(320*i))
			if i > last {
				copy(b[2:4], all[last][2:4])
			}
			k.leg.Push(b, here, k.now)
			k.leg.Push(b, here, k.now)
			k.pass(20 * time.Millisecond)
		}
		s.seq -= 2
		k.play(s, 20)
		var digits []byte
		for _, m := range r.marks {
			if m.Kind == media.MarkDigit {
				digits = append(digits, m.Digit)
			}
		}
		if string(digits) != "7" {
			t.Errorf("digits %q", digits)
		}
		if got := k.leg.Stats(); got.Lost != 1 || got.Invalid != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// TestR11: everything that may stand between the header and the payload.
func TestR11(t *testing.T) {
	for name, edit := range map[string]func(*testing.T, *rtp.Packet){
		"R11 one-byte extension": func(t *testing.T, p *rtp.Packet) {
			if err := p.SetExtension(1, []byte{0x80 | 30}); err != nil {
				t.Fatal(err)
			}
		},
		"R11 two-byte extension": func(t *testing.T, p *rtp.Packet) {
			if err := p.SetExtensionWithProfile(200, bytes.Repeat([]byte{7}, 40), 0x1000); err != nil {
				t.Fatal(err)
			}
		},
		"R11 15 CSRC": func(_ *testing.T, p *rtp.Packet) { p.CSRC = make([]uint32, 15) },
		"R11 all of it": func(t *testing.T, p *rtp.Packet) {
			p.CSRC, p.Padding, p.PaddingSize, p.Header.PaddingSize = make([]uint32, 3), true, 4, 4
			if err := p.SetExtension(1, []byte{5}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			for range 50 {
				k.leg.Push(s.packet(func(p *rtp.Packet) { edit(t, p) }), here, k.now)
				k.pass(20 * time.Millisecond)
			}
			k.leg.End(media.End{At: k.now})
			if r.stats != (media.LegStats{Received: 50}) || snr(r.samples[320:], pcm.Rate, 440) < 35 {
				t.Errorf("SNR %.1f dB, stats %+v", snr(r.samples[320:], pcm.Rate, 440), r.stats)
			}
		})
	}
}
