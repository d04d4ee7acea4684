package bench

import (
	"errors"
	"slices"
	"testing"
)

func TestLargest(t *testing.T) {
	for _, c := range []struct {
		start, most, exact, limit int
		want                      int
		tried                     []int
	}{
		{8, 256, 1000, 21, 21, []int{8, 16, 32, 24, 20, 22, 21}},
		{8, 256, 4, 21, 20, []int{8, 16, 32, 24, 20}},
		{8, 256, 1000, 5, 5, []int{8, 4, 6, 5}},
		{8, 256, 1000, 0, 0, []int{8, 4, 2, 1}},
		{1, 4, 1000, 9, 4, []int{1, 2, 4}},
		{9, 4, 0, 9, 4, []int{4}},
		{0, 1, 0, 0, 0, []int{1}},
		{3, 0, 1, 9, 0, nil},
	} {
		var tried []int
		got, err := Largest(c.start, c.most, c.exact, func(n int) (bool, error) {
			tried = append(tried, n)
			return n <= c.limit, nil
		})
		if err != nil || got != c.want || !slices.Equal(tried, c.tried) {
			t.Errorf("%+v: got %d, %v, tried %v", c, got, err, tried)
		}
	}
	broken := errors.New("broken")
	got, err := Largest(2, 100, 10, func(n int) (bool, error) {
		if n > 4 {
			return false, broken
		}
		return true, nil
	})
	if got != 4 || !errors.Is(err, broken) {
		t.Errorf("got %d, %v", got, err)
	}
}
