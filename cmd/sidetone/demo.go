package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	voicestore "sidetone/voiceprint/store"
)

// demoAgent is whose page shows the demo call.
const demoAgent = "demo"

func demoCmd() *cobra.Command {
	var configPath string
	var wait time.Duration
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Start the server and play a recorded bank call into it, as RTP",
		Long: `Starts the server as "serve" does and plays a recorded call of two parties into
it: real RTP packets over loopback, at the pace of speech. Open the printed page
and watch. The server stays up for another call until Ctrl-C.`,
		Example: `  sidetone demo
  sidetone demo --wait 30s      time to open the page first`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if configPath == "" && os.Getenv(config.EnvData) == "" {
				// What the demo keeps need not outlive it, nor meet a real server's.
				dir, err := os.MkdirTemp("", "sidetone-demo-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				if err = os.Setenv(config.EnvData, dir); err != nil {
					return err
				}
			}
			a, err := start(configPath, cmd.ErrOrStderr(), forTrial)
			if err != nil {
				return err
			}
			if err := announce(cmd.OutOrStdout(), a, demoAgent); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), "No login is required: it is a trial, and only this machine reaches it."); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			if err := enrolDemo(ctx, a, cmd.OutOrStdout()); err != nil {
				return errors.Join(err, a.Close())
			}
			served := make(chan error, 1)
			go func() { served <- a.Run(ctx) }()
			played := make(chan error, 1)
			go func() { played <- playDemo(ctx, a, cmd.OutOrStdout(), wait, once) }()

			// Either one ends the other: without a player there is nothing to
			// stay up for.
			var errServe, errPlay error
			select {
			case errServe = <-served:
				cancel()
				errPlay = <-played
			case errPlay = <-played:
				cancel()
				errServe = <-served
			}
			if errors.Is(errPlay, context.Canceled) {
				errPlay = nil
			}
			return errors.Join(errServe, errPlay)
		},
	}
	c.Flags().StringVarP(&configPath, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	c.Flags().DurationVar(&wait, "wait", 5*time.Second, "time before the call begins")
	c.Flags().BoolVar(&once, "once", false, "stop when the call is over")
	return c
}

// betweenCalls is the time to look at what a call has left on the page.
const betweenCalls = 5 * time.Second

// enrolDemo enrols the customer of the demo's call.
func enrolDemo(ctx context.Context, a *app.App, out io.Writer) error {
	e := a.Enrolling("system:demo")
	if e == nil {
		return nil
	}
	speech, err := demo.Enrolment()
	if err != nil {
		return err
	}
	e.Customer, e.Source = demo.Customer, "demo"
	consent := voicestore.Consent{Text: "demo", Language: "en", Channel: "demo", How: "spoken"}
	if err = e.Store.Consent(ctx, e.By, e.Customer, consent); err != nil {
		return err
	}
	done, err := e.Enrol(ctx, []app.Speech{{Name: "enrolment", Audio: speech}})
	if err != nil {
		return fmt.Errorf("enrolling the demo's customer: %w", err)
	}
	_, err = fmt.Fprintf(out, "The customer's voice is enrolled, by %.0f s of speech from another day: watch the badge on the page.\n", done.Report.Net.Seconds())
	return err
}

// forTrial lets everybody in, who can only be on this machine.
func forTrial(cfg *config.Config) error {
	if !cfg.Server.Local() {
		return fmt.Errorf("the demonstration lets everybody in: server.listen must be an address of this machine only, such as 127.0.0.1:8080, not %s", cfg.Server.Listen)
	}
	cfg.Access.Required = false
	return nil
}

// playDemo plays the call, and again for every Enter on a terminal, until ctx
// ends.
func playDemo(ctx context.Context, a *app.App, out io.Writer, wait time.Duration, once bool) error {
	audio, err := demo.Call()
	if err != nil {
		return err
	}
	other, err := demo.Stranger()
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("\nThe call begins in %v: open the agent's page now.", wait)
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	enter := make(chan struct{})
	if interactive(os.Stdin) && !once {
		// The read of a terminal cannot be cancelled: it ends with the process.
		go func() {
			in := bufio.NewScanner(os.Stdin)
			for in.Scan() {
				select {
				case enter <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for {
		if err := placeCall(ctx, placement{server: a.URL(), agent: demoAgent, customer: demo.Customer, audio: audio, codec: "PCMU"}, out); err != nil {
			return err
		}
		if once {
			return nil
		}
		say("\nThe next caller gives the same name, in another voice.")
		if err := sleep(ctx, betweenCalls); err != nil {
			return err
		}
		if err := placeCall(ctx, placement{server: a.URL(), agent: demoAgent, customer: demo.Customer, audio: other, codec: "PCMU"}, out); err != nil {
			return err
		}
		say("\nThe calls are over; the server stays up for the next one.")
		say("  Your own: sidetone call FILE.wav --server %s --agent %s", a.URL(), demoAgent)
		if interactive(os.Stdin) {
			say("  Again:    press Enter. The customer's words are known by now: heard a second time")
			say("            they are a recording, and the voice is not confirmed.     Stop: Ctrl-C.")
		}
		select {
		case <-enter:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
