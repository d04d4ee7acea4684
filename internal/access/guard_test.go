package access

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/store/storetest"
)

// site is a guarded server in the test's own process, without a network.
type site struct {
	*fixture
	guard *Guard
	mux   *Mux
}

func serve(t *testing.T, edit func(*GuardConfig), rules map[string]Rule) *site {
	t.Helper()
	s := &site{fixture: directory(t, t.TempDir()+"/test.db")}
	cfg := GuardConfig{Directory: s.Directory}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if s.guard, err = NewGuard(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.guard.Close)
	s.mux = s.guard.Mux(rules)
	for pattern := range rules {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			fmt.Fprint(w, From(r.Context()).Actor())
		})
	}
	return s
}

// ask makes a request; headers are names and values in turn.
func (s *site) ask(t *testing.T, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.7:4711"
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "From-Address" {
			r.RemoteAddr = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func login(name, pass string) string {
	b, err := json.Marshal(map[string]string{"name": name, "password": pass})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestRules(t *testing.T) {
	rules := map[string]Rule{
		"GET /open":            {Open: true},
		"GET /any":             {},
		"GET /boss":            {Roles: []Role{Supervisor, Administrator}},
		"GET /pane/{agent}":    {Roles: []Role{Agent, Supervisor}, Agent: "agent", Page: true},
		"GET /speak":           {Roles: []Role{Agent, Integrator}, Agent: "?agent", Query: true},
		"GET /metrics":         {Roles: []Role{Monitor}, Local: true},
		"POST /any":            {},
		"GET /nobody/{agent}":  {Roles: []Role{Agent}, Agent: "agent"},
		"GET /security-office": {Roles: []Role{Security}},
	}
	s := serve(t, nil, rules)
	s.mux.HandleFunc("GET /forgotten", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") })
	if got := s.mux.Missing(); !slices.Equal(got, []string{"GET /forgotten"}) {
		t.Errorf("without a rule: %q", got)
	}
	s.add(t, "ann", Agent)
	s.add(t, "sue", Supervisor)
	s.add(t, "adm", Administrator)
	token := func(name string, of ...Role) string {
		x, err := s.AddToken(t.Context(), "system:test", name, of, s.clock.now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + x
	}
	cookie := func(name string) []string { return []string{"Cookie", "sidetone=" + s.enter(t, name)} }
	ann, sue, adm := cookie("ann"), cookie("sue"), cookie("adm")
	pbx, mon := []string{"Authorization", token("pbx", Integrator)}, []string{"Authorization", token("mon", Monitor)}
	gone := []string{"Authorization", token("gone", Integrator)}
	if err := s.RevokeToken(t.Context(), "system:test", "gone"); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		who    string
		with   []string
		target string
		want   int
	}{
		{"nobody", nil, "/open", 200}, {"nobody", nil, "/any", 401}, {"nobody", nil, "/boss", 401}, {"nobody", nil, "/pane/ann", 303},
		{"nobody", nil, "/forgotten", 403}, {"nobody", nil, "/metrics", 401}, {"nobody", nil, "/else", 404},
		{"local", []string{"From-Address", "127.0.0.1:5"}, "/metrics", 200}, {"local", []string{"From-Address", "[::1]:5"}, "/metrics", 200},
		{"proxied", []string{"From-Address", "127.0.0.1:5", "X-Forwarded-For", "203.0.113.9"}, "/metrics", 401},
		{"proxied", []string{"From-Address", "127.0.0.1:5", "Forwarded", "for=203.0.113.9"}, "/metrics", 401},
		{"ann", ann, "/open", 200}, {"ann", ann, "/any", 200}, {"ann", ann, "/boss", 403}, {"ann", ann, "/pane/ann", 200},
		{"ann", ann, "/pane/sue", 403}, {"ann", ann, "/pane/%61nn", 200}, {"ann", ann, "/pane/ann%2f..%2fsue", 403}, {"ann", ann, "/forgotten", 403},
		{"ann", ann, "/speak?agent=ann", 200}, {"ann", ann, "/speak", 403}, {"ann", ann, "/speak?agent=sue&agent=ann", 403}, {"ann", ann, "/nobody/ann", 200},
		{"ann", ann, "/nobody/", 404}, {"ann", ann, "/security-office", 403},
		{"sue", sue, "/boss", 200}, {"sue", sue, "/pane/ann", 200}, {"sue", sue, "/nobody/sue", 403}, {"sue", sue, "/speak?agent=sue", 403},
		{"adm", adm, "/boss", 200}, {"adm", adm, "/pane/ann", 403}, {"adm", adm, "/forgotten", 403}, {"adm", adm, "/security-office", 403},
		{"pbx", pbx, "/any", 200}, {"pbx", pbx, "/boss", 403}, {"pbx", pbx, "/speak", 200}, {"pbx", pbx, "/pane/ann", 403}, {"pbx", pbx, "/metrics", 403},
		{"pbx by the address", nil, "/speak?token=" + strings.TrimPrefix(pbx[1], "Bearer "), 200},
		{"pbx by the address", nil, "/any?token=" + strings.TrimPrefix(pbx[1], "Bearer "), 401},
		{"mon", mon, "/metrics", 200}, {"mon", mon, "/boss", 403},
		{"revoked", gone, "/any", 401}, {"revoked", gone, "/open", 200},
		{"garbage token", []string{"Authorization", "Bearer st_x"}, "/any", 401}, {"another scheme", []string{"Authorization", "Basic YTpi"}, "/any", 401},
		{"wrong cookie", []string{"Cookie", "sidetone=" + newSecret("")}, "/any", 401}, {"empty cookie", []string{"Cookie", "sidetone="}, "/any", 401},
		{"token as cookie", []string{"Cookie", "sidetone=" + strings.TrimPrefix(pbx[1], "Bearer ")}, "/any", 401},
		{"session as token", []string{"Authorization", "Bearer " + strings.TrimPrefix(ann[1], "sidetone=")}, "/any", 401},
		{"revoked token beside a good cookie", slices.Concat(gone, ann), "/any", 401},
	}
	for _, c := range cases {
		res := s.ask(t, "GET", c.target, "", c.with...)
		if res.StatusCode != c.want {
			t.Errorf("%s: GET %s: %d, want %d", c.who, c.target, res.StatusCode, c.want)
		}
		if c.want >= 400 && strings.Contains(text(t, res), "secret") {
			t.Errorf("%s: GET %s tells the secret", c.who, c.target)
		}
	}
	if to := s.ask(t, "GET", "/pane/ann?x=1", "").Header.Get("Location"); to != "/login?next=%2Fpane%2Fann%3Fx%3D1" {
		t.Errorf("a page leads to %q", to)
	}
	s.clock.pass(time.Hour)
	if res := s.ask(t, "GET", "/any", "", pbx...); res.StatusCode != 401 {
		t.Errorf("an expired token: %d", res.StatusCode)
	}
}

func TestOtherSites(t *testing.T) {
	s := serve(t, func(c *GuardConfig) { c.Origins = []string{"https://crm.example"} }, map[string]Rule{"POST /any": {}, "GET /any": {}})
	s.add(t, "ann", Agent)
	token, err := s.AddToken(t.Context(), "system:test", "pbx", []Role{Integrator}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cookie, bearer := []string{"Cookie", "sidetone=" + s.enter(t, "ann")}, []string{"Authorization", "Bearer " + token}
	for _, c := range []struct {
		name, method string
		headers      []string
		want         int
	}{
		{"own page", "POST", append([]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, cookie...), 200},
		{"program", "POST", cookie, 200},
		{"another site", "POST", append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...), 403},
		{"sibling", "POST", append([]string{"Sec-Fetch-Site", "same-site"}, cookie...), 403},
		{"old browser", "POST", append([]string{"Origin", "https://evil.example"}, cookie...), 403},
		{"no origin", "POST", append([]string{"Origin", "null"}, cookie...), 403},
		{"allowed origin", "POST", append([]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://crm.example"}, cookie...), 200},
		{"a link", "GET", append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...), 200},
		{"token", "POST", append([]string{"Sec-Fetch-Site", "cross-site"}, bearer...), 200},
	} {
		if res := s.ask(t, c.method, "/any", "", c.headers...); res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, res.StatusCode, c.want)
		}
	}
	for _, path := range []string{"/v1/login", "/v1/logout"} {
		if res := s.ask(t, "POST", path, login("ann", good), "Sec-Fetch-Site", "cross-site"); res.StatusCode != 403 || len(res.Cookies()) > 0 {
			t.Errorf("%s from another site: %d", path, res.StatusCode)
		}
	}
	// Without logins a page of any site could reach a server on the same machine.
	free := serve(t, func(c *GuardConfig) { c.Directory = nil }, map[string]Rule{"POST /any": {Roles: []Role{Administrator}}})
	if res := free.ask(t, "POST", "/any", ""); res.StatusCode != 200 || text(t, res) != "anybody:anybody" {
		t.Errorf("a program where no login is required: %d", res.StatusCode)
	}
	if res := free.ask(t, "POST", "/any", "", "Sec-Fetch-Site", "cross-site"); res.StatusCode != 403 {
		t.Errorf("another site's page where no login is required: %d", res.StatusCode)
	}
}

func TestLoginOverHTTP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := serve(t, func(c *GuardConfig) { c.TLS = secure }, map[string]Rule{"GET /any": {}})
		s.add(t, "ann", Agent)
		s.trail.take()
		name := s.guard.cookieName()
		if res := s.ask(t, "GET", "/v1/me", ""); res.StatusCode != 401 {
			t.Errorf("me before: %d", res.StatusCode)
		}
		res := s.ask(t, "POST", "/v1/login", login("ann", good))
		if res.StatusCode != 200 || len(res.Cookies()) != 1 {
			t.Fatalf("login: %d, %d cookies", res.StatusCode, len(res.Cookies()))
		}
		c := res.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != secure || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 ||
			secure != (c.Name == "__Host-sidetone") {
			t.Errorf("the cookie is %s", c)
		}
		if got := res.Header.Get("Strict-Transport-Security"); secure != (got != "") {
			t.Errorf("HSTS %q with TLS %v", got, secure)
		}
		me := text(t, s.ask(t, "GET", "/v1/me", "", "Cookie", name+"="+c.Value))
		if me != `{"kind":"account","name":"ann","roles":["agent"],"agents":["ann"]}`+"\n" {
			t.Errorf("me: %s", me)
		}
		// A session that somebody planted ends with the login, and the new one has
		// another id.
		res = s.ask(t, "POST", "/v1/login", login("ann", good), "Cookie", name+"="+c.Value)
		if res.StatusCode != 200 || res.Cookies()[0].Value == c.Value {
			t.Errorf("the second login: %d, the same id: %v", res.StatusCode, res.Cookies()[0].Value == c.Value)
		}
		if old := s.ask(t, "GET", "/any", "", "Cookie", name+"="+c.Value); old.StatusCode != 401 {
			t.Errorf("the session before the login: %d", old.StatusCode)
		}
		second := res.Cookies()[0].Value
		planted := newSecret("")
		if res = s.ask(t, "POST", "/v1/login", login("ann", good), "Cookie", name+"="+planted); res.Cookies()[0].Value == planted {
			t.Error("a planted id became a session")
		}
		out := s.ask(t, "POST", "/v1/logout", "", "Cookie", name+"="+second)
		if out.StatusCode != 204 || out.Cookies()[0].MaxAge >= 0 || out.Cookies()[0].Name != name {
			t.Errorf("logout: %d, %s", out.StatusCode, out.Cookies())
		}
		if old := s.ask(t, "GET", "/any", "", "Cookie", name+"="+second); old.StatusCode != 401 {
			t.Errorf("after the logout: %d", old.StatusCode)
		}
		want := []string{
			"account:ann login ann", "account:ann logout ann", "account:ann login ann", "nobody access.denied GET /any",
			"account:ann login ann", "account:ann logout ann", "nobody access.denied GET /any",
		}
		if got := s.trail.take(); !slices.Equal(got, want) {
			t.Errorf("audit %q, want %q", got, want)
		}
	}
}

// What is answered tells nobody whether an account exists.
func TestNobodyLearnsNames(t *testing.T) {
	s := serve(t, nil, nil)
	s.add(t, "ann", Agent)
	s.add(t, "off", Agent)
	if err := s.SetDisabled(t.Context(), "system:test", "off", true); err != nil {
		t.Fatal(err)
	}
	s.trail.take()
	var first *http.Response
	var body string
	for i, name := range []string{"ann", "nobody", "off"} {
		res := s.ask(t, "POST", "/v1/login", login(name, "wrong password"))
		if i == 0 {
			first, body = res, text(t, res)
			continue
		}
		if b := text(t, res); res.StatusCode != first.StatusCode || b != body || len(res.Header) != len(first.Header) {
			t.Errorf("%s: %d %q, ann: %d %q", name, res.StatusCode, b, first.StatusCode, body)
		}
	}
	// A password that was typed as the name is not kept.
	if got, want := s.trail.take(), []string{"nobody login.failed ann", "nobody login.failed unknown", "nobody login.failed off"}; !slices.Equal(got, want) {
		t.Errorf("audit %q, want %q", got, want)
	}
	for _, bad := range []string{"", "{}", `{"name":"ann"`, `{"name":"ann","password":"x","more":1}`, login(strings.Repeat("a", 129), "x"), login("ann", strings.Repeat("x", 10000))} {
		if res := s.ask(t, "POST", "/v1/login", bad); res.StatusCode != 400 {
			t.Errorf("%.40q: %d", bad, res.StatusCode)
		}
	}
}

func TestGuessing(t *testing.T) {
	s := serve(t, nil, nil)
	s.add(t, "ann", Agent)
	s.add(t, "bob", Agent)
	try := func(name, pass, from string) int {
		return s.ask(t, "POST", "/v1/login", login(name, pass), "From-Address", from).StatusCode
	}
	for i := range 10 {
		if st := try("ann", "wrong", fmt.Sprintf("198.51.100.%d:1", i)); st != 401 {
			t.Fatalf("try %d: %d", i, st)
		}
	}
	if st := try("ANN", good, "198.51.100.99:1"); st != 429 {
		t.Errorf("the eleventh try from elsewhere: %d", st)
	}
	if st := try("bob", good, "198.51.100.99:1"); st != 200 {
		t.Errorf("another account: %d", st)
	}
	s.clock.pass(time.Minute)
	if st := try("ann", good, "198.51.100.99:1"); st != 200 {
		t.Errorf("a minute later: %d", st)
	}
	for range 10 {
		if st := try("ann", "wrong", "198.51.100.99:1"); st != 401 {
			t.Fatalf("after a good login the count begins anew: %d", st)
		}
	}
	got := 0
	for i := range 100 {
		if try(fmt.Sprint("name", i), "wrong", fmt.Sprintf("[2001:db8::%x]:1", i)) != 429 {
			got++
		}
	}
	if got != 30 {
		t.Errorf("one network of IPv6 had %d tries, want 30", got)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	s := serve(t, func(c *GuardConfig) {
		c.PerSecond, c.Burst = 10, 5
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}, map[string]Rule{"GET /open": {Open: true}, "POST /open": {Open: true}, "POST /long": {Open: true, Body: 2 * maxBody}})
	count := func(headers ...string) (ok int) {
		for range 20 {
			if s.ask(t, "GET", "/open", "", headers...).StatusCode == 200 {
				ok++
			}
		}
		return ok
	}
	if n := count(); n != 5 {
		t.Errorf("%d requests at once, want 5", n)
	}
	if n := count("X-Forwarded-For", "203.0.113.1"); n != 0 {
		t.Errorf("%d requests more for who says to be another", n)
	}
	if n := count("From-Address", "10.1.1.1:1", "X-Forwarded-For", "6.6.6.6, 203.0.113.1"); n != 5 {
		t.Errorf("%d requests by a proxy, want 5", n)
	}
	if n := count("From-Address", "10.1.1.1:1", "X-Forwarded-For", "7.7.7.7, 203.0.113.1"); n != 0 {
		t.Errorf("%d requests more behind a proxy for who forges", n)
	}
	s.clock.pass(100 * time.Millisecond)
	if n := count(); n != 1 {
		t.Errorf("%d requests after a tenth of a second, want 1", n)
	}
	s.clock.pass(time.Hour)
	if res := s.ask(t, "POST", "/open", strings.Repeat("x", maxBody+1)); res.StatusCode != 413 {
		t.Errorf("a long body: %d", res.StatusCode)
	}
	for n, want := range map[int]int{2 * maxBody: 200, 2*maxBody + 1: 413} {
		if res := s.ask(t, "POST", "/long", strings.Repeat("x", n)); res.StatusCode != want {
			t.Errorf("a body of %d bytes where the rule allows more: %d, want %d", n, res.StatusCode, want)
		}
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := s.ask(t, "GET", "/open", "").Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The memory of limits stays bounded whoever knocks.
func TestLimitsForget(t *testing.T) {
	l := newLimits(1, time.Hour)
	now := time.Now()
	for i := range 5 * maxKeys {
		l.allow(fmt.Sprint(i), now)
	}
	if n := len(l.new) + len(l.old); n > 2*maxKeys {
		t.Errorf("%d keys are kept", n)
	}
	if l.allow(fmt.Sprint(5*maxKeys-1), now) {
		t.Error("the last key is forgotten already")
	}
}

// An account database that does not answer lets nobody in.
func TestBrokenDatabase(t *testing.T) {
	s := serve(t, nil, map[string]Rule{"GET /any": {}, "GET /open": {Open: true}})
	s.add(t, "ann", Agent)
	cookie := "sidetone=" + s.enter(t, "ann")
	if _, err := s.db.Exec(t.Context(), `DROP TABLE access_sessions`); err != nil {
		t.Fatal(err)
	}
	if res := s.ask(t, "GET", "/any", "", "Cookie", cookie); res.StatusCode != 503 {
		t.Errorf("a session: %d", res.StatusCode)
	}
	if res := s.ask(t, "POST", "/v1/login", login("ann", good)); res.StatusCode != 503 || len(res.Cookies()) > 0 {
		t.Errorf("a login: %d", res.StatusCode)
	}
	if b := text(t, s.ask(t, "POST", "/v1/login", login("ann", good))); strings.Contains(b, "access_sessions") {
		t.Errorf("the answer tells of the database: %s", b)
	}
}

func TestConfigs(t *testing.T) {
	for name, c := range map[string]GuardConfig{"negative": {PerSecond: -1}, "no burst": {PerSecond: 1}, "origin": {Origins: []string{"crm"}}} {
		if g, err := NewGuard(c); err == nil {
			g.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	db := storetest.Open(t, t.TempDir()+"/test.db")
	for name, c := range map[string]DirectoryConfig{"no database": {Audit: &trail{}}, "no audit": {DB: db}, "times": {DB: db, Audit: &trail{}, Idle: time.Hour, Absolute: time.Minute}} {
		if _, err := NewDirectory(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
