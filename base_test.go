package libevent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// NewWithConfig refuses what C would take for something else.
func TestConfigRefuses(t *testing.T) {
	for name, cfg := range map[string]libevent.Config{
		"unknown feature":         {Require: 0x100},
		"unknown flag":            {Flags: 0x1000},
		"negative CPUs":           {CPUs: -1},
		"CPUs beyond int":         {CPUs: math.MaxInt32 + 1},
		"negative MaxInterval":    {MaxInterval: -1},
		"negative MaxCallbacks":   {MaxCallbacks: -1},
		"MaxCallbacks beyond int": {MaxCallbacks: math.MaxInt32 + 1},
		"negative LimitPriority":  {LimitPriority: -1},
		"large LimitPriority":     {LimitPriority: 256},
		"negative Priorities":     {Priorities: -1},
		"256 Priorities":          {Priorities: 256},
		"NUL in a method":         {Avoid: []string{"epoll\x00"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := libevent.NewWithConfig(&cfg)
			isErrno(t, err, syscall.EINVAL)
			if b != nil {
				t.Error("a base beside the error")
			}
		})
	}
}

func TestConfigAccepts(t *testing.T) {
	for name, cfg := range map[string]libevent.Config{
		"zero":           {},
		"unknown method": {Avoid: []string{"", "no such thing"}},
		"all flags but NOLOCK": {Flags: libevent.EVENT_BASE_FLAG_IGNORE_ENV |
			libevent.EVENT_BASE_FLAG_STARTUP_IOCP | libevent.EVENT_BASE_FLAG_NO_CACHE_TIME |
			libevent.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | libevent.EVENT_BASE_FLAG_PRECISE_TIMER},
		"limits":         {CPUs: 4, MaxInterval: soon, MaxCallbacks: 3, LimitPriority: 1},
		"one limit":      {MaxCallbacks: 1},
		"the other":      {MaxInterval: 1},
		"1 priority":     {Priorities: 1},
		"255 priorities": {Priorities: 255},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBaseWith(t, &cfg)
			if got, want := b.Priorities(), max(cfg.Priorities, 1); got != want {
				t.Errorf("%d priorities, want %d", got, want)
			}
			n := 0
			if _, err := b.AddTimer(soon, func(events) (events, time.Duration) {
				n++
				return libevent.LEAVE, 0
			}); err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			if n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// MaxCallbacks and MaxInterval have the loop look for what is of a better priority before all
// that is active has run, from LimitPriority on.
func TestConfigLimitsCallbacks(t *testing.T) {
	const read = 0 // in the order of the calls
	for _, tt := range []struct {
		cfg  libevent.Config
		want []int
	}{
		{libevent.Config{}, []int{1, 2, 3, 4, read}},
		{libevent.Config{MaxCallbacks: 2}, []int{1, 2, read, 3, 4}},
		{libevent.Config{MaxCallbacks: 2, LimitPriority: 1}, []int{1, 2, read, 3, 4}},
		{libevent.Config{MaxCallbacks: 2, LimitPriority: 2}, []int{1, 2, 3, 4, read}},
		{libevent.Config{MaxInterval: time.Millisecond}, []int{1, read, 2, 3, 4}},
		{libevent.Config{MaxInterval: time.Millisecond, LimitPriority: 2}, []int{1, 2, 3, 4, read}},
		{libevent.Config{MaxInterval: faraway}, []int{1, 2, 3, 4, read}},
		{libevent.Config{MaxInterval: faraway, MaxCallbacks: 3}, []int{1, 2, 3, read, 4}},
		{libevent.Config{MaxInterval: time.Millisecond, MaxCallbacks: 3}, []int{1, read, 2, 3, 4}},
	} {
		t.Run(fmt.Sprintf("%+v", tt.cfg), func(t *testing.T) {
			p := socketpair(t)
			tt.cfg.Priorities = 3
			b := newBaseWith(t, &tt.cfg)
			var got []int
			urgent, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
				got = append(got, read)
				return libevent.LEAVE, 0
			}, 0)
			if err == nil {
				err = urgent.SetPriority(0)
			}
			for i := 1; i <= 4 && err == nil; i++ {
				var ev *libevent.Event
				ev, err = b.NewEvent(-1, 0, func(events) (events, time.Duration) {
					if got = append(got, i); i == 1 {
						send(t, p[1], "x")
						time.Sleep(20 * time.Millisecond) // beyond the interval, by a coarse clock
					}
					return libevent.LEAVE, 0
				})
				if err == nil {
					err = ev.Activate(libevent.EV_READ)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			if !slices.Equal(got, tt.want) {
				t.Errorf("order %v, want %v", got, tt.want)
			}
		})
	}
}

// Upstream: main/base_features
func TestRequiredFeatures(t *testing.T) {
	for _, feature := range []libevent.Features{
		libevent.EV_FEATURE_ET, libevent.EV_FEATURE_O1, libevent.EV_FEATURE_FDS,
		libevent.EV_FEATURE_EARLY_CLOSE, libevent.EV_FEATURE_ET | libevent.EV_FEATURE_FDS,
	} {
		for _, avoid := range [][]string{nil, {"epoll"}, {"epoll", "poll"}} {
			b, err := libevent.NewWithConfig(&libevent.Config{Require: feature, Avoid: avoid})
			if err != nil {
				if errors.As(err, new(syscall.Errno)) || !strings.Contains(err.Error(), "backend") {
					t.Errorf("%v without %q: %v", feature, avoid, err)
				}
				continue
			}
			if got := b.Features(); got&feature != feature {
				t.Errorf("%s has %v, want %v", b.Method(), got, feature)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	// No backend has both.
	if b, err := libevent.NewWithConfig(&libevent.Config{
		Require: libevent.EV_FEATURE_ET | libevent.EV_FEATURE_FDS, Avoid: []string{"kqueue"},
	}); err == nil {
		t.Errorf("%s has every feature", b.Method())
		_ = b.Close()
	}
}

// Upstream: main/base_environ
func TestEnvironment(t *testing.T) {
	for _, name := range []string{
		"EVENT_NOEPOLL", "EVENT_NOKQUEUE", "EVENT_NOPOLL", "EVENT_EPOLL_USE_CHANGELIST",
	} {
		t.Setenv(name, "") // so that the test's end gives it back
		_ = os.Unsetenv(name)
	}
	first := newBase(t).Method()
	t.Setenv("EVENT_NO"+strings.ToUpper(first), "yes")
	if got := newBase(t).Method(); got == first {
		t.Errorf("%s in spite of the environment", got)
	}
	ignore := &libevent.Config{Flags: libevent.EVENT_BASE_FLAG_IGNORE_ENV}
	if got := newBaseWith(t, ignore).Method(); got != first {
		t.Errorf("%s although the environment is ignored, want %s", got, first)
	}
}

// What is written has a line for each event, with its descriptor and what it waits for.
func TestDumpEvents(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		if _, err := b.AddEvent(p[0], libevent.EV_READ, leave, faraway); err != nil {
			t.Fatal(err)
		}
		active, err := b.NewEvent(p[1], libevent.EV_WRITE, leave)
		if err != nil {
			t.Fatal(err)
		}
		if err := active.Activate(libevent.EV_WRITE); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := b.DumpEvents(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			fmt.Sprintf(`\b%d\b.*\] Read\b.* Timeout=`, p[0]),
			fmt.Sprintf(`\b%d\b.*\] Write\b.* active\b`, p[1]),
		} {
			if !regexp.MustCompile(want).MatchString(text.String()) {
				t.Errorf("nothing like %s in\n%s", want, text.String())
			}
		}
	})
}

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (fn writerFunc) Write(p []byte) (int, error) { return fn(p) }

// The writer runs when libevent has finished: it may do anything.
func TestDumpEventsWriter(t *testing.T) {
	b := newBase(t)
	isErrno(t, b.DumpEvents(nil), syscall.EINVAL)
	calls := 0
	err := b.DumpEvents(writerFunc(func(p []byte) (int, error) {
		calls++
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		return len(p), io.ErrShortWrite
	}))
	if err != io.ErrShortWrite || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	isErrno(t, b.DumpEvents(io.Discard), libevent.ErrClosed)
}

// Upstream: main/event_base_get_num_events
// Upstream: main/event_base_get_max_events
func TestNumEvents(t *testing.T) {
	const (
		active  = libevent.EVENT_BASE_COUNT_ACTIVE
		added   = libevent.EVENT_BASE_COUNT_ADDED
		virtual = libevent.EVENT_BASE_COUNT_VIRTUAL
		all     = active | added | virtual
	)
	p := socketpair(t)
	b := newBase(t)
	check := func(when string, want map[libevent.CountFlags]int) {
		t.Helper()
		for flags, n := range want {
			if got := b.NumEvents(flags); got != n {
				t.Errorf("%s: NumEvents(%v) = %d, want %d", when, flags, got, n)
			}
		}
	}
	check("empty", map[libevent.CountFlags]int{active: 0, added: 0, virtual: 0, all: 0, 0x100: 0, 0: 0})
	r, err := b.AddEvent(p[0], libevent.EV_READ, keep, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.AddEvent(p[0], libevent.EV_WRITE, keep, faraway) // counts twice
	if err != nil {
		t.Fatal(err)
	}
	check("two added", map[libevent.CountFlags]int{active: 0, added: 3, all: 3, 0x100 | added: 3})
	if err := r.Activate(libevent.EV_READ); err != nil {
		t.Fatal(err)
	}
	check("one active", map[libevent.CountFlags]int{active: 1, added: 4, all: 5})
	if err := w.Del(); err != nil {
		t.Fatal(err)
	}
	check("one deleted", map[libevent.CountFlags]int{active: 1, added: 2, all: 3})
	if got := b.MaxEvents(added, false); got != 4 {
		t.Errorf("MaxEvents(added) = %d, want 4", got)
	}
	if got := b.MaxEvents(added, true); got != 4 {
		t.Errorf("MaxEvents(added, clear) = %d, want 4", got)
	}
	if got := b.MaxEvents(added, false); got != 0 {
		t.Errorf("MaxEvents(added) = %d after it was cleared", got)
	}
	if got := b.MaxEvents(active, false); got != 1 {
		t.Errorf("MaxEvents(active) = %d, want 1", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed", map[libevent.CountFlags]int{all: 0})
	if got := b.MaxEvents(all, true); got != 0 {
		t.Errorf("MaxEvents = %d after Close", got)
	}
}

// Close calls no event of C code's, as event_base_free does not.
func TestCloseCallsNothingOfC(t *testing.T) {
	b := newBase(t)
	buf := newBuffer(t, "kept")
	if !ctest.DrainInLoop(b.Pointer(), buf.Pointer()) {
		t.Fatal("event_base_once failed")
	}
	must(t, b.Close())
	check(t, buf, "kept")
}

// Close does not wait for what C code always has ready at a better priority than a
// callback that is due.
func TestCloseBesideBusyC(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 3})
	p := socketpair(t)
	send(t, p[1], "unread")
	calls := ctest.ReadyForEver(b.Pointer(), p[0])
	bev := bevNew(t, b, -1, 0)
	must(t, bev.SetPriority(2))
	bev.SetCallbacks(func(*libevent.BufferEvent) { t.Error("called") }, nil, nil)
	must(t, bev.Trigger(libevent.EV_READ, libevent.BEV_TRIG_IGNORE_WATERMARKS|libevent.BEV_TRIG_DEFER_CALLBACKS))
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	must(t, wait(t, "Close", closed))
	if n := calls(); n != 0 {
		t.Errorf("C was called %d times", n)
	}
}

// What is pending and what is active is freed with the base, and not called.
//
// Upstream: main/free_active_base
func TestCloseWithPendingAndActiveEvents(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		fail := func(events) (events, time.Duration) { t.Error("called"); return 0, 0 }
		var evs []*libevent.Event
		for range 3 {
			for _, fd := range []int{p[0], -1} {
				interest := map[bool]events{true: libevent.EV_WRITE}[fd >= 0]
				ev, err := b.AddEvent(fd, interest, fail, soon)
				if err != nil {
					t.Fatal(err)
				}
				evs = append(evs, ev)
			}
		}
		if err := evs[0].Activate(libevent.EV_WRITE); err != nil {
			t.Fatal(err)
		}
		if err := b.Post(func() { t.Error("a posted function was called") }); err != nil {
			t.Fatal(err)
		}
		if err := b.LoopExit(0); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, ev := range evs {
			isErrno(t, ev.Add(soon), libevent.ErrClosed)
			if err := ev.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestMethodsAfterClose(t *testing.T) {
	b := newBase(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Dispatch":          b.Dispatch(),
		"Loop":              b.Loop(libevent.EVLOOP_ONCE),
		"Run":               b.Run(context.Background()),
		"LoopExit":          b.LoopExit(0),
		"LoopBreak":         b.LoopBreak(),
		"LoopContinue":      b.LoopContinue(),
		"Stop":              b.Stop(),
		"Post":              b.Post(func() { t.Error("called") }),
		"SetPriorities":     b.SetPriorities(2),
		"UpdateCachedTime":  b.UpdateCachedTime(),
		"InitCommonTimeout": b.InitCommonTimeout(soon),
		"Once":              b.Once(-1, 0, func(events) {}, soon),
	} {
		var e *libevent.Error
		if !errors.As(err, &e) || e.Err != libevent.ErrClosed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.GotBreak() || b.GotExit() || b.Method() != "" || b.Priorities() != 0 ||
		!b.CachedTime().IsZero() || b.Monotonic() != 0 || b.Pointer() != nil {
		t.Error("a closed base has a state")
	}
}

func TestBaseRefuses(t *testing.T) {
	b := newBase(t)
	for name, err := range map[string]error{
		"Loop with unknown flags":  b.Loop(0x40),
		"LoopExit of the past":     b.LoopExit(-1),
		"Post of nil":              b.Post(nil),
		"0 priorities":             b.SetPriorities(0),
		"-1 priorities":            b.SetPriorities(-1),
		"256 priorities":           b.SetPriorities(256),
		"a common timeout of 0":    b.InitCommonTimeout(0),
		"a negative one":           b.InitCommonTimeout(-time.Second),
		"a timer of the past":      func() error { _, err := b.AddTimer(-time.Second, keep); return err }(),
		"a timer without callback": func() error { _, err := b.AddTimer(soon, nil); return err }(),
	} {
		var e *libevent.Error
		if !errors.As(err, &e) || e.Err != syscall.EINVAL {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := libevent.BaseFromPointer(nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("BaseFromPointer(nil): %v", err)
	}
}

func TestDispatchReturns(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		dispatch(t, b) // nothing to wait for
		if b.GotBreak() || b.GotExit() {
			t.Error("an empty loop was ended")
		}
		if _, err := b.AddTimer(soon, leave); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		// The descriptor dies under a backend that notices.
		if b.Method() == "select" {
			p := socketpair(t)
			fd, err := syscall.Dup(p[0])
			if err != nil {
				t.Fatal(err)
			}
			ev, err := b.AddEvent(fd, libevent.EV_READ, keep, 0)
			if err != nil {
				t.Fatal(err)
			}
			syscall.Close(fd)
			isErrno(t, loop(t, b, 0), syscall.EBADF)
			if err := ev.Close(); err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
		}
	})
}

// activeEvents makes events of the given priorities active and returns a function
// that says which were called, in order.
func activeEvents(t *testing.T, b *libevent.Base, fn func(i int), priorities ...int) (called func() []int) {
	t.Helper()
	var order []int
	for i, priority := range priorities {
		ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
			order = append(order, i)
			if fn != nil {
				fn(i)
			}
			return 0, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.SetPriority(priority); err != nil {
			t.Fatal(err)
		}
		if err := ev.Activate(libevent.EV_READ); err != nil {
			t.Fatal(err)
		}
	}
	return func() []int { return order }
}

// Upstream: main/loopbreak
func TestLoopBreakEndsAfterTheCallback(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		called := activeEvents(t, b, func(i int) {
			if i == 1 {
				if err := b.LoopBreak(); err != nil {
					t.Error(err)
				}
			}
		}, 0, 0, 0, 0)
		dispatch(t, b)
		if !slices.Equal(called(), []int{0, 1}) || !b.GotBreak() || b.GotExit() {
			t.Errorf("called %v, break %v", called(), b.GotBreak())
		}
		dispatch(t, b)
		if !slices.Equal(called(), []int{0, 1, 2, 3}) || b.GotBreak() {
			t.Errorf("called %v, break %v", called(), b.GotBreak())
		}
	})
}

func TestLoopBreakBeforeTheLoopIsLost(t *testing.T) {
	b := newBase(t)
	if err := b.LoopBreak(); err != nil {
		t.Fatal(err)
	}
	called := activeEvents(t, b, nil, 0)
	dispatch(t, b)
	if len(called()) != 1 {
		t.Errorf("called %v", called())
	}
}

// Upstream: main/loopexit
// Upstream: main/loopexit_multiple
func TestLoopExit(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const d = 10 * time.Millisecond
		b := newBaseWith(t, cfg)
		if _, err := b.AddTimer(faraway, keep); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			start := b.Monotonic()
			if err := b.LoopExit(d); err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			if spent := b.Monotonic() - start; spent < d || !b.GotExit() || b.GotBreak() {
				t.Errorf("ended after %v, exit %v", spent, b.GotExit())
			}
		}
		// What is active then still runs.
		called := activeEvents(t, b, func(i int) {
			if i == 0 {
				if err := b.LoopExit(0); err != nil {
					t.Error(err)
				}
			}
		}, 0, 0, 0)
		dispatch(t, b)
		if !slices.Equal(called(), []int{0, 1, 2}) || !b.GotExit() {
			t.Errorf("called %v, exit %v", called(), b.GotExit())
		}
	})
}

// A Stop and a LoopExit that no loop has seen end the next one.
func TestStopBeforeTheLoop(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		called := activeEvents(t, b, nil, 0)
		for range 2 {
			if err := b.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		if len(called()) != 0 || !b.GotBreak() {
			t.Errorf("called %v, break %v", called(), b.GotBreak())
		}
		dispatch(t, b)
		if len(called()) != 1 || b.GotBreak() {
			t.Errorf("called %v, break %v: two Stops ended two loops", called(), b.GotBreak())
		}
	})
}

func TestStopIsImmediate(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		called := activeEvents(t, b, func(i int) {
			if i == 1 {
				if err := b.Stop(); err != nil {
					t.Error(err)
				}
			}
		}, 0, 0, 0)
		dispatch(t, b)
		if !slices.Equal(called(), []int{0, 1}) || !b.GotBreak() {
			t.Errorf("called %v, break %v", called(), b.GotBreak())
		}
		dispatch(t, b)
		if !slices.Equal(called(), []int{0, 1, 2}) {
			t.Errorf("called %v: the Stop outlived its loop", called())
		}
	})
}

