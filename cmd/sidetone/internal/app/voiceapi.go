package app

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sidetone/internal/access"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/ledger"
)

// maxSpeech bounds the body of a request to enrol: ten minutes of two channels.
const maxSpeech = 48 << 20

// voiceRoutes are the doors to what is kept of voices.
func (a *App) voiceRoutes(mux router) {
	mux.HandleFunc("GET /v1/voice", a.voice(a.getVoice))
	mux.HandleFunc("GET /v1/voice/people", a.voice(a.listVoices))
	mux.HandleFunc("GET /v1/voice/people/{customer}", a.voice(a.getPerson))
	mux.HandleFunc("DELETE /v1/voice/people/{customer}", a.voice(a.erasePerson))
	mux.HandleFunc("POST /v1/voice/people/{customer}/consent", a.voice(a.postConsent))
	mux.HandleFunc("POST /v1/voice/people/{customer}/templates", a.voice(a.postTemplate))
	mux.HandleFunc("DELETE /v1/voice/people/{customer}/templates/{id}", a.voice(a.deleteTemplate))
	mux.HandleFunc("POST /v1/voice/people/{customer}/templates/{id}/rollback", a.voice(a.rollbackTemplate))
	mux.HandleFunc("DELETE /v1/voice/people/{customer}/passive", a.voice(a.resetPassive))
	mux.HandleFunc("GET /v1/voice/comparisons", a.voice(a.listComparisons))
	a.watchRoutes(mux)
}

// voice serves a request about voices where some are compared. The answer is what do
// returns, as JSON; nil is none.
func (a *App) voice(do func(r *http.Request, by voicestore.Actor) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a.voices == nil {
			writeError(w, &apiError{Status: http.StatusNotFound, Text: "no voices are compared here", Hint: "set voice.on"})
			return
		}
		by := voicestore.Actor{Name: access.From(r.Context()).Actor(), Address: r.RemoteAddr}
		body, err := do(r, by)
		if err != nil {
			// Who still sends a recording reads no answer when the connection is cut.
			_, _ = io.CopyN(io.Discard, r.Body, maxSpeech)
			writeError(w, classifyVoice(err))
			return
		}
		status := http.StatusOK
		switch {
		case body == nil:
			w.WriteHeader(http.StatusNoContent)
			return
		case r.Method == http.MethodPost:
			status = http.StatusCreated
		}
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, status, body)
	}
}

// classifyVoice gives an error of what is kept of voices its HTTP form.
func classifyVoice(err error) error {
	if no := (*enrol.RefusalError)(nil); errors.As(err, &no) {
		return err
	}
	f := faultOf(err)
	if f == nil {
		return err
	}
	return &apiError{Status: f.status, Text: f.text, Hint: f.web}
}

// customerOf is whom a request is about.
func customerOf(r *http.Request) (string, error) {
	s := r.PathValue("customer")
	if s == "" {
		return "", badRequest("", "the customer's name is missing")
	}
	if agent, ok := strings.CutPrefix(s, agentSubject); ok {
		return s, checkName("customer", agent, false)
	}
	return s, checkName("customer", s, false)
}

// voiceReply is what compares voices here, and how well.
type voiceReply struct {
	Model       string `json:"model"`
	Calibration string `json:"calibration"`
	Trained     string `json:"trained"`
	// FalseAccepts and FalseRejects are the shares at the threshold that is in use.
	FalseAccepts float64          `json:"false_accepts"`
	FalseRejects float64          `json:"false_rejects"`
	Threshold    float64          `json:"threshold_llr"`
	Measured     string           `json:"measured"`
	People       map[string]int64 `json:"people"`
	Enrolled     int64            `json:"enrolled"`
}

func (a *App) getVoice(r *http.Request, _ voicestore.Actor) (any, error) {
	k := a.voices
	info := k.engine.Scorer.Info()
	op, err := k.engine.Scorer.Threshold(a.calls.env.cfg.Voice.FAR)
	if err != nil {
		return nil, err
	}
	stats, err := k.store.Stats(r.Context())
	if err != nil {
		return nil, err
	}
	reply := voiceReply{
		Model: info.Model.ID, Calibration: info.Calibration, Trained: info.Trained,
		FalseAccepts: op.FAR, FalseRejects: op.FRR, Threshold: op.LLR, Measured: k.engine.Params.Operating.Words(),
		People: map[string]int64{}, Enrolled: stats.Enrolled,
	}
	for state, n := range stats.Persons {
		reply.People[string(state)] = n
	}
	return reply, nil
}

