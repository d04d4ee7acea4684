package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"log/slog"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/models"
	"sidetone/media"
)

// collector keeps what is sent to it, as a trace collector would.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got []byte
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, b...)
	}))
	t.Cleanup(c.Close)
	return c
}

// What people are called, where they call from and what they say stands in no log
// line, at any level, and in no trace: both are kept by others, for longer, and
// read by more people than the records.
func TestLogsAndTracesTellNothingOfPeople(t *testing.T) {
	traces := newCollector(t)
	engine := &scripted{lines: map[string][]string{}}
	r := startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: engine, c: c, local: &local{}, languages: []string{"en"}}, nil
	}, func(c *config.Config) { c.Tracing.Endpoint, c.Tracing.Ratio = traces.URL, 1 })

	// Over the API, with all that a PBX may tell, and refused once.
	var reply callReply
	body := `{"call":"pbx-77","agent":"2201","phrases":["Xanthippe"],"language":"en","trace":true,"legs":[
		{"id":"a","role":"agent","identity":"sip:agent.zebedee@pbx.example"},
		{"id":"b","role":"customer","identity":"sip:+4915112345678@carrier.example"}]}`
	if st := r.do(t, "POST", "/v1/calls", body, &reply); st != http.StatusCreated {
		t.Fatalf("status %d", st)
	}
	if st := r.do(t, "POST", "/v1/calls", body, nil); st != http.StatusConflict {
		t.Fatalf("the same call again: status %d", st)
	}
	r.do(t, "POST", "/v1/calls", `{"agent":"2201","legs":[{"role":"customer","identity":"sip:+4915112345678@carrier.example","codec":"none"}]}`, nil)
	r.do(t, "POST", "/v1/calls/pbx-77/role", `{"leg":"b","role":"agent","reason":"Quimby says so"}`, nil)
	r.do(t, "POST", "/v1/calls/pbx-77/pause", `{"reason":"card of Quimby"}`, nil)
	r.do(t, "POST", "/v1/calls/pbx-77/resume", `{"reason":"Quimby is done"}`, nil)
	r.do(t, "DELETE", "/v1/calls/pbx-77", "", nil)

	// From a source, with names, transfers, facts, words and cards.
	s := &stage{running: r, t: t, engine: engine, at: map[string]int64{}}
	s.call = open(t, r, media.Call{ID: "two", Source: "siprec", External: "ext-+4915112345678", Language: "en"})
	for _, l := range []media.Leg{
		{ID: "1", Role: media.RoleCustomer, RoleReason: "trunk", Identity: "sip:+4915112345678@carrier.example", Name: "Xanthippe Quimby"},
		{ID: "2", Role: media.RoleAgent, RoleReason: "extension", Identity: "sip:agent.zebedee@pbx.example", Name: "Zebedee Agent"},
	} {
		addLeg(t, s.call, l).Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	}
	s.call.Describe(map[string]string{"customer": "Xanthippe Quimby", "account": "DE02120300000000202051"})
	s.say("1", "hello my name is Xanthippe Quimby and I have lost my credit card")
	s.say("1", "my number is oh one five one one two three four five six seven eight marmalade")
	s.say("2", "I will block the card at once")
	s.say("2", "may I have your date of birth and your card number please")
	s.say("1", "I want to close my account and talk to your supervisor")
	s.call.UpdateLeg(media.Leg{ID: "2", Role: media.RoleAgent, RoleReason: "extension", Identity: "sip:agent.ermintrude@pbx.example", Name: "Ermintrude"})
	s.call.UpdateLeg(media.Leg{ID: "1", Role: media.RoleAgent, RoleReason: "label", Identity: "sip:+4915112345678@carrier.example", Name: "Xanthippe Quimby"})
	for _, l := range []string{"1", "2"} {
		s.call.running(l).End(media.End{State: media.Ended, Reason: "BYE from sip:+4915112345678@carrier.example", At: time.Now()}, media.LegStats{Received: 9})
	}
	s.call.End(media.End{State: media.Ended, Reason: "BYE from sip:+4915112345678@carrier.example", At: time.Now()})
	s.call.wait(t.Context())
	rec := r.wait(t, "two", "kept", func(rec journal.Call) bool { return rec.Closed })
	if len(rec.Transcript) == 0 || len(rec.Cards) == 0 {
		t.Fatalf("the call has %d finals and %d cards: nothing could have leaked", len(rec.Transcript), len(rec.Cards))
	}
	// Requests that are wrong in ways that name people.
	r.do(t, "GET", "/v1/calls/+4915112345678", "", nil)
	r.do(t, "POST", "/v1/erase", `{"customer":"+4915112345678","reason":"asked by Quimby"}`, nil)
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", strings.TrimPrefix(r.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("GET /v1/fork/twilio?name=Quimby HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
	r.stop()

	logs := r.logs.String()
	if !strings.Contains(logs, "level=DEBUG") || !strings.Contains(logs, "call=two") || strings.Count(logs, "call is traced") != 2 {
		t.Errorf("the log lacks what it should tell:\n%s", logs)
	}
	traces.mu.Lock()
	defer traces.mu.Unlock()
	if !strings.Contains(string(traces.got), "utterance") || !strings.Contains(string(traces.got), "card") {
		t.Errorf("%d bytes of traces have no utterance or no card", len(traces.got))
	}
	for _, told := range []string{
		"4915112345678", "Xanthippe", "xanthippe", "Quimby", "quimby", "Zebedee", "zebedee", "Ermintrude", "ermintrude",
		"DE0212", "marmalade", "lost my", "birth", "supervisor and", "card of",
	} {
		for line := range strings.Lines(logs) {
			if strings.Contains(line, told) {
				t.Errorf("%q stands in the log: %s", told, line)
			}
		}
		if strings.Contains(string(traces.got), told) {
			t.Errorf("%q stands in a trace", told)
		}
	}
}
