package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Call is a call as its events tell it, and as the API does.
type Call struct {
	// Key and N are those of the last event applied.
	Key string `json:"key"`
	N   uint64 `json:"events"`
	// Node is the server that has the call, or had it last.
	Node  string `json:"node,omitempty"`
	Call  string `json:"call"`
	Agent string `json:"agent"`
	// Source is the protocol that brought the call, External the source's own name
	// of it.
	Source    string `json:"source"`
	External  string `json:"external,omitempty"`
	Direction string `json:"direction,omitempty"`
	Language  string `json:"language,omitempty"`
	// Phrases are what the call was said to be likely to mention.
	Phrases []string `json:"phrases,omitempty"`
	// Facts are what the source tells besides.
	Facts   map[string]string `json:"facts,omitempty"`
	Started time.Time         `json:"started"`
	Ended   *time.Time        `json:"ended,omitempty"`
	// State is "running" or the end state.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Closed says that nothing of what was said is still to come.
	Closed bool  `json:"closed"`
	Legs   []Leg `json:"legs"`
	// Transcript is the finals of both sides in the order of their speech.
	Transcript []Spoken `json:"transcript"`
	// Pauses are the times in which nothing was heard, and why.
	Pauses []Span `json:"pauses,omitempty"`
	// Gaps are those that nobody wanted: server or fork were lost.
	Gaps   []Continued `json:"gaps,omitempty"`
	Cards  []Shown     `json:"cards"`
	Voices []Voice     `json:"voice,omitempty"`
	// Named is who the customer is said to be; empty where nobody has said.
	Named string `json:"customer,omitempty"`
	// Confirmed is what has confirmed it on this call besides the voice; empty: nothing.
	Confirmed string `json:"customer_confirmed,omitempty"`
	// Record says that the audio is to be kept; Recording is there once it was.
	Record    bool       `json:"record,omitempty"`
	Recording *Recording `json:"recording,omitempty"`
	// last is when the last event happened.
	last time.Time
}

// Leg is what is known of a leg; it is the body of LegChanged, too.
type Leg struct {
	ID   string `json:"id"`
	Role string `json:"role"`
	// RoleReason is how the role is known, Conflicts what speaks against it.
	RoleReason string   `json:"role_reason"`
	Conflicts  []string `json:"role_conflicts,omitempty"`
	// Fixed says that somebody chose the role by hand.
	Fixed    bool   `json:"role_fixed,omitempty"`
	Identity string `json:"identity,omitempty"`
	Name     string `json:"name,omitempty"`
	Label    string `json:"label,omitempty"`
	Mixed    bool   `json:"mixed,omitempty"`
	Address  string `json:"address,omitempty"`
	Codec    string `json:"codec,omitempty"`
	// Port is the server's own where the leg arrives as RTP.
	Port        uint16 `json:"port,omitempty"`
	PayloadType uint8  `json:"payload_type,omitempty"`
	// From is the only address that may send the leg, where one was announced.
	From  string `json:"from,omitempty"`
	Ended bool   `json:"ended"`
	// Stats is there once audio has come.
	Stats *LegStats `json:"stats,omitempty"`
}

// LegStats is how a leg's audio has arrived. Levels are in dBFS.
type LegStats struct {
	Received        uint64  `json:"received"`
	Lost            uint64  `json:"lost"`
	Late            uint64  `json:"late"`
	Duplicate       uint64  `json:"duplicate"`
	Reordered       uint64  `json:"reordered"`
	Invalid         uint64  `json:"invalid"`
	Foreign         uint64  `json:"foreign"`
	RTCP            uint64  `json:"rtcp"`
	SSRCChanges     uint64  `json:"ssrc_changes"`
	ConcealedFrames uint64  `json:"concealed_frames"`
	InsertedFrames  uint64  `json:"inserted_frames"`
	DroppedFrames   uint64  `json:"dropped_frames"`
	JitterMS        float64 `json:"jitter_ms"`
	// Forged packets were not authentic by SRTP.
	Forged uint64 `json:"forged,omitempty"`
	// Frames are all that were handed on, SpeechFrames those with speech, whose
	// level and peak follow.
	Frames       uint64  `json:"frames"`
	SpeechFrames uint64  `json:"speech_frames"`
	Level        float64 `json:"level_dbfs"`
	Peak         float64 `json:"peak_dbfs"`
	Clipped      uint64  `json:"clipped_samples"`
	LongestGapMS int64   `json:"longest_gap_ms"`
	// SkewPPM is how much faster the sender's clock runs than ours, once known.
	SkewPPM *float64 `json:"skew_ppm,omitempty"`
}

