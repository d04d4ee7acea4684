package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/media/rtpsend"
)

func runDoctor(ctx context.Context, args ...string) (string, error) {
	c := doctorCmd()
	var out, progress bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&progress)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

// free is a port that nobody holds.
func free(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// TestDoctorListens looks at two ports, to one of which silence is sent.
func TestDoctorListens(t *testing.T) {
	a, b := free(t), free(t)
	conn, err := net.Dial("udp", a)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() {
		// The sender goes on from before the doctor listens until it has heard
		// enough; refusals tell that it does not listen yet.
		var err error
		for heard := 0; heard < 20; {
			_, err = rtpsend.Play(ctx, rtpsend.Config{Streams: []rtpsend.Stream{{Out: conn, Samples: make([]int16, 160)}}})
			if err == nil {
				heard++
			} else if ctx.Err() != nil {
				break
			}
		}
		cancel() // as by Ctrl-C
		sent <- err
	}()
	out, err := runDoctor(ctx, "--listen", a+","+b, "--for", "1m")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"What arrived at " + a + ", " + b + ": ", " RTP.\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestDoctorHearsNothing(t *testing.T) {
	a := free(t)
	out, err := runDoctor(t.Context(), "--listen", a, "--for", "30ms")
	if err != nil || !strings.HasPrefix(out, "Nothing arrived at "+a+".\n  -> Is the PBX told") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestDoctorReadsCaptures(t *testing.T) {
	file := capturePcap(t, merge(caller.send(t), callee.send(t)))
	for _, c := range []struct {
		args  []string
		wants []string
	}{
		{[]string{file}, []string{
			"What arrived at " + file + ": 114 RTP.", "PCMU/8000 (payload type 0), SSRC 0000aa01", "54 packets in 1.18s, 20 ms each, 160 bytes; 6 lost",
			"10.0 % of the packets are lost", "Nobody said what payload type 111 is", "SSRC 0000bb02",
		}},
		{[]string{file, "--codec", "111=opus/48000/2"}, []string{"opus/48000/2 (payload type 111)", "60 packets in 1.18s, 20 ms each, 3 bytes"}},
	} {
		out, err := runDoctor(t.Context(), c.args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.wants {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	}
}

func TestDoctorRefuses(t *testing.T) {
	taken := listen(t)
	file := capturePcap(t, nil)
	text := filepath.Join(t.TempDir(), "talk.txt")
	if err := os.WriteFile(text, []byte("no capture in here"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a capture, or the addresses to listen on"},
		{[]string{file, "--listen", "127.0.0.1:0"}, "not both"},
		{[]string{file}, "holds no whole UDP datagram: of 0 frames"},
		{[]string{text}, "neither pcap nor pcapng"},
		{[]string{"nofile.pcap"}, "nofile.pcap"},
		{[]string{"--listen", taken.addr()}, "does the server hold the port? capture with tcpdump"},
		{[]string{"--listen", "127.0.0.1:0", "--for", "0s"}, "listen for a while"},
		{[]string{file, "--codec", "opus"}, "want a payload type and a codec, such as 96=opus/48000/2"},
		{[]string{file, "--codec", "128=opus"}, "want a payload type"},
		{[]string{file, "--codec", "96=opus/x"}, "is no format"},
	} {
		if _, err := runDoctor(t.Context(), c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
	}
}
