package page

import (
	"testing"

	"sidetone/internal/webpage/pagetest"
)

func TestPage(t *testing.T) {
	h := Handler()
	pagetest.Routes(t, h, "GET /login 200 text/html", "GET /login/login.js 200 text/javascript", "GET /login/login.css 200 text/css",
		"GET /login/nothing.js 404", "POST /login 405", "GET /login/login.html 404")
	pagetest.Served(t, h, files, "/login/")
	pagetest.StandsAlone(t, files)
	if n := pagetest.Strings(t, files, 30, `problem = "(\w+)"`); n < 12 {
		t.Errorf("only %d strings are asked for", n)
	}
}
