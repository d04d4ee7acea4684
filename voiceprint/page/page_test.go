package page

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"sidetone/guidance/callpage"
	"sidetone/guidance/pane"
	"sidetone/internal/webpage/pagetest"
)

func TestRoutes(t *testing.T) {
	pagetest.Routes(t, Handler(), "GET /voices 200 text/html", "GET /voices/people 200 text/html", "GET /voices/people/LB-1 200 text/html",
		"GET /voices/watch 200 text/html", "GET /voices/audit 200 text/html", "GET /voices/none 404", "POST /voices 405",
		"GET /voicepage/voices.js 200 text/javascript", "GET /voicepage/voices.css 200 text/css", "GET /voicepage/none.js 404", "GET /voicepage/voices.html 404")
	pagetest.Served(t, Handler(), files, Prefix)
	pagetest.StandsAlone(t, files)
	if n := pagetest.Strings(t, files, 200); n < 150 {
		t.Errorf("only %d strings are asked for: the test has lost its way", n)
	}
}

type object = map[string]any

// bank answers as Sidetone does, about a few people, and keeps what it was asked to do.
type bank struct {
	*httptest.Server
	mu   sync.Mutex
	done []string
	// opted says that the customer has opted out.
	opted bool
	// role is what who is logged in has; empty: no login is asked for.
	role string
}

func (b *bank) note(r *http.Request, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = append(b.done, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+body))
}

func (b *bank) did(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.done, func(s string) bool { return strings.HasPrefix(s, what) })
}

const (
	customer  = "LB-40172"
	pseudonym = "6f1c0a9d2e7b4c35a8f1c0a9d2e7b4c3"
	model     = "campplus-zh-en-92f29b94-l26-f50"
)

func looks(from, to, wobble float64, n int) []object {
	var all []object
	for i := range n {
		share := float64(i) / float64(max(1, n-1))
		all = append(all, object{
			"net_ms": 1000 + 500*i, "llr": from + (to-from)*share + wobble*math.Sin(3*float64(i)), "accept": 7.1 * math.Pow(2/max(2, 1+0.5*float64(i)), 0.35),
		})
	}
	return all
}

func comparison(id, at, outcome string, llr float64, path []object, reasons ...string) object {
	return object{
		"id": id, "person": pseudonym, "call": "20260304-090000-" + id, "leg": "c", "at": at, "took_ms": 4100, "outcome": outcome, "reasons": append([]string{}, reasons...),
		"llr": llr, "accept": path[len(path)-1]["accept"], "reject": -6.91, "false_accepts": 0.0005, "net_ms": path[len(path)-1]["net_ms"], "model": model, "calibration": "1f0c9a2e",
		"templates": []string{"a1b2c3d4e5f60718"}, "quality": object{"snr_db": 24.2, "level_dbfs": -22.4, "clipped": 0.0004, "edge_hz": 3700, "unlike": 0.03}, "looks": path,
	}
}

func comparisons() []object {
	odd := comparison("c", "2026-03-03T16:20:00Z", "inconclusive", 7.3, looks(1, 7.3, 0.4, 5), "spoof_suspected")
	odd["signs"] = []object{{"name": "enrolment_replayed", "strength": 6.2, "probability": 0.99, "evidence": "6.2 s in common with the enrolment"}}
	return []object{
		comparison("a", "2026-03-04T09:00:21Z", "match", 6.4, looks(0.8, 6.4, 0.5, 7)),
		comparison("b", "2026-03-04T08:10:00Z", "mismatch", -9.2, looks(-3, -9.2, 0.8, 6)),
		odd,
		comparison("d", "2026-03-02T11:00:00Z", "inconclusive", 1.2, looks(0.4, 1.2, 1, 29), "between_thresholds"),
	}
}

func calibration() object {
	var points []object
	for _, p := range [][3]float64{
		{0.0195, 0, 0}, {0.00999, 0, 1.24}, {0.005, 0, 2.19}, {0.003, 0, 2.93}, {0.00195, 0.0038, 3.48}, {0.00097, 0.0114, 4.56}, {0.00065, 0.0303, 5.16}, {0.00045, 0.0379, 5.65}, {0.00032, 0.0795, 6.57},
	} {
		points = append(points, object{"false_accepts": p[0], "false_rejects": p[1], "threshold_llr": p[2]})
	}
	return object{
		"model": model, "calibration": "1f0c9a2e", "trained": object{"space": "shared data", "calibration": "the development half of the shared evaluation data: read English, simulated lines", "date": "2026-03-01"},
		"targets": 264, "impostors": 15408, "speakers": 88, "looks_ms": []int{2000, 2500, 3000, 4000, 5000, 7000, 10000, 15000}, "limit_ms": 15000,
		"built_in": true, "points": points, "in_use": object{"false_accepts": 0.0005, "false_rejects": 0.0357, "threshold_llr": 5.52}, "accepts": []object{{"net_ms": 2000, "threshold_llr": 5.52}, {"net_ms": 15000, "threshold_llr": 2.72}},
	}
}

