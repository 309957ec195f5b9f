package libevent_test

import (
	"context"
	"errors"
	"math/rand"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// longVariable makes tests repeat as often as they would like.
const longVariable = "LIBEVENT_TEST_LONG"

// rounds scales a test's repetitions down where each costs more.
func rounds(n int) int {
	if os.Getenv(longVariable) != "" {
		return n
	}
	if testing.Short() || raceEnabled {
		return max(n/10, 1)
	}
	return n
}

// both calls two functions at once, and returns when both have.
func both(one, other func()) {
	var wg sync.WaitGroup
	for _, fn := range []func(){one, other} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			fn()
		}()
	}
	wg.Wait()
}

// Upstream: thread/basic
func TestGoroutinesAddAndDeleteTimers(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		stop := background(t, b)
		var fired atomic.Int64
		var wg sync.WaitGroup
		n := rounds(1000)
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range n / 4 {
					once := make(chan bool, 1)
					ev, err := b.AddTimer(time.Duration(rand.Intn(1000))*time.Microsecond, func(events) (events, time.Duration) {
						fired.Add(1)
						select {
						case once <- true:
						default:
						}
						return 0, soon
					})
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case <-once:
					case <-time.After(guardTime):
						t.Error("a timer does not fire")
					}
					if err := ev.Del(); err != nil {
						t.Error(err)
					}
					if err := ev.Close(); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		wg.Wait()
		stop()
		if fired.Load() < int64(n/4*4) {
			t.Errorf("%d calls of %d timers", fired.Load(), n)
		}
	})
}

// forEachLockedBackend is forEachBackend without the flag that makes a base one
// goroutine's alone.
func forEachLockedBackend(t *testing.T, fn func(t *testing.T, cfg *libevent.Config)) {
	forEachBackend(t, func(t *testing.T, cfg *libevent.Config) {
		if cfg.Flags&libevent.EVENT_BASE_FLAG_NOLOCK != 0 {
			t.Skip("one goroutine's alone")
		}
		fn(t, cfg)
	})
}

// Upstream: main/del_wait
func TestDelWaitsForTheCallback(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		p := socketpair(t)
		b := newBaseWith(t, cfg)
		stop := background(t, b)
		in, out := make(chan bool, 1), make(chan bool)
		var returned atomic.Bool
		ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
			in <- true
			<-out
			returned.Store(true)
			return libevent.EV_READ, faraway // counts for nothing
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, "the callback", in)
		deleted := make(chan bool)
		go func() {
			if err := ev.Del(); err != nil {
				t.Error(err)
			}
			deleted <- returned.Load()
		}()
		select {
		case <-deleted:
			t.Error("Del returned during the callback")
		case <-time.After(20 * time.Millisecond):
		}
		close(out)
		if !wait(t, "Del", deleted) {
			t.Error("Del returned before the callback")
		}
		if got := ev.Pending(allEvents); got != 0 {
			t.Errorf("pending %v", got)
		}
		stop()
	})
}

// The loop ends when its last event is deleted, from whichever goroutine.
//
// Upstream: main/del_notify
func TestLoopNoticesTheLastDeletion(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for name, end := range map[string]func(ev *libevent.Event) error{
			"Del": (*libevent.Event).Del, "Close": (*libevent.Event).Close,
		} {
			for _, timer := range []bool{true, false} {
				p := socketpair(t)
				b := newBaseWith(t, cfg)
				var ev *libevent.Event
				var err error
				if timer {
					ev, err = b.AddTimer(faraway, keep)
				} else {
					ev, err = b.AddEvent(p[0], libevent.EV_READ, keep, 0)
				}
				if err != nil {
					t.Fatal(err)
				}
				started := onLoop(t, b, func() {})
				ended := make(chan error, 1)
				go func() { ended <- b.Dispatch() }()
				wait(t, "the loop", started)
				if err := end(ev); err != nil {
					t.Error(err)
				}
				if err := wait(t, name+" to end the loop", ended); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// RemoveTimer of the last timer is noticed as well.
func TestLoopNoticesRemoveTimer(t *testing.T) {
	b := newBase(t)
	ev, err := b.AddTimer(faraway, keep)
	if err != nil {
		t.Fatal(err)
	}
	started := onLoop(t, b, func() {})
	ended := make(chan error, 1)
	go func() { ended <- b.Dispatch() }()
	wait(t, "the loop", started)
	if err := ev.RemoveTimer(); err != nil {
		t.Error(err)
	}
	if err := wait(t, "the loop's end", ended); err != nil {
		t.Error(err)
	}
}

// Close off the loop does not wait for the callback, whose result counts for nothing.
func TestCloseDoesNotWait(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		for _, result := range []events{0, libevent.EV_READ, libevent.LEAVE, 0x4000} {
			p := socketpair(t)
			b := newBaseWith(t, cfg)
			in, out := make(chan bool, 1), make(chan bool)
			n := 0
			ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
				n++
				in <- true
				<-out
				return result, 0
			}, 0)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- b.Dispatch() }()
			wait(t, "the callback", in)
			closed := make(chan error, 1)
			go func() { closed <- ev.Close() }()
			if err := wait(t, "Close", closed); err != nil {
				t.Error(err)
			}
			isErrno(t, ev.Add(0), libevent.ErrClosed)
			close(out)
			if err := wait(t, "the loop's end", ended); err != nil {
				t.Errorf("result %v: %v", result, err)
			}
			if n != 1 {
				t.Errorf("result %v: %d calls", result, n)
			}
		}
	})
}

