package app

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/audiohook"
	"sidetone/media/fork/audiohook/httpsig"
	"sidetone/media/fork/freeswitch"
	"sidetone/media/fork/server"
)

const (
	// maxSecrets bounds a file of secrets, in bytes.
	maxSecrets = 64 << 10
	// pingForks is how often a fork over a WebSocket is asked whether it lives.
	pingForks = 15 * time.Second
)

// sources are the protocols that bring calls, besides plain RTP.
type sources struct {
	log     *slog.Logger
	routes  map[string]http.Handler
	servers []*server.Server

	freeswitch *freeswitch.Calls
	stop       chan struct{}
	wg         sync.WaitGroup
}

func newSources(cfg config.Config, host media.Host, log *slog.Logger) (*sources, error) {
	s := &sources{log: log, routes: map[string]http.Handler{}, stop: make(chan struct{})}
	guard, err := newGuard(cfg.Sources)
	if err != nil {
		return nil, err
	}
	if err = s.addFreeSWITCH(host, guard); err != nil {
		return nil, err
	}
	if err = s.addAudioHook(cfg.Sources, host); err != nil {
		return nil, err
	}
	s.wg.Go(s.tick)
	return s, nil
}

// newGuard checks those protocols that have no authentication of their own.
func newGuard(c config.Sources) (*server.Guard, error) {
	secrets, err := readLines(c.TokensFile)
	if err != nil {
		return nil, fmt.Errorf("sources.tokens_file: %w", err)
	}
	allow, proxies, err := networks(c)
	if err != nil {
		return nil, err
	}
	return server.NewGuard(server.GuardConfig{Tokens: secrets, Secrets: secrets, Allow: allow, Proxies: proxies})
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

func (s *sources) addAudioHook(c config.Sources, host media.Host) error {
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
	allow, proxies, err := networks(c)
	if err != nil {
		return err
	}
	guard, err := server.NewGuard(server.GuardConfig{Allow: allow, Proxies: proxies})
	if err != nil {
		return err
	}
	adapter, err := audiohook.New(audiohook.Config{Host: host, Log: s.log.With("source", "audiohook"), Auth: auth})
	if err != nil {
		return err
	}
	return s.add("audiohook", server.Config{
		Authorize: guard.Check,
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return adapter.Open(httpsig.Request{
				Method: r.Method, Target: r.URL.RequestURI(), Host: r.Host, Header: r.Header,
			}, r.URL.Query().Get("agent"), w, now), nil
		},
	})
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
	all.Wait()
	s.freeswitch.Close(e)
	s.wg.Wait()
}
