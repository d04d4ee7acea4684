package yamlfile

import (
	"errors"
	"strings"
	"testing"
)

type doc struct {
	Items []struct {
		ID   string `yaml:"id"`
		Size int    `yaml:"size"`
	} `yaml:"items"`
}

const good = `# a list
items:
  - id: one
    size: 1
  - id: two
`

func TestDecode(t *testing.T) {
	cases := []struct {
		name, src, want string
	}{
		{"good", good, ""},
		{"unknown key", "items:\n  - id: one\n    colour: red\n", `f.yaml:3:5: unknown field "colour"`},
		{"key twice", "items:\n  - id: one\n    id: two\n", `f.yaml:3:5: mapping key "id" already defined at [2:5]`},
		{"wrong type", "items:\n  - size: many\n", "f.yaml:2:11: cannot unmarshal string into Go struct field"},
		{"not YAML", "items:\n\t- a", "f.yaml:2:1: "},
		{"too long", strings.Repeat("#", MaxSize+1), "f.yaml: 4194305 bytes are more than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var d doc
			err := File{"f.yaml", []byte(c.src)}.Decode(&d)
			if c.want == "" {
				if err != nil || len(d.Items) != 2 {
					t.Fatalf("got %v, %+v", err, d)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			var at *Error
			if !errors.As(err, &at) {
				t.Errorf("%T is no *Error", err)
			}
		})
	}
}

func TestErrorfFindsTheLine(t *testing.T) {
	f := File{"f.yaml", []byte(good)}
	for path, want := range map[string]string{
		"$.items[0].size":   "f.yaml:4:11: bad",
		"$.items[1]":        "f.yaml:5:5: bad",
		"$.items[1].size":   "f.yaml:5:5: bad",
		"$.items[9].id":     "f.yaml:3:3: bad",
		"$.nothing":         "f.yaml: bad",
		"]] not a path [[.": "f.yaml: bad",
	} {
		if got := f.Errorf(path, "bad").Error(); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("items: &a [*a]"))
	f.Add([]byte("? [a]\n: {b: !!binary x}"))
	f.Add([]byte("---\n...\n%TAG"))
	f.Fuzz(func(t *testing.T, src []byte) {
		var d doc
		y := File{"f.yaml", src}
		err := y.Decode(&d)
		var at *Error
		if err != nil && !errors.As(err, &at) {
			t.Errorf("%T is no *Error", err)
		}
		if y.Errorf("$.items[0].id", "bad") == nil {
			t.Error("no complaint")
		}
	})
}
