// Package fork holds what the WebSocket forks of call audio have in common: the
// Session, which is one connection's side of a protocol and knows no socket, and
// the Server, which runs sessions on sockets.
//
// The protocols are its child packages. Their sessions are driven by messages
// and by the time that is passed to them, so that golden vectors and fuzzing
// reach all of them.
package fork

import (
	"fmt"
	"time"

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

// Writer takes a session's messages to the other side, in order, without
// blocking. What it is given may be changed after the call.
type Writer interface {
	Text(message []byte)
	Binary(message []byte)
	// Close sends what was written and closes the connection.
	Close(code int, reason string)
}

// CloseError is why a session closes its connection.
type CloseError struct {
	// Code is a WebSocket close code (RFC 6455, section 7.4), Reason its text of
	// at most 123 bytes.
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
