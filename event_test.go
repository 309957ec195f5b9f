package libevent_test

import (
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

const (
	none    = libevent.NoTimeout
	soon    = time.Millisecond
	faraway = time.Hour

	// clockGrain is how far a time that the loop has cached may lag behind.
	clockGrain = 10 * time.Millisecond
)

// A contractStep is one callback: what it must get, what it returns, and what its event
// must be waiting for afterwards.
type contractStep struct {
	what    events
	next    events
	timeout time.Duration

	pending  events
	interval time.Duration // of the deadline, if pending has EV_TIMEOUT
	err      error         // of the loop; the event must be closed then
}

// contractTests are the rows of the table of what a callback returns. Descriptors can
// be written unless they are full, and can be read where the test says so. Those that
// can be do not have a timeout that may come first.
var contractTests = []struct {
	name     string
	timer    bool // fd -1
	readable bool
	full     bool // not writable
	interest events
	timeout  time.Duration
	steps    []contractStep
}{
	{
		name: "nothing changes", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, pending: libevent.EV_READ},
			{what: libevent.EV_READ, pending: libevent.EV_READ},
			{what: libevent.EV_READ, pending: libevent.EV_READ},
		},
	}, {
		name: "nothing changes, timeout", interest: libevent.EV_READ, timeout: soon,
		steps: []contractStep{
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon},
		},
	}, {
		name: "EV_PERSIST is ignored", readable: true, interest: libevent.EV_READ | libevent.EV_PERSIST,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_PERSIST, pending: libevent.EV_READ},
			{
				what: libevent.EV_READ, next: libevent.EV_PERSIST | libevent.EV_WRITE,
				pending: libevent.EV_WRITE,
			},
			{
				what: libevent.EV_WRITE, next: libevent.EV_PERSIST, timeout: faraway,
				pending: libevent.EV_WRITE | libevent.EV_TIMEOUT, interval: faraway,
			},
		},
	}, {
		name: "EV_TIMEOUT beside an interest is ignored", readable: true,
		interest: libevent.EV_READ | libevent.EV_TIMEOUT,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_READ | libevent.EV_TIMEOUT,
				pending: libevent.EV_READ,
			},
			{
				what: libevent.EV_READ, next: libevent.EV_WRITE | libevent.EV_TIMEOUT,
				pending: libevent.EV_WRITE,
			},
		},
	}, {
		name: "the same interest", readable: true, interest: libevent.EV_READ, timeout: faraway,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_READ,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway,
			},
			{what: libevent.EV_READ, pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway},
		},
	}, {
		name: "narrower, then wider", readable: true, interest: libevent.EV_READ | libevent.EV_WRITE,
		steps: []contractStep{
			{
				what: libevent.EV_READ | libevent.EV_WRITE, next: libevent.EV_READ,
				pending: libevent.EV_READ,
			},
			{what: libevent.EV_READ, next: libevent.EV_WRITE, pending: libevent.EV_WRITE},
			{
				what: libevent.EV_WRITE, next: libevent.EV_READ | libevent.EV_WRITE,
				pending: libevent.EV_READ | libevent.EV_WRITE,
			},
			{
				what:    libevent.EV_READ | libevent.EV_WRITE,
				pending: libevent.EV_READ | libevent.EV_WRITE,
			},
		},
	}, {
		name: "a new interest keeps the timeout", readable: true, interest: libevent.EV_READ,
		timeout: faraway,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_WRITE,
				pending: libevent.EV_WRITE | libevent.EV_TIMEOUT, interval: faraway,
			},
			{
				what: libevent.EV_WRITE, next: libevent.EV_READ | libevent.EV_WRITE,
				pending: libevent.EV_READ | libevent.EV_WRITE | libevent.EV_TIMEOUT, interval: faraway,
			},
		},
	}, {
		name: "a new interest keeps a timeout that fires", full: true, interest: libevent.EV_WRITE,
		timeout: soon,
		steps: []contractStep{
			{
				what: libevent.EV_TIMEOUT, next: libevent.EV_READ,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon,
			},
			{
				what: libevent.EV_TIMEOUT, next: libevent.EV_WRITE | libevent.EV_READ,
				pending: libevent.EV_WRITE | libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon,
			},
			{
				what: libevent.EV_TIMEOUT, next: libevent.EV_READ,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon,
			},
			{
				what:    libevent.EV_TIMEOUT,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon,
			},
		},
	}, {
		name: "a new interest keeps having no timeout", readable: true, interest: libevent.EV_READ,
		timeout: none,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_WRITE, pending: libevent.EV_WRITE},
			{what: libevent.EV_WRITE, next: libevent.EV_READ, pending: libevent.EV_READ},
			{what: libevent.EV_READ, pending: libevent.EV_READ},
		},
	}, {
		name: "a new timeout", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{
				what: libevent.EV_READ, timeout: faraway,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway,
			},
			{
				what: libevent.EV_READ, timeout: faraway / 2,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway / 2,
			},
			{
				what:    libevent.EV_READ,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway / 2,
			},
		},
	}, {
		name: "a new timeout after one has fired", interest: libevent.EV_READ, timeout: soon,
		steps: []contractStep{
			{
				what: libevent.EV_TIMEOUT, timeout: 2 * soon,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: 2 * soon,
			},
			{
				what: libevent.EV_TIMEOUT, timeout: faraway,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway,
			},
		},
	}, {
		name: "a new interest and a new timeout", readable: true, interest: libevent.EV_READ,
		timeout: faraway,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_WRITE, timeout: faraway / 2,
				pending: libevent.EV_WRITE | libevent.EV_TIMEOUT, interval: faraway / 2,
			},
			{
				what: libevent.EV_WRITE, next: libevent.EV_READ,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway / 2,
			},
		},
	}, {
		name: "NoTimeout", readable: true, interest: libevent.EV_READ, timeout: faraway,
		steps: []contractStep{
			{what: libevent.EV_READ, timeout: none, pending: libevent.EV_READ},
			{what: libevent.EV_READ, pending: libevent.EV_READ},
			{what: libevent.EV_READ, next: libevent.EV_WRITE, pending: libevent.EV_WRITE},
			{what: libevent.EV_WRITE, pending: libevent.EV_WRITE},
		},
	}, {
		name: "NoTimeout after a timeout, with a new interest", interest: libevent.EV_READ, timeout: soon,
		steps: []contractStep{
			{what: libevent.EV_TIMEOUT, next: libevent.EV_WRITE, timeout: none, pending: libevent.EV_WRITE},
			{what: libevent.EV_WRITE, pending: libevent.EV_WRITE},
			{
				what: libevent.EV_WRITE, next: libevent.EV_READ, timeout: soon,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: soon,
			},
			{what: libevent.EV_TIMEOUT, timeout: none, pending: libevent.EV_READ},
		},
	}, {
		name: "a timeout is rounded up", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_TIMEOUT, timeout: 1,
				pending: libevent.EV_TIMEOUT, interval: time.Microsecond,
			},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: time.Microsecond},
		},
	}, {
		name: "EV_TIMEOUT alone keeps the timeout", readable: true, interest: libevent.EV_READ,
		timeout: faraway,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_TIMEOUT,
				pending: libevent.EV_TIMEOUT, interval: faraway,
			},
		},
	}, {
		name: "EV_TIMEOUT alone drops the descriptor", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{
				what: libevent.EV_READ, next: libevent.EV_TIMEOUT | libevent.EV_PERSIST, timeout: soon,
				pending: libevent.EV_TIMEOUT, interval: soon,
			},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: soon},
			{
				what: libevent.EV_TIMEOUT, next: libevent.EV_READ, timeout: faraway,
				pending: libevent.EV_READ | libevent.EV_TIMEOUT, interval: faraway,
			},
			{
				what: libevent.EV_READ, next: libevent.EV_TIMEOUT, timeout: 2 * soon,
				pending: libevent.EV_TIMEOUT, interval: 2 * soon,
			},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: 2 * soon},
		},
	}, {
		name: "EV_TIMEOUT alone without a timeout", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_TIMEOUT, err: syscall.EINVAL},
		},
	}, {
		name: "EV_TIMEOUT alone with NoTimeout", readable: true, interest: libevent.EV_READ,
		timeout: faraway,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_TIMEOUT, timeout: none, err: syscall.EINVAL},
		},
	}, {
		name: "an unknown bit", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_READ | 0x4000, err: syscall.EINVAL},
		},
	}, {
		name: "a negative interest", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{{what: libevent.EV_READ, next: -2, err: syscall.EINVAL}},
	}, {
		name: "a bit that C's short does not hold", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_READ | 0x10000, err: syscall.EINVAL},
		},
	}, {
		name: "EV_SIGNAL on a descriptor", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{{what: libevent.EV_READ, next: libevent.EV_SIGNAL, err: syscall.EINVAL}},
	}, {
		name: "EV_SIGNAL|EV_READ on a descriptor", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_SIGNAL | libevent.EV_READ, err: syscall.EINVAL},
		},
	}, {
		name: "EV_ET alone", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{{what: libevent.EV_READ, next: libevent.EV_ET, err: syscall.EINVAL}},
	}, {
		name: "a negative timeout", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{{what: libevent.EV_READ, timeout: -2, err: syscall.EINVAL}},
	}, {
		name: "a negative second", readable: true, interest: libevent.EV_READ,
		steps: []contractStep{
			{what: libevent.EV_READ, next: libevent.EV_READ, timeout: -time.Second, err: syscall.EINVAL},
		},
	}, {
		name: "a timer", timer: true, timeout: soon,
		steps: []contractStep{
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: soon},
			{what: libevent.EV_TIMEOUT, next: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: soon},
			{what: libevent.EV_TIMEOUT, next: libevent.EV_PERSIST, pending: libevent.EV_TIMEOUT, interval: soon},
			{what: libevent.EV_TIMEOUT, timeout: 2 * soon, pending: libevent.EV_TIMEOUT, interval: 2 * soon},
			{
				what: libevent.EV_TIMEOUT, next: libevent.EV_TIMEOUT, timeout: soon,
				pending: libevent.EV_TIMEOUT, interval: soon,
			},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: soon},
		},
	}, {
		name: "a timer of 0 fires once", timer: true,
		steps: []contractStep{{what: libevent.EV_TIMEOUT}},
	}, {
		name: "a timer of 0 that returns EV_TIMEOUT fires once", timer: true,
		steps: []contractStep{{what: libevent.EV_TIMEOUT, next: libevent.EV_TIMEOUT}},
	}, {
		name: "a timer of 0 gets a timeout", timer: true,
		steps: []contractStep{
			{what: libevent.EV_TIMEOUT, timeout: soon, pending: libevent.EV_TIMEOUT, interval: soon},
			{what: libevent.EV_TIMEOUT, pending: libevent.EV_TIMEOUT, interval: soon},
		},
	}, {
		name: "a timer without a timeout", timer: true, timeout: soon,
		steps: []contractStep{{what: libevent.EV_TIMEOUT, timeout: none, err: syscall.EINVAL}},
	}, {
		name: "a timer with a descriptor's interest", timer: true, timeout: soon,
		steps: []contractStep{{what: libevent.EV_TIMEOUT, next: libevent.EV_READ, err: syscall.EBADF}},
	}, {
		name: "a timer with EV_SIGNAL", timer: true, timeout: soon,
		steps: []contractStep{{what: libevent.EV_TIMEOUT, next: libevent.EV_SIGNAL, err: syscall.EINVAL}},
	},
}

