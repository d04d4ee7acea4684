package config

import (
	"strings"
	"testing"
)

// A server that others reach asks who comes, unless somebody wants it otherwise in
// so many words.
func TestOpenServersDoNotStart(t *testing.T) {
	for _, c := range []struct {
		listen           string
		required, really bool
		ok               bool
	}{
		{"127.0.0.1:8080", true, false, true}, {"127.0.0.1:8080", false, false, true}, {"[::1]:8080", false, false, true}, {"localhost:0", false, false, true},
		{"0.0.0.0:8080", true, false, true}, {"0.0.0.0:8080", false, false, false}, {":8080", false, false, false}, {"[::]:8080", false, false, false},
		{"10.1.0.5:8080", false, false, false}, {"calls.example:8080", false, false, false}, {"10.1.0.5:8080", false, true, true},
	} {
		cfg, err := Default()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Server.Listen, cfg.Access.Required, cfg.Access.ReallyOpen = c.listen, c.required, c.really
		if err = cfg.Validate(); (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "access.required") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAccess(t *testing.T) {
	for key, edit := range map[string]func(*Config){
		"server.tls":                func(c *Config) { c.Server.TLS.CertFile = "a" },
		"server.tls.client_ca_file": func(c *Config) { c.Server.TLS.ClientCAFile = "a" },
		"access.session_idle":       func(c *Config) { c.Access.SessionIdle = 0 },
		"access.requests_a_second":  func(c *Config) { c.Access.RequestsAtOnce = 0 },
		"access.oidc.client_id":     func(c *Config) { c.Access.OIDC.Issuer = "https://login.example" },
		"access.oidc.roles": func(c *Config) {
			c.Access.OIDC.Issuer, c.Access.OIDC.Roles = "https://login.example", map[string][]string{"a": {"integrator"}}
		},
	} {
		cfg, err := Default()
		if err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err = cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	o := OIDC{URL: "https://calls.example/"}
	if got := o.Redirect(); got != "https://calls.example/v1/oidc/callback" {
		t.Errorf("people are sent back to %s", got)
	}
}
