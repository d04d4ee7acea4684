package access

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidetone/internal/access/oidc"
	"sidetone/internal/access/page"
)

// attemptTime is how long a person may take at the provider.
const attemptTime = 10 * time.Minute

// maxLogin bounds the body of a login, in bytes.
const maxLogin = 4 << 10

// serve adds the routes of logging in and out.
func (g *Guard) serve(m *Mux) {
	m.open("GET /v1/me", http.HandlerFunc(g.me))
	m.open("GET /v1/login", http.HandlerFunc(g.ways))
	pages := page.Handler()
	m.open("GET /login", pages)
	m.open("GET /login/", pages)
	if g.cfg.Directory == nil {
		return
	}
	m.open("POST /v1/login", http.HandlerFunc(g.logIn))
	m.open("POST /v1/logout", http.HandlerFunc(g.logOut))
	if g.cfg.Provider != nil {
		m.open("GET /v1/oidc/start", http.HandlerFunc(g.start))
		m.open("GET /v1/oidc/callback", http.HandlerFunc(g.callback))
	}
}

// cookieName has a prefix with which browsers take the cookie from this host
// only, and by https only.
func (g *Guard) cookieName() string { return g.named("sidetone") }

func (g *Guard) named(name string) string {
	if g.cfg.TLS {
		return "__Host-" + name
	}
	return name
}

// cookie is set for the whole site and unreadable to pages. An OpenID provider
// sends people back from another site: a strict cookie would not come with them.
func (g *Guard) cookie(name, value string, age time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: g.named(name), Value: value, Path: "/", HttpOnly: true, Secure: g.cfg.TLS, SameSite: http.SameSiteStrictMode,
		MaxAge: int(age / time.Second),
	}
	if g.cfg.Provider != nil {
		c.SameSite = http.SameSiteLaxMode
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// meReply is the answer to GET /v1/me.
type meReply struct {
	Kind    Kind     `json:"kind"`
	Name    string   `json:"name"`
	Display string   `json:"display,omitempty"`
	Roles   []Role   `json:"roles"`
	Agents  []string `json:"agents"`
}

func (g *Guard) me(w http.ResponseWriter, r *http.Request) {
	p := From(r.Context())
	if p.Name == "" {
		g.login(w, r, Rule{}, nil)
		return
	}
	if p.Agents == nil {
		p.Agents = []string{}
	}
	reply(w, http.StatusOK, meReply{p.Kind, p.Name, p.Display, p.Roles, p.Agents})
}

// ways tells the login page how people may log in.
func (g *Guard) ways(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, struct {
		Password bool   `json:"password"`
		SSO      string `json:"sso,omitempty"`
	}{g.cfg.Directory != nil, g.cfg.SSO})
}

// sameSite refuses logins and logouts that another site's page begins.
func (g *Guard) sameSite(w http.ResponseWriter, r *http.Request) bool {
	if err := g.cross.Check(r); err != nil {
		g.denied(r, From(r.Context()), r.Pattern, "another site's page")
		refuse(w, http.StatusForbidden, "a page of another site may not do this", "see server.allowed_origins")
		return false
	}
	return true
}

func (g *Guard) logIn(w http.ResponseWriter, r *http.Request) {
	if !g.sameSite(w, r) {
		return
	}
	from, _ := client(r, g.cfg.Proxies)
	if !g.knocks.allow(limitKey(from), g.now()) {
		tooMany(w, "too many logins from this address")
		return
	}
	var q struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || q.Name == "" || len(q.Name) > 128 {
		refuse(w, http.StatusBadRequest, "the body is no login", `a body looks like {"name":"ann","password":"..."}`)
		return
	}
	key := strings.ToLower(q.Name)
	if !g.failures.allow(key, g.now()) {
		g.denied(r, Principal{}, "POST /v1/login", "too many wrong passwords")
		tooMany(w, "too many wrong passwords for this name")
		return
	}
	generation, err := g.cfg.Directory.login(r.Context(), q.Name, q.Password)
	if errors.Is(err, ErrDenied) {
		// The name may be a password that was typed into the wrong field.
		about := "unknown"
		if known, bad := g.cfg.Directory.knows(r.Context(), q.Name); bad == nil && known {
			about = q.Name
		}
		g.note(r.Context(), "nobody", "login.failed", about, map[string]string{"from": from.String()})
		refuse(w, http.StatusUnauthorized, "the name or the password is wrong", "capitals count; an administrator can give a new password")
		return
	}
	if err == nil {
		g.failures.forget(key)
		err = g.enter(w, r, q.Name, generation, "password")
	}
	if err != nil {
		g.cfg.Log.Error("logging in", "error", err)
		refuse(w, http.StatusServiceUnavailable, "logging in does not work right now", "try again later")
		return
	}
	reply(w, http.StatusOK, struct {
		Name string `json:"name"`
	}{q.Name})
}

