package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	voicestore "sidetone/voiceprint/store"
)

func voiceRekeyCmd() *cobra.Command {
	v := &voiceVerb{}
	var transform, prepare, yes bool
	c := v.command(&cobra.Command{
		Use:   "rekey",
		Short: "Seal everything again under the newest keys",
		Long: `Seals what is kept of voices under the newest key of the keyring (after
"sidetone keys rotate"), so that older keys can go. It can be stopped and called
again, while servers run.

Templates are turned by a key of their own, in voice.key, so that who has stolen
some cannot use them. With --transform they are turned by a new one: do so when
templates and voice.key may have been stolen, for the stolen ones are worth nothing
against the new ones. Where several servers use one database this takes three steps:

  1. sidetone voice rekey --transform --prepare   adds the new key to voice.key here
  2. copy keys/voice.key to all other servers, and to the backup of the keys
  3. sidetone voice rekey                         takes it into use

A server that lacks the new key compares no voice and enrols nobody until it has the
file. With one server, --transform --yes does all in one step.`,
		Example: `  sidetone keys rotate && sidetone voice rekey
  sidetone voice rekey --transform --prepare
  sidetone voice rekey --transform --yes`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, _ []string) error {
		out := c.OutOrStdout()
		switch {
		case prepare && !transform:
			return errors.New("--prepare belongs to --transform")
		case transform && prepare == yes:
			return errors.New("with several servers give --transform --prepare, copy voice.key to all, then call rekey alone; with one server give --transform --yes")
		case transform:
			n, err := s.NewTransformKey(ctx, by)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "voice.key has key %d for transforms\n", n)
		}
		if prepare {
			_, err := fmt.Fprintln(out, "Copy the file to all servers and to the backup of the keys, then: sidetone voice rekey")
			return err
		}
		var show func(int)
		n, err := s.Rekey(ctx, by, func(done, total int) {
			if show == nil {
				show = progress(total, "rows")
			}
			show(done)
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%d rows are sealed anew\n", n)
		if err == nil && transform {
			_, err = fmt.Fprintln(out, "Back up voice.key again: older backups of it do not open these templates. Backups of the database from before hold the old ones")
		}
		return err
	})
	f := c.Flags()
	f.BoolVar(&transform, "transform", false, "turn the templates by a new key, too")
	f.BoolVar(&prepare, "prepare", false, "with --transform: only add the key to voice.key, to be copied to all servers")
	f.BoolVar(&yes, "yes", false, "with --transform: no other server uses this database")
	return c
}

func voiceReembedCmd() *cobra.Command {
	v := &voiceVerb{}
	var drop bool
	c := v.kept(&cobra.Command{
		Use:   "reembed",
		Short: "Make templates for the configured model of the enrolment speech that was kept",
		Long: `After a change of the model, or of parameters with another space
("sidetone voice calibrate --space"), templates made before cannot be compared.
This makes them anew from the enrolment speech, where voice.keep_audio had it kept,
and says who must be enrolled again because there is none. Templates of the other
model stay, so that you can go back, until it is called with --drop-others.

It can be stopped and called again, beside running servers; these take the new
parameters when they are started again.`,
		Example: `  sidetone voice reembed -c sidetone.yaml
  sidetone voice reembed -c sidetone.yaml --drop-others`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, k *openVoices, _ []string) error {
		engine, err := k.Engine(&k.cfg)
		if err != nil {
			return err
		}
		stats, err := k.Store.Stats(ctx)
		if err != nil {
			return err
		}
		model, all := engine.Embedder.Model().ID, 0
		for name, n := range stats.Templates {
			if name != model {
				all += int(n)
			}
		}
		var show func(int)
		done, err := k.Store.Reembed(ctx, k.by, engine.Embedder, func(done int) {
			if show == nil {
				show = progress(max(all, done), "templates")
			}
			show(min(done, max(all, done)))
		})
		out := c.OutOrStdout()
		fmt.Fprintf(out, "%d templates are made for %s\n", done.Made, model)
		for _, who := range done.Again {
			fmt.Fprintf(out, "%s must be enrolled again: no speech is kept that this model can use\n", who)
		}
		if err != nil {
			return err
		}
		if err = tellWatched(ctx, out, k, model); err != nil || !drop {
			return err
		}
		n, err := k.Store.DropModels(ctx, k.by, model)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%d templates of other models are deleted, with all their versions\n", n)
		return err
	})
	c.Flags().BoolVar(&drop, "drop-others", false, "then delete the templates of all other models: there is no way back")
	return c
}

// tellWatched says which voices of the watch list another model made: they are looked
// for no more, and of them no speech is kept.
func tellWatched(ctx context.Context, out io.Writer, k *openVoices, model string) error {
	after := ""
	for {
		entries, err := k.Store.Watch().Entries(ctx, k.by, after, 0, false)
		if err != nil || len(entries) == 0 {
			return err
		}
		for i := range entries {
			after = entries[i].ID
			if entries[i].Model != model {
				fmt.Fprintf(out, "%s of the watch list is of another model and cannot be looked for: add it again, and remove this one\n", after)
			}
		}
	}
}

func voiceTombstonesCmd() *cobra.Command {
	v := &voiceVerb{}
	var out string
	c := v.kept(&cobra.Command{
		Use:   "tombstones -o FILE",
		Short: "Write down who has opted out or was erased, for the day a backup is restored",
		Long: `Brings a file up to date that says who has opted out, who was erased and what was
taken off the watch list; "sidetone voice bury" applies it to a database that is
older. Persons are named by pseudonyms, which say nothing to who lacks voice.key.
What the file has stays in it.

"sidetone backup" writes such a file beside the backups by itself, and a running
server each ten minutes one in the folder of the keys. Call this where the database
is backed up by other means, such as pg_dump.`,
		Example: "  sidetone voice tombstones -c sidetone.yaml -o /backups/tombstones.json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, k *openVoices, _ []string) error {
		t, err := k.Tombstones(ctx)
		if err != nil {
			return err
		}
		if err = app.KeepTombstones(out, t); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %d of this database are in it\n", out, len(t.Stones))
		return err
	})
	c.Flags().StringVarP(&out, "out", "o", "", "`file` to bring up to date")
	need(c, "out")
	return c
}

func voiceBuryCmd() *cobra.Command {
	v := &voiceVerb{}
	return v.kept(&cobra.Command{
		Use:   "bury FILE",
		Short: "See that a database that was restored brings nobody back",
		Long: `Applies what "sidetone voice tombstones" or "sidetone backup" has written: who
opted out or was erased since the database's backup was made is so again, before
anybody calls. Who has consented anew since then stays.`,
		Example: "  sidetone voice bury -c sidetone.yaml /backups/tombstones.json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, k *openVoices, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		t, err := app.ReadTombstones(f)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		n, err := k.Bury(ctx, k.by, t)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%d persons or voices of the watch list are gone again\n", n)
		return err
	})
}
