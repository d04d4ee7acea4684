// Package benchasr runs recognisers over the evaluation data for
// `sidetone bench asr`.
package benchasr

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media/resample"
)

// Calls is the set of whole calls, one clip a channel. It has one condition,
// which bears the same name.
const Calls = "calls"

// Clip is a stretch of speech with what was said in it.
type Clip struct {
	Set, Condition string
	// Name is the file's name, and the channel where there are several.
	Name string
	// Ref is what was said, as it was written down.
	Ref string

	file    string
	channel int
}

// Selection says which part of the evaluation data is used.
type Selection struct {
	// Root is the evaluation data's folder; the clips lie in its folder asr.
	Root string
	// Sets and Conditions are names of folders.
	Sets, Conditions []string
	// Limit bounds the clips of a set in a condition; 0 means all.
	Limit int
}

// Clips lists the clips, ordered by condition, set and manifest.
func (s Selection) Clips() ([]Clip, error) {
	if len(s.Sets) == 0 {
		return nil, errors.New("bench: no set is named")
	}
	var out []Clip
	conditions := s.Conditions
	if slices.Equal(s.Sets, []string{Calls}) {
		conditions = []string{Calls}
	} else if slices.Contains(s.Sets, Calls) {
		conditions = append(slices.Clone(conditions), Calls)
	}
	for _, condition := range conditions {
		for _, set := range s.Sets {
			if (set == Calls) != (condition == Calls) {
				continue
			}
			list := s.manifest
			if set == Calls {
				list = s.calls
			}
			clips, err := list(set, condition)
			if err != nil {
				return nil, fmt.Errorf("bench: set %s: %w", set, err)
			}
			if s.Limit > 0 {
				clips = clips[:min(s.Limit, len(clips))]
			}
			out = append(out, clips...)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("bench: no clips in sets %q under conditions %q", s.Sets, s.Conditions)
	}
	return out, nil
}

// manifest lists the clips of SET/manifest.tsv, whose paths name the condition
// wav16; the other conditions' folders hold files of the same names.
func (s Selection) manifest(set, condition string) ([]Clip, error) {
	rows, err := readTable(filepath.Join(s.Root, "asr", set, "manifest.tsv"), "path", "ref_raw")
	if err != nil {
		return nil, err
	}
	var out []Clip
	for _, r := range rows {
		name := filepath.Base(filepath.FromSlash(r[0]))
		out = append(out, Clip{
			Set: set, Condition: condition, Name: name, Ref: r[1],
			file: filepath.Join(s.Root, "asr", set, condition, name),
		})
	}
	return out, nil
}

// calls lists both channels of each call. The turns' own texts are in normal
// form; what was said is looked up in the manifests of the sets they are from.
func (s Selection) calls(set, condition string) ([]Clip, error) {
	dir := filepath.Join(s.Root, "asr", Calls)
	files, err := readTable(filepath.Join(dir, "calls.tsv"), "path")
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for _, of := range []string{"asterisk", "librispeech", "other"} {
		clips, err := s.manifest(of, "")
		if err != nil {
			return nil, err
		}
		for _, c := range clips {
			said[of+"/"+strings.TrimSuffix(c.Name, ".wav")] = c.Ref
		}
	}
	var out []Clip
	for _, f := range files {
		name := f[0]
		turns, err := readTable(filepath.Join(dir, strings.TrimSuffix(name, ".wav")+".turns.tsv"), "channel", "utt", "ref")
		if err != nil {
			return nil, err
		}
		for channel := range 2 {
			var ref []string
			for _, t := range turns {
				if t[0] != fmt.Sprint(channel+1) {
					continue
				}
				text, ok := said[t[1]]
				if !ok {
					text = t[2]
				}
				ref = append(ref, text)
			}
			out = append(out, Clip{
				Set: set, Condition: condition, Name: fmt.Sprintf("%s#%d", name, channel+1), Ref: strings.Join(ref, " "),
				file: filepath.Join(dir, name), channel: channel,
			})
		}
	}
	return out, nil
}

// Turn is something said in a call.
type Turn struct {
	// Start and End are seconds since the call began.
	Start, End float64
	Text       string
}

// Turns lists what is said in a clip of the set Calls, in order.
func (c *Clip) Turns() ([]Turn, error) {
	if c.Set != Calls {
		return nil, fmt.Errorf("bench: clip %s of set %s is no call", c.Name, c.Set)
	}
	path := strings.TrimSuffix(c.file, ".wav") + ".turns.tsv"
	rows, err := readTable(path, "channel", "start", "end", "ref")
	if err != nil {
		return nil, err
	}
	var out []Turn
	for _, r := range rows {
		if r[0] != strconv.Itoa(c.channel+1) {
			continue
		}
		t := Turn{Text: r[3]}
		var err1, err2 error
		t.Start, err1 = strconv.ParseFloat(r[1], 64)
		t.End, err2 = strconv.ParseFloat(r[2], 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// readTable reads the named columns of a file of tab-separated values.
func readTable(path string, names ...string) ([][]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var at []int
	var out [][]string
	for n, line := range strings.Split(strings.TrimRight(string(b), "\r\n"), "\n") {
		f := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if n == 0 {
			for _, name := range names {
				i := slices.Index(f, name)
				if i < 0 {
					return nil, fmt.Errorf("%s: no column %q", path, name)
				}
				at = append(at, i)
			}
			continue
		}
		var row []string
		for _, i := range at {
			if i >= len(f) {
				return nil, fmt.Errorf("%s:%d: %d fields, too few", path, n+1, len(f))
			}
			row = append(row, f[i])
		}
		out = append(out, row)
	}
	return out, nil
}

// Samples reads the clip, at pcm.Rate.
func (c *Clip) Samples() ([]int16, error) {
	b, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file, err)
	}
	if c.channel >= len(a.Channels) {
		return nil, fmt.Errorf("%s: no channel %d", c.file, c.channel+1)
	}
	x := a.Channels[c.channel]
	if a.Rate == pcm.Rate {
		return x, nil
	}
	return resample.Convert(x, a.Rate, pcm.Rate)
}
