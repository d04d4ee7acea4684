package pane

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"

	"sidetone/guidance"
)

// accessible reads the page as a screen reader does.
func accessible(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("customer", 1, 1, -1, 1000, "I lost my card")
	p.card("k1", "Block the card", 50, guidance.Why{
		Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "lost my card", Utterance: 1, StartMS: 1300, EndMS: 2180}}, Rule: "r",
	})
	p.marked("Block the card")
	p.press("/", "f", "e", "e")
	p.wait(`document.querySelectorAll("#hits > li").length === 2`)
	tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		var s string
		if json.Unmarshal(v.Value, &s) != nil {
			return ""
		}
		return s
	}
	have := map[string]bool{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role, name := text(n.Role), text(n.Name)
		have[role+" "+name] = true
		for _, prop := range n.Properties {
			if string(prop.Name) == "focusable" && name == "" && role != "listitem" {
				t.Errorf("a %s that can be focused has no name: %+v", role, n.BackendDOMNodeID)
			}
		}
	}
	for _, want := range []string{
		"banner ", "main ", "search ", "heading Transcript", "heading Guidance", "region Transcript", "region Guidance",
		"list Parties", "list Guidance", "list Steps", "searchbox Search the knowledge base", "timer ",
		"button Switch to the Dark theme", "button 切换到中文", "button Keyboard shortcuts",
		"heading Block the card", "listitem Block the card", "button Block the card",
		"button Used", "button Dismiss", "button Wrong",
		"button Why: Customer said “lost my card” at 0:01. Show it in the transcript.",
	} {
		if !have[want] {
			t.Errorf("no %q in the accessibility tree", want)
		}
	}
	if t.Failed() {
		for k := range have {
			t.Log(k)
		}
	}
	// Cards are announced, words that come and go are not.
	same(p, `announce.getAttribute("aria-live") + !document.querySelector(".line").closest("[aria-live], [role=log], [role=status]")`, "politetrue")
	same(p, `document.querySelector("[aria-keyshortcuts=U]").dataset.part`, "used")
}
