package httpsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The structured fields (RFC 8941) that signatures are written in: dictionaries
// of items and of inner lists.
//
//	sig1=("@request-target" "@authority");keyid="demo";created=1767225600
//	sig1=:Ub9ECIN/map/zhVL29tRAz9Jyrf8u7BsCixMgPSiA6k=:

// maxField bounds a field, in bytes.
const maxField = 8192

// errDecimal: the one kind of item that no signature has.
var errDecimal = errors.New("a number with a fraction has no place in a signature")

type itemKind uint8

const (
	kindString itemKind = iota
	kindInteger
	kindBytes
	kindToken
	kindBoolean
)

// item is a bare item: text is a string's or a token's value, and the octets of
// a byte sequence; number is an integer's, or 1 for true.
type item struct {
	kind   itemKind
	text   string
	number int64
}

type param struct {
	key   string
	value item
}

// element is an item of an inner list.
type element struct {
	value  item
	params []param
}

// member is an entry of a dictionary: an inner list, or an item.
type member struct {
	key    string
	isList bool
	list   []element
	value  item
	params []param
}

// parseDictionary reads a dictionary (RFC 8941, section 4.2.2). A key that comes
// twice is an error here: it has no place in a signature.
func parseDictionary(s string) ([]member, error) {
	if len(s) > maxField {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(s), maxField)
	}
	p := &fieldParser{rest: strings.Trim(s, " "), whole: len(strings.TrimLeft(s, " "))}
	var all []member
	for p.rest != "" {
		m, err := p.member()
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", p.whole-len(p.rest), err)
		}
		for _, o := range all {
			if o.key == m.key {
				return nil, fmt.Errorf("the label %q comes twice", m.key)
			}
		}
		all = append(all, m)
		p.skip(" \t")
		if p.rest == "" {
			break
		}
		if !p.take(',') {
			return nil, fmt.Errorf("at byte %d: a comma is missing", p.whole-len(p.rest))
		}
		p.skip(" \t")
		if p.rest == "" {
			return nil, errors.New("it ends with a comma")
		}
	}
	return all, nil
}

type fieldParser struct {
	rest  string
	whole int // length of what there was
}

func (p *fieldParser) skip(set string) { p.rest = strings.TrimLeft(p.rest, set) }

// take steps over c, if it is next.
func (p *fieldParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// run steps over the bytes that ok allows.
func (p *fieldParser) run(ok func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && ok(p.rest[n]) {
		n++
	}
	got := p.rest[:n]
	p.rest = p.rest[n:]
	return got
}

func (p *fieldParser) member() (member, error) {
	var m member
	var err error
	if m.key, err = p.key(); err != nil {
		return m, err
	}
	switch {
	case !p.take('='):
		m.value = item{kind: kindBoolean, number: 1}
	case p.take('('):
		m.isList = true
		if m.list, err = p.list(); err != nil {
			return m, err
		}
	default:
		if m.value, err = p.item(); err != nil {
			return m, err
		}
	}
	m.params, err = p.params()
	return m, err
}

// list reads an inner list after its opening bracket.
func (p *fieldParser) list() ([]element, error) {
	var all []element
	for {
		p.skip(" ")
		if p.take(')') {
			return all, nil
		}
		v, err := p.item()
		if err != nil {
			return nil, err
		}
		params, err := p.params()
		if err != nil {
			return nil, err
		}
		all = append(all, element{v, params})
		if p.rest == "" || p.rest[0] != ' ' && p.rest[0] != ')' {
			return nil, errors.New("a list goes on with a space or ends with a bracket")
		}
	}
}

func (p *fieldParser) params() ([]param, error) {
	var all []param
	for p.take(';') {
		p.skip(" ")
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		value := item{kind: kindBoolean, number: 1}
		if p.take('=') {
			if value, err = p.item(); err != nil {
				return nil, err
			}
		}
		for _, o := range all {
			if o.key == key {
				return nil, fmt.Errorf("the parameter %q comes twice", key)
			}
		}
		all = append(all, param{key, value})
	}
	return all, nil
}

func (p *fieldParser) key() (string, error) {
	if p.rest == "" || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return "", errors.New("a key begins with a small letter")
	}
	return p.run(func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 }), nil
}

func (p *fieldParser) item() (item, error) {
	if p.rest == "" {
		return item{}, errors.New("a value is missing")
	}
	switch c := p.rest[0]; {
	case c == '"':
		return p.quoted()
	case c == ':':
		return p.octets()
	case c == '?':
		return p.boolean()
	case c == '-' || isDigit(c):
		return p.integer()
	case isLetter(c) || c == '*':
		return item{kind: kindToken, text: p.run(func(c byte) bool {
			return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
		})}, nil
	default:
		return item{}, errors.New("no value begins like this")
	}
}

func (p *fieldParser) quoted() (item, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return item{kind: kindString, text: b.String()}, nil
		case c == '\\':
			i++
			if i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return item{}, errors.New("a backslash stands before a quotation mark or another backslash only")
			}
			b.WriteByte(p.rest[i])
		case c < 0x20 || c > 0x7e:
			return item{}, errors.New("a string has printable ASCII only")
		default:
			b.WriteByte(c)
		}
	}
	return item{}, errors.New("a string has no end")
}

func (p *fieldParser) octets() (item, error) {
	text, rest, ok := strings.Cut(p.rest[1:], ":")
	if !ok {
		return item{}, errors.New("a byte sequence has no end")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return item{}, errors.New("a byte sequence is not base64")
	}
	p.rest = rest
	return item{kind: kindBytes, text: string(b)}, nil
}

func (p *fieldParser) boolean() (item, error) {
	if len(p.rest) < 2 || p.rest[1] != '0' && p.rest[1] != '1' {
		return item{}, errors.New("a boolean is ?0 or ?1")
	}
	v := item{kind: kindBoolean, number: int64(p.rest[1] - '0')}
	p.rest = p.rest[2:]
	return v, nil
}

func (p *fieldParser) integer() (item, error) {
	sign := int64(1)
	if p.take('-') {
		sign = -1
	}
	digits := p.run(isDigit)
	switch {
	case digits == "" || len(digits) > 15:
		return item{}, errors.New("an integer has 1 to 15 digits")
	case p.rest != "" && p.rest[0] == '.':
		return item{}, errDecimal
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return item{}, err
	}
	return item{kind: kindInteger, number: sign * n}, nil
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLower(c byte) bool  { return c >= 'a' && c <= 'z' }
func isLetter(c byte) bool { return isLower(c | 0x20) }

// appendString writes a string as RFC 8941, section 4.1.6, has it.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
