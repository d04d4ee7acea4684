// Package pane is the agent's page: HTML, CSS and ES modules written by hand,
// embedded in the binary, with nothing fetched from elsewhere.
//
// The page at /agent/{name} shows the calls of one agent as package push
// reports them over the WebSocket at /v1/push/{name}: the transcript of both
// sides, the cards and the search. The page at / lists running calls from
// GET /v1/calls. Neither page needs more than a browser of the last two years.
//
// What is said on a call and what stands in the knowledge base is data, never
// markup: the content security policy forbids inline script, and with Trusted
// Types it makes every assignment to innerHTML an error in browsers that know
// them.
package pane

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"time"
)

//go:embed static
var files embed.FS

// policy allows what the server itself serves, and nothing else. A WebSocket
// to the same host counts as 'self' (CSP level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves GET /, /agent/{name} and what they load from /pane/.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html"))
	mux.Handle("GET /agent/{name}", file("agent.html"))
	for _, name := range []string{
		"app.js", "boot.js", "cards.js", "dom.js", "index.js", "link.js", "prefs.js", "search.js", "strings.js", "transcript.js",
		"pane.css", "icon.svg",
	} {
		mux.Handle("GET /pane/"+name, file(name))
	}
	return mux
}

// file serves one embedded file. Browsers ask again each time and are answered
// from the hash, so that a page never mixes modules of two versions.
func file(name string) http.Handler {
	b, err := files.ReadFile("static/" + name)
	if err != nil {
		return http.NotFoundHandler()
	}
	sum := sha256.Sum256(b)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("ETag", etag)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}
