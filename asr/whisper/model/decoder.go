package model

import (
	"context"
	"math"

	"sidetone/internal/nn"
)

// memory is what the text decoder sees of the audio: by layer the keys and
// values of the cross attention, of n frames and of the silence after them.
type memory struct {
	n      int
	layers []*nn.KeyValues
	// weight is what a frame of silence counts more than another, as a logarithm.
	weight float32
}

// sequence is a text with the keys and values of its self attention, per layer
// [text][2·width], as far as it has been stepped through.
type sequence struct {
	mem *memory
	n   int
	kv  [][]float32
	// keep, if set, is given the cross attention's scores of the alignment
	// heads, of the token at pos.
	keep func(head, pos int, scores []float32)
}

func (m *Model) newSequence() *sequence {
	return &sequence{kv: make([][]float32, len(m.text))}
}

// sequenceBlock is by how many tokens a sequence's memory grows.
const sequenceBlock = 64

// room makes room for one token more.
func (s *sequence) room(width int) {
	if (s.n+1)*2*width <= len(s.kv[0]) {
		return
	}
	for i, kv := range s.kv {
		s.kv[i] = make([]float32, len(kv)+sequenceBlock*2*width)
		copy(s.kv[i], kv)
	}
}

// copyFrom makes s a copy of t.
func (s *sequence) copyFrom(t *sequence, width int) {
	s.mem, s.n = t.mem, t.n
	for i := range s.kv {
		if len(s.kv[i]) < len(t.kv[i]) {
			s.kv[i] = make([]float32, len(t.kv[i]))
		}
		copy(s.kv[i], t.kv[i][:t.n*2*width])
	}
}

// row is one token that a stepper takes: the next one of its sequence. Rows of
// one step may belong to different sequences, and these to different audio.
type row struct {
	seq   *sequence
	token int
}

// maxRows is the number of tokens that go through the decoder together.
const maxRows = 32

// stepper is the scratch of decoder steps of up to maxRows rows.
type stepper struct {
	m      *Model
	x      []float32 // [row][width]
	normed []float32 // [row][width]
	qkv    []float32 // [row][3·width]
	hidden []float32 // [row][feed-forward width]
	scores []float32 // [row][keys]
	logits []float32 // [row][vocabSize]
	before []int     // by row, the length of its sequence before it
	near   []int     // tokens that may be likely
}

func newStepper(m *Model) *stepper {
	wide := 0
	for i := range m.text {
		wide = max(wide, m.text[i].ffn.in.Out())
	}
	return &stepper{
		m:      m,
		x:      make([]float32, maxRows*m.width),
		normed: make([]float32, maxRows*m.width),
		qkv:    make([]float32, maxRows*3*m.width),
		hidden: make([]float32, maxRows*wide),
		scores: make([]float32, maxRows*max(m.audioCtx, m.textCtx)),
		before: make([]int, maxRows),
	}
}

// listen makes the cross attention's keys and values of encoded audio [n][width]
// and of the silence behind it, which may be nil.
func (d *Decoder) listen(done context.Context, mem *memory, audio []float32, n int, silence *Silence) error {
	m := d.m
	wide, all := 2*m.width, n+silence.count(n)
	if mem.layers == nil {
		for range m.text {
			mem.layers = append(mem.layers, nn.NewKeyValues(m.heads, m.width/m.heads, m.compute != Float32))
		}
	}
	mem.n = n
	if silence != nil {
		mem.weight = silence.weight
	}
	d.kv = grow(d.kv, all*wide)
	for i := range m.text {
		if err := done.Err(); err != nil {
			return err
		}
		m.text[i].cross.kv.Mul(d.kv, audio, n)
		if all > n {
			quiet, ld := silence.decoder(i, n)
			for k := range all - n {
				copy(d.kv[(n+k)*wide:(n+k+1)*wide], quiet[k*ld:])
			}
		}
		mem.layers[i].Fill(d.kv, wide, all, m.scale())
	}
	return nil
}

// scale is what attention multiplies its scores with.
func (m *Model) scale() float32 { return 1 / float32(math.Sqrt(float64(m.width/m.heads))) }

