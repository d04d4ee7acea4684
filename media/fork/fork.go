// Package fork holds what the forks of call audio over sockets have in common:
// the Session, which is one connection's side of a protocol and knows no socket.
//
// The protocols are its child packages. Their sessions are driven by messages
// and by the time that is passed to them, so that golden vectors and fuzzing
// reach all of them. Package server runs them on WebSockets.
package fork

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"sidetone/media"
)

// Session is the server's side of one connection. Its methods are called from
// one goroutine, with the time at which something happened; none blocks.
type Session interface {
	// Text and Binary take a message, which is valid during the call only. An
	// error closes the connection: a *CloseError with its code, any other with
	// 1011.
	Text(message []byte, now time.Time) error
	Binary(message []byte, now time.Time) error
	// Tick lets time pass; it comes every 20 ms.
	Tick(now time.Time) error
	// HangUp asks the session to bring the call to an end with e, in the
	// protocol's own way. It may come more than once.
	HangUp(e media.End, now time.Time) error
	// Closed is the last call: the connection is gone. err is nil where the other
	// side closed it in order. Legs and calls that still run end here.
	Closed(err error, now time.Time)
}

// Writer is a session's way to the other side. Text, Binary and Close are for
// the session's goroutine.
type Writer interface {
	// Text and Binary take a message for the other side, in order, without
	// blocking. The message may be changed after the call.
	Text(message []byte)
	Binary(message []byte)
	// Close sends what was written and closes the connection. The session gets
	// no more messages; Closed follows.
	Close(code int, reason string)
	// HangUp has the session's HangUp called on its goroutine. It returns at
	// once, may come more than once and from any goroutine: it is what a session
	// gives to media.Host.Open.
	HangUp(e media.End)
}

// CloseError is why a session closes its connection.
type CloseError struct {
	// Code is a WebSocket close code (RFC 6455, section 7.4), Reason its text, of
	// which the other side gets MaxReason bytes.
	Code   int
	Reason string
}

// The close codes that sessions use.
const (
	CloseNormal      = 1000
	CloseGoingAway   = 1001
	CloseProtocol    = 1002
	CloseUnsupported = 1003
	CloseBadData     = 1007
	ClosePolicy      = 1008
	CloseTooBig      = 1009
	CloseInternal    = 1011
	CloseTryLater    = 1013
)

func (e *CloseError) Error() string { return fmt.Sprintf("close %d: %s", e.Code, e.Reason) }

// MaxReason is what a close frame has room for (RFC 6455, section 5.5), in
// bytes.
const MaxReason = 123

// CloseFor is how a connection closes because of err: with the code and reason
// of a *CloseError; with 1013 where media.Host has no room, and 1008 where it
// has the call already; with 1011 otherwise. The reason is cut to MaxReason.
func CloseFor(err error) *CloseError {
	c := &CloseError{CloseInternal, err.Error()}
	var own *CloseError
	switch {
	case errors.As(err, &own):
		c.Code, c.Reason = own.Code, own.Reason
	case errors.Is(err, media.ErrBusy) || errors.Is(err, media.ErrDraining):
		c.Code = CloseTryLater
	case errors.Is(err, media.ErrDuplicate):
		c.Code = ClosePolicy
	}
	for len(c.Reason) > MaxReason {
		_, n := utf8.DecodeLastRuneInString(c.Reason)
		c.Reason = c.Reason[:len(c.Reason)-n]
	}
	return c
}

// Refusal is why a connection is not taken. It is answered over HTTP, before
// there is a WebSocket.
type Refusal struct {
	// Status is the HTTP status. One of 503 is sent with a Retry-After of 5 s
	// unless Header has another.
	Status int
	// Reason is the answer's text: what is wrong and what to do.
	Reason string
	// Header has further header fields, such as WWW-Authenticate.
	Header map[string]string
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused with %d: %s", r.Status, r.Reason) }

// ErrSilent is the reason of Session.Closed where nothing at all came from the
// other side for the server's IdleTimeout.
var ErrSilent = errors.New("the other side has fallen silent")

// EndFor is how a call ends because its connection was closed with err, the one
// that Session.Closed gets.
func EndFor(err error, now time.Time) media.End {
	switch {
	case err == nil:
		return media.End{State: media.Ended, Reason: "the connection was closed", At: now}
	case errors.Is(err, ErrSilent):
		return media.End{State: media.TimedOut, Reason: err.Error(), At: now}
	default:
		return media.End{State: media.Lost, Reason: err.Error(), At: now}
	}
}
