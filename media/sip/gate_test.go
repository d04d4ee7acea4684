package sip

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
)

func TestGate(t *testing.T) {
	var out bytes.Buffer
	g := newGate([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, slog.New(slog.NewTextHandler(&out, nil)))
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "2001:db8::7": true, "192.0.2.1": false, "::1": false} {
		if got := g.admits(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: admitted %t", addr, got)
		}
	}
	if n := strings.Count(out.String(), "not served"); n != 1 {
		t.Errorf("%d lines in the log for 2 refusals at once:\n%s", n, out.String())
	}
	now := time.Now()
	source := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(i))
	}
	for i := range maxSources {
		if !g.remember(source(i), now) {
			t.Fatalf("source %d is one too many", i)
		}
	}
	if g.remember(source(maxSources), now) || !g.remember(source(0), now) {
		t.Error("the number of sources is not bounded, or a known one is refused")
	}
	if !g.remember(source(maxSources), now.Add(sourceSpan)) {
		t.Error("the bound never ends")
	}
}

// TestQuiet: what sipgo logs of messages does not reach the log.
func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(quiet{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})}).With("caller", "x").WithGroup("g")
	log.Error("failed to parse", "data", "a=crypto:1 SECRET", "error", "SECRET", "laddr", "127.0.0.1:5060")
	if s := out.String(); strings.Contains(s, "SECRET") || !strings.Contains(s, "127.0.0.1:5060") || !strings.Contains(s, "DEBUG") {
		t.Errorf("%s", s)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Host: &host{}, Ports: newPool(t), Log: slog.New(slog.DiscardHandler), UDP: netip.AddrPortFrom(loopback, 0)}
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Host = nil }, "host"},
		{func(c *Config) { c.Log = nil }, "logger"},
		{func(c *Config) { c.Ports = nil }, "ports"},
		{func(c *Config) { c.UDP = netip.AddrPort{} }, "no address to listen on"},
		{func(c *Config) { c.TLS = c.UDP }, "certificate"},
		{func(c *Config) { c.UDP = netip.MustParseAddrPort("0.0.0.0:0") }, "public"},
		{func(c *Config) { c.Public = netip.IPv4Unspecified() }, "no public address"},
		{func(c *Config) { c.MaxSessions = -1 }, "positive"},
		{func(c *Config) { c.MediaIdle = -1 }, "positive"},
		{func(c *Config) { c.UDP = netip.MustParseAddrPort("192.0.2.1:5060") }, "listening for SIP"},
	} {
		cfg := good
		c.edit(&cfg)
		if s, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// nothing is a sink that does nothing.
type nothing struct{}

func (nothing) Frame(*pcm.Frame)              {}
func (nothing) Mark(media.Mark)               {}
func (nothing) End(media.End, media.LegStats) {}

func TestFramesAllocateNothing(t *testing.T) {
	s := &sink{to: nothing{}}
	f := &pcm.Frame{}
	if n := testing.AllocsPerRun(100, func() { s.Frame(f) }); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}
