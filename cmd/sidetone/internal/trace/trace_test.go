package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	otel "go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sidetone/internal/journal"
	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// personal is what must be found in no span.
var personal = []string{"+43123", "ann", "Huber", "credit", "4711", "10.9.8.7", "secret-title"}

const key = "20260304-050607-abcdefgh"

// life is a call of 60 s; its events come when the number of milliseconds says.
func life(t testing.TB) []journal.Event {
	t.Helper()
	var out []journal.Event
	add := func(ms int, kind journal.Kind, body any) {
		t.Helper()
		e, err := journal.New(key, uint64(len(out)+1), start.Add(time.Duration(ms)*time.Millisecond), kind, body)
		if err != nil {
			t.Fatal(err)
		}
		e.Node = "n1"
		out = append(out, e)
	}
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	add(1, journal.CallStarted, journal.Started{Call: "c-4711", Agent: "ann", Source: "siprec", External: "4711", Started: start})
	add(2, journal.LegChanged, journal.Leg{ID: "+43123", Role: "unknown", Identity: "sip:+43123@10.9.8.7", Name: "Huber"})
	add(3, journal.LegLocated, journal.Located{Leg: "+43123", Address: "10.9.8.7:20000", Codec: "PCMA"})
	add(4, journal.LegChanged, journal.Leg{ID: "+43123", Role: "customer", Name: "Huber"})
	add(2400, journal.UtteranceFinal, journal.Final{
		Leg: "+43123", Role: "customer", Utterance: 1, Revision: 3, StartMS: 900, EndMS: 2000, Text: "credit card", Words: []journal.Word{{Text: "credit"}, {Text: "card"}},
	})
	add(2450, journal.CardShown, journal.Card{ID: "k1", Card: json.RawMessage(
		`{"id":"k1","kind":"action","title":"secret-title","why":{"rule":"lost","intent":"lost-card","element":"block","words":[{"text":"credit","end_ms":1500},{"text":"card","end_ms":1900}]}}`)})
	add(2600, journal.CardPainted, journal.Painted{ID: "k1", Agent: "ann", At: at(2550), LatencyMS: 650, FromWords: true})
	add(2700, journal.CardShown, journal.Card{ID: "k2", Card: json.RawMessage(`{"kind":"alert","why":{"rule":"silence"}}`)})
	add(9000, journal.CardAnswered, journal.Answered{ID: "k1", Agent: "ann", State: "used"})
	add(9500, journal.CardWithdrawn, journal.Withdrawn{ID: "k2", Reason: "expired"})
	add(10000, journal.CallPaused, journal.Pause{MS: 10000, Reason: "asked for by ann"})
	add(12000, journal.CallResumed, journal.Pause{MS: 12000, Reason: "asked for by ann"})
	add(59000, journal.LegFared, journal.Fared{Leg: "+43123", Stats: journal.LegStats{Received: 2950, Lost: 3, JitterMS: 1.5}, Over: true})
	add(60001, journal.CallEnded, journal.Ended{State: "timed out", Reason: "no packets from 10.9.8.7", At: at(60000)})
	add(60100, journal.CallClosed, nil)
	return out
}

