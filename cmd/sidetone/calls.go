package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/records"
)

// keptVerb is what commands on what is kept share.
type keptVerb struct {
	config string
	json   bool
}

// command makes a verb that works on the configured database.
func (v *keptVerb) command(c *cobra.Command, do func(ctx context.Context, out io.Writer, k *app.Kept, args []string) error) *cobra.Command {
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := config.Load(v.config)
		if err != nil {
			return err
		}
		k, err := app.OpenKept(cmd.Context(), &cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		return do(cmd.Context(), cmd.OutOrStdout(), k, args)
	}
	return c
}

// group makes a verb with verbs below it.
func (v *keptVerb) group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.PersistentFlags().StringVarP(&v.config, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	c.PersistentFlags().BoolVar(&v.json, "json", false, "print JSON")
	c.AddCommand(below...)
	return c
}

func printJSON(out io.Writer, what any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(what)
}

// dayFlag is a moment on the command line.
type dayFlag struct{ time.Time }

func (d *dayFlag) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.RFC3339)
}

func (d *dayFlag) Type() string { return "TIME" }

func (d *dayFlag) Set(s string) (err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", time.DateOnly} {
		if d.Time, err = time.ParseInLocation(layout, s, time.Local); err == nil {
			return nil
		}
	}
	return errors.New("write 2026-03-04, \"2026-03-04 05:06\" or 2026-03-04T05:06:07Z")
}

func callsCmd() *cobra.Command {
	v := &keptVerb{}
	return v.group(&cobra.Command{
		Use:   "calls",
		Short: "List, show, search and erase the calls that were kept",
		Long: `Works on the configured database, whether or not a server uses it. Reading a
call is written to the audit log.`,
		Example: `  sidetone calls list --agent ann --from 2026-03-01
  sidetone calls search "credit card" --json
  sidetone calls show 20260304-050607-abcdefgh
  sidetone calls erase --customer +43123456 --reason "asked on 4 March" --yes`,
	}, v.listCmd(false), v.listCmd(true), v.showCmd(), v.eraseCmd())
}

// listCmd lists calls, or searches what was said in them.
func (v *keptVerb) listCmd(search bool) *cobra.Command {
	var f records.Filter
	var from, to dayFlag
	c := &cobra.Command{Use: "list", Short: "List calls, the newest first", Args: cobra.NoArgs}
	if search {
		c = &cobra.Command{Use: "search TEXT", Short: "List calls in which all the words were said", Args: cobra.MinimumNArgs(1)}
	}
	c = v.command(c, func(ctx context.Context, out io.Writer, k *app.Kept, args []string) error {
		f.Text, f.From, f.To = strings.Join(args, " "), from.Time, to.Time
		list, next, err := k.Records.List(ctx, f)
		if err != nil {
			return err
		}
		if search {
			e := audit.Entry{Actor: operator(), Action: "calls.searched", Detail: map[string]string{"found": fmt.Sprint(len(list))}}
			if err = k.Audit.Append(ctx, e); err != nil {
				return err
			}
		}
		if v.json {
			return printJSON(out, struct {
				Calls []records.Summary `json:"calls"`
				Next  string            `json:"next,omitempty"`
			}{list, next})
		}
		if err = printCalls(out, list); err == nil && next != "" {
			_, err = fmt.Fprintln(out, "\nThere are more: --before "+next)
		}
		return err
	})
	flags := c.Flags()
	flags.StringArrayVar(&f.Agents, "agent", nil, "only calls of this agent; may be given several times")
	flags.StringVar(&f.Customer, "customer", "", "only calls with this address or telephone number")
	flags.StringVar(&f.Source, "source", "", "only calls that came by this protocol")
	flags.StringVar(&f.State, "state", "", "only calls in this state: running, ended, refused, aborted, lost, timed out")
	flags.StringVar(&f.Node, "node", "", "only calls of this server")
	flags.BoolVar(&f.Running, "running", false, "only calls that have not ended")
	flags.Var(&from, "from", "only calls that started then or later")
	flags.Var(&to, "to", "only calls that started before")
	flags.IntVar(&f.Limit, "limit", 50, "how many calls at most")
	flags.StringVar(&f.Before, "before", "", "go on after a list, with what it printed")
	return c
}

func printCalls(out io.Writer, list []records.Summary) error {
	rows := [][]string{{"KEY", "CALL", "AGENT", "CUSTOMER", "SOURCE", "STARTED", "LASTED", "STATE", "CARDS"}}
	for _, s := range list {
		lasted := "-"
		if s.DurationMS != nil {
			lasted = (time.Duration(*s.DurationMS) * time.Millisecond).Round(time.Second).String()
		}
		rows = append(rows, []string{
			s.Key, s.Call, s.Agent, s.Customer, s.Source, s.Started.Local().Format(time.DateTime), lasted, s.State, fmt.Sprintf("%d/%d", s.Cards.Used, s.Cards.Shown),
		})
		if s.Found != nil {
			var line strings.Builder
			for _, p := range s.Found.Pieces {
				line.WriteString(p.Text)
			}
			rows = append(rows, []string{"  " + s.Found.Role + ": " + line.String()})
		}
	}
	return table(out, rows)
}

