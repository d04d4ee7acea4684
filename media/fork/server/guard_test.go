package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"sidetone/media/fork"
)

func TestGuard(t *testing.T) {
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	all := GuardConfig{Tokens: []string{"other", "s3cret"}, Logins: []Login{{"pbx", "pa:ss"}}, Secrets: []string{"in-url"}}
	type in struct {
		url, auth, name, password, from string
		via                             []string
	}
	for _, c := range []struct {
		name   string
		cfg    GuardConfig
		in     in
		status int
	}{
		{"nothing asked", GuardConfig{}, in{}, 0},
		{"W8 no secret", all, in{}, 401},
		{"token", all, in{auth: "Bearer s3cret"}, 0},
		{"W8 wrong token", all, in{auth: "Bearer s3cret2"}, 401},
		{"empty token", all, in{auth: "Bearer "}, 401},
		{"another scheme", all, in{auth: "Digest s3cret"}, 401},
		{"F2 login", all, in{name: "pbx", password: "pa:ss"}, 0},
		{"F2 wrong password", all, in{name: "pbx", password: "pass"}, 401},
		{"wrong name", all, in{name: "x", password: "pa:ss"}, 401},
		{"query", all, in{url: "/?token=in-url"}, 0},
		{"wrong query", all, in{url: "/?token=s3cret"}, 401},
		{"own parameter", GuardConfig{Secrets: []string{"k"}, Parameter: "key"}, in{url: "/?key=k"}, 0},
		{"allowed address", GuardConfig{Allow: private}, in{from: "10.1.2.3:4"}, 0},
		{"allowed address, mapped", GuardConfig{Allow: private}, in{from: "[::ffff:10.1.2.3]:4"}, 0},
		{"IPv6", GuardConfig{Allow: private}, in{from: "[2001:db8::1]:4"}, 0},
		{"other address", GuardConfig{Allow: private}, in{from: "192.0.2.1:4"}, 403},
		{"no address", GuardConfig{Allow: private}, in{from: "@"}, 403},
		{"address and no secret", GuardConfig{Allow: private, Tokens: []string{"t"}}, in{from: "10.1.2.3:4"}, 401},
		{"forged forwarding", GuardConfig{Allow: private}, in{from: "192.0.2.1:4", via: []string{"10.0.0.1"}}, 403},
		{"proxy", GuardConfig{Allow: private, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
			in{from: "192.0.2.1:4", via: []string{"198.51.100.7, 10.0.0.1"}}, 0},
		{"proxy, forged before it", GuardConfig{Allow: private, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
			in{from: "192.0.2.1:4", via: []string{"10.0.0.1", "198.51.100.7"}}, 403},
		{"proxy, nonsense", GuardConfig{Allow: private, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
			in{from: "192.0.2.1:4", via: []string{"unknown"}}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := NewGuard(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			url := c.in.url
			if url == "" {
				url = "/"
			}
			r := httptest.NewRequest(http.MethodGet, url, nil)
			r.RemoteAddr = "203.0.113.1:99"
			if c.in.from != "" {
				r.RemoteAddr = c.in.from
			}
			if c.in.auth != "" {
				r.Header.Set("Authorization", c.in.auth)
			}
			if c.in.name != "" {
				r.SetBasicAuth(c.in.name, c.in.password)
			}
			for _, v := range c.in.via {
				r.Header.Add("X-Forwarded-For", v)
			}
			err = g.Check(r)
			if c.status == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var no *fork.Refusal
			if !errors.As(err, &no) || no.Status != c.status {
				t.Fatalf("got %v, want status %d", err, c.status)
			}
			if c.status == 401 && no.Header["WWW-Authenticate"] == "" {
				t.Error("401 without WWW-Authenticate")
			}
			for _, secret := range []string{"s3cret", "pa:ss", "in-url"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the refusal tells a secret: %v", err)
				}
			}
		})
	}
}

func TestGuardConfigIsChecked(t *testing.T) {
	for name, c := range map[string]GuardConfig{
		"empty token":  {Tokens: []string{""}},
		"empty secret": {Secrets: []string{"a", ""}},
		"no password":  {Logins: []Login{{Name: "a"}}},
		"colon":        {Logins: []Login{{"a:b", "c"}}},
		"no range":     {Allow: []netip.Prefix{{}}},
	} {
		if _, err := NewGuard(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
