// Package lint holds the rules of the house that no other tool knows, as tests over
// the source of the repository.
package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository, seen from this directory.
const root = "../.."

// goFile is a parsed file of the repository.
type goFile struct {
	path string // below root
	dir  string
	text []byte
	fset *token.FileSet
	*ast.File
}

func (f *goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// isAPI says whether users import what the file declares.
func (f *goFile) isAPI() bool {
	return !f.isTest() && f.Name.Name != "main" && !slices.ContainsFunc(
		strings.Split(f.dir, "/"), func(part string) bool {
			return part == "internal" || part == "tools" || part == "bench" || part == "examples"
		})
}

// preamble returns the comment above import "C", and whether there is that import.
func (f *goFile) preamble() (text string, ok bool) {
	for _, decl := range f.Decls {
		gen, isGen := decl.(*ast.GenDecl)
		if !isGen || gen.Tok != token.IMPORT {
			continue
		}
		for _, spec := range gen.Specs {
			if spec := spec.(*ast.ImportSpec); spec.Path.Value == `"C"` {
				doc := spec.Doc
				if doc == nil {
					doc = gen.Doc
				}
				return rawText(doc), true
			}
		}
	}
	return "", false
}

// at is a place for an error message.
func (f *goFile) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(pos).Line)
}

// rawText returns a comment without its markers, directives included.
func rawText(doc *ast.CommentGroup) string {
	if doc == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range doc.List {
		text := c.Text
		if strings.HasPrefix(text, "/*") {
			text = strings.TrimSuffix(text[2:], "*/")
		} else {
			text = strings.TrimPrefix(text, "//")
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

// files returns the repository's files with one of the endings, as paths below root.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "build" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if slices.Contains(endings, filepath.Ext(name)) {
			found = append(found, filepath.ToSlash(path[len(root)+1:]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("there are no files with the endings %q", endings)
	}
	return found
}

func goFiles(t *testing.T) []*goFile {
	t.Helper()
	fset := token.NewFileSet()
	var parsed []*goFile
	for _, path := range files(t, ".go") {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, &goFile{path, filepath.ToSlash(filepath.Dir(path)), text, fset, file})
	}
	return parsed
}

// declared is something exported, with the comment that belongs to it.
type declared struct {
	name    string
	pos     token.Pos
	doc     string
	grouped bool // the comment is that of a group of constants or variables
	fn      *ast.FuncDecl
}

// exported returns what a file exports at its top level.
func exported(f *goFile) []declared {
	var all []declared
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.IsExported() && (decl.Recv == nil || ast.IsExported(receiver(decl))) {
				all = append(all, declared{decl.Name.Name, decl.Pos(), decl.Doc.Text(), false, decl})
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				all = append(all, exportedBySpec(decl, spec)...)
			}
		}
	}
	return all
}

func exportedBySpec(decl *ast.GenDecl, spec ast.Spec) []declared {
	var all []declared
	add := func(id *ast.Ident, docs ...*ast.CommentGroup) {
		if !id.IsExported() {
			return
		}
		d := declared{name: id.Name, pos: id.Pos()}
		for _, doc := range docs {
			if d.doc == "" {
				d.doc = doc.Text()
			}
		}
		if d.doc == "" {
			d.doc, d.grouped = decl.Doc.Text(), decl.Lparen.IsValid()
		}
		all = append(all, d)
	}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		add(spec.Name, spec.Doc)
	case *ast.ValueSpec:
		for _, id := range spec.Names {
			add(id, spec.Doc, spec.Comment)
		}
	}
	return all
}

// receiver returns the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	if !ok {
		return ""
	}
	return id.Name
}

// wraps returns the C names of a comment's line "Wraps: ..." with what follows it.
func wraps(doc string) (names []string, last bool) {
	i := strings.LastIndex("\n"+doc, "\nWraps:")
	if i < 0 {
		return nil, false
	}
	line := doc[i+len("Wraps:"):]
	// What follows has to belong to the same paragraph.
	last = !strings.Contains(strings.TrimSpace(line), "\n\n")
	return regexp.MustCompile(`\b[A-Za-z_]\w*\b`).FindAllString(line, -1), last
}

// cNames returns what a node takes from the pseudo-package C.
func cNames(f *goFile, node ast.Node) []*ast.SelectorExpr {
	if _, ok := f.preamble(); !ok || node == nil {
		return nil
	}
	var found []*ast.SelectorExpr
	ast.Inspect(node, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "C" {
				found = append(found, sel)
			}
		}
		return true
	})
	return found
}

