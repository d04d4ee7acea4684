package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidetone/internal/access"
	"sidetone/internal/journal"
	"sidetone/internal/records"
)

// callsReply is the answer to GET /v1/calls.
type callsReply struct {
	Calls []records.Summary `json:"calls"`
	// Next is `before` of the next page; there is none after the last.
	Next string `json:"next,omitempty"`
	// Missing says why earlier calls, or those of other servers, are not listed.
	Missing string `json:"missing,omitempty"`
}

// filter reads the parameters of GET /v1/calls.
func filter(q url.Values) (records.Filter, error) {
	f := records.Filter{
		Customer: q.Get("customer"), Source: q.Get("source"), State: q.Get("state"), Node: q.Get("node"),
		Text: q.Get("text"), Before: q.Get("before"), Running: q.Get("running") == "true" || q.Get("running") == "1",
	}
	for _, a := range q["agent"] {
		if a != "" {
			f.Agents = append(f.Agents, a)
		}
	}
	for name, t := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		v := q.Get(name)
		if v == "" {
			continue
		}
		var err error
		if *t, err = time.Parse(time.RFC3339, v); err != nil {
			if *t, err = time.Parse(time.DateOnly, v); err != nil {
				return f, badRequest("write 2026-03-04 or 2026-03-04T05:06:07Z", "%s: %q is no time", name, v)
			}
		}
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return f, badRequest("a number from 1 to 1000", "limit: %q is no number of calls", v)
		}
		f.Limit = n
	}
	return f, nil
}

// findCalls lists calls, the newest first: those of the records, and those that
// run here as they are now.
func (a *App) findCalls(ctx context.Context, f records.Filter) (callsReply, error) {
	found, next, err := a.storage.records.List(ctx, f)
	if errors.Is(err, records.ErrFilter) {
		return callsReply{}, badRequest("GET /v1/calls takes agent, customer, source, state, node, running, from, to, text, limit and before", "%v", err)
	}
	reply := callsReply{Calls: found, Next: next}
	if err != nil {
		a.log.Error("the records cannot be read", "error", err)
		reply.Missing = "the records cannot be read now; only calls of this server are listed"
	}
	if f.Before != "" || f.Text != "" {
		return reply, nil
	}
	for _, c := range a.calls.list() {
		i := slices.IndexFunc(reply.Calls, func(s records.Summary) bool { return s.Key == c.Key })
		switch {
		case i >= 0 && c.Events > reply.Calls[i].Events:
			reply.Calls[i] = c
		case i < 0 && c.Last.After(time.Now().Add(-fresh)) && matches(&f, &c):
			reply.Calls = append(reply.Calls, c)
		}
	}
	reply.Calls = slices.DeleteFunc(reply.Calls, func(s records.Summary) bool { return !matches(&f, &s) })
	slices.SortStableFunc(reply.Calls, func(x, y records.Summary) int { return y.Started.Compare(x.Started) })
	if f.Limit > 0 && len(reply.Calls) > f.Limit {
		reply.Calls = reply.Calls[:f.Limit]
	}
	if reply.Calls == nil {
		reply.Calls = []records.Summary{}
	}
	return reply, nil
}

// fresh is how far the records may be behind: a call in which something happened
// later may not be among them yet.
const fresh = time.Minute

// matches says whether a call that runs here is one of those looked for.
func matches(f *records.Filter, s *records.Summary) bool {
	return (len(f.Agents) == 0 || slices.Contains(f.Agents, s.Agent)) &&
		(f.Customer == "" || records.Address(f.Customer) == records.Address(s.Customer)) &&
		(f.Source == "" || f.Source == s.Source) && (f.State == "" || f.State == s.State) && (f.Node == "" || f.Node == s.Node) &&
		(!f.Running || s.Ended == nil) && (f.From.IsZero() || !s.Started.Before(f.From)) && (f.To.IsZero() || s.Started.Before(f.To))
}

// summarise is a record as lists show it.
func summarise(c *journal.Call) records.Summary {
	s := records.Summary{
		Key: c.Key, Call: c.Call, Agent: c.Agent, Node: c.Node, Source: c.Source, External: c.External, Direction: c.Direction,
		Language: c.Language, Customer: c.Customer(), Started: c.Started, Ended: c.Ended, Last: c.Last(), Events: c.N,
		State: c.State, Reason: c.Reason, Closed: c.Closed, Legs: len(c.Legs), Utterances: len(c.Transcript), Gaps: len(c.Gaps),
		Recording: c.Recording != nil,
	}
	if c.Ended != nil {
		ms := c.Ended.Sub(c.Started).Milliseconds()
		s.DurationMS = &ms
	}
	for i := range c.Cards {
		s.Cards.Shown++
		switch c.Cards[i].State {
		case "used":
			s.Cards.Used++
		case "dismissed":
			s.Cards.Dismissed++
		case "wrong":
			s.Cards.Wrong++
		}
	}
	return s
}

