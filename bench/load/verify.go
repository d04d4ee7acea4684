package load

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sidetone/bench/wer"
)

// Turn is one stretch of one person's speech in a call that is played.
type Turn struct {
	// Role is "agent" or "customer".
	Role string
	// Start and End bound the speech, from the beginning of the audio.
	Start, End time.Duration
	Text       string
	// Intents are what calls for a card, in the order in which it is said.
	Intents []string
}

// Script is what is said in a call that is played.
type Script struct {
	Name  string
	Turns []Turn
	// Cards says that the turns' Intents are all that calls for an answer, an
	// action or an offer. Else cards are not judged.
	Cards bool
}

// Spoken is a run of words that was recognised; times are on the call's clock.
type Spoken struct {
	Leg     string `json:"leg"`
	Role    string `json:"role"`
	Text    string `json:"text"`
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms"`
}

// Card is a card as far as it is judged.
type Card struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Title string `json:"title"`
	Why   struct {
		Words  []Spoken `json:"words"`
		Intent string   `json:"intent"`
		Rule   string   `json:"rule"`
	} `json:"why"`
	State     string `json:"state"`
	LatencyMS *int64 `json:"latency_ms"`
}

// Record is a call as the server's API tells it, as far as it is judged.
type Record struct {
	Call    string    `json:"call"`
	Started time.Time `json:"started"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"`
	Legs    []struct {
		Role  string    `json:"role"`
		Stats *LegStats `json:"stats"`
	} `json:"legs"`
	Transcript []Spoken `json:"transcript"`
	Cards      []Card   `json:"cards"`
}

// LegStats are what became of a leg's packets and frames.
type LegStats struct {
	Received  int `json:"received"`
	Lost      int `json:"lost"`
	Late      int `json:"late"`
	Concealed int `json:"concealed_frames"`
	Dropped   int `json:"dropped_frames"`
}

// Finding is what was found out about a call that was played to its end.
type Finding struct {
	// Agent and Customer are the word errors of each side.
	Agent, Customer wer.Counts
	// LostTurns are turns of which nothing was recognised.
	LostTurns []string
	// Expected counts the cards that the script calls for, Missing are those
	// that did not come, Wrong those that came for nothing in the script.
	Expected       int
	Missing, Wrong []string
	// Unpainted counts cards that no pane acknowledged, though one was there.
	Unpainted int
}

// Words are the errors of both sides.
func (f *Finding) Words() wer.Counts {
	c := f.Agent
	c.Add(f.Customer)
	return c
}

const (
	// slack is how far recognised times may lie outside of a turn's.
	slack = time.Second
	// turnWords is how many words a turn has at least that counts as lost when
	// nothing of it was recognised; a shorter one may pass for noise.
	turnWords = 4
)

// Verify compares a call's record with its script. lead is the time between
// the beginning of the call's clock and that of the audio.
func Verify(s *Script, r *Record, lead time.Duration, n *wer.Normaliser) Finding {
	var f Finding
	for role, c := range map[string]*wer.Counts{"agent": &f.Agent, "customer": &f.Customer} {
		var ref, hyp []string
		for _, t := range s.Turns {
			if t.Role == role {
				ref = append(ref, t.Text)
			}
		}
		for _, u := range r.Transcript {
			if u.Role == role {
				hyp = append(hyp, u.Text)
			}
		}
		*c = n.Score(strings.Join(ref, " "), strings.Join(hyp, " "))
	}
	for _, t := range s.Turns {
		heard := slices.ContainsFunc(r.Transcript, func(u Spoken) bool {
			start, end := u.times(lead)
			return u.Role == t.Role && end > t.Start && start < t.End
		})
		if !heard && len(strings.Fields(t.Text)) >= turnWords {
			f.LostTurns = append(f.LostTurns, fmt.Sprintf("%s at %v: %s", t.Role, t.Start, t.Text))
		}
	}
	for _, c := range r.Cards {
		if c.LatencyMS == nil {
			f.Unpainted++
		}
	}
	if s.Cards {
		f.cards(s, r, lead)
	}
	return f
}

// times are the bounds of the words from the beginning of the audio.
func (u *Spoken) times(lead time.Duration) (start, end time.Duration) {
	return time.Duration(u.StartMS)*time.Millisecond - lead, time.Duration(u.EndMS)*time.Millisecond - lead
}

// cards compares the cards with the script. Of two cues in one breath the more
// exact, which comes last, may speak for both.
func (f *Finding) cards(s *Script, r *Record, lead time.Duration) {
	claimed := map[string]bool{}
	for _, t := range s.Turns {
		for i, intent := range t.Intents {
			found := false
			for _, c := range r.Cards {
				if c.Why.Intent == intent && t.holds(c.Why.Words, lead) {
					claimed[c.ID], found = true, true
				}
			}
			last := i == len(t.Intents)-1
			if last || found {
				f.Expected++
			}
			if last && !found {
				f.Missing = append(f.Missing, fmt.Sprintf("%s at %v", intent, t.Start))
			}
		}
	}
	for _, c := range r.Cards {
		judged := c.Kind == "answer" || c.Kind == "action" || c.Kind == "offer"
		if judged && !claimed[c.ID] {
			f.Wrong = append(f.Wrong, fmt.Sprintf("%s (%s)", c.Title, c.Why.Intent))
		}
	}
}

// holds says whether all words were said by the turn's speaker during it.
func (t *Turn) holds(words []Spoken, lead time.Duration) bool {
	return len(words) > 0 && !slices.ContainsFunc(words, func(w Spoken) bool {
		start, end := w.times(lead)
		return w.Role != t.Role || start < t.Start-slack || end > t.End+slack
	})
}
