package guidance

import (
	"fmt"
	"slices"
	"time"
)

// Response is what the agent did with a card.
type Response string

// The responses.
const (
	// Used: it helped.
	Used Response = "used"
	// Dismissed: not now.
	Dismissed Response = "dismissed"
	// Wrong: it should not have appeared; its rule is silent for the rest of
	// the call.
	Wrong Response = "wrong"
)

// ParseResponse is the response of that name.
func ParseResponse(name string) (Response, error) {
	if r := Response(name); slices.Contains([]Response{Used, Dismissed, Wrong}, r) {
		return r, nil
	}
	return "", fmt.Errorf("unknown response %q: it is %s, %s or %s", name, Used, Dismissed, Wrong)
}

// Feedback takes a card away as the agent wishes; its cool-down counts from
// now. A card that no longer stands is an error.
func (s *Session) Feedback(cardID string, r Response, now time.Time) ([]Event, error) {
	i := slices.IndexFunc(s.live, func(c *standing) bool { return c.ID == cardID })
	if i < 0 {
		return nil, fmt.Errorf("card %q does not stand on call %q", cardID, s.c.Call)
	}
	c := s.live[i]
	s.last[c.Key] = now
	if r == Wrong {
		s.muted[c.rule.ID] = true
	}
	return s.withdraw(nil, ByAgent, func(x *standing) bool { return x == c }), nil
}
