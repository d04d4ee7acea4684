// Package wer measures the word error rate: the normal form in which texts are
// compared, and the count of substitutions, insertions and deletions.
package wer

// Counts are the errors of one hypothesis or, added up, of many.
type Counts struct {
	Sub int `json:"sub"`
	Ins int `json:"ins"`
	Del int `json:"del"`
	// Words is the number of words in the reference.
	Words int `json:"words"`
}

// Add adds another hypothesis's counts.
func (c *Counts) Add(o Counts) {
	c.Sub += o.Sub
	c.Ins += o.Ins
	c.Del += o.Del
	c.Words += o.Words
}

// Percent is the word error rate: errors per hundred words of the reference.
// It exceeds 100 when much is inserted, and is 0 without a reference.
func (c Counts) Percent() float64 {
	if c.Words == 0 {
		return 0
	}
	return 100 * float64(c.Sub+c.Ins+c.Del) / float64(c.Words)
}

// Align counts the fewest word errors that turn ref into hyp (Levenshtein's
// distance over words). Among alignments with as few errors it takes the one
// with most substitutions, so that a wrong word counts as one and not as a
// deletion and an insertion somewhere else.
func Align(ref, hyp []string) Counts {
	// row[j] is the best way from ref[:i] to hyp[:j].
	row := make([]Counts, len(hyp)+1)
	for j := range row {
		row[j].Ins = j
	}
	for i := range ref {
		diagonal := row[0]
		row[0].Del = i + 1
		for j := range hyp {
			best := diagonal
			if ref[i] != hyp[j] {
				best.Sub++
			}
			if up := row[j+1]; cheaper(up, best, 1) {
				best = up
				best.Del++
			}
			if left := row[j]; cheaper(left, best, 1) {
				best = left
				best.Ins++
			}
			diagonal, row[j+1] = row[j+1], best
		}
	}
	best := row[len(hyp)]
	best.Words = len(ref)
	return best
}

// cheaper reports whether a with extra more errors beats b.
func cheaper(a, b Counts, extra int) bool {
	return a.Sub+a.Ins+a.Del+extra < b.Sub+b.Ins+b.Del
}
