package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/access"
	"sidetone/internal/access/password"
)

// accessVerb is what commands on accounts and tokens share.
type accessVerb struct{ config string }

// command makes a verb that works on the directory.
func (v *accessVerb) command(c *cobra.Command, do func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error) *cobra.Command {
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := config.Load(v.config)
		if err != nil {
			return err
		}
		d, closer, err := app.OpenDirectory(cmd.Context(), &cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closer.Close()) }()
		return do(cmd.Context(), cmd, d, args)
	}
	return c
}

// group makes a verb with verbs below it.
func (v *accessVerb) group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.PersistentFlags().StringVarP(&v.config, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	c.AddCommand(below...)
	return c
}

// operator is who works at this machine, for the audit log.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return "system:cli:" + name
}

func usersCmd() *cobra.Command {
	v := &accessVerb{}
	var add struct{ role, agents, display string }
	adding := v.command(&cobra.Command{
		Use:   "add NAME",
		Short: "Add an account; the password is read, or made up and shown once",
		Long: `Adds an account. The password is read from the terminal or the first line of
the standard input; an empty one has a password made up, which is shown once.`,
		Example: `  sidetone users add ann --role agent
  sidetone users add bob --role agent,supervisor --agents 2201,bob
  pass show sidetone/ann | sidetone users add ann --role administrator`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
		held, err := access.ParseRoles(add.role, false)
		if err != nil {
			return err
		}
		a := access.Account{Name: args[0], Display: add.display, Roles: held}
		if add.agents != "" {
			a.Agents = strings.Split(add.agents, ",")
		}
		pass, made, err := readPassword(c)
		if err != nil {
			return err
		}
		if err = d.Add(ctx, operator(), a, pass); err != nil {
			return err
		}
		return told(c, made, pass, "Account "+args[0]+" added.")
	})
	adding.Flags().StringVar(&add.role, "role", "agent", "agent, supervisor, security, administrator, or several with commas")
	adding.Flags().StringVar(&add.agents, "agents", "", "names of agents whose calls are this person's, with commas; empty: NAME")
	adding.Flags().StringVar(&add.display, "display", "", "the person's name")

	list := v.command(&cobra.Command{Use: "list", Short: "List the accounts", Args: cobra.NoArgs},
		func(ctx context.Context, c *cobra.Command, d *access.Directory, _ []string) error {
			all, err := d.Accounts(ctx)
			if err != nil {
				return err
			}
			rows := [][]string{{"NAME", "ROLES", "AGENTS", "LOGIN", "STATE", "CHANGED", "DISPLAY"}}
			for _, a := range all {
				login, state := "openid", "active"
				if a.Local {
					login = "password"
				}
				if a.Disabled {
					state = "disabled"
				}
				rows = append(rows, []string{a.Name, roleNames(a.Roles), strings.Join(a.Agents, ","), login, state, day(a.Changed), a.Display})
			}
			return table(c.OutOrStdout(), rows)
		})

	var enable bool
	disable := v.command(&cobra.Command{Use: "disable NAME", Short: "Lock an account and end its sessions", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
			if err := d.SetDisabled(ctx, operator(), args[0], !enable); err != nil {
				return err
			}
			done := "locked; its sessions are over."
			if enable {
				done = "unlocked."
			}
			return told(c, false, "", "Account "+args[0]+" is "+done)
		})
	disable.Flags().BoolVar(&enable, "undo", false, "unlock it")

	pass := v.command(&cobra.Command{Use: "password NAME", Short: "Set a password, read or made up, and end the account's sessions", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
			pass, made, err := readPassword(c)
			if err != nil {
				return err
			}
			if err = d.SetPassword(ctx, operator(), args[0], pass); err != nil {
				return err
			}
			return told(c, made, pass, "Password of "+args[0]+" set; the account's sessions are over.")
		})

	change := v.command(&cobra.Command{
		Use: "roles NAME ROLES", Short: "Give an account other roles and end its sessions", Example: "  sidetone users roles ann agent,supervisor", Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
		held, err := access.ParseRoles(args[1], false)
		if err != nil {
			return err
		}
		if err = d.SetRoles(ctx, operator(), args[0], held); err != nil {
			return err
		}
		return told(c, false, "", "Account "+args[0]+" is "+roleNames(held)+"; its sessions are over.")
	})

	agents := v.command(&cobra.Command{
		Use: "agents NAME AGENTS", Short: "Say whose calls are an account's and end its sessions", Example: "  sidetone users agents ann 2201,ann", Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
		if err := d.SetAgents(ctx, operator(), args[0], strings.Split(args[1], ",")); err != nil {
			return err
		}
		return told(c, false, "", "Calls of "+args[1]+" are "+args[0]+"'s; the account's sessions are over.")
	})
	return v.group(&cobra.Command{Use: "users", Short: "Accounts of people who log in"}, adding, list, disable, pass, change, agents)
}

