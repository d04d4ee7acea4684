package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// TLS is the certificate of the web pages and the API.
type TLS struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"`
}

// On says whether there is one.
func (t *TLS) On() bool { return t.CertFile != "" }

// Access says who gets in.
type Access struct {
	Required        bool          `yaml:"required"`
	ReallyOpen      bool          `yaml:"really_open"`
	OpenSources     bool          `yaml:"open_sources"`
	LocalMetrics    bool          `yaml:"local_metrics"`
	SessionIdle     time.Duration `yaml:"session_idle"`
	SessionMost     time.Duration `yaml:"session_most"`
	RequestsASecond int           `yaml:"requests_a_second"`
	RequestsAtOnce  int           `yaml:"requests_at_once"`
	OIDC            OIDC          `yaml:"oidc"`
}

// OIDC is the OpenID provider by which people log in.
type OIDC struct {
	Issuer       string              `yaml:"issuer"`
	Name         string              `yaml:"name"`
	ClientID     string              `yaml:"client_id"`
	SecretFile   string              `yaml:"client_secret_file"`
	URL          string              `yaml:"url"`
	Scopes       []string            `yaml:"scopes"`
	NameClaim    string              `yaml:"name_claim"`
	DisplayClaim string              `yaml:"display_claim"`
	AgentClaim   string              `yaml:"agent_claim"`
	RolesClaim   string              `yaml:"roles_claim"`
	Roles        map[string][]string `yaml:"roles"`
}

func (c *Config) validateAccess(bad func(key, format string, args ...any)) {
	t, a := &c.Server.TLS, &c.Access
	if (t.CertFile == "") != (t.KeyFile == "") {
		bad("server.tls", "cert_file and key_file go together")
	}
	if t.ClientCAFile != "" && !t.On() {
		bad("server.tls.client_ca_file", "there is no TLS without cert_file and key_file")
	}
	if !a.Required && !a.ReallyOpen && !c.Server.Local() {
		bad("access.required", "without logins everybody who reaches %s may do everything: listen on 127.0.0.1, require logins, or say access.really_open: true", c.Server.Listen)
	}
	if a.SessionIdle <= 0 || a.SessionMost < a.SessionIdle {
		bad("access.session_idle", "%v without use, %v at most: both must be above zero, the second not below the first", a.SessionIdle, a.SessionMost)
	}
	if a.RequestsASecond < 0 || a.RequestsASecond > 0 && a.RequestsAtOnce < 1 {
		bad("access.requests_a_second", "%d, and %d at once: the first cannot be negative, the second must be 1 at least", a.RequestsASecond, a.RequestsAtOnce)
	}
	o := &a.OIDC
	if o.Issuer == "" {
		return
	}
	for key, text := range map[string]string{"client_id": o.ClientID, "url": o.URL, "name": o.Name} {
		if text == "" {
			bad("access.oidc."+key, "it must be given with issuer")
		}
	}
	for group, roles := range o.Roles {
		for _, r := range roles {
			if r != "agent" && r != "supervisor" && r != "security" && r != "administrator" {
				bad("access.oidc.roles", "%s: %q is no role; there are agent, supervisor, security and administrator", group, r)
			}
		}
	}
}

// Local says that only this machine reaches the server.
func (s *Server) Local() bool {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Redirect is the address to which an OpenID provider sends people back.
func (o *OIDC) Redirect() string {
	return fmt.Sprintf("%s/v1/oidc/callback", strings.TrimSuffix(o.URL, "/"))
}
