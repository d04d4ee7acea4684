package kb

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"sidetone/internal/yamlfile"
)

// Limits of an element's texts, in runes: a card is read at one glance during
// a call.
const (
	maxTitle = 60
	maxText  = 600
	maxStep  = 120
	maxSteps = 8
)

// Channels are the known channels of Element.Channels.
func Channels() []string { return []string{"agent", "web", "sms", "chat"} }

// Languages are the languages that have an analyser, best served first.
func Languages() []string { return []string{"en", "zh"} }

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// item is an element as it stands in a file.
type item struct {
	ID        string   `yaml:"id"`
	Version   int      `yaml:"version"`
	Language  string   `yaml:"language"`
	Title     string   `yaml:"title"`
	Customer  string   `yaml:"customer"`
	Internal  string   `yaml:"internal"`
	Steps     []string `yaml:"steps"`
	Questions []string `yaml:"questions"`
	Product   string   `yaml:"product"`
	Intents   []string `yaml:"intents"`
	Channels  []string `yaml:"channels"`
	Audience  []string `yaml:"audience"`
	Owner     string   `yaml:"owner"`
	Links     []string `yaml:"links"`
	ValidFrom string   `yaml:"valid_from"`
	ValidTo   string   `yaml:"valid_to"`
}

type document struct {
	Elements []item `yaml:"elements"`
}

// Load reads the elements of every .yaml file below the root of a file system,
// in the order of the files' names. An error names file and line.
func Load(fsys fs.FS) ([]Element, error) {
	var all []Element
	seen := map[key]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		es, err := parse(name, src, seen)
		all = append(all, es...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load knowledge: %w", err)
	}
	return all, nil
}

// Parse reads the elements of one file; name is what errors call it.
func Parse(name string, src []byte) ([]Element, error) {
	return parse(name, src, map[key]string{})
}

// parse notes in seen where each element was first met.
func parse(name string, src []byte, seen map[key]string) ([]Element, error) {
	f := yamlfile.File{Name: name, Source: src}
	var doc document
	if err := f.Decode(&doc); err != nil {
		return nil, err
	}
	if len(doc.Elements) == 0 {
		return nil, f.Errorf("$", "no elements: the file holds a list named elements")
	}
	out := make([]Element, 0, len(doc.Elements))
	for i := range doc.Elements {
		e, field, err := doc.Elements[i].element()
		at := fmt.Sprintf("$.elements[%d]", i)
		if err != nil {
			return nil, f.Errorf(at+"."+field, "element %q: %s: %v", doc.Elements[i].ID, field, err)
		}
		k := keyOf(&e)
		if first, twice := seen[k]; twice {
			return nil, f.Errorf(at+".id", "element %q version %d in %q is in %s already", e.ID, e.Version, e.Language, first)
		}
		seen[k] = name
		out = append(out, e)
	}
	return out, nil
}

// element checks the item; the field is the one at fault.
func (it *item) element() (e Element, field string, err error) {
	e = Element{
		ID: it.ID, Version: it.Version, Language: it.Language,
		Title: it.Title, Customer: it.Customer, Internal: it.Internal,
		Steps: it.Steps, Questions: it.Questions, Product: it.Product,
		Intents: it.Intents, Channels: it.Channels, Audience: it.Audience,
		Owner: it.Owner, Links: it.Links,
	}
	if e.ValidFrom, err = date(it.ValidFrom); err != nil {
		return e, "valid_from", err
	}
	if e.ValidTo, err = date(it.ValidTo); err != nil {
		return e, "valid_to", err
	}
	field, err = check(&e)
	return e, field, err
}

func date(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no date such as 2026-01-31", s)
	}
	return t, nil
}

// check names the field at fault, if there is one.
func check(e *Element) (field string, err error) {
	switch {
	case !idForm.MatchString(e.ID):
		return "id", fmt.Errorf("%q: use lower-case words joined by hyphens", e.ID)
	case e.Version < 1:
		return "version", fmt.Errorf("%d: versions count from 1", e.Version)
	case !slices.Contains(Languages(), e.Language):
		return "language", fmt.Errorf("%q has no analyser; known are %s", e.Language, strings.Join(Languages(), ", "))
	case len(e.Channels) == 0:
		return "channels", fmt.Errorf("none given; known are %s", strings.Join(Channels(), ", "))
	case len(e.Steps) > maxSteps:
		return "steps", fmt.Errorf("%d are more than the %d that fit a card", len(e.Steps), maxSteps)
	case !e.ValidTo.IsZero() && !e.ValidFrom.Before(e.ValidTo):
		return "valid_to", fmt.Errorf("%s is not after valid_from", e.ValidTo.Format(time.DateOnly))
	}
	for _, c := range e.Channels {
		if !slices.Contains(Channels(), c) {
			return "channels", fmt.Errorf("unknown channel %q; known are %s", c, strings.Join(Channels(), ", "))
		}
	}
	for _, f := range []struct {
		name, text string
		limit      int
	}{{"title", e.Title, maxTitle}, {"customer", e.Customer, maxText}, {"internal", e.Internal, maxText}} {
		if strings.TrimSpace(f.text) == "" {
			return f.name, fmt.Errorf("is empty")
		}
		if n := len([]rune(f.text)); n > f.limit {
			return f.name, fmt.Errorf("%d characters are more than %d", n, f.limit)
		}
	}
	for _, s := range e.Steps {
		if n := len([]rune(s)); n == 0 || n > maxStep {
			return "steps", fmt.Errorf("a step of %d characters; 1 to %d fit a card", n, maxStep)
		}
	}
	return "", nil
}

// key tells elements apart.
type key struct {
	id, language string
	version      int
}

func keyOf(e *Element) key { return key{e.ID, e.Language, e.Version} }
