package freeswitch

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

func TestLife(t *testing.T) {
	t.Run("F12 idle end", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		c.text("keepalive")
		if err := c.pass(29 * time.Second); err != nil {
			t.Fatal(err)
		}
		err := c.pass(2 * time.Second)
		if code(err) != fork.CloseNormal || !strings.Contains(err.Error(), "no audio for 30s") {
			t.Errorf("error %v", err)
		}
		c.Closed(err, c.now)
		b.has("end: timed out, no audio for 30s")
		if b.calls.Running() != 0 {
			t.Error("the call is still there")
		}
		// The same without a single message.
		if err := b.connect("", "").pass(31 * time.Second); code(err) != fork.CloseNormal {
			t.Errorf("error %v", err)
		}
	})
	t.Run("F12 reconnect window", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u&rate=16000", "")
		c.play(time.Second, 16000, 100)
		c.Closed(errLost, c.now)
		for range 3 {
			b.now = b.now.Add(time.Second)
			c.now = b.now
			b.calls.Tick(b.now)
		}
		c = b.connect("call=u&rate=16000", "")
		c.play(time.Second, 16000, 100)
		c.Closed(nil, c.now)
		// 1 s; 3 s without a connection; 1 s.
		told := b.host.told()
		if strings.Count(told, "open u") != 1 || strings.Count(told, "leg own: ") != 1 || strings.Count(told, "mark 1 on own") != 1 {
			t.Errorf("told\n%s", told)
		}
		s := b.host.legs["own"]
		if len(s.samples) != 5*16000 || s.silent != 150 {
			t.Errorf("%d samples, %d silent frames", len(s.samples), s.silent)
		}
		b.has("leg own ends: ended", "end: ended, the connection was closed")
	})
	t.Run("F12 another rate after the reconnect", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u&rate=16000", "")
		c.play(time.Second, 16000, 100)
		c.Closed(errLost, c.now)
		c = b.connect("call=u&rate=8000", "")
		c.play(time.Second, 8000, 100)
		c.Closed(nil, c.now)
		told := b.host.told()
		if strings.Count(told, "open u") != 1 || strings.Count(told, "leg own: ") != 2 || strings.Count(told, "16000 samples at 100") != 2 {
			t.Errorf("told\n%s", told)
		}
	})
	t.Run("F12 nobody comes back", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		c.Closed(errLost, c.now)
		b.calls.Tick(c.now.Add(4900 * time.Millisecond))
		if b.calls.Running() != 1 {
			t.Error("the call did not wait")
		}
		b.calls.Tick(c.now.Add(5 * time.Second))
		b.has("end: lost, read: connection reset by peer; it did not come back within 5s")
		if b.calls.Running() != 0 {
			t.Error("the call is still there")
		}
	})
	t.Run("F12 no window", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Window = -1 })
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		c.Closed(errLost, c.now)
		b.has("end: lost, read: connection reset by peer")
	})
	t.Run("F12 the old connection is not dead yet", func(t *testing.T) {
		b := newBench(t, nil)
		old := b.connect("call=u", "")
		old.play(time.Second, 8000, 1)
		err := b.connect("call=u", "").Binary(make([]byte, 320), b.now)
		if code(err) != fork.ClosePolicy || !strings.Contains(err.Error(), "by leg= in the URL") {
			t.Errorf("a second fork of a leg: %v", err)
		}
		b.now = b.now.Add(1500 * time.Millisecond)
		fresh := b.connect("call=u", "")
		fresh.play(time.Second, 8000, 1)
		if err := old.Tick(b.now); code(err) != fork.ClosePolicy || !strings.Contains(err.Error(), "another connection") {
			t.Errorf("the old connection: %v", err)
		}
		if err := old.Binary(make([]byte, 320), b.now); err != nil {
			t.Error(err)
		}
		old.Closed(errLost, b.now)
		fresh.play(time.Second, 8000, 1)
		fresh.Closed(nil, b.now)
		if told := b.host.told(); strings.Count(told, "open") != 1 || strings.Count(told, "ends:") != 1 {
			t.Errorf("told\n%s", told)
		}
	})
	t.Run("paused", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 100)
		c.wait(10 * time.Second)
		c.play(time.Second, 8000, 100)
		c.Closed(nil, c.now)
		s := b.host.legs["own"]
		if got := len(s.samples); got != 12*16000 {
			t.Errorf("%d samples of 12 s", got)
		}
		b.has("mark 3 on own", "mark 4 on own")
	})
	t.Run("one fork for each side of a call", func(t *testing.T) {
		b := newBench(t, nil)
		x := b.connect("call=u&leg=a&role=agent", "")
		y := b.connect("call=u&leg=c&role=customer", "")
		for range 50 {
			x.binary(steady(160, 100))
			y.binary(steady(160, 200))
			b.now = b.now.Add(20 * time.Millisecond)
			x.wait(0)
			y.wait(0)
		}
		x.Closed(nil, b.now)
		if b.calls.Running() != 1 {
			t.Error("the call ended with its first fork")
		}
		y.play(time.Second, 8000, 200)
		y.Closed(nil, b.now)
		told := b.host.told()
		if strings.Count(told, "open") != 1 || strings.Count(told, "\nend:") != 1 {
			t.Errorf("told\n%s", told)
		}
		b.has("leg a: label \"own\", agent", "leg c: label \"own\", customer", "16000 samples at 100", "32000 samples at 200")
	})
	t.Run("too many legs", func(t *testing.T) {
		b := newBench(t, nil)
		var last error
		for i := range maxLegs + 1 {
			last = b.connect("call=u&leg="+string(rune('a'+i)), "").Binary(make([]byte, 320), b.now)
		}
		if last == nil || !strings.Contains(last.Error(), "has 16 legs") {
			t.Errorf("error %v", last)
		}
	})
	t.Run("hung up by the host", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		b.host.hangUp(media.End{State: media.Aborted, Reason: "stopped by an admin"})
		b.host.hangUp(media.End{State: media.Aborted, Reason: "again"})
		if err := c.pass(20 * time.Millisecond); code(err) != fork.CloseNormal {
			t.Errorf("error %v", err)
		}
		c.Closed(nil, c.now)
		b.has("end: aborted, stopped by an admin")
	})
	t.Run("hung up at shutdown", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		waits := b.connect("call=v", "")
		waits.play(time.Second, 8000, 1)
		waits.Closed(errLost, b.now)
		end := media.End{State: media.Aborted, Reason: "shutdown"}
		if err := c.HangUp(end, c.now); code(err) != fork.CloseGoingAway {
			t.Errorf("error %v", err)
		}
		if err := c.HangUp(end, c.now); code(err) != fork.CloseGoingAway {
			t.Errorf("again: %v", err)
		}
		c.Closed(nil, c.now)
		b.calls.Close(end)
		b.calls.Close(end)
		if told := b.host.told(); strings.Count(told, "\nend: aborted, shutdown") != 2 || b.calls.Running() != 0 {
			t.Errorf("told\n%s", told)
		}
	})
	t.Run("refused by the host", func(t *testing.T) {
		for _, c := range []struct {
			refuse, noLeg error
			code          int
			lines         string
		}{
			{media.ErrBusy, nil, fork.CloseTryLater, ""},
			{media.ErrDraining, nil, fork.CloseTryLater, ""},
			{media.ErrDuplicate, nil, fork.ClosePolicy, ""},
			{nil, errLost, fork.CloseInternal, "end: refused"},
		} {
			b := newBench(t, nil)
			b.host.refuse, b.host.noLeg = c.refuse, c.noLeg
			f := b.connect("call=u", "")
			if err := f.Binary(make([]byte, 320), b.now); code(err) != c.code {
				t.Errorf("%v, %v: closed with %v", c.refuse, c.noLeg, err)
			}
			f.Closed(nil, b.now)
			b.has(c.lines)
			if b.calls.Running() != 0 {
				t.Error("the call is still there")
			}
		}
	})
}

