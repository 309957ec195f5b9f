package libevent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// recorder is a slog.Handler that keeps what it is given.
type recorder struct {
	level slog.Level
	hook  func(slog.Record) // called first, or nil

	mu      sync.Mutex
	records []slog.Record
}

func (r *recorder) Enabled(_ context.Context, level slog.Level) bool { return level >= r.level }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler               { return r }
func (r *recorder) WithGroup(string) slog.Handler                    { return r }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	if r.hook != nil {
		r.hook(record)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record)
	return nil
}

// all returns the records so far.
func (r *recorder) all() []slog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records
}

// attr returns a record's attribute, or the zero Value.
func attr(record slog.Record, key string) (v slog.Value) {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return a.Key != key
	})
	return v
}

// record sends libevent's log to r until the test ends.
func record(t *testing.T, r *recorder) {
	t.Helper()
	if err := libevent.SetLogger(slog.New(r)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := libevent.SetLogger(nil); err != nil {
			t.Error(err)
		}
	})
}

// grumbler returns a function that makes libevent log a warning: epoll refuses files.
func grumbler(t *testing.T) func() {
	t.Helper()
	fd, err := syscall.Open(os.Args[0], syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if !slices.Contains(libevent.SupportedMethods(), "epoll") {
		t.Skip("only epoll refuses a file")
	}
	b := newBaseWith(t, onlyMethod("epoll"))
	return func() {
		_, err := b.AddEvent(fd, libevent.EV_READ, keep, libevent.NoTimeout)
		isErrno(t, err, syscall.EPERM)
	}
}

// The zero Logger could not be given a message.
func TestLogWithoutHandler(t *testing.T) {
	isErrno(t, libevent.SetLogger(new(slog.Logger)), syscall.EINVAL)
	grumbler(t)()
}

// Upstream: util/log
func TestLogReachesSlog(t *testing.T) {
	for _, tt := range []struct {
		severity libevent.LogSeverity
		level    slog.Level
		text     string
		provoke  func(t *testing.T)
	}{
		{libevent.EVENT_LOG_DEBUG, slog.LevelDebug, "event_del", func(t *testing.T) {
			libevent.EnableDebugLogging(true)
			defer libevent.EnableDebugLogging(false)
			_ = newBase(t).Close()
		}},
		{libevent.EVENT_LOG_MSG, slog.LevelInfo, "libevent using", func(t *testing.T) {
			t.Setenv("EVENT_SHOW_METHOD", "1")
			newBase(t)
		}},
		// This one comes with the errno's text.
		{libevent.EVENT_LOG_WARN, slog.LevelWarn, "Operation not permitted", func(t *testing.T) {
			grumbler(t)()
		}},
	} {
		t.Run(tt.severity.String(), func(t *testing.T) {
			r := &recorder{level: slog.LevelDebug}
			record(t, r)
			before := time.Now()
			tt.provoke(t)
			libevent.FlushLog()
			after := time.Now()
			found := false
			for _, record := range r.all() {
				if record.Level != tt.level || attr(record, "severity").String() != tt.severity.String() {
					t.Errorf("%v, severity %v: %s", record.Level, attr(record, "severity"), record.Message)
				}
				if record.Time.Before(before.Round(0)) || record.Time.After(after.Round(0)) {
					t.Errorf("logged at %v, which is not between %v and %v", record.Time, before, after)
				}
				found = found || strings.Contains(record.Message, tt.text)
			}
			if !found {
				t.Errorf("no message has %q: %v", tt.text, r.all())
			}
		})
	}
}

func TestDebugLoggingIsOffUnlessEnabled(t *testing.T) {
	r := &recorder{level: slog.LevelDebug}
	record(t, r)
	dispatch(t, newBase(t))
	libevent.FlushLog()
	if all := r.all(); len(all) != 0 {
		t.Errorf("%d messages, the first: %s", len(all), all[0].Message)
	}
}

func TestLogHonoursTheHandlersLevel(t *testing.T) {
	r := &recorder{level: slog.LevelError}
	record(t, r)
	grumbler(t)()
	libevent.FlushLog()
	if all := r.all(); len(all) != 0 {
		t.Errorf("a handler for errors gets %s: %s", all[0].Level, all[0].Message)
	}
}

func TestLogArrivesByItself(t *testing.T) {
	arrived := make(chan string, 1)
	record(t, &recorder{hook: func(record slog.Record) { arrived <- record.Message }})
	grumble := grumbler(t)
	for range 3 {
		grumble()
		if text := wait(t, "the message", arrived); !strings.Contains(text, "Operation not permitted") {
			t.Errorf("message %q", text)
		}
	}
}

func TestLogCountsWhatItHasToDrop(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	first := true
	r := &recorder{hook: func(slog.Record) {
		if first {
			first = false
			close(entered)
			<-goOn
		}
	}}
	record(t, r)
	grumble := grumbler(t)
	grumble()
	wait(t, "the handler", entered)
	const kept, lost = 256, 44
	for range kept + lost {
		grumble()
	}
	close(goOn)
	libevent.FlushLog()
	all := r.all()
	if len(all) != 1+kept+1 {
		t.Fatalf("%d records, want %d", len(all), 1+kept+1)
	}
	last := all[len(all)-1]
	if last.Level != slog.LevelWarn || attr(last, "lost").String() != "44" {
		t.Errorf("the last record is %v %q with lost=%v", last.Level, last.Message, attr(last, "lost"))
	}
	for _, record := range all[:len(all)-1] {
		if attr(record, "lost").String() != "<nil>" || !strings.Contains(record.Message, "Operation not permitted") {
			t.Fatalf("record %q with lost=%v", record.Message, attr(record, "lost"))
		}
	}
	grumble()
	libevent.FlushLog()
	if n := len(r.all()); n != len(all)+1 {
		t.Errorf("%d records after one more message, want %d", n, len(all)+1)
	}
}

// What was dropped is told where it is missing, once.
func TestLogTellsWhereItHadToDrop(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	handled := 0
	r := &recorder{hook: func(slog.Record) {
		if handled++; handled <= 2 {
			entered <- struct{}{}
			<-goOn
		}
	}}
	record(t, r)
	grumble := grumbler(t)
	grumble()
	wait(t, "the handler", entered)
	const kept, lost = 256, 3
	for range kept + lost {
		grumble()
	}
	goOn <- struct{}{}
	wait(t, "the handler", entered)
	grumble() // for this there is room again
	close(goOn)
	libevent.FlushLog()
	all := r.all()
	if len(all) != 1+kept+2 {
		t.Fatalf("%d records, want %d", len(all), 1+kept+2)
	}
	for i, record := range all {
		want := "<nil>"
		if i == 1+kept {
			want = "3"
		}
		if got := attr(record, "lost").String(); got != want {
			t.Errorf("record %d has lost=%s, want %s", i, got, want)
		}
	}
}

func TestLogStaysInOrder(t *testing.T) {
	r := &recorder{level: slog.LevelDebug}
	record(t, r)
	b := newBase(t)
	libevent.EnableDebugLogging(true)
	for range 1000 {
		_ = b.LoopBreak() // one message each
		libevent.FlushLog()
	}
	ev, err := b.NewEvent(-1, 0, keep)
	if err != nil {
		t.Fatal(err)
	}
	_ = ev.Add(time.Hour)
	_ = ev.Close()
	libevent.EnableDebugLogging(false)
	libevent.FlushLog()
	last := time.Time{}
	for i, record := range r.all() {
		if record.Time.Before(last) {
			t.Fatalf("message %d is older than the one before", i)
		}
		last = record.Time
	}
	texts := ""
	for _, record := range r.all() {
		texts += record.Message + "\n"
	}
	added, deleted := strings.Index(texts, "event_add"), strings.Index(texts, "event_del")
	if added == -1 || deleted < added {
		t.Errorf("event_add is logged at %d, event_del at %d", added, deleted)
	}
}

// libevent logs under the base's lock, which the handler wants too.
func TestLogHandlerMayUseTheBase(t *testing.T) {
	b := newBase(t)
	used := make(chan struct{})
	once := sync.OnceFunc(func() {
		ran := make(chan struct{})
		if err := b.Post(func() { close(ran) }); err != nil {
			t.Error(err)
		}
		wait(t, "the posted function", ran)
		fired := make(chan struct{})
		_, err := b.AddTimer(0, func(events) (events, time.Duration) {
			close(fired)
			return libevent.LEAVE, 0
		})
		if err != nil {
			t.Error(err)
		}
		wait(t, "the timer", fired)
		close(used)
	})
	record(t, &recorder{level: slog.LevelDebug, hook: func(slog.Record) { once() }})
	libevent.EnableDebugLogging(true)
	defer libevent.EnableDebugLogging(false)
	stop := background(t, b)
	wait(t, "the handler", used)
	stop()
}

func TestSetLoggerDrainsAndLeaksNothing(t *testing.T) {
	grumble := grumbler(t)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 5 {
		first, second := &recorder{}, &recorder{}
		if err := libevent.SetLogger(slog.New(first)); err != nil {
			t.Fatal(err)
		}
		grumble()
		grumble()
		if err := libevent.SetLogger(slog.New(second)); err != nil {
			t.Fatal(err)
		}
		if n := len(first.all()); n != 2 {
			t.Errorf("the first logger has %d messages when it is replaced", n)
		}
		grumble()
		for range 2 {
			if err := libevent.SetLogger(nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(second.all()); n != 1 {
			t.Errorf("the second logger has %d messages when it is taken away", n)
		}
		if n := len(first.all()); n != 2 {
			t.Errorf("the first logger has %d messages at the end", n)
		}
	}
	libevent.FlushLog()
	if n := openFiles(t); n != files {
		t.Errorf("%d descriptors are open, %d were", n, files)
	}
	// The last one has said that it ends, and may need a moment to do so.
	for end := time.Now().Add(guardTime); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d were", runtime.NumGoroutine(), goroutines)
		}
	}
}

func TestListenerErrorGoesToTheLogger(t *testing.T) {
	r := &recorder{}
	record(t, r)
	b := newBase(t)
	ln := listen(t, b, usual, func(_ *libevent.Listener, fd int, _ netip.AddrPort) { _ = syscall.Close(fd) })
	stopListening(t, ln)
	if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
		t.Fatal(err)
	}
	libevent.FlushLog()
	all := r.all()
	if want := "libevent: accept: invalid argument"; len(all) != 1 || all[0].Message != want || all[0].Level != slog.LevelWarn {
		t.Errorf("records %v, want one warning %q", all, want)
	}
}

