package benchload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidetone/bench/load"
)

const (
	// askTimeout bounds a request; hangUpTimeout that which ends a call, which is
	// answered when its last words have been recognised.
	askTimeout    = 10 * time.Second
	hangUpTimeout = 90 * time.Second
	// maxReply bounds what is read of an answer, in bytes.
	maxReply = 16 << 20
)

// errRefused is a call that the server has no room for.
var errRefused = errors.New("refused")

// api is the server's API.
type api struct {
	base   *url.URL
	token  string
	client *http.Client
}

func newAPI(server, token string) (*api, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no address such as http://127.0.0.1:8080", server)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	return &api{base: u, token: token, client: &http.Client{Transport: t}}, nil
}

func (a *api) close() { a.client.CloseIdleConnections() }

// header is what each request carries.
func (a *api) header() http.Header {
	h := http.Header{}
	if a.token != "" {
		h.Set("Authorization", "Bearer "+a.token)
	}
	return h
}

// push is the address of an agent's WebSocket.
func (a *api) push(agent string) string {
	u := a.base.JoinPath("v1", "push", url.PathEscape(agent))
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	return u.String()
}

// opened is the answer to POST /v1/calls.
type opened struct {
	Call string `json:"call"`
	Legs []struct {
		Role    string `json:"role"`
		Address string `json:"address"`
	} `json:"legs"`
}

func (a *api) open(ctx context.Context, call, agent string) (opened, error) {
	body := fmt.Sprintf(`{"call":%q,"agent":%q,"legs":[{"role":"agent","codec":"PCMU"},{"role":"customer","codec":"PCMU"}]}`, call, agent)
	var o opened
	err := a.ask(ctx, http.MethodPost, body, askTimeout, &o, "v1", "calls")
	if err == nil && len(o.Legs) != 2 {
		err = fmt.Errorf("the server opened %d legs, not 2", len(o.Legs))
	}
	return o, err
}

// end ends a call and returns its record.
func (a *api) end(ctx context.Context, call string) (load.Record, error) {
	var r load.Record
	err := a.ask(ctx, http.MethodDelete, "", hangUpTimeout, &r, "v1", "calls", call)
	return r, err
}

func (a *api) record(ctx context.Context, call string) (load.Record, error) {
	var r load.Record
	err := a.ask(ctx, http.MethodGet, "", askTimeout, &r, "v1", "calls", call)
	return r, err
}

// version is what the server says of itself.
func (a *api) version(ctx context.Context) (string, error) {
	var h struct{ Version string }
	err := a.ask(ctx, http.MethodGet, "", askTimeout, &h, "healthz")
	return h.Version, err
}

func (a *api) metrics(ctx context.Context) (load.Metrics, error) {
	b, err := a.bytes(ctx, http.MethodGet, "", askTimeout, "metrics")
	if err != nil {
		return nil, err
	}
	return load.ParseMetrics(b)
}

func (a *api) ask(ctx context.Context, method, body string, limit time.Duration, reply any, path ...string) error {
	b, err := a.bytes(ctx, method, body, limit, path...)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("%s %s: the answer is not the expected JSON: %w", method, path, err)
	}
	return nil
}

func (a *api) bytes(ctx context.Context, method, body string, limit time.Duration, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	u := a.base.JoinPath(path...)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header = a.header()
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	if res.StatusCode < 300 {
		return b, nil
	}
	var e struct{ Error, Hint string }
	if err = json.Unmarshal(b, &e); err != nil || e.Error == "" {
		e.Error = res.Status
	}
	if res.StatusCode == http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%w: %s", errRefused, e.Error)
	}
	return nil, fmt.Errorf("%s answered %d: %s", method, res.StatusCode, e.Error)
}
