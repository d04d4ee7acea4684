package voice

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed report.html
var page string

// picture is a chart with its key.
type picture struct {
	Title string
	SVG   template.HTML
	Keys  []key
}

type key struct{ Name, Ink string }

// HTML writes the report as one page with everything in it, for light and dark
// screens.
func HTML(w io.Writer, r *Result) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent":  func(v float64) string { return fmt.Sprintf("%.2f", 100*v) },
		"percent3": func(v float64) string { return fmt.Sprintf("%.3f", 100*v) },
		"ci": func(f Figure) string {
			if f.CI == nil {
				return ""
			}
			return fmt.Sprintf("%.2f–%.2f", 100*f.CI[0], 100*f.CI[1])
		},
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	curves, err := curvePictures(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	waits, err := timePictures(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return t.Execute(w, struct {
		R             *Result
		How           string
		Big           []Fact
		Curves, Times []picture
	}{r, r.how(), big(r), curves, waits})
}

// big is what a reader looks for first.
func big(r *Result) []Fact {
	var out []Fact
	for i := range r.Rows {
		if x := &r.Rows[i]; x.Cut == Pooled {
			out = append(out, Fact{fmt.Sprintf("EER at %g s", x.Seconds), fmt.Sprintf("%.2f %%", 100*x.EER.Value)})
		}
	}
	for i := range r.Decisions {
		d := &r.Decisions[i]
		if d.Cut != Pooled {
			continue
		}
		asked := fmt.Sprintf("FAR %.4g %%", 100*d.FAR)
		out = append(out,
			Fact{"true callers matched, " + asked, fmt.Sprintf("%.1f %%", 100*d.True.Match.Value)},
			Fact{"impostors matched, " + asked, fmt.Sprintf("%.3f %%", 100*d.Impostors.Match.Value)},
			Fact{"speech to a match, " + asked, fmt.Sprintf("%.1f s", d.True.ToMatch.Mean)})
	}
	return out
}

func newPicture(title string, svg []byte, lines []line) picture {
	p := picture{Title: title, SVG: template.HTML(svg)} // our own drawing
	for i, l := range lines {
		p.Keys = append(p.Keys, key{l.name, hex(inks()[i%len(inks())])})
	}
	return p
}

// curvePictures draws the DET curves: the pooled trials by length, then the cuts at
// each length.
func curvePictures(r *Result) ([]picture, error) {
	var byLength []line
	byCut := map[float64][]line{}
	var lengths []float64
	for _, c := range r.Curves {
		if c.Cut == Pooled {
			byLength = append(byLength, detLine(fmt.Sprintf("%g s", c.Seconds), c.Points))
		}
		if strings.HasPrefix(c.Cut, channelCut) {
			continue
		}
		if !slices.Contains(lengths, c.Seconds) {
			lengths = append(lengths, c.Seconds)
		}
		byCut[c.Seconds] = append(byCut[c.Seconds], detLine(c.Cut, c.Points))
	}
	slices.Sort(lengths)
	var out []picture
	add := func(title string, lines []line) error {
		svg, err := detPlot(lines)
		if err == nil && svg != nil {
			out = append(out, newPicture(title, svg, lines))
		}
		return err
	}
	if err := add("By seconds of speech, adults, all conditions", byLength); err != nil {
		return nil, err
	}
	for _, s := range lengths {
		if err := add(fmt.Sprintf("At %g s", s), byCut[s]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// timePictures draws how long decisions took in the pooled calls.
func timePictures(r *Result) ([]picture, error) {
	var matched, mismatched []line
	var out []picture
	for i := range r.Decisions {
		d := &r.Decisions[i]
		if d.Cut != Pooled {
			continue
		}
		name := fmt.Sprintf("FAR %.4g %%", 100*d.FAR)
		matched = append(matched, shares(name, d.True.ToMatch, d.True.Count))
		mismatched = append(mismatched, shares(name, d.Impostors.ToMismatch, d.Impostors.Count))
	}
	for _, c := range []struct {
		title, y string
		lines    []line
	}{{"True callers matched by then", "true callers, %", matched}, {"Impostors found out by then", "impostors, %", mismatched}} {
		svg, err := timePlot(c.y, c.lines)
		if err != nil {
			return nil, err
		}
		if svg != nil {
			out = append(out, newPicture(c.title, svg, c.lines))
		}
	}
	ink := 0
	for i := range r.Decisions {
		d := &r.Decisions[i]
		if d.Cut != Pooled {
			continue
		}
		svg, err := bars(d.True.ToMatch, ink%len(inks()))
		if err != nil {
			return nil, err
		}
		ink++
		if svg != nil {
			out = append(out, newPicture(fmt.Sprintf("When true callers are matched, FAR %.4g %%", 100*d.FAR), svg, nil))
		}
	}
	return out, nil
}
