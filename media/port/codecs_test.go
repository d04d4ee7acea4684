package port

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/resample"
)

// record writes seconds of a signal, given at a rate, to a file.
func record(t *testing.T, rate, seconds int, at func(time float64) float64) (file string, samples []int16) {
	t.Helper()
	samples = make([]int16, seconds*rate)
	for i := range samples {
		samples[i] = int16(math.Round(at(float64(i) / float64(rate))))
	}
	file = filepath.Join(t.TempDir(), "source.wav")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wav.Encode(f, &wav.Audio{Rate: rate, Channels: [][]int16{samples}}, wav.PCM16), f.Close()); err != nil {
		t.Fatal(err)
	}
	return file, samples
}

// foreign has ffmpeg send a file in a format, and returns what a leg hears of the
// packets when each comes in its time, however busy the machine is now.
func foreign(t *testing.T, file string, f codec.Format, pt uint8, args ...string) *recorder {
	t.Helper()
	ffmpeg := needs.Program(t, "ffmpeg")
	c, err := codec.New(f)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	cfg := config(t, r)
	cfg.Leg.Payloads = []bridge.Payload{{Type: pt, Codec: c, Clock: f.Clock}}
	leg, err := bridge.New(cfg.Leg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadBuffer(DefaultReadBuffer); err != nil {
		t.Fatal(err)
	}
	var packets []rtp.Packet
	var from netip.AddrPort
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, a, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var p rtp.Packet
			if err := p.Unmarshal(append([]byte(nil), buf[:n]...)); err != nil {
				t.Error(err)
				return
			}
			packets, from = append(packets, p), a
		}
	})
	all := append([]string{"-nostdin", "-loglevel", "error", "-i", file}, args...)
	all = append(all, "-payload_type", fmt.Sprint(pt), "-seq", "65530", "-f", "rtp", "-rtpflags", "skip_rtcp",
		"rtp://"+conn.LocalAddr().String()+"?pkt_size=1400")
	out, err := exec.Command(ffmpeg, all...).CombinedOutput()
	// What has been sent is in the socket's buffer: a read that waits finds none.
	if bad := conn.SetReadDeadline(time.Now().Add(time.Second)); bad != nil {
		t.Error(bad)
	}
	reading.Wait()
	conn.Close()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v: %s", strings.Join(all, " "), err, out)
	}
	if len(packets) == 0 {
		t.Fatal("ffmpeg sent nothing")
	}
	began := time.Now()
	at := func(p *rtp.Packet) time.Time {
		return began.Add(time.Duration(p.Timestamp-packets[0].Timestamp) * time.Second / time.Duration(f.Clock))
	}
	for i := range packets {
		b, err := packets[i].Marshal()
		if err != nil {
			t.Fatal(err)
		}
		leg.Push(b, from, at(&packets[i]))
	}
	leg.End(media.End{State: media.Ended, At: at(&packets[len(packets)-1])})
	if r.stats.Lost != 0 || r.stats.Invalid != 0 || r.stats.Received < 20 {
		t.Fatalf("%v: stats %+v", c, r.stats)
	}
	return r
}

