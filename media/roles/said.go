package roles

import (
	"fmt"

	"sidetone/media"
)

// Heard is the role for which the words on a leg speak; RoleUnknown: none.
type Heard struct {
	Role media.Role
	// Words are quotations that prove it.
	Words string
}

// Weigh compares decisions with what is said on the legs, in the same order.
// Where nothing else tells of any leg, the words decide; whatever becomes known
// later outranks them. Where they disagree, that is noted and changes nothing.
func Weigh(decisions []Decision, heard []Heard) {
	open := true
	for _, d := range decisions {
		open = open && d.Role == media.RoleUnknown
	}
	for i, h := range heard {
		d := &decisions[i]
		switch {
		case !decided(h.Role) || h.Role == d.Role:
		case open:
			d.Role, d.Reason, d.Rank = h.Role, "from what was said: "+h.Words, Said
		default:
			d.Conflicts = append(d.Conflicts, fmt.Sprintf("%v by %v: %s", h.Role, Said, h.Words))
		}
	}
}
