// Package openai recognises speech with a server that speaks OpenAI's
// transcription API, POST /v1/audio/transcriptions: OpenAI's own, or
// faster-whisper's, vLLM's, LocalAI's.
//
// Each utterance is posted when it has ended and so gets its final. Partials
// cost a post of all that has been said so far and are off unless asked for;
// they then give way to finals. All legs share a bounded number of posts.
package openai

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/asr/remote"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// Key is a secret that prints as dots.
type Key string

// String implements fmt.Stringer.
func (Key) String() string { return "…" }

// GoString implements fmt.GoStringer.
func (k Key) GoString() string { return k.String() }

// MarshalText implements encoding.TextMarshaler, for logs in JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Format is the form of the replies.
type Format string

// The formats that are understood.
const (
	// Verbose gives words with times, where the model has them.
	Verbose Format = "verbose_json"
	// Plain gives text only, for models that offer nothing else; the words'
	// times are guesses.
	Plain Format = "json"
)

// Config tells where the server is; URL and Model are needed.
type Config struct {
	// URL is the API's, such as https://api.openai.com/v1.
	URL string
	// Key is sent as bearer token; empty: none is sent.
	Key Key
	// Model is the server's name of the model.
	Model string
	// Format is the form of the replies; default Verbose.
	Format Format
	// TLS is for https; nil verifies the server with the system's certificates.
	TLS *tls.Config
	// PartialEvery is how much new audio makes a partial; 0: none are asked for.
	PartialEvery time.Duration
	// Concurrency is how many posts run at once, for all legs; default 4.
	Concurrency int
	// Timeout bounds each post; default 20 s.
	Timeout time.Duration
	// MaxUtterance and GiveUp are as in remote.Config.
	MaxUtterance, GiveUp time.Duration
}

const (
	defaultConcurrency = 4
	maxConcurrency     = 1024
	defaultTimeout     = 20 * time.Second
	minPartialEvery    = 200 * time.Millisecond
	longest            = 10 * time.Minute
	// maxReply bounds a reply's bytes.
	maxReply = 4 << 20
	// maxPrompt bounds a prompt's bytes: Whisper takes 224 tokens of it.
	maxPrompt = 700
	// hold is how far before the end of a partial's audio a word ends that two
	// partials have made stable.
	hold = 400 * time.Millisecond
)

func (c Config) withDefaults() (Config, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return c, errors.New("openai: URL is not of the form https://host/v1")
	}
	if c.Format == "" {
		c.Format = Verbose
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	switch {
	case c.Model == "":
		return c, errors.New("openai: no Model; the server's documentation names those that it has")
	case c.Format != Verbose && c.Format != Plain:
		return c, fmt.Errorf("openai: Format is %q, want %q or %q", c.Format, Verbose, Plain)
	case strings.ContainsAny(string(c.Key), "\r\n"):
		return c, errors.New("openai: Key has more than one line")
	case c.PartialEvery != 0 && c.PartialEvery < minPartialEvery:
		return c, fmt.Errorf("openai: a partial every %v, want 0 or at least %v", c.PartialEvery, minPartialEvery)
	case c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return c, fmt.Errorf("openai: Concurrency is %d, want 1 to %d", c.Concurrency, maxConcurrency)
	case c.Timeout < 0 || c.Timeout > longest:
		return c, fmt.Errorf("openai: Timeout is %v, want more than 0 and at most %v", c.Timeout, longest)
	}
	return c, nil
}

// Engine is a server with the API. It is safe for concurrent use.
type Engine struct {
	*remote.Engine
	r *recogniser
}

var _ asr.Engine = (*Engine)(nil)

// New makes an Engine; nothing is sent before somebody has spoken.
func New(c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &recogniser{
		c: c,
		client: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     c.TLS,
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: c.Concurrency,
			IdleConnTimeout:     time.Minute,
		}},
		slots: make(chan struct{}, c.Concurrency),
	}
	e, err := remote.New(r, remote.Config{
		Name: "openai", Agree: 1, Hold: hold, MaxUtterance: c.MaxUtterance, GiveUp: c.GiveUp,
	})
	if err != nil {
		return nil, err
	}
	return &Engine{e, r}, nil
}

// Close implements asr.Engine.
func (e *Engine) Close() error {
	err := e.Engine.Close()
	e.r.client.CloseIdleConnections()
	return err
}

// SkippedPartials counts partials that were not asked for, since finals had the
// posts, or that were asked for in vain.
func (e *Engine) SkippedPartials() int64 { return e.r.skipped.Load() }

