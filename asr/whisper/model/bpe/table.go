package bpe

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Table is what a tokenizer's files say.
type Table struct {
	// IDs are the tokens by their text in GPT-2's alphabet.
	IDs map[string]int
	// Merges are pairs of tokens in the order in which they were learnt.
	Merges [][2]string
}

// ParseTokenizer reads tokenizer.json of the Hugging Face tokenizers library.
func ParseTokenizer(raw []byte) (*Table, error) {
	var file struct {
		AddedTokens []struct {
			ID      int
			Content string
		} `json:"added_tokens"`
		Model struct {
			Type   string
			Vocab  map[string]int
			Merges []pair
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if file.Model.Type != "BPE" {
		return nil, fmt.Errorf("tokenizer.json: the model is of type %q, not BPE", file.Model.Type)
	}
	t := &Table{IDs: file.Model.Vocab}
	if t.IDs == nil {
		t.IDs = map[string]int{}
	}
	for _, a := range file.AddedTokens {
		if id, ok := t.IDs[a.Content]; ok && id != a.ID {
			return nil, fmt.Errorf("tokenizer.json: token %q is both %d and %d", a.Content, id, a.ID)
		}
		t.IDs[a.Content] = a.ID
	}
	for _, m := range file.Model.Merges {
		t.Merges = append(t.Merges, m)
	}
	return t, nil
}

// pair is a merge: "a b" in older files, ["a","b"] in newer ones.
type pair [2]string

func (p *pair) UnmarshalJSON(raw []byte) error {
	var list []string
	if err := json.Unmarshal(raw, &list); err == nil && len(list) == 2 {
		*p = pair(list)
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("a merge is neither a string nor a list of two: %.40s", raw)
	}
	return p.cut(text)
}

func (p *pair) cut(text string) error {
	var ok bool
	if p[0], p[1], ok = strings.Cut(text, " "); !ok || p[0] == "" || p[1] == "" {
		return fmt.Errorf("the merge %q is not two tokens with a space between", text)
	}
	return nil
}

// ParseMerges reads vocab.json and merges.txt, the files of GPT-2.
func ParseMerges(vocab, merges []byte) (*Table, error) {
	t := &Table{}
	if err := json.Unmarshal(vocab, &t.IDs); err != nil {
		return nil, fmt.Errorf("vocab.json: %w", err)
	}
	for i, line := range strings.Split(string(merges), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || i == 0 && strings.HasPrefix(line, "#version") {
			continue
		}
		var p pair
		if err := p.cut(line); err != nil {
			return nil, fmt.Errorf("merges.txt: line %d: %w", i+1, err)
		}
		t.Merges = append(t.Merges, p)
	}
	return t, nil
}

// ParseTiktoken reads a file of OpenAI's tiktoken library: a token and its id
// to a line, the token in base64. The ids are also the order of learning, so
// a token is the merge of the two that those before it make of its bytes.
func ParseTiktoken(raw []byte) (*Table, error) {
	t := &Table{IDs: map[string]int{}}
	letter := [256]string{}
	for r, b := range alphabet() {
		letter[b] = string(r)
	}
	v := &Vocab{merges: map[[2]int]merge{}}
	var names []string
	for i, line := range bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n")) {
		token, id, err := tiktokenLine(line)
		if err == nil && id != i {
			err = fmt.Errorf("token %d, expected %d", id, i)
		}
		if err != nil {
			return nil, fmt.Errorf("tiktoken file: line %d: %w", i+1, err)
		}
		var name strings.Builder
		for _, b := range token {
			name.WriteString(letter[b])
		}
		names = append(names, name.String())
		t.IDs[name.String()] = id
		switch {
		case len(token) == 1:
			v.base[token[0]] = id
		case len(token) > 1:
			parts := v.encode(nil, string(token))
			if len(parts) != 2 {
				return nil, fmt.Errorf("tiktoken file: line %d: token %q is not a merge of two before it", i+1, token)
			}
			v.merges[[2]int(parts)] = merge{id, id}
			t.Merges = append(t.Merges, [2]string{names[parts[0]], names[parts[1]]})
		}
	}
	if len(t.IDs) != len(names) {
		return nil, errors.New("tiktoken file: a token stands in it twice")
	}
	return t, nil
}

// longest bounds the base64 of a token; Whisper's longest token has 128 bytes.
const longest = 256

func tiktokenLine(line []byte) (token []byte, id int, err error) {
	code, number, ok := strings.Cut(string(line), " ")
	if !ok || len(code) > longest {
		return nil, 0, fmt.Errorf("%.40q is not a token and its id", line)
	}
	if id, err = strconv.Atoi(strings.TrimSuffix(number, "\r")); err != nil {
		return nil, 0, err
	}
	// OpenAI's file has a lone "=" for a token without bytes.
	token, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(code, "="))
	return token, id, err
}