func TestWhatACallbackReturns(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, test := range contractTests {
			t.Run(test.name, func(t *testing.T) {
				p := socketpair(t)
				if test.readable {
					send(t, p[1], "x")
				}
				if test.full {
					fill(p[0])
				}
				fd := p[0]
				if test.timer {
					fd = -1
				}
				b := newBaseWith(t, cfg)
				var what []events
				var step contractStep
				ev, err := b.AddEvent(fd, test.interest, func(e events) (events, time.Duration) {
					what = append(what, e)
					return step.next, step.timeout
				}, test.timeout)
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range test.steps {
					step, what = s, nil
					err := loop(t, b, libevent.EVLOOP_ONCE)
					checkStep(t, i, ev, s, what, err)
				}
			})
		}
	})
}

// checkStep compares what has happened in step i with s.
func checkStep(t *testing.T, i int, ev *libevent.Event, s contractStep, what []events, err error) {
	t.Helper()
	if !slices.Equal(what, []events{s.what}) {
		t.Fatalf("step %d: called with %v, want %v once", i, what, s.what)
	}
	if s.err != nil {
		isErrno(t, err, s.err)
		isErrno(t, ev.Del(), libevent.ErrClosed)
		if n := ev.Base().NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
			t.Errorf("step %d: %d events left", i, n)
		}
		return
	}
	if err != nil {
		t.Fatalf("step %d: %v", i, err)
	}
	if got := ev.Pending(allEvents); got != s.pending {
		t.Errorf("step %d: pending %v, want %v", i, got, s.pending)
	}
	if got, want := ev.Events(), s.pending&^libevent.EV_TIMEOUT; got != want {
		t.Errorf("step %d: events %v, want %v", i, got, want)
	}
	deadline, ok := ev.Deadline()
	if ok != (s.interval != 0) {
		t.Errorf("step %d: deadline %v, %v; want interval %v", i, deadline, ok, s.interval)
	}
	// Of the wall clock, which may be set, only what a wrong interval would show.
	const slack = time.Minute
	if left := time.Until(deadline); ok && (left > s.interval+slack || left < s.interval-slack) {
		t.Errorf("step %d: fires in %v, want %v", i, left, s.interval)
	}
}

func TestLeave(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, timeout := range []time.Duration{0, soon, none, -5, math.MaxInt64} {
			p := socketpair(t)
			b := newBaseWith(t, cfg)
			n := 0
			ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
				n++
				return libevent.LEAVE, timeout
			}, faraway)
			if err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			if n != 1 {
				t.Errorf("called %d times", n)
			}
			for name, err := range map[string]error{
				"Add": ev.Add(0), "Del": ev.Del(), "RemoveTimer": ev.RemoveTimer(),
				"Activate": ev.Activate(libevent.EV_READ), "SetPriority": ev.SetPriority(0),
			} {
				if !errors.Is(err, libevent.ErrClosed) || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if ev.Pending(allEvents) != 0 || ev.Events() != 0 || ev.Priority() != 0 {
				t.Error("a closed event has a state")
			}
			if _, ok := ev.Deadline(); ok {
				t.Error("a closed event has a deadline")
			}
			if ev.FD() != p[0] || ev.Base() != b {
				t.Error("a closed event has forgotten what it was")
			}
			if err := ev.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The result of a callback that has closed its own event counts for nothing.
func TestCloseInOwnCallback(t *testing.T) {
	results := []struct {
		next    events
		timeout time.Duration
	}{
		{0, 0},
		{libevent.EV_READ, 0},
		{libevent.EV_WRITE, soon},
		{0, soon},
		{libevent.LEAVE, 0},
		{0x4000, -2},
	}
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, r := range results {
			p := socketpair(t)
			b := newBaseWith(t, cfg)
			n := 0
			var ev *libevent.Event
			ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
				n++
				if err := ev.Close(); err != nil {
					t.Error(err)
				}
				if err := ev.Close(); err != nil {
					t.Error("second Close:", err)
				}
				isErrno(t, ev.Add(0), libevent.ErrClosed)
				if r.next == 0x4000 {
					return 0, 0
				}
				return r.next, r.timeout
			}, faraway)
			if err != nil {
				t.Fatal(err)
			}
			dispatch(t, b)
			if n != 1 {
				t.Errorf("result %v: called %d times", r, n)
			}
		}
	})
}

// After Del in its own callback an event is armed again by a result that asks for it,
// and by no other.
func TestDelInOwnCallback(t *testing.T) {
	tests := []struct {
		name    string
		next    events
		timeout time.Duration
		pending events
	}{
		{"nothing", 0, 0, 0},
		{"EV_PERSIST", libevent.EV_PERSIST, 0, 0},
		{"the same", libevent.EV_WRITE, 0, libevent.EV_WRITE | libevent.EV_TIMEOUT},
		{"another", libevent.EV_READ, 0, libevent.EV_READ | libevent.EV_TIMEOUT},
		{"a timeout", 0, faraway, libevent.EV_WRITE | libevent.EV_TIMEOUT},
		{"no timeout", 0, none, libevent.EV_WRITE},
		{"EV_TIMEOUT", libevent.EV_TIMEOUT, 0, libevent.EV_TIMEOUT},
	}
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				p := socketpair(t)
				b := newBaseWith(t, cfg)
				n := 0
				var ev *libevent.Event
				ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
					n++
					if err := ev.Del(); err != nil {
						t.Error(err)
					}
					if got := ev.Pending(allEvents); got != 0 {
						t.Error("after Del pending", got)
					}
					return test.next, test.timeout
				}, faraway)
				if err != nil {
					t.Fatal(err)
				}
				if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
					t.Fatal(err)
				}
				if got := ev.Pending(allEvents); n != 1 || got != test.pending {
					t.Errorf("%d calls, then pending %v, want %v", n, got, test.pending)
				}
			})
		}
	})
}

// A new interest that C cannot take, as of a descriptor that was closed meanwhile,
// closes the event and ends the loop with the errno.
func TestRearmFailsInC(t *testing.T) {
	for _, flags := range []libevent.BaseFlags{0, libevent.EVENT_BASE_FLAG_NOLOCK} {
		p := socketpair(t)
		fd, err := syscall.Dup(p[0])
		if err != nil {
			t.Fatal(err)
		}
		cfg := onlyMethod("epoll")
		cfg.Flags |= flags
		b := newBaseWith(t, cfg)
		ev, err := b.AddEvent(fd, libevent.EV_WRITE, func(events) (events, time.Duration) {
			if err := syscall.Close(fd); err != nil {
				t.Error(err)
			}
			return libevent.EV_READ, 0
		}, faraway)
		if err != nil {
			t.Fatal(err)
		}
		isErrno(t, loop(t, b, 0), syscall.EBADF)
		isErrno(t, ev.Add(0), libevent.ErrClosed)
		if !b.GotBreak() {
			t.Error("the loop was not broken")
		}
		dispatch(t, b)
	}
}

// The first of several failures is the one that Dispatch returns, and the loop goes on
// with the rest afterwards.
func TestFailureLeavesTheRestActive(t *testing.T) {
	b := newBase(t)
	var order []string
	for _, name := range []string{"a", "b"} {
		ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
			order = append(order, name)
			return 0x4000, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.Activate(libevent.EV_TIMEOUT); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		isErrno(t, loop(t, b, 0), syscall.EINVAL)
		if len(order) != i+1 {
			t.Fatalf("after %d loops %q", i+1, order)
		}
	}
	dispatch(t, b)
}

func TestRearmKeepsThePriority(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		cfg.Priorities = 5
		p := socketpair(t)
		send(t, p[1], "x")
		b := newBaseWith(t, cfg)
		n := 0
		ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
			if n++; n == 1 {
				return libevent.EV_WRITE, faraway
			}
			return libevent.LEAVE, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := ev.Priority(); got != 2 {
			t.Errorf("a new event has priority %d of 5, want 2", got)
		}
		if err := ev.SetPriority(4); err != nil {
			t.Fatal(err)
		}
		if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
			t.Fatal(err)
		}
		if got := ev.Priority(); got != 4 {
			t.Errorf("priority %d after a new interest, want 4", got)
		}
	})
}

