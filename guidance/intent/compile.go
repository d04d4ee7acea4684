package intent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits that keep a phrase cheap to match.
const (
	maxPhrase  = 1000 // bytes
	maxProgram = 1500 // instructions
	maxGap     = 12   // words
	defaultGap = 4
	maxDepth   = 16 // brackets and classes within each other
)

// op is one instruction of a phrase's program.
type op struct {
	kind opKind
	// x and y are where to go on: both for fork, x for jump and not.
	x, y int
	// set holds the words that match, in ascending order.
	set []int32
}

type opKind uint8

const (
	opWord opKind = iota // one of set, then the next
	opAny                // any word, which proves nothing
	opFork               // x, else y
	opJump               // x
	opNot                // the instructions up to x must not match here
	opDone
)

// program is a compiled phrase.
type program struct {
	code []op
	// first are the words that it can begin with.
	first []int32
	// span is the greatest number of words that it covers.
	span int
}

// vocabulary numbers the words of all phrases, from 1.
type vocabulary map[string]int32

func (v vocabulary) number(w string) int32 {
	n, ok := v[w]
	if !ok {
		n = int32(len(v) + 1)
		v[w] = n
	}
	return n
}

// node is a phrase as a tree.
type node struct {
	kind nodeKind
	// kids of a sequence, or the alternatives of a choice.
	kids []*node
	set  []int32
	gap  int
	// size bounds the instructions that the node becomes.
	size int
}

type nodeKind uint8

const (
	wordNode nodeKind = iota
	seqNode
	choiceNode
	gapNode
	notNode
)

// parser reads one phrase.
type parser struct {
	text    string
	pos     int
	depth   int
	not     bool
	vocab   vocabulary
	classes map[string]*node
}

func (p *parser) errorf(at int, format string, args ...any) error {
	return fmt.Errorf("phrase %q, character %d: %s", p.text, utf8.RuneCountInString(p.text[:at])+1, fmt.Sprintf(format, args...))
}

func (p *parser) space() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t' || p.text[p.pos] == '\n') {
		p.pos++
	}
}

// choice reads alternatives up to the closing bracket, or to the end where
// closing is 0.
func (p *parser) choice(closing byte) (*node, error) {
	open := max(p.pos-1, 0)
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf(open, "brackets are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	out := &node{kind: choiceNode}
	for {
		from := p.pos
		s, err := p.sequence()
		if err != nil {
			return nil, err
		}
		if len(s.kids) == 0 {
			return nil, p.errorf(min(from, len(p.text)), "an alternative without words")
		}
		out.kids = append(out.kids, s)
		if out.size += s.size + 2; out.size > maxProgram {
			return nil, p.errorf(from, "with its classes the phrase has more than %d words", maxProgram)
		}
		if p.pos == len(p.text) {
			if closing != 0 {
				return nil, p.errorf(open, "the bracket is not closed")
			}
			return out, nil
		}
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '|' && closing != 0:
		case c == closing:
			return out, nil
		case c == '|':
			return nil, p.errorf(p.pos-1, "alternatives stand in brackets")
		default:
			return nil, p.errorf(p.pos-1, "%q closes nothing", c)
		}
	}
}

func (p *parser) sequence() (*node, error) {
	out := &node{kind: seqNode}
	for {
		p.space()
		if p.pos == len(p.text) || strings.IndexByte("|)]", p.text[p.pos]) >= 0 {
			return out, nil
		}
		at := p.pos
		n, err := p.item()
		if err != nil {
			return nil, err
		}
		if k := len(out.kids); k > 0 && n.sameWord(out.kids[k-1]) && stutters(p.text[at:]) {
			continue
		}
		out.kids = append(out.kids, n)
		if out.size += n.size; out.size > maxProgram {
			return nil, p.errorf(p.pos, "with its classes the phrase has more than %d words", maxProgram)
		}
	}
}

