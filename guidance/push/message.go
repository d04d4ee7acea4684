package push

import (
	"time"

	"sidetone/guidance"
)

// The protocol, version 1. One WebSocket text message is one JSON object whose
// "type" names it. Wall times are RFC 3339, "_ms" fields of a transcript are
// milliseconds since the call began (the call clock). A receiver ignores fields
// and types it does not know.
//
// Server to pane, each with an example under testdata:
//
//	hello           first message: server time, version, language
//	snapshot        second message: everything the pane shows; replaces all
//	call_started    a call of this agent begins
//	leg             a leg was added to a call or changed its state, its role or
//	                its quality; what was said on it is the new role's
//	paused          nothing of the call is heard from now on, or it is again
//	away            nothing of the call arrives from now on, or it does again
//	utterance       a partial or final; final without words withdraws it
//	card            a card to show
//	card_withdrawn  a card turned out to be wrong and leaves
//	card_state      a pane of this agent used, dismissed or refused a card
//	call_ended      a call ended, in which state and why
//	draining        the server takes no new calls from now on, since it is about
//	                to stop, or it takes them again
//	search_results  the answer to a search, with its id
//	pong            the answer to a ping, with its id and the server time
//	error           the pane's message could not be served, and why
//
// Pane to server:
//
//	{"type":"ack","call":"c1","card":"k1","received_ms":1203.1,"painted_ms":1231.4,"sent_ms":1231.4}
//	{"type":"action","call":"c1","card":"k1","action":"used"}
//	{"type":"pause","call":"c1","paused":true}
//	{"type":"swap","call":"c1"}
//	{"type":"search","id":7,"text":"overdraft fee","language":"en"}
//	{"type":"ping","id":3}
//
// An ack's times are on the pane's monotonic clock (performance.now), so that
// only their differences count: how long the pane needed from receipt to paint,
// and, in an ack that is told again because a connection was lost, how long ago
// that was. sent_ms is absent from an ack that is told for the first time.
//
// A pane sends an action again on a new connection until a card_state or a
// snapshot shows what came of it, and an ack until a snapshot says "painted"; the
// server takes each once. After a reconnect the first snapshot may be "gathering":
// calls that it lacks may be on other servers, and a snapshot without that mark
// follows within two seconds.

// Call is what a pane is told about a call.
type Call struct {
	ID      string    `json:"id"`
	Agent   string    `json:"agent"`
	Started time.Time `json:"started"`
	Legs    []Leg     `json:"legs"`
	// Paused is why nothing of the call is heard; empty: it is.
	Paused string `json:"paused,omitempty"`
	// Away is why nothing of the call arrives although it runs; empty: it does.
	Away Away `json:"away,omitempty"`
	// Node is the server that has the call; the hub sets it.
	Node string `json:"node,omitempty"`
	// Taken grows whenever another server, or the same one after a restart, takes
	// the call on; the number of the event that says so in the call's journal will
	// do. Where two servers claim a call, the pane shows that of the higher one.
	Taken uint64 `json:"taken,omitempty"`
}

// Away says why nothing of a running call arrives.
type Away string

// The reasons for Away.
const (
	// AwayServer: the server that has the call cannot be reached.
	AwayServer Away = "server"
	// AwayFork: what brought the call's audio was lost and may come back.
	AwayFork Away = "fork"
)

// Leg is one party's audio as the pane shows it.
type Leg struct {
	ID string `json:"id"`
	// Role is "agent", "customer" or "unknown".
	Role     string `json:"role"`
	Identity string `json:"identity,omitempty"`
	// State is one of LegWaiting, LegLive, LegHeld, LegEnded.
	State LegState `json:"state"`
	// RoleReason is how the role is known.
	RoleReason string `json:"role_reason,omitempty"`
	// Doubt quotes what is said on the leg and speaks for the other role, where
	// the two parties of a call may have been swapped.
	Doubt string `json:"doubt,omitempty"`
	// DoubtVoice says that the agent's own voice is heard on the customer's leg.
	DoubtVoice bool `json:"doubt_voice,omitempty"`
	// Quality is there once audio has come.
	Quality *Quality `json:"quality,omitempty"`
	// Voice is there where the voice is compared with an enrolled one.
	Voice *Voice `json:"voice,omitempty"`
}

// Voice says whether the one who speaks is the person who was enrolled. It tells no
// number: a score invites to weigh what has been weighed.
type Voice struct {
	// Outcome is "match", "mismatch" or "inconclusive".
	Outcome string `json:"outcome"`
	// Reasons are why it is inconclusive, in the words of voiceprint.Reason.
	Reasons []string `json:"reasons,omitempty"`
	// Final says that there is an answer, or that none is to come.
	Final bool `json:"final,omitempty"`
}

// Quality is how well a leg's audio arrives.
type Quality struct {
	// Loss is the share of packets that were lost, in percent; Concealed that of
	// the audio that had to be made up.
	Loss      float64 `json:"loss_pct"`
	Concealed float64 `json:"concealed_pct"`
	JitterMS  float64 `json:"jitter_ms"`
	// Level is that of the speech in dBFS, Clipped the share of samples at the
	// limit in percent.
	Level   float64 `json:"level_dbfs"`
	Clipped float64 `json:"clipped_pct"`
	// Poor says that recognition suffers, and what of.
	Poor string `json:"poor,omitempty"`
}

// LegState says whether a leg carries audio.
type LegState string

