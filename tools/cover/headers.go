package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// declared returns the functions of the installed headers, in their order, and the
// version of libevent.
func declared() (functions []*function, version string, err error) {
	flags, err := output("", "pkg-config", "--cflags", "libevent_core")
	if err != nil {
		return nil, "", err
	}
	version, err = output("", "pkg-config", "--modversion", "libevent_core")
	if err != nil {
		return nil, "", err
	}
	var source strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&source, "#if __has_include(<event2/%s>)\n#include <event2/%[1]s>\n#endif\n", h)
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	text, err := output(source.String(), cc, append(strings.Fields(flags), "-E", "-x", "c", "-")...)
	if err != nil {
		return nil, "", err
	}
	exported := exports(cc)
	bodies := byHeader(text)
	for _, h := range headers {
		for _, name := range prototypes(bodies[h]) {
			functions = append(functions, &function{
				name: name, header: h,
				exported: exported == nil || exported[name],
			})
		}
	}
	return functions, strings.TrimSpace(version), nil
}

// output runs a program with input and returns what it writes.
func output(input, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return string(out), err
}

var lineMarker = regexp.MustCompile(`^# \d+ "([^"]*)"`)

// byHeader splits what the preprocessor gave by the header that it came from.
func byHeader(text string) map[string]string {
	bodies := map[string]*strings.Builder{}
	for _, h := range headers {
		bodies[h] = new(strings.Builder)
	}
	var body *strings.Builder
	for line := range strings.Lines(text) {
		if m := lineMarker.FindStringSubmatch(line); m != nil {
			body = nil
			if _, h, ok := strings.Cut(m[1], "/event2/"); ok {
				body = bodies[h]
			}
		} else if body != nil {
			body.WriteString(line)
		}
	}
	result := map[string]string{}
	for h, body := range bodies {
		result[h] = body.String()
	}
	return result
}

var (
	attribute = regexp.MustCompile(`__attribute__\s*\(\([^()]*(\([^()]*\)[^()]*)*\)\)`)
	declarer  = regexp.MustCompile(`([A-Za-z_]\w*)\s*\(`)
)

// prototypes returns the functions that a preprocessed header declares.
func prototypes(body string) (names []string) {
	depth := 0
	// What is in braces is the inside of a type or of an inline function.
	flat := strings.Map(func(r rune) rune {
		switch {
		case r == '{':
			depth++
		case r == '}':
			depth--
			return ';'
		case depth == 0:
			return r
		}
		return -1
	}, attribute.ReplaceAllString(body, ""))
	for statement := range strings.SplitSeq(flat, ";") {
		statement = strings.TrimSpace(statement)
		if strings.HasPrefix(statement, "typedef") || strings.HasPrefix(statement, "static") {
			continue
		}
		m := declarer.FindStringSubmatch(statement)
		if m != nil && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// exports returns what the libraries export, or nil where that cannot be told.
func exports(cc string) map[string]bool {
	names := map[string]bool{}
	for _, lib := range libraries {
		path, err := output("", cc, "-print-file-name=lib"+lib+".so")
		if err != nil {
			return nil
		}
		f, err := elf.Open(strings.TrimSpace(path))
		if err != nil {
			return nil
		}
		symbols, err := f.DynamicSymbols()
		_ = f.Close()
		if err != nil {
			return nil
		}
		for _, s := range symbols {
			if s.Section != elf.SHN_UNDEF {
				names[s.Name] = true
			}
		}
	}
	return names
}
