package libevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// fromAnywhere are the options of a BufferEvent that goroutines share.
const fromAnywhere = bevThreadsafe | bevDefer | bevUnlock

// watch ends the program, and shows every goroutine's stack, when step is not called for
// guardTime: what waits for a lock for ever cannot be ended otherwise.
func watch(t testing.TB) (step func()) {
	dog := time.AfterFunc(guardTime, func() {
		debug.SetTraceback("all")
		panic(t.Name() + ": no progress")
	})
	t.Cleanup(func() { dog.Stop() })
	return func() { dog.Reset(guardTime) }
}

// closedOr fails the test for an error that no race with Close explains.
func closedOr(t testing.TB, err error, others ...error) {
	t.Helper()
	for _, other := range append(others, libevent.ErrClosed) {
		if err == nil || errors.Is(err, other) {
			return
		}
	}
	t.Error(err)
}

// runAgain runs b's loop again and again, whoever stops it, until b is closed.
func runAgain(t testing.TB, b *libevent.Base) (ended chan struct{}) {
	return runAgainBehind(t, b, new(sync.RWMutex))
}

// runAgainBehind is runAgain for loops that wait while somebody holds the gate.
func runAgainBehind(t testing.TB, b *libevent.Base, gate *sync.RWMutex) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for {
			gate.RLock()
			err := b.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY)
			gate.RUnlock()
			if err != nil {
				// During Close a base says that it runs.
				closedOr(t, err, libevent.ErrRunning)
				return
			}
			runtime.Gosched()
		}
	}()
	return ended
}

// elsewhere has goroutines call fn again and again, with two connected BufferEvents of b
// that all goroutines may use, while b's loop runs.
func elsewhere(t *testing.T, b *libevent.Base, pair bool, fn func(i int, left, right *libevent.BufferEvent)) {
	t.Helper()
	stop := background(t, b)
	defer stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range rounds(200) {
				left, right, err := bevTwoOf(b, pair, fromAnywhere|bevOwn)
				if err != nil {
					t.Error(err)
					return
				}
				fn(i, left, right)
				bevCheck(t, "Close", errors.Join(left.Close(), right.Close()), nil)
			}
		}()
	}
	wg.Wait()
}

// across connects a BufferEvent of one base with one of the other.
func across(t testing.TB, bases [2]*libevent.Base) (pair [2]*libevent.BufferEvent) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return pair
	}
	for i, fd := range fds {
		if pair[i], err = bases[i].NewBufferEvent(fd, fromAnywhere|bevOwn); err != nil {
			t.Error(err)
		}
	}
	return pair
}

