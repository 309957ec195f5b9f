package libevent_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// realtime is a signal whose deliveries queue in the kernel, so that none of them
// merges with another one. The C library and the Go runtime keep 32 to 34.
const realtime = syscall.Signal(40)

func init() {
	children["dispositions"] = reportDispositions
}

// raise sends a signal to its own thread, whose handler has run when it returns: none
// of them merges with another one.
func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Tgkill(syscall.Getpid(), syscall.Gettid(), sig); err != nil {
		t.Error(err)
	}
}

// addSignal is b.AddSignal, which must succeed.
func addSignal(t testing.TB, b *libevent.Base, sig syscall.Signal, fn libevent.EventCallback) *libevent.Event {
	t.Helper()
	ev, err := b.AddSignal(sig, fn)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// counter returns a callback that counts in *n and leaves after the last.
func counter(n *int, last int) libevent.EventCallback {
	return func(events) (events, time.Duration) {
		if *n++; *n == last {
			return libevent.LEAVE, 0
		}
		return 0, 0
	}
}

// Upstream: signal/simplestsignal
// Upstream: signal/simplesignal
func TestSignal(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var got []events
		ev := addSignal(t, b, syscall.SIGALRM, func(what events) (events, time.Duration) {
			got = append(got, what)
			return libevent.LEAVE, 0
		})
		for _, want := range []events{libevent.EV_SIGNAL, 0, libevent.EV_SIGNAL} {
			if pending := ev.Pending(allEvents); pending != want {
				t.Errorf("pending %v, want %v", pending, want)
			}
			var err error
			if want != 0 {
				err = ev.Del()
			} else {
				err = ev.Add(0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := ev.Add(0); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(soon, func() {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGALRM); err != nil {
				t.Error(err)
			}
		})
		dispatch(t, b)
		if !slices.Equal(got, []events{libevent.EV_SIGNAL}) {
			t.Errorf("called with %v", got)
		}
	})
}

// Upstream: signal/multiplesignal
func TestTwoEventsForOneSignal(t *testing.T) {
	b := newBase(t)
	var n [2]int
	for i := range n {
		addSignal(t, b, syscall.SIGUSR1, counter(&n[i], 3))
	}
	if got := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); got != 2 {
		t.Errorf("%d events added, want 2", got)
	}
	for range 3 {
		raise(t, syscall.SIGUSR1)
	}
	dispatch(t, b)
	if n != [2]int{3, 3} {
		t.Errorf("called %v times", n)
	}
	if got := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); got != 0 {
		t.Errorf("%d events added, want 0", got)
	}
}

// One of two events that goes, in whatever way, leaves the signal to the other.
func TestSignalOfTheEventThatStays(t *testing.T) {
	b := newBase(t)
	for name, end := range map[string]func(*libevent.Event) error{
		"Close": (*libevent.Event).Close, "Del": (*libevent.Event).Del,
	} {
		n := 0
		gone := addSignal(t, b, syscall.SIGUSR1, func(events) (events, time.Duration) {
			t.Errorf("%s: called", name)
			return 0, 0
		})
		addSignal(t, b, syscall.SIGUSR1, counter(&n, 1))
		if err := end(gone); err != nil {
			t.Fatal(err)
		}
		// The process ends here when nobody catches it.
		raise(t, syscall.SIGUSR1)
		dispatch(t, b)
		if n != 1 {
			t.Errorf("%s: %d calls", name, n)
		}
		if err := gone.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Events of a signal are called as if it had been delivered, once however often that was
// asked for, and without it having been.
//
// Upstream: main/active_by_fd
func TestActivateBySignal(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		elsewhere := newBaseWith(t, cfg)
		var n [2]int
		for i := range n {
			addSignal(t, b, syscall.SIGUSR1, func(what events) (events, time.Duration) {
				if what != libevent.EV_SIGNAL {
					t.Error(what)
				}
				n[i]++
				return 0, 0
			})
		}
		unwanted := func(what events) (events, time.Duration) {
			t.Error("called:", what)
			return 0, 0
		}
		addSignal(t, b, syscall.SIGUSR2, unwanted)
		addSignal(t, elsewhere, syscall.SIGUSR1, unwanted)
		if err := addSignal(t, b, syscall.SIGUSR1, unwanted).Del(); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			for range 3 {
				if err := b.ActivateBySignal(syscall.SIGUSR1); err != nil {
					t.Fatal(err)
				}
			}
			for _, b := range []*libevent.Base{b, elsewhere} {
				if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
					t.Fatal(err)
				}
			}
			if want := round + 1; n != [2]int{want, want} {
				t.Errorf("called %v times, want %d", n, want)
			}
		}
	})
}

