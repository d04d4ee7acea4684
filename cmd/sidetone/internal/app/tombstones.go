package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/store"
	voicestore "sidetone/voiceprint/store"
)

const (
	tombstoneFormat = 1
	// maxTombstones bounds a file of tombstones: some hundred bytes each.
	maxTombstones = 1 << 30
	// tombstoneMark is a name whose pseudonym tells the key of the voices: those that
	// another key made name nobody here.
	tombstoneMark = "tombstones of these voices"
)

// ErrTombstones is in the chain of errors about a file of tombstones that cannot be
// used here.
var ErrTombstones = errors.New("the file of tombstones")

// Tombstones say who has opted out, who was erased, and what was taken off the watch
// list, so that no backup brings them back. Persons are named by pseudonyms, which say
// who they are to nobody but who has the voices' key.
type Tombstones struct {
	Format int `json:"format"`
	// Key tells the voices' key, Made when the list was made.
	Key    string                 `json:"key"`
	Made   time.Time              `json:"made"`
	Stones []voicestore.Tombstone `json:"tombstones"`
}

// Tombstones are those of this database.
func (v *Voices) Tombstones(ctx context.Context) (Tombstones, error) {
	t := Tombstones{Format: tombstoneFormat, Made: time.Now().UTC()}
	var err error
	if t.Key, err = v.Store.Pseudonym(tombstoneMark); err != nil {
		return t, err
	}
	t.Stones, err = v.Store.Tombstones(ctx)
	return t, err
}

// Bury applies tombstones to a database that may be older than they are, and says of
// how many persons and voices something was changed.
func (v *Voices) Bury(ctx context.Context, by voicestore.Actor, t *Tombstones) (int, error) {
	key, err := v.Store.Pseudonym(tombstoneMark)
	if err != nil {
		return 0, err
	}
	if t.Key != key {
		return 0, fmt.Errorf("%w is of the voices of another voice.key: it names nobody here", ErrTombstones)
	}
	return v.Store.Bury(ctx, by, t.Stones)
}

// ReadTombstones reads a file of tombstones.
func ReadTombstones(r io.Reader) (*Tombstones, error) {
	var t Tombstones
	d := json.NewDecoder(io.LimitReader(r, maxTombstones))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("%w is not what this program writes: %w", ErrTombstones, err)
	}
	if t.Format != tombstoneFormat {
		return nil, fmt.Errorf("%w has format %d, this program knows %d", ErrTombstones, t.Format, tombstoneFormat)
	}
	for i := range t.Stones {
		s := &t.Stones[i]
		person, watch := s.Person != "" && (!s.OptedOut.IsZero() || !s.Erased.IsZero()), s.Watch != "" && !s.Removed.IsZero()
		if person == watch || s.Person != "" && s.Watch != "" {
			return nil, fmt.Errorf("%w: its entry %d names neither a person nor a voice of the watch list, or both", ErrTombstones, i+1)
		}
	}
	return &t, nil
}

