// Package storetest gives tests databases of both sorts: an SQLite file and a
// PostgreSQL server of their own, which they may kill.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/needs"
	"sidetone/internal/store"
)

// shared is the environment variable with the port of the server that the tests of
// a package share.
const shared = "SIDETONE_TEST_POSTGRES"

// Main runs a package's tests, with a PostgreSQL server that they share where
// PostgreSQL is installed, and looks for leaked goroutines; call it from TestMain.
func Main(m *testing.M) { leaktest.Main(&main{m}) }

type main struct{ m *testing.M }

// Run implements what leaktest.Main takes.
func (m *main) Run() int {
	// A child process of a test uses the server of its parent.
	if os.Getenv(shared) != "" {
		return m.m.Run()
	}
	s := &Server{bin: installed()}
	if s.bin == "" {
		return m.m.Run()
	}
	err := s.start(context.Background())
	if err == nil {
		err = os.Setenv(shared, strconv.Itoa(s.port))
	}
	code := 1
	if err == nil {
		code = m.m.Run()
	}
	if err = errors.Join(err, s.close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Each runs the test on an empty SQLite database and on an empty database of
// PostgreSQL.
func Each(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQLite is the path of a database file that is not there yet.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "test.db")
}

// Postgres is the URL of an empty database. Without PostgreSQL the test is skipped;
// in CI it fails.
func Postgres(tb testing.TB) string {
	tb.Helper()
	port := os.Getenv(shared)
	if port == "" {
		return Start(tb).Database(tb)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	return (&Server{bin: installed(), port: n}).Database(tb)
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
	// bin is where its programs lie, dir where its data.
	bin, dir string
	port     int
	cmd      *exec.Cmd
	log      bytes.Buffer
}

// installed is the folder of PostgreSQL's programs, or empty: Debian keeps them
// off the PATH.
func installed() string {
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p)
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// user is who runs the server where the test runs as root, which PostgreSQL
// refuses: nobody.
const user = 65534

// Start starts a server of the test's own, on a free port of 127.0.0.1, until the
// test's end. Without PostgreSQL the test is skipped; in CI it fails.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{bin: installed()}
	if s.bin == "" {
		needs.Program(tb, "postgres")
	}
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Error(err)
		}
	})
	if err := s.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *Server) start(ctx context.Context) error {
	var err error
	// The folder of a test is closed to the other user, its parents too.
	if s.dir, err = os.MkdirTemp("", "sidetone-pg-"); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if err = os.Chown(s.dir, user, user); err != nil {
			return err
		}
	}
	cmd := s.command("initdb", "-D", s.dir+"/data", "-U", "sidetone", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, ierr := cmd.CombinedOutput(); ierr != nil {
		return fmt.Errorf("initdb: %w\n%s", ierr, out)
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	return s.run(ctx)
}

// Restart starts the server again after Kill, with the data that it had.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) run(ctx context.Context) error {
	// What a killed process has written the system keeps, so nothing waits for the
	// disk.
	s.cmd = s.command("postgres", "-D", s.dir+"/data", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", "",
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := s.sql(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("PostgreSQL does not start: %w\n%s", errors.Join(err, s.kill()), s.log.String())
		}
	}
}

// Kill kills the server as a crash would, with all that it has in memory, and
// waits for its end.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.kill(); err != nil {
		tb.Error(err)
	}
}

func (s *Server) kill() error {
	if s.cmd == nil {
		return nil
	}
	// Its processes are one group: the backends would outlive the postmaster.
	err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	_ = s.cmd.Wait() //nolint:errcheck // it was killed
	s.cmd = nil
	return err
}

func (s *Server) close() error {
	err := s.kill()
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Database makes an empty database and gives its URL.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	return s.create(tb, "")
}

// DatabaseIn makes an empty database whose files lie in an empty folder.
func (s *Server) DatabaseIn(tb testing.TB, dir string) string {
	tb.Helper()
	if os.Getuid() == 0 {
		if err := os.Chown(dir, user, user); err != nil {
			tb.Fatal(err)
		}
	}
	space := "s" + strings.ToLower(rand.Text())
	if err := s.sql(tb.Context(), "CREATE TABLESPACE "+space+" LOCATION '"+dir+"'"); err != nil {
		tb.Fatal(err)
	}
	return s.create(tb, " TABLESPACE "+space)
}

func (s *Server) create(tb testing.TB, where string) string {
	tb.Helper()
	name := "t" + strings.ToLower(rand.Text())
	if err := s.sql(tb.Context(), "CREATE DATABASE "+name+where); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("postgres://sidetone@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}

func (s *Server) sql(ctx context.Context, query string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(s.bin, "psql"), "-X", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "sidetone", "-d", "postgres", "-c", query).CombinedOutput()
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// command runs in a process group of its own and never as root.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...) //nolint:noctx // the server outlives calls; Kill ends it
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on this machine
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
