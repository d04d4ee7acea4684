package campplus

import (
	"fmt"
	"math"
	"slices"

	"sidetone/internal/nn"
	"sidetone/internal/tensor"
)

// The network, for T frames of features:
//
//	head: 3×3 convolutions over bands and time     -> [T][10][32]
//	five frames at once, every second frame        -> [U][128]
//	12 layers, each adds 32 channels to its input  -> [U][512]   -> [U][256]
//	24 layers, the same                            -> [U][1024]  -> [U][512]
//	16 layers, the same                            -> [U][1024]  -> [U][512]
//	mean and deviation over time                   -> [1024]     -> [192]
//
// A layer of the three blocks: normalise, rectify, 128 channels, normalise, rectify;
// of these, over three frames, 32 channels, each times a mask in (0, 1) of the
// context: the mean over all time and that over 100 frames, 128 -> 64 -> 32, rectified
// between, a sigmoid behind. Normalisations that follow a product are folded into it.
type network struct {
	head   headWeights
	tdnn   *nn.Linear // [128][5·320]
	blocks [3]block
	dense  *nn.Linear // [192][1024]
}

// block is dense layers and the transition behind them.
type block struct {
	in, dilation int
	layers       []layer
	before       norm
	transit      *nn.Linear
}

type layer struct {
	before norm
	narrow *nn.Linear // [128][in]
	// local is [32][3·128] where the frames lie side by side, else three of
	// [32][128].
	local         []*nn.Linear
	first, second *nn.Linear // [64][128], [32][64]
}

// norm is a batch normalisation, by channel.
type norm struct{ scale, shift []float32 }

const (
	tdnnTaps  = 5
	initial   = 128
	growth    = 32
	narrow    = 128
	maskInner = 64
	// widest is the most channels of a block.
	widest = 1024
	// pooled is the number of channels whose statistics are taken.
	pooled = 512
	// segment is the number of frames of the nearer context.
	segment = 100
	// epsilon is PyTorch's, in batch normalisation.
	epsilon = 1e-5
)

// loader hands out tensors and keeps the first error.
type loader struct {
	tensors map[string]tensor.Tensor
	err     error
}

