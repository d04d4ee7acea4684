package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/guidance/callpage"
	"sidetone/guidance/push"
	"sidetone/internal/access"
	"sidetone/internal/access/certs"
	"sidetone/internal/access/oidc"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
	"sidetone/media/webrtc"
	voicepage "sidetone/voiceprint/page"
)

// OpenDirectory opens the directory of accounts and tokens beside a server that
// may run; close frees what it took.
func OpenDirectory(ctx context.Context, cfg *config.Config, log *slog.Logger) (d *access.Directory, closer io.Closer, err error) {
	k, err := OpenKept(ctx, cfg, log)
	if err != nil {
		return nil, nil, err
	}
	if d, err = newDirectory(cfg, k.store, k.Audit); err != nil {
		return nil, nil, errors.Join(err, k.Close())
	}
	return d, k, nil
}

// recordsURL is where the database is.
func recordsURL(cfg *config.Config, dir string) string {
	return cmp.Or(cfg.Storage.Records, filepath.Join(dir, "sidetone.db"))
}

// openAudit opens the audit log in a database; its key lies in the folder of keys.
func openAudit(ctx context.Context, db *store.DB, keys, node string, log *slog.Logger) (*audit.Log, error) {
	return audit.New(ctx, db, audit.Config{Dir: keys, Node: node, Log: log})
}

// auditor writes what package access does to the audit log.
type auditor struct{ log *audit.Log }

var _ access.Auditor = auditor{}

// Record implements access.Auditor.
func (a auditor) Record(ctx context.Context, actor, action, about string, details map[string]string) error {
	e := audit.Entry{Actor: actor, Action: action, Object: about, Detail: maps.Clone(details)}
	e.Address = e.Detail["from"]
	delete(e.Detail, "from")
	return a.log.Append(ctx, e)
}

func newDirectory(cfg *config.Config, db *store.DB, trail *audit.Log) (*access.Directory, error) {
	return access.NewDirectory(access.DirectoryConfig{
		DB: db, Audit: auditor{trail}, Idle: cfg.Access.SessionIdle, Absolute: cfg.Access.SessionMost,
	})
}

// secure opens what says who gets in.
func (a *App) secure(cfg *config.Config) error {
	t := &cfg.Server.TLS
	var err error
	if t.On() {
		if a.certs, err = certs.New(certs.Config{CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile, Log: a.log}); err != nil {
			return fmt.Errorf("server.tls: %w", err)
		}
	}
	_, proxies, err := networks(cfg.Sources)
	if err != nil {
		return err
	}
	g := access.GuardConfig{
		TLS: t.On(), Certificates: t.ClientCAFile != "", Proxies: proxies, Origins: cfg.Server.AllowedOrigins,
		PerSecond: cfg.Access.RequestsASecond, Burst: cfg.Access.RequestsAtOnce, Log: a.log,
	}
	if cfg.Access.Required {
		if g.Directory, err = newDirectory(cfg, a.storage.store, a.storage.audit); err != nil {
			return fmt.Errorf("access: %w", err)
		}
		if o := &cfg.Access.OIDC; o.Issuer != "" {
			if g.Provider, err = provider(o); err != nil {
				return fmt.Errorf("access.oidc: %w", err)
			}
			g.SSO = o.Name
		}
		if a.noAccount, err = g.Directory.Empty(context.Background()); err != nil {
			return err
		}
		a.noAccount = a.noAccount && g.Provider == nil
	} else {
		a.log.Warn("no login is required: whoever reaches the server may do everything (access.required)")
	}
	if a.guard, err = access.NewGuard(g); err != nil {
		return err
	}
	a.doors = a.guard.Mux(rules(cfg))
	return nil
}

