package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/models"
	"sidetone/internal/store"
	"sidetone/media"
)

// A backup that is made while a call runs comes up elsewhere with all calls, and
// the one that ran has its end state.
func TestBackupWhileServing(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "data")
	engine := &scripted{lines: map[string][]string{}}
	r := startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: engine, c: c, local: &local{}, languages: []string{"en"}}, nil
	}, func(c *config.Config) { c.Storage.Dir = dir })
	past := open(t, r, media.Call{ID: "past", Agent: "ann", Source: "siprec"})
	past.End(media.End{State: media.Ended, Reason: "BYE", At: time.Now()})
	past.wait(t.Context())
	s := &stage{running: r, t: t, engine: engine, at: map[string]int64{}}
	s.call = open(t, r, media.Call{ID: "now", Agent: "ann", Source: "siprec"})
	addLeg(t, s.call, media.Leg{ID: "1", Role: media.RoleCustomer}).Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	s.say("1", "I have lost my credit card")
	// The records follow the journal by a moment.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := r.storage.records.Call(t.Context(), "now")
		if err == nil && len(c.Transcript) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the records lack what was said: %v", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "recordings"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "recordings", "x.age"), []byte("sealed"), 0o600); err != nil {
		t.Fatal(err)
	}

	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Storage.Dir = dir
	var archive, keys bytes.Buffer
	m, err := Backup(t.Context(), &cfg, quiet, BackupOptions{SplitKeys: &keys, Version: "test"}, &archive)
	if err != nil {
		t.Fatal(err)
	}
	if m.Cold || m.Schema < 1 || len(m.Files) != 1 || len(m.Recordings) != 1 {
		t.Errorf("manifest: %+v", m)
	}
	if key, err := os.ReadFile(filepath.Join(dir, "keys", "audit.key")); err != nil || bytes.Contains(archive.Bytes(), key) || !bytes.Contains(keys.Bytes(), key) {
		t.Errorf("the keys are not where they belong: %v", err)
	}
	// The call goes on as if nothing had been.
	s.say("1", "please block it")
	s.call.End(media.End{State: media.Ended, Reason: "BYE", At: time.Now()})
	s.call.wait(t.Context())
	if rec := r.wait(t, "now", "closed", func(rec journal.Call) bool { return rec.Closed }); rec.State != "ended" || len(rec.Transcript) != 2 {
		t.Errorf("the call that was backed up: %s, %d finals", rec.State, len(rec.Transcript))
	}
	r.stop()

	cfg.Storage.Dir = elsewhere
	m, ended, err := Restore(t.Context(), &cfg, quiet, bytes.NewReader(archive.Bytes()), bytes.NewReader(keys.Bytes()))
	if err != nil || ended != 1 || m.Version != "test" {
		t.Fatalf("restore: %d ended, %v", ended, err)
	}
	if _, _, err = Restore(t.Context(), &cfg, quiet, bytes.NewReader(archive.Bytes()), nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("restoring over it: %v", err)
	}
	again := host(t, func(c *config.Config) { c.Storage.Dir = elsewhere })
	if rec := again.call(t, "past"); rec.State != "ended" || rec.Reason != "BYE" {
		t.Errorf("a call of the past: %+v", rec)
	}
	rec := again.call(t, "now")
	if rec.State != "lost" || rec.Reason != restoredReason || !rec.Closed || len(rec.Transcript) != 1 || rec.Transcript[0].Text == "" {
		t.Errorf("the call that ran: %+v", rec)
	}
	if report, err := again.storage.audit.Verify(t.Context()); err != nil || report.Broken != nil {
		t.Errorf("the audit log: %+v, %v", report, err)
	}
	again.stop()

	// Nobody serves: the journal goes along.
	archive.Reset()
	if m, err = Backup(t.Context(), &cfg, quiet, BackupOptions{Keys: true}, &archive); err != nil || !m.Cold {
		t.Fatalf("cold: %+v, %v", m, err)
	}
	cfg.Storage.Dir = filepath.Join(t.TempDir(), "third")
	if _, ended, err = Restore(t.Context(), &cfg, quiet, &archive, nil); err != nil || ended != 0 {
		t.Fatalf("cold restore: %d, %v", ended, err)
	}
	third := host(t, func(c *config.Config) { c.Storage.Dir = cfg.Storage.Dir })
	if rec := third.call(t, "now"); rec.State != "lost" || len(rec.Transcript) != 1 {
		t.Errorf("from a cold backup: %+v", rec)
	}
}

// A program refuses a database that a newer one has made, and does not touch one
// that an older one serves.
func TestBackupOfOtherVersions(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Storage.Dir = t.TempDir()
	var out bytes.Buffer
	if _, err = Backup(t.Context(), &cfg, quiet, BackupOptions{}, &out); err == nil || !strings.Contains(err.Error(), "nothing to back up") {
		t.Errorf("nothing kept: %v", err)
	}
	path := filepath.Join(cfg.Storage.Dir, "sidetone.db")
	db, err := store.Open(t.Context(), store.Config{URL: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = db.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, ?)`, true); err != nil {
		t.Fatal(err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = Backup(t.Context(), &cfg, quiet, BackupOptions{}, &out); err == nil || !strings.Contains(err.Error(), "has schema 9999") {
		t.Errorf("of a newer program: %v", err)
	}
	if _, err = New(cfg, "test", quiet); err == nil || !strings.Contains(err.Error(), "schema 9999") {
		t.Errorf("serving a newer database: %v", err)
	}
}