// closeAmongLoops closes bases whose loops run again and again.
func closeAmongLoops(t testing.TB, bases [2]*libevent.Base, loops [2]chan struct{}) {
	t.Helper()
	for i, b := range bases {
		// Stop ends one loop, and the next one may have begun before Close.
		for {
			if err := b.Stop(); err != nil {
				t.Fatal(err)
			}
			err := b.Close()
			if err == nil {
				break
			}
			if !errors.Is(err, libevent.ErrRunning) {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
		wait(t, "the loop's end", loops[i])
	}
}

// Programs of goroutines do all that can be done to shared BufferEvents and to the loops
// of two bases, which are stopped and run again all the time, and closed in the end.
func TestProgramsOfGoroutines(t *testing.T) {
	const goroutines, steps, shared = 4, 40, 4
	step := watch(t)
	for seed := range int64(rounds(3000)) {
		step()
		var bases [2]*libevent.Base
		var loops [2]chan struct{}
		for i := range bases {
			b, err := libevent.New()
			if err != nil {
				t.Fatal(err)
			}
			bases[i] = b
			loops[i] = runAgain(t, b)
		}
		random := rand.New(rand.NewSource(seed))
		var bevs [shared]atomic.Pointer[[2]*libevent.BufferEvent]
		for i := range bevs {
			pair := across(t, bases)
			bevs[i].Store(&pair)
		}
		// What a callback does is drawn before: it runs on a loop.
		behaviour := func(choice int) func(bev *libevent.BufferEvent) {
			return func(bev *libevent.BufferEvent) {
				switch choice {
				case 0:
					_ = bev.Input().Drain(bev.Input().Len())
				case 1:
					_ = bev.WriteBuffer(bev.Input())
				case 2:
					_ = bev.Input().Drain(bev.Input().Len())
					other := bevs[0].Load()[1] // of another base, perhaps
					_, _ = other.WriteString("from a callback")
				case 3:
					_ = bev.Input().Drain(1)
					_ = bev.Close()
				case 4:
					_ = bev.Disable(libevent.EV_READ)
					_ = bev.Base().Post(func() { _ = bev.Enable(libevent.EV_READ) })
				}
			}
		}
		var programs sync.WaitGroup
		for range goroutines {
			random := rand.New(rand.NewSource(random.Int63()))
			programs.Add(1)
			go func() {
				defer programs.Done()
				own, err := libevent.NewBuffer()
				if err != nil {
					t.Error(err)
					return
				}
				defer own.Close()
				for range steps {
					pair := bevs[random.Intn(shared)].Load()
					bev := pair[random.Intn(2)]
					if bev == nil {
						return
					}
					b := bev.Base()
					switch random.Intn(16) {
					case 0, 1, 2:
						_, err := bev.Write(make([]byte, 1+random.Intn(5000)))
						closedOr(t, err)
					case 3:
						closedOr(t, bev.Enable(libevent.EV_READ))
					case 4:
						closedOr(t, bev.Disable(libevent.EV_READ|libevent.EV_WRITE))
						closedOr(t, bev.Enable(libevent.EV_WRITE))
					case 5:
						read := behaviour(random.Intn(5))
						bev.SetCallbacks(read, nil, closeAtTheEnd)
					case 6:
						closedOr(t, bev.SetTimeouts(time.Millisecond, time.Duration(random.Intn(2))*time.Millisecond))
					case 7:
						closedOr(t, bev.Trigger(libevent.EV_READ|libevent.EV_WRITE, libevent.BEV_TRIG_IGNORE_WATERMARKS))
					case 8:
						closedOr(t, bev.Close())
					case 9:
						next := across(t, bases)
						for _, old := range bevs[random.Intn(shared)].Swap(&next) {
							if old != nil {
								closedOr(t, old.Close())
							}
						}
					case 10:
						closedOr(t, bev.SetEager(random.Intn(2) == 0))
					case 11:
						_, err := bev.Read(make([]byte, 100))
						// EIO: a timeout has come over the errno, while the callback was put off.
						closedOr(t, err, syscall.EAGAIN, syscall.ECONNRESET, syscall.EPIPE, syscall.EIO, io.EOF)
					case 12:
						closedOr(t, bev.ReadBuffer(own))
						closedOr(t, bev.WriteBuffer(own))
					case 13:
						closedOr(t, b.Stop())
					case 14:
						closedOr(t, b.Post(func() { _, _ = bev.WriteString("posted") }))
					case 15:
						ev, err := b.AddTimer(0, leave)
						closedOr(t, err)
						if err == nil {
							closedOr(t, ev.Activate(libevent.EV_READ))
							closedOr(t, ev.Close())
						}
					}
				}
			}()
		}
		programs.Wait()
		closeAmongLoops(t, bases, loops)
	}
}

// closeAtTheEnd is an event callback.
func closeAtTheEnd(bev *libevent.BufferEvent, what libevent.BufferEvents) {
	if what&libevent.BEV_EVENT_TIMEOUT == 0 {
		_ = bev.Close()
	}
}

// stacked are two BufferEvents that are connected, each with the filters on top of it.
type stacked [2][]*libevent.BufferEvent

// Programs of goroutines put filters on shared BufferEvents and close both in any order,
// change what limits their rate, watch their buffers and move them to the other base,
// while data goes through them in all directions and loops are stopped and run again.
func TestProgramsOfGoroutinesWithFiltersAndLimits(t *testing.T) {
	const goroutines, steps, shared = 4, 40, 3
	step := watch(t)
	for seed := range int64(rounds(1500)) {
		step()
		random := rand.New(rand.NewSource(seed))
		limit := func(random *rand.Rand) libevent.TokenBucketConfig {
			return libevent.TokenBucketConfig{
				ReadRate: 1 + random.Intn(5000), ReadBurst: 5000, WriteRate: 1 + random.Intn(5000), WriteBurst: 5000,
				Tick: time.Duration(1+random.Intn(3)) * time.Millisecond,
			}
		}
		// No loop runs while somebody has the gate for himself.
		var gate sync.RWMutex
		var bases [2]*libevent.Base
		var loops [2]chan struct{}
		var groups [2]atomic.Pointer[libevent.RateLimitGroup]
		for i := range bases {
			b, err := libevent.New()
			must(t, err)
			g, err := b.NewRateLimitGroup(limit(random))
			must(t, err)
			bases[i] = b
			groups[i].Store(g)
			loops[i] = runAgainBehind(t, b, &gate)
		}
		make1 := func(random *rand.Rand) *stacked {
			var made stacked
			for i, bev := range across(t, bases) {
				if bev != nil {
					closedOr(t, bev.Enable(libevent.EV_READ*events(random.Intn(2))))
				}
				made[i] = []*libevent.BufferEvent{bev}
			}
			return &made
		}
		var slots [shared]atomic.Pointer[stacked]
		for i := range slots {
			slots[i].Store(make1(random))
		}
		// read is what a read callback does. It is drawn before: it runs on a loop.
		read := func(choice int) func(bev *libevent.BufferEvent) {
			return func(bev *libevent.BufferEvent) {
				switch choice {
				case 0:
					_ = bev.Input().Drain(bev.Input().Len())
				case 1:
					_ = bev.WriteBuffer(bev.Input())
				case 2:
					_ = bev.Input().Drain(1)
					_ = bev.Close()
				case 3:
					_ = bev.Input().Drain(bev.Input().Len())
					if under := bev.Underlying(); under != nil {
						_ = under.Close()
					}
				}
			}
		}
		// function is what a filter does; also it closes what it belongs to.
		function := func(choice int, bev *libevent.BufferEvent) libevent.Filter {
			calls := 0
			return func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
				if calls++; calls == 3 && choice == 0 {
					_ = bev.Close()
				}
				if choice == 1 && mode == libevent.BEV_NORMAL && src.Len() < 1000 {
					return libevent.BEV_NEED_MORE
				}
				return filterPass(src, dst, limit, mode)
			}
		}
		var programs sync.WaitGroup
		for range goroutines {
			random := rand.New(rand.NewSource(random.Int63()))
			programs.Add(1)
			go func() {
				defer programs.Done()
				for range steps {
					slot := &slots[random.Intn(shared)]
					at := slot.Load()
					side := random.Intn(2)
					stack := at[side]
					bev := stack[random.Intn(len(stack))]
					if bev == nil {
						return
					}
					b := bev.Base()
					switch random.Intn(18) {
					case 0, 1, 2:
						_, err := bev.Write(make([]byte, 1+random.Intn(5000)))
						closedOr(t, err)
					case 3:
						closedOr(t, bev.Enable(libevent.EV_READ|libevent.EV_WRITE))
					case 4:
						closedOr(t, bev.Disable(libevent.EV_READ))
					case 5:
						bev.SetCallbacks(read(random.Intn(4)), nil, closeAtTheEnd)
					case 6, 7:
						options := fromAnywhere | bevOwn*libevent.BufferEventOptions(random.Intn(2))
						top, err := bev.NewFilter(function(random.Intn(6), bev), function(random.Intn(6), bev), options)
						closedOr(t, err, syscall.EBUSY)
						if err == nil {
							closedOr(t, top.Enable(libevent.EV_READ))
							next := *at
							next[side] = append(slices.Clone(stack), top)
							slot.CompareAndSwap(at, &next) // else it goes with what is underneath
						}
					case 8:
						closedOr(t, bev.Close())
					case 9:
						for _, stack := range *slot.Swap(make1(random)) {
							stack := slices.Clone(stack)
							random.Shuffle(len(stack), func(i, j int) { stack[i], stack[j] = stack[j], stack[i] })
							for _, bev := range stack {
								closedOr(t, bev.Close())
							}
						}
					case 10:
						cfg := limit(random)
						closedOr(t, bev.SetRateLimit(&cfg), syscall.ENOTSUP)
					case 11:
						closedOr(t, bev.SetRateLimit(nil), syscall.ENOTSUP)
					case 12:
						g := groups[random.Intn(2)].Load()
						if random.Intn(3) == 0 {
							g = nil
						}
						// EINVAL: it is on the other base.
						closedOr(t, bev.SetRateLimitGroup(g), syscall.ENOTSUP, syscall.EINVAL)
					case 13:
						i := random.Intn(2)
						g, err := bases[i].NewRateLimitGroup(limit(random))
						if err != nil {
							t.Error(err)
							return
						}
						closedOr(t, groups[i].Swap(g).Close())
					case 14:
						buf := bev.Input()
						if random.Intn(2) == 0 {
							buf = bev.Output()
						}
						// The buffer is its loop's.
						closedOr(t, b.Post(func() {
							if bev.Base() != b {
								return
							}
							total := 0
							cb, err := buf.AddCallback(func(_ *libevent.Buffer, info libevent.BufferCallbackInfo) { total += info.Added })
							closedOr(t, err)
							if err == nil {
								closedOr(t, b.Post(cb.Remove))
							}
						}))
					case 15:
						closedOr(t, bev.Flush(libevent.EV_READ|libevent.EV_WRITE, libevent.FlushMode(random.Intn(3))), syscall.ENOTCONN)
					case 16:
						closedOr(t, b.Stop())
					case 17:
						for !gate.TryLock() {
							closedOr(t, errors.Join(bases[0].Stop(), bases[1].Stop()))
							runtime.Gosched()
						}
						for _, b := range bases { // for what is active
							closedOr(t, b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK))
						}
						other := bases[random.Intn(2)]
						closedOr(t, bev.SetBase(other), syscall.EBUSY, syscall.ENOTSUP, libevent.ErrRunning)
						for _, stack := range *slot.Swap(make1(random)) {
							closedOr(t, stack[0].SetBase(other), syscall.EBUSY, libevent.ErrRunning)
							if random.Intn(2) == 0 {
								closedOr(t, stack[0].Close())
							}
						}
						gate.Unlock()
					}
				}
			}()
		}
		programs.Wait()
		closeAmongLoops(t, bases, loops)
	}
}

