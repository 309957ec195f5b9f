package libevent

/*
#include "callbacks.h"
#cgo noescape golibevent_base_time
#cgo nocallback golibevent_base_time
#cgo noescape golibevent_base_monotonic
#cgo nocallback golibevent_base_monotonic
#cgo nocallback golibevent_forget_calls
#cgo nocallback golibevent_base_stop
#cgo nocallback golibevent_base_post
#cgo nocallback golibevent_base_loopexit
#cgo noescape golibevent_base_dump_events
#cgo nocallback golibevent_base_dump_events
#cgo nocallback golibevent_inside
*/
import "C"

import (
	"context"
	"io"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
	"github.com/go-libevent/libevent/internal/slots"
)

const (
	maxInt32      = math.MaxInt32
	maxPriorities = C.EVENT_MAX_PRIORITIES - 1
)

// Base is an event loop and owns what is made on it.
//
// Its methods are safe from any goroutine, unless the base was made with
// EVENT_BASE_FLAG_NOLOCK; after Close they return ErrClosed, or a zero value. The zero Base
// is a closed one.
//
// Wraps: struct event_base
type Base struct {
	c      *C.struct_golibevent_base
	handle uintptr
	life   life.Life

	// Set while a loop runs, for good by Close and by a Goexit.
	running atomic.Bool
	broken  atomic.Bool

	// Counts callbacks and cleanups that run inside a method, in no loop.
	inline atomic.Int32

	features Features
	nolock   bool // made with EVENT_BASE_FLAG_NOLOCK
	children own.Set

	// When the loop's goroutine has last given way, and how many callbacks there were;
	// the loop's thread only.
	yielded time.Time
	turns   uint

	// Counts LoopBreak and Stop, which end a round of posted functions too.
	breaks atomic.Uint64

	mu      sync.Mutex
	failure error    // what the loop must report when it returns
	posts   []func() // what Post has queued
	posted  bool     // the loop has been told of posts
	ends    []func() // what must run, in the loop or in Close

	waiting map[*Event]func() // what must when an event that is being closed has been freed
}

// bases finds the Base of a C callback's handle.
var bases slots.Table[Base]

func init() {
	own.Of = func(base any) *own.Set { return &base.(*Base).children }
}

// New makes a base with the best backend of the system. The caller must Close it. It
// returns the system's errno, such as EMFILE, and ENOMEM.
//
// Wraps: event_base_new
func New() (*Base, error) {
	settleDebugMode()
	c, err := C.golibevent_base_new(nil, 0)
	if c == nil && err == nil {
		err = errNoMethod
	}
	return newBase(c, "event_base_new", err)
}

// newBase completes a base whose C part has been made; a nil one is op's failure.
func newBase(c *C.struct_golibevent_base, op string, err error) (*Base, error) {
	if c == nil {
		return nil, opError(op, err)
	}
	b := &Base{c: c, features: Features(C.event_base_get_features(c.base))}
	b.handle = bases.Put(b)
	c.handle = C.uintptr_t(b.handle)
	return b, nil
}

// enter begins a call into C for op. If it returns nil the caller must leave.
func (b *Base) enter(op string) error {
	if b.broken.Load() {
		return &Error{op, ErrBroken}
	}
	if b.c == nil || !b.life.Enter() {
		return &Error{op, ErrClosed}
	}
	return nil
}

func (b *Base) leave() { b.life.Leave() }

// Close frees the base and all that was made on it, newest first: events, bufferevents,
// listeners and what other packages have made. Callbacks that have not come will not
// come; functions that Post has queued are dropped. Cleanups of Buffer.AddReference whose
// bytes are still there run, and so do functions of Event.Finalize.
//
// It returns ErrRunning while a loop or a callback runs on the base, or a cleanup inside a
// method of one of its BufferEvents, and, for any base, from the callback of a Buffer or a
// callback that runs inside a method; ErrBroken after a Goexit in a callback; and nil when
// the base was closed before.
//
// For a base of BaseFromPointer it frees everything but the C base. There it may be
// called while C runs the loop, also from a callback, unless another goroutine is in Del
// for that callback's event: each would wait for the other.
//
// Wraps: event_base_free
func (b *Base) Close() error {
	const op = "event_base_free"
	switch {
	case b.c == nil:
		return nil
	case b.broken.Load():
		return &Error{op, ErrBroken}
	}
	if b.inline.Load() > 0 || C.golibevent_inside() != 0 {
		return &Error{op, ErrRunning}
	}
	if !b.running.CompareAndSwap(false, true) {
		if b.life.Closed() {
			return nil
		}
		return &Error{op, ErrRunning}
	}
	b.life.Close()
	runAll([]func(){b.children.CloseAll, b.free})
	return nil
}

