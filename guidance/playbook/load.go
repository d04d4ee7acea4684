// Package playbook reads the rules of guidance from YAML: intents as phrases,
// the stages of a call, and the cards that follow from what is said or not
// said. It also carries the playbook of a retail bank.
//
// A file has these parts; all but rules may be absent:
//
//	name: retail bank
//	classes:                  # phrases with a name, for use as $card
//	  card: "[debit|credit] card~"
//	entities:                 # what is spoken of; heard in anyone's words
//	  account:
//	    savings: ["savings [account]"]
//	intents:
//	  - id: card.lost
//	    customer: ["lost ... $card", "my $card @0.5"]
//	    agent: [...]
//	    any: [...]
//	    unless: ["not lost"]
//	speakers:                 # who says what at the beginning of a call
//	  defaults: true          # besides those that any contact centre has
//	  agent:
//	    greeting: ["thank you for calling @1"] # a group counts once
//	  customer:
//	    trouble: ["i lost my $card @0.9"]
//	stages:                   # the first is there from the start
//	  - id: service
//	  - id: closing
//	    begins: [call.closing]
//	rules:
//	  - id: lost-card
//	    when:
//	      intent: [card.lost] # any of them triggers
//	      customer: [...]     # so do these phrases; agent and any likewise
//	      start: false        # so does the beginning of the call
//	      entity: {account: savings}
//	      said: [identity.checked]
//	      unless: [card.stolen]        # heard in the same breath, it is that
//	      not_said: [recording.notice]
//	      by: 30s             # how long after the trigger not_said is judged
//	      score: 0.7          # the evidence that is enough
//	    stage: [service]
//	    card:
//	      kind: action        # answer, action, script, checklist, compliance, offer, alert
//	      element: card-lost  # or text: {en: {title: ..., body: ..., steps: [...]}}
//	      search: lost card   # where the knowledge base has no such element
//	      priority: 80        # 0 to 100
//	      expires: 2m
//	      cooldown: 5m
//	      key: card-lost      # cards with one key say the same thing
//
// The phrases' language is that of package intent. A phrase may end in " @" and
// its score; among speakers that is its weight (package speaker).
package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"sidetone/guidance"
	"sidetone/guidance/intent"
	"sidetone/internal/yamlfile"
)

// What a file leaves open.
const (
	defaultScore    = 0.9
	defaultEnough   = 0.7
	defaultPriority = 50
	defaultExpires  = 90 * time.Second
	defaultCooldown = 5 * time.Minute
)

type file struct {
	Name     string                         `yaml:"name"`
	Classes  yaml.MapSlice                  `yaml:"classes"`
	Entities map[string]map[string][]string `yaml:"entities"`
	Intents  []intentItem                   `yaml:"intents"`
	Speakers *speakersItem                  `yaml:"speakers"`
	Stages   []stageItem                    `yaml:"stages"`
	Rules    []ruleItem                     `yaml:"rules"`
}

type intentItem struct {
	ID       string   `yaml:"id"`
	Customer []string `yaml:"customer"`
	Agent    []string `yaml:"agent"`
	Any      []string `yaml:"any"`
	Unless   []string `yaml:"unless"`
}

type stageItem struct {
	ID     string   `yaml:"id"`
	Begins []string `yaml:"begins"`
}

type ruleItem struct {
	ID    string   `yaml:"id"`
	When  whenItem `yaml:"when"`
	Stage []string `yaml:"stage"`
	Card  cardItem `yaml:"card"`
}

type whenItem struct {
	Intent   []string          `yaml:"intent"`
	Customer []string          `yaml:"customer"`
	Agent    []string          `yaml:"agent"`
	Any      []string          `yaml:"any"`
	Start    bool              `yaml:"start"`
	Entity   map[string]string `yaml:"entity"`
	Said     []string          `yaml:"said"`
	Unless   []string          `yaml:"unless"`
	NotSaid  []string          `yaml:"not_said"`
	By       time.Duration     `yaml:"by"`
	Score    *float64          `yaml:"score"`
}

type cardItem struct {
	Kind     guidance.Kind       `yaml:"kind"`
	Element  string              `yaml:"element"`
	Search   string              `yaml:"search"`
	Text     map[string]textItem `yaml:"text"`
	Priority *int                `yaml:"priority"`
	Expires  *time.Duration      `yaml:"expires"`
	Cooldown *time.Duration      `yaml:"cooldown"`
	Key      string              `yaml:"key"`
}

type textItem struct {
	Title string   `yaml:"title"`
	Body  string   `yaml:"body"`
	Steps []string `yaml:"steps"`
}

