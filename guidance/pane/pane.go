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
	"embed"
	"net/http"

	"sidetone/internal/webpage"
)

//go:embed static
var files embed.FS

// Handler serves GET /, /agent/{name} and what they load from /pane/.
func Handler() http.Handler {
	site := webpage.Site{Files: files}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", site.File("static/index.html"))
	mux.Handle("GET /agent/{name}", site.File("static/agent.html"))
	for _, name := range []string{
		"account.js", "app.js", "boot.js", "cards.js", "dom.js", "index.js", "link.js", "prefs.js", "search.js", "strings.js", "transcript.js",
		"pane.css", "icon.svg",
	} {
		mux.Handle("GET /pane/"+name, site.File("static/"+name))
	}
	return mux
}
