// Package webpage serves the files of web pages that are embedded in the
// binary and need nothing from elsewhere.
package webpage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"time"
)

// policy allows what the server itself serves, and nothing else. A WebSocket
// to the same host counts as 'self' (CSP level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"

// Site is a page's files.
type Site struct {
	Files fs.FS
	// Permissions is the Permissions-Policy header, which is left out if empty.
	Permissions string
	// Media lets the pages play sound that the server itself serves.
	Media bool
}

// File serves one file, which it reads now; a file that is not there is not
// found. Browsers ask again each time and are answered from the hash, so that
// a page never mixes modules of two versions.
func (s Site) File(name string) http.Handler {
	b, err := fs.ReadFile(s.Files, name)
	if err != nil {
		return http.NotFoundHandler()
	}
	sum := sha256.Sum256(b)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	allowed := policy
	if s.Media {
		allowed += "; media-src 'self'"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("ETag", etag)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", allowed)
		if s.Permissions != "" {
			h.Set("Permissions-Policy", s.Permissions)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}
