// Package page holds the pages of the security team, from /voices on: how well
// voices are told apart here, who is enrolled, how each decision came to be, whom is
// looked for, and who did what.
//
// They ask the routes below /v1/voice; what somebody may see and do there is decided
// there. They share some modules with the agent's page, whose package must serve
// them. What comes from a call or from a person is text and never markup.
package page

import (
	"embed"
	"net/http"

	"sidetone/internal/webpage"
)

//go:embed static
var files embed.FS

// Prefix is where what the pages load lies.
const Prefix = "/voicepage/"

// Routes are the patterns that Handler serves; the pages are those without Prefix.
func Routes() (pages []string, assets string) {
	return []string{
		"GET /voices", "GET /voices/people", "GET /voices/people/{customer}", "GET /voices/watch", "GET /voices/audit",
	}, "GET " + Prefix
}

// Handler serves what Routes names. All pages are one file: it sees by its address
// which of them it is.
func Handler() http.Handler {
	site := webpage.Site{Files: files}
	mux := http.NewServeMux()
	shell := site.File("static/voices.html")
	pages, _ := Routes()
	for _, pattern := range pages {
		mux.Handle(pattern, shell)
	}
	for _, name := range []string{
		"acts.js", "audit.js", "charts.js", "overview.js", "page.js", "people.js", "person.js", "strings.js", "voices.css", "voices.js", "watch.js",
	} {
		mux.Handle("GET "+Prefix+name, site.File("static/"+name))
	}
	return mux
}