func init() {
	children["log to stderr"] = childLogsToStderr
	children["fatal"] = func() int { return childFatal(false) }
	children["fatal with logger"] = func() int { return childFatal(true) }
	children["debug mode"] = childDebugMode
}

// childLogsToStderr makes two bases, of which libevent tells, and has a logger for the first.
func childLogsToStderr() int {
	_ = os.Setenv("EVENT_SHOW_METHOD", "1")
	r := new(recorder)
	if err := libevent.SetLogger(slog.New(r)); err != nil {
		panic(err)
	}
	if _, err := libevent.New(); err != nil {
		panic(err)
	}
	libevent.FlushLog()
	if len(r.all()) != 1 {
		panic("the logger was told nothing")
	}
	if err := libevent.SetLogger(nil); err != nil {
		panic(err)
	}
	if _, err := libevent.New(); err != nil {
		panic(err)
	}
	return 0
}

func TestLogGoesToStderrWithoutALogger(t *testing.T) {
	cmd := child("log to stderr")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if out := stderr.String(); !strings.HasPrefix(out, "[msg] libevent using: ") || strings.Count(out, "\n") != 1 {
		t.Errorf("standard error: %q", out)
	}
}

// childFatal makes libevent fail for good: in debug mode it insists on non-blocking
// descriptors.
func childFatal(logger bool) int {
	if err := libevent.EnableDebugMode(); err != nil {
		panic(err)
	}
	if logger {
		_ = os.Setenv("EVENT_SHOW_METHOD", "1")
		entered, never := make(chan struct{}), make(chan struct{})
		if err := libevent.SetLogger(slog.New(&recorder{hook: func(slog.Record) {
			close(entered)
			<-never
		}})); err != nil {
			panic(err)
		}
		// The handler does not come back from the first message, so the second one waits.
		for i := range 2 {
			if _, err := libevent.New(); err != nil {
				panic(err)
			}
			if i == 0 {
				<-entered
			}
		}
		_ = os.Unsetenv("EVENT_SHOW_METHOD")
	}
	r, _, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	b, err := libevent.New()
	if err != nil {
		panic(err)
	}
	_, _ = b.AddEvent(int(r.Fd()), libevent.EV_READ, keep, libevent.NoTimeout) // Fd makes it block
	return 0
}

