package app

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	voicestore "sidetone/voiceprint/store"
)

// A server keeps the tombstones with the keys; a database that does not know of them is
// brought up to date when it was restored.
func TestServerKeepsTombstones(t *testing.T) {
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Storage.Dir = filepath.Join(t.TempDir(), "data")
	quiet, by := slog.New(slog.DiscardHandler), voicestore.Actor{Name: "test"}
	v, err := OpenVoices(t.Context(), &cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, who := range []string{"LB-1", "LB-2"} {
		if err = v.Store.Consent(t.Context(), by, who, voicestore.Consent{Text: "v3", How: "signed"}); err != nil {
			t.Fatal(err)
		}
	}
	keys := cfg.Storage.KeysIn(cfg.Storage.Dir)
	k := &voiceKit{store: v.Store, keys: keys, log: quiet}
	files := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(keys, "voice-tombstones-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if err = k.keepTombstones(t.Context()); err != nil || len(files()) != 0 {
		t.Errorf("a list of nobody: %v, %v", err, files())
	}
	// Another database under the same keys has heard that one has opted out since.
	id, err := v.Store.Pseudonym("LB-1")
	if err != nil {
		t.Fatal(err)
	}
	newer, err := v.Tombstones(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newer.Stones = []voicestore.Tombstone{{Person: id, OptedOut: time.Now().Add(time.Second).UTC()}}
	if err = KeepTombstones(tombstoneFile(keys, newer.Key), newer); err != nil {
		t.Fatal(err)
	}
	b, err := BuryRestored(t.Context(), &cfg, quiet, by, "")
	if err != nil || b.Changed != 1 || len(b.Files) != 1 || !b.Used || !b.Keyed {
		t.Errorf("%+v, %v", b, err)
	}
	if now, err := v.Store.State(t.Context(), "LB-1"); err != nil || now.State != voicestore.OptedOut {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err = v.Store.Erase(t.Context(), by, "LB-2", false); err != nil {
		t.Fatal(err)
	}
	if err = k.keepTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := readTombstones(files()[0])
	if err != nil || len(got.Stones) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMergeStones(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 3, 1, h, 0, 0, 0, time.UTC) }
	got := mergeStones(
		[]voicestore.Tombstone{{Person: "p", OptedOut: at(1), Erased: at(5)}, {Watch: "w", Removed: at(2)}},
		[]voicestore.Tombstone{{Person: "q", Erased: at(1)}, {Person: "p", OptedOut: at(3), Erased: at(4)}},
	)
	want := []voicestore.Tombstone{{Watch: "w", Removed: at(2)}, {Person: "p", OptedOut: at(3), Erased: at(5)}, {Person: "q", Erased: at(1)}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}
