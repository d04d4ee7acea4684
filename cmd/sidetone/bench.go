package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/bench"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/models"
)

func benchCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure recognition and verification on the evaluation data",
	}
	c.AddCommand(benchASRCmd(), benchBiasCmd(), benchGuardsCmd(), benchLossCmd(), benchWERCmd())
	c.AddCommand(benchCompareCmd(), benchLatencyCmd(), benchWordsCmd(), benchStreamsCmd(), benchServeCmd(), benchLoadCmd(), benchVoiceCmd())
	return c
}

// selectFlags adds the flags that choose clips.
func selectFlags(c *cobra.Command, s *benchasr.Selection) {
	root := os.Getenv("SIDETONE_EVAL")
	if root == "" {
		root = filepath.Join("..", "shared", "eval")
	}
	c.Flags().StringVar(&s.Root, "eval", root, "folder of the evaluation data (SIDETONE_EVAL)")
	c.Flags().StringSliceVar(&s.Sets, "sets", []string{"asterisk", "librispeech", "other"}, "sets of clips; calls is one for --mode stream")
	c.Flags().StringSliceVar(&s.Conditions, "conditions", []string{"wav16", "tel8k", "tel8k_noise10", "tel8k_loss3"}, "conditions of the clips")
	c.Flags().IntVar(&s.Limit, "limit", 0, "at most this many clips of each set in each condition")
}

// benchASR is what `sidetone bench asr` was told.
type benchASR struct {
	clips        benchasr.Selection
	mode, model  string
	second       string
	always       bool
	partials     time.Duration
	compute      string
	asJSON       bool
	write        string
	baseline     string
	saveBaseline string
}

