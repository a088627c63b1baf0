package simulation

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// figure is a drawing of panels side by side with one legend. The same figure gives the same bytes.
type figure struct {
	title  string
	panels []panel
	legend []key
}

// panel is a pair of axes with what is drawn between them, in units of the axes.
type panel struct {
	title string
	x, y  axis
	boxes []box
	lines []line
	notes []note
}

// axis goes from low to high. Ticks are all that it shows: a logarithmic axis has the logarithms and labels of its own.
type axis struct {
	label     string
	low, high float64
	ticks     []tick
	room      float64 // pixels for the labels of the ticks
}

type tick struct {
	at    float64
	label string
}

type box struct {
	left, right, bottom, top float64
	color                    string
}

type line struct {
	points []point
	color  string
	dashed bool
	wide   bool
}

type point struct{ x, y float64 }

type note struct {
	at   point
	text string
}

type key struct {
	label, color string
	dashed       bool
}

// Colours that people tell apart who see red and green alike, dark enough on white.
const (
	blue   = "#0b5cad"
	orange = "#c85200"
	purple = "#7b4fa3"
	grey   = "#6b7280"
	ink    = "#1f2328"
)

const (
	figureWidth = 940.0
	panelHeight = 250.0
	panelTop    = 74.0
	panelGap    = 24.0
	letter      = 6.2 // pixels, more or less
)

// draw returns the figure as SVG.
func (f figure) draw() []byte {
	var b bytes.Buffer
	rows := f.legendRows()
	height := panelTop + panelHeight + 60 + 20*float64(len(rows))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%[1]s" height="%[2]s" role="img" `+
		`font-family="Helvetica, Arial, sans-serif" font-size="12" fill="%s">`+"\n", px(figureWidth), px(height), ink)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(f.title))
	fmt.Fprintf(&b, `<rect width="%s" height="%s" fill="#ffffff"/>`+"\n", px(figureWidth), px(height))
	write(&b, point{20, 28}, "start", `font-size="16" font-weight="bold"`, f.title)
	left, width := 10.0, (figureWidth-20)/float64(len(f.panels))
	for _, p := range f.panels {
		p.draw(&b, left, width)
		left += width
	}
	for i, row := range rows {
		drawLegend(&b, row, panelTop+panelHeight+64+20*float64(i))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// legendRows breaks the legend into rows that fit.
func (f figure) legendRows() [][]key {
	var rows [][]key
	room := 0.0
	for _, k := range f.legend {
		if room -= k.width(); room < 0 {
			rows = append(rows, nil)
			room = figureWidth - 40 - k.width()
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], k)
	}
	return rows
}

func (k key) width() float64 { return 50 + letter*float64(len(k.label)) }

func drawLegend(w io.Writer, row []key, y float64) {
	x := 20.0
	for _, k := range row {
		fmt.Fprintf(w, `<path d="M%s %sh22" stroke="%s" stroke-width="4"%s/>`+"\n", px(x), px(y-4), k.color, dash(k.dashed))
		write(w, point{x + 28, y}, "start", "", k.label)
		x += k.width()
	}
}

// frame is where a panel's axes are, in pixels.
type frame struct {
	panel

	left, right, top, bottom float64
}