// Every exported name is explained, and the explanation begins with the name.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.isAPI() {
			continue
		}
		for _, d := range exported(f) {
			first, _, _ := strings.Cut(d.doc, "\n")
			word, _, _ := strings.Cut(first, " ")
			switch {
			case d.doc == "":
				t.Errorf("%s: %s has no comment", f.at(d.pos), d.name)
			case d.fn != nil && strings.TrimRight(word, ",.'s") != strings.TrimRight(d.name, "s"):
				t.Errorf("%s: the comment of %s begins with %q", f.at(d.pos), d.name, word)
			case d.fn == nil && !d.grouped && !regexp.MustCompile(`^(An? |The )?`+d.name+`\b`).MatchString(first):
				t.Errorf("%s: the comment of %s begins with %q", f.at(d.pos), d.name, word)
			}
		}
	}
}

// What calls libevent names what it wraps, in the last paragraph of its comment.
func TestWrappersNameWhatTheyWrap(t *testing.T) {
	ours := regexp.MustCompile(`^go(lib)?ev`)
	theirs := regexp.MustCompile(`^(ev|bufferevent_)`)
	for _, f := range goFiles(t) {
		if !f.isAPI() {
			continue
		}
		for _, d := range exported(f) {
			names, last := wraps(d.doc)
			if len(names) > 0 && !last {
				t.Errorf("%s: %s has more to say after Wraps", f.at(d.pos), d.name)
			}
			if d.fn == nil || d.fn.Body == nil || len(names) > 0 {
				continue
			}
			ast.Inspect(d.fn.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, c := range cNames(f, call.Fun) {
					if theirs.MatchString(c.Sel.Name) && !ours.MatchString(c.Sel.Name) {
						t.Errorf("%s: %s calls %s and wraps nothing", f.at(d.pos), d.name, c.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// What a comment says it wraps is in the headers of the installed libevent, or in those
// of libevent 2.2.
func TestWrappedNamesExist(t *testing.T) {
	headers := headerWords(t)
	headers["evwatch"] = true // 2.2's, and no function
	for _, f := range goFiles(t) {
		if !f.isAPI() {
			continue
		}
		for _, d := range exported(f) {
			names, _ := wraps(d.doc)
			for _, name := range names {
				if name != "struct" && name != "and" && !headers[name] {
					t.Errorf("%s: %s wraps %s, which no header has", f.at(d.pos), d.name, name)
				}
			}
		}
	}
}

// headerWords returns the identifiers in the headers of the installed libevent, and the
// functions that libevent 2.2 adds.
func headerWords(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("pkg-config", "--variable=includedir", "libevent_core").Output()
	if err != nil {
		t.Fatalf("pkg-config: %v", err)
	}
	include := strings.TrimSpace(string(out))
	words := map[string]bool{}
	headers, err := filepath.Glob(filepath.Join(include, "event2", "*.h"))
	if err != nil || len(headers) == 0 {
		t.Fatalf("there are no headers in %s", include)
	}
	// Debian keeps this one beside the library for each architecture.
	if out, err := exec.Command("pkg-config", "--variable=libdir", "libevent_core").Output(); err == nil {
		arch := filepath.Base(strings.TrimSpace(string(out)))
		headers = append(headers, filepath.Join(include, arch, "event2", "event-config.h"))
	}
	headers = append(headers, filepath.Join(root, "tools", "cover", "added-2.2.tsv"))
	for _, header := range headers {
		text, err := os.ReadFile(header)
		if err != nil {
			continue
		}
		for _, word := range regexp.MustCompile(`[A-Za-z_]\w*`).FindAll(text, -1) {
			words[string(word)] = true
		}
	}
	return words
}

// A cgo type is another in every package: in an exported signature, field or
// constant it is of no use to anybody.
func TestNoCgoTypesAreExported(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.isAPI() {
			continue
		}
		complain := func(name string, node ast.Node) {
			for _, c := range cNames(f, node) {
				t.Errorf("%s: %s shows C.%s", f.at(c.Pos()), name, c.Sel.Name)
			}
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() {
					complain(decl.Name.Name, decl.Type)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() {
							complainOfType(spec.Name.Name, spec.Type, complain)
						}
					case *ast.ValueSpec:
						if spec.Type != nil && slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported) {
							complain(spec.Names[0].Name, spec.Type)
						}
					}
				}
			}
		}
	}
}

// complainOfType leaves out the fields of a structure that are not exported.
func complainOfType(name string, typ ast.Expr, complain func(string, ast.Node)) {
	structure, ok := typ.(*ast.StructType)
	if !ok {
		complain(name, typ)
		return
	}
	for _, field := range structure.Fields.List {
		if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
			complain(name, field.Type)
		}
	}
}

// Where C comes into Go there is one file a package, callbacks.go, and above its
// import "C" nothing is defined: cgo puts that text into two objects.
func TestExportsAreInCallbacks(t *testing.T) {
	for _, f := range goFiles(t) {
		exports := false
		for _, group := range f.Comments {
			for _, c := range group.List {
				if !strings.HasPrefix(c.Text, "//export ") {
					continue
				}
				exports = true
				if filepath.Base(f.path) != "callbacks.go" && !strings.HasPrefix(f.path, "examples/") {
					t.Errorf("%s: %s belongs in callbacks.go", f.at(c.Pos()), c.Text)
				}
			}
		}
		if preamble, _ := f.preamble(); exports && strings.ContainsAny(preamble, "{}") {
			t.Errorf("%s: a preamble beside //export must not define anything", f.path)
		}
	}
}

// Every package that has C asks for its warnings, and never for errors. Examples show
// how short it can be.
func TestCgoPackagesAskForWarnings(t *testing.T) {
	asks := map[string]bool{}
	for _, f := range goFiles(t) {
		preamble, ok := f.preamble()
		if !ok || strings.HasPrefix(f.path, "examples/") {
			continue
		}
		asked := regexp.MustCompile(`(?m)^\s*#cgo CFLAGS:.*-Wall -Wextra`).MatchString(preamble)
		asks[f.dir] = asks[f.dir] || asked
		if strings.Contains(preamble, "-Werror") {
			t.Errorf("%s: -Werror breaks builds on other compilers", f.path)
		}
	}
	for dir, asked := range asks {
		if !asked {
			t.Errorf("%s: no file has #cgo CFLAGS: -Wall -Wextra", dir)
		}
	}
}

// A C function is static, or its name begins as all of the package's do.
func TestCNamesArePrefixed(t *testing.T) {
	// KNF: the name stands at the beginning of a line, its type on the line before.
	definition := regexp.MustCompile(`(?m)^(.*)\n([A-Za-z_]\w*)\([^;]*?\)\n\{`)
	prefix := regexp.MustCompile(`^go(libevent|ev[a-z]+)_`)
	for _, path := range files(t, ".c") {
		if strings.HasPrefix(path, "examples/") || strings.HasPrefix(path, "bench/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range definition.FindAllSubmatch(text, -1) {
			if !bytes.HasPrefix(m[1], []byte("static")) && !prefix.Match(m[2]) {
				t.Errorf("%s: %s is neither static nor prefixed", path, m[2])
			}
		}
	}
}

// A line fits a window of 100 columns, with tabs of eight. Go's own files are longer
// where gofumpt says so.
func TestCLinesAreShort(t *testing.T) {
	for _, path := range files(t, ".c", ".h") {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			columns := 0
			for _, r := range line {
				if r == '\t' {
					columns += 8 - columns%8
				} else {
					columns++
				}
			}
			if columns > 100 && !strings.HasPrefix(line, "#error") {
				t.Errorf("%s:%d: %d columns", path, i+1, columns)
			}
			if strings.TrimRight(line, " \t\r") != line {
				t.Errorf("%s:%d: space at the end", path, i+1)
			}
		}
	}
}

// What is left to do is in the issues, not in the source.
func TestNothingIsLeftToDo(t *testing.T) {
	word := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, path := range files(t, ".go", ".c", ".h", ".sh") {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if found := word.Find(line); found != nil {
				t.Errorf("%s:%d: %s", path, i+1, found)
			}
		}
	}
}

