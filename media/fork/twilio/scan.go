package twilio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// object is a JSON object of a message. Its methods take several names for the
// same thing, of which the first that is there counts.
type object map[string]any

// maxParsed bounds a message that is parsed, in bytes. Values need up to forty
// times the memory of their text; what is longer in earnest is audio, which is
// scanned.
const maxParsed = 64 << 10

// parse reads any message. It is the slow way: see chunk.scan.
func parse(message []byte) (object, error) {
	if len(message) > maxParsed {
		return nil, fmt.Errorf("twilio: a message of %d bytes: one that is not plain audio may have %d", len(message), maxParsed)
	}
	d := json.NewDecoder(bytes.NewReader(message))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("twilio: a message is no JSON object: %w", err)
	}
	if m == nil {
		return nil, errors.New("twilio: a message is no JSON object but null")
	}
	if rest := bytes.TrimLeft(message[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("twilio: a message goes on behind its JSON object, with %d bytes", len(rest))
	}
	return m, nil
}

// text is a string, or a number or a boolean as it is written.
func (o object) text(names ...string) string {
	for _, name := range names {
		switch v := o[name].(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		case bool:
			return strconv.FormatBool(v)
		}
	}
	return ""
}

// object is never nil where the name is there, and nil otherwise.
func (o object) object(names ...string) object {
	for _, name := range names {
		if v, ok := o[name].(map[string]any); ok {
			return v
		}
	}
	return nil
}

// strings are the strings of a list, or the one string that stands for it.
func (o object) strings(name string) []string {
	switch v := o[name].(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// event is the message's kind; Bandwidth names the field in its own way.
func (o object) event() string { return o.text("event", "eventType") }

// chunk is a media message. Its slices are parts of the message.
type chunk struct {
	track, payload []byte
	// n counts the track's chunks where counted is set, ms is the timestamp where
	// timed is.
	n, ms          int64
	counted, timed bool
}

// read takes the chunk from a message that was parsed.
func (c *chunk) read(m object) error {
	*c = chunk{}
	body := m
	if o := m.object("media"); o != nil {
		body = o
	}
	payload, ok := body["payload"].(string)
	if !ok {
		return errors.New(`twilio: a media message has no "payload"`)
	}
	c.payload = []byte(payload)
	c.track = []byte(body.text("track", "tag"))
	c.ms, c.timed = number(body.text("timestamp"))
	c.n, c.counted = number(body.text("chunk"))
	if !c.counted {
		c.n, c.counted = number(m.text("sequenceNumber", "sequence_number"))
	}
	return nil
}

// maxDigits keeps numbers away from overflow, whatever is calculated with them:
// 10^15 ms are 30,000 years.
const maxDigits = 15

// number reads a count or a time, of which a fraction is cut off.
func number(s string) (n int64, ok bool) {
	if whole, _, found := strings.Cut(s, "."); found {
		s = whole
	}
	return digits([]byte(s))
}

func digits(s []byte) (n int64, ok bool) {
	if len(s) == 0 || len(s) > maxDigits {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// scan reads the message that comes fifty times a second for each track, a
// media message as the platforms write it, without allocating. It returns false
// for anything else and for whatever it is not sure of, such as escapes, nested
// values and repeated names: parse and read are for those. What it takes, they
// read in the same way.
func (c *chunk) scan(message []byte) bool {
	*c = chunk{}
	s := scanner{rest: message}
	var event, body bool
	var sequence []byte
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "event", "eventType":
			v, fine := s.string()
			fine = fine && !event && string(v) == "media"
			event = true
			return fine
		case "media":
			if body {
				return false
			}
			body = true
			return c.scanBody(&s)
		case "track", "payload", "timestamp", "chunk", "tag":
			// Bandwidth has no object around them; read sorts that out.
			return false
		case "sequenceNumber", "sequence_number":
			v, fine := s.value()
			fine = fine && sequence == nil
			sequence = v
			return fine
		default:
			_, fine := s.value()
			return fine
		}
	})
	if !ok || !event || !body || c.payload == nil || s.more() {
		return false
	}
	if sequence != nil && !c.counted {
		c.n, c.counted = digits(sequence)
		return c.counted
	}
	return true
}

// scanBody reads the object of "media".
func (c *chunk) scanBody(s *scanner) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "payload":
			v, ok := s.string()
			ok = ok && c.payload == nil
			c.payload = v
			return ok
		case "track":
			v, ok := s.string()
			ok = ok && c.track == nil
			c.track = v
			return ok
		case "tag":
			return false
		case "timestamp":
			v, ok := s.value()
			if !ok || c.timed {
				return false
			}
			c.ms, c.timed = digits(v)
			return c.timed
		case "chunk":
			v, ok := s.value()
			if !ok || c.counted {
				return false
			}
			c.n, c.counted = digits(v)
			return c.counted
		default:
			_, ok := s.value()
			return ok
		}
	})
}

// scanner walks over JSON of the plainest kind.
type scanner struct{ rest []byte }

func (s *scanner) space() {
	for len(s.rest) > 0 {
		switch s.rest[0] {
		case ' ', '\t', '\r', '\n':
			s.rest = s.rest[1:]
		default:
			return
		}
	}
}

// next takes one byte behind white space if it is c.
func (s *scanner) next(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// more is whether anything but white space is left.
func (s *scanner) more() bool {
	s.space()
	return len(s.rest) > 0
}

// object calls member behind each name and its colon; member takes the value.
func (s *scanner) object(member func(name []byte) bool) bool {
	if !s.next('{') {
		return false
	}
	if s.next('}') {
		return true
	}
	for {
		name, ok := s.string()
		if !ok || !s.next(':') || !member(name) {
			return false
		}
		if s.next(',') {
			continue
		}
		return s.next('}')
	}
}

// string takes a string of printable ASCII without escapes. It is never nil.
func (s *scanner) string() ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	n := bytes.IndexByte(s.rest, '"')
	if n < 0 {
		return nil, false
	}
	v := s.rest[:n:n]
	for _, c := range v {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
	}
	s.rest = s.rest[n+1:]
	return v, true
}

// value takes a string, or a number that is digits and no more.
func (s *scanner) value() ([]byte, bool) {
	s.space()
	if len(s.rest) > 0 && s.rest[0] == '"' {
		return s.string()
	}
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	if n == 0 || n > 1 && s.rest[0] == '0' {
		return nil, false
	}
	v := s.rest[:n:n]
	s.rest = s.rest[n:]
	return v, true
}
