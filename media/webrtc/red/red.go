// Package red takes audio out of RTP packets with redundant copies of earlier
// ones (RFC 2198), as browsers send them for Opus, and fills losses from the
// copies.
//
// A payload is a header for each block, the last one short, and then the blocks,
// oldest first:
//
//	 0                   1                    2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3  4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|1|   block PT  |  timestamp offset         |   block length    |
//	|0|   block PT  |
//
// An Unwrapper reads no clock and allocates nothing per packet.
package red

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxBlocks bounds the blocks of one packet; browsers send two.
	MaxBlocks = 8
	// headerLen is the length of an RTP header without lists.
	headerLen = 12
	// maxPacket bounds the datagrams that are handed on.
	maxPacket = 1500
)

// ErrMalformed is wrapped by the errors of Split and Unwrap.
var ErrMalformed = errors.New("malformed redundancy")

// Block is one block of a payload.
type Block struct {
	PayloadType uint8
	// Offset is how much earlier than the packet's the block's timestamp is, in
	// units of the RTP clock; zero in the last block.
	Offset uint32
	// Payload aliases the packet's.
	Payload []byte
}

// Split appends the blocks of a payload to dst, oldest first.
func Split(dst []Block, payload []byte) ([]Block, error) {
	var offsets [MaxBlocks]uint32
	var lengths [MaxBlocks]int
	var types [MaxBlocks]uint8
	n, rest := 0, payload
	for {
		if len(rest) == 0 {
			return dst, fmt.Errorf("%w: the %d bytes end among the headers", ErrMalformed, len(payload))
		}
		if n == MaxBlocks {
			return dst, fmt.Errorf("%w: more than %d blocks", ErrMalformed, MaxBlocks)
		}
		types[n] = rest[0] & 0x7f
		if rest[0]&0x80 == 0 {
			rest = rest[1:]
			break
		}
		if len(rest) < 4 {
			return dst, fmt.Errorf("%w: header %d has %d of 4 bytes", ErrMalformed, n+1, len(rest))
		}
		v := binary.BigEndian.Uint32(rest)
		offsets[n], lengths[n] = v>>10&0x3fff, int(v&0x3ff)
		rest = rest[4:]
		n++
	}
	for i := range n {
		if lengths[i] > len(rest) {
			return dst, fmt.Errorf("%w: block %d is said to have %d bytes, %d are left", ErrMalformed, i+1, lengths[i], len(rest))
		}
		dst = append(dst, Block{PayloadType: types[i], Offset: offsets[i], Payload: rest[:lengths[i]]})
		rest = rest[lengths[i]:]
	}
	return append(dst, Block{PayloadType: types[n], Payload: rest}), nil
}

// Unwrapper turns the packets of one stream into packets without redundancy.
// It is for one goroutine.
type Unwrapper struct {
	payloadType uint8
	emit        func(datagram []byte)
	blocks      []Block
	out         [maxPacket]byte

	begun  bool
	ssrc   uint32
	newest uint16
	// seen has a bit for each of the 64 packets up to newest, which is bit 0.
	seen      uint64
	recovered uint64
}

// New makes an Unwrapper for packets of a payload type. emit takes the packets;
// each is valid during the call only.
func New(payloadType uint8, emit func(datagram []byte)) *Unwrapper {
	return &Unwrapper{payloadType: payloadType, emit: emit, blocks: make([]Block, 0, MaxBlocks)}
}

// Recovered is the number of packets that were lost and made from copies.
func (u *Unwrapper) Recovered() uint64 { return u.recovered }

// Unwrap takes an RTP datagram and hands on what it carries: copies of packets
// that have not been seen, and then the packet itself. A packet of another
// payload type is handed on as it is.
func (u *Unwrapper) Unwrap(datagram []byte) error {
	payload, err := payloadOf(datagram)
	if err != nil {
		return err
	}
	seq, ssrc := binary.BigEndian.Uint16(datagram[2:]), binary.BigEndian.Uint32(datagram[8:])
	if !u.begun || ssrc != u.ssrc {
		// What came before the first packet is nobody's loss.
		u.begun, u.ssrc, u.newest, u.seen = true, ssrc, seq, ^uint64(0)
	}
	if datagram[1]&0x7f != u.payloadType || len(payload) == 0 {
		u.saw(seq)
		u.emit(datagram)
		return nil
	}
	u.blocks, err = Split(u.blocks[:0], payload)
	if err != nil {
		return err
	}
	last := len(u.blocks) - 1
	stamp := binary.BigEndian.Uint32(datagram[4:])
	for i, b := range u.blocks[:last] {
		// The copies are those of the packets right before this one.
		earlier := seq - uint16(last-i)
		if b.Offset == 0 || len(b.Payload) == 0 || u.known(earlier) {
			continue
		}
		u.saw(earlier)
		u.recovered++
		u.send(datagram, b, earlier, stamp-b.Offset, false)
	}
	u.saw(seq)
	u.send(datagram, u.blocks[last], seq, stamp, datagram[1]&0x80 != 0)
	return nil
}

// send builds a plain packet of the block.
func (u *Unwrapper) send(original []byte, b Block, seq uint16, stamp uint32, marker bool) {
	if headerLen+len(b.Payload) > len(u.out) {
		return
	}
	u.out[0] = 2 << 6
	u.out[1] = b.PayloadType
	if marker {
		u.out[1] |= 0x80
	}
	binary.BigEndian.PutUint16(u.out[2:], seq)
	binary.BigEndian.PutUint32(u.out[4:], stamp)
	copy(u.out[8:headerLen], original[8:headerLen])
	n := copy(u.out[headerLen:], b.Payload)
	u.emit(u.out[:headerLen+n])
}

// saw notes a sequence number.
func (u *Unwrapper) saw(seq uint16) {
	ahead := int16(seq - u.newest)
	switch {
	case ahead > 0:
		u.seen = u.seen<<min(uint(ahead), 64) | 1
		u.newest = seq
	case ahead > -64:
		u.seen |= 1 << uint(-ahead)
	}
}

// known says whether a sequence number was seen, or is too old to be made up
// for.
func (u *Unwrapper) known(seq uint16) bool {
	ahead := int16(seq - u.newest)
	return ahead <= -64 || ahead <= 0 && u.seen>>uint(-ahead)&1 == 1
}

// payloadOf finds the payload of an RTP packet (RFC 3550, section 5.1).
func payloadOf(b []byte) ([]byte, error) {
	if len(b) < headerLen || b[0]>>6 != 2 {
		return nil, fmt.Errorf("%w: no RTP packet", ErrMalformed)
	}
	at := headerLen + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < at+4 {
			return nil, fmt.Errorf("%w: the packet ends in its header", ErrMalformed)
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		end -= int(b[len(b)-1])
	}
	if at > end {
		return nil, fmt.Errorf("%w: header and padding are longer than the packet of %d bytes", ErrMalformed, len(b))
	}
	return b[at:end], nil
}
