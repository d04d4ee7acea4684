package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"sidetone/media"
	"sidetone/media/fork"
)

// firstBuffer is what a buffer of received messages begins with, in bytes. It
// grows with the messages, up to Config.MaxMessage.
const firstBuffer = 4096

// queueHeader stands before each message in the queue: its kind, and its length
// in four bytes.
const queueHeader = 5

// message is one that was received. Its buffer goes back to the reader.
type message struct {
	kind int
	data []byte
}

// conn is one connection. It is the session's fork.Writer.
type conn struct {
	srv *Server
	log *slog.Logger
	ws  *websocket.Conn

	in   chan message // closed by the reader, after readErr is set
	free chan []byte  // the two buffers, when nobody has them
	// born is when the connection was made; heard and began are times since then:
	// of what came last, and of the first byte of a message that is not yet
	// complete, zero without one.
	born         time.Time
	heard, began atomic.Int64
	readErr      error

	wakeOwner, wakeWriter chan struct{}
	stop, written         chan struct{} // stop ends the writer, written is its end

	mu     sync.Mutex
	queue  []byte
	closed *fork.CloseError // how the connection is to be closed
	slow   bool
	hung   *media.End // asked for and not yet passed on
}

func newConn(s *Server, log *slog.Logger) *conn {
	c := &conn{
		srv: s, log: log, born: time.Now(),
		in: make(chan message), free: make(chan []byte, 2),
		wakeOwner: make(chan struct{}, 1), wakeWriter: make(chan struct{}, 1), stop: make(chan struct{}), written: make(chan struct{}),
	}
	c.free <- make([]byte, 0, firstBuffer)
	c.free <- make([]byte, 0, firstBuffer)
	return c
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Text implements fork.Writer.
func (c *conn) Text(b []byte) { c.send(websocket.TextMessage, b) }

// Binary implements fork.Writer.
func (c *conn) Binary(b []byte) { c.send(websocket.BinaryMessage, b) }

func (c *conn) send(kind byte, b []byte) {
	c.mu.Lock()
	if c.closed == nil && !c.slow {
		if int64(len(c.queue)+queueHeader+len(b)) > c.srv.cfg.MaxQueue {
			c.slow = true
			poke(c.wakeOwner)
		} else {
			c.queue = append(c.queue, kind)
			c.queue = binary.BigEndian.AppendUint32(c.queue, uint32(len(b)))
			c.queue = append(c.queue, b...)
		}
	}
	c.mu.Unlock()
	poke(c.wakeWriter)
}

// Close implements fork.Writer; the first close counts.
func (c *conn) Close(code int, reason string) {
	c.mu.Lock()
	if c.closed == nil {
		c.closed = fork.CloseFor(&fork.CloseError{Code: code, Reason: reason})
	}
	c.mu.Unlock()
	poke(c.wakeOwner)
	poke(c.wakeWriter)
}

// HangUp implements fork.Writer.
func (c *conn) HangUp(e media.End) {
	c.mu.Lock()
	c.hung = &e
	c.mu.Unlock()
	poke(c.wakeOwner)
}

// asked is what others want of the owner.
func (c *conn) asked() (hung *media.End, closed *fork.CloseError, slow bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hung, c.hung = c.hung, nil
	return hung, c.closed, c.slow
}

// run serves the connection until it is gone, and says why it went.
func (c *conn) run(ws *websocket.Conn, s fork.Session) error {
	c.ws = ws
	ws.EnableWriteCompression(false)
	var workers sync.WaitGroup
	workers.Go(c.readAll)
	workers.Go(c.writeAll)
	defer func() {
		// Whatever happens in the session, the other goroutines end.
		close(c.stop)
		_ = ws.Close()
		c.drain()
		workers.Wait()
	}()

	err := c.own(s)
	s.Closed(err, time.Now())

	// The close handshake: the reader ends when the other side has answered, or
	// when the deadline that the writer sets has passed.
	how := &fork.CloseError{Code: fork.CloseNormal}
	if err != nil {
		how = fork.CloseFor(err)
	}
	c.Close(how.Code, how.Reason)
	<-c.written
	c.drain()
	if refused := new(fork.CloseError); errors.As(c.readErr, &refused) {
		// The reader gave up on a message whose rest is still coming. Closing now
		// would reset the connection, and the close frame could be lost.
		_, _ = io.Copy(io.Discard, io.LimitReader(ws.NetConn(), 4*c.srv.cfg.MaxMessage))
	}
	return err
}

// drain drops what is received until the reader ends.
func (c *conn) drain() {
	for m := range c.in {
		c.free <- m.data
	}
}

// own runs the session until the connection is to end: err is what
// Session.Closed gets.
func (c *conn) own(s fork.Session) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var patience <-chan time.Time // since HangUp
	for {
		var err error
		select {
		case m, ok := <-c.in:
			if !ok {
				if _, _, slow := c.asked(); slow {
					return c.tooSlow()
				}
				return c.readErr
			}
			if m.kind == websocket.TextMessage {
				err = s.Text(m.data, time.Now())
			} else {
				err = s.Binary(m.data, time.Now())
			}
			c.free <- m.data
		case <-tick.C:
			if err = c.alive(); err == nil {
				err = s.Tick(time.Now())
			}
		case <-patience:
			err = &fork.CloseError{Code: fork.CloseGoingAway, Reason: "the call was hung up here and did not end in time"}
		case <-c.wakeOwner:
		}
		hung, closed, slow := c.asked()
		if err == nil && closed == nil && hung != nil {
			if patience == nil {
				t := time.NewTimer(c.srv.cfg.HangUpTimeout)
				defer t.Stop()
				patience = t.C
			}
			err = s.HangUp(*hung, time.Now())
			_, closed, slow = c.asked()
		}
		switch {
		case err != nil:
			return err
		case slow:
			return c.tooSlow()
		case closed != nil && closed.Code == fork.CloseNormal:
			return nil
		case closed != nil:
			return closed
		}
	}
}

