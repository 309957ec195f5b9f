package libevent_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// borrow returns a base and another that borrows it. The loop of the first is to the
// second what a C program's loop is. A guard ends it when a test goes wrong.
func borrow(t *testing.T) (host, guest *libevent.Base) {
	t.Helper()
	host, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	guest, err = libevent.BaseFromPointer(host.Pointer())
	if err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(30*time.Second, func() {
		t.Error("the loop does not end")
		_ = host.Stop()
	})
	t.Cleanup(func() {
		guard.Stop()
		if err := guest.Close(); err != nil {
			t.Errorf("guest.Close() = %v", err)
		}
		if err := host.Close(); err != nil {
			t.Errorf("host.Close() = %v", err)
		}
	})
	return host, guest
}

func addTimer(t *testing.T, b *libevent.Base, d time.Duration, fn libevent.EventCallback) *libevent.Event {
	t.Helper()
	ev, err := b.AddTimer(d, fn)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestBaseFromPointerNil(t *testing.T) {
	if b, err := libevent.BaseFromPointer(nil); b != nil || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("BaseFromPointer(nil) = %v, %v; want EINVAL", b, err)
	}
}

// The results of a callback hold on a borrowed base as on any other.
func TestBorrowedCallbackResults(t *testing.T) {
	host, guest := borrow(t)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	if _, err := syscall.Write(pair[1], []byte("x")); err != nil {
		t.Fatal(err)
	}

	var got []libevent.Events
	ev, err := guest.AddEvent(pair[0], libevent.EV_READ, func(what libevent.Events) (libevent.Events, time.Duration) {
		got = append(got, what)
		switch len(got) {
		case 1:
			return libevent.EV_WRITE, 0
		case 2:
			return libevent.EV_TIMEOUT, time.Millisecond
		}
		return libevent.LEAVE, 0
	}, libevent.NoTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Dispatch(); err != nil {
		t.Fatal(err)
	}
	want := []libevent.Events{libevent.EV_READ, libevent.EV_WRITE, libevent.EV_TIMEOUT}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("called with %v, want %v", got, want)
	}
	if err := ev.Add(time.Second); !errors.Is(err, libevent.ErrClosed) {
		t.Errorf("Add after LEAVE = %v, want ErrClosed", err)
	}
}

// Whatever callback closes a borrowed base, and however that ends, the loop goes on
// with what is not of that base.
func TestBorrowedCloseInCallback(t *testing.T) {
	type add func(t *testing.T, b *libevent.Base, fn func())
	event := func(result libevent.Events, d time.Duration) add {
		return func(t *testing.T, b *libevent.Base, fn func()) {
			addTimer(t, b, 0, func(libevent.Events) (libevent.Events, time.Duration) {
				fn()
				return result, d
			})
		}
	}
	tests := []struct {
		name string
		add  add
	}{
		{"timer", event(0, 0)},
		{"timer, LEAVE", event(libevent.LEAVE, 0)},
		{"timer, rearmed", event(0, time.Millisecond)},
		{"timer, impossible result", event(1<<20, 0)},
		{"signal", func(t *testing.T, b *libevent.Base, fn func()) {
			_, err := b.AddSignal(syscall.SIGUSR1, func(libevent.Events) (libevent.Events, time.Duration) {
				fn()
				return 0, 0
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"post", func(t *testing.T, b *libevent.Base, fn func()) {
			if err := b.Post(fn); err != nil {
				t.Fatal(err)
			}
			if err := b.Post(func() { t.Error("a function ran after Close") }); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host, guest := borrow(t)
			calls := 0
			test.add(t, guest, func() {
				calls++
				if err := guest.Close(); err != nil {
					t.Errorf("Close in a callback = %v", err)
				}
				if err := guest.Post(func() {}); !errors.Is(err, libevent.ErrClosed) {
					t.Errorf("Post after Close = %v, want ErrClosed", err)
				}
			})
			addTimer(t, guest, 0, func(libevent.Events) (libevent.Events, time.Duration) {
				if calls > 0 {
					t.Error("an event fired after Close")
				}
				return 0, time.Hour
			})
			ticks := 0
			addTimer(t, host, 5*time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
				if ticks++; ticks < 3 {
					return 0, 0
				}
				return libevent.LEAVE, 0
			})
			if err := host.Dispatch(); err != nil {
				t.Fatal(err)
			}
			if calls != 1 || ticks != 3 {
				t.Errorf("%d calls and %d ticks, want 1 and 3", calls, ticks)
			}
			if err := guest.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
		})
	}
}

// A base is closed from a goroutine while its loop is in one of its callbacks.
func TestBorrowedCloseOffLoop(t *testing.T) {
	for range 50 {
		host, guest := borrow(t)
		closed := make(chan error, 1)
		inside := make(chan struct{})
		go func() {
			<-inside
			closed <- guest.Close()
		}()
		calls := 0
		addTimer(t, guest, 0, func(libevent.Events) (libevent.Events, time.Duration) {
			if calls++; calls == 1 {
				close(inside)
			}
			return 0, time.Microsecond
		})
		addTimer(t, host, time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
			select {
			case err := <-closed:
				if err != nil {
					t.Errorf("Close = %v", err)
				}
				return libevent.LEAVE, 0
			default:
				return 0, 0
			}
		})
		// With the guest's events gone nothing keeps the loop.
		if err := host.Dispatch(); err != nil {
			t.Fatal(err)
		}
		if calls == 0 {
			t.Fatal("the guest's timer never fired")
		}
	}
}

// A callback that fails breaks a loop that C runs, which cannot report why: Err does,
// once.
func TestBorrowedErr(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		fn   libevent.EventCallback
		want error
	}{
		{"panic", func(libevent.Events) (libevent.Events, time.Duration) { panic(boom) }, boom},
		{"result", func(libevent.Events) (libevent.Events, time.Duration) { return 1 << 20, 0 }, syscall.EINVAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host, guest := borrow(t)
			addTimer(t, guest, 0, test.fn)
			other := addTimer(t, host, time.Hour, keep)
			if err := host.Dispatch(); err != nil {
				t.Fatalf("Dispatch = %v: the failure is the guest's", err)
			}
			if !host.GotBreak() {
				t.Error("the loop was not broken")
			}
			if err := guest.Err(); !errors.Is(err, test.want) {
				t.Errorf("Err() = %v, want %v", err, test.want)
			}
			if err := guest.Err(); err != nil {
				t.Errorf("the second Err() = %v", err)
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			fired := false
			addTimer(t, guest, 0, func(libevent.Events) (libevent.Events, time.Duration) {
				fired = true
				return libevent.LEAVE, 0
			})
			if err := host.Dispatch(); err != nil || !fired {
				t.Errorf("the loop does not run again: %v, fired %v", err, fired)
			}
		})
	}
}

