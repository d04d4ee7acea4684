// Package storetest gives tests databases of both sorts: an SQLite file and a
// PostgreSQL server of their own, which they may kill.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/internal/store"
)

// Each runs the test on an empty SQLite database and on an empty database of a
// PostgreSQL server, which the package's tests share (see Main).
func Each(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, filepath.Join(t.TempDir(), "test.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		s := Start(t)
		test(t, s.Database(t))
	})
}

// Open opens a database until the test's end.
func Open(tb testing.TB, url string) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), store.Config{URL: url, Relaxed: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// Server is a PostgreSQL server.
type Server struct {
	dir, program string
	port         int
	cmd          *exec.Cmd
	log          bytes.Buffer
	databases    atomic.Int64
}

// user is who runs the server where the test runs as root, which PostgreSQL
// refuses: nobody.
const user = 65534

// Start starts a server on a free port of 127.0.0.1 until the test's end. Without
// PostgreSQL the test is skipped; in CI it fails.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{program: needs.Program(tb, "postgres")}
	initdb := needs.Program(tb, "initdb")
	// The folder of a test is closed to the other user, its parents too.
	var err error
	if s.dir, err = os.MkdirTemp("", "sidetone-pg-"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Kill(tb)
		if err := os.RemoveAll(s.dir); err != nil {
			tb.Error(err)
		}
	})
	if os.Getuid() == 0 {
		if err := os.Chown(s.dir, user, user); err != nil {
			tb.Fatal(err)
		}
	}
	cmd := s.command(initdb, "-D", s.dir+"/data", "-U", "sidetone", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	s.port = freePort(tb)
	s.Restart(tb)
	return s
}

// Restart starts the server again after Kill, with the data that it had.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.cmd = s.command(s.program, "-D", s.dir+"/data", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", "", "-c", "shared_buffers=16MB", "-c", "max_connections=60")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := s.ready(tb.Context())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.Kill(tb)
			tb.Fatalf("PostgreSQL does not start: %v\n%s", err, s.log.String())
		}
	}
}

// Kill kills the server as a crash would, with all that it has in memory, and
// waits for its end.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	// Its processes are one group: the backends would outlive the postmaster.
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		tb.Error(err)
	}
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Database makes an empty database and gives its URL.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := "t" + strconv.FormatInt(s.databases.Add(1), 10)
	if err := s.sql(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	return s.url(name)
}

func (s *Server) url(name string) string {
	return fmt.Sprintf("postgres://sidetone@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}

func (s *Server) ready(ctx context.Context) error { return s.sql(ctx, "SELECT 1") }

func (s *Server) sql(ctx context.Context, query string) error {
	out, err := exec.CommandContext(ctx, "psql", "-X", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "sidetone", "-d", "postgres", "-c", query).CombinedOutput()
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// command runs in a process group of its own and never as root.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...) //nolint:noctx // the server outlives calls; Kill ends it
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	}
	return cmd
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on this machine
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