// Many goroutines do everything to events whose callbacks keep changing what they wait
// for. Nothing is lost, nothing crashes, and everything ends.
func TestEverythingAtOnce(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		cfg.Priorities = 3
		const pairs, goroutines = 8, 4
		var fds [pairs][2]int
		for i := range fds {
			fds[i] = socketpair(t)
			send(t, fds[i][1], "x")
		}
		b := newBaseWith(t, cfg)
		stop := background(t, b)
		var calls, posted, ran atomic.Int64
		make1 := func(i int) *libevent.Event {
			n := i
			ev, err := b.AddEvent(fds[i%pairs][0], libevent.EV_READ, func(events) (events, time.Duration) {
				calls.Add(1)
				switch n++; n % 5 {
				case 0:
					return libevent.EV_WRITE, 0
				case 1:
					return libevent.EV_READ | libevent.EV_WRITE, soon
				case 2:
					return libevent.EV_READ, none
				case 3:
					return libevent.EV_TIMEOUT, 100 * time.Microsecond
				}
				return libevent.EV_READ, 0
			}, 0)
			if err != nil {
				t.Error(err)
			}
			return ev
		}
		var shared [pairs]atomic.Pointer[libevent.Event]
		for i := range shared {
			shared[i].Store(make1(i))
		}
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Add(1)
			go func() {
				defer wg.Done()
				random := rand.New(rand.NewSource(int64(g)))
				start := time.Now()
				for n := 0; n < rounds(5000) || calls.Load() < 100 && time.Since(start) < guardTime; n++ {
					i := random.Intn(pairs)
					ev := shared[i].Load()
					var err error
					switch random.Intn(10) {
					case 0:
						next := make1(i)
						err = shared[i].Swap(next).Close()
					case 1:
						err = ev.Del()
					case 2:
						err = ev.Add(soon)
					case 3:
						err = ev.Add(0)
						if errors.Is(err, syscall.EINVAL) && ev.Events() == 0 {
							err = nil // a timer at this moment
						}
					case 4:
						err = ev.Activate(libevent.EV_READ)
					case 5:
						ev.Pending(allEvents)
						ev.Deadline()
						ev.Events()
					case 6:
						if err = ev.SetPriority(random.Intn(3)); errors.Is(err, syscall.EINVAL) {
							err = nil // it is active
						}
						ev.Priority()
					case 7:
						posted.Add(1)
						err = b.Post(func() { ran.Add(1) })
					case 8:
						err = ev.RemoveTimer()
					case 9:
						b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED)
						b.CachedTime()
						err = b.LoopContinue()
					}
					if err != nil && !errors.Is(err, libevent.ErrClosed) {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		for i := range shared {
			if err := shared[i].Load().Close(); err != nil {
				t.Error(err)
			}
		}
		wait(t, "the posted functions", onLoop(t, b, func() {}))
		stop()
		// The closed events go with the next pass that comes to their priority.
		if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
			t.Error(err)
		}
		if ran.Load() != posted.Load() || calls.Load() < 100 {
			t.Errorf("%d of %d posted functions ran, %d calls", ran.Load(), posted.Load(), calls.Load())
		}
		if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
			t.Errorf("%d events left", n)
		}
	})
}

