package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"sidetone/internal/store"
)

func TestLookChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "sidetone.db")
	s, err := store.Look(t.Context(), store.Config{URL: path})
	if err != nil || !s.Empty || s.Known < 1 {
		t.Fatalf("no file: %+v, %v", s, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("looking made a folder")
	}
	db, err := store.Open(t.Context(), store.Config{URL: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err = store.Look(t.Context(), store.Config{URL: path})
	if err != nil || s.Empty || s.Schema != s.Known || s.Bytes == 0 || s.Name != path {
		t.Errorf("while it is in use: %+v, %v", s, err)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)`, s.Known+1, true); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Look(t.Context(), store.Config{URL: path}); err != nil || s.Schema != s.Known+1 {
		t.Errorf("a newer schema: %+v, %v", s, err)
	}
	broken := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(broken, []byte("this is no database, whatever its name says\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Look(t.Context(), store.Config{URL: broken}); err == nil {
		t.Error("a file that is no database is well")
	}
}
