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
	"embed"
	"net/http"

	"sidetone/internal/webpage"
)

//go:embed static
var files embed.FS

// Handler serves GET /mic and what it loads from /mic/.
func Handler() http.Handler {
	site := webpage.Site{Files: files, Permissions: "microphone=(self), camera=(), geolocation=()"}
	mux := http.NewServeMux()
	mux.Handle("GET /mic", site.File("static/mic.html"))
	for _, name := range []string{"boot.js", "main.js", "session.js", "strings.js", "mic.css", "icon.svg"} {
		mux.Handle("GET /mic/"+name, site.File("static/"+name))
	}
	return mux
}
