package nn

// Name is the instruction set that the kernels use, for people.
func Name() string { return active.String() }

// String names an instruction set.
func (v isa) String() string {
	if v == plain {
		return "plain Go"
	}
	return v.name()
}