// personReply is a person as lists show them.
type personReply struct {
	ID          string     `json:"id"`
	Customer    string     `json:"customer,omitempty"`
	State       string     `json:"state"`
	Since       *time.Time `json:"since,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Erased      *time.Time `json:"erased,omitempty"`
	Used        *time.Time `json:"used,omitempty"`
	Active      int        `json:"templates"`
	Provisional int        `json:"provisional"`
}

func newPersonReply(p *voicestore.Person) personReply {
	return personReply{
		ID: p.ID, Customer: p.Subject, State: string(p.State), Since: known(p.Since), Expires: known(p.Expires), Erased: known(p.Erased),
		Used: known(p.Used), Active: p.Active, Provisional: p.Provisional,
	}
}

// known is a time that is not zero.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (a *App) listVoices(r *http.Request, by voicestore.Actor) (any, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	people, err := a.voices.store.List(r.Context(), by, voicestore.Filter{
		State: voicestore.State(q.Get("state")), Enrolled: q.Get("enrolled") == "true", Passive: enrol.Phase(q.Get("passive")), Limit: limit, After: q.Get("after"),
	})
	if err != nil {
		return nil, err
	}
	reply := struct {
		People []personReply `json:"people"`
	}{People: []personReply{}}
	for i := range people {
		reply.People = append(reply.People, newPersonReply(&people[i]))
	}
	return reply, nil
}

func limitOf(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 200 {
		return 0, badRequest("", "limit: %q is not a number from 1 to 200", s)
	}
	return n, nil
}

// historyReply is all that is known of a person.
type historyReply struct {
	personReply
	Consents    []consentReply    `json:"consents"`
	Templates   []templateReply   `json:"versions"`
	Comparisons []comparisonReply `json:"comparisons"`
	// Passive is there where calls are remembered, or a passive enrolment is over.
	Passive *passiveReply `json:"passive,omitempty"`
	// Renew says why the person should be enrolled anew.
	Renew []string `json:"renew"`
}

type consentReply struct {
	At       time.Time  `json:"at"`
	State    string     `json:"state"`
	Text     string     `json:"text,omitempty"`
	Language string     `json:"language,omitempty"`
	Channel  string     `json:"channel,omitempty"`
	How      string     `json:"how,omitempty"`
	By       string     `json:"by,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
}

type templateReply struct {
	ID      string    `json:"id"`
	Origin  string    `json:"origin"`
	Version int64     `json:"version"`
	Live    bool      `json:"live"`
	Active  bool      `json:"active"`
	Line    string    `json:"line"`
	Model   string    `json:"model"`
	Made    time.Time `json:"made"`
	Audio   bool      `json:"audio"`
}

func (a *App) getPerson(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	h, err := a.voices.store.Person(r.Context(), by, customer)
	if err != nil {
		return nil, err
	}
	reply := historyReply{personReply: newPersonReply(&h.Person), Consents: []consentReply{}, Templates: []templateReply{}}
	for _, c := range h.Consents {
		reply.Consents = append(reply.Consents, consentReply{
			At: c.At, State: string(c.State), Text: c.Text, Language: c.Language, Channel: c.Channel, How: c.How, By: c.By, Expires: known(c.Expires),
		})
	}
	for _, t := range h.Templates {
		reply.Templates = append(reply.Templates, templateReply{
			ID: t.ID, Origin: t.Origin, Version: t.Version, Live: t.Live, Active: t.Active, Line: t.Line, Model: t.Model, Made: t.Made, Audio: t.Audio,
		})
	}
	if reply.Passive, err = a.passiveOf(r.Context(), by, customer); err != nil {
		return nil, err
	}
	if reply.Renew, err = a.renewOf(r.Context(), by, customer, &h); err != nil {
		return nil, err
	}
	reply.Comparisons, err = a.comparisonsOf(r, by, customer, ledger.Filter{})
	return reply, err
}

