package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/access"
	"sidetone/internal/audit"
)

// guarded is a server that asks who comes, with somebody of each role: the headers
// by which they are known, by a letter.
type guarded struct {
	*running
	dir  *access.Directory
	with map[rune][2]string
}

const testPassword = "correct horse battery"

func guard(t *testing.T, edit func(*config.Config)) *guarded {
	t.Helper()
	var cfg config.Config
	g := &guarded{with: map[rune][2]string{'n': {}}}
	g.running = startWith(t, deaf, func(c *config.Config) {
		c.Access.Required, c.Access.LocalMetrics = true, false
		c.Access.RequestsASecond = 0
		c.Sources.AudioSocket.Listen = "127.0.0.1:0"
		c.Sources.RTPEngine.NG = "127.0.0.1:9"
		if edit != nil {
			edit(c)
		}
		cfg = *c
	})
	if !g.NoAccount() {
		t.Error("a new server has an account")
	}
	dir, closer, err := OpenDirectory(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	})
	g.dir = dir
	for letter, a := range map[rune]access.Account{
		'a': {Name: "ann", Roles: []access.Role{access.Agent}}, 'b': {Name: "bob", Roles: []access.Role{access.Agent}},
		's': {Name: "sue", Roles: []access.Role{access.Supervisor}}, 'c': {Name: "sec", Roles: []access.Role{access.Security}},
		'd': {Name: "adm", Roles: []access.Role{access.Administrator}},
	} {
		if err := dir.Add(t.Context(), "system:test", a, testPassword); err != nil {
			t.Fatal(err)
		}
		g.with[letter] = [2]string{"Cookie", g.login(t, a.Name)}
	}
	for letter, role := range map[rune]access.Role{'i': access.Integrator, 'm': access.Monitor, 'x': access.Integrator} {
		text, err := dir.AddToken(t.Context(), "system:test", string(role)+string(letter), []access.Role{role}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		g.with[letter] = [2]string{"Authorization", "Bearer " + text}
	}
	if err := dir.RevokeToken(t.Context(), "system:test", "integratorx"); err != nil {
		t.Fatal(err)
	}
	g.with['g'] = [2]string{"Authorization", "Bearer st_garbage"}
	g.with['w'] = [2]string{"Cookie", "sidetone=" + strings.Repeat("A", 43)}
	g.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return g
}

