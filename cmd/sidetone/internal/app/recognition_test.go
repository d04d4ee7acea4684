package app

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/models"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
)

const secret = "sk-4f1d0a7c99"

// openAIPeer hears asrtest.Speak's speech, unless it refuses.
type openAIPeer struct {
	refuse bool

	mu   sync.Mutex
	told []string
}

func (p *openAIPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.told = append(p.told, strings.Join([]string{
		r.Header.Get("Authorization"), r.FormValue("model"), r.FormValue("language"), r.FormValue("prompt"),
	}, "|"))
	p.mu.Unlock()
	if p.refuse {
		http.Error(w, `{"error":{"message":"Incorrect key: `+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+`"}}`, http.StatusUnauthorized)
		return
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || len(b) < 44 {
		http.Error(w, "no WAV file", http.StatusBadRequest)
		return
	}
	h := asr.Hypothesis{Words: asrtest.Hear(samples(b[44:]), 0)}
	_ = json.NewEncoder(w).Encode(map[string]string{"text": h.Text()})
}

// voskPeer answers at the end of an utterance.
func voskPeer(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	var audio []int16
	for n := 0; ; n++ {
		kind, b, err := c.ReadMessage()
		switch {
		case err != nil:
			return
		case n == 0:
			continue
		case kind == websocket.BinaryMessage:
			audio = append(audio, samples(b)...)
			err = c.WriteJSON(map[string]string{"partial": ""})
		default:
			result := []map[string]any{}
			for _, w := range asrtest.Hear(audio, 0) {
				result = append(result, map[string]any{
					"word": w.Text, "start": float64(w.Start) / pcm.Rate, "end": float64(w.End) / pcm.Rate, "conf": 1,
				})
			}
			h := asr.Hypothesis{Words: asrtest.Hear(audio, 0)}
			err = c.WriteJSON(map[string]any{"text": h.Text(), "result": result})
		}
		if err != nil {
			return
		}
	}
}

func samples(b []byte) []int16 {
	x := make([]int16, len(b)/2)
	for i := range x {
		x[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return x
}

// says plays an utterance of five words to a stream and returns the finals.
func says(t *testing.T, e asr.Engine, c asr.StreamConfig) string {
	t.Helper()
	s, err := e.NewStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	speech := asrtest.Speak(1, 2, 3, 4, 5)
	end := int64(len(speech))
	speech = append(speech, make([]int16, pcm.Rate)...)
	var text []string
	take := func(hs []asr.Hypothesis, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hs {
			if h.Final {
				text = append(text, h.Text())
			}
		}
	}
	for at := 0; at+pcm.FrameSamples <= len(speech); at += pcm.FrameSamples {
		f := pcm.Frame{Start: int64(at)}
		copy(f.Samples[:], speech[at:])
		var edges []asr.Edge
		switch {
		case at == 0:
			edges = []asr.Edge{{Kind: asr.Begin}}
		case f.Start <= end+pcm.Rate/2 && end+pcm.Rate/2 < f.End():
			edges = []asr.Edge{{Kind: asr.End, At: end}}
		}
		take(s.Accept(&f, edges))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	take(s.Finish(ctx))
	return strings.Join(text, "|")
}

// made is a recogniser of remote engines: peers of the test's own.
type made struct {
	*recogniser
	logs    *logBuffer
	metrics *metrics
	openai  *openAIPeer
}

func makeRecogniser(t *testing.T, edit func(*config.Recognition)) *made {
	t.Helper()
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	m := &made{logs: &logBuffer{}, metrics: newMetrics(), openai: &openAIPeer{}}
	openai, vosk := httptest.NewServer(m.openai), httptest.NewServer(http.HandlerFunc(voskPeer))
	t.Cleanup(func() { openai.Close(); vosk.Close() })
	c := cfg.Recognition
	c.Vosk.URL = strings.Replace(vosk.URL, "http", "ws", 1)
	c.OpenAI.URL, c.OpenAI.Model = openai.URL+"/v1", "whisper-1"
	c.OpenAI.KeyFile = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(c.OpenAI.KeyFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	edit(&c)
	m.recogniser, err = newRecogniser(c, models.Default(), m.metrics, slog.New(slog.NewTextHandler(m.logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// told is all that leaves the recogniser for people to read.
func (m *made) told(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	reply, err := json.Marshal(m.reply())
	if err != nil {
		t.Fatal(err)
	}
	return m.logs.String() + w.Body.String() + string(reply)
}

const fiveWords = "w1 w2 w3 w4 w5"

func TestEnginesAreChosen(t *testing.T) {
	c := asr.StreamConfig{Call: "c", Leg: "l", Language: "de", Phrases: []asr.Phrase{{Text: "Ann"}, {Text: "Mr. O'Neil"}}}
	t.Run("vosk", func(t *testing.T) {
		m := makeRecogniser(t, func(r *config.Recognition) { r.Engine = config.Vosk })
		if got := says(t, m, c); got != fiveWords || len(m.openai.told) != 0 {
			t.Errorf("heard %q", got)
		}
	})
	t.Run("openai", func(t *testing.T) {
		m := makeRecogniser(t, func(r *config.Recognition) { r.Engine = config.OpenAI })
		if got := says(t, m, c); got != fiveWords {
			t.Errorf("heard %q", got)
		}
		if want := []string{"Bearer " + secret + "|whisper-1|de|Ann, Mr. O'Neil"}; !slices.Equal(m.openai.told, want) {
			t.Errorf("the server was told %q, want %q", m.openai.told, want)
		}
		if all := m.told(t); strings.Contains(all, secret) || !strings.Contains(all, `"engine":"openai"`) {
			t.Errorf("told:\n%s", all)
		}
	})
	t.Run("fallback", func(t *testing.T) {
		m := makeRecogniser(t, func(r *config.Recognition) { r.Engine, r.Fallback = config.OpenAI, config.Vosk })
		m.openai.refuse = true
		if got := says(t, m, c); got != fiveWords {
			t.Errorf("heard %q", got)
		}
		all := m.told(t)
		for _, want := range []string{"the fallback goes on", `sidetone_asr_failovers_total{to="fallback"} 1`, `"failures":1`, "401"} {
			if !strings.Contains(all, want) {
				t.Errorf("nothing tells %q", want)
			}
		}
		if strings.Contains(all, secret) || len(m.openai.told) == 0 {
			t.Errorf("told after %d requests:\n%s", len(m.openai.told), all)
		}
	})
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": " \n", "two lines": secret + "\n" + secret, "two words": secret + " " + secret, "binary": secret + "\x00", "long": strings.Repeat(secret, 1000),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := readKey(file); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), file) || k != "" {
			t.Errorf("%s: %v, want an error that names the file alone", name, err)
		}
	}
	if _, err := readKey(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file is accepted")
	}
	if k, err := readKey(""); err != nil || k != "" {
		t.Errorf("no file: %v", err)
	}
}

// local is an engine whisper that says of itself what the test wants.
type local struct {
	load  whisper.Load
	stats whisper.Stats
}

func (l *local) Load() whisper.Load    { return l.load }
func (l *local) Stats() *whisper.Stats { return &l.stats }

func TestLanguageIsChecked(t *testing.T) {
	english, many := []string{"en"}, []string{"en", "zh", "de"}
	for _, c := range []struct {
		language string
		r        *recogniser
		want     string
	}{
		{"en", &recogniser{local: &local{}, languages: english}, ""},
		{"auto", &recogniser{local: &local{}, languages: many}, ""},
		{"de", &recogniser{local: &local{}, languages: many}, ""},
		{"xx", &recogniser{}, ""},
		{"auto", &recogniser{}, ""},
		{"auto", &recogniser{local: &local{}, languages: english, c: config.Recognition{Model: "m"}}, "the model m knows only English"},
		{"de", &recogniser{local: &local{}, languages: english, c: config.Recognition{Model: "m"}}, `"de" is unknown to the model m`},
		{"ja", &recogniser{local: &local{}, languages: many, c: config.Recognition{Model: "m", FinalsModel: "f"}}, `"ja" is unknown to one of the models m and f`},
	} {
		err := c.r.checkLanguage(c.language)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.language, err, c.want)
		}
	}
}

// noted is an engine that notes what it is told.
type noted struct {
	asrtest.Fake
	mu      sync.Mutex
	streams []asr.StreamConfig
}

func (n *noted) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	n.mu.Lock()
	n.streams = append(n.streams, c)
	n.mu.Unlock()
	return n.Fake.NewStream(ctx, c)
}

func TestSpeechOfACallReachesTheEngine(t *testing.T) {
	engine := &noted{}
	r := startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: engine, c: c, local: &local{}, languages: []string{"en", "zh"}}, nil
	}, func(c *config.Config) {
		c.Recognition.Phrases, c.Recognition.PhraseWeight = []string{"Sidetone", "Ann"}, 3
	})
	legs := `"agent":"ann","legs":[{"role":"agent"},{"role":"customer"}]`
	for _, c := range []struct{ name, fields, language, phrases string }{
		{"plain", "", "en", "Sidetone Ann"},
		{"own", `,"language":"zh","phrases":["张伟","Ann"]`, "zh", "张伟 Ann Sidetone"},
		{"auto", `,"language":"auto"`, "", "Sidetone Ann"},
	} {
		engine.streams = nil
		if st := r.do(t, "POST", "/v1/calls", `{"call":"`+c.name+`",`+legs+c.fields+`}`, nil); st != 201 {
			t.Fatalf("%s: status %d", c.name, st)
		}
		if len(engine.streams) != 2 || engine.streams[0].Leg != "agent" || engine.streams[1].Leg != "customer" {
			t.Fatalf("%s: streams %+v", c.name, engine.streams)
		}
		for _, s := range engine.streams {
			var phrases []string
			for _, p := range s.Phrases {
				phrases = append(phrases, p.Text)
				if p.Weight != 3 {
					t.Errorf("%s: %q weighs %v", c.name, p.Text, p.Weight)
				}
			}
			if got := strings.Join(phrases, " "); s.Call != c.name || s.Language != c.language || got != c.phrases {
				t.Errorf("%s: call %q, language %q, phrases %q", c.name, s.Call, s.Language, got)
			}
		}
	}
	var refused apiError
	if st := r.do(t, "POST", "/v1/calls", `{`+legs+`,"language":"fr"}`, &refused); st != 400 || !strings.Contains(refused.Text, `language: "fr" is unknown`) {
		t.Errorf("an unknown language: %d %+v", st, refused)
	}
	if strings.Contains(r.logs.String(), "张伟") {
		t.Error("the log tells a call's phrases")
	}
	r.stop()
	if opened, open := engine.Streams(); opened != 6 || open != 0 {
		t.Errorf("%d streams opened, %d left open; want 6 and none", opened, open)
	}
}

func TestOverloadRefusesCalls(t *testing.T) {
	engine := &noted{}
	own := &local{load: whisper.Load{Busy: 0.5, PartialWait: 1600 * time.Millisecond, FinalWait: 900 * time.Millisecond}}
	r := startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: engine, c: c, local: own, languages: []string{"en"}}, nil
	}, nil)
	status, header, b := r.ask(t, "POST", "/v1/calls", exampleBody)
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(string(b), "recognition is overloaded: partials wait 1.6s") || !strings.Contains(string(b), "try again") {
		t.Errorf("an overloaded server: %d, %v, %s", status, header, b)
	}
	if opened, _ := engine.Streams(); opened != 0 {
		t.Errorf("%d streams of the refused call were opened", opened)
	}
	// Just below the limit the door stays shut, or it would flap.
	own.load.PartialWait = 1400 * time.Millisecond
	if st := r.do(t, "POST", "/v1/calls", exampleBody, nil); st != 503 {
		t.Errorf("a call when the load has hardly fallen: status %d", st)
	}
	own.load.PartialWait = 1200 * time.Millisecond
	if st := r.do(t, "POST", "/v1/calls", `{"call":"taken","agent":"ann","legs":[{"role":"agent"}]}`, nil); st != 201 {
		t.Errorf("a call when the load has fallen: status %d", st)
	}
	own.load.FinalWait = 2500 * time.Millisecond
	if status, _, b = r.ask(t, "POST", "/v1/calls", exampleBody); status != 503 || !strings.Contains(string(b), "a final waited 2.5s") {
		t.Errorf("late finals: %d %s", status, b)
	}
	// A call that was taken keeps its place, and so have the legs that it still gets.
	if st := r.do(t, "POST", "/v1/calls/taken/legs", `{"role":"customer"}`, nil); st != 201 {
		t.Errorf("a leg of a running call: status %d", st)
	}
	var told recognitionReply
	if st := r.do(t, "GET", "/v1/recognition", "", &told); st != 200 || told.Whisper == nil || !told.Whisper.Load.Overloaded ||
		told.Whisper.Load.PartialWaitMS != 1200 || told.Whisper.Load.Busy != 0.5 {
		t.Errorf("told %d %+v", st, told)
	}
	_, _, metrics := r.ask(t, "GET", "/metrics", "")
	for _, want := range []string{
		`sidetone_calls_refused_total{cause="overload",source="rtp"} 3`, "sidetone_asr_overloaded 1", "sidetone_asr_load_busy 0.5",
		"sidetone_asr_partial_wait_seconds 1.2", "sidetone_asr_final_wait_seconds 2.5", "sidetone_asr_streams_refused 0",
		`sidetone_door_shut{cause="overload"} 1`, `sidetone_door_shut{cause="ports"} 0`,
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no metric %s", want)
		}
	}
	// Limits of 0 refuse nobody.
	r.recogniser.c.MaxFinalWait = 0
	if st := r.do(t, "POST", "/v1/calls", exampleBody, nil); st != 201 {
		t.Errorf("a call without limits: status %d", st)
	}
}

