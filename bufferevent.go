package libevent

/*
#include <sys/socket.h>
#include "callbacks.h"
#cgo nocallback golibevent_bufferevent_new
#cgo nocallback golibevent_bufferevent_pair_new
#cgo nocallback golibevent_bufferevent_setcb
#cgo nocallback golibevent_bufferevent_priority_set
#cgo nocallback golibevent_bufferevent_lock
#cgo nocallback golibevent_thread
#cgo nocallback golibevent_bufferevent_base_set
#cgo nocallback golibevent_bufferevent_unstick
#cgo nocallback bufferevent_get_enabled
#cgo nocallback golibevent_bufferevent_get_priority
#cgo nocallback bufferevent_getfd
#cgo noescape bufferevent_getwatermark
#cgo nocallback bufferevent_getwatermark
#cgo nocallback bufferevent_get_input
#cgo nocallback bufferevent_get_output
#cgo nocallback bufferevent_get_max_single_read
#cgo nocallback bufferevent_get_max_single_write
#cgo nocallback bufferevent_set_max_single_read
#cgo nocallback bufferevent_set_max_single_write
*/
import "C"

import (
	"io"
	"math"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
	"github.com/go-libevent/libevent/internal/slots"
)

// directions are the events that a BufferEvent knows.
const directions = EV_READ | EV_WRITE

// BufferEvent is a connection with a buffer each way: it reads into its input while
// EV_READ is enabled, writes what is put into its output while EV_WRITE is, and calls
// back when there is something to do. A new one has EV_WRITE enabled and EV_READ not.
//
// # Callbacks
//
// Without BEV_OPT_DEFER_CALLBACKS callbacks run as soon as their cause is seen, which can
// be inside a call of a method. With it they run from the loop: first
// BEV_EVENT_CONNECTED, then the read callback, the write callback, and the other events
// ORed. When a callback panics inside a method and no loop of the base runs on the
// goroutine, the method panics with the *CallbackPanic; else Dispatch does. A callback
// that runs inside a method can run no loop and close no base. No callback comes after
// Close.
//
// # Goroutines
//
// Without BEV_OPT_THREADSAFE every method is for the loop only. With it they are safe
// from any goroutine, but the lock is held while a callback runs: whoever calls a
// method elsewhere waits until the callback has returned, and two loops that write to
// each other's BufferEvents lock each other out. BEV_OPT_THREADSAFE,
// BEV_OPT_DEFER_CALLBACKS and BEV_OPT_UNLOCK_CALLBACKS together have neither effect.
// Methods that are safe without a lock say so.
//
// # Flow control
//
// A read callback that leaves the input at its high watermark, with EV_READ enabled, is
// called again at once, and nothing else is: disable EV_READ instead.
//
// Wraps: struct bufferevent
type BufferEvent struct {
	c       *C.struct_bufferevent
	base    atomic.Pointer[Base]
	handle  uintptr
	life    life.Life
	options uint32 // BufferEventOptions, and unviewed
	node    own.Node

	input, output Buffer

	callbacks atomic.Pointer[bufferEventCallbacks]
	view      *C.struct_golibevent_view // in a read callback; see view.go
	extra     atomic.Pointer[bufferEventExtra]

	uses  uint32  // without a lock, written by every call: misuse shows in the race detector
	last  outcome // the last event
	ended outcome // the event that ended reading

	eager   atomic.Uint32 // what SetEager has set, and whether that waits
	told    atomic.Bool   // the write callback is due for what was sent eagerly
	refusal atomic.Uint32 // the errno that an eager write has met
}

// What the field eager says.
const (
	eagerOn      = 1 << iota // SetEager has been called
	eagerWatched             // the output has callbacks, which are to see what is sent
)

// bufferEventExtra is what few BufferEvents need.
type bufferEventExtra struct {
	sharing
	partner *BufferEvent           // the other one of a pair
	filter  *filter                // of a filter
	above   atomic.Pointer[filter] // the filter on top of it
	limit   atomic.Pointer[rateLimit]
	limits  *C.struct_golibevent_limits // C's part of that
}

// sharing is what there is to a lock.
type sharing struct {
	holder atomic.Uintptr // the thread that holds the lock
	held   atomic.Int32   // how often
}

type bufferEventCallbacks struct {
	read, write func(*BufferEvent)
	event       func(*BufferEvent, BufferEvents)
}

var (
	_ io.ReadWriteCloser = (*BufferEvent)(nil)
	_ io.StringWriter    = (*BufferEvent)(nil)
)

var (
	// bufferEvents finds the BufferEvent of a C callback's handle.
	bufferEvents slots.Table[BufferEvent]

	// panics keeps the panics that are on their way through C.
	panics slots.Table[CallbackPanic]

	noCallbacks bufferEventCallbacks
)

// NewBufferEvent makes a BufferEvent for a connected socket, or, with fd -1, for one
// that Connect or SetFD will give it.
//
// With BEV_OPT_CLOSE_ON_FREE the socket becomes the BufferEvent's: it is made
// non-blocking, and closed after Close by the loop's next pass, or by Base.Close when
// no loop runs. Else it stays the caller's, who makes it non-blocking and closes it
// after the BufferEvent. When an error is returned the socket is the caller's.
//
// It returns EBADF for a descriptor that is not open, EPERM for a regular file and a
// directory that the backend cannot watch, and EINVAL for unknown options, for
// BEV_OPT_UNLOCK_CALLBACKS without BEV_OPT_DEFER_CALLBACKS, and for a descriptor beyond
// FD_SETSIZE on the select backend. Of other descriptors that cannot be watched, such as
// /dev/null with epoll, Enable tells, and the event callback when something is written.
//
// It is safe from any goroutine.
//
// Wraps: bufferevent_socket_new
func (b *Base) NewBufferEvent(fd int, options BufferEventOptions) (*BufferEvent, error) {
	const op = "bufferevent_socket_new"
	if err := checkBufferEventOptions(options); err != nil {
		return nil, opError(op, err)
	}
	if fd < -1 || fd > maxInt32 {
		return nil, opError(op, syscall.EBADF)
	}
	if err := b.enter(op); err != nil {
		return nil, err
	}
	defer b.leave()
	bev, err := b.reserveBufferEvent(op, options)
	if err != nil {
		return nil, err
	}
	c, err := C.golibevent_bufferevent_new(b.c, C.int(fd), C.int(options), C.uintptr_t(bev.handle))
	if c == nil {
		bev.abandon()
		return nil, opError(op, err)
	}
	bev.adopt(c)
	bev.output.state.Store(bufferDrains)
	return bev, nil
}

// NewBufferEventPair makes two BufferEvents without a socket: what is written to one
// can be read from the other. Their callbacks are always deferred. With
// BEV_OPT_THREADSAFE they share one lock. Each is to be closed; BEV_OPT_CLOSE_ON_FREE
// says nothing about the partner.
//
// They cannot Connect, and have neither FD nor SetFD nor SetPriority, which return
// ENOTSUP. The errors are those of NewBufferEvent. It is safe from any goroutine.
//
// Wraps: bufferevent_pair_new
func (b *Base) NewBufferEventPair(options BufferEventOptions) (first, second *BufferEvent, err error) {
	const op = "bufferevent_pair_new"
	if err := checkBufferEventOptions(options); err != nil {
		return nil, nil, opError(op, err)
	}
	if err := b.enter(op); err != nil {
		return nil, nil, err
	}
	defer b.leave()
	first, err = b.reserveBufferEvent(op, options)
	if err != nil {
		return nil, nil, err
	}
	second, err = b.reserveBufferEvent(op, options)
	if err != nil {
		first.abandon()
		return nil, nil, err
	}
	pair, err := C.golibevent_bufferevent_pair_new(b.c, C.int(options),
		C.uintptr_t(first.handle), C.uintptr_t(second.handle))
	if pair.bev[0] == nil {
		second.abandon()
		first.abandon()
		return nil, nil, opError(op, err)
	}
	first.options |= unviewed
	second.options |= unviewed
	first.more().partner, second.more().partner = second, first
	first.adopt(pair.bev[0])
	second.adopt(pair.bev[1])
	first.input.state.Or(bufferPaired)
	second.input.state.Or(bufferPaired)
	return first, second, nil
}

func checkBufferEventOptions(options BufferEventOptions) error {
	const unlock = BEV_OPT_UNLOCK_CALLBACKS | BEV_OPT_DEFER_CALLBACKS
	if options&^knownBufferEventOptions != 0 || options&unlock == BEV_OPT_UNLOCK_CALLBACKS {
		return syscall.EINVAL
	}
	return nil
}

// reserveBufferEvent makes the Go side of a BufferEvent, with a call inside it. What
// follows is adopt or abandon.
func (b *Base) reserveBufferEvent(op string, options BufferEventOptions) (*BufferEvent, error) {
	bev := &BufferEvent{options: uint32(options)}
	bev.base.Store(b)
	bev.callbacks.Store(&noCallbacks)
	bev.handle = bufferEvents.Put(bev)
	if bev.handle == 0 {
		return nil, opError(op, syscall.ENOMEM)
	}
	bev.node.Child = bev
	bev.life.Enter()
	if !b.children.Add(&bev.node) {
		bufferEvents.Delete(bev.handle)
		return nil, opError(op, ErrClosed)
	}
	return bev, nil
}

// adopt completes a BufferEvent with its C part.
func (bev *BufferEvent) adopt(c *C.struct_bufferevent) {
	bev.c = c
	bev.input = Buffer{c: C.bufferevent_get_input(c), owner: bev}
	bev.output = Buffer{c: C.bufferevent_get_output(c), owner: bev}
	if f := bev.filter(); f != nil {
		f.adopted.Store(true)
	}
	bev.leave()
}

// abandon drops a BufferEvent whose C part could not be made.
func (bev *BufferEvent) abandon() {
	bev.life.Close()
	bev.life.Leave()
	bufferEvents.Delete(bev.handle)
	bev.Base().children.Remove(&bev.node)
}

// has says whether the BufferEvent was made with an option.
func (bev *BufferEvent) has(option BufferEventOptions) bool {
	return BufferEventOptions(bev.options)&option != 0
}

// more returns what few BufferEvents need.
func (bev *BufferEvent) more() *bufferEventExtra {
	if bev.extra.Load() == nil {
		bev.extra.CompareAndSwap(nil, &bufferEventExtra{limits: new(C.struct_golibevent_limits)})
	}
	return bev.extra.Load()
}

// partner returns the other one of a pair, or nil.
func (bev *BufferEvent) partner() *BufferEvent {
	if extra := bev.extra.Load(); extra != nil {
		return extra.partner
	}
	return nil
}

// filter returns what a filter is, or nil.
func (bev *BufferEvent) filter() *filter {
	if extra := bev.extra.Load(); extra != nil {
		return extra.filter
	}
	return nil
}

// above returns the filter on top of the BufferEvent, or nil.
func (bev *BufferEvent) above() *filter {
	if extra := bev.extra.Load(); extra != nil {
		return extra.above.Load()
	}
	return nil
}

// isSocket says whether the BufferEvent is neither one of a pair nor a filter.
func (bev *BufferEvent) isSocket() bool { return bev.partner() == nil && bev.filter() == nil }

// enter begins a call into C for op. If it returns nil the caller must leave.
func (bev *BufferEvent) enter(op string) error {
	if bev.Base().broken.Load() {
		return &Error{op, ErrBroken}
	}
	if !bev.life.Enter() {
		return &Error{op, ErrClosed}
	}
	if !bev.has(BEV_OPT_THREADSAFE) {
		bev.uses++
	}
	if bev.view != nil {
		bev.settle()
	}
	return nil
}

func (bev *BufferEvent) leave() {
	if bev.life.Leave() {
		bev.free()
	}
}

// free frees the C part when the BufferEvent is closed and no call is inside.
func (bev *BufferEvent) free() {
	lent := bev.isSocket() && !bev.has(BEV_OPT_CLOSE_ON_FREE)
	r := C.golibevent_bufferevent_free(bev.c, bev.limits(), C.bool(lent))
	bev.input.unwatch()
	bev.output.unwatch()
	bev.Base().children.Remove(&bev.node)
	defer bev.endCall(r)
	if f := bev.filter(); f != nil {
		f.uncover() // which may panic too
	}
}

// closed says whether Close was called: the buffers are then not to be used.
func (bev *BufferEvent) closed() bool { return bev.life.Closed() }

// Close frees the BufferEvent with its buffers and what they hold: output that has not
// been written is lost. A callback that is running is not interrupted, and no other
// comes. With BEV_OPT_CLOSE_ON_FREE the loop's next pass closes the socket; when no loop
// runs any more Base.Close does. A socket without that is the caller's when Close returns,
// or when the methods have in which other goroutines are; but a loop on another goroutine
// that is about to read or write may do so once more: let that loop close it, by Post. A
// filter on top of it is closed first. The second Close does nothing.
//
// It may be called in the BufferEvent's own callbacks. With BEV_OPT_THREADSAFE it is
// safe from any goroutine.
//
// Wraps: bufferevent_free
func (bev *BufferEvent) Close() error {
	if bev.Base().broken.Load() {
		return &Error{"bufferevent_free", ErrBroken}
	}
	first, free := bev.life.Close()
	if !first {
		return nil
	}
	bufferEvents.Delete(bev.handle)
	if f := bev.above(); f != nil {
		_ = f.bev.Close()
	}
	if bev.view != nil {
		bev.settle()
	}
	if free {
		bev.free()
	}
	return nil
}

// SetCallbacks sets what is called when there is input of at least the low watermark,
// when the output has been written down to its low watermark, and when something else
// has happened, which event tells: an end, an error, a timeout, a connection made. A nil
// function is none.
//
// After BEV_EVENT_EOF, and after an error or timeout with BEV_EVENT_READING, EV_READ is
// disabled; after one with BEV_EVENT_WRITING EV_WRITE is. A failed connect is
// BEV_EVENT_ERROR alone. Err says what went wrong. It is an error too when the backend
// cannot watch the socket: what was written then stays in the output, and Enable tries
// again.
//
// While a filter is on top of the BufferEvent nothing is called here: the filter's
// callbacks are.
//
// Wraps: bufferevent_setcb
func (bev *BufferEvent) SetCallbacks(read, write func(*BufferEvent), event func(*BufferEvent, BufferEvents)) {
	if bev.enter("bufferevent_setcb") != nil {
		return
	}
	defer bev.leave()
	bev.callbacks.Store(&bufferEventCallbacks{read, write, event})
	bev.setCallbacks()
}

// Callbacks returns what SetCallbacks has set. It is safe from any goroutine, also after
// Close.
//
// Wraps: bufferevent_getcb
func (bev *BufferEvent) Callbacks() (read, write func(*BufferEvent), event func(*BufferEvent, BufferEvents)) {
	callbacks := bev.callbacks.Load()
	return callbacks.read, callbacks.write, callbacks.event
}

// told is what C is told of callbacks.
type told struct {
	callbacks *bufferEventCallbacks
	eager     bool
	closed    *C.struct_bufferevent // a filter whose callbacks are there no more, or nil
}

// toTell returns what C is to be told now, and false when it is the filter on top that has
// set the callbacks.
func (bev *BufferEvent) toTell() (t told, ok bool) {
	t = told{callbacks: bev.callbacks.Load(), eager: bev.Eager()}
	if f := bev.above(); f != nil {
		if !f.bev.closed() {
			return told{}, false
		}
		if f.adopted.Load() {
			t.closed = f.bev.c
		}
	}
	return t, true
}

// setCallbacks tells C which callbacks there are. C calls for events in any case: that
// is how Err learns of them. Those that a filter has set stay. What another goroutine has
// set meanwhile it may have told C first: it is told again then.
func (bev *BufferEvent) setCallbacks() {
	for t, ok := bev.toTell(); ok; {
		C.golibevent_bufferevent_setcb(bev.c, t.closed, C.uintptr_t(bev.handle),
			C.bool(t.callbacks.read != nil), C.bool(t.callbacks.write != nil), C.bool(t.eager),
			C.bool(!bev.has(BEV_OPT_THREADSAFE|unviewed)))
		before := t
		if t, ok = bev.toTell(); t == before {
			return
		}
	}
}

// SetEager makes the BufferEvent save system calls and turns of the loop that libevent
// makes, for more throughput and less latency:
//
//   - What Write, WriteString and WriteBuffer, or Write, WriteString, WriteByte and
//     AddBuffer of Output, put into an empty output is sent at once, as far as the socket
//     takes it; what is left waits in the output for the socket as always.
//   - A socket is read with one system call, up to MaxSingleRead bytes and 16384 at most,
//     where libevent takes two calls and 4096 bytes.
//
// The callbacks come as without it, in the same order and with the same watermarks; that
// of what was sent at once comes from the loop too, and so do errors. What was sent while
// no loop ran is told before what the loop then reads. It is off at first.
//
// It does nothing while EV_WRITE is disabled, a connect is under way or the rate is
// limited, with a descriptor that is no socket, and, with BEV_OPT_THREADSAFE, for
// WriteBuffer from another BufferEvent's buffer. It sends nothing at once while Output has
// callbacks, which are to see it. In a loop that C runs it reads as libevent does.
//
// It returns ENOTSUP for one of a pair, for a filter, and, unless it is to be off, for
// what a filter is on top of.
func (bev *BufferEvent) SetEager(on bool) error {
	const op = "bufferevent_setcb"
	if !bev.isSocket() || (on && bev.above() != nil) {
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	bev.setEager(on)
	if on && bev.above() != nil { // since
		bev.setEager(false)
		return opError(op, syscall.ENOTSUP)
	}
	return nil
}

func (bev *BufferEvent) setEager(on bool) {
	bev.setMode(eagerOn, on)
	bev.setCallbacks()
	bev.letEager()
}

// letEager has C be as eager as SetEager has set, in the way of setCallbacks.
func (bev *BufferEvent) letEager() {
	for {
		eager, limits := bev.Eager(), bev.limits()
		C.golibevent_bufferevent_set_eager(bev.c, C.bool(eager), limits)
		if eager == bev.Eager() && limits == bev.limits() {
			return
		}
	}
}

// setMode sets a bit of eager, or clears it.
func (bev *BufferEvent) setMode(mode uint32, on bool) {
	if on {
		bev.eager.Or(mode)
	} else {
		bev.eager.And(^mode)
	}
}

// Eager reports what SetEager has set. It is safe from any goroutine.
func (bev *BufferEvent) Eager() bool { return bev.eager.Load()&eagerOn != 0 }

// sendsAtOnce says whether what is written is to go to the socket at once.
func (bev *BufferEvent) sendsAtOnce() bool { return bev.eager.Load() == eagerOn }

// Enable starts reading with EV_READ and writing with EV_WRITE. Other events are EINVAL.
// When the backend refuses the socket nothing is enabled that was not before.
//
// Wraps: bufferevent_enable
func (bev *BufferEvent) Enable(events Events) error {
	const op = "bufferevent_enable"
	if events&^directions != 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	r, err := C.golibevent_bufferevent_enable(bev.c, C.short(events))
	return bev.finish(r, op, err)
}

// Disable stops reading with EV_READ and writing with EV_WRITE. Other events are EINVAL.
// The buffers keep what they hold, and a connect under way goes on.
//
// Wraps: bufferevent_disable
func (bev *BufferEvent) Disable(events Events) error {
	const op = "bufferevent_disable"
	if events&^directions != 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	r, err := C.golibevent_bufferevent_disable(bev.c, C.short(events))
	return bev.finish(r, op, err)
}

// Enabled returns which of EV_READ and EV_WRITE are enabled, 0 after Close.
//
// Wraps: bufferevent_get_enabled
func (bev *BufferEvent) Enabled() Events {
	if bev.enter("bufferevent_get_enabled") != nil {
		return 0
	}
	defer bev.leave()
	return Events(C.bufferevent_get_enabled(bev.c))
}

// SetWatermark sets the watermarks of the input with EV_READ, of the output with
// EV_WRITE, of both with both, in bytes. Reading stops while the input is at high, where
// 0 is no limit, and its callback comes when it has low bytes or more. The write
// callback comes when the output has low bytes or fewer; its high mark is for filters.
// All are 0 at first.
//
// It returns EINVAL for other events or none, for negative numbers, and for low > high
// > 0, which would stall for ever; and ENOMEM.
//
// Wraps: bufferevent_setwatermark
func (bev *BufferEvent) SetWatermark(events Events, low, high int) error {
	const op = "bufferevent_setwatermark"
	if events == 0 || events&^directions != 0 || low < 0 || high < 0 || (high > 0 && low > high) {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	r, err := C.golibevent_bufferevent_setwatermark(bev.c, C.short(events), C.size_t(low), C.size_t(high))
	return bev.finish(r, op, err)
}

// Watermark returns the watermarks of the input or the output: events is EV_READ or
// EV_WRITE, and EINVAL otherwise.
//
// Wraps: bufferevent_getwatermark
func (bev *BufferEvent) Watermark(events Events) (low, high int, err error) {
	const op = "bufferevent_getwatermark"
	if events != EV_READ && events != EV_WRITE {
		return 0, 0, opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return 0, 0, err
	}
	defer bev.leave()
	var l, h C.size_t
	C.bufferevent_getwatermark(bev.c, C.short(events), &l, &h)
	return int(l), int(h), nil
}

// SetTimeouts sets how long reading may bring nothing, while EV_READ is enabled, and how
// long writing may take nothing, while there is output and EV_WRITE is enabled, until the
// event callback gets BEV_EVENT_TIMEOUT. 0 and NoTimeout are none, as at first; what is
// set is rounded up to 1 µs. The write timeout limits a connect too. That of a filter
// counts from the last time that something went through, even if nothing is left.
//
// Other negative timeouts are EINVAL.
//
// Wraps: bufferevent_set_timeouts
func (bev *BufferEvent) SetTimeouts(read, write time.Duration) error {
	const op = "bufferevent_set_timeouts"
	r, err := optionalTimeout(read)
	if err != nil {
		return opError(op, err)
	}
	w, err := optionalTimeout(write)
	if err != nil {
		return opError(op, err)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if rc, err := C.golibevent_bufferevent_set_timeouts(bev.Base().c, bev.c, r, w); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// optionalTimeout gives C's form of a timeout that may be none: microseconds, or -1.
func optionalTimeout(d time.Duration) (C.int64_t, error) {
	if d == 0 || d == NoTimeout {
		return -1, nil
	}
	return microseconds(d)
}

// Input returns the buffer that is read into, always the same. It belongs to the
// BufferEvent and cannot be used after Close. It can be drained, not added to.
//
// It is safe from any goroutine.
//
// Wraps: bufferevent_get_input
func (bev *BufferEvent) Input() *Buffer { return &bev.input }

// Output returns the buffer that is written from, always the same. It belongs to the
// BufferEvent and cannot be used after Close. It can be added to, not drained.
//
// It is safe from any goroutine.
//
// Wraps: bufferevent_get_output
func (bev *BufferEvent) Output() *Buffer { return &bev.output }

// Read takes up to len(p) bytes out of the input; it never waits. With nothing there it
// returns syscall.EAGAIN, or, when the peer's end of the stream has been seen, io.EOF,
// or, when reading has failed, what Err returned then.
//
// Wraps: bufferevent_read
func (bev *BufferEvent) Read(p []byte) (int, error) {
	const op = "bufferevent_read"
	if n, ok := bev.take(p); ok {
		return n, nil
	}
	if err := bev.enter(op); err != nil {
		return 0, err
	}
	defer bev.leave()
	if len(p) == 0 {
		return 0, nil
	}
	// C counts what it has moved in an int.
	r := C.golibevent_bufferevent_read(bev.c, cBytes(p), C.size_t(min(len(p), maxInt32)))
	if err := bev.finish(r, op, syscall.EPERM); err != nil {
		return 0, err
	}
	if r.rc > 0 {
		return int(r.rc), nil
	}
	what, _ := bev.ended.load()
	switch {
	case what&BEV_EVENT_ERROR != 0:
		return 0, bev.ended.err()
	case what&BEV_EVENT_EOF != 0:
		return 0, io.EOF
	}
	return 0, syscall.EAGAIN
}

// Write copies p to the end of the output, all of it or nothing; it never waits. What
// cannot be written to the socket stays in the output, however much it is. It returns
// ENOMEM when there is no room for more; of an eager BufferEvent the socket may have
// taken a part by then, and Write returns how much.
//
// Wraps: bufferevent_write
func (bev *BufferEvent) Write(p []byte) (int, error) {
	return bev.write(unsafe.SliceData(p), len(p))
}

// WriteString is Write with a string.
//
// Wraps: bufferevent_write
func (bev *BufferEvent) WriteString(s string) (int, error) {
	return bev.write(unsafe.StringData(s), len(s))
}

func (bev *BufferEvent) write(p *byte, n int) (int, error) {
	const op = "bufferevent_write"
	sent := 0
	if bev.view != nil && n > 0 {
		if sent = bev.sendInView(p, n); sent == n {
			return n, nil
		}
		p = (*byte)(unsafe.Add(unsafe.Pointer(p), sent))
	}
	if err := bev.enter(op); err != nil {
		return sent, err
	}
	defer bev.leave()
	if n == 0 {
		return 0, nil
	}
	if bev.sendsAtOnce() {
		more, err := bev.send(op, p, n-sent)
		return sent + more, err
	}
	r := C.golibevent_bufferevent_write(bev.c, (*C.uint8_t)(p), C.size_t(n))
	if err := bev.finish(r, op, syscall.ENOMEM); err != nil {
		return 0, err
	}
	return n, nil
}

// send is write for an eager BufferEvent.
func (bev *BufferEvent) send(op string, p *byte, n int) (int, error) {
	sent, err := C.golibevent_bufferevent_send(bev.c, (*C.uint8_t)(p), C.size_t(n))
	if err := bev.sent(op, &sent, err); err != nil {
		return int(sent.n), err
	}
	return n, nil
}

// sends reports whether src may be sent eagerly. That takes src's lock while it holds
// bev's, which two that write to each other must not do.
func (bev *BufferEvent) sends(src *Buffer) bool {
	return bev.sendsAtOnce() &&
		(src.owner == nil || src.owner == bev || !bev.has(BEV_OPT_THREADSAFE))
}

// sendBuffer is send for all of src.
func (bev *BufferEvent) sendBuffer(op string, src *Buffer) error {
	sent, err := C.golibevent_bufferevent_send_buffer(bev.c, src.c)
	src.seeTo(sent.r.rc, err)
	return bev.sent(op, &sent, syscall.EPERM)
}

// sent keeps what C has learnt from an eager write, and returns err if that has failed.
func (bev *BufferEvent) sent(op string, sent *C.struct_golibevent_sent, err error) error {
	if sent.tells != 0 {
		bev.told.Store(true)
	}
	if sent.err != 0 {
		bev.refusal.Store(uint32(sent.err))
	}
	return bev.finish(sent.r, op, err)
}

// ReadBuffer moves all of the input to the end of dst, without copying. It returns
// EINVAL when dst is nil or the input itself, and EPERM when dst cannot be added to.
//
// Wraps: bufferevent_read_buffer
func (bev *BufferEvent) ReadBuffer(dst *Buffer) error {
	return bev.move("bufferevent_read_buffer", dst, &bev.input, false)
}

// WriteBuffer moves all of src to the end of the output, without copying. It returns
// EINVAL when src is nil or the output itself, EPERM when src cannot be drained, and
// ENOTSUP as Buffer.AddBuffer.
//
// Wraps: bufferevent_write_buffer
func (bev *BufferEvent) WriteBuffer(src *Buffer) error {
	return bev.move("bufferevent_write_buffer", src, &bev.output, true)
}

// move moves between own, which is the BufferEvent's, and other.
func (bev *BufferEvent) move(op string, other, own *Buffer, write bool) error {
	if other == nil || other == own {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if other.owner != nil {
		if err := other.owner.enter(op); err != nil {
			return err
		}
		defer other.owner.leave()
		if b := other.owner.Base(); b != bev.Base() { // as finish does with that
			b.inline.Add(1)
			defer b.inline.Add(-1)
		}
	}
	if err := other.enter(op); err != nil {
		return err
	}
	dst, src := other, own
	if write {
		dst, src = own, other
	}
	if err := dst.takes(src.state.Load() & bufferChunks); err != nil {
		return opError(op, err)
	}
	if write && bev.sends(other) {
		return bev.sendBuffer(op, other)
	}
	var r C.struct_golibevent_result
	var err error
	if write {
		r, err = C.golibevent_bufferevent_write_buffer(bev.c, other.c)
	} else {
		r, err = C.golibevent_bufferevent_read_buffer(bev.c, other.c)
	}
	other.seeTo(r.rc, err)
	return bev.finish(r, op, syscall.EPERM)
}

// Connect connects to a TCP address. It uses the descriptor of the BufferEvent or, if
// that has none, a new non-blocking one, closed on exec, which is the BufferEvent's with
// BEV_OPT_CLOSE_ON_FREE and else the caller's to close: FD returns it.
//
// How it went is told by the event callback: BEV_EVENT_CONNECTED, or BEV_EVENT_ERROR with
// the reason in Err. BEV_EVENT_TIMEOUT|BEV_EVENT_WRITING comes each time the write
// timeout has passed; the connect goes on. A connect that fails at once returns the
// error, closes the descriptor if it is a new one, and does not call the event callback,
// as in C; only ECONNREFUSED is left to the event callback and not returned.
//
// It returns EINVAL for an invalid address and for port 0. For a BufferEvent that has a
// descriptor already it is for the loop only.
//
// Wraps: bufferevent_socket_connect
func (bev *BufferEvent) Connect(address netip.AddrPort) error {
	const op = "bufferevent_socket_connect"
	if address.Port() == 0 {
		return opError(op, syscall.EINVAL)
	}
	sa, err := sockaddrIP(address)
	if err != nil {
		return opError(op, err)
	}
	family := syscall.AF_INET6
	if address.Addr().Is4() {
		family = syscall.AF_INET
	}
	return bev.connect(op, family, sa)
}

// ConnectUnix is Connect to a unix socket: a path, or on Linux a name that begins with
// "@" or NUL and is not in the file system. It returns EINVAL for one that is empty or too
// long and for a path with a NUL, and EAGAIN when the listener's backlog is full.
//
// Wraps: bufferevent_socket_connect
func (bev *BufferEvent) ConnectUnix(path string) error {
	const op = "bufferevent_socket_connect"
	sa, err := sockaddrUnix(path)
	if err != nil {
		return opError(op, err)
	}
	return bev.connect(op, syscall.AF_UNIX, sa)
}

// forget drops what was learnt of a socket before another comes.
func (bev *BufferEvent) forget() {
	bev.last.clear()
	bev.ended.clear()
	bev.refusal.Store(0)
}

func (bev *BufferEvent) connect(op string, family int, sa *sockaddr) error {
	if !bev.isSocket() {
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	fd := int(C.bufferevent_getfd(bev.c))
	made := fd < 0
	if made {
		var err error
		if fd, err = newStreamSocket(family); err != nil {
			return opError("socket", err)
		}
	}
	bev.forget()
	r, err := C.golibevent_bufferevent_connect(bev.Base().c, bev.c, C.int(fd), sa.pointer(), sa.len)
	if r.rc == -1 && made {
		_ = syscall.Close(fd)
	}
	return bev.finish(r, op, err)
}

// FD returns the descriptor, of a filter that of what is underneath; or -1 when there is
// none, for one of a pair, and after Close.
//
// Wraps: bufferevent_getfd
func (bev *BufferEvent) FD() int {
	if bev.enter("bufferevent_getfd") != nil {
		return -1
	}
	defer bev.leave()
	return int(C.bufferevent_getfd(bev.c))
}

// SetFD gives the BufferEvent another descriptor, with what NewBufferEvent says about it,
// or -1 for none. The previous one is not closed: it is the caller's again. What is
// enabled stays so, and the buffers keep what they hold. A filter gives it to what is
// underneath. The errors are those of NewBufferEvent, and ENOTSUP for one of a pair.
//
// It is for the loop only, unless there was no descriptor before.
//
// Wraps: bufferevent_setfd
func (bev *BufferEvent) SetFD(fd int) error {
	return bev.changeFD("bufferevent_setfd", fd, func(fd C.int) (C.struct_golibevent_result, error) {
		r, err := C.golibevent_bufferevent_setfd(bev.Base().c, bev.c, fd, C.int(bev.options))
		return r, err
	})
}

// ReplaceFD is SetFD, but closes the previous descriptor. It returns ENOTSUP before
// libevent 2.2, and for a filter.
//
// Wraps: bufferevent_replacefd
func (bev *BufferEvent) ReplaceFD(fd int) error {
	const op = "bufferevent_replacefd"
	if bev.filter() != nil {
		return opError(op, syscall.ENOTSUP)
	}
	return bev.changeFD(op, fd, func(fd C.int) (C.struct_golibevent_result, error) {
		r, err := C.golibevent_bufferevent_replacefd(bev.Base().c, bev.c, fd, C.int(bev.options))
		return r, err
	})
}

// changeFD checks for op what change then does.
func (bev *BufferEvent) changeFD(op string, fd int, change func(C.int) (C.struct_golibevent_result, error)) error {
	switch {
	case fd < -1 || fd > maxInt32:
		return opError(op, syscall.EBADF)
	case bev.partner() != nil:
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if f := bev.filter(); f != nil {
		return f.underlying.SetFD(fd)
	}
	bev.forget()
	r, err := change(C.int(fd))
	return bev.finish(r, op, err)
}

// SetBase moves the BufferEvent to another base, which then owns it. Nothing may happen
// to it meanwhile: no loop runs on either base, no other goroutine is in one of its
// methods, EV_READ is disabled, the output is empty, no connect is under way, it has no
// filter, and its rate was never limited. Nothing may be active on its own base, since it
// could be a deferred callback: a pass of the loop runs what is active.
//
// It returns EBUSY when that is not so, ErrRunning while a loop or a callback runs,
// ENOTSUP for one of a pair, for a filter, and for bases of BaseFromPointer, EINVAL for a
// nil base and for one with another number of priorities, and the errors that
// NewBufferEvent has for the descriptor.
//
// Wraps: bufferevent_base_set
func (bev *BufferEvent) SetBase(b *Base) error {
	const op = "bufferevent_base_set"
	switch {
	case b == nil:
		return opError(op, syscall.EINVAL)
	case !bev.isSocket():
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if err := b.enter(op); err != nil {
		return err
	}
	defer b.leave()
	from := bev.Base()
	switch {
	case from == b:
		return nil
	case from.c.borrowed != 0, b.c.borrowed != 0:
		return opError(op, syscall.ENOTSUP)
	}
	for _, base := range []*Base{from, b} {
		if base.inline.Load() > 0 || !base.running.CompareAndSwap(false, true) {
			return &Error{op, ErrRunning}
		}
		defer base.running.Store(false)
	}
	err := error(syscall.EBUSY)
	bev.life.Alone(func() {
		if limits := bev.limits(); bev.above() != nil || (limits != nil && limits.ever != 0) {
			return
		}
		var rc C.int
		if rc, err = C.golibevent_bufferevent_base_set(b.c, bev.c); rc == -1 {
			return
		}
		err = nil
		from.children.Remove(&bev.node)
		bev.base.Store(b)
		b.children.Add(&bev.node)
	})
	if err != nil {
		return opError(op, err)
	}
	return nil
}

// Trigger calls the read callback with EV_READ and the write callback with EV_WRITE, if
// the watermarks say so or options has BEV_TRIG_IGNORE_WATERMARKS. It calls them before
// it returns, unless callbacks are deferred or options has BEV_TRIG_DEFER_CALLBACKS.
//
// It returns EINVAL for other events or none, and for unknown options.
//
// Wraps: bufferevent_trigger
func (bev *BufferEvent) Trigger(events Events, options TriggerOptions) error {
	const op = "bufferevent_trigger"
	if events == 0 || events&^directions != 0 || options&^knownTriggerOptions != 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if options&BEV_TRIG_IGNORE_WATERMARKS != 0 {
		bev.told.Store(false)
	}
	r := C.golibevent_bufferevent_trigger(bev.c, C.short(events), C.int(options))
	return bev.finish(r, op, nil)
}

// TriggerEvent calls the event callback with what, at once or later as Trigger does.
// In BEV_EVENT_ERROR's case Err is then EIO.
//
// It returns EINVAL for unknown events or none, and for unknown options.
//
// Wraps: bufferevent_trigger_event
func (bev *BufferEvent) TriggerEvent(what BufferEvents, options TriggerOptions) error {
	const op = "bufferevent_trigger_event"
	if what == 0 || what&^knownBufferEvents != 0 || options&^knownTriggerOptions != 0 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	r := C.golibevent_bufferevent_trigger_event(bev.c, C.short(what), C.int(options))
	return bev.finish(r, op, nil)
}

// Flush moves data between a pair whatever the watermarks say, unless mode is
// BEV_NORMAL: to this one with EV_READ, to the partner with EV_WRITE. With BEV_FINISHED
// the partner's event callback gets BEV_EVENT_EOF, with BEV_EVENT_READING for EV_WRITE
// and BEV_EVENT_WRITING for EV_READ. For a socket it does nothing.
//
// Of a filter it calls the functions with mode, also without input for them unless mode
// is BEV_NORMAL, and then flushes what is underneath. It does not call the read callback.
//
// It returns EINVAL for other events or none and for an unknown mode, and ENOTCONN when
// the partner has been closed.
//
// Wraps: bufferevent_flush
func (bev *BufferEvent) Flush(events Events, mode FlushMode) error {
	const op = "bufferevent_flush"
	if events == 0 || events&^directions != 0 || mode < BEV_NORMAL || mode > BEV_FINISHED {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	r := C.golibevent_bufferevent_flush(bev.c, C.short(events), C.int(mode))
	return bev.finish(r, op, syscall.ENOTCONN)
}

// SetPriority sets the priority of the socket's events and of deferred callbacks: 0 runs
// before 1, and so on. A new BufferEvent has the middle one. While other callbacks of the
// base are about to run, deferred callbacks keep the one they had. It returns EINVAL when
// there is no such priority, and while the socket's own callback is about to run, and
// ENOTSUP for one of a pair and for a filter.
//
// Wraps: bufferevent_priority_set
func (bev *BufferEvent) SetPriority(priority int) error {
	const op = "bufferevent_priority_set"
	switch {
	case priority < 0 || priority > maxPriorities:
		return opError(op, syscall.EINVAL)
	case !bev.isSocket():
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	if rc, err := C.golibevent_bufferevent_priority_set(bev.c, C.int(priority)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Priority returns the priority, 0 after Close.
//
// Wraps: bufferevent_get_priority
func (bev *BufferEvent) Priority() int {
	if bev.enter("bufferevent_get_priority") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.golibevent_bufferevent_get_priority(bev.c))
}

// SetMaxSingleRead sets how many bytes at most are read at one time, after which other
// events have their turn; 0 is libevent's own number, 16384. libevent 2.1 reads no more
// than 4096 at one time in any case, but for an eager BufferEvent; see SetEager. EINVAL
// for a negative n, and one beyond 2³¹-1.
//
// Wraps: bufferevent_set_max_single_read
func (bev *BufferEvent) SetMaxSingleRead(n int) error {
	const op = "bufferevent_set_max_single_read"
	if n < 0 || n > maxInt32 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	C.bufferevent_set_max_single_read(bev.c, C.size_t(n))
	return nil
}

// MaxSingleRead returns what SetMaxSingleRead has set, 0 after Close.
//
// Wraps: bufferevent_get_max_single_read
func (bev *BufferEvent) MaxSingleRead() int {
	if bev.enter("bufferevent_get_max_single_read") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_max_single_read(bev.c))
}

// SetMaxSingleWrite sets how many bytes at most are written at one time, after which
// other events have their turn; 0 is libevent's own number, 16384. EINVAL for a negative
// n, and one beyond 2³¹-1.
//
// Wraps: bufferevent_set_max_single_write
func (bev *BufferEvent) SetMaxSingleWrite(n int) error {
	const op = "bufferevent_set_max_single_write"
	if n < 0 || n > maxInt32 {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	C.bufferevent_set_max_single_write(bev.c, C.size_t(n))
	return nil
}

// MaxSingleWrite returns what SetMaxSingleWrite has set, 0 after Close.
//
// Wraps: bufferevent_get_max_single_write
func (bev *BufferEvent) MaxSingleWrite() int {
	if bev.enter("bufferevent_get_max_single_write") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_max_single_write(bev.c))
}

// Partner returns the other one of a pair, and nil when that is closed, after Close, and
// for a BufferEvent with a socket. It is safe from any goroutine.
//
// Wraps: bufferevent_pair_get_partner
func (bev *BufferEvent) Partner() *BufferEvent {
	partner := bev.partner()
	if partner == nil || partner.closed() || bev.closed() {
		return nil
	}
	return partner
}

// Base returns the base that the BufferEvent was made on. It is safe from any goroutine.
//
// Wraps: bufferevent_get_base
func (bev *BufferEvent) Base() *Base { return bev.base.Load() }

// Err returns what the last event was about: an *Error for BEV_EVENT_ERROR, with the
// errno, and for BEV_EVENT_TIMEOUT, with ETIMEDOUT; nil for an end of stream, for a
// connection made, and before any event. Connect and SetFD start anew.
//
// It is safe from any goroutine, also after Close.
//
// Wraps: EVUTIL_SOCKET_ERROR
func (bev *BufferEvent) Err() error { return bev.last.err() }

// Lock takes the lock of a BufferEvent with BEV_OPT_THREADSAFE, so that several calls act
// as one: others, the loop included, wait meanwhile. The goroutine that holds it may take
// it again, and stays on its thread until it has called Unlock as often. It may Close the
// BufferEvent, which then goes with the last Unlock; Base.Close waits for that, and is
// not for the goroutine that holds the lock.
//
// It returns EINVAL without BEV_OPT_THREADSAFE.
//
// Wraps: bufferevent_lock
func (bev *BufferEvent) Lock() error {
	const op = "bufferevent_lock"
	if !bev.has(BEV_OPT_THREADSAFE) {
		return opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	runtime.LockOSThread()
	thread := C.golibevent_bufferevent_lock(bev.c)
	// Read first, so that the race detector learns who held it before.
	lock := &bev.more().sharing
	if lock.holder.Load() != uintptr(thread) {
		lock.holder.Store(uintptr(thread))
	}
	lock.held.Add(1)
	return nil
}

// Unlock undoes one Lock of the same goroutine. It returns EPERM when that does not hold
// the lock.
//
// Wraps: bufferevent_unlock
func (bev *BufferEvent) Unlock() error {
	extra := bev.extra.Load()
	if extra == nil || extra.holder.Load() != uintptr(C.golibevent_thread()) {
		return opError("bufferevent_unlock", syscall.EPERM)
	}
	if extra.held.Add(-1) == 0 {
		extra.holder.Store(0)
	}
	C.bufferevent_unlock(bev.c)
	runtime.UnlockOSThread()
	bev.leave()
	return nil
}

// finish ends a call into C in which callbacks may have run: it panics as one of them
// did, or returns the failure of op, whose reason is err.
func (bev *BufferEvent) finish(r C.struct_golibevent_result, op string, err error) error {
	if r.panicked != 0 || r.released != nil {
		bev.endCall(r)
	}
	if r.rc == -1 {
		return opError(op, err)
	}
	return nil
}

// endCall is endCall inside a method of bev: Close of its base would wait for that.
func (bev *BufferEvent) endCall(r C.struct_golibevent_result) {
	b := bev.Base()
	b.inline.Add(1)
	defer b.inline.Add(-1)
	endCall(r.released, r.panicked)
}

// outcome is an event of a BufferEvent, with the errno that came with it.
type outcome struct{ v atomic.Uint32 }

func (o *outcome) store(what BufferEvents, errno syscall.Errno) {
	o.v.Store(uint32(errno)<<16 | uint32(what)&math.MaxUint16)
}

func (o *outcome) clear() { o.v.Store(0) }

func (o *outcome) load() (BufferEvents, syscall.Errno) {
	v := o.v.Load()
	return BufferEvents(v & math.MaxUint16), syscall.Errno(v >> 16)
}

func (o *outcome) err() error {
	what, errno := o.load()
	switch {
	case what&BEV_EVENT_ERROR != 0:
		op := "bufferevent_socket_connect"
		switch {
		case what&BEV_EVENT_READING != 0:
			op = "evbuffer_read"
		case what&BEV_EVENT_WRITING != 0:
			op = "evbuffer_write"
		}
		if errno == 0 {
			errno = syscall.EIO
		}
		return &Error{op, errno}
	case what&BEV_EVENT_TIMEOUT != 0:
		return &Error{"bufferevent_set_timeouts", syscall.ETIMEDOUT}
	}
	return nil
}

// serve runs a callback.
func (bev *BufferEvent) serve(kind C.int, what BufferEvents, errno syscall.Errno,
	loop **C.struct_golibevent_base, call *C.struct_golibevent_call,
	view *C.struct_golibevent_view,
) (stop C.uchar) {
	if view != nil {
		bev.view = view
		defer func() { bev.view = nil }()
	}
	bev.Base().guard(loop, call, &stop, func() { bev.tell(kind, what, errno) })
	return stop
}

// guard calls fn, a callback. Where its panic goes depends on who called C: a loop of the
// base on this thread, or a method, which call then tells.
func (b *Base) guard(loop **C.struct_golibevent_base, call *C.struct_golibevent_call, stop *C.uchar, fn func()) {
	if *loop != b.c && b.c.borrowed != 0 && call.calls == 0 {
		defer b.inLoop(loop)()
	}
	returned := false
	if *loop != b.c && call.calls != 0 {
		b.inline.Add(1)
		defer b.inline.Add(-1)
		defer b.caughtInside(&returned, call)
	} else {
		defer b.caught(&returned, stop)
	}
	fn()
	returned = true
}

// tell calls the program's callback of a kind.
func (bev *BufferEvent) tell(kind C.int, what BufferEvents, errno syscall.Errno) {
	callbacks := bev.callbacks.Load()
	switch kind {
	case C.GOLIBEVENT_READ:
		if callbacks.read != nil {
			callbacks.read(bev)
			if bev.filter() != nil && !bev.closed() {
				C.golibevent_bufferevent_unstick(bev.c)
			}
		}
	case C.GOLIBEVENT_WRITE:
		// What was written since is in the output, and libevent calls when that has
		// gone too: for what went before no call is due any more.
		early := bev.told.Load() && bev.told.Swap(false) && what != 0
		if callbacks.write != nil && !early {
			callbacks.write(bev)
		}
	case C.GOLIBEVENT_EVENT:
		if what&BEV_EVENT_WRITING != 0 && what&BEV_EVENT_ERROR != 0 && errno == syscall.EPIPE {
			// The reason was given to the eager write before.
			if refusal := bev.refusal.Load(); refusal != 0 {
				errno = syscall.Errno(refusal)
			}
		}
		bev.last.store(what, errno)
		if what&BEV_EVENT_READING != 0 && what&(BEV_EVENT_EOF|BEV_EVENT_ERROR) != 0 {
			bev.ended.store(what, errno)
		}
		if callbacks.event != nil {
			callbacks.event(bev, what)
		}
	}
}

// caughtInside is caught for a callback that runs inside a method and not in a loop:
// the panic is the method's to report.
func (b *Base) caughtInside(returned *bool, call *C.struct_golibevent_call) {
	if *returned {
		return
	}
	value := recover()
	if value == nil {
		b.abandon()
		return
	}
	keepPanic(call, &CallbackPanic{Value: value, Stack: debug.Stack()})
}

// keepPanic gives a panic to the method that runs; the first counts.
func keepPanic(call *C.struct_golibevent_call, p *CallbackPanic) {
	if call.panicked == 0 {
		call.panicked = C.uintptr_t(panics.Put(p))
	}
}