// NewEvent and AddEvent find users' mistakes before C does.
func TestAddEventRefuses(t *testing.T) {
	needsBlocking(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const closed = 999 // beyond what a test opens, and within select's reach
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		epoll := strings.HasPrefix(b.Method(), "epoll")
		changelist := usesChangelist(b)
		only := func(condition bool, err error) error {
			if condition {
				return err
			}
			return nil
		}
		lacks := func(feature libevent.Features) error {
			return only(b.Features()&feature == 0, syscall.ENOTSUP)
		}
		tests := []struct {
			name     string
			fd       int
			interest events
			fn       libevent.EventCallback
			timeout  time.Duration
			err      error
			newErr   error // of NewEvent
		}{
			{"fd -1 to read", -1, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd -1 to write", -1, libevent.EV_WRITE, keep, faraway, syscall.EBADF, syscall.EBADF},
			{"fd -2", -2, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"timer of fd -2", -2, 0, keep, faraway, syscall.EBADF, syscall.EBADF},
			{"fd MinInt64", math.MinInt64, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd closed", closed, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd 100,000,000", 100_000_000, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd INT_MAX/2", math.MaxInt32 / 2, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd INT_MAX", math.MaxInt32, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"fd 1<<32", 1 << 32, libevent.EV_READ, keep, 0, syscall.EBADF, syscall.EBADF},
			{"regular file", int(file.Fd()), libevent.EV_READ, leave, 0, only(epoll, syscall.EPERM), only(changelist, syscall.EPERM)},
			{"directory", int(dir.Fd()), libevent.EV_READ, leave, 0, only(epoll, syscall.EPERM), only(changelist, syscall.EPERM)},
			{"EV_SIGNAL|EV_READ", int(syscall.SIGUSR1), libevent.EV_SIGNAL | libevent.EV_READ, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"EV_SIGNAL|EV_WRITE", int(syscall.SIGUSR1), libevent.EV_SIGNAL | libevent.EV_WRITE, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"EV_SIGNAL|EV_CLOSED", int(syscall.SIGUSR1), libevent.EV_SIGNAL | libevent.EV_CLOSED, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"EV_SIGNAL|EV_ET", int(syscall.SIGUSR1), libevent.EV_SIGNAL | libevent.EV_ET, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"EV_ET alone", p[0], libevent.EV_ET, keep, faraway, syscall.EINVAL, syscall.EINVAL},
			{"EV_ET", p[0], libevent.EV_READ | libevent.EV_ET, leave, soon, lacks(libevent.EV_FEATURE_ET), lacks(libevent.EV_FEATURE_ET)},
			{"EV_CLOSED", p[0], libevent.EV_CLOSED, leave, soon, lacks(libevent.EV_FEATURE_EARLY_CLOSE), lacks(libevent.EV_FEATURE_EARLY_CLOSE)},
			{"nil callback", p[0], libevent.EV_READ, nil, 0, syscall.EINVAL, syscall.EINVAL},
			{"unknown bit", p[0], libevent.EV_READ | 0x4000, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"bit beyond a short", p[0], libevent.EV_READ | 0x20000, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"LEAVE", p[0], libevent.LEAVE, keep, 0, syscall.EINVAL, syscall.EINVAL},
			{"timeout -2", p[0], libevent.EV_READ, keep, -2, syscall.EINVAL, nil},
			{"timeout MinInt64", p[0], libevent.EV_READ, keep, math.MinInt64, syscall.EINVAL, nil},
			{"timer of -2", -1, 0, keep, -2, syscall.EINVAL, nil},
			{"neither fd nor timeout", -1, 0, keep, none, syscall.EINVAL, nil},
			{"EV_TIMEOUT without one", -1, libevent.EV_TIMEOUT, keep, none, syscall.EINVAL, nil},
			{"EV_PERSIST without a timeout", -1, libevent.EV_PERSIST, keep, none, syscall.EINVAL, nil},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				start := time.Now()
				ev, err := b.AddEvent(test.fd, test.interest, test.fn, test.timeout)
				// C would take seconds and a gigabyte for the largest.
				if spent := time.Since(start); spent > guardTime/4 {
					t.Errorf("took %v", spent)
				}
				check := func(ev *libevent.Event, err, want error) {
					t.Helper()
					if want != nil {
						isErrno(t, err, want)
						if ev != nil {
							t.Error("an event beside the error")
						}
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if err := ev.Close(); err != nil {
						t.Error(err)
					}
				}
				check(ev, err, test.err)
				ev, err = b.NewEvent(test.fd, test.interest, test.fn)
				check(ev, err, test.newErr)
				if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
					t.Errorf("%d events left behind", n)
				}
			})
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := b.AddEvent(p[0], libevent.EV_READ, keep, 0)
		isErrno(t, err, libevent.ErrClosed)
		_, err = b.NewEvent(p[0], libevent.EV_READ, keep)
		isErrno(t, err, libevent.ErrClosed)
	})
}

func TestSelectRefusesLargeDescriptors(t *testing.T) {
	p := socketpair(t)
	high, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(p[0]), syscall.F_DUPFD_CLOEXEC, 1024)
	if errno != 0 {
		t.Skip("no descriptor above 1023: ", errno)
	}
	defer syscall.Close(int(high))
	b := newBaseWith(t, onlyMethod("select"))
	_, err := b.AddEvent(int(high), libevent.EV_WRITE, keep, 0)
	isErrno(t, err, syscall.EINVAL)
	b = newBaseWith(t, onlyMethod("poll"))
	if _, err := b.AddEvent(int(high), libevent.EV_WRITE, leave, 0); err != nil {
		t.Fatal(err)
	}
	dispatch(t, b)
}

func TestLongestTimeout(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		n := 0
		ev, err := b.AddTimer(math.MaxInt64, func(events) (events, time.Duration) { n++; return 0, 0 })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddTimer(10*soon, func(events) (events, time.Duration) {
			if err := b.LoopBreak(); err != nil {
				t.Error(err)
			}
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if n != 0 || ev.Pending(allEvents) != libevent.EV_TIMEOUT {
			t.Errorf("called %d times, pending %v", n, ev.Pending(allEvents))
		}
	})
}

func TestActivateRefuses(t *testing.T) {
	b := newBase(t)
	ev, err := b.NewEvent(-1, 0, keep)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []events{
		0, libevent.LEAVE, libevent.EV_PERSIST, libevent.EV_ET, 0x40, 0x10000 | libevent.EV_READ,
	} {
		isErrno(t, ev.Activate(what), syscall.EINVAL)
	}
	if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ACTIVE); n != 0 {
		t.Errorf("%d active", n)
	}
}

// Upstream: main/manipulate_active_events
func TestActivateJoinsResults(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var got []events
		ev, err := b.NewEvent(-1, 0, func(what events) (events, time.Duration) {
			got = append(got, what)
			return 0, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if ev.Pending(allEvents) != 0 {
			t.Error("pending before it was added")
		}
		for _, what := range []events{libevent.EV_READ, libevent.EV_WRITE, libevent.EV_READ} {
			if err := ev.Activate(what); err != nil {
				t.Fatal(err)
			}
		}
		if got := ev.Pending(allEvents); got != libevent.EV_READ|libevent.EV_WRITE {
			t.Errorf("pending %v", got)
		}
		if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ACTIVE); n != 1 {
			t.Errorf("%d active", n)
		}
		if err := ev.SetPriority(0); err == nil {
			t.Error("the priority of an active event was set")
		} else {
			isErrno(t, err, syscall.EINVAL)
		}
		dispatch(t, b)
		if !slices.Equal(got, []events{libevent.EV_READ | libevent.EV_WRITE}) {
			t.Errorf("called with %v", got)
		}
		if ev.Pending(allEvents) != 0 {
			t.Error("pending after its callback")
		}
		// Del takes an activation back.
		if err := ev.Activate(libevent.EV_READ); err != nil {
			t.Fatal(err)
		}
		if err := ev.Del(); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if len(got) != 1 {
			t.Errorf("called with %v after Del", got)
		}
	})
}

// Upstream: main/event_base_new
// Upstream: main/simpleread
// Upstream: main/simplewrite
func TestReadAndWrite(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		var got []string
		var r, w *libevent.Event
		r, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
			var buf [16]byte
			n, err := r.Read(buf[:])
			if err != nil {
				t.Error(err)
			}
			got = append(got, what.String(), string(buf[:n]))
			return libevent.LEAVE, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		w, err = b.AddEvent(p[1], libevent.EV_WRITE, func(what events) (events, time.Duration) {
			if n, err := w.Write([]byte("hello")); n != 5 || err != nil {
				t.Error(n, err)
			}
			got = append(got, what.String())
			return libevent.LEAVE, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if want := []string{"EV_WRITE", "EV_READ", "hello"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Upstream: main/simpleread_multiple
func TestTwoReadersOnOneDescriptor(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		send(t, p[1], "x")
		b := newBaseWith(t, cfg)
		n := [2]int{}
		for i := range n {
			if _, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
				n[i]++
				return libevent.LEAVE, 0
			}, 0); err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		if n != [2]int{1, 1} {
			t.Errorf("called %v times", n)
		}
	})
}

// Upstream: main/multiple_events_for_same_fd
// Upstream: et/et_multiple_events
func TestReaderAndWriterOnOneDescriptor(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, mode := range []events{0, libevent.EV_ET} {
			p := socketpair(t)
			send(t, p[1], "x")
			b := newBaseWith(t, cfg)
			if mode != 0 && b.Features()&libevent.EV_FEATURE_ET == 0 {
				continue
			}
			got := map[events]int{}
			for _, interest := range []events{libevent.EV_READ, libevent.EV_WRITE} {
				if _, err := b.AddEvent(p[0], interest|mode, func(what events) (events, time.Duration) {
					got[what&^libevent.EV_ET]++
					return libevent.LEAVE, 0
				}, 0); err != nil {
					t.Fatal(err)
				}
			}
			dispatch(t, b)
			if len(got) != 2 || got[libevent.EV_READ] != 1 || got[libevent.EV_WRITE] != 1 {
				t.Errorf("mode %v: %v", mode, got)
			}
		}
	})
}

// Upstream: main/simpleclose_rw
func TestPeerCloseWakesReaderAndWriter(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		fill(p[0]) // the writer has to wait
		b := newBaseWith(t, cfg)
		var got events
		for _, interest := range []events{libevent.EV_READ, libevent.EV_WRITE} {
			if _, err := b.AddEvent(p[0], interest, func(what events) (events, time.Duration) {
				got |= what
				return libevent.LEAVE, 0
			}, guardTime); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.AddTimer(soon, func(events) (events, time.Duration) {
			if got != 0 {
				t.Error("woken too early:", got)
			}
			closeSocket(t, p[1])
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if got != libevent.EV_READ|libevent.EV_WRITE {
			t.Errorf("woken by %v", got)
		}
	})
}

// Upstream: main/simpleclose_close
// Upstream: main/simpleclose_shutdown
// Upstream: main/simpleclose_close_persist
// Upstream: main/simpleclose_shutdown_persist
// Upstream: main/simpleclose_close_et
// Upstream: main/simpleclose_shutdown_et
// Upstream: main/simpleclose_close_persist_et
// Upstream: main/simpleclose_shutdown_persist_et
func TestClosedIsSeenBeforeTheData(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, mode := range []events{0, libevent.EV_ET} {
			for _, shutdown := range []bool{true, false} {
				for _, calls := range []int{1, 2} {
					closedIsSeen(t, cfg, mode, shutdown, calls)
				}
			}
		}
	})
}

// closedIsSeen waits for EV_CLOSED calls times, after the peer has closed its socket or
// shut it down.
func closedIsSeen(t *testing.T, cfg *libevent.Config, mode events, shutdown bool, calls int) {
	p := socketpair(t)
	send(t, p[1], "unread")
	b := newBaseWith(t, cfg)
	if b.Features()&libevent.EV_FEATURE_EARLY_CLOSE == 0 ||
		mode != 0 && b.Features()&libevent.EV_FEATURE_ET == 0 {
		return
	}
	n := 0
	if _, err := b.AddEvent(p[0], libevent.EV_CLOSED|mode, func(what events) (events, time.Duration) {
		n++
		if what&^libevent.EV_ET != libevent.EV_CLOSED {
			t.Error("called with", what)
		}
		if n == calls {
			return libevent.LEAVE, 0
		}
		if mode != 0 {
			// Only a change is an edge.
			if err := syscall.Shutdown(p[0], syscall.SHUT_RD); err != nil {
				t.Error(err)
			}
		}
		return 0, 0
	}, 0); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK); err != nil || n != 0 {
		t.Fatalf("before the close: %d calls, %v", n, err)
	}
	if shutdown {
		if err := syscall.Shutdown(p[1], syscall.SHUT_WR); err != nil {
			t.Fatal(err)
		}
	} else {
		closeSocket(t, p[1])
	}
	dispatch(t, b)
	if n != calls {
		t.Errorf("%d calls, want %d (%v, shutdown %v)", n, calls, mode, shutdown)
	}
}

