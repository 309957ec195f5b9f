package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// code is what a package says about C functions.
type code struct {
	uses  map[string]bool     // words of its C, and what its Go takes from there
	wraps map[string][]string // the Go names whose comments say so, by the C name
}

// readCode reads the package in dir, without its tests.
func readCode(dir string) (*code, error) {
	c := &code{uses: map[string]bool{}, wraps: map[string][]string{}}
	for _, pattern := range []string{"*.go", "*.c", "*.h"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if pattern != "*.go" {
				c.readC(string(text))
			} else if err := c.readGo(name, text); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

var (
	ignored = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"(\\.|[^"\\\n])*"`)
	word    = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// readC takes every word outside comments and strings for a use: a function can also be
// handed on. The preprocessor is not asked, so what is behind a guard counts as well.
func (c *code) readC(text string) {
	for _, name := range word.FindAllString(ignored.ReplaceAllString(text, " "), -1) {
		c.uses[name] = true
	}
}

func (c *code) readGo(name string, text []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			c.readDoc(decl.Doc, funcName(decl))
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				c.readSpec(decl, spec)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "C" {
				c.uses[sel.Sel.Name] = true
			}
		}
		return true
	})
	return nil
}

func (c *code) readSpec(decl *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ImportSpec:
		if spec.Path.Value == `"C"` {
			c.readC(preamble(either(spec.Doc, decl.Doc)))
		}
	case *ast.ValueSpec:
		c.readDoc(either(spec.Doc, decl.Doc), spec.Names[0].Name)
	case *ast.TypeSpec:
		c.readDoc(either(spec.Doc, decl.Doc), spec.Name.Name)
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					c.readDoc(field.Doc, spec.Name.Name+"."+name.Name)
				}
			}
		}
	}
}

func either(a, b *ast.CommentGroup) *ast.CommentGroup {
	if a != nil {
		return a
	}
	return b
}

// preamble returns the C above import "C", without cgo's own lines.
func preamble(doc *ast.CommentGroup) string {
	if doc == nil {
		return ""
	}
	var b strings.Builder
	for _, comment := range doc.List {
		text := comment.Text[2:]
		if strings.HasPrefix(comment.Text, "/*") {
			text = strings.TrimSuffix(text, "*/")
		}
		for line := range strings.Lines(text + "\n") {
			if !strings.HasPrefix(strings.TrimSpace(line), "#cgo") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// readDoc notes what the comment of name says that it wraps.
func (c *code) readDoc(doc *ast.CommentGroup, name string) {
	_, list, ok := strings.Cut("\n"+doc.Text(), "\nWraps: ")
	if !ok {
		return
	}
	for part := range strings.SplitSeq(name, ".") {
		if !ast.IsExported(part) {
			return
		}
	}
	for _, wrapped := range word.FindAllString(list, -1) {
		c.wraps[wrapped] = append(c.wraps[wrapped], name)
	}
}

// funcName returns the name of a function, with that of a method's type before it.
func funcName(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return decl.Name.Name
	}
	t := decl.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	return t.(*ast.Ident).Name + "." + decl.Name.Name
}
