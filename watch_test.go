package libevent_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// needsWatchers skips a test where libevent has no watchers.
func needsWatchers(t testing.TB) {
	t.Helper()
	if !hasWatchers(t) {
		t.Skip("libevent has watchers from 2.2 on, and this is ", libevent.HeaderVersion())
	}
}

func hasWatchers(t testing.TB) bool {
	t.Helper()
	var major, minor int
	if _, err := fmt.Sscanf(libevent.HeaderVersion(), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 2 || minor >= 2
}

// newPrepare makes a watcher, which must succeed.
func newPrepare(t testing.TB, b *libevent.Base, fn func(time.Duration)) *libevent.Watcher {
	t.Helper()
	w, err := b.NewPrepareWatcher(fn)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// newCheck makes a watcher, which must succeed.
func newCheck(t testing.TB, b *libevent.Base, fn func()) *libevent.Watcher {
	t.Helper()
	w, err := b.NewCheckWatcher(fn)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWatcherRefuses(t *testing.T) {
	b := newBase(t)
	_, err := b.NewPrepareWatcher(nil)
	isErrno(t, err, syscall.EINVAL)
	_, err = b.NewCheckWatcher(nil)
	isErrno(t, err, syscall.EINVAL)
	prepare, err := b.NewPrepareWatcher(func(time.Duration) {})
	check, err2 := b.NewCheckWatcher(func() {})
	if hasWatchers(t) {
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
	} else {
		isErrno(t, err, syscall.ENOTSUP)
		isErrno(t, err2, syscall.ENOTSUP)
		if prepare != nil || check != nil {
			t.Error("a watcher beside the error")
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = b.NewPrepareWatcher(func(time.Duration) {})
	isErrno(t, err, libevent.ErrClosed)
	_, err = b.NewCheckWatcher(func() {})
	isErrno(t, err, libevent.ErrClosed)
}

// A pass calls the watchers before the wait, those after it, and then the events; each
// kind in its own order.
func TestWatcherOrder(t *testing.T) {
	needsWatchers(t)
	b := newBase(t)
	var got []string
	note := func(what string) func() { return func() { got = append(got, what) } }
	newCheck(t, b, note("check 1"))
	first := newPrepare(t, b, func(time.Duration) { note("prepare 1")() })
	newPrepare(t, b, func(time.Duration) { note("prepare 2")() })
	newCheck(t, b, note("check 2"))
	if first.Base() != b {
		t.Error("of another base")
	}
	addTimer(t, b, soon, func(events) (events, time.Duration) {
		note("event")()
		return libevent.LEAVE, 0
	})
	dispatch(t, b) // watchers do not keep it running
	last := got[max(len(got)-5, 0):]
	if want := []string{"prepare 1", "prepare 2", "check 1", "check 2", "event"}; !slices.Equal(last, want) {
		t.Errorf("%q, want %q", last, want)
	}
}

// A watcher is told how long the wait will be.
func TestPrepareWatcherTimeout(t *testing.T) {
	needsWatchers(t)
	b := newBase(t)
	var got time.Duration
	newPrepare(t, b, func(timeout time.Duration) { got = timeout })
	pass := func(flags libevent.LoopFlags) time.Duration {
		t.Helper()
		if err := loop(t, b, libevent.EVLOOP_ONCE|flags); err != nil {
			t.Fatal(err)
		}
		return got
	}
	addTimer(t, b, 10*soon, leave)
	if got := pass(0); got <= 0 || got > 11*soon {
		t.Errorf("%v before a timer of %v", got, 10*soon)
	}
	addTimer(t, b, faraway, keep)
	if got := pass(libevent.EVLOOP_NONBLOCK); got != 0 {
		t.Errorf("%v before a look only", got)
	}

	b = newBase(t)
	newPrepare(t, b, func(timeout time.Duration) {
		if timeout == libevent.NoTimeout {
			got = timeout
			go func() { _ = b.Stop() }()
		}
	})
	if pass(libevent.EVLOOP_NO_EXIT_ON_EMPTY) != libevent.NoTimeout {
		t.Errorf("%v without a timer", got)
	}
}

// A watcher may close itself and those that the loop would call next.
func TestWatcherCloseInCallback(t *testing.T) {
	needsWatchers(t)
	b := newBase(t)
	for range 2 {
		var all []*libevent.Watcher
		calls := 0
		shut := func() {
			calls++
			for _, w := range all {
				if err := errors.Join(w.Close(), w.Close()); err != nil {
					t.Error(err)
				}
			}
		}
		for range 3 {
			all = append(all, newPrepare(t, b, func(time.Duration) { shut() }), newCheck(t, b, shut))
		}
		for range 3 {
			if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK|libevent.EVLOOP_NO_EXIT_ON_EMPTY); err != nil {
				t.Fatal(err)
			}
		}
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	}
}

// Watchers are made and closed from any goroutine, also while the loop is at them.
func TestWatchersComeAndGo(t *testing.T) {
	needsWatchers(t)
	b := newBase(t)
	addTimer(t, b, 10*time.Microsecond, keep)
	stop := background(t, b)
	var group sync.WaitGroup
	for range 3 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 200 {
				called := make(chan bool, 1)
				w := newCheck(t, b, func() {
					select {
					case called <- true:
					default:
					}
				})
				wait(t, "the watcher", called)
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	stop()
	newCheck(t, b, func() {})
	if err := newCheck(t, b, func() {}).Close(); err != nil {
		t.Error(err)
	}
}

// A panic ends the loop, though it was about to wait for ever.
func TestWatcherPanics(t *testing.T) {
	needsWatchers(t)
	for name, watch := range map[string]func(b *libevent.Base){
		"prepare": func(b *libevent.Base) { newPrepare(t, b, func(time.Duration) { panic("prepare") }) },
		"check": func(b *libevent.Base) {
			newCheck(t, b, func() { panic("check") })
			if err := b.LoopExit(soon); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b := newBase(t)
		watch(b)
		func() {
			defer func() {
				if p, ok := recover().(*libevent.CallbackPanic); !ok || p.Value != name {
					t.Errorf("%s: %v", name, p)
				}
			}()
			t.Error(loop(t, b, libevent.EVLOOP_NO_EXIT_ON_EMPTY))
		}()
	}
}

// On a base whose loop C runs a watcher is freed there, or with C's base.
func TestBorrowedWatcher(t *testing.T) {
	needsWatchers(t)
	host, guest := borrow(t)
	addTimer(t, host, soon, leave)
	calls := 0
	var w *libevent.Watcher
	w = newCheck(t, guest, func() {
		calls++
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	dispatch(t, host)
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
	newCheck(t, guest, func() {})
	if err := newCheck(t, guest, func() {}).Close(); err != nil {
		t.Error(err)
	}
}
