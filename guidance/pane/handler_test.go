package pane

import (
	"testing"

	"sidetone/internal/leaktest"
	"sidetone/internal/webpage/pagetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestHandler(t *testing.T) {
	pagetest.Routes(t, Handler(),
		"GET / 200 text/html",
		"HEAD / 200 text/html",
		"GET /agent/maria 200 text/html",
		"GET /agent/%E6%9D%8E 200 text/html",
		"GET /agent/ 404",
		"GET /agent/a/b 404",
		"GET /pane/app.js 200 text/javascript",
		"GET /pane/pane.css 200 text/css",
		"GET /pane/icon.svg 200 image/svg+xml",
		"GET /pane/agent.html 404",
		"GET /pane/ 404",
		"GET /pane/..%2fpane.go 404",
		"GET /elsewhere 404",
		"POST /agent/maria 405",
	)
}

func TestFiles(t *testing.T) {
	pagetest.Served(t, Handler(), files, "/pane/")
	pagetest.StandsAlone(t, files)
}

func TestStrings(t *testing.T) { pagetest.Strings(t, files, 100) }
