// Package recording keeps the audio of calls: one stereo file a call, FLAC or
// WAV, sealed by package seal.
//
// The agent is heard on the left, the customer on the right; a leg of unknown
// role takes the side that is free. Where a leg was placed stays; who it turned
// out to be is written down at the end, in the file's tags and in Kept. The file
// begins when the call began, and every sample stands where it belongs on the
// call's clock, so that a transcript's times are the file's. What was lost,
// inserted or paused is silence.
//
// The media path only copies frames into a bounded queue. A goroutine for each
// call takes them out, mixes what has come of all legs, and appends what it has
// encoded to KEY.part, a log whose every record is sealed by itself: after a
// crash all of it can be read but the last 2 s. When the call ends, the log
// becomes KEY.flac.age, which has the header that players want: length, seek
// points, checksum.
//
// A disk that is slow or full costs audio of the recording, never of the call:
// what could not be kept is silence, counted in Kept.Lost and told in
// Kept.Problem. A call in which no audio came leaves no file.
//
// Erasing a recording overwrites the header, which holds the only copy of the
// file's key, and removes the file. On disks and file systems that write
// elsewhere than they read (SSDs, snapshots, copies on write) the old header may
// survive for a while, sealed for the keyring; backups keep their copies. What
// must be gone everywhere is gone when the key of the ring that sealed it is:
// rotate keys at least as often as recordings expire, and remove the old ones.
package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/internal/seal"
)

// Format is how audio is kept.
type Format string

// The formats. Both are lossless; speech takes about half the room as FLAC, and
// silence next to none.
const (
	FLAC Format = "flac"
	WAV  Format = "wav"
)

// MediaType is the format's name in HTTP.
func (f Format) MediaType() string { return "audio/" + string(f) }

// Errors that callers tell apart.
var (
	// ErrNone: there is no recording of that call.
	ErrNone = errors.New("there is no recording of the call")
	// ErrRunning: the recording is still being made.
	ErrRunning = errors.New("the recording is still being made")
)

// Config is what recordings share.
type Config struct {
	// Dir is the folder of the recordings, with one folder for each day in it.
	Dir string
	// Format is FLAC if empty.
	Format Format
	// Rate is 16000 or 8000 Hz; 0: 16000.
	Rate int
	// Keys seals the recordings.
	Keys *seal.Keyring
	Log  *slog.Logger
}

// Stats counts, since the start. All fields may be read at any time.
type Stats struct {
	// Running is how many calls are being recorded.
	Running atomic.Int64
	// Kept and Failed count calls whose recording is complete, and those whose
	// recording ended before them or could not be finished.
	Kept, Failed atomic.Int64
	// Bytes is what finished recordings take.
	Bytes atomic.Int64
	// Dropped counts 20 ms frames that found no room in a queue or came too late.
	Dropped atomic.Int64
	// Errors counts writes that failed; each is tried again.
	Errors atomic.Int64
}

// Kept is what there is of a call's audio.
type Kept struct {
	Key      string
	Format   Format
	Duration time.Duration
	// Bytes is the size of the sealed file.
	Bytes int64
	// Left and Right are the legs that are heard there.
	Left, Right []Party
	// Lost is how much audio came but could not be kept, Problem why; empty: all
	// is well.
	Lost    time.Duration
	Problem string
}

// Party is a leg and who spoke on it.
type Party struct {
	Leg  string `json:"leg"`
	Role string `json:"role"`
}

// Store is the recordings of one server. It is safe for concurrent use.
type Store struct {
	cfg   Config
	stats Stats

	mu      sync.Mutex
	running map[string]*Recorder
}

const (
	// purpose is what recordings are sealed for.
	purpose = "recording"
	// partSuffix is that of logs, sealedSuffix of finished files.
	partSuffix, sealedSuffix = ".part", ".age"
	// headerBytes is overwritten when a recording is erased: more than the longest
	// header.
	headerBytes = 8 << 10
)

// New checks the configuration and makes the folder.
func New(cfg Config) (*Store, error) {
	if cfg.Format == "" {
		cfg.Format = FLAC
	}
	if cfg.Rate == 0 {
		cfg.Rate = 16000
	}
	switch {
	case cfg.Dir == "":
		return nil, errors.New("recording: no folder is given")
	case cfg.Format != FLAC && cfg.Format != WAV:
		return nil, fmt.Errorf("recording: %q is no format; %s or %s is needed", cfg.Format, FLAC, WAV)
	case cfg.Rate != 16000 && cfg.Rate != 8000:
		return nil, fmt.Errorf("recording: a rate of %d Hz; 16000 or 8000 is needed", cfg.Rate)
	case cfg.Keys == nil || cfg.Log == nil:
		return nil, errors.New("recording: keys and log are needed")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return &Store{cfg: cfg, running: map[string]*Recorder{}}, nil
}

// Stats are the store's counters.
func (s *Store) Stats() *Stats { return &s.stats }

// path is where a call's file lies; keys begin with the day.
func (s *Store) path(key, suffix string) string {
	return filepath.Join(s.cfg.Dir, day(key), key+suffix)
}

// day is the folder of a key.
func day(key string) string {
	if _, err := time.Parse("20060102", key[:min(len(key), 8)]); err != nil {
		return "other"
	}
	return key[:8]
}

// checkKey keeps keys from leaving the folder.
func checkKey(key string) error {
	if key == "" || len(key) > 64 || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return fmt.Errorf("recording: %q is no call's key", key)
	}
	return nil
}

