package libevent_test

import (
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// leavesNothing runs once for what is made only once, and then looks for what remains
// of run(n): libevent's blocks, the C heap, descriptors, handles.
func leavesNothing(t *testing.T, n int, run func(n int)) {
	t.Helper()
	run(max(n/100, 1))
	blocks, bytes := ctest.Allocated()
	heap, descriptors := ctest.Heap(), openFiles(t)
	handles := make(map[string]int)
	for what, count := range libevent.Alive {
		handles[what] = count()
	}
	run(n)
	b, size := ctest.Allocated()
	// In debug mode an event can find, and forget, what a bufferevent's left at its place.
	forgot := os.Getenv(debugModeVariable) != "" && b < blocks && size < bytes
	if (b != blocks || size != bytes) && !forgot {
		t.Errorf("libevent keeps %d blocks of %d bytes", b-blocks, size-bytes)
	}
	// The heap itself has some slack.
	if grown := int64(ctest.Heap()) - int64(heap); grown > 64<<10 {
		t.Errorf("the C heap has grown by %d bytes", grown)
	}
	if n := openFiles(t); n != descriptors {
		t.Errorf("%d descriptors are open, were %d", n, descriptors)
	}
	for what, count := range libevent.Alive {
		if n := count(); n != handles[what] {
			t.Errorf("%d of type %s alive, were %d", n, what, handles[what])
		}
	}
}

// fewer is n, or a part of it where a test shall be short.
func fewer(n int) int {
	if testing.Short() || raceEnabled {
		return n / 50
	}
	return n
}

// loopPass runs one pass of the loop, in which libevent frees what it has put off.
func loopPass(t *testing.T, b *libevent.Base) {
	t.Helper()
	if err := loop(t, b, libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
}

// TestEventsLeaveNothing makes and closes a million events of every kind, in and out of
// a loop.
func TestEventsLeaveNothing(t *testing.T) {
	fds := socketpair(t)
	leavesNothing(t, fewer(1_000_000), func(pairs int) {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		kinds := []func() (*libevent.Event, error){
			func() (*libevent.Event, error) { return b.AddEvent(fds[0], libevent.EV_READ, keep, faraway) },
			func() (*libevent.Event, error) { return b.AddTimer(faraway, keep) },
			func() (*libevent.Event, error) { return b.NewEvent(fds[1], libevent.EV_WRITE, keep) },
			func() (*libevent.Event, error) { return b.AddSignal(syscall.SIGUSR1, keep) },
		}
		make := func(n int) {
			for i := range n {
				ev, err := kinds[i%len(kinds)]()
				if err == nil {
					err = ev.Close()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
		make(pairs - pairs/10)
		if err := b.Post(func() { make(pairs / 10) }); err != nil {
			t.Fatal(err)
		}
		dispatch(t, b)
	})
}

// TestBufferEventsLeaveNothing makes a hundred thousand bufferevents that carry data, and
// closes them with their data, in their own callbacks, or with the base.
func TestBufferEventsLeaveNothing(t *testing.T) {
	needsNoDebugMode(t)
	leavesNothing(t, fewer(100_000), func(n int) {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for range (n + 1) / 2 {
			left, right := streamPair(t, b)
			right.SetCallbacks(func(bev *libevent.BufferEvent) { _ = bev.Close() }, nil, nil)
			if err := right.Enable(libevent.EV_READ); err != nil {
				t.Fatal(err)
			}
			if _, err := left.WriteString("data"); err != nil {
				t.Fatal(err)
			}
			loopPass(t, b)
			loopPass(t, b)
			if _, err := left.WriteString("never sent"); err != nil {
				t.Fatal(err)
			}
			if err := left.Close(); err != nil {
				t.Fatal(err)
			}
			loopPass(t, b)
		}
		for range 10 {
			left, _ := streamPair(t, b)
			if _, err := left.WriteString("the base frees this"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSignalsLeaveNothing makes bases whose events wait for signals: what a base keeps of
// them the next one has again.
func TestSignalsLeaveNothing(t *testing.T) {
	leavesNothing(t, 500, func(n int) {
		for range n {
			b, err := libevent.New()
			if err != nil {
				t.Fatal(err)
			}
			for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
				if _, err := b.AddSignal(sig, keep); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// needsNoDebugMode skips a test that counts what bufferevents leave.
func needsNoDebugMode(t testing.TB) {
	t.Helper()
	if os.Getenv(debugModeVariable) != "" {
		t.Skip("libevent's debug mode does not forget the events of a bufferevent")
	}
}

// streamPair makes two bufferevents over a socket pair that they own.
func streamPair(t *testing.T, b *libevent.Base) (left, right *libevent.BufferEvent) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var both [2]*libevent.BufferEvent
	for i, fd := range fds {
		if both[i], err = b.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE); err != nil {
			t.Fatal(err)
		}
	}
	return both[0], both[1]
}

// TestListenersLeaveNothing makes listeners that are closed, and some that are not.
func TestListenersLeaveNothing(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	refuse := func(_ *libevent.Listener, fd int, _ netip.AddrPort) { _ = syscall.Close(fd) }
	leavesNothing(t, fewer(5000), func(n int) {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for range n {
			ln, err := b.Listen(addr, libevent.LEV_OPT_CLOSE_ON_FREE, 0, refuse)
			if err != nil {
				t.Fatal(err)
			}
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if _, err := b.Listen(addr, libevent.LEV_OPT_CLOSE_ON_FREE, 0, refuse); err != nil {
				t.Fatal(err)
			}
		}
	})
}
