package libevent

// #include "callbacks.h"
import "C"

import (
	"syscall"
	"unsafe"
)

// In a read callback the BufferEvent has a view: C tells with the callback what is first
// in the input, and whether the socket takes what is written. To look at the input, to
// drain or read that, and to send, then need no call into C; what it is to be told is
// told when the callback has returned, or when any other method wants C to know. What an
// eager one has just received is not even in the input by then, but where it was received.
//
// There is a view only where nobody else can reach the buffers: not with
// BEV_OPT_THREADSAFE, not in a pair, and not once C code was given a pointer, or the
// program has put into the input what to drain means more for.

// unviewed is the option, beside libevent's, of a BufferEvent without views.
const unviewed = 1 << 31

// hide ends the views of bev, for good.
func (bev *BufferEvent) hide() {
	if !bev.has(BEV_OPT_THREADSAFE | unviewed) {
		bev.options |= unviewed
		bev.setCallbacks()
	}
}

// settle tells C what was done on the view, and ends it.
func (bev *BufferEvent) settle() {
	view := bev.view
	bev.view = nil
	C.golibevent_bufferevent_settle(bev.c, view)
}

// first returns what is left of the input's first chunk. ok says whether that is known:
// there may be no view, or more chunks.
func (bev *BufferEvent) first() (p []byte, ok bool) {
	v := bev.view
	if v == nil || bev.input.lent {
		return nil, false
	}
	bev.input.uses++
	if v.drained < v.n {
		return unsafe.Slice((*byte)(v.data), int(v.n))[v.drained:], true
	}
	return nil, v.n == v.len
}

// first returns what is known of the buffer's start, as BufferEvent.first.
func (buf *Buffer) first() (p []byte, ok bool) {
	if bev := buf.owner; bev != nil && bev.view != nil && buf == &bev.input {
		return bev.first()
	}
	return nil, false
}

// drained is told that the first n bytes of what first returned are not wanted any more.
func (bev *BufferEvent) drained(n int) { bev.view.drained += C.size_t(n) }

// take moves the start of the input to p, as much as fits and is known.
func (bev *BufferEvent) take(p []byte) (n int, ok bool) {
	first, _ := bev.first()
	if len(first) == 0 || (len(first) < len(p) && bev.view.n < bev.view.len) {
		return 0, false
	}
	n = copy(p, first)
	bev.drained(n)
	return n, true
}

// sendInView sends n bytes, if nothing is to be done but that. It returns how many the
// socket took.
func (bev *BufferEvent) sendInView(p *byte, n int) int {
	v := bev.view
	if v == nil || v.fd < 0 || C.size_t(n) > v.max {
		return 0
	}
	bev.uses++
	sent, errno := rawSend(int(v.fd), unsafe.Slice(p, n))
	switch errno {
	case 0:
		if bev.callbacks.Load().write != nil {
			v.tells = 1
			bev.told.Store(true)
		}
		return sent
	case syscall.EAGAIN, syscall.EPIPE, syscall.ENOTSOCK:
	default:
		bev.refusal.Store(uint32(errno))
	}
	return 0
}
