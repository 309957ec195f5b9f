package libevent

/*
#include "callbacks.h"
#cgo nocallback golibevent_buffer_add_cb
#cgo nocallback golibevent_buffer_remove_cb
#cgo nocallback golibevent_bufferevent_has_high
#cgo nocallback evbuffer_cb_set_flags
#cgo nocallback evbuffer_cb_clear_flags
*/
import "C"

import (
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-libevent/libevent/internal/slots"
)

// BufferCallbackInfo is how a Buffer has changed.
//
// Wraps: struct evbuffer_cb_info
type BufferCallbackInfo struct {
	OrigSize int // the length before, in bytes
	Added    int // bytes added since
	Deleted  int // bytes removed since
}

// empty says whether nothing has changed.
func (info BufferCallbackInfo) empty() bool { return info.Added == 0 && info.Deleted == 0 }

// BufferCallback is a function that is called when a Buffer changes, until Remove. Its
// methods are for the goroutine that uses the Buffer, or that its callbacks run on.
//
// Wraps: struct evbuffer_cb_entry
type BufferCallback struct {
	watch *bufferWatch
	fn    func(*Buffer, BufferCallbackInfo)

	disabled, removed atomic.Bool
}

// bufferWatch is what the callbacks of a Buffer share. libevent calls for them all, so
// that what they do to each other is no matter of its list, which allows little.
type bufferWatch struct {
	buf     *Buffer
	handle  uintptr
	entry   *C.struct_evbuffer_cb_entry // as long as the evbuffer; enabled with any
	foreign atomic.Int32                // callbacks under way for what no method has changed

	mu   sync.Mutex
	list []*BufferCallback  // the newest first; never changed, only replaced
	base *Base              // where deferred callbacks run, or nil
	due  bool               // they will
	sum  BufferCallbackInfo // of what they will be told
}

// watches finds the bufferWatch of a C callback's handle.
var watches slots.Table[bufferWatch]

// AddCallback has fn called each time after bytes have been added to the buffer or
// removed: by the call that has done it or, in a BufferEvent's buffer, by the loop too.
// The callback that was added last is called first. When fn panics that call panics with
// a *CallbackPanic, or Dispatch if it was the loop; when C code has made the change
// outside any loop, the program ends. A Goexit in fn breaks the buffer, which returns
// ErrBroken from then on.
//
// In the input of one of a pair that has a high watermark libevent tells of bytes while it is
// still moving them. Callbacks there come in the loop's next pass, as after DeferCallbacks.
//
// fn may add and remove callbacks, and close the buffer or its BufferEvent, after which
// no callback comes. It may change the buffer too. All callbacks, fn included, are then
// called inside that change: one that changes the buffer each time never returns, and the
// program ends with a stack overflow. It cannot run a loop or close a base: both return
// ErrRunning.
//
// It returns EINVAL for a nil fn, ENOTSUP for the source of a Filter that is the input of
// one of a pair, and ENOMEM.
//
// Wraps: evbuffer_add_cb
func (buf *Buffer) AddCallback(fn func(*Buffer, BufferCallbackInfo)) (*BufferCallback, error) {
	const op = "evbuffer_add_cb"
	switch {
	case fn == nil:
		return nil, opError(op, syscall.EINVAL)
	case buf.owner == nil && buf.has(bufferPaired):
		return nil, opError(op, syscall.ENOTSUP)
	}
	w, err := buf.enterWatch(op)
	if err != nil {
		return nil, err
	}
	defer buf.leaveWatch()
	cb := &BufferCallback{watch: w, fn: fn}
	w.mu.Lock()
	w.list = slices.Concat([]*BufferCallback{cb}, w.list)
	first := len(w.list) == 1
	w.mu.Unlock()
	if first {
		C.evbuffer_cb_set_flags(buf.c, w.entry, C.EVBUFFER_CB_ENABLED)
		if bev := buf.owner; bev != nil {
			bev.hide()
			if buf == &bev.output {
				bev.setMode(eagerWatched, true)
			}
		}
	}
	return cb, nil
}

