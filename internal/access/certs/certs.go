// Package certs holds a server's TLS certificate, which may be replaced on disk
// while the server runs.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often the files' times are looked at, at most.
const lookEvery = time.Second

// Config names the files, all PEM.
type Config struct {
	// CertFile holds the certificate and its chain, KeyFile its key.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities of clients' certificates; empty: none
	// are asked for. Clients may leave theirs out; one that they show must be good.
	ClientCAFile string
	// Log may be nil.
	Log *slog.Logger
}

// Certs serves the newest readable certificate. It is safe for concurrent use.
type Certs struct {
	cfg Config

	mu      sync.Mutex
	looked  time.Time
	changed [3]time.Time
	current *tls.Config
}

// New reads the files.
func New(cfg Config) (*Certs, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, fmt.Errorf("certs: both cert_file (%q) and key_file (%q) are needed", cfg.CertFile, cfg.KeyFile)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Certs{cfg: cfg}
	times, err := c.times()
	if err != nil {
		return nil, err
	}
	c.changed = times
	c.current, err = c.read()
	return c, err
}

// TLS is the configuration of a server: TLS 1.2 at least, and for each
// connection the files as they are then. Running connections go on.
func (c *Certs) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.at(time.Now()), nil },
		// net/http wants a certificate or this beside GetConfigForClient.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.at(time.Now()).Certificates[0], nil
		},
	}
}

// at is the configuration now. Files that cannot be read, half of a pair for
// instance, leave the one before in use.
func (c *Certs) at(now time.Time) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < lookEvery {
		return c.current
	}
	c.looked = now
	times, err := c.times()
	if err == nil && times == c.changed {
		return c.current
	}
	var next *tls.Config
	if err == nil {
		next, err = c.read()
	}
	if err != nil {
		c.cfg.Log.Warn("the TLS certificate on disk cannot be used; the one before stays", "error", err)
		return c.current
	}
	c.changed, c.current = times, next
	c.cfg.Log.Info("TLS certificate read anew", "file", c.cfg.CertFile)
	return c.current
}

func (c *Certs) times() ([3]time.Time, error) {
	var t [3]time.Time
	for i, f := range []string{c.cfg.CertFile, c.cfg.KeyFile, c.cfg.ClientCAFile} {
		if f == "" {
			continue
		}
		st, err := os.Stat(f)
		if err != nil {
			return t, fmt.Errorf("certs: %w", err)
		}
		t[i] = st.ModTime()
	}
	return t, nil
}

func (c *Certs) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certs: %s and %s: %w", c.cfg.CertFile, c.cfg.KeyFile, err)
	}
	t := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.cfg.ClientCAFile == "" {
		return t, nil
	}
	b, err := os.ReadFile(c.cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("certs: %s holds no certificate", c.cfg.ClientCAFile)
	}
	t.ClientAuth = tls.VerifyClientCertIfGiven
	return t, nil
}
