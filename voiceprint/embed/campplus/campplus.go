// Package campplus embeds voices with CAM++ (Wang et al., CAM++: A Fast and
// Efficient Network for Speaker Verification Using Context-Aware Masking, 2023), as
// 3D-Speaker trained it on 200,000 speakers of Chinese and English: 192 dimensions.
// It is pure Go and needs no more than the weights.
package campplus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"sidetone/internal/dsp"
	"sidetone/internal/torchfile"
	"sidetone/voiceprint"
)

// Dim is the length of the embeddings.
const Dim = 192

const (
	// Shortest is the speech below which there is no embedding.
	Shortest = 500 * time.Millisecond
	// Longest is what goes through the network at once: longer speech is cut into
	// equal stretches, and the embedding is the direction of the sum of theirs.
	Longest = 60 * time.Second
	// kept is the longest speech whose scratch is kept for the next: 11 MB.
	kept = 20 * time.Second

	// level is what speech is brought to, in dB of full scale, and floorBelow how
	// far below it the noise floor lies.
	level      = -26
	floorBelow = 50
	// maxFile bounds what Load reads; the real file has 28 MB.
	maxFile = 64 << 20
)

// Config shapes Load. The zero value is what the calibrated parameters are for.
type Config struct {
	// Bare feeds samples to the network as they are. Else they are brought to a mean
	// power of -26 dB of full scale, since features end at an absolute least energy,
	// and white noise is laid beneath them, 50 dB below: telephone speech has nothing
	// above 4 kHz, and the logarithm of nothing, a quarter of the features, is
	// arbitrary. With the floor it is alike on all lines. Both are a part of the
	// model.
	Bare bool
}

// Engine is the loaded network: immutable and safe for concurrent use. Each Embed
// runs on its caller's goroutine and processor alone.
type Engine struct {
	model   voiceprint.Model
	bare    bool
	network network
	// scratch keeps what calls work with, at most as many as run at once.
	scratch chan *scratch
}

var _ voiceprint.Embedder = (*Engine)(nil)

// Load reads the weights: the state dictionary that torch.save has written
// (campplus_cn_en_common.pt).
func Load(r io.Reader, c Config) (*Engine, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("campplus: read weights: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("campplus: weights of more than %d bytes: not CAM++", maxFile)
	}
	f, err := torchfile.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("campplus: %w", err)
	}
	e := &Engine{bare: c.Bare, scratch: make(chan *scratch, runtime.GOMAXPROCS(0))}
	if err := e.network.load(f.Tensors); err != nil {
		return nil, fmt.Errorf("campplus: %w", err)
	}
	sum := sha256.Sum256(b)
	e.model = voiceprint.Model{ID: "campplus-zh-en-" + hex.EncodeToString(sum[:4]), Dim: Dim}
	if !e.bare {
		e.model.ID += fmt.Sprintf("-l%d-f%d", -level, floorBelow)
	}
	return e, nil
}

// Model names the weights by their hash, and level and noise floor:
// "campplus-zh-en-92f29b94-l26-f50".
func (e *Engine) Model() voiceprint.Model { return e.model }

// Embed implements voiceprint.Embedder. Its error is voiceprint.ErrTooShort for
// speech of less than Shortest, and another for what is no sound at all: silence to
// the last bit, or samples that are not finite.
func (e *Engine) Embed(samples []float32) (voiceprint.Embedding, error) {
	n := len(samples)
	if n < count(Shortest) {
		return nil, fmt.Errorf("campplus: %d samples, at least %d are needed: %w", n, count(Shortest), voiceprint.ErrTooShort)
	}
	power := rms(samples)
	if !(power > 0) || math.IsInf(power, 0) {
		return nil, errors.New("campplus: no sound: the samples are all zero, or not all finite")
	}
	gain, floor := 1., 0.
	if !e.bare {
		gain, floor = decibels(level)/power, decibels(level-floorBelow)
	}
	s := e.borrow()
	defer e.giveBack(s)
	parts := (n + count(Longest) - 1) / count(Longest)
	out := make(voiceprint.Embedding, Dim)
	s.noise.Seed(1, 1)
	for i := range parts {
		s.listen(samples[i*n/parts:(i+1)*n/parts], gain, floor)
		e.network.run(s)
		if !voiceprint.Unit(s.out[:]) {
			return nil, errors.New("campplus: the network has no answer to these samples")
		}
		for j, v := range s.out {
			out[j] += v
		}
	}
	if !voiceprint.Unit(out) {
		return nil, errors.New("campplus: stretches of these samples contradict each other")
	}
	return out, nil
}

func count(d time.Duration) int { return int(d * voiceprint.Rate / time.Second) }

func decibels(x float64) float64 { return math.Pow(10, x/20) }

func rms(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(x)))
}

func (e *Engine) borrow() *scratch {
	select {
	case s := <-e.scratch:
		return s
	default:
		return newScratch()
	}
}

// giveBack keeps s for the next call, unless there are enough of them or it has
// grown too large.
func (e *Engine) giveBack(s *scratch) {
	if len(s.features) > dsp.FilterbankFrames(count(kept))*dsp.FilterbankBands {
		return
	}
	select {
	case e.scratch <- s:
	default:
	}
}

// scratch is what one call works with.
type scratch struct {
	noise *rand.PCG
	bank  *dsp.Filterbank
	// sound is a stretch of samples, with the floor.
	sound []float32
	// features [frames][80] have no mean.
	features []float32
	frames   int
	head     head
	body     body
	out      [Dim]float32
}

func newScratch() *scratch {
	return &scratch{noise: rand.NewPCG(1, 1), bank: dsp.NewFilterbank(), head: newHead()}
}

// listen computes the features of samples times gain, and of white noise beneath.
func (s *scratch) listen(samples []float32, gain, floor float64) {
	s.sound = resize(s.sound, len(samples))
	for i, v := range samples {
		s.sound[i] = v * float32(gain)
	}
	if floor > 0 {
		r := rand.New(s.noise)
		for i := range s.sound {
			s.sound[i] += float32(floor * r.NormFloat64())
		}
	}
	const bands = dsp.FilterbankBands
	s.frames = dsp.FilterbankFrames(len(samples))
	s.features = resize(s.features, s.frames*bands)
	s.bank.Features(s.features, s.sound)
	var mean [bands]float64
	for t := range s.frames {
		for b, v := range s.features[t*bands:][:bands] {
			mean[b] += float64(v)
		}
	}
	for b := range mean {
		mean[b] /= float64(s.frames)
	}
	for t := range s.frames {
		row := s.features[t*bands:][:bands]
		for b, m := range mean {
			row[b] -= float32(m)
		}
	}
}

// resize returns a slice of n elements, x if it has room; what is in it is
// arbitrary.
func resize(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}
