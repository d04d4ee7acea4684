package access

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sidetone/internal/access/oidc"
)

// What package oidc does with good tokens its own tests show; here it is that a
// browser comes to the provider with a cookie of its own, and back with nothing
// that lets it in.
func TestOpenIDOverHTTP(t *testing.T) {
	mux := http.NewServeMux()
	provider := httptest.NewServer(mux)
	defer provider.Close()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{
			"issuer": provider.URL, "authorization_endpoint": provider.URL + "/authorize", "token_endpoint": provider.URL + "/token", "jwks_uri": provider.URL + "/keys",
		})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
	})
	p, err := oidc.New(oidc.Config{
		Issuer: provider.URL, ClientID: "sidetone", Redirect: "https://calls.example/v1/oidc/callback", Roles: map[string][]string{"agents": {"agent"}},
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(c *GuardConfig) { c.Provider, c.SSO, c.TLS = p, "Example", true }, map[string]Rule{"GET /any": {}})
	if b := text(t, s.ask(t, "GET", "/v1/login", "")); b != `{"password":true,"sso":"Example"}`+"\n" {
		t.Errorf("the ways to log in: %s", b)
	}
	res := s.ask(t, "GET", "/v1/oidc/start?next=//evil.example", "")
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != 303 || to.Path != "/authorize" || len(res.Cookies()) != 1 {
		t.Fatalf("start: %d to %q, %v", res.StatusCode, to, err)
	}
	c := res.Cookies()[0]
	begun := parseAttempt(c.Value)
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-") || c.MaxAge != 600 ||
		begun.State != to.Query().Get("state") || begun.Next != "/" || strings.Contains(to.RawQuery, begun.Verifier) {
		t.Errorf("the attempt's cookie is %s", c)
	}
	cookie := c.Name + "=" + c.Value
	s.trail.take()
	for name, query := range map[string]string{
		"another state":   "state=x&code=y",
		"a bad code":      "code=y&state=" + begun.State,
		"the person's no": "error=access_denied&state=" + begun.State,
		"nothing":         "",
	} {
		res := s.ask(t, "GET", "/v1/oidc/callback?"+query, "", "Cookie", cookie)
		if res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Location"), "/login?error=") {
			t.Errorf("%s: %d to %s", name, res.StatusCode, res.Header.Get("Location"))
		}
		for _, set := range res.Cookies() {
			if set.Name == s.guard.cookieName() || set.MaxAge >= 0 {
				t.Errorf("%s: sets %s", name, set)
			}
		}
	}
	if got := s.trail.take(); len(got) != 4 || got[0] != "nobody login.failed unknown" {
		t.Errorf("audit %q", got)
	}
	// With a provider, the session's cookie must come along from its site.
	s.add(t, "ann", Agent)
	if set := s.ask(t, "POST", "/v1/login", login("ann", good)).Cookies()[0]; set.SameSite != http.SameSiteLaxMode {
		t.Errorf("the session's cookie is %s", set)
	}
}
