package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func get(method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/mic", 200, "text/html"},
		{"HEAD", "/mic", 200, "text/html"},
		{"GET", "/mic?call=c1&role=agent", 200, "text/html"},
		{"GET", "/mic/main.js", 200, "text/javascript"},
		{"GET", "/mic/mic.css", 200, "text/css"},
		{"GET", "/mic/icon.svg", 200, "image/svg+xml"},
		{"GET", "/mic/mic.html", 404, ""},
		{"GET", "/mic/", 404, ""},
		{"GET", "/mic/..%2fpage.go", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/mic", 405, ""},
	} {
		resp := get(c.method, c.path)
		if resp.StatusCode != c.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, resp.StatusCode, resp.Header.Get("Content-Type"), c.status, c.kind)
		}
		if c.status != 200 {
			continue
		}
		if p := resp.Header.Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "default-src 'none'") {
			t.Errorf("%s: policy %q", c.path, p)
		}
		if p := resp.Header.Get("Permissions-Policy"); !strings.Contains(p, "microphone=(self)") {
			t.Errorf("%s: permissions %q", c.path, p)
		}
		tag := resp.Header.Get("ETag")
		if again := get("GET", c.path, "If-None-Match", tag); tag == "" || again.StatusCode != 304 {
			t.Errorf("%s: asked again with %s: %d, want 304", c.path, tag, again.StatusCode)
		}
	}
}

// each calls f with every embedded file.
func each(t *testing.T, f func(name, text string)) {
	t.Helper()
	err := fs.WalkDir(files, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		f(d.Name(), string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFiles says that every file is served, that the page stands alone, has no
// inline code, and writes no markup.
func TestFiles(t *testing.T) {
	elsewhere := regexp.MustCompile(`(https?:)?//[a-zA-Z0-9-]+\.[a-z]|@import|\burl\(`)
	inline := regexp.MustCompile(`(?i)<script(?: type="module")?>|<style|\son[a-z]+=|\sstyle=|javascript:`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	each(t, func(name, text string) {
		if name != "mic.html" {
			w := httptest.NewRecorder()
			Handler().ServeHTTP(w, httptest.NewRequest("GET", "/mic/"+name, nil))
			if w.Code != 200 || w.Body.String() != text {
				t.Errorf("%s: status %d, %d bytes of %d", name, w.Code, w.Body.Len(), len(text))
			}
		}
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

// TestStrings says that both languages have the same strings with the same
// gaps, and that each string that is asked for exists.
func TestStrings(t *testing.T) {
	b, err := files.ReadFile("static/strings.js")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(b), "const en = {")
	english, rest, ok2 := strings.Cut(rest, "const zh = {")
	chinese, _, ok3 := strings.Cut(rest, "const tables")
	if !ok1 || !ok2 || !ok3 {
		t.Fatal("strings.js has changed its shape")
	}
	entry, gap := regexp.MustCompile(`(\w+): "([^"]*)"`), regexp.MustCompile(`\{\w+\}`)
	gaps := func(table string) map[string][]string {
		m := map[string][]string{}
		for _, e := range entry.FindAllStringSubmatch(table, -1) {
			if m[e[1]] != nil {
				t.Errorf("%q stands there twice", e[1])
			}
			m[e[1]] = append([]string{}, gap.FindAllString(e[2], -1)...)
		}
		return m
	}
	en, zh := gaps(english), gaps(chinese)
	if len(en) < 50 {
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
	for _, e := range entry.FindAllStringSubmatch(chinese, -1) {
		if half.MatchString(e[2]) {
			t.Errorf("%q mixes half-width punctuation into Chinese: %s", e[1], e[2])
		}
	}
	used := regexp.MustCompile(`data-t[lp]?="(\w+)"|\bt\("(\w+)"|\b(?:key|hintKey): "(\w+)"`)
	asked := map[string]bool{}
	each(t, func(name, text string) {
		for _, u := range used.FindAllStringSubmatch(text, -1) {
			k := u[1] + u[2] + u[3]
			asked[k] = true
			if _, ok := en[k]; !ok && !strings.HasSuffix(k, "_") {
				t.Errorf("%s asks for the string %q, which does not exist", name, k)
			}
		}
	})
	if len(asked) < 40 {
		t.Errorf("only %d strings are asked for", len(asked))
	}
}