// Where Go runs the loop Dispatch reports, and nothing is left for Err.
func TestErrAfterDispatch(t *testing.T) {
	b, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	addTimer(t, b, 0, func(libevent.Events) (libevent.Events, time.Duration) { return 1 << 20, 0 })
	if err := b.Dispatch(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Dispatch = %v, want EINVAL", err)
	}
	if err := b.Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
}

// One Stop ends one loop, also of those that C runs.
func TestBorrowedStop(t *testing.T) {
	tests := []struct {
		name string
		stop func(host, guest *libevent.Base) error
	}{
		{"in a callback", func(host, guest *libevent.Base) error {
			_, err := guest.AddTimer(0, func(libevent.Events) (libevent.Events, time.Duration) {
				_ = guest.Stop()
				return libevent.LEAVE, 0
			})
			return err
		}},
		{"from a goroutine", func(host, guest *libevent.Base) error {
			return host.Post(func() { go guest.Stop() })
		}},
		{"before the loop", func(host, guest *libevent.Base) error { return guest.Stop() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host, guest := borrow(t)
			forever := addTimer(t, host, time.Hour, keep)
			if err := test.stop(host, guest); err != nil {
				t.Fatal(err)
			}
			if err := host.Dispatch(); err != nil || !host.GotBreak() {
				t.Errorf("Dispatch = %v, broken %v; want nil, true", err, host.GotBreak())
			}
			if err := forever.Close(); err != nil {
				t.Fatal(err)
			}
			addTimer(t, host, time.Millisecond, leave)
			if err := host.Dispatch(); err != nil || host.GotBreak() {
				t.Errorf("the next Dispatch = %v, broken %v; want nil, false", err, host.GotBreak())
			}
		})
	}
}

