package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/internal/access/oidc"
)

const (
	// maxBody bounds the body of a request, in bytes, where no rule does; routes may
	// bound it closer.
	maxBody = 1 << 20
	// recheckEvery is how soon at the latest a connection that stays open, a
	// WebSocket's, ends after its session or token.
	recheckEvery = 10 * time.Second
)

// Rule says who may use a route. The zero value lets in everybody who is known.
type Rule struct {
	// Open lets in everybody, known or not.
	Open bool
	// Roles are those that may; none: all.
	Roles []Role
	// Agent names the route's wildcard, or after "?" the parameter, that holds an
	// agent's name: who has only the role agent must be that one.
	Agent string
	// Query lets a token stand in the parameter "token", for sources that can set
	// no header.
	Query bool
	// Local also lets in whoever is on the same machine, and nobody between.
	Local bool
	// Page sends browsers to log in, where others are told to.
	Page bool
	// Body bounds the body of a request, in bytes; 0 means 1 MiB.
	Body int64
}

// GuardConfig is what a Guard needs.
type GuardConfig struct {
	// Directory knows who is who; nil: no login is required, and everybody may do
	// everything.
	Directory *Directory
	// Provider logs people in besides passwords; nil: none. Its name, SSO, is shown.
	Provider *oidc.Provider
	SSO      string
	// TLS says that the server is reached by https only.
	TLS bool
	// Certificates wants a verified client certificate beside each token.
	Certificates bool
	// Proxies are believed when they tell whom they speak for.
	Proxies []netip.Prefix
	// Origins besides the server's own may change things with a person's cookie.
	Origins []string
	// PerSecond bounds the requests of one address, on the average; Burst at once.
	// 0: they are not bounded.
	PerSecond, Burst int
	// Log may be nil.
	Log *slog.Logger
}

// Guard stands before all routes. Close it.
type Guard struct {
	cfg   GuardConfig
	cross *http.CrossOriginProtection
	now   func() time.Time

	requests, denials *limits
	// failures are logins by account, knocks by address.
	failures, knocks *limits

	mu   sync.Mutex
	long map[*watched]struct{}

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// NewGuard makes a Guard.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.PerSecond < 0 || cfg.Burst < 0 || cfg.PerSecond > 0 && cfg.Burst == 0 {
		return nil, fmt.Errorf("access: %d requests a second, %d at once: neither may be negative, and some must be allowed at once", cfg.PerSecond, cfg.Burst)
	}
	g := &Guard{
		cfg: cfg, cross: http.NewCrossOriginProtection(), now: time.Now,
		// A person mistypes a few times; a program that guesses gets 60 an hour.
		failures: newLimits(10, time.Minute), knocks: newLimits(30, 2*time.Second),
		denials: newLimits(10, 10*time.Second), requests: newLimits(cfg.Burst, 0),
		long: map[*watched]struct{}{},
	}
	if cfg.Directory != nil {
		g.now = cfg.Directory.cfg.Now
	}
	if cfg.PerSecond > 0 {
		g.requests = newLimits(cfg.Burst, time.Second/time.Duration(cfg.PerSecond))
	}
	for _, o := range cfg.Origins {
		if err := g.cross.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("access: origin %q: %w", o, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	if cfg.Directory != nil {
		g.wg.Go(func() { g.watch(ctx) })
	}
	return g, nil
}

// Close stops the Guard's own work and waits for it. Idempotent.
func (g *Guard) Close() {
	g.stop()
	g.wg.Wait()
}

// Mux serves routes to those whom the rules let in.
type Mux struct {
	guard    *Guard
	mux      *http.ServeMux
	rules    map[string]Rule
	patterns []string
	missing  []string
}

// Mux makes a Mux with rules by pattern, and the Guard's own routes.
func (g *Guard) Mux(rules map[string]Rule) *Mux {
	m := &Mux{guard: g, mux: http.NewServeMux(), rules: rules}
	g.serve(m)
	return m
}

// Handle serves a pattern of http.ServeMux. Nobody gets to one without a rule.
func (m *Mux) Handle(pattern string, h http.Handler) {
	rule, ok := m.rules[pattern]
	if !ok {
		m.missing = append(m.missing, pattern)
		h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusForbidden, "there is no rule about who may use this", "it is a fault of the server: report it")
		})
	} else {
		h = m.guard.guarded(pattern, rule, h)
	}
	m.patterns = append(m.patterns, pattern)
	m.mux.Handle(pattern, h)
}

// HandleFunc is Handle.
func (m *Mux) HandleFunc(pattern string, h http.HandlerFunc) { m.Handle(pattern, h) }

// open serves one of the Guard's own routes, which look after themselves.
func (m *Mux) open(pattern string, h http.Handler) {
	m.patterns = append(m.patterns, pattern)
	m.mux.Handle(pattern, m.guard.guarded(pattern, Rule{Open: true}, h))
}

// Patterns are all that is served, Missing those without a rule.
func (m *Mux) Patterns() []string { return slices.Clone(m.patterns) }

// Missing are the patterns that nobody gets to.
func (m *Mux) Missing() []string { return slices.Clone(m.missing) }

// ServeHTTP bounds what one address may send, and sets the headers of all
// answers.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	// Pages have policies of their own; everything else is no page.
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if m.guard.cfg.TLS {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	from, _ := client(r, m.guard.cfg.Proxies)
	if !m.guard.requests.allow(limitKey(from), m.guard.now()) {
		tooMany(w, "too many requests from this address")
		return
	}
	m.mux.ServeHTTP(w, r)
}

