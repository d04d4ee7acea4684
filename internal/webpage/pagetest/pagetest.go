// Package pagetest holds web pages, which package webpage serves, to what all
// of them keep: they stand alone, write no markup, and speak two languages.
package pagetest

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Routes asks for each route, which is written as method, path, the status that
// its answer must have, and how the content type must begin, for instance
// "GET /mic 200 text/html". What is found must have the policy of package
// webpage and be answered from its hash when it is asked for again.
func Routes(t *testing.T, h http.Handler, routes ...string) {
	t.Helper()
	for _, route := range routes {
		want := strings.Fields(route)
		if len(want) < 3 {
			t.Fatalf("%q is no route", route)
		}
		method, path, begins := want[0], want[1], strings.Join(want[3:], " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		kind := w.Header().Get("Content-Type")
		if strconv.Itoa(w.Code) != want[2] || !strings.HasPrefix(kind, begins) {
			t.Errorf("%s: got %d %s", route, w.Code, kind)
		}
		if w.Code != http.StatusOK {
			continue
		}
		if p := w.Header().Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, p)
		}
		tag := w.Header().Get("ETag")
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", tag)
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, r); tag == "" || w.Code != http.StatusNotModified {
			t.Errorf("%s: asked again with %s: %d, want 304", path, tag, w.Code)
		}
	}
}

// Served says that no file was forgotten: each but those of HTML is found, as
// it is, under the prefix.
func Served(t *testing.T, h http.Handler, files fs.FS, prefix string) {
	t.Helper()
	each(t, files, func(name, text string) {
		if strings.HasSuffix(name, ".html") {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, prefix+name, nil))
		if w.Code != http.StatusOK || w.Body.String() != text {
			t.Errorf("%s: status %d, %d bytes of %d", name, w.Code, w.Body.Len(), len(text))
		}
	})
}

// each calls f with every file.
func each(t *testing.T, files fs.FS, f func(name, text string)) {
	t.Helper()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		f(d.Name(), string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// StandsAlone says that the files refer to nothing elsewhere, that the pages
// have no inline code, and that no module writes markup.
func StandsAlone(t *testing.T, files fs.FS) {
	t.Helper()
	elsewhere := regexp.MustCompile(`(https?:)?//[a-zA-Z0-9-]+\.[a-z]|@import|\burl\(`)
	inline := regexp.MustCompile(`(?i)<script(?: type="module")?>|<style|\son[a-z]+=|\sstyle=|javascript:`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	each(t, files, func(name, text string) {
		text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		for what, re := range map[string]*regexp.Regexp{"refers elsewhere": elsewhere, "has inline code": inline, "writes markup": markup} {
			if what == "has inline code" && !strings.HasSuffix(name, ".html") {
				continue
			}
			if hit := re.FindString(text); hit != "" {
				t.Errorf("%s %s: %q", name, what, hit)
			}
		}
	})
}

// Strings says that both languages of static/strings.js have the same strings,
// at least so many, with the same gaps, and that each string that is asked for
// exists. Strings are asked for by data-t and data-tl, by t("key"), and by what
// the group of more, if any, matches. It returns how many are asked for.
func Strings(t *testing.T, files fs.FS, least int, more ...string) int {
	t.Helper()
	b, err := fs.ReadFile(files, "static/strings.js")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(b), "const en = {")
	english, rest, ok2 := strings.Cut(rest, "const zh = {")
	chinese, _, ok3 := strings.Cut(rest, "const tables")
	if !ok1 || !ok2 || !ok3 {
		t.Fatal("strings.js has changed its shape")
	}
	en, zh := gaps(t, english), gaps(t, chinese)
	if len(en) < least {
		t.Fatalf("found %d strings only", len(en))
	}
	for k, g := range en {
		if z, ok := zh[k]; !ok || !slices.Equal(g, z) {
			t.Errorf("%q has the gaps %v in English, %v in Chinese", k, g, z)
		}
	}
	for k := range zh {
		if _, ok := en[k]; !ok {
			t.Errorf("%q is in Chinese only", k)
		}
	}
	half := regexp.MustCompile(`\p{Han}[,:?()]|[,:?()]\p{Han}`)
	for _, e := range entries(chinese) {
		if half.MatchString(e[2]) {
			t.Errorf("%q mixes half-width punctuation into Chinese: %s", e[1], e[2])
		}
	}
	asked := map[string]bool{}
	for _, expr := range append([]string{`data-t[lp]?="(\w+)"`, `\bt\("(\w+)"`}, more...) {
		used := regexp.MustCompile(expr)
		each(t, files, func(name, text string) {
			for _, u := range used.FindAllStringSubmatch(text, -1) {
				asked[u[1]] = true
				if _, ok := en[u[1]]; !ok && !strings.HasSuffix(u[1], "_") {
					t.Errorf("%s asks for the string %q, which does not exist", name, u[1])
				}
			}
		})
	}
	return len(asked)
}

// entries are the matches of a table's strings: all, key and value.
func entries(table string) [][]string {
	return regexp.MustCompile(`(\w+): "([^"]*)"`).FindAllStringSubmatch(table, -1)
}

// gaps are the sorted gaps of each string, which stands there once.
func gaps(t *testing.T, table string) map[string][]string {
	t.Helper()
	gap := regexp.MustCompile(`\{\w+\}`)
	m := map[string][]string{}
	for _, e := range entries(table) {
		if m[e[1]] != nil {
			t.Errorf("%q stands there twice", e[1])
		}
		g := append([]string{}, gap.FindAllString(e[2], -1)...)
		slices.Sort(g)
		m[e[1]] = g
	}
	return m
}
