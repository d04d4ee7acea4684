// Package callpage holds the pages on which calls are looked up: the list at
// /calls, which searches what was said, and a page for each call at /calls/{key}
// with its transcript, its cards and, where it was recorded, a player that the
// transcript follows.
//
// The pages ask GET /v1/calls, GET /v1/calls/{call}, its events and its recording;
// what somebody may see there is decided, not here. They share some modules with
// the agent's page, whose package must serve them. As there, what comes from a call
// is text and never markup.
package callpage

import (
	"embed"
	"net/http"

	"sidetone/internal/webpage"
)

//go:embed static
var files embed.FS

// Prefix is where what the pages load lies.
const Prefix = "/callpage/"

// Routes are the patterns that Handler serves; the pages are those without Prefix.
func Routes() (pages []string, assets string) {
	return []string{"GET /calls", "GET /calls/{call}"}, "GET " + Prefix
}

// Handler serves what Routes names.
func Handler() http.Handler {
	site := webpage.Site{Files: files, Media: true}
	mux := http.NewServeMux()
	mux.Handle("GET /calls", site.File("static/list.html"))
	mux.Handle("GET /calls/{call}", site.File("static/call.html"))
	for _, name := range []string{"call.js", "list.js", "page.js", "player.js", "strings.js", "timeline.js", "calls.css"} {
		mux.Handle("GET "+Prefix+name, site.File("static/"+name))
	}
	return mux
}
