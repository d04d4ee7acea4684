package rtpsend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/g711"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// wire keeps packets and when they came.
type wire struct {
	packets []rtp.Packet
	at      []time.Duration
	begin   time.Time
	fail    error
}

func (w *wire) Write(b []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	var p rtp.Packet
	if err := p.Unmarshal(slices.Clone(b)); err != nil {
		return 0, err
	}
	w.packets = append(w.packets, p)
	w.at = append(w.at, time.Since(w.begin))
	return len(b), nil
}

func (w *wire) seqs() []uint16 {
	var s []uint16
	for _, p := range w.packets {
		s = append(s, p.SequenceNumber)
	}
	return s
}

func tone(hz float64, n int) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(math.RoundToEven(10000 * math.Sin(2*math.Pi*hz*float64(i)/g711.Rate)))
	}
	return s
}

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &wire{begin: time.Now()}, &wire{begin: time.Now()}
		begin := time.Now()
		steps := 0
		stats, err := Play(t.Context(), Config{
			Streams: []Stream{
				{Out: a, Samples: tone(440, 8000), Origin: &Origin{SSRC: 7, Seq: 65530, Timestamp: math.MaxUint32 - 500}},
				{Out: b, Samples: tone(440, 161), Format: codec.Format{Encoding: "PCMA", Clock: 8000}},
			},
			Progress: func(played, total time.Duration) {
				steps++
				if played != time.Duration(steps)*PacketTime || total != time.Second || time.Since(begin) != played-PacketTime {
					t.Errorf("step %d: %v of %v after %v", steps, played, total, time.Since(begin))
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Second || steps != 50 {
			t.Errorf("a second took %v in %d steps", took, steps)
		}
		if want := []Stats{{Sent: 50}, {Sent: 2}}; !reflect.DeepEqual(stats, want) {
			t.Errorf("stats %+v, want %+v", stats, want)
		}
		for i, p := range a.packets {
			h := rtp.Header{Version: 2, Marker: i == 0, SSRC: 7, SequenceNumber: uint16(65530 + i), Timestamp: math.MaxUint32 - 500 + uint32(i)*160}
			h.CSRC, h.Extensions = p.CSRC, p.Extensions
			if !reflect.DeepEqual(p.Header, h) || len(p.Payload) != 160 {
				t.Fatalf("packet %d: %+v, %d bytes; want %+v", i, p.Header, len(p.Payload), h)
			}
			if a.at[i] != time.Duration(i)*PacketTime {
				t.Errorf("packet %d left at %v", i, a.at[i])
			}
		}
		// The second stream is A-law and is filled up with its silence.
		last := b.packets[1]
		if last.PayloadType != 8 || last.Payload[0] == 0xD5 || last.Payload[1] != 0xD5 || last.Payload[159] != 0xD5 {
			t.Errorf("last packet: type %d, payload %x", last.PayloadType, last.Payload)
		}
		if last.SSRC == a.packets[0].SSRC || last.SequenceNumber == a.packets[0].SequenceNumber+1 {
			t.Error("the second stream's origin is the first's")
		}
	})
}

// TestFormats plays a tone in each codec into a leg that takes it.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name        string
		payloadType uint8
		bytes       int
		ticks       uint32
		snr         float64
	}{
		{"PCMU", 0, 160, 160, 35}, {"PCMA", 0, 160, 160, 35}, {"G722", 0, 160, 160, 30},
		{"L16/8000", 97, 320, 160, 50}, {"L16/16000", 0, 640, 320, 50}, {"L16/16000/2", 98, 1280, 320, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := codec.Parse(c.name)
				if err != nil {
					t.Fatal(err)
				}
				decoder, err := codec.New(f)
				if err != nil {
					t.Fatal(err)
				}
				pt := c.payloadType
				if pt == 0 {
					if pt, err = codec.PayloadType(f); err != nil {
						t.Fatal(err)
					}
				}
				r := &receiver{}
				if r.leg, err = bridge.New(bridge.Config{Sink: r, Payloads: []bridge.Payload{{Type: pt, Codec: decoder, Clock: f.Clock}}}); err != nil {
					t.Fatal(err)
				}
				samples := make([]int16, 2*f.Rate())
				for i := range samples {
					samples[i] = int16(math.RoundToEven(10000 * math.Sin(2*math.Pi*440*float64(i)/float64(f.Rate()))))
				}
				w := &wire{begin: time.Now()}
				if _, err := Play(t.Context(), Config{Streams: []Stream{{Out: io.MultiWriter(w, r), Samples: samples, Format: f, PayloadType: c.payloadType}}}); err != nil {
					t.Fatal(err)
				}
				if p, q := w.packets[0], w.packets[1]; len(p.Payload) != c.bytes || q.Timestamp-p.Timestamp != c.ticks || p.PayloadType != pt {
					t.Errorf("%d bytes of type %d, %d ticks", len(p.Payload), p.PayloadType, q.Timestamp-p.Timestamp)
				}
				r.leg.End(media.End{At: time.Now()})
				if len(r.samples) != 2*pcm.Rate {
					t.Fatalf("%d samples in 2 s", len(r.samples))
				}
				if snr, _ := fit(r.samples[1600:], 440); snr < c.snr {
					t.Errorf("SNR %.1f dB, want %g", snr, c.snr)
				}
			})
		})
	}
}

