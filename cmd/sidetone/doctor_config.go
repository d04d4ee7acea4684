package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/checkup"
	"sidetone/cmd/sidetone/internal/config"
)

// checkupFlags are those of `sidetone doctor -c`.
type checkupFlags struct {
	config  string
	peers   []string
	asJSON  bool
	measure time.Duration
}

func (f *checkupFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.config, "config", "c", "", "check the installation of this configuration `file`; \"\" for the defaults")
	s.StringSliceVar(&f.peers, "sbc", nil, "with -c: ask these, too: `sip:host:port` by OPTIONS (;transport=tcp for TCP), or tcp:host:port")
	s.BoolVar(&f.asJSON, "json", false, "with -c: print JSON")
	s.DurationVar(&f.measure, "measure", 8*time.Second, "with -c: how long the recogniser is measured; 0: not at all")
}

// run checks the installation; its error tells that there are problems.
func (f *checkupFlags) run(ctx context.Context, out io.Writer) error {
	var report checkup.Report
	cfg, err := config.Load(f.config)
	if err != nil {
		report = checkup.Report{{Area: "config", Level: checkup.Problem, Text: err.Error(), Advice: "`sidetone config` prints every key with its default"}}
	} else {
		told := func(l checkup.Finding) {
			if !f.asJSON {
				// Who does not read it has the exit status.
				_ = l.Write(out)
			}
		}
		report = checkup.Run(ctx, checkup.Config{Config: cfg, Path: f.config, Peers: f.peers, Measure: f.measure}, told)
		if err = ctx.Err(); err != nil {
			return err
		}
	}
	switch {
	case f.asJSON:
		err = report.JSON(out)
	case err != nil:
		err = report.Write(out)
	default:
		err = report.Sum(out)
	}
	if err != nil {
		return err
	}
	if report.Worst() == checkup.Problem {
		return fmt.Errorf("doctor: %d lines tell of a problem", report.Count(checkup.Problem))
	}
	return nil
}