// enter begins a session. The one before ends, so that nobody who knew its id
// has a part in the new one.
func (g *Guard) enter(w http.ResponseWriter, r *http.Request, name string, generation int64, how string) error {
	if old := From(r.Context()); old.session != "" {
		if err := g.leave(r, old); err != nil {
			return err
		}
	}
	id, err := g.cfg.Directory.open(r.Context(), name, generation)
	if err != nil {
		return err
	}
	from, _ := client(r, g.cfg.Proxies)
	g.note(r.Context(), Principal{Kind: Person, Name: name}.Actor(), "login", name, map[string]string{"from": from.String(), "how": how})
	http.SetCookie(w, g.cookie("sidetone", id, g.cfg.Directory.cfg.Absolute))
	return nil
}

func (g *Guard) leave(r *http.Request, p Principal) error {
	if err := g.cfg.Directory.closeSession(r.Context(), p.session); err != nil {
		return err
	}
	g.cutSession(p.session)
	g.note(r.Context(), p.Actor(), "logout", p.Name, nil)
	return nil
}

func (g *Guard) logOut(w http.ResponseWriter, r *http.Request) {
	if !g.sameSite(w, r) {
		return
	}
	if p := From(r.Context()); p.session != "" {
		if err := g.leave(r, p); err != nil {
			g.cfg.Log.Error("logging out", "error", err)
			refuse(w, http.StatusServiceUnavailable, "logging out does not work right now", "try again later")
			return
		}
	}
	http.SetCookie(w, g.cookie("sidetone", "", 0))
	w.WriteHeader(http.StatusNoContent)
}

// attempt is what a browser keeps while its person is at the provider.
type attempt struct {
	oidc.Request
	Next string
}

// write and parseAttempt are the cookie's form of an attempt.
func (a attempt) write() string {
	return url.Values{"s": {a.State}, "n": {a.Nonce}, "v": {a.Verifier}, "to": {a.Next}}.Encode()
}

func parseAttempt(text string) attempt {
	v, err := url.ParseQuery(text)
	if err != nil {
		return attempt{}
	}
	return attempt{oidc.Request{State: v.Get("s"), Nonce: v.Get("n"), Verifier: v.Get("v")}, Next(v.Get("to"))}
}

// Next is where a person goes after the login: a path of this site, or its first
// page.
func Next(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > 1024 || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsAny(text, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") || strings.HasPrefix(text, "//") {
		return "/"
	}
	return u.RequestURI()
}

const attemptCookie = "sidetone-oidc"

func (g *Guard) start(w http.ResponseWriter, r *http.Request) {
	from, _ := client(r, g.cfg.Proxies)
	if !g.knocks.allow(limitKey(from), g.now()) {
		tooMany(w, "too many logins from this address")
		return
	}
	q, to, err := g.cfg.Provider.Begin(r.Context())
	if err != nil {
		g.cfg.Log.Error("logging in by OpenID", "error", err)
		http.Redirect(w, r, "/login?error=provider", http.StatusSeeOther)
		return
	}
	http.SetCookie(w, g.cookie(attemptCookie, attempt{q, Next(r.URL.Query().Get("next"))}.write(), attemptTime))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (g *Guard) callback(w http.ResponseWriter, r *http.Request) {
	from, _ := client(r, g.cfg.Proxies)
	if !g.knocks.allow(limitKey(from), g.now()) {
		tooMany(w, "too many logins from this address")
		return
	}
	var begun attempt
	if c, err := r.Cookie(g.named(attemptCookie)); err == nil {
		begun = parseAttempt(c.Value)
	}
	// One answer to each attempt.
	http.SetCookie(w, g.cookie(attemptCookie, "", 0))
	w.Header().Set("Cache-Control", "no-store")
	id, err := g.cfg.Provider.Finish(r.Context(), begun.Request, r.URL.Query())
	var name string
	var generation int64
	if err == nil {
		name, generation, err = g.cfg.Directory.admit(r.Context(), id)
	}
	if err == nil {
		err = g.enter(w, r, name, generation, "openid")
	}
	if err != nil {
		g.cfg.Log.Warn("no login by OpenID", "from", from, "error", err)
		reason := "provider"
		if errors.Is(err, oidc.ErrNotLoggedIn) || errors.Is(err, ErrDenied) {
			reason = "refused"
		}
		g.note(r.Context(), "nobody", "login.failed", "unknown", map[string]string{"from": from.String(), "how": "openid", "why": reason})
		http.Redirect(w, r, "/login?error="+reason, http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, begun.Next, http.StatusSeeOther)
}
