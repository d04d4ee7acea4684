// Package page is a web page on which somebody speaks into a call from the
// browser's microphone: an agent without a softphone, or a caller on trial. It
// is HTML, CSS and ES modules written by hand, embedded in the binary, with
// nothing fetched from elsewhere.
//
// The page at /mic is a WHIP client of the endpoint at /v1/whip on the same
// host. Its form can be filled in by the address: /mic?call=c1&role=agent&agent=ann.
// Browsers give a microphone only to pages of https or of the same machine.
package page

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

// policy allows what the server itself serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves GET /mic and what it loads from /mic/.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /mic", file("mic.html"))
	for _, name := range []string{"boot.js", "main.js", "session.js", "strings.js", "mic.css", "icon.svg"} {
		mux.Handle("GET /mic/"+name, file(name))
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
		h.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}
