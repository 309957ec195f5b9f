package conformance

import (
	"bufio"
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

//go:embed upstream.tsv
var table string

const (
	root = "../.."
	doc  = root + "/docs/conformance.md"
)

type row struct {
	group, name, class, meaning, note string
	tests                             []string // "file: TestName"
}

// TestDocument fails when docs/conformance.md does not say what the tests say, or when
// a test names a behaviour that is not in the table.
func TestDocument(t *testing.T) {
	rows := rows(t)
	byName := make(map[string]*row)
	for _, r := range rows {
		byName[r.group+"/"+r.name] = r
	}
	for _, c := range comments(t) {
		r := byName[c.upstream]
		if r == nil {
			t.Errorf("%s restates %q, which is not in the table", c.test, c.upstream)
			continue
		}
		r.tests = append(r.tests, c.test)
	}
	want := document(rows)
	if *update {
		if err := os.WriteFile(doc, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("docs/conformance.md is not up to date: go test ./internal/conformance -update")
	}
}

func rows(t *testing.T) []*row {
	t.Helper()
	var rows []*row
	lines := bufio.NewScanner(strings.NewReader(table))
	lines.Scan() // the heading
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(f) != 5 {
			t.Fatalf("%d columns in %q", len(f), lines.Text())
		}
		rows = append(rows, &row{group: f[0], name: f[1], class: f[2], meaning: f[3], note: f[4]})
	}
	return rows
}

type comment struct{ upstream, test string }

// comments collects the marks of all test functions of the module.
func comments(t *testing.T) []comment {
	t.Helper()
	var found []comment
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Doc == nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			for _, line := range fn.Doc.List {
				if _, upstream, ok := strings.Cut(line.Text, "// Upstream: "); ok {
					found = append(found, comment{upstream, filepath.ToSlash(name) + ": " + fn.Name.Name})
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// document prints the table group by group, as the rows come.
func document(rows []*row) []byte {
	var out bytes.Buffer
	out.WriteString(`# Conformance

The behaviours that libevent's own regression suite checks, by the suite's names, and
the test of this module that restates each. Y is to be restated, P in part or adapted, N
not at all. This file is made by ` + "`go test ./internal/conformance -update`" + ` from the
` + "`// Upstream:`" + ` lines in the tests' comments.

| group | to restate | done | not yet |
| --- | --- | --- | --- |
`)
	var groups []string
	for _, r := range rows {
		if !slices.Contains(groups, r.group) {
			groups = append(groups, r.group)
		}
	}
	for _, g := range groups {
		var due, done int
		for _, r := range rows {
			if r.group == g && r.class != "N" {
				due++
				if len(r.tests) > 0 {
					done++
				}
			}
		}
		fmt.Fprintf(&out, "| %s | %d | %d | %d |\n", g, due, done, due-done)
	}
	for _, g := range groups {
		fmt.Fprintf(&out, "\n## %s\n\n| upstream | | what it checks | our test |\n| --- | --- | --- | --- |\n", g)
		for _, r := range rows {
			if r.group == g {
				fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", r.name, r.class, escape(meaning(r)), status(r))
			}
		}
	}
	return out.Bytes()
}

func meaning(r *row) string {
	if r.note == "" {
		return r.meaning
	}
	return r.meaning + " (" + r.note + ")"
}

func status(r *row) string {
	switch {
	case len(r.tests) > 0:
		return "`" + strings.Join(r.tests, "`, `") + "`"
	case r.class == "N":
		return "not restated: see left"
	}
	return "not yet"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