// What C waits for on a base that is borrowed is activated too.
func TestActivateBySignalReachesC(t *testing.T) {
	_, guest := borrow(t)
	calls, free := ctest.AddSignal(guest.Pointer(), int(syscall.SIGUSR2))
	defer free()
	if err := guest.ActivateBySignal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, guest, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if n := calls(); n != 1 {
		t.Errorf("C was called %d times", n)
	}
}

// Upstream: signal/immediatesignal
func TestSignalBeforeTheLoop(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, flags := range []libevent.LoopFlags{
			libevent.EVLOOP_NONBLOCK, libevent.EVLOOP_NONBLOCK | libevent.EVLOOP_ONCE, libevent.EVLOOP_ONCE,
		} {
			b := newBaseWith(t, cfg)
			n := 0
			addSignal(t, b, syscall.SIGUSR1, counter(&n, 100))
			raise(t, syscall.SIGUSR1)
			if err := loop(t, b, flags); err != nil || n != 1 {
				t.Errorf("%v: %d calls, %v", flags, n, err)
			}
		}
	})
}

// C's library delivers to the last of two bases. This one delivers to both.
//
// Upstream: signal/signal_switchbase
func TestTwoBasesForOneSignal(t *testing.T) {
	var bases [2]*libevent.Base
	var n [2]int
	for i := range bases {
		bases[i] = newBase(t)
		addSignal(t, bases[i], syscall.SIGUSR1, counter(&n[i], 5))
	}
	for range 5 {
		raise(t, syscall.SIGUSR1)
	}
	for _, b := range bases {
		dispatch(t, b)
	}
	if n != [2]int{5, 5} {
		t.Errorf("called %v times", n)
	}
}

// The handlers and the descriptors go when the last event of a signal, or its base, does.
//
// Upstream: signal/signal_dealloc
// Upstream: signal/signal_pipeloss
func TestSignalsLeaveNoDescriptor(t *testing.T) {
	newBase(t).Close() // what the first base of a process opens for good
	files := openFiles(t)
	for range 20 {
		b := newBase(t)
		for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, realtime} {
			ev := addSignal(t, b, sig, keep)
			if err := ev.Del(); err != nil {
				t.Fatal(err)
			}
			if err := ev.Add(0); err != nil {
				t.Fatal(err)
			}
			raise(t, sig)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := openFiles(t); got != files {
		t.Errorf("%d descriptors, before %d", got, files)
	}
}

// reportDispositions is a child: it waits for a signal that is ignored, one that the Go
// runtime catches and one that it leaves at the default, and prints what they were
// before and are afterwards.
func reportDispositions() int {
	signals := []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTIN}
	signal.Ignore(syscall.SIGUSR1)
	report := func() {
		for _, sig := range signals {
			fmt.Print(disposition(sig), " ")
		}
	}
	report()
	b, err := libevent.New()
	if err != nil {
		panic(err)
	}
	n := 0
	for _, sig := range signals {
		if _, err := b.AddSignal(sig, func(events) (events, time.Duration) {
			n++
			return libevent.LEAVE, 0
		}); err != nil {
			panic(err)
		}
	}
	report()
	for _, sig := range signals {
		if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
			panic(err)
		}
	}
	if err := b.Dispatch(); err != nil {
		panic(err)
	}
	report()
	fmt.Println(n)
	return 0
}

// disposition reads a signal's from /proc: ignored, caught or default.
func disposition(sig syscall.Signal) string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	for line := range lines(string(status)) {
		var mask uint64
		for prefix, name := range map[string]string{"SigIgn:\t%x": "ignored", "SigCgt:\t%x": "caught"} {
			if _, err := fmt.Sscanf(line, prefix, &mask); err == nil && mask>>(sig-1)&1 == 1 {
				return name
			}
		}
	}
	return "default"
}

