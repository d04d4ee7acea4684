package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/ledger"
)

// voiceVerb is what the verbs on what is kept of voices share.
type voiceVerb struct{ config string }

// openVoices is what is kept of voices while a verb works on it.
type openVoices struct {
	*app.Voices
	cfg config.Config
	by  voicestore.Actor
}

// kept makes a verb that works on what is kept, beside a server that may run.
func (v *voiceVerb) kept(c *cobra.Command, do func(ctx context.Context, c *cobra.Command, k *openVoices, args []string) error) *cobra.Command {
	c.Flags().StringVarP(&v.config, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := config.Load(v.config)
		if err != nil {
			return err
		}
		k := &openVoices{cfg: cfg, by: voicestore.Actor{Name: operator()}}
		if k.Voices, err = app.OpenVoices(cmd.Context(), &cfg, slog.New(slog.DiscardHandler)); err != nil {
			return app.ExplainVoice(err)
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		if err = do(cmd.Context(), cmd, k, args); err != nil {
			return app.ExplainVoice(err)
		}
		return nil
	}
	return c
}

// command makes a verb that works on the store alone.
func (v *voiceVerb) command(c *cobra.Command, do func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error) *cobra.Command {
	return v.kept(c, func(ctx context.Context, c *cobra.Command, k *openVoices, args []string) error {
		return do(ctx, c, k.Store, k.by, args)
	})
}

// voicePeopleCmds are the verbs of those who answer for what is kept of voices. Each
// use stands in the audit log.
func voicePeopleCmds() []*cobra.Command {
	return []*cobra.Command{voiceListCmd(), voiceShowCmd(), voiceConsentCmd(), voiceRevokeCmd(), voiceForgetCmd(), voiceWatchCmd(),
		voiceRekeyCmd(), voiceReembedCmd(), voiceTombstonesCmd(), voiceBuryCmd()}
}

func voiceListCmd() *cobra.Command {
	v := &voiceVerb{}
	var f voicestore.Filter
	var state string
	c := v.command(&cobra.Command{
		Use:     "list",
		Short:   "List who has consented, opted out, is enrolled",
		Example: "  sidetone voice list\n  sidetone voice list --state opted_out",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, _ []string) error {
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CUSTOMER\tSTATE\tSINCE\tTEMPLATES\tUSED\tID")
		f.State = voicestore.State(state)
		for {
			people, err := s.List(ctx, by, f)
			if err != nil {
				return err
			}
			for i := range people {
				p := &people[i]
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", p.Subject, p.State, dateOf(p.Since), p.Active, dateOf(p.Used), p.ID)
				f.After = p.ID
			}
			if len(people) == 0 {
				return w.Flush()
			}
		}
	})
	c.Flags().StringVar(&state, "state", "", "only those who are asked, consented, opted_out or expired")
	c.Flags().BoolVar(&f.Enrolled, "enrolled", false, "only those who have templates")
	return c
}

// dateOf is a date, or a dash.
func dateOf(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateOnly)
}

func voiceShowCmd() *cobra.Command {
	v := &voiceVerb{}
	return v.command(&cobra.Command{
		Use:   "show CUSTOMER",
		Short: "Show a customer's consents, templates and decisions",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		h, err := s.Person(ctx, by, args[0])
		if errors.Is(err, voicestore.ErrUnknown) {
			return fmt.Errorf("%s: nothing is known of the voice of a customer of that name", args[0])
		}
		if err != nil {
			return err
		}
		decided, err := s.Comparisons(ctx, by, args[0], ledger.Filter{})
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		fmt.Fprintf(out, "%s: %s since %s\n", h.Subject, h.State, dateOf(h.Since))
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\nCONSENT\tAT\tTEXT\tCHANNEL\tHOW\tBY")
		for _, o := range h.Consents {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.State, o.At.Local().Format(time.DateTime), o.Text, o.Channel, o.How, o.By)
		}
		fmt.Fprintln(w, "\nTEMPLATE\tMADE\tLINE\tVERSION\tCOMPARED\tMODEL")
		for _, t := range h.Templates {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%v\t%s\n", t.ID, dateOf(t.Made), t.Line, t.Version, t.Live && t.Active, t.Model)
		}
		fmt.Fprintln(w, "\nDECISION\tAT\tCALL\tSPEECH\tLLR\tTHRESHOLD\tREASONS")
		for i := range decided {
			d := &decided[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%.1f s\t%.1f\t%.1f\t%s\n", d.Decision.Outcome, d.At.Local().Format(time.DateTime), d.Call,
				d.Decision.Net.Seconds(), d.Decision.LLR, d.Decision.Accept, inWords(d.Decision.Reasons))
		}
		return w.Flush()
	})
}

func voiceConsentCmd() *cobra.Command {
	v := &voiceVerb{}
	var state string
	var o voicestore.Consent
	var valid time.Duration
	c := v.command(&cobra.Command{
		Use:   "consent CUSTOMER",
		Short: "Record what a customer said to the use of their voice",
		Long: `Records that a customer was asked, has consented, or has opted out. An opt-out
deletes templates and kept speech at once, and holds until they consent anew.`,
		Example: `  sidetone voice consent LB-40172 --state consented --text "voice terms 3" --channel branch --how signed
  sidetone voice consent LB-40172 --state opted_out --channel call --how spoken`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) (err error) {
		if valid > 0 {
			o.Expires = time.Now().Add(valid)
		}
		switch voicestore.State(state) {
		case voicestore.Asked:
			err = s.Ask(ctx, by, args[0], o)
		case voicestore.Consented:
			err = s.Consent(ctx, by, args[0], o)
		case voicestore.OptedOut:
			err = s.OptOut(ctx, by, args[0], o)
		default:
			return fmt.Errorf("--state %q: asked, consented or opted_out is needed", state)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", args[0], state)
		return err
	})
	c.Flags().StringVar(&state, "state", "", "asked, consented or opted_out")
	c.Flags().StringVar(&o.Text, "text", "", "version of the text that they were read")
	c.Flags().StringVar(&o.Language, "language", "", "its language")
	c.Flags().StringVar(&o.Channel, "channel", "", "over what they answered, such as call or branch")
	c.Flags().StringVar(&o.How, "how", "", "in what way, such as spoken or signed")
	c.Flags().DurationVar(&valid, "for", 0, "how long the consent holds, such as 8760h; 0: until it is withdrawn")
	return c
}

func voiceRevokeCmd() *cobra.Command {
	v := &voiceVerb{}
	return v.command(&cobra.Command{
		Use:   "revoke CUSTOMER TEMPLATE",
		Short: "Delete a template with all its versions; the customer stays",
		Args:  cobra.ExactArgs(2),
	}, func(ctx context.Context, _ *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		return s.Revoke(ctx, by, args[0], args[1])
	})
}

func voiceForgetCmd() *cobra.Command {
	v := &voiceVerb{}
	var watch bool
	c := v.command(&cobra.Command{
		Use:   "forget CUSTOMER",
		Short: "Delete all that is kept of a customer's voice; an opt-out goes on to hold",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, s *voicestore.Store, by voicestore.Actor, args []string) error {
		gone, err := s.Erase(ctx, by, args[0], watch)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "Deleted: templates %d, speech %d, decisions %d, of the watch list %d\n", gone.Templates, gone.Audio, gone.Comparisons, gone.Watch)
		return err
	})
	c.Flags().BoolVar(&watch, "watch", false, "from the watch list, too")
	return c
}