func (l *loader) get(name string, shape ...int) []float32 {
	v, err := floats(l.tensors, name, shape)
	if err == nil {
		return v
	}
	if l.err == nil {
		l.err = err
	}
	n := 1
	for _, s := range shape {
		n *= s
	}
	return make([]float32, n)
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

func (l *loader) norm(name string, n int) norm {
	out := l.plainNorm(name, n)
	scale, shift := l.get(name+".weight", n), l.get(name+".bias", n)
	for i := range n {
		out.scale[i] *= scale[i]
		out.shift[i] = out.shift[i]*scale[i] + shift[i]
	}
	return out
}

// plainNorm has no weights of its own.
func (l *loader) plainNorm(name string, n int) norm {
	mean, variance := l.get(name+".running_mean", n), l.get(name+".running_var", n)
	out := norm{make([]float32, n), make([]float32, n)}
	for i := range n {
		if variance[i] < 0 && l.err == nil {
			l.err = fmt.Errorf("tensor %q: element %d is negative", name+".running_var", i)
		}
		out.scale[i] = float32(1 / math.Sqrt(float64(variance[i])+epsilon))
		out.shift[i] = -mean[i] * out.scale[i]
	}
	return out
}

// fold makes the normalisation of what w [len(scale)][…] yields a part of w.
func (n norm) fold(w []float32) {
	k := len(w) / len(n.scale)
	for i, s := range n.scale {
		for j := range k {
			w[i*k+j] *= s
		}
	}
}

// taps turns w [out][in][taps] into [out][taps][in].
func taps(w []float32, out, in, taps int) []float32 {
	t := make([]float32, len(w))
	for o := range out {
		for i := range in {
			for k := range taps {
				t[(o*taps+k)*in+i] = w[(o*in+i)*taps+k]
			}
		}
	}
	return t
}

func (n *network) load(tensors map[string]tensor.Tensor) error {
	l := &loader{tensors: tensors}
	n.head.load(l)

	const wide = headBands * channels
	w := taps(l.get("xvector.tdnn.linear.weight", initial, wide, tdnnTaps), initial, wide, tdnnTaps)
	// PyTorch has the bands of one channel side by side, the head the channels of
	// one band.
	t := make([]float32, len(w))
	for i := 0; i < len(w); i += wide {
		for c := range channels {
			for f := range headBands {
				t[i+f*channels+c] = w[i+c*headBands+f]
			}
		}
	}
	after := l.norm("xvector.tdnn.nonlinear.batchnorm", initial)
	after.fold(t)
	n.tdnn = nn.NewLinear(t, after.shift, initial, tdnnTaps*wide)

	in := initial
	for i, s := range []struct{ layers, dilation int }{{12, 1}, {24, 2}, {16, 2}} {
		b := &n.blocks[i]
		*b = block{in: in, dilation: s.dilation, layers: make([]layer, s.layers)}
		for j := range b.layers {
			b.layers[j].load(l, fmt.Sprintf("xvector.block%d.tdnnd%d.", i+1, j+1), in, s.dilation)
			in += growth
		}
		name := fmt.Sprintf("xvector.transit%d.", i+1)
		b.before = l.norm(name+"nonlinear.batchnorm", in)
		through, bias := l.get(name+"linear.weight", in/2, in, 1), []float32(nil)
		if i == len(n.blocks)-1 {
			after := l.norm("xvector.out_nonlinear.batchnorm", in/2)
			after.fold(through)
			bias = after.shift
		}
		b.transit = nn.NewLinear(through, bias, in/2, in)
		in /= 2
	}

	w = l.get("xvector.dense.linear.weight", Dim, 2*pooled, 1)
	last := l.plainNorm("xvector.dense.nonlinear.batchnorm", Dim)
	last.fold(w)
	n.dense = nn.NewLinear(w, last.shift, Dim, 2*pooled)
	return l.err
}

func (y *layer) load(l *loader, name string, in, dilation int) {
	y.before = l.norm(name+"nonlinear1.batchnorm", in)
	w := l.get(name+"linear1.weight", narrow, in, 1)
	after := l.norm(name+"nonlinear2.batchnorm", narrow)
	after.fold(w)
	y.narrow = nn.NewLinear(w, after.shift, narrow, in)

	name += "cam_layer."
	w = taps(l.get(name+"linear_local.weight", growth, narrow, 3), growth, narrow, 3)
	if dilation == 1 {
		y.local = []*nn.Linear{nn.NewLinear(w, nil, growth, 3*narrow)}
	} else {
		for k := range 3 {
			part := make([]float32, growth*narrow)
			for o := range growth {
				copy(part[o*narrow:(o+1)*narrow], w[(o*3+k)*narrow:])
			}
			y.local = append(y.local, nn.NewLinear(part, nil, growth, narrow))
		}
	}
	y.first = nn.NewLinear(l.get(name+"linear1.weight", maskInner, narrow, 1), l.get(name+"linear1.bias", maskInner), maskInner, narrow)
	y.second = nn.NewLinear(l.get(name+"linear2.weight", growth, maskInner, 1), l.get(name+"linear2.bias", growth), growth, maskInner)
}

// run embeds the features of s.
func (n *network) run(s *scratch) {
	b := &s.body
	b.start(s.frames)
	n.head.run(&s.head, b.heard[tdnnTaps/2*headBands*channels:], s.features, s.frames)
	const wide = headBands * channels
	n.tdnn.MulRows(b.x, stride, b.heard, 2*wide, b.frames)
	for t := range b.frames {
		nn.ReLU(b.row(t)[:initial])
	}
	for i := range n.blocks {
		n.blocks[i].run(b)
	}
	b.pool()
	n.dense.Mul(s.out[:], b.stats[:], 1)
}
