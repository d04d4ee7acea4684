package stream

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// killed lets an appender be killed in the middle of its work and returns the folder
// that it leaves and how many events of each call it had been told to be durable.
func killed(t *testing.T) (dir string, acked int) {
	t.Helper()
	dir = t.TempDir()
	c := spawn(t, "appender", dir)
	for range 5 {
		n, err := strconv.Atoi(c.line(t))
		if err != nil {
			t.Fatal(err)
		}
		acked = n
	}
	c.kill()
	return dir, acked
}

// newestBlock is the file that the journal's stream was writing.
func newestBlock(t testing.TB, dir string) string {
	t.Helper()
	var newest string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".blk") && strings.Contains(path, "_JOURNAL") {
			newest = max(newest, path)
		}
		return err
	})
	if err != nil || newest == "" {
		t.Fatal("no block of the stream:", err)
	}
	return newest
}

func TestKilled(t *testing.T) {
	for name, tear := range map[string]func(t *testing.T, block string) (mayMiss bool){
		"as it was": func(*testing.T, string) bool { return false },
		"half a record at the end": func(t *testing.T, block string) bool {
			b, err := os.ReadFile(block)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(block, append(b, b[:100]...), 0o600); err != nil {
				t.Fatal(err)
			}
			return false
		},
		"zeros at the end": func(t *testing.T, block string) bool {
			b, err := os.ReadFile(block)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(block, append(b, make([]byte, 4096)...), 0o600); err != nil {
				t.Fatal(err)
			}
			return false
		},
		// As after a power cut with Sync > 0: what was not forced to the disk is gone.
		"the last record torn": func(t *testing.T, block string) bool {
			info, err := os.Stat(block)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(block, info.Size()-30); err != nil {
				t.Fatal(err)
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, acked := killed(t)
			mayMiss := tear(t, newestBlock(t, dir))
			l := begin(t, Config{Dir: dir, Node: "one", Sync: time.Minute})
			missing := 0
			for call := range 10 {
				got := read(t, l, callKey(call))
				whole(t, got, len(got))
				missing += max(0, acked-len(got))
				// Life goes on.
				n := uint64(len(got) + 1)
				l.Append(event(callKey(call), n))
				flush(t, l)
				whole(t, read(t, l, callKey(call)), int(n))
			}
			if missing > 0 && !mayMiss {
				t.Errorf("%d events of %d are gone that were acknowledged", missing, 10*acked)
			}
			// A message holds some events of one call.
			if missing > 40 {
				t.Errorf("%d events are gone for one torn record", missing)
			}
		})
	}
}

func hostPort(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatalf("the server said %q", raw)
	}
	return u.Host
}

// The server is somewhere else, is killed, and comes again.
func TestServerKilled(t *testing.T) {
	dir := t.TempDir()
	srv := spawn(t, "server", dir, "127.0.0.1:0")
	at := srv.line(t)
	l := begin(t, Config{URL: at, Secret: secret, Node: "one", ackWait: 200 * time.Millisecond})
	const calls, rounds = 20, 6
	n := uint64(0)
	for round := range rounds {
		for range 50 {
			n++
			for call := range calls {
				l.Append(event(callKey(call), n))
			}
		}
		if round%2 == 0 {
			srv.kill()
		} else {
			srv = spawn(t, "server", dir, hostPort(t, at))
			if again := srv.line(t); again != at {
				t.Fatalf("the server came again at %s", again)
			}
			flush(t, l)
		}
	}
	for call := range calls {
		whole(t, read(t, l, callKey(call)), int(n))
	}
	if h := l.Health(); h.Err() != "" || h.LastError == "" || h.Acknowledged != n*calls {
		t.Errorf("health: %+v", h)
	}
}

// deaf forwards connections to a server, whose answers it can swallow.
type deaf struct {
	t     *testing.T
	to    string
	at    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	mute  bool
	conns []net.Conn
}

func newDeaf(t *testing.T, to string) *deaf {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{t: t, to: to, at: ln}
	d.wg.Go(d.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		d.cut()
		d.wg.Wait()
	})
	return d
}

func (d *deaf) accept() {
	for {
		in, err := d.at.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", d.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, in, out)
		d.mu.Unlock()
		d.wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		d.wg.Go(func() {
			defer func() { _ = in.Close() }()
			b := make([]byte, 64<<10)
			for {
				n, err := out.Read(b)
				if err != nil {
					return
				}
				d.mu.Lock()
				mute := d.mute
				d.mu.Unlock()
				if mute {
					continue
				}
				if _, err := in.Write(b[:n]); err != nil {
					return
				}
			}
		})
	}
}

// cut ends all connections; those that come are heard again.
func (d *deaf) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mute = false
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

// What was stored and not acknowledged is sent again, and stored once: within the
// time for which the server knows the ids of messages, and after.
func TestLostAcknowledgement(t *testing.T) {
	for name, known := range map[string]time.Duration{"known by id": 2 * time.Minute, "asked for": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Node: "server", Secret: secret, Sync: time.Minute}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			s, err := serve(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.close)
			far := newDeaf(t, hostPort(t, s.url()))
			there := begin(t, Config{URL: s.url(), Secret: secret, Node: "two", memory: known})
			l := begin(t, Config{URL: "nats://" + far.at.Addr().String(), Secret: secret, Node: "one", memory: known})
			key := callKey(1)
			l.Append(event(key, 1))
			flush(t, l)
			far.mu.Lock()
			far.mute = true
			far.mu.Unlock()
			l.Append(event(key, 2))
			l.HoldOpen(OpenCall{Key: key, Call: "7"})
			for len(read(t, there, key)) < 2 {
				time.Sleep(time.Millisecond)
			}
			if known < time.Minute {
				// The server forgets the id.
				time.Sleep(2 * known)
			}
			far.cut()
			l.Append(event(key, 3))
			flush(t, l)
			whole(t, read(t, there, key), 3)
			stream, err := there.js.Stream(t.Context(), there.names.stream)
			if err != nil {
				t.Fatal(err)
			}
			info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(there.names.events+">"))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.State.Subjects[there.names.events+key]; got != 3 {
				t.Errorf("the stream holds %d messages, want 3", got)
			}
			open, err := there.OpenCalls(t.Context())
			if err != nil || len(open) != 1 {
				t.Errorf("open calls %+v, %v", open, err)
			}
		})
	}
}

func TestServerAbsent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Config{URL: "nats://someone:hush@" + addr, Node: "one"})
	if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

// Close says what it could not save.
func TestCloseWhileAway(t *testing.T) {
	srv := spawn(t, "server", t.TempDir(), "127.0.0.1:0")
	l, err := Open(t.Context(), Config{URL: srv.line(t), Secret: secret, Node: "one"})
	if err != nil {
		t.Fatal(err)
	}
	srv.kill()
	for n := range uint64(3) {
		l.Append(event("a", n+1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = l.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), "3 events") || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := l.Close(ctx); err != nil {
		t.Error("the second time:", err)
	}
	l.Append(event("a", 4))
	if h := l.Health(); h.Late != 1 || h.Waiting != 3 {
		t.Errorf("%+v", h)
	}
}
