package sip

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func TestOptionsAsksAPeer(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			s, _ := serve(t, nil, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			a, err := Options(ctx, transport, s.Addr(strings.ToUpper(transport)).String())
			if err != nil || a.Status != 200 || a.Took <= 0 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if a, err := Options(ctx, "udp", silent.LocalAddr().String()); err == nil {
		t.Errorf("a peer that says nothing: %+v", a)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	if a, err := Options(t.Context(), "tcp", addr); err == nil {
		t.Errorf("a closed port: %+v", a)
	}
	for _, bad := range [][2]string{{"tls", addr}, {"udp", "nohost"}, {"udp", "host:x"}} {
		if a, err := Options(t.Context(), bad[0], bad[1]); err == nil {
			t.Errorf("%v: %+v", bad, a)
		}
	}
}