// KeepTombstones brings a file of tombstones up to date: what it has stays there, for
// a database that was restored meanwhile may know less.
func KeepTombstones(name string, t Tombstones) (err error) {
	old, err := readTombstones(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.Key != t.Key:
		return fmt.Errorf("%s: %w is of the voices of another voice.key: name another file", name, ErrTombstones)
	default:
		t.Stones = mergeStones(old.Stones, t.Stones)
	}
	b, err := json.MarshalIndent(&t, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func readTombstones(name string) (*Tombstones, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := ReadTombstones(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// mergeStones joins two lists; of what is in both the later counts.
func mergeStones(a, b []voicestore.Tombstone) []voicestore.Tombstone {
	later := func(x, y time.Time) time.Time {
		if y.After(x) {
			return y
		}
		return x
	}
	at := map[string]int{}
	var out []voicestore.Tombstone
	for _, s := range slices.Concat(a, b) {
		name := s.Person + "/" + s.Watch
		i, there := at[name]
		if !there {
			at[name] = len(out)
			out = append(out, s)
			continue
		}
		o := &out[i]
		o.OptedOut, o.Erased, o.Removed = later(o.OptedOut, s.OptedOut), later(o.Erased, s.Erased), later(o.Removed, s.Removed)
	}
	slices.SortFunc(out, func(x, y voicestore.Tombstone) int {
		return strings.Compare(x.Person+"/"+x.Watch, y.Person+"/"+y.Watch)
	})
	return out
}

// tombstoneFile is the name of a list beside backups, which may be of several
// installations.
func tombstoneFile(dir, key string) string {
	return filepath.Join(dir, "voice-tombstones-"+key[:min(8, len(key))]+".json")
}

// voicesIn opens what is kept of voices in a database that is open; nil where there
// are none, or no key of them.
func voicesIn(ctx context.Context, cfg *config.Config, k *Kept, log *slog.Logger) (*Voices, error) {
	dir, err := cfg.Storage.Path()
	if err != nil {
		return nil, err
	}
	keys := cfg.Storage.KeysIn(dir)
	used, keyed, err := voicestore.InUse(ctx, k.store, keys)
	if err != nil || !used || !keyed {
		return nil, err
	}
	s, err := openVoiceStore(ctx, cfg, k.store, k.Audit, keys, log)
	if err != nil {
		return nil, err
	}
	return &Voices{Kept: k, Store: s}, nil
}

// keepTombstones brings the list in the folder of the keys up to date, which is kept
// apart from the database: so that little is lost with it.
func (k *voiceKit) keepTombstones(ctx context.Context) error {
	v := Voices{Store: k.store}
	t, err := v.Tombstones(ctx)
	if err != nil || len(t.Stones) == 0 {
		return err
	}
	return KeepTombstones(tombstoneFile(k.keys, t.Key), t)
}

// keepTombstones writes those of a database beside its backups.
func keepTombstones(ctx context.Context, cfg *config.Config, k *Kept, dir string, log *slog.Logger) error {
	v, err := voicesIn(ctx, cfg, k, log)
	if err != nil || v == nil {
		return err
	}
	t, err := v.Tombstones(ctx)
	if err != nil {
		return err
	}
	return KeepTombstones(tombstoneFile(dir, t.Key), t)
}

// Buried is what became of the tombstones for a database that was restored.
type Buried struct {
	// Used says that voices are in it, Keyed that their key is there.
	Used, Keyed bool
	// Files are the lists that there were, Made when the newest was brought up to date.
	Files []string
	Made  time.Time
	// Changed is of how many persons and voices something was changed.
	Changed int
}

// BuryRestored applies the tombstones that lie beside backups, in a folder that may be
// empty, and those that a server has kept with the keys, to a database that was
// restored: so that it brings nobody back.
func BuryRestored(ctx context.Context, cfg *config.Config, log *slog.Logger, by voicestore.Actor, dir string) (b Buried, err error) {
	at, err := cfg.Storage.Path()
	if err != nil {
		return b, err
	}
	keys := cfg.Storage.KeysIn(at)
	// Where the keys are missing nothing may be opened that would make new ones.
	db, err := store.Open(ctx, store.Config{URL: recordsURL(cfg, at), Log: log})
	if err != nil {
		return b, err
	}
	b.Used, b.Keyed, err = voicestore.InUse(ctx, db, keys)
	if err = errors.Join(err, db.Close()); err != nil || !b.Used || !b.Keyed {
		return b, err
	}
	v, err := OpenVoices(ctx, cfg, log)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	key, err := v.Store.Pseudonym(tombstoneMark)
	if err != nil {
		return b, err
	}
	places := []string{keys}
	if dir != "" {
		places = append(places, dir)
	}
	for _, place := range places {
		name := tombstoneFile(place, key)
		t, err := readTombstones(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return b, err
		}
		n, err := v.Bury(ctx, by, t)
		if err != nil {
			return b, err
		}
		b.Files, b.Changed = append(b.Files, name), b.Changed+n
		if t.Made.After(b.Made) {
			b.Made = t.Made
		}
	}
	return b, nil
}
