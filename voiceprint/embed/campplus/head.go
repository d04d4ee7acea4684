package campplus

import (
	"fmt"

	"sidetone/internal/dsp"
	"sidetone/internal/nn"
)

const (
	// channels is the number of them in all of the head.
	channels = 32
	// headBands is the number of bands that the head leaves.
	headBands = 10
	// push is the number of frames that go through the head at once: what its
	// layers hold then stays in the second cache.
	push = 16
	// group is the number of frames that are computed at once.
	group = 4
)

// headWeights are those of the convolutions over bands and time.
type headWeights struct {
	// first is [32][3·3] over one channel.
	first  *nn.Linear
	blocks [4]residual
	last   conv
}

// conv is a convolution of three bands and three frames, every step-th band. Over
// time it is Winograd's: points are the transformed weights, each [32][3·32].
type conv struct {
	points [6]*nn.Linear
	step   int
}

// residual is two convolutions beside a way around them, which is a product
// [32][32] where the number of bands changes.
type residual struct {
	one, two conv
	around   *nn.Linear
}

func (w *headWeights) load(l *loader) {
	after := l.norm("head.bn1", channels)
	first := l.get("head.conv1.weight", channels, 1, 3, 3)
	after.fold(first)
	w.first = nn.NewLinear(first, after.shift, channels, 9)
	for i := range w.blocks {
		b, name := &w.blocks[i], fmt.Sprintf("head.layer%d.%d.", i/2+1, i%2)
		step := 2 - i%2
		b.one = l.conv(name+"conv1", l.norm(name+"bn1", channels), nil, step)
		var bias []float32
		if step == 2 {
			after := l.norm(name+"shortcut.1", channels)
			around := l.get(name+"shortcut.0.weight", channels, channels, 1, 1)
			after.fold(around)
			b.around, bias = nn.NewLinear(around, nil, channels, channels), after.shift
		}
		b.two = l.conv(name+"conv2", l.norm(name+"bn2", channels), bias, 1)
	}
	w.last = l.conv("head.conv2", l.norm("head.bn2", channels), nil, 2)
}

// conv takes w [32][32][bands][frames] apart by frames; more, which may be nil, is
// added to the bias.
func (l *loader) conv(name string, after norm, more []float32, step int) conv {
	w := l.get(name+".weight", channels, channels, 3, 3)
	after.fold(w)
	bias := after.shift
	if more != nil {
		nn.Add(bias, more)
	}
	// t is [frames][32][3·32].
	t := make([]float32, len(w))
	points := make([]float32, 2*len(w))
	for o := range channels {
		for i := range channels {
			for f := range 3 {
				for k := range 3 {
					t[((k*channels+o)*3+f)*channels+i] = w[((o*channels+i)*3+f)*3+k]
				}
			}
		}
	}
	nn.WinogradTaps(points, t)
	c := conv{step: step}
	for p := range c.points {
		const size = channels * 3 * channels
		var add []float32
		if p == 1 {
			add = bias
		}
		c.points[p] = nn.NewLinear(points[p*size:(p+1)*size], add, channels, 3*channels)
	}
	return c
}

// band is a stretch of time of what a layer has written: frames from … to-1, each
// [zeros, bands, zeros][32]. The frame of zeros before the first is frame -1.
type band struct {
	bands    int
	from, to int
	x        []float32
}

func newBand(bands int) band {
	// Two frames stay from push to push; at the end come those by which the last
	// block lags, two a block, and zeros behind them; and a group of four frames
	// may begin with the last.
	const most = 2 + push + 2*4 + 1 + group - 1
	return band{bands: bands, x: make([]float32, most*(bands+2)*channels)}
}

func (b *band) reset() {
	b.from, b.to = -1, 0
	clear(b.row(-1))
}

// row is all of frame t, zeros included.
func (b *band) row(t int) []float32 {
	n := (b.bands + 2) * channels
	return b.x[(t-b.from)*n:][:n]
}

// inner is frame t without the zeros.
func (b *band) inner(t int) []float32 { return b.row(t)[channels:][:b.bands*channels] }

// next is room for the group of frames from t on, which may reach beyond what
// there is.
func (b *band) next(t int) []float32 {
	n := (b.bands + 2) * channels
	return b.x[(t-b.from)*n+channels:][:group*n-2*channels]
}

// around is frames t-1 … t+group; those that are not there are zeros.
func (b *band) around(t int) []float32 {
	for u := b.to; u <= t+group; u++ {
		clear(b.row(u))
	}
	n := (b.bands + 2) * channels
	return b.x[(t-1-b.from)*n:][:(group+2)*n]
}