// transfer moves size bytes from one end to the other in pieces, in both directions at
// once when both is set, with one event that reads and writes for each end.
func transfer(t *testing.T, b *libevent.Base, p [2]int, size int, both bool) {
	t.Helper()
	var got, sent [2]int
	for i := range p {
		senders := both || i == 0
		receivers := both || i == 1
		var interest events
		if senders {
			interest |= libevent.EV_WRITE
		}
		if receivers {
			interest |= libevent.EV_READ
		}
		buf := make([]byte, 1024)
		var ev *libevent.Event
		ev, err := b.AddEvent(p[i], interest, func(what events) (events, time.Duration) {
			if what&libevent.EV_WRITE != 0 {
				n, err := ev.Write(make([]byte, min(997, size-sent[i])))
				if err != nil && err != syscall.EAGAIN {
					t.Error(err)
				}
				if sent[i] += n; sent[i] == size {
					interest &^= libevent.EV_WRITE
				}
			}
			if what&libevent.EV_READ != 0 {
				n, err := ev.Read(buf)
				if err != nil {
					t.Error(err)
				}
				if got[i] += n; got[i] == size {
					interest &^= libevent.EV_READ
				}
			}
			if interest == 0 {
				return libevent.LEAVE, 0
			}
			return interest, 0
		}, guardTime)
		if err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, b)
	want := [2]int{0, size}
	if both {
		want[0] = size
	}
	if got != want {
		t.Errorf("received %v, want %v", got, want)
	}
}

// Upstream: main/multiple
// Upstream: main/persistent
// Upstream: main/combined
func TestTransfer(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, both := range []bool{false, true} {
			p := socketpair(t)
			transfer(t, newBaseWith(t, cfg), p, 1<<20, both)
		}
	})
}

// Upstream: main/many_events
// Upstream: main/many_events_slow_add
func TestManyEvents(t *testing.T) {
	const many = 70
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, slow := range []bool{false, true} {
			var pairs [many][2]int
			for i := range pairs {
				pairs[i] = socketpair(t)
			}
			b := newBaseWith(t, cfg)
			var called [many]int
			add := func(i int) {
				if _, err := b.AddEvent(pairs[i][0], libevent.EV_READ, func(events) (events, time.Duration) {
					called[i]++
					if got := drain(pairs[i][0]); got != "x" {
						t.Errorf("event %d read %q", i, got)
					}
					return libevent.LEAVE, 0
				}, 0); err != nil {
					t.Fatal(err)
				}
				send(t, pairs[i][1], "x")
			}
			for i := range pairs {
				add(i)
				if slow {
					if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
						t.Fatal(err)
					}
				}
			}
			dispatch(t, b)
			for i, n := range called {
				if n != 1 {
					t.Errorf("event %d was called %d times", i, n)
				}
			}
		}
	})
}

// Upstream: main/simpletimeout
func TestTimer(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const d = 20 * time.Millisecond
		b := newBaseWith(t, cfg)
		start := b.Monotonic()
		n := 0
		if _, err := b.AddTimer(d, func(what events) (events, time.Duration) {
			n++
			if what != libevent.EV_TIMEOUT {
				t.Error("called with", what)
			}
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if spent := b.Monotonic() - start; n != 1 || spent < d {
			t.Errorf("%d calls after %v", n, spent)
		}
	})
}

// Upstream: main/persistent_timeout
func TestTimerRepeats(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const d, count = 3 * time.Millisecond, 5
		b := newBaseWith(t, cfg)
		start := b.Monotonic()
		n := 0
		if _, err := b.AddTimer(d, func(events) (events, time.Duration) {
			if n++; n == count {
				return libevent.LEAVE, 0
			}
			return 0, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if spent := b.Monotonic() - start; n != count || spent < count*d {
			t.Errorf("%d calls after %v", n, spent)
		}
	})
}

// A timer whose callback takes longer than its interval ticks an interval after each
// call, and does not make up for what it missed.
//
// Upstream: main/persistent_timeout_jump
func TestTimerDoesNotCatchUp(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const d, work = 20 * time.Millisecond, 80 * time.Millisecond
		b := newBaseWith(t, cfg)
		var calls []time.Time // as the loop saw them, however late they came
		if _, err := b.AddTimer(d, func(events) (events, time.Duration) {
			calls = append(calls, b.CachedTime())
			if len(calls) == 1 {
				time.Sleep(work)
			}
			if len(calls) == 4 {
				return libevent.LEAVE, 0
			}
			return 0, 0
		}); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		// libevent arms the timer before the call, from the time it was due: one
		// tick is missed in the call and made at once, and no other.
		if len(calls) != 4 || calls[3].Sub(calls[1]) < d-clockGrain {
			t.Errorf("calls at %v", calls)
		}
	})
}

// An event that fires for another reason than its timeout has its timeout put off.
//
// Upstream: main/persistent_active_timeout
func TestActivatePutsTheTimeoutOff(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const d = 250 * time.Millisecond
		b := newBaseWith(t, cfg)
		var at time.Time // as the loop sees it
		var got []events
		ev, err := b.AddTimer(d, func(what events) (events, time.Duration) {
			got = append(got, what)
			if len(got) == 1 {
				at = b.CachedTime()
				return 0, 0
			}
			if since := b.CachedTime().Sub(at); since < d-clockGrain {
				t.Errorf("the timeout came %v after the activation", since)
			}
			return libevent.LEAVE, 0
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d / 10)
		if err := ev.Activate(libevent.EV_READ); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if !slices.Equal(got, []events{libevent.EV_READ, libevent.EV_TIMEOUT}) {
			t.Errorf("called with %v", got)
		}
	})
}

// When data and the timeout fall due together the timeout is told first, alone.
func TestTimeoutBeforeRead(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		var got []events
		if _, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
			got = append(got, what)
			if what == libevent.EV_TIMEOUT {
				return 0, faraway
			}
			return libevent.LEAVE, 0
		}, soon); err != nil {
			t.Fatal(err)
		}
		send(t, p[1], "x")
		time.Sleep(20 * soon)
		dispatch(t, b)
		if !slices.Equal(got, []events{libevent.EV_TIMEOUT, libevent.EV_READ}) {
			t.Errorf("called with %v", got)
		}
	})
}

// Upstream: main/event_remove_timeout
func TestRemoveTimer(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		var got []events
		ev, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
			got = append(got, what)
			return 0, 0
		}, soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.RemoveTimer(); err != nil {
			t.Fatal(err)
		}
		if got := ev.Pending(allEvents); got != libevent.EV_READ {
			t.Errorf("pending %v", got)
		}
		if err := ev.RemoveTimer(); err != nil {
			t.Error("a second time:", err)
		}
		send(t, p[1], "x")
		if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
			t.Fatal(err)
		}
		if got := ev.Pending(allEvents); got != libevent.EV_READ {
			t.Errorf("pending %v after a read: the timeout came back", got)
		}
		if !slices.Equal(got, []events{libevent.EV_READ}) {
			t.Errorf("called with %v", got)
		}
	})
}

// A timeout that was removed is not the one in force, which a change of interest keeps.
func TestRemovedTimerStaysAway(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, inCallback := range []bool{false, true} {
			p := socketpair(t)
			b := newBaseWith(t, cfg)
			var ev *libevent.Event
			remove := func() {
				if err := ev.RemoveTimer(); err != nil {
					t.Error(err)
				}
			}
			ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
				if inCallback {
					remove()
				}
				return libevent.EV_READ | libevent.EV_WRITE, 0
			}, faraway)
			if err != nil {
				t.Fatal(err)
			}
			if !inCallback {
				remove()
			}
			send(t, p[1], "x")
			if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
				t.Fatal(err)
			}
			if got, want := ev.Pending(allEvents), libevent.EV_READ|libevent.EV_WRITE; got != want {
				t.Errorf("in the callback %v: pending %v, want %v", inCallback, got, want)
			}
		}
	})
}

// Add without a timeout takes the timeout away, whatever the event's state; C's
// event_add would keep it, or bring it back later.
func TestAddReplacesTheTimeout(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, deleted := range []bool{false, true} {
			for _, timeout := range []time.Duration{0, none} {
				p := socketpair(t)
				b := newBaseWith(t, cfg)
				ev, err := b.AddEvent(p[0], libevent.EV_READ, keep, soon)
				if err != nil {
					t.Fatal(err)
				}
				if deleted {
					if err := ev.Del(); err != nil {
						t.Fatal(err)
					}
					if got := ev.Pending(allEvents); got != 0 {
						t.Errorf("pending %v after Del", got)
					}
				}
				if err := ev.Add(timeout); err != nil {
					t.Fatal(err)
				}
				send(t, p[1], "x")
				for range 3 {
					if got := ev.Pending(allEvents) &^ libevent.EV_READ; got != 0 {
						t.Errorf("pending %v", got)
					}
					if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
						t.Fatal(err)
					}
				}
				if err := ev.Add(faraway); err != nil {
					t.Fatal(err)
				}
				if got := ev.Pending(allEvents); got != libevent.EV_READ|libevent.EV_TIMEOUT {
					t.Errorf("pending %v after Add", got)
				}
			}
		}
	})
}

func TestAddOfATimer(t *testing.T) {
	b := newBase(t)
	n := 0
	ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) { n++; return 0, 0 })
	if err != nil {
		t.Fatal(err)
	}
	isErrno(t, ev.Add(none), syscall.EINVAL)
	isErrno(t, ev.Add(-2), syscall.EINVAL)
	if got := ev.Pending(allEvents); got != 0 {
		t.Errorf("pending %v", got)
	}
	for i := range 3 {
		if err := ev.Add(0); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b) // a timer of 0 leaves nothing to wait for
		if n != i+1 {
			t.Fatalf("called %d times, want %d", n, i+1)
		}
	}
	// What is refused changes nothing.
	if err := ev.Add(faraway); err != nil {
		t.Fatal(err)
	}
	isErrno(t, ev.Add(none), syscall.EINVAL)
	if got := ev.Pending(allEvents); got != libevent.EV_TIMEOUT {
		t.Errorf("pending %v", got)
	}
}

// Upstream: main/event_pending
func TestPendingAndDeadline(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	r, err := b.AddEvent(p[0], libevent.EV_READ, keep, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.NewEvent(p[1], libevent.EV_WRITE, keep)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	timer, err := b.AddTimer(faraway, keep)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ev       *libevent.Event
		ask, get events
	}{
		{r, libevent.EV_READ, libevent.EV_READ},
		{r, libevent.EV_WRITE, 0},
		{r, allEvents, libevent.EV_READ},
		{r, libevent.LEAVE, libevent.EV_READ},
		{r, 0, 0},
		{w, allEvents, 0},
		{timer, allEvents, libevent.EV_TIMEOUT},
		{timer, libevent.EV_READ, 0},
	} {
		if got := test.ev.Pending(test.ask); got != test.get {
			t.Errorf("fd %d: of %v pending %v, want %v", test.ev.FD(), test.ask, got, test.get)
		}
	}
	deadline, ok := timer.Deadline()
	if d := deadline.Sub(before); !ok || d < faraway-time.Minute || d > faraway+time.Minute {
		t.Errorf("deadline after %v, %v", d, ok)
	}
	for _, ev := range []*libevent.Event{r, w} {
		if deadline, ok := ev.Deadline(); ok || !deadline.IsZero() {
			t.Errorf("deadline %v, %v without a timeout", deadline, ok)
		}
	}
}