// LoopExit starves behind a busy event of a better priority. Stop does not.
func TestStopIsNotStarved(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		if cfg.Flags&libevent.EVENT_BASE_FLAG_NOLOCK != 0 {
			t.Skip("needs another goroutine")
		}
		cfg.Priorities = 2
		b := newBaseWith(t, cfg)
		n := 0
		running := make(chan struct{})
		var busy *libevent.Event
		busy, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
			if n++; n == 1 {
				if err := b.LoopExit(0); err != nil {
					t.Error(err)
				}
			}
			if n == 1000 {
				close(running)
			}
			if err := busy.Activate(libevent.EV_READ); err != nil {
				t.Error(err)
			}
			return 0, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := busy.SetPriority(0); err != nil {
			t.Fatal(err)
		}
		if err := busy.Activate(libevent.EV_READ); err != nil {
			t.Fatal(err)
		}
		go func() {
			<-running
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		}()
		dispatch(t, b)
		if n < 1000 || b.GotExit() {
			t.Errorf("%d calls, exit %v", n, b.GotExit())
		}
	})
}

func TestLoopContinue(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 2})
	// With a break in its queue the loop turns to a better priority first.
	var called func() []int
	var urgent *libevent.Event
	urgent, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
		if !slices.Equal(called(), []int{0}) {
			t.Errorf("called %v before", called())
		}
		return 0, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := urgent.SetPriority(0); err != nil {
		t.Fatal(err)
	}
	called = activeEvents(t, b, func(i int) {
		if i == 0 {
			if err := urgent.Add(0); err != nil {
				t.Error(err)
			}
			if err := b.LoopContinue(); err != nil {
				t.Error(err)
			}
		}
	}, 1, 1, 1)
	dispatch(t, b)
	if !slices.Equal(called(), []int{0, 1, 2}) {
		t.Errorf("called %v", called())
	}
}

