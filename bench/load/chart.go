package load

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of a chart, in points of 1/72 inch.
const (
	chartWidth  = 480
	chartHeight = 200
)

// inks are the colours of lines, each readable on white and on black.
func inks() []color.RGBA {
	return []color.RGBA{{0x2f, 0x81, 0xf7, 255}, {0xd9, 0x77, 0x06, 255}, {0x10, 0xa3, 0x71, 255}, {0xe5, 0x48, 0x4d, 255}, {0x8b, 0x5c, 0xf6, 255}}
}

// hex is a colour as a page writes it.
func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// text is the colour of axes and words. In the finished picture it becomes the
// colour of the page's text, which differs by day and by night.
func text() color.RGBA { return color.RGBA{0x01, 0x02, 0x03, 255} }

// xy is a line of a chart.
type xy struct {
	Name   string
	Points []Sample
	// Thin lines are dashed.
	Thin bool
	Ink  int
}

// newPlot is a chart without content.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	face := font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color = text()
		a.Label.TextStyle.Color, a.Label.TextStyle.Font = text(), face
		a.Tick.Color, a.Tick.Label.Color, a.Tick.Label.Font = text(), text(), face
		a.LineStyle.Width = 0.5
		a.Tick.LineStyle.Width = 0.5
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	grid := plotter.NewGrid()
	faint := color.RGBA{0x80, 0x80, 0x80, 255}
	grid.Horizontal = draw.LineStyle{Color: faint, Width: 0.25}
	grid.Vertical = draw.LineStyle{}
	p.Add(grid)
	return p
}

// lines draws lines over time, in minutes; nil without any points.
func lines(y string, all []xy) ([]byte, error) {
	p := newPlot("minutes", y)
	drawn := false
	top := 0.0
	for _, l := range all {
		var at plotter.XYs
		for _, s := range l.Points {
			at = append(at, plotter.XY{X: s.At / 60, Y: s.Mean})
			top = max(top, s.Mean)
		}
		if len(at) == 0 {
			continue
		}
		if err := addLine(p, at, l); err != nil {
			return nil, err
		}
		drawn = true
	}
	if !drawn {
		return nil, nil
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max = max(top*1.05, 1e-3)
	return finish(p)
}

func addLine(p *plot.Plot, at plotter.XYs, l xy) error {
	line, err := plotter.NewLine(at)
	if err != nil {
		return fmt.Errorf("chart line %s: %w", l.Name, err)
	}
	line.Color, line.Width = inks()[l.Ink], 1.4
	if l.Thin {
		line.Width, line.Dashes = 1, []vg.Length{3, 2}
	}
	p.Add(line)
	return nil
}

// steps draws values against numbers of calls.
func steps(y string, all []xy) ([]byte, error) {
	p := newPlot("calls at once", y)
	top := 0.0
	for _, l := range all {
		var at plotter.XYs
		for _, s := range l.Points {
			at = append(at, plotter.XY{X: s.At, Y: s.Mean})
			top = max(top, s.Mean)
		}
		if len(at) == 0 {
			continue
		}
		if err := addLine(p, at, l); err != nil {
			return nil, err
		}
		dots, err := plotter.NewScatter(at)
		if err != nil {
			return nil, fmt.Errorf("chart points %s: %w", l.Name, err)
		}
		dots.Color, dots.Shape, dots.Radius = inks()[l.Ink], draw.CircleGlyph{}, 2.5
		p.Add(dots)
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max = max(top*1.05, 1e-3)
	return finish(p)
}

// bars draws a distribution over seconds, which grow by doubling.
func bars(all []Bar, ink int) ([]byte, error) {
	p := newPlot("seconds", "share, %")
	total := 0
	for _, b := range all {
		total += b.Count
	}
	if total == 0 {
		return nil, nil
	}
	fill := inks()[ink]
	for _, b := range all {
		share := 100 * float64(b.Count) / float64(total)
		x0, x1 := math.Log2(b.From), math.Log2(b.To)
		box, err := plotter.NewPolygon(plotter.XYs{{X: x0, Y: 0}, {X: x0, Y: share}, {X: x1, Y: share}, {X: x1, Y: 0}})
		if err != nil {
			return nil, fmt.Errorf("chart of a distribution: %w", err)
		}
		box.Color, box.LineStyle.Color, box.LineStyle.Width = fill, fill, 0.2
		p.Add(box)
	}
	p.Y.Min = 0
	p.X.Tick.Marker = plot.TickerFunc(doublings)
	return finish(p)
}

// doublings marks powers of two, on an axis of their logarithms.
func doublings(low, high float64) []plot.Tick {
	var out []plot.Tick
	for k := math.Ceil(low); k <= high; k++ {
		v := math.Exp2(k)
		label := fmt.Sprintf("%.3g", v)
		if v < 0.1 {
			label = fmt.Sprintf("%.0f ms", 1000*v)
		}
		out = append(out, plot.Tick{Value: k, Label: label})
	}
	return out
}

// finish draws the chart as SVG for a page.
func finish(p *plot.Plot) ([]byte, error) {
	c := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	s := b.String()
	if i := strings.Index(s, "<svg"); i >= 0 {
		s = s[i:]
	}
	return []byte(strings.ReplaceAll(s, hex(text()), "currentColor")), nil
}