func (a *App) erasePerson(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	gone, err := a.voices.store.Erase(r.Context(), by, customer, r.URL.Query().Get("watch") == "true")
	if err != nil {
		return nil, err
	}
	a.voices.forget(customer)
	return map[string]int64{"templates": gone.Templates, "audio": gone.Audio, "prints": gone.Prints, "comparisons": gone.Comparisons, "watch": gone.Watch}, nil
}

// consentRequest is what a person said to the use of their voice.
type consentRequest struct {
	// State is asked, consented or opted_out.
	State string `json:"state"`
	// Text is the version of what was read to them, Language its language, Channel
	// over what they answered, How in what way.
	Text     string    `json:"text"`
	Language string    `json:"language"`
	Channel  string    `json:"channel"`
	How      string    `json:"how"`
	Expires  time.Time `json:"expires"`
}

func (a *App) postConsent(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	var q consentRequest
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err = d.Decode(&q); err != nil {
		return nil, badRequest(`a body looks like {"state":"consented","text":"v3","language":"en","channel":"call","how":"spoken"}`, "the body is no valid consent: %v", err)
	}
	c := voicestore.Consent{Text: q.Text, Language: q.Language, Channel: q.Channel, How: q.How, Expires: q.Expires}
	s := a.voices.store
	switch voicestore.State(q.State) {
	case voicestore.Asked:
		err = s.Ask(r.Context(), by, customer, c)
	case voicestore.Consented:
		err = s.Consent(r.Context(), by, customer, c)
	case voicestore.OptedOut:
		if err = s.OptOut(r.Context(), by, customer, c); err == nil {
			a.voices.forget(customer)
		}
	default:
		return nil, badRequest("", "state: %q; asked, consented or opted_out is needed", q.State)
	}
	if err != nil {
		return nil, err
	}
	a.calls.voiceChanged(customer)
	now, err := s.State(r.Context(), customer)
	if err != nil {
		return nil, err
	}
	return map[string]string{"customer": customer, "state": string(now.State)}, nil
}

// enrolledReply is what became of speech to enrol.
type enrolledReply struct {
	Template string      `json:"template,omitempty"`
	Report   reportReply `json:"report"`
}

type reportReply struct {
	NetMS       int64              `json:"net_ms"`
	Percent     int                `json:"percent"`
	MissingMS   int64              `json:"missing_ms"`
	Recommended bool               `json:"enough"`
	Reasons     []string           `json:"reasons"`
	Refused     []refusedReply     `json:"refused"`
	Quality     map[string]float64 `json:"quality"`
}

type refusedReply struct {
	Name    string   `json:"name"`
	Reasons []string `json:"reasons"`
}

func newReport(r *enrol.Report) reportReply {
	reply := reportReply{
		NetMS: r.Net.Milliseconds(), Percent: r.Percent, MissingMS: r.Missing.Milliseconds(), Recommended: r.Recommended,
		Reasons: append([]string{}, words(r.Reasons)...), Refused: []refusedReply{}, Quality: measures(&r.Quality),
	}
	for _, f := range r.Refused {
		reply.Refused = append(reply.Refused, refusedReply{Name: f.Name, Reasons: words(f.Reasons)})
	}
	return reply
}

// postTemplate enrols a person by the speech of a WAV file.
func (a *App) postTemplate(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	speech, err := a.speechOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	e := Enrolling{
		Enroller: a.voices.enroller, Store: a.voices.store, By: by, Customer: customer, Line: q.Get("line"), Source: heardIn(q),
		Replace: q.Get("replace") == "true", AllowDuplicates: q.Get("duplicates") == "allow",
	}
	done, err := e.Enrol(r.Context(), []Speech{speech})
	var others *DuplicateError
	if errors.As(err, &others) {
		no := &apiError{Status: http.StatusConflict, Text: errDuplicate, Hint: "the security team finds out whose it is; ?duplicates=allow enrols it all the same"}
		if mayKnowOthers(r) {
			no.Customers = others.Customers
		}
		return nil, no
	}
	if err != nil {
		return nil, refusedBy(err)
	}
	a.calls.voiceChanged(customer)
	return enrolledReply{Template: done.Template, Report: newReport(&done.Report)}, nil
}