// The states of a Leg.
const (
	LegWaiting LegState = "waiting"
	LegLive    LegState = "live"
	LegHeld    LegState = "held"
	LegEnded   LegState = "ended"
)

// Utterance is what one role is believed to say, as in asr.Hypothesis, with
// times on the call clock.
type Utterance struct {
	// Leg and No name the utterance within the call. Role is the leg's:
	// "agent", "customer" or "unknown".
	Leg  string `json:"leg"`
	Role string `json:"role"`
	No   int    `json:"utterance"`
	// Revision counts from 1; an older one than the last is ignored.
	Revision int  `json:"revision"`
	Final    bool `json:"final"`
	// Words belong to the hub once given. A final without words withdraws
	// the utterance.
	Words []Word `json:"words"`
	// Stable is the number of leading words that will not change.
	Stable  int   `json:"stable"`
	StartMS int64 `json:"start_ms"`
	EndMS   int64 `json:"end_ms"`
}

// Word is one word of an Utterance.
type Word struct {
	Text    string `json:"text"`
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms"`
	// Written, where there is one, is what to show for this word and those
	// after it. A pane that does not know it shows the words.
	Written *Written `json:"written,omitempty"`
}

// Written is the form in which words are written that were spoken: "$25" for
// three of them.
type Written struct {
	Text string `json:"text"`
	// Words is how many words it stands for, at least 1.
	Words int `json:"words"`
}

// State is what became of a card.
type State string

// The states of a card. Between Used, Dismissed and Wrong the agent may change
// their mind; Withdrawn is the server's and stays.
const (
	Live      State = "live"
	Used      State = "used"
	Dismissed State = "dismissed"
	Wrong     State = "wrong"
	Withdrawn State = "withdrawn"
)

// Result is one element found by a search.
type Result struct {
	Element  string `json:"element"`
	Version  int    `json:"version"`
	Language string `json:"language"`
	Title    string `json:"title"`
	// Customer is the wording to say, Internal the agent's own.
	Customer string   `json:"customer"`
	Internal string   `json:"internal,omitempty"`
	Steps    []string `json:"steps,omitempty"`
}

type (
	hello struct {
		Type     string    `json:"type"`
		Protocol int       `json:"protocol"`
		Agent    string    `json:"agent"`
		Time     time.Time `json:"time"`
		Version  string    `json:"version"`
		Language string    `json:"language"`
		Node     string    `json:"node,omitempty"`
	}
	// drainChanged says whether the server is about to stop and takes no new calls.
	drainChanged struct {
		Type     string `json:"type"`
		Draining bool   `json:"draining"`
	}
	snapshot struct {
		Type  string     `json:"type"`
		Calls []callView `json:"calls"`
		// Gathering says that other servers have not told of their calls yet.
		Gathering bool `json:"gathering,omitempty"`
	}
	// callView is a call as a snapshot shows it.
	callView struct {
		Call
		// Ended is absent while the call runs.
		Ended *ending `json:"ended,omitempty"`
		// Earlier counts utterances that are no longer kept.
		Earlier    int         `json:"earlier"`
		Utterances []Utterance `json:"utterances"`
		Cards      []cardView  `json:"cards"`
	}
	ending struct {
		At     time.Time `json:"at"`
		State  string    `json:"state"`
		Reason string    `json:"reason"`
	}
	// cardView is a card with what became of it. Painted says that a pane has
	// acknowledged it.
	cardView struct {
		Card    guidance.Card `json:"card"`
		State   State         `json:"state"`
		Reason  string        `json:"reason,omitempty"`
		Painted bool          `json:"painted"`
	}
	callStarted struct {
		Type string `json:"type"`
		Call Call   `json:"call"`
	}
	legChanged struct {
		Type string `json:"type"`
		Call string `json:"call"`
		Leg  Leg    `json:"leg"`
	}
	utterance struct {
		Type string `json:"type"`
		Call string `json:"call"`
		Utterance
	}
	pausedChanged struct {
		Type   string `json:"type"`
		Call   string `json:"call"`
		Paused string `json:"paused"`
	}
	awayChanged struct {
		Type string `json:"type"`
		Call string `json:"call"`
		Away Away   `json:"away"`
	}
	newCard struct {
		Type string `json:"type"`
		cardView
	}
	cardWithdrawn struct {
		Type   string `json:"type"`
		Call   string `json:"call"`
		Card   string `json:"card"`
		Reason string `json:"reason"`
	}
	cardState struct {
		Type  string `json:"type"`
		Call  string `json:"call"`
		Card  string `json:"card"`
		State State  `json:"state"`
	}
	callEnded struct {
		Type string `json:"type"`
		Call string `json:"call"`
		ending
	}
	searchResults struct {
		Type    string   `json:"type"`
		ID      int64    `json:"id"`
		Results []Result `json:"results"`
	}
	pong struct {
		Type string    `json:"type"`
		ID   int64     `json:"id"`
		Time time.Time `json:"time"`
	}
	problem struct {
		Type string `json:"type"`
		// Code is for programs: "bad_message", "too_fast", "unknown_card",
		// "unknown_call", "search_failed", "search_off", "unreachable".
		Code string `json:"code"`
		// About is the type of the message that was refused, if known, and ID
		// its id, if it has one.
		About string `json:"about,omitempty"`
		ID    int64  `json:"id,omitempty"`
		Text  string `json:"text"`
	}
)
