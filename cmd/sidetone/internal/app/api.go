package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/guidance/callpage"
	"sidetone/guidance/push"
	"sidetone/internal/access"
	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/rtpfork"
	voicepage "sidetone/voiceprint/page"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 64 << 10
	// maxCallPhrases bounds the phrases of a call.
	maxCallPhrases = 100
)

// callRequest is the body of POST /v1/calls.
type callRequest struct {
	Call  string       `json:"call"`
	Agent string       `json:"agent"`
	Legs  []legRequest `json:"legs"`
	// Language is what both sides speak, ISO 639-1, or "auto"; empty: the
	// configured one.
	Language string `json:"language"`
	// Phrases are names and wordings that this call is likely to mention, such
	// as the customer's name; the configured ones are looked for, too.
	Phrases []string `json:"phrases"`
	// Trace has the call followed in the trace collector.
	Trace bool `json:"trace"`
	// parent is the request's traceparent header.
	parent string
	// Customer is who the customer is said to be, such as a number in the bank's own
	// books: the voice is compared with what that person enrolled.
	Customer string `json:"customer"`
	// Confirmed is what has confirmed that it is them, such as "pin"; empty: nothing.
	Confirmed string `json:"confirmed"`
	// Record is whether the audio shall be kept; left out: as configured.
	Record *bool `json:"record"`
}

type legRequest struct {
	ID       string `json:"id"`
	Role     string `json:"role"`
	Identity string `json:"identity"`
	// Codec is what the leg is sent as, such as "PCMU", "G722", "L16/16000" or
	// "opus"; PayloadType its RTP payload type where it is another than usual.
	Codec       string `json:"codec"`
	PayloadType uint8  `json:"payload_type"`
	// From is the IP address that sends the leg, where it is known: packets from
	// elsewhere are counted as foreign and never heard.
	From string `json:"from"`
}

// callReply is the answer to POST /v1/calls.
type callReply struct {
	Call string     `json:"call"`
	Legs []legReply `json:"legs"`
	// Pane is the address of the agent's page.
	Pane string `json:"pane"`
}

type legReply struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Address string `json:"address"`
	Codec   string `json:"codec"`
}

// apiError is an error with its HTTP status and a way out for the caller.
type apiError struct {
	Status int    `json:"-"`
	Text   string `json:"error"`
	Hint   string `json:"hint,omitempty"`
	// Customers are who else has the voice that is to be enrolled.
	Customers []string `json:"customers,omitempty"`
	// Retry is after how many seconds the request may come again.
	Retry int `json:"retry_after,omitempty"`
	// Report says of speech why it was refused.
	Report *reportReply `json:"report,omitempty"`
}

func (e *apiError) Error() string { return e.Text }

func badRequest(hint, format string, args ...any) error {
	return &apiError{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...), Hint: hint}
}

const exampleBody = `{"agent":"ann","legs":[{"role":"agent","codec":"PCMU"},{"role":"customer","codec":"PCMU"}]}`

// decodeCall reads and checks the body of POST /v1/calls.
func decodeCall(r io.Reader) (callRequest, error) {
	var q callRequest
	hint := "a body looks like " + exampleBody
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return q, badRequest("", "reading the body: %v", err)
	}
	if len(body) > maxBody {
		return q, &apiError{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("the body is longer than %d bytes", maxBody), Hint: hint}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, badRequest(hint, "the body is no valid call: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return q, badRequest(hint, "the body goes on after the call's JSON")
	}
	if err := checkName("call", q.Call, true); err != nil {
		return q, err
	}
	if err := checkCustomer(q.Customer, q.Confirmed); err != nil {
		return q, err
	}
	if err := checkName("agent", q.Agent, false); err != nil {
		return q, err
	}
	if len(q.Legs) == 0 || len(q.Legs) > 2 {
		return q, badRequest(hint, "legs: %d given; a call has one or two", len(q.Legs))
	}
	for i := range q.Legs {
		if err := q.Legs[i].check(i); err != nil {
			return q, err
		}
	}
	if len(q.Legs) == 2 && q.Legs[0].ID == q.Legs[1].ID {
		return q, badRequest("give each leg its own id", "legs: both have the id %q", q.Legs[0].ID)
	}
	return q, q.checkSpeech()
}

// checkSpeech validates what is said about the call's speech.
func (q *callRequest) checkSpeech() error {
	if q.Language != "" {
		if err := config.CheckLanguage(q.Language); err != nil {
			return badRequest("GET /v1/recognition names the languages", "language: %v", err)
		}
	}
	if len(q.Phrases) > maxCallPhrases {
		return badRequest("give those that are hard to guess: names", "phrases: %d given; at most %d are looked for", len(q.Phrases), maxCallPhrases)
	}
	for i, p := range q.Phrases {
		if err := config.CheckPhrase(p); err != nil {
			return badRequest(fmt.Sprintf("a phrase is a name or some words, up to %d bytes", config.MaxPhraseBytes), "phrases[%d]: %v", i, err)
		}
	}
	return nil
}

