package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The figures stand between these lines of a document.
const (
	docBegin = "<!-- figures: make -C bench doc -->\n"
	docEnd   = "<!-- end of figures -->\n"
)

// document replaces the figures in file, and the plots that it shows.
func (r *report) document(file string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(docBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(docEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for figures", file)
	}
	var out bytes.Buffer
	out.Write(head)
	out.WriteString(docBegin)
	r.markdown(&out)
	out.WriteString(docEnd)
	out.Write(tail)
	return errors.Join(os.WriteFile(file, out.Bytes(), 0o666),
		r.plot(filepath.Dir(file), "performance-"))
}

// markdown writes what a document shows: the servers' CPU time, everything else beside
// C, and the bars.
func (r *report) markdown(out *bytes.Buffer) {
	m := r.Machine
	fmt.Fprintf(out, "\n`%s`, commit %s, on %d CPUs (%s), Linux %s, %s, libevent %s.\n\n",
		strings.Join(m.Command, " "), m.Commit, m.CPUs, m.CPU, m.Kernel, m.Go, m.Libevent)

	var echoes, others []workload
	for _, w := range r.plan.workloads {
		if w.server {
			echoes = append(echoes, w)
		} else {
			others = append(others, w)
		}
	}
	fmt.Fprintf(out, "CPU time per echo in µs, and in brackets its ratio to %s:\n\n| |", cRaw)
	var names []string
	for _, i := range r.plan.impls {
		if i.server() {
			names = append(names, i.Name)
			fmt.Fprintf(out, " %s |", i.Name)
		}
	}
	fmt.Fprintf(out, "\n|%s\n", strings.Repeat(" --- |", len(names)+1))
	for _, w := range echoes {
		r.row(out, strings.TrimPrefix(w.Name, "echo "), w, names, "cpu", cRaw)
	}
	for _, w := range echoes {
		if w.idle {
			r.row(out, "resident bytes per idle connection", w, names, "idle_rss", cRaw)
		}
	}
	out.WriteString("\n![CPU time per echo](performance-echo.svg)\n")

	fmt.Fprintf(out, "\nCPU time per operation in ns, and in brackets its ratio to %s:\n\n| |", cLocks)
	names = nil
	for _, i := range r.plan.impls {
		if !i.server() {
			names = append(names, i.Name)
			fmt.Fprintf(out, " %s |", i.Name)
		}
	}
	fmt.Fprintf(out, "\n|%s\n", strings.Repeat(" --- |", len(names)+1))
	for _, w := range others {
		for _, figure := range r.figures(w.Name, cLocks) {
			r.row(out, w.Name+": "+figure, w, names, figure, cLocks)
		}
	}
	out.WriteString("\n![CPU time per operation](performance-micro.svg)\n")

	out.WriteString("\n| bar | at most | measured | |\n| --- | --- | --- | --- |\n")
	for _, b := range r.Bars {
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %s |\n", b.What, b.Limit, b.Measured, b.verdict())
	}
	out.WriteByte('\n')
}

// row writes one figure of each implementation named.
func (r *report) row(out *bytes.Buffer, label string, w workload, names []string, figure, ref string) {
	fmt.Fprintf(out, "| %s |", label)
	for _, name := range names {
		x := r.find(w.Name, name, figure)
		if x == nil {
			out.WriteString(" |")
			continue
		}
		c, ok := columns[figure]
		if !ok {
			c.unit, c.format = 1, "%.0f"
		}
		fmt.Fprintf(out, " "+c.format+" %s |", x.Median/c.unit, ratio(x, ref))
	}
	out.WriteByte('\n')
}
