package records

import (
	"database/sql"
	"slices"
	"strings"
	"unicode"

	"sidetone/internal/journal"
	"sidetone/internal/store"
)

const upsertHead = `INSERT INTO calls (key, n, call, agent, node, source, external, direction, language, customer,
	started, ended, last, state, reason, running, closed, legs, utterances, gaps,
	cards, cards_used, cards_dismissed, cards_wrong, painted, latency_sum, latency_max,
	recording, recording_bytes, has_transcript, has_cards, has_statistics) VALUES `

// What retention has deleted does not come back with a late event of another sort.
const upsertTail = ` ON CONFLICT (key) DO UPDATE SET
	n = excluded.n, call = excluded.call, agent = excluded.agent, node = excluded.node, source = excluded.source,
	external = excluded.external, direction = excluded.direction, language = excluded.language, customer = excluded.customer,
	started = excluded.started, ended = excluded.ended, last = excluded.last, state = excluded.state, reason = excluded.reason,
	running = excluded.running, closed = excluded.closed, legs = excluded.legs, utterances = excluded.utterances, gaps = excluded.gaps,
	cards = excluded.cards, cards_used = excluded.cards_used, cards_dismissed = excluded.cards_dismissed, cards_wrong = excluded.cards_wrong,
	painted = excluded.painted, latency_sum = excluded.latency_sum, latency_max = excluded.latency_max,
	recording = excluded.recording, recording_bytes = excluded.recording_bytes,
	has_transcript = calls.has_transcript OR excluded.has_transcript,
	has_cards = calls.has_cards OR excluded.has_cards,
	has_statistics = calls.has_statistics OR excluded.has_statistics`

// row is the call in the order of upsertHead.
func (s *state) row() []any {
	c := s.call
	var ended sql.NullInt64
	if c.Ended != nil {
		ended = sql.NullInt64{Int64: store.Micros(*c.Ended), Valid: true}
	}
	states := map[string]int{}
	var painted, sum, longest int64
	for i := range c.Cards {
		states[c.Cards[i].State]++
		if p := c.Cards[i].Painted; p != nil && p.FromWords {
			painted++
			sum += p.LatencyMS
			longest = max(longest, p.LatencyMS)
		}
	}
	var bytes int64
	if c.Recording != nil {
		bytes = c.Recording.Bytes
	}
	return []any{
		c.Key, int64(c.N), store.Clean(c.Call), store.Clean(c.Agent), store.Clean(c.Node), store.Clean(c.Source), store.Clean(c.External),
		store.Clean(c.Direction), store.Clean(c.Language), store.Clean(c.Customer()),
		store.Micros(c.Started), ended, store.Micros(c.Last()), store.Clean(c.State), store.Clean(c.Reason), c.Running(), c.Closed,
		len(c.Legs), len(c.Transcript), len(c.Gaps),
		len(c.Cards), states["used"], states["dismissed"], states["wrong"], painted, sum, longest,
		c.Recording != nil, bytes, s.said, s.carded, s.fared,
	}
}

// addressesOf are those of everybody on the call but the agent.
func addressesOf(c *journal.Call) []string {
	var out []string
	for _, l := range c.Legs {
		if l.Role == "agent" {
			continue
		}
		if a := Address(l.Identity); a != "" {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Address is the address of a customer in the form in which two are compared. A
// telephone number, in a sip:, sips: or tel: URI or alone, is its digits without
// the international prefix; other addresses are user@host in small letters. A
// number without its country is another than the one with it. It is empty where s
// holds no address.
func Address(s string) string {
	s = strings.TrimSpace(s)
	if i, j := strings.LastIndexByte(s, '<'), strings.LastIndexByte(s, '>'); i >= 0 && j > i {
		s = s[i+1 : j]
	}
	for _, scheme := range []string{"sips:", "sip:", "tel:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	user, host, at := strings.Cut(s, "@")
	user, _, _ = strings.Cut(user, ";")
	if number := digits(user); number != "" {
		return number
	}
	host, _, _ = strings.Cut(host, ";")
	host, _, _ = strings.Cut(host, "?")
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	user = strings.ToLower(store.Clean(user))
	if !strings.ContainsFunc(user, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return ""
	}
	if at && user != "" && host != "" {
		return user + "@" + strings.ToLower(store.Clean(host))
	}
	return user
}

// digits are those of a telephone number, or empty where it is none.
func digits(s string) string {
	var b strings.Builder
	plus := false
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '+' && b.Len() == 0 && !plus:
			plus = true
		case strings.ContainsRune(" -.()/", r):
		default:
			return ""
		}
	}
	out := b.String()
	if !plus {
		out = strings.TrimPrefix(out, "00")
	}
	return out
}
