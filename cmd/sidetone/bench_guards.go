package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/cmd/sidetone/internal/benchguards"
	"sidetone/internal/models"
)

// benchGuards is what `sidetone bench guards` was told.
type benchGuards struct {
	kinds      []string
	minutes    float64
	seed       uint64
	recordings []string
	foreign    []string
	model      string
	maxPerHour float64
	asJSON     bool
	forced     bool
	examples   int
}

func benchGuardsCmd() *cobra.Command {
	var o benchGuards
	c := &cobra.Command{
		Use:   "guards",
		Short: "Count the words that the recogniser makes of audio without speech",
		Long: `Guards plays what telephones carry while nobody speaks to the recogniser, as a
leg of a call: noise, tones, digits, fax machines, knocks, breath, music. It
prints, for each kind, how much of it the detector takes for speech and how many
words an hour come of it: those of finals, and those that partials showed for a
moment (flashed).

--recordings adds the WAVE files of folders in which nobody speaks, such as hold
music; --foreign those of speech in other languages, of which the words are
counted but not called false.`,
		Example: `  sidetone bench guards
  sidetone bench guards --kinds music,coughs --minutes 10 --max-per-hour 5
  sidetone bench guards --recordings /usr/share/asterisk/moh`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	c.Flags().StringSliceVar(&o.kinds, "kinds", nil, "kinds of synthetic sounds; all when not given, \"none\" for none")
	c.Flags().Float64Var(&o.minutes, "minutes", 2, "minutes of each synthetic kind")
	c.Flags().Uint64Var(&o.seed, "seed", 1, "what the synthetic sounds' chance begins with")
	c.Flags().StringSliceVar(&o.recordings, "recordings", nil, "folders of WAVE files without speech")
	c.Flags().StringSliceVar(&o.foreign, "foreign", nil, "folders of WAVE files with speech in another language")
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model in CTranslate2 format")
	c.Flags().Float64Var(&o.maxPerHour, "max-per-hour", -1, "fail if a kind yields more false words an hour; negative: never")
	c.Flags().BoolVar(&o.forced, "forced", false, "do not ask the detector: take 3 s in every 6 for speech")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the rows as JSON")
	c.Flags().IntVar(&o.examples, "examples", 3, "how many false finals of each kind are printed")
	return c
}

func (o *benchGuards) sounds() ([]benchguards.Sound, error) {
	var all []benchguards.Sound
	if len(o.kinds) != 1 || o.kinds[0] != "none" {
		s, err := benchguards.Synthetic(o.kinds, o.seed, time.Duration(o.minutes*float64(time.Minute)))
		if err != nil {
			return nil, err
		}
		all = s
	}
	for _, f := range []struct {
		folders []string
		foreign bool
	}{{o.recordings, false}, {o.foreign, true}} {
		for _, folder := range f.folders {
			s, err := benchguards.Recordings(folder, f.foreign)
			if err != nil {
				return nil, err
			}
			all = append(all, s...)
		}
	}
	return all, nil
}

func (o *benchGuards) run(ctx context.Context, w io.Writer, store *models.Store) error {
	sounds, err := o.sounds()
	if err != nil {
		return fmt.Errorf("bench guards: %w", err)
	}
	folder, err := store.FS(o.model)
	if err != nil {
		return err
	}
	m, err := model.Load(folder, model.LoadOptions{})
	if err != nil {
		return err
	}
	path, err := store.Path("silero-vad", "silero_vad_16k.safetensors")
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := vad.Load(f)
	if err != nil {
		return err
	}
	e, err := whisper.New(m, whisper.Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	bar := progressbar.NewOptions(len(sounds), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(newMeter(os.Stderr).terminal), progressbar.OptionSetDescription("sounds"),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	rows, err := benchguards.Recogniser{Engine: e, VAD: v, Forced: o.forced}.Run(ctx, sounds, func(n int) {
		// The bar fails only when its writer does, and then nobody looks.
		_ = bar.Set(n)
	})
	if err != nil {
		return err
	}
	if err := o.print(w, rows); err != nil {
		return err
	}
	if o.maxPerHour < 0 {
		return nil
	}
	for i := range rows {
		if r := &rows[i]; !r.Foreign && r.WordsPerHour > o.maxPerHour {
			return fmt.Errorf("bench guards: %s yields %.1f words an hour, at most %.1f are allowed", r.Kind, r.WordsPerHour, o.maxPerHour)
		}
	}
	return nil
}

func (o *benchGuards) print(w io.Writer, rows []benchguards.Row) error {
	rows = append(rows, benchguards.Total(rows))
	if !o.asJSON {
		return benchguards.Table(w, rows, o.examples)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}
