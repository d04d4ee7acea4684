package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/seal"
)

// Finish makes the file of a recording that was cut off; roles are as in
// Recorder.Close. The zero Kept means that there was no sound in it.
func (s *Store) Finish(key string, roles map[string]string) (Kept, error) {
	if err := checkKey(key); err != nil {
		return Kept{}, err
	}
	s.mu.Lock()
	running := s.running[key] != nil
	s.mu.Unlock()
	if running {
		return Kept{}, fmt.Errorf("recording: call %s: %w", key, ErrRunning)
	}
	f, err := os.OpenFile(s.path(key, partSuffix), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{}, ErrNone
	}
	if err != nil {
		return Kept{}, fmt.Errorf("recording: %w", err)
	}
	defer f.Close()
	if err = lock(f); err != nil {
		return Kept{}, fmt.Errorf("recording: %s: %w: %w", f.Name(), ErrRunning, err)
	}
	x := index{problem: "the server was lost during the call; up to 2 s are missing at the end"}
	if _, _, err = s.read(f, key, &x, nil); err != nil {
		if errors.Is(err, seal.ErrNoKey) {
			return Kept{}, err
		}
		x.problem += "; the end is damaged: " + err.Error()
	}
	if x.samples == 0 {
		_, err = shred(f.Name())
		return Kept{}, err
	}
	kept, err := s.assemble(key, f, &x, roles)
	if err != nil {
		s.stats.Failed.Add(1)
		return Kept{}, err
	}
	s.stats.Kept.Add(1)
	return kept, nil
}

// assemble makes the sealed file of a log, and removes the log.
func (s *Store) assemble(key string, log *os.File, x *index, roles map[string]string) (Kept, error) {
	k := Kept{
		Key: key, Format: x.Format, Left: parties(x.Left, roles), Right: parties(x.Right, roles),
		Lost: pcm.Duration(x.lost), Problem: x.problem,
	}
	if x.samples == 0 {
		return k, errors.New("recording: nothing could be kept: " + x.problem)
	}
	k.Duration = time.Duration(x.samples) * time.Second / time.Duration(x.Rate)
	path := s.path(key, "."+string(x.Format)+sealedSuffix)
	bytes, err := s.seal(path+".new", key, log, x, tags(&k))
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return k, errors.Join(fmt.Errorf("recording: finishing: %w", err), ignoreGone(os.Remove(path+".new")))
	}
	k.Bytes = bytes
	s.stats.Bytes.Add(bytes)
	if _, err = shred(log.Name()); err != nil {
		return k, fmt.Errorf("recording: removing the log: %w", err)
	}
	return k, nil
}

// tags say in the file what Kept says.
func tags(k *Kept) [][2]string {
	out := [][2]string{{"SIDETONE_CALL", k.Key}}
	for _, side := range []struct {
		name string
		on   []Party
	}{{"SIDETONE_LEFT", k.Left}, {"SIDETONE_RIGHT", k.Right}} {
		for _, p := range side.on {
			out = append(out, [2]string{side.name, p.Role + ", leg " + p.Leg})
		}
	}
	if k.Problem != "" {
		out = append(out, [2]string{"SIDETONE_PROBLEM", fmt.Sprintf("%s; %v lost", k.Problem, k.Lost)})
	}
	return out
}

// seal writes header and blocks into a new sealed file, and returns its size.
func (s *Store) seal(path, key string, log io.ReaderAt, x *index, tags [][2]string) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	size, err := s.sealTo(f, key, log, x, tags)
	return size, errors.Join(err, f.Close())
}

func (s *Store) sealTo(f *os.File, key string, log io.ReaderAt, x *index, tags [][2]string) (int64, error) {
	w, err := s.cfg.Keys.NewWriter(f, purpose, key)
	if err != nil {
		return 0, err
	}
	if x.Format == WAV {
		err = wavHeader(w, x, tags)
	} else {
		err = flacHeader(w, x, tags)
	}
	if err != nil {
		return 0, err
	}
	var again index
	// Damage at the end, of which the index knows, ends it here, too.
	_, _, damage := s.read(log, key, &again, func(blocks []byte) error {
		_, err = w.Write(blocks)
		return err
	})
	if err != nil {
		return 0, err
	}
	if again.samples != x.samples {
		return 0, fmt.Errorf("the log gives %d samples now, not %d: %w", again.samples, x.samples, damage)
	}
	if err = w.Close(); err != nil {
		return 0, err
	}
	if err = f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
