package bench

// Largest finds the largest n from 1 to most for which ok holds, trying start
// first. It doubles while ok holds and then bisects, until the answer is known
// to within one part in exact (at least to within 1). ok is taken to hold for
// everything below an n for which it holds; 0 means that it holds for none.
func Largest(start, most, exact int, ok func(n int) (bool, error)) (int, error) {
	good, bad := 0, most+1
	for n := min(max(start, 1), most); bad-good > max(1, good/max(exact, 1)); {
		holds, err := ok(n)
		if err != nil {
			return good, err
		}
		if holds {
			good = n
		} else {
			bad = n
		}
		if bad > most {
			n = min(2*good, most)
		} else {
			n = (good + bad) / 2
		}
	}
	return good, nil
}
