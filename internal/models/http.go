package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// errBroken is a transfer that ended early: worth going on with.
var errBroken = errors.New("the transfer broke off")

// fromMirror takes files from the mirror, which has them as NAME/FILE.
func (s *Store) fromMirror(ctx context.Context, m *Model, want []*File, report func(Event)) error {
	for _, f := range want {
		u := s.mirror.JoinPath(m.Name, f.Name)
		open := s.openURL(u)
		if u.Scheme == "file" {
			open = openAt(filepath.FromSlash(u.Path))
		}
		if err := s.install(ctx, m, f, open, report); err != nil {
			return err
		}
	}
	return nil
}

// fromPublisher takes those files that their publisher offers.
func (s *Store) fromPublisher(ctx context.Context, m *Model, want []*File, report func(Event)) error {
	for _, f := range want {
		if f.URL == "" {
			continue
		}
		u, err := url.Parse(f.URL)
		if err != nil {
			return err
		}
		if err := s.install(ctx, m, f, s.openURL(u), report); err != nil {
			return fmt.Errorf("%s: %w", u.Host, err)
		}
	}
	return nil
}

// openURL asks for a range where a part is already here (RFC 9110, section
// 14); a server that does not know ranges sends the whole file.
func (s *Store) openURL(u *url.URL) opener {
	return func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(s.stall, func() {
			cancel(fmt.Errorf("%w: no byte in %v", errBroken, s.stall))
		})
		body := &body{
			cause:  func() error { return context.Cause(ctx) },
			cancel: cancel, timer: timer, stall: s.stall,
		}
		start, err := s.get(ctx, u, offset, body)
		if err != nil {
			body.Close()
			if errors.Is(context.Cause(ctx), errBroken) {
				err = context.Cause(ctx)
			}
			return nil, 0, err
		}
		return body, start, nil
	}
}

func (s *Store) get(ctx context.Context, u *url.URL, offset int64, b *body) (start int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	b.r = resp.Body
	switch {
	case resp.StatusCode == http.StatusOK:
		return 0, nil
	case resp.StatusCode == http.StatusPartialContent && offset > 0 &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		return offset, nil
	case offset > 0 && (resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || resp.StatusCode == http.StatusPartialContent):
		b.r = nil
		resp.Body.Close()
		return s.get(ctx, u, 0, b)
	}
	return 0, fmt.Errorf("%s answers %s", u.Redacted(), resp.Status)
}

// body reads an answer and gives up when it stalls.
type body struct {
	cause  func() error // why the request was ended, if it was
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	r      io.ReadCloser
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.timer.Reset(b.stall)
	}
	if err != nil && err != io.EOF {
		if cause := b.cause(); errors.Is(cause, errBroken) {
			return n, cause
		}
		return n, fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	if b.r == nil {
		return nil
	}
	return b.r.Close()
}