// TestLateTimer: a sender that was held up catches up and keeps the schedule.
func TestLateTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{begin: time.Now()}
		n := 0
		if _, err := Play(t.Context(), Config{
			Streams: []Stream{{Out: w, Samples: tone(440, 8000)}},
			Progress: func(time.Duration, time.Duration) {
				if n++; n == 10 {
					time.Sleep(95 * time.Millisecond)
				}
			},
		}); err != nil {
			t.Fatal(err)
		}
		for i, at := range w.at {
			want := time.Duration(i) * PacketTime
			if i >= 10 {
				want = max(want, 275*time.Millisecond)
			}
			if at != want {
				t.Errorf("packet %d left at %v, want %v", i, at, want)
			}
		}
	})
}

func TestImpairment(t *testing.T) {
	play := func(im Impairment) (*wire, Stats) {
		var w *wire
		var all []Stats
		synctest.Test(t, func(t *testing.T) {
			w = &wire{begin: time.Now()}
			var err error
			all, err = Play(t.Context(), Config{
				Streams: []Stream{{Out: w, Samples: tone(440, 160*2000), Origin: &Origin{}}}, Impair: im,
			})
			if err != nil {
				t.Fatal(err)
			}
		})
		return w, all[0]
	}
	near := func(name string, got uint64, want float64) {
		if math.Abs(float64(got)-want) > want/4 {
			t.Errorf("%s: %d packets, want about %g", name, got, want)
		}
	}
	w, s := play(Impairment{Seed: 1, Loss: 0.05})
	near("lost", s.Lost, 100)
	if s.Sent+s.Lost != 2000 || len(w.packets) != int(s.Sent) || !slices.IsSorted(w.seqs()) {
		t.Errorf("stats %+v, %d packets", s, len(w.packets))
	}
	again, _ := play(Impairment{Seed: 1, Loss: 0.05})
	other, _ := play(Impairment{Seed: 2, Loss: 0.05})
	if !slices.Equal(w.seqs(), again.seqs()) || slices.Equal(w.seqs(), other.seqs()) {
		t.Error("the seed does not decide which packets are lost")
	}
	w, s = play(Impairment{Seed: 1, Duplicate: 0.05})
	near("duplicated", s.Duplicated, 100)
	if s.Sent != 2000+s.Duplicated || len(w.packets) != int(s.Sent) {
		t.Errorf("stats %+v, %d packets", s, len(w.packets))
	}
	w, _ = play(Impairment{Seed: 1, Reorder: 0.05})
	swapped := uint64(0)
	for i := 1; i < len(w.packets); i++ {
		if w.packets[i].SequenceNumber < w.packets[i-1].SequenceNumber {
			swapped++
		}
	}
	near("reordered", swapped, 100)
	if len(w.packets) != 2000 {
		t.Errorf("%d packets", len(w.packets))
	}
	w, _ = play(Impairment{Seed: 1, Jitter: 15 * time.Millisecond})
	late := time.Duration(0)
	for i, at := range w.at {
		d := at - time.Duration(w.packets[i].SequenceNumber)*PacketTime
		if d < 0 || d >= 15*time.Millisecond {
			t.Fatalf("packet %d is late by %v", i, d)
		}
		late = max(late, d)
	}
	if late < 14*time.Millisecond {
		t.Errorf("no packet is later than %v", late)
	}
}

func TestPlayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 110*time.Millisecond)
		defer cancel()
		stats, err := Play(ctx, Config{Streams: []Stream{{Out: &wire{begin: time.Now()}, Samples: tone(440, 8000)}}})
		if !errors.Is(err, context.DeadlineExceeded) || stats[0].Sent != 6 {
			t.Errorf("%v, stats %+v", err, stats)
		}
	})
	broken := errors.New("unplugged")
	for _, im := range []Impairment{{}, {Jitter: time.Millisecond}} {
		if _, err := Play(t.Context(), Config{Streams: []Stream{{Out: &wire{fail: broken}, Samples: tone(440, 8000)}}, Impair: im}); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
}

func TestPlayRefuses(t *testing.T) {
	w := &wire{}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "nothing to play"},
		{Config{Streams: []Stream{{}}}, "socket"},
		{Config{Streams: []Stream{{Out: w, Format: codec.Format{Encoding: "opus", Clock: 48000}}}}, "only decoded"},
		{Config{Streams: []Stream{{Out: w, Format: codec.Format{Encoding: "L16", Clock: 8000}}}}, "no payload type"},
		{Config{Streams: []Stream{{Out: w, PayloadType: 97, Format: codec.Format{Encoding: "L16", Clock: 48000}}}}, "20ms of L16/48000 do not fit into a packet"},
		{Config{Streams: []Stream{{Out: w}}, Impair: Impairment{Loss: 2}}, "2 is no probability"},
		{Config{Streams: []Stream{{Out: w}}, Impair: Impairment{Jitter: -1}}, "jitter"},
	} {
		if _, err := Play(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if stats, err := Play(t.Context(), Config{Streams: []Stream{{Out: w}}}); err != nil || stats[0].Sent != 0 {
		t.Errorf("an empty recording: %+v, %v", stats, err)
	}
}

func TestLegs(t *testing.T) {
	left, right := make([]int16, 48000), make([]int16, 48000)
	for i := range left {
		left[i] = int16(8000 * math.Sin(2*math.Pi*300*float64(i)/48000))
	}
	legs, err := Legs(&wav.Audio{Rate: 48000, Channels: [][]int16{left, right}}, 8000)
	if err != nil {
		t.Fatal(err)
	}
	if len(legs) != 2 || len(legs[0]) != 8000 || len(legs[1]) != 8000 {
		t.Fatalf("%d legs", len(legs))
	}
	for i := 1000; i < 7000; i++ {
		if want := 8000 * math.Sin(2*math.Pi*300*float64(i)/8000); math.Abs(float64(legs[0][i])-want) > 20 || legs[1][i] != 0 {
			t.Fatalf("sample %d is %d and %d, want %.0f and 0", i, legs[0][i], legs[1][i], want)
		}
	}
	if _, err := Legs(&wav.Audio{Rate: 12, Channels: [][]int16{left}}, 8000); err == nil || !strings.Contains(err.Error(), "channel 1") {
		t.Errorf("error %v", err)
	}
}

// receiver is a leg that hears what is sent, at once.
type receiver struct {
	leg     *bridge.Leg
	samples []int16
	stats   media.LegStats
}

func (r *receiver) Write(b []byte) (int, error) {
	r.leg.Push(b, netip.AddrPort{}, time.Now())
	return len(b), nil
}

func (r *receiver) Frame(f *pcm.Frame)                { r.samples = append(r.samples, f.Samples[:]...) }
func (r *receiver) Mark(media.Mark)                   {}
func (r *receiver) End(_ media.End, s media.LegStats) { r.stats = s }

// TestFidelity plays half a minute through an honest and through a bad network
// into a leg: what is heard must be what was played, of the same length.
func TestFidelity(t *testing.T) {
	for _, c := range []struct {
		name string
		im   Impairment
		snr  float64
	}{
		{"honest", Impairment{}, 34},
		{"jittery", Impairment{Seed: 1, Jitter: 35 * time.Millisecond, Duplicate: 0.02}, 34},
		{"reordering", Impairment{Seed: 2, Reorder: 0.03}, 34},
		{"losing", Impairment{Seed: 3, Loss: 0.02, Jitter: 10 * time.Millisecond}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				codec, err := g711.New(g711.MuLaw)
				if err != nil {
					t.Fatal(err)
				}
				r := &receiver{}
				if r.leg, err = bridge.New(bridge.Config{Sink: r, Payloads: []bridge.Payload{{Codec: codec, Clock: g711.Rate}}}); err != nil {
					t.Fatal(err)
				}
				const hz, seconds = 400, 30 // a pitch period is 20 samples: what is concealed fits
				ctx, stop := context.WithCancel(t.Context())
				ticks := make(chan struct{})
				// The packets and the ticks come from two goroutines that take
				// turns, since simulated time stands still while either runs.
				turn := make(chan struct{}, 1)
				turn <- struct{}{}
				go func() {
					defer close(ticks)
					for ctx.Err() == nil {
						time.Sleep(20*time.Millisecond + 1)
						<-turn
						r.leg.Tick(time.Now())
						turn <- struct{}{}
					}
				}()
				stats, err := Play(t.Context(), Config{
					Streams: []Stream{{Out: writer(func(b []byte) {
						<-turn
						r.leg.Push(b, netip.AddrPort{}, time.Now())
						turn <- struct{}{}
					}), Samples: tone(hz, seconds*g711.Rate)}},
					Impair: c.im,
				})
				stop()
				<-ticks
				if err != nil {
					t.Fatal(err)
				}
				r.leg.End(media.End{At: time.Now()})
				if off := len(r.samples) - seconds*pcm.Rate; off < -640 || off > 640 {
					t.Errorf("%d samples too many in %d s", off, seconds)
				}
				if r.stats.Lost != stats[0].Lost || r.stats.Duplicate != stats[0].Duplicated {
					t.Errorf("sent %+v, received %+v", stats[0], r.stats)
				}
				// Compared piece by piece, over one second each: a phase that
				// moves would be drift.
				phase := math.NaN()
				for s := range seconds - 1 {
					snr, p := fit(r.samples[s*pcm.Rate+1600:(s+1)*pcm.Rate+1600], hz)
					if snr < c.snr {
						t.Errorf("second %d: SNR %.1f dB, want %g", s, snr, c.snr)
					}
					if d := math.Abs(p - phase); d > 0.2 && d < 2*math.Pi-0.2 {
						t.Errorf("second %d: the phase moves by %.2f", s, d)
					}
					phase = p
				}
			})
		})
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// fit is the SNR and the phase of a tone at pcm.Rate.
func fit(x []int16, hz float64) (snr, phase float64) {
	var sx, cx float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / pcm.Rate)
		sx, cx = sx+s*float64(v), cx+c*float64(v)
	}
	// x holds whole periods, so that the two are orthogonal.
	a, b := 2*sx/float64(len(x)), 2*cx/float64(len(x))
	var signal, rest float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / pcm.Rate)
		y := a*s + b*c
		signal += y * y
		rest += (float64(v) - y) * (float64(v) - y)
	}
	return 10 * math.Log10(signal/rest), math.Atan2(b, a)
}

func ExamplePlay() {
	var packets int
	_, err := Play(context.Background(), Config{
		Streams: []Stream{{Out: writer(func([]byte) { packets++ }), Samples: make([]int16, 800)}},
	})
	fmt.Println(packets, err)
	// Output: 5 <nil>
}