// check validates leg number i and fills in what was left out.
func (l *legRequest) check(i int) error {
	where := fmt.Sprintf("legs[%d]", i)
	if _, ok := media.ParseRole(l.Role); !ok || l.Role == "" {
		return badRequest(`give "agent", "customer" or "unknown"`, "%s.role: %q is no role", where, l.Role)
	}
	if l.ID == "" {
		l.ID = l.Role
	}
	if err := checkName(where+".id", l.ID, false); err != nil {
		return err
	}
	if len(l.Identity) > 200 {
		return badRequest("", "%s.identity: longer than 200 bytes", where)
	}
	if a, err := netip.ParseAddr(l.From); l.From != "" && (err != nil || a.IsUnspecified() || a.Zone() != "") {
		return badRequest("give the IP address that sends the leg, such as 10.1.0.5, or leave it out", "%s.from: %q is no address that sends", where, l.From)
	}
	if l.Codec == "" {
		l.Codec = "PCMU"
	}
	if strings.EqualFold(l.Codec, autoCodec) {
		l.Codec = autoCodec
		return nil
	}
	f, err := codec.Parse(l.Codec)
	if err != nil || !codec.Decodable(f) {
		return badRequest("fork the leg as PCMU, PCMA, G722, opus or L16/16000, or give auto to have it found out", "%s.codec: %q is not supported", where, l.Codec)
	}
	l.Codec = f.String()
	if pt := l.PayloadType; pt > 127 || pt == 13 || pt == 19 || pt >= 64 && pt <= 95 {
		return badRequest("leave it out, or give one from 96 to 127", "%s.payload_type: %d is none", where, l.PayloadType)
	}
	if _, err := codec.PayloadType(f); err != nil && l.PayloadType == 0 {
		return badRequest("give the payload_type with which the leg is sent", "%s.codec: %v", where, err)
	}
	return nil
}

// checkName keeps names harmless in paths, logs and pages.
func checkName(field, s string, mayBeEmpty bool) error {
	hint := "use 1 to 128 letters, digits and any of . _ - @ : +"
	if s == "" && mayBeEmpty {
		return nil
	}
	if s == "" || len(s) > 128 || s == "." || s == ".." {
		return badRequest(hint, "%s: %d bytes long", field, len(s))
	}
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@:+", r)
		if !ok {
			return badRequest(hint, "%s: %q is not allowed in a name", field, r)
		}
	}
	return nil
}

// routes are the server's doors.
func (a *App) routes() http.Handler {
	mux := doors{a}
	mux.HandleFunc("POST /v1/calls", a.postCall)
	mux.HandleFunc("GET /v1/calls", a.listCalls)
	mux.HandleFunc("GET /v1/calls/{call}", a.getCall)
	mux.HandleFunc("GET /v1/calls/{call}/events", a.getEvents)
	mux.HandleFunc("POST /v1/erase", a.postErase)
	mux.HandleFunc("GET /v1/nodes", a.getNodes)
	mux.HandleFunc("GET /v1/calls/{call}/recording", a.getRecording)
	mux.HandleFunc("DELETE /v1/calls/{call}", a.deleteCall)
	mux.HandleFunc("POST /v1/calls/{call}/legs", a.postLeg)
	mux.HandleFunc("DELETE /v1/calls/{call}/legs/{leg}", a.deleteLeg)
	mux.HandleFunc("POST /v1/calls/{call}/pause", a.command(func(c *call, q command) error {
		c.Pause(q.reason())
		return nil
	}))
	mux.HandleFunc("POST /v1/calls/{call}/resume", a.command(func(c *call, q command) error {
		c.Resume(q.reason())
		return nil
	}))
	mux.HandleFunc("POST /v1/calls/{call}/swap", a.command(func(c *call, q command) error {
		if !c.swap("swapped: " + q.reason()) {
			return badRequest("POST /v1/calls/{call}/role sets a leg's role", "no running leg is the agent's or the customer's")
		}
		return nil
	}))
	mux.HandleFunc("POST /v1/calls/{call}/customer", a.putCustomer())
	mux.HandleFunc("POST /v1/calls/{call}/role", a.command(func(c *call, q command) error {
		role, ok := media.ParseRole(q.Role)
		if !ok || q.Role == "" {
			return badRequest(`give "agent", "customer" or "unknown"`, "role: %q is no role", q.Role)
		}
		if !c.setRole(q.Leg, role, "set: "+q.reason()) {
			return &apiError{Status: http.StatusNotFound, Text: fmt.Sprintf("no running leg %q", q.Leg), Hint: "GET /v1/calls/{call} names the legs"}
		}
		return nil
	}))
	a.voiceRoutes(mux)
	a.voicePageRoutes(mux)
	a.operationRoutes(mux)
	a.drainRoutes(mux)
	mux.HandleFunc("GET /v1/recognition", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, a.recogniser.reply())
	})
	mux.Handle("GET /metrics", a.metrics.handler())
	mux.Handle(push.Route, a.notePane(a.hub))
	mux.Handle("GET /{$}", a.pane)
	mux.Handle("GET /agent/{name}", a.pane)
	mux.Handle("GET /pane/", a.pane)
	lookUp := callpage.Handler()
	pages, assets := callpage.Routes()
	for _, pattern := range append(pages, assets) {
		mux.Handle(pattern, lookUp)
	}
	voices := voicepage.Handler()
	pages, assets = voicepage.Routes()
	for _, pattern := range append(pages, assets) {
		mux.Handle(pattern, voices)
	}
	for pattern, h := range a.sources.routes {
		mux.Handle(pattern, h)
	}
	return a.doors
}

