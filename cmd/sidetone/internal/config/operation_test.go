package config_test

import (
	"strings"
	"testing"

	"sidetone/cmd/sidetone/internal/config"
)

func TestPeers(t *testing.T) {
	for in, want := range map[string]string{
		"sip:sbc.example":                          "udp sbc.example:5060",
		"sip:10.1.0.9:5070":                        "udp 10.1.0.9:5070",
		"sip:[2001:db8::1]:5070":                   "udp [2001:db8::1]:5070",
		"sip:[2001:db8::1]":                        "udp [2001:db8::1]:5060",
		"sip:sbc.example:5061;transport=tcp":       "tcp sbc.example:5061",
		"sip:sbc.example;transport=UDP":            "udp sbc.example:5060",
		"tcp:10.1.0.9:5061":                        "connect 10.1.0.9:5061",
		"tcp:10.1.0.9":                             "",
		"sbc.example":                              "",
		"sips:sbc.example":                         "",
		"sip:":                                     "",
		"sip:user@sbc.example:5060":                "",
		"sip:sbc.example:5061;transport=websocket": "",
	} {
		scheme, addr, err := config.SplitPeer(in)
		if got := scheme + " " + addr; got != want && (want != "" || err == nil) {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestOperationIsValidated(t *testing.T) {
	for key, edit := range map[string]func(*config.Config){
		"tracing.endpoint": func(c *config.Config) { c.Tracing.Endpoint = "collector:4318" },
		"tracing.ratio":    func(c *config.Config) { c.Tracing.Ratio = -1 },
		"doctor.peers":     func(c *config.Config) { c.Doctor.Peers = []string{"sbc"} },
		"doctor.ntp":       func(c *config.Config) { c.Doctor.NTP = "ntp://x" },
	} {
		c, err := config.Default()
		if err != nil {
			t.Fatal(err)
		}
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
