package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// EnvData names the folder of what is kept, where the configuration does not.
const EnvData = "SIDETONE_DATA"

// Storage says where things are kept.
type Storage struct {
	Dir       string `yaml:"dir"`
	Records   string `yaml:"records"`
	Keys      string `yaml:"keys"`
	MinFreeMB int    `yaml:"min_free_mb"`
	// Keep is for how long what is known of a call is kept.
	Keep Keep `yaml:"keep"`
}

// Keep is for how long each kind of data is kept after the end of its call; 0 is
// for ever.
type Keep struct {
	Calls       time.Duration `yaml:"calls"`
	Transcripts time.Duration `yaml:"transcripts"`
	Cards       time.Duration `yaml:"cards"`
	Statistics  time.Duration `yaml:"statistics"`
	Recordings  time.Duration `yaml:"recordings"`
}

// Journal is the log of what happens to calls.
type Journal struct {
	URL             string        `yaml:"url"`
	CredentialsFile string        `yaml:"credentials_file"`
	CAFile          string        `yaml:"ca_file"`
	SecretFile      string        `yaml:"secret_file"`
	Listen          string        `yaml:"listen"`
	Sync            time.Duration `yaml:"sync"`
	Replicas        int           `yaml:"replicas"`
	Keep            time.Duration `yaml:"keep"`
	MaxBytes        int64         `yaml:"max_bytes"`
}

// Shared says that other servers may use the same journal.
func (j *Journal) Shared() bool { return j.URL != "" || j.Listen != "" }

func (c *Config) validateStorage(bad func(key, format string, args ...any)) {
	if r := c.Storage.Records; r != "" && !strings.HasPrefix(r, "postgres://") && !strings.HasPrefix(r, "postgresql://") {
		bad("storage.records", "want postgres://…, or nothing for SQLite in the storage folder")
	}
	if k := &c.Storage.Keep; min(k.Calls, k.Transcripts, k.Cards, k.Statistics, k.Recordings) < 0 {
		bad("storage.keep", "no time can be negative")
	}
	j := &c.Journal
	if j.Listen != "" && j.SecretFile == "" {
		bad("journal.secret_file", "whoever reaches journal.listen could read the calls: set a secret that the nodes share")
	}
	if j.URL != "" && j.Listen != "" {
		bad("journal.listen", "there is no NATS in this process when journal.url is set")
	}
	if j.Sync < 0 || j.Keep < 0 || j.MaxBytes < 0 {
		bad("journal", "sync, keep and max_bytes cannot be negative")
	}
	if j.Replicas < 1 || j.Replicas > 5 {
		bad("journal.replicas", "%d; 1 to 5 copies can be kept", j.Replicas)
	}
	if c.Server.Node != "" && !validNode(c.Server.Node) {
		bad("server.node", "%q: want up to 63 letters, digits and dashes", c.Server.Node)
	}
}

func validNode(s string) bool {
	return s != "" && len(s) < 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// NodeName is the server's name among others.
func (c *Config) NodeName() (string, error) {
	if c.Server.Node != "" {
		return c.Server.Node, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("server.node: the machine has no name: %w", err)
	}
	host, _, _ = strings.Cut(host, ".")
	host = strings.Map(func(r rune) rune {
		if validNode(string(r)) {
			return r
		}
		return '-'
	}, host)
	if !validNode(host) {
		return "", fmt.Errorf("server.node: the machine's name %q will not do: set one", host)
	}
	return host, nil
}

// KeysIn is the folder of the keys, where everything else lies in dir.
func (s *Storage) KeysIn(dir string) string {
	if s.Keys != "" {
		return filepath.Clean(s.Keys)
	}
	return filepath.Join(dir, "keys")
}

// Path is the folder of everything that is kept.
func (s *Storage) Path() (string, error) {
	if s.Dir != "" {
		return filepath.Clean(s.Dir), nil
	}
	if dir := os.Getenv(EnvData); dir != "" {
		return filepath.Clean(dir), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sidetone"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.Join(errors.New("storage.dir: say where things are kept, or set "+EnvData), err)
	}
	return filepath.Join(home, ".local", "state", "sidetone"), nil
}