// Two loops write to each other's BufferEvents from their callbacks, over sockets and
// directly, all the time. Nothing is lost, and nobody waits for the other.
func TestTwoLoopsFeedEachOther(t *testing.T) {
	eagerly(t, func(t *testing.T) {
		const connections = 4
		step := watch(t)
		var bases [2]*libevent.Base
		for i := range bases {
			bases[i] = newBase(t)
		}
		var ends [connections][2]*libevent.BufferEvent
		for i := range ends {
			one, two := bevSockets(t)
			ends[i] = [2]*libevent.BufferEvent{
				bevNew(t, bases[0], one, fromAnywhere|bevOwn), bevNew(t, bases[1], two, fromAnywhere|bevOwn),
			}
		}
		// A message goes to the other base over the socket, and is written there, from the
		// callback, to this base's end of the next connection.
		message := bytes.Repeat([]byte("x"), 3000)
		hops, want := int64(0), int64(rounds(100_000))
		done := make(chan struct{})
		for i := range ends {
			for side := range ends[i] {
				next := ends[(i+1)%connections][1-side]
				ends[i][side].SetCallbacks(func(bev *libevent.BufferEvent) {
					for bev.Input().Len() >= len(message) {
						if err := bev.Input().Drain(len(message)); err != nil {
							t.Error(err)
						}
						if _, err := next.Write(message); err != nil {
							t.Error(err)
						}
						if n := atomic.AddInt64(&hops, 1); n == want {
							close(done)
						} else if n%1000 == 0 {
							step()
						}
					}
				}, nil, nil)
				bevCheck(t, "Enable", ends[i][side].Enable(libevent.EV_READ), nil)
				for range 3 {
					_, err := ends[i][side].Write(message)
					bevCheck(t, "Write", err, nil)
				}
			}
		}
		stops := []func(){background(t, bases[0]), background(t, bases[1])}
		<-done
		for _, stop := range stops {
			stop()
		}
		step()
	})
}

