package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sidetone/bench"
	"sidetone/bench/wer"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/models"
	"sidetone/media/netsim"
)

func benchLossCmd() *cobra.Command {
	var o benchASR
	c := &cobra.Command{
		Use:   "loss",
		Short: "Measure the word error rate against the loss of packets",
		Long: `Loss sends every clip as RTP, PCMU in packets of 20 ms, over simulated networks
that lose 0, 1, 5 and 10 % of the packets or stand still for 200 ms every three
seconds, and has the recogniser hear what the media path makes of it. It prints
the word error rate for each network, and below it what the media path made up
and by how much the audio came out too long or too short.

The modes are those of bench asr.`,
		Example: `  sidetone bench loss
  sidetone bench loss --mode stream --sets librispeech --limit 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.loss(cmd.Context(), cmd.OutOrStdout(), models.Default())
		},
	}
	selectFlags(c, &o.clips)
	// The network is the condition; the clips are those without another.
	c.Flags().Lookup("conditions").Hidden = true
	c.Flags().StringVar(&o.mode, "mode", "whole", "whole, careful or stream")
	c.Flags().StringVar(&o.model, "model", "whisper-tiny.en", "name of a Whisper model")
	c.Flags().StringVar(&o.compute, "compute", "default", "numbers that the model computes in: default, float32 or int8")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the rows as JSON, without what the media path did")
	return c
}

func (o *benchASR) loss(ctx context.Context, w io.Writer, store *models.Store) error {
	o.clips.Conditions = []string{"wav16"}
	clips, err := o.clips.Clips()
	if err != nil {
		return err
	}
	r, end, err := o.recogniser(ctx, store)
	if err != nil {
		return err
	}
	defer end()
	networks := netsim.Networks()
	var all []bench.Utterance
	stats := make([]benchasr.NetworkStats, len(networks))
	bar := progress(len(clips)*len(networks), "clips")
	for i, network := range networks {
		n := benchasr.NewNetwork(r, network)
		us, err := benchasr.Run(ctx, benchName(o.model, o.mode, o.compute), n, clips, func(done int) { bar(i*len(clips) + done) })
		if err != nil {
			return err
		}
		for j := range us {
			us[j].Condition = network.Name
		}
		all = append(all, us...)
		stats[i] = n.Stats()
	}
	if err := printRows(w, bench.Tally(all, wer.New()), o.asJSON); err != nil || o.asJSON {
		return err
	}
	return lossTable(w, networks, stats)
}

// lossTable prints what the media path did on each network.
func lossTable(w io.Writer, networks []netsim.Network, stats []benchasr.NetworkStats) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nnetwork\tpackets\tlost %\tconcealed %\tinserted %\tlength off, ms/clip\t")
	for i, s := range stats {
		frames := float64(max(1, s.Frames))
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t\n", networks[i].Name, s.Sent, 100*float64(s.Lost)/float64(max(1, s.Sent)),
			100*float64(s.Concealed)/frames, 100*float64(s.Inserted)/frames, float64(s.Off.Milliseconds())/float64(max(1, s.Clips)))
	}
	return t.Flush()
}