// Upstream: main/active_by_fd
func TestActivateByFD(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p, other := socketpair(t), socketpair(t)
		fill(p[0])
		fill(other[0]) // nothing can be read or written
		b := newBaseWith(t, cfg)
		got := make(map[string][]events)
		add := func(name string, fd int, interest events) {
			t.Helper()
			if _, err := b.AddEvent(fd, interest, func(what events) (events, time.Duration) {
				got[name] = append(got[name], what)
				return 0, 0
			}, faraway); err != nil {
				t.Fatal(err)
			}
		}
		add("read", p[0], libevent.EV_READ)
		add("read too", p[0], libevent.EV_READ)
		add("write", p[0], libevent.EV_WRITE)
		add("both", p[0], libevent.EV_READ|libevent.EV_WRITE)
		add("other", other[0], libevent.EV_READ|libevent.EV_WRITE)
		add("timer", -1, 0)
		if _, err := b.NewEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
			t.Error("called, but never added:", what)
			return 0, 0
		}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			what events
			want map[string][]events
		}{
			{libevent.EV_READ, map[string][]events{
				"read": {libevent.EV_READ}, "read too": {libevent.EV_READ}, "both": {libevent.EV_READ},
			}},
			{libevent.EV_WRITE, map[string][]events{
				"write": {libevent.EV_WRITE}, "both": {libevent.EV_WRITE},
			}},
			{libevent.EV_READ | libevent.EV_WRITE | libevent.EV_CLOSED, map[string][]events{
				"read": {libevent.EV_READ}, "read too": {libevent.EV_READ}, "write": {libevent.EV_WRITE},
				"both": {libevent.EV_READ | libevent.EV_WRITE},
			}},
			{libevent.EV_CLOSED, map[string][]events{}},
		} {
			clear(got)
			for range 3 { // joined into one callback
				if err := b.ActivateByFD(p[0], test.what); err != nil {
					t.Fatal(err)
				}
			}
			if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(got, test.want, slices.Equal) {
				t.Errorf("%v: %v, want %v", test.what, got, test.want)
			}
		}
	})
}

// Numbers that nothing waits for do nothing; others than a descriptor's are refused.
//
// Upstream: main/active_by_fd
func TestActivateByRefuses(t *testing.T) {
	b := newBase(t)
	addTimer(t, b, faraway, func(what events) (events, time.Duration) {
		t.Error("called:", what)
		return 0, 0
	})
	for _, test := range []struct {
		fd   int
		what events
		err  error
	}{
		{0, libevent.EV_READ, nil},
		{1 << 20, libevent.EV_READ | libevent.EV_WRITE | libevent.EV_CLOSED, nil},
		{math.MaxInt32, libevent.EV_WRITE, nil},
		{math.MaxInt32 + 1, libevent.EV_READ, syscall.EBADF},
		{-1, libevent.EV_READ, syscall.EBADF},
		{math.MinInt64, libevent.EV_READ, syscall.EBADF},
		{0, 0, syscall.EINVAL},
		{0, libevent.EV_READ | libevent.EV_TIMEOUT, syscall.EINVAL},
		{0, libevent.EV_SIGNAL, syscall.EINVAL},
		{0, libevent.EV_READ | libevent.EV_ET, syscall.EINVAL},
		{0, libevent.EV_READ | 0x10000, syscall.EINVAL},
		{0, libevent.LEAVE, syscall.EINVAL},
	} {
		if err := b.ActivateByFD(test.fd, test.what); err != nil || test.err != nil {
			isErrno(t, err, test.err)
		}
	}
	for sig, want := range map[syscall.Signal]error{
		syscall.SIGUSR1: nil, syscall.SIGKILL: nil, realtime: nil,
		0: syscall.EINVAL, -1: syscall.EINVAL, 65: syscall.EINVAL, math.MaxInt32 + 1: syscall.EINVAL,
	} {
		if err := b.ActivateBySignal(sig); err != nil || want != nil {
			isErrno(t, err, want)
		}
	}
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	isErrno(t, b.ActivateByFD(0, libevent.EV_READ), libevent.ErrClosed)
	isErrno(t, b.ActivateBySignal(syscall.SIGUSR1), libevent.ErrClosed)
}

// A loop that waits is woken.
func TestActivateByFDFromAnotherGoroutine(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	called := make(chan events, 1)
	if _, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
		called <- what
		return libevent.LEAVE, 0
	}, 0); err != nil {
		t.Fatal(err)
	}
	background(t, b)
	if err := b.ActivateByFD(p[0], libevent.EV_READ); err != nil {
		t.Fatal(err)
	}
	if what := wait(t, "the callback", called); what != libevent.EV_READ {
		t.Error(what)
	}
}

// eventsOf collects what the iterator gives, uses it, and fails the test for what comes
// twice.
func eventsOf(t testing.TB, b *libevent.Base) map[*libevent.Event]bool {
	t.Helper()
	found := make(map[*libevent.Event]bool)
	for ev := range b.Events() {
		if found[ev] {
			t.Errorf("fd %d comes twice", ev.FD())
		}
		found[ev] = true
		_ = ev.Pending(allEvents)
	}
	return found
}

// Every event that is pending or active is there once, of whatever kind it is, and nothing
// else is.
//
// Upstream: main/event_foreach
func TestEvents(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		if err := b.InitCommonTimeout(faraway); err != nil {
			t.Fatal(err)
		}
		make := func(fd int, interest events) *libevent.Event {
			t.Helper()
			ev, err := b.NewEvent(fd, interest, keep)
			if err != nil {
				t.Fatal(err)
			}
			return ev
		}
		add := func(timeout time.Duration, ev *libevent.Event) *libevent.Event {
			t.Helper()
			if err := ev.Add(timeout); err != nil {
				t.Fatal(err)
			}
			return ev
		}
		activate := func(what events, ev *libevent.Event) *libevent.Event {
			t.Helper()
			if err := ev.Activate(what); err != nil {
				t.Fatal(err)
			}
			return ev
		}
		const usr1, usr2 = int(syscall.SIGUSR1), int(syscall.SIGUSR2)
		want := map[string]*libevent.Event{
			"read":                     add(0, make(p[0], libevent.EV_READ)),
			"write on the same":        add(2*faraway, make(p[0], libevent.EV_WRITE)),
			"read and active":          activate(libevent.EV_READ, add(faraway, make(p[1], libevent.EV_READ))),
			"timer":                    add(2*faraway, make(-1, 0)),
			"common timeout":           add(faraway, make(-1, 0)),
			"active":                   activate(libevent.EV_READ, make(p[1], libevent.EV_READ)),
			"active timer":             activate(libevent.EV_TIMEOUT, make(-1, 0)),
			"signal":                   add(0, make(usr1, libevent.EV_SIGNAL)),
			"signal again":             add(0, make(usr1, libevent.EV_SIGNAL)),
			"signal with a timeout":    add(faraway, make(usr2, libevent.EV_SIGNAL)),
			"signal, added, active":    activate(libevent.EV_SIGNAL, add(0, make(usr2, libevent.EV_SIGNAL))),
			"signal, only made active": activate(libevent.EV_SIGNAL, make(usr2, libevent.EV_SIGNAL)),
		}
		make(p[0], libevent.EV_READ) // never added
		make(usr1, libevent.EV_SIGNAL)
		for _, ev := range []*libevent.Event{
			add(0, make(p[0], libevent.EV_READ)),
			add(faraway, make(usr1, libevent.EV_SIGNAL)),
			activate(libevent.EV_READ, make(-1, 0)),
		} {
			if err := ev.Del(); err != nil {
				t.Fatal(err)
			}
		}
		if err := add(faraway, make(-1, 0)).Close(); err != nil {
			t.Fatal(err)
		}
		// What others make is not there.
		if _, _, err := b.NewBufferEventPair(0); err != nil {
			t.Fatal(err)
		}
		if err := b.Post(func() {}); err != nil {
			t.Fatal(err)
		}
		found := eventsOf(t, b)
		for name, ev := range want {
			if !found[ev] {
				t.Errorf("%s: missing", name)
			}
		}
		if len(found) != len(want) {
			t.Errorf("%d events, want %d", len(found), len(want))
		}
	})
}

// There are as many as there are, and the iteration can be left at any of them.
//
// Upstream: main/event_foreach
func TestEventsStopsEarly(t *testing.T) {
	b := newBase(t)
	const n = 1000
	for range n {
		addTimer(t, b, faraway, keep)
	}
	for _, stop := range []int{1, 16, 17, n} {
		seen := 0
		for range b.Events() {
			if seen++; seen == stop {
				break
			}
		}
		if seen != stop {
			t.Errorf("%d events before the one to stop at, %d", seen, stop)
		}
	}
	if found := eventsOf(t, b); len(found) != n {
		t.Errorf("%d events, want %d", len(found), n)
	}
}

// The body of an iteration is not under libevent's lock.
func TestEventsBodyDoesAnything(t *testing.T) {
	b := newBase(t)
	var evs []*libevent.Event
	for range 20 {
		evs = append(evs, addTimer(t, b, faraway, keep))
	}
	seen := 0
	for ev := range b.Events() {
		seen++
		for _, other := range evs {
			if other == ev {
				continue
			}
			if err := other.Close(); err != nil { // and does not come any more
				t.Error(err)
			}
		}
		addTimer(t, b, faraway, keep)
		if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
			t.Error(err)
		}
	}
	if seen != 1 {
		t.Errorf("%d events seen, want 1", seen)
	}
	for range b.Events() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	for range b.Events() {
		t.Error("an event after Close")
	}
}

// In a callback its own event is among the others.
func TestEventsInCallback(t *testing.T) {
	b := newBase(t)
	other := addTimer(t, b, faraway, keep)
	var own *libevent.Event
	own = addTimer(t, b, soon, func(events) (events, time.Duration) {
		found := eventsOf(t, b)
		if len(found) != 2 || !found[own] || !found[other] {
			t.Errorf("%d events, not the two that are pending", len(found))
		}
		for ev := range found {
			if err := ev.Close(); err != nil {
				t.Error(err)
			}
		}
		return 0, 0
	})
	dispatch(t, b)
}

