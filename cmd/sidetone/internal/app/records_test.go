package app

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/media"
)

// A call that is over stays on the records when the server that had it is not the
// one that is asked, and leaves them when its customer wants it.
func TestCallsOutliveTheirServer(t *testing.T) {
	dir := t.TempDir()
	in := func(c *config.Config) { c.Storage.Dir, c.Server.Node = dir, "n1" }
	r := host(t, in)
	for _, id := range []string{"one", "two"} {
		c := open(t, r, media.Call{ID: id, Agent: "ann", Source: "siprec"})
		addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer, RoleReason: "trunk", Identity: "sip:" + map[string]string{"one": "+493011", "two": "+493022"}[id] + "@carrier.example"})
		c.End(media.End{State: media.Ended, Reason: "BYE", At: time.Now()})
		c.wait(t.Context())
	}
	key := r.call(t, "one").Key
	r.stop()

	r = host(t, in)
	rec := r.wait(t, "one", "on the records", func(rec journal.Call) bool { return rec.Closed })
	if rec.State != "ended" || rec.Reason != "BYE" || rec.Key != key || rec.Agent != "ann" {
		t.Errorf("after a restart: %+v", rec)
	}
	var list callsReply
	for query, want := range map[string]int{"": 2, "?agent=ann": 2, "?agent=bob": 0, "?running=true": 0, "?limit=1": 1, "?state=ended&agent=ann&agent=bob": 2} {
		if st := r.do(t, "GET", "/v1/calls"+query, "", &list); st != 200 || len(list.Calls) != want {
			t.Errorf("calls%s: status %d, %d calls, want %d", query, st, len(list.Calls), want)
		}
	}
	for _, query := range []string{"?limit=x", "?from=yesterday"} {
		if st := r.do(t, "GET", "/v1/calls"+query, "", nil); st != 400 {
			t.Errorf("calls%s: status %d, want 400", query, st)
		}
	}
	status, header, body := r.ask(t, "GET", "/v1/calls/"+key+"/events", "")
	if lines := strings.Count(string(body), "\n"); status != 200 || uint64(lines) != rec.N || !strings.Contains(header.Get("Content-Type"), "ndjson") {
		t.Errorf("events: status %d, %d lines, want %d", status, lines, rec.N)
	}
	var e journal.Event
	if err := json.Unmarshal(body[:strings.IndexByte(string(body), '\n')], &e); err != nil || e.Kind != journal.CallStarted {
		t.Errorf("the first event: %v, %+v", err, e)
	}

	var nodes nodesReply
	for len(nodes.Nodes) == 0 || nodes.Nodes[0].URL == "" {
		if st := r.do(t, "GET", "/v1/nodes", "", &nodes); st != 200 || nodes.Self != "n1" {
			t.Fatalf("nodes: status %d, %+v", st, nodes)
		}
	}
	var gone eraseReply
	if st := r.do(t, "POST", "/v1/erase", `{"customer":"+49 30 22","reason":"asked"}`, &gone); st != 200 || len(gone.Keys) != 1 {
		t.Errorf("erasing a customer: status %d, %v", st, gone.Keys)
	}
	if st := r.do(t, "GET", "/v1/calls/two", "", nil); st != 404 {
		t.Errorf("an erased call: status %d", st)
	}
	if st := r.do(t, "POST", "/v1/erase", `{}`, nil); st != 400 {
		t.Errorf("nothing to erase: status %d", st)
	}
	if st := r.do(t, "GET", "/v1/calls/one", "", nil); st != 200 {
		t.Errorf("the other call: status %d", st)
	}
}
