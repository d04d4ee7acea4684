package model

import (
	"context"
	"math"

	"sidetone/internal/nn"
)

// encoder is the scratch of one encoder run.
type encoder struct {
	m *Model
	// attend is for up to closeKeys keys, attendFar for more; they may be one.
	attend, attendFar *nn.Attention
	// Frames stand one after another, with a frame of zeros on either side, so
	// that the three frames under a convolution are one row.
	mel, conv []float32 // [2·ctx+2][mels], [2·ctx+2][width]
	x         []float32 // [ctx][width]
	normed    []float32 // [ctx][width]
	qkv       []float32 // [ctx+silence][3·width]
	hidden    []float32 // [block][4·width]
	// seen, if set, is given each layer's keys and values, rows [3·width] apart.
	seen func(kv []float32)
}

// block is the number of states that pass the feed-forward network at once, so
// that the wide states between its two matrices stay in the cache.
const block = 128

// frames returns the place for 2·ctx feature frames, cleared.
func (e *encoder) frames(ctx int) []float32 {
	n := e.m.mels
	e.mel = grow(e.mel, (2*ctx+2)*n)
	clear(e.mel)
	return e.mel[n : (2*ctx+1)*n]
}

// grow makes room for so many states and, with the silence behind them, so many
// keys.
func (e *encoder) grow(ctx, keys int) {
	d := e.m.width
	e.conv = grow(e.conv, (2*ctx+2)*d)
	e.x = grow(e.x, ctx*d)
	e.normed = grow(e.normed, ctx*d)
	e.qkv = grow(e.qkv, keys*3*d)
}

// run encodes the features in frames(ctx) to out[ctx][width], as if the silence
// went on behind them; it may be nil. It stops soon after done ends.
func (e *encoder) run(done context.Context, out []float32, ctx int, quiet *Silence) error {
	m, d := e.m, e.m.width
	e.grow(ctx, ctx+len(quiet.encoder(0, ctx))/(2*d))
	if e.attend == nil {
		e.attend, e.attendFar = m.compute.attention(m.audioCtx, d/m.heads)
	}

	inner := e.conv[d : (2*ctx+1)*d]
	m.conv1.MulRows(inner, d, e.mel, m.mels, 2*ctx)
	nn.GELU(inner)
	clear(e.conv[:d])
	clear(e.conv[(2*ctx+1)*d:])
	m.conv2.MulRows(e.x, d, e.conv, 2*d, ctx)
	nn.GELU(e.x)
	nn.Add(e.x, m.audioPos[:ctx*d])

	scale := 1 / float32(math.Sqrt(float64(d/m.heads)))
	for i := range m.audio {
		l := &m.audio[i]
		l.self.norm.apply(e.normed, e.x, ctx)
		l.self.in.Mul(e.qkv, e.normed, ctx)
		if e.seen != nil {
			e.seen(e.qkv[d:])
		}
		kv, ld, n := e.qkv[d:], 3*d, ctx
		if more := quiet.encoder(i, ctx); len(more) > 0 {
			e.join(ctx, more)
			n += len(more) / (2 * d)
		}
		attend := e.attend
		if n > closeKeys {
			attend = e.attendFar
		}
		for h := range m.heads {
			if err := done.Err(); err != nil {
				return err
			}
			at := h * d / m.heads
			attend.Attend(e.normed[at:], d, e.qkv[at:], 3*d, kv[at:], ld, kv[d+at:], ld,
				ctx, n, d/m.heads, scale)
		}
		l.self.out.MulAdd(e.x, e.normed, ctx)
		if err := e.forward(done, &l.ffn, ctx); err != nil {
			return err
		}
	}
	m.audioNorm.apply(out, e.x, ctx)
	return nil
}

// join puts more keys and values behind those of ctx states.
func (e *encoder) join(ctx int, more []float32) {
	d := e.m.width
	to := e.qkv[ctx*3*d:]
	for len(more) > 0 {
		copy(to[d:3*d], more[:2*d])
		to, more = to[3*d:], more[2*d:]
	}
}

func (e *encoder) forward(done context.Context, f *feedForward, ctx int) error {
	d, wide := e.m.width, f.in.Out()
	e.hidden = grow(e.hidden, block*wide)
	f.norm.apply(e.normed, e.x, ctx)
	for at := 0; at < ctx; at += block {
		if err := done.Err(); err != nil {
			return err
		}
		n := min(block, ctx-at)
		f.in.Mul(e.hidden, e.normed[at*d:], n)
		nn.GELU(e.hidden[:n*wide])
		f.out.MulAdd(e.x[at*d:], e.hidden, n)
	}
	return nil
}

// grow returns a slice of length n with whatever content, buf's memory if it
// suffices.
func grow(buf []float32, n int) []float32 {
	if cap(buf) < n {
		return make([]float32, n)
	}
	return buf[:n]
}
