package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/asr"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/guidance/push"
	"sidetone/internal/journal"
	"sidetone/internal/models"
	"sidetone/internal/pcm"
	"sidetone/media"
)

// scripted is an engine that hears what the test says: each frame of a leg
// takes the next final that waits for it.
type scripted struct {
	mu    sync.Mutex
	lines map[string][]string
}

func (s *scripted) Close() error { return nil }

func (s *scripted) NewStream(_ context.Context, c asr.StreamConfig) (asr.Stream, error) {
	return &scriptedStream{engine: s, leg: c.Leg}, nil
}

type scriptedStream struct {
	engine *scripted
	leg    string
	no     int
}

func (s *scriptedStream) Accept(f *pcm.Frame, _ []asr.Edge) ([]asr.Hypothesis, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	lines := s.engine.lines[s.leg]
	if len(lines) == 0 {
		return nil, nil
	}
	s.engine.lines[s.leg] = lines[1:]
	s.no++
	h := asr.Hypothesis{Utterance: s.no, Revision: 1, Final: true, Start: f.Start, End: f.End()}
	for _, w := range strings.Fields(lines[0]) {
		h.Words = append(h.Words, asr.Word{Text: w, Start: f.Start, End: f.End()})
	}
	return []asr.Hypothesis{h}, nil
}

func (s *scriptedStream) Finish(context.Context) ([]asr.Hypothesis, error) { return nil, nil }

func (s *scriptedStream) Close() error { return nil }

// stage is a call whose words the test chooses.
type stage struct {
	*running
	t      *testing.T
	engine *scripted
	call   *call
	at     map[string]int64
}

func onStage(t *testing.T, c media.Call, legs ...media.Leg) *stage {
	t.Helper()
	e := &scripted{lines: map[string][]string{}}
	r := startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: e, c: c, local: &local{}, languages: []string{"en"}}, nil
	}, nil)
	s := &stage{running: r, t: t, engine: e, at: map[string]int64{}}
	s.call = open(t, r, c)
	for _, l := range legs {
		addLeg(t, s.call, l).Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	}
	return s
}

// say has a leg say something, and waits until the call has heard it.
func (s *stage) say(leg, text string) {
	s.t.Helper()
	s.engine.mu.Lock()
	s.engine.lines[leg] = append(s.engine.lines[leg], text)
	s.engine.mu.Unlock()
	s.call.mu.Lock()
	l := s.call.running(leg)
	before := l.ear.Evidence().Finals
	s.call.mu.Unlock()
	f := pcm.Frame{Start: s.at[leg]}
	s.at[leg] = f.End()
	l.Frame(&f)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s.call.mu.Lock()
		heard := l.ear.Evidence().Finals > before
		s.call.mu.Unlock()
		if heard {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("leg %s: %q was not heard", leg, text)
		}
	}
}

func (s *stage) legs() (a, b journal.Leg) {
	s.t.Helper()
	rec := s.running.call(s.t, s.call.info.ID)
	return rec.Legs[0], rec.Legs[1]
}

// pane reads what an agent's page is told until a leg's message fits.
func (s *stage) pane(agent string) *websocket.Conn {
	s.t.Helper()
	c, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL(), "http")+"/v1/push/"+agent, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *stage) until(c *websocket.Conn, fits func(push.Leg) bool) {
	s.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			s.t.Fatalf("the page was not told: %v", err)
		}
		var m struct {
			Type string
			Leg  json.RawMessage
		}
		var l push.Leg
		if err := json.Unmarshal(b, &m); err != nil {
			s.t.Fatal(err)
		}
		if m.Type == "leg" && json.Unmarshal(m.Leg, &l) == nil && fits(l) {
			return
		}
	}
}

