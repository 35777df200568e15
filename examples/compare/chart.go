package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/guptarohit/asciigraph"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Both charts have two logarithmic scales. The cost of poll and select grows
// with the number of descriptors, from a few microseconds to thousands. On
// linear scales the line of epoll would not be visible beside it.

// A line is the cost of one backend. X is the number of watched descriptors, in
// ascending order, and Y is the cost of an event in microseconds.
type line struct {
	name string // of the backend
	plotter.XYs
}

// linesOf returns one line for each backend in results.
func linesOf(results []result) (lines []line) {
	for _, r := range results {
		i := slices.IndexFunc(lines, func(l line) bool { return l.name == r.backend.Name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, line{name: r.backend.Name})
		}
		lines[i].XYs = append(lines[i].XYs, plotter.XY{X: float64(r.fds()), Y: r.wall})
	}
	return lines
}

// logY returns the logarithm of the cost at 10^logX descriptors. It interpolates
// linearly between the logarithms of the measured points.
func (l line) logY(logX float64) float64 {
	i := 1
	for i < len(l.XYs)-1 && math.Log10(l.XYs[i].X) < logX {
		i++
	}
	x0, y0 := math.Log10(l.XYs[i-1].X), math.Log10(l.XYs[i-1].Y)
	x1, y1 := math.Log10(l.XYs[i].X), math.Log10(l.XYs[i].Y)
	return y0 + (y1-y0)*(logX-x0)/(x1-x0)
}

// The size of the chart for the terminal.
const (
	rowsPerDecade = 6 // rows for a factor of ten
	minRows       = 9
	leftMargin    = 9 // columns; for the labels of the vertical axis
)

var terminalColors = []asciigraph.AnsiColor{
	asciigraph.DodgerBlue, asciigraph.Orange, asciigraph.MediumSeaGreen, asciigraph.Orchid, asciigraph.Gold,
}

// drawText returns the chart for the terminal. Without color, each line consists
// of the first letter of its backend. With a single number of connections there
// are no lines to draw, and the result is empty.
func drawText(a activity, results []result, s style) string {
	lines := linesOf(results)
	if minX, maxX := lines[0].logXRange(); minX == maxX {
		return ""
	}
	width := s.width - leftMargin - 3
	series, low, high := sampleLines(lines, width)
	// The bounds are whole rows, so that alternateOverlaps rounds as asciigraph does.
	bottom := math.Floor(low * rowsPerDecade)
	rows := max(math.Ceil(high*rowsPerDecade)-bottom, minRows)
	alternateOverlaps(series)

	var legend strings.Builder
	var colors []asciigraph.AnsiColor
	var chars []asciigraph.CharSet
	for i, l := range lines {
		if s.color {
			colors = append(colors, terminalColors[i%len(terminalColors)])
			chars = append(chars, asciigraph.CharSet{StartCap: "─", EndCap: "─"})
			fmt.Fprintf(&legend, "   %s━━%s %s", colors[i], asciigraph.Default, l.name)
		} else {
			chars = append(chars, asciigraph.CreateCharSet(l.name[:1]))
			fmt.Fprintf(&legend, "   %s %s", strings.Repeat(l.name[:1], 2), l.name)
		}
	}
	chart := asciigraph.PlotMany(series,
		asciigraph.Height(int(rows)),
		asciigraph.LowerBound(bottom/rowsPerDecade),
		asciigraph.UpperBound((bottom+rows)/rowsPerDecade),
		asciigraph.SeriesColors(colors...),
		asciigraph.SeriesChars(chars...),
		asciigraph.YAxisValueFormatter(func(logY float64) string {
			label := ""
			if int(math.Round(logY*rowsPerDecade))%2 == 0 {
				label = roundTwoDigits(math.Pow(10, logY))
			}
			return fmt.Sprintf("%*s", leftMargin-3, label)
		}),
	)
	return fmt.Sprintf("µs an event, %v%s\n%s\n%s\n", a, &legend, chart, axis(lines[0], width))
}

// logXRange returns the logarithms of the smallest and the largest number of
// descriptors.
func (l line) logXRange() (minX, maxX float64) {
	return math.Log10(l.XYs[0].X), math.Log10(l.XYs[len(l.XYs)-1].X)
}

// sampleLines returns the logarithm of the cost for each line and each of width
// columns, and the lowest and the highest of these values.
func sampleLines(lines []line, width int) (series [][]float64, low, high float64) {
	minX, maxX := lines[0].logXRange()
	series = make([][]float64, len(lines))
	low, high = math.Inf(1), math.Inf(-1)
	for i, l := range lines {
		for x := range width {
			y := l.logY(minX + (maxX-minX)*float64(x)/float64(width-1))
			series[i] = append(series[i], y)
			low, high = min(low, y), max(high, y)
		}
	}
	return series, low, high
}

