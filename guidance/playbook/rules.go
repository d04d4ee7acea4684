package playbook

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"sidetone/guidance"
)

// kinds are the kinds of card that a rule may have.
func kinds() []guidance.Kind {
	return []guidance.Kind{
		guidance.Answer, guidance.Action, guidance.Script, guidance.Checklist,
		guidance.Compliance, guidance.Offer, guidance.Alert,
	}
}

func (l *loader) rules(out *guidance.Playbook) error {
	if len(l.in.Rules) == 0 {
		return l.file.Errorf("$", "no rules: the file holds a list named rules")
	}
	seen := map[string]bool{}
	for i := range l.in.Rules {
		in := &l.in.Rules[i]
		path := fmt.Sprintf("$.rules[%d]", i)
		if in.ID == "" || seen[in.ID] {
			return l.file.Errorf(path+".id", "rule %q: the id is empty or taken", in.ID)
		}
		seen[in.ID] = true
		when, err := l.when(in, path+".when")
		if err != nil {
			return err
		}
		for j, s := range in.Stage {
			if !slices.ContainsFunc(out.Stages, func(o guidance.Stage) bool { return o.ID == s }) {
				return l.file.Errorf(fmt.Sprintf("%s.stage[%d]", path, j), "rule %q: no stage %q is defined", in.ID, s)
			}
		}
		card, err := l.card(in, path+".card")
		if err != nil {
			return err
		}
		out.Rules = append(out.Rules, guidance.Rule{ID: in.ID, When: when, Stages: in.Stage, Card: card})
	}
	return nil
}

func (l *loader) when(r *ruleItem, path string) (guidance.When, error) {
	in := &r.When
	out := guidance.When{
		Start: in.Start, Intents: slices.Clone(in.Intent), Score: defaultEnough,
		Said: slices.Clone(in.Said), Unless: in.Unless, NotSaid: in.NotSaid, By: in.By,
	}
	if in.Score != nil {
		out.Score = *in.Score
	}
	said := spoken{in.Customer, in.Agent, in.Any}
	fail := func(field, format string, args ...any) (guidance.When, error) {
		return out, l.file.Errorf(path+field, "rule %q: %s", r.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case !in.Start && len(in.Intent) == 0 && said.count() == 0:
		return fail("", "nothing triggers it: it needs intent, customer, agent, any or start")
	case in.Start && (len(in.Intent) > 0 || said.count() > 0):
		return fail(".start", "it is triggered by the start or by words, not by both")
	case !(out.Score > 0 && out.Score <= 1):
		return fail(".score", "a score of %v; it is above 0 and at most 1", out.Score)
	case in.By < 0:
		return fail(".by", "%s lies in the past", in.By)
	case in.By > 0 && len(in.NotSaid) == 0:
		return fail(".by", "by belongs to not_said, which is absent")
	}
	for _, list := range []struct {
		field string
		ids   []string
	}{{".intent", in.Intent}, {".said", in.Said}, {".unless", in.Unless}, {".not_said", in.NotSaid}} {
		if err := l.refer(path+list.field, list.ids); err != nil {
			return out, err
		}
	}
	if said.count() > 0 {
		id := "rule:" + r.ID
		if err := l.allPhrases(id, path, said); err != nil {
			return out, err
		}
		out.Intents = append(out.Intents, id)
	}
	for _, name := range slices.Sorted(maps.Keys(in.Entity)) {
		id := entityID(name, in.Entity[name])
		if !l.known[id] {
			return fail(".entity."+name, "no entity %s has the value %q", name, in.Entity[name])
		}
		out.Said = append(out.Said, id)
	}
	return out, nil
}

func (l *loader) card(r *ruleItem, path string) (guidance.Template, error) {
	in := &r.Card
	out := guidance.Template{
		Kind: in.Kind, Element: in.Element, Search: in.Search,
		Priority: defaultPriority, Expires: defaultExpires, Cooldown: defaultCooldown,
		Key: cmp.Or(in.Key, in.Element, r.ID),
	}
	if in.Priority != nil {
		out.Priority = *in.Priority
	}
	if in.Expires != nil {
		out.Expires = *in.Expires
	}
	if in.Cooldown != nil {
		out.Cooldown = *in.Cooldown
	}
	fail := func(field, format string, args ...any) (guidance.Template, error) {
		return out, l.file.Errorf(path+field, "rule %q: %s", r.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case !slices.Contains(kinds(), in.Kind):
		return fail(".kind", "kind %q is not one of %v", in.Kind, kinds())
	case (in.Element == "") == (len(in.Text) == 0):
		return fail("", "a card has either an element or a text")
	case in.Search != "" && in.Element == "":
		return fail(".search", "search stands in for an element, and there is none")
	case out.Priority < 0 || out.Priority > 100:
		return fail(".priority", "a priority of %d; it is 0 to 100", out.Priority)
	case out.Expires <= 0:
		return fail(".expires", "a card that stands for %s is never seen", out.Expires)
	case out.Cooldown < 0:
		return fail(".cooldown", "%s is negative", out.Cooldown)
	}
	for _, lang := range slices.Sorted(maps.Keys(in.Text)) {
		t := in.Text[lang]
		if t.Title == "" {
			return fail(".text."+lang, "the text in %q has no title", lang)
		}
		if out.Text == nil {
			out.Text = map[string]guidance.Text{}
		}
		out.Text[lang] = guidance.Text(t)
	}
	return out, nil
}
