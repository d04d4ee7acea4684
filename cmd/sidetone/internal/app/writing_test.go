package app

import (
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/asr/text"
	"sidetone/guidance/push"
	"sidetone/internal/pcm"
	"sidetone/media"
)

func heard(final bool, stable int, line string) asr.Hypothesis {
	h := asr.Hypothesis{Utterance: 1, Revision: 1, Final: final, Stable: stable}
	for i, w := range strings.Fields(line) {
		h.Words = append(h.Words, asr.Word{Text: w, Start: int64(i) * pcm.Rate / 2, End: int64(i+1) * pcm.Rate / 2})
	}
	if final {
		h.Stable = len(h.Words)
	}
	return h
}

// panes is what a pane makes of words.
func panes(words []push.Word) string {
	var out []string
	for i := 0; i < len(words); {
		w := &words[i]
		if w.Written == nil {
			out = append(out, w.Text)
			i++
			continue
		}
		out = append(out, w.Written.Text)
		i += w.Written.Words
	}
	return strings.Join(out, " ")
}

func TestWrittenForms(t *testing.T) {
	cases := []struct {
		name, language string
		h              asr.Hypothesis
		want           string
	}{
		{"a final", "en", heard(true, 0, "You charged me twenty five dollars, twice."), "You charged me $25, twice."},
		{"at its end", "en", heard(true, 0, "It was twenty five dollars."), "It was $25."},
		{"nothing to write", "en", heard(true, 0, "I lost one of them."), "I lost one of them."},
		{"written already", "en", heard(true, 0, "It was $25 today."), "It was $25 today."},
		{"a date as it is written", "en", heard(true, 0, "It was on March 23rd."), "It was on March 23rd."},
		{"found out, Chinese", "", heard(true, 0, "一共 二 十 五 块"), "一共 ¥25"},
		{"another language", "de", heard(true, 0, "twenty five dollars"), "twenty five dollars"},
		{"stable words", "en", heard(false, 7, "You charged me twenty five dollars on my card"), "You charged me $25 on my card"},
		{"a word is not stable", "en", heard(false, 5, "You charged me twenty five dollars on my card"), "You charged me twenty five dollars on my card"},
		{"it may still grow", "en", heard(false, 5, "You charged me twenty five"), "You charged me twenty five"},
		{"it does grow", "en", heard(false, 4, "That is one thousand two hundred"), "That is one thousand two hundred"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := leg{language: c.language}
			l.info.Store(&media.Leg{})
			before := c.h.Text()
			u := l.shown(&c.h)
			for i, w := range u.Words {
				if w.Written != nil && !strings.Contains(c.want, w.Written.Text) || w.Written != nil && strings.Contains(before, w.Written.Text) {
					t.Errorf("word %d is written as %+v", i, w.Written)
				}
			}
			if got := panes(u.Words); got != c.want {
				t.Errorf("shown as %q, want %q", got, c.want)
			}
			if c.h.Text() != before || len(u.Words) != len(c.h.Words) {
				t.Errorf("the words have become %q, %d of them", c.h.Text(), len(u.Words))
			}
			for i, w := range u.Words {
				if w.Text != c.h.Words[i].Text {
					t.Errorf("word %d is spoken as %q, want %q", i, w.Text, c.h.Words[i].Text)
				}
			}
		})
	}
}

// What is masked stays so, whatever stands around it.
func TestWrittenFormsHoldNoMaskedWord(t *testing.T) {
	for _, line := range []string{
		"my card number is four one one one one one one one one one one one one one one one it cost me thirty five dollars",
		"your one time code is four four seven two zero one and it was twenty five dollars",
		"my pin is four seven one two",
		"five five five " + text.Mask + " " + text.Mask + " one two three four",
		"j o h n at " + text.Mask + " dot com",
		"twenty " + text.Mask + " five " + text.Mask + ", dollars",
	} {
		var r text.Redactor
		h := r.Redact(heard(true, 0, line))
		for _, s := range spans(&h, "en") {
			for _, w := range h.Words[s.First : s.Last+1] {
				if strings.Contains(w.Text, text.Mask) {
					t.Errorf("%q: %q stands for %q too", line, s.Text, w.Text)
				}
			}
		}
		masks := func(s string) int { return strings.Count(s, text.Mask) }
		l := leg{language: "en"}
		l.info.Store(&media.Leg{})
		if u := l.shown(&h); masks(panes(u.Words)) != masks(h.Text()) || masks(h.Text()) == 0 {
			t.Errorf("%q is shown as %q", h.Text(), panes(u.Words))
		}
	}
}