// However a Stop meets the start of a loop, that loop ends.
func TestStopIsNeverLost(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		b := newBaseWith(t, cfg)
		if _, err := b.AddTimer(faraway, keep); err != nil {
			t.Fatal(err)
		}
		defer guard(t, b)()
		stopped := make(chan error)
		for i := range rounds(5000) {
			go func() {
				for range i % 7 {
					runtime.Gosched()
				}
				stopped <- b.Stop()
			}()
			for range i % 5 {
				runtime.Gosched()
			}
			if err := b.Dispatch(); err != nil {
				t.Fatal(err)
			}
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A context that ends at any moment ends its own Run, and never the loop after it.
func TestRunNeverStopsTheNextLoop(t *testing.T) {
	b := newBase(t)
	timer, err := b.NewEvent(-1, 0, keep)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rounds(3000) {
		if err := timer.Add(20 * time.Microsecond); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for range i % 50 {
				runtime.Gosched()
			}
			cancel()
		}()
		// Another end, at about the same time.
		if err := b.LoopExit(time.Duration(i%50) * time.Microsecond); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
		// What LoopExit has left behind is used up first.
		for range 2 {
			if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
				t.Fatal(err)
			}
		}
		if err := timer.Del(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for range 3 {
			if err := b.Post(func() { n++ }); err != nil {
				t.Fatal(err)
			}
		}
		if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil || n != 3 || b.GotBreak() {
			t.Fatalf("round %d: the next loop ran %d of 3 functions, break %v, %v", i, n, b.GotBreak(), err)
		}
	}
}

// lateContext ends when it is asked for its error after the loop has ended.
type lateContext struct {
	context.Context
	end   func()
	ended *bool
}

func (c lateContext) Err() error {
	if *c.ended {
		c.end()
	}
	return c.Context.Err()
}

// A context that ends when the loop just has, by itself, leaves the next one alone.
func TestRunTakesItsStopBack(t *testing.T) {
	b := newBase(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := false
	for round := range 2 {
		calls := 0
		if _, err := b.AddTimer(0, func(events) (events, time.Duration) {
			calls++
			ended = round == 0
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if err := b.Run(lateContext{ctx, cancel, &ended}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		} else {
			dispatch(t, b)
		}
		if calls != 1 || (round == 1 && b.GotBreak()) {
			t.Errorf("round %d: %d calls, break %v", round, calls, b.GotBreak())
		}
	}
}

func TestRunFollowsItsContext(t *testing.T) {
	b := newBase(t)
	if _, err := b.AddTimer(faraway, keep); err != nil {
		t.Fatal(err)
	}
	defer guard(t, b)()
	for range rounds(500) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.Intn(100))*time.Microsecond)
		if err := b.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
}

// Functions of one goroutine run in its order, whatever the others do and whenever the
// loop runs.
func TestPostOrderPerGoroutine(t *testing.T) {
	forEachLockedBackend(t, func(t *testing.T, cfg *libevent.Config) {
		const goroutines = 4
		b := newBaseWith(t, cfg)
		count := rounds(5000)
		var last [goroutines]int // of the loop's goroutine
		stop := background(t, b)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range count {
					if err := b.Post(func() {
						if last[g] != i {
							t.Errorf("goroutine %d: %d after %d", g, i, last[g]-1)
						}
						last[g] = i + 1
						if i%100 == 0 { // from a callback, behind the rest
							if err := b.Post(func() {}); err != nil {
								t.Error(err)
							}
						}
					}); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		wg.Wait()
		wait(t, "the last", onLoop(t, b, func() {}))
		stop()
		for g, n := range last {
			if n != count {
				t.Errorf("goroutine %d: %d of %d functions", g, n, count)
			}
		}
	})
}

// Only one of many loops runs; the others are told so, and Close too.
func TestOneLoopAtATime(t *testing.T) {
	b := newBase(t)
	stop := background(t, b)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			isErrno(t, b.Dispatch(), libevent.ErrRunning)
			isErrno(t, b.Close(), libevent.ErrRunning)
		}()
	}
	wg.Wait()
	stop()
}

// Close of the base waits for calls that are under way, and ends what comes later.
func TestCloseOfTheBaseAmongCalls(t *testing.T) {
	p := socketpair(t)
	for range rounds(200) {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for {
					ev, err := b.AddEvent(p[0], libevent.EV_READ, keep, soon)
					if err != nil {
						isErrno(t, err, libevent.ErrClosed)
						return
					}
					for _, err := range []error{ev.Add(soon), ev.Activate(libevent.EV_READ), ev.Del(), b.Post(func() {}), b.Stop()} {
						if err != nil {
							isErrno(t, err, libevent.ErrClosed)
						}
					}
					if err := ev.Close(); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for range 20 {
			runtime.Gosched()
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

// A callback may come, and leave, before AddEvent returns to the goroutine that called it.
func TestCallbackBeforeAddEventReturns(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	stop := background(t, b)
	for range rounds(5000) {
		called := make(chan bool, 1)
		ev, err := b.AddEvent(p[0], libevent.EV_WRITE, func(events) (events, time.Duration) {
			called <- true
			return libevent.LEAVE, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, "the callback", called)
		if err := ev.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the loop", onLoop(t, b, func() {}))
	stop()
	if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
		t.Errorf("%d events left", n)
	}
}

// Signals' events are added and closed among deliveries and loops of several bases.
func TestSignalsAmongGoroutines(t *testing.T) {
	var bases [2]*libevent.Base
	var stops [2]func()
	for i := range bases {
		bases[i] = newBase(t)
		stops[i] = background(t, bases[i])
	}
	// One event stays, so that the signal always has our handler.
	var seen atomic.Int64
	addSignal(t, bases[0], realtime, func(events) (events, time.Duration) {
		seen.Add(1)
		return 0, 0
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range rounds(2000) {
				ev, err := bases[g%2].AddSignal(realtime, func(events) (events, time.Duration) {
					if i%3 == 0 {
						return libevent.LEAVE, 0
					}
					return libevent.EV_SIGNAL, soon
				})
				if err != nil {
					t.Error(err)
					return
				}
				raise(t, realtime)
				if i%2 == 0 {
					_ = ev.Del() // may have left
				}
				if err := ev.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	want := int64(4 * rounds(2000))
	for deadline := time.Now().Add(guardTime); seen.Load() < want && time.Now().Before(deadline); {
		time.Sleep(soon)
	}
	for _, stop := range stops {
		stop()
	}
	if seen.Load() != want {
		t.Errorf("%d calls, want %d", seen.Load(), want)
	}
}

func init() { children["lock debugging"] = childLockDebugging }

// childLockDebugging has libevent watch over its locks while two goroutines use a base.
func childLockDebugging() int {
	for range 2 {
		if err := libevent.EnableLockDebugging(); err != nil {
			panic(err)
		}
	}
	b, err := libevent.New()
	if err != nil {
		panic(err)
	}
	if err := libevent.EnableLockDebugging(); err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- b.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY) }()
	for range 100 {
		ran := make(chan bool)
		ev, err := b.AddTimer(0, func(events) (events, time.Duration) {
			ran <- true
			return 0, faraway
		})
		if err != nil {
			panic(err)
		}
		<-ran
		if err := ev.Close(); err != nil {
			panic(err)
		}
	}
	if err := b.Stop(); err != nil {
		panic(err)
	}
	if err := <-ended; err != nil {
		panic(err)
	}
	if err := b.Close(); err != nil {
		panic(err)
	}
	return 0
}

func TestLockDebugging(t *testing.T) {
	if out, err := child("lock debugging").CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v: %s", err, out)
	}
	newBase(t)
	const op = "evthread_enable_lock_debugging"
	err := libevent.EnableLockDebugging()
	if os.Getenv(debugModeVariable) != "" {
		wrapped(t, op, err, nil)
		return
	}
	var e *libevent.Error
	if !errors.As(err, &e) || e.Op != op || errors.As(err, new(syscall.Errno)) {
		t.Errorf("after the first base: %v", err)
	}
}

// C code that gives a lock back which it has not got ends the process.
func TestLockDebuggingFindsMisuse(t *testing.T) {
	out, err := child("lock that nobody holds").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "fatal error, from which it cannot return") {
		t.Errorf("%v: %s", err, out)
	}
}

// What makes or takes a lock before there is a base comes too late as well.
func TestLockDebuggingComesFirst(t *testing.T) {
	for _, name := range []string{
		"lock of a buffer", "lock of the random generator", "lock for random bytes", "lock of a base by Config",
	} {
		if out, err := child(name).CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func init() {
	children["lock of a buffer"] = func() int {
		buf, err := libevent.NewBuffer()
		if err != nil {
			panic(err)
		}
		return tooLate(buf.EnableLocking())
	}
	children["lock of the random generator"] = func() int { return tooLate(libevent.SecureRNGInit()) }
	children["lock for random bytes"] = func() int { return tooLate(libevent.SecureRNGGetBytes(make([]byte, 8))) }
	children["lock of a base by Config"] = func() int {
		b, err := libevent.NewWithConfig(&libevent.Config{CPUs: 1})
		if err != nil {
			panic(err)
		}
		defer b.Close()
		if libevent.EnableDebugMode() == nil {
			return 1
		}
		return tooLate(nil)
	}
	children["lock that nobody holds"] = func() int {
		buf, err := libevent.NewBuffer()
		if err := errors.Join(err, libevent.EnableLockDebugging(), buf.EnableLocking()); err != nil {
			panic(err)
		}
		ctest.Unlock(buf.Pointer())
		return 0
	}
}

// tooLate returns 0 if locks can no longer be watched, after what has returned err.
func tooLate(err error) int {
	if err != nil || libevent.EnableLockDebugging() == nil {
		return 1
	}
	return 0
}