// callbackKinds make C call fn once, in every kind of callback that there is. What is
// returned are the objects that a Goexit leaves behind.
var callbackKinds = []struct {
	name string
	call func(t *testing.T, b *libevent.Base, fn func()) (left []any)
}{
	{"event", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ev, err := b.AddEvent(socketpair(t)[0], libevent.EV_WRITE, eventOnce(fn), 0)
		must(t, err)
		return []any{ev}
	}},
	{"timer", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ev, err := b.AddTimer(soon, eventOnce(fn))
		must(t, err)
		return []any{ev}
	}},
	{"signal", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ev, err := b.AddSignal(syscall.SIGWINCH, eventOnce(fn))
		must(t, err)
		raise(t, syscall.SIGWINCH)
		return []any{ev}
	}},
	{"active", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ev, err := b.NewEvent(-1, 0, eventOnce(fn))
		must(t, err)
		must(t, ev.Activate(libevent.EV_READ))
		return []any{ev}
	}},
	{"post", func(t *testing.T, b *libevent.Base, fn func()) []any {
		must(t, b.Post(fn))
		return nil
	}},
	{"read", func(t *testing.T, b *libevent.Base, fn func()) []any { return readOnce(t, b, false, fn) }},
	{"write", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, 0)
		left.SetCallbacks(nil, func(bev *libevent.BufferEvent) { _ = bev.Close(); fn() }, nil)
		_, err := left.WriteString("x")
		must(t, err)
		return []any{left, right}
	}},
	{"what happens", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, 0)
		right.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) { _ = bev.Close(); fn() })
		must(t, right.Enable(libevent.EV_READ))
		must(t, left.Close())
		return []any{left, right}
	}},
	{"pair", func(t *testing.T, b *libevent.Base, fn func()) []any { return readOnce(t, b, true, fn) }},
	{"accept", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
			_ = syscall.Close(fd)
			_ = ln.Close()
			fn()
		})
		dial(t, ln)
		return nil
	}},
	{"accept's error", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ln := listen(t, b, usual, discard)
		must(t, ln.SetErrorCallback(func(ln *libevent.Listener, _ error) { _ = ln.Close(); fn() }))
		stopListening(t, ln)
		return nil
	}},
	{"cleanup", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, true, 0)
		must(t, left.Output().AddReference([]byte("x"), fn))
		must(t, b.Post(func() { _ = left.Close(); _ = right.Close() }))
		return []any{left, right}
	}},
	{"cleanup of a segment", func(t *testing.T, b *libevent.Base, fn func()) []any {
		seg := newSegment(t, newFile(t, "x"), 0, -1, 0)
		must(t, seg.AddCleanup(fn))
		must(t, b.Post(func() { _ = seg.Close() }))
		return nil
	}},
	{"once", func(t *testing.T, b *libevent.Base, fn func()) []any {
		must(t, b.Once(-1, 0, func(events) { fn() }, soon))
		return nil
	}},
	{"finalizer", func(t *testing.T, b *libevent.Base, fn func()) []any {
		ev, err := b.AddTimer(faraway, keep)
		must(t, err)
		must(t, ev.Finalize(fn))
		return nil
	}},
	{"read of an eager one", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left := readOnce(t, b, false, fn)
		must(t, left[1].(*libevent.BufferEvent).SetEager(true))
		return left
	}},
	{"deferred read", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, libevent.BEV_OPT_DEFER_CALLBACKS)
		right.SetCallbacks(func(bev *libevent.BufferEvent) { _ = bev.Close(); fn() }, nil, nil)
		must(t, right.Enable(libevent.EV_READ))
		must(t, second(left.WriteString("x")))
		return []any{left, right}
	}},
	{"filter", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, 0)
		var f *libevent.BufferEvent
		f = filterNew(t, right, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
			_ = f.Close()
			fn()
			return libevent.BEV_OK
		}, nil, 0)
		must(t, f.Enable(libevent.EV_READ))
		must(t, second(left.WriteString("x")))
		return []any{left, right, f}
	}},
	{"change of a buffer", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, 0)
		addCallback(t, right.Input(), func(*libevent.Buffer, bufferInfo) { _ = right.Close(); fn() })
		must(t, right.Enable(libevent.EV_READ))
		must(t, second(left.WriteString("x")))
		return []any{left, right}
	}},
	{"deferred change", func(t *testing.T, b *libevent.Base, fn func()) []any {
		left, right := bevTwo(t, b, false, 0)
		must(t, right.Input().DeferCallbacks(b))
		addCallback(t, right.Input(), func(*libevent.Buffer, bufferInfo) { _ = right.Close(); fn() })
		must(t, right.Enable(libevent.EV_READ))
		must(t, second(left.WriteString("x")))
		return []any{left, right}
	}},
}

