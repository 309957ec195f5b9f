package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/go-libevent/libevent"
)

// report is what a run found.
type report struct {
	Machine machine  `json:"machine"`
	Results []result `json:"results"`
	Bars    []bar    `json:"bars"`
	Samples []sample `json:"samples"`

	plan plan
}

type machine struct {
	CPU      string   `json:"cpu"`
	CPUs     int      `json:"cpus"`
	Kernel   string   `json:"kernel"`
	Go       string   `json:"go"`
	Libevent string   `json:"libevent"`
	Commit   string   `json:"commit,omitempty"`
	Command  []string `json:"command"`
}

// result is the medians of one figure of one implementation.
type result struct {
	Workload string  `json:"workload"`
	Impl     string  `json:"impl"`
	Figure   string  `json:"figure"`
	Median   float64 `json:"median"`
	Low      float64 `json:"low"`  // of all rounds
	High     float64 `json:"high"` // of all rounds

	// Ratios are to the same figure of other implementations in the same round.
	Ratios map[string]float64 `json:"ratios"`
}

func newReport(p plan) *report {
	r := &report{plan: p, Machine: machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Libevent: libevent.Version(), Command: os.Args,
	}}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		r.Machine.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		r.Machine.Commit = strings.TrimSpace(string(commit))
	}
	return r
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// finish computes the medians.
func (r *report) finish() {
	type key struct {
		workload, impl, figure string
		round                  int
	}
	values := map[key]float64{}
	for _, s := range r.Samples {
		for figure, v := range s.Values {
			values[key{s.Workload, s.Impl, figure, s.Round}] = v
		}
	}
	for _, w := range r.plan.workloads {
		for _, i := range r.plan.impls {
			for _, figure := range r.figures(w.Name, i.Name) {
				var all []float64
				ratios := map[string][]float64{}
				for _, s := range r.Samples {
					v, ok := s.Values[figure]
					if s.Workload != w.Name || s.Impl != i.Name || !ok {
						continue
					}
					all = append(all, v)
					for _, other := range r.plan.impls {
						if o := values[key{w.Name, other.Name, figure, s.Round}]; o != 0 && other.Name != i.Name {
							ratios[other.Name] = append(ratios[other.Name], v/o)
						}
					}
				}
				res := result{
					Workload: w.Name, Impl: i.Name, Figure: figure, Ratios: map[string]float64{},
					Median: median(all), Low: slices.Min(all), High: slices.Max(all),
				}
				for other, all := range ratios {
					res.Ratios[other] = median(all)
				}
				r.Results = append(r.Results, res)
			}
		}
	}
	r.Bars = r.bars()
}

// order is that of the figures in a table.
var order = []string{
	"rate", "p50", "p99", "cpu", "busy", "idle_rss",
	"activate", "dispatch", "event", "post",
	"add", "add_timeout", "rearm", "rearm_interest", "rearm_timeout", "fire", "del", "del_timeout", "add+del",
	"allocs",
}

// figures returns those that impl has of the workload.
func (r *report) figures(workload, impl string) (names []string) {
	for _, s := range r.Samples {
		if s.Workload == workload && s.Impl == impl {
			for name := range s.Values {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return names
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return math.NaN()
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (r *report) find(workload, impl, figure string) *result {
	for k := range r.Results {
		if x := &r.Results[k]; x.Workload == workload && x.Impl == impl && x.Figure == figure {
			return x
		}
	}
	return nil
}

// columns says how a figure is printed: its heading, and what it is divided by.
var columns = map[string]struct {
	heading string
	unit    float64
	format  string
}{
	"rate":     {"echoes/s", 1, "%.0f"},
	"p50":      {"p50 µs", 1e3, "%.0f"},
	"p99":      {"p99 µs", 1e3, "%.0f"},
	"cpu":      {"CPU/echo µs", 1e3, "%.2f"},
	"busy":     {"busy", 1, "%.2f"},
	"idle_rss": {"bytes/idle", 1, "%.0f"},
	"allocs":   {"allocs/op", 1, "%.2f"},
}

// print prints a table a workload: figures, and in brackets their ratios to C.
func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "%s, %d CPUs, Linux %s, %s, libevent %s\n", r.Machine.CPU, r.Machine.CPUs,
		r.Machine.Kernel, r.Machine.Go, r.Machine.Libevent)
	fmt.Fprintf(out, "Medians; in brackets the ratio to %s (servers) and %s (others, CPU ns) in the same round.\n", cRaw, cLocks)
	for _, w := range r.plan.workloads {
		ref := cLocks
		if w.server {
			ref = cRaw
		}
		fmt.Fprintf(out, "\n%s\n", w.Name)
		tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		var figures []string
		for _, i := range r.plan.impls {
			for _, f := range r.figures(w.Name, i.Name) {
				if !slices.Contains(figures, f) {
					figures = append(figures, f)
				}
			}
		}
		slices.SortFunc(figures, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
		fmt.Fprint(tw, "\t")
		for _, f := range figures {
			fmt.Fprintf(tw, "%s\t\t", heading(f))
		}
		if w.server {
			fmt.Fprintf(tw, "CPU/%s\t", cBufferevent)
		}
		fmt.Fprintln(tw)
		for _, i := range r.plan.impls {
			if len(r.figures(w.Name, i.Name)) == 0 {
				continue
			}
			fmt.Fprintf(tw, "%s\t", i.Name)
			for _, f := range figures {
				fmt.Fprint(tw, cell(r.find(w.Name, i.Name, f), ref))
			}
			if x := r.find(w.Name, i.Name, "cpu"); x != nil {
				fmt.Fprint(tw, ratio(x, cBufferevent), "\t")
			}
			fmt.Fprintln(tw)
		}
		tw.Flush()
	}
	fmt.Fprintln(out)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "bar\tlimit\tmeasured\t")
	for _, b := range r.Bars {
		fmt.Fprintf(tw, "%s\t%.2f\t%.2f\t%s\n", b.What, b.Limit, b.Measured, b.verdict())
	}
	tw.Flush()
}

func heading(figure string) string {
	if c, ok := columns[figure]; ok {
		return c.heading
	}
	return figure
}

func cell(x *result, ref string) string {
	if x == nil {
		return "\t\t"
	}
	c, ok := columns[x.Figure]
	if !ok {
		return fmt.Sprintf("%.0f\t%s\t", x.Median, ratio(x, ref))
	}
	if x.Figure == "busy" || x.Figure == "allocs" {
		return fmt.Sprintf(c.format+"\t\t", x.Median)
	}
	return fmt.Sprintf(c.format+"\t%s\t", x.Median/c.unit, ratio(x, ref))
}

func ratio(x *result, ref string) string {
	if v, ok := x.Ratios[ref]; ok {
		return fmt.Sprintf("(%.2f)", v)
	}
	return ""
}

func (r *report) write(dir string) error {
	out, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results.json"), append(out, '\n'), 0o666)
}