// The engine that the built-in weights make tells what it is.
func TestWhisperIsTold(t *testing.T) {
	r := start(t, func(c *config.Config) {
		c.Recognition.Compute, c.Recognition.Fallback = "int8", config.Vosk
		c.Recognition.Vosk.URL = "ws://127.0.0.1:1"
	})
	var told recognitionReply
	st := r.do(t, "GET", "/v1/recognition", "", &told)
	if st != 200 || told.Engine != "whisper" || told.Fallback != "vosk" || told.Whisper == nil || told.Failover == nil {
		t.Fatalf("told %d %+v", st, told)
	}
	if w := told.Whisper; w.Model != "whisper-tiny.en" || w.Compute != "int8" || w.Workers != 1 || !slices.Equal(w.Languages, []string{"en"}) || w.Load.Overloaded {
		t.Errorf("told %+v", w)
	}
	if warned := strings.Contains(r.logs.String(), "default would be faster"); warned == model.Int8.Fast() {
		t.Errorf("warned of a slow mode: %v", warned)
	}
	var refused apiError
	if st := r.do(t, "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"agent"}],"language":"de"}`, &refused); st != 400 || !strings.Contains(refused.Text, "whisper-tiny.en") {
		t.Errorf("German: %d %+v", st, refused)
	}
}

func TestLanguageThatTheModelLacksIsRefused(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Recognition.Language = "de"
	if _, err := newRecogniser(cfg.Recognition, models.Default(), newMetrics(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), `recognition.language: "de" is unknown to the model whisper-tiny.en`) {
		t.Errorf("a model that lacks the language: %v", err)
	}
}