func TestLoopFlags(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const nonblock, once = libevent.EVLOOP_NONBLOCK, libevent.EVLOOP_ONCE
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		n := 0
		ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
			if n++; n == 100 {
				drain(p[0])
			}
			return 0, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			flags libevent.LoopFlags
			send  bool
			want  int
		}{
			{nonblock, false, 0},
			{nonblock | once, false, 0},
			{nonblock | once, true, 1},
			{once, false, 2},
			{nonblock, false, 100}, // goes on while anything is ready
			{nonblock, false, 100},
		} {
			if step.send {
				send(t, p[1], "x")
			}
			if err := loop(t, b, step.flags); err != nil || n != step.want {
				t.Fatalf("after %v %d calls, want %d, %v", step.flags, n, step.want, err)
			}
		}
		if err := ev.Close(); err != nil {
			t.Fatal(err)
		}
		// With nothing to wait for ONCE does not wait.
		if err := loop(t, b, once); err != nil {
			t.Fatal(err)
		}
	})
}

// Upstream: thread/no_events
func TestNoExitOnEmpty(t *testing.T) {
	b := newBase(t)
	const d = 20 * time.Millisecond
	start := time.Now()
	n := 0
	time.AfterFunc(d, func() {
		if err := b.Post(func() {
			if n++; n == 1 {
				if err := b.LoopExit(0); err != nil {
					t.Error(err)
				}
			}
		}); err != nil {
			t.Error(err)
		}
	})
	if err := loop(t, b, libevent.EVLOOP_NO_EXIT_ON_EMPTY); err != nil {
		t.Fatal(err)
	}
	if spent := time.Since(start); n != 1 || spent < d {
		t.Errorf("ended after %v with %d calls", spent, n)
	}
}

