package push

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Bounds of what a pane may send.
const (
	maxMessage = 4096 // bytes
	maxName    = 128  // bytes of a call's, card's or agent's name
	maxQuery   = 200  // runes of a search
	maxClockMS = 1e12 // a pane's monotonic clock: 31 years
)

// inbound is any message of a pane; which fields count depends on Type.
type inbound struct {
	Type       string  `json:"type"`
	Call       string  `json:"call"`
	Card       string  `json:"card"`
	ReceivedMS float64 `json:"received_ms"`
	PaintedMS  float64 `json:"painted_ms"`
	SentMS     float64 `json:"sent_ms"`
	Action     State   `json:"action"`
	ID         int64   `json:"id"`
	Text       string  `json:"text"`
	Language   string  `json:"language"`
	Paused     bool    `json:"paused"`
}

// parseInbound reads one message of a pane. On an error the message holds what
// was readable, for the answer.
func parseInbound(b []byte) (inbound, error) {
	var m inbound
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("not a JSON message: %w", err)
	}
	return m, m.validate()
}

func (m *inbound) validate() error {
	switch m.Type {
	case "ack":
		if err := m.validateCard(); err != nil {
			return err
		}
		if !(0 <= m.ReceivedMS && m.ReceivedMS <= m.PaintedMS && m.PaintedMS <= maxClockMS) {
			return fmt.Errorf("ack: received_ms %g and painted_ms %g are not two times in order", m.ReceivedMS, m.PaintedMS)
		}
		if m.SentMS != 0 && !(m.PaintedMS <= m.SentMS && m.SentMS <= maxClockMS) {
			return fmt.Errorf("ack: sent_ms %g is before painted_ms %g", m.SentMS, m.PaintedMS)
		}
	case "action":
		if err := m.validateCard(); err != nil {
			return err
		}
		switch m.Action {
		case Used, Dismissed, Wrong:
		default:
			return fmt.Errorf("action %.20q: want %q, %q or %q", m.Action, Used, Dismissed, Wrong)
		}
	case "search":
		if n := utf8.RuneCountInString(m.Text); n == 0 || n > maxQuery {
			return fmt.Errorf("search: text has %d characters, want 1 to %d", n, maxQuery)
		}
		if !isLanguage(m.Language) {
			return fmt.Errorf("search: language %.20q is not a tag such as \"en\"", m.Language)
		}
	case "pause", "swap":
		if m.Call == "" || len(m.Call) > maxName {
			return fmt.Errorf("%s: call must have 1 to %d bytes", m.Type, maxName)
		}
	case "ping":
	default:
		return fmt.Errorf("type %.20q: want \"ack\", \"action\", \"pause\", \"swap\", \"search\" or \"ping\"", m.Type)
	}
	if m.ID < 0 {
		return fmt.Errorf("%s: id %d is negative", m.Type, m.ID)
	}
	return nil
}

func (m *inbound) validateCard() error {
	if m.Call == "" || len(m.Call) > maxName || m.Card == "" || len(m.Card) > maxName {
		return fmt.Errorf("%s: call and card must have 1 to %d bytes", m.Type, maxName)
	}
	return nil
}

// isLanguage says whether s is empty or looks like a language tag (RFC 5646).
func isLanguage(s string) bool {
	if len(s) > 35 {
		return false
	}
	for _, r := range []byte(s) {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}
