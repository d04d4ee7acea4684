package checkup

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/media/sip"
)

const (
	// askLimit bounds the wait for an answer over the network.
	askLimit = 3 * time.Second
	// socketsPerLeg are RTP's and RTCP's; a call needs some more for its pane and
	// its fork.
	socketsPerLeg, filesPerCall, filesBesides = 2, 4, 200
	legsPerCall                               = 2
)

// risks are what a valid configuration may still get wrong.
func risks(_ context.Context, c *Config, put add) {
	cfg := &c.Config
	name := c.Path
	if name == "" {
		name = "the built-in defaults"
	}
	put(OK, "", "%s: valid", name)
	if open(cfg.Server.Listen) {
		put(Warning, "name one address of this machine", "server.listen %s: pages and API are reachable at all addresses of this machine", cfg.Server.Listen)
	}
	if reachable(cfg.Server.Listen) && !cfg.Server.TLS.On() {
		put(Warning, "set server.tls, or listen on 127.0.0.1 behind a proxy that speaks TLS", "server.listen %s: passwords and calls go over the network unencrypted", cfg.Server.Listen)
	}
	switch {
	case !cfg.Access.Required && reachable(cfg.Server.Listen):
		put(Problem, "set access.required: true", "access.required is false and others reach the server: everybody hears every call")
	case !cfg.Access.Required:
		put(Warning, "set access.required: true before others reach the server", "access.required is false: everybody on this machine hears every call")
	}
	s := &cfg.Sources
	if cfg.Access.OpenSources && len(s.Allow) == 0 && reachable(cfg.Server.Listen) {
		put(Warning, "set access.open_sources: false, or sources.allow", "access.open_sources: anybody may bring a call over a WebSocket")
	}
	if len(s.Allow) == 0 && (open(cfg.Server.Listen) || reachable(s.SIPREC.UDP) || reachable(s.SIPREC.TCP) || reachable(s.AudioSocket.Listen) || reachable(cfg.Media.Host+":0")) {
		put(Warning, "name the networks of your PBXs and SBCs in sources.allow", "sources.allow is empty: anybody who reaches the doors of the sources may bring a call")
	}
	if s.AudioSocket.Listen != "" && !s.AudioSocket.Announced && len(s.Allow) == 0 {
		put(Warning, "set sources.audiosocket.announced: true, or sources.allow", "AudioSocket knows no secret, and every connection is a call")
	}
	if s.SIPREC.TLS == "" && (reachable(s.SIPREC.UDP) || reachable(s.SIPREC.TCP)) {
		put(Warning, "use sources.siprec.tls where the SBC can", "SIPREC comes unencrypted: names and numbers of callers can be read on the way")
	}
	if j := cfg.Journal.URL; j != "" && !strings.HasPrefix(j, "tls://") && !local(j) {
		put(Warning, "use tls://, and journal.ca_file", "journal.url: what is said on calls goes to NATS unencrypted")
	}
	if r := cfg.Storage.Records; r != "" && !local(r) && !strings.Contains(r, "sslmode=verify") {
		put(Warning, "add ?sslmode=verify-full to storage.records", "the database is elsewhere and its certificate is not verified")
	}
	if e := cfg.Tracing.Endpoint; strings.HasPrefix(e, "http://") && !local(e) {
		put(Warning, "use https://", "tracing.endpoint: traces go to another machine unencrypted")
	}
	if u := cfg.Recognition.OpenAI.URL; cfg.Recognition.Uses(config.OpenAI) && !local(u) {
		put(Warning, "make sure that this is meant: it is the one way in which audio leaves the machine", "recognition.openai.url: the audio of calls is sent to %s", hostOf(u))
	}
}

// open says whether an address is all addresses of the machine.
func open(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// reachable says whether other machines may reach an address.
func reachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if addr == "" || err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host != "localhost" && (err != nil || !a.IsLoopback())
}

// local says whether a URL is of this machine.
func local(raw string) bool {
	h := hostOf(raw)
	a, err := netip.ParseAddr(h)
	return h == "localhost" || h == "" || err == nil && a.IsLoopback()
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Hostname()
}

// ports are bound for a moment each.
func ports(ctx context.Context, c *Config, put add) {
	cfg := &c.Config
	runs := false
	switch err := listenTCP(ctx, cfg.Server.Listen); {
	case err == nil:
		put(OK, "", "server.listen %s is free", cfg.Server.Listen)
	case errors.Is(err, syscall.EADDRINUSE):
		if v := runningVersion(ctx, cfg.Server.Listen); v != "" {
			runs = true
			put(OK, "", "server.listen %s: Sidetone %s is running there", cfg.Server.Listen, v)
			break
		}
		put(Problem, "stop the other program (ss -ltnp tells which), or choose another port", "server.listen %s is taken by another program", cfg.Server.Listen)
	default:
		put(Problem, "choose an address of this machine, and a port above 1023 unless the service has CAP_NET_BIND_SERVICE", "server.listen %s: %v", cfg.Server.Listen, err)
	}
	doors := []struct{ key, network, addr string }{
		{"sources.audiosocket.listen", "tcp", cfg.Sources.AudioSocket.Listen},
		{"sources.siprec.udp", "udp", cfg.Sources.SIPREC.UDP},
		{"sources.siprec.tcp", "tcp", cfg.Sources.SIPREC.TCP},
		{"sources.siprec.tls", "tcp", cfg.Sources.SIPREC.TLS},
		{"sources.webrtc.listen", "udp", cfg.Sources.WebRTC.Listen},
		{"journal.listen", "tcp", cfg.Journal.Listen},
	}
	for _, d := range doors {
		if d.addr == "" {
			continue
		}
		err := listenUDP(ctx, d.addr)
		if d.network == "tcp" {
			err = listenTCP(ctx, d.addr)
		}
		switch {
		case err == nil:
			put(OK, "", "%s %s is free", d.key, d.addr)
		case runs && errors.Is(err, syscall.EADDRINUSE):
			put(OK, "", "%s %s is in use, while Sidetone runs", d.key, d.addr)
		default:
			put(Problem, "stop the other program (ss -lnp tells which), or choose another address", "%s %s: %v", d.key, d.addr, err)
		}
	}
	rtp(ctx, &cfg.Media, runs, put)
}

