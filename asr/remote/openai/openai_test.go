package openai

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const secret = "sk-secret-123"

// peer answers like a transcription server and hears asrtest.Speak's speech.
type peer struct {
	t *testing.T
	// before, where set, sees each request, counted from 1, and may answer it
	// itself, which it says.
	before func(w http.ResponseWriter, r *http.Request, request int) (done bool)
	plain  bool

	requests, running, most atomic.Int64
	mu                      sync.Mutex
	forms                   []map[string][]string
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(p.requests.Add(1))
	now := p.running.Add(1)
	defer p.running.Add(-1)
	for most := p.most.Load(); now > most && !p.most.CompareAndSwap(most, now); most = p.most.Load() {
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/audio/transcriptions" || r.Header.Get("Authorization") != "Bearer "+secret {
		p.t.Errorf("%s %s, authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}
	if err := r.ParseMultipartForm(64 << 20); err != nil {
		return // the client has given up
	}
	p.mu.Lock()
	p.forms = append(p.forms, r.MultipartForm.Value)
	p.mu.Unlock()
	if p.before != nil && p.before(w, r, n) {
		return
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		p.t.Error(err)
		return
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		p.t.Error(err)
		return
	}
	words := asrtest.Hear(p.samples(b), 0)
	h := asr.Hypothesis{Words: words}
	reply := map[string]any{"text": h.Text() + "."}
	if !p.plain {
		timed := []map[string]any{}
		for _, w := range words {
			timed = append(timed, map[string]any{
				"word": w.Text, "start": float64(w.Start) / pcm.Rate, "end": float64(w.End) / pcm.Rate,
			})
		}
		reply["words"] = timed
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply)
}

// samples reads a WAV file. C17: its lengths are right.
func (p *peer) samples(b []byte) []int16 {
	le := binary.LittleEndian
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:16]) != "WAVEfmt " || string(b[36:40]) != "data" ||
		int(le.Uint32(b[4:])) != len(b)-8 || int(le.Uint32(b[40:])) != len(b)-44 ||
		le.Uint16(b[22:]) != 1 || le.Uint32(b[24:]) != pcm.Rate || le.Uint16(b[34:]) != 16 {
		p.t.Errorf("WAV header % x of %d bytes", b[:min(44, len(b))], len(b))
		return nil
	}
	var x []int16
	for i := 44; i+1 < len(b); i += 2 {
		x = append(x, int16(le.Uint16(b[i:])))
	}
	return x
}

func serve(t *testing.T, p *peer, c Config) *Engine {
	t.Helper()
	p.t = t
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	c.URL = srv.URL + "/v1"
	return open(t, c)
}

func open(t *testing.T, c Config) *Engine {
	t.Helper()
	c.Key, c.Model = secret, "whisper-1"
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestConformance(t *testing.T) {
	srv := httptest.NewServer(&peer{t: t})
	defer srv.Close()
	asleep := httptest.NewServer(&peer{t: t, before: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		<-r.Context().Done()
		return true
	}})
	defer asleep.Close()
	for _, partials := range []time.Duration{0, 300 * time.Millisecond} {
		t.Run(fmt.Sprint("a partial every ", partials), func(t *testing.T) {
			asrtest.Run(t, func(t *testing.T) asr.Engine { return open(t, Config{URL: srv.URL + "/v1", PartialEvery: partials}) }, asrtest.Options{
				Speech:   [][]int16{asrtest.Speak(1, 2, 3, 4, 5), asrtest.Speak(6, 7, 8), asrtest.Speak(9, 10, 11, 12)},
				Said:     []string{"w1 w2 w3 w4 w5", "w6 w7 w8", "w9 w10 w11 w12"},
				Partials: partials > 0,
				Pace:     time.Millisecond,
				Stalled:  func(t *testing.T) asr.Engine { return open(t, Config{URL: asleep.URL + "/v1", PartialEvery: partials}) },
			})
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{URL: "https://api.openai.com/v1", Model: "whisper-1"}, ""},
		{Config{Model: "m"}, "URL"},
		{Config{URL: "ws://there", Model: "m"}, "URL"},
		{Config{URL: "https://there?key=" + secret, Model: "m"}, "URL"},
		{Config{URL: "https://user:" + secret + "@there", Model: "m"}, "URL"},
		{Config{URL: "https://there"}, "Model"},
		{Config{URL: "https://there", Model: "m", Key: secret + "\n"}, "Key"},
		{Config{URL: "https://there", Model: "m", Format: "srt"}, "Format"},
		{Config{URL: "https://there", Model: "m", PartialEvery: 1}, "partial"},
		{Config{URL: "https://there", Model: "m", Concurrency: -1}, "Concurrency"},
		{Config{URL: "https://there", Model: "m", Timeout: -1}, "Timeout"},
		{Config{URL: "https://there", Model: "m", MaxUtterance: 1}, "MaxUtterance"},
	} {
		_, err := New(c.c)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.c, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("C16: the error tells the secret: %v", err)
		}
	}
}

