package config

import (
	"net"
	"net/netip"
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
