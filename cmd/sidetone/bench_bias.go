package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/asr/whisper/model"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/cmd/sidetone/internal/benchbias"
	"sidetone/internal/models"
)

// benchBias is what `sidetone bench bias` was told.
type benchBias struct {
	clips   benchasr.Selection
	model   string
	weights []string
	asJSON  bool
}

func benchBiasCmd() *cobra.Command {
	var o benchBias
	c := &cobra.Command{
		Use:   "bias",
		Short: "Measure what naming rare words beforehand does",
		Long: `Bias takes the rare words of the clips' references, those that the model's
vocabulary does not have as a whole, and names all of them as phrases while every
clip is decoded, with several weights. It prints how many of them are recognised
where they were said, how many are invented where they were not, and the word
error rate.`,
		Example: "  sidetone bench bias --sets librispeech --conditions tel8k --weights 0,1,2,3,4",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	selectFlags(c, &o.clips)
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model")
	c.Flags().StringSliceVar(&o.weights, "weights", []string{"0", "1", "2", "3"}, "weights of the phrases, in nats for each token")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the rows as JSON")
	return c
}

func (o *benchBias) run(ctx context.Context, w io.Writer, store *models.Store) error {
	var weights []float32
	for _, s := range o.weights {
		v, err := strconv.ParseFloat(s, 32)
		if err != nil || v < 0 {
			return fmt.Errorf("bench bias: weight %q: want numbers of 0 or more", s)
		}
		weights = append(weights, float32(v))
	}
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	folder, err := store.FS(o.model)
	if err != nil {
		return err
	}
	m, err := model.Load(folder, model.LoadOptions{})
	if err != nil {
		return err
	}
	texts := make([]string, len(clips))
	for i := range clips {
		texts[i] = clips[i].Ref
	}
	phrases := benchbias.Rare(m, wer.New(), texts)
	bar := progressbar.NewOptions(len(clips)*len(weights), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(newMeter(os.Stderr).terminal), progressbar.OptionSetDescription("clips"),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	rows := make([]benchbias.Row, 0, len(weights))
	for i, weight := range weights {
		r, err := benchbias.Run(ctx, m, clips, phrases, weight, func(n int) {
			// The bar fails only when its writer does, and then nobody looks.
			_ = bar.Set(i*len(clips) + n)
		})
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	if o.asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	fmt.Fprintf(w, "%d clips, %d rare words named on each\n", len(clips), len(phrases))
	return benchbias.Table(w, rows)
}