func TestFatalErrorShowsWhatHappenedAndWhere(t *testing.T) {
	for _, name := range []string{"fatal", "fatal with logger"} {
		t.Run(name, func(t *testing.T) {
			out, err := child(name).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("the child ended with %v, want Go's exit status 2", err)
			}
			for _, want := range []string{
				"libevent: fatal error, from which it cannot return: ",
				"O_NONBLOCK", // of the assertion
				"SIGABRT",
				"goroutine 1 ",
				"childFatal",
			} {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in the output:\n%s", want, out)
				}
			}
			_, last, _ := strings.Cut(string(out), "cannot return: ")
			if line, _, _ := strings.Cut(last, "\n"); !strings.Contains(line, "O_NONBLOCK") {
				t.Errorf("the error is %q", line)
			}
			waiting := strings.Count(string(out), "libevent using: ")
			if want := strings.Count(name, "logger"); waiting != want {
				t.Errorf("%d of the messages that waited, want %d:\n%s", waiting, want, out)
			}
		})
	}
}

func childDebugMode() int {
	for range 2 {
		if err := libevent.EnableDebugMode(); err != nil {
			panic(err)
		}
	}
	b, err := libevent.New()
	if err != nil {
		panic(err)
	}
	if err := libevent.EnableDebugMode(); err != nil {
		panic(err)
	}
	ticks := 0
	_, err = b.AddTimer(0, func(events) (events, time.Duration) {
		ticks++
		if ticks == 3 {
			return libevent.LEAVE, 0
		}
		return 0, time.Millisecond
	})
	if err != nil {
		panic(err)
	}
	if err := b.Dispatch(); err != nil {
		panic(err)
	}
	if err := b.Close(); err != nil || ticks != 3 {
		panic(err)
	}
	return 0
}

