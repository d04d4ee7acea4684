// Package vosk recognises speech with a vosk-server, over its WebSocket.
//
// Each utterance has a connection of its own, which begins with the
// utterance's first sample and ends with the words of eof: so its final is
// asked for when speech ends and not when the server finds a pause, and a
// connection that breaks is replaced by another that hears the utterance from
// its beginning.
//
// Audio is sent as it comes. Only so many messages may be without reply; while
// the server or the network is slow, audio is collected into larger messages,
// so that partials become rarer and no audio is lost.
package vosk

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/asr"
	"sidetone/asr/remote"
	"sidetone/internal/pcm"
)

// Config tells where the server is; all but URL has defaults.
type Config struct {
	// URL is the server's, such as ws://127.0.0.1:2700 or wss://asr.example.com.
	URL string
	// TLS is for wss; nil verifies the server with the system's certificates.
	TLS *tls.Config
	// Chunk is how much audio a message has, at least; default 100 ms.
	Chunk time.Duration
	// StableAfter is how long a word of partials must stay the same to become
	// stable; default 600 ms. Negative: only words of results are.
	StableAfter time.Duration
	// DialTimeout bounds connecting, ReplyTimeout the wait for each reply; both
	// default to 5 s.
	DialTimeout, ReplyTimeout time.Duration
	// MaxUtterance and GiveUp are as in remote.Config.
	MaxUtterance, GiveUp time.Duration
}

const (
	defaultChunk       = 100 * time.Millisecond
	defaultStableAfter = 600 * time.Millisecond
	defaultTimeout     = 5 * time.Second
	longest            = time.Minute
	// window is how many messages may be without reply.
	window = 8
	// maxMessage bounds a message's samples.
	maxMessage = 2 * pcm.Rate
	// maxReply bounds a reply's bytes.
	maxReply = 1 << 20
)

func (c Config) withDefaults() (Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return c, errors.New("vosk: URL is not of the form ws://host:port or wss://host:port")
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"Chunk", &c.Chunk, defaultChunk},
		{"DialTimeout", &c.DialTimeout, defaultTimeout},
		{"ReplyTimeout", &c.ReplyTimeout, defaultTimeout},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < pcm.FrameDuration || *d.v > longest {
			return c, fmt.Errorf("vosk: %s is %v, want %v to %v", d.name, *d.v, pcm.FrameDuration, longest)
		}
	}
	if c.StableAfter == 0 {
		c.StableAfter = defaultStableAfter
	}
	return c, nil
}

// Engine is a vosk-server. It is safe for concurrent use.
type Engine struct {
	*remote.Engine
	r *recogniser
}

var _ asr.Engine = (*Engine)(nil)

// New makes an Engine; it connects when somebody speaks.
func New(c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &recogniser{c: c}
	rc := remote.Config{Name: "vosk", MaxUtterance: c.MaxUtterance, GiveUp: c.GiveUp}
	if c.StableAfter > 0 {
		rc.Agree, rc.Stay = 1, c.StableAfter
	}
	e, err := remote.New(r, rc)
	if err != nil {
		return nil, err
	}
	return &Engine{e, r}, nil
}

// Overloads counts how often audio had to wait because too many messages were
// without reply.
func (e *Engine) Overloads() int64 { return e.r.overloads.Load() }

type recogniser struct {
	c         Config
	overloads atomic.Int64
}

// Recognise implements remote.Recogniser.
func (r *recogniser) Recognise(ctx context.Context, u *remote.Utterance) ([]asr.Word, error) {
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	conn, err := r.dial(within)
	if err != nil {
		return nil, err
	}
	x := newExchange(conn, u, r.c.ReplyTimeout, stop)
	var reading sync.WaitGroup
	reading.Go(x.read)
	err = x.write(within, r)
	if err == nil {
		select {
		case <-x.answered:
		case <-within.Done():
			err = within.Err()
		}
	}
	if err == nil {
		// A courtesy; the words are here.
		_ = conn.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(r.c.ReplyTimeout))
	}
	x.silence.Stop()
	_ = conn.Close()
	reading.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && within.Err() != nil:
		return nil, context.Cause(within)
	case err != nil:
		return nil, err
	}
	return x.transcript.words(), nil
}

// dial connects; whatever is done with the connection ends with ctx.
func (r *recogniser) dial(ctx context.Context) (*websocket.Conn, error) {
	timed, cancel := context.WithTimeout(ctx, r.c.DialTimeout)
	defer cancel()
	var nd net.Dialer
	d := websocket.Dialer{
		TLSClientConfig: r.c.TLS,
		NetDialContext: func(dialling context.Context, network, addr string) (net.Conn, error) {
			c, err := nd.DialContext(dialling, network, addr)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			return c, err
		},
	}
	conn, resp, err := d.DialContext(timed, r.c.URL, nil)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			return nil, refusal(resp)
		}
		return nil, fmt.Errorf("connecting: %w", err)
	}
	conn.SetReadLimit(maxReply)
	return conn, nil
}

