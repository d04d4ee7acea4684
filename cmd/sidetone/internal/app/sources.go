package app

import (
	"cmp"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/asterisk"
	"sidetone/media/fork/audiohook"
	"sidetone/media/fork/audiohook/httpsig"
	"sidetone/media/fork/audiosocket"
	"sidetone/media/fork/audiosocket/tcp"
	"sidetone/media/fork/freeswitch"
	"sidetone/media/fork/server"
	"sidetone/media/fork/twilio"
	"sidetone/media/port"
	"sidetone/media/rtpengine"
	"sidetone/media/sip"
	"sidetone/media/webrtc"
	"sidetone/media/webrtc/page"
)

const (
	// maxSecrets bounds a file of secrets, in bytes.
	maxSecrets = 64 << 10
	// pingForks is how often a fork over a WebSocket is asked whether it lives.
	pingForks = 15 * time.Second
	// quietAsterisk is how long Asterisk's WebSocket may send nothing.
	quietAsterisk = 30 * time.Minute
)

// sources are the protocols that bring calls, besides plain RTP.
type sources struct {
	log     *slog.Logger
	routes  map[string]http.Handler
	servers []*server.Server

	freeswitch *freeswitch.Calls
	whip       *webrtc.Server
	// audioSocket is nil where it is off; uuids are what was announced for it.
	audioSocket *tcp.Server
	uuids       *announcements
	siprec      *sip.Server
	rtpengine   *rtpengine.Subscriber
	ng          *rtpengine.Client
	stop        chan struct{}
	wg          sync.WaitGroup
}

// newSources opens what sources need. Those that it returns beside an error must
// be closed as well.
func newSources(cfg config.Config, host *calls, pool *port.Pool, log *slog.Logger) (*sources, error) {
	s := &sources{log: log, routes: map[string]http.Handler{}, stop: make(chan struct{})}
	secrets, err := readLines(cfg.Sources.TokensFile)
	if err != nil {
		return s, fmt.Errorf("sources.tokens_file: %w", err)
	}
	allow, proxies, err := networks(cfg.Sources)
	if err != nil {
		return s, err
	}
	guard, err := server.NewGuard(server.GuardConfig{Tokens: secrets, Secrets: secrets, Allow: allow, Proxies: proxies})
	if err != nil {
		return s, err
	}
	where, err := server.NewGuard(server.GuardConfig{Allow: allow, Proxies: proxies})
	if err != nil {
		return s, err
	}
	for _, add := range []func() error{
		func() error { return s.addFreeSWITCH(host, guard) },
		func() error { return s.addAudioHook(cfg.Sources, host, where) },
		func() error { return s.addTwilio(cfg.Sources, host, where, secrets) },
		func() error { return s.addAudioSocket(cfg.Sources, host, allow) },
		func() error { return s.addWHIP(cfg, host, secrets) },
		func() error { return s.addAsterisk(host, guard) },
		func() error { return s.addSIPREC(cfg, host, pool, allow) },
		func() error { return s.addRTPEngine(cfg, host, pool) },
	} {
		if err = add(); err != nil {
			return s, err
		}
	}
	s.wg.Go(s.tick)
	return s, nil
}

func networks(c config.Sources) (allow, proxies []netip.Prefix, err error) {
	if allow, err = config.Prefixes(c.Allow); err != nil {
		return nil, nil, fmt.Errorf("sources.allow: %w", err)
	}
	if proxies, err = config.Prefixes(c.Proxies); err != nil {
		return nil, nil, fmt.Errorf("sources.proxies: %w", err)
	}
	return allow, proxies, nil
}

// readLines reads the lines of a file of secrets that are neither empty nor
// comments; no file has none.
func readLines(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(b) > maxSecrets {
		return nil, fmt.Errorf("%s is longer than %d bytes", file, maxSecrets)
	}
	var lines []string
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s holds no secret", file)
	}
	return lines, nil
}

