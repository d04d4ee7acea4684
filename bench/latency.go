package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Decode is one measured decode. Times are seconds.
type Decode struct {
	// Wall is by the clock on the wall; all other times are the processor's,
	// which others on the machine disturb less.
	Wall, CPU float64
	// Tokens is the number of text tokens that were generated.
	Tokens int
	// Encode is the encoder's time where the engine tells it, else 0.
	Encode float64
	// First and FirstTokens are the time and the tokens of the same decode
	// stopped as early as the engine lets it be: after a token or two.
	First       float64
	FirstTokens int
}

// TokenTime is the time of one more token, in seconds; 0 where the text is too
// short to tell.
func (d *Decode) TokenTime() float64 {
	if n := d.Tokens - d.FirstTokens; n > 0 {
		return max(d.CPU-d.First, 0) / float64(n)
	}
	return 0
}

// Job is what was decoded: how much audio with how much context.
type Job struct {
	// Seconds is the nominal length of the audio.
	Seconds int
	// Fitted says that the context was fitted to the audio; else it is 30 s.
	Fitted bool
	// Frames is the mean number of encoder frames, 20 ms each.
	Frames float64
}

// Kind is the arithmetic by which engines are compared.
type Kind uint8

// The kinds of engines: those of 32- or 16-bit floats, those of 8-bit
// integers, and those that have but one arithmetic and are compared with both.
const (
	Float Kind = iota
	Int8
	Either
)

// LatencyRow sums up an engine's decodes of one job. Times are milliseconds
// and medians.
type LatencyRow struct {
	Engine string `json:"engine"`
	// Ours tells Sidetone from its peers.
	Ours    bool    `json:"ours"`
	Kind    Kind    `json:"kind"`
	Seconds int     `json:"seconds"`
	Fitted  bool    `json:"fitted"`
	Frames  float64 `json:"frames"`
	Decodes int     `json:"decodes"`
	// Tokens is the mean.
	Tokens float64 `json:"tokens"`
	// Wall is the whole decode by the clock, Low and High the middle half's
	// bounds, CPU the processor's time for it; what follows is the processor's.
	Wall float64 `json:"wall_ms"`
	Low  float64 `json:"wall_p25_ms"`
	High float64 `json:"wall_p75_ms"`
	CPU  float64 `json:"cpu_ms"`
	// First is the decode up to its first token or two, Token one more token.
	First float64 `json:"first_ms"`
	Token float64 `json:"token_ms"`
	// Encode is the encoder alone: as the engine tells it, else First less
	// FirstTokens times Token.
	Encode float64 `json:"encode_ms"`
}

// NewLatencyRow sums up decodes of one job by one engine.
func NewLatencyRow(engine string, ours bool, kind Kind, job Job, ds []Decode) LatencyRow {
	of := func(value func(d *Decode) float64) []float64 {
		v := make([]float64, 0, len(ds))
		for i := range ds {
			v = append(v, 1000*value(&ds[i]))
		}
		slices.Sort(v)
		return v
	}
	wall := of(func(d *Decode) float64 { return d.Wall })
	r := LatencyRow{
		Engine: engine, Ours: ours, Kind: kind, Seconds: job.Seconds, Fitted: job.Fitted, Frames: job.Frames, Decodes: len(ds),
		Wall: Quantile(wall, 0.5), Low: Quantile(wall, 0.25), High: Quantile(wall, 0.75),
		CPU:   Quantile(of(func(d *Decode) float64 { return d.CPU }), 0.5),
		First: Quantile(of(func(d *Decode) float64 { return d.First }), 0.5),
		Token: Quantile(of((*Decode).TokenTime), 0.5),
		Encode: Quantile(of(func(d *Decode) float64 {
			if d.Encode > 0 {
				return d.Encode
			}
			return max(d.First-float64(d.FirstTokens)*d.TokenTime(), 0)
		}), 0.5),
	}
	for _, d := range ds {
		r.Tokens += float64(d.Tokens) / float64(len(ds))
	}
	return r
}

// Crowded says how many times as long as the processor's time a decode took
// by the clock, in the median of rows: much more than 1 means that others had
// the core, too, and that times by the clock say little.
func Crowded(rows []LatencyRow) float64 {
	var v []float64
	for _, r := range rows {
		if r.CPU > 0 {
			v = append(v, r.Wall/r.CPU)
		}
	}
	slices.Sort(v)
	return Quantile(v, 0.5)
}

// job is the row's place among the jobs.
func (r *LatencyRow) job() Job { return Job{Seconds: r.Seconds, Fitted: r.Fitted} }

// LatencyTable prints rows for people, the engines of one job next to each
// other.
func LatencyTable(w io.Writer, rows []LatencyRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "audio s\tcontext s\tengine\tdecodes\ttokens\twall ms\tp25\tp75\tCPU ms\tencoder CPU ms\tCPU ms/token\t")
	for _, r := range byJob(rows) {
		fmt.Fprintf(t, "%d\t%.0f\t%s\t%d\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.2f\t\n",
			r.Seconds, r.Frames/framesPerSecond, r.Engine, r.Decodes, r.Tokens, r.Wall, r.Low, r.High, r.CPU, r.Encode, r.Token)
	}
	return t.Flush()
}

// framesPerSecond is Whisper's encoder frames.
const framesPerSecond = 50

// byJob puts the rows of one job together, in the jobs' first order.
func byJob(rows []LatencyRow) []LatencyRow {
	rank := map[Job]int{}
	for i := range rows {
		if j := rows[i].job(); rank[j] == 0 {
			rank[j] = len(rank) + 1
		}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b LatencyRow) int { return rank[a.job()] - rank[b.job()] })
	return rows
}

// Speedup says how many times as fast one of our engines is as the fastest
// peer of its kind at one job, by the medians of time on the wall and of the
// processor's; the fastest is the one by the latter.
type Speedup struct {
	Engine  string  `json:"engine"`
	Peer    string  `json:"peer"`
	Seconds int     `json:"seconds"`
	Fitted  bool    `json:"fitted"`
	Wall    float64 `json:"times_wall"`
	CPU     float64 `json:"times_cpu"`
}

// Speedups compares each of our rows with the fastest peer of its kind.
func Speedups(rows []LatencyRow) []Speedup {
	var out []Speedup
	for _, r := range byJob(rows) {
		if !r.Ours || r.Wall <= 0 || r.CPU <= 0 {
			continue
		}
		var best *LatencyRow
		for i := range rows {
			p := &rows[i]
			if p.Ours || p.job() != r.job() || p.Kind != r.Kind && p.Kind != Either {
				continue
			}
			if best == nil || p.CPU < best.CPU {
				best = p
			}
		}
		if best != nil {
			out = append(out, Speedup{Engine: r.Engine, Peer: best.Engine, Seconds: r.Seconds, Fitted: r.Fitted, Wall: best.Wall / r.Wall, CPU: best.CPU / r.CPU})
		}
	}
	return out
}

// SpeedupTable prints speed-ups for people.
func SpeedupTable(w io.Writer, ss []Speedup) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "audio s\tcontext\tengine\tcompared with\tby wall time\tby processor time\t")
	for _, s := range ss {
		context := "30 s"
		if s.Fitted {
			context = "fitted"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%.2f x\t%.2f x\t\n", s.Seconds, context, s.Engine, s.Peer, s.Wall, s.CPU)
	}
	return t.Flush()
}
