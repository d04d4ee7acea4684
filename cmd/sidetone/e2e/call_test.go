//go:build e2e

package e2e

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/asr/text"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/guidance"
	"sidetone/kb"
	"sidetone/kb/retailbank"
	"sidetone/media"
)

// worstWER bounds the word error rate, in per cent, of each side of the demo call. The voices
// are synthetic and easy; a person's call is judged by `sidetone bench asr`.
const worstWER = 10.0

// record is what GET /v1/calls/{id} answers, as far as the tests look.
type record struct {
	State, Reason           string
	Agent, Source, External string
	Facts                   map[string]string
	Legs                    []struct {
		ID, Role, Address, Identity, Label string

		RoleReason string `json:"role_reason"`
		Stats      *struct {
			Received, Lost, Invalid, Foreign uint64
			DroppedFrames                    uint64 `json:"dropped_frames"`
		}
	}
	Transcript []utterance
	Pauses     []struct {
		StartMS int64  `json:"start_ms"`
		EndMS   *int64 `json:"end_ms"`
	}
	Cards []struct {
		guidance.Card
		State     string
		LatencyMS *int64 `json:"latency_ms"`
	}
}

// utterance is one final, on the call's clock.
type utterance struct {
	Role, Text string
	StartMS    int64 `json:"start_ms"`
	EndMS      int64 `json:"end_ms"`
}

func (u utterance) span() (start, end time.Duration) {
	return time.Duration(u.StartMS) * time.Millisecond, time.Duration(u.EndMS) * time.Millisecond
}

// pane holds a WebSocket as the page does: it acknowledges every card.
type pane struct {
	conn *websocket.Conn
	done chan struct{}

	mu    sync.Mutex
	types map[string]int
	// partials and finals count utterances' revisions; broken lists revisions
	// that changed stable words.
	partials, finals int
	broken           []string
	stable           map[[2]any][]string
	cards            []guidance.Card
	ended            string
}