func (p *parser) item() (*node, error) {
	at := p.pos
	c := p.text[p.pos]
	switch c {
	case '(':
		p.pos++
		return p.choice(')')
	case '[':
		p.pos++
		n, err := p.choice(']')
		if err == nil {
			n.kids = append(n.kids, &node{kind: seqNode})
		}
		return n, err
	case '!':
		return p.negation()
	case '$':
		p.pos++
		name := p.name()
		n := p.classes[name]
		if n == nil {
			return nil, p.errorf(at, "unknown class $%s", name)
		}
		return n, nil
	}
	if rest, ok := strings.CutPrefix(p.text[p.pos:], "..."); ok {
		p.pos += 3
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		p.pos += len(digits)
		n := defaultGap
		if digits != "" {
			var err error
			if n, err = strconv.Atoi(digits); err != nil || n < 1 || n > maxGap {
				return nil, p.errorf(at, "a gap of %s words; 1 to %d are possible", digits, maxGap)
			}
		}
		return &node{kind: gapNode, gap: n, size: 2 * n}, nil
	}
	return p.word()
}

func (p *parser) negation() (*node, error) {
	at := p.pos
	if p.not {
		return nil, p.errorf(at, "! within !")
	}
	p.pos++
	p.space()
	if p.pos == len(p.text) || strings.IndexByte("|)]!", p.text[p.pos]) >= 0 {
		return nil, p.errorf(at, "! stands before a word or a bracket")
	}
	p.not = true
	n, err := p.item()
	p.not = false
	if err != nil {
		return nil, err
	}
	if n.kind == gapNode || n.empty() {
		return nil, p.errorf(at, "! needs words that can be absent")
	}
	return &node{kind: notNode, kids: []*node{n}, size: n.size + 2}, nil
}

func (p *parser) name() string {
	from := p.pos
	for p.pos < len(p.text) && isNameByte(p.text[p.pos]) {
		p.pos++
	}
	return p.text[from:p.pos]
}

func isNameByte(c byte) bool {
	return c == '-' || c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}

func (p *parser) word() (*node, error) {
	from := p.pos
	for p.pos < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.pos:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !isApostrophe(r) && r != '-' {
			break
		}
		p.pos += n
	}
	text := p.text[from:p.pos]
	if text == "" {
		r, _ := utf8.DecodeRuneInString(p.text[from:])
		return nil, p.errorf(from, "%q means nothing here", r)
	}
	var tokens []string
	split(text, func(t string) { tokens = append(tokens, strings.Clone(t)) })
	if len(tokens) == 0 {
		return nil, p.errorf(from, "%q is never heard: hesitations do not count", text)
	}
	inflect := p.pos < len(p.text) && p.text[p.pos] == '~'
	if inflect {
		p.pos++
		if r, _ := utf8.DecodeRuneInString(text); len(tokens) > 1 || unicode.Is(unicode.Han, r) {
			return nil, p.errorf(from, "%q: ~ stands after one English word", text)
		}
	}
	seq := &node{kind: seqNode}
	for i, t := range tokens {
		if i > 0 && t == tokens[i-1] && stutters(t) {
			continue
		}
		n := &node{kind: wordNode, size: 1}
		all := []string{t}
		if inflect {
			all = forms(t)
		}
		for _, f := range all {
			n.set = append(n.set, p.vocab.number(f))
		}
		slices.Sort(n.set)
		seq.kids = append(seq.kids, n)
		seq.size++
	}
	return seq, nil
}

// sameWord says whether both are the same single word, which is heard once
// however often it is repeated.
func (n *node) sameWord(o *node) bool {
	return n.kind == seqNode && o.kind == seqNode && len(n.kids) == 1 && len(o.kids) == 1 &&
		n.kids[0].kind == wordNode && slices.Equal(n.kids[0].set, o.kids[0].set)
}

// empty says whether the node matches no words at all.
func (n *node) empty() bool {
	switch n.kind {
	case wordNode:
		return false
	case seqNode:
		return !slices.ContainsFunc(n.kids, func(k *node) bool { return !k.empty() })
	case choiceNode:
		return slices.ContainsFunc(n.kids, (*node).empty)
	default:
		return true
	}
}