// login returns the Cookie header of a new session.
func (g *guarded) login(t *testing.T, name string) string {
	t.Helper()
	res, err := g.client.Post(g.URL()+"/v1/login", "application/json", strings.NewReader(`{"name":"`+name+`","password":"`+testPassword+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Fatalf("login of %s: %d", name, res.StatusCode)
	}
	return res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
}

// as makes a request as one of them.
func (g *guarded) as(t *testing.T, who rune, method, path, body string) (status int, header http.Header, reply string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if h := g.with[who]; h[0] != "" {
		r.Header.Set(h[0], h[1])
	}
	res, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// everyone are ann, whose call it is, bob, another agent, a supervisor, a security
// officer, an administrator, an integrator's and a monitor's token, nobody, a
// revoked token, garbage for a token and a wrong cookie.
const everyone = "abscdimnxgw"

// Every route, and who gets through its door: it stands here a second time, so
// that nobody opens one by mistake. A route that is not here fails the test.
func TestEveryRouteForEverybody(t *testing.T) {
	g := guard(t, nil)
	if st, _, b := g.as(t, 'i', "POST", "/v1/calls", `{"call":"one","agent":"ann","legs":[{"role":"agent"},{"role":"customer"}]}`); st != 201 {
		t.Fatalf("opening the call: %d %s", st, b)
	}
	// path and who are what is asked for and who may; another agent is not told
	// that there is a call (h).
	want := map[string]struct{ path, who string }{
		"POST /v1/calls":                                           {"/v1/calls", "sdi"},
		"GET /v1/calls":                                            {"/v1/calls", "abscdi"},
		"GET /v1/calls/{call}":                                     {"/v1/calls/one", "ascdi h"},
		"GET /v1/calls/{call}/events":                              {"/v1/calls/one/events", "ascd h"},
		"GET /v1/calls/{call}/recording":                           {"/v1/calls/one/recording", "ascd h"},
		"DELETE /v1/calls/{call}":                                  {"/v1/calls/one", "sdi"},
		"POST /v1/calls/{call}/legs":                               {"/v1/calls/one/legs", "sdi"},
		"DELETE /v1/calls/{call}/legs/{leg}":                       {"/v1/calls/one/legs/none", "sdi"},
		"POST /v1/calls/{call}/pause":                              {"/v1/calls/one/pause", "asdi h"},
		"POST /v1/calls/{call}/resume":                             {"/v1/calls/one/resume", "asdi h"},
		"POST /v1/calls/{call}/swap":                               {"/v1/calls/one/swap", "asdi h"},
		"POST /v1/calls/{call}/role":                               {"/v1/calls/one/role", "sdi"},
		"POST /v1/calls/{call}/customer":                           {"/v1/calls/one/customer", "asdi h"},
		"GET /calls":                                               {"/calls", "abscd"},
		"GET /calls/{call}":                                        {"/calls/one", "abscd"},
		"GET /callpage/":                                           {"/callpage/none.js", everyone},
		"POST /v1/erase":                                           {"/v1/erase", "cd"},
		"GET /v1/voice":                                            {"/v1/voice", "cd"},
		"GET /v1/voice/people":                                     {"/v1/voice/people", "cd"},
		"GET /v1/voice/people/{customer}":                          {"/v1/voice/people/one", "cd"},
		"DELETE /v1/voice/people/{customer}":                       {"/v1/voice/people/one", "cd"},
		"POST /v1/voice/people/{customer}/consent":                 {"/v1/voice/people/one/consent", "cdi"},
		"POST /v1/voice/people/{customer}/templates":               {"/v1/voice/people/one/templates", "cdi"},
		"DELETE /v1/voice/people/{customer}/templates/{id}":        {"/v1/voice/people/one/templates/none", "cd"},
		"POST /v1/voice/people/{customer}/templates/{id}/rollback": {"/v1/voice/people/one/templates/none/rollback", "cd"},
		"DELETE /v1/voice/people/{customer}/passive":               {"/v1/voice/people/one/passive", "cd"},
		"GET /v1/voice/comparisons":                                {"/v1/voice/comparisons", "cd"},
		"GET /v1/voice/watch":                                      {"/v1/voice/watch", "cd"},
		"POST /v1/voice/watch":                                     {"/v1/voice/watch", "cd"},
		"POST /v1/voice/watch/{id}":                                {"/v1/voice/watch/none", "cd"},
		"DELETE /v1/voice/watch/{id}":                              {"/v1/voice/watch/none", "cd"},
		"GET /v1/voice/hits":                                       {"/v1/voice/hits", "cd"},
		"POST /v1/voice/hits/{id}":                                 {"/v1/voice/hits/none", "cd"},
		"GET /v1/voice/links":                                      {"/v1/voice/links", "cd"},
		"GET /v1/recognition":                                      {"/v1/recognition", "abscdi"},
		"GET /v1/nodes":                                            {"/v1/nodes", "dm"},
		"GET /v1/drain":                                            {"/v1/drain", "dm"},
		"POST /v1/drain":                                           {"/v1/drain", "d"},
		"DELETE /v1/drain":                                         {"/v1/drain", "d"},
		"GET /healthz":                                             {"/healthz", everyone},
		"GET /readyz":                                              {"/readyz", everyone},
		"GET /version":                                             {"/version", everyone},
		"GET /metrics":                                             {"/metrics", "dim"},
		"GET /v1/push/{agent}":                                     {"/v1/push/ann", "asd"},
		"GET /{$}":                                                 {"/", "abscd"},
		"GET /agent/{name}":                                        {"/agent/ann", "asd"},
		"GET /pane/":                                               {"/pane/pane.css", everyone},
		"GET /mic":                                                 {"/mic", "absd"},
		"GET /mic/":                                                {"/mic/main.js", everyone},
		"PUT /v1/audiosocket/{uuid}":                               {"/v1/audiosocket/1", "di"},
		"POST /v1/rtpengine":                                       {"/v1/rtpengine", "di"},
		"GET /v1/fork/freeswitch":                                  {"/v1/fork/freeswitch", "i"},
		"GET /v1/fork/asterisk":                                    {"/v1/fork/asterisk", "i"},
		"GET /v1/fork/audiohook":                                   {"/v1/fork/audiohook", "i"},
		"GET /v1/fork/twilio":                                      {"/v1/fork/twilio", "i"},
		"GET /v1/fork/media":                                       {"/v1/fork/media", "i"},
		"POST /v1/whip":                                            {"/v1/whip?agent=ann", "asdi"},
		"GET /v1/whip":                                             {"/v1/whip", "absdi"},
		"PATCH /v1/whip":                                           {"/v1/whip", "absdi"},
		"DELETE /v1/whip":                                          {"/v1/whip", "absdi"},
		"OPTIONS /v1/whip":                                         {"/v1/whip", everyone},
		"POST /v1/whip/":                                           {"/v1/whip/x", "absdi"},
		"GET /v1/whip/":                                            {"/v1/whip/x", "absdi"},
		"PATCH /v1/whip/":                                          {"/v1/whip/x", "absdi"},
		"DELETE /v1/whip/":                                         {"/v1/whip/x", "absdi"},
		"OPTIONS /v1/whip/":                                        {"/v1/whip/x", everyone},
		"GET /v1/me":                                               {"/v1/me", "abscdim"},
		"GET /v1/login":                                            {"/v1/login", everyone},
		"GET /login":                                               {"/login", everyone},
		"GET /login/":                                              {"/login/login.js", everyone},
		"POST /v1/login":                                           {"/v1/login", everyone},
		"POST /v1/logout":                                          {"/v1/logout", "nxgw"},
	}
	for _, path := range []string{"/v1/voice/calibration", "/v1/voice/audit", "/voices", "/voices/people", "/voices/watch", "/voices/audit"} {
		want["GET "+path] = struct{ path, who string }{path, "cd"}
	}
	want["GET /voices/people/{customer}"] = struct{ path, who string }{"/voices/people/one", "cd"}
	want["GET /voicepage/"] = struct{ path, who string }{"/voicepage/none.js", everyone}
	if m := g.doors.Missing(); len(m) > 0 {
		t.Errorf("routes without a rule: %q", m)
	}
	patterns := g.doors.Patterns()
	// The call ends last.
	slices.SortStableFunc(patterns, func(a, b string) int {
		return cmp.Compare(strings.Count(a, "DELETE /v1/calls/{call}")-strings.Count(a, "legs"), strings.Count(b, "DELETE /v1/calls/{call}")-strings.Count(b, "legs"))
	})
	tried := 0
	for _, pattern := range patterns {
		w, ok := want[pattern]
		if !ok {
			t.Errorf("%s: say in this test who may use it", pattern)
			continue
		}
		delete(want, pattern)
		method, _, _ := strings.Cut(pattern, " ")
		who, hides, _ := strings.Cut(w.who, " ")
		for _, letter := range everyone {
			if pattern == "POST /v1/logout" && strings.ContainsRune("abscdim", letter) {
				continue // it would end the sessions that the next routes need
			}
			tried++
			st, h, body := g.as(t, letter, method, w.path, "")
			got := "in"
			switch {
			case st == 401, st == 303 && strings.HasPrefix(h.Get("Location"), "/login?next="):
				got = "login"
			case st == 403:
				got = "no"
			case st == 404 && strings.Contains(body, `no call \"one\"`):
				got = "hidden"
			}
			expected := "no"
			switch {
			case strings.ContainsRune(who, letter):
				expected = "in"
			case strings.ContainsRune("nxgw", letter):
				expected = "login"
			case letter == 'b' && hides == "h":
				expected = "hidden"
			}
			if got != expected {
				t.Errorf("%s as %c: %d (%s), want %s: %.200s", pattern, letter, st, got, expected, body)
			}
		}
	}
	for pattern := range want {
		t.Errorf("%s is not served", pattern)
	}
	t.Logf("%d requests tried", tried)
}

// An agent sees own calls only, whatever is asked for, and a machine no words.
func TestOwnCallsOnly(t *testing.T) {
	g := guard(t, nil)
	for call, agent := range map[string]string{"anns": "ann", "bobs": "bob"} {
		if st, _, b := g.as(t, 'i', "POST", "/v1/calls", `{"call":"`+call+`","agent":"`+agent+`","legs":[{"role":"customer","identity":"sip:+43123@x"}]}`); st != 201 {
			t.Fatalf("opening %s: %d %s", call, st, b)
		}
	}
	list := func(who rune, query string) (names []string) {
		st, _, b := g.as(t, who, "GET", "/v1/calls"+query, "")
		var reply struct{ Calls []struct{ Call string } }
		if err := json.Unmarshal([]byte(b), &reply); err != nil || st != 200 {
			t.Fatalf("%c: %d %s: %v", who, st, b, err)
		}
		for _, c := range reply.Calls {
			names = append(names, c.Call)
		}
		slices.Sort(names)
		return names
	}
	both := []string{"anns", "bobs"}
	for _, c := range []struct {
		who   rune
		query string
		want  []string
	}{
		{'a', "", []string{"anns"}}, {'a', "?agent=bob", nil}, {'a', "?agent=ann&agent=bob", []string{"anns"}}, {'b', "?limit=1", []string{"bobs"}},
		{'s', "", both}, {'c', "", both}, {'d', "", both}, {'i', "", both}, {'s', "?agent=bob", []string{"bobs"}},
	} {
		if got := list(c.who, c.query); !slices.Equal(got, c.want) {
			t.Errorf("%c sees %q with %q, want %q", c.who, got, c.query, c.want)
		}
	}
	// A call of another and one that there is not are the same to an agent.
	for _, path := range []string{"", "/pause", "/events"} {
		method := map[string]string{"/pause": "POST"}[path]
		st1, h1, b1 := g.as(t, 'a', method, "/v1/calls/bobs"+path, "")
		st2, h2, b2 := g.as(t, 'a', method, "/v1/calls/none"+path, "")
		if st1 != 404 || st1 != st2 || strings.ReplaceAll(b1, "bobs", "none") != b2 || len(h1) != len(h2) {
			t.Errorf("%s: %d %s, unknown: %d %s", path, st1, b1, st2, b2)
		}
	}
	// Nor does one speak into it.
	if st, _, b := g.as(t, 'a', "POST", "/v1/whip?agent=ann&call=bobs", ""); st != 404 {
		t.Errorf("speaking into another's call: %d %s", st, b)
	}
	if st, _, _ := g.as(t, 'i', "GET", "/v1/calls?text=card", ""); st != 403 {
		t.Errorf("a machine searches for words: %d", st)
	}
	if st, _, b := g.as(t, 'i', "GET", "/v1/calls/anns", ""); st != 200 || strings.Contains(b, "role_reason\":\"a") {
		t.Errorf("a machine reads the state: %d %s", st, b)
	}
	var logged []string
	entries, err := g.storage.audit.List(context.Background(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		logged = append(logged, e.Actor+" "+e.Action)
	}
	if _, _, b := g.as(t, 'a', "GET", "/v1/calls/anns", ""); !strings.Contains(b, "sip:+43123@x") {
		t.Errorf("ann reads %s", b)
	}
	after, err := g.storage.audit.List(context.Background(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(logged, "account:ann call.read") || !slices.ContainsFunc(after, func(e audit.Entry) bool {
		return e.Actor == "account:ann" && e.Action == "call.read" && e.Address == "127.0.0.1" && e.Object != ""
	}) {
		t.Errorf("the audit log has %q, then %d entries", logged, len(after))
	}
}

// Where a protocol has a secret of its own, that is asked for, and no token.
func TestDoorsWithTheirOwnSecrets(t *testing.T) {
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	open := func(name string) bool { return rules(&cfg)[name].Open }
	all := []string{"GET /v1/fork/freeswitch", "GET /v1/fork/asterisk", "GET /v1/fork/media", "GET /v1/fork/audiohook", "GET /v1/fork/twilio", "POST /v1/whip"}
	for _, name := range all {
		if open(name) {
			t.Errorf("%s is open by default", name)
		}
	}
	cfg.Sources.AudioHook.KeysFile, cfg.Sources.Twilio.TokenFile = "keys", "token"
	for _, name := range all {
		if want := strings.HasSuffix(name, "audiohook") || strings.HasSuffix(name, "twilio"); open(name) != want {
			t.Errorf("%s: open %v, want %v", name, !want, want)
		}
	}
	cfg.Access.OpenSources = true
	for _, name := range all {
		if !open(name) {
			t.Errorf("%s is not open with open_sources", name)
		}
	}
}

// The database and the journal hold no password, no session and no token.
func TestNothingSecretIsKept(t *testing.T) {
	g := guard(t, nil)
	token := strings.TrimPrefix(g.with['i'][1], "Bearer ")
	session := strings.TrimPrefix(g.with['a'][1], "sidetone=")
	for _, secret := range []string{token, session, testPassword} {
		if strings.Contains(g.logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	rows, err := g.storage.store.Query(t.Context(), `SELECT hash FROM access_tokens UNION ALL SELECT hash FROM access_sessions UNION ALL SELECT password FROM access_accounts UNION ALL SELECT detail FROM audit`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			t.Fatal(err)
		}
		n++
		for _, secret := range []string{token, session, testPassword} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("the database holds %q", secret)
			}
		}
	}
	if n < 12 {
		t.Errorf("looked at %d values only", n)
	}
}
