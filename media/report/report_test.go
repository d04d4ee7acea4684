package report

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 250e6, time.UTC)

func reporter(t testing.TB, cfg Config) *Reporter {
	t.Helper()
	if cfg.CNAME == "" {
		cfg.CNAME = "x"
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// senderReport is RFC 3550's layout by hand: header, SSRC, NTP, RTP timestamp,
// counts.
const senderReport = "80c80006" + "00000007" + "f693457240000000" + "0000a0b0" + "00000001" + "000000a0"

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReceive(t *testing.T) {
	// 2031-02-03 04:05:06.25 is 4136846706.25 s after 1900.
	for _, c := range []struct {
		name, packet string
		want         Received
		err          string
	}{
		{"sender report", senderReport, Received{Sent: Sent{SSRC: 7, Wall: epoch, Stamp: 0xA0B0}}, ""},
		{"and goodbye", senderReport + "82cb0002" + "00000007" + "00000008", Received{Sent: Sent{SSRC: 7, Wall: epoch, Stamp: 0xA0B0}, Byes: 2}, ""},
		{"receiver report", "80c90001" + "00000007", Received{}, ""},
		{"a sender without a clock", "80c80006" + "00000007" + "0000000000000000" + "0000a0b0" + "00000001" + "000000a0", Received{}, ""},
		{"the era after 2036", "80c80006" + "00000007" + "0000000080000000" + "00000001" + "00000001" + "000000a0", Received{Sent: Sent{SSRC: 7, Wall: time.Date(2036, 2, 7, 6, 28, 16, 500e6, time.UTC), Stamp: 1}}, ""},
		{"empty", "", Received{}, "not RTCP"},
		{"cut off", senderReport[:40], Received{}, "not RTCP"},
		{"a length beyond the end", "80c8ffff00000007", Received{}, "not RTCP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := reporter(t, Config{}).Receive(decode(t, c.packet), epoch.Add(3*time.Second))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestMake(t *testing.T) {
	r := reporter(t, Config{SSRC: 0x01020304, CNAME: "abc"})
	if _, err := r.Receive(decode(t, senderReport), epoch); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in       Reception
		after    time.Duration
		fraction uint8
		lost     uint32
		delay    uint32
	}{
		{Reception{SSRC: 7, Highest: 0x10063, Expected: 100, Lost: 25, Jitter: 12}, 1500 * time.Millisecond, 64, 25, 1<<16 + 1<<15},
		{Reception{SSRC: 7, Highest: 0x100C7, Expected: 200, Lost: 25}, 2 * time.Second, 0, 25, 2 << 16},
		{Reception{SSRC: 7, Expected: 300, Lost: 24}, 2 * time.Second, 0, 24, 2 << 16}, // one came late
		{Reception{SSRC: 7, Expected: 400, Lost: 124}, 2 * time.Second, 255, 124, 2 << 16},
		{Reception{SSRC: 7, Expected: 400, Lost: 1 << 30}, 48 * time.Hour, 0, 1<<23 - 1, 65535 << 16},
		{Reception{SSRC: 9, Expected: 10, Lost: 5}, time.Second, 128, 5, 0}, // another source
	} {
		b, err := r.Make(c.in, epoch.Add(c.after))
		if err != nil {
			t.Fatal(err)
		}
		all, err := rtcp.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		got := all[0].(*rtcp.ReceiverReport)
		want := rtcp.ReceptionReport{
			SSRC: c.in.SSRC, FractionLost: c.fraction, TotalLost: c.lost, LastSequenceNumber: c.in.Highest, Jitter: c.in.Jitter, Delay: c.delay,
		}
		if c.in.SSRC == 7 {
			want.LastSenderReport = 0x45724000
		}
		if got.SSRC != 0x01020304 || len(got.Reports) != 1 || got.Reports[0] != want {
			t.Errorf("got %+v, want %+v", got.Reports, want)
		}
		if d := all[1].(*rtcp.SourceDescription); d.Chunks[0].Items[0].Text != "abc" {
			t.Errorf("CNAME %v", d)
		}
	}
}

func TestDue(t *testing.T) {
	r := reporter(t, Config{Seed: 3})
	now := epoch
	if r.Due(now) {
		t.Error("a report is due at once")
	}
	last := now
	var least, most, sum time.Duration
	const n = 500
	for range n {
		for !r.Due(now) {
			now = now.Add(20 * time.Millisecond)
		}
		if _, err := r.Make(Reception{}, now); err != nil {
			t.Fatal(err)
		}
		apart := now.Sub(last)
		if last != epoch {
			sum += apart
			most = max(most, apart)
			if least == 0 || apart < least {
				least = apart
			}
		}
		last = now
	}
	mean := sum / (n - 1)
	if least < 2500*time.Millisecond || least > 2700*time.Millisecond || most > 7520*time.Millisecond || most < 7300*time.Millisecond || mean < 4800*time.Millisecond || mean > 5200*time.Millisecond {
		t.Errorf("reports %v to %v apart, %v in the mean; want 2.5 s to 7.5 s", least, most, mean)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "CNAME of 0 bytes"},
		{Config{CNAME: strings.Repeat("x", 256)}, "CNAME of 256 bytes"},
		{Config{CNAME: "x", Interval: -1}, "interval"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestMutations(t *testing.T) {
	good := decode(t, senderReport+"82cb0002"+"0000000700000008"+"81ca0003"+"00000007"+"0103616263000000")
	rng := rand.New(rand.NewPCG(1, 2))
	r := reporter(t, Config{})
	refused := 0
	for range 1000 {
		b := bytes.Clone(good)
		for range rng.IntN(4) + 1 {
			b[rng.IntN(len(b))] = byte(rng.IntN(256))
		}
		if _, err := r.Receive(b[:rng.IntN(len(b)+1)], epoch); err != nil {
			refused++
			if !strings.HasPrefix(err.Error(), "report: not RTCP: ") {
				t.Errorf("the error does not say what is wrong: %v", err)
			}
		}
	}
	if refused < 300 {
		t.Errorf("only %d of 1000 mutations were refused", refused)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(decode(f, senderReport))
	f.Add(decode(f, "82cb0002"+"0000000700000008"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := reporter(t, Config{})
		got, err := r.Receive(in, epoch)
		if err != nil && got.Byes != 0 {
			t.Fatalf("refused, and yet %+v", got)
		}
		if d := got.Sent.Wall.Sub(epoch); !got.Sent.Wall.IsZero() && (d > 69*365*24*time.Hour || d < -69*365*24*time.Hour) {
			t.Fatalf("a sender report of %v", got.Sent.Wall)
		}
	})
}
