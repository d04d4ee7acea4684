package webrtc

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/resample"
)

// period is how often the fake microphone repeats what it says.
const period = 4 * time.Second

// said makes the clip that the fake microphone says, at 48 kHz, and returns it
// at 16 kHz: speech, and silence up to the period.
func said(t testing.TB, file string) []int16 {
	t.Helper()
	voice := filepath.Join(t.TempDir(), "voice.wav")
	if out, err := exec.Command(needs.Program(t, "espeak-ng"), "-v", "en-gb", "-s", "150", "-w", voice, "My card was stolen this morning, please block it.").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(voice)
	if err != nil {
		t.Fatal(err)
	}
	spoken, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	n := int(period.Seconds() * 48000)
	clip := append(convert(t, spoken.Channels[0], spoken.Rate, 48000), make([]int16, n)...)[:n]
	var out bytes.Buffer
	if err := wav.Encode(&out, &wav.Audio{Rate: 48000, Channels: [][]int16{clip}}, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return convert(t, clip, 48000, pcm.Rate)
}

func convert(t testing.TB, x []int16, from, to int) []int16 {
	t.Helper()
	r, err := resample.New(from, to)
	if err != nil {
		t.Fatal(err)
	}
	y := make([]int16, r.MaxOut(len(x)))
	return y[:r.Process(y, x)]
}

// likeness is the normalised correlation of two signals of one length.
func likeness(a, b []int16) float64 {
	var ab, aa, bb float64
	for i, v := range a {
		w := b[i]
		ab, aa, bb = ab+float64(v)*float64(w), aa+float64(v)*float64(v), bb+float64(w)*float64(w)
	}
	return ab / math.Sqrt(max(aa*bb, 1))
}

// find tells where between from and to a pattern is, and how like it is.
func find(x, pattern []int16, from, to int) (at int, best float64) {
	for i := max(from, 0); i < min(to, len(x)-len(pattern)); i++ {
		if c := likeness(x[i:i+len(pattern)], pattern); c > best {
			at, best = i, c
		}
	}
	return at, best
}

func TestChromium(t *testing.T) {
	file := filepath.Join(t.TempDir(), "said.wav")
	clip := said(t, file)
	b := startBrowser(t, file)
	for _, lite := range []bool{true, false} {
		t.Run(fmt.Sprintf("B3 B5 speech with DTX, ICE-lite %v", lite), func(t *testing.T) {
			p := open(t, b, "?call=c1&role=customer&agent=ann&language=en", false, func(c *Config) { c.Lite = lite })
			asked := time.Now()
			p.press("start")
			p.state("live")
			t.Logf("connected in %v", time.Since(asked))
			p.picture(fmt.Sprintf("live-%v", lite))
			time.Sleep(21 * time.Second)
			p.press("start")
			p.state("ended")
			p.s.h.over()
			call := p.s.h.calls[0]
			leg := call.legs[0]
			if g := call.call; g.ID != "c1" || g.Agent != "ann" || g.Language != "en" || leg.leg.Role != media.RoleCustomer || call.facts["webrtc.customer.codec"] != "opus/48000/2" {
				t.Errorf("call %+v, leg %+v, facts %v", g, leg.leg, call.facts)
			}
			if e := call.ends[0]; e.State != media.Ended {
				t.Errorf("end %+v", e)
			}
			if leg.stats.Lost != 0 || leg.stats.Invalid != 0 || leg.stats.InsertedFrames < 100 {
				t.Errorf("stats %+v: of a second of silence in four, DTX sends hardly anything", leg.stats)
			}
			heard(t, leg.samples, clip)
		})
	}
}

// heard checks that a recording has the clip once a period, from its first to
// its last.
func heard(t *testing.T, x, clip []int16) {
	t.Helper()
	pattern := clip[pcm.Rate/2 : pcm.Rate*3/2]
	each := len(clip)
	first, like := find(x, pattern, 0, each)
	last, likes := first, []float64{like}
	var offs []time.Duration
	for {
		at, l := find(x, pattern, last+each-pcm.Rate/4, last+each+pcm.Rate/4)
		if at == 0 {
			break
		}
		offs = append(offs, (pcm.Duration(int64(at-last)) - period).Abs())
		last, likes = at, append(likes, l)
	}
	n := len(likes)
	if n < 5 {
		t.Fatalf("the clip is heard only %d times in %v", n, pcm.Duration(int64(len(x))))
	}
	// A busy machine makes the browser stumble once or twice: the middle ones
	// count. What silence costs, it would cost each time.
	slices.Sort(likes)
	slices.Sort(offs)
	like = likes[n/2]
	off := offs[(n-2)/2] * 5
	t.Logf("the clip is heard %d times, in the middle %.2f like it, which is %v off in 20 s", n, like, off)
	if like < 0.7 || off > 50*time.Millisecond {
		t.Errorf("the clip is in the middle %.2f like it and %v off in 20 s", like, off)
	}
}

// key presses a key, as a keyboard does.
func (p *tab) key(key string) {
	p.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		e := input.DispatchKeyEventParams{Type: kind, Key: key}
		if kind == input.DispatchKeyEventTypeKeyDown && len(key) == 1 {
			e.Text = key
		}
		if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, e); err != nil {
			p.t.Fatal(err)
		}
	}
}

// frames is how many frames the first leg has heard, and how loud the last half
// second was.
func (p *tab) frames() (n int, loud float64) {
	p.s.h.see(func() {
		for _, c := range p.s.h.calls {
			for _, l := range c.legs {
				n += len(l.flags)
				for _, v := range l.samples[max(0, len(l.samples)-pcm.Rate/2):] {
					loud = max(loud, math.Abs(float64(v)))
				}
			}
		}
	})
	return n, loud
}

