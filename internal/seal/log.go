package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Log seals one record after the other. A record is
//
//	0        4
//	+--------+------------------------------------------+
//	| length | a sealed file, its name followed by #N   |
//	+--------+------------------------------------------+
//
// with N counting from 0, so that records can neither change places nor be left
// out; only how many there should be cannot be known. Each is written in one
// piece: what a crash cuts off is the last one.
//
// A Log belongs to one goroutine.
type Log struct {
	s    sealer
	name string
	next int
	buf  []byte
}

// maxRecord bounds a sealed record, in bytes.
const maxRecord = 16 << 20

// NewLog begins a log, or goes on with one that has so many records. The key
// stays the one that is current now.
func (k *Keyring) NewLog(purpose, name string, records int) (*Log, error) {
	s, err := k.sealer(purpose, name)
	if err != nil {
		return nil, err
	}
	return &Log{s: *s, name: name, next: records}, nil
}

// Seal makes the next record of plain. What it returns is valid until the next
// call, and is to be written whole.
func (l *Log) Seal(plain []byte) ([]byte, error) {
	l.s.name = l.name + "#" + strconv.Itoa(l.next)
	sealed, err := l.s.seal(plain)
	if err != nil {
		return nil, err
	}
	if len(sealed) > maxRecord {
		return nil, fmt.Errorf("seal: a record of %d bytes; at most %d may be", len(sealed), maxRecord)
	}
	l.next++
	l.buf = append(binary.BigEndian.AppendUint32(l.buf[:0], uint32(len(sealed))), sealed...)
	return l.buf, nil
}

// LogReader reads a log.
type LogReader struct {
	ring          *Keyring
	r             io.Reader
	purpose, name string
	records       int
	size          int64
	buf           []byte
}

// ReadLog reads a log from its beginning.
func (k *Keyring) ReadLog(r io.Reader, purpose, name string) *LogReader {
	return &LogReader{ring: k, r: r, purpose: purpose, name: name}
}

// Next is the next record. At the end of the log, and where the last record was
// cut off, it returns io.EOF.
func (l *LogReader) Next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return nil, cut(err)
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > maxRecord {
		return nil, opening(l.purpose, l.name, fmt.Errorf("%w: record %d is %d bytes long", ErrBroken, l.records, n))
	}
	if cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	if _, err := io.ReadFull(l.r, l.buf[:n]); err != nil {
		return nil, cut(err)
	}
	plain, err := l.ring.Open(l.buf[:n], l.purpose, l.name+"#"+strconv.Itoa(l.records))
	if err != nil {
		return nil, err
	}
	l.records++
	l.size += int64(len(head) + n)
	return plain, nil
}

// cut takes an end in the middle of a record for the end.
func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// Records is how many records have been read.
func (l *LogReader) Records() int { return l.records }

// Size is how many bytes of the log they took: where the next one belongs.
func (l *LogReader) Size() int64 { return l.size }
