package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"sidetone/guidance"
)

// Listener learns what panes report of calls that this server has, whichever
// server the pane is connected to. Its methods are called from the panes' and the
// bus's goroutines and may run at the same time.
type Listener interface {
	// Painted is called for every pane that shows a card, once each.
	Painted(Painted)
	// Acted is called when an agent uses, dismisses or refuses a card.
	Acted(Acted)
	// Pause is called when an agent wants nothing of a call of theirs to be
	// heard, or to be heard again; the answer is Hub.Paused.
	Pause(agent, call string, paused bool)
	// Swap is called when an agent says that they are heard as the customer, and
	// the customer as they, on a call of theirs; the answer is Hub.Leg.
	Swap(agent, call string)
}

// Searcher finds elements of the knowledge base. Calls run at the same time,
// and end early when ctx does.
type Searcher interface {
	Search(ctx context.Context, q Query) ([]Result, error)
}

// Painted says that a card stands on a pane.
type Painted struct {
	Agent string
	Card  guidance.Card
	// At is the time of painting on the server's clock, see the package comment.
	At time.Time
	// Latency is from the end of the last triggering word to At, or from the
	// card's birth when FromWords is false.
	Latency   time.Duration
	FromWords bool
	// RTT is the round trip that At rests on, 0 before the first was measured.
	RTT time.Duration
	// First is false for a second pane, or the same one after a reconnect.
	First bool
}

// Acted is an agent's verdict on a card.
type Acted struct {
	Agent string
	Card  guidance.Card
	// State is Used, Dismissed or Wrong; a later verdict replaces it.
	State State
	// At is when this server learnt of it.
	At time.Time
}

// Query is a search typed into a pane.
type Query struct {
	Agent string
	Text  string
	// Language is a language tag, or empty for any.
	Language string
}

// CardRecord is what the hub keeps of a card.
type CardRecord struct {
	Card  guidance.Card
	State State
	// Reason is why it was withdrawn.
	Reason string
	// Painted is when the first pane showed it, zero when none did; Latency is
	// as in Painted.Latency.
	Painted time.Time
	Latency time.Duration
}

// Config is what a Hub needs; a zero field has the default stated.
type Config struct {
	// Version and Language are told to panes; Language is the interface's
	// default, "en".
	Version, Language string
	// Origins are further origins ("https://crm.example") whose pages may
	// connect. Without any, only pages of the server's own origin may.
	Origins []string
	// Queue bounds the messages that wait for one pane, 16.
	Queue int
	// History bounds the utterances kept of a call, 400; Cards its cards, 64;
	// EndedCalls the ended calls kept for panes that connect later, 256.
	History, Cards, EndedCalls int
	// PanesPerAgent bounds the panes of one agent, 8.
	PanesPerAgent int
	// PingEvery is the pause between pings, 15 s. A pane that is silent for
	// PongWait, 40 s, is closed.
	PingEvery, PongWait time.Duration
	// WriteTimeout bounds one write and, when closing, the wait for the pane's
	// answer, 5 s.
	WriteTimeout time.Duration
	// SearchTimeout bounds one search, 5 s.
	SearchTimeout time.Duration
	// Listener and Searcher may be nil: nobody listens, search is off.
	Listener Listener
	Searcher Searcher
	// Bus joins the hubs of several servers, so that an agent's panes may connect
	// to any of them; nil: this server is alone. Node is this server's name, which
	// no other on the bus has.
	Bus  Bus
	Node string
	// Beat is how often servers tell each other that they are there, 1 s. One that
	// is silent for 3.5 beats is taken for lost.
	Beat time.Duration
	// ForgetLost is how long panes wait for a call whose server was lost before
	// they are told that it has ended, 5 min.
	ForgetLost time.Duration
	// Log may be nil.
	Log *slog.Logger
}

func (c *Config) validate() error {
	err := errors.Join(
		orStandard("Queue", &c.Queue, 16), orStandard("History", &c.History, 400), orStandard("Cards", &c.Cards, 64),
		orStandard("EndedCalls", &c.EndedCalls, 256), orStandard("PanesPerAgent", &c.PanesPerAgent, 8),
		orStandard("PingEvery", &c.PingEvery, 15*time.Second), orStandard("PongWait", &c.PongWait, 40*time.Second),
		orStandard("WriteTimeout", &c.WriteTimeout, 5*time.Second), orStandard("SearchTimeout", &c.SearchTimeout, 5*time.Second),
		orStandard("Beat", &c.Beat, time.Second), orStandard("ForgetLost", &c.ForgetLost, 5*time.Minute),
	)
	if err != nil {
		return err
	}
	if c.PongWait <= c.PingEvery {
		return fmt.Errorf("push: PongWait %v must be longer than PingEvery %v", c.PongWait, c.PingEvery)
	}
	if n := len(c.Node); c.Bus != nil && (n == 0 || n > maxName) {
		return fmt.Errorf("push: Node has %d bytes, want 1 to %d: servers on one bus need names", n, maxName)
	}
	for i, o := range c.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || o != u.Scheme+"://"+u.Host {
			return fmt.Errorf("push: Origins[%d] is %q, want scheme://host or scheme://host:port", i, o)
		}
	}
	if c.Language == "" {
		c.Language = "en"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// orStandard puts the standard in the place of zero.
func orStandard[T int | time.Duration](name string, v *T, standard T) error {
	if *v < 0 {
		return fmt.Errorf("push: %s is %v, must not be negative", name, *v)
	}
	*v = cmp.Or(*v, standard)
	return nil
}