// DeferCallbacks makes all callbacks of the buffer run in base's loop, at its middle
// priority, instead of in the call that changes the buffer. They come once for all that
// has happened until then. It cannot be taken back. The buffer may be changed on another
// goroutine than the loop's if its callbacks do not use it. When base is closed none come
// any more.
//
// It returns EINVAL for a nil base, EALREADY the second time, ErrClosed also when base is
// closed, and ENOMEM.
//
// Wraps: evbuffer_defer_callbacks
func (buf *Buffer) DeferCallbacks(base *Base) error {
	const op = "evbuffer_defer_callbacks"
	if base == nil {
		return opError(op, syscall.EINVAL)
	}
	if err := base.enter(op); err != nil {
		return err
	}
	defer base.leave()
	w, err := buf.enterWatch(op)
	if err != nil {
		return err
	}
	defer buf.leaveWatch()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base != nil {
		return opError(op, syscall.EALREADY)
	}
	w.base = base
	return nil
}

// enterWatch begins a call for op that is about callbacks. If it returns no error the
// caller must leaveWatch.
func (buf *Buffer) enterWatch(op string) (*bufferWatch, error) {
	if buf.owner != nil {
		if err := buf.owner.enter(op); err != nil {
			return nil, err
		}
	}
	w, err := buf.watch(op)
	if err != nil {
		buf.leaveWatch()
	}
	return w, err
}

func (buf *Buffer) leaveWatch() {
	if buf.owner != nil {
		buf.owner.leave()
	}
}

// watch returns the buffer's watch, which it makes.
func (buf *Buffer) watch(op string) (*bufferWatch, error) {
	if err := buf.enter(op); err != nil {
		return nil, err
	}
	extra := buf.more()
	if extra.watch != nil {
		return extra.watch, nil
	}
	w := &bufferWatch{buf: buf}
	if w.handle = watches.Put(w); w.handle == 0 {
		return nil, opError(op, syscall.ENOMEM)
	}
	var err error
	if w.entry, err = C.golibevent_buffer_add_cb(buf.c, C.uintptr_t(w.handle)); w.entry == nil {
		watches.Delete(w.handle)
		return nil, opError(op, err)
	}
	extra.watch = w
	return w, nil
}

// unwatch ends the callbacks of a buffer that goes.
func (buf *Buffer) unwatch() {
	if buf.extra == nil || buf.extra.watch == nil {
		return
	}
	w := buf.extra.watch
	watches.Delete(w.handle)
	w.mu.Lock()
	w.list = nil
	w.mu.Unlock()
	if buf.has(bufferBorrowed) {
		C.golibevent_buffer_remove_cb(buf.c, w.entry)
	}
}

// entry returns C's part of the buffer's callbacks, or nil.
func (buf *Buffer) entry() *C.struct_evbuffer_cb_entry {
	if buf.extra == nil || buf.extra.watch == nil {
		return nil
	}
	return buf.extra.watch.entry
}

// Remove ends the callback: it does not come any more. The second Remove does nothing.
// When the last callback of a buffer is removed, changes that the loop was still to
// report are forgotten: a callback that is added later is not told.
//
// Wraps: evbuffer_remove_cb_entry, evbuffer_remove_cb
func (cb *BufferCallback) Remove() {
	if cb.removed.Swap(true) {
		return
	}
	w := cb.watch
	w.mu.Lock()
	w.list = slices.DeleteFunc(slices.Clone(w.list), func(other *BufferCallback) bool { return other == cb })
	last, deferred := len(w.list) == 0, w.base != nil
	if last {
		w.sum = BufferCallbackInfo{}
	}
	w.mu.Unlock()
	if !last {
		return
	}
	bev := w.buf.owner
	if bev != nil && w.buf == &bev.output {
		bev.setMode(eagerWatched, false)
	}
	if deferred { // the buffer may be in use elsewhere
		return
	}
	if bev != nil {
		if bev.enter("evbuffer_remove_cb_entry") != nil {
			return
		}
		defer bev.leave()
	}
	if w.buf.enter("evbuffer_remove_cb_entry") == nil {
		C.evbuffer_cb_clear_flags(w.buf.c, w.entry, C.EVBUFFER_CB_ENABLED)
	}
}

// Disable makes the callback miss changes, until Enable.
//
// Wraps: evbuffer_cb_clear_flags, EVBUFFER_CB_ENABLED
func (cb *BufferCallback) Disable() { cb.disabled.Store(true) }