func (b *bank) person() object {
	p := object{
		"id": pseudonym, "customer": customer, "state": "consented", "since": "2026-01-10T10:00:00Z", "expires": "2028-01-10T10:00:00Z", "used": "2026-03-04T09:00:21Z", "templates": 1, "provisional": 0,
		"consents": []object{
			{"at": "2026-01-10T09:58:00Z", "state": "asked", "text": "3", "language": "en", "channel": "call", "how": "spoken", "by": "account:ann"},
			{"at": "2026-01-10T10:00:00Z", "state": "consented", "text": "3", "language": "en", "channel": "branch", "how": "signed", "by": "account:sec", "expires": "2028-01-10T10:00:00Z"},
		},
		"versions": []object{
			{"id": "a1b2c3d4e5f60718", "origin": "a1", "version": 1, "live": false, "active": false, "line": "phone", "model": model, "made": "2026-01-10T10:02:00Z", "audio": true},
			{"id": "b1b2c3d4e5f60718", "origin": "a1", "version": 2, "live": true, "active": true, "line": "phone", "model": model, "made": "2026-02-20T10:02:00Z", "audio": true},
		},
		"comparisons": comparisons(), "passive": object{"phase": "collecting", "calls": 2, "conflicts": 1, "reasons": []string{"too_few_calls"}}, "renew": []string{"scores_decline"},
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opted {
		p["state"], p["versions"], p["templates"] = "opted_out", []object{}, 0
		delete(p, "expires")
	}
	return p
}

func trail(about string, from int) []object {
	all := []object{
		{"seq": 40, "at": "2026-03-04T09:20:00Z", "actor": "account:sec", "action": "voice.listed", "object": "voice:" + pseudonym, "detail": object{"what": "audit"}, "address": "192.0.2.7:51000"},
		{"seq": 39, "at": "2026-03-04T09:00:21Z", "actor": "system:n1", "action": "voice.compared", "object": "voice:" + pseudonym, "detail": object{"call": "20260304-090000-a", "llr": "6.40", "outcome": "match"}},
		{"seq": 31, "at": "2026-03-03T16:20:00Z", "actor": "system:n1", "action": "voice.watch.hit", "object": "watch:77aa", "detail": object{"call": "20260303-162000-c", "llr": "7.30"}},
		{"seq": 22, "at": "2026-01-10T10:02:00Z", "actor": "account:sec", "action": "voice.enrolled", "object": "voice:" + pseudonym, "detail": object{"line": "phone", "model": model}, "address": "192.0.2.7:50998"},
		{"seq": 21, "at": "2026-01-10T10:00:00Z", "actor": "account:sec", "action": "voice.consent", "object": "voice:" + pseudonym, "detail": object{"state": "consented", "text": "3"}, "address": "192.0.2.7:50998"},
	}
	return slices.DeleteFunc(all, func(e object) bool { return about != "" && e["object"] != "voice:"+pseudonym || e["seq"].(int) >= from })
}

// serve is a server of the pages; list says whether it has a watch list.
func serve(t *testing.T, list bool) *bank {
	t.Helper()
	b := &bank{}
	mux := http.NewServeMux()
	mux.Handle("/", pane.Handler())
	calls, assets := callpage.Routes()
	for _, p := range append(calls, assets) {
		mux.Handle(p, callpage.Handler())
	}
	pages, assets := Routes()
	for _, p := range append(pages, assets) {
		mux.Handle(p, Handler())
	}
	reply := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	get := func(path string, answer func(q url.Values) any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { reply(w, 200, answer(r.URL.Query())) })
	}
	mux.HandleFunc("GET /v1/me", func(w http.ResponseWriter, r *http.Request) {
		if b.role == "" {
			reply(w, 404, object{})
			return
		}
		reply(w, 200, object{"kind": "account", "name": "somebody", "roles": []string{b.role}, "agents": []string{}})
		b.note(r, "")
	})
	get("/v1/voice", func(url.Values) any {
		return object{"model": model, "people": object{"consented": 1204, "asked": 57, "opted_out": 31}, "enrolled": 1187}
	})
	get("/v1/voice/calibration", func(url.Values) any { return calibration() })
	get("/v1/voice/comparisons", func(url.Values) any { return object{"comparisons": comparisons()} })
	get("/v1/voice/people", func(q url.Values) any {
		one := b.person()
		gone := object{"id": "0b0b0b0b0b0b0b0b0b0b", "state": "opted_out", "erased": "2026-02-02T10:00:00Z", "templates": 0, "provisional": 0}
		switch {
		case q.Get("state") == "opted_out":
			return object{"people": []object{gone}}
		case q.Get("after") != "":
			return object{"people": []object{gone}}
		}
		var many []object
		for range 49 {
			many = append(many, object{"id": "1a1a1a1a1a1a1a1a", "customer": "sip:+493011122@carrier.example", "state": "asked", "since": "2026-02-01T10:00:00Z", "templates": 0, "provisional": 1})
		}
		return object{"people": append([]object{one}, many...)}
	})
	mux.HandleFunc("GET /v1/voice/people/{customer}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("customer") != customer {
			reply(w, 404, object{"error": "there is no such thing", "hint": "GET /v1/voice/people lists who is known"})
			return
		}
		reply(w, 200, b.person())
	})
	get("/v1/voice/audit", func(q url.Values) any {
		if q.Get("customer") == "" && q.Get("before") == "" {
			return object{"entries": trail("", 41), "next": 21}
		}
		if q.Get("before") != "" {
			return object{"entries": []object{{"seq": 2, "at": "2026-01-01T10:00:00Z", "actor": "system:n1", "action": "voice.rekeyed", "object": "voice.key", "detail": object{"rows": "12"}}}}
		}
		return object{"entries": trail(q.Get("customer"), 41)}
	})
	act := func(pattern string, status int, answer any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			b.note(r, string(body))
			if strings.Contains(string(body), "opted_out") {
				b.mu.Lock()
				b.opted = true
				b.mu.Unlock()
			}
			reply(w, status, answer)
		})
	}
	act("POST /v1/voice/people/{customer}/consent", 201, object{"state": "consented"})
	act("POST /v1/voice/people/{customer}/templates", 422, object{
		"error": "no template can be made: 3200 ms of speech can be used, 16800 more are needed", "hint": "the report's reasons say what speaks against it",
		"report": object{"net_ms": 3200, "missing_ms": 16800, "percent": 16, "reasons": []string{"too_little_speech", "noise"}, "refused": []object{{"name": "the body", "reasons": []string{"noise"}}}, "quality": object{"snr_db": 4.1, "clipped": 0.12}},
	})
	act("DELETE /v1/voice/people/{customer}/templates/{id}", 200, object{})
	act("POST /v1/voice/people/{customer}/templates/{id}/rollback", 200, object{})
	act("DELETE /v1/voice/people/{customer}/passive", 200, object{})
	act("DELETE /v1/voice/people/{customer}", 200, object{"templates": 1, "audio": 1, "comparisons": 4, "watch": 0})
	if list {
		get("/v1/voice/watch", func(url.Values) any {
			return object{"entries": []object{
				{"id": "77aa", "reason": "took over three accounts by telephone", "basis": "legitimate interest, case 2026-17", "model": model, "added": "2026-01-05T10:00:00Z", "added_by": "account:sec", "review": "2026-02-05T00:00:00Z", "expires": "2099-01-05T00:00:00Z", "version": 3},
				{"id": "88bb", "removed": "2026-01-06T10:00:00Z"},
			}}
		})
		get("/v1/voice/hits", func(q url.Values) any {
			if q.Get("state") != "open" {
				return object{"hits": []object{{"id": "h0", "watch": "77aa", "call": "20260302-110000-d", "leg": "c", "at": "2026-03-02T11:00:00Z", "llr": 8.1, "state": q.Get("state"), "by": "account:sec", "decided": "2026-03-02T12:00:00Z"}}}
			}
			return object{"hits": []object{{"id": "h1", "watch": "77aa", "call": "20260303-162000-c", "leg": "c", "at": "2026-03-03T16:20:00Z", "llr": 7.3, "state": "open"}}}
		})
		get("/v1/voice/links", func(url.Values) any {
			return object{"links": []object{{"voice": 1, "customers": []string{"LB-40172", "LB-55021"}, "calls": []string{"20260303-162000-c", "20260302-110000-d"}, "first": "2026-03-02T11:00:00Z", "last": "2026-03-03T16:20:00Z", "llr": 6.6}}}
		})
		act("POST /v1/voice/hits/{id}", 201, object{})
		act("POST /v1/voice/watch", 201, object{"id": "99cc"})
		act("DELETE /v1/voice/watch/{id}", 200, object{})
		act("POST /v1/voice/watch/{id}", 200, object{})
	}
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}