// free frees what Close leaves: all but the children.
func (b *Base) free() {
	b.life.Drain()
	bases.Delete(b.handle)
	released := C.golibevent_base_free(b.c)
	b.mu.Lock()
	ends := b.ends
	b.posts, b.ends = nil, nil
	b.mu.Unlock()
	runAll(append(ends, takeReferences(released)...))
}

// Dispatch runs the loop until no events are left, or until LoopExit, LoopBreak or
// Stop ends it. Callbacks run on the calling goroutine.
//
// It returns the error of an event whose callback asked for something impossible,
// ErrRunning when a loop runs on the base already, and, for any base, from the callback
// of a Buffer or a callback that runs inside a method; and the backend's error. After a
// panic in a callback it panics with a *CallbackPanic.
//
// Wraps: event_base_dispatch
func (b *Base) Dispatch() error { return b.loop(0, "event_base_dispatch") }

// Loop is Dispatch with flags. EVLOOP_NONBLOCK without EVLOOP_ONCE does not return
// for as long as anything is ready. Unknown flags are EINVAL.
//
// Wraps: event_base_loop
func (b *Base) Loop(flags LoopFlags) error {
	const op = "event_base_loop"
	if flags&^knownLoopFlags != 0 {
		return opError(op, syscall.EINVAL)
	}
	return b.loop(flags, op)
}

func (b *Base) loop(flags LoopFlags, op string) error {
	if err := b.enter(op); err != nil {
		return err
	}
	if !b.running.CompareAndSwap(false, true) {
		b.leave()
		return &Error{op, ErrRunning}
	}
	returned := false
	defer func() {
		// Left by a Goexit, libevent's loop still is where it was: running
		// stays set, and so nothing ever frees what it holds.
		if !returned {
			b.abandon()
			return
		}
		b.running.Store(false)
		b.leave()
	}()
	rc, err := C.golibevent_base_loop(b.c, C.int(flags))
	returned = true
	if failure := b.takeFailure(); failure != nil {
		if p, ok := failure.(*CallbackPanic); ok {
			panic(p)
		}
		return failure
	}
	switch {
	case rc != -1:
		return nil
	case err == nil, // C runs the loop of a borrowed base
		err == syscall.EBUSY:
		return &Error{op, ErrRunning}
	}
	return opError(op, err)
}

// fail keeps what the loop has to report; the first failure counts.
func (b *Base) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure == nil {
		b.failure = err
	}
}

func (b *Base) takeFailure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.failure
	b.failure = nil
	return err
}

// Err returns what a callback has failed with since the last Err, Dispatch or Loop, and
// forgets it: a *CallbackPanic, or the *Error of an event whose callback asked for
// something impossible. After a Goexit in a callback it returns ErrBroken; but a Goexit
// on a thread that C has made ends the process.
//
// Dispatch and Loop report failures themselves. A loop that C runs on a borrowed base
// cannot: it is broken, event_base_dispatch returns 0 with event_base_got_break, and C
// has Go ask Err.
//
// It is safe from any goroutine, also after Close.
func (b *Base) Err() error {
	if b.broken.Load() {
		return &Error{"event_base_loop", ErrBroken}
	}
	return b.takeFailure()
}

// caught is deferred around every callback. It keeps a panic for the loop to report
// and sets *stop, so that C breaks the loop. *returned says that there was none; with
// neither, the goroutine is ending, and the loop with it.
func (b *Base) caught(returned *bool, stop *C.uchar) {
	if *returned {
		return
	}
	value := recover()
	if value == nil {
		b.abandon()
		return
	}
	b.fail(&CallbackPanic{Value: value, Stack: debug.Stack()})
	*stop = 1
}

// abandon marks the base as broken by a Goexit, and gives its signals back. The calls that
// the thread is in will never end.
func (b *Base) abandon() {
	C.golibevent_forget_calls()
	if !b.broken.Swap(true) {
		C.golibevent_sink_abandon(b.c)
	}
}

// inLoop tells C that the thread is in the base's loop, for as long as a callback of
// a borrowed base runs: C has entered that loop by itself. The result is to be
// called when the callback has returned.
func (b *Base) inLoop(loop **C.struct_golibevent_base) (leave func()) {
	outer := *loop
	*loop = b.c
	return func() { *loop = outer }
}