// TestManyForksAtOnce has connections of few calls come, break and go from many
// goroutines: each call that was opened ends once, and none is left.
func TestManyForksAtOnce(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Transcripts = true })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			now := epoch
			for n := range 40 {
				q := url.Values{"call": {fmt.Sprint("u", n%3)}, "leg": {fmt.Sprint("l", i%4)}}
				s, err := b.calls.Open(Request{Query: q}, &writer{}, now)
				if err != nil {
					t.Error(err)
					return
				}
				err = s.Binary(make([]byte, 320), now)
				for range 5 {
					now = now.Add(20 * time.Millisecond)
					if err == nil {
						err = s.Tick(now)
					}
				}
				switch {
				case err == nil && n%5 == 0:
					err = s.HangUp(media.End{State: media.Aborted, Reason: "stopped"}, now)
				case err == nil && n%2 == 0:
					err = errLost
				}
				s.Closed(err, now)
				b.calls.Tick(now)
				b.calls.Transcription("u1", []byte("{}")) // may have gone
			}
		})
	}
	wg.Wait()
	b.calls.Tick(epoch.Add(time.Hour))
	told := b.host.told()
	opened, ended := strings.Count("\n"+told, "\nopen "), strings.Count(told, "\nend: ")
	if opened != ended || opened < 3 || b.calls.Running() != 0 {
		t.Errorf("%d calls opened, %d ended, %d are left", opened, ended, b.calls.Running())
	}
	if begun, over := strings.Count(told, "\nleg ")-strings.Count(told, " ends: "), strings.Count(told, " ends: "); begun != over {
		t.Errorf("%d legs begun, %d ended", begun, over)
	}
}

func TestMessagesDoNotAllocate(t *testing.T) {
	b := newBench(t, nil)
	c := b.connect("rate=16000&channels=2&call=u", "")
	m := steady(320, 100, 200)
	c.binary(m)
	for _, s := range b.host.legs {
		s.samples = make([]int16, 0, 4<<20)
	}
	if n := testing.AllocsPerRun(1000, func() {
		b.now = b.now.Add(20 * time.Millisecond)
		c.binary(m[:639])
		c.binary(m[639:])
		if err := c.Tick(b.now); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func BenchmarkStereo20ms(b *testing.B) {
	bench := newBench(b, nil)
	c := bench.connect("rate=8000&channels=2&call=u", "")
	m := steady(160, 100, 200)
	c.binary(m)
	b.ReportAllocs()
	for b.Loop() {
		bench.now = bench.now.Add(20 * time.Millisecond)
		c.binary(m)
		if len(bench.host.legs["left"].samples) > 1<<20 {
			for _, s := range bench.host.legs {
				s.samples = s.samples[:0]
			}
		}
	}
}
