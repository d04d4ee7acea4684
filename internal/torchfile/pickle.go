package torchfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The objects of a pickle: int64, float64, bool, string, nil and these.
type (
	tuple []any
	// dict keeps its entries in order; of two with one key the later counts.
	dict  struct{ entries []entry }
	entry struct{ key, value any }
	list  struct{ items []any }
	// global is a class or function by its name, "module name". It is never
	// looked up, let alone called.
	global string
	// opaque is an object that nobody asks about.
	opaque struct{}
	// mark is where a stretch of the stack begins.
	mark struct{}
)

// machine runs a pickle, that is: a program for a stack machine
// (docs.python.org/3/library/pickletools). It knows the instructions that
// torch.save's protocol 2 has.
type machine struct {
	in      []byte
	at      int
	stack   []any
	memo    map[uint32]any
	resolve func(id any) (any, error)
}

var (
	errShort     = errors.New("it ends too early")
	errUnderflow = errors.New("an instruction lacks operands")
)

// The instructions.
const (
	opMark          = '('
	opStop          = '.'
	opPop           = '0'
	opBinFloat      = 'G'
	opBinInt        = 'J'
	opBinInt1       = 'K'
	opBinInt2       = 'M'
	opNone          = 'N'
	opBinPersID     = 'Q'
	opReduce        = 'R'
	opBinUnicode    = 'X'
	opAppend        = 'a'
	opBuild         = 'b'
	opGlobal        = 'c'
	opAppends       = 'e'
	opBinGet        = 'h'
	opLongBinGet    = 'j'
	opBinPut        = 'q'
	opLongBinPut    = 'r'
	opSetItem       = 's'
	opTuple         = 't'
	opSetItems      = 'u'
	opEmptyDict     = '}'
	opEmptyList     = ']'
	opEmptyTuple    = ')'
	opProto         = 0x80
	opNewObj        = 0x81
	opTuple1        = 0x85
	opTuple2        = 0x86
	opTuple3        = 0x87
	opNewTrue       = 0x88
	opNewFalse      = 0x89
	opLong1         = 0x8a
	opShortUnicode  = 0x8c
	highestProtocol = 4
)

// unpickle returns the object that the pickle in makes; resolve gives the
// objects that the pickle has by their persistent id.
func unpickle(in []byte, resolve func(id any) (any, error)) (any, error) {
	v, _, err := unpickleHead(in, resolve)
	return v, err
}

// unpickleHead is unpickle for a pickle that something follows; it also returns the
// length of the pickle, or of what was read of it.
func unpickleHead(in []byte, resolve func(id any) (any, error)) (any, int, error) {
	m := &machine{in: in, memo: map[uint32]any{}, resolve: resolve}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, m.at, err
		}
		if op[0] == opStop {
			v, err := m.pop()
			return v, m.at, err
		}
		if err := m.run(op[0]); err != nil {
			return nil, m.at, fmt.Errorf("instruction %q at byte %d: %w", op[0], m.at-1, err)
		}
	}
}

func (m *machine) take(n int) ([]byte, error) {
	if n > len(m.in)-m.at {
		return nil, errShort
	}
	m.at += n
	return m.in[m.at-n : m.at], nil
}

// number reads an unsigned integer of so many bytes, at most four.
func (m *machine) number(bytes int) (uint32, error) {
	p, err := m.take(bytes)
	if err != nil {
		return 0, err
	}
	var b [4]byte
	copy(b[:], p)
	return binary.LittleEndian.Uint32(b[:]), nil
}

// width is the number of bytes of an instruction's number.
func width(op byte) int {
	switch op {
	case opBinInt, opBinUnicode, opLongBinGet, opLongBinPut:
		return 4
	case opBinInt2:
		return 2
	}
	return 1
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errUnderflow
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popN takes the n topmost objects, in the order in which they were pushed.
func (m *machine) popN(n int) (tuple, error) {
	if n > len(m.stack) {
		return nil, errUnderflow
	}
	from := len(m.stack) - n
	out := append(tuple{}, m.stack[from:]...)
	m.stack = m.stack[:from]
	return out, nil
}

// popMark takes what stands above the last mark, and the mark.
func (m *machine) popMark() (tuple, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			out, err := m.popN(len(m.stack) - i - 1)
			m.stack = m.stack[:i]
			return out, err
		}
	}
	return nil, errUnderflow
}

