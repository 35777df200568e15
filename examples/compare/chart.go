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

// Both charts have two logarithmic scales: the cost of poll and select grows
// with the number of descriptors from a few microseconds to thousands, and
// epoll's line should still be seen beside it.

// A line is one backend's cost: microseconds an event against watched
// descriptors, ascending.
type line struct {
	name string
	plotter.XYs
}

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

// logAt interpolates the line as it is drawn: straight between the logarithms.
func (l line) logAt(logX float64) float64 {
	i := 1
	for i < len(l.XYs)-1 && math.Log10(l.XYs[i].X) < logX {
		i++
	}
	x0, y0 := math.Log10(l.XYs[i-1].X), math.Log10(l.XYs[i-1].Y)
	x1, y1 := math.Log10(l.XYs[i].X), math.Log10(l.XYs[i].Y)
	return y0 + (y1-y0)*(logX-x0)/(x1-x0)
}

// The terminal's chart has so many rows for a factor of ten, and so much space
// for the figures at its left.
const (
	rowsPerDecade = 6
	minRows       = 9
	margin        = 9
)

var terminalColors = []asciigraph.AnsiColor{
	asciigraph.DodgerBlue, asciigraph.Orange, asciigraph.MediumSeaGreen, asciigraph.Orchid, asciigraph.Gold,
}

// drawText draws the terminal's chart. Where there is no color, a line is made
// of its backend's initial. One number of connections makes no line.
func drawText(a activity, results []result, s style) string {
	lines := linesOf(results)
	first, last := lines[0].XYs[0].X, lines[0].XYs[len(lines[0].XYs)-1].X
	if first == last {
		return ""
	}
	minX, maxX := math.Log10(first), math.Log10(last)
	width := s.width - margin - 3

	series := make([][]float64, len(lines))
	low, high := math.Inf(1), math.Inf(-1)
	for i, l := range lines {
		for x := range width {
			y := l.logAt(minX + (maxX-minX)*float64(x)/float64(width-1))
			series[i] = append(series[i], y)
			low, high = min(low, y), max(high, y)
		}
	}
	// Bounds on whole rows, so that asciigraph's rows and ours are the same.
	bottom := math.Floor(low * rowsPerDecade)
	rows := max(math.Ceil(high*rowsPerDecade)-bottom, minRows)
	takeTurns(series)

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
				label = rounded(math.Pow(10, logY))
			}
			return fmt.Sprintf("%*s", margin-3, label)
		}),
	)
	return fmt.Sprintf("µs an event, %v%s\n%s\n%s\n", a, &legend, chart, axis(lines[0], width))
}

// rounded keeps two digits: 4642 is 4600.
func rounded(v float64) string {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 1, 64), 64)
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// takeTurns makes lines that run in the same row alternate, each visible for
// three columns: otherwise the last one would hide the others.
func takeTurns(series [][]float64) {
	row := func(y float64) float64 { return math.Round(y * rowsPerDecade) }
	for x := range series[0] {
		var shared []int
		for i := range series {
			for j := range series {
				if i != j && row(series[i][x]) == row(series[j][x]) {
					shared = append(shared, i)
					break
				}
			}
		}
		for turn, i := range shared {
			if x/3%len(shared) != turn {
				series[i][x] = math.NaN()
			}
		}
	}
}

// axis draws the horizontal axis: a tick and a figure where the line was
// measured, as far as there is room. (asciigraph has ticks at even distances.)
func axis(l line, width int) string {
	minX, maxX := math.Log10(l.XYs[0].X), math.Log10(l.XYs[len(l.XYs)-1].X)
	ticks := []rune(strings.Repeat("─", width))
	var labels strings.Builder
	for _, p := range l.XYs {
		column := int(math.Round((math.Log10(p.X) - minX) / (maxX - minX) * float64(width-1)))
		label := strconv.Itoa(int(p.X))
		start := margin + column - len(label)/2
		ticks[column] = '┬'
		if gap := start - labels.Len(); gap > 0 {
			labels.WriteString(strings.Repeat(" ", gap) + label)
		}
	}
	const name = "watched descriptors"
	return strings.Repeat(" ", margin-1) + "└" + string(ticks) + "\n" + labels.String() + "\n" +
		strings.Repeat(" ", margin+(width-len(name))/2) + name
}

// Colors that most people can tell apart (Okabe and Ito), and a dash pattern
// for each activity after the first.
var (
	svgColors = []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	}
	svgDashes = [][]vg.Length{nil, {6, 4}, {2, 3}, {8, 3, 2, 3}}
)

// drawSVG draws all activities into one chart.
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
	for i, a := range c.active {
		for j, l := range linesOf(resultsOf(a, results)) {
			drawn, points, err := plotter.NewLinePoints(l)
			if err != nil {
				return err
			}
			drawn.Color, points.Color = svgColors[j%len(svgColors)], svgColors[j%len(svgColors)]
			drawn.Width = 2
			drawn.Dashes = svgDashes[i%len(svgDashes)]
			points.Shape = draw.CircleGlyph{}
			p.Add(drawn, points)
			p.Legend.Add(fmt.Sprintf("%s, %v", l.name, a), drawn, points)
		}
	}
	widen(&p.X)
	widen(&p.Y)
	canvas := vgsvg.New(8*vg.Inch, 5*vg.Inch)
	p.Draw(draw.Crop(draw.New(canvas), 10, -20, 10, -10))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// vgsvg names one font; who does not have it should see one like it.
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;")))
	return err
}

// widen gives an axis some room if there is next to nothing to show on it. The
// library would go below 0, which no logarithmic axis has.
func widen(a *plot.Axis) {
	if a.Max < 1.1*a.Min {
		a.Min, a.Max = a.Min/2, a.Max*2
	}
}

// svgTicks puts a tick where it was measured, and a figure if it is not too
// close to the one before.
func svgTicks(conns []int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	apart := math.Pow(float64(conns[len(conns)-1])/float64(conns[0]), 0.06)
	last := 0.0
	for _, n := range conns {
		tick := plot.Tick{Value: float64(2 * n)}
		if tick.Value >= last*apart {
			last, tick.Label = tick.Value, strconv.Itoa(2*n)
		}
		ticks = append(ticks, tick)
	}
	return ticks
}
