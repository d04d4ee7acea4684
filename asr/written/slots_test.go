package written

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/internal/needs"
)

// slot is an annotation of NLU++ (PolyAI, CC-BY-4.0): what a customer said, what
// it means.
type slot struct {
	Text  string `json:"text"`
	Span  [2]int `json:"span"`
	Value struct {
		Hour, Minute     int
		Day, Month, Year int
		Amount           float64
		Currency         string
	} `json:"value"`
}

// Customers' times, dates and amounts in NLU++ are found with the meaning that
// people gave them. Only such as name the thing count: "tomorrow" and "last
// week" are none.
func TestSlots(t *testing.T) {
	folds, err := filepath.Glob(filepath.Join(needs.Eval(t, "intent", "nlupp"), "*.json"))
	if err != nil || len(folds) == 0 {
		t.Fatalf("no folds: %v", err)
	}
	asked, right := map[string]int{}, map[string]int{}
	for _, fold := range folds {
		b, err := os.ReadFile(fold)
		if err != nil {
			t.Fatal(err)
		}
		var said []struct {
			Text  string
			Slots map[string]json.RawMessage
		}
		if err := json.Unmarshal(b, &said); err != nil {
			t.Fatal(err)
		}
		for _, s := range said {
			for name, raw := range s.Slots {
				var sl slot
				if json.Unmarshal(raw, &sl) != nil {
					continue
				}
				kind, want := expected(name, &sl)
				if want == "" {
					continue
				}
				asked[kind]++
				got := describe(overlapping(s.Text, &sl))
				if strings.Contains(got, want) {
					right[kind]++
				} else {
					t.Logf("%q in %q: found %q, want %s", sl.Text, s.Text, got, want)
				}
			}
		}
	}
	for kind, least := range map[string]float64{"time": 0.8, "date": 0.98, "money": 0.98} {
		share := float64(right[kind]) / float64(max(1, asked[kind]))
		t.Logf("%s: %d of %d, %.1f %%", kind, right[kind], asked[kind], 100*share)
		if asked[kind] < 30 || share < least {
			t.Errorf("%s: %d of %d are right, less than %.0f %%", kind, right[kind], asked[kind], 100*least)
		}
	}
}

func expected(name string, s *slot) (kind, want string) {
	v := &s.Value
	lower := strings.ToLower(s.Text)
	switch {
	case strings.HasPrefix(name, "time") && name != "time_period" && !strings.Contains(lower, "ago") && !strings.Contains(lower, "now") && !strings.HasPrefix(lower, "in "):
		return "time", fmt.Sprintf("time %02d:%02d", v.Hour, v.Minute)
	case name == "amount_of_money" && v.Currency != "ambiguous" && v.Currency != "":
		return "money", fmt.Sprintf("money %s %.0f", v.Currency, v.Amount*100)
	case strings.HasPrefix(name, "date") && strings.ContainsAny(lower, "0123456789"):
		for m := 1; m <= 12; m++ {
			if strings.Contains(lower, strings.ToLower(monthName(m)[:3])) && !strings.Contains(lower, "months") && v.Month == m && v.Day > 0 {
				return "date", fmt.Sprintf("-%02d-%02d", m, v.Day)
			}
		}
	}
	return "", ""
}

// overlapping are the spans found in a slot's words.
func overlapping(text string, s *slot) (spans []Span) {
	var ws = words(text)
	first := len(strings.Fields(text[:min(len(text), s.Span[0])]))
	last := first + len(strings.Fields(s.Text)) - 1
	for _, sp := range Find(ws, "en") {
		if sp.Last >= first && sp.First <= last {
			spans = append(spans, sp)
		}
	}
	return spans
}
