package kb

import (
	"strings"
	"unicode"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/lang/cjk"
	"github.com/blevesearch/bleve/v2/analysis/lang/en"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search/query"
	index "github.com/blevesearch/bleve_index_api"
)

// weight is how much a match in a part of an element counts. What customers
// ask and what the card is called say best what it is about.
type weight struct {
	part  string
	boost float64
}

func weights() []weight {
	return []weight{
		{"title", 4}, {"questions", 3}, {"intents", 2}, {"product", 1},
		{"customer", 1}, {"internal", 0.8}, {"steps", 0.6},
	}
}

// analyser of a language; the names are bleve's.
func analyser(language string) string {
	if language == "zh" {
		return cjk.AnalyzerName
	}
	return en.AnalyzerName
}

// field is the name of a part in the index; each language has fields of its
// own, since a field has one analyser.
func field(part, language string) string { return part + "_" + language }

func schema() mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	doc := bleve.NewDocumentStaticMapping()
	for _, l := range Languages() {
		for _, w := range weights() {
			f := bleve.NewTextFieldMapping()
			f.Analyzer = analyser(l)
			f.Store, f.DocValues, f.IncludeInAll = false, false, false
			doc.AddFieldMappingsAt(field(w.part, l), f)
		}
	}
	m.DefaultMapping = doc
	m.ScoringModel = index.BM25Scoring
	m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = false, false, false
	return m
}

// fieldsOf is an element as the index takes it.
func fieldsOf(e *Element) map[string]any {
	spaced := strings.NewReplacer("-", " ", ".", " ", "_", " ")
	texts := map[string]string{
		"title":     e.Title,
		"questions": strings.Join(e.Questions, "\n"),
		"intents":   spaced.Replace(strings.Join(e.Intents, "\n") + "\n" + e.ID),
		"product":   spaced.Replace(e.Product),
		"customer":  e.Customer,
		"internal":  e.Internal,
		"steps":     strings.Join(e.Steps, "\n"),
	}
	out := make(map[string]any, len(texts))
	for part, t := range texts {
		out[field(part, e.Language)] = t
	}
	return out
}

// preference is how much more a match in the asked language counts.
const preference = 1.5

// words is the query for a text. In the parts that say what an element is about
// it counts more if every word is there, and more if they are in order; a word
// may have one letter wrong, and the last one may be the beginning of a word.
func words(text, language string) query.Query {
	var all []query.Query
	last := lastWord(text)
	for _, l := range Languages() {
		if l == "zh" && !hasHan(text) {
			continue
		}
		factor := 1.0
		if l == language {
			factor = preference
		}
		for _, w := range weights() {
			name := field(w.part, l)
			exact := bleve.NewMatchQuery(text)
			exact.SetField(name)
			exact.SetBoost(w.boost * factor)
			all = append(all, exact)
			if w.boost < 3 {
				continue
			}
			every := bleve.NewMatchQuery(text)
			every.SetField(name)
			every.SetOperator(query.MatchQueryOperatorAnd)
			every.SetBoost(w.boost * factor)
			inOrder := bleve.NewMatchPhraseQuery(text)
			inOrder.SetField(name)
			inOrder.SetBoost(w.boost * factor)
			all = append(all, every, inOrder)
			if last != "" {
				begin := bleve.NewPrefixQuery(last)
				begin.SetField(name)
				begin.SetBoost(w.boost * factor * 0.1)
				all = append(all, begin)
			}
			if l == "zh" {
				continue
			}
			near := bleve.NewMatchQuery(text)
			near.SetField(name)
			near.SetFuzziness(1)
			near.SetPrefix(2)
			near.SetBoost(w.boost * factor * 0.2)
			all = append(all, near)
		}
	}
	return bleve.NewDisjunctionQuery(all...)
}

// lastWord is the last word in lower case, if it may be one that is still
// being typed. Chinese is indexed in pairs of characters, so a lone character
// is the beginning of one.
func lastWord(text string) string {
	if r := []rune(text); len(r) == 1 && hasHan(text) {
		return text
	}
	end := strings.TrimRightFunc(text, unicode.IsPunct)
	if end == "" || unicode.IsSpace(rune(end[len(end)-1])) {
		return ""
	}
	w := strings.ToLower(end[strings.LastIndexFunc(end, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })+1:])
	if len(w) < 2 || hasHan(w) {
		return ""
	}
	return w
}

func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}