// lines yields a text's lines.
func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		start := 0
		for i, c := range text {
			if c == '\n' {
				if !yield(text[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

// A signal that was ignored is ignored again, and one at its default too. Those that the
// Go runtime catches are caught again, and os/signal gets them.
//
// Upstream: signal/signal_restore
// Upstream: signal/signal_assert
func TestSignalsAreRestored(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc: ", err)
	}
	out, err := child("dispositions").CombinedOutput()
	const want = "ignored caught default caught caught caught ignored caught default 3\n"
	if err != nil || string(out) != want {
		t.Errorf("the child says %q, %v; want %q", out, err, want)
	}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGCONT, realtime} {
		notified := make(chan os.Signal, 10)
		signal.Notify(notified, sig)
		b := newBase(t)
		n := 0
		ev := addSignal(t, b, sig, counter(&n, 100))
		raise(t, sig)
		if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
			t.Fatal(err)
		}
		if n != 1 || len(notified) != 0 {
			t.Errorf("%v: %d calls, %d notifications", sig, n, len(notified))
		}
		if err := ev.Close(); err != nil {
			t.Fatal(err)
		}
		raise(t, sig)
		if got := wait(t, "os/signal", notified); got != sig {
			t.Errorf("notified of %v, want %v", got, sig)
		}
		signal.Stop(notified)
		if n != 1 {
			t.Errorf("%v: %d calls after Close", sig, n)
		}
	}
}

// A handler that somebody has put over ours stays when the event goes.
func TestSomebodyElsesHandlerStays(t *testing.T) {
	// The runtime leaves this signal alone until somebody asks for it.
	const sig = syscall.SIGTTIN
	b := newBase(t)
	n := 0
	ev := addSignal(t, b, sig, counter(&n, 100))
	notified := make(chan os.Signal, 1)
	signal.Notify(notified, sig)
	defer signal.Stop(notified)
	if err := ev.Close(); err != nil {
		t.Fatal(err)
	}
	raise(t, sig)
	wait(t, "os/signal", notified)
	if n != 0 {
		t.Errorf("%d calls", n)
	}
}

// An event that is added after somebody has put a handler over ours puts ours back, for all.
func TestSignalIsTakenBack(t *testing.T) {
	const sig = syscall.SIGTTIN // as above
	b := newBase(t)
	var n [2]int
	first := addSignal(t, b, sig, counter(&n[0], 100))
	notified := make(chan os.Signal, 1)
	signal.Notify(notified, sig)
	defer signal.Stop(notified)
	second := addSignal(t, b, sig, counter(&n[1], 100))
	raise(t, sig)
	if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
		t.Fatal(err)
	}
	if n != [2]int{1, 1} || len(notified) != 0 {
		t.Errorf("%v calls, %d notifications", n, len(notified))
	}
	for _, ev := range []*libevent.Event{first, second} {
		if err := ev.Close(); err != nil {
			t.Fatal(err)
		}
	}
	raise(t, sig)
	wait(t, "os/signal", notified)
}

// Upstream: signal/signal_while_processing
func TestSignalInItsOwnCallback(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		n := 0
		addSignal(t, b, syscall.SIGUSR1, func(events) (events, time.Duration) {
			if n++; n == 10 {
				return libevent.LEAVE, 0
			}
			raise(t, syscall.SIGUSR1)
			return 0, 0
		})
		raise(t, syscall.SIGUSR1)
		dispatch(t, b)
		if n != 10 {
			t.Errorf("%d calls", n)
		}
	})
}

// What is always ready, of the best priority, does not keep a signal from an event of the same.
func TestSignalIsNotStarved(t *testing.T) {
	p := socketpair(t)
	b := newBaseWith(t, &libevent.Config{Priorities: 3})
	calls := 0
	busy, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
		if calls++; calls == 1 {
			raise(t, syscall.SIGUSR1)
		}
		return 0, 0
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ev := addSignal(t, b, syscall.SIGUSR1, func(events) (events, time.Duration) {
		if err := busy.Close(); err != nil {
			t.Error(err)
		}
		return libevent.LEAVE, 0
	})
	for _, ev := range []*libevent.Event{busy, ev} {
		if err := ev.SetPriority(0); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, b)
}