// Spoken is a final of the transcript.
type Spoken struct {
	Final
}

// MarshalJSON leaves the words' times to the journal.
func (s Spoken) MarshalJSON() ([]byte, error) {
	f := s.Final
	f.Words = nil
	return json.Marshal(f)
}

// Span is a time on the call's clock in which nothing was heard.
type Span struct {
	StartMS int64  `json:"start_ms"`
	EndMS   *int64 `json:"end_ms,omitempty"`
	Reason  string `json:"reason"`
	Resumed string `json:"resumed,omitempty"`
}

// Shown is a card and what became of it. Its JSON is the card's own with state,
// reason, latency_ms, painted and from_words added.
type Shown struct {
	Card
	// State is "live", "used", "dismissed", "wrong" or "withdrawn", Reason why it
	// was withdrawn.
	State  string
	Reason string
	// Painted is there once a pane has shown it.
	Painted *Painted
}

// shownJSON is what Shown adds to a card.
type shownJSON struct {
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Latency *int64 `json:"latency_ms,omitempty"`
	// Painted and From have no latency's meaning of their own: a card without
	// words counts from its birth.
	Painted *time.Time `json:"painted,omitempty"`
	From    *bool      `json:"from_words,omitempty"`
	Agent   string     `json:"painted_by,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s Shown) MarshalJSON() ([]byte, error) {
	add := shownJSON{State: s.State, Reason: s.Reason}
	if p := s.Painted; p != nil {
		add.Latency, add.Painted, add.From, add.Agent = &p.LatencyMS, &p.At, &p.FromWords, p.Agent
	}
	tail, err := json.Marshal(add)
	if err != nil {
		return nil, err
	}
	head := bytes.TrimSpace(s.Card.Card)
	if len(head) < 2 || head[0] != '{' {
		return nil, fmt.Errorf("card %s: %w: it is no object", s.ID, ErrBroken)
	}
	head = bytes.TrimSpace(head[:len(head)-1])
	if len(head) > 1 {
		tail[0] = ','
		return append(slices.Clip(head), tail...), nil
	}
	return tail, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Shown) UnmarshalJSON(b []byte) error {
	var id struct {
		ID string `json:"id"`
	}
	var add shownJSON
	if err := json.Unmarshal(b, &id); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &add); err != nil {
		return err
	}
	var card map[string]json.RawMessage
	if err := json.Unmarshal(b, &card); err != nil {
		return err
	}
	for _, name := range []string{"state", "reason", "latency_ms", "painted", "from_words", "painted_by"} {
		delete(card, name)
	}
	own, err := json.Marshal(card)
	if err != nil {
		return err
	}
	*s = Shown{Card: Card{ID: id.ID, Card: own}, State: add.State, Reason: add.Reason}
	if add.Painted != nil && add.Latency != nil && add.From != nil {
		s.Painted = &Painted{ID: id.ID, Agent: add.Agent, At: *add.Painted, LatencyMS: *add.Latency, FromWords: *add.From}
	}
	return nil
}

// tellable says what is wrong with a card that would make its call one that cannot
// be told or read back.
func (s *Shown) tellable() error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var back Shown
	if err = json.Unmarshal(b, &back); err != nil {
		return err
	}
	if back.ID != s.ID {
		return fmt.Errorf("card %q calls itself %q", s.ID, back.ID)
	}
	return nil
}

// Last is when the call's last event happened.
func (c *Call) Last() time.Time { return c.last }

// Running says whether the call has no end state yet.
func (c *Call) Running() bool { return c.State == running }

const running = "running"

// Customer is the address of the customer, as the source tells it; empty where
// nobody knows.
func (c *Call) Customer() string {
	for _, l := range c.Legs {
		if l.Role == "customer" && l.Identity != "" {
			return l.Identity
		}
	}
	return ""
}

// Clone is a copy that later events do not change.
func (c *Call) Clone() Call {
	o := *c
	o.Legs, o.Transcript, o.Pauses = slices.Clone(c.Legs), slices.Clone(c.Transcript), slices.Clone(c.Pauses)
	o.Gaps, o.Cards, o.Voices = slices.Clone(c.Gaps), slices.Clone(c.Cards), slices.Clone(c.Voices)
	return o
}

// Apply lets an event change the call. An event that came before is ignored; one
// that leaves a hole, is of another call or cannot be read is an error that wraps
// ErrBroken, and changes nothing. Kinds that are not known are counted only: a
// newer server may have written them.
func (c *Call) Apply(e Event) error {
	if c.N == 0 && e.Kind != CallStarted {
		return fmt.Errorf("journal: event %s: %w: a call begins with %s, not %s", e.ID(), ErrBroken, CallStarted, e.Kind)
	}
	if c.N > 0 && e.Key != c.Key {
		return fmt.Errorf("journal: event %s: %w: it is not of call %s", e.ID(), ErrBroken, c.Key)
	}
	if e.N <= c.N {
		return nil
	}
	if e.N != c.N+1 {
		return fmt.Errorf("journal: event %s: %w: %d events before it are missing", e.ID(), ErrBroken, e.N-c.N-1)
	}
	if err := c.apply(&e); err != nil {
		return err
	}
	c.Key, c.N, c.last = e.Key, e.N, e.At
	if e.Node != "" {
		c.Node = e.Node
	}
	return nil
}

func (c *Call) apply(e *Event) error {
	switch e.Kind {
	case CallStarted:
		return read(e, func(b *Started) {
			*c = Call{
				Call: b.Call, Agent: b.Agent, Source: b.Source, External: b.External, Direction: b.Direction, Language: b.Language,
				Phrases: b.Phrases, Started: b.Started, Record: b.Record, State: running, Legs: []Leg{}, Transcript: []Spoken{}, Cards: []Shown{},
			}
		})
	case CallContinued:
		return read(e, func(b *Continued) { c.Gaps = append(c.Gaps, *b) })
	case CallAssigned:
		return read(e, func(b *Assigned) { c.Agent = b.Agent })
	case CallDescribed:
		return read(e, func(b *Described) {
			// The map is shared with those who read a Clone: it is replaced.
			all := maps.Clone(c.Facts)
			if all == nil {
				all = map[string]string{}
			}
			maps.Copy(all, b.Facts)
			c.Facts = all
		})
	case CallPaused:
		return read(e, func(b *Pause) { c.Pauses = append(c.Pauses, Span{StartMS: b.MS, Reason: b.Reason}) })
	case CallResumed:
		return read(e, func(b *Pause) {
			if i := len(c.Pauses) - 1; i >= 0 && c.Pauses[i].EndMS == nil {
				c.Pauses[i].EndMS, c.Pauses[i].Resumed = &b.MS, b.Reason
			}
		})
	case CallEnded:
		return read(e, func(b *Ended) {
			if c.State == running {
				c.Ended, c.State, c.Reason = &b.At, b.State, b.Reason
			}
		})
	case CallClosed:
		c.Closed = true
		return nil
	case LegChanged, LegLocated, LegFared:
		return c.applyLeg(e)
	case UtteranceFinal:
		return read(e, c.hear)
	case CardShown, CardPainted, CardAnswered, CardWithdrawn:
		return c.applyCard(e)
	case CustomerNamed:
		return read(e, func(b *Named) { c.Named, c.Confirmed = b.Customer, b.Confirmed })
	case VoiceDecided:
		return read(e, func(b *Voice) { c.Voices = append(c.Voices, *b) })
	case RecordingKept:
		return read(e, func(b *Recording) { c.Recording = b })
	case RecordingErased:
		c.Recording = nil
	}
	return nil
}

func (c *Call) applyLeg(e *Event) error {
	switch e.Kind {
	case LegChanged:
		return read(e, func(b *Leg) {
			i := c.leg(b.ID)
			if i < 0 || c.Legs[i].Ended {
				c.Legs = append(c.Legs, *b)
				return
			}
			old := &c.Legs[i]
			b.Address, b.Codec, b.Port, b.PayloadType, b.Stats = old.Address, old.Codec, old.Port, old.PayloadType, old.Stats
			if b.Role != old.Role {
				c.relabel(b.ID, b.Role)
			}
			*old = *b
		})
	case LegLocated:
		return read(e, func(b *Located) {
			if i := c.leg(b.Leg); i >= 0 {
				l := &c.Legs[i]
				l.Address, l.Codec, l.Port, l.PayloadType, l.From = b.Address, b.Codec, b.Port, b.PayloadType, b.From
			}
		})
	default:
		return read(e, func(b *Fared) {
			if i := c.leg(b.Leg); i >= 0 {
				c.Legs[i].Stats, c.Legs[i].Ended = &b.Stats, c.Legs[i].Ended || b.Over
			}
		})
	}
}

// leg finds the newest leg of that name: a name may come again after its leg has
// ended.
func (c *Call) leg(id string) int {
	for i := range slices.Backward(c.Legs) {
		if c.Legs[i].ID == id {
			return i
		}
	}
	return -1
}

// relabel gives what was said on a leg the role that the leg has now.
func (c *Call) relabel(leg, role string) {
	for i := range c.Transcript {
		if c.Transcript[i].Leg == leg {
			c.Transcript[i].Role = role
		}
	}
}

// hear puts a final in its place.
func (c *Call) hear(f *Final) {
	c.Transcript = slices.DeleteFunc(c.Transcript, func(s Spoken) bool { return s.Leg == f.Leg && s.Utterance == f.Utterance })
	if f.Text == "" {
		return
	}
	at := len(c.Transcript)
	for at > 0 && c.Transcript[at-1].StartMS > f.StartMS {
		at--
	}
	c.Transcript = slices.Insert(c.Transcript, at, Spoken{*f})
}

func (c *Call) applyCard(e *Event) error {
	card := func(id string, do func(*Shown)) {
		if i := slices.IndexFunc(c.Cards, func(s Shown) bool { return s.ID == id }); i >= 0 {
			do(&c.Cards[i])
		}
	}
	switch e.Kind {
	case CardShown:
		s := Shown{State: "live"}
		if err := e.Into(&s.Card); err != nil {
			return err
		}
		if err := s.tellable(); err != nil {
			return fmt.Errorf("journal: %s, event %s: %w: %w", e.Kind, e.ID(), ErrBroken, err)
		}
		c.Cards = append(c.Cards, s)
		return nil
	case CardPainted:
		return read(e, func(b *Painted) {
			card(b.ID, func(s *Shown) {
				if s.Painted == nil {
					s.Painted = b
				}
			})
		})
	case CardAnswered:
		return read(e, func(b *Answered) {
			card(b.ID, func(s *Shown) {
				if s.State != "withdrawn" {
					s.State = b.State
				}
			})
		})
	default:
		return read(e, func(b *Withdrawn) {
			card(b.ID, func(s *Shown) {
				if s.State == "live" {
					s.State, s.Reason = "withdrawn", b.Reason
				}
			})
		})
	}
}

// read decodes the body before do changes anything.
func read[T any](e *Event, do func(*T)) error {
	b := new(T)
	if err := e.Into(b); err != nil {
		return err
	}
	do(b)
	return nil
}
