package benchguards

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/bench/nonspeech"
	"sidetone/internal/wav"
	"sidetone/media/resample"
)

// Sound is audio in which nobody speaks, or nobody speaks the model's language.
type Sound struct {
	// Kind is what sounds are added up by, Name tells those of a kind apart.
	Kind, Name string
	// Loss is the share of packets that the network loses.
	Loss float64
	// Foreign says that there is speech: words are counted, but are not false.
	Foreign bool

	load func() ([]int16, error)
}

// Synthetic lists sounds made by nonspeech, so much of each kind; kinds are
// names, none meaning all.
func Synthetic(kinds []string, seed uint64, d time.Duration) ([]Sound, error) {
	var out []Sound
	left := slices.Clone(kinds)
	for _, k := range nonspeech.Kinds() {
		if len(kinds) > 0 {
			at := slices.Index(left, k.Name)
			if at < 0 {
				continue
			}
			left = slices.Delete(left, at, at+1)
		}
		out = append(out, Sound{Kind: k.Name, Name: fmt.Sprint(seed), Loss: k.Loss, load: func() ([]int16, error) {
			return k.Samples(seed, d), nil
		}})
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("no kind of sound is named %q", left)
	}
	return out, nil
}

// Recordings lists the WAVE files below a folder; each folder in it is a kind.
func Recordings(folder string, foreign bool) ([]Sound, error) {
	var out []Sound
	root := os.DirFS(folder)
	err := fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.EqualFold(path.Ext(name), ".wav") {
			return err
		}
		kind := filepath.Base(folder)
		if first, _, ok := strings.Cut(name, "/"); ok {
			kind = first
		}
		out = append(out, Sound{Kind: kind, Name: name, Foreign: foreign, load: func() ([]int16, error) {
			return read(root, name)
		}})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("no WAVE files")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return out, nil
}

// read gives a file's channels, mixed, at the telephone's rate.
func read(root fs.FS, name string) ([]int16, error) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	mixed := make([]int16, a.Samples())
	for i := range mixed {
		sum := 0
		for _, c := range a.Channels {
			sum += int(c[i])
		}
		mixed[i] = int16(sum / len(a.Channels))
	}
	if a.Rate == nonspeech.Rate {
		return mixed, nil
	}
	out, err := resample.Convert(mixed, a.Rate, nonspeech.Rate)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}
