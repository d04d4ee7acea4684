package config

import (
	"net"
	"net/url"
	"strings"
)

// Tracing says where traces of calls go.
type Tracing struct {
	Endpoint string  `yaml:"endpoint"`
	Ratio    float64 `yaml:"ratio"`
}

// Doctor is what `sidetone doctor` asks besides this machine.
type Doctor struct {
	Peers []string `yaml:"peers"`
	NTP   string   `yaml:"ntp"`
}

func (c *Config) validateOperation(bad func(key, format string, args ...any)) {
	if e := c.Tracing.Endpoint; e != "" {
		if u, err := url.Parse(e); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("tracing.endpoint", "%q is no address such as http://127.0.0.1:4318", e)
		}
	}
	if r := c.Tracing.Ratio; !(r >= 0 && r <= 1) {
		bad("tracing.ratio", "%v; want 0 to 1", r)
	}
	for _, p := range c.Doctor.Peers {
		if _, _, err := SplitPeer(p); err != nil {
			bad("doctor.peers", "%v", err)
		}
	}
	if n := c.Doctor.NTP; strings.ContainsAny(n, "/ \t") {
		bad("doctor.ntp", "%q; want the name or address of a time server", n)
	}
}

// SplitPeer reads the address of an SBC or PBX: sip:host:port is asked by OPTIONS
// over UDP, sip:host:port;transport=tcp over TCP, tcp:host:port is only connected
// to. The scheme returned is "udp", "tcp" or "connect".
func SplitPeer(s string) (scheme, addr string, err error) {
	bad := &net.AddrError{Err: "want sip:host:port, sip:host:port;transport=tcp or tcp:host:port", Addr: s}
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", "", bad
	}
	switch kind {
	case "sip":
		scheme = "udp"
		if head, param, has := strings.Cut(rest, ";"); has {
			if !strings.EqualFold(param, "transport=tcp") && !strings.EqualFold(param, "transport=udp") {
				return "", "", bad
			}
			scheme, rest = strings.ToLower(strings.TrimPrefix(strings.ToLower(param), "transport=")), head
		}
		if _, _, bare := net.SplitHostPort(rest); bare != nil {
			rest = net.JoinHostPort(strings.Trim(rest, "[]"), "5060")
		}
	case "tcp":
		scheme = "connect"
	default:
		return "", "", bad
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" || port == "" || strings.ContainsAny(host, "/@ ") {
		return "", "", bad
	}
	return scheme, rest, nil
}
