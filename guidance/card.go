// Package guidance turns what is said on a call into cards for the agent:
// hypotheses go in, cards come out, each with its reason.
//
// It knows transcripts, not audio. What it wants from a knowledge base it
// declares itself; its children find intents, hold playbooks and carry cards to
// the agent's pane.
package guidance

import "time"

// Kind says what a card asks of the agent.
type Kind string

// The kinds of Card.
const (
	Answer     Kind = "answer"
	Action     Kind = "action"
	Script     Kind = "script"
	Checklist  Kind = "checklist"
	Compliance Kind = "compliance"
	Offer      Kind = "offer"
	Alert      Kind = "alert"
)

// Said is a run of words that somebody spoke, the proof behind a card.
type Said struct {
	// Leg is the leg it was said on, Role who spoke: "agent", "customer" or
	// "unknown".
	Leg  string `json:"leg"`
	Role string `json:"role"`
	// Text is the words as recognised.
	Text string `json:"text"`
	// Utterance is the number of the leg's utterance.
	Utterance int `json:"utterance"`
	// StartMS and EndMS are milliseconds since the call began.
	StartMS int64 `json:"start_ms"`
	EndMS   int64 `json:"end_ms"`
}

// Why is the reason a card appeared, for the agent's glance and for an audit.
type Why struct {
	// Words are what was said, in the order spoken. A card that appears
	// because something was not said has none and says so in Note.
	Words []Said `json:"words,omitempty"`
	Note  string `json:"note,omitempty"`
	// Rule names the playbook's rule, Intent what the speaker wants.
	Rule   string `json:"rule"`
	Intent string `json:"intent,omitempty"`
	// Element and Version name the piece of knowledge shown.
	Element string `json:"element,omitempty"`
	Version int    `json:"version,omitempty"`
}

// Card is one next best action on the agent's pane. It is immutable; a change
// is a withdrawal and another card.
type Card struct {
	ID       string   `json:"id"`
	Call     string   `json:"call"`
	Kind     Kind     `json:"kind"`
	Title    string   `json:"title"`
	Body     string   `json:"body"`
	Steps    []string `json:"steps,omitempty"`
	Language string   `json:"language"`
	Why      Why      `json:"why"`
	// Priority orders cards, the highest first; 0 to 100.
	Priority int `json:"priority"`
	// Born is when the rule fired, Expires when the card leaves by itself.
	Born    time.Time `json:"born"`
	Expires time.Time `json:"expires"`
	// Key is equal for cards that say the same thing; only one is shown.
	Key string `json:"key"`
}