// Upstream: main/bad_reentrant
func TestNestedLoopOfTheSameBase(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		called := activeEvents(t, b, func(int) {
			isErrno(t, b.Dispatch(), libevent.ErrRunning)
			isErrno(t, b.Loop(libevent.EVLOOP_NONBLOCK), libevent.ErrRunning)
			isErrno(t, b.Run(context.Background()), libevent.ErrRunning)
			isErrno(t, b.Close(), libevent.ErrRunning)
		}, 0)
		dispatch(t, b)
		if len(called()) != 1 {
			t.Errorf("called %v", called())
		}
	})
}

// A callback may run the loop of another base, to any depth, and each callback knows
// which loop it is in.
func TestNestedLoopOfAnotherBase(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		var order []string
		outer, inner := newBaseWith(t, cfg), newBaseWith(t, cfg)
		var self *libevent.Event
		self, err := outer.AddTimer(soon, func(events) (events, time.Duration) {
			order = append(order, "outer")
			if _, err := inner.AddTimer(soon, func(events) (events, time.Duration) {
				order = append(order, "inner")
				isErrno(t, outer.Dispatch(), libevent.ErrRunning)
				// Neither waits for the outer callback, which this is inside of.
				if err := self.Del(); err != nil {
					t.Error(err)
				}
				if err := self.Close(); err != nil {
					t.Error(err)
				}
				return libevent.LEAVE, 0
			}); err != nil {
				t.Error(err)
			}
			dispatch(t, inner)
			order = append(order, "outer again")
			return libevent.EV_TIMEOUT, soon // ignored: it is closed
		})
		if err != nil {
			t.Fatal(err)
		}
		dispatch(t, outer)
		if !slices.Equal(order, []string{"outer", "inner", "outer again"}) {
			t.Errorf("order %q", order)
		}
	})
}

// Upstream: main/priorities
func TestPriorities(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for levels, want := range map[int][]int{
			1: {0, 1, 2, 3, 4, 5},
			2: {1, 3, 5, 0, 2, 4},
			3: {2, 5, 1, 4, 0, 3},
		} {
			cfg.Priorities = levels
			b := newBaseWith(t, cfg)
			var priorities []int
			for i := range want {
				priorities = append(priorities, levels-1-i%levels)
			}
			called := activeEvents(t, b, nil, priorities...)
			dispatch(t, b)
			if !slices.Equal(called(), want) {
				t.Errorf("%d levels: called %v, want %v", levels, called(), want)
			}
		}
	})
}

// Only the best priority that has anything to do runs in a pass: another one starves.
func TestPriorityStarves(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 2})
	starved := 0
	n := 0
	for _, priority := range []int{1, 0} {
		var ev *libevent.Event
		ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
			if priority == 1 {
				starved++
				return 0, 0
			}
			if n++; n < 100 {
				if err := ev.Activate(libevent.EV_READ); err != nil {
					t.Error(err)
				}
			} else if starved != 0 {
				t.Error("priority 1 ran while 0 was busy")
			}
			return 0, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.SetPriority(priority); err != nil {
			t.Fatal(err)
		}
		if err := ev.Activate(libevent.EV_READ); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, b)
	if n != 100 || starved != 1 {
		t.Errorf("%d and %d calls", n, starved)
	}
}

// Upstream: main/priority_active_inversion
func TestBetterPriorityRunsNext(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 8})
	var called func() []int
	ran := false
	urgent, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
		ran = true
		if !slices.Equal(called(), []int{0}) {
			t.Errorf("called %v before", called())
		}
		return 0, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := urgent.SetPriority(0); err != nil {
		t.Fatal(err)
	}
	called = activeEvents(t, b, func(i int) {
		if i == 0 {
			if err := urgent.Activate(libevent.EV_READ); err != nil {
				t.Error(err)
			}
		}
	}, 4, 4, 4, 4)
	dispatch(t, b)
	if !ran || len(called()) != 4 {
		t.Errorf("called %v, the urgent one %v", called(), ran)
	}
}

func TestSetPriority(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 3})
	ev, err := b.AddTimer(faraway, keep)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []int{-1, 3, 255, 256, math.MaxInt32 + 1, math.MinInt64} {
		isErrno(t, ev.SetPriority(p), syscall.EINVAL)
	}
	for _, p := range []int{0, 1, 2} {
		if err := ev.SetPriority(p); err != nil || ev.Priority() != p {
			t.Errorf("priority %d: %d, %v", p, ev.Priority(), err)
		}
	}
	// Fewer levels would leave the event beyond the last one, where libevent aborts.
	isErrno(t, b.SetPriorities(1), syscall.EINVAL)
	if err := b.SetPriorities(3); err != nil {
		t.Error("the same number:", err)
	}
	if err := ev.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.SetPriorities(1); err != nil || b.Priorities() != 1 {
		t.Errorf("%d priorities, %v", b.Priorities(), err)
	}
}