func (m *machine) run(op byte) error {
	switch op {
	case opProto:
		v, err := m.number(1)
		if err == nil && v > highestProtocol {
			err = fmt.Errorf("protocol %d; up to %d are read", v, highestProtocol)
		}
		return err
	case opMark:
		m.push(mark{})
	case opNone:
		m.push(nil)
	case opNewTrue, opNewFalse:
		m.push(op == opNewTrue)
	case opEmptyDict:
		m.push(&dict{})
	case opEmptyList:
		m.push(&list{})
	case opEmptyTuple:
		m.push(tuple{})
	case opPop:
		_, err := m.pop()
		return err
	case opBinInt, opBinInt1, opBinInt2, opBinFloat, opLong1, opBinUnicode, opShortUnicode, opGlobal:
		return m.literal(op)
	case opTuple, opTuple1, opTuple2, opTuple3:
		return m.tuple(op)
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut:
		return m.remember(op)
	case opSetItem, opSetItems, opAppend, opAppends, opBuild:
		return m.fill(op)
	case opReduce, opNewObj, opBinPersID:
		return m.make(op)
	default:
		return errors.New("it is not one that torch.save writes")
	}
	return nil
}

// literal pushes a number, a text or a name.
func (m *machine) literal(op byte) error {
	switch op {
	case opBinInt, opBinInt1, opBinInt2:
		v, err := m.number(width(op))
		m.push(int64(int32(v)))
		return err
	case opBinFloat:
		p, err := m.take(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(p)))
	case opLong1:
		n, err := m.number(1)
		if err != nil {
			return err
		}
		p, err := m.take(int(n))
		if err != nil {
			return err
		}
		m.push(long(p))
	case opBinUnicode, opShortUnicode:
		n, err := m.number(width(op))
		if err != nil {
			return err
		}
		if uint64(n) > uint64(len(m.in)) {
			return errShort
		}
		p, err := m.take(int(n))
		if err != nil {
			return err
		}
		m.push(string(p))
	case opGlobal:
		lines := bytes.SplitN(m.in[m.at:min(len(m.in), m.at+maxName)], []byte("\n"), 3)
		if len(lines) < 3 {
			return errShort
		}
		m.at += len(lines[0]) + len(lines[1]) + 2
		m.push(global(string(lines[0]) + " " + string(lines[1])))
	}
	return nil
}

// maxName bounds a module's and a class's name together.
const maxName = 1 << 10

// long is an integer of up to 255 bytes; one that does not fit is opaque.
func long(p []byte) any {
	if len(p) > 8 {
		return opaque{}
	}
	var b [8]byte
	if len(p) > 0 && p[len(p)-1]&0x80 != 0 {
		b = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}
	}
	copy(b[:], p)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func (m *machine) tuple(op byte) (err error) {
	var t tuple
	if op == opTuple {
		t, err = m.popMark()
	} else {
		t, err = m.popN(int(op) - opTuple1 + 1)
	}
	m.push(t)
	return err
}

// remember stores the topmost object under a number, or fetches one.
func (m *machine) remember(op byte) error {
	at, err := m.number(width(op))
	if err != nil {
		return err
	}
	if op == opBinPut || op == opLongBinPut {
		if len(m.stack) == 0 {
			return errUnderflow
		}
		m.memo[at] = m.stack[len(m.stack)-1]
		return nil
	}
	v, ok := m.memo[at]
	if !ok {
		return fmt.Errorf("no object %d", at)
	}
	m.push(v)
	return nil
}

// fill puts objects into the one below them.
func (m *machine) fill(op byte) error {
	var items tuple
	var err error
	switch op {
	case opSetItems, opAppends:
		items, err = m.popMark()
	case opSetItem:
		items, err = m.popN(2)
	default:
		items, err = m.popN(1)
	}
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return errUnderflow
	}
	top := m.stack[len(m.stack)-1]
	if l, ok := top.(*list); ok && (op == opAppend || op == opAppends) {
		l.items = append(l.items, items...)
	}
	d, ok := top.(*dict)
	if !ok || op == opBuild || op == opAppend || op == opAppends {
		return nil
	}
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		d.entries = append(d.entries, entry{items[i], items[i+1]})
	}
	return nil
}

// make pushes the object that a class or function would make; but for
// dictionaries and tensors nothing is known about it.
func (m *machine) make(op byte) error {
	if op == opBinPersID {
		id, err := m.pop()
		if err != nil {
			return err
		}
		v, err := m.resolve(id)
		m.push(v)
		return err
	}
	operands, err := m.popN(2)
	if err != nil {
		return err
	}
	args, ok := operands[1].(tuple)
	if !ok {
		return errors.New("arguments that are no tuple")
	}
	var made any = opaque{}
	switch operands[0] {
	case global("collections OrderedDict"):
		made = &dict{}
	case global("torch._utils _rebuild_tensor_v2"):
		made, err = rebuild(args)
	case global("torch._utils _rebuild_parameter"):
		if len(args) > 0 {
			made = args[0]
		}
	}
	m.push(made)
	return err
}
