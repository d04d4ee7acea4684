package voicecal

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// adult is the group of grown-up speakers in the evaluation data, and that of all in
// an operator's.
const adult = "adult"

// Eval lists the shared evaluation data that lies in a folder: speakers.tsv, and a
// folder of wav files for each speaker. With cohort, the voices of the cohort too,
// which show nothing but where voices lie.
func Eval(root string, cohort bool) ([]Utterance, error) {
	speakers, err := table(filepath.Join(root, "speakers.tsv"), '\t', "spk", "gender", "group")
	if err != nil {
		return nil, err
	}
	var out []Utterance
	for _, s := range speakers {
		var files []string
		files, err = filepath.Glob(filepath.Join(root, "wav", s[0], "*.wav"))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("no recordings of %s in %s", s[0], filepath.Join(root, "wav", s[0]))
		}
		for _, f := range files {
			kind, line, ok := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".wav"), "_")
			if !ok {
				return nil, fmt.Errorf("%s: the name says not which line it is: want enrol_LINE.wav or testN_LINE.wav", f)
			}
			out = append(out, Utterance{
				Name: s[0] + "/" + filepath.Base(f), Path: f, Channel: -1, Speaker: s[0], Gender: s[1], Group: s[2], Line: line,
				Enrols: kind == "enrol", Calls: kind != "enrol", Whole: true,
			})
		}
	}
	if !cohort {
		return out, nil
	}
	voices, err := table(filepath.Join(root, "cohort.tsv"), '\t', "id", "gender")
	if err != nil {
		return nil, err
	}
	for _, v := range voices {
		name := filepath.Join("cohort", v[0]+".wav")
		out = append(out, Utterance{Name: filepath.ToSlash(name), Path: filepath.Join(root, name), Channel: -1, Speaker: v[0], Gender: v[1], Group: "cohort", Line: "tel", Whole: true})
	}
	return out, nil
}

// List lists an operator's recordings: a CSV file with the columns speaker and file,
// and line and channel, counted from 1, if you like, files relative to it; or a folder with a folder of wav
// files for each speaker.
func List(path string) ([]Utterance, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return folders(path)
	}
	rows, err := table(path, ',', "speaker", "file", "?line", "?channel")
	if err != nil {
		return nil, err
	}
	var out []Utterance
	for i, r := range rows {
		if r[0] == "" || r[1] == "" {
			return nil, fmt.Errorf("%s: row %d names no speaker or no file", path, i+1)
		}
		f := filepath.FromSlash(r[1])
		if !filepath.IsAbs(f) {
			f = filepath.Join(filepath.Dir(path), f)
		}
		u := own(r[0], r[1], f, r[2])
		if r[3] != "" {
			n, err := strconv.Atoi(r[3])
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%s: row %d: the channel %q is not a number from 1 on", path, i+1, r[3])
			}
			// One file may hold two speakers.
			u.Name, u.Channel = fmt.Sprintf("%s#%d", u.Name, n), n-1
		}
		out = append(out, u)
	}
	return out, nil
}

func folders(root string) ([]Utterance, error) {
	var out []Utterance
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.EqualFold(filepath.Ext(path), ".wav") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		speaker, _, below := strings.Cut(filepath.ToSlash(name), "/")
		if !below {
			return fmt.Errorf("%s lies beside the speakers' folders: put it into that of its speaker", path)
		}
		out = append(out, own(speaker, filepath.ToSlash(name), path, ""))
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: no folder of a speaker with wav files", root)
	}
	return out, err
}

func own(speaker, name, path, line string) Utterance {
	if line == "" {
		line = "call"
	}
	return Utterance{Name: name, Path: path, Channel: -1, Speaker: speaker, Group: adult, Line: line, Enrols: true, Calls: true}
}

// table reads the named columns of a file whose first line names them all; a column
// whose name begins with ? may be missing, and is empty then.
func table(path string, comma rune, columns ...string) ([][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.TrimLeadingSpace, r.LazyQuotes = comma, comma == ',', comma == '\t'
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: empty; the first line names the columns %s", path, strings.Join(columns, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	at := make([]int, len(columns))
	for i, c := range columns {
		name, optional := strings.CutPrefix(c, "?")
		if at[i] = slices.Index(head, name); at[i] < 0 && !optional {
			return nil, fmt.Errorf("%s: no column %q in its first line", path, name)
		}
	}
	var out [][]string
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		fields := make([]string, len(columns))
		for i, k := range at {
			if k >= 0 {
				fields[i] = row[k]
			}
		}
		out = append(out, fields)
	}
}
