package recording

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/mewkiz/flac"
	"github.com/mewkiz/flac/frame"
	"github.com/mewkiz/flac/meta"
)

// encoder turns blocks into the bytes of a format.
type encoder interface {
	// encode appends a block to dst. All but the last are equally long.
	encode(dst []byte, pcm *[2][]int16) ([]byte, error)
}

// newEncoder makes the encoder of a recording of which so many blocks have been
// encoded before.
func newEncoder(format Format, rate int, blocks int64) (encoder, error) {
	if format == WAV {
		return rawEncoder{}, nil
	}
	return newFLAC(rate, blocks)
}

// rawEncoder writes the samples as WAV has them.
type rawEncoder struct{}

func (rawEncoder) encode(dst []byte, pcm *[2][]int16) ([]byte, error) {
	return interleave(dst, pcm), nil
}

// interleave appends the samples of both sides in turn, little-endian.
func interleave(dst []byte, pcm *[2][]int16) []byte {
	for i, l := range pcm[left] {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(l))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(pcm[right][i]))
	}
	return dst
}

// flacEncoder writes FLAC frames (RFC 9639). It chooses the predictors itself:
// the library tries every one with every parameter, which takes ten times longer.
type flacEncoder struct {
	out   bytes.Buffer
	enc   *flac.Encoder
	frame frame.Frame
	// diff holds the residuals of the five fixed predictors.
	diff [5][]int32
}

