// Package journal holds what is kept of calls: events, in the order in which
// they happened, and the call that they add up to.
//
// An Event is immutable and durable; a Call is what its events say, and nothing
// else: Apply is the only way in which one changes, so that a running call, a
// call read back from the log and one found in the records are the same. The
// package is pure: logs and databases are its users.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Kind says what an Event tells; the type named beside it is its body.
type Kind string

// The kinds of Event.
const (
	// CallStarted begins a call: Started. It is always the first.
	CallStarted Kind = "call.started"
	// CallContinued tells that a call goes on after its server or its fork was
	// lost: Continued.
	CallContinued Kind = "call.continued"
	// CallAssigned gives a call to an agent's pane: Assigned.
	CallAssigned Kind = "call.assigned"
	// CallDescribed adds what the source tells besides: Described.
	CallDescribed Kind = "call.described"
	// CallPaused and CallResumed bound a time in which nothing was heard: Pause.
	CallPaused  Kind = "call.paused"
	CallResumed Kind = "call.resumed"
	// CallEnded gives a call its one end state: Ended. It is the last of the media
	// path; words, cards and what agents do with them may follow.
	CallEnded Kind = "call.ended"
	// CallClosed says that the last words are known: nothing but what agents do
	// with cards, and what becomes of the recording, may follow. It has no body.
	CallClosed Kind = "call.closed"
	// LegChanged tells what is known of a leg, the first time and whenever more
	// is: Leg.
	LegChanged Kind = "leg.changed"
	// LegLocated tells where a leg's audio arrives: Located.
	LegLocated Kind = "leg.located"
	// LegFared tells how a leg's audio arrives: Fared.
	LegFared Kind = "leg.fared"
	// UtteranceFinal is what was said: Final.
	UtteranceFinal Kind = "utterance.final"
	// IntentHeard is what was understood: Intent.
	IntentHeard Kind = "intent.heard"
	// CardShown, CardPainted, CardAnswered and CardWithdrawn are a card's life:
	// Card, Painted, Answered, Withdrawn.
	CardShown     Kind = "card.shown"
	CardPainted   Kind = "card.painted"
	CardAnswered  Kind = "card.answered"
	CardWithdrawn Kind = "card.withdrawn"
	// CustomerNamed tells who the customer is said to be: Named.
	CustomerNamed Kind = "customer.named"
	// VoiceDecided is a decision on who speaks: Voice.
	VoiceDecided Kind = "voice.decided"
	// RecordingKept says that the call's audio was kept: Recording.
	RecordingKept Kind = "recording.kept"
	// RecordingErased says that it was erased; it has no body.
	RecordingErased Kind = "recording.erased"
)

// Event is one thing that happened to a call.
type Event struct {
	// Key names the call for ever, even where its name is used again, and sorts by
	// the time of its start. It holds letters, digits and '-' only.
	Key string `json:"key"`
	// N orders the events of a call, from 1 without a hole.
	N  uint64    `json:"n"`
	At time.Time `json:"at"`
	// Node is the server that saw it.
	Node string `json:"node,omitempty"`
	Kind Kind   `json:"kind"`
	// Body is the type that belongs to Kind, as JSON; nil where it has none.
	Body json.RawMessage `json:"body,omitempty"`
}

// Key makes the key of a call that starts at the time; unique is 8 or more random
// letters and digits.
func Key(started time.Time, unique string) string {
	return started.UTC().Format("20060102-150405") + "-" + unique
}