// Parse reads a playbook; name is what errors call it. Every error says the
// line.
func Parse(name string, src []byte) (*guidance.Playbook, error) {
	l := loader{
		file:  yamlfile.File{Name: name, Source: src},
		build: intent.NewBuilder(),
		who:   intent.NewBuilder(),
		known: map[string]bool{},
	}
	if err := l.file.Decode(&l.in); err != nil {
		return nil, err
	}
	out := &guidance.Playbook{Name: l.in.Name}
	for _, part := range []func(*guidance.Playbook) error{l.classes, l.entities, l.intents, l.speakers, l.stages, l.rules} {
		if err := part(out); err != nil {
			return nil, err
		}
	}
	out.Spotter = l.build.Set()
	return out, nil
}

type loader struct {
	file  yamlfile.File
	in    file
	build *intent.Builder
	// who are the phrases that tell who speaks.
	who *intent.Builder
	// known are the intents and entities.
	known map[string]bool
}

func (l *loader) classes(*guidance.Playbook) error {
	for _, c := range l.in.Classes {
		name, _ := c.Key.(string)
		path := "$.classes." + name
		text, ok := c.Value.(string)
		if !ok {
			return l.file.Errorf(path, "class %v: its value is not a phrase", c.Key)
		}
		for _, b := range []*intent.Builder{l.build, l.who} {
			if err := b.Class(name, text); err != nil {
				return l.file.Errorf(path, "%v", err)
			}
		}
	}
	return nil
}

func (l *loader) entities(*guidance.Playbook) error {
	for _, name := range slices.Sorted(maps.Keys(l.in.Entities)) {
		values := l.in.Entities[name]
		for _, value := range slices.Sorted(maps.Keys(values)) {
			id := entityID(name, value)
			path := "$.entities." + name + "." + value
			if err := l.phrases(id, path, intent.Any, values[value]); err != nil {
				return err
			}
			l.known[id] = true
		}
	}
	return nil
}

func entityID(name, value string) string { return name + "=" + value }

func (l *loader) intents(*guidance.Playbook) error {
	for i, in := range l.in.Intents {
		path := fmt.Sprintf("$.intents[%d]", i)
		said := spoken{in.Customer, in.Agent, in.Any}
		switch {
		case in.ID == "" || strings.ContainsAny(in.ID, "=: "):
			return l.file.Errorf(path+".id", "intent %q: an id is a word without =, : and spaces", in.ID)
		case l.known[in.ID]:
			return l.file.Errorf(path+".id", "intent %q is there already", in.ID)
		case said.count() == 0:
			return l.file.Errorf(path, "intent %q has no phrases", in.ID)
		}
		l.known[in.ID] = true
		if err := l.allPhrases(in.ID, path, said); err != nil {
			return err
		}
		for j, u := range in.Unless {
			if err := l.build.Unless(in.ID, u); err != nil {
				return l.file.Errorf(fmt.Sprintf("%s.unless[%d]", path, j), "intent %q: %v", in.ID, err)
			}
		}
	}
	return nil
}

// spoken are phrases by who says them.
type spoken struct {
	customer, agent, any []string
}

func (s *spoken) count() int { return len(s.customer) + len(s.agent) + len(s.any) }

func (l *loader) allPhrases(id, path string, s spoken) error {
	for _, part := range []struct {
		role string
		list []string
	}{{intent.Customer, s.customer}, {intent.Agent, s.agent}, {intent.Any, s.any}} {
		if err := l.phrases(id, path+"."+part.role, part.role, part.list); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) phrases(id, path, role string, list []string) error {
	return phrases(l.build, l.file, id, path, role, list)
}

// phrases makes a list at a path of a file the marks of an intent.
func phrases(build *intent.Builder, file yamlfile.File, id, path, role string, list []string) error {
	for i, text := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		score := defaultScore
		if say, number, ok := strings.Cut(text, " @"); ok {
			var err error
			if score, err = strconv.ParseFloat(number, 64); err != nil {
				return file.Errorf(at, "phrase %q: %q is no score such as 0.5", text, number)
			}
			text = say
		}
		if err := build.Phrase(id, role, text, score); err != nil {
			return file.Errorf(at, "%q: %v", id, err)
		}
	}
	return nil
}

func (l *loader) stages(out *guidance.Playbook) error {
	for i, s := range l.in.Stages {
		path := fmt.Sprintf("$.stages[%d]", i)
		if s.ID == "" || slices.ContainsFunc(out.Stages, func(o guidance.Stage) bool { return o.ID == s.ID }) {
			return l.file.Errorf(path+".id", "stage %q: the id is empty or taken", s.ID)
		}
		if err := l.refer(path+".begins", s.Begins); err != nil {
			return err
		}
		out.Stages = append(out.Stages, guidance.Stage{ID: s.ID, Begins: s.Begins})
	}
	return nil
}

// refer checks that intents exist.
func (l *loader) refer(path string, ids []string) error {
	for i, id := range ids {
		if !l.known[id] {
			return l.file.Errorf(fmt.Sprintf("%s[%d]", path, i), "no intent or entity %q is defined", id)
		}
	}
	return nil
}
