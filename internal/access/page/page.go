// Package page is the web page on which people log in: HTML, CSS and ES modules
// written by hand, embedded in the binary, with nothing fetched from elsewhere.
//
// The page at /login?next=PATH posts to /v1/login, or goes to /v1/oidc/start,
// and then to the path. Who is logged in already goes there at once.
package page

import (
	"embed"
	"net/http"

	"sidetone/internal/webpage"
)

//go:embed static
var files embed.FS

// Handler serves GET /login and what it loads from /login/.
func Handler() http.Handler {
	site := webpage.Site{Files: files}
	mux := http.NewServeMux()
	mux.Handle("GET /login", site.File("static/login.html"))
	for _, name := range []string{"boot.js", "login.js", "strings.js", "login.css", "icon.svg"} {
		mux.Handle("GET /login/"+name, site.File("static/"+name))
	}
	return mux
}
