package wer

import (
	"encoding/csv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/internal/needs"
)

// TestNormalForms compares with testdata/normal.tsv, whose second column was
// written by the reference tool: whisper-normalizer's English normaliser and
// the three further steps of the evaluation data's tools/norm.py.
func TestNormalForms(t *testing.T) {
	b, err := os.ReadFile("testdata/normal.tsv")
	if err != nil {
		t.Fatal(err)
	}
	n := New()
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 50 {
		t.Fatalf("only %d lines", len(lines))
	}
	for _, line := range lines {
		in, want, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("no tab in %q", line)
		}
		if got := n.Text(in); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

// TestReferences checks that what was said becomes the normal form which the
// evaluation data's own tool made of it.
func TestReferences(t *testing.T) {
	n := New()
	for _, set := range []string{"asterisk", "librispeech", "other"} {
		f, err := os.Open(filepath.Join(needs.Eval(t, "asr", set), "manifest.tsv"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := csv.NewReader(f)
		r.Comma, r.LazyQuotes = '\t', true
		rows, err := r.ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatalf("%s: %d rows, %v", set, len(rows), err)
		}
		col := map[string]int{}
		for i, name := range rows[0] {
			col[name] = i
		}
		for _, row := range rows[1:] {
			ref, raw := row[col["ref"]], row[col["ref_raw"]]
			if got := n.Text(raw); got != ref {
				t.Errorf("%s: %q\n got %q\nwant %q", set, raw, got, ref)
			}
		}
	}
}

func TestAlign(t *testing.T) {
	for _, c := range []struct {
		ref, hyp string
		want     Counts
	}{
		{"", "", Counts{}},
		{"a b c", "a b c", Counts{Words: 3}},
		{"a b c", "a x c", Counts{Sub: 1, Words: 3}},
		{"a b c", "a c", Counts{Del: 1, Words: 3}},
		{"a b c", "a b x c", Counts{Ins: 1, Words: 3}},
		{"a b c", "", Counts{Del: 3, Words: 3}},
		{"", "a b", Counts{Ins: 2}},
		{"a b c d", "b c d e", Counts{Del: 1, Ins: 1, Words: 4}},
		{"a b", "x y z", Counts{Sub: 2, Ins: 1, Words: 2}},
	} {
		if got := Align(strings.Fields(c.ref), strings.Fields(c.hyp)); got != c.want {
			t.Errorf("%q / %q: %+v, want %+v", c.ref, c.hyp, got, c.want)
		}
	}
}

// distance is Levenshtein's, by the definition.
func distance(a, b []string) int {
	switch {
	case len(a) == 0:
		return len(b)
	case len(b) == 0:
		return len(a)
	case a[0] == b[0]:
		return distance(a[1:], b[1:])
	}
	return 1 + min(distance(a[1:], b[1:]), distance(a[1:], b), distance(a, b[1:]))
}

func TestAlignAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := func() []string {
		w := make([]string, rng.IntN(7))
		for i := range w {
			w[i] = string(rune('a' + rng.IntN(3)))
		}
		return w
	}
	for range 2000 {
		ref, hyp := words(), words()
		c := Align(ref, hyp)
		if got, want := c.Sub+c.Ins+c.Del, distance(ref, hyp); got != want {
			t.Fatalf("%q / %q: %d errors, want %d", ref, hyp, got, want)
		}
		if len(ref)-c.Del+c.Ins != len(hyp) || c.Words != len(ref) {
			t.Fatalf("%q / %q: %+v does not add up", ref, hyp, c)
		}
	}
}

func TestPercent(t *testing.T) {
	var c Counts
	if c.Percent() != 0 {
		t.Error("no reference: not 0")
	}
	c.Add(Counts{Sub: 1, Ins: 2, Del: 3, Words: 10})
	c.Add(Counts{Ins: 2, Words: 30})
	if got := c.Percent(); got != 20 {
		t.Errorf("%v %%, want 20", got)
	}
	if got := New().Score("It's five pounds.", "it is £5"); got != (Counts{Words: 3}) {
		t.Errorf("%+v", got)
	}
}

// FuzzNormaliser looks for texts that stop it, and holds it to its form.
func FuzzNormaliser(f *testing.F) {
	b, err := os.ReadFile("testdata/normal.tsv")
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		in, _, _ := strings.Cut(line, "\t")
		f.Add(in)
	}
	n := New()
	f.Fuzz(func(t *testing.T, s string) {
		for _, w := range n.Words(s) {
			if w == "" || strings.ContainsAny(w, " \t\n,!?'") {
				t.Fatalf("%q gives the word %q", s, w)
			}
			if len(w) > 1 && strings.ContainsAny(w, "0123456789") {
				t.Fatalf("%q gives %q, with a digit that does not stand alone", s, w)
			}
		}
	})
}
