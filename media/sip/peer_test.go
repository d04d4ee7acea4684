package sip

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/media"
)

// freePort is a UDP and TCP port that nobody has at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n := u.LocalAddr().(*net.UDPAddr).Port
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n))
		u.Close()
		if err == nil {
			l.Close()
			return n
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return 0
}

// player writes the script that sends a tone to a port, in the background.
func player(t *testing.T, dir string) string {
	t.Helper()
	ffmpeg := needs.Program(t, "ffmpeg")
	path := filepath.Join(dir, "play.sh")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -nostdin -loglevel error -re -f lavfi -i sine=frequency=$2:sample_rate=8000 -af volume=12dB,asetnsamples=n=160 -t 2 -c:a pcm_alaw -ar 8000 -ac 1 -f rtp \"rtp://127.0.0.1:$1?pkt_size=172\" >/dev/null 2>&1\n", ffmpeg)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// sipp runs the scenario against an address.
func sipp(t *testing.T, program, to string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(filepath.Join("testdata", "src.xml"))
	if err != nil {
		t.Fatal(err)
	}
	scenario := filepath.Join(dir, "src.xml")
	if err := os.WriteFile(scenario, bytes.ReplaceAll(b, []byte("SCRIPT"), []byte(player(t, dir))), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{
		"-sf", scenario, "-i", "127.0.0.1", "-p", fmt.Sprint(freePort(t)), "-m", "1", "-nostdin", "-timeout", "30s", "-s", "srs",
	}, append(args, to)...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sipp: %v\n%s", err, tail(out))
	}
}

func tail(b []byte) string {
	if len(b) > 3000 {
		b = b[len(b)-3000:]
	}
	return string(b)
}

// recorded checks what came of sipp's scenario.
func recorded(t *testing.T, c *call) {
	t.Helper()
	c.ended(t, media.Ended, "Q.850;cause=16")
	for id, identity := range map[string]string{"1": "sip:+4930123@trunk.example.test", "2": "sip:2207@pbx.example.test"} {
		l := c.leg(t, id)
		// Two seconds are 100 packets; where the machine is busy they begin late
		// and some are not yet out when the call ends.
		if n := l.heard(t, 1); n < 1000 {
			t.Errorf("leg %s has an amplitude of %d", id, n)
		}
		if l.leg.Identity != identity {
			t.Errorf("leg %s is %s", id, l.leg.Identity)
		}
		if l.stats.Received < 10 || l.stats.Foreign+l.stats.Lost+l.stats.Invalid > 0 {
			t.Errorf("leg %s: %+v", id, l.stats)
		}
	}
	if !has(c.leg(t, "1").kinds(), media.MarkHeld) {
		t.Errorf("leg 1 has marks %v", c.leg(t, "1").kinds())
	}
	if c.External != "peer@example.test" {
		t.Errorf("the call's own name is %q", c.External)
	}
}

func TestSIPp(t *testing.T) {
	program := needs.Program(t, "sipp")
	for _, transport := range transports {
		t.Run("S1 S8 S13 sipp "+transport, func(t *testing.T) {
			s, h := serve(t, nil, nil)
			sipp(t, program, s.Addr(transport).String(), "-t", map[string]string{"UDP": "u1", "TCP": "t1"}[transport])
			recorded(t, h.call(t, 0))
		})
	}
	t.Run("S13 sipp through kamailio with Record-Route", func(t *testing.T) {
		kamailio := needs.Program(t, "kamailio", "/usr/sbin/kamailio")
		s, h := serve(t, nil, nil)
		dir := t.TempDir()
		proxy := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		b, err := os.ReadFile(filepath.Join("testdata", "kamailio.cfg"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("LISTEN", proxy, "SERVER", s.Addr("UDP").String()).Replace(string(b))
		cfg := filepath.Join(dir, "k.cfg")
		if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, kamailio, "-f", cfg, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-P", filepath.Join(dir, "k.pid"))
		ready(t, proxy)
		sipp(t, program, proxy, "-t", "u1")
		recorded(t, h.call(t, 0))

		// And our own BYE takes the way through it.
		c := dial(t, s, "UDP")
		conn, err := net.Dial("udp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
		c.wg.Wait()
		c.conn = conn
		c.wg.Go(c.read)
		t.Cleanup(func() { conn.Close(); c.wg.Wait() })
		m := c.ask("INVITE", multipart, usual)
		if m.status() != 200 || !strings.Contains(m.get("record-route"), proxy) {
			t.Fatalf("%s, Record-Route %q", m.start, m.get("record-route"))
		}
		_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
		c.extra = "Route: " + m.get("record-route") + "\r\n"
		c.ack(m)
		h.call(t, 1).hangUp(media.End{State: media.Aborted, Reason: "enough", At: time.Now()})
		if b := c.request("BYE"); len(b.headers["via"]) < 2 && !strings.Contains(b.get("via"), ",") {
			t.Errorf("the BYE did not come through the proxy: Via %q", b.get("via"))
		}
		h.call(t, 1).ended(t, media.Aborted, "enough")
	})
}

// run starts a program and stops it at the end of the test, with its children.
func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Logf("stopping %s: %v", program, err)
		}
		if err := cmd.Wait(); t.Failed() {
			t.Logf("%s: %v\n%s", program, err, tail(out.Bytes()))
		}
	})
}