// Each delivery is one call, however they come.
func TestSignalsAreCounted(t *testing.T) {
	rounds, burst := 300, 20_000
	if testing.Short() || raceEnabled {
		rounds, burst = 50, 5_000
	}
	t.Run("one by one", func(t *testing.T) {
		b := newBase(t)
		n := 0
		addSignal(t, b, syscall.SIGUSR1, counter(&n, rounds))
		done := guard(t, b)
		defer done()
		for i := range rounds {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			if err := b.Loop(libevent.EVLOOP_ONCE); err != nil || n != i+1 {
				t.Fatalf("after %d signals %d calls, %v", i+1, n, err)
			}
		}
	})
	t.Run("realtime", func(t *testing.T) {
		b := newBase(t)
		n := 0
		addSignal(t, b, realtime, counter(&n, burst))
		for range burst {
			raise(t, realtime)
		}
		dispatch(t, b)
		if n != burst {
			t.Errorf("%d calls, want %d", n, burst)
		}
	})
	t.Run("more than 65,536", func(t *testing.T) {
		if raceEnabled || testing.Short() {
			t.Skip("takes long")
		}
		const many = 70_000
		b := newBase(t)
		n := 0
		addSignal(t, b, syscall.SIGUSR1, counter(&n, many))
		for range many {
			raise(t, syscall.SIGUSR1)
		}
		dispatch(t, b)
		if n != many {
			t.Errorf("%d calls, want %d", n, many)
		}
	})
	t.Run("while the loop runs", func(t *testing.T) {
		b := newBase(t)
		var n atomic.Int64
		reached := make(chan bool)
		addSignal(t, b, realtime, func(events) (events, time.Duration) {
			if n.Add(1) == int64(burst) {
				close(reached)
			}
			return 0, 0
		})
		stop := background(t, b)
		for range burst {
			raise(t, realtime)
		}
		wait(t, "the last signal", reached)
		stop()
		if n.Load() != int64(burst) {
			t.Errorf("%d calls, want %d", n.Load(), burst)
		}
	})
}

// deep uses n frames of a goroutine's stack.
func deep(n int) int {
	var frame [64]byte
	if n == 0 {
		return 0
	}
	frame[n%64] = byte(n)
	return deep(n-1) + int(frame[n%64]) - int(byte(n))
}

// Signals that find goroutines deep in growing and shrinking stacks, garbage
// collections and children under way harm nothing.
func TestSignalStorm(t *testing.T) {
	signals := 20_000
	if testing.Short() || raceEnabled {
		signals = 4_000
	}
	b := newBase(t)
	var n atomic.Int64
	reached := make(chan bool)
	addSignal(t, b, realtime, func(events) (events, time.Duration) {
		if n.Add(1) == int64(signals) {
			close(reached)
		}
		return 0, 0
	})
	stop := background(t, b)
	var done atomic.Bool
	var busy sync.WaitGroup
	for range 4 {
		busy.Add(1)
		go func() {
			defer busy.Done()
			for !done.Load() {
				ended := make(chan int)
				go func() { ended <- deep(2000) }()
				if <-ended != 0 {
					t.Error("a stack was corrupted")
				}
			}
		}()
	}
	busy.Add(1)
	go func() {
		defer busy.Done()
		for !done.Load() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				t.Error("child:", err)
			}
		}
	}()
	sent := 0
	for sent < signals {
		switch err := syscall.Kill(syscall.Getpid(), realtime); err {
		case nil:
			sent++
		case syscall.EAGAIN: // the kernel's queue is full
			time.Sleep(soon)
		default:
			t.Fatal(err)
		}
	}
	wait(t, "the last signal", reached)
	done.Store(true)
	busy.Wait()
	stop()
	if n.Load() != int64(signals) {
		t.Errorf("%d calls, want %d", n.Load(), signals)
	}
}