// Iterations go along with a loop and with goroutines that make and close events.
func TestEventsWhileOthersComeAndGo(t *testing.T) {
	b := newBase(t)
	lasting := addTimer(t, b, faraway, keep)
	background(t, b)
	var group sync.WaitGroup
	for range 3 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 200 {
				ev, err := b.AddTimer(10*time.Microsecond, keep)
				if err != nil {
					t.Error(err)
					return
				}
				sig, err := b.AddSignal(syscall.SIGUSR1, keep)
				if err != nil {
					t.Error(err)
					return
				}
				if !eventsOf(t, b)[lasting] {
					t.Error("an event that is always pending was not there")
				}
				if err := errors.Join(ev.Close(), sig.Close()); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
}

// Upstream: main/get_assignment
func TestGetters(t *testing.T) {
	p := socketpair(t)
	b := newBaseWith(t, &libevent.Config{Priorities: 3})
	for _, test := range []struct {
		fd       int
		interest events
		want     events
	}{
		{p[0], libevent.EV_READ, libevent.EV_READ},
		{p[0], libevent.EV_READ | libevent.EV_WRITE | libevent.EV_PERSIST, libevent.EV_READ | libevent.EV_WRITE},
		{-1, libevent.EV_TIMEOUT, 0},
		{-1, 0, 0},
		{int(syscall.SIGUSR1), libevent.EV_SIGNAL, libevent.EV_SIGNAL},
	} {
		ev, err := b.NewEvent(test.fd, test.interest, keep)
		if err != nil {
			t.Fatal(err)
		}
		if ev.FD() != test.fd || ev.Events() != test.want || ev.Base() != b || ev.Priority() != 1 {
			t.Errorf("%d, %v: %d, %v, priority %d", test.fd, test.interest, ev.FD(), ev.Events(), ev.Priority())
		}
	}
}

// Upstream: main/evmap_invalid_slots
// Upstream: main/bad_assign
func TestInvalidSlots(t *testing.T) {
	b := newBase(t)
	for _, test := range []struct {
		fd       int
		interest events
	}{
		{-1, libevent.EV_SIGNAL},
		{65, libevent.EV_SIGNAL},
		{math.MaxInt32, libevent.EV_SIGNAL},
		{math.MaxInt32, libevent.EV_READ},
		{math.MaxInt32 / 2, libevent.EV_READ},
		{int(syscall.SIGUSR1), libevent.EV_SIGNAL | libevent.EV_READ},
	} {
		if ev, err := b.AddEvent(test.fd, test.interest, keep, 0); err == nil {
			t.Errorf("%d, %v: %v", test.fd, test.interest, ev)
		}
	}
}

// Upstream: main/nonpersist_readd
func TestEventsThatAddEachOther(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		var evs [2]*libevent.Event
		n := 0
		for i := range evs {
			var err error
			evs[i], err = b.NewEvent(p[i], libevent.EV_WRITE, func(events) (events, time.Duration) {
				n++
				if err := evs[i].Del(); err != nil {
					t.Error(err)
				}
				if err := evs[1-i].Add(0); err != nil {
					t.Error(err)
				}
				return 0, 0
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := evs[0].Add(0); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
				t.Fatal(err)
			}
			now, next := evs[i%2].Pending(allEvents), evs[1-i%2].Pending(allEvents)
			if n != i+1 || now != 0 || next != libevent.EV_WRITE {
				t.Fatalf("after %d passes %d calls, pending %v and %v", i+1, n, now, next)
			}
		}
	})
}

// Upstream: main/want_only_once
// Upstream: main/event_once
func TestOnce(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		send(t, p[1], "x")
		b := newBaseWith(t, cfg)
		var got []string
		once := func(name string, fd int, interest events, timeout time.Duration) {
			t.Helper()
			if err := b.Once(fd, interest, func(what events) {
				got = append(got, name+" "+what.String())
			}, timeout); err != nil {
				t.Fatal(err)
			}
		}
		once("read", p[0], libevent.EV_READ, 0)
		once("timer", -1, libevent.EV_TIMEOUT, 2*soon)
		once("at once", -1, 0, 0)
		once("too late", p[1], libevent.EV_READ, 4*soon)
		isErrno(t, b.Once(p[0], libevent.EV_SIGNAL|libevent.EV_READ, func(events) {}, 0), syscall.EINVAL)
		isErrno(t, b.Once(p[0], libevent.EV_READ, nil, 0), syscall.EINVAL)
		isErrno(t, b.Once(-1, libevent.EV_READ, func(events) {}, 0), syscall.EBADF)
		dispatch(t, b)
		slices.Sort(got)
		want := []string{"at once EV_TIMEOUT", "read EV_READ", "timer EV_TIMEOUT", "too late EV_TIMEOUT"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
			t.Errorf("%d events left", n)
		}
	})
}

// Nothing is pending any more when it is called, and nothing comes after a panic.
func TestOnceIsGoneWhenCalled(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	calls := 0
	for fd, interest := range map[int]events{p[0]: libevent.EV_WRITE, -1: 0} {
		if err := b.Once(fd, interest, func(events) {
			calls++
			if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
				t.Errorf("%d events are pending", n)
			}
			panic("once")
		}, soon); err != nil {
			t.Fatal(err)
		}
		if p := dispatchPanics(t, b); p.Value != "once" {
			t.Errorf("the panic is %v", p.Value)
		}
		dispatch(t, b)
	}
	if calls != 2 {
		t.Errorf("called %d times", calls)
	}
}

// What TestMain counts shows that nothing stays alive.
//
// Upstream: main/event_once_never
func TestOnceNever(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	for _, fd := range []int{p[0], -1} {
		var interest events
		if fd != -1 {
			interest = libevent.EV_READ
		}
		if err := b.Once(fd, interest, func(events) { t.Error("called") }, faraway); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := libevent.Alive["Event"](); n != 0 {
		t.Errorf("%d events alive", n)
	}
}

// Upstream: main/event_closed_fd_poll
func TestPollReportsAClosedDescriptor(t *testing.T) {
	p := socketpair(t)
	fd, err := syscall.Dup(p[0])
	if err != nil {
		t.Fatal(err)
	}
	b := newBaseWith(t, onlyMethod("poll"))
	var got events
	if _, err := b.AddEvent(fd, libevent.EV_READ, func(what events) (events, time.Duration) {
		got = what
		return libevent.LEAVE, 0
	}, guardTime); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	dispatch(t, b)
	if got != libevent.EV_READ {
		t.Errorf("called with %v", got)
	}
}

// A descriptor whose number is used again works when the event was closed first.
//
// Upstream: main/dup_fd
func TestNumberUsedAgain(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		if cfg.Flags&libevent.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST != 0 {
			t.Skip("not for duplicated descriptors")
		}
		p, q := socketpair(t), socketpair(t)
		b := newBaseWith(t, cfg)
		fd, err := syscall.Dup(p[0])
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		n := 0
		read := func(events) (events, time.Duration) {
			n++
			drain(fd)
			return libevent.LEAVE, 0
		}
		send(t, p[1], "x")
		for _, source := range []int{p[0], q[0], p[0]} {
			if err := syscall.Dup3(source, fd, syscall.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			if _, err := b.AddEvent(fd, libevent.EV_READ, read, guardTime); err != nil {
				t.Fatal(err)
			}
			send(t, q[1], "x")
			send(t, p[1], "x")
			before := n
			dispatch(t, b)
			if n != before+1 {
				t.Errorf("called %d times", n-before)
			}
		}
	})
}

// Once Close has returned the number can be used again, also when calls are still inside.
func TestNumberUsedAgainAmongCalls(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		ev, err := b.AddEvent(p[0], libevent.EV_READ, keep, 0)
		must(t, err)
		leaveCall := libevent.EnterEvent(ev)
		must(t, ev.Close())
		if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
			t.Errorf("%d events are added", n)
		}
		peer := useAgain(t, p[0])
		defer syscall.Close(peer)
		var got []events
		_, err = b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
			got = append(got, what)
			return libevent.LEAVE, 0
		}, guardTime)
		must(t, err)
		leaveCall()
		send(t, peer, "x")
		dispatch(t, b)
		if !slices.Equal(got, []events{libevent.EV_READ}) {
			t.Errorf("called with %v", got)
		}
	})
}

// An event that the base closes before it turns out that it cannot be made.
func TestAddEventFailsBesideClose(t *testing.T) {
	for range rounds(10_000) {
		b := newBase(t)
		var adding sync.WaitGroup
		for range 4 {
			adding.Add(1)
			go func() {
				defer adding.Done()
				for range 50 {
					if _, err := b.AddEvent(900_000, libevent.EV_READ, keep, libevent.NoTimeout); err == nil {
						t.Error("a descriptor that is not open was taken")
					}
				}
			}()
		}
		runtime.Gosched()
		must(t, b.Close())
		adding.Wait()
	}
}

// What Once calls can close the descriptor, though Once itself has not returned yet, and
// the number be used again.
func TestOnceAndNumberUsedAgain(t *testing.T) {
	b := newBase(t)
	background(t, b)
	for range rounds(5000) {
		fd, other := bevSockets(t)
		send(t, other, "x")
		again := make(chan events, 1)
		peer := -1
		must(t, b.Once(fd, libevent.EV_READ, func(events) {
			peer = useAgain(t, fd)
			if err := b.Once(fd, libevent.EV_READ, func(what events) { again <- what }, guardTime/2); err != nil {
				t.Error(err)
			}
			send(t, peer, "y")
		}, 0))
		if what := wait(t, "the second call", again); what != libevent.EV_READ {
			t.Fatalf("called with %v", what)
		}
		must(t, errors.Join(syscall.Close(fd), syscall.Close(other), syscall.Close(peer)))
	}
}

// Upstream: et/et
func TestEdgeTriggered(t *testing.T) {
	for _, flags := range []libevent.BaseFlags{0, libevent.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST} {
		p := socketpair(t)
		b := newBaseWith(t, &libevent.Config{Flags: flags})
		if b.Features()&libevent.EV_FEATURE_ET == 0 {
			t.Skip("no EV_FEATURE_ET")
		}
		for _, mode := range []events{libevent.EV_ET, 0} {
			n := 0
			ev, err := b.AddEvent(p[0], libevent.EV_READ|mode, func(events) (events, time.Duration) {
				n++
				return 0, 0
			}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if ev.Events() != libevent.EV_READ|mode {
				t.Errorf("events %v", ev.Events())
			}
			passes := func(want int) {
				t.Helper()
				n = 0
				for range 3 {
					if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK); err != nil {
						t.Fatal(err)
					}
				}
				if n != want {
					t.Errorf("mode %v: %d calls in 3 passes, want %d", mode, n, want)
				}
			}
			send(t, p[1], "x")
			passes(map[events]int{libevent.EV_ET: 1, 0: 3}[mode])
			send(t, p[1], "x") // another edge, with the first still unread
			passes(map[events]int{libevent.EV_ET: 1, 0: 3}[mode])
			if err := ev.Close(); err != nil {
				t.Fatal(err)
			}
			drain(p[0])
		}
	}
}