func provider(o *config.OIDC) (*oidc.Provider, error) {
	secret, err := readLines(o.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("client_secret_file: %w", err)
	}
	return oidc.New(oidc.Config{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: strings.Join(secret, ""), Redirect: o.Redirect(), Scopes: o.Scopes,
		NameClaim: o.NameClaim, DisplayClaim: o.DisplayClaim, AgentClaim: o.AgentClaim, RolesClaim: o.RolesClaim, Roles: o.Roles,
	})
}

// NoAccount says that logins are required and that nobody could log in yet.
func (a *App) NoAccount() bool { return a.noAccount }

// rules say who may use which route. A route that is not here is nobody's.
func rules(cfg *config.Config) map[string]access.Rule {
	const (
		agent, supervisor, security     = access.Agent, access.Supervisor, access.Security
		administrator, integrator, moni = access.Administrator, access.Integrator, access.Monitor
	)
	is := func(roles ...access.Role) access.Rule { return access.Rule{Roles: roles} }
	open := access.Rule{Open: true}
	// What concerns one call is, besides, for those who may know of it (theirs).
	everybody := is(agent, supervisor, security, administrator, integrator)
	command := is(agent, supervisor, administrator, integrator)
	manage := is(supervisor, administrator, integrator)
	r := map[string]access.Rule{
		"POST /v1/calls":                     manage,
		"GET /v1/calls":                      everybody,
		"GET /v1/calls/{call}":               everybody,
		"DELETE /v1/calls/{call}":            manage,
		"POST /v1/calls/{call}/legs":         manage,
		"DELETE /v1/calls/{call}/legs/{leg}": manage,
		"POST /v1/calls/{call}/pause":        command,
		"POST /v1/calls/{call}/resume":       command,
		"POST /v1/calls/{call}/swap":         command,
		"POST /v1/calls/{call}/role":         manage,
		"POST /v1/calls/{call}/customer":     command,
		"GET /v1/calls/{call}/events":        is(agent, supervisor, security, administrator),
		"GET /v1/calls/{call}/recording":     is(agent, supervisor, security, administrator),
		"POST /v1/erase":                     is(security, administrator),
		"GET /v1/voice":                      is(security, administrator),
		"GET /v1/voice/people":               is(security, administrator),
		"GET /v1/voice/people/{customer}":    is(security, administrator),
		"DELETE /v1/voice/people/{customer}": is(security, administrator),
		// Whoever asks the customer, or speaks for them, tells what they said.
		"POST /v1/voice/people/{customer}/consent":          is(security, administrator, integrator),
		"POST /v1/voice/people/{customer}/templates":        {Roles: []access.Role{security, administrator, integrator}, Body: maxSpeech},
		"DELETE /v1/voice/people/{customer}/templates/{id}": is(security, administrator),
		"GET /v1/voice/comparisons":                         is(security, administrator),
		"GET /v1/voice/watch":                               is(security, administrator),
		"POST /v1/voice/watch":                              {Roles: []access.Role{security, administrator}, Body: maxSpeech},
		"POST /v1/voice/watch/{id}":                         is(security, administrator),
		"DELETE /v1/voice/watch/{id}":                       is(security, administrator),
		"GET /v1/voice/hits":                                is(security, administrator),
		"POST /v1/voice/hits/{id}":                          is(security, administrator),
		"GET /v1/voice/links":                               is(security, administrator),
		"DELETE /v1/voice/people/{customer}/passive":        is(security, administrator),

		"POST /v1/voice/people/{customer}/templates/{id}/rollback": is(security, administrator),
		"GET /v1/recognition":        everybody,
		"GET /v1/nodes":              is(administrator, moni),
		"GET /v1/drain":              is(administrator, moni),
		"POST /v1/drain":             is(administrator),
		"DELETE /v1/drain":           is(administrator),
		"GET /healthz":               open,
		"GET /readyz":                open,
		"GET /version":               open,
		"GET /metrics":               {Roles: []access.Role{administrator, integrator, moni}, Local: cfg.Access.LocalMetrics},
		push.Route:                   {Roles: []access.Role{agent, supervisor, administrator}, Agent: "agent"},
		"GET /{$}":                   {Roles: []access.Role{agent, supervisor, security, administrator}, Page: true},
		"GET /agent/{name}":          {Roles: []access.Role{agent, supervisor, administrator}, Agent: "name", Page: true},
		"GET /pane/":                 open,
		"GET /calls":                 {Roles: []access.Role{agent, supervisor, security, administrator}, Page: true},
		"GET /calls/{call}":          {Roles: []access.Role{agent, supervisor, security, administrator}, Page: true},
		"GET " + callpage.Prefix:     open,
		"GET /mic":                   {Roles: []access.Role{agent, supervisor, administrator}, Page: true},
		"GET /mic/":                  open,
		"PUT /v1/audiosocket/{uuid}": is(administrator, integrator),
		"POST /v1/rtpengine":         is(administrator, integrator),
	}
	// The security team's page asks for more than others do.
	for _, pattern := range []string{"GET /v1/voice/calibration", "GET /v1/voice/audit"} {
		r[pattern] = is(security, administrator)
	}
	voices, assets := voicepage.Routes()
	for _, pattern := range voices {
		r[pattern] = access.Rule{Roles: []access.Role{security, administrator}, Page: true}
	}
	r[assets] = open
	// Media come in by a token, unless their own protocol asks for a secret or a
	// signature, which is then checked behind these doors.
	s := &cfg.Sources
	own := map[string]bool{
		"freeswitch": s.TokensFile != "", "asterisk": s.TokensFile != "", "media": s.TokensFile != "",
		"audiohook": s.AudioHook.KeysFile != "", "twilio": s.Twilio.TokenFile != "" || s.TokensFile != "",
	}
	for name, guarded := range own {
		r["GET /v1/fork/"+name] = access.Rule{Open: guarded || cfg.Access.OpenSources, Roles: []access.Role{integrator}, Query: true}
	}
	whip := access.Rule{
		Open: s.TokensFile != "" || cfg.Access.OpenSources, Roles: []access.Role{agent, supervisor, administrator, integrator}, Query: true,
	}
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		r[method+" "+webrtc.DefaultPath], r[method+" "+webrtc.DefaultPath+"/"] = whip, whip
	}
	// A person begins a session in their own name; its address, which nobody can
	// guess, is then enough.
	begin := whip
	begin.Agent = "?agent"
	r["POST "+webrtc.DefaultPath] = begin
	// A browser asks without credentials whether it may ask.
	r["OPTIONS "+webrtc.DefaultPath], r["OPTIONS "+webrtc.DefaultPath+"/"] = open, open
	return r
}