// guarded lets in those whom the rule does.
func (g *Guard) guarded(pattern string, rule Rule, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, cmp.Or(rule.Body, maxBody))
		p, byCookie, err := g.who(r, rule)
		if err != nil && !errors.Is(err, ErrDenied) {
			g.cfg.Log.Error("finding out who makes a request", "route", pattern, "error", err)
			w.Header().Set("Retry-After", "5")
			refuse(w, http.StatusServiceUnavailable, "the accounts cannot be read right now", "try again later")
			return
		}
		// A browser sends cookies, and reaches servers on its own machine,
		// whoever wrote the page that it shows.
		if byCookie || p.Kind == Anybody && !rule.Open {
			if bad := g.cross.Check(r); bad != nil {
				g.denied(r, p, pattern, "another site's page")
				refuse(w, http.StatusForbidden, "a page of another site may not do this", "see server.allowed_origins")
				return
			}
		}
		from, direct := client(r, g.cfg.Proxies)
		switch {
		case rule.Open, rule.Local && direct && from.IsLoopback():
		case p.Name == "":
			g.denied(r, p, pattern, "no login")
			g.login(w, r, rule, err)
			return
		case !rule.admits(p, r):
			g.denied(r, p, pattern, "not theirs")
			refuse(w, http.StatusForbidden, fmt.Sprintf("%s may not do this", p.Name), rule.hint())
			return
		case p.Kind == Machine && g.cfg.Certificates && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0):
			g.denied(r, p, pattern, "no certificate")
			refuse(w, http.StatusForbidden, "a token needs a client's certificate beside it", "see server.tls.client_ca_file")
			return
		}
		r = r.WithContext(With(r.Context(), p))
		if p.Name != "" && p.Kind != Anybody && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			long := &watched{ResponseWriter: w, principal: p, rule: rule, request: r}
			defer g.unwatch(long)
			g.keep(long)
			w = long
		}
		next.ServeHTTP(w, r)
	})
}

// admits says whether somebody who is known is let in.
func (rule Rule) admits(p Principal, r *http.Request) bool {
	if len(rule.Roles) > 0 && !p.Has(rule.Roles...) {
		return false
	}
	if rule.Agent == "" || slices.ContainsFunc(p.Roles, func(role Role) bool {
		return role != Agent && (len(rule.Roles) == 0 || slices.Contains(rule.Roles, role))
	}) {
		return true
	}
	name := r.PathValue(rule.Agent)
	if parameter, ok := strings.CutPrefix(rule.Agent, "?"); ok {
		name = r.URL.Query().Get(parameter)
	}
	return name != "" && slices.Contains(p.Agents, name)
}

func (rule Rule) hint() string {
	hint := "it takes the role " + strings.Join(split(join(rule.Roles)), " or ")
	if len(rule.Roles) == 0 {
		hint = "it takes a role"
	}
	if rule.Agent != "" {
		hint += "; an agent may do it for their own name only"
	}
	return hint
}

// who makes the request. The error wraps ErrDenied where nobody is known by what
// was shown; the zero Principal without an error showed nothing.
func (g *Guard) who(r *http.Request, rule Rule) (p Principal, byCookie bool, err error) {
	if g.cfg.Directory == nil {
		return Anyone(), false, nil
	}
	text := ""
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		text = rest
	}
	if text == "" && rule.Query {
		text = r.URL.Query().Get("token")
	}
	// Secrets of other sorts are for the protocols behind the route.
	if strings.HasPrefix(text, tokenPrefix) {
		p, err = g.cfg.Directory.token(r.Context(), text)
		return p, false, err
	}
	if all := r.CookiesNamed(g.cookieName()); len(all) > 0 {
		p, err = g.cfg.Directory.session(r.Context(), all[0].Value)
		return p, err == nil, err
	}
	return Principal{}, false, nil
}

// login asks a person to log in, and tells a program how.
func (g *Guard) login(w http.ResponseWriter, r *http.Request, rule Rule, shown error) {
	if rule.Page && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	what := "nobody is logged in"
	if shown != nil {
		what = "the session or token is unknown, expired or revoked"
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	refuse(w, http.StatusUnauthorized, what, "people log in at /login; programs send the header Authorization: Bearer and a token, see `sidetone tokens add`")
}

// denied keeps in mind, and in the audit log, who came to a door that is not
// theirs; of many knocks of one address only some.
func (g *Guard) denied(r *http.Request, p Principal, pattern, why string) {
	from, _ := client(r, g.cfg.Proxies)
	if !g.denials.allow(limitKey(from), g.now()) {
		return
	}
	g.cfg.Log.Warn("access denied", "route", pattern, "who", g.actor(p), "from", from, "why", why)
	if g.cfg.Directory == nil {
		return
	}
	g.note(r.Context(), g.actor(p), "access.denied", pattern, map[string]string{"from": from.String(), "why": why})
}

// actor names who is known, or nobody.
func (g *Guard) actor(p Principal) string {
	if p.Name == "" {
		return "nobody"
	}
	return p.Actor()
}

// note writes to the audit log; where that fails it is said in the log.
func (g *Guard) note(ctx context.Context, actor, action, about string, details map[string]string) {
	if err := g.cfg.Directory.audit(context.WithoutCancel(ctx), actor, action, about, details); err != nil {
		g.cfg.Log.Error("the audit log takes no entry", "error", err)
	}
}

func tooMany(w http.ResponseWriter, what string) {
	w.Header().Set("Retry-After", "60")
	refuse(w, http.StatusTooManyRequests, what, "wait a minute, then try again")
}

// refuse answers with an error as the API's are.
func refuse(w http.ResponseWriter, status int, text, hint string) {
	reply(w, status, struct {
		Error string `json:"error"`
		Hint  string `json:"hint,omitempty"`
	}{text, hint})
}

func reply(w http.ResponseWriter, status int, v any) {
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