// C16
func TestKeyIsNotPrinted(t *testing.T) {
	c := Config{Key: secret}
	j, err := json.Marshal(map[string]any{"key": c.Key})
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Key, c.Key) + string(j); strings.Contains(all, secret) {
		t.Errorf("printed: %s", all)
	}
}

type played struct {
	asrtest.Checker
	t  *testing.T
	s  asr.Stream
	at int64
}

func begin(t *testing.T, e *Engine) *played {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{
		Call: "c", Leg: "a", Language: "en",
		Phrases: []asr.Phrase{{Text: "Sidetone"}, {Text: " Mr.\nO'Neil "}, {Text: strings.Repeat("x", maxPrompt)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &played{t: t, s: s}
}

func (p *played) say(words ...int16) error {
	edges := []asr.Edge{{Kind: asr.Begin, At: p.at}}
	var f pcm.Frame
	for x := asrtest.Speak(words...); len(x) > 0; x = x[min(len(x), pcm.FrameSamples):] {
		f.Start = p.at
		copy(f.Samples[:], x)
		p.at = f.End()
		hs, err := p.s.Accept(&f, edges)
		if err := errors.Join(p.Take(hs), err); err != nil {
			return err
		}
		edges = nil
	}
	return nil
}

func (p *played) finish() error {
	hs, err := p.s.Finish(p.t.Context())
	return errors.Join(p.Take(hs), err)
}

func (p *played) end() error {
	hs, err := p.s.Accept(&pcm.Frame{Start: p.at}, []asr.Edge{{Kind: asr.End, At: p.at}})
	p.at += pcm.FrameSamples
	return errors.Join(p.Take(hs), err)
}

func TestWhatIsPosted(t *testing.T) {
	for _, f := range []Format{Verbose, Plain} {
		t.Run(string(f), func(t *testing.T) {
			p := &peer{plain: f == Plain}
			l := begin(t, serve(t, p, Config{Format: f}))
			if err := errors.Join(l.say(1, 2, 3), l.finish()); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(l.Texts()); got != "[w1 w2 w3.]" {
				t.Errorf("finals %s", got)
			}
			want := "map[language:[en] model:[whisper-1] prompt:[Sidetone, Mr. O'Neil] response_format:[verbose_json] temperature:[0] timestamp_granularities[]:[word segment]]"
			if f == Plain {
				want = "map[language:[en] model:[whisper-1] prompt:[Sidetone, Mr. O'Neil] response_format:[json] temperature:[0]]"
			}
			if got := fmt.Sprint(p.forms[0]); got != want {
				t.Errorf("posted %s, want %s", got, want)
			}
			if len(p.forms) != 1 {
				t.Errorf("%d posts", len(p.forms))
			}
		})
	}
}

// C17, C13: 429 and 5xx pass, not before the server has said; other refusals do
// not.
func TestRefusals(t *testing.T) {
	refuse := func(status int, after, body string, times int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n > times {
				return false
			}
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	const ever = 1 << 30
	cases := []struct {
		name    string
		before  func(http.ResponseWriter, *http.Request, int) bool
		giveUp  time.Duration
		posts   int64
		wantErr string
	}{
		{"429", refuse(429, "1", `{"error":{"message":"slow down"}}`, 1), 0, 2, ""},
		{"503 twice", refuse(503, "", "", 2), 0, 3, ""},
		{"429 for too long", refuse(429, "60", `{"error":{"message":"slow down"}}`, ever), 0, 1, "given up after 1 attempts: the server answers 429 Too Many Requests: slow down"},
		{"401", refuse(401, "", `{"error":{"message":"wrong key: `+secret+`"}}`, ever), 0, 1, "401 Unauthorized: wrong key: …"},
		{"413", refuse(413, "", "too large", ever), 0, 1, "413"},
		{"no transcription", refuse(200, "", "{}", ever), 0, 1, "no text"},
		{"a dropped connection", func(_ http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, 0, 2, ""},
		{"an endless reply", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write(make([]byte, maxReply+1))
			return true
		}, time.Millisecond, 1, "more than 4194304 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &peer{before: c.before}
			l := begin(t, serve(t, p, Config{GiveUp: c.giveUp}))
			err := errors.Join(l.say(1, 2, 3), l.finish())
			if c.wantErr == "" && (err != nil || fmt.Sprint(l.Texts()) != "[w1 w2 w3.]") || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("finals %q, error %v, want %q", l.Texts(), err, c.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("C16: the error tells the key: %v", err)
			}
			if n := p.requests.Load(); n != c.posts {
				t.Errorf("%d posts, want %d", n, c.posts)
			}
		})
	}
}

// C13: all legs together have so many posts at once.
func TestConcurrencyIsBounded(t *testing.T) {
	const legs, bound = 12, 3
	started, leave := make(chan struct{}, 100), make(chan struct{})
	p := &peer{before: func(http.ResponseWriter, *http.Request, int) bool {
		started <- struct{}{}
		<-leave
		return false
	}}
	e := serve(t, p, Config{Concurrency: bound})
	var all []*played
	for range legs {
		l := begin(t, e)
		if err := errors.Join(l.say(1, 2), l.end()); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	for range bound {
		<-started
	}
	close(leave)
	for _, l := range all {
		if err := l.finish(); err != nil || len(l.Finals) != 1 {
			t.Fatal(err, l.Texts())
		}
	}
	if n := p.most.Load(); n != bound || p.requests.Load() != legs {
		t.Errorf("%d posts at once, %d in all", n, p.requests.Load())
	}
}

// A partial under way is given up when speech has ended: the final has its
// place.
func TestFinalsBeforePartials(t *testing.T) {
	partial := make(chan struct{})
	p := &peer{before: func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n > 1 {
			return false
		}
		close(partial)
		<-r.Context().Done()
		return true
	}}
	e := serve(t, p, Config{Concurrency: 1, PartialEvery: 300 * time.Millisecond})
	l := begin(t, e)
	if err := l.say(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	<-partial
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.Texts()); got != "[w1 w2 w3.]" || e.SkippedPartials() != 1 {
		t.Errorf("finals %s, %d partials skipped", got, e.SkippedPartials())
	}
}

// C18: a server is verified, by default and by a CA of one's own.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(&peer{t: t})
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	url := srv.URL + "/v1"
	l := begin(t, open(t, Config{URL: url, GiveUp: time.Millisecond}))
	var unknown *tls.CertificateVerificationError
	if err := errors.Join(l.say(1, 2, 3), l.finish()); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: error %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	e := open(t, Config{URL: url, TLS: &tls.Config{RootCAs: pool}})
	l = begin(t, e)
	if err := errors.Join(l.say(1, 2, 3), l.finish(), e.Close()); err != nil || len(l.Finals) != 1 {
		t.Errorf("a known certificate: %q, %v", l.Texts(), err)
	}
}

func TestPostsTimeOut(t *testing.T) {
	p := &peer{before: func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n == 1 {
			<-r.Context().Done()
		}
		return n == 1
	}}
	l := begin(t, serve(t, p, Config{Timeout: 500 * time.Millisecond}))
	if err := errors.Join(l.say(1, 2, 3), l.finish()); err != nil || len(l.Finals) != 1 {
		t.Errorf("finals %q, %v", l.Texts(), err)
	}
	if _, err := l.s.Finish(context.Background()); err != nil {
		t.Errorf("a second Finish: %v", err)
	}
}
