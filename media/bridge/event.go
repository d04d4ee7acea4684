package bridge

import (
	"encoding/binary"
	"time"
)

const (
	eventLen = 4
	// keys are the events that are a key of a telephone, by their code (RFC 4733,
	// section 3.2); the last is a flash.
	keys = "0123456789*#ABCD!"
	// debounce joins the packets of one press from devices that give each its
	// own timestamp.
	debounce = 60 * time.Millisecond
)

// event is the newest key press.
//
//	event(8) | E(1) R(1) volume(6) | duration(16), RFC 4733, section 2.3
type event struct {
	known    bool
	code     byte
	stamp    uint32
	duration uint16
	over     bool
	at       time.Time
}

// begins reports whether the payload is the first that is seen of a press. All
// packets of a press carry the timestamp of its beginning; one longer than the
// duration field can say goes on in a segment that begins where it ended.
func (e *event) begins(payload []byte, stamp uint32, now time.Time) bool {
	code := payload[0]
	if int(code) >= len(keys) {
		return false
	}
	next := event{
		known: true, code: code, stamp: stamp,
		duration: binary.BigEndian.Uint16(payload[2:]), over: payload[1]&0x80 != 0, at: now,
	}
	same := e.known && (stamp == e.stamp ||
		code == e.code && stamp == e.stamp+uint32(e.duration) ||
		code == e.code && !e.over && now.Sub(e.at) < debounce)
	if same {
		next.over = next.over || stamp == e.stamp && e.over
	}
	*e = next
	return !same
}
