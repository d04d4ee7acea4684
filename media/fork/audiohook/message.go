package audiohook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxText bounds a text message, in characters, on both sides.
	maxText = 65535
	// maxInfo bounds the text of a disconnect message, in bytes.
	maxInfo = 300
	// maxPosition bounds positions and durations: no call lasts longer.
	maxPosition = 48 * time.Hour
	// maxFact and maxCustom bound what is kept of the source's words, in bytes,
	// and the entries of its custom configuration.
	maxFact   = 256
	maxCustom = 32
)

// nilUUID stands for an unknown session, and for the conversation of a connection
// probe.
const nilUUID = "00000000-0000-0000-0000-000000000000"

// Words of the protocol.
//
//nolint:misspell // the protocol is American
const (
	reasonUnauthorised = "unauthorized"
	fieldOrganisation  = "Audiohook-Organization-Id"
	paramOrganisation  = "organizationId"
)

// message is one of the client's:
//
//	{"version":"2","type":"ping","id":"0b8c4f1e-...","seq":2,"serverseq":1,
//	 "position":"PT1.5S","parameters":{"rtt":"PT0.025S"}}
type message struct {
	kind           string
	id             string
	seq, serverSeq int64
	position       time.Duration
	params         json.RawMessage
}

// parseMessage reads a text message. The errors hold nothing of its values,
// since these may be digits.
func parseMessage(text []byte) (message, error) {
	if n := utf8.RuneCount(text); n > maxText {
		return message{}, fmt.Errorf("a text message has %d characters, %d is the limit", n, maxText)
	}
	var e struct {
		Version    *string         `json:"version"`
		Type       *string         `json:"type"`
		ID         *string         `json:"id"`
		Seq        *int64          `json:"seq"`
		ServerSeq  *int64          `json:"serverseq"`
		Position   *string         `json:"position"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if err := decode(text, &e); err != nil {
		return message{}, fmt.Errorf("a text message %w", err)
	}
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"version", e.Version == nil}, {"type", e.Type == nil}, {"id", e.ID == nil}, {"seq", e.Seq == nil},
		{"serverseq", e.ServerSeq == nil}, {"position", e.Position == nil}, {"parameters", e.Parameters == nil},
	} {
		if f.missing {
			return message{}, fmt.Errorf("a message has no %q", f.name)
		}
	}
	position, err := parseDuration(*e.Position)
	switch {
	case *e.Version != "2":
		return message{}, fmt.Errorf("a message is of version %.10q, only version 2 is spoken here", *e.Version)
	case !isUUID(*e.ID):
		return message{}, errors.New("a message's id is no UUID")
	case *e.Seq < 0 || *e.ServerSeq < 0:
		return message{}, errors.New("a message's seq or serverseq is negative")
	case err != nil:
		return message{}, fmt.Errorf("a message's position %w", err)
	case e.Parameters[0] != '{':
		return message{}, errors.New("a message's parameters are no object")
	}
	return message{*e.Type, strings.ToLower(*e.ID), *e.Seq, *e.ServerSeq, position, e.Parameters}, nil
}

// decode is json.Unmarshal with errors that do not quote values.
func decode(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("is no valid JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("has a value of the wrong kind in %q", kind.Field)
	default:
		return errors.New("is no JSON of the form that is expected")
	}
}

// parameters reads a message's parameters.
func (m *message) parameters(v any) error {
	if err := decode(m.params, v); err != nil {
		return fmt.Errorf("the parameters of a message of type %.20q: %w", m.kind, err)
	}
	return nil
}

// openParameters are those of the first message.
type openParameters struct {
	Organisation   string `json:"organizationId"` //nolint:misspell // the protocol's
	ConversationID string `json:"conversationId"`
	Participant    struct {
		ID      string `json:"id"`
		ANI     string `json:"ani"`
		ANIName string `json:"aniName"`
		DNIS    string `json:"dnis"`
	} `json:"participant"`
	Media              []json.RawMessage `json:"media"`
	Language           string            `json:"language"`
	SupportedLanguages bool              `json:"supportedLanguages"`
	ContinuedSessions  []struct {
		ID string `json:"id"`
	} `json:"continuedSessions"`
	CustomConfig json.RawMessage `json:"customConfig"`
}

// probe tells an attempt of the connection from a call.
func (p *openParameters) probe() bool { return p.ConversationID == nilUUID }

// custom is the custom configuration's plain entries.
func (p *openParameters) custom() map[string]string {
	var all map[string]json.RawMessage
	if json.Unmarshal(p.CustomConfig, &all) != nil {
		return nil
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	plain := map[string]string{}
	for _, name := range names {
		if len(plain) == maxCustom {
			break
		}
		raw := bytes.TrimSpace(all[name])
		var text string
		switch {
		case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || bytes.Equal(raw, []byte("null")):
			continue
		case json.Unmarshal(raw, &text) != nil:
			text = string(raw)
		}
		plain[clip(name)] = clip(text)
	}
	return plain
}

// The parameters of the server's messages.
type (
	openedParameters struct {
		StartPaused        bool              `json:"startPaused"`
		Media              []json.RawMessage `json:"media"`
		SupportedLanguages *[]string         `json:"supportedLanguages,omitempty"`
	}
	disconnectParameters struct {
		Reason string `json:"reason"`
		Info   string `json:"info,omitempty"`
	}
	noParameters struct{}
)

// serverMessage is one of ours.
type serverMessage struct {
	Version    string `json:"version"`
	Type       string `json:"type"`
	ID         string `json:"id"`
	Seq        int64  `json:"seq"`
	ClientSeq  int64  `json:"clientseq"`
	Parameters any    `json:"parameters"`
}

// parseDuration reads PT, seconds as a decimal, S: PT12.34S.
func parseDuration(s string) (time.Duration, error) {
	errForm := errors.New(`is no duration such as "PT12.34S"`)
	digits, ok := strings.CutPrefix(s, "PT")
	digits, end := strings.CutSuffix(digits, "S")
	whole, fraction, dot := strings.Cut(digits, ".")
	switch {
	case !ok || !end || whole == "" || dot && fraction == "":
		return 0, errForm
	case strings.Trim(whole+fraction, "0123456789") != "":
		return 0, errForm
	}
	var seconds float64
	for _, c := range []byte(whole) {
		seconds = seconds*10 + float64(c-'0')
	}
	if seconds >= maxPosition.Seconds() {
		return 0, fmt.Errorf("is beyond %v", maxPosition)
	}
	d := time.Duration(seconds) * time.Second
	unit := time.Second / 10
	for _, c := range []byte(fraction) {
		d += time.Duration(c-'0') * unit
		unit /= 10
	}
	return d, nil
}

// samples is the number of samples in d, to the nearest.
func samples(d time.Duration) int64 {
	return int64(math.Round(d.Seconds() * rate))
}

func isUUID(s string) bool {
	if len(s) != len(nilUUID) {
		return false
	}
	for i, c := range []byte(strings.ToLower(s)) {
		if hyphen := nilUUID[i] == '-'; hyphen != (c == '-') || !hyphen && strings.IndexByte("0123456789abcdef", c) < 0 {
			return false
		}
	}
	return true
}

// clip makes text of the source fit to be kept: no control characters, at most
// maxFact bytes.
func clip(s string) string { return clipTo(s, maxFact) }

func clipTo(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	for len(s) > n {
		_, last := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-last]
	}
	return s
}

// language is the ISO 639-1 code of a language tag such as de-DE; empty when
// there is none.
func language(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if len(primary) != 2 || strings.Trim(primary, "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return primary
}
