package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"sidetone/internal/access"
	"sidetone/internal/wav"
	"sidetone/media/recording"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// watchRoutes are the doors to the watch list and to what was found by it.
func (a *App) watchRoutes(mux router) {
	mux.HandleFunc("GET /v1/voice/watch", a.voice(a.listWatch))
	mux.HandleFunc("POST /v1/voice/watch", a.voice(a.postWatch))
	mux.HandleFunc("POST /v1/voice/watch/{id}", a.voice(a.extendWatch))
	mux.HandleFunc("DELETE /v1/voice/watch/{id}", a.voice(a.deleteWatch))
	mux.HandleFunc("GET /v1/voice/hits", a.voice(a.listHits))
	mux.HandleFunc("POST /v1/voice/hits/{id}", a.voice(a.judgeHit))
	mux.HandleFunc("GET /v1/voice/links", a.voice(a.listLinks))
}

// watchReply is an entry of the watch list.
type watchReply struct {
	ID string `json:"id"`
	// Person is the pseudonym of whose voice it is, where that is known.
	Person  string     `json:"person,omitempty"`
	Reason  string     `json:"reason"`
	Basis   string     `json:"basis"`
	Model   string     `json:"model"`
	Added   time.Time  `json:"added"`
	AddedBy string     `json:"added_by"`
	Review  time.Time  `json:"review"`
	Expires time.Time  `json:"expires"`
	Removed *time.Time `json:"removed,omitempty"`
	Version int64      `json:"version"`
}

func (a *App) listWatch(r *http.Request, by voicestore.Actor) (any, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	entries, err := a.voices.store.Watch().Entries(r.Context(), by, q.Get("after"), limit, q.Get("removed") == "true")
	if err != nil {
		return nil, err
	}
	reply := struct {
		Entries []watchReply `json:"entries"`
	}{Entries: []watchReply{}}
	for _, e := range entries {
		reply.Entries = append(reply.Entries, watchReply{
			ID: e.ID, Person: e.Person, Reason: e.Reason, Basis: e.Basis, Model: e.Model, Added: e.Added, AddedBy: e.AddedBy,
			Review: e.Review, Expires: e.Expires, Removed: known(e.Removed), Version: e.Version,
		})
	}
	return reply, nil
}

// postWatch puts the voice of a WAV file on the watch list.
func (a *App) postWatch(r *http.Request, by voicestore.Actor) (any, error) {
	q := r.URL.Query()
	e := watchlist.Entry{Reason: q.Get("reason"), Basis: q.Get("basis")}
	var err error
	if e.Review, err = dateOf("review", q.Get("review")); err != nil {
		return nil, err
	}
	if e.Expires, err = dateOf("expires", q.Get("expires")); err != nil {
		return nil, err
	}
	if e.Reason == "" || e.Basis == "" || len(e.Reason) > maxWhy || len(e.Basis) > maxWhy {
		return nil, badRequest("a voice is looked for with ?reason= and ?basis=, the law that allows it", "the reason has %d bytes, the legal basis %d; 1 to %d are needed", len(e.Reason), len(e.Basis), maxWhy)
	}
	if customer := q.Get("customer"); customer != "" {
		if err = checkName("customer", customer, false); err != nil {
			return nil, err
		}
		if e.Person, err = a.voices.store.Pseudonym(customer); err != nil {
			return nil, err
		}
	}
	speech, err := a.speechOf(r)
	if err != nil {
		return nil, err
	}
	how := Enrolling{Enroller: a.voices.enroller, Store: a.voices.store, By: by, Source: "API"}
	id, _, err := how.Watch(r.Context(), e, []Speech{speech})
	if err != nil {
		return nil, refusedBy(err)
	}
	return map[string]string{"id": id}, nil
}

// maxWhy bounds a reason and a legal basis.
const maxWhy = 2000

// dateOf reads a day, or a moment.
func dateOf(name, s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, badRequest("", "%s: %q is no date such as 2027-03-31", name, s)
}

// speechOf is the speech of a request: a WAV file that is its body, or with ?call= the
// customer's side of a recorded call.
func (a *App) speechOf(r *http.Request) (Speech, error) {
	if key := r.URL.Query().Get("call"); key != "" {
		return a.callSpeech(r, key)
	}
	s := Speech{Name: "the body"}
	var err error
	if c := r.URL.Query().Get("channel"); c != "" {
		if s.Channel, err = strconv.Atoi(c); err != nil || s.Channel < 1 {
			return s, badRequest("", "channel: %q is not a number from 1 on", c)
		}
		s.Channel--
	}
	if s.Audio, err = wav.Decode(http.MaxBytesReader(nil, r.Body, maxSpeech)); err != nil {
		return s, badRequest("the body is a WAV file: PCM of 16 bits or G.711", "the body: %v", err)
	}
	return s, nil
}

// readJSON reads a request's body; like is one as it should be.
func readJSON(r *http.Request, into any, like string) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest("a body looks like "+like, "the body cannot be read: %v", err)
	}
	return nil
}