// add serves a protocol's sessions under a path.
func (s *sources) add(path string, c server.Config) error {
	c.Log, c.PingEvery = s.log.With("source", path), pingForks
	w, err := server.New(c)
	if err != nil {
		return err
	}
	s.servers = append(s.servers, w)
	s.routes["GET /v1/fork/"+path] = w
	return nil
}

func (s *sources) addFreeSWITCH(host media.Host, guard *server.Guard) error {
	var err error
	s.freeswitch, err = freeswitch.New(freeswitch.Config{Host: host, Log: s.log.With("source", "freeswitch"), NewID: newID})
	if err != nil {
		return err
	}
	return s.add("freeswitch", server.Config{
		Authorize: guard.Check, Subprotocols: freeswitch.Protocols(), Compression: true,
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return s.freeswitch.Open(freeswitch.Request{
				Query: r.URL.Query(), Offered: strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), Remote: r.RemoteAddr,
			}, w, now)
		},
	})
}

func (s *sources) addAudioHook(c config.Sources, host media.Host, guard *server.Guard) error {
	lines, err := readLines(c.AudioHook.KeysFile)
	if err != nil {
		return fmt.Errorf("sources.audiohook.keys_file: %w", err)
	}
	var auth *httpsig.Verifier
	if len(lines) > 0 {
		keys := map[string]string{}
		for _, l := range lines {
			key, secret, _ := strings.Cut(l, " ")
			keys[key] = strings.TrimSpace(secret)
		}
		if auth, err = httpsig.New(httpsig.Config{Keys: keys, Authority: c.AudioHook.Authority}); err != nil {
			return fmt.Errorf("sources.audiohook: %w", err)
		}
	}
	adapter, err := audiohook.New(audiohook.Config{Host: host, Log: s.log.With("source", "audiohook"), Auth: auth})
	if err != nil {
		return err
	}
	return s.add("audiohook", server.Config{
		Authorize: guard.Check,
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return adapter.Open(httpsig.Request{
				Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header,
			}, r.URL.Query().Get("agent"), w, now), nil
		},
	})
}

// addTwilio takes Twilio, and under another path those who speak as it does.
// Twilio signs the handshake; of the others a stream's parameter "token" must hold
// one of the secrets, or what was made of one for a call.
func (s *sources) addTwilio(c config.Sources, host media.Host, where *server.Guard, secrets []string) error {
	account, err := readLines(c.Twilio.TokenFile)
	if err != nil {
		return fmt.Errorf("sources.twilio.token_file: %w", err)
	}
	if len(account) > 0 && c.Twilio.URL == "" {
		return errors.New("sources.twilio.url: it must be given with token_file, since Twilio signs the address that it was given")
	}
	var tokens []*twilio.Tokens
	for _, secret := range secrets {
		if t, err := twilio.NewTokens(secret); err == nil {
			tokens = append(tokens, t)
		}
	}
	admit := func(call, token string, now time.Time) error {
		for _, secret := range secrets {
			if subtle.ConstantTimeCompare([]byte(secret), []byte(token)) == 1 {
				return nil
			}
		}
		err := twilio.ErrNoToken
		for _, t := range tokens {
			if err = t.Redeem(call, token, now); err == nil {
				return nil
			}
		}
		return err
	}
	if len(secrets) == 0 {
		admit = nil
	}
	log := s.log.With("source", "twilio")
	session := func(admit func(string, string, time.Time) error) func(*http.Request, fork.Writer, time.Time) (fork.Session, error) {
		return func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			params := map[string]string{}
			for k, v := range r.URL.Query() {
				params[k] = v[0]
			}
			return twilio.New(twilio.Config{Host: host, Out: w, Log: log, Name: newID(), Params: params, Admit: admit}, now)
		}
	}
	// Whose handshakes are signed need no token; the other platforms do not sign.
	signed := server.Config{Subprotocols: []string{"*"}, Authorize: where.Check, Open: session(admit)}
	if len(account) > 0 {
		signed.Open = session(nil)
		signed.Authorize = func(r *http.Request) error {
			if err := where.Check(r); err != nil {
				return err
			}
			if !twilio.Signed(r.Header.Get(twilio.SignatureHeader), account[0], c.Twilio.URL) {
				return &fork.Refusal{Status: http.StatusForbidden, Reason: "the signature is not that of " + c.Twilio.URL + " by the account's auth token"}
			}
			return nil
		}
	}
	if err := s.add("twilio", signed); err != nil {
		return err
	}
	return s.add("media", server.Config{Subprotocols: []string{"*"}, Authorize: where.Check, Open: session(admit)})
}

