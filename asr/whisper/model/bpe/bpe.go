// Package bpe is the byte-level byte-pair encoding of GPT-2 (Radford et al.,
// 2019), in which Whisper's tokens spell text.
package bpe

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Vocab maps between tokens and bytes. It is immutable.
type Vocab struct {
	spelling [][]byte
	ids      map[string]int
	merges   map[[2]int]merge
	base     [256]int
}

type merge struct{ rank, id int }

// New makes a vocabulary of the tokens, in the order of their ids, and of a
// tokenizer's table, whose tokens must be among them.
func New(tokens []string, t *Table) (*Vocab, error) {
	v := &Vocab{ids: make(map[string]int, len(tokens)), merges: make(map[[2]int]merge, len(t.Merges))}
	letters := alphabet()
	for id, s := range tokens {
		if other, ok := v.ids[s]; ok {
			return nil, fmt.Errorf("vocabulary: token %q is both %d and %d", s, other, id)
		}
		v.ids[s] = id
		v.spelling = append(v.spelling, spell(s, letters))
	}
	for s, id := range t.IDs {
		if got, ok := v.ids[s]; !ok || got != id {
			return nil, fmt.Errorf("the tokenizer has %q as token %d, the vocabulary has not: the files belong to different models", s, id)
		}
	}
	for r, b := range letters {
		id, ok := v.ids[string(r)]
		if !ok {
			return nil, fmt.Errorf("vocabulary: no token for the byte 0x%02x (%q)", b, r)
		}
		v.base[b] = id
	}
	for rank, m := range t.Merges {
		a, aok := v.ids[m[0]]
		b, bok := v.ids[m[1]]
		id, ok := v.ids[m[0]+m[1]]
		if !aok || !bok || !ok {
			return nil, fmt.Errorf("the tokenizer's merge %d of %q and %q uses tokens that are not in the vocabulary", rank, m[0], m[1])
		}
		if _, dup := v.merges[[2]int{a, b}]; !dup {
			v.merges[[2]int{a, b}] = merge{rank, id}
		}
	}
	return v, nil
}

// alphabet is GPT-2's table of characters that stand for bytes: the printable
// ones of Latin-1 for themselves, the others in order from U+0100 on.
func alphabet() map[rune]byte {
	m := make(map[rune]byte, 256)
	next := rune(0x100)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			m[rune(b)] = byte(b)
			continue
		}
		m[next] = byte(b)
		next++
	}
	return m
}

// spell turns a token's characters to bytes; those outside the alphabet, in
// special tokens only, stay as they are.
func spell(token string, letters map[rune]byte) []byte {
	var out []byte
	for _, r := range token {
		if b, ok := letters[r]; ok {
			out = append(out, b)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// Size is the number of tokens.
func (v *Vocab) Size() int { return len(v.spelling) }

// ID returns the token that is written so in the vocabulary, "<|en|>" say.
func (v *Vocab) ID(token string) (int, bool) {
	id, ok := v.ids[token]
	return id, ok
}

// Bytes spells a token; nil for an id that is not in the vocabulary. The
// caller must not change the bytes.
func (v *Vocab) Bytes(id int) []byte {
	if id < 0 || id >= len(v.spelling) {
		return nil
	}
	return v.spelling[id]
}

// Text spells tokens. A character that lacks its last bytes is dropped at the
// end and any other bytes that are no characters are replaced by U+FFFD.
func (v *Vocab) Text(ids []int) string {
	var b []byte
	for _, id := range ids {
		b = append(b, v.Bytes(id)...)
	}
	b = b[:len(b)-Partial(b)]
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
}

// Partial is the number of bytes at the end of b that begin a character and
// lack its last bytes.
func Partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// Encode spells text in tokens. Text that looks like a special token is
// spelled like any other.
func (v *Vocab) Encode(text string) []int {
	var out []int
	for len(text) > 0 {
		n := chunk(text)
		out = v.encode(out, text[:n])
		text = text[n:]
	}
	return out
}

// encode merges the bytes of a chunk, the earliest learnt merge first.
func (v *Vocab) encode(out []int, chunk string) []int {
	parts := make([]int, len(chunk))
	for i := range len(chunk) {
		parts[i] = v.base[chunk[i]]
	}
	for {
		at, best := -1, merge{}
		for i := 0; i+1 < len(parts); i++ {
			if m, ok := v.merges[[2]int{parts[i], parts[i+1]}]; ok && (at < 0 || m.rank < best.rank) {
				at, best = i, m
			}
		}
		if at < 0 {
			return append(out, parts...)
		}
		parts[at] = best.id
		parts = append(parts[:at+1], parts[at+2:]...)
	}
}

// chunk is the length of the first match of GPT-2's expression
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Merges do not cross chunks.
func chunk(s string) int {
	for _, c := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if len(s) >= len(c) && s[:len(c)] == c {
			return len(c)
		}
	}
	from := 0
	if s[0] == ' ' {
		from = 1
	}
	for _, class := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber, other} {
		if n := run(s[from:], class); n > 0 {
			return from + n
		}
	}
	n := run(s, unicode.IsSpace)
	if n < len(s) {
		// The last space before something else belongs to the next chunk.
		if _, w := utf8.DecodeLastRuneInString(s[:n]); w < n {
			return n - w
		}
	}
	return n
}

func other(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r)
}

func run(s string, class func(rune) bool) int {
	for i, r := range s {
		if !class(r) {
			return i
		}
	}
	return len(s)
}
