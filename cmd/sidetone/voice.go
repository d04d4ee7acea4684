package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sidetone/asr/vad"
	"sidetone/bench/voice"
	"sidetone/cmd/sidetone/internal/voicecal"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/models"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/embed/campplus"
	"sidetone/voiceprint/quality"
)

func voiceCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "voice",
		Short: "Who is enrolled by their voice, what they consented to; calibrate the verification",
	}
	c.AddCommand(voiceCalibrateCmd(), voiceTrainCmd())
	c.AddCommand(voicePeopleCmds()...)
	return c
}

// voiceTraining is what `sidetone voice train` and `calibrate` have in common.
type voiceTraining struct {
	out, cache, data string
	shrink, fall     float64
	folds, jobs      int
	looks            []time.Duration
	asJSON           bool
}

func (o *voiceTraining) flags(c *cobra.Command) {
	c.Flags().StringVarP(&o.out, "out", "o", "voice.json", "file that the parameters are written to")
	c.Flags().StringVar(&o.data, "data", "", "what the recordings are, in words that the file keeps; empty: their folder's name")
	c.Flags().Float64Var(&o.fall, "fall", backend.DefaultFall, "by which power the thresholds fall with the speech")
	c.Flags().Float64Var(&o.shrink, "shrink", 0.3, "share of the sphere in the covariance of the space")
	c.Flags().IntVar(&o.folds, "folds", 10, "parts of the speakers, of which two at a time are left out of training and measured on")
	c.Flags().IntVar(&o.jobs, "jobs", runtime.GOMAXPROCS(0), "recordings that are heard at once")
	c.Flags().DurationSliceVar(&o.looks, "looks", nil, "net speech at which calls are looked at; empty: as in a call, each half second from 2 s to 15 s")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the report as JSON")
}

func voiceTrainCmd() *cobra.Command {
	var o voiceTraining
	var root string
	var cohort bool
	c := &cobra.Command{
		Use:   "train",
		Short: "Make the parameters that the program brings along from the shared evaluation data",
		Long: `Train makes the space and the calibration that are compiled into the program
(voiceprint/backend/default.json) from the development half of the shared
evaluation data, and reports what they do on speakers left out of training.`,
		Example: "  sidetone voice train --cache /var/tmp/raw.emb -o voiceprint/backend/default.json",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			us, err := voicecal.Eval(filepath.Join(root, "voice"), cohort)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), models.Default(), us, nil)
		},
	}
	eval := os.Getenv("SIDETONE_EVAL")
	if eval == "" {
		eval = filepath.Join("..", "shared", "eval")
	}
	o.flags(c)
	c.Flags().Lookup("data").DefValue = "the shared evaluation data"
	o.data = "the development half of the shared evaluation data: read English, mostly of Mandarin speakers, simulated lines"
	c.Flags().StringVar(&root, "eval", eval, "folder of the evaluation data (SIDETONE_EVAL)")
	c.Flags().StringVar(&o.cache, "cache", "", "file that keeps raw embeddings for another run, not encrypted")
	c.Flags().BoolVar(&cohort, "cohort", false, "let the voices of the cohort count for the mean")
	return c
}