type recogniser struct {
	c       Config
	client  *http.Client
	slots   chan struct{}
	skipped atomic.Int64
}

// Recognise implements remote.Recogniser.
func (r *recogniser) Recognise(ctx context.Context, u *remote.Utterance) ([]asr.Word, error) {
	if r.c.PartialEvery > 0 {
		if err := r.partials(ctx, u); err != nil {
			return nil, err
		}
	}
	select {
	case <-u.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	audio, _, err := u.Audio(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return r.post(ctx, u, audio)
}

// partials posts the growing utterance until it has ended. What goes wrong with
// a partial is left to the final.
func (r *recogniser) partials(ctx context.Context, u *remote.Utterance) error {
	every := int(pcm.Samples(r.c.PartialEvery))
	for n := 0; ; {
		fresh, ended, err := u.Audio(ctx, n, every)
		if err != nil || ended {
			return err
		}
		n += len(fresh)
		audio, _, err := u.Audio(ctx, 0, n)
		if err != nil {
			return err
		}
		audio = audio[:min(n, len(audio))]
		select {
		case r.slots <- struct{}{}:
		default:
			r.skipped.Add(1)
			continue
		}
		words, err := r.whileOpen(ctx, u, audio)
		<-r.slots
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.skipped.Add(1)
		default:
			u.Partial(words, 0, len(audio))
		}
	}
}

// whileOpen posts a partial, and gives up when the utterance has ended.
func (r *recogniser) whileOpen(ctx context.Context, u *remote.Utterance, audio []int16) ([]asr.Word, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-u.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel()
	return r.post(ctx, u, audio)
}

// post sends audio and reads the words.
func (r *recogniser) post(ctx context.Context, u *remote.Utterance, audio []int16) ([]asr.Word, error) {
	if len(audio) == 0 {
		return nil, nil
	}
	body, kind, err := r.form(u.Config(), audio)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(r.c.URL, "/")+"/audio/transcriptions", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	if r.c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+string(r.c.Key))
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("posting: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("reading the reply: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, r.refusal(resp, b)
	}
	if len(b) > maxReply {
		return nil, fmt.Errorf("reply of more than %d bytes", maxReply)
	}
	words, err := parse(b, u.Start(), len(audio))
	if err != nil {
		return nil, &remote.Error{Permanent: true, Err: err}
	}
	return words, nil
}

// form is the request's body and its type.
func (r *recogniser) form(c asr.StreamConfig, audio []int16) (io.Reader, string, error) {
	var b bytes.Buffer
	b.Grow(2*len(audio) + 4096)
	form := multipart.NewWriter(&b)
	fields := [][2]string{
		{"model", r.c.Model}, {"response_format", string(r.c.Format)}, {"temperature", "0"},
		{"language", c.Language}, {"prompt", prompt(c.Phrases)},
	}
	if r.c.Format == Verbose {
		fields = append(fields, [2]string{"timestamp_granularities[]", "word"}, [2]string{"timestamp_granularities[]", "segment"})
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		if err := form.WriteField(f[0], f[1]); err != nil {
			return nil, "", err
		}
	}
	file, err := form.CreateFormFile("file", "speech.wav")
	if err != nil {
		return nil, "", err
	}
	if err := wav.Encode(file, &wav.Audio{Rate: pcm.Rate, Channels: [][]int16{audio}}, wav.PCM16); err != nil {
		return nil, "", err
	}
	if err := form.Close(); err != nil {
		return nil, "", err
	}
	return &b, form.FormDataContentType(), nil
}

// prompt names the phrases, as many as there is room for.
func prompt(phrases []asr.Phrase) string {
	var b strings.Builder
	for _, p := range phrases {
		text := strings.Join(strings.Fields(p.Text), " ")
		if text == "" || b.Len()+len(text)+2 > maxPrompt {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text)
	}
	return b.String()
}

// refusal is an answer that is no transcription. 429 and 5xx pass, and may say
// when; what else is wrong stays wrong. A server may name the key in its answer.
func (r *recogniser) refusal(resp *http.Response, b []byte) error {
	s := resp.StatusCode
	why := told(b)
	if r.c.Key != "" {
		why = strings.ReplaceAll(why, string(r.c.Key), r.c.Key.String())
	}
	e := &remote.Error{Err: fmt.Errorf("the server answers %s: %s", resp.Status, why)}
	e.Permanent = s < 500 && s != http.StatusTooManyRequests && s != http.StatusRequestTimeout
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.After = time.Duration(min(n, 3600)) * time.Second
	}
	return e
}