// TestR1 has a foreign sender play a tone in each codec.
func TestR1(t *testing.T) {
	const hz = 440
	file, _ := record(t, 48000, 3, func(t float64) float64 { return 12000 * math.Sin(2*math.Pi*hz*t) })
	frames := func(n int) string { return fmt.Sprintf("asetnsamples=n=%d:p=0", n) }
	for _, c := range []struct {
		name   string
		format codec.Format
		pt     uint8
		snr    float64
		args   []string
	}{
		{"PCMU", codec.Format{Encoding: "PCMU", Clock: 8000}, 0, 35, []string{"-ar", "8000", "-ac", "1", "-af", frames(160), "-c:a", "pcm_mulaw"}},
		{"PCMA", codec.Format{Encoding: "PCMA", Clock: 8000}, 8, 35, []string{"-ar", "8000", "-ac", "1", "-af", frames(160), "-c:a", "pcm_alaw"}},
		{"G722", codec.Format{Encoding: "G722", Clock: 8000}, 9, 30, []string{"-ar", "16000", "-ac", "1", "-af", frames(320), "-c:a", "g722"}},
		{"L16 at 8 kHz", codec.Format{Encoding: "L16", Clock: 8000}, 118, 50, []string{"-ar", "8000", "-ac", "1", "-af", frames(160), "-c:a", "pcm_s16be"}},
		{"L16 at 16 kHz", codec.Format{Encoding: "L16", Clock: 16000}, 118, 50, []string{"-ar", "16000", "-ac", "1", "-af", frames(320), "-c:a", "pcm_s16be"}},
		{"L16 at 44.1 kHz, stereo", codec.Format{Encoding: "L16", Clock: 44100, Channels: 2}, 10, 50, []string{"-ar", "44100", "-ac", "2", "-c:a", "pcm_s16be"}},
		{"Opus, voice, mono", codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, 111, 20, []string{"-ar", "48000", "-ac", "1", "-c:a", "libopus", "-application", "voip", "-b:a", "24k"}},
		{"Opus, music, mono", codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, 107, 20, []string{"-ar", "48000", "-ac", "1", "-c:a", "libopus", "-b:a", "48k", "-frame_duration", "60"}},
		{"Opus, stereo", codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, 96, 20, []string{"-ar", "48000", "-ac", "2", "-c:a", "libopus", "-b:a", "64k", "-frame_duration", "10"}},
	} {
		t.Run("R1 "+c.name, func(t *testing.T) {
			r := foreign(t, file, c.format, c.pt, c.args...)
			frames := 0
			for _, f := range r.flags {
				if f&pcm.Inserted == 0 {
					frames++
				}
			}
			// Opus begins with what its encoder looks ahead.
			if frames < 149 || frames > 154 {
				t.Errorf("%d frames of 20 ms in 3 s", frames)
			}
			heard := r.samples[pcm.Rate/2 : 5*pcm.Rate/2]
			fits := fit(heard, hz)
			t.Logf("SNR %.1f dB", fits)
			if fits < c.snr {
				t.Errorf("SNR %.1f dB, want %g", fits, c.snr)
			}
			if low, high := fit(heard, hz-1), fit(heard, hz+1); low > fits-10 || high > fits-10 {
				t.Errorf("the tone fits %d Hz by %.1f dB, 1 Hz below by %.1f dB, above by %.1f dB", hz, fits, low, high)
			}
		})
	}
}

// fit compares samples with the tone of hz that fits them best, in dB.
func fit(x []int16, hz float64) float64 {
	var ss, cc, sc, sx, cx, xx float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / pcm.Rate)
		ss, cc, sc = ss+s*s, cc+c*c, sc+s*c
		sx, cx, xx = sx+s*float64(v), cx+c*float64(v), xx+float64(v)*float64(v)
	}
	det := ss*cc - sc*sc
	a, b := (sx*cc-cx*sc)/det, (cx*ss-sx*sc)/det
	tone := a*sx + b*cx
	return 10 * math.Log10(tone/(xx-tone))
}

// TestForeignWaveform compares sample by sample what comes out with the
// recording that a foreign sender plays.
func TestForeignWaveform(t *testing.T) {
	// A tone that swells and rises from 300 to 1300 Hz.
	file, source := record(t, 8000, 2, func(x float64) float64 {
		return 12000 * math.Sin(math.Pi*x/2) * math.Sin(2*math.Pi*(300*x+250*x*x))
	})
	want, err := resample.Convert(source, 8000, pcm.Rate)
	if err != nil {
		t.Fatal(err)
	}
	rates, err := resample.New(8000, pcm.Rate)
	if err != nil {
		t.Fatal(err)
	}
	delay := 2 * rates.Delay()
	for encoding, library := range map[string]string{"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw"} {
		f := codec.Format{Encoding: encoding, Clock: 8000}
		r := foreign(t, file, f, 96, "-af", "asetnsamples=n=160:p=0", "-c:a", library, "-ar", "8000", "-ac", "1")
		if r.stats.Received != 100 {
			t.Errorf("%s: stats %+v", encoding, r.stats)
		}
		var signal, rest float64
		for i := delay; i < len(want); i++ {
			x, d := float64(want[i-delay]), float64(r.samples[i])-float64(want[i-delay])
			signal += x * x
			rest += d * d
		}
		if snr := 10 * math.Log10(signal/rest); snr < 35 {
			t.Errorf("%s: what was received differs from what was sent: SNR %.1f dB", encoding, snr)
		}
	}
}
