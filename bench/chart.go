package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Values in one chart differ by several powers of ten, so the scales are
// logarithmic. A logarithmic scale has no zero at which bars could start, so the
// charts show dots.

// colors are colors that most people can tell apart, after Okabe and Ito.
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x44, 0x44, 0x44, 0xff}, color.RGBA{0xb0, 0x20, 0x20, 0xff},
}

var (
	glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}
	dashes = [][]vg.Length{nil, {7, 4}, {2, 3}}
)

// A chartSeries is a named set of points with the same color and glyph.
type chartSeries struct {
	name string
	plotter.XYs
}

// draw returns a workload's chart as SVG, or nil if there is nothing to draw.
func (r *report) draw(w *workload) ([]byte, error) {
	shapes, contenders := r.measured(w)
	contenders = slices.DeleteFunc(contenders, func(c *contender) bool { return c.omitFromChart })
	if len(shapes) == 0 || w.chart == "" {
		return nil, nil
	}
	var charted []*metric
	for i := range w.metrics {
		if w.metrics[i].chart {
			charted = append(charted, &w.metrics[i])
		}
	}
	addPoint := func(l *chartSeries, x, y float64) {
		if x > 0 && y >= 0 { // false for NaN
			l.XYs = append(l.XYs, plotter.XY{X: x, Y: y})
		}
	}
	if w.chart == "lines" {
		var series []chartSeries
		for _, c := range contenders {
			l := chartSeries{name: c.name}
			for _, s := range shapes {
				x, err := strconv.ParseFloat(s.name, 64)
				if err != nil {
					return nil, err
				}
				if y := r.value(w, s, c.name, charted[0]); y > 0 {
					addPoint(&l, x, y)
				}
			}
			series = append(series, l)
		}
		return drawLines(w.title, w.xAxis, charted[0].unit, series)
	}
	// Each contender has a row, the first one at the top. Each shape or metric has a
	// kind of dot.
	var rows []string
	for _, c := range contenders {
		rows = append(rows, c.name)
	}
	var series []chartSeries
	add := func(name string, s *shape, m *metric) {
		l := chartSeries{name: name}
		for i, c := range contenders {
			addPoint(&l, r.value(w, s, c.name, m), float64(len(rows)-1-i))
		}
		series = append(series, l)
	}
	unit := charted[0].unit
	if w.metricColumns && len(charted) > 1 {
		for _, m := range charted {
			add(m.name, shapes[0], m)
		}
	} else {
		unit = charted[0].name + ", " + unit
		for _, s := range shapes {
			add(s.name, s, charted[0])
		}
	}
	return drawDots(w.title, unit, rows, series)
}

func newPlot(title string) *plot.Plot {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = 10
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks{}
	return p
}

// logTicks places labels at 1, 2 and 5 times the powers of ten (only at the powers
// if the range is large) and ticks at the other multiples.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range []float64{1, 2, 3, 4, 5, 6, 7, 8, 9} {
			v := m * math.Pow(10, e)
			if v < low*0.999 || v > high*1.001 {
				continue
			}
			label := ""
			if m == 1 || high/low < 300 && (m == 2 || m == 5) {
				label = strconv.FormatFloat(v, 'g', 3, 64)
				if v >= 100 {
					label = strconv.FormatFloat(v, 'f', 0, 64)
				}
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

func drawLines(title, x, y string, series []chartSeries) ([]byte, error) {
	p := newPlot(title)
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	p.Add(plotter.NewGrid())
	legend := plot.NewLegend()
	for i, l := range series {
		if len(l.XYs) == 0 {
			continue
		}
		drawn, points, err := plotter.NewLinePoints(l)
		if err != nil {
			return nil, err
		}
		drawn.Color, points.Color = colors[i%3], colors[i%3]
		drawn.Width, drawn.Dashes = 1.5, dashes[i/3%3]
		points.Shape = glyphs[i/3%3]
		p.Add(drawn, points)
		legend.Add(l.name, drawn, points)
	}
	padLogAxis(&p.X)
	padLogAxis(&p.Y)
	return render(p, &legend, 5*vg.Inch)
}

func drawDots(title, x string, rows []string, series []chartSeries) ([]byte, error) {
	p := newPlot(title)
	p.X.Label.Text = x
	p.NominalY(reversed(rows)...)
	p.Y.Min, p.Y.Max = -0.7, float64(len(rows))-0.3
	grid := plotter.NewGrid()
	grid.Horizontal.Color = color.Gray{0xdd}
	p.Add(grid)
	legend := plot.NewLegend()
	for i, l := range series {
		if len(l.XYs) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(l)
		if err != nil {
			return nil, err
		}
		dots.Color, dots.Shape, dots.Radius = colors[i%len(colors)], glyphs[i%len(glyphs)], 3.5
		p.Add(dots)
		legend.Add(l.name, dots)
	}
	p.Y.Min, p.Y.Max = -0.7, float64(len(rows))-0.3
	padLogAxis(&p.X)
	return render(p, &legend, vg.Length(len(rows))*0.24*vg.Inch+1.3*vg.Inch)
}

func reversed(v []string) []string {
	w := make([]string, len(v))
	for i, s := range v {
		w[len(v)-1-i] = s
	}
	return w
}

// padLogAxis extends a logarithmic axis at both ends. The library's own padding
// could make the lower end negative.
func padLogAxis(a *plot.Axis) {
	if a.Min <= 0 || math.IsInf(a.Min, 0) || math.IsInf(a.Max, 0) {
		a.Min, a.Max = 1, 10
	}
	a.Min, a.Max = a.Min/1.15, a.Max*1.15
	if a.Max < 2*a.Min {
		a.Min, a.Max = a.Min/1.5, a.Max*1.5
	}
}

// render draws the plot with the legend on its right and returns the SVG.
func render(p *plot.Plot, legend *plot.Legend, height vg.Length) ([]byte, error) {
	const width, legendWidth = 9.3 * vg.Inch, 2.1 * vg.Inch
	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	p.BackgroundColor = nil
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	p.Draw(draw.Crop(all, 10, -legendWidth, 10, -10))
	legend.Top, legend.Left, legend.Padding = true, true, 3
	legend.Draw(draw.Crop(all, width-legendWidth+12, 0, 0, -40))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return nil, fmt.Errorf("svg: %w", err)
	}
	// vgsvg names one font only, so add fallbacks for systems without it.
	return bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;")), nil
}
