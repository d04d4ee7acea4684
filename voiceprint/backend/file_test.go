package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sidetone/voiceprint"
)

func small() *Params {
	return &Params{
		Trained: Trained{Space: "a test", Calibration: "another test", Date: "2026-01-02"},
		Space:   newSpace(voiceprint.Model{ID: "m", Dim: 2}, []float32{0.5, -0.25}, []float32{1, 0.125, 2}),
		Calibration: Calibration{
			Constant: -20.5, Cosine: 50.25, CosineNet: 3, Net: -1.0 / 3, Shortest: time.Second, Longest: 15 * time.Second,
			Targets: 10, Impostors: 20, Speakers: 5,
		},
		Operating: Operating{
			Policy: voiceprint.DefaultPolicy(), Looks: []time.Duration{2 * time.Second, 2500 * time.Millisecond}, Targets: 30, Impostors: 40, Speakers: 6,
			Fall: 0.5, Points: []voiceprint.Operating{{FAR: 0.01, FRR: 0.001, LLR: 3}, {FAR: 0.001, FRR: 0.01, LLR: 6.1}},
		},
	}
}

func written(t testing.TB, p *Params) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFile(t *testing.T) {
	p := small()
	b := written(t, p)
	golden := filepath.Join("testdata", "params.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("written:\n%s\nwant:\n%s", b, want)
	}
	got, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written(t, got), b) {
		t.Errorf("read and written again:\n%s", written(t, got))
	}
	if got.Space.Model() != p.Space.Model() || got.Version() != p.Version() || got.Calibration != p.Calibration || got.Operating.Policy != p.Operating.Policy {
		t.Errorf("read %+v", got)
	}
	p.Space = nil
	if err := p.Write(io.Discard); err == nil {
		t.Error("parameters without a space are written")
	}
	if _, err := p.Scorer(); err == nil {
		t.Error("parameters without a space score")
	}
}

// changes are what may be wrong with a file, and the field that is named.
var changes = map[string]struct{ old, by, field string }{
	"not JSON":          {`{`, `[`, ""},
	"cut":               {"\n}\n", "", ""},
	"more behind":       {"\n}\n", "}{}", ""},
	"unknown field":     {`"date"`, `"day"`, ""},
	"no mean":           {`"mean": "AAAAPwAAgL4="`, `"mean": ""`, "space.mean"},
	"not base64":        {`AAAAPwAAgL4=`, `*`, "space.mean"},
	"short triangle":    {`"lower": "`, `"lower": "AAAA`, "space.lower"},
	"dimensions":        {`"dim": 2`, `"dim": 3`, "space.mean"},
	"no dimension":      {`"dim": 2`, `"dim": 0`, "space.dim"},
	"huge":              {`"dim": 2`, `"dim": 1000000000`, "space.dim"},
	"no model":          {`"model": "m"`, `"model": ""`, "space.model"},
	"other model":       {`"model": "m"`, `"model": "n"`, "space.version"},
	"infinite":          {`AAAAPwAAgL4=`, `AAAAPwAAgH8=`, "space.mean"},
	"changed":           {`AAAAPwAAgL4=`, `AAAAPwAAgL8=`, "space.version"},
	"coefficient":       {`50.25`, `50.5`, "calibration.version"},
	"falling":           {`50.25`, `-1`, "calibration"},
	"no length":         {`"shortest_s": 1`, `"shortest_s": 0`, "calibration.shortest_s"},
	"lengths swapped":   {`"shortest_s": 1`, `"shortest_s": 16`, "calibration"},
	"order of points":   {`"far": 0.001`, `"far": 0.1`, "operating"},
	"share of points":   {`"far": 0.001`, `"far": -0.001`, "operating"},
	"policy":            {`"miss": 0.001`, `"miss": 0`, "operating"},
	"looks shrink":      {"2.5\n", "1.5\n", "operating.looks_s"},
	"endless text":      {`another test`, strings.Repeat("x", maxText+1), "trained.calibration"},
	"too large a point": {`"llr": 6.1`, `"llr": 1e999`, ""},
	"far too long":      {`another test`, strings.Repeat("x", maxFile), ""},
}

func TestReadRefuses(t *testing.T) {
	whole := string(written(t, small()))
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		c := changes[name]
		if !strings.Contains(whole, c.old) {
			t.Errorf("%s: %q is not in the file", name, c.old)
			continue
		}
		_, err := Read(strings.NewReader(strings.Replace(whole, c.old, c.by, 1)))
		var fe *FileError
		if !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%s: %v, want an error of field %q", name, err, c.field)
		}
	}
	_, err := Read(strings.NewReader(`{"format": 2, "anything": []}`))
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "format: another version of the format: 2, this program reads 1") {
		t.Errorf("another version: %v", err)
	}
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a broken reader: %v", err)
	}
}

// Whatever is read can be written, read again and used.
func FuzzRead(f *testing.F) {
	whole := string(written(f, small()))
	f.Add([]byte(whole))
	for _, c := range changes {
		if len(c.by) < 100 {
			f.Add([]byte(strings.Replace(whole, c.old, c.by, 1)))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			var fe *FileError
			if !errors.As(err, &fe) {
				t.Fatalf("%v is no FileError", err)
			}
			return
		}
		again, err := Read(bytes.NewReader(written(t, p)))
		if err != nil || again.Version() != p.Version() || again.Space.Model() != p.Space.Model() {
			t.Fatalf("%v after writing and reading", err)
		}
		if _, err := p.Scorer(); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(written(t, p)) {
			t.Fatal("no JSON")
		}
	})
}