// roundTwoDigits formats v with two significant digits: 4642 becomes 4600.
func roundTwoDigits(v float64) string {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 1, 64), 64)
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// alternateOverlaps makes lines that are in the same row visible alternately, for
// three columns each. Otherwise the last one would hide the others.
func alternateOverlaps(series [][]float64) {
	row := func(y float64) float64 { return math.Round(y * rowsPerDecade) }
	for x := range series[0] {
		var overlapping []int // indexes of series
		for i := range series {
			for j := range series {
				if i != j && row(series[i][x]) == row(series[j][x]) {
					overlapping = append(overlapping, i)
					break
				}
			}
		}
		for k, i := range overlapping {
			if x/3%len(overlapping) != k {
				series[i][x] = math.NaN() // not drawn
			}
		}
	}
}

// axis returns the horizontal axis. It has a tick at each measured point of l, and
// a label if there is room. The axis of asciigraph is not used, because its ticks
// are at equal distances.
func axis(l line, width int) string {
	minX, maxX := l.logXRange()
	ticks := []rune(strings.Repeat("─", width))
	var labels strings.Builder
	for _, p := range l.XYs {
		column := int(math.Round((math.Log10(p.X) - minX) / (maxX - minX) * float64(width-1)))
		label := strconv.Itoa(int(p.X))
		start := leftMargin + column - len(label)/2
		ticks[column] = '┬'
		if gap := start - labels.Len(); gap > 0 {
			labels.WriteString(strings.Repeat(" ", gap) + label)
		}
	}
	const title = "watched descriptors"
	return strings.Repeat(" ", leftMargin-1) + "└" + string(ticks) + "\n" + labels.String() + "\n" +
		strings.Repeat(" ", leftMargin+(width-len(title))/2) + title
}

// The style of a line in the SVG chart. The color shows the backend, and the dash
// pattern shows the activity. Most people can tell these colors apart (Okabe and
// Ito).
var (
	svgColors = []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	}
	svgDashes = [][]vg.Length{nil, {6, 4}, {2, 3}, {8, 3, 2, 3}}
)

// drawSVG writes one chart with the lines of all activities.
func drawSVG(w io.Writer, c *config, results []result) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Cost of an event: TCP echo over loopback, %s/%s, %s", runtime.GOOS, runtime.GOARCH, runtime.Version())
	p.Title.Padding = 10
	p.X.Label.Text = "watched descriptors"
	p.Y.Label.Text = "µs an event"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = svgTicks(c.conns), plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding, p.Legend.XOffs = 3, 10
	p.Add(plotter.NewGrid())
	if err := addLines(p, c.active, results); err != nil {
		return err
	}
	widen(&p.X)
	widen(&p.Y)
	canvas := vgsvg.New(8*vg.Inch, 5*vg.Inch)
	p.Draw(draw.Crop(draw.New(canvas), 10, -20, 10, -10))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// vgsvg names a single font. Add similar fonts for systems that do not have it.
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;")))
	return err
}

// addLines adds a line for each backend and activity, with its points and its
// entry in the legend.
func addLines(p *plot.Plot, activities []activity, results []result) error {
	for i, a := range activities {
		for j, l := range linesOf(resultsOf(a, results)) {
			curve, points, err := plotter.NewLinePoints(l)
			if err != nil {
				return err
			}
			curve.Color, points.Color = svgColors[j%len(svgColors)], svgColors[j%len(svgColors)]
			curve.Width = 2
			curve.Dashes = svgDashes[i%len(svgDashes)]
			points.Shape = draw.CircleGlyph{}
			p.Add(curve, points)
			p.Legend.Add(fmt.Sprintf("%s, %v", l.name, a), curve, points)
		}
	}
	return nil
}

// widen extends an axis whose values are almost equal. The library would extend
// it below 0, where there are no logarithms.
func widen(a *plot.Axis) {
	if a.Max < 1.1*a.Min {
		a.Min, a.Max = a.Min/2, a.Max*2
	}
}

// svgTicks returns a tick for each number of connections. A tick has a label if it
// is not too close to the label before it.
func svgTicks(conns []int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	minRatio := math.Pow(float64(conns[len(conns)-1])/float64(conns[0]), 0.06) // of adjacent labels
	lastLabel := 0.0
	for _, n := range conns {
		tick := plot.Tick{Value: float64(2 * n)}
		if tick.Value >= lastLabel*minRatio {
			lastLabel, tick.Label = tick.Value, strconv.Itoa(2*n)
		}
		ticks = append(ticks, tick)
	}
	return ticks
}
