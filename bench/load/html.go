package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed report.html
var page string

// picture is a chart with its key.
type picture struct {
	Title string
	SVG   template.HTML
	Keys  []key
}

type key struct {
	Name, Ink string
	Thin      bool
}

// HTML writes the report as one page with everything in it, for light and dark
// screens.
func HTML(w io.Writer, r *Result) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	charts, err := pictures(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	title := r.Title
	if title == "" {
		title = "Sidetone under load"
	}
	return t.Execute(w, struct {
		Title  string
		R      *Result
		Big    []Fact
		Charts []picture
	}{title, r, big(r), charts})
}

// big is what a reader looks for first.
func big(r *Result) []Fact {
	out := []Fact{{Name: "calls at once", Value: fmt.Sprint(r.Calls.AtOnce)}, {Name: "calls", Value: fmt.Sprint(r.Calls.Opened)}}
	for _, l := range r.Latencies {
		if slices.Contains(latencyNames(), l.Name) {
			out = append(out, Fact{Name: l.Name + " p95", Value: fmt.Sprintf("%.2f s", l.P95)})
		}
	}
	return append(out,
		Fact{Name: "refused", Value: fmt.Sprint(r.Calls.Refused)},
		Fact{Name: "without one end state", Value: fmt.Sprint(r.Calls.NotOnce)},
		Fact{Name: "checks failed", Value: fmt.Sprint(len(r.Failed()))},
		Fact{Name: "cores a call", Value: fmt.Sprintf("%.3f", r.Usage.PerCall)})
}

// scaled are samples in another unit.
func scaled(in []Sample, by float64) []Sample {
	out := make([]Sample, len(in))
	for i, s := range in {
		out[i] = Sample{s.At, s.Mean * by, s.Max * by}
	}
	return out
}

// pictures draws what there is to draw.
func pictures(r *Result) ([]picture, error) {
	var out []picture
	add := func(title string, svg []byte, err error, all []xy) error {
		if err != nil || svg == nil {
			return err
		}
		p := picture{Title: title, SVG: template.HTML(svg)} // our own drawing
		for _, l := range all {
			if len(l.Points) > 0 {
				p.Keys = append(p.Keys, key{l.Name, hex(inks()[l.Ink]), l.Thin})
			}
		}
		out = append(out, p)
		return nil
	}
	s := r.Series
	for _, c := range []struct {
		title, unit string
		lines       []xy
	}{
		{"Calls running", "calls", []xy{{Name: "calls", Points: s["calls"]}, {Name: "panes", Points: s["panes"], Ink: 1, Thin: true}}},
		{"Processor", "cores", []xy{{Name: "server", Points: s["cores"]}, {Name: "load itself", Points: s["own cores"], Ink: 1}, {Name: "idle", Points: s["idle cores"], Ink: 2, Thin: true}}},
		{"Latency, 95th percentile", "seconds", []xy{
			{Name: "card", Points: s["card p95"], Ink: 3}, {Name: "final", Points: s["final p95"]}, {Name: "stable word", Points: s["stable p95"], Ink: 1},
		}},
		{"Latency, median", "seconds", []xy{
			{Name: "card", Points: s["card p50"], Ink: 3}, {Name: "final", Points: s["final p50"]}, {Name: "stable word", Points: s["stable p50"], Ink: 1},
		}},
		{"Memory", "MB", []xy{
			{Name: "server, resident", Points: scaled(s["memory"], 1e-6)}, {Name: "server, heap goal", Points: scaled(s["heap"], 1e-6), Ink: 1},
			{Name: "load itself, resident", Points: scaled(s["own memory"], 1e-6), Ink: 2, Thin: true},
		}},
		{"Goroutines and files of the server", "count", []xy{{Name: "goroutines", Points: s["goroutines"]}, {Name: "files", Points: s["files"], Ink: 1}}},
		{"Recogniser", "share, decodes", []xy{{Name: "workers busy", Points: s["workers"]}, {Name: "decodes waiting", Points: s["queue"], Ink: 1}}},
		{"Waits and pauses", "seconds", []xy{
			{Name: "partials", Points: s["partial wait"]}, {Name: "finals", Points: s["final wait"], Ink: 1}, {Name: "garbage collection", Points: s["gc pause"], Ink: 3},
		}},
	} {
		svg, err := lines(c.unit, c.lines)
		if err = add(c.title, svg, err, c.lines); err != nil {
			return nil, err
		}
	}
	for i, name := range latencyNames() {
		svg, err := bars(r.Bars[name], []int{3, 0, 1}[i])
		if err = add("Distribution: "+name, svg, err, nil); err != nil {
			return nil, err
		}
	}
	if len(r.Steps) < 2 {
		return out, nil
	}
	late, used := stepLines(r.Steps)
	svg, err := steps("seconds", late)
	if err = add("Latency by calls, 95th percentile", svg, err, late); err != nil {
		return nil, err
	}
	svg, err = steps("cores", used)
	if err = add("Processor by calls", svg, err, used); err != nil {
		return nil, err
	}
	return out, nil
}

// stepLines are a ramp's latencies and processor time by the number of calls.
func stepLines(all []Step) (late, used []xy) {
	for i, name := range latencyNames() {
		l := xy{Name: name, Ink: []int{3, 0, 1}[i]}
		for _, s := range all {
			for _, x := range s.Latencies {
				if x.Name == name && x.Count > 0 {
					l.Points = append(l.Points, Sample{At: float64(s.Calls), Mean: x.P95})
				}
			}
		}
		late = append(late, l)
	}
	l := xy{Name: "server"}
	for _, s := range all {
		l.Points = append(l.Points, Sample{At: float64(s.Calls), Mean: s.Usage.Cores})
	}
	return late, []xy{l}
}
