package pane

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"sidetone/guidance/push"
)

func voice(t *testing.T, b context.Context) {
	showVoice(open(t, b), []string{
		"Listening to the voice", "Voice confirmed", "Another voice", "Voice not certain: noise; more than one speaker", "Voice not certain",
	})
}

func voiceDark(t *testing.T, b context.Context) {
	p := open(t, b)
	p.media("prefers-color-scheme", "dark")
	showVoice(p, []string{
		"Listening to the voice", "Voice confirmed", "Another voice", "Voice not certain: noise; more than one speaker", "Voice not certain",
	})
}

func voiceChinese(t *testing.T, b context.Context) {
	p := open(t, b)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	showVoice(p, []string{"正在识别声音", "声音已确认", "声音不符", "声音无法确认：噪声；不止一人说话", "声音无法确认"})
}

// showVoice brings each answer there is; nobody sees a number, or an answer about the
// agent.
func showVoice(p *page, want []string) {
	p.startCall()
	same(p, `document.querySelector("#voice").hidden`, true)
	p.hub.Leg("c1", push.Leg{ID: "a", Role: "agent", State: push.LegLive, Voice: &push.Voice{Outcome: "mismatch", Final: true}})
	for i, v := range []push.Voice{
		{Outcome: "inconclusive", Reasons: []string{"too_little_speech"}},
		{Outcome: "match", Final: true},
		{Outcome: "mismatch", Final: true},
		{Outcome: "inconclusive", Reasons: []string{"noise", "several_speakers", "unheard_of"}, Final: true},
		{Outcome: "of a later version", Final: true},
	} {
		p.hub.Leg("c1", push.Leg{ID: "c", Role: "customer", State: push.LegLive, Voice: &v})
		p.wait(`document.querySelector("#voice-text").textContent === "` + want[i] + `" && !document.querySelector("#voice").hidden`)
		same(p, contrast, "")
		same(p, `/\d/.test(document.querySelector("#voice").textContent + document.querySelector("#voice").title)`, false)
		p.shoot(v.Outcome)
	}
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "customer", State: push.LegEnded})
	p.wait(`document.querySelector("#voice").hidden`)
}
