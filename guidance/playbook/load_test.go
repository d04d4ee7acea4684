package playbook

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidetone/guidance"
	"sidetone/kb"
)

const small = `name: small
classes:
  card: "[debit] card"
entities:
  account:
    savings: [savings]
intents:
  - id: card.lost
    customer: ["lost ... $card", "card @0.5"]
    unless: ["not lost"]
  - id: checked
    agent: ["date of birth"]
stages:
  - id: service
  - id: closing
    begins: [checked]
rules:
  - id: lost
    when: {intent: [card.lost], said: [checked], unless: [checked], entity: {account: savings}, score: 0.6}
    stage: [service]
    card: {kind: action, element: card-lost, search: lost card, priority: 0, expires: 10s, cooldown: 0s, key: k}
  - id: greet
    when: {start: true, not_said: [checked], by: 5s}
    card: {kind: compliance, text: {en: {title: Check, body: Ask., steps: [Now]}}}
  - id: word
    when: {any: [help]}
    card: {kind: answer, element: help}
`

func TestParse(t *testing.T) {
	p, err := Parse("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	p.Spotter, p.Speakers = nil, nil
	want := &guidance.Playbook{
		Name:   "small",
		Stages: []guidance.Stage{{ID: "service"}, {ID: "closing", Begins: []string{"checked"}}},
		Rules: []guidance.Rule{
			{
				ID: "lost", Stages: []string{"service"},
				When: guidance.When{
					Intents: []string{"card.lost"}, Said: []string{"checked", "account=savings"}, Unless: []string{"checked"}, Score: 0.6,
				},
				Card: guidance.Template{
					Kind: guidance.Action, Element: "card-lost", Search: "lost card", Expires: 10 * time.Second, Key: "k",
				},
			},
			{
				ID:   "greet",
				When: guidance.When{Start: true, NotSaid: []string{"checked"}, By: 5 * time.Second, Score: 0.7},
				Card: guidance.Template{
					Kind: guidance.Compliance, Text: map[string]guidance.Text{"en": {Title: "Check", Body: "Ask.", Steps: []string{"Now"}}},
					Priority: 50, Expires: 90 * time.Second, Cooldown: 5 * time.Minute, Key: "greet",
				},
			},
			{
				ID:   "word",
				When: guidance.When{Intents: []string{"rule:word"}, Score: 0.7},
				Card: guidance.Template{
					Kind: guidance.Answer, Element: "help", Priority: 50, Expires: 90 * time.Second, Cooldown: 5 * time.Minute, Key: "help",
				},
			},
		},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"not YAML", "name: small", "name: [", "f.yaml:"},
		{"unknown key", "stage: [service]", "stages: [service]", `f.yaml:20:5: unknown field "stages"`},
		{"wrong type", "score: 0.6", "score: high", "f.yaml:19:104:"},
		{"class", `card: "[debit] card"`, `card: "[debit card"`, `f.yaml:3:9: class "card": phrase "[debit card", character 1: the bracket is not closed`},
		{"class of a class", `card: "[debit] card"`, `card: 3`, `f.yaml:3:9: class card: its value is not a phrase`},
		{"phrase", "lost ... $card", "lost ... $cart", `f.yaml:9:16: "card.lost": phrase "lost ... $cart", character 10: unknown class $cart`},
		{"score", "card @0.5", "card @high", `f.yaml:9:34: phrase "card @high": "high" is no score such as 0.5`},
		{"score too high", "card @0.5", "card @5", `f.yaml:9:34: "card.lost": phrase "card": a score of 5; it is above 0 and at most 1`},
		{"guard", `["not lost"]`, `["..."]`, `f.yaml:10:14: intent "card.lost": phrase "...": it begins with a gap`},
		{"entity phrase", "savings: [savings]", "savings: [')']", `f.yaml:6:15: "account=savings": phrase ")", character 1`},
		{"intent twice", "id: checked", "id: card.lost", `f.yaml:11:9: intent "card.lost" is there already`},
		{"intent id", "id: checked", "id: a=b", `f.yaml:11:9: intent "a=b": an id is a word without =, : and spaces`},
		{"no phrases", `    agent: ["date of birth"]` + "\n", "", `f.yaml:11:5: intent "checked" has no phrases`},
		{"stage twice", "id: closing", "id: service", `f.yaml:15:9: stage "service": the id is empty or taken`},
		{"stage intent", "begins: [checked]", "begins: [nope]", `f.yaml:16:14: no intent or entity "nope" is defined`},
		{"rule twice", "id: greet", "id: lost", `f.yaml:22:9: rule "lost": the id is empty or taken`},
		{"rule intent", "intent: [card.lost]", "intent: [card.list]", `f.yaml:19:21: no intent or entity "card.list" is defined`},
		{"said", "said: [checked], unless", "said: [nope], unless", `f.yaml:19:40: no intent or entity "nope" is defined`},
		{"not said", "not_said: [checked]", "not_said: [nope]", `f.yaml:23:36: no intent or entity "nope" is defined`},
		{"entity value", "{account: savings}", "{account: checking}", `f.yaml:19:87: rule "lost": no entity account has the value "checking"`},
		{"no trigger", "{any: [help]}", "{said: [checked]}", `f.yaml:26:12: rule "word": nothing triggers it`},
		{"two triggers", "start: true,", "start: true, any: [help],", `f.yaml:23:19: rule "greet": it is triggered by the start or by words, not by both`},
		{"rule phrase", "{any: [help]}", "{any: ['(']}", `f.yaml:26:18: "rule:word": phrase "("`},
		{"bad rule score", "score: 0.6", "score: 2", `f.yaml:19:104: rule "lost": a score of 2`},
		{"by without", "not_said: [checked], by", "said: [checked], by", `f.yaml:23:46: rule "greet": by belongs to not_said, which is absent`},
		{"by before", "by: 5s", "by: -5s", `f.yaml:23:50: rule "greet": -5s lies in the past`},
		{"stage", "stage: [service]", "stage: [serving]", `f.yaml:20:13: rule "lost": no stage "serving" is defined`},
		{"kind", "kind: action", "kind: advice", `f.yaml:21:18: rule "lost": kind "advice" is not one of [answer action script`},
		{"no text", "element: help", "priority: 3", `f.yaml:27:12: rule "word": a card has either an element or a text`},
		{"search alone", "text: {en:", "search: x, text: {en:", `f.yaml:24:38: rule "greet": search stands in for an element`},
		{"no title", "title: Check, ", "", `f.yaml:24:42: rule "greet": the text in "en" has no title`},
		{"priority", "priority: 0", "priority: 101", `f.yaml:21:75: rule "lost": a priority of 101; it is 0 to 100`},
		{"expires", "expires: 10s", "expires: 0s", `f.yaml:21:87: rule "lost": a card that stands for 0s is never seen`},
		{"cooldown", "cooldown: 0s", "cooldown: -1s", `f.yaml:21:102: rule "lost": -1s is negative`},
		{"no rules", small[strings.Index(small, "rules:"):], "", "f.yaml: no rules"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(small, c.old, c.new, 1)
			if src == small {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := Parse("f.yaml", []byte(src))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// What the bank's rules show is in the bank's knowledge, and the other way
// round.
func TestRetailBankAndItsKnowledge(t *testing.T) {
	p, err := RetailBank()
	if err != nil {
		t.Fatal(err)
	}
	es, err := kb.Load(os.DirFS("../../kb/retailbank"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, e := range es {
		known[e.ID] = true
	}
	for _, id := range p.Elements() {
		if !known[id] {
			t.Errorf("no element %q in the knowledge base", id)
		}
		delete(known, id)
	}
	for id := range known {
		t.Errorf("no rule shows the element %q", id)
	}
	if _, err := Parse("copy", RetailBankYAML()); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("rules: [{id: a, when: {any: [b]}, card: {kind: alert, element: c}}]"))
	f.Add([]byte("classes: {a: b, c: $a}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("f.yaml", src)
		if err == nil && (len(p.Rules) == 0 || p.Spotter == nil) {
			t.Error("accepted a playbook without rules")
		}
	})
}
