package guidance

import (
	"slices"
	"time"

	"sidetone/asr"
)

// Mention is an intent found in what was said on a leg.
type Mention struct {
	Intent string
	// Score is how sure the phrase is, 0 to 1.
	Score float64
	// Phrase is the pattern that matched, as it was written.
	Phrase string
	// Words prove the intent: from the first to the last that matched, in the
	// order spoken. They may begin in an earlier utterance of the same leg.
	Words []Ref
}

// Ref is one word of an utterance.
type Ref struct {
	// Utterance and Index say which word it is: asr.Hypothesis.Utterance and
	// the position in its Words.
	Utterance, Index int
	Text             string
	// Start and End are samples on the leg's clock.
	Start, End int64
}

// Spotter knows the intents of a playbook. It is immutable and safe for
// concurrent use.
type Spotter interface {
	// Listen begins a leg on which a role speaks: "agent", "customer" or
	// "unknown".
	Listen(role string) Listener
}

// Listener is the ear for one leg, used by one goroutine.
type Listener interface {
	// Hear returns what the words that can be relied on say: the stable ones of
	// a partial, all of a final. It is the whole of the utterance's intents,
	// each once, at each call; the slice is valid until the next one.
	Hear(h *asr.Hypothesis) []Mention
}

// Playbook is what sessions follow. It is immutable; a reload is a new value,
// which the next call takes.
type Playbook struct {
	Name    string
	Spotter Spotter
	// Speakers knows what agents and customers say at the beginning of a call,
	// for package speaker.
	Speakers Spotter
	Stages   []Stage
	Rules    []Rule
}

// Elements are the ids of the knowledge that the rules show, each once, in
// alphabetical order.
func (p *Playbook) Elements() []string {
	var out []string
	for i := range p.Rules {
		if id := p.Rules[i].Card.Element; id != "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Stage is a part of the call. It begins when one of its intents is heard; the
// first stage is there from the start.
type Stage struct {
	ID     string
	Begins []string
}

// Rule turns what is said, or not said, into a card.
type Rule struct {
	ID   string
	When When
	// Stages are the parts of the call in which it may fire; empty means all.
	Stages []string
	Card   Template
}

// Breath is how far apart things said belong together.
const Breath = 15 * time.Second

// When is a rule's condition.
type When struct {
	// Start makes the beginning of the call a trigger.
	Start bool
	// Intents trigger, any of them.
	Intents []string
	// Score is what the evidence for the intent must reach. Evidence of several
	// utterances adds up.
	Score float64
	// Said must all have been heard by then.
	Said []string
	// NotSaid must not have been heard by then, none of them. A card that
	// stands because they were not said is withdrawn when one is.
	NotSaid []string
	// Unless must not have been heard in the same breath: within Breath before
	// or after the trigger. They say that something else is meant.
	Unless []string
	// By delays the verdict on NotSaid: it falls this long after the trigger.
	By time.Duration
}

// Template is the card of a rule.
type Template struct {
	Kind Kind
	// Element is the id of the knowledge to show. Where the knowledge base does
	// not have it, Search is looked for instead.
	Element, Search string
	// Text is shown where there is no Element, by language.
	Text     map[string]Text
	Priority int
	// Expires is how long the card stands; Cooldown how long after it appeared
	// no other with the same Key does.
	Expires, Cooldown time.Duration
	Key               string
}

// Text is the wording of a card that is written in the playbook itself.
type Text struct {
	Title string
	Body  string
	Steps []string
}
