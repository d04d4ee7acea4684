// Package media holds the words in which the rest of Sidetone speaks of a
// call's audio: calls, legs, roles, how they end, and the Sink that takes them.
//
// It knows nothing of speech. Implementations are its child packages.
package media

import (
	"time"

	"sidetone/internal/pcm"
)

// Role says who speaks on a leg.
type Role uint8

// The roles of a leg. A leg whose role nobody announced is RoleUnknown.
const (
	RoleUnknown Role = iota
	RoleAgent
	RoleCustomer
)

// String is the role's name as it stands in APIs, logs and rules.
func (r Role) String() string {
	switch r {
	case RoleAgent:
		return "agent"
	case RoleCustomer:
		return "customer"
	default:
		return "unknown"
	}
}

// ParseRole is the inverse of Role.String; ok is false for any other text.
func ParseRole(s string) (r Role, ok bool) {
	switch s {
	case "agent":
		return RoleAgent, true
	case "customer":
		return RoleCustomer, true
	case "unknown", "":
		return RoleUnknown, true
	default:
		return RoleUnknown, false
	}
}

// Call names a call, once, when it begins.
type Call struct {
	// ID is the caller-given or generated name, unique among running calls.
	ID string
	// Agent is the person whose pane shows the call.
	Agent string
	// Source is the protocol that brought the call, such as "rtp".
	Source string
	// External is the name that the source's own system gives the call, if it is
	// another than ID: a SIP Call-ID, a stream's or a conversation's id.
	External string
	// Direction is which side dialled, if the source tells it.
	Direction Direction
	// Language is what is spoken, ISO 639-1, if the source tells it.
	Language string
	// Phrases are names and wordings that the call is likely to mention.
	Phrases []string
	// Record is whether the call's audio shall be kept; nil: nobody says.
	Record *bool
	// Started is the wall time at which the call was announced.
	Started time.Time
}

// Direction says who called whom.
type Direction uint8

// The directions of a call, as the contact centre sees them.
const (
	DirectionUnknown Direction = iota
	// Inbound: the customer called.
	Inbound
	// Outbound: the contact centre called.
	Outbound
)

// String is the direction's name as it stands in APIs and logs.
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	default:
		return "unknown"
	}
}

// Leg is one direction of one party's audio.
type Leg struct {
	// ID is unique within the call.
	ID string
	// Label is the source's name of the stream, such as an SDP label or a track.
	Label string
	// Role is who speaks, RoleReason is how that is known ("announced by API").
	Role       Role
	RoleReason string
	// Identity is the party's address when the source tells it, such as
	// sip:2207@pbx.example, Name its display name.
	Identity string
	Name     string
	// Party is whether the leg's party made the call or was called, if the source
	// tells it.
	Party Party
	// Mixed is set where more than one party is heard.
	Mixed bool
}

// Party says which end of a call a leg is.
type Party uint8

// The ends of a call.
const (
	PartyUnknown Party = iota
	// Caller made the call, Called was called.
	Caller
	Called
)

// String is the party's name as it stands in APIs and logs.
func (p Party) String() string {
	switch p {
	case Caller:
		return "caller"
	case Called:
		return "called"
	default:
		return "unknown"
	}
}

// MarkKind says what happened on a leg at one point of its clock.
type MarkKind uint8

// The kinds of Mark.
const (
	// MarkStarted: the first packet arrived; Wall is its arrival.
	MarkStarted MarkKind = iota + 1
	// MarkSSRCChanged: another synchronisation source took over the leg.
	MarkSSRCChanged
	// MarkStalled and MarkResumed: packets stopped coming, and came again.
	MarkStalled
	MarkResumed
	// MarkDigit: a key was pressed, as a telephone event (RFC 4733) or a message
	// of the source.
	MarkDigit
	// MarkHeld and MarkUnheld: the source said that the leg is on hold, and no
	// longer is.
	MarkHeld
	MarkUnheld
	// MarkDiscarded: the source lost audio before it reached us.
	MarkDiscarded
)

