package benchpeer

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"sidetone/asr/whisper/model/ct2"
	"sidetone/bench"
	"sidetone/internal/nn"
)

// Limits is what the core can do at most, as far as this program gets it to.
type Limits struct {
	// Float and Int8 are the best matrix product at sizes that suit the caches,
	// in thousand millions of operations a second; a multiplication with its
	// addition counts as two. Int8 is 0 where bytes are not multiplied faster.
	Float float64 `json:"gemm_gflops"`
	Int8  float64 `json:"gemm_int8_gops,omitempty"`
	Reads []Read  `json:"reads"`
}

// Read is the speed at which memory is read again and again.
type Read struct {
	Megabytes int     `json:"megabytes"`
	Speed     float64 `json:"gb_per_s"`
}

// product is a weight matrix.
type product interface {
	Mul(dst, x []float32, rows int)
}

// Measure finds the limits, on the core that it runs on. It takes some seconds.
func Measure() Limits {
	var l Limits
	for _, size := range [][3]int{{168, 384, 384}, {336, 384, 1536}, {168, 768, 768}, {336, 512, 2048}} {
		rows, out, in := size[0], size[1], size[2]
		w, x, dst := noise(out*in), noise(rows*in), make([]float32, rows*out)
		work := 2 * float64(rows) * float64(out) * float64(in)
		speed := func(p product) float64 {
			return work / best(40, func() { p.Mul(dst, x, rows) }).Seconds() / 1e9
		}
		l.Float = max(l.Float, speed(nn.NewLinear(w, nil, out, in)))
		if nn.Int8Fast() {
			l.Int8 = max(l.Int8, speed(nn.NewInt8(w, nil, out, in)))
		}
	}
	for _, mb := range []int{1, 16, 80, 400} {
		// Half of it in each operand, in pieces that let the collector in.
		const piece = 1 << 14
		a, b := noise(mb<<17), noise(mb<<17)
		d := best(max(3, 1600/mb), func() {
			for at := 0; at < len(a); at += piece {
				nn.Dot(a[at:at+piece], b[at:at+piece])
			}
		})
		l.Reads = append(l.Reads, Read{mb, float64(mb<<20) / d.Seconds() / 1e9})
	}
	return l
}

// Best takes the better of each of two measurements, since others may have had
// the core meanwhile.
func (l Limits) Best(o Limits) Limits {
	out := Limits{Float: max(l.Float, o.Float), Int8: max(l.Int8, o.Int8)}
	for i, r := range l.Reads {
		out.Reads = append(out.Reads, Read{r.Megabytes, max(r.Speed, o.Reads[i].Speed)})
	}
	return out
}

// best is the shortest of n times, after one that does not count.
func best(n int, f func()) time.Duration {
	f()
	var out time.Duration
	for i := range n {
		begin := time.Now()
		f()
		if d := time.Since(begin); i == 0 || d < out {
			out = d
		}
	}
	return out
}

func noise(n int) []float32 {
	x := make([]float32, n)
	s := uint32(1)
	for i := range x {
		s = s*1664525 + 1013904223
		x[i] = float32(int32(s)) / (1 << 31)
	}
	return x
}

// reads is the speed at which so many bytes are read: the one measured at the
// size that is next to it.
func (l *Limits) reads(bytes float64) Read {
	best := l.Reads[0]
	for _, r := range l.Reads[1:] {
		if ratio(float64(r.Megabytes<<20), bytes) < ratio(float64(best.Megabytes<<20), bytes) {
			best = r
		}
	}
	return best
}

func ratio(a, b float64) float64 { return max(a/b, b/a) }

// Table prints the limits for people.
func (l *Limits) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "best product of matrices, float32\t%.0f\tGFLOP/s\t\n", l.Float)
	if l.Int8 > 0 {
		fmt.Fprintf(t, "best product of matrices, int8\t%.0f\tGOP/s\t\n", l.Int8)
	}
	for _, r := range l.Reads {
		fmt.Fprintf(t, "reading %d MB\t%.1f\tGB/s\t\n", r.Megabytes, r.Speed)
	}
	return t.Flush()
}

