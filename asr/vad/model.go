package vad

import (
	"fmt"
	"io"
	"math"
	"slices"

	"sidetone/internal/nn"
	"sidetone/internal/safetensors"
	"sidetone/internal/tensor"
)

// The network (Silero VAD v6, 16 kHz; github.com/snakers4/silero-vad):
//
//	64 samples before + 512 samples + 64 reflected = [640]
//	STFT as a convolution, 256 wide, step 128   -> [4][258] real, imaginary
//	magnitude                                   -> [4][129]
//	convolutions, 3 wide, ReLU: 129->128        -> [4][128]
//	                            128->64, step 2 -> [2][64]
//	                             64->64, step 2 -> [1][64]
//	                             64->128        -> [1][128]
//	LSTM cell                                   -> [128]
//	ReLU, 128->1, sigmoid                       -> probability
const (
	window  = 512
	context = 64
	padded  = context + window + context
	fft     = 256
	hop     = 128
	frames  = (padded-fft)/hop + 1
	bins    = fft/2 + 1
	hidden  = 128
	taps    = 3
)

// maxFile bounds what Load reads; the real file has 1.2 MB.
const maxFile = 16 << 20

// Model is the loaded network: immutable, shared by all detectors and safe for
// concurrent use.
type Model struct {
	stft                       *nn.Linear
	conv1, conv2, conv3, conv4 *nn.Linear
	lstm                       *nn.Linear
	out                        []float32
	outBias                    float32
}

// Load reads the 16 kHz model in safetensors form
// (silero_vad/data/silero_vad_16k.safetensors of the package silero-vad).
func Load(r io.Reader) (*Model, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("vad: read weights: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("vad: weights of more than %d bytes: not Silero's 16 kHz model", maxFile)
	}
	f, err := safetensors.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("vad: %w", err)
	}
	m, err := newModel(f)
	if err != nil {
		return nil, fmt.Errorf("vad: %w", err)
	}
	return m, nil
}

func newModel(f map[string]tensor.Tensor) (*Model, error) {
	var failed error
	get := func(name string, shape ...int) []float32 {
		v, err := floats(f, name, shape)
		if err != nil && failed == nil {
			failed = err
		}
		if err != nil {
			n := 1
			for _, s := range shape {
				n *= s
			}
			v = make([]float32, n)
		}
		return v
	}
	// from and to choose the taps that meet data rather than padding.
	conv := func(name string, out, in, from, to int) *nn.Linear {
		w := get(name+".weight", out, in, taps)
		bias := get(name+".bias", out)
		k := to - from
		t := make([]float32, out*k*in)
		for o := range out {
			for x := range k {
				for i := range in {
					t[(o*k+x)*in+i] = w[(o*in+i)*taps+from+x]
				}
			}
		}
		return nn.NewLinear(t, bias, out, k*in)
	}
	m := &Model{
		stft:  nn.NewLinear(get("stft_conv.weight", 2*bins, 1, fft), nil, 2*bins, fft),
		conv1: conv("conv1", 128, bins, 0, 3),
		conv2: conv("conv2", 64, 128, 0, 3),
		conv3: conv("conv3", 64, 64, 1, 3),
		conv4: conv("conv4", hidden, 64, 1, 2),
		out:   get("final_conv.weight", 1, hidden, 1),
	}
	m.outBias = get("final_conv.bias", 1)[0]

	ih, hh := get("lstm_cell.weight_ih", 4*hidden, hidden), get("lstm_cell.weight_hh", 4*hidden, hidden)
	bias, more := get("lstm_cell.bias_ih", 4*hidden), get("lstm_cell.bias_hh", 4*hidden)
	nn.Add(bias, more)
	both := make([]float32, 4*hidden*2*hidden)
	for o := range 4 * hidden {
		copy(both[o*2*hidden:], ih[o*hidden:(o+1)*hidden])
		copy(both[o*2*hidden+hidden:], hh[o*hidden:(o+1)*hidden])
	}
	m.lstm = nn.NewLinear(both, bias, 4*hidden, 2*hidden)
	if failed != nil {
		return nil, failed
	}
	return m, nil
}

// floats returns a copy of the named tensor, which must have this shape.
func floats(f map[string]tensor.Tensor, name string, shape []int) ([]float32, error) {
	t, ok := f[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("no tensor %q", name)
	case !slices.Equal(t.Shape, shape):
		return nil, fmt.Errorf("tensor %q: shape %v, want %v", name, t.Shape, shape)
	}
	out, err := t.Floats()
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	for i, v := range out {
		if v != v || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("tensor %q: element %d is %v", name, i, v)
		}
	}
	return out, nil
}

// network is one leg's memory and scratch.
type network struct {
	// x is the padded window; its head keeps the samples before the window.
	x [padded]float32
	// xh is the LSTM's input [0:128] and its last output [128:256]; c its cell.
	xh [2 * hidden]float32
	c  [hidden]float32

	cols  [frames * fft]float32
	spec  [frames * 2 * bins]float32
	mag   [(frames + 2) * bins]float32 // a row of zeros at both ends
	col1  [frames * taps * bins]float32
	h1    [(frames + 2) * 128]float32 // the same
	col2  [2 * taps * 128]float32
	h2    [2 * 64]float32
	h3    [64]float32
	gates [4 * hidden]float32
}

// reset forgets what was heard.
func (n *network) reset() {
	clear(n.x[:])
	clear(n.xh[:])
	clear(n.c[:])
}

// run returns the probability of speech in pcm [512], 16-bit samples.
func (m *Model) run(n *network, pcm *[window]int16) float32 {
	for i, v := range pcm {
		n.x[context+i] = float32(v) / 32768
	}
	for i := range context {
		n.x[context+window+i] = n.x[context+window-2-i]
	}

	for t := range frames {
		copy(n.cols[t*fft:(t+1)*fft], n.x[t*hop:])
	}
	m.stft.Mul(n.spec[:], n.cols[:], frames)
	for t := range frames {
		row := n.spec[t*2*bins : (t+1)*2*bins]
		mag := n.mag[(t+1)*bins : (t+2)*bins]
		for i := range mag {
			re, im := row[i], row[bins+i]
			mag[i] = float32(math.Sqrt(float64(re*re + im*im)))
		}
	}

	for t := range frames {
		copy(n.col1[t*taps*bins:(t+1)*taps*bins], n.mag[t*bins:])
	}
	m.conv1.Mul(n.h1[128:], n.col1[:], frames)
	relu(n.h1[128 : (frames+1)*128])
	for t := range 2 {
		copy(n.col2[t*taps*128:(t+1)*taps*128], n.h1[2*t*128:])
	}
	m.conv2.Mul(n.h2[:], n.col2[:], 2)
	relu(n.h2[:])
	m.conv3.Mul(n.h3[:], n.h2[:], 1)
	relu(n.h3[:])
	m.conv4.Mul(n.xh[:hidden], n.h3[:], 1)
	relu(n.xh[:hidden])

	m.lstm.Mul(n.gates[:], n.xh[:], 1)
	h := n.xh[hidden:]
	nn.LSTMGates(h, n.c[:], n.gates[:])
	s := m.outBias
	for i, v := range h {
		s += max(0, v) * m.out[i]
	}
	copy(n.x[:context], n.x[window:window+context])
	return sigmoid(s)
}

func relu(x []float32) {
	for i, v := range x {
		x[i] = max(0, v)
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
