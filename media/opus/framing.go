package opus

import "fmt"

const (
	// maxFrameSize is the largest frame in bytes, maxFrames how many of the
	// shortest fit into 120 ms (RFC 6716, section 3.2).
	maxFrameSize = 1275
	maxFrames    = 48
)

// framing says where a packet's frames are: count of them, one after the other
// from byte start on.
type framing struct {
	count, start int
	size         [maxFrames]uint16
}

// split finds the frames of a packet.
//
//	config(5) | s(1) | c(2), RFC 6716, section 3.1
//	c = 0: one frame; 1: two of one size; 2: two, the first's size before them;
//	c = 3: v(1) | p(1) | M(6), then padding sizes, then frame sizes if v is set
func (f *framing) split(src []byte) error {
	f.count = 0
	if len(src) == 0 {
		return fmt.Errorf("opus: an empty packet")
	}
	count, rest := 2, len(src)-1
	f.start = 1
	switch src[0] & 3 {
	case 0:
		count = 1
		f.size[0] = uint16(min(rest, maxFrameSize+1))
	case 1:
		if !f.equal(2, rest) {
			return fmt.Errorf("opus: %d bytes are no two frames of one size", rest)
		}
	case 2:
		first, ok := f.length(src)
		rest = len(src) - f.start - first
		if !ok || rest < 0 {
			return fmt.Errorf("opus: the first of two frames is longer than the packet of %d bytes", len(src))
		}
		f.size[0], f.size[1] = uint16(first), uint16(min(rest, maxFrameSize+1))
	default:
		var err error
		if count, err = f.many(src); err != nil {
			return err
		}
	}
	if n := count * frameSamples(src[0]); n == 0 || n > maxPacket {
		return fmt.Errorf("opus: %d frames in one packet are none or exceed 120 ms", count)
	}
	for _, size := range f.size[:count] {
		if size > maxFrameSize {
			return fmt.Errorf("opus: a frame is longer than %d bytes", maxFrameSize)
		}
	}
	f.count = count
	return nil
}

// many is split for any number of frames.
func (f *framing) many(src []byte) (count int, err error) {
	if len(src) < 2 {
		return 0, fmt.Errorf("opus: a packet of many frames lacks their number")
	}
	count, f.start = int(src[1]&63), 2
	if count == 0 || count > maxFrames {
		return 0, fmt.Errorf("opus: a packet of %d frames", count)
	}
	padding := 0
	for more := src[1]&0x40 != 0; more; f.start++ {
		if f.start >= len(src) {
			return 0, fmt.Errorf("opus: the size of the padding is cut off")
		}
		// 255 stands for 254 bytes, and another size follows.
		more = src[f.start] == 255
		padding += min(int(src[f.start]), 254)
	}
	if src[1]&0x80 == 0 {
		if !f.equal(count, len(src)-f.start-padding) {
			return 0, fmt.Errorf("opus: %d bytes less %d of padding are not %d frames of one size", len(src)-f.start, padding, count)
		}
		return count, nil
	}
	sum := 0
	for i := range count - 1 {
		size, ok := f.length(src)
		if !ok {
			return 0, fmt.Errorf("opus: the sizes of %d frames are cut off", count)
		}
		f.size[i] = uint16(size)
		sum += size
	}
	last := len(src) - f.start - padding - sum
	if last < 0 {
		return 0, fmt.Errorf("opus: %d frames are longer than the packet of %d bytes", count, len(src))
	}
	f.size[count-1] = uint16(min(last, maxFrameSize+1))
	return count, nil
}

// equal divides n bytes among count frames.
func (f *framing) equal(count, n int) bool {
	if n < 0 || n%count != 0 {
		return false
	}
	for i := range count {
		f.size[i] = uint16(min(n/count, maxFrameSize+1))
	}
	return true
}

// length reads a frame's size at start (RFC 6716, section 3.2.1) and moves
// start behind it.
func (f *framing) length(src []byte) (n int, ok bool) {
	if f.start >= len(src) {
		return 0, false
	}
	n = int(src[f.start])
	f.start++
	if n >= 252 {
		if f.start >= len(src) {
			return 0, false
		}
		n += 4 * int(src[f.start])
		f.start++
	}
	return n, true
}

// frameSamples is the length of each frame in samples at Rate, by the packet's
// first byte (RFC 6716, table 2).
func frameSamples(toc byte) int {
	const ms = Rate / 1000
	switch config := toc >> 3; {
	case config < 12 && config%4 == 3: // SILK: 10, 20, 40, 60 ms
		return 60 * ms
	case config < 12:
		return 10 * ms << (config % 4)
	case config < 16: // hybrid: 10, 20 ms
		return 10 * ms << (config % 2)
	default: // CELT: 2.5, 5, 10, 20 ms
		return 5 * ms / 2 << (config % 4)
	}
}
