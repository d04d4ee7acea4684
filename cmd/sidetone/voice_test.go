package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with a request is said before the work.
func TestVoiceCalibrateRefuses(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "speakers.csv")
	f, err := os.Create(list)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	w.WriteAll([][]string{{"speaker", "file"}, {"ann", "1.wav"}})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"format": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no such file":           {"calibrate", filepath.Join(dir, "none")},
		"bad.json: backend: unu": {"calibrate", list, "--from", bad},
		"accepts 1 arg":          {"calibrate"},
	} {
		c := voiceCmd()
		c.SetArgs(args)
		c.SilenceErrors, c.SilenceUsage = true, true
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
