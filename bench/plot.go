package main

import (
	"image/color"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// palette has the colours of the implementations, in the order of the plan's: C is
// grey, the binding blue, the others warm.
var palette = map[string]color.Color{
	cRaw: color.Gray{90}, cBufferevent: color.Gray{160}, cLocks: color.Gray{90}, "c-nolocks": color.Gray{160},
	"raw": rgb(0x08519c), "bufferevent": rgb(0x6baed6), "bufferevent-copy": rgb(0xc6dbef), "eager": rgb(0x3182bd),
	"libevent": rgb(0x08519c), "nolock": rgb(0x6baed6),
	"luaevent": rgb(0x31a354), "net": rgb(0xd94801), "gnet": rgb(0xfd8d3c),
	"netpoll": rgb(0xfdae6b), "evio": rgb(0xa63603), "nbio": rgb(0xfdd0a2), "time": rgb(0xd94801),
}

func rgb(v uint32) color.Color {
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
}

// plotted are the figures of micro-benchmarks that are worth a bar.
var plotted = []string{"dispatch", "event", "post", "rearm", "rearm_interest", "rearm_timeout", "fire", "add+del"}

// plot writes the plots: what the servers and what the rest needed, relative to C.
func (r *report) plot(dir, prefix string) error {
	var echoes, rest []group
	for _, w := range r.plan.workloads {
		if w.server {
			if !w.allCores {
				echoes = append(echoes, group{strings.TrimPrefix(w.Name, "echo "), w.Name, "cpu", cRaw})
			}
			continue
		}
		for _, figure := range r.figures(w.Name, cLocks) {
			if slices.Contains(plotted, figure) {
				rest = append(rest, group{w.Name + ": " + figure, w.Name, figure, cLocks})
			}
		}
	}
	if err := r.bar("CPU time per echo, relative to C with raw events", echoes, filepath.Join(dir, prefix+"echo.svg")); err != nil {
		return err
	}
	return r.bar("CPU time per operation, relative to C with locks", rest, filepath.Join(dir, prefix+"micro.svg"))
}

// group is one cluster of bars.
type group struct{ label, workload, figure, ref string }

func (r *report) bar(title string, groups []group, file string) error {
	if len(groups) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Millimeter * 3
	p.Legend.Top = true
	p.Legend.Padding = vg.Millimeter
	var impls []string
	for _, i := range r.plan.impls {
		if slices.ContainsFunc(groups, func(g group) bool { return r.find(g.workload, i.Name, g.figure) != nil }) {
			impls = append(impls, i.Name)
		}
	}
	const width = vg.Length(5)
	var labels []string
	for _, g := range slices.Backward(groups) {
		labels = append(labels, g.label)
	}
	for k, name := range impls {
		values := make(plotter.Values, len(groups))
		for at, g := range slices.Backward(groups) {
			if x := r.find(g.workload, name, g.figure); x != nil {
				values[len(groups)-1-at] = x.Ratios[g.ref]
				if name == g.ref {
					values[len(groups)-1-at] = 1
				}
			}
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return err
		}
		bars.Horizontal = true
		bars.LineStyle.Width = 0
		bars.Color = palette[name]
		bars.Offset = width * (vg.Length(len(impls)-1)/2 - vg.Length(k))
		p.Add(bars)
		p.Legend.Add(name, bars)
	}
	p.NominalY(labels...)
	p.X.Min = 0
	p.X.Max *= 1.2 // room for the legend
	height := vg.Length(len(groups))*width*vg.Length(len(impls)+2) + 4*vg.Centimeter
	return p.Save(24*vg.Centimeter, max(height, 8*vg.Centimeter), file)
}