// TestWordsAgainstRoles suggests a swap and leaves it to the agent.
func TestWordsAgainstRoles(t *testing.T) {
	s := onStage(t, media.Call{ID: "c", Agent: "ann"},
		media.Leg{ID: "a", Role: media.RoleAgent, RoleReason: "label"},
		media.Leg{ID: "b", Role: media.RoleCustomer, RoleReason: "label"})
	page := s.pane("ann")
	s.say("a", "hello i lost my card")
	if a, b := s.legs(); len(a.Conflicts)+len(b.Conflicts) != 0 {
		t.Errorf("one leg alone, not very clear: %v, %v", a.Conflicts, b.Conflicts)
	}
	s.say("b", "good morning how can i help you today")
	s.until(page, func(l push.Leg) bool {
		return l.ID == "b" && l.Role == "customer" && l.Doubt == "“how can i help you”"
	})
	a, b := s.legs()
	if a.Role != "agent" || a.RoleReason != "label" || b.Role != "customer" {
		t.Errorf("the words swapped the roles: %+v, %+v", a, b)
	}
	if len(a.Conflicts) != 1 || a.Conflicts[0] != "customer by words: “i lost my card”" || len(b.Conflicts) != 1 || b.Conflicts[0] != "agent by words: “how can i help you”" {
		t.Errorf("conflicts %q, %q", a.Conflicts, b.Conflicts)
	}
	// More words, the same doubt: one line in the log for each leg.
	s.say("b", "may i have your account number")
	if n := strings.Count(s.logs.String(), "speaks against its role"); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	if err := page.WriteMessage(websocket.TextMessage, []byte(`{"type":"swap","call":"c"}`)); err != nil {
		t.Fatal(err)
	}
	s.until(page, func(l push.Leg) bool { return l.ID == "b" && l.Role == "agent" && l.Doubt == "" })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		a, b = s.legs()
		if len(a.Conflicts)+len(b.Conflicts) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if a.Role != "customer" || b.Role != "agent" || b.RoleReason != "swapped: asked for by ann" || len(a.Conflicts)+len(b.Conflicts) != 0 {
		t.Errorf("after the swap: %+v, %+v", a, b)
	}
	// What was chosen by hand is not doubted on the page again.
	if st := s.do(t, "POST", "/v1/calls/c/swap", "", nil); st != 200 {
		t.Errorf("status %d", st)
	}
	s.until(page, func(l push.Leg) bool { return l.ID == "b" && l.Role == "customer" && l.Doubt == "" })
	if a, _ = s.legs(); len(a.Conflicts) != 1 {
		t.Errorf("the record does not tell of the words: %q", a.Conflicts)
	}
	for _, words := range []string{"lost", "how can", "account number"} {
		if strings.Contains(s.logs.String(), words) {
			t.Errorf("the log tells what was said: %q", words)
		}
	}
}

// TestWordsDecide gives roles where nothing else does, until something else
// does.
func TestWordsDecide(t *testing.T) {
	s := onStage(t, media.Call{ID: "c"}, media.Leg{ID: "a", Identity: "sip:2207@pbx.example"}, media.Leg{ID: "b", Identity: "sip:5000@pbx.example"})
	if a, b := s.legs(); a.Role != "unknown" || b.Role != "unknown" {
		t.Fatalf("%+v, %+v", a, b)
	}
	s.say("a", "thank you for calling")
	a, b := s.legs()
	if a.Role != "agent" || a.RoleReason != "from what was said: “thank you for calling”" || b.Role != "customer" || b.RoleReason != "from what was said: on the other leg, “thank you for calling”" {
		t.Errorf("%+v, %+v", a, b)
	}
	if rec := s.running.call(t, "c"); rec.Agent != "2207" {
		t.Errorf("the call is on the page of %q", rec.Agent)
	}
	// Metadata outranks the words, which then stand against it.
	s.call.UpdateLeg(media.Leg{ID: "b", Identity: "sip:5000@pbx.example", Role: media.RoleAgent, RoleReason: "metadata"})
	a, b = s.legs()
	if b.Role != "agent" || b.RoleReason != "metadata" || a.Role != "customer" || len(b.Conflicts) != 1 || len(a.Conflicts) != 1 {
		t.Errorf("after metadata: %+v, %+v", a, b)
	}
	// By hand it is what somebody says it is, whatever is said later.
	if st := s.do(t, "POST", "/v1/calls/c/swap", `{"reason":"ann says so"}`, nil); st != 200 {
		t.Errorf("status %d", st)
	}
	s.say("a", "i lost my card and i would like to report it")
	s.say("b", "how can i help you")
	if a, b = s.legs(); a.Role != "agent" || b.Role != "customer" || a.RoleReason != "swapped: ann says so" {
		t.Errorf("after the swap: %+v, %+v", a, b)
	}
	// A leg that ends does not take the roles along.
	end := media.End{State: media.Ended, At: time.Now()}
	s.call.mu.Lock()
	first := s.call.running("a")
	s.call.mu.Unlock()
	first.End(end, media.LegStats{})
	s.say("b", "is there anything else i can help you with")
	if _, b = s.legs(); b.Role != "customer" {
		t.Errorf("after the other leg's end: %+v", b)
	}
	if strings.Contains(s.logs.String(), "calling") {
		t.Error("the log tells what was said")
	}
}

// TestWordsOnMixedLegs prove nothing.
func TestWordsOnMixedLegs(t *testing.T) {
	s := onStage(t, media.Call{ID: "c"}, media.Leg{ID: "a", Mixed: true}, media.Leg{ID: "b"})
	s.say("a", "thank you for calling")
	if a, b := s.legs(); a.Role != "unknown" || b.Role != "unknown" || len(a.Conflicts)+len(b.Conflicts) != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}