// Every exported type is shown at work, by an example that is also a test.
func TestTypesHaveExamples(t *testing.T) {
	shown := map[string]bool{} // by directory and name
	for _, f := range goFiles(t) {
		if !f.isTest() {
			continue
		}
		for _, example := range doc.Examples(f.File) {
			name, _, _ := strings.Cut(example.Name, "_")
			if example.Output != "" {
				shown[f.dir+" "+name] = true
			}
		}
	}
	for _, f := range goFiles(t) {
		if !f.isAPI() {
			continue
		}
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				if id := spec.(*ast.TypeSpec).Name; id.IsExported() && !shown[f.dir+" "+id.Name] {
					t.Errorf("%s: there is no Example%s with an output", f.at(id.Pos()), id.Name)
				}
			}
		}
	}
}

// Every package says what it is for, and every example what it does.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		// A package of tests alone has nobody who imports it.
		if f.isTest() {
			continue
		}
		documented[f.dir] = documented[f.dir] || f.Doc.Text() != ""
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment", dir)
		}
	}
}

// Users of the binding get one module more than they asked for.
func TestModuleGraphIsSmall(t *testing.T) {
	const self = "github.com/go-libevent/libevent"
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Path}}", "all")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, module := range strings.Fields(string(out)) {
		if module != self && module != "github.com/mattn/go-pointer" {
			t.Errorf("the module graph has %s", module)
		}
	}
}