// refusedBy tells why no template was made where the speech is to blame.
func refusedBy(err error) error {
	var no *enrol.RefusalError
	if errors.As(err, &no) {
		return &refusedSpeech{enrolledReply{Report: newReport(&no.Report)}, no}
	}
	return err
}

// refusedSpeech is speech of which no template can be made.
type refusedSpeech struct {
	reply enrolledReply
	err   *enrol.RefusalError
}

func (e *refusedSpeech) Error() string { return refusalWords(e.err) }

func (e *refusedSpeech) Unwrap() error {
	return &apiError{
		Status: http.StatusUnprocessableEntity, Text: e.Error(), Hint: "the report's reasons say what speaks against it", Report: &e.reply.Report,
	}
}

// heardIn is where the speech of an enrolment comes from.
func heardIn(q url.Values) string {
	if key := q.Get("call"); key != "" {
		return "call " + key
	}
	return "API"
}

func (a *App) deleteTemplate(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	return nil, a.voices.store.Revoke(r.Context(), by, customer, r.PathValue("id"))
}

// comparisonReply is a decision.
type comparisonReply struct {
	ID          string             `json:"id"`
	Person      string             `json:"person"`
	Call        string             `json:"call"`
	Leg         string             `json:"leg"`
	At          time.Time          `json:"at"`
	TookMS      int64              `json:"took_ms"`
	Outcome     string             `json:"outcome"`
	Reasons     []string           `json:"reasons"`
	LLR         float64            `json:"llr"`
	Accept      float64            `json:"accept"`
	Reject      float64            `json:"reject"`
	FAR         float64            `json:"false_accepts"`
	NetMS       int64              `json:"net_ms"`
	Model       string             `json:"model"`
	Calibration string             `json:"calibration"`
	Templates   []string           `json:"templates"`
	Quality     map[string]float64 `json:"quality"`
	Looks       []look             `json:"looks"`
	Signs       []signReply        `json:"signs"`
}

func (a *App) comparisonsOf(r *http.Request, by voicestore.Actor, customer string, f ledger.Filter) ([]comparisonReply, error) {
	list, err := a.voices.store.Comparisons(r.Context(), by, customer, f)
	if err != nil {
		return nil, err
	}
	reply := []comparisonReply{}
	for _, c := range list {
		d := &c.Decision
		one := comparisonReply{
			ID: c.ID, Person: c.Person, Call: c.Call, Leg: c.Leg, At: c.At, TookMS: c.Took.Milliseconds(), Outcome: d.Outcome.String(),
			Reasons: append([]string{}, words(d.Reasons)...), LLR: d.LLR, Accept: d.Accept, Reject: d.Reject, FAR: d.FAR,
			NetMS: d.Net.Milliseconds(), Model: d.Info.Model.ID, Calibration: d.Info.Calibration, Templates: c.Templates,
			Quality: measures(&d.Quality), Looks: []look{}, Signs: []signReply{},
		}
		for _, s := range c.Signs {
			one.Signs = append(one.Signs, signReply(s))
		}
		for _, l := range c.Looks {
			one.Looks = append(one.Looks, look{NetMS: l.Net.Milliseconds(), LLR: l.LLR, Accept: l.Accept})
		}
		reply = append(reply, one)
	}
	return reply, nil
}

func (a *App) listComparisons(r *http.Request, by voicestore.Actor) (any, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	list, err := a.comparisonsOf(r, by, q.Get("customer"), ledger.Filter{
		Call: q.Get("call"), Outcome: q.Get("outcome"), Limit: limit, Before: q.Get("before"),
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Comparisons []comparisonReply `json:"comparisons"`
	}{list}, nil
}

// measures are those of the audio that could be taken: JSON has no word for others.
func measures(q *voiceprint.Quality) map[string]float64 {
	all := map[string]float64{}
	for name, v := range map[string]float64{
		"snr_db": q.SNR, "level_dbfs": q.Level, "clipped": q.Clipped, "edge_hz": q.Edge,
		"reverberation_s": q.Reverberation, "music": q.Music, "unlike": q.Unlike,
	} {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			all[name] = v
		}
	}
	return all
}
