package pane

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestHandler(t *testing.T) {
	h := Handler()
	get := func(method, path string, header ...string) *http.Response {
		r := httptest.NewRequest(method, path, nil)
		if len(header) == 2 {
			r.Header.Set(header[0], header[1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html"},
		{"HEAD", "/", 200, "text/html"},
		{"GET", "/agent/maria", 200, "text/html"},
		{"GET", "/agent/%E6%9D%8E", 200, "text/html"},
		{"GET", "/agent/", 404, ""},
		{"GET", "/agent/a/b", 404, ""},
		{"GET", "/pane/app.js", 200, "text/javascript"},
		{"GET", "/pane/pane.css", 200, "text/css"},
		{"GET", "/pane/icon.svg", 200, "image/svg+xml"},
		{"GET", "/pane/agent.html", 404, ""},
		{"GET", "/pane/", 404, ""},
		{"GET", "/pane/..%2fpane.go", 404, ""},
		{"GET", "/elsewhere", 404, ""},
		{"POST", "/agent/maria", 405, ""},
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
		tag := resp.Header.Get("ETag")
		if again := get("GET", c.path, "If-None-Match", tag); tag == "" || again.StatusCode != 304 {
			t.Errorf("%s: asked again with %s: %d, want 304", c.path, tag, again.StatusCode)
		}
	}
}

// TestEveryFileIsServed says that no embedded file was forgotten.
func TestEveryFileIsServed(t *testing.T) {
	h := Handler()
	each(t, func(name, text string) {
		if strings.HasSuffix(name, ".html") {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/pane/"+name, nil))
		if w.Code != 200 || w.Body.String() != text {
			t.Errorf("%s: status %d, %d bytes of %d", name, w.Code, w.Body.Len(), len(text))
		}
	})
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

// TestNothingFromElsewhere says that the pages stand alone and have no inline
// code, and that no module writes markup.
func TestNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(https?:)?//[a-zA-Z0-9-]+\.[a-z]|@import|\burl\(`)
	inline := regexp.MustCompile(`(?i)<script(?: type="module")?>|<style|\son[a-z]+=|\sstyle=|javascript:`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	each(t, func(name, text string) {
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
// gaps, and that no other file holds words for the screen.
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
	entry := regexp.MustCompile(`(\w+): "([^"]*)"`)
	gap := regexp.MustCompile(`\{\w+\}`)
	gaps := func(table string) map[string][]string {
		m := map[string][]string{}
		for _, e := range entry.FindAllStringSubmatch(table, -1) {
			g := gap.FindAllString(e[2], -1)
			slices.Sort(g)
			if m[e[1]] != nil {
				t.Errorf("%q stands there twice", e[1])
			}
			m[e[1]] = append([]string{}, g...)
		}
		return m
	}
	en, zh := gaps(english), gaps(chinese)
	if len(en) < 100 {
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
	used := regexp.MustCompile(`data-t[lp]?="(\w+)"|\bt\("(\w+)"`)
	each(t, func(name, text string) {
		for _, u := range used.FindAllStringSubmatch(text, -1) {
			k := u[1] + u[2]
			if _, ok := en[k]; !ok && !strings.HasSuffix(k, "_") {
				t.Errorf("%s asks for the string %q, which does not exist", name, k)
			}
		}
	})
}