// Mark is an event on a leg that is not audio.
type Mark struct {
	Kind MarkKind
	// At is the position on the leg's clock, in samples at pcm.Rate.
	At int64
	// Wall is the wall time at which the event was seen.
	Wall time.Time
	// Digit is the key of MarkDigit: 0 to 9, *, #, A to D, or ! for a flash. It
	// may be part of a secret: it must be neither logged nor kept.
	Digit byte
}

// EndState is how a call or a leg ended. Every call has exactly one.
type EndState uint8

// The end states.
const (
	// Ended: the other side said that the call is over.
	Ended EndState = iota + 1
	// TimedOut: no packet came for the configured time.
	TimedOut
	// Aborted: Sidetone stopped the call, at shutdown or on an error of its own.
	Aborted
	// Refused: the call never began.
	Refused
	// Lost: the other side vanished without a goodbye: its connection broke, or
	// the server that had the call.
	Lost
)

// String is the state's name as it stands in APIs and logs.
func (s EndState) String() string {
	switch s {
	case Ended:
		return "ended"
	case TimedOut:
		return "timed out"
	case Aborted:
		return "aborted"
	case Refused:
		return "refused"
	case Lost:
		return "lost"
	default:
		return "running"
	}
}

// End is how and why a call or a leg ended.
type End struct {
	State  EndState
	Reason string
	At     time.Time
}

// LegStats is what one leg's stream has seen so far. Counts are packets unless
// the name says otherwise.
type LegStats struct {
	Received, Lost, Late, Duplicate, Reordered uint64
	// Invalid counts datagrams that were no acceptable RTP: too short, wrong
	// version, wrong payload type, empty.
	Invalid uint64
	// Foreign counts datagrams from a source other than the latched one.
	Foreign uint64
	// Forged counts packets that SRTP found not authentic.
	Forged uint64
	// RTCP counts control packets, Byes the sources that said goodbye in them.
	RTCP, Byes uint64
	// Noise counts packets of comfort noise (RFC 3389); NoiseLevel is the level
	// that the newest one gave, in dBov, from 0 down to -127.
	Noise      uint64
	NoiseLevel int
	// SSRCChanges counts switches to another synchronisation source.
	SSRCChanges uint64
	// ConcealedFrames and InsertedFrames count 20 ms frames.
	ConcealedFrames, InsertedFrames uint64
	// Jitter is RFC 3550's interarrival jitter.
	Jitter time.Duration
	// Origin is the sender's own wall time at the leg's position zero, from RTCP
	// sender reports; zero until one has come. The difference of two legs that
	// have it is where they belong on one timeline, to within a packet or two,
	// if their senders share a clock.
	Origin time.Time
	// Quality is what was measured besides.
	Quality Quality
}

// Quality says how a leg sounds and how evenly it comes.
type Quality struct {
	// Frames counts the 20 ms frames that were handed on; LegStats says how many
	// of them were concealed or inserted.
	Frames uint64
	// SpeechFrames counts those in which somebody speaks, Level is their power
	// and Peak the largest sample, both in dBFS: 0 is full scale. Level and Peak
	// mean nothing without SpeechFrames.
	SpeechFrames uint64
	Level, Peak  float64
	// Clipped counts samples that were cut off at full scale.
	Clipped uint64
	// LongestGap is the longest time between two arrivals of audio.
	LongestGap time.Duration
	// Skew is by how many parts per million the sender's clock runs faster than
	// ours. It takes a minute to tell, until which SkewKnown is false.
	Skew      float64
	SkewKnown bool
}

// StatsEvery is how often a StatsSink is told, on the wall clock.
const StatsEvery = 2 * time.Second

// StatsSink is a LegSink that wants to know how its leg fares while it runs.
type StatsSink interface {
	// Stats hands over what the leg has seen so far, about each StatsEvery. It
	// comes as Frame does, and must not block.
	Stats(s LegStats)
}

// LegSink takes one leg's audio, from one goroutine. Calls arrive in the order
// of the leg's clock; none comes after End.
type LegSink interface {
	// Frame hands over 20 ms. The frame is valid during the call only. Frame
	// must not block: the media path waits for nobody.
	Frame(f *pcm.Frame)
	// Mark hands over an event at its place between frames.
	Mark(m Mark)
	// End is the last call.
	End(e End, s LegStats)
}