func TestMicrophonePage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "said.wav")
	said(t, file)
	b := startBrowser(t, file)
	t.Run("by the keyboard, muted, closed", func(t *testing.T) {
		p := open(t, b, "?call=k", false, nil)
		p.key("s")
		p.state("live")
		until(t, "speech is heard", func() bool { _, loud := p.frames(); return loud > 1000 })
		if js[float64](p, `Number(document.getElementById("meter").getAttribute("aria-valuenow"))`) < -59 {
			until(t, "the meter moves", func() bool {
				return js[float64](p, `Number(document.getElementById("meter").getAttribute("aria-valuenow"))`) > -59
			})
		}
		p.key("m")
		p.state("muted")
		if got := js[string](p, `document.getElementById("mute").getAttribute("aria-pressed")`); got != "true" {
			t.Errorf("aria-pressed is %s", got)
		}
		before, _ := p.frames()
		// More than a period: what is said would be heard.
		until(t, "nothing but silence is heard", func() bool { n, loud := p.frames(); return n > before+250 && loud < 50 })
		p.key("m")
		p.state("live")
		until(t, "speech is heard again", func() bool { _, loud := p.frames(); return loud > 1000 })
		if err := chromedp.Do(p.ctx, chromedp.Navigate("about:blank")); err != nil {
			t.Fatal(err)
		}
		p.s.h.over()
		if e := p.s.h.calls[0].ends[0]; e.State != media.Ended {
			t.Errorf("the page was left, and the call's end is %+v", e)
		}
	})
	t.Run("two pages are one call", func(t *testing.T) {
		p := open(t, b, "?call=both&role=agent", false, nil)
		p.press("start")
		p.state("live")
		ctx, cancel := chromedp.NewContext(b)
		defer cancel()
		q := &tab{t: t, ctx: ctx, s: p.s}
		if err := chromedp.Do(ctx, chromedp.Navigate(p.url+"/mic?call=both&role=customer")); err != nil {
			t.Fatal(err)
		}
		q.state("idle")
		q.press("start")
		q.state("live")
		p.s.h.see(func() {
			if len(p.s.h.calls) != 1 || len(p.s.h.calls[0].legs) != 2 {
				t.Errorf("%d calls", len(p.s.h.calls))
			}
		})
		q.press("start")
		p.press("start")
		p.s.h.over()
	})
	t.Run("refused in the server's words", func(t *testing.T) {
		p := open(t, b, "?role=agent", false, func(c *Config) { c.Tokens = []string{"letmein"} })
		p.press("start")
		p.state("failed")
		if got := js[string](p, `document.getElementById("problem").textContent`); !strings.Contains(got, "a bearer token is needed") {
			t.Errorf("the page says %q", got)
		}
		p.picture("refused")
		js[string](p, `document.getElementById("token").value = "letmein"`)
		p.press("start")
		p.state("live")
		p.press("start")
		p.s.h.over()
	})
	t.Run("the server hangs up", func(t *testing.T) {
		p := open(t, b, "?call=h", false, nil)
		p.press("start")
		p.state("live")
		p.s.h.see(func() {
			p.s.h.calls[0].hangUp(media.End{State: media.Aborted, Reason: "an operator ended it", At: time.Now()})
		})
		p.state("failed")
		if got := js[string](p, `document.getElementById("problem").textContent`); !strings.Contains(got, "The server ended the connection") {
			t.Errorf("the page says %q", got)
		}
		if len(p.s.h.calls) != 1 {
			t.Errorf("%d calls: the page calls again by itself", len(p.s.h.calls))
		}
	})
	t.Run("B9 the network fails and ICE is restarted", func(t *testing.T) {
		p := open(t, b, "?call=n", true, func(c *Config) { c.Lite = true })
		p.press("start")
		p.state("live")
		until(t, "speech is heard", func() bool { _, loud := p.frames(); return loud > 1000 })
		p.relay.cut.Store(true)
		p.state("lost")
		p.picture("lost")
		p.state("live")
		p.mu.Lock()
		restarts := p.patched[http.StatusOK]
		p.mu.Unlock()
		if restarts == 0 {
			t.Error("ICE was not restarted")
		}
		before, _ := p.frames()
		until(t, "speech is heard again", func() bool { n, loud := p.frames(); return n > before+50 && loud > 1000 })
		p.press("start")
		p.s.h.over()
		if c := p.s.h.calls; len(c) != 1 || len(c[0].legs) != 1 {
			t.Errorf("%d calls", len(c))
		}
	})
	t.Run("it fits, in both themes and languages", func(t *testing.T) {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{900, 360} {
				p := open(t, b, "?call=c-1042&agent=ann&role=agent", false, nil)
				if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
				}); err != nil {
					t.Fatal(err)
				}
				if err := chromedp.Do(p.ctx, chromedp.EmulateViewport(width, 760)); err != nil {
					t.Fatal(err)
				}
				for _, language := range []string{"en", "zh"} {
					if got := js[string](p, `document.documentElement.lang`); !strings.HasPrefix(got, language) {
						t.Errorf("the language is %s, not %s", got, language)
					}
					if js[bool](p, `document.documentElement.scrollWidth > document.documentElement.clientWidth`) {
						t.Errorf("%s %s: wider than %d", theme, language, width)
					}
					p.picture(fmt.Sprintf("idle-%s-%s-%d", theme, language, width))
					if language == "zh" && width == 900 {
						p.press("start")
						p.state("live")
						until(t, "the meter moves", func() bool { _, loud := p.frames(); return loud > 1000 })
						p.picture("live-zh-" + theme)
						p.press("start")
						p.state("ended")
					}
					p.press("language")
				}
			}
		}
	})
}
