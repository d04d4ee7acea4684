package intent

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// split calls yield for each token of a word or text: lower case, without
// punctuation, contractions written out, Chinese by the character.
func split(text string, yield func(string)) {
	if isNoise(text) {
		return
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case unicode.Is(unicode.Han, r):
			yield(text[i : i+n])
			i += n
		case isLetter(r):
			j := i + n
			for j < len(text) {
				next, size := utf8.DecodeRuneInString(text[j:])
				if !isLetter(next) && !(isApostrophe(next) && j+size < len(text)) {
					break
				}
				j += size
			}
			spell(text[i:j], yield)
			i = j
		default:
			i += n
		}
	}
}

// isNoise says whether a recogniser's word is a mark such as [noise] or <unk>.
func isNoise(w string) bool {
	return len(w) > 2 && (w[0] == '[' && w[len(w)-1] == ']' || w[0] == '<' && w[len(w)-1] == '>')
}

func isLetter(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.Is(unicode.Han, r)
}

func isApostrophe(r rune) bool { return r == '\'' || r == '’' }

// spell writes one word out.
func spell(w string, yield func(string)) {
	w = strings.ToLower(w)
	if strings.ContainsRune(w, '’') {
		w = strings.ReplaceAll(w, "’", "'")
	}
	w = strings.TrimRight(w, "'")
	switch w {
	case "", "uh", "um", "uhm", "umm", "er", "erm", "ah", "eh", "hm", "hmm", "mm", "mhm", "huh":
		return
	case "can't", "cant", "cannot":
		w = "can not"
	case "won't", "wont":
		w = "will not"
	case "shan't":
		w = "shall not"
	case "ain't":
		w = "is not"
	case "wanna":
		w = "want to"
	case "gonna":
		w = "going to"
	case "gotta":
		w = "got to"
	case "let's", "lets":
		w = "let us"
	case "im":
		w = "i am"
	case "id":
		// An identity document is heard as often as "I'd" without its
		// apostrophe: the word stays.
	case "ive":
		w = "i have"
	case "dont", "didnt", "doesnt", "havent", "hasnt", "isnt", "wasnt", "couldnt", "wouldnt", "shouldnt", "arent":
		w = w[:len(w)-2] + " not"
	case "whats", "wheres", "thats", "hows", "whos", "whens", "theres":
		w = w[:len(w)-1] + " is"
	default:
		if i := strings.IndexByte(w, '\''); i >= 0 {
			w = contraction(w, i)
		}
	}
	for {
		head, rest, more := strings.Cut(w, " ")
		yield(head)
		if !more {
			return
		}
		w = rest
	}
}

// contraction writes out a word with an apostrophe at i.
func contraction(w string, i int) string {
	head, tail := w[:i], w[i+1:]
	switch tail {
	case "d":
		return head + " would"
	case "ll":
		return head + " will"
	case "ve":
		return head + " have"
	case "re":
		return head + " are"
	case "m":
		return head + " am"
	case "t":
		if strings.HasSuffix(head, "n") && len(head) > 1 {
			return head[:len(head)-1] + " not"
		}
	case "s":
		switch head {
		case "what", "where", "that", "how", "who", "when", "there", "here", "it", "he", "she", "why":
			return head + " is"
		}
		return head
	}
	return strings.ReplaceAll(w, "'", "")
}

// forms are the regular inflections of an English word, itself first.
func forms(w string) []string {
	out := []string{w}
	last := func(n int) byte {
		if len(w) < n {
			return 0
		}
		return w[len(w)-n]
	}
	vowel := func(b byte) bool { return strings.IndexByte("aeiou", b) >= 0 }
	end := last(1)
	switch {
	case end == 'y' && !vowel(last(2)):
		stem := w[:len(w)-1]
		return append(out, stem+"ies", stem+"ied", w+"ing")
	case end == 'e':
		return append(out, w+"s", w+"d", w[:len(w)-1]+"ing")
	case end == 's' || end == 'x' || end == 'z' || strings.HasSuffix(w, "ch") || strings.HasSuffix(w, "sh"):
		out = append(out, w+"es")
	default:
		out = append(out, w+"s")
	}
	out = append(out, w+"ed", w+"ing")
	// stop, stopped; transfer, transferred; but not pay, check or open.
	if len(w) > 2 && !vowel(end) && end != 'w' && end != 'x' && end != 'y' && vowel(last(2)) && !vowel(last(3)) {
		out = append(out, w+w[len(w)-1:]+"ed", w+w[len(w)-1:]+"ing")
	}
	return out
}

// stutters says whether a word that repeats the one before it counts once.
// Chinese doubles characters on purpose.
func stutters(w string) bool {
	r, _ := utf8.DecodeRuneInString(w)
	return !unicode.Is(unicode.Han, r)
}
