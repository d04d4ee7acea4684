package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"sidetone/voiceprint"
)

// ErrPayload is in the chain of errors about the inside of something sealed that is
// not what this program writes.
var ErrPayload = errors.New("it is no voice as this program writes it")

// A voice before it is sealed, numbers in network order:
//
//	0      4            8      12              20 ... 68   76     80
//	+------+------------+------+---------------+-----------+------+------+-----------+
//	| STV1 | generation | dim  | net speech ns | 7 doubles | len  | note | dim float |
//	+------+------------+------+---------------+-----------+------+------+-----------+
//
// The doubles are SNR, level, clipped, edge, reverberation, music, unlike.
const (
	magic = "STV1"
	// fixed is the size of all but the note and the numbers.
	fixed   = 4 + 4 + 4 + 8 + 7*8 + 4
	maxDim  = 4096
	maxNote = 64 << 10
)

func doubles(q *voiceprint.Quality) []*float64 {
	return []*float64{&q.SNR, &q.Level, &q.Clipped, &q.Edge, &q.Reverberation, &q.Music, &q.Unlike}
}

func marshal(v *Voice, generation int) ([]byte, error) {
	if len(v.Embedding) < 1 || len(v.Embedding) > maxDim || len(v.Note) > maxNote {
		return nil, fmt.Errorf("vault: an embedding of %d numbers with a note of %d bytes; 1 to %d and up to %d are sealed", len(v.Embedding), len(v.Note), maxDim, maxNote)
	}
	b := make([]byte, 0, fixed+len(v.Note)+4*len(v.Embedding))
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(generation))
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.Embedding)))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Quality.Net))
	for _, f := range doubles(&v.Quality) {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(*f))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.Note)))
	b = append(b, v.Note...)
	for _, f := range v.Embedding {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b, nil
}

func unmarshal(b []byte) (v Voice, generation int, err error) {
	fail := func(what string, args ...any) (Voice, int, error) {
		return Voice{}, 0, fmt.Errorf("%w: %s", ErrPayload, fmt.Sprintf(what, args...))
	}
	if len(b) < fixed || string(b[:4]) != magic {
		return fail("%d bytes that do not begin with %s", len(b), magic)
	}
	gen, dim := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	note := binary.BigEndian.Uint32(b[fixed-4:])
	if gen < 1 || gen > math.MaxInt32 || dim < 1 || dim > maxDim || note > maxNote {
		return fail("generation %d, %d numbers, a note of %d bytes", gen, dim, note)
	}
	if want := fixed + int(note) + 4*int(dim); len(b) != want {
		return fail("%d bytes where %d are told", len(b), want)
	}
	v.Quality.Net = time.Duration(binary.BigEndian.Uint64(b[12:]))
	for i, f := range doubles(&v.Quality) {
		*f = math.Float64frombits(binary.BigEndian.Uint64(b[20+8*i:]))
	}
	v.Note = string(b[fixed : fixed+int(note)])
	v.Embedding = make(voiceprint.Embedding, dim)
	for i := range v.Embedding {
		f := math.Float32frombits(binary.BigEndian.Uint32(b[fixed+int(note)+4*i:]))
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			return fail("number %d is %v", i, f)
		}
		v.Embedding[i] = f
	}
	return v, int(gen), nil
}

// SealAudio seals samples of full scale ±1, at 16 bits; what is beyond is cut.
func (v *Vault) SealAudio(samples []float32, purpose, name string) (Sealed, error) {
	b := make([]byte, 0, 2*len(samples))
	for i, f := range samples {
		if math.IsNaN(float64(f)) {
			return Sealed{}, fmt.Errorf("vault: sample %d of the audio is no number", i)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(math.Round(float64(max(-1, min(1, f)))*math.MaxInt16))))
	}
	return v.Seal(b, purpose, name)
}

// OpenAudio opens what SealAudio sealed.
func (v *Vault) OpenAudio(text, purpose, name string) ([]float32, error) {
	b, err := v.Open(text, purpose, name)
	if err != nil {
		return nil, err
	}
	if len(b)%2 != 0 {
		return nil, fmt.Errorf("vault: %s %s: %w: audio that ends within a sample", purpose, name, ErrPayload)
	}
	samples := make([]float32, len(b)/2)
	for i := range samples {
		samples[i] = float32(int16(binary.LittleEndian.Uint16(b[2*i:]))) / math.MaxInt16
	}
	return samples, nil
}
