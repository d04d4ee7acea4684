package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxPayload is the largest message of the embedded server: a card may be long.
	maxPayload = 4 << 20
	// user is who nodes are at the embedded server.
	user = "sidetone"
)

// embedded is a NATS server in this process. It is replaced by a new one when its
// JetStream has given up: that is after a write has failed.
type embedded struct {
	opts    server.Options
	log     *slog.Logger
	reserve int64

	mu     sync.Mutex
	now    *server.Server
	closed bool
}

// serve starts the embedded server.
func serve(cfg Config) (*embedded, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: the folder of the embedded server: %w", err)
	}
	s := &embedded{log: cfg.Log, reserve: cfg.Reserve, opts: server.Options{
		ServerName: cfg.Node, DontListen: cfg.Listen == "", NoSigs: true, NoSystemAccount: true,
		MaxPayload: maxPayload,
		JetStream:  true, StoreDir: cfg.Dir, DisableJetStreamBanner: true,
		JetStreamMaxMemory: 64 << 20,
		// The disk's free space is looked at here, when it matters, and not once.
		JetStreamMaxStore: 1 << 60,
		SyncAlways:        cfg.Sync == 0, SyncInterval: orElse(cfg.Sync, 2*time.Minute),
	}}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("journal: listen: %w", err)
		}
		if s.opts.Port, err = strconv.Atoi(port); err != nil || s.opts.Port < 0 || s.opts.Port > 65535 {
			return nil, fmt.Errorf("journal: listen: %q is no port", port)
		}
		s.opts.Port = orElse(s.opts.Port, server.RANDOM_PORT)
		s.opts.Host, s.opts.Username, s.opts.Password = host, user, cfg.Secret
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("journal: certificate: %w", err)
		}
		s.opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// start starts a server.
func (s *embedded) start() error {
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("journal: the embedded server: %w", err)
	}
	srv.SetLogger(logger{s.log}, false, false)
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("journal: the embedded server cannot start in %s: its log says why", s.opts.StoreDir)
	}
	// A server that takes the place of another takes its port, too.
	s.opts.Port = opts.Port
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = addr.Port
	}
	s.mu.Lock()
	s.now = srv
	s.mu.Unlock()
	return nil
}

// InProcessConn connects within the process.
func (s *embedded) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.InProcessConn()
}

// url is where other nodes reach the server; empty where they do not.
func (s *embedded) url() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.DontListen {
		return ""
	}
	return s.now.ClientURL()
}

// sick says what keeps the server from storing anything: the space of its disk, or
// a write that failed, after which JetStream writes no more.
func (s *embedded) sick() error {
	if err := s.space(); err != nil {
		return err
	}
	s.mu.Lock()
	srv := s.now
	s.mu.Unlock()
	if h := srv.Healthz(nil); h.Error != "" {
		return fmt.Errorf("the embedded server cannot write: %s", h.Error)
	}
	return nil
}

// revive starts a new server in place of one that is sick, where there is space.
func (s *embedded) revive() (revived bool, err error) {
	if err := s.space(); err != nil {
		return false, err
	}
	s.mu.Lock()
	srv, closed := s.now, s.closed
	s.mu.Unlock()
	if closed || srv.Healthz(nil).Error == "" {
		return false, nil
	}
	s.log.Warn("journal: the embedded server starts anew")
	srv.Shutdown()
	srv.WaitForShutdown()
	return true, s.start()
}

// close stops the server and waits until it has. A nil server is none.
func (s *embedded) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	srv := s.now
	s.mu.Unlock()
	srv.Shutdown()
	srv.WaitForShutdown()
}

