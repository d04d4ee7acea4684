package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/wav"
)

// listener is a port that counts the packets of one leg.
type listener struct {
	conn *net.UDPConn
	done chan struct{}
	mu   sync.Mutex
	got  []rtp.Packet
}

func listen(t *testing.T) *listener {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		buf := make([]byte, 2048)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			var p rtp.Packet
			if err := p.Unmarshal(bytes.Clone(buf[:n])); err != nil {
				t.Error(err)
			}
			l.mu.Lock()
			l.got = append(l.got, p)
			l.mu.Unlock()
		}
	}()
	t.Cleanup(l.close)
	return l
}

func (l *listener) close() {
	l.conn.Close()
	<-l.done
}

func (l *listener) addr() string { return l.conn.LocalAddr().String() }

// packets waits until n packets have come, and returns them.
func (l *listener) packets(t *testing.T, n int) []rtp.Packet {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		got := l.got
		l.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("%d packets have come, want %d", len(got), n)
		}
	}
}

// fakeAPI answers as the calls' API does, with ports of its own.
type fakeAPI struct {
	*httptest.Server
	legs    [2]*listener
	request map[string]any
	ended   []string
}

func serveAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{legs: [2]*listener{listen(t), listen(t)}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/calls", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&f.request); err != nil {
			t.Error(err)
		}
		if f.request["agent"] == "nobody" {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"error":"the call is running","hint":"choose another id"}`)
			return
		}
		var legs []string
		for i, l := range f.request["legs"].([]any) {
			legs = append(legs, fmt.Sprintf(`{"id":"x","role":%q,"address":%q,"codec":"PCMU"}`, l.(map[string]any)["role"], f.legs[i].addr()))
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"call":"c 1","legs":[%s],"pane":"http://page"}`, strings.Join(legs, ","))
	})
	mux.HandleFunc("DELETE /v1/calls/{call}", func(_ http.ResponseWriter, r *http.Request) {
		f.ended = append(f.ended, r.PathValue("call"))
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// recordWav writes a wav file of 200 ms.
func recordWav(t *testing.T, rate, channels int) string {
	t.Helper()
	a := &wav.Audio{Rate: rate}
	for range channels {
		a.Channels = append(a.Channels, make([]int16, rate/5))
	}
	name := filepath.Join(t.TempDir(), "talk.wav")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wav.Encode(f, a, wav.PCM16), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

func runCall(ctx context.Context, args ...string) (string, error) {
	c := callCmd()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

func TestCallToAddresses(t *testing.T) {
	a, b := listen(t), listen(t)
	out, err := runCall(t.Context(), recordWav(t, 44100, 2), "--to", a.addr()+","+b.addr(), "--codec", "pcma")
	if err != nil {
		t.Fatal(err)
	}
	if out != "Played 20 packets in 2 legs.\n" {
		t.Errorf("output %q", out)
	}
	for _, l := range []*listener{a, b} {
		got := l.packets(t, 10)
		if len(got) != 10 || got[0].PayloadType != 8 || len(got[9].Payload) != 160 {
			t.Errorf("%d packets, the first %+v", len(got), got)
		}
	}
}

func TestCallThroughServer(t *testing.T) {
	for channels, want := range []string{
		1: `[{"codec":"PCMU","id":"customer","role":"customer"}]`,
		2: `[{"codec":"PCMU","id":"agent","role":"agent"},{"codec":"PCMU","id":"customer","role":"customer"}]`,
	} {
		if channels == 0 {
			continue
		}
		s := serveAPI(t)
		out, err := runCall(t.Context(), recordWav(t, 8000, channels), "--server", s.URL+"/", "--agent", "ann", "--call", "c 1")
		if err != nil {
			t.Fatal(err)
		}
		legs, err := json.Marshal(s.request["legs"])
		if err != nil {
			t.Fatal(err)
		}
		if string(legs) != want || s.request["agent"] != "ann" || s.request["call"] != "c 1" {
			t.Errorf("request %v, want the legs %s", s.request, want)
		}
		if !strings.Contains(out, "http://page") || !strings.Contains(out, "customer  RTP to 127.0.0.1:") {
			t.Errorf("output %q", out)
		}
		if len(s.ended) != 1 || s.ended[0] != "c 1" {
			t.Errorf("ended %q", s.ended)
		}
		for i := range channels {
			if n := len(s.legs[i].packets(t, 10)); n != 10 {
				t.Errorf("leg %d of %d: %d packets", i, channels, n)
			}
		}
	}
}

// TestCallIsHungUp interrupts a call: it must be ended all the same.
func TestCallIsHungUp(t *testing.T) {
	s := serveAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := placement{server: s.URL, agent: "ann", codec: "PCMU", audio: &wav.Audio{Rate: 8000, Channels: [][]int16{make([]int16, 80000)}}}
	err := placeCall(ctx, p, writerFunc(func([]byte) { cancel() }))
	if !errors.Is(err, context.Canceled) || len(s.ended) != 1 {
		t.Errorf("error %v, ended %q", err, s.ended)
	}
}

type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestCallRefuses(t *testing.T) {
	s := serveAPI(t)
	closed := listen(t)
	closed.close()
	odd := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(odd.Close)
	text := filepath.Join(t.TempDir(), "talk.txt")
	if err := os.WriteFile(text, []byte("no sound in here"), 0o600); err != nil {
		t.Fatal(err)
	}
	mono, three := recordWav(t, 8000, 1), recordWav(t, 8000, 3)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nofile.wav", "--server", s.URL}, "nofile.wav"},
		{[]string{text, "--server", s.URL}, "not with \"RIFF\""},
		{[]string{mono}, "at least one of the flags in the group [server to]"},
		{[]string{mono, "--server", s.URL, "--to", "127.0.0.1:1"}, "server to"},
		{[]string{mono, "--to", "127.0.0.1:1,127.0.0.1:2"}, "2 addresses for a file of 1 channels"},
		{[]string{mono, "--to", "127.0.0.1"}, "missing port"},
		{[]string{mono, "--to", closed.addr()}, "nobody listens at " + closed.addr()},
		{[]string{mono, "--server", s.URL, "--codec", "G729"}, `"G729" is no format`},
		{[]string{three, "--server", s.URL}, "3 channels"},
		{[]string{mono, "--server", "127.0.0.1:8080"}, "http://127.0.0.1:8080"},
		{[]string{mono, "--server", "http://" + closed.addr()}, "is `sidetone serve` running?"},
		{[]string{mono, "--server", odd.URL}, "404 Not Found"},
		{[]string{mono, "--server", s.URL, "--agent", "nobody"}, "the server refused: the call is running (choose another id)"},
	} {
		if _, err := runCall(t.Context(), c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
	}
	if len(s.ended) != 0 {
		t.Errorf("ended %q without having opened", s.ended)
	}
}
