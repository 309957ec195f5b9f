package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestByHeader(t *testing.T) {
	got := byHeader(`# 1 "<stdin>"
int outside(void);
# 1 "/usr/include/event2/event.h" 1 3 4
int first(void);
# 12 "/usr/include/event2/event_struct.h" 3 4
int nested(void);
# 30 "/usr/include/event2/event.h" 2 3 4
int second(void);
# 1 "/opt/include/event2/util.h" 1
int third(void);
`)
	if got["event.h"] != "int first(void);\nint second(void);\n" || got["util.h"] != "int third(void);\n" {
		t.Errorf("%q", got)
	}
}

func TestPrototypes(t *testing.T) {
	got := prototypes(`
extern __attribute__ ((visibility("default")))
void event_enable_debug_mode(void);
typedef void (*event_callback_fn)(int, short, void *);
typedef int (*event_base_foreach_event_cb)(const struct event_base *,
    const struct event *, void *);
struct event_base
;
struct evthread_lock_callbacks {
 int api;
 void *(*alloc)(unsigned locktype);
};
extern __attribute__ ((visibility("default")))
const char **event_get_supported_methods(void);
event_callback_fn event_get_callback(const struct event *ev);
int evutil_snprintf(char *buf, size_t buflen, const char *format, ...)
 __attribute__((format(printf, 3, 4)))
;
enum event_method_feature { EV_FEATURE_ET = 0x01 };
static inline int helper(void) { if (x) { y(); } return z(); }
int event_base_set(struct event_base *, struct event *);
int event_base_set(struct event_base *, struct event *);
int evutil_socketpair(int d, int type, int protocol, int sv[2]);
`)
	want := []string{
		"event_enable_debug_mode", "event_get_supported_methods", "event_get_callback",
		"evutil_snprintf", "event_base_set", "evutil_socketpair",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestReadCode(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": `package a

/*
#include <event2/event.h>
#cgo noescape only_a_directive
static void f(void) { in_preamble(); }
*/
import "C"

// T is a type.
//
// Wraps: struct a_type
type T struct {
	// Field is set.
	//
	// Wraps: by_field
	Field int
	// hidden is not.
	//
	// Wraps: by_hidden_field
	hidden int
}

// Do does it, and
// Wraps are many.
//
// Wraps: one_thing,
// other_thing
func (t *T) Do() { C.by_go(C.handed_on) // C.in_comment()
	g("C.in_string", "http://x"); C.after_slashes() }

// do does not.
//
// Wraps: by_unexported
func do() {}

// V is a variable.
//
// Wraps: by_variable
var V int
`,
		"b.c": `/* in_comment(); */
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
int g(void) { return guarded("in_string \" in_string", '"'); } // in_comment
#endif
`,
		"b.h":         "int by_header(void);\n",
		"a_test.go":   "package a\n\nimport \"C\"\n\nvar _ = C.in_test\n",
		"ignored.txt": "in_text",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	c, err := readCode(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"in_preamble", "by_go", "handed_on", "after_slashes", "guarded", "by_header"} {
		if !c.uses[name] {
			t.Errorf("%s is not used", name)
		}
	}
	for _, name := range []string{"only_a_directive", "in_comment", "in_string", "in_test", "in_text"} {
		if c.uses[name] {
			t.Errorf("%s is used", name)
		}
	}
	for name, want := range map[string]string{
		"a_type": "T", "by_field": "T.Field", "one_thing": "T.Do", "other_thing": "T.Do", "by_variable": "V",
		"by_hidden_field": "", "by_unexported": "",
	} {
		if got := strings.Join(c.wraps[name], " "); got != want {
			t.Errorf("%q wraps %s, want %q", got, name, want)
		}
	}
}

// What is not in order, and only that, is reported.
func TestJoin(t *testing.T) {
	const good = "explained\twhy\nmade_of_others\tof others\nnot_in_2.1\twhy\n"
	c := &code{
		uses: map[string]bool{"called": true, "inside": true, "new": true},
		wraps: map[string][]string{
			"called": {"B", "A"}, "made_of_others": {"M"}, "new": {"N"}, "EV_MACRO": {"Macro"},
		},
	}
	for _, tt := range []struct {
		name, reasons string
		more          []*function
		want          []string // parts of the problems
	}{
		{"all is well", good, nil, nil},
		{"unexplained", good, []*function{{name: "x", exported: true}}, []string{"x: neither called nor explained"}},
		{"not in the library", good, []*function{{name: "x"}}, nil},
		{"wrapped only", strings.ReplaceAll(good, "made_of_others\tof others\n", ""), nil, []string{"made_of_others: M wraps it"}},
		{"unexplained in 2.2", "explained\twhy\nmade_of_others\tof others\n", nil, []string{"not_in_2.1: neither"}},
		{"called", "called\twhy\n" + good, nil, []string{"called is called"}},
		{"unknown", good + "unknown\twhy\n", nil, []string{"no header has unknown"}},
		{"order", strings.ReplaceAll(good, "explained", "zz"), []*function{{name: "zz", exported: true}}, []string{"made_of_others is not in order", "made_of_others: M wraps", "explained: neither"}},
		{"twice", good + "not_in_2.1\tonce more\n", nil, []string{"not_in_2.1 is not in order"}},
		{"no reason", good + "x\t\n", nil, []string{`"x\t\n" is not`}},
		{"no tab", good + "x because\n", nil, []string{`"x because\n" is not`}},
		{"trailing space", good + "x\twhy \n", nil, []string{`"x\twhy \n" is not`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			functions := withAdded(append([]*function{
				{name: "called", exported: true},
				{name: "inside", exported: true},
				{name: "explained", exported: true},
				{name: "made_of_others", exported: true},
			}, tt.more...), "util.h\tnew\nutil.h\tnot_in_2.1\n")
			problems := join(functions, c, tt.reasons)
			for _, want := range tt.want {
				if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
					t.Errorf("no problem with %q: %q", want, problems)
				}
			}
			if len(problems) != len(tt.want) {
				t.Errorf("%d problems, want %d: %q", len(problems), len(tt.want), problems)
			}
		})
	}
}

func TestDocument(t *testing.T) {
	functions := withAdded([]*function{
		{name: "event_new", header: "event.h", exported: true},
		{name: "event_assign", header: "event.h", exported: true},
		{name: "event_odd", header: "event.h"},
		{name: "evutil_strtoll", header: "util.h", exported: true},
	}, "util.h\tevutil_new\n")
	c := &code{
		uses:  map[string]bool{"event_new": true, "event_assign": true, "evutil_new": true},
		wraps: map[string][]string{"event_new": {"Base.NewEvent", "Base.AddEvent"}, "evutil_new": {"New"}},
	}
	if problems := join(functions, c, "evutil_strtoll\tstrconv.ParseInt\n"); len(problems) > 0 {
		t.Fatal(problems)
	}
	got := string(document(functions, "2.1.12-stable"))
	want := introduction + `The headers are those of libevent 2.1.12-stable.

| header | functions | called | with a name in Go | not called |
| --- | --- | --- | --- | --- |
| event.h | 2 | 2 | 1 | 0 |
| util.h | 1 | 0 | 0 | 1 |
| all | 3 | 2 | 1 | 1 |
| added by 2.2 | 1 | 1 | 1 | 0 |

## event.h

| C | Go | |
| --- | --- | --- |
` + "| `event_new` | `Base.AddEvent`, `Base.NewEvent` |  |\n" +
		"| `event_assign` |  | used inside |\n" +
		"| `event_odd` |  | declared, and not in the library |\n" + `
## util.h

| C | Go | |
| --- | --- | --- |
` + "| `evutil_strtoll` |  | strconv.ParseInt |\n" + `
## Added by libevent 2.2

| C | Go | |
| --- | --- | --- |
` + "| `evutil_new` | `New` |  |\n"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
