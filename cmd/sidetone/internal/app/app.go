// Package app wires Sidetone: it turns the configuration into engines and
// adapters, runs a worker per leg, and starts and stops everything in order.
//
// Sinks start before sources and stop after them: knowledge, engines, hub,
// calls, ports, doors; and back.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"sidetone/asr/vad"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/health"
	"sidetone/cmd/sidetone/internal/trace"
	"sidetone/guidance/pane"
	"sidetone/guidance/push"
	"sidetone/internal/access"
	"sidetone/internal/access/certs"
	"sidetone/internal/models"
	"sidetone/kb"
	"sidetone/media/port"
	"sidetone/media/rtpfork"
	voicestore "sidetone/voiceprint/store"
)

const (
	// stopLimit bounds the wait for last words when the server stops.
	stopLimit = 15 * time.Second
)

// App is a server, built and ready to run.
type App struct {
	log     *slog.Logger
	version string
	metrics *metrics
	index   *kb.Index
	hub     *push.Hub
	calls   *calls
	sources *sources
	// admission is the door of all of them.
	admission  *admission
	drainLimit time.Duration
	pane       http.Handler
	// guard says who gets through the doors; certs is nil without TLS.
	guard     *access.Guard
	doors     *access.Mux
	certs     *certs.Certs
	noAccount bool

	recogniser *recogniser
	listener   net.Listener
	// health holds the checks of GET /readyz: whoever builds what can fail adds
	// one.
	health health.Set
	// tracer is nil where traces go nowhere.
	tracer  *trace.Tracer
	about   about
	readers readers
	// voices compares callers' voices; nil: none is compared.
	voices *voiceKit
	// storage is what is kept; it opens first and closes last.
	storage *storage
}

// maker makes the recogniser; the tests have others.
type maker func(config.Recognition, *models.Store, *metrics, *slog.Logger) (*recogniser, error)

// New loads the models and the rules and opens the HTTP port. Close or Run
// frees what it took.
func New(cfg config.Config, version string, log *slog.Logger) (*App, error) {
	return newApp(cfg, version, log, newRecogniser)
}