func (s *sources) addAudioSocket(c config.Sources, host *calls, allow []netip.Prefix) error {
	if c.AudioSocket.Listen == "" {
		return nil
	}
	s.uuids = newAnnouncements(c.AudioSocket.Announced)
	protocol, err := audiosocket.New(audiosocket.Config{Host: newJoining(host), Lookup: s.uuids.take})
	if err != nil {
		return err
	}
	if s.audioSocket, err = tcp.New(tcp.Config{Protocol: protocol, Allow: allow, Log: s.log.With("source", "audiosocket")}); err != nil {
		return err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", c.AudioSocket.Listen)
	if err != nil {
		return fmt.Errorf("sources.audiosocket.listen: %w", err)
	}
	s.log.Info("taking AudioSocket", "address", l.Addr())
	s.wg.Go(func() {
		if err := s.audioSocket.Serve(l); !errors.Is(err, tcp.ErrClosed) {
			s.log.Error("audiosocket", "error", err)
		}
	})
	s.routes["PUT /v1/audiosocket/{uuid}"] = http.HandlerFunc(s.announce)
	return nil
}

// announceRequest is the body of PUT /v1/audiosocket/{uuid}.
type announceRequest struct {
	Call     string `json:"call"`
	Agent    string `json:"agent"`
	Leg      string `json:"leg"`
	Role     string `json:"role"`
	Identity string `json:"identity"`
	Language string `json:"language"`
}

// announce takes what a connection will be that tells no more than a UUID.
func (s *sources) announce(w http.ResponseWriter, r *http.Request) {
	var q announceRequest
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		writeError(w, badRequest(`a body looks like {"call":"c-1","agent":"ann","role":"customer"}`, "the body is no valid announcement: %v", err))
		return
	}
	role, ok := media.ParseRole(q.Role)
	if !ok {
		writeError(w, badRequest(`give "agent", "customer" or "unknown"`, "role: %q is no role", q.Role))
		return
	}
	for field, name := range map[string]string{"call": q.Call, "agent": q.Agent, "leg": q.Leg} {
		if err := checkName(field, name, true); err != nil {
			writeError(w, err)
			return
		}
	}
	n := announcement{
		call: media.Call{ID: q.Call, Agent: q.Agent, Source: "audiosocket", Language: q.Language},
		leg:  media.Leg{ID: q.Leg, Role: role, RoleReason: "announced by the API", Identity: q.Identity},
		at:   time.Now(),
	}
	if !s.uuids.put(strings.ToLower(r.PathValue("uuid")), n) {
		writeError(w, &apiError{Status: http.StatusServiceUnavailable, Text: "too many announcements wait for their connection", Hint: "try again later"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *sources) addWHIP(cfg config.Config, host *calls, secrets []string) error {
	c := cfg.Sources.WebRTC
	if c.Listen == "" {
		return nil
	}
	listen, err := netip.ParseAddrPort(c.Listen)
	if err != nil {
		return fmt.Errorf("sources.webrtc.listen: %w", err)
	}
	var public []netip.Addr
	for _, p := range c.Public {
		a, bad := netip.ParseAddr(p)
		if bad != nil {
			return fmt.Errorf("sources.webrtc.public: %w", bad)
		}
		public = append(public, a)
	}
	s.whip, err = webrtc.New(webrtc.Config{
		Host: host, Log: s.log.With("source", "webrtc"), Tokens: secrets, Origins: cfg.Server.AllowedOrigins,
		Listen: listen, Public: public, Loopback: listen.Addr().IsLoopback(),
	})
	if err != nil {
		return fmt.Errorf("sources.webrtc: %w", err)
	}
	mic := page.Handler()
	s.routes["GET /mic"], s.routes["GET /mic/"] = mic, mic
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE", "OPTIONS"} {
		s.routes[method+" "+webrtc.DefaultPath] = s.whip
		s.routes[method+" "+webrtc.DefaultPath+"/"] = s.whip
	}
	return nil
}

// addAsterisk takes chan_websocket, which hangs up on a ping and may be silent
// for long.
func (s *sources) addAsterisk(host *calls, guard *server.Guard) error {
	p, err := asterisk.New(asterisk.Config{Host: newJoining(host)})
	if err != nil {
		return err
	}
	w, err := server.New(server.Config{
		Authorize: guard.Check, Subprotocols: asterisk.Protocols(), IdleTimeout: quietAsterisk, Log: s.log.With("source", "asterisk"),
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return p.Open(r.URL.Query(), w, now)
		},
	})
	if err != nil {
		return err
	}
	s.servers = append(s.servers, w)
	s.routes["GET /v1/fork/asterisk"] = w
	return nil
}

// addSIPREC takes what session recording clients send.
func (s *sources) addSIPREC(cfg config.Config, host *calls, pool *port.Pool, allow []netip.Prefix) error {
	c := cfg.Sources.SIPREC
	if c.UDP == "" && c.TCP == "" && c.TLS == "" {
		return nil
	}
	o := sip.Config{
		Host: host, Ports: pool, Allow: allow, Strict: c.Strict, Anywhere: cfg.Media.Anywhere, MaxSessions: cfg.Media.MaxCalls,
		MediaIdle: cfg.Media.SilenceTimeout, Log: s.log.With("source", "siprec"),
	}
	for key, a := range map[string]struct {
		text string
		to   *netip.AddrPort
	}{"udp": {c.UDP, &o.UDP}, "tcp": {c.TCP, &o.TCP}, "tls": {c.TLS, &o.TLS}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddrPort(a.text)
		if err != nil {
			return fmt.Errorf("sources.siprec.%s: %w", key, err)
		}
		*a.to = addr
	}
	var err error
	if public := cmp.Or(c.Public, cfg.Media.Public); public != "" {
		if o.Public, err = netip.ParseAddr(public); err != nil {
			return fmt.Errorf("sources.siprec.public: %w", err)
		}
	}
	if c.TLS != "" {
		if o.TLSConfig, err = tlsConfig(c); err != nil {
			return fmt.Errorf("sources.siprec: %w", err)
		}
	}
	if s.siprec, err = sip.New(o); err != nil {
		return fmt.Errorf("sources.siprec: %w", err)
	}
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		if a := s.siprec.Addr(transport); a.IsValid() {
			s.log.Info("taking SIPREC", "transport", transport, "address", a)
		}
	}
	return nil
}