// rtp counts the ports that legs can have.
func rtp(ctx context.Context, m *config.Media, runs bool, put add) {
	need := m.MaxCalls * legsPerCall
	if m.FirstPort == 0 {
		put(Warning, "set media.first_port and last_port: a firewall cannot know the kernel's choice", "RTP ports are chosen by the kernel")
		return
	}
	free, taken := 0, 0
	for p := m.FirstPort + m.FirstPort%2; p <= m.LastPort && ctx.Err() == nil; p += 2 {
		switch err := listenUDP(ctx, net.JoinHostPort(m.Host, fmt.Sprint(p))); {
		case err == nil:
			free++
		case errors.Is(err, syscall.EADDRINUSE):
			taken++
		default:
			put(Problem, "media.host must be an address of this machine", "RTP on %s: %v", m.Host, err)
			return
		}
	}
	all := free + taken
	switch {
	case all < need:
		put(Problem, fmt.Sprintf("raise media.last_port to at least %d, or lower media.max_calls to %d", m.FirstPort+2*need, all/legsPerCall),
			"RTP ports %d to %d are enough for %s; media.max_calls %d takes %d", m.FirstPort, m.LastPort, plural(all, "leg"), m.MaxCalls, need)
	case free < need && !runs:
		put(Warning, "move media.first_port and last_port to where no other program takes ports", "%d of %d RTP ports are taken by other programs, %d are needed", taken, all, need)
	default:
		put(OK, "", "RTP ports %d to %d: %d free, %d needed for media.max_calls %d", m.FirstPort, m.LastPort, free, need, m.MaxCalls)
	}
}

func listenTCP(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func listenUDP(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// runningVersion asks what holds the server's own address for its version; empty
// where that is not Sidetone.
func runningVersion(ctx context.Context, listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if open(listen) {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	// Whose certificate it is does not matter: it is this machine's own port.
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	for _, scheme := range []string{"http", "https"} {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/healthz", nil)
		if err != nil {
			return ""
		}
		res, err := t.RoundTrip(q)
		if err != nil {
			continue
		}
		var v struct {
			Version string `json:"version"`
		}
		err = json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&v)
		res.Body.Close()
		if err == nil && v.Version != "" {
			return v.Version
		}
	}
	return ""
}

// peers are asked whether they are there.
func peers(ctx context.Context, c *Config, put add) {
	all := append(append([]string{}, c.Config.Doctor.Peers...), c.Peers...)
	for _, p := range all {
		scheme, addr, err := config.SplitPeer(p)
		if err != nil {
			put(Problem, "", "%s: %v", p, err)
			continue
		}
		limit, cancel := context.WithTimeout(ctx, askLimit)
		if scheme == "connect" {
			err = dialTCP(limit, addr)
			if err == nil {
				put(OK, "", "%s takes connections", p)
			}
		} else {
			var a sip.Answer
			if a, err = sip.Options(limit, scheme, addr); err == nil {
				product := ""
				if a.Product != "" {
					product = " (" + a.Product + ")"
				}
				put(OK, "", "%s answers OPTIONS with %d %s after %v%s", p, a.Status, a.Reason, a.Took.Round(100*time.Microsecond), product)
			}
		}
		cancel()
		if err != nil {
			put(Problem, "check address, routing and firewall, and that the peer answers this machine's address", "%s: %v", p, err)
		}
	}
}

func dialTCP(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// askNATS reads the line with which a NATS server greets: INFO and a JSON object.
func askNATS(ctx context.Context, addr string) (version string, jetstream bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", false, err
	}
	defer conn.Close()
	if d, ok := ctx.Deadline(); ok {
		if err = conn.SetReadDeadline(d); err != nil {
			return "", false, err
		}
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 1<<16)).ReadString('\n')
	if err != nil {
		return "", false, fmt.Errorf("it does not greet as NATS does: %w", err)
	}
	body, ok := strings.CutPrefix(line, "INFO ")
	var info struct {
		Version   string `json:"version"`
		JetStream bool   `json:"jetstream"`
	}
	if !ok || json.Unmarshal([]byte(body), &info) != nil {
		return "", false, errors.New("it does not greet as NATS does")
	}
	return info.Version, info.JetStream, nil
}