func (v *keptVerb) showCmd() *cobra.Command {
	var events bool
	c := v.command(&cobra.Command{Use: "show CALL", Short: "Show a call, by its key or its name", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, out io.Writer, k *app.Kept, args []string) error {
			call, err := k.Records.Call(ctx, args[0])
			if err != nil {
				return err
			}
			if err = k.Audit.Append(ctx, audit.Entry{Actor: operator(), Action: "call.read", Object: call.Key}); err != nil {
				return err
			}
			switch {
			case events:
				lines := json.NewEncoder(out)
				return k.Records.Events(ctx, call.Key, func(e journal.Event) error { return lines.Encode(e) })
			case v.json:
				return printJSON(out, &call)
			}
			return printCall(out, &call)
		})
	c.Flags().BoolVar(&events, "events", false, "print the call's events instead, each as a line of JSON")
	return c
}

func printCall(out io.Writer, c *journal.Call) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  agent %s, from %s by %s on %s\n", c.Key, c.Call, c.Agent, c.Customer(), c.Source, c.Node)
	fmt.Fprintf(&b, "started %s, %s", c.Started.Local().Format(time.DateTime), c.State)
	if c.Ended != nil {
		fmt.Fprintf(&b, " after %s", c.Ended.Sub(c.Started).Round(time.Second))
	}
	if c.Reason != "" {
		fmt.Fprintf(&b, ": %s", c.Reason)
	}
	b.WriteString("\n")
	for _, l := range c.Legs {
		fmt.Fprintf(&b, "leg %s: %s (%s)\n", l.ID, l.Role, l.RoleReason)
	}
	for _, g := range c.Gaps {
		fmt.Fprintf(&b, "gap of %s: %s\n", time.Duration(g.GapMS)*time.Millisecond, g.Reason)
	}
	for _, s := range c.Transcript {
		text := s.Text
		if s.Written != "" {
			text = s.Written
		}
		fmt.Fprintf(&b, "%8s  %-8s  %s\n", (time.Duration(s.StartMS) * time.Millisecond).Round(time.Second), s.Role, text)
	}
	for _, k := range c.Cards {
		var card struct{ Title string }
		if err := json.Unmarshal(k.Card.Card, &card); err != nil {
			return fmt.Errorf("card %s: %w", k.ID, err)
		}
		fmt.Fprintf(&b, "card %s: %s", card.Title, k.State)
		if k.Painted != nil && k.Painted.FromWords {
			fmt.Fprintf(&b, ", %d ms after the words", k.Painted.LatencyMS)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (v *keptVerb) eraseCmd() *cobra.Command {
	var customer, reason, server string
	var yes bool
	c := &cobra.Command{
		Use:   "erase [CALL]",
		Short: "Erase a call, or all calls of a customer, for good",
		Long: `Erases a call, or with --customer all calls of a telephone number or address,
from the journal, the records and the recordings. The audit log keeps that it was
done, and why. Where a server runs on the storage, --server has it do the work,
with the token in SIDETONE_TOKEN. Without --yes it only says what would go.`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().StringVar(&customer, "customer", "", "whose calls")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().StringVar(&server, "server", "", "address of the running server, such as http://127.0.0.1:8080")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		call := strings.Join(args, "")
		if (customer == "") == (call == "") {
			return errors.New("say which call, or whose calls with --customer")
		}
		if reason == "" {
			return errors.New("say why with --reason: the audit log keeps it")
		}
		cfg, err := config.Load(v.config)
		if err != nil {
			return err
		}
		ctx, out := cmd.Context(), cmd.OutOrStdout()
		var keys []string
		done := "Erased"
		switch {
		case !yes:
			done = "With --yes these would be erased:"
			keys, err = toErase(ctx, &cfg, customer, call)
		case server != "":
			keys, err = eraseThere(ctx, server, customer, call, reason)
		default:
			keys, err = app.Erase(ctx, &cfg, slog.New(slog.DiscardHandler), operator(), customer, call, reason)
		}
		if err != nil {
			return err
		}
		if v.json {
			return printJSON(out, struct {
				Keys []string `json:"keys"`
				Done bool     `json:"done"`
			}{append([]string{}, keys...), yes})
		}
		_, err = fmt.Fprintf(out, "%s %d calls\n%s", done, len(keys), strings.Join(append(keys, ""), "\n"))
		return err
	}
	return c
}

// toErase are the keys of what would go.
func toErase(ctx context.Context, cfg *config.Config, customer, call string) (keys []string, err error) {
	k, err := app.OpenKept(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if customer != "" {
		return k.Records.CallsOf(ctx, customer)
	}
	c, err := k.Records.Call(ctx, call)
	return []string{c.Key}, err
}

// eraseThere has a running server erase.
func eraseThere(ctx context.Context, server, customer, call, reason string) ([]string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--server %q is no address such as http://127.0.0.1:8080", server)
	}
	body, err := json.Marshal(map[string]string{"customer": customer, "call": call, "reason": reason})
	if err != nil {
		return nil, err
	}
	var reply struct {
		Keys []string `json:"keys"`
	}
	api := &callAPI{token: os.Getenv(envToken)}
	err = api.request(ctx, http.MethodPost, u.JoinPath("v1", "erase"), body, &reply)
	return reply.Keys, err
}