// Upstream: et/et_mix_error
func TestEdgeAndLevelDoNotMix(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	if b.Features()&libevent.EV_FEATURE_ET == 0 {
		t.Skip("no EV_FEATURE_ET")
	}
	const edge, level = libevent.EV_READ | libevent.EV_ET, libevent.EV_READ
	for _, modes := range [][2]events{{edge, level}, {level, edge}} {
		first, err := b.AddEvent(p[0], modes[0], keep, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddEvent(p[0], modes[1], keep, 0); err == nil {
			t.Errorf("%v was added to %v", modes[1], modes[0])
		} else {
			isErrno(t, err, syscall.EINVAL)
		}
		second, err := b.NewEvent(p[0], modes[1], keep)
		if err != nil {
			t.Fatal(err)
		}
		isErrno(t, second.Add(0), syscall.EINVAL)
		if got := second.Pending(allEvents); got != 0 {
			t.Errorf("pending %v after a refusal", got)
		}
		if other, err := b.AddEvent(p[1], modes[1], keep, 0); err != nil {
			t.Error("another descriptor:", err)
		} else if err := other.Close(); err != nil {
			t.Error(err)
		}
		// Only what is pending counts.
		if err := first.Del(); err != nil {
			t.Fatal(err)
		}
		if err := second.Add(0); err != nil {
			t.Error(err)
		}
		isErrno(t, first.Add(0), syscall.EINVAL)
		for _, ev := range []*libevent.Event{first, second} {
			if err := ev.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An event counts once for its descriptor's mode, however often it was added, and not at all
// when it could not be.
func TestModeIsFreeAgain(t *testing.T) {
	p := socketpair(t)
	b := newBaseWith(t, onlyMethod("epoll")) // which refuses files
	const edge, level = libevent.EV_READ | libevent.EV_ET, libevent.EV_READ
	file, err := syscall.Open(filepath.Join(t.TempDir(), "file"), syscall.O_CREAT|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(file)
	for _, modes := range [][2]events{{edge, level}, {level, edge}} {
		ev, err := b.AddEvent(p[0], modes[0], keep, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, timeout := range []time.Duration{faraway, 0} {
			if err := ev.Add(timeout); err != nil {
				t.Fatal(err)
			}
		}
		if err := ev.Del(); err != nil {
			t.Fatal(err)
		}
		other, err := b.AddEvent(p[0], modes[1], keep, 0)
		if err != nil {
			t.Fatal("after Del:", err)
		}
		if err := errors.Join(ev.Close(), other.Close()); err != nil {
			t.Fatal(err)
		}
		for _, mode := range modes {
			ev, err := b.NewEvent(file, mode, keep)
			if err != nil {
				t.Fatal(err)
			}
			isErrno(t, ev.Add(0), syscall.EPERM)
		}
	}
}

// A callback can change the mode of the only event on a descriptor, and not that of
// one among others.
func TestRearmChangesTheMode(t *testing.T) {
	p := socketpair(t)
	send(t, p[1], "x")
	b := newBase(t)
	if b.Features()&libevent.EV_FEATURE_ET == 0 {
		t.Skip("no EV_FEATURE_ET")
	}
	n := 0
	ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
		n++
		return libevent.EV_READ | libevent.EV_ET, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK); err != nil {
			t.Fatal(err)
		}
	}
	if n != 2 || ev.Events() != libevent.EV_READ|libevent.EV_ET {
		t.Errorf("%d calls, want one for each mode; events %v", n, ev.Events())
	}
	other, err := b.AddEvent(p[0], libevent.EV_WRITE|libevent.EV_ET, func(events) (events, time.Duration) {
		return libevent.EV_WRITE, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	isErrno(t, loop(t, b, 0), syscall.EINVAL)
	isErrno(t, other.Add(0), libevent.ErrClosed)
}

func TestReadWriteReturns(t *testing.T) {
	needsBlocking(t)
	p := socketpair(t)
	b := newBase(t)
	ev, err := b.NewEvent(p[0], libevent.EV_READ, keep)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	try := func(what string, fn func([]byte) (int, error), p []byte, n int, want error) {
		t.Helper()
		if got, err := fn(p); got != n || !errors.Is(err, want) {
			t.Errorf("%s: %d, %v; want %d, %v", what, got, err, n, want)
		}
	}
	try("nothing to read", ev.Read, buf, 0, syscall.EAGAIN)
	try("no room", ev.Read, nil, 0, nil)
	try("nothing to write", ev.Write, nil, 0, nil)
	send(t, p[1], "0123456789")
	try("a part", ev.Read, buf, 8, nil)
	try("the rest", ev.Read, buf, 2, nil)
	try("write", ev.Write, []byte("abc"), 3, nil)
	if got := drain(p[1]); got != "abc" {
		t.Errorf("the peer read %q", got)
	}
	n, err := ev.Write(make([]byte, 16<<20))
	if n <= 0 || n >= 16<<20 || err != syscall.EAGAIN {
		t.Errorf("more than fits: %d, %v", n, err)
	}
	try("full", ev.Write, buf, 0, syscall.EAGAIN)
	if err := syscall.Shutdown(p[1], syscall.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	try("the end", ev.Read, buf, 0, io.EOF)
	try("peer gone", ev.Write, buf, 0, syscall.EPIPE)
	if err := ev.Close(); err != nil {
		t.Fatal(err)
	}
	try("closed", ev.Read, buf, 0, libevent.ErrClosed)
	try("closed", ev.Write, buf, 0, libevent.ErrClosed)

	timer, err := b.NewEvent(-1, 0, keep)
	if err != nil {
		t.Fatal(err)
	}
	try("timer", timer.Read, buf, 0, syscall.EBADF)
	sig, err := b.NewEvent(int(syscall.SIGUSR1), libevent.EV_SIGNAL, keep)
	if err != nil {
		t.Fatal(err)
	}
	try("signal", sig.Write, buf, 0, syscall.EBADF)

	// In blocking mode a socket does not wait, and what would is refused.
	q := socketpair(t)
	r, w := pipe(t)
	for _, fd := range []int{q[0], r, w} {
		if err := syscall.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := b.NewEvent(q[0], libevent.EV_READ, keep)
	if err != nil {
		t.Fatal(err)
	}
	try("blocking socket", socket.Read, buf, 0, syscall.EAGAIN)
	try("blocking socket", socket.Write, []byte("abc"), 3, nil)
	if n, err := socket.Write(make([]byte, 16<<20)); n <= 0 || err != syscall.EAGAIN {
		t.Errorf("more than fits: %d, %v", n, err)
	}
	reader, err := b.NewEvent(r, libevent.EV_READ, keep)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := b.NewEvent(w, libevent.EV_WRITE, keep)
	if err != nil {
		t.Fatal(err)
	}
	try("blocking pipe", reader.Read, buf, 0, syscall.EINVAL)
	try("blocking pipe", writer.Write, buf, 0, syscall.EINVAL)
	for _, fd := range []int{r, w} {
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	try("empty pipe", reader.Read, buf, 0, syscall.EAGAIN)
	try("pipe", writer.Write, []byte("abc"), 3, nil)
	try("pipe", reader.Read, buf, 3, nil)
	try("empty pipe", reader.Read, buf, 0, syscall.EAGAIN)
}

// Events that a callback adds are waited for from the next pass on.
//
// Upstream: main/event_new_selfarg
// Upstream: main/event_assign_selfarg
func TestAddEventInCallback(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		depth := 0
		var add func() error
		add = func() error {
			var self *libevent.Event
			self, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
				if self.FD() != p[0] || self.Pending(allEvents) != libevent.EV_WRITE {
					t.Error("a callback does not see its event:", self.FD(), self.Pending(allEvents))
				}
				if depth++; depth < 100 {
					if err := add(); err != nil {
						t.Error(err)
					}
				}
				return libevent.LEAVE, 0
			}, 0)
			return err
		}
		if err := add(); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
		if depth != 100 {
			t.Errorf("%d calls", depth)
		}
	})
}

// An event closes another one that is active too, which is then not called.
//
// Upstream: finalize/within_cb
// Upstream: finalize/free_finalize
// Upstream: finalize/cb_invoked
func TestCloseOfAnotherActiveEvent(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var evs [3]*libevent.Event
		var called []int
		for i := range evs {
			var err error
			evs[i], err = b.NewEvent(-1, 0, func(events) (events, time.Duration) {
				called = append(called, i)
				for _, ev := range evs {
					if err := ev.Close(); err != nil {
						t.Error(err)
					}
				}
				return 0, 0
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range []int{1, 0, 2} {
			if err := evs[i].Activate(libevent.EV_READ); err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		if !slices.Equal(called, []int{1}) {
			t.Errorf("called %v", called)
		}
		if n := libevent.Alive["Event"](); n != 0 {
			t.Errorf("%d events alive", n)
		}
	})
}

// A callback finalizes its own event and another that is active. The other is not called,
// and each finalizer is, once, when the callback has returned.
//
// Upstream: finalize/within_cb
func TestFinalizeInCallback(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var evs [2]*libevent.Event
		calls, finalized, inside := 0, 0, false
		for i := range evs {
			evs[i] = addTimer(t, b, faraway, func(events) (events, time.Duration) {
				calls++
				inside = true
				for _, ev := range evs {
					if err := ev.Finalize(func() {
						finalized++
						if inside {
							t.Error("finalized in the callback")
						}
					}); err != nil {
						t.Error(err)
					}
					isErrno(t, ev.Add(0), libevent.ErrClosed)
				}
				inside = false
				return 0, soon // which does not count
			})
			if err := evs[i].Activate(libevent.EV_TIMEOUT); err != nil {
				t.Fatal(err)
			}
		}
		dispatch(t, b)
		if calls != 1 || finalized != 2 {
			t.Errorf("%d callbacks, want 1, and %d finalizers, want 2", calls, finalized)
		}
	})
}

// A finalizer waits for the callback that runs, and Finalize does not.
//
// Upstream: finalize/cb_invoked
// Upstream: finalize/free_finalize
func TestFinalizeDuringTheCallback(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	finalized := make(chan bool, 1)
	returned := false
	ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
		close(entered)
		<-leave
		returned = true
		return 0, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	background(t, b)
	send(t, p[1], "data") // background needs the loop
	wait(t, "the callback", entered)
	if err := ev.Finalize(func() {
		closeSocket(t, p[0])
		finalized <- returned
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-finalized:
		t.Error("finalized during the callback")
	default:
	}
	close(leave)
	if !wait(t, "the finalizer", finalized) {
		t.Error("finalized before the callback had returned")
	}
}

// Without a loop it is the base that finalizes, and what is refused is never called.
func TestFinalizeWithoutALoop(t *testing.T) {
	b := newBase(t)
	n := 0
	never := func() { t.Error("called") }
	ev, closed := addTimer(t, b, soon, keep), addTimer(t, b, soon, keep)
	isErrno(t, ev.Finalize(nil), syscall.EINVAL)
	if err := errors.Join(ev.Finalize(func() { n++ }), closed.Close()); err != nil {
		t.Fatal(err)
	}
	isErrno(t, ev.Finalize(never), libevent.ErrClosed)
	isErrno(t, closed.Finalize(never), libevent.ErrClosed)
	last := addTimer(t, b, soon, keep)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	isErrno(t, last.Finalize(never), libevent.ErrClosed)
	if n != 1 {
		t.Errorf("finalized %d times, want 1", n)
	}
}

// A finalizer waits for calls that are still inside the event: they use what it may free.
func TestFinalizeAmongCalls(t *testing.T) {
	b := newBase(t)
	n := 0
	ev := addTimer(t, b, faraway, keep)
	leaveCall := libevent.EnterEvent(ev)
	must(t, ev.Finalize(func() { n++ }))
	isErrno(t, ev.Finalize(func() { t.Error("called") }), libevent.ErrClosed)
	loopPass(t, b)
	if n != 0 {
		t.Error("finalized too early")
	}
	leaveCall()
	loopPass(t, b)
	if n != 1 {
		t.Errorf("finalized %d times, want 1", n)
	}
}

// Each of many events is finalized once, whoever is quicker with it.
func TestFinalizeFromGoroutines(t *testing.T) {
	b := newBase(t)
	stop := background(t, b)
	var finalized, accepted atomic.Int32
	var group sync.WaitGroup
	for range 200 {
		ev := addTimer(t, b, 10*time.Microsecond, keep)
		for range 2 {
			group.Add(1)
			go func() {
				defer group.Done()
				switch err := ev.Finalize(func() { finalized.Add(1) }); {
				case err == nil:
					accepted.Add(1)
				default:
					isErrno(t, err, libevent.ErrClosed)
				}
			}()
		}
	}
	group.Wait()
	stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if finalized.Load() != 200 || accepted.Load() != 200 {
		t.Errorf("%d finalizers of %d", finalized.Load(), accepted.Load())
	}
}

// The longest text that an error of this package has to carry is its own.
func TestErrorText(t *testing.T) {
	b := newBase(t)
	_, err := b.AddEvent(-1, libevent.EV_READ, keep, 0)
	if err == nil || !strings.HasPrefix(err.Error(), "libevent: event_new: ") {
		t.Errorf("error %v", err)
	}
	var e *libevent.Error
	if !errors.As(err, &e) || e.Op != "event_new" || e.Err != syscall.EBADF || e.Timeout() || e.Temporary() {
		t.Errorf("error %#v", err)
	}
	again := &libevent.Error{Op: "read", Err: syscall.EAGAIN}
	if !again.Temporary() || !again.Timeout() {
		t.Error("EAGAIN is not temporary")
	}
	if e := (&libevent.Error{Op: "x", Err: errors.New("y")}); e.Timeout() || e.Temporary() || e.Error() != "libevent: x: y" {
		t.Error("a plain error is temporary")
	}
}

// A million events leave no descriptor, no handle and no child behind.
func TestAddCloseLeavesNothing(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 20_000
	}
	p := socketpair(t)
	b := newBase(t)
	files, alive := openFiles(t), libevent.Alive["Event"]()
	for i := range n {
		fd, interest := p[0], libevent.EV_READ
		if i%2 == 0 {
			fd, interest = -1, 0
		}
		ev, err := b.AddEvent(fd, interest, keep, faraway)
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := openFiles(t); got != files {
		t.Errorf("%d descriptors, before %d", got, files)
	}
	if got := libevent.Alive["Event"](); got != alive {
		t.Errorf("%d events alive, before %d", got, alive)
	}
	if got := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); got != 0 {
		t.Errorf("%d events added", got)
	}
}

// RemoveTimer ends the timeout for good, also of an event that is not pending.
func TestRemoveTimerWhileNotPending(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	ev, err := b.AddEvent(p[0], libevent.EV_READ, keep, soon)
	if err != nil {
		t.Fatal(err)
	}
	if err := ev.Del(); err != nil {
		t.Fatal(err)
	}
	if err := ev.RemoveTimer(); err != nil {
		t.Fatal(err)
	}
	if err := ev.Add(none); err != nil {
		t.Fatal(err)
	}
	send(t, p[1], "x")
	if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
		t.Fatal(err)
	}
	if got := ev.Pending(allEvents); got != libevent.EV_READ {
		t.Errorf("pending %v after a read", got)
	}
}

// An event whose timeout is due, but has not been told, can be added again: the
// timeout is replaced and the descriptor still watched.
func TestAddWhileTheTimeoutIsDue(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, timeout := range []time.Duration{none, faraway} {
			p := socketpair(t)
			b := newBaseWith(t, cfg)
			var ev *libevent.Event
			if _, err := b.AddTimer(soon, func(events) (events, time.Duration) {
				if ev.Pending(libevent.EV_TIMEOUT) == 0 {
					t.Error("the timeout is not due")
				}
				if err := ev.Add(timeout); err != nil {
					t.Error(err)
				}
				want := libevent.EV_READ
				if timeout > 0 {
					want |= libevent.EV_TIMEOUT
				}
				if got := ev.Pending(allEvents); got != want {
					t.Errorf("pending %v after Add, want %v", got, want)
				}
				send(t, p[1], "x")
				return libevent.LEAVE, 0
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * soon) // the clock's grain, for their order
			var got []events
			ev, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
				got = append(got, what)
				return libevent.LEAVE, 0
			}, soon)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * soon)
			guardEvent, err := b.AddTimer(guardTime/5, func(events) (events, time.Duration) {
				t.Error("the descriptor is not watched")
				return libevent.LEAVE, 0
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
					t.Fatal(err)
				}
			}
			if err := guardEvent.Close(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, []events{libevent.EV_READ}) {
				t.Errorf("called with %v", got)
			}
		}
	})
}