func tokensCmd() *cobra.Command {
	v := &accessVerb{}
	var role string
	var days int
	add := v.command(&cobra.Command{
		Use:   "add NAME",
		Short: "Make a token for a machine, such as a PBX, and show it once",
		Example: `  sidetone tokens add pbx
  sidetone tokens add prometheus --role monitor
  sidetone tokens add crm --role integrator,supervisor --days 90    may read what is said, too`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
		held, err := access.ParseRoles(role, true)
		if err != nil {
			return err
		}
		var until time.Time
		if days > 0 {
			until = time.Now().AddDate(0, 0, days)
		}
		text, err := d.AddToken(ctx, operator(), args[0], held, until)
		if err != nil {
			return err
		}
		// The token alone on the standard output can be piped on.
		if _, err = fmt.Fprintf(c.ErrOrStderr(), "Token %s of the role %s; it is shown this once:\n", args[0], roleNames(held)); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), text)
		return err
	})
	add.Flags().StringVar(&role, "role", "integrator", "integrator, monitor, supervisor, security, administrator, or several with commas")
	add.Flags().IntVar(&days, "days", 0, "days after which it expires; 0: never")
	list := v.command(&cobra.Command{Use: "list", Short: "List the tokens", Args: cobra.NoArgs},
		func(ctx context.Context, c *cobra.Command, d *access.Directory, _ []string) error {
			all, err := d.Tokens(ctx)
			if err != nil {
				return err
			}
			rows := [][]string{{"NAME", "ROLES", "MADE", "EXPIRES", "LAST USED", "STATE"}}
			for _, t := range all {
				state := "active"
				switch {
				case !t.Revoked.IsZero():
					state = "revoked " + day(t.Revoked)
				case !t.Expires.IsZero() && t.Expires.Before(time.Now()):
					state = "expired"
				}
				rows = append(rows, []string{t.Name, roleNames(t.Roles), day(t.Created), day(t.Expires), day(t.Used), state})
			}
			return table(c.OutOrStdout(), rows)
		})
	revoke := v.command(&cobra.Command{Use: "revoke NAME", Short: "End a token for good", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, c *cobra.Command, d *access.Directory, args []string) error {
			if err := d.RevokeToken(ctx, operator(), args[0]); err != nil {
				return err
			}
			return told(c, false, "", "Token "+args[0]+" is revoked.")
		})
	return v.group(&cobra.Command{Use: "tokens", Short: "Tokens of machines: PBXs, CRMs, monitoring"}, add, list, revoke)
}

// readPassword reads a line; an empty one has a password made up.
func readPassword(c *cobra.Command) (pass string, made bool, err error) {
	in := c.InOrStdin()
	if f, ok := in.(*os.File); ok && interactive(f) {
		if _, err = fmt.Fprintf(c.ErrOrStderr(), "Password, at least %d characters (empty: one is made up): ", password.MinLength); err != nil {
			return "", false, err
		}
		typed, bad := term.ReadPassword(int(f.Fd()))
		if bad != nil {
			return "", false, fmt.Errorf("reading the password: %w", bad)
		}
		in = bytes.NewReader(typed)
		_, _ = fmt.Fprintln(c.ErrOrStderr())
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, fmt.Errorf("reading the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line != "" {
		return line, false, nil
	}
	return password.Generate(), true, nil
}

// told says what was done, and a password that was made up.
func told(c *cobra.Command, made bool, pass, text string) error {
	if made {
		text += "\nIts password, shown this once: " + pass
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

func roleNames(roles []access.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return strings.Join(out, ",")
}

func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format("2006-01-02 15:04")
}

func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
