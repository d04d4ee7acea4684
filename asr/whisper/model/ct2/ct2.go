// Package ct2 reads the weight files of CTranslate2 (model.bin).
package ct2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Type is the element type of a variable; the values are those of the file.
type Type uint8

// The element types.
const (
	Float32 Type = iota
	Int8
	Int16
	Int32
	Float16
	BFloat16
)

func (t Type) String() string {
	if t > BFloat16 {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return [...]string{"float32", "int8", "int16", "int32", "float16", "bfloat16"}[t]
}

func (t Type) size() int {
	return [...]int{4, 1, 2, 4, 2, 2}[t]
}

// Variable is a named array.
type Variable struct {
	Type Type
	// Shape is empty for a scalar.
	Shape []int
	// Data holds the elements in row-major order, little endian. It aliases the
	// parsed file.
	Data []byte
}

// File is a parsed model.bin.
type File struct {
	// Spec names the architecture, such as "WhisperSpec".
	Spec string
	vars map[string]Variable
}

// Var returns a variable by its name or by an alias of it.
func (f *File) Var(name string) (Variable, bool) {
	v, ok := f.vars[name]
	return v, ok
}

// Names lists the variables and aliases in order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.vars)) }

// The versions of the binary layout that are read; 6 is the newest there is.
const (
	minVersion = 4
	maxVersion = 6
)

// Parse reads a file, little endian throughout:
//
//	version u32 | spec string | revision u32
//	count u32   | count × (name string | rank u8 | rank × u32 | type u8 | bytes u32 | data)
//	aliases u32 | aliases × (alias string | name string)
//
// A string is its length, u16, and its bytes with a NUL at the end.
func Parse(b []byte) (*File, error) {
	r := reader{b: b, n: len(b)}
	version := r.u32("binary version")
	if r.err == nil && (version < minVersion || version > maxVersion) {
		return nil, fmt.Errorf("binary version %d; versions %d to %d are read (is this a CTranslate2 model.bin?)",
			version, minVersion, maxVersion)
	}
	f := &File{vars: map[string]Variable{}}
	f.Spec = r.str("spec name")
	r.u32("spec revision")
	count := r.u32("number of variables")
	for i := uint32(0); i < count && r.err == nil; i++ {
		name, v := r.variable(i)
		if _, dup := f.vars[name]; dup && r.err == nil {
			return nil, fmt.Errorf("variable %q stands in the file twice", name)
		}
		f.vars[name] = v
	}
	aliases := r.u32("number of aliases")
	for i := uint32(0); i < aliases && r.err == nil; i++ {
		alias, name := r.str("alias"), r.str("aliased name")
		v, ok := f.vars[name]
		if !ok && r.err == nil {
			return nil, fmt.Errorf("alias %q names %q, which is not in the file", alias, name)
		}
		f.vars[alias] = v
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("%d bytes are left over after the last alias", len(r.b))
	}
	return f, nil
}

type reader struct {
	b   []byte
	n   int
	err error
}

var errShort = errors.New("file ends too early")

func (r *reader) take(n int, what string) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = fmt.Errorf("%w: %s at byte %d needs %d bytes, %d are there", errShort, what, r.n-len(r.b), n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8(what string) uint8 {
	if p := r.take(1, what); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) str(what string) string {
	p := r.take(2, what)
	if p == nil {
		return ""
	}
	p = r.take(int(binary.LittleEndian.Uint16(p)), what)
	if n := len(p); n > 0 && p[n-1] == 0 {
		p = p[:n-1]
	}
	return string(p)
}

func (r *reader) variable(i uint32) (string, Variable) {
	name := r.str(fmt.Sprintf("name of variable %d", i))
	rank := int(r.u8("rank of " + name))
	var v Variable
	want := int64(1)
	for range rank {
		d := r.u32("shape of " + name)
		v.Shape = append(v.Shape, int(d))
		if want *= int64(d); want > 1<<40 && r.err == nil {
			r.err = fmt.Errorf("variable %q has the impossible shape %v", name, v.Shape)
		}
		if r.err != nil {
			return name, v
		}
	}
	v.Type = Type(r.u8("type of " + name))
	size := int64(r.u32("size of " + name))
	switch {
	case r.err != nil:
	case v.Type > BFloat16:
		r.err = fmt.Errorf("variable %q has the unknown element %v", name, v.Type)
	case want*int64(v.Type.size()) != size:
		r.err = fmt.Errorf("variable %q has %d bytes; its shape %v of %v needs %d", name, size, v.Shape, v.Type, want*int64(v.Type.size()))
	default:
		v.Data = r.take(int(size), "data of "+name)
	}
	return name, v
}
