package access

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/access/oidc"
	"sidetone/internal/access/password"
	"sidetone/internal/store/storetest"
)

func TestAccounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		f, ctx := directory(t, url), t.Context()
		if empty, err := f.Empty(ctx); err != nil || !empty {
			t.Fatalf("a new directory: empty %v, %v", empty, err)
		}
		if err := f.Add(ctx, "system:test", Account{Name: "ann", Display: "Ann O'Hara", Roles: []Role{Supervisor, Agent}, Agents: []string{"2201", "ann"}}, good); err != nil {
			t.Fatal(err)
		}
		f.add(t, "bob", Agent)
		if err := f.Add(ctx, "system:test", Account{Name: "ann", Roles: []Role{Agent}}, good); !errors.Is(err, ErrTaken) {
			t.Errorf("a second ann: %v", err)
		}
		for name, a := range map[string]Account{
			"bad name": {Name: "a/b", Roles: []Role{Agent}}, "no role": {Name: "c"}, "role of machines": {Name: "c", Roles: []Role{Integrator}},
			"unknown role": {Name: "c", Roles: []Role{"boss"}}, "bad agent": {Name: "c", Roles: []Role{Agent}, Agents: []string{"a,b"}},
			"long": {Name: "c", Roles: []Role{Agent}, Display: strings.Repeat("x", 201)},
		} {
			if err := f.Add(ctx, "system:test", a, good); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		for _, weak := range []string{"", "short", "aaaaaaaaaaaa", "bob", strings.Repeat("x y", 100), "not\xfftext at all"} {
			if err := f.SetPassword(ctx, "system:test", "bob", weak); !errors.Is(err, password.ErrWeak) {
				t.Errorf("password %q: %v", weak, err)
			}
		}
		all, err := f.Accounts(ctx)
		if err != nil || len(all) != 2 {
			t.Fatalf("accounts: %+v, %v", all, err)
		}
		if a := all[0]; a.Name != "ann" || a.Display != "Ann O'Hara" || !slices.Equal(a.Roles, []Role{Agent, Supervisor}) ||
			!slices.Equal(a.Agents, []string{"2201", "ann"}) || a.Disabled || !a.Local || !a.Created.Equal(f.clock.now()) {
			t.Errorf("ann is %+v", a)
		}
		if a := all[1]; !slices.Equal(a.Agents, []string{"bob"}) {
			t.Errorf("bob's calls are those of %v", a.Agents)
		}
		if err := f.SetRoles(ctx, "system:test", "nobody", []Role{Agent}); !errors.Is(err, ErrUnknown) {
			t.Errorf("roles of nobody: %v", err)
		}
		if got, want := f.trail.take(), []string{"system:test account.added ann", "system:test account.added bob"}; !slices.Equal(got, want) {
			t.Errorf("audit: %q, want %q", got, want)
		}
	})
}