// yield gives way to other goroutines every few milliseconds.
//
// To the Go runtime a loop is one system call, in which callbacks run. When that has
// lasted for 10 ms the runtime takes the P away whenever it looks, which is then every
// 20 µs, and every callback after that has to get one again. The clock is not looked at
// in every callback: it is one of the dearer things there.
func (b *Base) yield() {
	const callbacks, interval = 64, 5 * time.Millisecond
	if b.turns++; b.turns%callbacks != 0 {
		return
	}
	if now := time.Now(); now.Sub(b.yielded) >= interval {
		b.yielded = now
		runtime.Gosched()
	}
}

// LoopExit makes the loop return once d has passed, after the callbacks that are
// then active have run. d is rounded up to 1 µs; 0 means after this round. It is not
// forgotten when no loop runs: the next one ends. A busy event of a better priority
// can put it off for ever; see Stop. A negative d is EINVAL.
//
// Wraps: event_base_loopexit
func (b *Base) LoopExit(d time.Duration) error {
	const op = "event_base_loopexit"
	us, err := microseconds(d)
	if err != nil {
		return opError(op, err)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	if rc, err := C.golibevent_base_loopexit(b.c, us); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// LoopBreak makes the running loop return after the callback that runs now. Other
// callbacks that were active run when a loop runs again. Without a running loop it
// does nothing; see Stop.
//
// Wraps: event_base_loopbreak
func (b *Base) LoopBreak() error {
	const op = "event_base_loopbreak"
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	b.breaks.Add(1)
	if rc, err := C.event_base_loopbreak(b.c.base); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// LoopContinue makes the running loop look for new events after the callback that
// runs now, before those that wait.
//
// Wraps: event_base_loopcontinue
func (b *Base) LoopContinue() error {
	const op = "event_base_loopcontinue"
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	if rc, err := C.event_base_loopcontinue(b.c.base); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// GotExit reports whether the loop that runs, or the last one that ran, was ended by
// LoopExit.
//
// Wraps: event_base_got_exit
func (b *Base) GotExit() bool {
	if b.enter("event_base_got_exit") != nil {
		return false
	}
	defer b.leave()
	return C.event_base_got_exit(b.c.base) != 0
}

// GotBreak reports whether the loop that runs, or the last one that ran, was ended by
// LoopBreak, by Stop, or by a callback's failure.
//
// Wraps: event_base_got_break
func (b *Base) GotBreak() bool {
	if b.enter("event_base_got_break") != nil {
		return false
	}
	defer b.leave()
	return C.event_base_got_break(b.c.base) != 0
}

// Stop makes the running loop return after the callback that runs now or, when none
// runs, makes the next one return at once. Unlike LoopBreak it is never lost, and
// unlike LoopExit no event can keep the loop from it.
//
// Wraps: event_base_loopbreak
func (b *Base) Stop() error { return b.stop(C.GOLIBEVENT_STOP) }

func (b *Base) stop(why C.uint) error {
	if err := b.enter("event_base_loopbreak"); err != nil {
		return err
	}
	defer b.leave()
	b.breaks.Add(1)
	C.golibevent_base_stop(b.c, why)
	return nil
}

// Run is Dispatch until ctx ends, and returns ctx.Err() then. It returns what
// Dispatch returns when that ends for another reason, nil when no events are left.
//
// Another goroutine watches ctx, which a base with EVENT_BASE_FLAG_NOLOCK does not allow:
// there Run returns ENOTSUP, unless ctx can never end.
func (b *Base) Run(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err != nil:
		return err
	case b.nolock && ctx.Done() != nil:
		return opError("event_base_loopbreak", syscall.ENOTSUP)
	}
	stopped := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		_ = b.stop(C.GOLIBEVENT_STOP_CTX)
		close(stopped)
	})
	defer func() {
		if forget() {
			return
		}
		<-stopped
		// If the loop had ended before, the request must not end the next.
		if b.enter("event_base_loopbreak") == nil {
			C.golibevent_base_unstop(b.c, C.GOLIBEVENT_STOP_CTX)
			b.leave()
		}
	}()
	if err := b.Dispatch(); err != nil {
		return err
	}
	return ctx.Err()
}

// Post makes the loop run fn, from any goroutine. Functions of one goroutine run in
// their order. One that is posted by a callback runs in the loop's next pass, after a
// look for new events; they run at the middle priority. A loop does not wait for
// functions that have yet to be posted: it ends when no events are left.
//
// A nil fn is EINVAL. When fn panics Dispatch does; the functions behind it keep their
// place for the next loop. Functions that no loop has run when the base is closed are
// dropped.
func (b *Base) Post(fn func()) error {
	const op = "event_active"
	if fn == nil {
		return opError(op, syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	b.mu.Lock()
	b.posts = append(b.posts, fn)
	tell := !b.posted
	b.posted = true
	b.mu.Unlock()
	if tell {
		C.golibevent_base_post(b.c)
	}
	return nil
}

// putWaiting keeps fn until ev has been freed. It reports false when there is one.
func (b *Base) putWaiting(ev *Event, fn func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[ev] != nil {
		return false
	}
	if b.waiting == nil {
		b.waiting = make(map[*Event]func())
	}
	b.waiting[ev] = fn
	return true
}

// takeWaiting takes what putWaiting has kept, or nil.
func (b *Base) takeWaiting(ev *Event) (fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn = b.waiting[ev]
	delete(b.waiting, ev)
	return fn
}

// end makes the loop run fn like a posted function; if none does, Close runs it.
func (b *Base) end(fn func()) {
	b.mu.Lock()
	b.ends = append(b.ends, fn)
	b.mu.Unlock()
	if b.Post(b.runEnd) != nil { // closed meanwhile, or broken
		go b.runEnd()
	}
}

func (b *Base) runEnd() {
	b.mu.Lock()
	if len(b.ends) == 0 { // Close was quicker
		b.mu.Unlock()
		return
	}
	fn := b.ends[0]
	b.ends = b.ends[1:]
	b.mu.Unlock()
	fn()
}

// runAll calls every function in order, also when one panics: then the panic comes
// after the others have run.
func runAll(fns []func()) {
	next := 0
	defer func() {
		if next < len(fns) {
			runAll(fns[next:])
		}
	}()
	for next < len(fns) {
		next++
		fns[next-1]()
	}
}

// runPosts runs what Post has queued until now. What is left after a break or a panic
// goes back to the front of the queue.
func (b *Base) runPosts(stop *C.uchar) {
	b.mu.Lock()
	round := b.posts
	b.posts, b.posted = nil, false
	b.mu.Unlock()

	next := 0
	returned := false
	// Deferred calls run last first: the queue is whole before a panic is kept.
	defer b.caught(&returned, stop)
	defer func() {
		if next == len(round) {
			return
		}
		// A borrowed base can have been closed by one of them.
		if b.enter("event_active") != nil {
			return
		}
		defer b.leave()
		b.mu.Lock()
		b.posts = append(round[next:len(round):len(round)], b.posts...)
		tell := !b.posted
		b.posted = true
		b.mu.Unlock()
		if tell {
			C.golibevent_base_post(b.c)
		}
	}()
	breaks := b.breaks.Load()
	for next < len(round) && b.breaks.Load() == breaks && !b.life.Closed() {
		fn := round[next]
		round[next] = nil
		next++
		fn()
	}
	returned = true
}

// Method returns the name of the backend, such as "epoll".
//
// Wraps: event_base_get_method
func (b *Base) Method() string {
	if b.enter("event_base_get_method") != nil {
		return ""
	}
	defer b.leave()
	return C.GoString(C.event_base_get_method(b.c.base))
}

// SignalMethod returns the name of what delivers signals to C code that uses the base:
// "signal", or "signalfd_signal" with EVENT_BASE_FLAG_USE_SIGNALFD. Those of AddSignal
// come another way. It returns ENOTSUP before libevent 2.2. It is safe from any goroutine.
//
// Wraps: event_base_get_signal_method
func (b *Base) SignalMethod() (string, error) {
	const op = "event_base_get_signal_method"
	if err := b.enter(op); err != nil {
		return "", err
	}
	defer b.leave()
	name, err := C.golibevent_base_signal_method(b.c)
	if name == nil {
		return "", opError(op, err)
	}
	return C.GoString(name), nil
}

// Features returns what the backend can do.
//
// Wraps: event_base_get_features
func (b *Base) Features() Features { return b.features }

// SetPriorities sets the number of priorities, 1 to 255. It is meant for a new base:
// it returns EINVAL for other numbers, and when something has been made on the base or
// a LoopExit, Stop or Post waits; for fewer than a borrowed base has; and ErrRunning
// while the loop runs.
//
// Wraps: event_base_priority_init
func (b *Base) SetPriorities(n int) error {
	const op = "event_base_priority_init"
	if n < 1 || n > maxPriorities {
		return opError(op, syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	err := error(syscall.EINVAL)
	if n == int(C.event_base_get_npriorities(b.c.base)) {
		err = nil
	}
	// Nothing can be made meanwhile, with a priority that is about to go.
	b.children.WhileEmpty(func() {
		rc, errno := C.golibevent_base_priority_init(b.c, C.int(n))
		switch {
		case rc == 0:
			err = nil
		case errno != nil: // libevent itself gives no reason
			err = errno
		}
	})
	switch err {
	case nil:
		return nil
	case syscall.EBUSY:
		return &Error{op, ErrRunning}
	}
	return opError(op, err)
}

// Priorities returns the number of priorities, 0 after Close.
//
// Wraps: event_base_get_npriorities
func (b *Base) Priorities() int {
	if b.enter("event_base_get_npriorities") != nil {
		return 0
	}
	defer b.leave()
	return int(C.event_base_get_npriorities(b.c.base))
}

// NumEvents counts the events of the kinds that flags name. EVENT_BASE_COUNT_ADDED
// counts an event with a descriptor and a timeout twice, and once more while it is
// active, as in C. Unknown flags count nothing.
//
// Wraps: event_base_get_num_events
func (b *Base) NumEvents(flags CountFlags) int {
	if b.enter("event_base_get_num_events") != nil {
		return 0
	}
	defer b.leave()
	return int(C.golibevent_base_num_events(b.c, C.uint(flags&knownCountFlags)))
}

// MaxEvents returns the highest number of events there was of the kinds that flags
// name, and starts anew if clear is true. However many signals are waited for, they
// count as one.
//
// Wraps: event_base_get_max_events
func (b *Base) MaxEvents(flags CountFlags, clear bool) int {
	if b.enter("event_base_get_max_events") != nil {
		return 0
	}
	defer b.leave()
	var c C.int
	if clear {
		c = 1
	}
	return int(C.event_base_get_max_events(b.c.base, C.uint(flags&knownCountFlags), c))
}

// DumpEvents writes a line for each event that is pending or active to w, with libevent's
// own and those of bufferevents and listeners among them. It is for people to read, and
// differs between versions of libevent. An event of AddSignal is shown as the timer that
// stands for it in libevent, and only while it has a timeout or is active.
//
// w is written to once, when libevent has finished, and its error is returned as it is. A
// nil w is EINVAL.
//
// Wraps: event_base_dump_events
func (b *Base) DumpEvents(w io.Writer) error {
	const op = "event_base_dump_events"
	if w == nil {
		return opError(op, syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	var n C.size_t
	text, err := C.golibevent_base_dump_events(b.c, &n)
	b.leave()
	if text == nil {
		return opError(op, err)
	}
	defer C.free(unsafe.Pointer(text))
	// A copy, for a writer that keeps it.
	_, err = w.Write(slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(text)), n)))
	return err
}

// CachedTime returns the wall-clock time that the loop read in this pass, which is
// what timeouts count from. Outside a callback it is the time now. After Close it is
// the zero Time.
//
// Wraps: event_base_gettimeofday_cached
func (b *Base) CachedTime() time.Time {
	if b.enter("event_base_gettimeofday_cached") != nil {
		return time.Time{}
	}
	defer b.leave()
	var ns C.int64_t
	if C.golibevent_base_time(b.c, &ns) == -1 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

// UpdateCachedTime makes the loop read the clock again, for timeouts that a callback
// sets after it has worked for long. Outside a callback it does nothing.
//
// Wraps: event_base_update_cache_time
func (b *Base) UpdateCachedTime() error {
	const op = "event_base_update_cache_time"
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	if rc, err := C.event_base_update_cache_time(b.c.base); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Monotonic returns the time of the clock that timeouts are measured with. It has no
// meaning but in differences.
//
// Wraps: event_gettime_monotonic
func (b *Base) Monotonic() time.Duration {
	if b.enter("event_gettime_monotonic") != nil {
		return 0
	}
	defer b.leave()
	var ns C.int64_t
	C.golibevent_base_monotonic(b.c, &ns)
	return time.Duration(ns)
}

// InitCommonTimeout makes timeouts of exactly d cheap: adding, deleting and firing
// one costs a constant time, however many there are. It holds for what is added from
// then on. d is rounded up to 1 µs. It returns EINVAL unless d > 0, and ENOSPC after
// 256 durations.
//
// Wraps: event_base_init_common_timeout
func (b *Base) InitCommonTimeout(d time.Duration) error {
	const op = "event_base_init_common_timeout"
	us, err := microseconds(d)
	if err != nil || us == 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	if rc, err := C.golibevent_base_init_common_timeout(b.c, us); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// microseconds rounds d up. A negative d, or one that C's time_t cannot hold, is
// EINVAL.
func microseconds(d time.Duration) (C.int64_t, error) {
	us := d / time.Microsecond
	if d%time.Microsecond > 0 {
		us++
	}
	const maxSeconds = 1<<(8*C.sizeof_time_t-1) - 1
	if d < 0 || int64(us/1e6) > maxSeconds {
		return 0, syscall.EINVAL
	}
	return C.int64_t(us), nil
}