// end adds the frame of zeros behind the last.
func (b *band) end() {
	clear(b.row(b.to))
	b.to++
}

// drop forgets all but the last two frames, which the next push needs.
func (b *band) drop() {
	if keep := b.to - 2; keep > b.from {
		n := (b.bands + 2) * channels
		copy(b.x, b.x[(keep-b.from)*n:(b.to-b.from)*n])
		b.from = keep
	}
}

// head is what a run through the head works with.
type head struct {
	// in is what has come of the features: three frames of each band side by side.
	in [(dsp.FilterbankBands + 2) * 3]float32
	// first is what the first convolution has written, mid and out the residual
	// blocks.
	first    band
	mid, out [4]band
	// inputs and products are those of a group of frames, six of each; last is
	// what the last convolution has written.
	inputs   [6 * (dsp.FilterbankBands + 2) * channels]float32
	products [6 * dsp.FilterbankBands / 2 * channels]float32
	last     [group * headBands * channels]float32
}

func newHead() head {
	h := head{first: newBand(dsp.FilterbankBands)}
	for i := range h.mid {
		bands := dsp.FilterbankBands / 2
		if i >= 2 {
			bands /= 2
		}
		h.mid[i], h.out[i] = newBand(bands), newBand(bands)
	}
	return h
}

// run writes dst[frames][10][32] of features[frames][80].
func (w *headWeights) run(h *head, dst, features []float32, frames int) {
	clear(h.in[:])
	h.first.reset()
	for i := range h.mid {
		h.mid[i].reset()
		h.out[i].reset()
	}
	done := 0
	for t := 0; t < frames; t += push {
		end := min(t+push, frames)
		for u := t; u < end; u++ {
			w.begin(h, features, u, frames)
		}
		last := end == frames
		if last {
			h.first.end()
		}
		src := &h.first
		for i := range w.blocks {
			w.blocks[i].run(h, &h.out[i], &h.mid[i], src, last)
			src = &h.out[i]
		}
		for done < src.to-1 {
			const n = headBands * channels
			rows := min(group, src.to-1-done)
			w.last.run(h, h.last[:], n, src, done, headBands)
			nn.ReLU(h.last[:rows*n])
			copy(dst[done*n:], h.last[:rows*n])
			done += rows
		}
		h.first.drop()
		for i := range h.mid {
			h.mid[i].drop()
			h.out[i].drop()
		}
	}
}

// begin is the first convolution, for frame t.
func (w *headWeights) begin(h *head, features []float32, t, frames int) {
	const bands = dsp.FilterbankBands
	for k := range 3 {
		u := t + k - 1
		if u < 0 || u >= frames {
			for f := range bands {
				h.in[(f+1)*3+k] = 0
			}
			continue
		}
		for f, v := range features[u*bands:][:bands] {
			h.in[(f+1)*3+k] = v
		}
	}
	h.first.to++
	row := h.first.inner(t)
	w.first.MulRows(row, channels, h.in[:], 3, bands)
	nn.ReLU(row)
}

// run takes all that src has, by way of mid.
func (r *residual) run(h *head, dst, mid, src *band, last bool) {
	n := (mid.bands + 2) * channels
	for mid.to < src.to-1 {
		t := mid.to
		mid.to += min(group, src.to-1-t)
		r.one.run(h, mid.next(t), n, src, t, mid.bands)
		for ; t < mid.to; t++ {
			nn.ReLU(mid.inner(t))
		}
	}
	if last {
		mid.end()
	}
	for dst.to < mid.to-1 {
		t := dst.to
		dst.to += min(group, mid.to-1-t)
		r.two.run(h, dst.next(t), n, mid, t, dst.bands)
		for ; t < dst.to; t++ {
			row := dst.inner(t)
			if r.around == nil {
				nn.AddReLU(row, src.inner(t))
				continue
			}
			r.around.MulAddRows(row, channels, src.inner(t), 2*channels, dst.bands)
			nn.ReLU(row)
		}
	}
	if last {
		dst.end()
	}
}

// run computes a group of frames from t on, dst[group][ldd] of [bands][32].
func (c *conv) run(h *head, dst []float32, ldd int, src *band, t, bands int) {
	n, m := (src.bands+2)*channels, bands*channels
	nn.WinogradIn(h.inputs[:], n, src.around(t), n, n)
	for p, w := range c.points {
		w.MulRows(h.products[p*m:], channels, h.inputs[p*n:], c.step*channels, bands)
	}
	nn.WinogradOut(dst, ldd, h.products[:], m, m)
}