func TestLogin(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		f, ctx := directory(t, url), t.Context()
		f.add(t, "ann", Agent)
		f.add(t, "gone", Agent)
		if err := f.SetDisabled(ctx, "system:test", "gone", true); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]string{{"ann", "wrong"}, {"ann", ""}, {"Ann", good}, {"nobody", good}, {"gone", good}, {"ann' OR '1'='1", good}, {"ann\x00", good}} {
			if _, err := f.login(ctx, c[0], c[1]); err == nil {
				t.Errorf("login %q with %q: accepted", c[0], c[1])
			}
		}
		stored := func() string {
			var s string
			if err := f.db.QueryRow(ctx, `SELECT password FROM access_accounts WHERE name = ?`, "ann").Scan(&s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		before := stored()
		if _, err := f.login(ctx, "ann", good); err != nil || stored() != before {
			t.Errorf("login: %v; the hash changed: %v", err, stored() != before)
		}
		// Costs that have risen are paid at the next login, and sessions go on.
		dearer := cheap()
		dearer.Time = 2
		id := f.enter(t, "ann")
		later, err := NewDirectory(DirectoryConfig{DB: f.db, Audit: f.trail, Params: dearer, Now: f.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := later.login(ctx, "ann", good); err != nil || !strings.Contains(stored(), "t=2") {
			t.Errorf("after a login with other costs: %v, %s", err, stored())
		}
		if _, err := later.session(ctx, id); err != nil {
			t.Errorf("the session after its hash was renewed: %v", err)
		}
	})
}

func TestSessionsEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		f, ctx := directory(t, url), t.Context()
		change := map[string]func() error{
			"password": func() error { return f.SetPassword(ctx, "system:test", "ann", "another good one") },
			"roles":    func() error { return f.SetRoles(ctx, "system:test", "ann", []Role{Supervisor}) },
			"agents":   func() error { return f.SetAgents(ctx, "system:test", "ann", []string{"x"}) },
			"disabled": func() error { return f.SetDisabled(ctx, "system:test", "ann", true) },
			"idle":     func() error { f.clock.pass(2*time.Hour + time.Second); return nil },
			"absolute": func() error { return nil },
			"logout":   nil,
		}
		for name, do := range change {
			if _, err := f.db.Exec(ctx, `DELETE FROM access_sessions`); err != nil {
				t.Fatal(err)
			}
			if _, err := f.db.Exec(ctx, `DELETE FROM access_accounts`); err != nil {
				t.Fatal(err)
			}
			f.add(t, "ann", Agent)
			id := f.enter(t, "ann")
			p, err := f.session(ctx, id)
			if err != nil || p.Name != "ann" || p.Kind != Person || !slices.Equal(p.Agents, []string{"ann"}) {
				t.Fatalf("%s: the session is %+v, %v", name, p, err)
			}
			switch name {
			case "logout":
				err = f.closeSession(ctx, p.session)
			case "absolute":
				for range 12 {
					f.clock.pass(time.Hour)
					_, err = f.session(ctx, id)
					if err != nil {
						t.Fatalf("used every hour: %v", err)
					}
				}
				f.clock.pass(time.Second)
			default:
				err = do()
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := f.session(ctx, id); !errors.Is(err, ErrDenied) {
				t.Errorf("%s: the session goes on: %v", name, err)
			}
			if _, err := f.still(ctx, p); !errors.Is(err, ErrDenied) {
				t.Errorf("%s: a connection of it goes on: %v", name, err)
			}
		}
		// What is stored lets nobody in.
		f.add(t, "zoe", Agent)
		f.enter(t, "zoe")
		var stored string
		if err := f.db.QueryRow(ctx, `SELECT hash FROM access_sessions WHERE account = ?`, "zoe").Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if _, err := f.session(ctx, stored); !errors.Is(err, ErrDenied) {
			t.Errorf("the stored hash as a cookie: %v", err)
		}
	})
}

func TestTokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		f, ctx := directory(t, url), t.Context()
		text, err := f.AddToken(ctx, "system:test", "pbx", []Role{Integrator}, time.Time{})
		if err != nil || !strings.HasPrefix(text, "st_") {
			t.Fatalf("%q, %v", text, err)
		}
		short, err := f.AddToken(ctx, "system:test", "trial", []Role{Integrator, Supervisor}, f.clock.now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.AddToken(ctx, "system:test", "pbx", []Role{Integrator}, time.Time{}); !errors.Is(err, ErrTaken) {
			t.Errorf("a second pbx: %v", err)
		}
		if _, err := f.AddToken(ctx, "system:test", "late", []Role{Integrator}, f.clock.now()); err == nil {
			t.Error("a token that has expired already: accepted")
		}
		if _, err := f.AddToken(ctx, "system:test", "ann", []Role{Agent}, time.Time{}); err == nil {
			t.Error("a token of the role agent: accepted")
		}
		p, err := f.token(ctx, text)
		if err != nil || p.Actor() != "token:pbx" || p.Reads("ann") || !p.Knows("ann") || !p.KnowsAll() {
			t.Errorf("the token is %+v, %v", p, err)
		}
		all, err := f.Tokens(ctx)
		if err != nil || len(all) != 2 || !all[0].Used.Equal(f.clock.now()) || !all[1].Used.IsZero() || all[1].Expires.IsZero() || !all[0].Expires.IsZero() {
			t.Errorf("tokens: %+v, %v", all, err)
		}
		f.clock.pass(time.Hour)
		if _, err := f.token(ctx, short); !errors.Is(err, ErrDenied) {
			t.Errorf("an expired token: %v", err)
		}
		if err := f.RevokeToken(ctx, "system:test", "pbx"); err != nil {
			t.Fatal(err)
		}
		if err := f.RevokeToken(ctx, "system:test", "pbx"); !errors.Is(err, ErrUnknown) {
			t.Errorf("revoked twice: %v", err)
		}
		for _, bad := range []string{text, "", "st_", "st_" + strings.Repeat("A", 43), text + "A", strings.ToUpper(text)} {
			if _, err := f.token(ctx, bad); !errors.Is(err, ErrDenied) {
				t.Errorf("token %q: %v", bad, err)
			}
		}
		if _, err := f.still(ctx, p); !errors.Is(err, ErrDenied) {
			t.Errorf("a connection of a revoked token: %v", err)
		}
	})
}

