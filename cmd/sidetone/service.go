package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

// serving tells the service manager, where there is one (sd_notify(3)), that the
// server takes calls, and when ctx ends, that it is about to stop.
func serving(ctx context.Context, log *slog.Logger) (stop func() bool) {
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("the service manager was not told", "state", state, "error", err)
		}
	}
	tell(daemon.SdNotifyReady)
	return context.AfterFunc(ctx, func() { tell(daemon.SdNotifyStopping + "\nSTATUS=draining: running calls go on to their ends") })
}

// stderr is the log of what concerns the process, not the server.
func stderr() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

// healthLimit bounds the wait for a server's answer.
const healthLimit = 3 * time.Second

func healthCmd() *cobra.Command {
	var server string
	var ready bool
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a running server how it is; for containers and scripts",
		Long: `Asks a server whether it lives, or with --ready whether it takes new calls. The
exit status is 1 where it does not.`,
		Example: `  sidetone health
  sidetone health --ready --server http://10.1.0.5:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			return askHealth(cmd.Context(), strings.TrimSuffix(server, "/")+path, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&server, "server", "http://127.0.0.1:8080", "the server's `address`")
	c.Flags().BoolVar(&ready, "ready", false, "ask whether it takes new calls")
	return c
}

func askHealth(ctx context.Context, address string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	// On this machine nobody stands between: a certificate for the server's public
	// name will do.
	own, _ := netip.ParseAddr(q.URL.Hostname())
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: own.IsLoopback()}}
	res, err := t.RoundTrip(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case !json.Valid(b):
		return errors.New(address + " does not answer as Sidetone does")
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(b)))
	}
	_, err = out.Write(b)
	return err
}
