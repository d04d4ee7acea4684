package app

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sidetone/internal/audit"
	"sidetone/voiceprint"
	voicestore "sidetone/voiceprint/store"
)

// voicePageRoutes are the doors that the page of the security team needs beside
// those of voiceRoutes.
func (a *App) voicePageRoutes(mux router) {
	mux.HandleFunc("GET /v1/voice/calibration", a.voice(a.getCalibration))
	mux.HandleFunc("GET /v1/voice/audit", a.voice(a.listVoiceAudit))
}

// calibrationReply is what thresholds there are, and how they were measured.
type calibrationReply struct {
	Model       string       `json:"model"`
	Calibration string       `json:"calibration"`
	Trained     trainedReply `json:"trained"`
	// BuiltIn says that these are not parameters of the operator's own.
	BuiltIn bool `json:"built_in"`
	// Targets and Impostors are how many calls were played of each, by Speakers people.
	Targets   int `json:"targets"`
	Impostors int `json:"impostors"`
	Speakers  int `json:"speakers"`
	// LooksMS is at how much speech there was a look, LimitMS by when a call ends.
	LooksMS []int64          `json:"looks_ms"`
	LimitMS int64            `json:"limit_ms"`
	Points  []operatingReply `json:"points"`
	InUse   operatingReply   `json:"in_use"`
	// Accepts is what a match takes at each look, by the point in use.
	Accepts []acceptReply `json:"accepts"`
}

type acceptReply struct {
	NetMS     int64   `json:"net_ms"`
	Threshold float64 `json:"threshold_llr"`
}

type trainedReply struct {
	Space       string `json:"space"`
	Calibration string `json:"calibration"`
	Date        string `json:"date"`
}

// operatingReply is a point at which decisions are made: shares, and what the first
// looks take, in nats.
type operatingReply struct {
	FalseAccepts float64 `json:"false_accepts"`
	FalseRejects float64 `json:"false_rejects"`
	Threshold    float64 `json:"threshold_llr"`
}

func newOperating(o voiceprint.Operating) operatingReply {
	return operatingReply{FalseAccepts: o.FAR, FalseRejects: o.FRR, Threshold: o.LLR}
}

// getCalibration tells the whole table of thresholds, of which GET /v1/voice has the
// one in use.
func (a *App) getCalibration(*http.Request, voicestore.Actor) (any, error) {
	e := a.voices.engine
	inUse, err := e.Scorer.Threshold(a.calls.env.cfg.Voice.FAR)
	if err != nil {
		return nil, err
	}
	o, info := &e.Params.Operating, e.Scorer.Info()
	reply := calibrationReply{
		Model: info.Model.ID, Calibration: info.Calibration, Trained: trainedReply(e.Params.Trained), BuiltIn: a.calls.env.cfg.Voice.Parameters == "",
		Targets: o.Targets, Impostors: o.Impostors, Speakers: o.Speakers, LooksMS: []int64{}, LimitMS: o.Policy.Limit.Milliseconds(),
		Points: []operatingReply{}, InUse: newOperating(inUse), Accepts: []acceptReply{},
	}
	for _, l := range o.Looks {
		reply.LooksMS = append(reply.LooksMS, l.Milliseconds())
		reply.Accepts = append(reply.Accepts, acceptReply{l.Milliseconds(), inUse.Accept(l)})
	}
	for _, p := range o.Points {
		reply.Points = append(reply.Points, newOperating(p))
	}
	return reply, nil
}

// voiceEntries is how many entries are listed where nobody says.
const voiceEntries = 100

// auditReply is one thing that somebody did to voices.
type auditReply struct {
	Seq     uint64            `json:"seq"`
	At      time.Time         `json:"at"`
	Actor   string            `json:"actor"`
	Action  string            `json:"action"`
	Object  string            `json:"object,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
	Address string            `json:"address,omitempty"`
}

// listVoiceAudit tells who did what to the voice of a customer, or to any. That it
// was read is in the log before it is read.
func (a *App) listVoiceAudit(r *http.Request, by voicestore.Actor) (any, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	limit = cmp.Or(limit, voiceEntries)
	f := audit.Filter{Action: "voice", Limit: limit}
	if s := q.Get("before"); s != "" {
		if f.Before, err = strconv.ParseUint(s, 10, 63); err != nil || f.Before == 0 {
			return nil, badRequest("give the next of the page before", "before: %q is no number of an entry", s)
		}
	}
	about := "persons"
	if customer := q.Get("customer"); customer != "" {
		id, perr := a.voices.store.Pseudonym(customer)
		if perr != nil {
			return nil, perr
		}
		f.Object = voicestore.Object(id)
		about = f.Object
	}
	read := audit.Entry{Actor: by.Name, Address: by.Address, Action: "voice.listed", Object: about, Detail: map[string]string{"what": "audit"}}
	if err = a.storage.audit.Append(r.Context(), read); err != nil {
		return nil, fmt.Errorf("what is not in the audit log is not done: %w", err)
	}
	entries, err := a.storage.audit.List(r.Context(), f)
	if err != nil {
		return nil, err
	}
	reply := struct {
		Entries []auditReply `json:"entries"`
		// Next is what before asks for the next page with; 0 is the last one.
		Next uint64 `json:"next,omitempty"`
	}{Entries: []auditReply{}}
	for i := range entries {
		reply.Entries = append(reply.Entries, auditReply(entries[i]))
	}
	if n := len(entries); n == limit {
		reply.Next = entries[n-1].Seq
	}
	return reply, nil
}
