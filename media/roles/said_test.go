package roles

import (
	"reflect"
	"testing"

	"sidetone/media"
)

func TestWeigh(t *testing.T) {
	const a, c, none = media.RoleAgent, media.RoleCustomer, media.RoleUnknown
	for _, x := range []struct {
		name  string
		now   []Decision
		heard []Heard
		want  []Decision
	}{
		{
			"words decide where nothing else does",
			[]Decision{{LegID: "1", Reason: "nothing tells"}, {LegID: "2"}},
			[]Heard{{a, "“help you”"}, {c, "“my card”"}},
			[]Decision{
				{LegID: "1", Role: a, Rank: Said, Reason: "from what was said: “help you”"},
				{LegID: "2", Role: c, Rank: Said, Reason: "from what was said: “my card”"},
			},
		},
		{
			"they never overrule",
			[]Decision{{Role: a, Rank: Order, Reason: "first"}, {Role: c, Rank: Told, Conflicts: []string{"x"}}},
			[]Heard{{c, "“my card”"}, {a, "“help you”"}},
			[]Decision{
				{Role: a, Rank: Order, Reason: "first", Conflicts: []string{"customer by words: “my card”"}},
				{Role: c, Rank: Told, Conflicts: []string{"x", "agent by words: “help you”"}},
			},
		},
		{"agreement", []Decision{{Role: a, Rank: Told}}, []Heard{{a, "w"}}, []Decision{{Role: a, Rank: Told}}},
		{"nothing heard", []Decision{{Rank: None}, {Role: a}}, []Heard{{}, {}}, []Decision{{Rank: None}, {Role: a}}},
		{
			"one leg is known",
			[]Decision{{Role: a, Rank: Told}, {Role: a, Rank: Told}, {}},
			[]Heard{{}, {}, {c, "w"}},
			[]Decision{{Role: a, Rank: Told}, {Role: a, Rank: Told}, {Role: none, Conflicts: []string{"customer by words: w"}}},
		},
	} {
		if Weigh(x.now, x.heard); !reflect.DeepEqual(x.now, x.want) {
			t.Errorf("%s: %+v, want %+v", x.name, x.now, x.want)
		}
	}
	if Said >= Order || Said <= None {
		t.Error("words outrank other evidence")
	}
}
