package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/internal/store"
)

func TestBackupAndRestoreCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, storage string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("storage:\n  dir: "+filepath.Join(dir, storage)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	here, there := write("here.yaml", "here"), write("there.yaml", "there")
	db, err := store.Open(t.Context(), store.Config{URL: filepath.Join(dir, "here", "sidetone.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	out, keys := filepath.Join(dir, "b.tar"), filepath.Join(dir, "k.tar")
	var told bytes.Buffer
	if err = runBackup(t.Context(), here, out, keys, app.BackupOptions{Version: "v1"}, nil, &told); err != nil || !strings.Contains(told.String(), "no server runs") {
		t.Fatalf("%v, %s", err, &told)
	}
	for _, f := range []string{out, keys} {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 || st.Size() == 0 {
			t.Errorf("%s: %v, %v", f, st, err)
		}
	}
	if err = runBackup(t.Context(), here, out, "", app.BackupOptions{}, nil, &told); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over a file: %v", err)
	}
	told.Reset()
	if err = runRestore(t.Context(), there, out, keys, "", nil, &told, &told); err != nil || !strings.Contains(told.String(), "made by version v1") {
		t.Errorf("%v, %s", err, &told)
	}
	for _, f := range []string{"sidetone.db", "keys/audit.key"} {
		if _, err := os.Stat(filepath.Join(dir, "there", f)); err != nil {
			t.Error(err)
		}
	}
	// What goes wrong leaves no file, and nothing half restored.
	elsewhere := write("elsewhere.yaml", "elsewhere")
	bad := filepath.Join(dir, "bad.tar")
	if err = runBackup(t.Context(), elsewhere, bad, "", app.BackupOptions{}, nil, &told); err == nil {
		t.Error("nothing was backed up, without an error")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*bad*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err = runRestore(t.Context(), elsewhere, "-", "", "", strings.NewReader("no tar"), &told, &told); err == nil {
		t.Error("noise is restored")
	}
}