// Enable takes Disable back. The callback is not told what has changed meanwhile.
//
// Wraps: evbuffer_cb_set_flags, EVBUFFER_CB_ENABLED
func (cb *BufferCallback) Enable() { cb.disabled.Store(false) }

// changed is called by C when the buffer has changed, and is in one piece again, but
// before the function that has changed it returns.
func (w *bufferWatch) changed(info BufferCallbackInfo, loop **C.struct_golibevent_base, call *C.struct_golibevent_call) {
	b := w.baseOf(loop)
	if b != nil && b.broken.Load() {
		return
	}
	list := w.deferred(info)
	if len(list) == 0 {
		return
	}
	if call.calls == 0 {
		w.foreign.Add(1)
		defer w.foreign.Add(-1)
		if b != nil && *loop != b.c && b.c.borrowed != 0 {
			defer b.inLoop(loop)()
		}
	}
	returned := false
	defer w.caught(&returned, b, call)
	w.run(list, info)
	returned = true
}

// baseOf returns the base in whose loop the thread is or, if that is another's buffer, to
// which the buffer belongs; nil if there is none.
func (w *bufferWatch) baseOf(loop **C.struct_golibevent_base) *Base {
	switch {
	case w.buf.owner != nil:
		return w.buf.owner.Base()
	case *loop != nil:
		return bases.Get(uintptr((*loop).handle))
	}
	return nil
}

// inPieces says whether libevent may be about to move what it tells of. To the input of one
// of a pair it moves no more than the high watermark allows, while the other one's output
// still has those bytes too.
func (w *bufferWatch) inPieces() bool {
	buf := w.buf
	return buf.has(bufferPaired) && bool(C.golibevent_bufferevent_has_high(buf.owner.c))
}

// deferred puts off what the callbacks are to be told, or returns them.
func (w *bufferWatch) deferred(info BufferCallbackInfo) []*BufferCallback {
	w.mu.Lock()
	list, base, due := w.list, w.base, w.due
	if base == nil && w.inPieces() {
		base = w.buf.owner.Base()
	}
	if (base == nil && !due) || len(list) == 0 {
		w.mu.Unlock()
		return list
	}
	w.due = true
	if w.sum.empty() {
		w.sum.OrigSize = info.OrigSize
	}
	w.sum.Added += info.Added
	w.sum.Deleted += info.Deleted
	w.mu.Unlock()
	if !due {
		_ = base.Post(w.runDeferred) // with a base that is closed they do not come
	}
	return nil
}

// runDeferred runs the callbacks in the loop.
func (w *bufferWatch) runDeferred() {
	w.mu.Lock()
	list, info := w.list, w.sum
	w.due, w.sum = false, BufferCallbackInfo{}
	w.mu.Unlock()
	if !info.empty() {
		w.run(list, info)
	}
}

// run calls every callback, also when one panics: then the panic comes after the others.
func (w *bufferWatch) run(list []*BufferCallback, info BufferCallbackInfo) {
	next := 0
	defer func() {
		if next < len(list) {
			w.run(list[next:], info)
		}
	}()
	for next < len(list) {
		cb := list[next]
		next++
		if !cb.disabled.Load() && !cb.removed.Load() && !w.closed() {
			cb.fn(w.buf, info)
		}
	}
}

// closed says whether Close has come, after which no callback does.
func (w *bufferWatch) closed() bool {
	if bev := w.buf.owner; bev != nil {
		return bev.closed() || bev.Base().life.Closed()
	}
	return watches.Get(w.handle) == nil
}

// caught is deferred around the callbacks: it gives a panic to the call that has changed
// the buffer, or to the loop.
func (w *bufferWatch) caught(returned *bool, b *Base, call *C.struct_golibevent_call) {
	if *returned {
		return
	}
	value := recover()
	if value == nil {
		C.golibevent_forget_calls()
		w.buf.state.Or(bufferBroken)
		if b != nil {
			b.abandon()
		}
		return
	}
	p := &CallbackPanic{Value: value, Stack: debug.Stack()}
	switch {
	case call.calls != 0:
		keepPanic(call, p)
	case b != nil:
		b.fail(p)
		C.event_base_loopbreak(b.c.base)
	default:
		go panic(p)
	}
}
