package audiohook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/audiohook/httpsig"
)

func TestUnauthorised(t *testing.T) {
	keyed := func(c *Config, _ *host, _ *httpsig.Request) {
		var err error
		if c.Auth, err = httpsig.New(httpsig.Config{Keys: map[string]string{"plain": "", "signed": "c2VjcmV0"}}); err != nil {
			t.Fatal(err)
		}
	}
	key := func(name string) func(*Config, *host, *httpsig.Request) {
		return func(c *Config, h *host, r *httpsig.Request) {
			keyed(c, h, r)
			r.Header["X-Api-Key"] = []string{name}
		}
	}
	t.Run("let in", func(t *testing.T) {
		p := newPeer(t, key("plain"))
		want(t, p.pass(time.Second))
		p.open(both)
	})
	for name, change := range map[string]func(*Config, *host, *httpsig.Request){"no key": keyed, "not signed": key("signed"), "unknown key": key("guess")} {
		t.Run("G2 "+name, func(t *testing.T) {
			p := newPeer(t, change)
			want(t, p.send("open", openParams(conversationID, "", both)))
			want(t, p.audio([]byte{1, 2}))
			want(t, p.pass(480*time.Millisecond))
			want(t, p.pass(20*time.Millisecond), "disconnect unauthorized")
			want(t, p.send("close", `{"reason":"disconnect"}`), "closed")
			if n := len(p.host.calls); n != 0 {
				t.Errorf("%d calls were opened", n)
			}
			if got := p.a.Stats(); got.Unauthorised != 1 || got.Mistakes != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("G11 close before it is decided", func(t *testing.T) {
		p := newPeer(t, keyed)
		want(t, p.send("open", openParams(conversationID, "", both)))
		want(t, p.send("close", `{"reason":"end"}`), "closed")
		want(t, p.pass(time.Second))
	})
	t.Run("G11 close before open", func(t *testing.T) {
		p := newPeer(t, nil)
		got := p.send("close", `{"reason":"error"}`)
		want(t, got, "closed")
		if got[0].ID != sessionID || got[0].ClientSeq != 1 {
			t.Errorf("got %+v", got[0])
		}
	})
	t.Run("G17 another organisation", func(t *testing.T) {
		p := newPeer(t, nil)
		other := strings.Replace(openParams(conversationID, "", both), organizationID, conversationID, 1)
		want(t, p.send("open", other), "disconnect unauthorized")
		if n := len(p.host.calls); n != 0 {
			t.Errorf("%d calls were opened", n)
		}
		want(t, p.send("close", `{"reason":"disconnect"}`), "closed")
	})
	t.Run("G17 no organisation", func(t *testing.T) {
		p := newPeer(t, func(c *Config, h *host, r *httpsig.Request) {
			key("plain")(c, h, r)
			delete(r.Header, "Audiohook-Organization-Id")
		})
		want(t, p.pass(time.Second), "disconnect unauthorized")
	})
}

func TestTimers(t *testing.T) {
	t.Run("no open", func(t *testing.T) {
		p := newPeer(t, nil)
		want(t, p.pass(openWait-time.Second))
		want(t, p.pass(time.Second), "disconnect error")
	})
	t.Run("no close", func(t *testing.T) {
		p := opened(t, both)
		want(t, p.text("nonsense"), "disconnect error")
		want(t, p.pass(closeWait-20*time.Millisecond))
		if p.err != nil {
			t.Fatal(p.err)
		}
		p.pass(20 * time.Millisecond)
		var closing *fork.CloseError
		if !errors.As(p.err, &closing) || closing.Code != fork.ClosePolicy {
			t.Errorf("got %v", p.err)
		}
	})
	t.Run("connection stays after closed", func(t *testing.T) {
		p := opened(t, both)
		want(t, p.send("close", `{"reason":"end"}`), "closed")
		p.pass(closeWait)
		if !slices.Equal(p.w.closes, []int{fork.CloseNormal}) {
			t.Errorf("closed with %v", p.w.closes)
		}
	})
}

func TestHangUp(t *testing.T) {
	for _, state := range []string{"preparing", "active", "paused"} {
		t.Run("G15 "+state, func(t *testing.T) {
			p := newPeer(t, nil)
			if state != "preparing" {
				p.open(both)
				p.audio(tone(time.Second, high, low))
			}
			if state == "paused" {
				p.send("paused", "{}")
			}
			e := media.End{State: media.Aborted, Reason: "the server is stopping"}
			for range 2 {
				if err := p.s.HangUp(e, p.now); err != nil {
					t.Fatal(err)
				}
			}
			want(t, p.got(), "disconnect completed")
			want(t, p.send("close", `{"reason":"disconnect"}`), "closed")
			if state != "preparing" {
				p.ended(media.Aborted, "the server is stopping")
			}
			if err := p.s.HangUp(e, p.now); err != nil || len(p.got()) > 0 {
				t.Errorf("after closed: %v", err)
			}
		})
	}
}

// TestDropped: a connection that is gone without close ends the call, and keeps
// what was heard.
func TestDropped(t *testing.T) {
	lost := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		err    error
		state  media.EndState
		reason string
	}{
		{"G16 lost", lost, media.Lost, "connection reset"},
		{"G16 closed in order but without close", nil, media.Ended, "without a close message"},
		{"silent", fmt.Errorf("x: %w", fork.ErrSilent), media.TimedOut, "silent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, both)
			p.audio(tone(1010*time.Millisecond, high, low))
			p.s.Closed(c.err, p.now)
			p.ended(c.state, c.reason)
			if n := len(p.host.only().leg("external").frames); n != 51 {
				t.Errorf("%d frames, want 51", n)
			}
			p.s.Closed(c.err, p.now)
			p.ended(c.state, c.reason)
		})
	}
	t.Run("before open", func(t *testing.T) {
		p := newPeer(t, nil)
		p.s.Closed(lost, p.now)
		if len(p.host.calls) > 0 {
			t.Error("there is a call")
		}
	})
}