// refusal is a handshake's answer that is no WebSocket.
func refusal(resp *http.Response) error {
	e := &remote.Error{Err: fmt.Errorf("connecting: the server answers %s: is the URL a vosk-server's?", resp.Status)}
	s := resp.StatusCode
	e.Permanent = s < 500 && s != http.StatusTooManyRequests && s != http.StatusRequestTimeout
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.After = time.Duration(min(n, 3600)) * time.Second
	}
	return e
}

// exchange is one connection's utterance. One goroutine writes, one reads.
type exchange struct {
	conn    *websocket.Conn
	u       *remote.Utterance
	timeout time.Duration
	stop    context.CancelCauseFunc
	// slots holds a token for each message without reply.
	slots chan struct{}
	// answered is closed when eof has its reply, or will have none.
	answered chan struct{}
	// silence ends the exchange when a reply is overdue.
	silence *time.Timer

	mu sync.Mutex
	// sent has, for each audio message without reply, the number of samples up
	// to its end.
	sent    []int
	eofSent bool
	over    bool
	// transcript is the reader's until answered is closed.
	transcript transcript
}

var errSilent = errors.New("the server does not reply")

func newExchange(conn *websocket.Conn, u *remote.Utterance, timeout time.Duration, stop context.CancelCauseFunc) *exchange {
	x := &exchange{
		conn: conn, u: u, timeout: timeout, stop: stop,
		slots:      make(chan struct{}, window),
		answered:   make(chan struct{}),
		transcript: transcript{start: u.Start()},
	}
	x.silence = time.AfterFunc(timeout, x.overdue)
	return x
}

// overdue ends an exchange in which the server has fallen silent. One that has
// answered all audio and only ignores eof, as some that speak its protocol do,
// has said what it has to say.
func (x *exchange) overdue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.eofSent && len(x.sent) == 0 && !x.over:
		x.over = true
		close(x.answered)
	case x.eofSent || len(x.sent) > 0:
		x.stop(fmt.Errorf("%w within %v", errSilent, x.timeout))
	}
}

// write sends the configuration, the audio and eof.
func (x *exchange) write(ctx context.Context, r *recogniser) error {
	b, err := configuration()
	if err != nil {
		return err
	}
	if err := x.send(websocket.TextMessage, b); err != nil {
		return err
	}
	for n, chunk := 0, int(pcm.Samples(r.c.Chunk)); ; {
		select {
		case x.slots <- struct{}{}:
		default:
			r.overloads.Add(1)
			select {
			case x.slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		audio, ended, err := x.u.Audio(ctx, n, chunk)
		if err != nil {
			return err
		}
		if len(audio) == 0 && ended {
			x.expect(-1)
			return x.send(websocket.TextMessage, []byte(eof))
		}
		audio = audio[:min(len(audio), maxMessage)]
		n += len(audio)
		b = b[:0]
		for _, v := range audio {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		}
		x.expect(n)
		if err := x.send(websocket.BinaryMessage, b); err != nil {
			return err
		}
	}
}

func (x *exchange) send(kind int, b []byte) error {
	if err := x.conn.SetWriteDeadline(time.Now().Add(x.timeout)); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if err := x.conn.WriteMessage(kind, b); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// expect awaits a reply to the audio up to sample n, or to eof if that is
// negative.
func (x *exchange) expect(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n < 0 {
		x.eofSent = true
	} else {
		x.sent = append(x.sent, n)
	}
	x.silence.Reset(x.timeout)
}

// read takes replies until eof has its own, or the connection ends.
func (x *exchange) read() {
	heard := 0
	for {
		kind, b, err := x.conn.ReadMessage()
		if err != nil {
			x.stop(fmt.Errorf("receiving: %w", err))
			return
		}
		if kind != websocket.TextMessage {
			continue
		}
		r, err := parse(b)
		if err != nil {
			x.stop(err)
			return
		}
		x.mu.Lock()
		last := x.over || x.eofSent && len(x.sent) == 0
		if len(x.sent) > 0 {
			heard = x.sent[0]
			x.sent = x.sent[1:]
			<-x.slots
		}
		if x.eofSent || len(x.sent) > 0 {
			x.silence.Reset(x.timeout)
		} else {
			x.silence.Stop()
		}
		over := x.over
		if !over {
			x.transcript.take(&r, x.u.Start()+int64(heard))
		}
		if last && !over {
			x.over = true
			close(x.answered)
		}
		x.mu.Unlock()
		if last {
			return
		}
		x.u.Partial(x.transcript.words(), len(x.transcript.settled), heard)
	}
}
