package records

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sidetone/internal/records/words"
	"sidetone/internal/store"
)

// Summary is a call as lists show it.
type Summary struct {
	Key       string     `json:"key"`
	Call      string     `json:"call"`
	Agent     string     `json:"agent"`
	Node      string     `json:"node,omitempty"`
	Source    string     `json:"source"`
	External  string     `json:"external,omitempty"`
	Direction string     `json:"direction,omitempty"`
	Language  string     `json:"language,omitempty"`
	Customer  string     `json:"customer,omitempty"`
	Started   time.Time  `json:"started"`
	Ended     *time.Time `json:"ended,omitempty"`
	// Last is when the call's last event happened, Events how many there were.
	Last   time.Time `json:"last_event"`
	Events uint64    `json:"events"`
	// DurationMS is there once the call has ended.
	DurationMS *int64 `json:"duration_ms,omitempty"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Closed     bool   `json:"closed"`
	Legs       int    `json:"legs"`
	Utterances int    `json:"utterances"`
	Gaps       int    `json:"gaps,omitempty"`
	Cards      Cards  `json:"cards"`
	// Recording says that the audio was kept.
	Recording bool `json:"recording"`
	// Found is where the words looked for were said.
	Found *Snippet `json:"found,omitempty"`
}

// Cards counts the cards of a call.
type Cards struct {
	Shown     int `json:"shown"`
	Used      int `json:"used"`
	Dismissed int `json:"dismissed"`
	Wrong     int `json:"wrong"`
	// Painted are those triggered by words that a pane has shown; latency is from
	// the word's end to the screen.
	Painted       int   `json:"painted"`
	LatencyMeanMS int64 `json:"latency_mean_ms,omitempty"`
	LatencyMaxMS  int64 `json:"latency_max_ms,omitempty"`
}

const summaryColumns = `key, n, call, agent, node, source, external, direction, language, customer,
	started, ended, last, state, reason, closed, legs, utterances, gaps,
	cards, cards_used, cards_dismissed, cards_wrong, painted, latency_sum, latency_max, recording`

func scanSummary(rows *sql.Rows) (Summary, error) {
	var s Summary
	var n, started, last, sum int64
	var ended sql.NullInt64
	err := rows.Scan(&s.Key, &n, &s.Call, &s.Agent, &s.Node, &s.Source, &s.External, &s.Direction, &s.Language, &s.Customer,
		&started, &ended, &last, &s.State, &s.Reason, &s.Closed, &s.Legs, &s.Utterances, &s.Gaps,
		&s.Cards.Shown, &s.Cards.Used, &s.Cards.Dismissed, &s.Cards.Wrong, &s.Cards.Painted, &sum, &s.Cards.LatencyMaxMS, &s.Recording)
	s.Events, s.Started, s.Last = uint64(n), store.Time(started), store.Time(last)
	if ended.Valid {
		t := store.Time(ended.Int64)
		d := t.Sub(s.Started).Milliseconds()
		s.Ended, s.DurationMS = &t, &d
	}
	if s.Cards.Painted > 0 {
		s.Cards.LatencyMeanMS = sum / int64(s.Cards.Painted)
	}
	return s, err
}

// Filter chooses calls; what is empty chooses all.
type Filter struct {
	Agents []string
	// Customer is an address, compared as Address says.
	Customer string
	Source   string
	State    string
	Node     string
	// Running leaves only calls without an end state.
	Running bool
	// From and To bound the start: From is in, To is out.
	From, To time.Time
	// Text is words that were all said in the call; characters of a script without
	// spaces must follow each other.
	Text string
	// Limit is how many calls to list at most; 0 means 50, more than 1000 means 1000.
	Limit int
	// Before is the cursor of the list before.
	Before string
}

// longestText bounds the text looked for, in bytes.
const longestText = 200

// List finds calls, the newest first. The cursor is Before of the next list and
// empty after the last; with Text a list may be shorter than its limit though
// others follow. A filter that cannot be is ErrFilter.
func (r *Records) List(ctx context.Context, f Filter) ([]Summary, string, error) {
	where, values, err := f.where()
	if err != nil {
		return nil, "", fmt.Errorf("records: %w", err)
	}
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 1000)
	var q words.Question
	if len(f.Text) > longestText {
		return nil, "", fmt.Errorf("records: %w: the text looked for has %d bytes; at most %d can be", ErrFilter, len(f.Text), longestText)
	}
	if f.Text != "" {
		if q = words.Ask(store.Clean(f.Text)); len(q.Index()) == 0 {
			return []Summary{}, "", nil
		}
		for _, w := range q.Index() {
			where = append(where, `key IN (SELECT key FROM words WHERE word = ?)`)
			values = append(values, w)
		}
	}
	query := `SELECT ` + summaryColumns + ` FROM calls`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	query += ` ORDER BY started DESC, key DESC LIMIT ?`
	rows, err := r.db.Query(ctx, query, append(values, f.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("records: %w", err)
	}
	out, err := summaries(rows)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(out) > f.Limit {
		out = out[:f.Limit]
		last := &out[f.Limit-1]
		next = strconv.FormatInt(store.Micros(last.Started), 10) + "." + last.Key
	}
	if f.Text == "" {
		return out, next, nil
	}
	found := out[:0]
	for _, s := range out {
		if s.Found, err = r.snippet(ctx, s.Key, q); err != nil {
			return nil, "", err
		}
		if s.Found != nil {
			found = append(found, s)
		}
	}
	return found, next, nil
}

func summaries(rows *sql.Rows) ([]Summary, error) {
	out := []Summary{}
	err := store.Rows(rows, func(rows *sql.Rows) error {
		s, err := scanSummary(rows)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	return out, nil
}

func (f *Filter) where() (where []string, values []any, err error) {
	add := func(cond string, v ...any) { where, values = append(where, cond), append(values, v...) }
	equal := func(column, v string) {
		if v != "" {
			add(column+` = ?`, store.Clean(v))
		}
	}
	if len(f.Agents) > 0 {
		var agents []any
		for _, a := range f.Agents {
			agents = append(agents, store.Clean(a))
		}
		add(`agent IN `+store.Marks(len(agents)), agents...)
	}
	if f.Customer != "" {
		a := Address(f.Customer)
		if a == "" {
			return nil, nil, fmt.Errorf("%w: %q is no customer's address", ErrFilter, f.Customer)
		}
		add(`key IN (SELECT key FROM customers WHERE address = ?)`, a)
	}
	equal(`source`, f.Source)
	equal(`state`, f.State)
	equal(`node`, f.Node)
	if f.Running {
		add(`running`)
	}
	if !f.From.IsZero() {
		add(`started >= ?`, store.Micros(f.From))
	}
	if !f.To.IsZero() {
		add(`started < ?`, store.Micros(f.To))
	}
	if f.Before != "" {
		started, key, ok := strings.Cut(f.Before, ".")
		us, perr := strconv.ParseInt(started, 10, 64)
		if !ok || perr != nil {
			return nil, nil, fmt.Errorf("%w: %q is no cursor", ErrFilter, f.Before)
		}
		add(`(started, key) < (?, ?)`, us, store.Clean(key))
	}
	return where, values, nil
}

// Unfinished lists the calls without an end state, the oldest first.
func (r *Records) Unfinished(ctx context.Context) ([]Summary, error) {
	rows, err := r.db.Query(ctx, `SELECT `+summaryColumns+` FROM calls WHERE running ORDER BY started, key`)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	return summaries(rows)
}
