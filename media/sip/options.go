package sip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Answer is what a peer answers to OPTIONS.
type Answer struct {
	// Status and Reason are those of the response; any status shows that SIP is
	// spoken there.
	Status int
	Reason string
	// Product is what the peer says that it is, if it does.
	Product string
	// Took is from the request to the response.
	Took time.Duration
}

// Options asks the peer at addr, host:port, for what it can do (RFC 3261, 11) over
// "udp" or "tcp", and waits for the answer until ctx ends.
func Options(ctx context.Context, transport, addr string) (a Answer, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return a, fmt.Errorf("sip: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || transport != "udp" && transport != "tcp" {
		return a, fmt.Errorf("sip: OPTIONS over %s to %s: want udp or tcp and host:port", transport, addr)
	}
	// Only to find out which of our addresses the peer sees: nothing is sent.
	route, err := (&net.Dialer{}).DialContext(ctx, "udp", addr)
	if err != nil {
		return a, fmt.Errorf("sip: %s: %w", addr, err)
	}
	own := route.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if err = route.Close(); err != nil {
		return a, fmt.Errorf("sip: %s: %w", addr, err)
	}
	log := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgent("sidetone"),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(log)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(log), sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})),
	)
	if err != nil {
		return a, fmt.Errorf("sip: %w", err)
	}
	defer func() {
		if closed := ua.Close(); err == nil && closed != nil {
			err = fmt.Errorf("sip: %w", closed)
		}
	}()
	client, err := sipgo.NewClient(ua, sipgo.WithClientLogger(log), sipgo.WithClientHostname(own.String()))
	if err != nil {
		return a, fmt.Errorf("sip: %w", err)
	}
	req := sip.NewRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: host, Port: int(number)})
	req.SetTransport(strings.ToUpper(transport))
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	begun := time.Now()
	res, err := client.Do(ctx, req)
	if err != nil {
		return a, fmt.Errorf("sip: OPTIONS over %s to %s: %w", transport, addr, err)
	}
	a = Answer{Status: res.StatusCode, Reason: res.Reason, Took: time.Since(begun)}
	for _, name := range []string{"Server", "User-Agent"} {
		if h := res.GetHeader(name); h != nil && a.Product == "" {
			a.Product = h.Value()
		}
	}
	return a, nil
}