// connect makes the connection; the server may be away later.
func (l *Log) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name("sidetone " + l.cfg.Node), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// A wrong secret may be set right at the server: that, too, is tried for ever.
		nats.IgnoreAuthErrorAbort(),
		// What could not be sent is sent again by the pump, not kept by the client.
		nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(*nats.Conn) { l.connected(true, nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.connected(false, err) }),
		// Slow subscribers are counted; what else may come the pump sees, too.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.cfg.Log.Debug("journal: NATS", "err", err) }),
	}
	if l.cfg.Secret != "" {
		opts = append(opts, nats.UserInfo(user, l.cfg.Secret))
	}
	url := l.cfg.URL
	if l.srv != nil {
		url = ""
		opts = append(opts, nats.InProcessServer(l.srv))
	}
	if l.cfg.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(l.cfg.CredsFile))
	}
	if l.cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(l.cfg.CAFile))
	}
	var err error
	for l.nc, err = nats.Connect(url, opts...); err != nil; l.nc, err = nats.Connect(url, opts...) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("journal: NATS at %s cannot be reached: %w", l.where(), err)
		case <-time.After(firstPause):
		}
	}
	l.connected(true, nil)
	if l.js, err = jetstream.New(l.nc); err != nil {
		return fmt.Errorf("journal: JetStream at %s: %w", l.where(), err)
	}
	return nil
}

// where says in words where the server is.
func (l *Log) where() string {
	if l.srv != nil {
		return l.cfg.Dir
	}
	// A URL may hold a password.
	if _, host, ok := strings.Cut(l.cfg.URL, "@"); ok {
		return host
	}
	return l.cfg.URL
}

// connected is told by the client how its connection fares.
func (l *Log) connected(yes bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if yes {
		if l.since.IsZero() {
			l.since = time.Now()
		}
		l.away = time.Time{}
		l.retryNow = true
		l.signal(l.wake)
		return
	}
	l.since, l.away = time.Time{}, time.Now()
	if err != nil && !l.closed {
		l.trouble(fmt.Errorf("the connection to NATS at %s was lost: %w", l.where(), err), time.Now())
	}
}

// explain puts what an operator can do something about into words.
func explain(err error) error {
	if api := new(jetstream.APIError); errors.As(err, &api) {
		if said := saying(int(api.ErrorCode)); said != "" {
			return fmt.Errorf("%s: %w", said, err)
		}
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return fmt.Errorf("JetStream is off at that server: %w", err)
	}
	return err
}

// saying is what JetStream's error codes mean to a person.
// Source: nats-server, server/errors.json.
func saying(code int) string {
	switch code {
	case 10023, 10047, 10077:
		return "the NATS server cannot store: where the journal is full give it a larger max bytes or a shorter max age, else look at the space of its disk"
	case 10002, 10028:
		return "the NATS account may not store so much: give it more"
	case 10039, 10076:
		return "JetStream is off at that server or for that account: turn it on"
	case 10009, 10008:
		return "the NATS cluster has no leader for the journal: too few of its servers are up"
	default:
		return ""
	}
}

// logger passes the embedded server's log on.
type logger struct{ log *slog.Logger }

func (g logger) Noticef(format string, v ...any) { g.say(slog.LevelDebug, format, v) }
func (g logger) Warnf(format string, v ...any)   { g.say(slog.LevelWarn, format, v) }
func (g logger) Fatalf(format string, v ...any)  { g.say(slog.LevelError, format, v) }
func (g logger) Errorf(format string, v ...any)  { g.say(slog.LevelError, format, v) }
func (g logger) Debugf(string, ...any)           {}
func (g logger) Tracef(string, ...any)           {}

func (g logger) say(level slog.Level, format string, v []any) {
	g.log.Log(context.Background(), level, "journal server", "says", fmt.Sprintf(format, v...))
}

// space says what is wrong with the disk of the embedded server.
func (s *embedded) space() error {
	free, err := freeBytes(s.opts.StoreDir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the journal's folder %s: %w", s.opts.StoreDir, err)
	}
	if free < s.reserve {
		return fmt.Errorf("the disk of %s is full: %d MiB are free, nothing is written below %d MiB; free some", s.opts.StoreDir, free>>20, s.reserve>>20)
	}
	return nil
}