// An activation with EV_TIMEOUT is no deadline.
func TestDeadlineOfAnActivation(t *testing.T) {
	b := newBase(t)
	ev, err := b.NewEvent(-1, 0, keep)
	if err != nil {
		t.Fatal(err)
	}
	if err := ev.Activate(libevent.EV_TIMEOUT); err != nil {
		t.Fatal(err)
	}
	if deadline, ok := ev.Deadline(); ok {
		t.Errorf("deadline %v", deadline)
	}
}

// Add finds a descriptor that was closed since the event was made, on every backend.
func TestAddOfAClosedDescriptor(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		fd, err := syscall.Dup(p[0])
		if err != nil {
			t.Fatal(err)
		}
		b := newBaseWith(t, cfg)
		ev, err := b.NewEvent(fd, libevent.EV_READ, keep)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Close(fd)
		isErrno(t, ev.Add(0), syscall.EBADF)
		if got := ev.Pending(allEvents); got != 0 {
			t.Errorf("pending %v", got)
		}
		dispatch(t, b)
	})
}

// After Del off the loop the callback does not run, and the event is not pending,
// whatever a callback that was running has returned.
func TestDelWaitsAndWins(t *testing.T) {
	rounds := 3000
	if testing.Short() || raceEnabled {
		rounds = 500
	}
	p := socketpair(t)
	send(t, p[1], "x")
	b := newBase(t)
	var inside atomic.Bool
	called := make(chan bool, 1)
	n := 0
	ev, err := b.NewEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
		inside.Store(true)
		defer inside.Store(false)
		select {
		case called <- true:
		default:
		}
		for range n % 10 {
			runtime.Gosched()
		}
		if n++; n%2 == 0 {
			return libevent.EV_READ, faraway
		}
		return libevent.EV_READ | libevent.EV_WRITE, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, b)
	for range rounds {
		if err := ev.Add(0); err != nil {
			t.Fatal(err)
		}
		wait(t, "the callback", called)
		if err := ev.Del(); err != nil {
			t.Fatal(err)
		}
		if inside, pending := inside.Load(), ev.Pending(allEvents); inside || pending != 0 {
			t.Fatalf("after Del: callback running %v, pending %v", inside, pending)
		}
		select { // of the calls since
		case <-called:
		default:
		}
	}
	stop()
}

// Activate(EV_TIMEOUT) is no timeout: to remove that does not take the call back.
func TestNoTimeoutKeepsActivation(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	var got []events
	var ev *libevent.Event
	ev, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
		if got = append(got, what); len(got) > 1 {
			return libevent.LEAVE, 0
		}
		drain(p[0])
		if err := ev.Activate(libevent.EV_TIMEOUT); err != nil {
			t.Error(err)
		}
		return 0, libevent.NoTimeout
	}, faraway)
	if err != nil {
		t.Fatal(err)
	}
	send(t, p[1], "x")
	dispatch(t, b)
	if want := []events{libevent.EV_READ, libevent.EV_TIMEOUT}; !slices.Equal(got, want) {
		t.Errorf("called with %v, want %v", got, want)
	}
}

// What a callback wants next does not take back an Activate that came while it ran.
func TestResultKeepsActivation(t *testing.T) {
	for _, tt := range []struct {
		name    string
		next    events
		timeout time.Duration
		what    events
	}{
		{"a timeout", 0, faraway, libevent.EV_TIMEOUT},
		{"the same interest", libevent.EV_READ, faraway, libevent.EV_TIMEOUT | libevent.EV_WRITE},
		{"another interest", libevent.EV_TIMEOUT, 0, libevent.EV_WRITE},
		{"both", libevent.EV_TIMEOUT, 2 * faraway, libevent.EV_READ},
		{"no timeout", libevent.EV_READ | libevent.EV_ET, libevent.NoTimeout, libevent.EV_TIMEOUT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := socketpair(t)
			b := newBase(t)
			if tt.next&libevent.EV_ET != 0 && b.Features()&libevent.EV_FEATURE_ET == 0 {
				t.Skip("no EV_FEATURE_ET")
			}
			var got []events
			var ev *libevent.Event
			ev, err := b.AddEvent(p[0], libevent.EV_READ, func(what events) (events, time.Duration) {
				if got = append(got, what); len(got) > 1 {
					return libevent.LEAVE, 0
				}
				drain(p[0])
				activated := make(chan error)
				go func() { activated <- ev.Activate(tt.what) }()
				if err := <-activated; err != nil {
					t.Error(err)
				}
				return tt.next, tt.timeout
			}, faraway)
			must(t, err)
			send(t, p[1], "x")
			loopPass(t, b)
			loopPass(t, b)
			if want := []events{libevent.EV_READ, tt.what}; !slices.Equal(got, want) {
				t.Errorf("called with %v, want %v", got, want)
			}
		})
	}
}

// A timeout of 0 that a descriptor's event has from when it had no interest goes as any
// other does.
func TestAddRemovesTimeoutOfZero(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	calls := 0
	ev, err := b.AddEvent(p[0], libevent.EV_TIMEOUT, func(events) (events, time.Duration) {
		calls++
		return libevent.EV_READ, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		if err := ev.Add(0); err != nil {
			t.Fatal(err)
		}
		if got := ev.Pending(allEvents); got != libevent.EV_READ {
			t.Errorf("pending is %v", got)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