func newApp(cfg config.Config, version string, log *slog.Logger, engine maker) (*App, error) {
	a := &App{log: log, version: version, metrics: newMetrics(), pane: pane.Handler()}
	if err := a.build(cfg, engine); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) build(cfg config.Config, engine maker) error {
	var err error
	if a.storage, err = openStorage(&cfg, a.log); err != nil {
		return err
	}
	if err = a.secure(&cfg); err != nil {
		return err
	}
	if a.index, err = loadKnowledge(cfg.Guidance.Knowledge); err != nil {
		return err
	}
	rules, err := loadPlaybook(cfg.Guidance.Playbook, a.index)
	if err != nil {
		return err
	}
	e := &env{
		journal: a.storage.journal, node: a.storage.node, recordings: a.storage.recordings,
		cfg: cfg, log: a.log, metrics: a.metrics, playbook: rules,
		knowledge: knowledge{index: a.index, log: a.log},
	}
	if a.tracer, err = newTracer(&cfg, a.version, a.storage.node, a.log); err != nil {
		return err
	}
	e.tracer = a.tracer
	store, err := modelStore(cfg.Models.Store)
	if err != nil {
		return err
	}
	if e.vad, err = loadDetector(store); err != nil {
		return err
	}
	if a.recogniser, err = engine(cfg.Recognition, store, a.metrics, a.log); err != nil {
		return err
	}
	e.recogniser = a.recogniser
	if a.voices, err = openVoices(context.Background(), &cfg, a.storage, store, e.vad, a.log); err != nil {
		return err
	}
	if a.voices != nil {
		e.ear, e.comparisons, e.learner, e.kit = a.voices.ear, a.voices, a.voices.learner, a.voices
	}
	a.admission = newAdmission(a.metrics, a.log)
	a.admission.watchLoad(a.recogniser)
	a.admission.watchJournal(a.storage.journal.Health)
	e.admission, a.drainLimit = a.admission, cfg.Server.DrainLimit
	if err = a.admission.watchStorage(&cfg); err != nil {
		return err
	}
	host, err := netip.ParseAddr(cfg.Media.Host)
	if err != nil {
		return fmt.Errorf("media.host: %w", err)
	}
	pool, err := port.NewPool(port.PoolConfig{Host: host, Min: uint16(cfg.Media.FirstPort), Max: uint16(cfg.Media.LastPort)})
	if err != nil {
		return fmt.Errorf("media.first_port: %w", err)
	}
	a.admission.watchPorts(pool)
	if e.roles, err = cfg.Roles.Rules(); err != nil {
		return err
	}
	fork, err := rtpfork.New(rtpfork.Config{
		Pool: pool, MaxCalls: cfg.Media.MaxCalls,
		SetupTimeout: cfg.Media.SetupTimeout, SilenceTimeout: cfg.Media.SilenceTimeout, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.calls = newCalls(e, fork)
	var bus push.Bus
	if cfg.Journal.URL != "" || cfg.Journal.Listen != "" {
		bus = a.storage.journal
	}
	a.hub, err = push.New(push.Config{
		Bus: bus, Node: a.storage.node,
		Version: a.version, Language: cfg.Guidance.Language, Origins: cfg.Server.AllowedOrigins,
		Listener: a.calls, Searcher: knowledge{index: a.index, log: a.log}, Log: a.log,
	})
	if err != nil {
		return err
	}
	e.hub = a.hub
	a.calls.watch()
	a.watch()
	if err = a.operate(&cfg, store); err != nil {
		return err
	}
	if err = a.watchStorage(); err != nil {
		return err
	}
	// A plain TCP connection can show no token: it must have been announced with one.
	if cfg.Access.Required && !cfg.Access.OpenSources {
		cfg.Sources.AudioSocket.Announced = true
	}
	if a.sources, err = newSources(cfg, a.calls, pool, a.log); err != nil {
		return err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", cfg.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w", err)
	}
	a.listener = limit(l, maxConns)
	return nil
}

// loadDetector loads the voice activity detector.
func loadDetector(store *models.Store) (*vad.Model, error) {
	weights, err := store.FS("silero-vad")
	if err != nil {
		return nil, err
	}
	f, err := weights.Open("silero_vad_16k.safetensors")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := vad.Load(f)
	if err != nil {
		return nil, fmt.Errorf("model silero-vad: %w", err)
	}
	return m, nil
}

func modelStore(place string) (*models.Store, error) {
	switch {
	case place == "":
		return models.Default(), nil
	case strings.Contains(place, "://"):
		return nil, fmt.Errorf("models.store: %q is a mirror: set %s and run `sidetone models pull`", place, models.EnvVar)
	default:
		return models.New(models.Config{Dir: filepath.Clean(place)})
	}
}

// watch exports what engines and hub count themselves.
func (a *App) watch() {
	if a.recogniser.local != nil {
		a.metrics.watchWhisper(a.recogniser)
	}
	a.metrics.watchRecordings(a.storage.recordings)
	a.metrics.gauge("voice_frames_waiting", "20 ms frames that wait to be heard for whose voice they carry; many tell of too little CPU.", a.calls.voiceWaiting)
	var voices func(context.Context) (voicestore.Stats, error)
	if a.voices != nil {
		voices = a.voices.store.Stats
	}
	a.metrics.registry.MustRegister(newVoiceCounts(voices, a.log))
	a.metrics.gauge("panes", "Panes connected.", func() float64 { return float64(a.hub.Stats().Panes) })
	a.metrics.gauge("panes_servers", "Other servers whose calls panes here may show.", func() float64 { return float64(a.hub.Stats().Servers) })
	a.metrics.gauge("panes_unsent", "Letters to other servers' panes that did not go out.", func() float64 { return float64(a.hub.Stats().Unsent) })
	a.metrics.gauge("panes_slow", "Panes closed because they did not read.", func() float64 { return float64(a.hub.Stats().Slow) })
}

// URL is the address of the server's pages and its API.
func (a *App) URL() string { return a.scheme() + "://" + a.listener.Addr().String() }

func (a *App) scheme() string {
	if a.certs != nil {
		return "https"
	}
	return "http"
}

// Run serves until ctx ends, then stops: no new calls, the running ones end
// with their last words, panes are told. It returns nil after an orderly stop.
func (a *App) Run(ctx context.Context) error { return a.Serve(ctx, ctx) }

// Serve is Run with patience: when ctx ends no more calls are taken, and the
// running ones go on to their ends; those that are left after server.drain_limit,
// or when now ends, are aborted.
func (a *App) Serve(ctx, now context.Context) error {
	server := a.httpServer(a.routes())
	failed := make(chan error, 1)
	go func() {
		if a.certs == nil {
			failed <- server.Serve(a.listener)
			return
		}
		server.TLSConfig = a.certs.TLS()
		failed <- server.ServeTLS(a.listener, "", "")
	}()
	a.announce()
	a.log.Info("serving", "address", a.URL())
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("http server: %w", err)
	case <-ctx.Done():
		a.finish(now)
		a.log.Info("stopping")
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		// Calls end first: requests that wait for a call's end are answered.
		a.stopCalls(limit)
		if err = server.Shutdown(limit); err != nil {
			err = fmt.Errorf("http server: %w", errors.Join(err, server.Close()))
		}
		if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("http server: %w", ended))
		}
	}
	return errors.Join(err, a.Close())
}

// stopCalls ends the calls and then what brings them. It may come more than
// once.
func (a *App) stopCalls(ctx context.Context) {
	if a.sources != nil {
		a.sources.drain(true)
	}
	if a.calls != nil {
		a.calls.close(ctx)
	}
	if a.sources != nil {
		a.sources.close(stopping())
	}
}

// Close frees what New took. Idempotent; Run calls it.
func (a *App) Close() error {
	limit, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var errs []error
	if a.listener != nil {
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	a.stopCalls(limit)
	a.health.Close()
	if a.hub != nil {
		errs = append(errs, a.hub.Close(limit))
	}
	if a.recogniser != nil {
		errs = append(errs, a.recogniser.Close())
	}
	if a.index != nil {
		errs = append(errs, a.index.Close())
	}
	if a.guard != nil {
		a.guard.Close()
	}
	a.voices.close()
	if a.storage != nil {
		errs = append(errs, a.storage.close(limit))
	}
	errs = append(errs, a.tracer.Close(limit))
	return errors.Join(errs...)
}