// router is what routes are added to.
type router interface {
	Handle(pattern string, h http.Handler)
	HandleFunc(pattern string, h http.HandlerFunc)
}

// doors adds routes behind the guard; those of one call are for those who may
// know of it.
type doors struct{ app *App }

var _ router = doors{}

// Handle implements router.
func (d doors) Handle(pattern string, h http.Handler) {
	switch {
	case strings.Contains(pattern, "/v1/calls/{call}"):
		h = d.app.theirs(h)
	case pattern == "POST "+webrtc.DefaultPath:
		h = d.app.joins(h)
	}
	d.app.doors.Handle(pattern, h)
}

// HandleFunc implements router.
func (d doors) HandleFunc(pattern string, h http.HandlerFunc) { d.Handle(pattern, h) }

// theirs answers about calls of others as about calls that there are not.
func (a *App) theirs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("call")
		p := access.From(r.Context())
		if !p.KnowsAll() {
			rec, err := a.record(r.Context(), id)
			if err == nil && !p.Knows(rec.Agent) {
				err = unknownCall(id)
			}
			if err != nil {
				writeError(w, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// narrow leaves of a search what somebody may know of; some is false where
// nothing is left.
func narrow(p access.Principal, f *records.Filter) (some bool, err error) {
	if f.Text != "" && !p.Reads("") && !p.Has(access.Agent) {
		return false, &apiError{Status: http.StatusForbidden, Text: "words are not for " + p.Name, Hint: "a search for text takes a role that may read calls"}
	}
	if p.KnowsAll() {
		return true, nil
	}
	if len(f.Agents) == 0 {
		f.Agents = slices.Clone(p.Agents)
	}
	f.Agents = slices.DeleteFunc(f.Agents, func(agent string) bool { return !p.Knows(agent) })
	return len(f.Agents) > 0, nil
}

// noteRead keeps in the audit log who read what was said on a call.
func (a *App) noteRead(r *http.Request, key, agent string) error {
	return a.noteOnce(r, "call.read", key, access.From(r.Context()).Reads(agent))
}

// notePane keeps in the audit log whose page somebody opened.
func (a *App) notePane(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.noteOnce(r, "pane.opened", r.PathValue("agent"), true); err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// noteOnce is noteDone for what is done again and again, such as by a page that
// follows a call: that is one entry in ten minutes.
func (a *App) noteOnce(r *http.Request, action, object string, did bool) error {
	what := [3]string{access.From(r.Context()).Actor(), action, object}
	if did && a.readers.noted(what, time.Now()) {
		return nil
	}
	err := a.noteDone(r, action, object, did, nil)
	if err == nil && did {
		a.readers.note(what, time.Now())
	}
	return err
}

const (
	// readAgain is after what time a reader is noted again.
	readAgain = 10 * time.Minute
	// maxReaders bounds what is remembered of readers.
	maxReaders = 10_000
)

// readers are who did what lately, to what.
type readers struct {
	mu    sync.Mutex
	since map[[3]string]time.Time
}

func (s *readers) noted(what [3]string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.since[what]
	return ok && now.Sub(at) < readAgain
}

func (s *readers) note(what [3]string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil || len(s.since) >= maxReaders {
		// What is forgotten is noted once more.
		s.since = map[[3]string]time.Time{}
	}
	s.since[what] = now
}

// noteDone keeps in the audit log what somebody who is known did, if they did it.
func (a *App) noteDone(r *http.Request, action, object string, did bool, detail map[string]string) error {
	p := access.From(r.Context())
	if !did || p.Name == "" || p.Kind == access.Anybody {
		return nil
	}
	err := a.storage.audit.Append(r.Context(), audit.Entry{Actor: p.Actor(), Action: action, Object: object, Detail: detail, Address: a.guard.From(r)})
	if err != nil {
		return fmt.Errorf("what is not in the audit log is not done: %w", err)
	}
	return nil
}

// joins keeps agents from speaking into calls of others: who speaks as a call's
// agent has it on their pane.
func (a *App) joins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := access.From(r.Context())
		id := r.URL.Query().Get("call")
		if c := a.calls.find(id); c != nil && p.Kind == access.Person && !p.Knows(c.agent()) {
			writeError(w, unknownCall(id))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// agent is whose the call is.
func (c *call) agent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.Agent
}

// readable is a call as somebody may read it. Machines that command calls learn
// its state, and nothing of what is said on it.
func readable(p access.Principal, c journal.Call) journal.Call {
	if p.Reads(c.Agent) {
		return c
	}
	legs := slices.Clone(c.Legs)
	for i := range legs {
		// Both may quote words.
		legs[i].RoleReason, legs[i].Conflicts = "", nil
	}
	return journal.Call{
		Key: c.Key, N: c.N, Node: c.Node, Call: c.Call, Agent: c.Agent, Source: c.Source, External: c.External, Direction: c.Direction,
		Language: c.Language, Started: c.Started, Ended: c.Ended, State: c.State, Reason: c.Reason, Closed: c.Closed, Legs: legs,
		Transcript: []journal.Spoken{}, Pauses: c.Pauses, Gaps: c.Gaps, Cards: []journal.Shown{},
	}
}
