// Package config reads Sidetone's configuration: one YAML file, every key of
// which has a default and a comment in config.yaml.
package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed config.yaml
var defaults []byte

// YAML is the commented configuration file with every default.
func YAML() []byte { return bytes.Clone(defaults) }

// Config is the whole configuration; config.yaml explains every key.
type Config struct {
	Server      Server      `yaml:"server"`
	Storage     Storage     `yaml:"storage"`
	Journal     Journal     `yaml:"journal"`
	Media       Media       `yaml:"media"`
	Access      Access      `yaml:"access"`
	Sources     Sources     `yaml:"sources"`
	Roles       Roles       `yaml:"roles"`
	Models      Models      `yaml:"models"`
	Recognition Recognition `yaml:"recognition"`
	Guidance    Guidance    `yaml:"guidance"`
	Tracing     Tracing     `yaml:"tracing"`
	Doctor      Doctor      `yaml:"doctor"`
	Recording   Recording   `yaml:"recording"`
	Voice       Voice       `yaml:"voice"`
	Log         Log         `yaml:"log"`
}

// Server is the HTTP side.
type Server struct {
	Listen         string        `yaml:"listen"`
	AllowedOrigins []string      `yaml:"allowed_origins"`
	DrainLimit     time.Duration `yaml:"drain_limit"`
	// Node names the server among others; see NodeName.
	Node string `yaml:"node"`
	TLS  TLS    `yaml:"tls"`
}

// Media is the RTP side.
type Media struct {
	Host           string        `yaml:"host"`
	Public         string        `yaml:"public"`
	FirstPort      int           `yaml:"first_port"`
	LastPort       int           `yaml:"last_port"`
	MaxCalls       int           `yaml:"max_calls"`
	SetupTimeout   time.Duration `yaml:"setup_timeout"`
	SilenceTimeout time.Duration `yaml:"silence_timeout"`
	Reconnect      time.Duration `yaml:"reconnect"`
	PauseKeys      string        `yaml:"pause_keys"`
	ResumeKeys     string        `yaml:"resume_keys"`
	Anywhere       bool          `yaml:"anywhere"`
}

// Models says where weights lie.
type Models struct {
	Store string `yaml:"store"`
}

// Guidance names the rules and the knowledge.
type Guidance struct {
	Playbook  string `yaml:"playbook"`
	Knowledge string `yaml:"knowledge"`
	Language  string `yaml:"language"`
}

// Log shapes the log.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Default is the embedded configuration.
func Default() (Config, error) {
	var c Config
	if err := decode(defaults, &c); err != nil {
		return Config{}, fmt.Errorf("built-in configuration: %w", err)
	}
	return c, nil
}

// Load reads the file at path over the defaults and validates the
// result. An empty path gives the defaults.
func Load(path string) (Config, error) {
	c, err := Default()
	if err != nil || path == "" {
		return c, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	if err := decode(b, &c); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

func decode(b []byte, c *Config) error {
	// The library clears c when there is no document: a file of comments only.
	var doc any
	if err := yaml.Unmarshal(b, &doc); err == nil && doc == nil {
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.DisallowUnknownField(), yaml.Strict(), yaml.CustomUnmarshaler(duration))
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// duration reads a time; a bare 0 needs no unit.
func duration(d *time.Duration, b []byte) (err error) {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	if *d, err = time.ParseDuration(text); err != nil {
		return fmt.Errorf("%q is no time; write it with its unit, such as 500ms or 2s", text)
	}
	return nil
}

// Validate reports every value that cannot work, one a line.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if _, _, err := net.SplitHostPort(c.Server.Listen); err != nil {
		bad("server.listen", "%q is not host:port", c.Server.Listen)
	}
	if _, err := netip.ParseAddr(c.Media.Host); err != nil {
		bad("media.host", "%q is not an IP address", c.Media.Host)
	}
	if a, err := netip.ParseAddr(c.Media.Public); c.Media.Public != "" && (err != nil || a.IsUnspecified()) {
		bad("media.public", "%q is not an IP address that others can send to", c.Media.Public)
	}
	if a, err := netip.ParseAddr(c.Media.Host); err == nil && a.IsUnspecified() && c.Media.Public == "" {
		bad("media.public", "media.host is %v, all addresses: say which one others send to", a)
	}
	if c.Media.FirstPort < 0 || c.Media.LastPort > 65535 || c.Media.FirstPort > c.Media.LastPort {
		bad("media.first_port", "ports %d to %d are no range within 0 to 65535", c.Media.FirstPort, c.Media.LastPort)
	}
	if c.Server.DrainLimit < 0 {
		bad("server.drain_limit", "%v; a time is needed, or 0s for none", c.Server.DrainLimit)
	}
	if c.Storage.MinFreeMB < 0 {
		bad("storage.min_free_mb", "%d; 0 or more is needed", c.Storage.MinFreeMB)
	}
	if c.Media.MaxCalls < 1 {
		bad("media.max_calls", "%d; at least 1 is needed", c.Media.MaxCalls)
	}
	for key, keys := range map[string]string{"media.pause_keys": c.Media.PauseKeys, "media.resume_keys": c.Media.ResumeKeys} {
		if strings.Trim(keys, "0123456789*#ABCD") != "" || len(keys) > 8 {
			bad(key, "%q: want up to 8 telephone keys, 0 to 9, *, #, A to D", keys)
		}
	}
	for key, d := range map[string]time.Duration{
		"media.setup_timeout":   c.Media.SetupTimeout,
		"media.silence_timeout": c.Media.SilenceTimeout,
	} {
		if d <= 0 {
			bad(key, "%v; a time above zero is needed", d)
		}
	}
	if c.Media.Reconnect < 0 {
		bad("media.reconnect", "%v; a time, or 0s", c.Media.Reconnect)
	}
	c.validateStorage(bad)
	c.validateAccess(bad)
	c.Sources.validate(bad)
	if _, err := c.Roles.Rules(); err != nil {
		bad("roles", "%v", err)
	}
	c.Recognition.validate(bad)
	c.Recording.validate(bad)
	c.Voice.validate(bad)
	c.validateOperation(bad)
	if _, err := c.Log.level(); err != nil {
		bad("log.level", "%v", err)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q; text or json is needed", c.Log.Format)
	}
	return errors.Join(errs...)
}

func (l Log) level() (slog.Level, error) {
	var v slog.Level
	err := v.UnmarshalText([]byte(l.Level))
	return v, err
}

// Logger writes to w as configured.
func (l Log) Logger(w io.Writer) (*slog.Logger, error) {
	v, err := l.level()
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := &slog.HandlerOptions{Level: v}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}
