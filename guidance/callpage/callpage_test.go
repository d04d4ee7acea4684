package callpage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/guidance/pane"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/internal/webpage/pagetest"
)

func TestRoutes(t *testing.T) {
	pagetest.Routes(t, Handler(), "GET /calls 200 text/html", "GET /calls/20260304-050607-a 200 text/html",
		"GET /callpage/call.js 200 text/javascript", "GET /callpage/calls.css 200 text/css", "GET /callpage/none.js 404", "POST /calls 405")
	pagetest.Served(t, Handler(), files, Prefix)
	pagetest.StandsAlone(t, files)
	if n := pagetest.Strings(t, files, 80, `say\("(\w+)"`, `has\("(\w+_)"`); n < 40 {
		t.Errorf("only %d strings are asked for: the test has lost its way", n)
	}
}

const (
	key     = "20260304-090000-abcdefgh"
	started = "2026-03-04T09:00:00Z"
)

// spoken is a line of the call that the pages show.
type spoken struct {
	Leg       string `json:"leg"`
	Role      string `json:"role"`
	Utterance int    `json:"utterance"`
	StartMS   int64  `json:"start_ms"`
	EndMS     int64  `json:"end_ms"`
	Text      string `json:"text"`
	Written   string `json:"written,omitempty"`
	Words     []word `json:"words,omitempty"`
}

type word struct {
	Text    string `json:"text"`
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms"`
}

func talk() []spoken {
	lines := []spoken{
		{Leg: "a", Role: "agent", Utterance: 1, StartMS: 500, Text: "Good morning, how can I help?"},
		{Leg: "c", Role: "customer", Utterance: 1, StartMS: 3000, Text: "I lost my card on March twenty third", Written: "I lost my card on 03/23"},
		{Leg: "c", Role: "customer", Utterance: 2, StartMS: 6000, Text: "<b>and</b> somebody spent twenty five dollars", Written: "<b>and</b> somebody spent $25"},
		{Leg: "a", Role: "agent", Utterance: 2, StartMS: 9000, Text: "I block it at once."},
	}
	for i := range lines {
		l := &lines[i]
		at := l.StartMS
		for _, w := range strings.Fields(l.Text) {
			l.Words = append(l.Words, word{w, at, at + 280})
			at += 300
		}
		l.EndMS = at
	}
	return lines
}

