package oidc

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// issuer is an OpenID provider of the test's own, which signs with a real key.
type issuer struct {
	*httptest.Server
	key, other *rsa.PrivateKey
	// token makes the answer to a code of the claims that a good one has.
	token func(claims map[string]any) string
	// nonce and challenge are those of the last authorization request.
	nonce, challenge string
	spent            bool
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func start(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	for _, k := range []**rsa.PrivateKey{&i.key, &i.other} {
		var err error
		if *k, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "none", "HS256"}, "response_types_supported": []string{"code"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": b64(i.key.N.Bytes()), "e": b64([]byte{1, 0, 1}),
		}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		id, secret, _ := r.BasicAuth()
		if i.spent || r.FormValue("code") != "code-1" || b64(sum[:]) != i.challenge || id != "sidetone" || secret != "s3cret" {
			w.WriteHeader(http.StatusBadRequest)
			write(w, map[string]string{"error": "invalid_grant"})
			return
		}
		i.spent = true
		now := time.Now().Unix()
		write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.token(map[string]any{
			"iss": i.URL, "sub": "17", "aud": "sidetone", "iat": now, "exp": now + 60, "nonce": i.nonce,
			"preferred_username": "ann", "name": "Ann O'Hara", "groups": []string{"agents", "leads", "else"}, "extension": "2201",
		})})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	i.token = i.sign
	return i
}

// sign makes a JWT (RFC 7519) with RS256.
func (i *issuer) sign(claims map[string]any) string {
	return i.signed(`{"alg":"RS256","kid":"1","typ":"JWT"}`, claims, func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	})
}

func (i *issuer) signed(head string, claims map[string]any, by func(string) []byte) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	text := b64([]byte(head)) + "." + b64(b)
	return text + "." + b64(by(text))
}

