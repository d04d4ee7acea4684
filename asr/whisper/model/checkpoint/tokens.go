package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sidetone/asr/whisper/model/bpe"
)

// English-only models have a token less than the others: the end token is in
// GPT-2's own vocabulary.
const (
	englishSize      = 51864
	multilingualSize = 51865
	largeV3Size      = 51866 // and Cantonese
)

// languages are the codes in the order of their tokens (openai/whisper,
// whisper/tokenizer.py). The last came with large-v3.
const languages = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur " +
	"hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af " +
	"oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"

// times is the number of timestamps, 0 to 30 s in steps of 20 ms.
const times = 1501

// specials are the tokens after the text's in a vocabulary that has so many of
// them.
func specials(n int) ([]string, error) {
	after := []string{"<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"}
	out := []string{"<|endoftext|>", "<|startoftranscript|>"}
	codes := strings.Fields(languages)
	known := n - len(out) - len(after) - times
	if known < 0 || known > len(codes) {
		return nil, fmt.Errorf("%d tokens are not text; Whisper has %d and one for each of up to %d languages", n, n-known, len(codes))
	}
	for _, code := range codes[:known] {
		out = append(out, "<|"+code+"|>")
	}
	out = append(out, after...)
	for i := range times {
		out = append(out, fmt.Sprintf("<|%d.%02d|>", i/50, i%50*2))
	}
	return out, nil
}

// readTokenizer makes the vocabulary of a model of so many tokens.
func readTokenizer(fsys fs.FS, size int) (*bpe.Vocab, error) {
	table, err := readTable(fsys, size)
	if err != nil {
		return nil, err
	}
	tokens, given := make([]string, size), make([]bool, size)
	for s, id := range table.IDs {
		if id < 0 || id >= size {
			return nil, fmt.Errorf("the tokenizer has a token %d, the model has %d: the files belong to different models", id, size)
		}
		if given[id] {
			return nil, fmt.Errorf("the tokenizer has two tokens %d", id)
		}
		tokens[id], given[id] = s, true
	}
	if !slices.Contains(given, false) {
		return bpe.New(tokens, table)
	}
	// Most tokenizers' files leave out special tokens, timestamps above all.
	end, ok := table.IDs["<|endoftext|>"]
	if !ok {
		end = len(table.IDs)
	}
	names, err := specials(size - end)
	if err != nil {
		return nil, err
	}
	if missing := slices.Index(given[:end], false); missing >= 0 {
		return nil, fmt.Errorf("the tokenizer lacks token %d", missing)
	}
	for i, s := range names {
		if !given[end+i] {
			tokens[end+i] = s
		}
	}
	return bpe.New(tokens, table)
}

// readTable reads the tokenizer in the form that there is.
func readTable(fsys fs.FS, size int) (*bpe.Table, error) {
	tiktoken := "multilingual.tiktoken"
	if size == englishSize {
		tiktoken = "gpt2.tiktoken"
	}
	if raw, err := fs.ReadFile(fsys, "tokenizer.json"); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return bpe.ParseTokenizer(raw)
	}
	if raw, err := fs.ReadFile(fsys, "vocab.json"); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		merges, err := fs.ReadFile(fsys, "merges.txt")
		if err != nil {
			return nil, err
		}
		return bpe.ParseMerges(raw, merges)
	}
	raw, err := fs.ReadFile(fsys, tiktoken)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no tokenizer in the folder: put tokenizer.json, or vocab.json and merges.txt, or OpenAI's %s there", tiktoken)
	}
	if err != nil {
		return nil, err
	}
	return bpe.ParseTiktoken(raw)
}

// notSpoken are the tokens that the reference never decodes: signs that mark
// what is no speech, and the special tokens.
func notSpoken(v *bpe.Vocab) []int {
	const (
		signs  = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
		music  = "♩ ♪ ♫ ♬ ♭ ♮ ♯"
		marked = "<|transcribe|> <|translate|> <|startoftranscript|> <|startofprev|> <|startoflm|> <|nospeech|> <|nocaptions|>"
	)
	out := []int{v.Encode(" -")[0], v.Encode(" '")[0]}
	for i, list := range []string{signs, music} {
		for _, s := range strings.Fields(list) {
			for _, tokens := range [][]int{v.Encode(s), v.Encode(" " + s)} {
				if len(tokens) == 1 || i == 1 {
					out = append(out, tokens[0])
				}
			}
		}
	}
	for _, s := range strings.Fields(marked) {
		if id, ok := v.ID(s); ok {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// size tells OpenAI's models apart: decoder layers, heads, tokens.
type size struct{ layers, heads, tokens int }

// alignments are the layers and heads that follow the audio in OpenAI's models
// (openai/whisper, whisper/__init__.py, there as packed bits; of the two large
// models of one size the second).
func alignments() map[size][][2]int {
	return map[size][][2]int{
		{4, 6, englishSize}:        {{1, 0}, {2, 0}, {2, 5}, {3, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}},
		{4, 6, multilingualSize}:   {{2, 2}, {3, 0}, {3, 2}, {3, 3}, {3, 4}, {3, 5}},
		{6, 8, englishSize}:        {{3, 3}, {4, 7}, {5, 1}, {5, 5}, {5, 7}},
		{6, 8, multilingualSize}:   {{3, 1}, {4, 2}, {4, 3}, {4, 7}, {5, 1}, {5, 2}, {5, 4}, {5, 6}},
		{12, 12, englishSize}:      {{6, 6}, {7, 0}, {7, 3}, {7, 8}, {8, 2}, {8, 5}, {8, 7}, {9, 0}, {9, 4}, {9, 8}, {9, 10}, {10, 0}, {10, 1}, {10, 2}, {10, 3}, {10, 6}, {10, 11}, {11, 2}, {11, 4}},
		{12, 12, multilingualSize}: {{5, 3}, {5, 9}, {8, 0}, {8, 4}, {8, 7}, {8, 8}, {9, 0}, {9, 7}, {9, 9}, {10, 5}},
		{24, 16, englishSize}:      {{11, 4}, {14, 1}, {14, 12}, {14, 14}, {15, 4}, {16, 0}, {16, 4}, {16, 9}, {17, 12}, {17, 14}, {18, 7}, {18, 10}, {18, 15}, {20, 0}, {20, 3}, {20, 9}, {20, 14}, {21, 12}},
		{24, 16, multilingualSize}: {{13, 15}, {15, 4}, {15, 15}, {16, 1}, {20, 0}, {23, 4}},
		{32, 20, multilingualSize}: {{10, 12}, {13, 17}, {16, 11}, {16, 12}, {16, 13}, {17, 15}, {17, 16}, {18, 4}, {18, 11}, {18, 19}, {19, 11}, {21, 2}, {21, 3}, {22, 3}, {22, 9}, {22, 12}, {23, 5}, {23, 7}, {23, 13}, {25, 5}, {26, 1}, {26, 12}, {27, 15}},
		{32, 20, largeV3Size}:      {{7, 0}, {10, 17}, {12, 18}, {13, 12}, {16, 1}, {17, 14}, {19, 11}, {21, 4}, {24, 1}, {25, 6}},
		{4, 20, largeV3Size}:       {{2, 4}, {2, 11}, {3, 3}, {3, 6}, {3, 11}, {3, 14}},
	}
}