// ValidKey says whether s can be a key.
func ValidKey(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// Vital says whether the event must not be given up for lack of space: all but
// what is told again or can be missed.
func (k Kind) Vital() bool {
	switch k {
	case LegFared, IntentHeard, CallDescribed, CardPainted:
		return false
	default:
		return true
	}
}

// The bodies of events. Times called MS are milliseconds since the call started.
type (
	// Started is the body of CallStarted.
	Started struct {
		// Call is the name by which the API knows the call.
		Call      string    `json:"call"`
		Agent     string    `json:"agent,omitempty"`
		Source    string    `json:"source"`
		External  string    `json:"external,omitempty"`
		Direction string    `json:"direction,omitempty"`
		Language  string    `json:"language,omitempty"`
		Phrases   []string  `json:"phrases,omitempty"`
		Started   time.Time `json:"started"`
		// Record says that the audio is to be kept.
		Record bool `json:"record,omitempty"`
	}
	// Continued is the body of CallContinued.
	Continued struct {
		// Reason says what was lost, GapMS for how long nothing was heard.
		Reason string `json:"reason"`
		GapMS  int64  `json:"gap_ms"`
	}
	// Assigned is the body of CallAssigned.
	Assigned struct {
		Agent string `json:"agent"`
	}
	// Described is the body of CallDescribed.
	Described struct {
		Facts map[string]string `json:"facts"`
	}
	// Pause is the body of CallPaused and CallResumed.
	Pause struct {
		MS     int64  `json:"ms"`
		Reason string `json:"reason"`
	}
	// Ended is the body of CallEnded.
	Ended struct {
		// State is one of "ended", "refused", "aborted", "lost" and "timed out".
		State  string    `json:"state"`
		Reason string    `json:"reason,omitempty"`
		At     time.Time `json:"at"`
	}
	// Located is the body of LegLocated.
	Located struct {
		Leg     string `json:"leg"`
		Address string `json:"address,omitempty"`
		Codec   string `json:"codec,omitempty"`
		// Port is the server's own, PayloadType what was announced beside the codec.
		Port        uint16 `json:"port,omitempty"`
		PayloadType uint8  `json:"payload_type,omitempty"`
		// From is the only address that may send the leg, where one was announced.
		From string `json:"from,omitempty"`
	}
	// Fared is the body of LegFared.
	Fared struct {
		Leg   string   `json:"leg"`
		Stats LegStats `json:"stats"`
		// Over says that the leg has ended.
		Over bool `json:"over,omitempty"`
	}
	// Final is the body of UtteranceFinal; without words it withdraws what was
	// shown before.
	Final struct {
		Leg       string `json:"leg"`
		Role      string `json:"role"`
		Utterance int    `json:"utterance"`
		Revision  int    `json:"revision"`
		StartMS   int64  `json:"start_ms"`
		EndMS     int64  `json:"end_ms"`
		Text      string `json:"text"`
		// Written is the text with spoken numbers, dates and amounts as they are
		// written, where that differs.
		Written string `json:"written,omitempty"`
		Words   []Word `json:"words,omitempty"`
	}
	// Word is a word of a Final. Joined says that no space stands before it.
	Word struct {
		Text       string  `json:"text"`
		StartMS    int64   `json:"start_ms"`
		EndMS      int64   `json:"end_ms"`
		Confidence float32 `json:"confidence,omitempty"`
		Joined     bool    `json:"joined,omitempty"`
	}
	// Intent is the body of IntentHeard.
	Intent struct {
		Intent string  `json:"intent"`
		Score  float64 `json:"score"`
		Final  bool    `json:"final"`
	}
	// Card is the body of CardShown.
	Card struct {
		ID string `json:"id"`
		// Card is the whole card as the API tells it.
		Card json.RawMessage `json:"card"`
	}
	// Painted is the body of CardPainted: the first time that a pane showed it.
	Painted struct {
		ID    string    `json:"id"`
		Agent string    `json:"agent"`
		At    time.Time `json:"at"`
		// LatencyMS is from the end of the last triggering word, FromWords says that
		// there was one.
		LatencyMS int64 `json:"latency_ms"`
		FromWords bool  `json:"from_words"`
	}
	// Answered is the body of CardAnswered.
	Answered struct {
		ID    string `json:"id"`
		Agent string `json:"agent"`
		// State is "used", "dismissed" or "wrong".
		State string `json:"state"`
	}
	// Withdrawn is the body of CardWithdrawn.
	Withdrawn struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
	}
	// Named is the body of CustomerNamed: the last one holds.
	Named struct {
		// Customer is what the contact centre calls the customer, such as a number of
		// its own; empty: nobody knows any more.
		Customer string `json:"customer"`
		// By is who says so.
		By string `json:"by"`
		// Confirmed is what has confirmed on this call that it is them, such as "pin";
		// empty: nothing has.
		Confirmed string `json:"confirmed,omitempty"`
	}
	// Voice is the body of VoiceDecided.
	Voice struct {
		Leg string `json:"leg"`
		// Decision is "match", "mismatch" or "inconclusive".
		Decision string `json:"decision"`
		// NetMS is the speech it rests on.
		NetMS   int64    `json:"net_ms"`
		Reasons []string `json:"reasons,omitempty"`
		// Whole is everything that the decision can be defended with.
		Whole json.RawMessage `json:"whole,omitempty"`
	}
	// Recording is the body of RecordingKept.
	Recording struct {
		// Format is "flac" or "wav", Bytes the encrypted size.
		Format     string `json:"format"`
		DurationMS int64  `json:"duration_ms"`
		Bytes      int64  `json:"bytes"`
		// Left and Right are the legs that are heard there.
		Left  []string `json:"left,omitempty"`
		Right []string `json:"right,omitempty"`
		// LostMS is how much audio came but could not be kept, Problem why.
		LostMS  int64  `json:"lost_ms,omitempty"`
		Problem string `json:"problem,omitempty"`
	}
)

// ErrBroken is in the chain of errors about events that do not fit together or
// cannot be read.
var ErrBroken = errors.New("the journal is broken")

// New makes an event. A nil body is none.
func New(key string, n uint64, at time.Time, kind Kind, body any) (Event, error) {
	e := Event{Key: key, N: n, At: at.UTC().Round(time.Microsecond), Kind: kind}
	if body == nil {
		return e, nil
	}
	var err error
	if e.Body, err = json.Marshal(body); err != nil {
		return Event{}, fmt.Errorf("journal: %s of call %s: %w", kind, key, err)
	}
	return e, nil
}

// ID is unique among all events.
func (e *Event) ID() string { return e.Key + "." + strconv.FormatUint(e.N, 10) }

// Into reads the body.
func (e *Event) Into(body any) error {
	if err := json.Unmarshal(e.Body, body); err != nil {
		return fmt.Errorf("journal: %s, event %s: %w: %w", e.Kind, e.ID(), ErrBroken, err)
	}
	return nil
}