// record finds a call by its name or its key: one that this server has, or else
// what the records say.
func (a *App) record(ctx context.Context, id string) (journal.Call, error) {
	if rec, ok := a.calls.record(id); ok {
		return rec, nil
	}
	rec, err := a.storage.records.Call(ctx, id)
	if errors.Is(err, records.ErrUnknown) {
		return rec, unknownCall(id)
	}
	if err != nil {
		return rec, fmt.Errorf("the records cannot be read: %w", err)
	}
	return rec, nil
}

func (a *App) listCalls(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r.URL.Query())
	if err != nil {
		writeError(w, err)
		return
	}
	reply := callsReply{Calls: []records.Summary{}}
	some, err := narrow(access.From(r.Context()), &f)
	if err == nil && some {
		reply, err = a.findCalls(r.Context(), f)
	}
	if err == nil && f.Text != "" {
		err = a.noteDone(r, "calls.searched", "", true, map[string]string{"found": strconv.Itoa(len(reply.Calls))})
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, reply)
}

func (a *App) getCall(w http.ResponseWriter, r *http.Request) {
	rec, err := a.record(r.Context(), r.PathValue("call"))
	if err != nil {
		writeError(w, err)
		return
	}
	if err = a.noteRead(r, rec.Key, rec.Agent); err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, readable(access.From(r.Context()), rec))
}

// getEvents tells a call as the journal has it, one event a line (NDJSON).
func (a *App) getEvents(w http.ResponseWriter, r *http.Request) {
	rec, err := a.record(r.Context(), r.PathValue("call"))
	if err != nil {
		writeError(w, err)
		return
	}
	if err = a.noteRead(r, rec.Key, rec.Agent); err != nil {
		writeError(w, err)
		return
	}
	first := true
	enc := json.NewEncoder(w)
	err = a.storage.records.Events(r.Context(), rec.Key, func(e journal.Event) error {
		if first {
			first = false
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
		}
		return enc.Encode(e)
	})
	switch {
	case !first:
		// What has been written cannot be taken back: the client sees that it ends.
		if err != nil {
			a.log.Warn("telling a call's events", "call", rec.Call, "error", err)
		}
	case errors.Is(err, records.ErrUnknown):
		writeError(w, unknownCall(r.PathValue("call")))
	case err != nil:
		writeError(w, err)
	}
}

// eraseRequest is the body of POST /v1/erase.
type eraseRequest struct {
	// Customer is the address of whom nothing shall be left, Call the name or the
	// key of a single call; one of the two is given.
	Customer string `json:"customer"`
	Call     string `json:"call"`
	// Reason is kept in the audit log.
	Reason string `json:"reason"`
}

// eraseReply says what is gone.
type eraseReply struct {
	// Keys are those of the calls.
	Keys []string `json:"keys"`
}

// postErase erases what is known of a customer, or one call, everywhere.
func (a *App) postErase(w http.ResponseWriter, r *http.Request) {
	var q eraseRequest
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		writeError(w, badRequest(`a body looks like {"customer":"+43123456","reason":"asked on 4 March"}`, "the body is no valid request: %v", err))
		return
	}
	if (q.Customer == "") == (q.Call == "") || len(q.Reason) > maxReason {
		writeError(w, badRequest("", "give either customer or call, and a reason of at most %d bytes", maxReason))
		return
	}
	keys, err := a.erase(r.Context(), &q)
	if err != nil {
		writeError(w, err)
		return
	}
	// The customer's address goes, too: the audit log names the calls.
	detail := map[string]string{"reason": q.Reason, "calls": strings.Join(keys[:min(len(keys), 100)], ","), "count": strconv.Itoa(len(keys))}
	what := "call.erased"
	if q.Customer != "" {
		what = "customer.erased"
	}
	if err = a.noteDone(r, what, "", true, detail); err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, eraseReply{Keys: keys})
}

func (a *App) erase(ctx context.Context, q *eraseRequest) ([]string, error) {
	keys := []string{}
	if q.Call != "" {
		rec, err := a.record(ctx, q.Call)
		if err != nil {
			return nil, err
		}
		keys = append(keys, rec.Key)
	} else {
		found, err := a.storage.records.CallsOf(ctx, q.Customer)
		if errors.Is(err, records.ErrFilter) {
			return nil, badRequest("", "%v", err)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	for _, c := range a.calls.list() {
		if slices.Contains(keys, c.Key) && c.Ended == nil {
			return nil, &apiError{Status: http.StatusConflict, Text: fmt.Sprintf("call %q is running", c.Call), Hint: "end it first, or wait for its end"}
		}
	}
	if a.voices != nil {
		if err := a.voices.erase(ctx, q.Customer, keys); err != nil {
			return nil, err
		}
	}
	if err := a.storage.erase(ctx, keys); err != nil {
		return nil, err
	}
	a.calls.forget(keys)
	return keys, nil
}