// Upstream: main/common_timeout
func TestCommonTimeouts(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		intervals := []time.Duration{5 * time.Millisecond, 7 * time.Millisecond}
		for _, d := range intervals {
			for range 2 {
				if err := b.InitCommonTimeout(d); err != nil {
					t.Fatal(err)
				}
			}
		}
		const each, ticks = 30, 3
		n := map[int]int{}
		last := map[time.Duration]int{}
		for i := range each * 2 {
			d := intervals[i%2]
			at := b.Monotonic()
			if _, err := b.AddTimer(d, func(what events) (events, time.Duration) {
				now := b.Monotonic()
				if now-at < d*time.Duration(n[i]+1)-time.Millisecond || what != libevent.EV_TIMEOUT {
					t.Errorf("timer %d of %v: call %d after %v", i, d, n[i], now-at)
				}
				// Those of one duration keep the order they were added in.
				if n[i] == 0 {
					if i < last[d] {
						t.Errorf("timer %d after %d", i, last[d])
					}
					last[d] = i
				}
				switch n[i]++; {
				case n[i] == ticks:
					return libevent.LEAVE, 0
				case i%3 == 0:
					return 0, d // the same, given again
				}
				return 0, 0
			}); err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		for i := range each * 2 {
			if n[i] != ticks {
				t.Errorf("timer %d: %d calls", i, n[i])
			}
		}
	})
}

func TestCommonTimeoutChanges(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	if err := b.InitCommonTimeout(2 * soon); err != nil {
		t.Fatal(err)
	}
	var got []events
	results := []time.Duration{soon, 2 * soon, none, faraway, 2 * soon, 0}
	var ev *libevent.Event
	ev, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
		got = append(got, what)
		d := results[0]
		results = results[1:]
		return 0, d
	}, 2*soon)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []events{
		libevent.EV_TIMEOUT, libevent.EV_TIMEOUT, libevent.EV_TIMEOUT,
		libevent.EV_READ, libevent.EV_READ, libevent.EV_TIMEOUT,
	} {
		if want == libevent.EV_READ {
			send(t, p[1], "x")
		}
		if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
			t.Fatal(err)
		}
		drain(p[0])
		if len(got) != i+1 || got[i] != want {
			t.Fatalf("step %d: called with %v, want %v", i, got, want)
		}
	}
	if deadline, ok := ev.Deadline(); !ok || time.Until(deadline) > time.Minute {
		t.Errorf("deadline %v, %v", deadline, ok)
	}
}

func TestCommonTimeoutsRunOut(t *testing.T) {
	b := newBase(t)
	for i := range 256 {
		if err := b.InitCommonTimeout(time.Duration(i+1) * time.Second); err != nil {
			t.Fatal(i, err)
		}
	}
	isErrno(t, b.InitCommonTimeout(faraway), syscall.ENOSPC)
	if err := b.InitCommonTimeout(time.Second); err != nil {
		t.Error("one that there is:", err)
	}
}

// Upstream: main/gettimeofday_cached
// Upstream: main/gettimeofday_cached_sleep
// Upstream: main/gettimeofday_cached_reset
// Upstream: main/gettimeofday_cached_disabled
// Upstream: main/gettimeofday_cached_disabled_nosleep
func TestCachedTime(t *testing.T) {
	const nap = 20 * time.Millisecond
	for _, test := range []struct {
		name          string
		flags         libevent.BaseFlags
		sleep, update bool
		moves         bool
	}{
		{"cached", 0, false, false, false},
		{"cached sleep", 0, true, false, false},
		{"cached reset", 0, true, true, true},
		{"disabled", libevent.EVENT_BASE_FLAG_NO_CACHE_TIME, true, false, true},
		{"disabled nosleep", libevent.EVENT_BASE_FLAG_NO_CACHE_TIME, false, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBaseWith(t, &libevent.Config{Flags: test.flags})
			var first, second time.Time
			if err := b.Post(func() {
				first = b.CachedTime()
				if test.sleep {
					time.Sleep(nap)
				}
				if test.update {
					if err := b.UpdateCachedTime(); err != nil {
						t.Error(err)
					}
				}
				second = b.CachedTime()
			}); err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			moved := second.Sub(first)
			switch {
			case !test.moves && moved != 0:
				t.Errorf("moved by %v", moved)
			case test.moves && test.sleep && moved < nap/2:
				t.Errorf("moved by %v in %v", moved, nap)
			case moved < 0:
				t.Errorf("went back by %v", moved)
			}
			if since := time.Since(first); since < 0 || since > time.Minute {
				t.Errorf("off by %v", since)
			}
		})
	}
}

// A timer that is added after long work in a callback counts from the start of the
// pass, unless the time is read again.
func TestTimersCountFromTheCachedTime(t *testing.T) {
	for _, update := range []bool{false, true} {
		const work = 60 * time.Millisecond
		b := newBase(t)
		var deadline time.Time
		var start time.Time
		if err := b.Post(func() {
			start = b.CachedTime()
			time.Sleep(work)
			if update {
				if err := b.UpdateCachedTime(); err != nil {
					t.Error(err)
				}
			}
			ev, err := b.AddTimer(faraway, keep)
			if err != nil {
				t.Error(err)
				return
			}
			deadline, _ = ev.Deadline()
		}); err != nil {
			t.Fatal(err)
		}
		if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		if late := deadline.Sub(start) - faraway; (late > work/2) != update {
			t.Errorf("update %v: counted from %v after the pass's start", update, late)
		}
	}
}

func TestPostRunsInOrder(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var got []int
		for i := range 100 {
			if err := b.Post(func() { got = append(got, i) }); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 0 {
			t.Error("called without a loop")
		}
		dispatch(t, b)
		if len(got) != 100 || !slices.IsSorted(got) {
			t.Errorf("order %v", got)
		}
	})
}

// What is posted runs at the middle priority, also when there are more of them than before.
func TestPostRunsAtTheMiddlePriority(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		if err := b.SetPriorities(3); err != nil {
			t.Fatal(err)
		}
		var got []string
		note := func(s string) func() { return func() { got = append(got, s) } }
		if err := b.Post(note("post")); err != nil {
			t.Fatal(err)
		}
		for priority, name := range []string{"best", "middle", "worst"} {
			ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
				note(name)()
				return libevent.LEAVE, 0
			})
			if err == nil {
				err = errors.Join(ev.SetPriority(priority), ev.Activate(libevent.EV_READ))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		if want := []string{"best", "post", "middle", "worst"}; !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

// A function that posts itself is called once in a pass, which also looks for I/O.
func TestPostDoesNotStarve(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		read := false
		if _, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
			read = true
			return libevent.LEAVE, 0
		}, 0); err != nil {
			t.Fatal(err)
		}
		n := 0
		var again func()
		again = func() {
			if n++; n == 3 {
				send(t, p[1], "x")
			}
			if read || n == 100_000 {
				return
			}
			if err := b.Post(again); err != nil {
				t.Error(err)
			}
		}
		again()
		dispatch(t, b)
		if !read || n > 10 {
			t.Errorf("read %v after %d calls", read, n)
		}
	})
}