// Playback is an open recording. It must be closed.
type Playback struct {
	// ReadSeeker reads what a player plays.
	io.ReadSeeker
	Format Format
	// Size is its length in bytes, Made when it was finished.
	Size int64
	Made time.Time
	file *os.File
}

// Close frees the file.
func (p *Playback) Close() error { return p.file.Close() }

// Open opens a call's finished recording. The error wraps ErrNone or ErrRunning
// where there is nothing to play, and one of package seal where it does not open.
func (s *Store) Open(key string) (*Playback, error) {
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	for _, format := range []Format{FLAC, WAV} {
		f, err := os.Open(s.path(key, "."+string(format)+sealedSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("recording: %w", err)
		}
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("recording: %w", err), f.Close())
		}
		r, err := s.cfg.Keys.NewReader(f, info.Size(), purpose, key)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &Playback{ReadSeeker: r, Format: format, Size: r.Size(), Made: info.ModTime(), file: f}, nil
	}
	if _, err := os.Stat(s.path(key, partSuffix)); err == nil {
		return nil, ErrRunning
	}
	return nil, ErrNone
}

// Erase removes all that is kept of a call's audio; one that is being recorded is
// recorded no longer. It reports whether there was anything.
func (s *Store) Erase(key string) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, err
	}
	s.mu.Lock()
	r := s.running[key]
	s.mu.Unlock()
	if r != nil {
		r.abandon()
	}
	found := false
	for _, suffix := range []string{partSuffix, "." + string(FLAC) + sealedSuffix, "." + string(WAV) + sealedSuffix} {
		gone, err := shred(s.path(key, suffix))
		if err != nil {
			return found, fmt.Errorf("recording: erasing: %w", err)
		}
		found = found || gone
	}
	return found, nil
}

// shred overwrites a file's beginning and removes it.
func shred(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, min(info.Size(), headerBytes)), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	// A file that cannot be overwritten is removed all the same.
	return true, errors.Join(err, f.Close(), os.Remove(path))
}

// Expire erases the recordings of calls that began before a time, and returns
// their keys. Calls that are being recorded stay.
func (s *Store) Expire(before time.Time) ([]string, error) {
	var gone []string
	for e, err := range s.All() {
		if err != nil {
			return gone, err
		}
		if !e.Began.Before(before) {
			continue
		}
		s.mu.Lock()
		running := s.running[e.Key] != nil
		s.mu.Unlock()
		if running {
			continue
		}
		if _, err = s.Erase(e.Key); err != nil {
			return gone, err
		}
		gone = append(gone, e.Key)
	}
	return gone, nil
}

// Entry is a file of the store, as a backup's manifest lists it.
type Entry struct {
	Key string
	// Path is the file's place below the folder.
	Path  string
	Bytes int64
	// Began is when the call began, if its key tells it, else when the file was
	// written.
	Began time.Time
	// Finished is false for the log of a call that is running or was cut off.
	Finished bool
}

// All goes through all recordings, the oldest days first.
func (s *Store) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := filepath.WalkDir(s.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			e, ok := entry(d.Name())
			if !ok {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			e.Bytes = info.Size()
			if e.Began.IsZero() {
				e.Began = info.ModTime()
			}
			if e.Path, err = filepath.Rel(s.cfg.Dir, path); err != nil {
				return err
			}
			if !yield(e, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Entry{}, fmt.Errorf("recording: %w", err))
		}
	}
}

// entry reads what a file's name tells.
func entry(name string) (Entry, bool) {
	var e Entry
	key, ok := strings.CutSuffix(name, partSuffix)
	for _, format := range []Format{FLAC, WAV} {
		if k, sealed := strings.CutSuffix(name, "."+string(format)+sealedSuffix); sealed {
			key, ok, e.Finished = k, true, true
		}
	}
	if !ok || checkKey(key) != nil {
		return e, false
	}
	e.Key = key
	const form = "20060102-150405"
	if at, err := time.Parse(form, key[:min(len(key), len(form))]); err == nil {
		e.Began = at
	}
	return e, true
}

// Unfinished are the keys of calls whose recording was cut off by a crash, or
// could not be finished for lack of space: Begin goes on with one, Finish ends it.
func (s *Store) Unfinished() ([]string, error) {
	var out []string
	for e, err := range s.All() {
		if err != nil {
			return out, err
		}
		s.mu.Lock()
		running := s.running[e.Key] != nil
		s.mu.Unlock()
		if !e.Finished && !running {
			out = append(out, e.Key)
		}
	}
	return out, nil
}
