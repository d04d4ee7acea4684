package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
)

func serveCmd() *cobra.Command {
	var configPath string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Start the server: it waits for calls and serves the agents' pages",
		Long: `Starts the server. A PBX opens a call with one HTTP request, which names the
call, the agent and the legs; the answer says to which UDP port each leg's RTP
goes. The agent's page is at /agent/NAME.

A signal to stop (SIGTERM, Ctrl-C) lets the running calls come to their ends, up
to server.drain_limit, and takes no new ones; a second one stops at once.`,
		Example: `  sidetone serve
  sidetone serve -c sidetone.yaml
  curl -H "Authorization: Bearer $SIDETONE_TOKEN" -d '{"agent":"ann","legs":[{"role":"agent"},{"role":"customer"}]}' http://127.0.0.1:8080/v1/calls`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := start(configPath, cmd.ErrOrStderr(), nil)
			if err != nil {
				return err
			}
			if err := announce(cmd.OutOrStdout(), a, "NAME"); err != nil {
				return err
			}
			if a.NoAccount() {
				if _, err := fmt.Fprint(cmd.OutOrStdout(), firstAccount); err != nil {
					return err
				}
			}
			now, stop := secondSignal(cmd.Context())
			defer stop()
			defer serving(cmd.Context(), stderr())()
			return a.Serve(cmd.Context(), now)
		},
	}
	c.Flags().StringVarP(&configPath, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	return c
}

// secondSignal returns a context that ends at the second signal to stop, for those
// who will not wait for what the first one began.
func secondSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 2 {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		<-over
	}
}

// firstAccount is said where logins are required and nobody could log in yet.
const firstAccount = `
Nobody can log in yet. In another terminal, with the same configuration:
  sidetone users add ann --role administrator,agent      your own account
  sidetone tokens add pbx                                a token for the PBX
`

// start loads the configuration, has it edited if need be, and builds the server,
// its ports already open.
func start(configPath string, logTo io.Writer, edit func(*config.Config) error) (*app.App, error) {
	cfg, err := config.Load(configPath)
	if err != nil {
		return nil, err
	}
	if edit != nil {
		if err = edit(&cfg); err != nil {
			return nil, err
		}
	}
	log, err := cfg.Log.Logger(logTo)
	if err != nil {
		return nil, err
	}
	return app.New(cfg, version, log)
}

func announce(w io.Writer, a *app.App, agent string) error {
	_, err := fmt.Fprintf(w, "Agent's page:  %s/agent/%s\nAll calls:     %s/calls\nVoices:        %s/voices\nCalls' API:    %s/v1/calls\nMetrics:       %s/metrics\n",
		a.URL(), agent, a.URL(), a.URL(), a.URL(), a.URL())
	return err
}

// interactive says whether f is a terminal that a person types into.
func interactive(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
