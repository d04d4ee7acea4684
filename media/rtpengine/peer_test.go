package rtpengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/mediatest"
	"sidetone/media/sdp"
)

// freePort is a port that the kernel has just had free.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// start runs a program until the test is over; what it says goes to a file
// that is shown when the test fails.
func start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		said.Close()
		if t.Failed() {
			b, _ := os.ReadFile(said.Name())
			t.Logf("%s said:\n%s", filepath.Base(name), b[max(0, len(b)-4000):])
		}
	})
	return cmd
}

// TestRealEngine has rtpengine relay a call between two ffmpegs and copy it to
// us.
func TestRealEngine(t *testing.T) {
	program, ffmpeg := needs.Program(t, "rtpengine"), needs.Program(t, "ffmpeg")
	ng, base := freePort(t), freePort(t)&^1
	if base > 65000 {
		base -= 1000
	}
	start(t, program, "--config-file=none", "--table=-1", "--interface=127.0.0.1", fmt.Sprintf("--listen-ng=127.0.0.1:%d", ng),
		"--foreground", "--log-stderr", "--log-level=6", fmt.Sprintf("--port-min=%d", base), fmt.Sprintf("--port-max=%d", base+200))
	c := dial(t, netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", ng)), func(cfg *ClientConfig) { cfg.Timeout = 5 * time.Second })
	until(t, func() bool { return c.Ping(t.Context()) == nil })

	if _, err := subscriber(t, c, mediatest.New(), nil).Subscribe(t.Context(), order); !errors.Is(err, ErrUnknownCall) {
		t.Errorf("a call that is none: %v", err)
	}
	for _, v := range []struct {
		name string
		q    Request
	}{
		{"R18 plain", Request{}},
		{"R18 SRTP", Request{Secure: true}},
		{"R18 Opus", Request{Codec: "opus/48000/2"}},
		{"R18 SRTP with Opus", Request{Secure: true, Codec: "opus/48000/2"}},
		{"R18 one side", Request{Tags: []string{"B"}}},
	} {
		t.Run(v.name, func(t *testing.T) {
			q := v.q
			q.CallID, q.Call.ID = strings.ReplaceAll(v.name, " ", "-")+"@pbx", "c1"
			a, b := freePort(t), freePort(t)
			toB, toA := relay(t, c, q.CallID, a, b)
			h := mediatest.New()
			sub, err := subscriber(t, c, h, nil).Subscribe(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			// The caller talks at 440 Hz to the port that it got in the answer.
			play(t, ffmpeg, 440, a, toA)
			play(t, ffmpeg, 880, b, toB)
			want := map[string]float64{"caller": 440, "callee": 880}
			if len(q.Tags) == 1 {
				want = map[string]float64{"callee": 880}
			}
			until(t, func() bool { return heard(h, want) >= 2*pcm.Rate })
			for leg, hz := range want {
				if got := h.Leg(leg).Pitch(); got < hz*0.99 || got > hz*1.01 {
					t.Errorf("%s is heard at %.1f Hz, want %.0f", leg, got, hz)
				}
			}
			for i, st := range sub.Stats() {
				if st.Forged > 0 || st.Received == 0 {
					t.Errorf("leg %d: %+v", i, st)
				}
			}
			if v.name != "R18 plain" {
				sub.End(media.End{State: media.Ended, Reason: "enough"})
				has(t, h, "\ncall c1 ended: ended, enough\n")
				return
			}
			// rtpengine's own end of the call is seen, too.
			if _, err := c.do(t.Context(), "delete", map[string]any{"call-id": q.CallID, "delete-delay": 0}); err != nil {
				t.Fatal(err)
			}
			<-sub.Done()
			has(t, h, "\ncall c1 ended: ended, rtpengine has ended the call\n")
		})
	}
}

// relay sets a call up between two ports and returns where they send to: the
// callee's audio and the caller's.
func relay(t *testing.T, c *Client, callID string, a, b int) (toB, toA int) {
	t.Helper()
	side := func(port int) string {
		return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio " + strconv.Itoa(port) +
			" RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
	}
	portOf := func(command string, args map[string]any) int {
		r, err := c.do(t.Context(), command, args)
		if err != nil {
			t.Fatal(err)
		}
		s, err := sdp.Parse([]byte(r.sdp))
		if err != nil {
			t.Fatal(err)
		}
		return s.Media[0].Port
	}
	toB = portOf("offer", map[string]any{"call-id": callID, "from-tag": "A", "sdp": side(a), "label": "caller", "ICE": "remove"})
	toA = portOf("answer", map[string]any{"call-id": callID, "from-tag": "A", "to-tag": "B", "sdp": side(b), "label": "callee", "ICE": "remove"})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.do(ctx, "delete", map[string]any{"call-id": callID, "delete-delay": 0}) // may be gone
	})
	return toB, toA
}

// play sends a tone from one port to another.
func play(t *testing.T, ffmpeg string, hz, from, to int) {
	t.Helper()
	start(t, ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi",
		"-i", fmt.Sprintf("sine=frequency=%d:sample_rate=8000", hz), "-af", "asetnsamples=n=160", "-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1",
		"-f", "rtp", fmt.Sprintf("rtp://127.0.0.1:%d?localrtpport=%d&pkt_size=172", to, from))
}

// heard is the least number of samples of the legs.
func heard(h *mediatest.Host, legs map[string]float64) int {
	least := 1 << 30
	for l := range legs {
		least = min(least, len(h.Leg(l).Samples))
	}
	return least
}
