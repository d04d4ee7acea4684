// Package backup puts what Sidetone keeps into one archive, and takes it out
// again elsewhere.
//
// An archive is a tar stream:
//
//	sidetone.db      the records, with all events, as they were at one moment
//	journal/...      the log, only where no server was running
//	recordings/...   where they were asked for; they are sealed as they lie
//	keys/...         only where they were asked for
//	manifest.json    what must be there: names, sizes, hashes
//
// The manifest comes last, so that an archive that was cut off has none. It names
// the recordings even where they are not in the archive, so that copies made by
// other means can be checked.
package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	manifestName = "manifest.json"
	// Database is the records' name in archives and in the storage folder.
	Database = "sidetone.db"
	// maxManifest bounds a manifest: some hundred bytes a recording.
	maxManifest = 256 << 20
	format      = 1
)

// ErrBroken is in the chain of errors about an archive that is not whole.
var ErrBroken = errors.New("the archive is not whole")

// Manifest says what an archive holds.
type Manifest struct {
	Format  int       `json:"format"`
	Made    time.Time `json:"made"`
	Version string    `json:"version"`
	Node    string    `json:"node"`
	// Schema is that of the database; 0: it is PostgreSQL and not in here.
	Schema int64 `json:"schema"`
	// Cold says that no server was running: the journal is in here.
	Cold  bool   `json:"cold"`
	Files []File `json:"files"`
	// Recordings are those that there were; the Files say which are in here.
	Recordings []File `json:"recordings"`
}

// File is one of them, its name with slashes.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Copier writes a consistent copy of a database to a new file, as store.DB does.
type Copier interface {
	Backup(ctx context.Context, path string) error
}

// Config says what goes into an archive.
type Config struct {
	// Dir is the storage folder, KeysDir that of the keys.
	Dir, KeysDir string
	// Database, if not nil, is copied; PostgreSQL is not.
	Database Copier
	Schema   int64
	// Cold says that no server uses the folder, and that none can begin to: the
	// journal is taken, too.
	Cold bool
	// Recordings and Keys take these folders as well. Whoever has an archive with
	// both can hear all calls.
	Recordings, Keys bool
	Version, Node    string
	Now              time.Time
}

// Write writes an archive to w.
func Write(ctx context.Context, c Config, w io.Writer) (Manifest, error) {
	a := archive{ctx: ctx, tar: tar.NewWriter(w), m: Manifest{
		Format: format, Made: c.Now.UTC(), Version: c.Version, Node: c.Node, Schema: c.Schema, Cold: c.Cold, Files: []File{}, Recordings: []File{},
	}}
	// The keys come first: the anchor of the audit log must not be newer than the
	// database.
	if c.Keys {
		if err := walk(c.KeysDir, "keys", a.file); err != nil {
			return a.m, err
		}
	}
	if c.Database != nil {
		if err := a.database(&c); err != nil {
			return a.m, err
		}
	}
	if c.Cold {
		if err := walk(filepath.Join(c.Dir, "journal"), "journal", a.file); err != nil {
			return a.m, err
		}
	}
	sounds := filepath.Join(c.Dir, "recordings")
	err := walk(sounds, "recordings", func(name, file string) error {
		f, err := a.hash(name, file)
		if err == nil {
			a.m.Recordings = append(a.m.Recordings, f)
		}
		return err
	})
	if err == nil && c.Recordings {
		err = walk(sounds, "recordings", a.file)
	}
	if err != nil {
		return a.m, err
	}
	b, err := json.MarshalIndent(a.m, "", " ")
	if err != nil {
		return a.m, err
	}
	if err = a.tar.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(b)), ModTime: c.Now}); err != nil {
		return a.m, err
	}
	if _, err = a.tar.Write(b); err != nil {
		return a.m, err
	}
	return a.m, a.tar.Close()
}

// WriteKeys writes an archive of the keys alone.
func WriteKeys(ctx context.Context, c Config, w io.Writer) (Manifest, error) {
	return Write(ctx, Config{KeysDir: c.KeysDir, Keys: true, Version: c.Version, Node: c.Node, Now: c.Now}, w)
}

// archive is one that is being written.
type archive struct {
	ctx context.Context //nolint:containedctx // it lives as long as Write
	tar *tar.Writer
	m   Manifest
}

