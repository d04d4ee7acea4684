package bridge

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
)

// TestSilence: the sender suppresses silence, with and without comfort noise.
func TestSilence(t *testing.T) {
	for _, noise := range []bool{false, true} {
		r := &recorder{t: t}
		c := &clock{newLeg(t, r, g711.MuLaw), epoch}
		s := newSender(t, g711.MuLaw)
		c.play(s, 50)
		for range 50 {
			if noise {
				c.leg.Push(s.other(13, 65), here, c.now)
			}
			s.wait(100 * time.Millisecond)
			c.pass(100 * time.Millisecond)
			if behind := c.now.Sub(epoch) - pcm.Duration(int64(len(r.samples))); behind > 80*time.Millisecond {
				t.Fatalf("in silence frames are %v behind", behind)
			}
		}
		c.play(s, 50)
		c.leg.End(media.End{At: c.now})
		if len(r.samples) != 7*pcm.Rate || r.frames(pcm.Inserted) != 250 || r.frames(pcm.Lost) != 0 {
			t.Errorf("%d samples, %d frames inserted, %d lost", len(r.samples), r.frames(pcm.Inserted), r.frames(pcm.Lost))
		}
		for i, v := range r.samples[pcm.Rate+1600 : 6*pcm.Rate] {
			if v != 0 {
				t.Fatalf("sample %d of the silence is %d", i, v)
			}
		}
		if got := snr(r.samples[6*pcm.Rate+320:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR after the silence %.1f dB", got)
		}
		want := []media.MarkKind{media.MarkStarted}
		if !noise {
			want = append(want, media.MarkStalled, media.MarkResumed)
		}
		if !slices.Equal(r.kinds(), want) {
			t.Errorf("marks %v, want %v", r.kinds(), want)
		}
		if r.stats.Lost != 0 || r.stats.Late != 0 || r.stats.Invalid != 0 || r.stats.InsertedFrames != 250 {
			t.Errorf("stats %+v", r.stats)
		}
	}
}

// TestR9: another source takes over.
func TestR9(t *testing.T) {
	for _, c := range []struct {
		name string
		from netip.AddrPort
		// after is how long the old source has been silent.
		after time.Duration
		// foreign packets are ignored before the new source takes over; -1
		// means that it never does.
		foreign int
		resumed bool
	}{
		{"R9 new SSRC at once", here, 0, 2, false},
		{"R9 new SSRC after a stall", here, 1500 * time.Millisecond, 2, true},
		{"new address at once", there, 0, 99, true},
		{"new address after a second", there, time.Second, 49, true},
		{"new address after two seconds", there, 2 * time.Second, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			old := newSender(t, g711.MuLaw)
			k.play(old, 50)
			k.pass(c.after)
			s := newSender(t, g711.MuLaw)
			s.ssrc, s.seq, s.ts, s.hz = 0xBEEF, 17, 12345, 700
			const packets = 150
			for range packets {
				k.leg.Push(s.packet(nil), c.from, k.now)
				k.pass(20 * time.Millisecond)
			}
			k.leg.End(media.End{At: k.now})
			want := []media.MarkKind{media.MarkStarted}
			if c.resumed {
				want = append(want, media.MarkStalled)
			}
			want = append(want, media.MarkSSRCChanged)
			if c.resumed {
				want = append(want, media.MarkResumed)
			}
			if !slices.Equal(r.kinds(), want) {
				t.Errorf("marks %v, want %v", r.kinds(), want)
			}
			if got := r.stats; got.Foreign != uint64(c.foreign) || got.SSRCChanges != 1 || got.Received != uint64(50+packets-c.foreign) || got.Lost != 0 || got.Late != 0 {
				t.Errorf("stats %+v", got)
			}
			// The leg's clock keeps to the time.
			if off := pcm.Duration(int64(len(r.samples))) - k.now.Sub(epoch); off < -20*time.Millisecond || off > 20*time.Millisecond {
				t.Errorf("the leg's clock is off by %v", off)
			}
			for _, m := range r.marks {
				if m.Kind == media.MarkSSRCChanged {
					if got := snr(r.samples[m.At+640:], pcm.Rate, 700); got < 35 {
						t.Errorf("SNR of the new source %.1f dB", got)
					}
				}
			}
			gap := int(c.after/(20*time.Millisecond)) + c.foreign
			n := r.frames(pcm.Inserted)
			if n < gap-1 || n > gap+1 {
				t.Errorf("%d frames inserted, want %d", n, gap)
			}
			if c.after == 0 && c.from == here && n > 2 {
				t.Errorf("a gap of %d frames; it is to be shorter than 60 ms", n)
			}
		})
	}
}

