package core

import (
	"errors"
	"slices"
	"testing"
)

func TestParseSet(t *testing.T) {
	for _, c := range []struct {
		list  string
		want  []int
		wrong bool
	}{
		{"", nil, false},
		{"3", []int{3}, false},
		{"2-4,0,3", []int{0, 2, 3, 4}, false},
		{"4-2", nil, true},
		{"a", nil, true},
		{"1,", nil, true},
		{"-1", nil, true},
		{"0-999999999", nil, true},
	} {
		got, err := ParseSet(c.list)
		if (err != nil) != c.wrong || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.list, got, err, c.want)
		}
	}
}

func TestOnSet(t *testing.T) {
	broken := errors.New("broken")
	for _, set := range [][]int{nil, {0}} {
		if err := OnSet(set, func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("cores %v: %v", set, err)
		}
	}
	if err := PinSet(nil); err != nil {
		t.Error(err)
	}
}
