package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The letters between servers, version 1. One is a line of JSON, the envelope,
// and after it, for some kinds, a message of the panes' protocol (message.go) as
// it is: a server that follows an agent's calls elsewhere is told what a pane is
// told.
//
//	subject            kinds
//	panes.all          here, leave, bye
//	panes.to.<node>    beat, want, part, delta
//	panes.ask.<node>   do, answered by done
//
//	here   the sender is there; it has panes of these agents. With fresh it knows
//	       nothing of them yet and wants a snapshot of each
//	leave  it has none of these any longer
//	bye    it stops
//	beat   the number of the last delta of each agent; what was lost shows
//	want   a snapshot of these agents is wanted
//	part   a piece of a snapshot that includes all deltas up to seq
//	delta  a message to the agent's panes, numbered without a hole. A partial has
//	       the number 0: the next one repeats it
//	do     a pane's message about a call of the receiver
//	done   what that pane alone is to be told, if anything
//
// Nobody is told of an agent that they do not watch. What a server says that it
// watches holds for five beats.

const (
	subjectAll   = "panes.all"
	subjectTo    = "panes.to."
	subjectAsk   = "panes.ask."
	partBytes    = 128 << 10
	maxParts     = 256
	maxLetter    = 1 << 20
	agentsAtOnce = 500 // in one letter
)

// envelope is the head of every letter; which fields count depends on Kind.
type envelope struct {
	Kind string `json:"kind"`
	// From is the sender, Boot the run of its process.
	From string `json:"from"`
	Boot string `json:"boot"`
	// Wall is the sender's wall clock.
	Wall   time.Time         `json:"wall"`
	Agent  string            `json:"agent,omitempty"`
	Agents []string          `json:"agents,omitempty"`
	Feeds  map[string]uint64 `json:"feeds,omitempty"`
	Fresh  bool              `json:"fresh,omitempty"`
	Seq    uint64            `json:"seq,omitempty"`
	Part   int               `json:"part,omitempty"`
	Parts  int               `json:"parts,omitempty"`
	ID     uint64            `json:"id,omitempty"`
	// Clock is the sender's monotonic clock; a beat gives the receiver's last one
	// back in Echo and says in Held how long it kept it.
	Clock time.Duration `json:"clock_ns,omitempty"`
	Echo  time.Duration `json:"echo_ns,omitempty"`
	Held  time.Duration `json:"held_ns,omitempty"`
	// Age is how long ago a card was painted, RTT the round trip to the pane,
	// Transit how long the letter takes to the receiver.
	Age     time.Duration `json:"age_ns,omitempty"`
	RTT     time.Duration `json:"rtt_ns,omitempty"`
	Transit time.Duration `json:"transit_ns,omitempty"`
}

// seal puts a letter together.
func (e *envelope) seal(body []byte) ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("push: a letter of kind %s: %w", e.Kind, err)
	}
	return append(append(head, '\n'), body...), nil
}

// parseLetter reads a letter; body aliases b.
func parseLetter(b []byte) (e envelope, body []byte, err error) {
	if len(b) > maxLetter {
		return e, nil, fmt.Errorf("letter of %d bytes, want at most %d", len(b), maxLetter)
	}
	head, body, found := bytes.Cut(b, []byte("\n"))
	if !found {
		return e, nil, errors.New("letter without a line's end after its head")
	}
	if err := json.Unmarshal(head, &e); err != nil {
		return e, nil, fmt.Errorf("head of a letter: %w", err)
	}
	return e, body, e.validate()
}

func (e *envelope) validate() error {
	if e.From == "" || len(e.From) > maxName || e.Boot == "" || len(e.Boot) > maxName {
		return fmt.Errorf("letter %.20q: from and boot must have 1 to %d bytes", e.Kind, maxName)
	}
	if len(e.Agents) > agentsAtOnce || len(e.Feeds) > agentsAtOnce {
		return fmt.Errorf("letter %.20q of more than %d agents", e.Kind, agentsAtOnce)
	}
	for _, a := range e.Agents {
		if !validAgent(a) {
			return fmt.Errorf("letter %.20q: agent %.20q", e.Kind, a)
		}
	}
	switch e.Kind {
	case "here", "leave", "bye", "beat", "want", "done":
	case "part":
		if e.Parts < 1 || e.Parts > maxParts || e.Part < 0 || e.Part >= e.Parts {
			return fmt.Errorf("part %d of %d, want at most %d", e.Part, e.Parts, maxParts)
		}
		fallthrough
	case "delta":
		if !validAgent(e.Agent) {
			return fmt.Errorf("letter %q: agent %.20q", e.Kind, e.Agent)
		}
	case "do":
		const longest = 24 * time.Hour
		if !validAgent(e.Agent) || e.Age < 0 || e.Age > longest || e.RTT < 0 || e.RTT > longest || e.Transit < 0 || e.Transit > longest {
			return fmt.Errorf("letter \"do\": agent %.20q, age %v, round trip %v, transit %v", e.Agent, e.Age, e.RTT, e.Transit)
		}
	default:
		return fmt.Errorf("letter of kind %.20q", e.Kind)
	}
	return nil
}

// token makes a node's name one token of a subject.
func token(node string) string {
	return strings.NewReplacer(".", "%2E", "*", "%2A").Replace(url.PathEscape(node))
}