// span is the greatest number of words that the node covers.
func (n *node) span() int {
	total := 0
	for _, k := range n.kids {
		if n.kind == choiceNode {
			total = max(total, k.span())
		} else {
			total += k.span()
		}
	}
	switch n.kind {
	case wordNode:
		return 1
	case gapNode:
		return n.gap
	case notNode:
		return 0
	}
	return total
}

// begins adds the words that the node can begin with; more says that what
// follows it can begin the phrase too.
func (n *node) begins(set *[]int32) (more bool, err error) {
	switch n.kind {
	case wordNode:
		*set = append(*set, n.set...)
		return false, nil
	case gapNode:
		return false, errors.New("it begins with a gap")
	case notNode:
		return true, nil
	case choiceNode:
		for _, k := range n.kids {
			m, err := k.begins(set)
			if err != nil {
				return false, err
			}
			more = more || m
		}
		return more, nil
	}
	for _, k := range n.kids {
		m, err := k.begins(set)
		if err != nil || !m {
			return false, err
		}
	}
	return true, nil
}

// ends says whether the node can end with a gap.
func (n *node) ends() bool {
	switch n.kind {
	case gapNode:
		return true
	case choiceNode:
		return slices.ContainsFunc(n.kids, (*node).ends)
	case seqNode:
		for _, k := range slices.Backward(n.kids) {
			if k.ends() {
				return true
			}
			if !k.empty() {
				return false
			}
		}
	}
	return false
}

// parsePhrase reads a phrase into a tree.
func parsePhrase(text string, vocab vocabulary, classes map[string]*node) (*node, error) {
	if len(text) > maxPhrase {
		return nil, fmt.Errorf("phrase %.20q...: %d bytes are more than %d", text, len(text), maxPhrase)
	}
	p := &parser{text: text, vocab: vocab, classes: classes}
	return p.choice(0)
}

// compile turns a tree into a program.
func compile(text string, n *node) (*program, error) {
	pr := &program{span: n.span()}
	more, err := n.begins(&pr.first)
	switch {
	case err != nil:
		return nil, fmt.Errorf("phrase %q: %w", text, err)
	case more:
		return nil, fmt.Errorf("phrase %q: every word is optional", text)
	case n.ends():
		return nil, fmt.Errorf("phrase %q: it ends with a gap", text)
	}
	slices.Sort(pr.first)
	pr.first = slices.Compact(pr.first)
	pr.emit(n)
	pr.code = append(pr.code, op{kind: opDone})
	return pr, nil
}

func (pr *program) emit(n *node) {
	switch n.kind {
	case wordNode:
		pr.code = append(pr.code, op{kind: opWord, set: n.set})
	case seqNode:
		for _, k := range n.kids {
			pr.emit(k)
		}
	case choiceNode:
		pr.emitChoice(n)
	case gapNode:
		// As few words as possible: each fork first tries to go on behind.
		end := len(pr.code) + 2*n.gap
		for range n.gap {
			pr.code = append(pr.code, op{kind: opFork, x: end, y: len(pr.code) + 1}, op{kind: opAny})
		}
	case notNode:
		at := len(pr.code)
		pr.code = append(pr.code, op{kind: opNot})
		pr.emit(n.kids[0])
		pr.code = append(pr.code, op{kind: opDone})
		pr.code[at].x = len(pr.code)
	}
}

func (pr *program) emitChoice(n *node) {
	var jumps []int
	for i, k := range n.kids {
		if i == len(n.kids)-1 {
			pr.emit(k)
			break
		}
		fork := len(pr.code)
		pr.code = append(pr.code, op{kind: opFork, x: fork + 1})
		pr.emit(k)
		jumps = append(jumps, len(pr.code))
		pr.code = append(pr.code, op{kind: opJump})
		pr.code[fork].y = len(pr.code)
	}
	for _, j := range jumps {
		pr.code[j].x = len(pr.code)
	}
}