// Stop from another goroutine ends a loop that C runs also when something is always ready, of
// the best priority.
func TestBorrowedStopIsNotStarved(t *testing.T) {
	p := socketpair(t)
	host := newBaseWith(t, &libevent.Config{Priorities: 3})
	guest, err := libevent.BaseFromPointer(host.Pointer())
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	calls := 0
	busy, err := host.AddEvent(p[0], libevent.EV_WRITE, func(libevent.Events) (libevent.Events, time.Duration) {
		if calls++; calls == 1 {
			go guest.Stop()
		}
		return 0, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := busy.SetPriority(0); err != nil {
		t.Fatal(err)
	}
	dispatch(t, host)
	if !host.GotBreak() {
		t.Error("the loop was not broken")
	}
}

// When a callback of a borrowed base has returned its thread is in no loop of that base any
// more: a panic in a method is the method's, and not the loop's to tell.
func TestBorrowedLoopIsLeft(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	host, guest := borrow(t)
	panics := bevNew(t, guest, -1, 0)
	panics.SetCallbacks(func(*libevent.BufferEvent) { panic("for the test") }, nil, nil)
	deferred := bevNew(t, guest, -1, 0)
	for name, start := range map[string]func() error{
		"event": func() error {
			_, err := guest.AddTimer(0, leave)
			return err
		},
		"post": func() error { return guest.Post(func() {}) },
		"buffer event": func() error {
			return deferred.TriggerEvent(libevent.BEV_EVENT_EOF, libevent.BEV_TRIG_DEFER_CALLBACKS)
		},
	} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
		ctest.Loop(host.Pointer())
		p := bevPanic(func() { _ = panics.Trigger(libevent.EV_READ, libevent.BEV_TRIG_IGNORE_WATERMARKS) })
		if p == nil || guest.Err() != nil {
			t.Errorf("%s: the method panics with %v, Err is %v", name, p, guest.Err())
		}
	}
}

// A borrowed base's loop can be run from Go, but not twice.
func TestBorrowedDispatch(t *testing.T) {
	_, guest := borrow(t)
	var nested error
	addTimer(t, guest, 0, func(libevent.Events) (libevent.Events, time.Duration) {
		nested = guest.Dispatch()
		return libevent.LEAVE, 0
	})
	if err := guest.Dispatch(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(nested, libevent.ErrRunning) {
		t.Errorf("Dispatch in a callback = %v, want ErrRunning", nested)
	}
}

// The host's events end on the borrowed base's loop as on its own. The sanitizer of
// make check sees what is freed too early.
func TestBorrowedLoopRunsHostsEvents(t *testing.T) {
	host, guest := borrow(t)
	closed := 0
	for range 3 {
		addTimer(t, host, time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
			closed++
			return libevent.LEAVE, 0
		})
	}
	if err := guest.Dispatch(); err != nil {
		t.Fatal(err)
	}
	if closed != 3 {
		t.Errorf("%d events have left, want 3", closed)
	}
}

// Of the events on a C base each Base gives its own.
func TestBorrowedEvents(t *testing.T) {
	host, guest := borrow(t)
	for _, b := range []*libevent.Base{host, guest} {
		evs := []*libevent.Event{
			addTimer(t, b, time.Hour, keep), addSignal(t, b, syscall.SIGUSR1, keep),
		}
		found := eventsOf(t, b)
		if len(found) != len(evs) || !found[evs[0]] || !found[evs[1]] {
			t.Errorf("%d events, want %d of the base's own", len(found), len(evs))
		}
	}
}

// The same where the loop that runs is one that Go did not start.
func TestBorrowedDispatchWhileRunByC(t *testing.T) {
	host, guest := borrow(t)
	var nested error
	addTimer(t, guest, 0, func(libevent.Events) (libevent.Events, time.Duration) {
		nested = guest.Dispatch()
		return libevent.LEAVE, 0
	})
	if err := host.Dispatch(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(nested, libevent.ErrRunning) {
		t.Errorf("Dispatch in a callback = %v, want ErrRunning", nested)
	}
}

// Goroutines make, fire and close events of a borrowed base, and close it, while its
// loop runs. Nothing is left of them, and the loop runs on.
func TestBorrowedFromGoroutines(t *testing.T) {
	host := newBase(t)
	background(t, host)
	var calls atomic.Int64
	for round := range 30 {
		guest, err := libevent.BaseFromPointer(host.Pointer())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 100 {
					// Errors are those of a base that is closed meanwhile.
					ev, err := guest.AddTimer(time.Duration(i)*time.Microsecond,
						func(libevent.Events) (libevent.Events, time.Duration) {
							calls.Add(1)
							return 0, time.Microsecond
						})
					if err != nil {
						continue
					}
					_ = guest.Post(func() { calls.Add(1) })
					_ = ev.Activate(libevent.EV_READ)
					switch i % 3 {
					case 0:
						_ = ev.Del()
					case 1:
						_ = ev.Close()
					}
				}
			}()
		}
		switch round % 3 {
		case 0: // under way
			if err := guest.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			wg.Wait()
		case 1:
			wg.Wait()
			if err := guest.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		case 2: // in a callback
			wg.Wait()
			closed := make(chan error, 1)
			if err := guest.Post(func() { closed <- guest.Close() }); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, "Close in a callback", closed); err != nil {
				t.Errorf("Close in a callback = %v", err)
			}
		}
	}
	if calls.Load() == 0 {
		t.Error("no callback ever ran")
	}
	// A pass of the loop after those of the finalizers.
	passed := make(chan struct{})
	err := host.Once(-1, 0, func(libevent.Events) {
		if n := host.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
			t.Errorf("%d events are left", n)
		}
		close(passed)
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the loop", passed)
}

// The pointer of a BufferEvent can be asked for while other goroutines use it.
func TestBufferEventPointerFromGoroutines(t *testing.T) {
	b := newBase(t)
	for range 1000 {
		bev, err := b.NewBufferEvent(-1, fromAnywhere)
		must(t, err)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Add(2)
			go func() {
				defer wg.Done()
				<-start
				if bev.Pointer() == nil {
					t.Error("no pointer")
				}
			}()
			go func() {
				defer wg.Done()
				<-start
				for range 10 {
					if bev.Enabled() != libevent.EV_WRITE {
						t.Error("EV_WRITE is not enabled")
					}
				}
			}()
		}
		close(start)
		wg.Wait()
		must(t, bev.Close())
	}
}
