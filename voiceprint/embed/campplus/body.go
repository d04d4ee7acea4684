package campplus

import (
	"math"

	"sidetone/internal/nn"
)

const (
	// stride is the distance of the frames in body.x. Powers of two make all of
	// them compete for the same lines of the cache.
	stride = widest + 16
	// strip is the number of frames that are normalised at once, so that they are
	// still in the second cache when they are multiplied.
	strip = 48
)

// body is what all behind the head works with.
type body struct {
	// heard [2 + T + 2][320] is what the head has written, zeros around it.
	heard []float32
	// x [frames][stride] has the channels of the block.
	x      []float32
	frames int
	normal [strip * widest]float32
	// low [edge + frames + edge][128] is a layer's narrow part, zeros around it.
	low []float32
	// sums [segments][128] are of low, masks [segments][32].
	sums, masks []float32
	inner       []float32
	stats       [2 * pooled]float32
}

// edge is the most frames of zeros before and behind those of a layer.
const edge = 2

// start makes room for so many frames of features.
func (b *body) start(frames int) {
	const wide, pad = headBands * channels, tdnnTaps / 2
	b.heard = resize(b.heard, (frames+2*pad)*wide)
	clear(b.heard[:pad*wide])
	clear(b.heard[(frames+pad)*wide:])
	b.frames = (frames-1)/2 + 1
	b.x = resize(b.x, b.frames*stride)
	b.low = resize(b.low, (b.frames+2*edge)*narrow)
	clear(b.low[:edge*narrow])
	clear(b.low[(b.frames+edge)*narrow:])
	n := b.segments()
	b.sums = resize(b.sums, n*narrow)
	b.inner = resize(b.inner, n*maskInner)
	b.masks = resize(b.masks, n*growth)
}

func (b *body) segments() int { return (b.frames + segment - 1) / segment }

func (b *body) row(t int) []float32 { return b.x[t*stride:][:widest] }

// multiply computes dst[frames][ldd] = w · max(0, normalised first channels of x);
// dst may be x itself.
func (b *body) multiply(dst []float32, ldd int, before norm, w *nn.Linear) {
	in := w.In()
	for t := 0; t < b.frames; t += strip {
		rows := min(strip, b.frames-t)
		for i := range rows {
			nn.ScaleReLU(b.normal[i*in:(i+1)*in], b.row(t + i)[:in], before.scale, before.shift)
		}
		w.MulRows(dst[t*ldd:], ldd, b.normal[:], in, rows)
	}
}

func (k *block) run(b *body) {
	in := k.in
	for i := range k.layers {
		k.layers[i].run(b, in, k.dilation)
		in += growth
	}
	b.multiply(b.x, stride, k.before, k.transit)
}

// run writes 32 channels from channel in on.
func (y *layer) run(b *body, in, dilation int) {
	low := b.low[edge*narrow:][:b.frames*narrow]
	b.multiply(low, narrow, y.before, y.narrow)
	nn.ReLU(low)

	dst, from := b.x[in:], (edge-dilation)*narrow
	y.local[0].MulRows(dst, stride, b.low[from:], narrow, b.frames)
	for i, w := range y.local[1:] {
		w.MulAddRows(dst, stride, b.low[from+(i+1)*dilation*narrow:], narrow, b.frames)
	}
	y.mask(b, low)
	for t := range b.frames {
		m := b.masks[t/segment*growth:][:growth]
		for i, v := range b.row(t)[in : in+growth] {
			b.x[t*stride+in+i] = v * m[i]
		}
	}
}

// mask computes the masks of the segments.
func (y *layer) mask(b *body, low []float32) {
	n := b.segments()
	var all [narrow]float32
	clear(b.sums)
	for g := range n {
		sum := b.sums[g*narrow:][:narrow]
		for t := g * segment; t < min((g+1)*segment, b.frames); t++ {
			nn.Add(sum, low[t*narrow:(t+1)*narrow])
		}
		nn.Add(all[:], sum)
	}
	for g := range n {
		here := 1 / float32(min(segment, b.frames-g*segment))
		for i, v := range all {
			b.sums[g*narrow+i] = b.sums[g*narrow+i]*here + v/float32(b.frames)
		}
	}
	y.first.Mul(b.inner, b.sums, n)
	nn.ReLU(b.inner)
	y.second.Mul(b.masks, b.inner, n)
	for i, v := range b.masks {
		b.masks[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

// pool takes mean and standard deviation of the rectified channels over time.
func (b *body) pool() {
	var mean, squares [pooled]float64
	for t := range b.frames {
		row := b.row(t)[:pooled]
		nn.ReLU(row)
		for i, v := range row {
			mean[i] += float64(v)
		}
	}
	for i := range mean {
		mean[i] /= float64(b.frames)
	}
	for t := range b.frames {
		for i, v := range b.row(t)[:pooled] {
			d := float64(v) - mean[i]
			squares[i] += d * d
		}
	}
	for i, m := range mean {
		b.stats[i] = float32(m)
		b.stats[pooled+i] = float32(math.Sqrt(squares[i] / float64(b.frames-1)))
	}
}
