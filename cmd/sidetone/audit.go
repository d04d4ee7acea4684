package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/internal/audit"
)

func auditCmd() *cobra.Command {
	v := &keptVerb{}
	verify := v.command(&cobra.Command{
		Use: "verify", Short: "Check that nobody has changed or cut the audit log", Args: cobra.NoArgs,
		Long: `Reads the whole audit log and checks every entry against the one before it, with
the key in the storage folder, and the last one against this node's anchor. A
breach is told, and is an error.`,
	}, func(ctx context.Context, out io.Writer, k *app.Kept, _ []string) error {
		r, err := k.Audit.Verify(ctx)
		if err != nil {
			return err
		}
		if v.json {
			err = printJSON(out, r)
		} else if r.Broken == nil {
			_, err = fmt.Fprintf(out, "The audit log is whole: %d entries, the last of %s with hash\n%s\n", r.Entries, r.Last.At.Local().Format(time.DateTime), r.Last.Hash)
		}
		if err == nil && r.Broken != nil {
			err = fmt.Errorf("the audit log is not what was written: entry %d: %s", r.Broken.Seq, r.Broken.Reason)
		}
		return err
	})

	var f audit.Filter
	var from, to dayFlag
	list := v.command(&cobra.Command{Use: "list", Short: "List who did what, the newest first", Args: cobra.NoArgs},
		func(ctx context.Context, out io.Writer, k *app.Kept, _ []string) error {
			f.From, f.To = from.Time, to.Time
			entries, err := k.Audit.List(ctx, f)
			if err != nil {
				return err
			}
			if v.json {
				return printJSON(out, entries)
			}
			rows := [][]string{{"SEQ", "AT", "ACTOR", "ACTION", "OBJECT", "FROM", "DETAIL"}}
			for _, e := range entries {
				var detail []string
				for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
					detail = append(detail, name+"="+e.Detail[name])
				}
				rows = append(rows, []string{fmt.Sprint(e.Seq), e.At.Local().Format(time.DateTime), e.Actor, e.Action, e.Object, e.Address, strings.Join(detail, " ")})
			}
			return table(out, rows)
		})
	flags := list.Flags()
	flags.StringVar(&f.Actor, "actor", "", "only what this one did, such as account:ann")
	flags.StringVar(&f.Action, "action", "", "only this, such as login.failed; login: all that begin so")
	flags.StringVar(&f.Object, "object", "", "only what was done to this")
	flags.Var(&from, "from", "only what was done then or later")
	flags.Var(&to, "to", "only what was done before")
	flags.IntVar(&f.Limit, "limit", 100, "how many at most")
	flags.Uint64Var(&f.Before, "before", 0, "only entries with a smaller number")

	var reason string
	accept := v.command(&cobra.Command{
		Use: "accept", Short: "Go on with an audit log that a restored backup has cut", Args: cobra.NoArgs,
		Long: `After a backup was restored the audit log ends before what this node knows to
have been there, and verify says so. This writes down who accepted that, and why,
and goes on. Entries that were changed are not accepted.`,
	}, func(ctx context.Context, out io.Writer, k *app.Kept, _ []string) error {
		if reason == "" {
			return errors.New("say why with --reason")
		}
		if err := k.Audit.Accept(ctx, operator(), reason); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Accepted.")
		return err
	})
	accept.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return v.group(&cobra.Command{Use: "audit", Short: "Verify and list the log of who did what"}, verify, list, accept)
}
