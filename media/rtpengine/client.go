package rtpengine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultRetry and DefaultTimeout stand for zeros in ClientConfig.
	DefaultRetry   = 500 * time.Millisecond
	DefaultTimeout = 5 * time.Second

	// maxDatagram is the most that UDP carries.
	maxDatagram = 64 << 10
)

// Errors of requests that callers tell apart.
var (
	// ErrUnknownCall: rtpengine has no call of that call-id, or no more.
	ErrUnknownCall = errors.New("rtpengine does not know the call")
	// ErrNoReply: rtpengine has not answered in time.
	ErrNoReply = errors.New("rtpengine does not answer")
	// ErrClosed: the Client or the Subscriber is closed.
	ErrClosed = errors.New("closed")
)

// Error is what rtpengine answers instead of a result.
type Error struct {
	// Command is what was asked for, Reason rtpengine's words.
	Command, Reason string
}

// Error quotes rtpengine.
func (e *Error) Error() string { return fmt.Sprintf("rtpengine refuses %s: %s", e.Command, e.Reason) }

// Unwrap is ErrUnknownCall where that is the reason.
func (e *Error) Unwrap() error {
	if strings.Contains(strings.ToLower(e.Reason), "unknown call") {
		return ErrUnknownCall
	}
	return nil
}

// ClientConfig says where rtpengine is.
type ClientConfig struct {
	// Addr is where it listens for the NG protocol (its option listen-ng).
	Addr netip.AddrPort
	// Retry is the pause before a request is sent again, which then doubles;
	// Timeout is how long a reply is waited for altogether.
	Retry, Timeout time.Duration
	Log            *slog.Logger
}

// Client asks one rtpengine over UDP. It is safe for concurrent use.
//
// Every request has a cookie of its own, under which rtpengine keeps its reply
// for a while: a request that is sent again is answered, not carried out again.
type Client struct {
	cfg    ClientConfig
	conn   *net.UDPConn
	prefix string
	done   chan struct{}

	mu      sync.Mutex
	count   uint64
	waiting map[string]chan []byte
}

// Dial opens the socket; it sends nothing.
func Dial(cfg ClientConfig) (*Client, error) {
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRetry
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	switch {
	case cfg.Log == nil:
		return nil, errors.New("rtpengine: no logger")
	case !cfg.Addr.IsValid() || cfg.Addr.Port() == 0:
		return nil, fmt.Errorf("rtpengine: address %v: want where rtpengine listens for NG, such as 127.0.0.1:2223", cfg.Addr)
	case cfg.Retry < 0 || cfg.Timeout < 0:
		return nil, fmt.Errorf("rtpengine: again after %v and at most %v: neither may be negative", cfg.Retry, cfg.Timeout)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(cfg.Addr))
	if err != nil {
		return nil, fmt.Errorf("rtpengine: %w", err)
	}
	c := &Client{
		cfg: cfg, conn: conn, prefix: rand.Text()[:10],
		done: make(chan struct{}), waiting: map[string]chan []byte{},
	}
	go c.read()
	return c, nil
}

// Close ends requests that wait with ErrClosed. It may be called more than
// once.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read hands replies to those that wait for them.
func (c *Client) read() {
	defer close(c.done)
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Nobody listens there, says ICMP; the next try may find it again.
			c.cfg.Log.Debug("rtpengine: receiving", "error", err)
			continue
		}
		cookie, reply, _ := bytes.Cut(buf[:n], []byte(" "))
		c.mu.Lock()
		if to := c.waiting[string(cookie)]; to != nil {
			delete(c.waiting, string(cookie))
			to <- bytes.Clone(reply)
		}
		c.mu.Unlock()
	}
}

// Ping asks whether rtpengine is there.
func (c *Client) Ping(ctx context.Context) error {
	r, err := c.do(ctx, "ping", nil)
	if err == nil && r.result != "pong" {
		err = &Error{"ping", "its answer is " + strconv.Quote(r.result)}
	}
	return err
}

// do sends a command with its arguments and returns the reply.
func (c *Client) do(ctx context.Context, command string, args map[string]any) (reply, error) {
	if args == nil {
		args = map[string]any{}
	}
	args["command"] = command
	cookie, answer := c.expect()
	defer c.forget(cookie)
	request := appendValue(append([]byte(cookie), ' '), args)
	if len(request) >= maxDatagram {
		return reply{}, fmt.Errorf("rtpengine: %s of %d bytes does not fit into a datagram", command, len(request))
	}
	end := time.NewTimer(c.cfg.Timeout)
	defer end.Stop()
	for wait := c.cfg.Retry; ; wait *= 2 {
		if _, err := c.conn.Write(request); err != nil && errors.Is(err, net.ErrClosed) {
			return reply{}, fmt.Errorf("rtpengine: %s: %w", command, ErrClosed)
		}
		again := time.NewTimer(wait)
		select {
		case b := <-answer:
			again.Stop()
			return parseReply(command, b)
		case <-again.C:
			c.cfg.Log.Debug("rtpengine: asking again", "command", command, "after", wait)
		case <-end.C:
			again.Stop()
			return reply{}, fmt.Errorf("rtpengine: %s to %v: %w within %v; is its listen-ng address right?", command, c.cfg.Addr, ErrNoReply, c.cfg.Timeout)
		case <-ctx.Done():
			again.Stop()
			return reply{}, fmt.Errorf("rtpengine: %s: %w", command, context.Cause(ctx))
		case <-c.done:
			again.Stop()
			return reply{}, fmt.Errorf("rtpengine: %s: %w", command, ErrClosed)
		}
	}
}

func (c *Client) expect() (cookie string, answer chan []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	cookie = c.prefix + "_" + strconv.FormatUint(c.count, 36)
	answer = make(chan []byte, 1)
	c.waiting[cookie] = answer
	return cookie, answer
}

func (c *Client) forget(cookie string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, cookie)
}