// readOnce has fn called when something has been read.
func readOnce(t *testing.T, b *libevent.Base, pair bool, fn func()) []any {
	left, right := bevTwo(t, b, pair, 0)
	right.SetCallbacks(func(bev *libevent.BufferEvent) { _ = bev.Close(); fn() }, nil, nil)
	must(t, right.Enable(libevent.EV_READ))
	_, err := left.WriteString("x")
	must(t, err)
	return []any{left, right}
}

// eventOnce is a callback that leaves after fn.
func eventOnce(fn func()) libevent.EventCallback {
	called := false
	return func(events) (events, time.Duration) {
		if !called {
			called = true
			fn()
		}
		return libevent.LEAVE, 0
	}
}

// A panic in any callback comes out of Dispatch, once, and leaves a base that works.
func TestPanicInEveryCallback(t *testing.T) {
	for _, kind := range callbackKinds {
		t.Run(kind.name, func(t *testing.T) {
			b := newBase(t)
			kind.call(t, b, func() { panic(kind.name) })
			var p *libevent.CallbackPanic
			func() {
				defer func() { p, _ = recover().(*libevent.CallbackPanic) }()
				_ = loop(t, b, libevent.EVLOOP_NO_EXIT_ON_EMPTY)
			}()
			if p == nil || p.Value != kind.name {
				t.Fatalf("Dispatch panicked with %v", p)
			}
			worked := 0
			must(t, b.Post(func() { worked++ }))
			timer, err := b.AddTimer(soon, func(events) (events, time.Duration) { worked++; return libevent.LEAVE, 0 })
			must(t, err)
			for range 100 { // an event that has not left comes before the timer
				must(t, loop(t, b, libevent.EVLOOP_ONCE))
				if worked == 2 {
					break
				}
			}
			if worked != 2 {
				t.Errorf("the base ran %d of 2 callbacks afterwards", worked)
			}
			must(t, timer.Close())
			must(t, b.Close())
		})
	}
}

