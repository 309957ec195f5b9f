package libevent

/*
#include "callbacks.h"
*/
import "C"

import (
	"sync/atomic"
	"syscall"

	"github.com/mattn/go-pointer"
)

// Filter is a function of a filter: it moves data from src to dst and changes it on the
// way. For the input src is the input of what is underneath and dst the filter's; for the
// output src is the filter's output and dst that of what is underneath.
//
// limit is how much should be added to dst at most, for the high watermark there; -1 is
// no limit. mode is BEV_NORMAL, or what Flush was called with.
//
// It returns BEV_OK when it has moved something, and is called again then while there is
// something in src and room in dst; BEV_NEED_MORE when it can do nothing without more in
// src; BEV_ERROR when it has failed. libevent tells nobody of that: the function itself
// has to, by TriggerEvent. BEV_OK without anything moved is taken for BEV_NEED_MORE, and
// another result for BEV_ERROR.
//
// The buffers are the Filter's to use until it returns; afterwards they are closed, without
// the callbacks that it has added, and unlocked. The filter and what is underneath may be
// closed meanwhile. While a Filter runs it is not called a second time.
type Filter func(src, dst *Buffer, limit int, mode FlushMode) FilterResult

// filter is what a BufferEvent has that is a filter.
type filter struct {
	bev        *BufferEvent
	underlying *BufferEvent
	functions  [2]Filter
	adopted    atomic.Bool // bev has its C part

	// Which functions run. Under libevent's lock, if there is one; that it is atomic
	// shows the race detector that they do so one after the other.
	busy atomic.Uint32
}

// NewFilter makes a BufferEvent on top of another, which may be a filter itself: input
// filters what was read there, and output what is to be written there. A nil function
// passes everything on.
//
// Until the filter is closed it takes the callbacks of what is underneath, whose events
// go to the filter's event callback; both its directions are enabled, it reads while
// EV_READ is enabled here, and SetEager is off. Enabling EV_READ or EV_WRITE does not
// filter what waits already: that happens when more comes, or by Flush. The output
// underneath grows without a limit unless its EV_WRITE high watermark sets one; without
// one, a write callback that writes again each time is called without end.
//
// With BEV_OPT_CLOSE_ON_FREE what is underneath is closed with the filter. Else it has its
// own callbacks again afterwards, and can have another filter after the loop's next pass.
// It does not outlive what is underneath.
//
// It returns EBUSY when there is a filter already, EINVAL for unknown options, for
// BEV_OPT_UNLOCK_CALLBACKS without BEV_OPT_DEFER_CALLBACKS, and for BEV_OPT_THREADSAFE
// unless what is underneath has BEV_OPT_THREADSAFE, BEV_OPT_DEFER_CALLBACKS and
// BEV_OPT_UNLOCK_CALLBACKS, since the two could deadlock; and ENOMEM.
//
// Wraps: bufferevent_filter_new
func (bev *BufferEvent) NewFilter(input, output Filter, options BufferEventOptions) (*BufferEvent, error) {
	const op = "bufferevent_filter_new"
	const anywhere = BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS
	if err := checkBufferEventOptions(options); err != nil {
		return nil, opError(op, err)
	}
	if options&BEV_OPT_THREADSAFE != 0 && BufferEventOptions(bev.options)&anywhere != anywhere {
		return nil, opError(op, syscall.EINVAL)
	}
	if err := bev.enter(op); err != nil {
		return nil, err
	}
	defer bev.leave()
	top, err := bev.Base().reserveBufferEvent(op, options)
	if err != nil {
		return nil, err
	}
	f := &filter{bev: top, underlying: bev, functions: [2]Filter{input, output}}
	if !bev.more().above.CompareAndSwap(nil, f) {
		top.abandon()
		return nil, opError(op, syscall.EBUSY)
	}
	if bev.Eager() {
		bev.setEager(false)
	}
	top.more().filter = f
	top.options |= unviewed
	name := pointer.Save(f)
	made := C.golibevent_bufferevent_filter_new(bev.c, input != nil, output != nil,
		C.int(options), C.uintptr_t(top.handle), name)
	if made.bev == nil {
		pointer.Unref(name)
		bev.more().above.Store(nil)
		top.abandon()
		bev.setCallbacks()
		bev.endCall(made.r)
		return nil, opError(op, syscall.ENOMEM)
	}
	top.adopt(made.bev)
	closed := bev.closed()
	if closed || made.r.panicked != 0 {
		_ = top.Close()
	}
	bev.endCall(made.r)
	if closed {
		return nil, &Error{op, ErrClosed}
	}
	return top, nil
}

// Underlying returns what a filter is on top of, and nil for another BufferEvent, and
// after Close. It is safe from any goroutine.
//
// Wraps: bufferevent_get_underlying
func (bev *BufferEvent) Underlying() *BufferEvent {
	f := bev.filter()
	if f == nil || bev.closed() {
		return nil
	}
	return f.underlying
}

// serve calls one of the functions, with C's buffers.
func (f *filter) serve(which int, src, dst *C.struct_evbuffer, limit int, mode FlushMode,
	loop **C.struct_golibevent_base, call *C.struct_golibevent_call, stop *C.uchar,
) FilterResult {
	bit := uint32(1) << which
	if f.busy.Or(bit)&bit != 0 {
		return BEV_NEED_MORE
	}
	lent := &[2]Buffer{{c: src}, {c: dst}}
	lent[0].state.Store(bufferBorrowed | bufferLent)
	lent[1].state.Store(bufferBorrowed | bufferLent)
	if which == C.GOLIBEVENT_OUTPUT {
		lent[1].state.Or(f.underlying.output.state.Load() & bufferChunks)
	} else {
		lent[0].state.Or(f.underlying.input.state.Load() & bufferPaired)
	}
	defer func() {
		lent[0].giveBack()
		lent[1].giveBack()
		f.busy.And(^bit)
	}()
	result := BEV_ERROR
	f.bev.Base().guard(loop, call, stop, func() {
		result = f.functions[which](&lent[0], &lent[1], limit, mode)
	})
	if which == C.GOLIBEVENT_OUTPUT && lent[1].has(bufferRefused) && !f.underlying.closed() {
		C.golibevent_bufferevent_see_to(f.underlying.c, C.EV_WRITE)
	}
	switch result {
	case BEV_OK, BEV_NEED_MORE:
		return result
	}
	return BEV_ERROR
}

// giveBack closes a buffer that a Filter was given, and undoes what that has not.
func (buf *Buffer) giveBack() {
	for buf.Unlock() == nil {
	}
	if buf.c != nil {
		buf.unwatch()
		buf.c = nil
	}
}

// uncover ends the filter for what is underneath, when its C part has been freed.
func (f *filter) uncover() {
	if f.bev.has(BEV_OPT_CLOSE_ON_FREE) {
		_ = f.underlying.Close()
	} else if f.underlying.enter("bufferevent_setcb") == nil {
		f.underlying.setCallbacks()
		f.underlying.leave()
	}
}

// gone is told that C has finished with the filter. Until then another one must not be
// in its place, whose callbacks C would take.
func (f *filter) gone() { f.underlying.more().above.CompareAndSwap(f, nil) }
