package asterisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The events that the session looks at. Others are passed over.
const (
	eventStart = "MEDIA_START"
	eventDigit = "DTMF_END"
)

// Message is a text message of Asterisk. Fields that it does not have are empty.
type Message struct {
	Event string
	// JSON tells that the message came as JSON, as plain text otherwise. Commands
	// go back in the same form.
	JSON bool

	// Of MEDIA_START. ConnectionID names the WebSocket, Channel and ChannelID the
	// channel that it belongs to; Format is the codec by Asterisk's name.
	ConnectionID, Channel, ChannelID, Format string
	// FrameSize is in bytes and PacketTime in milliseconds.
	FrameSize, PacketTime int
	// Variables are channel variables; they come with JSON only.
	Variables map[string]string

	// Digit is the key of DTMF_END.
	Digit string
}

// ErrMessage is what every error of Parse is.
var ErrMessage = errors.New("asterisk: a control message is wrong")

// Parse reads a text message: JSON if it begins with {, else an event and its
// fields, as in
//
//	DTMF_END digit:7
//
// Unknown fields are passed over.
func Parse(text []byte) (Message, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return Message{}, fmt.Errorf("%w: it is empty", ErrMessage)
	}
	if text[0] == '{' {
		return parseJSON(text)
	}
	return parsePlain(string(text))
}

func parsePlain(text string) (Message, error) {
	words := strings.Fields(text)
	m := Message{Event: words[0]}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, ":")
		if err := m.set(key, value); err != nil {
			return Message{}, err
		}
	}
	return m, nil
}

// set takes one field.
func (m *Message) set(key, value string) error {
	switch key {
	case "connection_id":
		m.ConnectionID = value
	case "channel":
		m.Channel = value
	case "channel_id":
		m.ChannelID = value
	case "format":
		m.Format = value
	case "digit":
		m.Digit = value
	case "optimal_frame_size":
		return number(&m.FrameSize, key, value)
	case "ptime":
		return number(&m.PacketTime, key, value)
	}
	return nil
}

func number(to *int, key, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 1<<20 {
		return fmt.Errorf("%w: %s is %q, want a number", ErrMessage, key, value)
	}
	*to = n
	return nil
}

func parseJSON(text []byte) (Message, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	m := Message{JSON: true}
	for key, raw := range fields {
		switch key {
		case "event":
			m.Event = scalar(raw)
		case "channel_variables":
			var all map[string]json.RawMessage
			if err := json.Unmarshal(raw, &all); err != nil {
				return Message{}, fmt.Errorf("%w: channel_variables: %w", ErrMessage, err)
			}
			m.Variables = make(map[string]string, len(all))
			for name, v := range all {
				m.Variables[name] = scalar(v)
			}
		default:
			if err := m.set(key, scalar(raw)); err != nil {
				return Message{}, err
			}
		}
	}
	if m.Event == "" {
		return Message{}, fmt.Errorf("%w: no event", ErrMessage)
	}
	return m, nil
}

// scalar is the text of a JSON value: what a string holds, and any other value
// as it is written.
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// command is a command to Asterisk, in the form in which it speaks to us.
func command(name string, asJSON bool) []byte {
	if asJSON {
		return []byte(`{"command":"` + name + `"}`)
	}
	return []byte(name)
}