// extendWatch sets the dates of an entry.
func (a *App) extendWatch(r *http.Request, by voicestore.Actor) (any, error) {
	var q struct {
		Review  string `json:"review"`
		Expires string `json:"expires"`
		Version int64  `json:"version"`
	}
	if err := readJSON(r, &q, `{"review":"2027-03-31","expires":"2027-12-31","version":1}`); err != nil {
		return nil, err
	}
	review, err := dateOf("review", q.Review)
	if err != nil {
		return nil, err
	}
	expires, err := dateOf("expires", q.Expires)
	if err != nil {
		return nil, err
	}
	return nil, a.voices.store.Watch().Extend(r.Context(), by, r.PathValue("id"), q.Version, review, expires)
}

func (a *App) deleteWatch(r *http.Request, by voicestore.Actor) (any, error) {
	return nil, a.voices.store.Watch().Remove(r.Context(), by, r.PathValue("id"))
}

// hitReply is a voice of the watch list, as it seems, in a call.
type hitReply struct {
	ID      string     `json:"id"`
	Watch   string     `json:"watch"`
	Call    string     `json:"call"`
	Leg     string     `json:"leg"`
	At      time.Time  `json:"at"`
	LLR     float64    `json:"llr"`
	State   string     `json:"state"`
	By      string     `json:"by,omitempty"`
	Decided *time.Time `json:"decided,omitempty"`
}

func (a *App) listHits(r *http.Request, _ voicestore.Actor) (any, error) {
	q := r.URL.Query()
	f := watchlist.HitFilter{State: watchlist.HitState(q.Get("state")), Watch: q.Get("watch"), Call: q.Get("call")}
	var err error
	if f.Limit, err = limitOf(q.Get("limit")); err != nil {
		return nil, err
	}
	if s := q.Get("before"); s != "" {
		if f.Before, err = dateOf("before", s); err != nil {
			return nil, err
		}
	}
	hits, err := a.voices.store.Watch().Hits(r.Context(), f)
	if err != nil {
		return nil, err
	}
	reply := struct {
		Hits []hitReply `json:"hits"`
	}{Hits: []hitReply{}}
	for _, h := range hits {
		reply.Hits = append(reply.Hits, hitReply{
			ID: h.ID, Watch: h.Watch, Call: h.Call, Leg: h.Leg, At: h.At, LLR: h.LLR, State: string(h.State), By: h.By, Decided: known(h.Decided),
		})
	}
	return reply, nil
}

func (a *App) judgeHit(r *http.Request, by voicestore.Actor) (any, error) {
	var q struct {
		State string `json:"state"`
	}
	if err := readJSON(r, &q, `{"state":"confirmed"}`); err != nil {
		return nil, err
	}
	return nil, a.voices.store.Watch().Judge(r.Context(), by, r.PathValue("id"), watchlist.HitState(q.State))
}

// linkReply is one voice that called for several customers.
type linkReply struct {
	Voice     int       `json:"voice"`
	Customers []string  `json:"customers"`
	Calls     []string  `json:"calls"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	LLR       float64   `json:"llr"`
}

func (a *App) listLinks(r *http.Request, _ voicestore.Actor) (any, error) {
	reply := struct {
		// On says that voice.links is set.
		On    bool        `json:"on"`
		Links []linkReply `json:"links"`
	}{On: a.voices.links != nil, Links: []linkReply{}}
	if !reply.On {
		return reply, nil
	}
	if err := a.noteDone(r, "voice.listed", "links", true, nil); err != nil {
		return nil, err
	}
	for _, l := range a.voices.links.all() {
		reply.Links = append(reply.Links, linkReply{
			Voice: l.Voice, Customers: l.Customers, Calls: l.Calls, First: l.First, Last: l.Last, LLR: l.LLR,
		})
	}
	return reply, nil
}

// mayKnowOthers says whether a request may be told under which other names a voice is
// enrolled.
func mayKnowOthers(r *http.Request) bool {
	return access.From(r.Context()).Has(access.Security, access.Administrator)
}

// longestCall bounds a recorded call whose speech is used.
const longestCall = 10 * time.Minute

// callSpeech is the customer's side of a recorded call. To use it is to listen to it:
// the audit log has it first.
func (a *App) callSpeech(r *http.Request, key string) (Speech, error) {
	rec, err := a.record(r.Context(), key)
	if err != nil {
		return Speech{}, err
	}
	if err = mayListen(access.From(r.Context()), &rec, false); err != nil {
		return Speech{}, err
	}
	p, err := a.storage.recordings.open(&rec)
	if err != nil {
		return Speech{}, err
	}
	defer p.Close()
	if err = a.noteListening(r, rec.Key, false); err != nil {
		return Speech{}, fmt.Errorf("what is not in the audit log is not used: %w", err)
	}
	audio, err := p.Audio(longestCall)
	if errors.Is(err, recording.ErrTooLong) {
		return Speech{}, &apiError{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("the call lasts more than %v", longestCall), Hint: "save the recording, cut it and send the part as a WAV file"}
	}
	if err != nil {
		return Speech{}, err
	}
	// The customer is on the right.
	return Speech{Name: "call " + rec.Key, Audio: audio, Channel: 1}, nil
}