func newFLAC(rate int, blocks int64) (*flacEncoder, error) {
	e := &flacEncoder{}
	var err error
	info := &meta.StreamInfo{BlockSizeMin: block, BlockSizeMax: block, SampleRate: uint32(rate), NChannels: 2, BitsPerSample: 16}
	if e.enc, err = flac.NewEncoder(&e.out, info); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	e.enc.EnablePredictionAnalysis(false)
	e.frame.Header = frame.Header{HasFixedBlockSize: true, SampleRate: uint32(rate), Channels: frame.ChannelsLR, BitsPerSample: 16}
	e.frame.Subframes = []*frame.Subframe{{}, {}}
	for range blocks {
		// The encoder numbers its frames: it is brought to the next number.
		if _, err = e.encode(nil, &[2][]int16{make([]int16, 1), make([]int16, 1)}); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *flacEncoder) encode(dst []byte, pcm *[2][]int16) ([]byte, error) {
	e.frame.BlockSize = uint16(len(pcm[left]))
	for side, sub := range e.frame.Subframes {
		sub.Samples = widen(sub.Samples, pcm[side])
		sub.NSamples = len(sub.Samples)
		e.predict(sub)
	}
	e.out.Reset()
	if err := e.enc.WriteFrame(&e.frame); err != nil {
		return nil, fmt.Errorf("recording: encoding FLAC: %w", err)
	}
	return append(dst, e.out.Bytes()...), nil
}

func widen(dst []int32, src []int16) []int32 {
	dst = dst[:0]
	for _, v := range src {
		dst = append(dst, int32(v))
	}
	return dst
}

// predict chooses how the samples are coded: as one value, by the fixed predictor
// that leaves the least, or as they are.
func (e *flacEncoder) predict(sub *frame.Subframe) {
	x := sub.Samples
	sub.SubHeader = frame.SubHeader{Pred: frame.PredConstant, RiceSubframe: sub.RiceSubframe}
	for _, v := range x {
		if v != x[0] {
			sub.Pred = frame.PredVerbatim
			break
		}
	}
	if sub.Pred == frame.PredConstant || len(x) < 64 {
		return
	}
	best, least := 0, int64(math.MaxInt64)
	for order := range e.diff {
		// Each predictor's residual is the difference of the last one's.
		d := e.diff[order][:0]
		if order == 0 {
			d = append(d, x...)
		} else {
			before := e.diff[order-1]
			for i := 1; i < len(before); i++ {
				d = append(d, before[i]-before[i-1])
			}
		}
		e.diff[order] = d
		sum := int64(0)
		for _, v := range d[len(e.diff)-1-order:] {
			sum += int64(max(v, -v))
		}
		if sum < least {
			best, least = order, sum
		}
	}
	rice, size := partition(e.diff[best], len(x), best)
	if size+best*16 >= 16*len(x) {
		return
	}
	sub.Pred, sub.Order, sub.RiceSubframe = frame.PredFixed, best, rice
	sub.ResidualCodingMethod = frame.ResidualCodingMethodRice1
}

const (
	// maxPartitions is the binary logarithm of the most partitions of a block.
	maxPartitions = 5
	// maxRice is the largest parameter of a partition; 15 is an escape.
	maxRice = 14
)

// partition finds the cut into partitions, each with its Rice parameter, that
// takes the fewest bits, and returns their number.
func partition(residual []int32, n, order int) (*frame.RiceSubframe, int) {
	var best frame.RiceSubframe
	least := math.MaxInt
	for p := 0; p <= maxPartitions && n%(1<<p) == 0 && n>>p > order; p++ {
		parts := make([]frame.RicePartition, 1<<p)
		size, rest := 0, residual
		for i := range parts {
			m := n >> p
			if i == 0 {
				m -= order
			}
			k, b := rice(rest[:m])
			parts[i].Param, rest = k, rest[m:]
			size += 4 + b
		}
		if size < least {
			least, best = size, frame.RiceSubframe{PartOrder: p, Partitions: parts}
		}
	}
	return &best, least
}

// rice is the parameter for residuals, from their mean, and how many bits they
// take with it.
func rice(residual []int32) (k uint, size int) {
	if len(residual) == 0 {
		return 0, 0
	}
	sum := uint64(0)
	for _, v := range residual {
		sum += uint64(zigzag(v))
	}
	if mean := sum / uint64(len(residual)); mean > 0 {
		k = min(maxRice, uint(bits.Len64(mean)-1))
	}
	size = len(residual) * int(k+1)
	for _, v := range residual {
		size += int(zigzag(v) >> k)
	}
	return k, size
}

func zigzag(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }

// seekEvery is how far seek points lie apart, in blocks: 10 s.
const seekEvery = 40

// flacHeader writes all that stands before the frames.
func flacHeader(w io.Writer, x *index, tags [][2]string) error {
	info := &meta.StreamInfo{
		BlockSizeMin: uint16(x.blockLen()), BlockSizeMax: uint16(x.blockLen()), SampleRate: uint32(x.Rate), NChannels: 2, BitsPerSample: 16,
		NSamples: uint64(x.samples), FrameSizeMin: math.MaxUint32, MD5sum: x.md5,
	}
	var table meta.SeekTable
	offset := uint64(0)
	for i, size := range x.blocks {
		info.FrameSizeMin, info.FrameSizeMax = min(info.FrameSizeMin, uint32(size)), max(info.FrameSizeMax, uint32(size))
		if i%seekEvery == 0 {
			table.Points = append(table.Points, meta.SeekPoint{
				SampleNum: uint64(i * x.blockLen()), Offset: offset, NSamples: uint16(min(int64(x.blockLen()), x.samples-int64(i*x.blockLen()))),
			})
		}
		offset += uint64(size)
	}
	// The library takes a length of zero for an empty block, and counts others
	// itself.
	body := func(t meta.Type, b any) *meta.Block {
		return &meta.Block{Header: meta.Header{Type: t, Length: 1}, Body: b}
	}
	_, err := flac.NewEncoder(w, info, body(meta.TypeSeekTable, &table), body(meta.TypeVorbisComment, &meta.VorbisComment{Vendor: "Sidetone", Tags: tags}))
	if err != nil {
		return fmt.Errorf("recording: the FLAC header: %w", err)
	}
	return nil
}

// wavHeader writes all that stands before the samples: the format, the tags as a
// comment, and the length.
func wavHeader(w io.Writer, x *index, tags [][2]string) error {
	le := binary.LittleEndian
	var comment []byte
	for i, t := range tags {
		if i > 0 {
			comment = append(comment, "; "...)
		}
		comment = append(comment, t[0]+"="+t[1]...)
	}
	for comment = append(comment, 0); len(comment)%2 != 0; {
		comment = append(comment, 0)
	}
	size := x.samples * 4
	if size > math.MaxUint32-1<<20 {
		return fmt.Errorf("recording: %d bytes of samples do not fit into a WAV file", size)
	}
	h := append([]byte(nil), "RIFF"...)
	h = le.AppendUint32(h, uint32(4+8+16+8+4+8+len(comment)+8)+uint32(size))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint16(h, 2)
	h = le.AppendUint32(h, uint32(x.Rate))
	h = le.AppendUint32(h, uint32(x.Rate*4))
	h = le.AppendUint16(h, 4)
	h = le.AppendUint16(h, 16)
	h = append(h, "LIST"...)
	h = le.AppendUint32(h, uint32(4+8+len(comment)))
	h = append(h, "INFOICMT"...)
	h = le.AppendUint32(h, uint32(len(comment)))
	h = append(h, comment...)
	h = append(h, "data"...)
	h = le.AppendUint32(h, uint32(size))
	_, err := w.Write(h)
	return err
}
