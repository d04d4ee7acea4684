package words_test

import (
	"strings"
	"testing"

	"sidetone/internal/records/words"
)

func TestSet(t *testing.T) {
	for text, want := range map[string]string{
		"I lost my Credit-Cards":         "card credit i lost my",
		"The parties' buses, don’t pass": "buse dont party pass the",
		"我的信用卡":                          "信 信用 卡 我 我的 用 用卡 的 的信",
		"卡 丢":                            "丢 卡",
		"café CAFE\u0301 Ｃａｆｅ":           "cafe",
		"1,200 €30":                      "1 200 30",
		"ok 丢card卡":                      "card ok 丢 卡",
		strings.Repeat("é", 70):          strings.Repeat("e", 64),
		"":                               "",
		"?! \xff —":                      "",
	} {
		s := words.Set{}
		s.Add(text)
		if got := strings.Join(s.Sorted(), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzFind: whatever was said is found by itself, and the pieces are the line.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"I lost my cards", "我的信用卡丢了", "don’t 1,200 €30", "กรุณารอสักครู่", "ﬁx ① Å", "がぎ ｶﾞ", "\u0301a", "ses \xff ies"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, text string, around int) {
		if len(text) > 1000 {
			return
		}
		around = min(max(around, 0), 1000)
		q, set := words.Ask(text), words.Set{}
		set.Add(text)
		for _, w := range q.Index() {
			if _, there := set[w]; !there {
				t.Errorf("the index of %q has no %q", text, w)
			}
		}
		has, pieces := q.Find(text, around)
		for i, h := range has {
			if !h {
				t.Errorf("%q does not have its own run %d", text, i)
			}
		}
		if len(pieces) == 0 {
			return
		}
		var all strings.Builder
		hit := false
		for _, p := range pieces {
			all.WriteString(p.Text)
			hit = hit || p.Hit
		}
		if got := strings.TrimSuffix(strings.TrimPrefix(all.String(), "…"), "…"); !hit || !strings.Contains(text, got) && !strings.Contains(text, all.String()) {
			t.Errorf("%q in pieces: %+v", text, pieces)
		}
	})
}