func (a *archive) database(c *Config) (err error) {
	temp, err := os.MkdirTemp(c.Dir, ".backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	file := filepath.Join(temp, Database)
	if err = c.Database.Backup(a.ctx, file); err != nil {
		return err
	}
	return a.file(Database, file)
}

// walk calls do for the files below root, in their order, with their names below
// name; the folder may be missing.
func walk(root, name string, do func(name, file string) error) error {
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it has been deleted meanwhile, or was never there
		case err != nil || !d.Type().IsRegular():
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if err = do(path.Join(name, filepath.ToSlash(rel)), p); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// file adds one file. One that grows meanwhile is taken as far as it was.
func (a *archive) file(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err = a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime()}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err = io.CopyN(io.MultiWriter(a.tar, h), reader{a.ctx, f}, st.Size()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.m.Files = append(a.m.Files, File{name, st.Size(), hex.EncodeToString(h.Sum(nil))})
	return nil
}

func (a *archive) hash(name, file string) (File, error) {
	f, err := os.Open(file)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, reader{a.ctx, f})
	return File{name, n, hex.EncodeToString(h.Sum(nil))}, err
}

// reader stops when its context has ended.
type reader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Restore takes an archive out into a folder, the keys into theirs. Files that are there already are
// never replaced: a folder in use is refused before anything is written. The
// manifest's hashes are checked before anything is in its place.
func Restore(ctx context.Context, in io.Reader, dir, keysDir string) (m Manifest, err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	stage, err := os.MkdirTemp(dir, ".restore-")
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	found, m, err := extract(ctx, in, stage)
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	if err = m.check(found); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	place := func(f File) string {
		if name, ok := strings.CutPrefix(f.Name, "keys/"); ok {
			return filepath.Join(keysDir, filepath.FromSlash(name))
		}
		return filepath.Join(dir, filepath.FromSlash(f.Name))
	}
	for _, f := range m.Files {
		if _, err = os.Lstat(place(f)); !errors.Is(err, fs.ErrNotExist) {
			return m, fmt.Errorf("restore: %s is there already: restore into an empty folder", place(f))
		}
	}
	for _, f := range m.Files {
		to := place(f)
		if err = os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return m, fmt.Errorf("restore: %w", err)
		}
		if err = move(filepath.Join(stage, filepath.FromSlash(f.Name)), to, f.Name); err != nil {
			return m, fmt.Errorf("restore: %w", err)
		}
	}
	return m, nil
}

// extract writes the archive's files to the folder.
func extract(ctx context.Context, in io.Reader, dir string) (found map[string]File, m Manifest, err error) {
	found = map[string]File{}
	read := tar.NewReader(reader{ctx, in})
	for {
		h, err := read.Next()
		if errors.Is(err, io.EOF) {
			return found, m, fmt.Errorf("%w: it has no manifest: it was cut off, or is none of Sidetone's", ErrBroken)
		}
		if err != nil {
			return found, m, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		switch {
		case h.Name == manifestName:
			b, bad := io.ReadAll(io.LimitReader(read, maxManifest))
			if bad == nil {
				bad = json.Unmarshal(b, &m)
			}
			if bad != nil {
				return found, m, fmt.Errorf("%w: its manifest: %w", ErrBroken, bad)
			}
			return found, m, nil
		case h.Typeflag != tar.TypeReg || !known(h.Name):
			return found, m, fmt.Errorf("%w: %q does not belong there", ErrBroken, h.Name)
		}
		if _, twice := found[h.Name]; twice {
			return found, m, fmt.Errorf("%w: %s is there twice", ErrBroken, h.Name)
		}
		if found[h.Name], err = write(filepath.Join(dir, filepath.FromSlash(h.Name)), h.Name, read); err != nil {
			return found, m, err
		}
	}
}

// known says whether a name is one that Write gives; such a name stays below the
// folder that it is taken out into.
func known(name string) bool {
	if path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, "\\") {
		return false
	}
	top, _, below := strings.Cut(name, "/")
	return name == Database || below && slices.Contains([]string{"keys", "journal", "recordings"}, top)
}

func write(file, name string, in io.Reader) (f File, err error) {
	if err = os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return f, err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: %s is cut off", ErrBroken, name)
	case err != nil:
		err = fmt.Errorf("%s: %w", name, err)
	default:
		err = out.Sync()
	}
	return File{name, n, hex.EncodeToString(h.Sum(nil))}, errors.Join(err, out.Close())
}

// check holds what was found against the manifest.
func (m *Manifest) check(found map[string]File) error {
	if m.Format != format {
		return fmt.Errorf("%w: its format is %d, this program knows %d", ErrBroken, m.Format, format)
	}
	for _, f := range m.Files {
		if found[f.Name] != f {
			return fmt.Errorf("%w: %s is missing or is not what was written", ErrBroken, f.Name)
		}
		delete(found, f.Name)
	}
	for name := range found {
		return fmt.Errorf("%w: its manifest does not name %s", ErrBroken, name)
	}
	return nil
}

// move puts a file in its place, which may be on another disk.
func move(from, to, name string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = write(to, name, in)
	return err
}
