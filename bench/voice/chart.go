package voice

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

// Size of charts, in points of 1/72 inch.
const (
	chartWidth = 480
	detHeight  = 400
	timeHeight = 240
)

// inks are the colours of lines, each readable on white and on black.
func inks() []color.RGBA {
	return []color.RGBA{
		{0x2f, 0x81, 0xf7, 255}, {0xd9, 0x77, 0x06, 255}, {0x10, 0xa3, 0x71, 255}, {0xe5, 0x48, 0x4d, 255}, {0x8b, 0x5c, 0xf6, 255}, {0x0e, 0x9f, 0xb5, 255},
	}
}

// hex is a colour as a page writes it.
func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// text is the colour of axes and words. In the finished picture it becomes the
// colour of the page's text, which differs by day and by night.
func text() color.RGBA { return color.RGBA{0x01, 0x02, 0x03, 255} }

func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	face := font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color = text()
		a.Label.TextStyle.Color, a.Label.TextStyle.Font = text(), face
		a.Tick.Color, a.Tick.Label.Color, a.Tick.Label.Font = text(), text(), face
		a.LineStyle.Width, a.Tick.LineStyle.Width = 0.5, 0.5
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	grid := plotter.NewGrid()
	faint := draw.LineStyle{Color: color.RGBA{0x80, 0x80, 0x80, 255}, Width: 0.25}
	grid.Horizontal, grid.Vertical = faint, faint
	p.Add(grid)
	return p
}

// line is a line of a chart.
type line struct {
	name string
	at   plotter.XYs
}

func addLines(p *plot.Plot, all []line) error {
	for i := range all {
		l, err := plotter.NewLine(all[i].at)
		if err != nil {
			return fmt.Errorf("chart line %s: %w", all[i].name, err)
		}
		l.LineStyle = draw.LineStyle{Color: inks()[i%len(inks())], Width: 1.4}
		p.Add(l)
	}
	return nil
}

// Rates on the axes of a DET plot. What is below or above is drawn at the edge.
const (
	lowestRate  = 0.0001
	highestRate = 0.4
)

// probit is the quantile of the normal distribution: on axes of it, scores that are
// normally distributed make a straight line (Martin et al., The DET curve, 1997).
func probit(p float64) float64 {
	return math.Sqrt2 * math.Erfinv(2*min(max(p, lowestRate), highestRate)-1)
}

// detTicks marks rates on an axis of their probits.
func detTicks(_, _ float64) []plot.Tick {
	var out []plot.Tick
	for _, p := range []float64{0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4} {
		out = append(out, plot.Tick{Value: probit(p), Label: fmt.Sprintf("%g", 100*p)})
	}
	return out
}

// detLine is a DET curve as a line between probits.
func detLine(name string, points []Point) line {
	l := line{name: name}
	for _, p := range points {
		x, y := probit(p.FAR), probit(p.FRR)
		if n := len(l.at); n > 0 && l.at[n-1].X == x && l.at[n-1].Y == y {
			continue
		}
		l.at = append(l.at, plotter.XY{X: x, Y: y})
	}
	return l
}

// detPlot draws DET curves; nil of none.
func detPlot(all []line) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("impostors accepted (FAR), %", "true callers rejected (FRR), %")
	if err := addLines(p, all); err != nil {
		return nil, err
	}
	equal, err := plotter.NewLine(plotter.XYs{{X: probit(lowestRate), Y: probit(lowestRate)}, {X: probit(highestRate), Y: probit(highestRate)}})
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	equal.LineStyle = draw.LineStyle{Color: text(), Width: 0.25}
	p.Add(equal)
	// The last label needs room.
	p.X.Min, p.X.Max = probit(lowestRate), probit(highestRate)+0.05
	p.Y.Min, p.Y.Max = p.X.Min, p.X.Max
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(detTicks), plot.TickerFunc(detTicks)
	return finish(p, detHeight)
}

// shares are the calls that were decided by each half second, in percent of all, as
// a staircase.
func shares(name string, t Times, calls int) line {
	l := line{name: name, at: plotter.XYs{{}}}
	sum := 0
	for i, n := range t.Counts {
		before := percent(sum, calls)
		sum += n
		x := float64(i+1) / halves
		l.at = append(l.at, plotter.XY{X: x, Y: before}, plotter.XY{X: x, Y: percent(sum, calls)})
	}
	l.at = append(l.at, plotter.XY{X: max(timeEnd, l.at[len(l.at)-1].X), Y: percent(sum, calls)})
	return l
}

// timeEnd is how far charts over time reach at least, in seconds.
const timeEnd = 15

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// timePlot draws shares over seconds of speech; nil of no lines.
func timePlot(y string, all []line) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	p := newPlot("seconds of speech", y)
	if err := addLines(p, all); err != nil {
		return nil, err
	}
	p.X.Min, p.Y.Min, p.Y.Max = 0, 0, 100
	p.X.Max += 0.5
	return finish(p, timeHeight)
}

// bars draws in which half second decisions fell, in percent of all decisions.
func bars(t Times, ink int) ([]byte, error) {
	sum := 0
	for _, n := range t.Counts {
		sum += n
	}
	if sum == 0 {
		return nil, nil
	}
	p := newPlot("seconds of speech", "share of the decisions, %")
	fill := inks()[ink]
	for i, n := range t.Counts {
		x0, x1, y := (float64(i)+0.08)/halves, (float64(i)+0.92)/halves, percent(n, sum)
		box, err := plotter.NewPolygon(plotter.XYs{{X: x0}, {X: x0, Y: y}, {X: x1, Y: y}, {X: x1}})
		if err != nil {
			return nil, fmt.Errorf("chart of a distribution: %w", err)
		}
		box.Color, box.LineStyle.Color, box.LineStyle.Width = fill, fill, 0.2
		p.Add(box)
	}
	p.X.Min, p.Y.Min = 0, 0
	p.X.Max = max(timeEnd, p.X.Max) + 0.5
	return finish(p, timeHeight)
}

// finish draws the chart as SVG for a page.
func finish(p *plot.Plot, height vg.Length) ([]byte, error) {
	c := vgsvg.New(chartWidth, height)
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