// What a callback of a burst does to its own event holds for the rest of the burst.
func TestSignalBurst(t *testing.T) {
	const burst = 5
	for name, test := range map[string]struct {
		act  func(t *testing.T, b *libevent.Base, ev *libevent.Event) events
		want int // calls in the first loop
		rest int // calls in the second
	}{
		"nothing": {func(*testing.T, *libevent.Base, *libevent.Event) events { return 0 }, burst, 0},
		"LEAVE":   {func(*testing.T, *libevent.Base, *libevent.Event) events { return libevent.LEAVE }, 2, 0},
		"Close": {func(t *testing.T, _ *libevent.Base, ev *libevent.Event) events {
			if err := ev.Close(); err != nil {
				t.Error(err)
			}
			return libevent.EV_SIGNAL
		}, 2, 0},
		"Del": {func(t *testing.T, _ *libevent.Base, ev *libevent.Event) events {
			if err := ev.Del(); err != nil {
				t.Error(err)
			}
			return 0
		}, 2, 0},
		"Del and EV_SIGNAL": {func(t *testing.T, _ *libevent.Base, ev *libevent.Event) events {
			if err := ev.Del(); err != nil {
				t.Error(err)
			}
			return libevent.EV_SIGNAL
		}, 2, 0},
		"Del and Add": {func(t *testing.T, _ *libevent.Base, ev *libevent.Event) events {
			if err := ev.Del(); err != nil {
				t.Error(err)
			}
			if err := ev.Add(0); err != nil {
				t.Error(err)
			}
			return 0
		}, 2, 0},
		"LoopBreak": {func(t *testing.T, b *libevent.Base, _ *libevent.Event) events {
			if err := b.LoopBreak(); err != nil {
				t.Error(err)
			}
			return 0
		}, 2, burst - 2},
		"Stop": {func(t *testing.T, b *libevent.Base, _ *libevent.Event) events {
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
			return 0
		}, 2, burst - 2},
		"LoopExit": {func(t *testing.T, b *libevent.Base, _ *libevent.Event) events {
			if err := b.LoopExit(0); err != nil {
				t.Error(err)
			}
			return 0
		}, burst, 0},
	} {
		t.Run(name, func(t *testing.T) {
			forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
				b := newBaseWith(t, cfg)
				n := 0
				var ev *libevent.Event
				ev = addSignal(t, b, syscall.SIGUSR1, func(what events) (events, time.Duration) {
					if what != libevent.EV_SIGNAL {
						t.Error("called with", what)
					}
					if n++; n == 2 {
						return test.act(t, b, ev), 0
					}
					return 0, 0
				})
				for range burst {
					raise(t, syscall.SIGUSR1)
				}
				for i, want := range []int{test.want, test.want + test.rest} {
					if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil || n != want {
						t.Errorf("after loop %d %d calls, want %d, %v", i, n, want, err)
					}
				}
			})
		})
	}
}

func TestSignalRefuses(t *testing.T) {
	b := newBase(t)
	for _, sig := range []syscall.Signal{
		-1, 0, 65, 1 << 20, 32, 33,
		syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE,
		syscall.SIGILL, syscall.SIGPROF, syscall.SIGSEGV, syscall.SIGSYS, syscall.SIGTRAP, syscall.SIGURG,
	} {
		if _, err := b.AddSignal(sig, keep); err == nil {
			t.Errorf("%d (%v) was accepted", sig, sig)
		} else {
			isErrno(t, err, syscall.EINVAL)
		}
	}
	_, err := b.AddSignal(syscall.SIGUSR1, nil)
	isErrno(t, err, syscall.EINVAL)
	_, err = b.AddEvent(int(syscall.SIGUSR1), libevent.EV_SIGNAL, keep, -2)
	isErrno(t, err, syscall.EINVAL)
	for _, result := range []struct {
		next    events
		timeout time.Duration
	}{
		{libevent.EV_READ, 0},
		{libevent.EV_SIGNAL | libevent.EV_READ, 0},
		{libevent.EV_SIGNAL | libevent.EV_ET, 0},
		{0x4000, 0},
		{libevent.EV_SIGNAL, -2},
	} {
		ev := addSignal(t, b, syscall.SIGUSR1, func(events) (events, time.Duration) {
			return result.next, result.timeout
		})
		raise(t, syscall.SIGUSR1)
		isErrno(t, loop(t, b, 0), syscall.EINVAL)
		isErrno(t, ev.Add(0), libevent.ErrClosed)
	}
	dispatch(t, b)
}

// A signal's event can have a timeout, and each of its kinds of call is its own.
func TestSignalWithTimeout(t *testing.T) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		var got []events
		results := []struct {
			next    events
			timeout time.Duration
			pending events
		}{
			{0, soon, libevent.EV_SIGNAL | libevent.EV_TIMEOUT},
			{0, 0, libevent.EV_SIGNAL | libevent.EV_TIMEOUT},
			{libevent.EV_SIGNAL, faraway, libevent.EV_SIGNAL | libevent.EV_TIMEOUT},
			{libevent.EV_SIGNAL, none, libevent.EV_SIGNAL},
			{libevent.EV_SIGNAL | libevent.EV_PERSIST | libevent.EV_TIMEOUT, 0, libevent.EV_SIGNAL},
		}
		ev := addSignal(t, b, syscall.SIGUSR1, func(what events) (events, time.Duration) {
			got = append(got, what)
			r := results[len(got)-1]
			return r.next, r.timeout
		})
		want := []events{
			libevent.EV_SIGNAL, libevent.EV_TIMEOUT, libevent.EV_TIMEOUT,
			libevent.EV_SIGNAL, libevent.EV_SIGNAL,
		}
		for i, what := range want {
			if what == libevent.EV_SIGNAL {
				raise(t, syscall.SIGUSR1)
			}
			if i == 1 {
				// The loop waits for the timeout alone.
				if got := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); got != 2 {
					t.Errorf("%d events added", got)
				}
			}
			for n := len(got); len(got) == n; {
				if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil {
					t.Fatal(err)
				}
			}
			if pending := ev.Pending(allEvents); pending != results[i].pending {
				t.Errorf("step %d: pending %v, want %v", i, pending, results[i].pending)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("called with %v, want %v", got, want)
		}
	})
}

