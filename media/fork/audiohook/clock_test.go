package audiohook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
)

// TestPause: what the source leaves out in a pause passes on the legs' clocks,
// however long the pause was here.
func TestPause(t *testing.T) {
	for _, wall := range []time.Duration{0, 9900 * time.Millisecond, 10 * time.Second, 10300 * time.Millisecond} {
		t.Run(fmt.Sprintf("G8 after %v here", wall), func(t *testing.T) {
			p := opened(t, both)
			p.audio(tone(time.Second, quiet, quiet))
			p.position = "PT1S"
			want(t, p.send("paused", "{}"))
			want(t, p.send("paused", "{}"))
			c := p.host.only()
			if !slices.Equal(c.events, []string{"pause: AudioHook: the source paused its audio"}) {
				t.Errorf("events %q", c.events)
			}
			p.pass(wall)
			p.position = "PT11S"
			want(t, p.send("resumed", `{"start":"PT1S","discarded":"PT10S"}`))
			if len(c.events) != 2 || !strings.HasPrefix(c.events[1], "resume: ") {
				t.Errorf("events %q", c.events)
			}
			p.audio(tone(time.Second, high, low))
			for _, id := range []string{"external", "internal"} {
				if got := firstLoud(t, c.leg(id)); got != pcm.Samples(11*time.Second) {
					t.Errorf("%s: what follows begins at %v, want 11s", id, pcm.Duration(got))
				}
				if n := len(c.leg(id).marks); n != 1 {
					t.Errorf("%s has %d marks, want its beginning: a pause is no stall", id, n)
				}
				if n := len(c.leg(id).frames); wall > 0 && n < 50+100+50 {
					t.Errorf("%s: %d frames; silence must end what was said before the pause", id, n)
				}
			}
			p.position = "PT12S"
			want(t, p.send("ping", "{}"), "pong")
			if p.s.drift != 0 {
				t.Errorf("position differs by %d samples", p.s.drift)
			}
		})
	}
}

// firstLoud is the start of the first frame with sound in it.
func firstLoud(t *testing.T, s *sink) int64 {
	t.Helper()
	for i := range s.frames {
		if v := s.heard(i); v > 8000 || v < -8000 {
			return s.frames[i].Start
		}
	}
	t.Fatal("nothing is heard")
	return 0
}

func TestDiscarded(t *testing.T) {
	p := opened(t, both)
	p.audio(tone(time.Second, quiet, quiet))
	p.position = "PT6S"
	want(t, p.send("discarded", `{"start":"PT1S","discarded":"PT5S"}`))
	p.audio(tone(time.Second, high, low))
	for _, id := range []string{"external", "internal"} {
		leg := p.host.only().leg(id)
		if got := leg.marked(media.MarkDiscarded); !slices.Equal(got, []int64{pcm.Rate}) {
			t.Errorf("G9 %s: marks at %d, want %d", id, got, pcm.Rate)
		}
		if got := firstLoud(t, leg); got != pcm.Samples(6*time.Second) {
			t.Errorf("G9 %s: what follows begins at %v, want 6s", id, pcm.Duration(got))
		}
	}
	// A source that does not count what it left out before names an earlier
	// start: the length counts all the same.
	want(t, p.send("discarded", `{"start":"PT2S","discarded":"PT1S"}`))
	if got := p.s.at; got != 8*rate {
		t.Errorf("the stream is at %d samples, want %d", got, 8*rate)
	}
}

// TestContinued: the clock of a session that goes on where another stopped
// begins at zero.
func TestContinued(t *testing.T) {
	p := newPeer(t, nil)
	p.position = "PT30S"
	p.open(both)
	p.audio(tone(time.Second, high, low))
	p.position = "PT36S"
	want(t, p.send("discarded", `{"start":"PT31S","discarded":"PT5S"}`))
	p.audio(tone(20*time.Millisecond, high, low))
	frames := p.host.only().leg("external").frames
	if first, last := frames[0].Start, frames[len(frames)-1].Start; first != 0 || last != pcm.Samples(6*time.Second) {
		t.Errorf("frames from %d to %d, want from 0 to %d", first, last, pcm.Samples(6*time.Second))
	}
}

func TestPositionDiffers(t *testing.T) {
	p := opened(t, both)
	p.audio(tone(time.Second, quiet, quiet))
	p.position = "PT2S" // within the last piece of audio
	want(t, p.send("ping", `{"rtt":"PT0.0345S"}`), "pong")
	p.position = "PT3.5S"
	want(t, p.send("ping", "{}"), "pong")
	want(t, p.send("close", `{"reason":"end"}`), "closed")
	facts := p.host.only().facts
	if facts["position difference"] != "2.5s" || facts["rtt"] != "34.5ms" {
		t.Errorf("facts %v", facts)
	}
	if n := strings.Count(p.log.String(), "counts its audio otherwise"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}
