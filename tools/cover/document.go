package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// versionLine is how the document says what it is of.
func versionLine(version string) string { return "libevent " + version + ".\n" }

// count is how many functions there are, and what became of them.
type count struct{ functions, called, named int }

// counts counts the exported functions for which keep holds.
func counts(functions []*function, keep func(f *function) bool) (n count) {
	for _, f := range functions {
		if !f.exported || !keep(f) {
			continue
		}
		n.functions++
		if f.called {
			n.called++
		}
		if len(f.wrappers) > 0 {
			n.named++
		}
	}
	return n
}

func added(f *function) bool    { return f.added }
func notAdded(f *function) bool { return !f.added }

func summary(functions []*function) string {
	all, new := counts(functions, notAdded), counts(functions, added)
	return fmt.Sprintf("cover: %d functions, %d called; of %d more in 2.2, %d; the others are explained",
		all.functions, all.called, new.functions, new.called)
}

const introduction = `# Coverage

What there is in Go for each public function of libevent's core, and why there is nothing
where there is not. ` + "`make cover`" + ` makes this file from the installed headers, the code and the
` + "`Wraps:`" + ` lines of its documentation.

`

// document returns docs/coverage.md.
func document(functions []*function, version string) []byte {
	var b bytes.Buffer
	b.WriteString(introduction)
	fmt.Fprintf(&b, "The headers are those of %s\n", versionLine(version))
	b.WriteString("| header | functions | called | with a name in Go | not called |\n" +
		"| --- | --- | --- | --- | --- |\n")
	row := func(name string, keep func(*function) bool) {
		if n := counts(functions, keep); n.functions > 0 {
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n",
				name, n.functions, n.called, n.named, n.functions-n.called)
		}
	}
	for _, h := range headers {
		row(h, func(f *function) bool { return !f.added && f.header == h })
	}
	row("all", notAdded)
	row("added by 2.2", added)
	for _, h := range headers {
		table(&b, h, functions, func(f *function) bool { return !f.added && f.header == h })
	}
	table(&b, "Added by libevent 2.2", functions, added)
	return b.Bytes()
}

// table writes a section about the functions for which keep holds, if there are any.
func table(b *bytes.Buffer, title string, functions []*function, keep func(*function) bool) {
	if !slices.ContainsFunc(functions, keep) {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| C | Go | |\n| --- | --- | --- |\n", title)
	for _, f := range functions {
		if !keep(f) {
			continue
		}
		names, why := "", f.reason
		if len(f.wrappers) > 0 {
			names = "`" + strings.Join(f.wrappers, "`, `") + "`"
		} else if f.called {
			why = "used inside"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.name, names, why)
	}
}