func (a *App) postCall(w http.ResponseWriter, r *http.Request) {
	q, err := decodeCall(r.Body)
	if err != nil {
		a.refuse(w, err)
		return
	}
	q.parent = r.Header.Get("traceparent")
	reply, err := a.calls.open(q, a.scheme()+"://"+r.Host)
	if err != nil {
		a.log.Warn("call refused", "call", q.Call, "error", err)
		a.refuse(w, err)
		return
	}
	w.Header().Set("Location", "/v1/calls/"+reply.Call)
	writeJSON(w, http.StatusCreated, reply)
}

// refuse answers a request for a call that does not come to be, and counts it.
func (a *App) refuse(w http.ResponseWriter, err error) {
	e := classify(err)
	a.calls.env.admission.count("rtp", err)
	writeError(w, e)
}

// deleteCall ends a call and answers with its record once the last words have
// been recognised. Ending an ended call answers the same.
func (a *App) deleteCall(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("call")
	end := media.End{State: media.Ended, Reason: "ended by the API", At: time.Now()}
	if !a.calls.end(r.Context(), id, end) {
		writeError(w, unknownCall(id))
		return
	}
	rec, ok := a.calls.record(id)
	if !ok {
		writeError(w, unknownCall(id))
		return
	}
	writeJSON(w, http.StatusOK, readable(access.From(r.Context()), rec))
}

// command is the body of the requests that change a running call; it may be
// empty.
type command struct {
	// Reason is kept on the call's record.
	Reason string `json:"reason"`
	Leg    string `json:"leg"`
	Role   string `json:"role"`
	// Customer is who the customer is said to be, Confirmed what has confirmed it.
	Customer  string `json:"customer"`
	Confirmed string `json:"confirmed"`
}

// maxReason bounds a reason, in bytes.
const maxReason = 200

func (q *command) reason() string {
	if q.Reason == "" {
		return "asked for by the API"
	}
	return q.Reason
}

// command serves a request that changes a running call, and answers with its
// record.
func (a *App) command(do func(*call, command) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := a.calls.find(r.PathValue("call"))
		if c == nil {
			writeError(w, unknownCall(r.PathValue("call")))
			return
		}
		var q command
		d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil && !errors.Is(err, io.EOF) {
			writeError(w, badRequest(`a body is empty or like {"reason":"card data"}`, "the body is no valid command: %v", err))
			return
		}
		if len(q.Reason) > maxReason {
			writeError(w, badRequest("", "reason: longer than %d bytes", maxReason))
			return
		}
		if err := do(c, q); err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, readable(access.From(r.Context()), c.snapshot()))
	}
}

func unknownCall(id string) error {
	return &apiError{Status: http.StatusNotFound, Text: fmt.Sprintf("no call %q", id), Hint: "GET /v1/calls lists the calls"}
}

// classify gives an error of the media path its HTTP form.
func classify(err error) *apiError {
	var e *apiError
	var no *refusal
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, rtpfork.ErrDuplicateCall), errors.Is(err, media.ErrDuplicate):
		return &apiError{Status: http.StatusConflict, Text: err.Error(), Hint: "end the running call first or choose another id"}
	case errors.As(err, &no):
		return &apiError{Status: http.StatusServiceUnavailable, Text: err.Error(), Hint: no.hint, Retry: no.retry}
	case errors.Is(err, rtpfork.ErrTooManyCalls), errors.Is(err, rtpfork.ErrNoPort), errors.Is(err, rtpfork.ErrClosed),
		errors.Is(err, media.ErrBusy), errors.Is(err, media.ErrDraining):
		return &apiError{Status: http.StatusServiceUnavailable, Text: err.Error(), Hint: "try again later, or raise media.max_calls and the port range"}
	default:
		return &apiError{Status: http.StatusInternalServerError, Text: err.Error()}
	}
}

func writeError(w http.ResponseWriter, err error) {
	e := classify(err)
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(cmp.Or(e.Retry, retryBusy)))
	}
	writeJSON(w, e.Status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that has gone away is nobody's error.
	_, _ = w.Write(append(b, '\n'))
}