func (c *conn) tooSlow() error {
	c.srv.slow.Add(1)
	return &fork.CloseError{Code: fork.ClosePolicy, Reason: "what is sent to you is not read in time"}
}

// alive says what is wrong with a connection on which too little happens.
func (c *conn) alive() error {
	now := time.Since(c.born)
	if quiet := now - time.Duration(c.heard.Load()); quiet > c.srv.cfg.IdleTimeout {
		c.srv.silent.Add(1)
		return &silence{fork.CloseError{Code: fork.CloseGoingAway, Reason: fmt.Sprintf("%v: nothing came for %v", fork.ErrSilent, c.srv.cfg.IdleTimeout)}}
	}
	if began := time.Duration(c.began.Load()); began > 0 && now-began > c.srv.cfg.HandshakeTimeout {
		c.srv.silent.Add(1)
		return &silence{fork.CloseError{Code: fork.ClosePolicy, Reason: fmt.Sprintf("a message was not complete after %v", c.srv.cfg.HandshakeTimeout)}}
	}
	return nil
}

// silence is a close that is fork.ErrSilent as well.
type silence struct{ how fork.CloseError }

func (s *silence) Error() string        { return s.how.Reason }
func (s *silence) Is(target error) bool { return target == fork.ErrSilent }
func (s *silence) Unwrap() error        { return &s.how }

// hear notes that something came.
func (c *conn) hear() { c.heard.Store(int64(time.Since(c.born))) }

// readAll is the reader.
func (c *conn) readAll() {
	defer close(c.in)
	c.hear()
	c.ws.SetReadLimit(c.srv.cfg.MaxMessage)
	answer := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		c.hear()
		return answer(data)
	})
	c.ws.SetPongHandler(func(string) error {
		c.hear()
		return nil
	})
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			c.readErr = c.reasonOf(err)
			return
		}
		c.began.Store(int64(time.Since(c.born)))
		buf, err := fill(<-c.free, r, c.srv.cfg.MaxMessage)
		if err == nil && kind == websocket.TextMessage && !utf8.Valid(buf) {
			err = &fork.CloseError{Code: fork.CloseBadData, Reason: "a text message is not UTF-8"}
		}
		if err != nil {
			c.readErr = c.reasonOf(err)
			return
		}
		c.began.Store(0)
		c.hear()
		c.in <- message{kind, buf}
	}
}

// fill reads one message into b from its start.
func fill(b []byte, r io.Reader, limit int64) ([]byte, error) {
	b = b[:0]
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return b, websocket.ErrReadLimit
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		case len(b) == cap(b):
			b = append(b, 0)[:len(b)]
		}
	}
}

// reasonOf is what the session is told of the reader's error: nil where the
// other side closed in order.
func (c *conn) reasonOf(err error) error {
	var own *fork.CloseError
	switch {
	case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived):
		return nil
	case errors.Is(err, websocket.ErrReadLimit):
		return &fork.CloseError{Code: fork.CloseTooBig, Reason: fmt.Sprintf("messages may have %d bytes", c.srv.cfg.MaxMessage)}
	case errors.As(err, &own):
		return err
	default:
		return fmt.Errorf("server: the connection was lost: %w", err)
	}
}

// writeAll is the writer.
func (c *conn) writeAll() {
	defer close(c.written)
	var pings <-chan time.Time
	if every := c.srv.cfg.PingEvery; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		pings = t.C
	}
	var batch []byte
	for {
		select {
		case <-c.stop:
			return
		case <-pings:
			if c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.srv.cfg.WriteTimeout)) != nil {
				_ = c.ws.Close()
				return
			}
			continue
		case <-c.wakeWriter:
		}
		c.mu.Lock()
		batch, c.queue = c.queue, batch[:0]
		closed := c.closed
		c.mu.Unlock()
		if err := c.write(batch); err != nil {
			if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
				c.mu.Lock()
				c.slow = true
				c.mu.Unlock()
			}
			_ = c.ws.Close()
			return
		}
		if closed != nil {
			c.sayGoodbye(closed)
			return
		}
	}
}

// write sends the messages of a queue.
func (c *conn) write(queue []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return err
	}
	for len(queue) > 0 {
		kind, n := queue[0], int(binary.BigEndian.Uint32(queue[1:]))
		if err := c.ws.WriteMessage(int(kind), queue[queueHeader:queueHeader+n]); err != nil {
			return err
		}
		queue = queue[queueHeader+n:]
	}
	return nil
}

// sayGoodbye sends the close frame, unless one was sent in answer, and leaves
// the reader some time for the other side's.
func (c *conn) sayGoodbye(how *fork.CloseError) {
	now := time.Now()
	frame := websocket.FormatCloseMessage(how.Code, how.Reason)
	err := c.ws.WriteControl(websocket.CloseMessage, frame, now.Add(c.srv.cfg.WriteTimeout))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) || c.ws.SetReadDeadline(now.Add(c.srv.cfg.HandshakeTimeout)) != nil {
		_ = c.ws.Close()
	}
}
