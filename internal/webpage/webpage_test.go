package webpage

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func ask(h http.Handler, method, tag string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/whatever", nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFile(t *testing.T) {
	files := fstest.MapFS{"static/a.js": {Data: []byte("one")}, "static/b.css": {Data: []byte("two")}}
	plain, listening := Site{Files: files}, Site{Files: files, Permissions: "microphone=(self)"}
	a := ask(plain.File("static/a.js"), "GET", "")
	if a.Code != 200 || a.Body.String() != "one" || !strings.HasPrefix(a.Header().Get("Content-Type"), "text/javascript") {
		t.Errorf("a.js: %d %q %v", a.Code, a.Body, a.Header())
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-cache", "Content-Security-Policy": policy, "Permissions-Policy": "",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Last-Modified": "",
	} {
		if got := a.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if head := ask(plain.File("static/a.js"), "HEAD", ""); head.Code != 200 || head.Body.Len() != 0 {
		t.Errorf("HEAD: %d, %d bytes", head.Code, head.Body.Len())
	}
	b := ask(listening.File("static/b.css"), "GET", "")
	if p := b.Header().Get("Permissions-Policy"); p != "microphone=(self)" || !strings.HasPrefix(b.Header().Get("Content-Type"), "text/css") {
		t.Errorf("b.css: %v", b.Header())
	}
	if w := ask(plain.File("static/c.js"), "GET", ""); w.Code != 404 {
		t.Errorf("a file that is not there: %d", w.Code)
	}

	playing := ask(Site{Files: files, Media: true}.File("static/a.js"), "GET", "")
	if got := playing.Header().Get("Content-Security-Policy"); got != policy+"; media-src 'self'" {
		t.Errorf("the policy of a page with a player: %q", got)
	}

	tag, other := a.Header().Get("ETag"), b.Header().Get("ETag")
	if tag == "" || tag == other {
		t.Errorf("the tags of two files are %s and %s", tag, other)
	}
	if w := ask(plain.File("static/a.js"), "GET", tag); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("asked again: %d, %d bytes", w.Code, w.Body.Len())
	}
	files["static/a.js"] = &fstest.MapFile{Data: []byte("new")}
	if w := ask(plain.File("static/a.js"), "GET", tag); w.Code != 200 || w.Body.String() != "new" {
		t.Errorf("asked for a new version: %d %q", w.Code, w.Body)
	}
}

// The policy forbids what could run or load code that is not the page's own.
func TestPolicy(t *testing.T) {
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %q", want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy allows too much: %s", policy)
	}
}