// lines shows spans: times in milliseconds since the start.
func lines(spans []Span) string {
	var b strings.Builder
	for i, s := range spans {
		fmt.Fprintf(&b, "%d %s < %d: %d to %d %s", i, s.Name, s.Parent, s.Start.Sub(start).Milliseconds(), s.End.Sub(start).Milliseconds(), s.Failed)
		for _, a := range s.Attributes {
			fmt.Fprintf(&b, " %s=%v", strings.TrimPrefix(a.Key, "sidetone."), a.Value)
		}
		for _, m := range s.Moments {
			fmt.Fprintf(&b, " @%s:%d", m.Name, m.At.Sub(start).Milliseconds())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestEventsBecomeSpans(t *testing.T) {
	spans, err := Spans(life(t))
	if err != nil {
		t.Fatal(err)
	}
	const want = `0 call < -1: 0 to 60000 timed out call.key=20260304-050607-abcdefgh call.source=siprec node=n1 call.state=timed out @call.paused:10000 @call.resumed:12000 @call.ended:60000
1 leg < 0: 2 to 59000  leg.role=customer leg.codec=PCMA leg.packets_received=2950 leg.packets_lost=3 leg.packets_late=0 leg.frames_concealed=0 leg.frames_dropped=0 leg.jitter_ms=1.5
2 utterance < 1: 2000 to 2400  leg.role=customer utterance.number=1 utterance.revision=3 utterance.speech_ms=1100 utterance.words=2
3 card < 0: 1900 to 2550  card.kind=action card.rule=lost card.intent=lost-card card.element=block card.latency_ms=650 card.answer=used @card.shown:2450 @card.painted:2550 @card.answered:9000
4 card < 0: 2700 to 9500  card.kind=alert card.rule=silence card.intent= card.element= @card.shown:2700 @card.withdrawn:9500
`
	if got := lines(spans); got != want {
		t.Errorf("spans:\n%s\nwant:\n%s", got, want)
	}
	for _, p := range personal {
		if strings.Contains(lines(spans), p) {
			t.Errorf("the spans tell %q", p)
		}
	}
}

func TestUnfinishedAndBrokenCalls(t *testing.T) {
	events := life(t)
	part, err := Spans(events[:6])
	if err != nil {
		t.Fatal(err)
	}
	if s := part[0]; !s.End.Equal(events[5].At) || s.Failed != "" {
		t.Errorf("a running call ends at %v, want at its newest event", s.End)
	}
	if s, _ := Spans(events[1:]); len(s) != 0 {
		t.Errorf("a call without its start has spans: %s", lines(s))
	}
	// The clock is set back between the end of speech and the final.
	back := events[4]
	back.At = start.Add(-time.Hour)
	s, err := Spans([]journal.Event{events[0], back})
	if err != nil || s[1].End.Before(s[1].Start) {
		t.Errorf("%v, %s", err, lines(s))
	}
	bad := events[4]
	bad.Body = json.RawMessage(`{"leg":7}`)
	if _, err := Spans([]journal.Event{events[0], bad}); err == nil {
		t.Error("an unreadable event is no error")
	}
	var b Builder
	if err := b.Add(events[0]); err != nil {
		t.Fatal(err)
	}
	for range maxSpans + 10 {
		if err := b.Add(events[4]); err != nil {
			t.Fatal(err)
		}
	}
	if all := b.Spans(); len(all) != maxSpans || all[0].Attributes[len(all[0].Attributes)-1] != (Attribute{"sidetone.spans_left_out", int64(11)}) {
		t.Errorf("%d spans, %v", len(all), all[0].Attributes)
	}
}

// receiver is a collector on loopback.
type receiver struct {
	*httptest.Server
	status int

	mu    sync.Mutex
	path  string
	raw   [][]byte
	spans []*otlp.Span
}

func newReceiver(t *testing.T, status int) *receiver {
	r := &receiver{status: status}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		var msg collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &msg)
		}
		if err != nil {
			t.Errorf("the receiver cannot read: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.path = q.URL.Path
		r.raw = append(r.raw, b)
		for _, rs := range msg.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				r.spans = append(r.spans, ss.GetSpans()...)
			}
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func newTracer(t *testing.T, c Config) *Tracer {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSpansArriveAtACollector(t *testing.T) {
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for name, c := range map[string]struct {
		ask    Ask
		id     string
		parent string
	}{
		"demanded":             {ask: Ask{Demanded: true}},
		"part of a trace":      {Ask{Parent: "00-" + trace + "-" + span + "-01"}, trace, span},
		"demanded, unsampled":  {Ask{Demanded: true, Parent: "00-" + trace + "-" + span + "-00"}, trace, span},
		"demanded, bad header": {ask: Ask{Demanded: true, Parent: "00-zz"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, http.StatusOK)
			tr := newTracer(t, Config{Endpoint: r.URL, Version: "v1", Node: "n1"})
			id := tr.Begin(key, c.ask)
			if id == "" || c.id != "" && id != c.id {
				t.Errorf("trace %q, want %q", id, c.id)
			}
			for _, e := range life(t) {
				tr.Event(e)
			}
			other := life(t)[0]
			other.Key = "other"
			tr.Event(other)
			if err := tr.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tr.Close(t.Context()); err != nil {
				t.Errorf("closing again: %v", err)
			}
			if len(r.spans) != 5 || r.path != "/v1/traces" || tr.Stats() != (Stats{Exported: 5}) {
				t.Fatalf("%d spans at %s, %+v", len(r.spans), r.path, tr.Stats())
			}
			byID := map[string]*otlp.Span{}
			for _, s := range r.spans {
				byID[string(s.GetSpanId())] = s
				if fmt.Sprintf("%x", s.GetTraceId()) != id {
					t.Errorf("span %s is of trace %x, want %s", s.GetName(), s.GetTraceId(), id)
				}
			}
			above := map[string]string{}
			for _, s := range r.spans {
				p := byID[string(s.GetParentSpanId())]
				if s.GetName() == "call" {
					if got := fmt.Sprintf("%x", s.GetParentSpanId()); got != c.parent || s.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR {
						t.Errorf("the call's parent is %q, want %q; status %v", got, c.parent, s.GetStatus())
					}
					continue
				}
				above[s.GetName()] = p.GetName()
				if s.GetName() == "utterance" && s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano() != uint64(400*time.Millisecond) {
					t.Errorf("the utterance took %d ns", s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano())
				}
			}
			if above["leg"] != "call" || above["utterance"] != "leg" || above["card"] != "call" {
				t.Errorf("parents: %v", above)
			}
			for _, p := range personal {
				if bytes.Contains(bytes.Join(r.raw, nil), []byte(p)) {
					t.Errorf("%q went over the wire", p)
				}
			}
		})
	}
}

func TestOnlySomeCallsAreFollowed(t *testing.T) {
	r := newReceiver(t, http.StatusOK)
	none := newTracer(t, Config{Endpoint: r.URL + "/custom"})
	if none.Begin(key, Ask{}) != "" || none.Begin("b", Ask{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}) != "" {
		t.Error("a call that nobody asked for is followed")
	}
	all := newTracer(t, Config{Endpoint: r.URL + "/custom", Ratio: 1})
	if all.Begin(key, Ask{}) == "" {
		t.Error("with a ratio of 1 a call is not followed")
	}
	all.Event(life(t)[0])
	// What runs at the end is sent as far as it is known.
	for _, tr := range []*Tracer{none, all} {
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if len(r.spans) != 1 || r.path != "/custom" {
		t.Errorf("%d spans at %s", len(r.spans), r.path)
	}
	if all.Begin("late", Ask{Demanded: true}) != "" {
		t.Error("followed after Close")
	}
	all.Event(life(t)[0])
	var off *Tracer
	off.Event(life(t)[0])
	if off.Begin(key, Ask{Demanded: true}) != "" || off.Close(t.Context()) != nil || off.Stats() != (Stats{}) {
		t.Error("a nil Tracer does something")
	}
}

func TestCollectorThatRefusesIsCountedAndLogged(t *testing.T) {
	r := newReceiver(t, http.StatusBadRequest)
	var log bytes.Buffer
	tr := newTracer(t, Config{Endpoint: r.URL, Log: slog.New(slog.NewTextHandler(&log, nil))})
	tr.Begin(key, Ask{Demanded: true})
	for _, e := range life(t) {
		tr.Event(e)
	}
	if err := tr.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if tr.Stats().Failed != 5 || strings.Count(log.String(), "did not take spans") != 1 {
		t.Errorf("%+v\n%s", tr.Stats(), &log)
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, c := range []Config{
		{Endpoint: "127.0.0.1:4318", Log: log}, {Endpoint: "ftp://a", Log: log}, {Log: log},
		{Endpoint: "http://a", Ratio: 2, Log: log}, {Endpoint: "http://a"},
	} {
		if tr, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
			_ = tr.Close(t.Context())
		}
	}
}

func FuzzParent(f *testing.F) {
	for _, s := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "", "00-1-2-3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseParent(s)
		if !ok {
			return
		}
		again := fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags())
		if d, ok := parseParent(again); !ok || !d.Equal(otel.NewSpanContext(otel.SpanContextConfig{TraceID: c.TraceID(), SpanID: c.SpanID(), TraceFlags: c.TraceFlags(), Remote: true})) {
			t.Errorf("%q became %q", s, again)
		}
	})
}