func TestDebugMode(t *testing.T) {
	if out, err := child("debug mode").CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v: %s", err, out)
	}
	if os.Getenv(debugModeVariable) != "" {
		return
	}
	newBase(t)
	err := libevent.EnableDebugMode()
	var e *libevent.Error
	if !errors.As(err, &e) || e.Op != "event_enable_debug_mode" || !strings.Contains(err.Error(), "base") {
		t.Errorf("after the first base: %v", err)
	}
}

func TestLogSeverityString(t *testing.T) {
	for severity, want := range map[libevent.LogSeverity]string{
		libevent.EVENT_LOG_DEBUG: "EVENT_LOG_DEBUG",
		libevent.EVENT_LOG_MSG:   "EVENT_LOG_MSG",
		libevent.EVENT_LOG_WARN:  "EVENT_LOG_WARN",
		libevent.EVENT_LOG_ERR:   "EVENT_LOG_ERR",
		77:                       "0x4d",
		-1:                       "-0x1",
	} {
		if got := severity.String(); got != want {
			t.Errorf("%d is %q, want %q", int(severity), got, want)
		}
	}
}

func ExampleSetLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	if err := libevent.SetLogger(logger); err != nil {
		logger.Error(err.Error())
		return
	}
	defer libevent.SetLogger(nil)
	_ = os.Setenv("EVENT_SHOW_METHOD", "1")
	defer os.Unsetenv("EVENT_SHOW_METHOD")
	base, err := libevent.NewWithConfig(&libevent.Config{
		Avoid: []string{"epoll", "kqueue", "select"},
		Flags: libevent.EVENT_BASE_FLAG_IGNORE_ENV,
	})
	if err != nil {
		logger.Error(err.Error())
		return
	}
	defer base.Close()
	libevent.FlushLog()
	// Output:
	// level=INFO msg="libevent using: poll" severity=EVENT_LOG_MSG
}

func ExampleLogSeverity() {
	for s := libevent.EVENT_LOG_DEBUG; s <= libevent.EVENT_LOG_ERR; s++ {
		fmt.Println(int(s), s)
	}
	// Output:
	// 0 EVENT_LOG_DEBUG
	// 1 EVENT_LOG_MSG
	// 2 EVENT_LOG_WARN
	// 3 EVENT_LOG_ERR
}
