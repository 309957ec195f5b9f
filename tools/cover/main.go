// Cover holds the installed headers of libevent against this module and writes
// docs/coverage.md: for each public function of C what there is in Go, or why there is
// nothing.
//
//	cover [-check]
//
// It fails when a function is neither called nor explained, when a comment says "Wraps:" of
// one that is not called and not explained, and when an explanation has nothing to explain.
// With -check it writes nothing, and fails when the document says something else; of a
// libevent that is not the document's it checks nothing.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// headers are those of libevent_core and libevent_pthreads, in the document's order.
var headers = []string{
	"event.h", "buffer.h", "bufferevent.h", "listener.h", "util.h", "thread.h", "watch.h",
}

var libraries = []string{"event_core", "event_pthreads"}

var (
	// reasons.tsv says of C functions why Go does not call them.
	//
	//go:embed reasons.tsv
	reasons string

	// added-2.2.tsv has the functions that libevent 2.2 adds, after their headers.
	//
	//go:embed added-2.2.tsv
	added22 string
)

// function is one of C's.
type function struct {
	name, header string
	added        bool // by libevent 2.2
	exported     bool // from the library that is installed, or added
	called       bool
	wrappers     []string // Go names
	reason       string   // for what there is not, or ""
}

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "write nothing, and fail when the document is not up to date")
	flag.Parse()
	root, err := findRoot()
	if err == nil {
		err = run(root, *check)
	}
	if err != nil {
		log.Fatal("cover: ", err)
	}
}

// findRoot returns the directory of the module that has the tools in it.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "callbacks.h")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not in the repository")
		}
		dir = parent
	}
}

func run(root string, check bool) error {
	functions, version, err := declared()
	if err != nil {
		return err
	}
	file := filepath.Join(root, "docs", "coverage.md")
	var have []byte
	if check {
		if have, err = os.ReadFile(file); err != nil {
			return err
		}
		if !strings.Contains(string(have), versionLine(version)) {
			log.Printf("cover: %s is of another libevent than %s: nothing checked", file, version)
			return nil
		}
	}
	functions = withAdded(functions, added22)
	code, err := readCode(root)
	if err != nil {
		return err
	}
	if problems := join(functions, code, reasons); len(problems) > 0 {
		for _, p := range problems {
			log.Print(p)
		}
		return fmt.Errorf("%d functions or explanations to see to", len(problems))
	}
	want := document(functions, version)
	switch {
	case !check:
		if err := os.WriteFile(file, want, 0o666); err != nil {
			return err
		}
	case !bytes.Equal(have, want):
		return fmt.Errorf("%s is not up to date: make cover", file)
	}
	fmt.Println(summary(functions))
	return nil
}

// withAdded marks the functions that libevent 2.2 adds, and adds those that the installed
// headers do not have.
func withAdded(functions []*function, list string) []*function {
	known := map[string]*function{}
	for _, f := range functions {
		known[f.name] = f
	}
	for line := range strings.Lines(list) {
		header, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if known[name] == nil {
			known[name] = &function{name: name, header: header, exported: true}
			functions = append(functions, known[name])
		}
		known[name].added = true
	}
	return functions
}

// join tells the functions what the code has for them, and why not, and returns what is
// wrong.
func join(functions []*function, c *code, reasons string) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	known := map[string]*function{}
	for _, f := range functions {
		known[f.name] = f
		f.called = c.uses[f.name]
		f.wrappers = slices.Sorted(slices.Values(c.wraps[f.name]))
	}
	last := ""
	for line := range strings.Lines(reasons) {
		name, reason, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		f := known[name]
		switch {
		case !ok || reason == "" || strings.TrimSpace(line)+"\n" != line:
			problem("reasons.tsv: %q is not a function, a tab and a reason", line)
		case name <= last:
			problem("reasons.tsv: %s is not in order", name)
		case f == nil:
			problem("reasons.tsv: no header has %s", name)
		case f.called:
			problem("reasons.tsv: %s is called", name)
		default:
			f.reason = reason
		}
		last = name
	}
	for _, f := range functions {
		switch {
		case f.called || f.reason != "":
		case !f.exported:
			f.reason = "declared, and not in the library"
		case len(f.wrappers) > 0:
			problem("%s: %s wraps it and does not call it, and reasons.tsv does not say why", f.name, f.wrappers[0])
		default:
			problem("%s: neither called nor explained in reasons.tsv", f.name)
		}
	}
	return problems
}