// A break in a posted function leaves those behind it for the next loop, in order,
// and before those that were posted meanwhile.
func TestPostAndBreak(t *testing.T) {
	for name, end := range map[string]func(b *libevent.Base) error{
		"LoopBreak": (*libevent.Base).LoopBreak,
		"Stop":      (*libevent.Base).Stop,
		"panic":     func(*libevent.Base) error { panic("end") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBase(t)
			var got []int
			for i := range 4 {
				if err := b.Post(func() {
					got = append(got, i)
					if i == 1 {
						if err := b.Post(func() { got = append(got, 4) }); err != nil {
							t.Error(err)
						}
						if err := end(b); err != nil {
							t.Error(err)
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			func() {
				defer func() {
					if p := recover(); (p != nil) != (name == "panic") {
						t.Errorf("Dispatch panicked with %v", p)
					}
				}()
				dispatch(t, b)
			}()
			if !slices.Equal(got, []int{0, 1}) {
				t.Errorf("called %v", got)
			}
			dispatch(t, b)
			if !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
				t.Errorf("called %v", got)
			}
		})
	}
}

// dispatchPanics runs the loop, which must panic, and returns what with.
func dispatchPanics(t *testing.T, b *libevent.Base) (p *libevent.CallbackPanic) {
	t.Helper()
	defer guard(t, b)()
	defer func() {
		value := recover()
		var ok bool
		if p, ok = value.(*libevent.CallbackPanic); !ok {
			t.Fatalf("Dispatch panicked with %v (%T)", value, value)
		}
	}()
	err := b.Dispatch()
	t.Errorf("Dispatch returned %v", err)
	return nil
}

func panicsInTest() { panic(io.ErrUnexpectedEOF) }

func TestPanicInCallback(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, kind := range []string{"event", "timer", "signal"} {
			t.Run(kind, func(t *testing.T) {
				p := socketpair(t)
				b := newBaseWith(t, cfg)
				n := 0
				fn := func(events) (events, time.Duration) {
					if n++; n == 1 {
						panicsInTest()
					}
					return libevent.LEAVE, 0
				}
				var ev *libevent.Event
				var err error
				switch kind {
				case "event":
					ev, err = b.AddEvent(p[0], libevent.EV_WRITE, fn, 0)
				case "timer":
					ev, err = b.AddTimer(soon, fn)
				case "signal":
					ev, err = b.AddSignal(syscall.SIGUSR1, fn)
					raise(t, syscall.SIGUSR1)
					raise(t, syscall.SIGUSR1)
				}
				if err != nil {
					t.Fatal(err)
				}
				pending := ev.Pending(allEvents)
				caught := dispatchPanics(t, b)
				if !errors.Is(caught, io.ErrUnexpectedEOF) || caught.Value != io.ErrUnexpectedEOF {
					t.Errorf("value %v", caught.Value)
				}
				if !strings.Contains(string(caught.Stack), "panicsInTest") ||
					!strings.Contains(caught.Error(), "panicsInTest") ||
					!strings.Contains(caught.Error(), "unexpected EOF") {
					t.Errorf("stack\n%s\ntext\n%s", caught.Stack, caught.Error())
				}
				if kind == "signal" {
					pending |= ev.Pending(allEvents) // the second one waits
				}
				if got := ev.Pending(allEvents); got != pending || n != 1 || !b.GotBreak() {
					t.Errorf("%d calls, pending %v, want %v, break %v", n, got, pending, b.GotBreak())
				}
				dispatch(t, b)
				if n != 2 {
					t.Errorf("%d calls", n)
				}
			})
		}
	})
}

func TestPanicValues(t *testing.T) {
	b := newBase(t)
	for _, value := range []any{"text", 42, errors.New("an error")} {
		if err := b.Post(func() { panic(value) }); err != nil {
			t.Fatal(err)
		}
		p := dispatchPanics(t, b)
		if p.Value != value {
			t.Errorf("value %v, want %v", p.Value, value)
		}
		if err, _ := value.(error); errors.Unwrap(p) != err {
			t.Errorf("unwraps to %v", errors.Unwrap(p))
		}
	}
	if err := b.Post(func() { panic(nil) }); err != nil {
		t.Fatal(err)
	}
	if p := dispatchPanics(t, b); !errors.As(p, new(*runtime.PanicNilError)) {
		t.Errorf("value %v", p.Value)
	}
	// A panic through two loops carries both stacks.
	inner := newBase(t)
	if err := inner.Post(func() { panic("deep") }); err != nil {
		t.Fatal(err)
	}
	if err := b.Post(func() { _ = inner.Dispatch() }); err != nil {
		t.Fatal(err)
	}
	p := dispatchPanics(t, b)
	var deep *libevent.CallbackPanic
	if !errors.As(p.Unwrap(), &deep) || deep.Value != "deep" {
		t.Errorf("value %v", p.Value)
	}
	dispatch(t, inner)
	dispatch(t, b)
}

// After a Goexit in a callback everything says ErrBroken, and nothing hangs or crashes.
func TestGoexitInCallback(t *testing.T) {
	endsInGoexit(t)
	for _, kind := range []string{"event", "timer", "signal", "post", "nested"} {
		t.Run(kind, func(t *testing.T) {
			p := socketpair(t)
			b := newBase(t)
			fn := func(events) (events, time.Duration) { runtime.Goexit(); return 0, 0 }
			other, err := b.NewEvent(-1, 0, keep)
			if err != nil {
				t.Fatal(err)
			}
			evs := []*libevent.Event{other}
			bases := []*libevent.Base{b}
			var ev *libevent.Event
			switch kind {
			case "event":
				ev, err = b.AddEvent(p[0], libevent.EV_WRITE, fn, 0)
			case "timer":
				ev, err = b.AddTimer(soon, fn)
			case "signal":
				// Nothing will ever run the base again: it gives its signals back.
				notified := make(chan os.Signal, 1)
				signal.Notify(notified, syscall.SIGWINCH)
				defer func() {
					raise(t, syscall.SIGWINCH)
					wait(t, "os/signal", notified)
					signal.Stop(notified)
				}()
				if ev, err = b.AddSignal(syscall.SIGWINCH, fn); err == nil {
					raise(t, syscall.SIGWINCH)
				}
			case "post":
				err = b.Post(runtime.Goexit)
			case "nested":
				inner := newBase(t)
				bases = append(bases, inner)
				if err = inner.Post(runtime.Goexit); err == nil {
					err = b.Post(func() { _ = inner.Dispatch() })
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if ev != nil {
				evs = append(evs, ev)
			}
			ended := make(chan bool)
			go func() {
				returned := false
				defer func() { ended <- returned }()
				_ = b.Dispatch()
				returned = true
			}()
			if wait(t, "the goroutine's end", ended) {
				t.Error("Dispatch returned")
			}
			for _, b := range bases {
				_, err := b.AddTimer(soon, keep)
				for name, err := range map[string]error{
					"Dispatch": b.Dispatch(), "Run": b.Run(context.Background()), "Close": b.Close(),
					"Stop": b.Stop(), "Post": b.Post(func() {}), "LoopExit": b.LoopExit(0),
					"AddTimer": err, "SetPriorities": b.SetPriorities(1),
				} {
					if !errors.Is(err, libevent.ErrBroken) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			for _, ev := range evs {
				isErrno(t, ev.Add(soon), libevent.ErrBroken)
				isErrno(t, ev.Del(), libevent.ErrBroken)
				isErrno(t, ev.Close(), libevent.ErrBroken)
				if ev.Pending(allEvents) != 0 {
					t.Error("an event of a broken base is pending")
				}
			}
			libevent.Abandon(b, evs...)
			for _, b := range bases[1:] {
				libevent.Abandon(b)
			}
		})
	}
}

// The thread on which a Goexit has left a loop serves others as if there had been none. Which
// goroutine gets it is up to the runtime, hence the rounds.
func TestGoexitLeavesThread(t *testing.T) {
	endsInGoexit(t)
	p := socketpair(t)
	for range 10 {
		b, err := libevent.New()
		must(t, err)
		must(t, b.Post(runtime.Goexit))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = b.Dispatch()
		}()
		wait(t, "the goroutine's end", ended)
		buf := newBuffer(t)
		calls := 0
		addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { calls++ })
		write(t, buf, "x")
		if calls != 1 {
			t.Errorf("a buffer's callback came %d times", calls)
		}
		// Close runs what is active: a read event, and a deferred callback that keeps it.
		blocks, bytes := ctest.Allocated()
		other, err := libevent.New()
		must(t, err)
		bev, err := other.NewBufferEvent(p[0], fromAnywhere)
		must(t, err)
		must(t, bev.SetEager(true))
		bev.SetCallbacks(func(*libevent.BufferEvent) {}, nil, nil)
		must(t, bev.Enable(libevent.EV_READ))
		send(t, p[1], "x")
		must(t, other.ActivateByFD(p[0], libevent.EV_READ))
		must(t, bev.Trigger(libevent.EV_READ, libevent.BEV_TRIG_IGNORE_WATERMARKS))
		must(t, bev.Close())
		must(t, other.Close())
		inDebugMode := os.Getenv(debugModeVariable) != "" // in which libevent keeps what it has seen
		if b, size := ctest.Allocated(); (b != blocks || size != bytes) && !inDebugMode {
			t.Errorf("libevent keeps %d blocks of %d bytes", b-blocks, size-bytes)
		}
		libevent.Abandon(b)
	}
}

// Nothing can wake a loop without locks, so no context can end it.
func TestRunWithoutLocks(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Flags: libevent.EVENT_BASE_FLAG_NOLOCK})
	if _, err := b.AddTimer(soon, leave); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	isErrno(t, b.Run(ctx), syscall.ENOTSUP)
	must(t, b.Run(context.Background()))
	cancel()
	if err := b.Run(ctx); err != context.Canceled {
		t.Error("cancelled before:", err)
	}
}

func TestRun(t *testing.T) {
	b := newBase(t)
	if err := b.Run(context.Background()); err != nil {
		t.Error("nothing to wait for:", err)
	}
	timer, err := b.AddTimer(faraway, keep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := b.Post(cancel); err != nil {
		t.Fatal(err)
	}
	if err := b.Run(ctx); err != context.Canceled {
		t.Error("cancelled in a callback:", err)
	}
	if err := b.Run(ctx); err != context.Canceled {
		t.Error("cancelled before:", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*soon)
	defer cancel()
	if err := b.Run(ctx); err != context.DeadlineExceeded {
		t.Error("timed out:", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.Run(ctx); err != nil {
		t.Error("stopped:", err)
	}
	if err := b.Post(func() { panic("in Run") }); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p, ok := recover().(*libevent.CallbackPanic); !ok || p.Value != "in Run" {
				t.Errorf("panicked with %v", p)
			}
		}()
		_ = b.Run(ctx)
	}()
	// None of them has left a request behind.
	if err := timer.Add(soon); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil || b.GotBreak() {
		t.Errorf("%v, break %v", err, b.GotBreak())
	}
}

// A base that is borrowed runs its events in the loop of the base it was borrowed from.
func TestBorrowedBase(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		owner := newBaseWith(t, cfg)
		b, err := libevent.BaseFromPointer(owner.Pointer())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}()
		if b.Pointer() != owner.Pointer() || b.Method() != owner.Method() || b.Features() != owner.Features() {
			t.Error("a borrowed base is another one")
		}
		var got []string
		step := 0
		add := func(name string, fd int, interest events, fn libevent.EventCallback, d time.Duration) (ev *libevent.Event) {
			t.Helper()
			ev, err := b.AddEvent(fd, interest, func(what events) (events, time.Duration) {
				got = append(got, name+" "+what.String())
				return fn(what)
			}, d)
			if err != nil {
				t.Fatal(err)
			}
			return ev
		}
		add("leaves", p[0], libevent.EV_WRITE, leave, 0)
		var closes *libevent.Event
		closes = add("closes", p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
			if err := closes.Close(); err != nil {
				t.Error(err)
			}
			return libevent.EV_READ, faraway
		}, 0)
		add("rearms", p[1], libevent.EV_WRITE, func(what events) (events, time.Duration) {
			if step++; step == 1 {
				return libevent.EV_READ, soon
			}
			return libevent.LEAVE, 0
		}, 0)
		add("signal", int(syscall.SIGUSR1), libevent.EV_SIGNAL, leave, 0)
		raise(t, syscall.SIGUSR1)
		if err := b.Post(func() { got = append(got, "post") }); err != nil {
			t.Fatal(err)
		}
		dispatch(t, owner)
		slices.Sort(got)
		want := []string{
			"closes EV_WRITE", "leaves EV_WRITE", "post", "rearms EV_TIMEOUT", "rearms EV_WRITE", "signal EV_SIGNAL",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		// Its own Dispatch runs the same loop.
		got = nil
		if _, err := owner.AddTimer(soon, func(events) (events, time.Duration) {
			got = append(got, "owner's")
			isErrno(t, b.Dispatch(), libevent.ErrRunning)
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if !slices.Equal(got, []string{"owner's"}) {
			t.Errorf("got %q", got)
		}
	})
}

// One Stop ends one Dispatch, however soon the next one begins.
func TestStopEndsOneDispatch(t *testing.T) {
	rounds := 50_000
	if testing.Short() || raceEnabled {
		rounds = 1000
	}
	b := newBase(t)
	if _, err := b.AddTimer(faraway, keep); err != nil {
		t.Fatal(err)
	}
	var returns atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for !done.Load() {
			if err := b.Dispatch(); err != nil {
				t.Error(err)
			}
			returns.Add(1)
		}
	}()
	defer guard(t, b)()
	for i := range rounds {
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
		for returns.Load() <= int64(i) {
			runtime.Gosched()
		}
	}
	if got := returns.Load(); got != int64(rounds) {
		t.Errorf("%d Stops ended %d Dispatches", rounds, got)
	}
	done.Store(true)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// What a LoopExit has made on the base has a priority too.
func TestSetPrioritiesAfterLoopExit(t *testing.T) {
	b := newBaseWith(t, &libevent.Config{Priorities: 5})
	if err := b.LoopExit(soon); err != nil {
		t.Fatal(err)
	}
	isErrno(t, b.SetPriorities(1), syscall.EINVAL)
	dispatch(t, b)
	if err := b.SetPriorities(1); err != nil {
		t.Error(err)
	}
}

// What is active keeps libevent from making more priorities, and it gives no errno.
func TestSetPrioritiesWhileSomethingIsActive(t *testing.T) {
	b := newBase(t)
	if err := b.LoopExit(0); err != nil {
		t.Fatal(err)
	}
	isErrno(t, b.SetPriorities(3), syscall.EINVAL)
	if err := b.SetPriorities(1); err != nil {
		t.Error("the same number:", err)
	}
	dispatch(t, b)
	if err := b.SetPriorities(3); err != nil || b.Priorities() != 3 {
		t.Errorf("%d priorities, %v", b.Priorities(), err)
	}
}

// In a callback libevent is in the middle of its queues.
func TestSetPrioritiesInTheLoop(t *testing.T) {
	b := newBase(t)
	for range 2 {
		if err := b.Post(func() { isErrno(t, b.SetPriorities(9), libevent.ErrRunning) }); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, b)
	if got := b.Priorities(); got != 1 {
		t.Errorf("%d priorities", got)
	}
}

// A borrowed base may be closed in its own callbacks. What it has waiting is dropped,
// and what the callback does then is of no consequence, but for a panic.
func TestCloseOfABorrowedBaseInItsCallback(t *testing.T) {
	for _, kind := range []string{"post", "timer"} {
		for _, panics := range []bool{false, true} {
			owner := newBase(t)
			b, err := libevent.BaseFromPointer(owner.Pointer())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			closes := func() {
				n++
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				isErrno(t, b.Post(func() {}), libevent.ErrClosed)
				if panics {
					panic("after Close")
				}
			}
			if kind == "timer" {
				if _, err := b.AddTimer(0, func(events) (events, time.Duration) {
					closes()
					return libevent.EV_TIMEOUT, faraway
				}); err != nil {
					t.Fatal(err)
				}
			} else {
				for range 2 {
					if err := b.Post(closes); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := b.AddTimer(5*soon, keep); err != nil {
				t.Fatal(err)
			}
			dispatch(t, owner)
			if err := b.Err(); (err != nil) != panics || owner.GotBreak() != panics {
				t.Errorf("Err is %v, break %v", err, owner.GotBreak())
			}
			dispatch(t, owner)
			if n != 1 {
				t.Errorf("%s: %d calls", kind, n)
			}
		}
	}
}

// A borrowed base may be closed while one of its callbacks runs on another goroutine.
func TestCloseOfABorrowedBaseDuringItsCallback(t *testing.T) {
	owner := newBase(t)
	stop := background(t, owner)
	for _, result := range []events{libevent.EV_READ, libevent.LEAVE, 0, 0x4000} {
		p := socketpair(t)
		b, err := libevent.BaseFromPointer(owner.Pointer())
		if err != nil {
			t.Fatal(err)
		}
		in, out := make(chan bool, 1), make(chan bool)
		if _, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
			in <- true
			<-out
			if result == 0x4000 {
				return 0, 0
			}
			return result, faraway
		}, 0); err != nil {
			t.Fatal(err)
		}
		wait(t, "the callback", in)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		close(out)
		wait(t, "the loop", onLoop(t, owner, func() {}))
	}
	stop()
}

// A panic in a callback of a borrowed base is told by Err, or by the base's Dispatch.
func TestPanicOnABorrowedBase(t *testing.T) {
	owner := newBase(t)
	b, err := libevent.BaseFromPointer(owner.Pointer())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.AddTimer(soon, func(events) (events, time.Duration) { panic("borrowed") }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		dispatch(t, owner)
		var p *libevent.CallbackPanic
		if err := b.Err(); !errors.As(err, &p) || p.Value != "borrowed" || !owner.GotBreak() {
			t.Errorf("Err is %v, break %v", err, owner.GotBreak())
		}
		if p := dispatchPanics(t, b); p != nil && p.Value != "borrowed" {
			t.Errorf("value %v", p.Value)
		}
	}
}

func TestSignalMethod(t *testing.T) {
	b := newBase(t)
	name, err := b.SignalMethod()
	wrapped(t, "event_base_get_signal_method", err, since22())
	if (name == "") != (err != nil) {
		t.Errorf("method %q, %v", name, err)
	}
	_ = b.Close()
	_, err = b.SignalMethod()
	wrapped(t, "event_base_get_signal_method", err, libevent.ErrClosed)
}

func TestBaseFlagsOfLibevent22(t *testing.T) {
	for _, flags := range []libevent.BaseFlags{
		libevent.EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD | libevent.EVENT_BASE_FLAG_PRECISE_TIMER,
		libevent.EVENT_BASE_FLAG_USE_SIGNALFD,
	} {
		b, err := libevent.NewWithConfig(&libevent.Config{Flags: flags})
		wrapped(t, "event_base_new_with_config", err, since22())
		if err == nil {
			_ = b.Close()
		}
	}
}

func init() { children["nothing"] = func() int { return 0 } }

// A library whose events are not those of the headers ends the program at once, and says
// why: the binding would read what is not there.
func TestLibraryThatDoesNotFit(t *testing.T) {
	if runtime.GOOS != "linux" || asanEnabled {
		t.Skip("a library cannot be put before libevent")
	}
	dir := t.TempDir()
	source, library := filepath.Join(dir, "other.c"), filepath.Join(dir, "other.so")
	const other = "#include <stddef.h>\nsize_t event_get_struct_event_size(void) { return 8; }\n"
	must(t, os.WriteFile(source, []byte(other), 0o600))
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Skipf("cc: %v: %s", err, out)
	}
	cmd := child("nothing")
	cmd.Env = append(cmd.Env, "LD_PRELOAD="+library)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: libevent: built with the headers of "+libevent.HeaderVersion()) {
		t.Errorf("the child ends with %v and prints\n%s", err, out)
	}
}
