// Package benchbias measures what a list of phrases does to recognition: how
// many more of its words are heard where they were said, and how many are
// invented where they were not.
package benchbias

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"sidetone/asr/whisper/model"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/pcm"
)

// minLetters is the length from which a word may be rare.
const minLetters = 5

// Rare returns the rare words of texts, sorted: those of five letters and more
// that the model's vocabulary does not have as a whole.
func Rare(m *model.Model, n *wer.Normaliser, texts []string) []string {
	var out []string
	for _, t := range texts {
		for _, w := range n.Words(t) {
			if len(w) >= minLetters && len(m.Encode(" "+w)) > 1 {
				out = append(out, w)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Row is what came of one weight.
type Row struct {
	// Weight is in nats for each token; 0 is without phrases.
	Weight float32 `json:"weight"`
	// Said counts the rare words in the references, Heard those of them that
	// were recognised, Invented those that were not said.
	Said     int `json:"said"`
	Heard    int `json:"heard"`
	Invented int `json:"invented"`
	// Errors and Words make the word error rate.
	Errors int `json:"errors"`
	Words  int `json:"words"`
}

// Run decodes the clips as finals are decoded, with all phrases on every clip.
func Run(ctx context.Context, m *model.Model, clips []benchasr.Clip, phrases []string, weight float32, done func(n int)) (Row, error) {
	d, n := m.NewDecoder(), wer.New()
	quiet, err := d.NewSilence(ctx)
	if err != nil {
		return Row{}, err
	}
	var bias *model.Bias
	if weight > 0 {
		list := make([]model.Phrase, len(phrases))
		for i, p := range phrases {
			list[i] = model.Phrase{Text: p, Weight: weight}
		}
		bias = m.NewBias(list)
	}
	row := Row{Weight: weight}
	for i := range clips {
		x, err := clips[i].Samples()
		if err != nil {
			return row, err
		}
		f := make([]float32, len(x))
		for k, v := range x {
			f[k] = float32(v) / 32768
		}
		o := model.Options{Beam: beam, Bias: bias, Silence: quiet, Context: min((len(x)+pad)/model.FrameSamples, full)}
		r, err := d.Decode(ctx, f, o)
		if err != nil {
			return row, fmt.Errorf("%s: %w", clips[i].Name, err)
		}
		row.count(n.Words(clips[i].Ref), n.Words(r.Text), phrases)
		c := n.Score(clips[i].Ref, r.Text)
		row.Errors += c.Sub + c.Ins + c.Del
		row.Words += c.Words
		done(i + 1)
	}
	return row, nil
}

// What a stream's finals are decoded with.
const (
	beam = 5
	pad  = pcm.Rate / 2
	full = 1500
)

// count compares how often each phrase stands in ref and in hyp.
func (r *Row) count(ref, hyp, phrases []string) {
	times := func(words []string, w string) (n int) {
		for _, v := range words {
			if v == w {
				n++
			}
		}
		return n
	}
	for _, p := range phrases {
		said, heard := times(ref, p), times(hyp, p)
		r.Said += said
		r.Heard += min(said, heard)
		r.Invented += max(heard-said, 0)
	}
}

// Table writes rows for reading.
func Table(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "weight\tsaid\theard\trecall %\tinvented\tWER %\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%.1f\t%d\t%d\t%.1f\t%d\t%.2f\t\n", r.Weight, r.Said, r.Heard, percent(r.Heard, r.Said), r.Invented, percent(r.Errors, r.Words))
	}
	return t.Flush()
}

func percent(a, b int) float64 { return 100 * float64(a) / float64(max(b, 1)) }
