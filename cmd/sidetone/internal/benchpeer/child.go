package benchpeer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/core"
)

// Engine is a recogniser that can be started.
type Engine struct {
	// Name stands in tables.
	Name string
	// Ours tells Sidetone from its peers, Kind which are compared.
	Ours bool
	Kind bench.Kind
	// Streams says that it hears clips of any length, as a leg of a call.
	Streams bool
	// Args is the command line.
	Args []string
}

// Child is a running recogniser. It is used by one goroutine.
type Child struct {
	name string
	// Ready is what it says of itself.
	Ready string

	w    io.WriteCloser
	r    *bufio.Reader
	stop func() error
}

// Start runs an engine on a core (-1: any) and waits until it is ready. It is
// killed when ctx ends.
func Start(ctx context.Context, e Engine, on int) (*Child, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, e.Args[0], e.Args[1:]...)
	complaints := &tail{most: 2000}
	cmd.Stderr = complaints
	w, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err = core.On(on, cmd.Start); err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	stop := func() error {
		defer cancel()
		ended := cmd.Wait()
		if ended != nil && complaints.String() != "" {
			ended = fmt.Errorf("%w: %s", ended, complaints)
		}
		return ended
	}
	c, err := connect(e.Name, w, r, stop)
	if err != nil {
		w.Close()
		return nil, errors.Join(err, stop())
	}
	return c, nil
}

func connect(name string, w io.WriteCloser, r io.Reader, stop func() error) (*Child, error) {
	c := &Child{name: name, w: w, r: bufio.NewReader(r), stop: stop}
	line, err := c.line()
	if err != nil {
		return nil, fmt.Errorf("%s: it did not start: %w", name, err)
	}
	var h hello
	if err := json.Unmarshal(line, &h); err != nil || h.Ready == "" {
		return nil, fmt.Errorf("%s: its first line %q does not say that it is ready", name, line)
	}
	c.Ready = h.Ready
	return c, nil
}

// Ask has it decode x; q.Samples is set here.
func (c *Child) Ask(x []int16, q Request) (Answer, error) {
	q.Samples = len(x)
	head, err := json.Marshal(q)
	if err != nil {
		return Answer{}, err
	}
	b := bytes.NewBuffer(append(head, '\n'))
	if err = binary.Write(b, binary.LittleEndian, x); err != nil {
		return Answer{}, err
	}
	if _, err = c.w.Write(b.Bytes()); err != nil {
		return Answer{}, fmt.Errorf("%s: it takes no requests any more: %w", c.name, err)
	}
	line, err := c.line()
	if err != nil {
		return Answer{}, fmt.Errorf("%s: it does not answer: %w", c.name, err)
	}
	a, err := readAnswer(line)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return a, nil
}

func (c *Child) line() ([]byte, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
	}
}

// Close ends the process and waits for it.
func (c *Child) Close() error {
	if err := errors.Join(c.w.Close(), c.stop()); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// tail keeps the end of what is written.
type tail struct {
	most int
	b    []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-t.most):]
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }
