package libevent

/*
#include "callbacks.h"
#cgo nocallback golibevent_event_new
#cgo nocallback golibevent_event_new_add
#cgo nocallback golibevent_event_add
#cgo nocallback golibevent_event_active
#cgo nocallback golibevent_event_end
#cgo noescape golibevent_event_pending
#cgo nocallback golibevent_event_pending
#cgo noescape golibevent_base_events
#cgo nocallback golibevent_base_events
#cgo nocallback golibevent_base_active_by_signal
#cgo nocallback event_base_active_by_fd
*/
import "C"

import (
	"io"
	"iter"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
	"github.com/go-libevent/libevent/internal/slots"
)

// EventCallback is what an Event calls when something happened. what says what: the
// EV_* constants ORed. It returns what to wait for next:
//
//   - LEAVE deletes the event and frees it.
//   - 0, 0 changes nothing.
//   - newEvents alone replaces the registered interest; the timeout in force stays.
//   - newTimeout > 0 is the new timeout, rounded up to 1 µs; NoTimeout removes it.
//
// EV_PERSIST and EV_TIMEOUT in newEvents carry no interest: EV_TIMEOUT alone drops the
// descriptor and keeps the timeout. What cannot be done, as an unknown bit or a
// negative timeout other than NoTimeout, closes the event and ends the loop, and
// Dispatch returns the Error.
type EventCallback func(what Events) (newEvents Events, newTimeout time.Duration)

// Event waits for a descriptor, a timeout or a signal, and calls its callback each
// time until it is deleted: every event is persistent.
//
// A pending event keeps itself alive: it goes on when the program drops the handle.
// Its methods are safe from any goroutine; after Close they return ErrClosed, or a
// zero value.
//
// Wraps: struct event
type Event struct {
	c      *C.struct_golibevent_event
	base   *Base
	fn     EventCallback
	fd     int32 // descriptor, signal, or -1
	signal bool
	once   bool // closed before its callback is called
	life   life.Life
	flags  atomic.Uint32 // isMade, isFile, isWaited
	handle uintptr
	node   own.Node
}

const (
	isMade   = 1 << iota // c is set, for who finds the event in its base
	isFile               // the descriptor was seen to be no socket, and non-blocking
	isWaited             // Finalize has given the base a function for its end
)

var (
	_ io.Reader = (*Event)(nil)
	_ io.Writer = (*Event)(nil)
	_ io.Closer = (*Event)(nil)
)

// events finds the Event of a C callback's handle.
var events slots.Table[Event]

// AddEvent makes an event and adds it. fd is a descriptor, or a signal with EV_SIGNAL,
// or -1 for a pure timer. With a descriptor, events is what to wait for, and timeout
// is how long until the callback gets EV_TIMEOUT instead, again and again; 0 and
// NoTimeout are none. A pure timer with timeout 0 fires once, in the next pass of the
// loop. Timeouts are rounded up to 1 µs.
//
// The descriptor should be non-blocking. It stays the caller's, who closes the Event
// before the descriptor.
//
// It returns EBADF for a descriptor that is not open, EPERM for one that the backend
// cannot watch, such as a regular file, ENOTSUP for EV_ET and EV_CLOSED where the backend
// lacks them, and EINVAL for a nil fn, an unknown or impossible combination of events, a
// mix of EV_ET and plain events on one descriptor, a signal that AddSignal refuses, a
// negative timeout other than NoTimeout, and a timer without a timeout.
//
// Wraps: event_new, event_add
func (b *Base) AddEvent(fd int, events Events, fn EventCallback, timeout time.Duration) (*Event, error) {
	us, err := addTimeout(events, timeout)
	if err != nil {
		return nil, opError("event_add", err)
	}
	return b.newEvent(fd, events, fn, us, added)
}

// NewEvent is AddEvent without the adding: the event waits for nothing until Add. Its
// errors are those of AddEvent.
//
// Wraps: event_new
func (b *Base) NewEvent(fd int, events Events, fn EventCallback) (*Event, error) {
	return b.newEvent(fd, events, fn, -1, idle)
}

// AddTimer adds an event that fires every d, rounded up to 1 µs. With d 0 it fires once,
// in the next pass of the loop. The next tick is d after the one before was due; ticks
// that were missed are not made up for. It returns EINVAL for a negative d and a nil fn.
//
// Wraps: evtimer_new, event_add
func (b *Base) AddTimer(d time.Duration, fn EventCallback) (*Event, error) {
	return b.AddEvent(-1, 0, fn, d)
}

// AddSignal adds an event that fires once for each delivery of sig, on this base and
// on every other that waits for it. While such an event is pending os/signal does not
// see sig; afterwards the signal's previous handling is restored.
//
// It returns EINVAL for a nil fn, for SIGKILL and SIGSTOP, and for the signals that the
// Go runtime needs: SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGPROF, SIGSEGV, SIGSYS, SIGTRAP,
// SIGURG, 32 and 33.
//
// Wraps: evsignal_new, event_add
func (b *Base) AddSignal(sig syscall.Signal, fn EventCallback) (*Event, error) {
	return b.AddEvent(int(sig), EV_SIGNAL, fn, NoTimeout)
}

// Once calls fn once, for events or after timeout, and is then gone. Its arguments and
// errors are those of AddEvent. If nothing happens before the base is closed, fn is not
// called.
//
// Wraps: event_base_once
func (b *Base) Once(fd int, events Events, fn func(what Events), timeout time.Duration) error {
	if fn == nil {
		return opError("event_base_once", syscall.EINVAL)
	}
	us, err := addTimeout(events, timeout)
	if err != nil {
		return opError("event_add", err)
	}
	_, err = b.newEvent(fd, events, func(what Events) (Events, time.Duration) {
		fn(what)
		return LEAVE, 0
	}, us, once)
	return err
}

// addTimeout gives C's form of the timeout of an event for events: microseconds, or -1.
func addTimeout(events Events, timeout time.Duration) (C.int64_t, error) {
	if timeout == NoTimeout || (timeout == 0 && events&interestEvents != 0) {
		return -1, nil
	}
	return microseconds(timeout)
}

// How an event begins.
const (
	idle = iota
	added
	once // added, and gone when it is called
)

// newEvent makes an event and, unless it is idle, adds it with a timeout of us.
func (b *Base) newEvent(fd int, interest Events, fn EventCallback, us C.int64_t, how int) (*Event, error) {
	const op = "event_new"
	if fn == nil {
		return nil, opError(op, syscall.EINVAL)
	}
	signal := interest&EV_SIGNAL != 0
	if err := b.check(fd, signal, interest); err != nil {
		return nil, opError(op, err)
	}
	interest &= interestEvents
	if how != idle && interest == 0 && us < 0 {
		return nil, opError("event_add", syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return nil, err
	}
	defer b.leave()
	ev := &Event{base: b, fn: fn, fd: int32(fd), signal: signal, once: how == once}
	ev.handle = events.Put(ev)
	if ev.handle == 0 {
		return nil, opError(op, syscall.ENOMEM)
	}
	// Before it is added: its callback may come, and close it, at once.
	ev.node.Child = ev
	ev.life.Enter()
	if !b.children.Add(&ev.node) {
		events.Delete(ev.handle)
		return nil, opError(op, ErrClosed)
	}
	var err error
	if how != idle {
		ev.c, err = C.golibevent_event_new_add(b.c, C.int(fd), C.short(interest), C.uintptr_t(ev.handle), us)
	} else {
		ev.c, err = C.golibevent_event_new(b.c, C.int(fd), C.short(interest), C.uintptr_t(ev.handle))
	}
	if ev.c == nil {
		ev.life.Close()
		events.Delete(ev.handle)
		ev.leave()
		return nil, opError(op, err)
	}
	ev.flags.Or(isMade)
	ev.leave()
	return ev, nil
}

// check says what is wrong with an interest in a descriptor, or signal, before C sees it.
func (b *Base) check(fd int, signal bool, interest Events) error {
	bits := interest & interestEvents
	switch {
	case interest&^knownEvents != 0:
		return syscall.EINVAL
	case signal:
		if bits != EV_SIGNAL || !signalAllowed(fd) {
			return syscall.EINVAL
		}
		return nil
	case bits&EV_SIGNAL != 0 || bits == EV_ET:
		return syscall.EINVAL
	case fd < -1 || fd > maxInt32 || (fd == -1 && bits != 0):
		return syscall.EBADF
	case bits&EV_ET != 0 && b.features&EV_FEATURE_ET == 0,
		bits&EV_CLOSED != 0 && b.features&EV_FEATURE_EARLY_CLOSE == 0:
		return syscall.ENOTSUP
	}
	return nil
}

// enter begins a call into C for op. If it returns nil the caller must leave.
func (ev *Event) enter(op string) error {
	if ev.base.broken.Load() {
		return &Error{op, ErrBroken}
	}
	if !ev.life.Enter() {
		return &Error{op, ErrClosed}
	}
	return nil
}

func (ev *Event) leave() {
	if ev.life.Leave() {
		ev.free()
	}
}

// free frees the event's C part when it is closed and no call is inside.
func (ev *Event) free() {
	if ev.c != nil { // newEvent has made it
		C.golibevent_event_free(ev.c)
	}
	if ev.flags.Load()&isWaited != 0 {
		if fn := ev.base.takeWaiting(ev); fn != nil {
			ev.base.end(fn)
		}
	}
	ev.base.children.Remove(&ev.node)
}

// Close deletes the event and frees it. Its callback does not come again, but one
// that is running on another goroutine is not waited for. Close may be called in the
// event's own callback, whose result is then ignored. The second Close does nothing.
//
// It is safe from any goroutine.
//
// Wraps: event_free, event_free_finalize
func (ev *Event) Close() error {
	_, err := ev.close("event_free", nil)
	return err
}

// close is Close for op, and says whether it was the first. c is the event's C part where
// that is known in its callback, which can come before newEvent has it; else nil.
func (ev *Event) close(op string, c *C.struct_golibevent_event) (first bool, err error) {
	if ev.base.broken.Load() {
		return false, &Error{op, ErrBroken}
	}
	first, free := ev.life.CloseInside()
	if first {
		events.Delete(ev.handle)
	}
	if free {
		ev.free()
	} else if first {
		ev.end(c)
		ev.leave()
	}
	return first, nil
}

// end is for Close while others are inside, who may stay: the descriptor is not watched
// any more when it returns, for it may be closed next.
func (ev *Event) end(c *C.struct_golibevent_event) {
	if c == nil && ev.flags.Load()&isMade != 0 {
		c = ev.c
	}
	if c != nil {
		C.golibevent_event_end(c)
	}
}

// Finalize is Close, and has fn called when the event's callback is over and cannot come
// any more: to close the descriptor from any goroutine. The loop runs fn like a posted
// function, after the callback that runs now; if no loop does, Base.Close runs it, which on
// a borrowed base does not wait for a callback.
//
// It is safe from any goroutine. It returns EINVAL for a nil fn, and ErrClosed when the
// event was closed before; fn is then not called.
//
// Wraps: event_finalize, event_free_finalize
func (ev *Event) Finalize(fn func()) error {
	const op = "event_free_finalize"
	if fn == nil {
		return opError(op, syscall.EINVAL)
	}
	// Before it is closed: fn is for whoever then frees it.
	if !ev.base.putWaiting(ev, fn) {
		return &Error{op, ErrClosed}
	}
	ev.flags.Or(isWaited)
	first, err := ev.close(op, nil)
	if first {
		return nil
	}
	if ev.base.takeWaiting(ev) == nil { // another Close has come between, and it is called
		return nil
	}
	if err == nil {
		err = &Error{op, ErrClosed}
	}
	return err
}

// Add makes the event pending, with timeout as in AddEvent: 0 and NoTimeout are none,
// but a pure timer fires once at 0 and refuses NoTimeout with EINVAL. On a pending
// event it replaces the timeout.
//
// It is safe from any goroutine. It returns the errors of AddEvent.
//
// Wraps: event_add
func (ev *Event) Add(timeout time.Duration) error {
	const op = "event_add"
	if err := ev.enter(op); err != nil {
		return err
	}
	defer ev.leave()
	us, err := addTimeout(Events(C.golibevent_event_get_events(ev.c)), timeout)
	if err != nil {
		return opError(op, err)
	}
	if rc, err := C.golibevent_event_add(ev.c, us); rc == -1 {
		if ev.life.Closed() {
			err = ErrClosed
		}
		return opError(op, err)
	}
	return nil
}

// Del makes the event not pending; Add makes it so again. Called on another goroutine
// than the loop's it waits until the event's callback, if it is running, has returned:
// that callback must not wait for the caller, and its result is ignored. After a Del in
// the event's own callback, a result that asks for events or a timeout adds the event
// again.
//
// It is safe from any goroutine.
//
// Wraps: event_del, event_del_block
func (ev *Event) Del() error {
	const op = "event_del"
	if err := ev.enter(op); err != nil {
		return err
	}
	defer ev.leave()
	if rc, err := C.golibevent_event_del(ev.c); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// RemoveTimer removes the timeout and keeps the rest of the event pending. It is safe
// from any goroutine.
//
// Wraps: event_remove_timer
func (ev *Event) RemoveTimer() error {
	const op = "event_remove_timer"
	if err := ev.enter(op); err != nil {
		return err
	}
	defer ev.leave()
	if rc, err := C.golibevent_event_remove_timer(ev.c); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Activate makes the loop call the callback with what, whether or not the event is
// pending and what it waits for. Until that happens further calls are joined into the
// same one. It is safe from any goroutine. It returns EINVAL for no or unknown events.
//
// Wraps: event_active
func (ev *Event) Activate(what Events) error {
	const op = "event_active"
	const allowed = EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL | EV_CLOSED
	if what == 0 || what&^allowed != 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := ev.enter(op); err != nil {
		return err
	}
	defer ev.leave()
	C.golibevent_event_active(ev.c, C.short(what))
	return nil
}

// ActivateByFD is Activate for all pending events of the descriptor fd that wait for any
// of what; each gets the part that it waits for. what is made of EV_READ, EV_WRITE and
// EV_CLOSED. The events of bufferevents and listeners are among them. A number that no
// event waits for does nothing.
//
// It is safe from any goroutine. It returns EBADF for a negative fd, and EINVAL for no or
// other events.
//
// Wraps: event_base_active_by_fd
func (b *Base) ActivateByFD(fd int, what Events) error {
	const op = "event_base_active_by_fd"
	switch {
	case what == 0 || what&^ioEvents != 0:
		return opError(op, syscall.EINVAL)
	case fd < 0 || fd > maxInt32:
		return opError(op, syscall.EBADF)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	C.event_base_active_by_fd(b.c.base, C.int(fd), C.short(what))
	return nil
}

// ActivateBySignal is Activate with EV_SIGNAL for all pending events of the signal sig, as
// if it had been delivered to this base alone; but calls that come before the callback are
// joined into one. A signal that no event waits for does nothing.
//
// It is safe from any goroutine. It returns EINVAL for a number that is no signal's.
//
// Wraps: event_base_active_by_signal
func (b *Base) ActivateBySignal(sig syscall.Signal) error {
	const op = "event_base_active_by_signal"
	if sig <= 0 || sig >= maxSignal {
		return opError(op, syscall.EINVAL)
	}
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	C.golibevent_base_active_by_signal(b.c, C.int(sig))
	return nil
}

// Events returns an iterator over the events of the base that are pending or active, in no
// particular order. An event that is closed while the iteration is under way, and has not
// been reached yet, is left out; one that is added meanwhile does not come any more. The
// loop may go on, and the body of the iteration may do what it likes with the events.
//
// Only what NewEvent, AddEvent and their like have made on this Base is there, and not the
// events of libevent, bufferevents and listeners, nor C's on a borrowed base: see DumpEvents.
// It is safe from any goroutine. After Close there are none.
//
// Wraps: event_base_foreach_event
func (b *Base) Events() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for _, handle := range b.eventHandles() {
			ev := events.Get(uintptr(handle))
			if ev != nil && ev.flags.Load()&isMade != 0 && !yield(ev) {
				return
			}
		}
	}
}

// eventHandles returns the handles of the events that are pending or active. No Go code runs
// while C finds them: C holds locks then.
func (b *Base) eventHandles() []C.uintptr_t {
	if b.enter("event_base_foreach_event") != nil {
		return nil
	}
	defer b.leave()
	handles := make([]C.uintptr_t, 16)
	for {
		n := int(C.golibevent_base_events(b.c, &handles[0], C.size_t(len(handles))))
		if n <= len(handles) {
			return handles[:n]
		}
		handles = make([]C.uintptr_t, n+n/8) // there may be more by then
	}
}

// Pending returns which of what the event waits for, or is about to be called with. It
// is safe from any goroutine.
//
// Wraps: event_pending
func (ev *Event) Pending(what Events) Events {
	pending, _ := ev.pending(what)
	return pending
}

// Deadline returns when the timeout fires, by the wall clock; ok says that there is
// one. It is safe from any goroutine.
//
// Wraps: event_pending
func (ev *Event) Deadline() (t time.Time, ok bool) {
	pending, ns := ev.pending(EV_TIMEOUT)
	if pending == 0 || ns == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(ns)), true
}

func (ev *Event) pending(what Events) (Events, C.int64_t) {
	if ev.enter("event_pending") != nil {
		return 0, 0
	}
	defer ev.leave()
	var ns C.int64_t
	pending := C.golibevent_event_pending(ev.c, C.short(what&knownEvents), &ns)
	return Events(pending), ns
}

// SetPriority sets the event's priority: 0 runs before 1, and so on. A new event has
// the middle one. It returns EINVAL when there is no such priority, and while the
// callback is about to run. It is safe from any goroutine.
//
// Wraps: event_priority_set
func (ev *Event) SetPriority(priority int) error {
	const op = "event_priority_set"
	if priority < 0 || priority > maxPriorities {
		return opError(op, syscall.EINVAL)
	}
	if err := ev.enter(op); err != nil {
		return err
	}
	defer ev.leave()
	if rc, err := C.golibevent_event_priority_set(ev.c, C.int(priority)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Priority returns the event's priority. It is safe from any goroutine.
//
// Wraps: event_get_priority
func (ev *Event) Priority() int {
	if ev.enter("event_get_priority") != nil {
		return 0
	}
	defer ev.leave()
	return int(C.golibevent_event_get_priority(ev.c))
}

// FD returns the descriptor, the signal's number, or -1 for a pure timer. It is safe
// from any goroutine, also after Close.
//
// Wraps: event_get_fd
func (ev *Event) FD() int { return int(ev.fd) }

// Events returns the registered interest, without EV_TIMEOUT and EV_PERSIST. It is safe
// from any goroutine.
//
// Wraps: event_get_events
func (ev *Event) Events() Events {
	if ev.enter("event_get_events") != nil {
		return 0
	}
	defer ev.leave()
	return Events(C.golibevent_event_get_events(ev.c))
}

// Base returns the base that the event was made on.
//
// Wraps: event_get_base
func (ev *Event) Base() *Base { return ev.base }

// Read reads from the descriptor with one system call that does not wait, and costs less
// than any other way to read in a callback. It returns syscall.EAGAIN when there is
// nothing to read, io.EOF at the end of a stream, the system's errno, and EINVAL when the
// descriptor is not a socket and blocks.
//
// It is safe from any goroutine, for as long as the descriptor stays open.
func (ev *Event) Read(p []byte) (int, error) {
	if err := ev.transferable("read"); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, errno := 0, syscall.ENOTSOCK
	if ev.flags.Load()&isFile == 0 {
		n, errno = rawRecv(ev.FD(), p)
	}
	if errno == syscall.ENOTSOCK {
		if err := ev.nonblocking("read"); err != nil {
			return 0, err
		}
		n, errno = rawRead(ev.FD(), p)
	}
	switch {
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes to the descriptor with one system call that does not wait. It returns what
// was taken of p and, when that is less than all, syscall.EAGAIN or the system's errno;
// EINVAL when the descriptor is not a socket and blocks.
//
// It is safe from any goroutine, for as long as the descriptor stays open.
func (ev *Event) Write(p []byte) (int, error) {
	if err := ev.transferable("write"); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, errno := 0, syscall.ENOTSOCK
	if ev.flags.Load()&isFile == 0 {
		n, errno = rawSend(ev.FD(), p)
	}
	if errno == syscall.ENOTSOCK {
		if err := ev.nonblocking("write"); err != nil {
			return 0, err
		}
		n, errno = rawWrite(ev.FD(), p)
	}
	switch {
	case errno != 0:
		return 0, errno
	case n < len(p):
		return n, syscall.EAGAIN
	}
	return n, nil
}

// transferable says whether the event has something to read from and write to.
func (ev *Event) transferable(op string) error {
	switch {
	case ev.life.Closed():
		return &Error{op, ErrClosed}
	case ev.fd < 0 || ev.signal:
		return &Error{op, syscall.EBADF}
	}
	return nil
}

// nonblocking says whether a system call may be made on a descriptor that is no socket:
// one that waits would stop the loop and the garbage collector.
func (ev *Event) nonblocking(op string) error {
	if ev.flags.Load()&isFile != 0 {
		return nil
	}
	flags, errno := statusFlags(ev.FD())
	if errno != 0 {
		return &Error{op, errno}
	}
	if flags&syscall.O_NONBLOCK == 0 {
		return &Error{op, syscall.EINVAL}
	}
	ev.flags.Or(isFile)
	return nil
}

// serve calls the callback and tells C, in v, what it wants.
func (ev *Event) serve(what Events, v *C.struct_golibevent_verdict) {
	b := ev.base
	returned := false
	defer b.caught(&returned, &v.stop)
	if ev.once {
		_, _ = ev.close("event_free", v.event)
	}
	next, timeout := ev.fn(what)
	returned = true
	switch {
	case next == LEAVE:
		ev.release(v)
	case (next != 0 || timeout != 0) && !ev.life.Closed():
		if err := ev.decide(next, timeout, v); err != nil {
			b.fail(opError("event_add", err))
			v.stop = 1
			ev.release(v)
		}
	}
}

// decide puts a callback's result into v.
func (ev *Event) decide(next Events, timeout time.Duration, v *C.struct_golibevent_verdict) error {
	if next&^EV_PERSIST != 0 {
		if err := ev.base.check(ev.FD(), ev.signal, next); err != nil {
			return err
		}
		v.set_events, v.events = 1, C.short(next&interestEvents)
	}
	switch {
	case timeout == NoTimeout:
		v.set_timeout, v.timeout = 1, -1
	case timeout != 0:
		us, err := microseconds(timeout)
		if err != nil {
			return err
		}
		v.set_timeout, v.timeout = 1, us
	}
	return nil
}

// release is Close for C to carry out after the callback.
func (ev *Event) release(v *C.struct_golibevent_verdict) {
	first, free := ev.life.CloseInside()
	// Also when a Close elsewhere was first: it may not have come this far, and the
	// callback must not come again.
	events.Delete(ev.handle)
	if first && free {
		v.leave = 1
		ev.base.children.Remove(&ev.node)
	} else if first {
		ev.end(v.event)
		ev.leave()
	}
}
