package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

func voiceWatchCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch",
		Short: "The voices that are looked for in all calls, and the calls in which one seemed to be heard",
		Long: `A voice on the watch list is looked for in every call, whoever the caller says to
be. Hits are told to security alone and never end a call: somebody listens and
judges. Each voice has a reason, a legal basis, a date by which somebody looks
whether it must stay, and one on which it goes by itself. Who reads or changes the
list, or judges a hit, stands in the audit log.`,
	}
	c.AddCommand(voiceWatchAddCmd(), voiceWatchListCmd(), voiceWatchExtendCmd(), voiceWatchRemoveCmd(), voiceWatchHitsCmd(), voiceWatchJudgeCmd())
	return c
}

// watchDates are the dates of an entry.
type watchDates struct{ review, expires dayFlag }

func (d *watchDates) flags(c *cobra.Command) {
	c.Flags().Var(&d.review, "review", "by when somebody looks whether it must stay, such as 2026-06-01")
	c.Flags().Var(&d.expires, "expires", "when it goes by itself")
	need(c, "review", "expires")
}

// need makes flags required.
func need(c *cobra.Command, names ...string) {
	for _, name := range names {
		// It fails only for a flag that is not there.
		_ = c.MarkFlagRequired(name)
	}
}

// check says what is wrong with the dates before anything is heard.
func (d *watchDates) check(now time.Time) error {
	switch {
	case !d.review.After(now):
		return fmt.Errorf("--review %s is over: name a date to come", d.review.Format(time.DateOnly))
	case !d.expires.After(now):
		return fmt.Errorf("--expires %s is over: name a date to come", d.expires.Format(time.DateOnly))
	case d.review.After(d.expires.Time):
		return fmt.Errorf("--review %s comes after --expires %s: nobody would look at it", d.review.Format(time.DateOnly), d.expires.Format(time.DateOnly))
	}
	return nil
}

func voiceWatchAddCmd() *cobra.Command {
	v := &voiceVerb{}
	var e watchlist.Entry
	var dates watchDates
	var customer string
	var channel int
	c := v.kept(&cobra.Command{
		Use:   "add FILE.wav ...",
		Short: "Look for a voice from now on",
		Long: `Puts the voice that speaks in WAV files on the watch list: 20 s of speech or more
without the pauses. Files that are too noisy, clipped or hold two voices are not
used, as when a customer is enrolled. Cut what the agent says, or name the channel
of the caller.

Name --customer if it is known whose voice it is: erasing that customer with
"voice forget --watch" takes the voice off, too.`,
		Example: `  sidetone voice watch add caller.wav --reason "case 4711: took over two accounts" \
    --basis "legitimate interest, assessment 12" --review 2026-06-01 --expires 2026-12-01
  sidetone voice watch add call-1.wav call-2.wav --channel 2 --reason "case 4712" \
    --basis "court order 8/26" --review 2026-04-01 --expires 2026-07-01`,
		Args: cobra.MinimumNArgs(1),
	}, func(ctx context.Context, c *cobra.Command, k *openVoices, args []string) error {
		if err := dates.check(time.Now()); err != nil {
			return err
		}
		if channel < 1 {
			return fmt.Errorf("--channel %d: channels are counted from 1", channel)
		}
		speech, err := readSpeech(args, channel)
		if err != nil {
			return err
		}
		if customer != "" {
			if e.Person, err = k.Store.Pseudonym(customer); err != nil {
				return err
			}
		}
		w, err := k.Enrolling(&k.cfg, k.by)
		if err != nil {
			return err
		}
		e.Review, e.Expires = dates.review.Time, dates.expires.Time
		id, report, err := w.Watch(ctx, e, speech)
		if no := (*enrol.RefusalError)(nil); err == nil || errors.As(err, &no) {
			tellReport(c.OutOrStdout(), strings.Join(args, ", "), &report)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "On the watch list as %s until %s\n", id, dateOf(e.Expires))
		return err
	})
	f := c.Flags()
	f.StringVar(&e.Reason, "reason", "", "why the voice is looked for; it is sealed, and deleted with the voice")
	f.StringVar(&e.Basis, "basis", "", "by what right, such as a court order or an assessment of interests")
	f.StringVar(&customer, "customer", "", "whose voice it is, if that is known")
	f.IntVar(&channel, "channel", 1, "channel of the files that carries the voice")
	dates.flags(c)
	need(c, "reason", "basis")
	return c
}