// tlsConfig reads the certificate that clients see, and that of the authority by
// which theirs are checked.
func tlsConfig(c config.SIPREC) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if c.ClientCAFile == "" {
		return t, nil
	}
	b, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return nil, err
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", c.ClientCAFile)
	}
	t.ClientAuth = tls.RequireAndVerifyClientCert
	return t, nil
}

// addRTPEngine asks an rtpengine for the audio of its calls, when told to.
func (s *sources) addRTPEngine(cfg config.Config, host *calls, pool *port.Pool) error {
	c := cfg.Sources
	if c.RTPEngine.NG == "" {
		return nil
	}
	addr, err := netip.ParseAddrPort(c.RTPEngine.NG)
	if err != nil {
		return fmt.Errorf("sources.rtpengine.ng: %w", err)
	}
	log := s.log.With("source", "rtpengine")
	if s.ng, err = rtpengine.Dial(rtpengine.ClientConfig{Addr: addr, Log: log}); err != nil {
		return fmt.Errorf("sources.rtpengine: %w", err)
	}
	if s.rtpengine, err = rtpengine.New(rtpengine.Config{Client: s.ng, Host: host, Pool: pool, Addr: host.public(), Log: log}); err != nil {
		return fmt.Errorf("sources.rtpengine: %w", err)
	}
	s.routes["POST /v1/rtpengine"] = http.HandlerFunc(s.subscribe)
	return nil
}

