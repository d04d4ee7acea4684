package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(dir, "sidetone.yaml")
	if err := os.WriteFile(cfg, []byte("storage:\n  dir: "+dir+"/data\n  keys: "+dir+"/elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	say := func(args ...string) string {
		t.Helper()
		root := rootCmd()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append(args, "-c", cfg))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := say("keys", "list"); strings.Count(got, "seals and opens") != 1 || !strings.Contains(got, "hybrid") {
		t.Errorf("list: %s", got)
	}
	if got := say("keys", "rotate", "--kind", "x25519"); !strings.Contains(got, "seals from now on") {
		t.Errorf("rotate: %s", got)
	}
	got := say("keys", "list")
	if lines := strings.Split(strings.TrimSpace(got), "\n"); len(lines) != 3 || !strings.Contains(lines[2], "x25519") || !strings.Contains(lines[2], "seals and opens") || strings.Contains(lines[1], "seals and") {
		t.Errorf("list: %s", got)
	}
	found, err := filepath.Glob(filepath.Join(dir, "elsewhere", "*.age-key"))
	if err != nil || len(found) != 2 {
		t.Errorf("files: %v, %v", found, err)
	}
	if _, err = os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("keys are made in the data folder, too")
	}
}
