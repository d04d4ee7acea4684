package app

import (
	"slices"
	"strings"

	"sidetone/asr"
	"sidetone/asr/text"
	"sidetone/asr/written"
	"sidetone/guidance/push"
)

// spans are the written forms that may be shown for a redacted hypothesis. None
// holds a masked word. Those of a partial are stable, and a word has come
// behind them: a number that is still being read out would change its form with
// each of its words.
func spans(h *asr.Hypothesis, language string) []written.Span {
	return slices.DeleteFunc(written.Find(h.Words, language), func(s written.Span) bool {
		masked := func(w asr.Word) bool { return strings.Contains(w.Text, text.Mask) }
		grows := !h.Final && (s.Last >= h.Stable || s.Last == len(h.Words)-1)
		return grows || slices.ContainsFunc(h.Words[s.First:s.Last+1], masked)
	})
}

// write gives the words on the pane the written forms of a hypothesis' spans.
func write(shown []push.Word, h *asr.Hypothesis, found []written.Span) {
	if len(found) == 0 {
		return
	}
	texts := written.Texts(h.Words, found)
	for i := 0; i < len(texts); {
		n := 1
		for i+n < len(texts) && texts[i+n] == "" && h.Words[i+n].Text != "" {
			n++
		}
		said := asr.Hypothesis{Words: h.Words[i : i+n]}
		if texts[i] != said.Text() {
			shown[i].Written = &push.Written{Text: texts[i], Words: n}
		}
		i += n
	}
}