func voiceCalibrateCmd() *cobra.Command {
	var o voiceTraining
	var from string
	var space bool
	c := &cobra.Command{
		Use:   "calibrate FOLDER|CSV",
		Short: "Calibrate the verification of voices on your own calls",
		Long: `Calibrate estimates from your own recordings how much evidence a likeness of
voices is, and which threshold accepts which share of impostors, and reports FAR
and FRR by seconds of net speech and by whole sequential decisions, with intervals
of 95 % by speaker (ISO/IEC 19795-1). All figures are of speakers that were left
out of training.

Give a folder with a folder of WAV files for each speaker, or a CSV file with the
columns speaker and file, and line and channel (from 1) if you like. A channel holds
one speaker. Of recordings counts what a call would let count: pauses are cut out,
and those too noisy, clipped or with music in them are left out and counted. Needed are 20 speakers or more with two recordings
from different calls each, one of them with 20 s of speech; thresholds reach as
low as five impostors allow, so that 0.05 % takes about 50 speakers with two
recordings of 20 s. Get the speakers' consent: recordings stay on this machine, and
nothing of them but sums over all speakers is in the file that is written.

Templates stay valid. With --space the space is estimated too, from 40 speakers or
more: then all customers must be enrolled again, or their templates made anew from
kept enrolment audio.`,
		Example: `  sidetone voice calibrate calls/
  sidetone voice calibrate speakers.csv -o ours.json
  sidetone voice calibrate speakers.csv --space -o ours.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			us, err := voicecal.List(args[0])
			if err != nil {
				return err
			}
			if o.data == "" {
				o.data = "recordings of " + filepath.Base(filepath.Clean(args[0]))
			}
			var keep *backend.Params
			if !space {
				if keep, err = voiceParams(from); err != nil {
					return err
				}
			}
			if err := o.run(cmd.Context(), cmd.OutOrStdout(), models.Default(), us, keep); err != nil {
				return err
			}
			if space {
				fmt.Fprintln(cmd.OutOrStdout(), "The space is another one: templates made before cannot be compared in it. Enrol again, or make them anew from kept enrolment audio.")
			}
			return nil
		},
	}
	o.flags(c)
	c.Flags().StringVar(&from, "from", "", "file with the parameters whose space is kept; empty: those of the program")
	c.Flags().BoolVar(&space, "space", false, "estimate the space too; templates must be made anew")
	return c
}

// voiceParams reads parameters of voice verification; an empty name means those that
// the program brings along.
func voiceParams(name string) (*backend.Params, error) {
	if name == "" {
		return backend.Default()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := backend.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// rawVoice loads the network that voices are embedded with, without a space.
func rawVoice(store *models.Store) (voiceprint.Embedder, error) {
	path, err := store.Path("campplus-speaker", "campplus_cn_en_common.pt")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return campplus.Load(f, campplus.Config{})
}

func (o *voiceTraining) run(ctx context.Context, w io.Writer, store *models.Store, us []voicecal.Utterance, keep *backend.Params) error {
	raw, err := rawVoice(store)
	if err != nil {
		return err
	}
	h := voicecal.Hearing{Raw: raw}
	if slices.ContainsFunc(us, func(u voicecal.Utterance) bool { return !u.Whole }) {
		detector, err := loadVAD(store)
		if err != nil {
			return err
		}
		h.Net = func(samples []int16) (voicecal.Spoken, error) { return netSpeech(detector, samples) }
	}
	return o.train(ctx, w, h, us, keep)
}

// netSpeech is the speech of a recording as a call would have it, and what speaks
// against it.
func netSpeech(m *vad.Model, samples []int16) (voicecal.Spoken, error) {
	meter, err := quality.NewMeter()
	if err != nil {
		return voicecal.Spoken{}, err
	}
	speech, err := voices.Net(m, samples, meter.Add)
	if err != nil {
		return voicecal.Spoken{}, err
	}
	against := func(l quality.Limits) []voiceprint.Reason {
		// How much speech is enough the training knows.
		l.Net = 0
		return l.Reasons(meter.Quality())
	}
	rules := quality.DefaultRules()
	return voicecal.Spoken{Speech: speech, Enrolment: against(rules.Enrolment), Call: against(rules.Verification)}, nil
}

// unusable counts the recordings that are not good enough, by what for and why.
type unusable map[voicecal.Use]map[string]int

func (n *unusable) add(_ *voicecal.Utterance, as voicecal.Use, why []voiceprint.Reason) {
	if *n == nil {
		*n = unusable{}
	}
	if (*n)[as] == nil {
		(*n)[as] = map[string]int{}
	}
	(*n)[as][inWords(why)]++
}

// write says what was not used: the failures to enrol and to acquire.
func (n unusable) write(w io.Writer, all int) error {
	for _, as := range []voicecal.Use{voicecal.AsEnrolment, voicecal.AsCall} {
		sum, parts := 0, []string{}
		for _, why := range slices.Sorted(maps.Keys(n[as])) {
			sum += n[as][why]
			parts = append(parts, fmt.Sprintf("%s %d", why, n[as][why]))
		}
		if sum == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "Not good enough as %s: %d of %d recordings (%s)\n", as, sum, all, strings.Join(parts, "; ")); err != nil {
			return err
		}
	}
	return nil
}

// train hears the utterances as h does, estimates parameters, writes and reports them.
func (o *voiceTraining) train(ctx context.Context, w io.Writer, h voicecal.Hearing, us []voicecal.Utterance, keep *backend.Params) (err error) {
	h.Looks, h.Policy, h.Jobs, h.Progress = o.looks, voiceprint.DefaultPolicy(), o.jobs, progress(len(us), "recordings")
	if o.cache != "" {
		if h.Cache, err = voicecal.OpenCache(o.cache, h.Raw.Model()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Cache.Close()) }()
	}
	var unused unusable
	h.Refused = unused.add
	rs, err := h.Hear(ctx, us)
	if err != nil {
		return err
	}
	if !o.asJSON {
		if err = unused.write(w, len(us)); err != nil {
			return err
		}
	}
	show := func(int) {}
	p, paths, err := backend.Train(backend.Training{
		Of: h.Raw.Model(), Recordings: rs, Data: o.data, Date: time.Now().UTC().Format(time.DateOnly), Keep: keep,
		Shrink: o.shrink, Fall: o.fall, Folds: o.folds, Policy: h.Policy,
		Progress: func(done, all int) {
			if done == 0 {
				show = progress(all, "trainings")
			}
			show(done)
		},
	})
	if err != nil {
		return voicecal.Advise(err)
	}
	r, err := voicecal.Report(p, paths, us, o.folds, []time.Duration{3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second}, voice.Bootstrap{Rounds: 500, Seed: 1})
	if err != nil {
		return err
	}
	if err = writeFile(o.out, p.Write); err != nil {
		return err
	}
	if o.asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	if err = voice.Table(w, r); err != nil {
		return err
	}
	if err = voicecal.Thresholds(w, &p.Operating); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nWritten: %s\n", o.out)
	return err
}