// Signals that wait when the timeout falls due are told as signals, each once, and the
// timeout once.
func TestSignalsAndTimeoutTogether(t *testing.T) {
	b := newBase(t)
	var got []events
	ev, err := b.AddEvent(int(syscall.SIGUSR1), libevent.EV_SIGNAL, func(what events) (events, time.Duration) {
		got = append(got, what)
		if len(got) == 1 {
			return 0, none
		}
		return 0, 0
	}, soon)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		raise(t, syscall.SIGUSR1)
	}
	time.Sleep(20 * soon)
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	const both = libevent.EV_SIGNAL | libevent.EV_TIMEOUT
	if !slices.Equal(got, []events{both, libevent.EV_SIGNAL, libevent.EV_SIGNAL}) {
		t.Errorf("called with %v", got)
	}

	// Interrupted, they wait through a timeout that falls due meanwhile.
	got = nil
	if err := ev.Add(soon); err != nil {
		t.Fatal(err)
	}
	breaker, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
		raise(t, syscall.SIGUSR1)
		if err := b.LoopBreak(); err != nil {
			t.Error(err)
		}
		return libevent.LEAVE, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	raise(t, syscall.SIGUSR1)
	if err := breaker.Activate(libevent.EV_READ); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * soon)
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	signals := 0
	for _, what := range got {
		if what&libevent.EV_SIGNAL != 0 {
			signals++
		}
	}
	if signals != 2 {
		t.Errorf("called with %v, want two signals", got)
	}
}

// A new timeout for a signal's event drops none of the signals that wait.
func TestAddKeepsSignalsThatWait(t *testing.T) {
	b := newBase(t)
	var got []events
	var ev *libevent.Event
	// Due before the signal's own timeout, and run after the signals were counted.
	if _, err := b.AddTimer(soon, func(events) (events, time.Duration) {
		if err := ev.Add(faraway); err != nil {
			t.Error(err)
		}
		return libevent.LEAVE, 0
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * soon)
	ev, err := b.AddEvent(int(syscall.SIGUSR1), libevent.EV_SIGNAL, func(what events) (events, time.Duration) {
		got = append(got, what)
		return 0, 0
	}, soon)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		raise(t, syscall.SIGUSR1)
	}
	time.Sleep(20 * soon)
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []events{libevent.EV_SIGNAL, libevent.EV_SIGNAL}) {
		t.Errorf("called with %v", got)
	}
}

func TestActivateOfASignalEvent(t *testing.T) {
	b := newBase(t)
	var got []events
	ev, err := b.NewEvent(int(syscall.SIGUSR1), libevent.EV_SIGNAL, func(what events) (events, time.Duration) {
		got = append(got, what)
		return 0, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ev.Activate(libevent.EV_SIGNAL); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, b) // which does not wait: the event was never added
	if !slices.Equal(got, []events{libevent.EV_SIGNAL}) {
		t.Errorf("called with %v", got)
	}
	if ev.Pending(allEvents) != 0 || ev.FD() != int(syscall.SIGUSR1) {
		t.Errorf("pending %v, signal %d", ev.Pending(allEvents), ev.FD())
	}
}

// A signal that arrives while nothing waits for it is not kept for later.
func TestSignalsBeforeAddAreNotKept(t *testing.T) {
	b := newBase(t)
	n := 0
	ev := addSignal(t, b, syscall.SIGUSR1, counter(&n, 100))
	for range 3 {
		raise(t, syscall.SIGUSR1)
	}
	if err := ev.Del(); err != nil {
		t.Fatal(err)
	}
	if err := ev.Add(0); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil || n != 0 {
		t.Errorf("%d calls, %v", n, err)
	}
	raise(t, syscall.SIGUSR1)
	if err := loop(t, b, libevent.EVLOOP_ONCE); err != nil || n != 1 {
		t.Errorf("%d calls, %v", n, err)
	}
}