func TestAdmit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		f, ctx := directory(t, url), t.Context()
		f.add(t, "local", Administrator)
		id := oidc.Identity{Subject: "https://login.example 17", Name: "ann", Display: "Ann", Roles: []string{"agent"}, Agents: []string{"2201"}}
		name, generation, err := f.admit(ctx, id)
		if err != nil || name != "ann" {
			t.Fatalf("%q, %v", name, err)
		}
		session, err := f.open(ctx, name, generation)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := f.admit(ctx, id); err != nil || again != generation {
			t.Errorf("the same again: generation %d, then %d, %v", generation, again, err)
		}
		id.Roles = []string{"supervisor"}
		if _, again, err := f.admit(ctx, id); err != nil || again == generation {
			t.Errorf("other roles: generation %d stays, %v", again, err)
		}
		if _, err := f.session(ctx, session); !errors.Is(err, ErrDenied) {
			t.Errorf("the session of the old roles: %v", err)
		}
		if _, err := f.login(ctx, "ann", ""); !errors.Is(err, ErrDenied) {
			t.Errorf("ann by an empty password: %v", err)
		}
		for what, bad := range map[string]oidc.Identity{
			"a local account":      {Subject: "https://login.example 1", Name: "local", Roles: []string{"agent"}},
			"another person's":     {Subject: "https://login.example 18", Name: "ann", Roles: []string{"agent"}},
			"a role of machines":   {Subject: "https://login.example 2", Name: "m", Roles: []string{"integrator"}},
			"a name that is a way": {Subject: "https://login.example 3", Name: "../x", Roles: []string{"agent"}},
		} {
			if name, _, err := f.admit(ctx, bad); err == nil {
				t.Errorf("%s: became %q", what, name)
			}
		}
		if err := f.SetDisabled(ctx, "system:test", "ann", true); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.admit(ctx, id); !errors.Is(err, ErrDenied) {
			t.Errorf("a disabled account: %v", err)
		}
	})
}

func FuzzSecrets(f *testing.F) {
	f.Add(newSecret(tokenPrefix))
	f.Add(newSecret(""))
	f.Add("st_")
	f.Fuzz(func(t *testing.T, text string) {
		for _, prefix := range []string{"", tokenPrefix} {
			hash, ok := digest(prefix, text)
			if ok != (len(hash) == 64) || ok && len(text) != len(prefix)+43 {
				t.Errorf("%q with %q: %q, %v", text, prefix, hash, ok)
			}
		}
		if a := parseAttempt(text); !strings.HasPrefix(a.Next, "/") && a.Next != "" || strings.HasPrefix(a.Next, "//") {
			t.Errorf("an attempt goes to %q", a.Next)
		}
	})
}

func FuzzNext(f *testing.F) {
	for _, s := range []string{"/agent/ann", "//evil.example", `/\evil.example`, "https://evil.example/", "/login?next=/", "/a?b=c", "/%2f/evil", "", "/\tx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		to := Next(text)
		if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(to, "/login") {
			t.Errorf("%q leads to %q", text, to)
		}
	})
}
