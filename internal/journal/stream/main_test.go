package stream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"sidetone/internal/leaktest"
)

// role names the variable that makes the test binary another process of a test.
const role = "SIDETONE_STREAM_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		leaktest.Main(m)
	case "appender":
		os.Exit(appender(os.Args[1]))
	case "server":
		os.Exit(natsServer(os.Args[1], os.Args[2]))
	}
}

// appender appends events of ten calls for ever and prints how many of each are
// acknowledged.
func appender(dir string) int {
	l, err := Open(context.Background(), Config{Dir: dir, Node: "one", Sync: time.Minute})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for n := uint64(1); ; n++ {
		for call := range 10 {
			l.Append(event(callKey(call), n))
		}
		if n%20 != 0 {
			continue
		}
		if err := l.Flush(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(n)
	}
}

const secret = "between us"

// natsServer serves until its standard input ends.
func natsServer(dir, addr string) int {
	cfg, err := Config{Dir: dir, Listen: addr, Node: "server", Secret: secret, Sync: time.Minute}.withDefaults()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := serve(cfg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.url())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.close()
	return 0
}

// child is another process of the test binary.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func spawn(t *testing.T, name string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], args...)}
	c.Env = append(os.Environ(), role+"="+name)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// line is the next that the child prints.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("the child said nothing more: %v", c.out.Err())
	}
	return c.out.Text()
}

// kill is kill -9.
func (c *child) kill() {
	if c.ProcessState == nil {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}
