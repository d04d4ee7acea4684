package fingerprint

import (
	"encoding/binary"
	"fmt"
)

// version is that of the method: words of another one mean other things.
const version = 1

// AppendBinary appends the print to b: a byte with the version of the method, then
// four bytes a word, the lowest first.
func (p Print) AppendBinary(b []byte) []byte {
	b = append(b, version)
	for _, w := range p {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// Parse reads what AppendBinary has written.
func Parse(b []byte) (Print, error) {
	if len(b) == 0 || b[0] != version {
		return nil, fmt.Errorf("fingerprint: no print of version %d; make it anew from the recording", version)
	}
	b = b[1:]
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("fingerprint: %d bytes are no whole number of words: the print is damaged", len(b))
	}
	p := make(Print, len(b)/4)
	for i := range p {
		p[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return p, nil
}