// ReadShape finds a network's shape in a CTranslate2 model.bin.
func ReadShape(file []byte) (bench.Shape, error) {
	f, err := ct2.Parse(file)
	if err != nil {
		return bench.Shape{}, err
	}
	var s bench.Shape
	size := func(name string, rank int) []int {
		if v, ok := f.Var(name); ok && len(v.Shape) == rank {
			return v.Shape
		}
		err = fmt.Errorf("no matrix %q: this is not a Whisper model", name)
		return make([]int, rank)
	}
	conv, embedding := size("encoder/conv1/weight", 3), size("decoder/embeddings/weight", 2)
	s.Width, s.Bands, s.Vocabulary = conv[0], conv[1], embedding[0]
	s.EncoderHidden = size("encoder/layer_0/ffn/linear_0/weight", 2)[0]
	s.DecoderHidden = size("decoder/layer_0/ffn/linear_0/weight", 2)[0]
	layers := func(side string) (n int) {
		for ; ; n++ {
			if _, ok := f.Var(fmt.Sprintf("%s/layer_%d/ffn/linear_0/weight", side, n)); !ok {
				return n
			}
		}
	}
	s.EncoderLayers, s.DecoderLayers = layers("encoder"), layers("decoder")
	return s, err
}

// Distance says how near one of our engines comes to the limits at one job.
type Distance struct {
	Engine  string `json:"engine"`
	Seconds int    `json:"seconds"`
	Fitted  bool   `json:"fitted"`
	// Encoder is what the encoder does, in thousand millions of operations a
	// second, and its share of the limit.
	Encoder      float64 `json:"encoder_gops"`
	EncoderShare float64 `json:"encoder_share"`
	// Decoder is what a token reads, in thousand million bytes a second, and its
	// share of the limit; Megabytes is how much that is.
	Decoder      float64 `json:"decoder_gb_per_s"`
	DecoderShare float64 `json:"decoder_share"`
	Megabytes    float64 `json:"decoder_mb"`
}

// Distances relates rows of our engines to the limits. weight is the bytes
// that an engine has for each weight of its decoder.
func Distances(rows []bench.LatencyRow, s bench.Shape, l Limits, weight func(engine string) float64) []Distance {
	var out []Distance
	for _, r := range rows {
		if !r.Ours || r.Encode <= 0 || r.Token <= 0 {
			continue
		}
		peak := l.Float
		if r.Kind == bench.Int8 && l.Int8 > 0 {
			peak = l.Int8
		}
		bytes := s.TokenBytes(r.Frames, weight(r.Engine))
		d := Distance{
			Engine: r.Engine, Seconds: r.Seconds, Fitted: r.Fitted,
			Encoder: s.EncoderFLOP(r.Frames) / r.Encode / 1e6, Decoder: bytes / r.Token / 1e6, Megabytes: bytes / 1e6,
		}
		d.EncoderShare, d.DecoderShare = d.Encoder/peak, d.Decoder/l.reads(bytes).Speed
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Distance) int {
		if a.Fitted != b.Fitted {
			return btoi(a.Fitted) - btoi(b.Fitted)
		}
		return a.Seconds - b.Seconds
	})
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// DistanceTable prints distances for people.
func DistanceTable(w io.Writer, ds []Distance) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "audio s\tcontext\tengine\tencoder GOP/s\tof the limit\ttoken reads MB\tGB/s\tof the limit\t")
	for _, d := range ds {
		context := "30 s"
		if d.Fitted {
			context = "fitted"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%.0f\t%.0f %%\t%.0f\t%.1f\t%.0f %%\t\n", d.Seconds, context, d.Engine,
			d.Encoder, 100*d.EncoderShare, d.Megabytes, d.Decoder, 100*d.DecoderShare)
	}
	return t.Flush()
}