// server answers as Sidetone does, about one call, that has a recording or an
// answer why it has none.
func server(t *testing.T, recording int, note string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", pane.Handler())
	pages, assets := Routes()
	for _, p := range append(pages, assets) {
		mux.Handle(p, Handler())
	}
	reply := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	type object = map[string]any
	summary := object{
		"key": key, "call": "c1", "agent": "ann", "customer": "sip:+4930111@carrier.example", "started": started, "duration_ms": 15000,
		"state": "ended", "closed": true, "utterances": 4, "cards": object{"shown": 2}, "recording": recording == 200,
	}
	other := object{
		"key": "20260304-080000-zzzzzzzz", "call": "c0", "agent": "bob", "started": "2026-03-04T08:00:00Z", "duration_ms": 3_700_000,
		"state": "lost", "reason": "connection reset", "closed": true, "utterances": 0, "cards": object{"shown": 0}, "recording": false,
	}
	mux.HandleFunc("GET /v1/calls", func(w http.ResponseWriter, r *http.Request) {
		if words := r.URL.Query().Get("text"); words != "" {
			if words != "card" {
				reply(w, object{"calls": []any{}})
				return
			}
			found := object{}
			for k, v := range summary {
				found[k] = v
			}
			found["found"] = object{"leg": "c", "role": "customer", "start_ms": 3000, "pieces": []object{{"text": "I lost my "}, {"text": "card", "hit": true}, {"text": " on March"}}}
			reply(w, object{"calls": []any{found}})
			return
		}
		if r.URL.Query().Get("before") != "" {
			reply(w, object{"calls": []any{other}})
			return
		}
		reply(w, object{"calls": []any{summary}, "next": "x"})
	})
	call := object{
		"key": key, "events": 20, "node": "n1", "call": "c1", "agent": "ann", "source": "siprec", "external": "cs-7", "direction": "inbound", "language": "en",
		"facts": object{"X-Queue": "cards"}, "started": started, "ended": "2026-03-04T09:00:15Z", "state": "ended", "reason": "BYE", "closed": true, "record": true,
		"legs": []object{
			{"id": "a", "role": "agent", "role_reason": "its address fits 22??", "identity": "sip:2207@pbx.example", "codec": "PCMU", "ended": true,
				"stats": object{"received": 990, "lost": 10, "jitter_ms": 3.2, "speech_frames": 200, "level_dbfs": -21.4}},
			{"id": "c", "role": "customer", "role_reason": "the other leg", "role_conflicts": []string{"its label says 2"}, "identity": "sip:+4930111@carrier.example", "ended": true},
		},
		"pauses": []object{{"start_ms": 11000, "end_ms": 13000, "reason": "card data", "resumed": "keys"}},
		"gaps":   []object{{"reason": "the fork was lost", "gap_ms": 1200}},
		"cards": []object{
			{"id": "k1", "kind": "action", "title": "Block the card", "body": "Block it first.\nThen ask.", "born": "2026-03-04T09:00:05.3Z", "state": "used", "latency_ms": 480,
				"from_words": true, "painted": "2026-03-04T09:00:05.5Z", "painted_by": "ann",
				"why": object{"rule": "lost-card", "words": []object{{"role": "customer", "text": "lost my card", "start_ms": 3300}}}},
			{"id": "k2", "kind": "offer", "title": "Travel insurance", "body": "", "born": "2026-03-04T09:00:08Z", "state": "withdrawn", "reason": "expired", "why": object{"rule": "travel"}},
		},
	}
	lines := talk()
	plain := talk()
	for i := range plain {
		plain[i].Words = nil
	}
	call["transcript"] = plain
	if recording == 200 {
		call["recording"] = object{"format": "wav", "duration_ms": 15000, "bytes": 481_000, "left": []string{"a"}, "right": []string{"c"}, "lost_ms": 500, "problem": "the disk was too slow"}
	}
	mux.HandleFunc("GET /v1/calls/"+key, func(w http.ResponseWriter, _ *http.Request) { reply(w, call) })
	mux.HandleFunc("GET /v1/calls/"+key+"/events", func(w http.ResponseWriter, _ *http.Request) {
		enc := json.NewEncoder(w)
		for i, l := range lines {
			if err := enc.Encode(object{"key": key, "n": i + 1, "kind": "utterance.final", "body": l}); err != nil {
				t.Error(err)
			}
		}
	})
	sound := tone(t)
	mux.HandleFunc("GET /v1/calls/"+key+"/recording", func(w http.ResponseWriter, r *http.Request) {
		if note != "" {
			w.Header().Set("Sidetone-Recording-Note", note)
		}
		if recording != 200 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(recording)
			fmt.Fprint(w, `{"error":"the disk burns"}`)
			return
		}
		w.Header().Set("Content-Type", "audio/wav")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(sound))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// tone is 15 s of sound.
func tone(t *testing.T) []byte {
	t.Helper()
	ch := make([]int16, 15*8000)
	for i := range ch {
		ch[i] = int16(3000 * math.Sin(float64(i)/4))
	}
	var b bytes.Buffer
	if err := wav.Encode(&b, &wav.Audio{Rate: 8000, Channels: [][]int16{ch, ch}}, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// browser starts one; its pages open in it.
func browser(t *testing.T) context.Context {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(needs.Program(t, "chromium", "chromium-browser", "google-chrome")), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.Flag("mute-audio", true), chromedp.Flag("lang", "en"),
	}
	for _, f := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return ctx
}