func openPane(t *testing.T, s *server, agent string) *pane {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws://"+u.Host+"/v1/push/"+agent, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	p := &pane{conn: conn, done: make(chan struct{}), types: map[string]int{}, stable: map[[2]any][]string{}}
	go func() {
		defer close(p.done)
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				return
			}
			p.take(t, b)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-p.done })
	// The pane is at home in the server when it has its first messages.
	deadline := time.Now().Add(10 * time.Second)
	for !p.has("snapshot") {
		if time.Now().After(deadline) {
			t.Fatal("no snapshot for a new pane")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return p
}

func (p *pane) has(kind string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.types[kind] > 0
}

func (p *pane) take(t *testing.T, b []byte) {
	var m struct {
		Type      string
		Role      string
		Utterance int
		Final     bool
		Stable    int
		Words     []struct{ Text string }
		State     string
		Card      json.RawMessage
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Errorf("the server sent %q: %v", b, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.types[m.Type]++
	switch m.Type {
	case "utterance":
		if m.Final {
			p.finals++
		} else {
			p.partials++
		}
		key := [2]any{m.Role, m.Utterance}
		words := make([]string, len(m.Words))
		for i, w := range m.Words {
			words[i] = w.Text
		}
		was := p.stable[key]
		if !(m.Final && len(words) == 0) && !begins(words, was) {
			p.broken = append(p.broken, strings.Join(was, " ")+" -> "+strings.Join(words, " "))
		}
		p.stable[key] = words[:min(m.Stable, len(words))]
	case "card":
		var c guidance.Card
		if err := json.Unmarshal(m.Card, &c); err != nil {
			t.Errorf("card %s: %v", m.Card, err)
			return
		}
		p.cards = append(p.cards, c)
		ack := map[string]any{"type": "ack", "call": c.Call, "card": c.ID, "received_ms": 10.0, "painted_ms": 26.0}
		if err := p.conn.WriteJSON(ack); err != nil {
			t.Errorf("acknowledging a card: %v", err)
		}
	case "call_ended":
		p.ended = m.State
	}
}

// begins says whether words begin with what was stable before, but for casing and
// punctuation. Digits may have been masked, or turned out to be no secret.
func begins(words, stable []string) bool {
	if len(words) < len(stable) {
		return false
	}
	return slices.EqualFunc(words[:len(stable)], stable, func(a, b string) bool {
		plain := func(s string) string { return strings.ToLower(strings.Trim(s, ".,;:!?-…%$ ")) }
		return plain(a) == plain(b) || strings.Contains(a, text.Mask) || strings.Contains(b, text.Mask)
	})
}

func TestCallBecomesTranscriptAndCards(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	file, script := demoWav(t)
	p := openPane(t, s, "e2e")
	goroutines := s.metric(t, "go_goroutines")

	played := make(chan error, 1)
	go func() { played <- s.place(t.Context(), t, file, "--agent", "e2e", "--call", "demo") }()
	bother(t, s, "demo")
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	var rec record
	if status := s.api(t, http.MethodGet, "/v1/calls/demo", "", &rec); status != http.StatusOK {
		t.Fatalf("GET the call: status %d", status)
	}

	if rec.State != "ended" || p.ended != "ended" {
		t.Errorf("the call's state is %q (%s), the pane's %q, want ended", rec.State, rec.Reason, p.ended)
	}
	for _, l := range rec.Legs {
		switch {
		case l.Stats == nil:
			t.Errorf("leg %s has no statistics", l.ID)
		case l.Stats.Received < 5000 || l.Stats.Lost != 0 || l.Stats.DroppedFrames != 0:
			t.Errorf("leg %s: %+v, want all of some 5800 packets", l.ID, *l.Stats)
		case l.Stats.Foreign == 0:
			t.Errorf("leg %s: the other source's packets were not counted: %+v", l.ID, *l.Stats)
		}
	}
	checkTranscript(t, script, rec, media.RoleAgent, media.RoleCustomer)
	checkCards(t, script, rec)

	p.mu.Lock()
	if p.partials < 60 || p.finals < 10 {
		t.Errorf("%d partials and %d finals in a call of 116 s", p.partials, p.finals)
	}
	for _, b := range p.broken {
		t.Errorf("stable words changed: %s", b)
	}
	if p.types["error"] != 0 {
		t.Errorf("the pane got %d error messages", p.types["error"])
	}
	p.mu.Unlock()

	// The pane stays; everything that the call started must be gone.
	deadline := time.Now().Add(20 * time.Second)
	for s.metric(t, "go_goroutines") > goroutines+1 && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
	}
	if now := s.metric(t, "go_goroutines"); now > goroutines+1 {
		t.Errorf("%v goroutines after the call, %v before", now, goroutines)
	}
	s.stop(t)
	if strings.Contains(s.logs.String(), "level=ERROR") {
		t.Errorf("the server logged errors:\n%s", s.logs)
	}
}

// bother sends to the running call's ports what must not hurt it: noise, cut
// packets and a second, well-formed source.
func bother(t *testing.T, s *server, id string) {
	t.Helper()
	var rec record
	deadline := time.Now().Add(20 * time.Second)
	for s.api(t, http.MethodGet, "/v1/calls/"+id, "", &rec) != http.StatusOK || len(rec.Legs) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the call does not begin")
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The call's own packets come first: they take the port.
	time.Sleep(3 * time.Second)
	for _, l := range rec.Legs {
		conn, err := net.Dial("udp", l.Address)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			for _, b := range [][]byte{
				{}, {0x80}, []byte("GET / HTTP/1.0\r\n\r\n"), rtp(0, uint16(i), 0)[:9], rtp(18, uint16(i), 20), rtp(0, uint16(i), 160),
				{0x80, 200, 0, 6, 1, 2, 3, 4},
			} {
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		conn.Close()
	}
}

// rtp is a packet of the given payload type, with a payload of n bytes of
// digital silence.
func rtp(pt byte, seq uint16, n int) []byte {
	b := make([]byte, 12, 12+n)
	b[0], b[1] = 0x80, pt
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(b[8:], 0xfeedface)
	for range n {
		b = append(b, 0xff)
	}
	return b
}

// checkTranscript asserts that the words of each role are those of the script.
func checkTranscript(t *testing.T, script demo.Script, rec record, roles ...media.Role) {
	t.Helper()
	n := wer.New()
	for _, role := range roles {
		var ref, hyp []string
		for _, turn := range script.Turns {
			if turn.Role == role {
				ref = append(ref, turn.Text)
			}
		}
		for _, u := range rec.Transcript {
			if u.Role == role.String() {
				hyp = append(hyp, u.Text)
			}
		}
		c := n.Score(strings.Join(ref, " "), strings.Join(hyp, " "))
		t.Logf("%s: WER %.1f %% (%+v)", role, c.Percent(), c)
		if c.Percent() > worstWER {
			t.Errorf("%s: WER %.1f %%, want at most %.0f %%; heard:\n%s", role, c.Percent(), worstWER, strings.Join(hyp, "\n"))
		}
	}
}

// checkCards asserts that each cue of the script brought its card, with words
// of the cue's turn as the reason, and that nothing else claims a wish of the
// customer.
func checkCards(t *testing.T, script demo.Script, rec record) {
	t.Helper()
	elements, err := kb.Load(retailbank.Files())
	if err != nil {
		t.Fatal(err)
	}
	intents := map[string][]string{}
	for _, e := range elements {
		intents[e.ID] = append(intents[e.ID], e.Intents...)
	}
	n := wer.New()
	claimed := map[string]bool{}
	for _, turn := range script.Turns {
		var missed []string
		for i, cue := range turn.Cues {
			found := false
			for _, c := range rec.Cards {
				if c.Why.Intent == "" || !slices.Contains(intents[c.Why.Element], cue.Intent) {
					continue
				}
				var said []string
				for _, w := range c.Why.Words {
					said = append(said, n.Words(w.Text)...)
				}
				if !spokenIn(turn, c.Why.Words) {
					continue
				}
				claimed[c.ID], found = true, true
				t.Logf("%-18s %-28s because of %q, painted after %v ms", cue.Intent, c.Title, strings.Join(said, " "), ms(c.LatencyMS))
				if c.LatencyMS == nil {
					t.Errorf("card %q: no latency, though the pane acknowledged it", c.Title)
				}
			}
			// Of two cues in one breath the more exact, which comes last, may
			// speak for both.
			if !found {
				missed = append(missed, cue.Intent)
				if i == len(turn.Cues)-1 {
					t.Errorf("no card for %v because of %q", missed, cue.Phrase)
				}
			}
		}
	}
	var all []int64
	for _, c := range rec.Cards {
		if (c.Kind == guidance.Answer || c.Kind == guidance.Action || c.Kind == guidance.Offer) && !claimed[c.ID] {
			t.Errorf("card %q (%s) came for no cue: %+v", c.Title, c.Why.Element, c.Why.Words)
		}
		if c.LatencyMS != nil && len(c.Why.Words) > 0 {
			all = append(all, *c.LatencyMS)
		}
	}
	slices.SortFunc(all, cmp.Compare[int64])
	if len(all) > 0 {
		t.Logf("latency of %d cards, end of the word to painted: median %d ms, max %d ms", len(all), all[len(all)/2], all[len(all)-1])
	}
}

// spokenIn says whether all words were said by the turn's speaker during it. The
// call's clock begins a little before the audio does.
func spokenIn(turn demo.Turn, words []guidance.Said) bool {
	const slack = time.Second
	return len(words) > 0 && !slices.ContainsFunc(words, func(w guidance.Said) bool {
		start, end := time.Duration(w.StartMS)*time.Millisecond, time.Duration(w.EndMS)*time.Millisecond
		return w.Role != turn.Role.String() || start < turn.Start-slack || end > turn.End+slack
	})
}

func ms(v *int64) any {
	if v == nil {
		return "no"
	}
	return *v
}
