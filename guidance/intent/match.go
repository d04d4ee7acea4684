package intent

import "slices"

// machine runs programs over a row of numbered words. Each pair of instruction
// and position is tried once, so the work is bounded by their product whatever
// the phrase looks like.
type machine struct {
	words []int32
	// tried marks the pairs that led nowhere, for the program that runs; spare
	// does so while the words behind a ! are looked for.
	tried, spare []uint64
	path         []int
}

// match tries a program at a position. The path is where the proving words
// stand; it is valid until the next call.
func (m *machine) match(p *program, at int) (path []int, ok bool) {
	m.tried = cleared(m.tried, len(p.code)*(len(m.words)+1))
	m.path = m.path[:0]
	if !m.run(p, 0, at) || len(m.path) == 0 {
		return nil, false
	}
	return m.path, true
}

func cleared(bits []uint64, n int) []uint64 {
	n = (n + 63) / 64
	if cap(bits) < n {
		return make([]uint64, n)
	}
	bits = bits[:n]
	clear(bits)
	return bits
}

func (m *machine) run(p *program, pc, at int) bool {
	for {
		bit := pc*(len(m.words)+1) + at
		if m.tried[bit/64]&(1<<(bit%64)) != 0 {
			return false
		}
		m.tried[bit/64] |= 1 << (bit % 64)
		o := &p.code[pc]
		switch o.kind {
		case opDone:
			return true
		case opJump:
			pc = o.x
		case opWord:
			if at == len(m.words) || !contains(o.set, m.words[at]) {
				return false
			}
			m.path = append(m.path, at)
			if m.run(p, pc+1, at+1) {
				return true
			}
			m.path = m.path[:len(m.path)-1]
			return false
		case opAny:
			if at == len(m.words) {
				return false
			}
			pc, at = pc+1, at+1
		case opFork:
			if m.run(p, o.x, at) {
				return true
			}
			pc = o.y
		case opNot:
			depth := len(m.path)
			m.spare = cleared(m.spare, len(p.code)*(len(m.words)+1))
			m.tried, m.spare = m.spare, m.tried
			found := m.run(p, pc+1, at)
			m.tried, m.spare = m.spare, m.tried
			m.path = m.path[:depth]
			if found {
				return false
			}
			pc = o.x
		}
	}
}

func contains(set []int32, w int32) bool {
	if len(set) <= 8 {
		return slices.Contains(set, w)
	}
	_, ok := slices.BinarySearch(set, w)
	return ok
}