func benchASRCmd() *cobra.Command {
	var o benchASR
	c := &cobra.Command{
		Use:   "asr",
		Short: "Measure the word error rate and the processor time of the recogniser",
		Long: `Asr has the recogniser hear every clip of the evaluation data and prints, for
each set in each condition, the word error rate and the real-time factor: the
seconds of processor time spent on a second of audio.

Mode whole decodes a clip in one piece, greedily and without guards. Mode careful
decodes it as finals are decoded, with a beam over a context that fits, and what
is in doubt once more by the model that --second names. Mode stream hears it as a
leg of a call: frame by frame, cut at silence, with partials; it also prints how
many seconds of audio after its end a word could no longer change.

With --baseline it fails if a word error rate is worse than the file's by more
than the file's threshold, or is not in the file.`,
		Example: `  sidetone bench asr
  sidetone bench asr --mode stream --sets calls
  sidetone bench asr --mode careful --second whisper-base
  sidetone bench asr --sets librispeech --conditions tel8k --limit 10
  sidetone bench asr --baseline bench/testdata/asr-baseline.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	selectFlags(c, &o.clips)
	c.Flags().StringVar(&o.mode, "mode", "whole", "whole, careful or stream")
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model")
	c.Flags().StringVar(&o.second, "second", "", "model that modes careful and stream ask for a second opinion, if any")
	c.Flags().BoolVar(&o.always, "second-always", false, "in mode stream, the second model makes every final")
	c.Flags().DurationVar(&o.partials, "partial-every", 0, "in mode stream, time between two partials; 0 is the engine's own, -1s none")
	c.Flags().StringVar(&o.compute, "compute", "default", "numbers that the model computes in: default, float32 or int8")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the rows as JSON")
	c.Flags().StringVar(&o.write, "write", "", "write every clip's transcript to this file, for bench wer")
	c.Flags().StringVar(&o.baseline, "baseline", "", "fail if worse than this file")
	c.Flags().StringVar(&o.saveBaseline, "save-baseline", "", "put what is measured into this file, which is made if it is not there")
	return c
}

func (o *benchASR) run(ctx context.Context, w io.Writer, store *models.Store) error {
	// Everything that may be wrong with the request is found before the work.
	var base *bench.Baseline
	if o.baseline != "" {
		var err error
		if base, err = readBaseline(o.baseline); err != nil {
			return err
		}
	}
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	r, end, err := o.recogniser(ctx, store)
	if err != nil {
		return err
	}
	defer end()
	mode := o.mode
	if o.second != "" {
		mode += " " + o.second
	}
	if o.always {
		mode += " always"
	}
	engine := benchName(o.model, mode, o.compute)
	us, err := benchasr.Run(ctx, engine, r, clips, progress(len(clips), "clips"))
	if err != nil {
		return err
	}
	if o.write != "" {
		if err := writeFile(o.write, func(f io.Writer) error { return bench.WriteUtterances(f, us) }); err != nil {
			return err
		}
	}
	rows := bench.Tally(us, wer.New())
	if err := printRows(w, rows, o.asJSON); err != nil {
		return err
	}
	if o.saveBaseline != "" {
		if err := saveBaseline(o.saveBaseline, rows); err != nil {
			return err
		}
	}
	if base != nil {
		return base.Compare(rows)
	}
	return nil
}

// recogniser loads what the mode needs; end gives it back.
func (o *benchASR) recogniser(ctx context.Context, store *models.Store) (r benchasr.Recogniser, end func(), err error) {
	if o.mode != "whole" && o.mode != "careful" && o.mode != "stream" {
		return nil, nil, fmt.Errorf("bench asr: mode %q: want whole, careful or stream", o.mode)
	}
	if o.second != "" && o.mode == "whole" {
		return nil, nil, fmt.Errorf("bench asr: --second %s: mode whole asks no second model", o.second)
	}
	m, err := loadModel(store, o.model, o.compute)
	if err != nil {
		return nil, nil, err
	}
	var second *model.Model
	if o.second != "" {
		if second, err = loadModel(store, o.second, o.compute); err != nil {
			return nil, nil, err
		}
	}
	switch o.mode {
	case "whole":
		return benchasr.NewWhole(m), func() {}, nil
	case "careful":
		r, err = benchasr.NewCareful(ctx, m, second)
		return r, func() {}, err
	}
	v, err := loadVAD(store)
	if err != nil {
		return nil, nil, err
	}
	s, err := benchasr.NewStream(m, v, whisper.Config{Finals: second, FinalsAlways: o.always, PartialEvery: o.partials})
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}

func loadModel(store *models.Store, name, compute string) (*model.Model, error) {
	c, err := model.ParseCompute(compute)
	if err != nil {
		return nil, err
	}
	folder, err := store.FS(name)
	if err != nil {
		return nil, err
	}
	return model.Load(folder, model.LoadOptions{Compute: c})
}

func loadVAD(store *models.Store) (*vad.Model, error) {
	path, err := store.Path("silero-vad", "silero_vad_16k.safetensors")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return vad.Load(f)
}

// benchWERCmd scores transcripts, of other recognisers too.
func benchWERCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "wer FILE...",
		Short:   "Score files that bench asr --write or bench/peers wrote, side by side",
		Example: "  sidetone bench wer ours.tsv peers.tsv",
		Hidden:  true,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var all []bench.Utterance
			for _, name := range files {
				f, err := os.Open(name)
				if err != nil {
					return err
				}
				us, err := bench.ReadUtterances(f)
				f.Close()
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				all = append(all, us...)
			}
			return printRows(cmd.OutOrStdout(), bench.Tally(all, wer.New()), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the rows as JSON")
	return c
}

func printRows(w io.Writer, rows []bench.Row, asJSON bool) error {
	if !asJSON {
		return bench.Table(w, rows)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

func readBaseline(name string) (*bench.Baseline, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := bench.ReadBaseline(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func saveBaseline(name string, rows []bench.Row) error {
	b, err := readBaseline(name)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = &bench.Baseline{Threshold: 0.3}, nil
	}
	if err != nil {
		return err
	}
	b.Set(rows)
	return writeFile(name, b.Write)
}

// writeFile writes a file and does not lose the error of closing it.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