// subscribeRequest is the body of POST /v1/rtpengine.
type subscribeRequest struct {
	// CallID is rtpengine's name of the call.
	CallID   string   `json:"call_id"`
	Call     string   `json:"call"`
	Agent    string   `json:"agent"`
	Language string   `json:"language"`
	Tags     []string `json:"tags"`
	SRTP     bool     `json:"srtp"`
	Codec    string   `json:"codec"`
}

// subscribe takes the audio of one of rtpengine's calls.
func (s *sources) subscribe(w http.ResponseWriter, r *http.Request) {
	var q subscribeRequest
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || q.CallID == "" {
		writeError(w, badRequest(`a body looks like {"call_id":"a84b4c76e66710","agent":"ann"}`, "the body is no valid subscription: %v", err))
		return
	}
	for field, name := range map[string]string{"call": q.Call, "agent": q.Agent} {
		if err := checkName(field, name, true); err != nil {
			writeError(w, err)
			return
		}
	}
	if q.Call == "" {
		q.Call = newID()
	}
	_, err := s.rtpengine.Subscribe(r.Context(), rtpengine.Request{
		CallID: q.CallID, Tags: q.Tags, Secure: q.SRTP, Codec: q.Codec,
		Call: media.Call{ID: q.Call, Agent: q.Agent, Language: q.Language},
	})
	switch {
	case errors.Is(err, rtpengine.ErrUnknownCall):
		err = &apiError{Status: http.StatusNotFound, Text: err.Error(), Hint: "call_id is the SIP Call-ID under which rtpengine has the call"}
	case errors.Is(err, rtpengine.ErrNoReply):
		err = &apiError{Status: http.StatusBadGateway, Text: err.Error(), Hint: "see sources.rtpengine.ng, and rtpengine's listen-ng"}
	}
	if err != nil {
		if e := classify(err); e.Status == http.StatusInternalServerError {
			err = &apiError{Status: http.StatusBadGateway, Text: e.Text, Hint: "see rtpengine's log, and whether sources.rtpengine.ng is its listen-ng"}
		}
		writeError(w, err)
		return
	}
	w.Header().Set("Location", "/v1/calls/"+q.Call)
	writeJSON(w, http.StatusCreated, map[string]string{"call": q.Call})
}

// tick lets time pass for calls that wait for their connection.
func (s *sources) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			s.freeswitch.Tick(now)
		}
	}
}

// drain has sources that choose among servers take their next calls elsewhere,
// or has them come again. The others hear of it when they bring a call.
func (s *sources) drain(on bool) {
	switch {
	case s.siprec == nil:
	case on:
		s.siprec.Drain()
	default:
		s.siprec.Resume()
	}
}

// close ends all calls that came by a source and waits for their sources.
func (s *sources) close(e media.End) {
	select {
	case <-s.stop:
		return
	default:
	}
	close(s.stop)
	var all sync.WaitGroup
	for _, w := range s.servers {
		all.Go(func() { w.Close(e) })
	}
	if s.audioSocket != nil {
		all.Go(func() { s.audioSocket.Close(e) })
	}
	if s.siprec != nil {
		all.Go(func() {
			if err := s.siprec.Close(); err != nil {
				s.log.Error("closing SIPREC", "error", err)
			}
		})
	}
	if s.rtpengine != nil {
		all.Go(func() { s.rtpengine.Close(e) })
	}
	if s.whip != nil {
		all.Go(func() {
			if err := s.whip.Close(e); err != nil {
				s.log.Error("closing WebRTC", "error", err)
			}
		})
	}
	all.Wait()
	if s.freeswitch != nil {
		s.freeswitch.Close(e)
	}
	if s.ng != nil {
		if err := s.ng.Close(); err != nil {
			s.log.Error("closing rtpengine's socket", "error", err)
		}
	}
	s.wg.Wait()
}
