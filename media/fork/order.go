package fork

import "math/bits"

const (
	// orderBlock is how many samples are judged together, orderEnough how many of
	// the blocks that are not silent decide: about a second of speech at 8 kHz.
	orderBlock  = 160
	orderEnough = 50
	// orderQuiet is the mean step between samples below which a block counts as
	// silent, orderRatio how much rougher than swapped the samples must be.
	orderQuiet = 16
	orderRatio = 4
)

// ByteOrder watches 16-bit samples for the wrong byte order, the most frequent
// mistake when audio is sent as plain samples. Sound is smooth: between two
// samples it takes small steps. With its bytes swapped it is noise of large
// steps.
//
// The zero value is ready. It is for one stream and one goroutine.
type ByteOrder struct {
	native, swapped int64 // sums of steps in the blocks that are not silent
	// The block that is being filled.
	blockNative, blockSwapped int64
	fill                      int

	last   int16
	blocks int
}

// Swapped looks at the next samples. It returns true once: when about a second
// of sound has come and it is all but certain that its bytes are swapped.
func (b *ByteOrder) Swapped(samples []int16) bool {
	if b.blocks >= orderEnough {
		return false
	}
	for _, x := range samples {
		b.blockNative += step(x, b.last)
		b.blockSwapped += step(swap(x), swap(b.last))
		b.last = x
		if b.fill++; b.fill < orderBlock {
			continue
		}
		if min(b.blockNative, b.blockSwapped) >= orderQuiet*orderBlock {
			b.native += b.blockNative
			b.swapped += b.blockSwapped
			b.blocks++
		}
		b.fill, b.blockNative, b.blockSwapped = 0, 0, 0
		if b.blocks == orderEnough {
			return b.native > orderRatio*b.swapped
		}
	}
	return false
}

func step(a, b int16) int64 {
	d := int64(a) - int64(b)
	return max(d, -d)
}

func swap(x int16) int16 { return int16(bits.ReverseBytes16(uint16(x))) }