// A Goexit in any callback breaks the base, which says so and hangs nobody.
func TestGoexitInEveryCallback(t *testing.T) {
	endsInGoexit(t)
	for _, kind := range callbackKinds {
		t.Run(kind.name, func(t *testing.T) {
			b := newBase(t)
			left := kind.call(t, b, runtime.Goexit)
			returned := make(chan bool, 1)
			go func() {
				returns := false
				defer func() { returned <- returns }()
				_ = loop(t, b, libevent.EVLOOP_NO_EXIT_ON_EMPTY)
				returns = true
			}()
			if wait(t, "the goroutine's end", returned) {
				t.Fatal("Dispatch returned")
			}
			for name, err := range map[string]error{
				"Dispatch": b.Dispatch(), "Close": b.Close(), "Stop": b.Stop(), "Post": b.Post(func() {}),
			} {
				if !errors.Is(err, libevent.ErrBroken) {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, object := range left {
				switch object := object.(type) {
				case *libevent.Event:
					libevent.Abandon(b, object)
				case *libevent.BufferEvent:
					libevent.AbandonBufferEvent(object)
				}
			}
			libevent.Abandon(b)
		})
	}
}

// A BufferEvent and a listener can be closed in every state, from the loop and off it.
func TestCloseInEveryState(t *testing.T) {
	needsNoDebugMode(t)
	var ln net.Listener
	connect := func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
		bev := bevNew(t, b, -1, options|bevOwn)
		must(t, bev.Connect(ln.Addr().(*net.TCPAddr).AddrPort()))
		return bev
	}
	pass := func(t *testing.T, b *libevent.Base) {
		loopPass(t, b)
		loopPass(t, b)
	}
	states := []struct {
		name string
		make func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent
	}{
		{"without a socket", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			return bevNew(t, b, -1, options)
		}},
		{"connecting", connect},
		{"connected", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			bev := connect(t, b, options)
			pass(t, b)
			return bev
		}},
		{"reading", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, right := bevTwo(t, b, false, options)
			must(t, left.Enable(libevent.EV_READ))
			_, err := right.WriteString("unread")
			must(t, err)
			pass(t, b)
			return left
		}},
		{"with a callback due", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, _ := bevTwo(t, b, false, options)
			left.SetCallbacks(func(*libevent.BufferEvent) {}, nil, nil)
			must(t, left.Trigger(libevent.EV_READ, libevent.BEV_TRIG_DEFER_CALLBACKS|libevent.BEV_TRIG_IGNORE_WATERMARKS))
			return left
		}},
		{"blocked", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, _ := bevTwo(t, b, false, options)
			_, err := left.Write(make([]byte, 1<<20))
			must(t, err)
			pass(t, b)
			return left
		}},
		{"at the end", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, right := bevTwo(t, b, false, options)
			must(t, left.Enable(libevent.EV_READ))
			must(t, right.Close())
			pass(t, b)
			pass(t, b)
			return left
		}},
		{"suspended at its watermark", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, right := bevTwo(t, b, false, options)
			must(t, left.SetWatermark(libevent.EV_READ, 0, 10))
			must(t, left.Enable(libevent.EV_READ))
			_, err := right.WriteString("more than ten bytes")
			must(t, err)
			pass(t, b)
			return left
		}},
		{"one of a pair", func(t *testing.T, b *libevent.Base, options libevent.BufferEventOptions) *libevent.BufferEvent {
			left, right := bevTwo(t, b, true, options)
			must(t, left.Enable(libevent.EV_READ))
			_, err := right.WriteString("x")
			must(t, err)
			return left
		}},
	}
	for _, options := range []libevent.BufferEventOptions{0, fromAnywhere} {
		for _, state := range states {
			t.Run(fmt.Sprint(state.name, "/", options), func(t *testing.T) {
				var err error
				if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				leavesNothing(t, 20, func(n int) {
					for i := range n {
						b, err := libevent.New()
						must(t, err)
						bev := state.make(t, b, options)
						switch how := i % 4; {
						case how == 0: // with its base
						case how == 1:
							must(t, bev.Close())
						case how == 2:
							must(t, b.Post(func() { must(t, bev.Close()) }))
							loopPass(t, b)
						case options != 0: // off the loop that runs
							ended := runAgain(t, b)
							must(t, bev.Close())
							for {
								must(t, b.Stop())
								if err := b.Close(); !errors.Is(err, libevent.ErrRunning) {
									must(t, err)
									break
								}
							}
							<-ended
						}
						must(t, b.Close())
						must(t, bev.Close())
					}
				})
			})
		}
	}
}
