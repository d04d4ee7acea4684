package seal

import (
	"cmp"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
)

// Kind is how a key wraps the keys of files.
type Kind string

// The kinds of keys.
const (
	// Hybrid joins X25519 and ML-KEM-768, so that what is sealed today stays
	// sealed when quantum computers come. A header is 2 kB.
	Hybrid Kind = "hybrid"
	// X25519 is the classic kind. A header is 0.3 kB.
	X25519 Kind = "x25519"
)

// Key is what may be known of a key.
type Key struct {
	ID      string
	Kind    Kind
	Created time.Time
	// Current says that new files are sealed with it.
	Current bool
	// Path is the file that holds the secret.
	Path string
}

// Config says where the keys lie.
type Config struct {
	// Dir is the folder of the keys, one file each, readable by the owner only.
	// What it protects should lie, and be backed up, elsewhere: a thief of both
	// has all.
	Dir string
	// Kind is the kind of new keys; empty: Hybrid.
	Kind Kind
}

// Keyring seals with the newest key of a folder and opens with all of them. It
// is safe for concurrent use, and sees keys that others add to the folder.
type Keyring struct {
	cfg Config

	mu   sync.Mutex
	keys []*key // from the oldest to the newest
	// seen tells the state of the folder that keys were read from.
	seen string
}

// key is a key with its secret.
type key struct {
	Key
	identity  age.Identity
	recipient age.Recipient
	// tag makes the tags of headers.
	tag []byte
}

const (
	// suffix is that of key files, timeForm the time within a key's id.
	suffix   = ".age-key"
	timeForm = "20060102-150405"
	// tagInfo separates the tag key from all else that is derived from a secret.
	tagInfo = "sidetone seal tag v1"
)

// Open reads the keyring; in a folder that has no key it makes the first one.
func Open(cfg Config) (*Keyring, error) {
	if cfg.Dir == "" {
		return nil, errors.New("seal: no folder for the keys is given")
	}
	cfg.Kind = cmp.Or(cfg.Kind, Hybrid)
	if cfg.Kind != Hybrid && cfg.Kind != X25519 {
		return nil, fmt.Errorf("seal: %q is no kind of key; %s or %s is needed", cfg.Kind, Hybrid, X25519)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("seal: the folder of the keys: %w", err)
	}
	k := &Keyring{cfg: cfg}
	if err := k.refresh(); err != nil {
		return nil, err
	}
	if len(k.keys) == 0 {
		if _, err := k.Rotate(time.Now()); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Keys lists the keys, the oldest first.
func (k *Keyring) Keys() ([]Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return nil, err
	}
	out := make([]Key, len(k.keys))
	for i, o := range k.keys {
		out[i] = o.Key
		out[i].Current = i == len(k.keys)-1
	}
	return out, nil
}

// Rotate makes a new key, which is the current one from now on. What older keys
// have sealed stays readable while their files are there.
func (k *Keyring) Rotate(now time.Time) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return Key{}, err
	}
	now = now.UTC().Truncate(time.Second)
	if n := len(k.keys); n > 0 && !now.After(k.keys[n-1].Created) {
		// The clock was set back: the new key must sort last all the same.
		now = k.keys[n-1].Created.Add(time.Second)
	}
	secret, public, err := generate(k.cfg.Kind)
	if err != nil {
		return Key{}, fmt.Errorf("seal: making a key: %w", err)
	}
	id := now.Format(timeForm) + "-" + strings.ToLower(rand.Text()[:6])
	text := fmt.Sprintf("# Sidetone key %s. Whoever has this file can open what it sealed; if it is lost,\n"+
		"# so is all of that.\n# public key: %s\n%s\n", id, public, secret)
	if err = writeNew(filepath.Join(k.cfg.Dir, id+suffix), text); err != nil {
		return Key{}, err
	}
	if err = k.refresh(); err != nil {
		return Key{}, err
	}
	made := k.keys[len(k.keys)-1].Key
	made.Current = true
	return made, nil
}

// generate makes a key; both halves are text.
func generate(kind Kind) (secret, public string, err error) {
	if kind == X25519 {
		classic, failed := age.GenerateX25519Identity()
		if failed != nil {
			return "", "", failed
		}
		return classic.String(), classic.Recipient().String(), nil
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", err
	}
	return hybrid.String(), hybrid.Recipient().String(), nil
}

// writeNew makes the file whole or not at all.
func writeNew(path, text string) error {
	fail := func(err error) error { return fmt.Errorf("seal: writing a key: %w", err) }
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fail(err)
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(errors.Join(err, os.Remove(f.Name())))
	}
	// The name must survive a loss of power, too: without the key all is lost.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	if err = errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// current is the key that seals.
func (k *Keyring) current() (*key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return nil, err
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("seal: no key is left in %s: %w", k.cfg.Dir, ErrNoKey)
	}
	return k.keys[len(k.keys)-1], nil
}

// find is the key of that id.
func (k *Keyring) find(id string) (*key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return nil, err
	}
	for _, o := range k.keys {
		if o.ID == id {
			return o, nil
		}
	}
	return nil, fmt.Errorf("%w %s: put its file back into %s", ErrNoKey, id, k.cfg.Dir)
}

// refresh reads the folder if its names have changed. The caller holds mu, or has
// k to itself.
func (k *Keyring) refresh() error {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return fmt.Errorf("seal: the folder of the keys: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	seen := strings.Join(names, "\n")
	if seen == k.seen && k.keys != nil {
		return nil
	}
	keys := make([]*key, 0, len(names))
	for _, name := range names {
		o, err := load(filepath.Join(k.cfg.Dir, name))
		if err != nil {
			return err
		}
		keys = append(keys, o)
	}
	slices.SortFunc(keys, func(a, b *key) int { return strings.Compare(a.ID, b.ID) })
	k.keys, k.seen = keys, seen
	return nil
}

// load reads a key's file, which must be the owner's alone: others may read it
// where a group is meant to, such as that of a container's secrets.
func load(path string) (*key, error) {
	id := strings.TrimSuffix(filepath.Base(path), suffix)
	fail := func(err error) (*key, error) { return nil, fmt.Errorf("seal: key %s: %w", path, err) }
	if err := checkLabel("key's name", id); err != nil {
		return fail(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if open := info.Mode().Perm() & 0o027; open != 0 {
		return fail(fmt.Errorf("its mode is %v, so that others can use it: run chmod 600 on it: %w", info.Mode().Perm(), fs.ErrPermission))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	o, err := parse(string(b))
	if err != nil {
		return fail(err)
	}
	o.ID, o.Path, o.Created = id, path, info.ModTime().UTC().Truncate(time.Second)
	if len(id) > len(timeForm) {
		if at, err := time.Parse(timeForm, id[:len(timeForm)]); err == nil {
			o.Created = at
		}
	}
	return o, nil
}

// parse reads the text of a key's file: one secret, and comments.
func parse(text string) (*key, error) {
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, fmt.Errorf("%d secrets in one file; it holds one", len(ids))
	}
	o := &key{identity: ids[0]}
	var secret string
	switch i := ids[0].(type) {
	case *age.HybridIdentity:
		o.Kind, o.recipient, secret = Hybrid, i.Recipient(), i.String()
	case *age.X25519Identity:
		o.Kind, o.recipient, secret = X25519, i.Recipient(), i.String()
	default:
		return nil, errors.New("it is a kind of key that is not known here")
	}
	if o.tag, err = hkdf.Key(sha256.New, []byte(secret), nil, tagInfo, sha256.Size); err != nil {
		return nil, err
	}
	return o, nil
}