func (p panel) draw(w io.Writer, left, width float64) {
	f := frame{p, left + 24 + p.y.room, left + width - panelGap, panelTop, panelTop + panelHeight}
	write(w, point{f.left, panelTop - 12}, "start", `font-weight="bold"`, p.title)
	f.drawAxes(w)
	for _, b := range p.boxes {
		x, y := f.x(b.left), f.y(b.top)
		fmt.Fprintf(w, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`+"\n", px(x), px(y), px(f.x(b.right)-x), px(f.y(b.bottom)-y), b.color)
	}
	for _, l := range p.lines {
		f.drawLine(w, l)
	}
	for _, n := range p.notes {
		write(w, point{f.x(n.at.x) + 4, f.y(n.at.y) + 4}, "start", `font-size="11"`, n.text)
	}
}

func (f frame) x(v float64) float64 {
	return f.left + (min(max(v, f.panel.x.low), f.panel.x.high)-f.panel.x.low)/(f.panel.x.high-f.panel.x.low)*(f.right-f.left)
}

func (f frame) y(v float64) float64 {
	return f.bottom - (min(max(v, f.panel.y.low), f.panel.y.high)-f.panel.y.low)/(f.panel.y.high-f.panel.y.low)*(f.bottom-f.top)
}

func (f frame) drawAxes(w io.Writer) {
	for _, t := range f.panel.x.ticks {
		fmt.Fprintf(w, `<path d="M%s %sV%s" stroke="#d0d7de"/>`+"\n", px(f.x(t.at)), px(f.bottom), px(f.top))
		write(w, point{f.x(t.at), f.bottom + 16}, "middle", `font-size="11"`, t.label)
	}
	for _, t := range f.panel.y.ticks {
		fmt.Fprintf(w, `<path d="M%s %sH%s" stroke="#d0d7de"/>`+"\n", px(f.left), px(f.y(t.at)), px(f.right))
		write(w, point{f.left - 6, f.y(t.at) + 4}, "end", `font-size="11"`, t.label)
	}
	fmt.Fprintf(w, `<path d="M%s %sV%sH%s" fill="none" stroke="%s"/>`+"\n", px(f.left), px(f.top), px(f.bottom), px(f.right), ink)
	write(w, point{(f.left + f.right) / 2, f.bottom + 36}, "middle", "", f.panel.x.label)
	x, y := f.left-f.panel.y.room-12, (f.top+f.bottom)/2
	write(w, point{x, y}, "middle", fmt.Sprintf(`transform="rotate(-90 %s %s)"`, px(x), px(y)), f.panel.y.label)
}

// drawLine leaves out points that fall on the pixel of the one before.
func (f frame) drawLine(w io.Writer, l line) {
	width := "1.5"
	if l.wide {
		width = "2.5"
	}
	fmt.Fprintf(w, `<polyline fill="none" stroke="%s" stroke-width="%s"%s points="`, l.color, width, dash(l.dashed))
	last := ""
	for _, p := range l.points {
		if at := px(f.x(p.x)) + "," + px(f.y(p.y)); at != last {
			fmt.Fprintf(w, "%s ", at)
			last = at
		}
	}
	fmt.Fprint(w, `"/>`+"\n")
}

func write(w io.Writer, at point, anchor, attributes, text string) {
	if text != "" {
		fmt.Fprintf(w, `<text x="%s" y="%s" text-anchor="%s" %s>%s</text>`+"\n", px(at.x), px(at.y), anchor, attributes, html.EscapeString(text))
	}
}

func dash(dashed bool) string {
	if dashed {
		return ` stroke-dasharray="5 4"`
	}
	return ""
}

// px is a length to a tenth of a pixel.
func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// evenly returns ticks from low to high.
func evenly(low, high, step float64) []tick {
	var ticks []tick
	for i := 0; low+float64(i)*step <= high+step/1e6; i++ {
		at := low + float64(i)*step
		ticks = append(ticks, tick{at, strconv.FormatFloat(math.Round(at*1e6)/1e6, 'f', -1, 64)})
	}
	return ticks
}

func TestDraw(t *testing.T) {
	f := figure{
		title: "a < b & c",
		panels: []panel{{
			title: "left", x: axis{label: "time, s", high: 10, ticks: evenly(0, 10, 5)}, y: axis{label: "calls", high: 2, ticks: evenly(0, 2, 1)},
			lines: []line{{points: []point{{0, 0}, {0.0001, 0}, {10, 2}, {20, 2}}, color: blue, dashed: true}},
			boxes: []box{{0, 5, 0, 1, orange}},
			notes: []note{{point{5, 1}, "half"}},
		}},
		legend: slices.Repeat([]key{{label: strings.Repeat("l", 60), color: blue}}, 3),
	}
	got := f.draw()
	decoder := xml.NewDecoder(bytes.NewReader(got))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("draw() is no XML: %v\n%s", err, got)
		}
	}
	wants := []string{
		`<title>a &lt; b &amp; c</title>`, `fill="#ffffff"`, `time, s`, `calls`, `left`, `half`, strings.Repeat("l", 60),
		// The point beside another one is left out, and what is beyond the axis ends there.
		`points="34,324 906,74 "`, `stroke-dasharray`,
		`<rect x="34" y="199" width="436" height="125" fill="#c85200"/>`,
	}
	for _, want := range wants {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("draw() lacks %q:\n%s", want, got)
		}
	}
	if rows := f.legendRows(); len(rows) != 2 {
		t.Errorf("legendRows() = %d rows of %d keys, want 2", len(rows), len(f.legend))
	}
	if !bytes.Equal(got, f.draw()) {
		t.Error("draw() gave other bytes the second time")
	}
}

func TestEvenly(t *testing.T) {
	got, want := evenly(99.6, 100, 0.2), []tick{{99.6, "99.6"}, {99.8, "99.8"}, {100, "100"}}
	for i := range want {
		if len(got) != len(want) || math.Abs(got[i].at-want[i].at) > 1e-9 || got[i].label != want[i].label {
			t.Fatalf("evenly(99.6, 100, 0.2) = %v, want %v", got, want)
		}
	}
}