// TestInterleavedSources: a second SSRC beside the first never takes over.
func TestInterleavedSources(t *testing.T) {
	for _, from := range []netip.AddrPort{here, there} {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.MuLaw), epoch}
		a, b := newSender(t, g711.MuLaw), newSender(t, g711.MuLaw)
		b.ssrc, b.hz = 1, 1000
		for range 500 {
			k.leg.Push(a.packet(nil), here, k.now)
			k.leg.Push(b.packet(nil), from, k.now)
			k.pass(20 * time.Millisecond)
		}
		if got := k.leg.Stats(); got.Foreign != 500 || got.SSRCChanges != 0 {
			t.Errorf("stats %+v", got)
		}
		if got := snr(r.samples[320:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR %.1f dB", got)
		}
	}
}

// TestRestart: the same source begins anew, in sequence numbers, timestamps or
// both.
func TestRestart(t *testing.T) {
	for name, restart := range map[string]func(s *sender){
		"sequence":          func(s *sender) { s.seq += 20000 },
		"timestamp":         func(s *sender) { s.ts += 1 << 30 },
		"timestamp back":    func(s *sender) { s.ts -= 1 << 30 },
		"sequence and time": func(s *sender) { s.seq, s.ts = s.seq-30000, 7 },
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 100)
			restart(s)
			k.play(s, 100)
			k.leg.End(media.End{At: k.now})
			if off := len(r.samples) - 4*pcm.Rate; off < -320 || off > 320 {
				t.Errorf("%d samples too many", off)
			}
			if got := snr(r.samples[2*pcm.Rate+1600:], pcm.Rate, 440); got < 35 {
				t.Errorf("SNR afterwards %.1f dB", got)
			}
			if r.stats.Lost != 0 || r.stats.Received < 199 {
				t.Errorf("stats %+v", r.stats)
			}
		})
	}
}

// press makes the packets of one key press: its timestamp stands still, its
// duration grows, its end comes three times.
func press(s *sender, code byte, packets int) [][]byte {
	var all [][]byte
	ts := s.ts
	for i := range packets + 2 {
		d := min(i+1, packets) * 160
		flags := byte(10)
		if i >= packets-1 {
			flags |= 0x80
		}
		b := s.other(101, code, flags, byte(d>>8), byte(d))
		binary.BigEndian.PutUint32(b[4:], ts)
		all = append(all, b)
	}
	s.wait(time.Duration(packets) * 20 * time.Millisecond)
	return all
}

func TestDigits(t *testing.T) {
	restamp := func(b []byte, ts uint32) []byte {
		binary.BigEndian.PutUint32(b[4:], ts)
		return b
	}
	for _, c := range []struct {
		name string
		make func(s *sender) [][]byte
		want int
	}{
		{"one press", func(s *sender) [][]byte { return press(s, 5, 6) }, 1},
		{"beginning lost", func(s *sender) [][]byte { return press(s, 5, 6)[3:] }, 1},
		{"end lost", func(s *sender) [][]byte { return press(s, 5, 6)[:4] }, 1},
		{"everything twice", func(s *sender) [][]byte {
			var all [][]byte
			for _, b := range press(s, 5, 6) {
				all = append(all, b, b)
			}
			return all
		}, 1},
		{"the same key twice", func(s *sender) [][]byte {
			all := press(s, 5, 6)
			s.wait(60 * time.Millisecond)
			return append(all, press(s, 5, 6)...)
		}, 2},
		{"two keys", func(s *sender) [][]byte { return append(press(s, 5, 6), press(s, 11, 6)...) }, 2},
		{"a long press in segments", func(s *sender) [][]byte {
			ts := s.ts
			first := s.other(101, 5, 10, 0xFF, 0xFF)
			second := restamp(s.other(101, 5, 10, 0, 160), ts+0xFFFF)
			return [][]byte{restamp(first, ts), second}
		}, 1},
		{"a timestamp for each packet", func(s *sender) [][]byte {
			var all [][]byte
			for i := range uint32(6) {
				all = append(all, restamp(s.other(101, 5, 10, 0, 80), s.ts+i*160))
			}
			return all
		}, 1},
		{"a fax tone", func(s *sender) [][]byte { return press(s, 36, 6) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 20)
			for _, b := range c.make(s) {
				k.leg.Push(b, here, k.now)
				k.pass(20 * time.Millisecond)
			}
			s.wait(time.Second)
			k.play(s, 20)
			n := 0
			for _, m := range r.marks {
				if m.Kind == media.MarkDigit {
					n++
				}
			}
			if n != c.want {
				t.Errorf("%d digits, want %d", n, c.want)
			}
			if r.frames(pcm.Lost) > 0 && !strings.HasSuffix(c.name, "lost") {
				t.Errorf("%d frames lost", r.frames(pcm.Lost))
			}
		})
	}
}
