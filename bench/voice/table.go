package voice

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table prints a result for people.
func Table(w io.Writer, r *Result) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s, calibration %s; %s\n", r.Model, r.Calibration, r.Trained)
	fmt.Fprintf(b, "%d speakers, %s\n\n", r.Speakers, r.how())
	fmt.Fprintln(b, "Error rates in %, with intervals of 95 % by speaker; costs in bits")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "trials\tspeech s\ttargets\timpostors\tEER\t\tFRR at FAR 1 %\t\tat 0.1 %\t\tminDCF\tCllr\tloss\t")
	for i := range r.Rows {
		x := &r.Rows[i]
		fmt.Fprintf(t, "%s\t%g\t%d\t%d\t%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t\n", x.Cut, x.Seconds, x.Targets, x.Impostors,
			x.EER.cells(2), x.FRR1.cells(2), x.FRR01.cells(2), x.MinDCF, x.Cllr, x.Loss)
	}
	t.Flush()
	fmt.Fprintln(b, "\nAt fixed thresholds, in %, with intervals of 95 % by speaker")
	t = tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "trials\tspeech s\tLLR\tFAR\t\tFRR\t\t")
	for i := range r.Rows {
		for _, x := range r.Rows[i].Fixed {
			if r.Rows[i].Cut == Pooled {
				fmt.Fprintf(t, "%s\t%g\t%.1f\t%s\t%s\t\n", Pooled, r.Rows[i].Seconds, x.LLR, x.FAR.cells(3), x.FRR.cells(2))
			}
		}
	}
	t.Flush()
	if len(r.Decisions) > 0 {
		fmt.Fprintln(b, "\nSequential decisions in replayed calls, in %; times in seconds of speech")
		t = tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "calls\tFAR asked\taccept\ttrue\tmatched\t\tundecided\tmismatched\tafter\tp90\timpostors\tmatched\t\tundecided\tmismatched\tafter\t")
		for i := range r.Decisions {
			d := &r.Decisions[i]
			fmt.Fprintf(t, "%s\t%.4g\t%.1f\t%d\t%s\t%.2f\t%.2f\t%.1f\t%.1f\t%d\t%s\t%.2f\t%.2f\t%.1f\t\n", d.Cut, 100*d.FAR, d.Accept,
				d.True.Count, d.True.Match.cells(2), 100*d.True.Undecided.Value, 100*d.True.Mismatch.Value, d.True.ToMatch.Mean, d.True.ToMatch.P90,
				d.Impostors.Count, d.Impostors.Match.cells(3), 100*d.Impostors.Undecided.Value, 100*d.Impostors.Mismatch.Value, d.Impostors.ToMismatch.Mean)
		}
		t.Flush()
	}
	if len(r.Speeds) > 0 {
		fmt.Fprintln(b, "\nAn embedding costs, in seconds of one core for a second of speech:")
		for _, s := range r.Speeds {
			fmt.Fprintf(b, "  %4g s of speech: %.4f\n", s.Seconds, s.Cores)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "\n%s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// how says what the parameters had seen.
func (r *Result) how() string {
	if r.Folds == 0 {
		return "parameters as they are"
	}
	return fmt.Sprintf("dealt into %d folds: each trial scored by parameters trained without the folds of both its speakers", r.Folds)
}

// cells are a share in percent and its interval, for two columns.
func (f Figure) cells(digits int) string {
	if f.CI == nil {
		return fmt.Sprintf("%.*f\t-", digits, 100*f.Value)
	}
	return fmt.Sprintf("%.*f\t%.*f–%.*f", digits, 100*f.Value, digits, 100*f.CI[0], digits, 100*f.CI[1])
}
