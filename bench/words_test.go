package bench

import (
	"reflect"
	"testing"
)

func TestWordTimes(t *testing.T) {
	w := func(text string, start, end float64) TimedWord { return TimedWord{text, start, end} }
	var got WordTimes
	got.Match(
		[]TimedWord{w("Well,", 0, 0.5), w("hello", 0.5, 1), w("Hello", 1, 1.5), w("there.", 1.75, 2)},
		[]TimedWord{w("hello", 1, 1.25), w("you", 1.3, 1.4), w("there", 1.5, 2)},
	)
	if got.Words != 3 || got.Matched != 2 {
		t.Fatalf("%+v", got)
	}
	// Either hello would do; the first is taken.
	if want := []float64{-0.5, 0.25}; !reflect.DeepEqual(got.Starts, want) {
		t.Errorf("starts %v, want %v", got.Starts, want)
	}
	if want := []float64{-0.25, 0}; !reflect.DeepEqual(got.Ends, want) {
		t.Errorf("ends %v, want %v", got.Ends, want)
	}
	got.Match(nil, []TimedWord{w("a", 0, 1)})
	if got.Words != 4 || got.Matched != 2 {
		t.Errorf("nothing heard: %+v", got)
	}
	d := []float64{-0.2, 0.1, 0.3, -0.4}
	if Within(d, 0.2) != 0.5 || Within(nil, 1) != 0 {
		t.Errorf("within 0.2: %v", Within(d, 0.2))
	}
	if Typical(d) != 0.2 {
		t.Errorf("typical: %v", Typical(d))
	}
}