// ready waits until something answers a request at a UDP address.
func ready(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, addr+" answers", func() bool {
		fmt.Fprintf(conn, "OPTIONS sip:x@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKready%d\r\nFrom: <sip:t@127.0.0.1>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: ready%d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
			addr, conn.LocalAddr(), time.Now().UnixNano(), time.Now().UnixNano())
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return false
		}
		n, err := conn.Read(make([]byte, 4096))
		return err == nil && n > 0
	})
}

// TestBaresip takes a plain telephone's call, as an anonymous session.
func TestBaresip(t *testing.T) {
	program := needs.Program(t, "baresip")
	ffmpeg := needs.Program(t, "ffmpeg")
	for _, c := range []struct{ name, account string }{
		{"plain", ""},
		{"S15 with SDES", ";mediaenc=srtp-mand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// baresip tells an address of this machine's other interfaces, though all
			// packets stay on it.
			s, h := serve(t, func(c *Config) { c.TCP = netip.AddrPort{} }, nil)
			dir := t.TempDir()
			tone := filepath.Join(dir, "tone.wav")
			if out, err := exec.CommandContext(t.Context(), ffmpeg, "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=30", "-af", "volume=12dB", "-ac", "1", tone).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			config := fmt.Sprintf("sip_listen 127.0.0.1:%d\naudio_source aufile,%s\naudio_player aufile,%s\nausrc_srate 8000\nausrc_channels 1\nmodule_path %s\nmodule stdio.so\nmodule g711.so\nmodule aufile.so\nmodule srtp.so\nmodule_tmp account.so\nmodule_app menu.so\n",
				freePort(t), tone, filepath.Join(dir, "out.wav"), modules(t, program))
			for name, text := range map[string]string{"config": config, "accounts": "<sip:src@127.0.0.1>;regint=0;audio_codecs=PCMA/8000/1" + c.account + "\n", "contacts": "\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			run(t, dir, program, "-f", dir, "-e", "/dial sip:srs@"+s.Addr("UDP").String(), "-t", "20")
			call := h.call(t, 0)
			eventually(t, "a leg", func() bool { call.mu.Lock(); defer call.mu.Unlock(); return len(call.order) == 1 })
			l := call.leg(t, "1")
			if n := l.heard(t, 50); n < 1000 {
				t.Errorf("the amplitude is %d", n)
			}
			if l.leg.Identity != "" {
				t.Errorf("leg %+v", l.leg)
			}
			call.hangUp(media.End{State: media.Aborted, Reason: "enough", At: time.Now()})
			call.ended(t, media.Aborted, "enough")
			if l.stats.Received < 10 || l.stats.Lost > 0 {
				t.Errorf("stats %+v", l.stats)
			}
		})
	}
}

// modules is where Debian keeps baresip's.
func modules(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range []string{"/usr/lib/baresip/modules", filepath.Join(filepath.Dir(filepath.Dir(program)), "lib", "baresip", "modules")} {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Fatalf("the modules of %s are not found", program)
	return ""
}
