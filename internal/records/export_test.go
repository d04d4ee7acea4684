package records

// Probe looks for what is asked in a line: whether the index and the line have
// all of it, and the line in pieces.
func Probe(asked, line string) (bool, []string) {
	q, words := ask(asked), wordSet{}
	words.add(line)
	ok := true
	for _, w := range q.index {
		_, there := words[w]
		ok = ok && there
	}
	has, marks := q.find(tokens(line))
	for _, h := range has {
		ok = ok && h
	}
	var out []string
	if len(marks) > 0 {
		for _, p := range pieces(line, marks) {
			out = append(out, p.Text)
		}
	}
	return ok, out
}
