package page

import (
	"net/http/httptest"
	"strings"
	"testing"

	"sidetone/internal/webpage/pagetest"
)

func TestHandler(t *testing.T) {
	pagetest.Routes(t, Handler(),
		"GET /mic 200 text/html",
		"HEAD /mic 200 text/html",
		"GET /mic?call=c1&role=agent 200 text/html",
		"GET /mic/main.js 200 text/javascript",
		"GET /mic/mic.css 200 text/css",
		"GET /mic/icon.svg 200 image/svg+xml",
		"GET /mic/mic.html 404",
		"GET /mic/ 404",
		"GET /mic/..%2fpage.go 404",
		"GET / 404",
		"POST /mic 405",
	)
}

func TestMicrophoneIsAllowed(t *testing.T) {
	for _, path := range []string{"/mic", "/mic/main.js"} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if p := w.Header().Get("Permissions-Policy"); !strings.Contains(p, "microphone=(self)") {
			t.Errorf("%s: permissions %q", path, p)
		}
	}
}

func TestFiles(t *testing.T) {
	pagetest.Served(t, Handler(), files, "/mic/")
	pagetest.StandsAlone(t, files)
}

func TestStrings(t *testing.T) {
	if n := pagetest.Strings(t, files, 50, `\b(?:key|hintKey): "(\w+)"`); n < 40 {
		t.Errorf("only %d strings are asked for", n)
	}
}
