package torchfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// legacyMagic begins the files that torch.save wrote before version 1.6: it is the
// pickle of a number of ten bytes. These follow it:
//
//	pickle  the version, 1001
//	pickle  a dictionary: "little_endian", …
//	pickle  the object; its storages are ("storage", class, key, device, elements,
//	        view), where a view of another storage is not None
//	pickle  a list of the storages' keys
//	of each in that order: the number of elements as an int64, and their bytes
const legacyMagic = "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

// legacy reads one pickle after the other.
type legacy struct {
	in []byte
	// files are the storages by their key, left is how many bytes they may still
	// have together.
	files map[string]storage
	left  int
}

func (l *legacy) next() (any, error) {
	v, n, err := unpickleHead(l.in, l.storage)
	l.in = l.in[n:]
	return v, err
}

// storage makes room for what a persistent id names; the bytes come later.
func (l *legacy) storage(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return nil, errors.New("a persistent object that is no storage")
	}
	class, cok := t[1].(global)
	key, kok := t[2].(string)
	count, nok := t[4].(int64)
	if !cok || !kok || !nok || count < 0 {
		return nil, errors.New("a storage without class, key or length")
	}
	if len(t) > 5 && t[5] != nil {
		return nil, errors.New("a storage that is a part of another one: load and save the file with a newer PyTorch")
	}
	if s, ok := l.files[key]; ok {
		return s, nil
	}
	s := storage{elements: class.elements()}
	size := int64(s.elements.Size())
	if size == 0 {
		return nil, fmt.Errorf("a storage of %s: unknown", class)
	}
	if count > int64(l.left)/size {
		return nil, fmt.Errorf("a storage of %d elements, more than the file has (is it cut off?)", count)
	}
	l.left -= int(count * size)
	s.data = make([]byte, count*size)
	l.files[key] = s
	return s, nil
}

// parseLegacy returns the object of a file that begins with legacyMagic.
func parseLegacy(b []byte) (any, error) {
	l := &legacy{in: b[len(legacyMagic):], files: map[string]storage{}, left: len(b)}
	version, err := l.next()
	if err != nil {
		return nil, err
	}
	if version != int64(1001) {
		return nil, fmt.Errorf("version %v: only 1001 is read", version)
	}
	system, err := l.next()
	if err != nil {
		return nil, err
	}
	d, ok := system.(*dict)
	if !ok {
		return nil, errors.New("it does not say which byte order it has")
	}
	for _, e := range d.entries {
		if e.key == "little_endian" && e.value != true {
			return nil, errors.New("only little endian is read")
		}
	}
	root, err := l.next()
	if err != nil {
		return nil, err
	}
	keys, err := l.next()
	if err != nil {
		return nil, err
	}
	order, ok := keys.(*list)
	if !ok {
		return nil, errors.New("it has no list of its storages")
	}
	if err := l.fill(order.items); err != nil {
		return nil, err
	}
	return root, nil
}

// fill reads the bytes of the storages.
func (l *legacy) fill(keys []any) error {
	filled := map[string]bool{}
	for _, k := range keys {
		key, _ := k.(string)
		s, ok := l.files[key]
		if !ok || filled[key] {
			return fmt.Errorf("the bytes of storage %.40q, which nothing has named, or twice", key)
		}
		filled[key] = true
		if len(l.in) < 8+len(s.data) {
			return errShort
		}
		if n := binary.LittleEndian.Uint64(l.in); n != uint64(len(s.data)/s.elements.Size()) {
			return fmt.Errorf("storage %.40q has %d elements, and %d were announced", key, n, len(s.data)/s.elements.Size())
		}
		l.in = l.in[8+copy(s.data, l.in[8:]):]
	}
	if len(filled) != len(l.files) {
		return fmt.Errorf("%d storages, and the bytes of %d", len(l.files), len(filled))
	}
	return nil
}