// step takes rows[:maxRows] through the decoder. Rows of one sequence follow
// one another in the order of the text, and rows of sequences with one memory
// are best kept together. The states for project stay in s.
func (s *stepper) step(rows []row) {
	m, d, n := s.m, s.m.width, len(rows)
	dh := d / m.heads
	scale := m.scale()
	for i, r := range rows {
		s.before[i] = r.seq.n
		x := s.x[i*d : (i+1)*d]
		m.embedding.Row(x, r.token)
		nn.Add(x, m.textPos[r.seq.n*d:(r.seq.n+1)*d])
		r.seq.room(d)
		r.seq.n++
	}
	for layer := range m.text {
		l := &m.text[layer]
		l.self.norm.apply(s.normed, s.x, n)
		l.self.in.Mul(s.qkv, s.normed, n)
		for i, r := range rows {
			copy(r.seq.kv[layer][s.before[i]*2*d:], s.qkv[i*3*d+d:(i+1)*3*d])
		}
		for i, r := range rows {
			kv := r.seq.kv[layer]
			for h := range m.heads {
				s.attend(s.normed[i*d+h*dh:], s.qkv[i*3*d+h*dh:], 3*d, kv[h*dh:], kv[d+h*dh:], 1, s.before[i]+1, scale)
			}
		}
		l.self.out.MulAdd(s.x, s.normed, n)

		l.cross.norm.apply(s.normed, s.x, n)
		l.cross.in.Mul(s.qkv, s.normed, n)
		for from := 0; from < n; {
			mem, to := rows[from].seq.mem, from+1
			for to < n && rows[to].seq.mem == mem {
				to++
			}
			for h := range m.heads {
				s.listen(rows, layer, h, from, to)
			}
			from = to
		}
		l.cross.out.MulAdd(s.x, s.normed, n)

		l.ffn.norm.apply(s.normed, s.x, n)
		l.ffn.in.Mul(s.hidden, s.normed, n)
		nn.GELU(s.hidden[:n*l.ffn.in.Out()])
		l.ffn.out.MulAdd(s.x, s.hidden, n)
	}
	m.textNorm.apply(s.normed, s.x, n)
}

// attend is one head's attention of m queries to n keys and values, which
// stand 2·width apart; the result's rows stand width apart.
func (s *stepper) attend(dst, q []float32, ldq int, k, v []float32, m, n int, scale float32) {
	d := s.m.width
	dh := d / s.m.heads
	nn.MatMulT(s.scores, n, q, ldq, k, 2*d, m, dh, n, scale)
	nn.SoftmaxRows(s.scores, n, m, n)
	nn.MatMul(dst, d, s.scores, n, v, 2*d, m, n, dh)
}

// listen is one head's cross attention for rows from to to-1, which have one
// memory.
func (s *stepper) listen(rows []row, layer, head, from, to int) {
	d := s.m.width
	dh := d / s.m.heads
	mem := rows[from].seq.mem
	heard := mem.layers[layer]
	n, wide, count := mem.n, heard.Len(), to-from
	heard.Scores(s.scores, wide, s.qkv[from*d+head*dh:], d, count, head)
	for a, at := range s.m.alignment {
		if at != [2]int{layer, head} {
			continue
		}
		for r := range count {
			if seq := rows[from+r].seq; seq.keep != nil {
				seq.keep(a, s.before[from+r], s.scores[r*wide:r*wide+n])
			}
		}
	}
	if wide > n {
		for r := range count {
			for i := r*wide + n; i < (r+1)*wide; i++ {
				s.scores[i] += mem.weight
			}
		}
	}
	nn.SoftmaxRows(s.scores, wide, count, wide)
	heard.Mix(s.normed[from*d+head*dh:], d, s.scores, wide, count, head)
}

// project returns the logits [n][vocabSize] of the first n rows of the last
// step; they are valid until the next call. Rough ones are exact at the top and
// where the model says that there is no speech.
func (s *stepper) project(n int, rough bool) []float32 {
	m := s.m
	s.logits = grow(s.logits, n*m.vocabSize)
	x := s.normed[:n*m.width]
	if !rough || m.rough == nil {
		m.embedding.Mul(s.logits, x, n)
		return s.logits
	}
	m.rough.Mul(s.logits, x, n)
	for r := range n {
		s.sharpen(s.logits[r*m.vocabSize:(r+1)*m.vocabSize], x[r*m.width:(r+1)*m.width])
	}
	return s.logits
}

// sharp is how far below the best logit, in nats, all are made exact. Rounded
// ones are a few tenths off.
const sharp = 4

func (s *stepper) sharpen(logits, x []float32) {
	m := s.m
	// What is near the best of those before is near the best of all, or is not
	// when that is known.
	s.near = s.near[:0]
	top, floor := logits[0], under(logits[0]-sharp)
	for id := above(logits, 0, floor); id < len(logits); id = above(logits, id+1, floor) {
		s.near = append(s.near, id)
		if v := logits[id]; v > top {
			top, floor = v, under(v-sharp)
		}
	}
	for _, id := range s.near {
		if logits[id] > floor {
			logits[id] = m.exact.Dot(x, id)
		}
	}
	logits[m.noSpeech] = m.exact.Dot(x, m.noSpeech)
}
