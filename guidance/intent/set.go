package intent

import (
	"fmt"
	"slices"

	"sidetone/guidance"
)

// Roles whose words a phrase is listened for in; Any is everyone's.
const (
	Agent    = "agent"
	Customer = "customer"
	Any      = "any"
)

// Builder collects phrases into a Set. An error of its methods says what is
// wrong with the text they were given and leaves the builder as it was.
type Builder struct {
	vocab   vocabulary
	classes map[string]*node
	intents map[string]int
	set     Set
}

// NewBuilder returns a builder without phrases.
func NewBuilder() *Builder {
	return &Builder{vocab: vocabulary{}, classes: map[string]*node{}, intents: map[string]int{}}
}

// Class names a phrase for use in the classes and phrases that follow.
func (b *Builder) Class(name, phrase string) error {
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return fmt.Errorf("class %q: a name has lower-case letters, digits, - and _", name)
		}
	}
	if name == "" || b.classes[name] != nil {
		return fmt.Errorf("class %q: the name is empty or taken", name)
	}
	n, err := parsePhrase(phrase, b.vocab, b.classes)
	if err != nil {
		return fmt.Errorf("class %q: %w", name, err)
	}
	b.classes[name] = n
	return nil
}

// Phrase makes a phrase in a role's words the mark of an intent, with the given
// score above 0 and up to 1.
func (b *Builder) Phrase(intent, role, phrase string, score float64) error {
	if intent == "" {
		return fmt.Errorf("phrase %q: the intent has no name", phrase)
	}
	if !(score > 0 && score <= 1) {
		return fmt.Errorf("phrase %q: a score of %v; it is above 0 and at most 1", phrase, score)
	}
	if role != Agent && role != Customer && role != Any {
		return fmt.Errorf("phrase %q: role %q; known are %s, %s and %s", phrase, role, Agent, Customer, Any)
	}
	p, err := b.program(phrase)
	if err != nil {
		return err
	}
	b.set.phrases = append(b.set.phrases, marker{p, b.intent(intent), role, phrase, score})
	return nil
}

// Unless makes a phrase void the matches of an intent that it overlaps or
// touches.
func (b *Builder) Unless(intent, phrase string) error {
	p, err := b.program(phrase)
	if err != nil {
		return err
	}
	i := b.intent(intent)
	b.set.intents[i].guards = append(b.set.intents[i].guards, p)
	return nil
}

func (b *Builder) program(phrase string) (*program, error) {
	n, err := parsePhrase(phrase, b.vocab, b.classes)
	if err != nil {
		return nil, err
	}
	return compile(phrase, n)
}

func (b *Builder) intent(name string) int {
	i, ok := b.intents[name]
	if !ok {
		i = len(b.set.intents)
		b.intents[name] = i
		b.set.intents = append(b.set.intents, named{id: name})
	}
	return i
}

// Set returns what was collected. The builder can go on; the set does not
// change.
func (b *Builder) Set() *Set {
	s := &Set{
		vocab:   vocabulary{},
		intents: slices.Clone(b.set.intents),
		phrases: slices.Clone(b.set.phrases),
	}
	for w, n := range b.vocab {
		s.vocab[w] = n
	}
	// The surest phrase is tried first, so that the first to match is the best.
	slices.SortStableFunc(s.phrases, func(a, b marker) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	for _, role := range [...]string{Agent, Customer, unknown} {
		ix := make([][]int32, len(s.vocab)+1)
		for i, p := range s.phrases {
			if p.role != Any && role != unknown && p.role != role {
				continue
			}
			for _, w := range p.first {
				ix[w] = append(ix[w], int32(i))
			}
			s.reach = max(s.reach, p.span)
		}
		s.index = append(s.index, ix)
	}
	for i := range s.intents {
		for _, g := range s.intents[i].guards {
			s.guardReach = max(s.guardReach, g.span)
		}
	}
	return s
}

const unknown = "unknown"

// Set holds compiled phrases. It is immutable and safe for concurrent use.
type Set struct {
	vocab   vocabulary
	intents []named
	phrases []marker
	// index lists, for agent, customer and unknown, the phrases that can begin
	// with each word of the vocabulary.
	index [][][]int32
	// reach and guardReach are the most words that a phrase and a guard cover.
	reach, guardReach int
}

type named struct {
	id     string
	guards []*program
}

// marker is a phrase that marks an intent.
type marker struct {
	*program
	intent int
	role   string
	text   string
	score  float64
}

var _ guidance.Spotter = (*Set)(nil)

// Listen begins a leg. A role other than agent and customer is taken for
// someone who may be either.
func (s *Set) Listen(role string) guidance.Listener {
	l := &Listener{set: s, index: s.index[2]}
	switch role {
	case Agent:
		l.index = s.index[0]
	case Customer:
		l.index = s.index[1]
	}
	return l
}
