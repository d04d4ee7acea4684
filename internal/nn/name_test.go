package nn

import "testing"

func TestEveryInstructionSetHasAName(t *testing.T) {
	seen := map[string]bool{}
	for v := plain; v <= detect(); v++ {
		if v.String() == "" || seen[v.String()] {
			t.Errorf("%d is called %q", v, v)
		}
		seen[v.String()] = true
	}
	if Name() != active.String() {
		t.Errorf("Name is %q", Name())
	}
}