func provider(t *testing.T, i *issuer, edit func(*Config)) *Provider {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	cfg := Config{
		Issuer: i.URL, ClientID: "sidetone", ClientSecret: "s3cret", Redirect: "http://127.0.0.1:8080/v1/oidc/callback", AgentClaim: "extension",
		Roles: map[string][]string{"agents": {"agent"}, "leads": {"supervisor", "agent"}}, Client: client,
	}
	if edit != nil {
		edit(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// begin begins an attempt and has the issuer see what the browser brings.
func begin(t *testing.T, p *Provider, i *issuer) Request {
	t.Helper()
	q, to, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	v := u.Query()
	if !strings.HasPrefix(to, i.URL+"/authorize?") || v.Get("response_type") != "code" || v.Get("code_challenge_method") != "S256" ||
		v.Get("state") != q.State || v.Get("nonce") != q.Nonce || v.Get("scope") != "openid profile email" || len(q.State) < 26 ||
		v.Get("redirect_uri") != "http://127.0.0.1:8080/v1/oidc/callback" || v.Get("client_id") != "sidetone" {
		t.Errorf("the request is %s", to)
	}
	i.nonce, i.challenge, i.spent = v.Get("nonce"), v.Get("code_challenge"), false
	return q
}

func answer(q Request) url.Values { return url.Values{"state": {q.State}, "code": {"code-1"}} }

func TestGoodLogin(t *testing.T) {
	i := start(t)
	p := provider(t, i, nil)
	q := begin(t, p, i)
	id, err := p.Finish(t.Context(), q, answer(q))
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != i.URL+" 17" || id.Name != "ann" || id.Display != "Ann O'Hara" || !slices.Equal(id.Roles, []string{"agent", "supervisor"}) ||
		!slices.Equal(id.Agents, []string{"2201"}) {
		t.Errorf("the person is %+v", id)
	}
	// A code that was used brings nobody in again.
	if _, err := p.Finish(t.Context(), q, answer(q)); err == nil {
		t.Error("the same code twice: accepted")
	}
}

func TestBadTokens(t *testing.T) {
	i := start(t)
	p := provider(t, i, nil)
	with := func(edit func(map[string]any)) func(map[string]any) string {
		return func(c map[string]any) string { edit(c); return i.sign(c) }
	}
	for name, token := range map[string]func(map[string]any) string{
		"wrong audience": with(func(c map[string]any) { c["aud"] = "another" }),
		"wrong issuer":   with(func(c map[string]any) { c["iss"] = "https://evil.example" }),
		"expired":        with(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"not yet":        with(func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }),
		"wrong nonce":    with(func(c map[string]any) { c["nonce"] = "another" }),
		"no nonce":       with(func(c map[string]any) { delete(c, "nonce") }),
		"no subject":     with(func(c map[string]any) { delete(c, "sub") }),
		"no name":        with(func(c map[string]any) { delete(c, "preferred_username") }),
		"no group":       with(func(c map[string]any) { delete(c, "groups") }),
		"strange groups": with(func(c map[string]any) { c["groups"] = map[string]bool{"agents": true} }),
		"no signature": func(c map[string]any) string {
			return i.signed(`{"alg":"none","typ":"JWT"}`, c, func(string) []byte { return nil })
		},
		"another key": func(c map[string]any) string {
			good := i.key
			i.key = i.other
			defer func() { i.key = good }()
			return i.sign(c)
		},
		// The public key as the secret of an HMAC.
		"confused algorithm": func(c map[string]any) string {
			return i.signed(`{"alg":"HS256","kid":"1","typ":"JWT"}`, c, func(text string) []byte {
				m := hmac.New(sha256.New, i.key.N.Bytes())
				fmt.Fprint(m, text)
				return m.Sum(nil)
			})
		},
		"changed claims": func(c map[string]any) string {
			parts := strings.Split(i.sign(c), ".")
			c["preferred_username"] = "root"
			b, err := json.Marshal(c)
			if err != nil {
				panic(err)
			}
			return parts[0] + "." + b64(b) + "." + parts[2]
		},
		"garbage": func(map[string]any) string { return "x.y.z" },
		"none":    func(map[string]any) string { return "" },
	} {
		i.token = token
		q := begin(t, p, i)
		if id, err := p.Finish(t.Context(), q, answer(q)); !errors.Is(err, ErrNotLoggedIn) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	i := start(t)
	p := provider(t, i, nil)
	q := begin(t, p, i)
	for name, c := range map[string]struct {
		q Request
		a url.Values
	}{
		"another state":       {q, url.Values{"state": {"x"}, "code": {"code-1"}}},
		"no state":            {q, url.Values{"code": {"code-1"}}},
		"no attempt":          {Request{}, url.Values{"state": {""}, "code": {"code-1"}}},
		"the provider's no":   {q, url.Values{"state": {q.State}, "error": {"access_denied"}}},
		"no code":             {q, url.Values{"state": {q.State}}},
		"of another provider": {q, url.Values{"state": {q.State}, "code": {"code-1"}, "iss": {"https://evil.example"}}},
	} {
		if _, err := p.Finish(t.Context(), c.q, c.a); !errors.Is(err, ErrNotLoggedIn) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who has the code but not the verifier (PKCE) gets no token.
	stolen := q
	stolen.Verifier = strings.Repeat("x", 43)
	if _, err := p.Finish(t.Context(), stolen, answer(q)); err == nil {
		t.Error("another verifier: accepted")
	}
	if _, err := p.Finish(t.Context(), q, answer(q)); err != nil {
		t.Errorf("the right one after all: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no issuer": func(c *Config) { c.Issuer = "" }, "plain http": func(c *Config) { c.Issuer = "http://login.example" },
		"no client": func(c *Config) { c.ClientID = "" }, "no roles": func(c *Config) { c.Roles = nil }, "no redirect": func(c *Config) { c.Redirect = "/" },
	} {
		c := Config{Issuer: "https://login.example", ClientID: "x", Redirect: "https://a.example/cb", Roles: map[string][]string{"a": {"agent"}}}
		edit(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// A provider that is away does not keep the server from starting.
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	p, err := New(Config{Issuer: away.URL, ClientID: "x", Redirect: "https://a.example/cb", Roles: map[string][]string{"a": {"agent"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Begin(t.Context()); err == nil {
		t.Error("a provider that is away: no error")
	}
}
