package benchload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sidetone/cmd/sidetone/internal/core"
)

const (
	// startLimit bounds the wait for a server to load its models and serve,
	// stopLimit that for it to stop.
	startLimit = 2 * time.Minute
	stopLimit  = time.Minute
	// logKept is how much of the server's log is kept for a complaint, in bytes.
	logKept = 4000
)

// Server is how a server of the run's own is started.
type Server struct {
	// Program and its Config, a file; empty: one made for the run, for so many
	// calls.
	Program, Config string
	Calls           int
	// Workers, Compute and Model are for the configuration that is made; a zero
	// one means the default.
	Workers        int
	Compute, Model string
	// SilenceTimeout, where it is above zero, is too.
	SilenceTimeout time.Duration
	// Cores are those that it runs on; none: any.
	Cores []int
	// Log takes what it logs; nil: only the end is kept, for a complaint.
	Log io.Writer
}

// Child is a running server of ours.
type Child struct {
	// URL is its address, PID its process.
	URL string
	PID int

	cmd    *exec.Cmd
	dir    string
	log    *tail
	exited chan struct{}
	err    error
}

// Start starts a server in a process of its own, with a folder of its own for
// what it keeps, and waits until it serves.
func Start(ctx context.Context, s Server) (*Child, error) {
	dir, err := os.MkdirTemp("", "sidetone-load-")
	if err != nil {
		return nil, err
	}
	c := &Child{dir: dir, log: &tail{also: s.Log}, exited: make(chan struct{})}
	config := s.Config
	if config == "" {
		config = filepath.Join(dir, "sidetone.yaml")
		if err = os.WriteFile(config, []byte(s.yaml()), 0o600); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	// The server outlives ctx: its calls end before it does.
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.Program, "serve", "-c", config)
	c.cmd.Stderr = c.log
	c.cmd.Env = append(os.Environ(), "SIDETONE_DATA="+dir)
	apart(c.cmd)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err = core.OnSet(s.Cores, c.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting the server: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	c.PID = c.cmd.Process.Pid
	address := make(chan string, 1)
	go c.watch(out, address)
	t := time.NewTimer(startLimit)
	defer t.Stop()
	select {
	case c.URL = <-address:
		return c, nil
	case <-c.exited:
		err = fmt.Errorf("the server ended at once: %w\n%s", c.err, c.log)
	case <-t.C:
		err = fmt.Errorf("the server does not serve after %v\n%s", startLimit, c.log)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, c.Close())
}

// watch reads what the server says until it ends.
func (c *Child) watch(out io.Reader, address chan<- string) {
	defer close(c.exited)
	in := bufio.NewScanner(out)
	for in.Scan() {
		if page, ok := strings.CutPrefix(in.Text(), "Agent's page:"); ok {
			base, _, _ := strings.Cut(strings.TrimSpace(page), "/agent/")
			select {
			case address <- base:
			default:
			}
		}
	}
	c.err = c.cmd.Wait()
}

// Close has the server stop, and waits for it.
func (c *Child) Close() error {
	defer os.RemoveAll(c.dir)
	select {
	case <-c.exited:
		return c.stopped()
	default:
	}
	// It may end by itself just now.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	select {
	case <-c.exited:
	case <-t.C:
		_ = c.cmd.Process.Kill()
		<-c.exited
		return fmt.Errorf("the server did not stop within %v and was killed\n%s", stopLimit, c.log)
	}
	return c.stopped()
}

func (c *Child) stopped() error {
	if c.err != nil {
		return fmt.Errorf("the server: %w\n%s", c.err, c.log)
	}
	return nil
}

// yaml is the configuration that is made for a run.
func (s *Server) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  listen: 127.0.0.1:0\naccess:\n  required: false\nmedia:\n  first_port: 0\n  last_port: 0\n  max_calls: %d\n", s.Calls)
	if s.SilenceTimeout > 0 {
		fmt.Fprintf(&b, "  silence_timeout: %v\n", s.SilenceTimeout)
	}
	fmt.Fprint(&b, "recognition:\n  engine: whisper\n")
	if s.Workers > 0 {
		fmt.Fprintf(&b, "  workers: %d\n", s.Workers)
	}
	if s.Compute != "" {
		fmt.Fprintf(&b, "  compute: %s\n", s.Compute)
	}
	if s.Model != "" {
		fmt.Fprintf(&b, "  model: %s\n", s.Model)
	}
	return b.String()
}

// tail keeps the end of what is written.
type tail struct {
	also io.Writer
	mu   sync.Mutex
	b    []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = append(t.b[:0], t.b[max(0, len(t.b)-logKept):]...)
	if t.also == nil {
		return len(p), nil
	}
	return t.also.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
