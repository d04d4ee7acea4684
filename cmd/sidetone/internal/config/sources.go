package config

import (
	"fmt"
	"net"
	"net/netip"

	"sidetone/media"
	"sidetone/media/roles"
)

// Sources says how calls may come besides plain RTP.
type Sources struct {
	// Allow are networks, Proxies those of proxies that tell whom they speak for.
	Allow       []string    `yaml:"allow"`
	Proxies     []string    `yaml:"proxies"`
	TokensFile  string      `yaml:"tokens_file"`
	AudioHook   AudioHook   `yaml:"audiohook"`
	Twilio      Twilio      `yaml:"twilio"`
	AudioSocket AudioSocket `yaml:"audiosocket"`
	WebRTC      WebRTC      `yaml:"webrtc"`
	SIPREC      SIPREC      `yaml:"siprec"`
	RTPEngine   RTPEngine   `yaml:"rtpengine"`
}

// AudioHook is the side of Genesys.
type AudioHook struct {
	KeysFile  string `yaml:"keys_file"`
	Authority string `yaml:"authority"`
}

// Twilio is the side of Twilio and those who speak as it does.
type Twilio struct {
	TokenFile string `yaml:"token_file"`
	URL       string `yaml:"url"`
}

// AudioSocket is Asterisk's plain TCP fork.
type AudioSocket struct {
	Listen    string `yaml:"listen"`
	Announced bool   `yaml:"announced"`
}

// WebRTC is the side of browsers and softphones.
type WebRTC struct {
	Listen string   `yaml:"listen"`
	Public []string `yaml:"public"`
}

// SIPREC is the recording server.
type SIPREC struct {
	UDP          string `yaml:"udp"`
	TCP          string `yaml:"tcp"`
	TLS          string `yaml:"tls"`
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"`
	Public       string `yaml:"public"`
	Strict       bool   `yaml:"strict"`
}

// RTPEngine is the media relay whose calls are subscribed to.
type RTPEngine struct {
	NG string `yaml:"ng"`
}

// Roles is what the installation knows of its parties.
type Roles struct {
	Addresses []RoleAddress     `yaml:"addresses"`
	Labels    map[string]string `yaml:"labels"`
	FirstLeg  string            `yaml:"first_leg"`
}

// RoleAddress describes addresses of one role.
type RoleAddress struct {
	Role      string `yaml:"role"`
	Number    string `yaml:"number"`
	Host      string `yaml:"host"`
	Regexp    string `yaml:"regexp"`
	MinDigits int    `yaml:"min_digits"`
	MaxDigits int    `yaml:"max_digits"`
}

// Rules makes them ready for use.
func (r *Roles) Rules() (roles.Rules, error) {
	c := roles.Config{Labels: map[string]media.Role{}}
	for i, a := range r.Addresses {
		role, ok := media.ParseRole(a.Role)
		if !ok {
			return roles.Rules{}, fmt.Errorf("roles.addresses[%d].role: %q; want agent or customer", i, a.Role)
		}
		c.Addresses = append(c.Addresses, roles.Address{
			Role: role, Number: a.Number, Host: a.Host, Regexp: a.Regexp, MinDigits: a.MinDigits, MaxDigits: a.MaxDigits,
		})
	}
	for label, name := range r.Labels {
		role, ok := media.ParseRole(name)
		if !ok {
			return roles.Rules{}, fmt.Errorf("roles.labels.%s: %q; want agent or customer", label, name)
		}
		c.Labels[label] = role
	}
	switch r.FirstLeg {
	case "":
	case "caller":
		c.FirstLeg = media.Caller
	case "called":
		c.FirstLeg = media.Called
	default:
		return roles.Rules{}, fmt.Errorf("roles.first_leg: %q; want caller, called or nothing", r.FirstLeg)
	}
	return roles.New(c)
}

// Prefixes reads networks; an address alone is a network of one.
func Prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (s *Sources) validate(bad func(key, format string, args ...any)) {
	for key, texts := range map[string][]string{"sources.allow": s.Allow, "sources.proxies": s.Proxies} {
		if _, err := Prefixes(texts); err != nil {
			bad(key, "%v; networks look like 10.1.0.0/16 or 10.1.2.3", err)
		}
	}
	if l := s.WebRTC.Listen; l != "" {
		if _, err := netip.ParseAddrPort(l); err != nil {
			bad("sources.webrtc.listen", "%q is not an IP address and a port", l)
		}
	}
	for key, a := range map[string]string{
		"sources.siprec.udp": s.SIPREC.UDP, "sources.siprec.tcp": s.SIPREC.TCP, "sources.siprec.tls": s.SIPREC.TLS,
		"sources.rtpengine.ng": s.RTPEngine.NG,
	} {
		if _, err := netip.ParseAddrPort(a); a != "" && err != nil {
			bad(key, "%q is not an IP address and a port", a)
		}
	}
	if s.SIPREC.TLS != "" && (s.SIPREC.CertFile == "" || s.SIPREC.KeyFile == "") {
		bad("sources.siprec.cert_file", "TLS needs cert_file and key_file")
	}
	for _, p := range s.WebRTC.Public {
		if _, err := netip.ParseAddr(p); err != nil {
			bad("sources.webrtc.public", "%q is not an IP address", p)
		}
	}
	if l := s.AudioSocket.Listen; l != "" {
		if _, _, err := net.SplitHostPort(l); err != nil {
			bad("sources.audiosocket.listen", "%q is not host:port", l)
		}
	}
}
