// Package g722 decodes and encodes G.722 at 64 kbit/s (ITU-T G.722, mode 1; RTP
// payload type 9 of RFC 3551, section 4.5.2): speech at 16 kHz in two bands, 6
// bits for the lower and 2 for the upper in one byte for two samples.
//
// The names of tables and steps are those of the Recommendation, clause 6. The
// decoder's delay is that of the filters that split and join the bands, 22
// samples from encoder to decoder.
package g722

import "fmt"

const (
	// Rate is the sample rate in Hz, Clock the RTP clock, which is not the same
	// by a mistake of long ago (RFC 3551, section 4.5.2).
	Rate  = 16000
	Clock = 8000
	// PayloadType is the static payload type.
	PayloadType = 9
)

// Decoder is the state of one stream's decoder. It is for one goroutine.
type Decoder struct {
	t         *tables
	low, high band
	// x holds the last 24 sums and differences of the bands.
	x [24]int32
}

// NewDecoder makes a decoder in its first state.
func NewDecoder() *Decoder {
	d := &Decoder{t: newTables()}
	d.Reset()
	return d
}

// Reset brings the decoder back to its first state, for another source.
func (d *Decoder) Reset() {
	*d = Decoder{t: d.t, low: band{det: 32}, high: band{det: 8}}
}

// String is the codec's name.
func (d *Decoder) String() string { return "G722" }

// Rate is the sample rate of what is decoded, in Hz.
func (d *Decoder) Rate() int { return Rate }

// Samples is the number of samples in a payload: two per byte.
func (d *Decoder) Samples(src []byte) int { return 2 * len(src) }

// Decode writes the samples of src to dst and returns their number. A dst that
// is too short is an error and changes nothing.
func (d *Decoder) Decode(dst []int16, src []byte) (int, error) {
	if len(dst) < 2*len(src) {
		return 0, fmt.Errorf("g722: %d samples do not fit into a buffer of %d", 2*len(src), len(dst))
	}
	t := d.t
	for i, b := range src {
		low, high := int(b&63), int(b>>6)

		l := limit(d.low.s + d.low.det*t.qm6[low]>>15)
		d.low.step(&t.ilb, d.low.det*t.qm4[low>>2]>>15, t.lowScale(d.low.nb, low>>2), 8)

		diff := d.high.det * t.qm2[high] >> 15
		h := limit(d.high.s + diff)
		d.high.step(&t.ilb, diff, t.highScale(d.high.nb, high), 10)

		copy(d.x[:22], d.x[2:])
		d.x[22], d.x[23] = l+h, l-h
		even, odd := t.join(&d.x)
		dst[2*i], dst[2*i+1] = int16(sat(odd>>11)), int16(sat(even>>11))
	}
	return 2 * len(src), nil
}

// Encoder is the state of one stream's encoder. It is for one goroutine.
type Encoder struct {
	t         *tables
	low, high band
	x         [24]int32
}

// NewEncoder makes an encoder in its first state.
func NewEncoder() *Encoder {
	return &Encoder{t: newTables(), low: band{det: 32}, high: band{det: 8}}
}

// Encode writes one byte for each two samples of src to dst and returns the
// number of bytes. It takes an even number of samples.
func (e *Encoder) Encode(dst []byte, src []int16) (int, error) {
	n := len(src) / 2
	if len(src)%2 != 0 || len(dst) < n {
		return 0, fmt.Errorf("g722: %d samples into %d bytes: two go into each", len(src), len(dst))
	}
	t := e.t
	for i := range n {
		copy(e.x[:22], e.x[2:])
		e.x[22], e.x[23] = int32(src[2*i]), int32(src[2*i+1])
		even, odd := t.join(&e.x)
		low := e.low.quantLow(&t.q6, sat(sat((even+odd)>>14)-e.low.s))
		high := e.high.quantHigh(sat(sat((odd-even)>>14) - e.high.s))
		e.low.step(&t.ilb, e.low.det*t.qm4[low>>2]>>15, t.lowScale(e.low.nb, low>>2), 8)
		e.high.step(&t.ilb, e.high.det*t.qm2[high]>>15, t.highScale(e.high.nb, high), 10)
		dst[i] = byte(high<<6 | low)
	}
	return n, nil
}

// join is the quadrature mirror filter of both directions (clauses 3.1 and
// 4.4): its even taps on every second value, its odd taps on the others.
func (t *tables) join(x *[24]int32) (even, odd int32) {
	for i, c := range t.qmf {
		even += x[2*i] * c
		odd += x[2*i+1] * t.qmf[11-i]
	}
	return even, odd
}

// quantLow is QUANTL: the code of a difference.
func (b *band) quantLow(q6 *[30]int32, el int32) int {
	size := el
	if el < 0 {
		size = -(el + 1)
	}
	i := 1
	for i < 30 && size >= q6[i]*b.det>>12 {
		i++
	}
	switch {
	case el >= 0:
		return 62 - i
	case i < 3:
		return 64 - i
	default:
		return 34 - i
	}
}

// quantHigh is QUANTH.
func (b *band) quantHigh(eh int32) int {
	size, sign := eh, 2
	if eh < 0 {
		size, sign = -(eh + 1), 0
	}
	if size >= 564*b.det>>12 {
		return sign
	}
	return sign + 1
}
