//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/resample"
)

// microphoneCall has Chromium speak as the customer, by the page for that, until
// its tab is closed.
func microphoneCall(t *testing.T, s *server) {
	const id, agent = "spoken", "mia"
	needs.Program(t, "chromium", "chromium-browser", "google-chrome")
	script, legs := beginning(t)
	openPane(t, s, agent)
	file := filepath.Join(t.TempDir(), "customer.wav")
	said, err := resample.Convert(legs[media.RoleCustomer], 8000, 48000)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wav.Encode(f, &wav.Audio{Rate: 48000, Channels: [][]int16{said}}, wav.PCM16), f.Close()); err != nil {
		t.Fatal(err)
	}
	first := browser(t,
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("use-file-for-fake-audio-capture", file+"%noloop"), chromedp.Flag("allow-loopback-in-peer-connection", true),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"), chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
	)
	tab, cancel := chromedp.NewContext(first)
	defer cancel()
	// The microphone begins to speak when it is opened, the customer after 8 s.
	within(tab, t, 60*time.Second, "the microphone is not live",
		chromedp.Navigate(s.url+"/mic?call="+id+"&agent="+agent+"&role=customer&language=en"),
		truth(`document.querySelector("#box")?.dataset.state === "idle"`),
		chromedp.Click(chromedp.CSS("#start")),
		truth(`document.querySelector("#box").dataset.state === "live"`))
	shot(tab, t, "mic-live")
	time.Sleep(part + tail)
	// A closed tab answers nothing any more: the record tells whether it went.
	closing, done := context.WithTimeout(tab, 2*time.Second)
	defer done()
	if _, err := chromedp.Call(closing, page.Close, cdp.Empty{}); err != nil {
		t.Logf("closing the tab: %v", err)
	}
	rec, _ := s.over(t, id)
	// Its DELETE and the end of its DTLS race: either says that it went.
	if rec.State != "ended" || !strings.HasPrefix(rec.Reason, "the client ") || rec.Source != "webrtc" || rec.Agent != agent {
		t.Errorf("state %s (%s), source %s, agent %s", rec.State, rec.Reason, rec.Source, rec.Agent)
	}
	if len(rec.Legs) != 1 || rec.Legs[0].Role != media.RoleCustomer.String() || rec.Facts["webrtc.customer.codec"] != "opus/48000/2" {
		t.Errorf("legs %+v with %v, want the customer's in Opus", rec.Legs, rec.Facts)
	}
	checkTranscript(t, script, rec, media.RoleCustomer)
	// The call's clock begins when the connection is made, somewhat after the
	// microphone's.
	const late = 5 * time.Second
	for i := range script.Turns {
		script.Turns[i].Start -= late
	}
	checkCards(t, script, rec)
}
