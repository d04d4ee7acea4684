package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Table prints rows for people: a line for each set, condition and engine,
// with the engines' lines on one set and condition next to each other.
func Table(w io.Writer, rows []Row) error {
	type key struct{ set, condition string }
	rank := map[key]int{}
	lags := false
	for _, r := range rows {
		k := key{r.Set, r.Condition}
		if _, ok := rank[k]; !ok {
			rank[k] = len(rank)
		}
		lags = lags || len(r.lags) > 0
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		return rank[key{a.Set, a.Condition}] - rank[key{b.Set, b.Condition}]
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head, format := "set\tcondition\tengine\tclips\twords\tWER %\tsub\tins\tdel\taudio s\tCPU s\tRTF\t", "%s\t%s\t%s\t%d\t%d\t%.2f\t%d\t%d\t%d\t%.0f\t%.1f\t%.3f\t"
	if lags {
		head += "lag p50 s\tlag p95 s\t"
	}
	fmt.Fprintln(t, head)
	for _, r := range rows {
		fmt.Fprintf(t, format, r.Set, r.Condition, r.Engine, r.Utterances, r.Words, r.WER, r.Sub, r.Ins, r.Del, r.Seconds, r.CPU, r.RTF)
		switch {
		case len(r.lags) > 0:
			fmt.Fprintf(t, "%.2f\t%.2f\t", r.LagP50, r.LagP95)
		case lags:
			fmt.Fprint(t, "-\t-\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