func voiceWatchListCmd() *cobra.Command {
	v := &voiceVerb{}
	var removed bool
	c := v.command(&cobra.Command{
		Use:     "list",
		Short:   "List the voices that are looked for",
		Example: "  sidetone voice watch list\n  sidetone voice watch list --removed",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, _ []string) error {
		rows := [][]string{{"ID", "ADDED", "BY", "REVIEW", "EXPIRES", "REASON", "BASIS"}}
		after, now := "", time.Now()
		for {
			entries, err := s.Watch().Entries(ctx, by, after, 0, removed)
			if err != nil {
				return err
			}
			for i := range entries {
				e := &entries[i]
				after = e.ID
				review := dateOf(e.Review)
				switch {
				case !e.Removed.IsZero():
					review = "removed " + dateOf(e.Removed) + " by " + e.RemovedBy
				case e.Review.Before(now):
					review += " (overdue)"
				}
				rows = append(rows, []string{e.ID, dateOf(e.Added), e.AddedBy, review, dateOf(e.Expires), e.Reason, e.Basis})
			}
			if len(entries) == 0 {
				return table(c.OutOrStdout(), rows)
			}
		}
	})
	c.Flags().BoolVar(&removed, "removed", false, "those that were removed, too: their voice and reason are deleted")
	return c
}

func voiceWatchExtendCmd() *cobra.Command {
	v := &voiceVerb{}
	var dates watchDates
	c := v.command(&cobra.Command{
		Use:     "extend ID",
		Short:   "Say that a voice was looked at and stays, until which dates",
		Example: "  sidetone voice watch extend 0f3a… --review 2026-12-01 --expires 2027-06-01",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, _ *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		if err := dates.check(time.Now()); err != nil {
			return err
		}
		e, err := s.Watch().Entry(ctx, by, args[0])
		if err != nil {
			return err
		}
		return s.Watch().Extend(ctx, by, e.ID, e.Version, dates.review.Time, dates.expires.Time)
	})
	dates.flags(c)
	return c
}

func voiceWatchRemoveCmd() *cobra.Command {
	v := &voiceVerb{}
	return v.command(&cobra.Command{
		Use:   "remove ID",
		Short: "Look for a voice no more, and delete it",
		Long: `Deletes the voice and the reason. That it was there, who added and who removed it
when stays, and so do its hits.`,
		Example: "  sidetone voice watch remove 0f3a…",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, _ *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		return s.Watch().Remove(ctx, by, args[0])
	})
}

func voiceWatchHitsCmd() *cobra.Command {
	v := &voiceVerb{}
	var f watchlist.HitFilter
	var state string
	c := v.command(&cobra.Command{
		Use:   "hits",
		Short: "List the calls in which a voice of the list seemed to be heard, the newest first",
		Example: `  sidetone voice watch hits
  sidetone voice watch hits --state "" --watch 0f3a…`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, _ voicestore.Actor, _ []string) error {
		f.State = watchlist.HitState(state)
		switch f.State {
		case "", watchlist.Open, watchlist.Confirmed, watchlist.Dismissed:
		default:
			return fmt.Errorf("--state %q: open, confirmed or dismissed is needed, or \"\" for all", state)
		}
		hits, err := s.Watch().Hits(ctx, f)
		if err != nil {
			return err
		}
		rows := [][]string{{"ID", "AT", "CALL", "LEG", "LLR", "STATE", "BY", "WATCH"}}
		for i := range hits {
			h := &hits[i]
			rows = append(rows, []string{h.ID, h.At.Local().Format(time.DateTime), h.Call, h.Leg, fmt.Sprintf("%.1f", h.LLR), string(h.State), h.By, h.Watch})
		}
		return table(c.OutOrStdout(), rows)
	})
	c.Flags().StringVar(&state, "state", string(watchlist.Open), "open, confirmed or dismissed; \"\" for all")
	c.Flags().StringVar(&f.Watch, "watch", "", "only those of one voice of the list")
	c.Flags().StringVar(&f.Call, "call", "", "only those in one call")
	c.Flags().IntVar(&f.Limit, "limit", 100, "how many at most, up to 200")
	return c
}

func voiceWatchJudgeCmd() *cobra.Command {
	v := &voiceVerb{}
	return v.command(&cobra.Command{
		Use:   "judge HIT confirmed|dismissed",
		Short: "Say of a hit whether it was that voice",
		Long: `Says what somebody who has listened to the call thinks of a hit. It is said once,
and stands in the audit log.`,
		Example: "  sidetone voice watch judge 77b1… dismissed",
		Args:    cobra.ExactArgs(2),
	}, func(ctx context.Context, _ *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		state := watchlist.HitState(args[1])
		if state != watchlist.Confirmed && state != watchlist.Dismissed {
			return fmt.Errorf("%q: a hit is confirmed or dismissed", args[1])
		}
		return s.Watch().Judge(ctx, by, args[0], state)
	})
}

// readSpeech reads one channel, counted from 1, of WAV files.
func readSpeech(files []string, channel int) ([]app.Speech, error) {
	var speech []app.Speech
	for _, name := range files {
		a, err := readWav(name)
		if err != nil {
			return nil, err
		}
		speech = append(speech, app.Speech{Name: filepath.Base(name), Audio: a, Channel: channel - 1})
	}
	return speech, nil
}
