package libevent

// What C calls. Every function here has the shape
//
//	//export golibeventOnThing
//	func golibeventOnThing(handle C.uintptr_t, ..., loop **C.struct_golibevent_base) (stop C.uchar) {
//		if t := things.Get(uintptr(handle)); t != nil {
//			t.onThing(...) // which defers b.caught: nothing unwinds into C
//		}
//	}
//
// or, for what go-pointer holds, with an unsafe.Pointer for the handle, which is good
// until C has said that the object is gone.
//
// A handle that finds nothing is of an object that was closed while its callback was
// under way. Within the callback of a borrowed base *loop is set to that base.

// #include "callbacks.h"
import "C"

import (
	"syscall"
	"unsafe"

	"github.com/mattn/go-pointer"
)

//export golibeventOnEvent
func golibeventOnEvent(handle C.uintptr_t, what C.short, v *C.struct_golibevent_verdict) {
	ev := events.Get(uintptr(handle))
	if ev == nil {
		return
	}
	if *v.loop != ev.base.c {
		defer ev.base.inLoop(v.loop)()
	}
	ev.base.yield()
	ev.serve(Events(what), v)
}

// An event that could not be armed as its callback asked is closed.
//
//export golibeventRearmFailed
func golibeventRearmFailed(handle C.uintptr_t, number C.int, loop **C.struct_golibevent_base) (stop C.uchar) {
	ev := events.Get(uintptr(handle))
	if ev == nil {
		return 0
	}
	if *loop != ev.base.c {
		defer ev.base.inLoop(loop)()
	}
	ev.base.fail(opError("event_add", syscall.Errno(number)))
	_ = ev.Close()
	return 1
}

//export golibeventOnPost
func golibeventOnPost(handle C.uintptr_t, loop **C.struct_golibevent_base) (stop C.uchar) {
	b := bases.Get(uintptr(handle))
	if b == nil {
		return 0
	}
	if *loop != b.c {
		defer b.inLoop(loop)()
	}
	b.runPosts(&stop)
	return stop
}

// number is what errno was at the event. It cannot have that name, which is C's macro.
//
//export golibeventOnBuffer
func golibeventOnBuffer(handle C.uintptr_t, kind C.int, what C.short, number C.int,
	loop **C.struct_golibevent_base, call *C.struct_golibevent_call,
	view *C.struct_golibevent_view,
) (stop C.uchar) {
	bev := bufferEvents.Get(uintptr(handle))
	if bev == nil {
		return 0
	}
	if *loop == bev.Base().c {
		bev.Base().yield()
	}
	return bev.serve(kind, BufferEvents(what), syscall.Errno(number), loop, call, view)
}

// A change of a buffer that has callbacks.
//
//export golibeventOnBufferChange
func golibeventOnBufferChange(handle C.uintptr_t, size, added, deleted C.size_t,
	loop **C.struct_golibevent_base, call *C.struct_golibevent_call,
) {
	if w := watches.Get(uintptr(handle)); w != nil {
		w.changed(BufferCallbackInfo{int(size), int(added), int(deleted)}, loop, call)
	}
}

// It returns a BEV_* result. src and dst are the buffers of an open filter until then.
//
//export golibeventOnFilter
func golibeventOnFilter(handle unsafe.Pointer, which C.int, src, dst *C.struct_evbuffer, limit C.int64_t,
	mode C.int, loop **C.struct_golibevent_base, call *C.struct_golibevent_call, stop *C.uchar,
) C.int {
	f := pointer.Restore(handle).(*filter)
	if f.bev.closed() {
		return C.BEV_ERROR
	}
	if *loop == f.bev.Base().c {
		f.bev.Base().yield()
	}
	return C.int(f.serve(int(which), src, dst, int(limit), FlushMode(mode), loop, call, stop))
}

//export golibeventOnFilterGone
func golibeventOnFilterGone(handle unsafe.Pointer) {
	pointer.Restore(handle).(*filter).gone()
	pointer.Unref(handle)
}

// A reference that libevent has released outside this package's calls: in the loop of
// the handle's base, or, without one, for C code of somebody else's.
//
//export golibeventOnRelease
func golibeventOnRelease(ref *C.struct_golibevent_reference, handle C.uintptr_t) {
	b := bases.Get(uintptr(handle))
	for _, cleanup := range takeReferences(ref) {
		if b != nil {
			b.end(cleanup)
		} else {
			go cleanup()
		}
	}
}

// It reports whether somebody has got the descriptor.
//
//export golibeventOnAccept
func golibeventOnAccept(handle unsafe.Pointer, fd C.int, sa *C.struct_sockaddr, n C.int, loop **C.struct_golibevent_base, stop *C.uchar) (taken C.uchar) {
	ln := pointer.Restore(handle).(*Listener)
	if ln.life.Closed() {
		return 0
	}
	if *loop != ln.base.c {
		defer ln.base.inLoop(loop)()
	}
	ln.onAccept(int(fd), addrPortOf(sa, n), stop)
	return 1
}

//export golibeventOnListenerError
func golibeventOnListenerError(handle unsafe.Pointer, number, accepting C.int, loop **C.struct_golibevent_base, stop *C.uchar) {
	ln := pointer.Restore(handle).(*Listener)
	if ln.life.Closed() {
		return
	}
	if *loop != ln.base.c {
		defer ln.base.inLoop(loop)()
	}
	op := "evconnlistener_enable"
	if accepting != 0 {
		op = "accept"
	}
	ln.onError(opError(op, syscall.Errno(number)), stop)
}

//export golibeventOnListenerGone
func golibeventOnListenerGone(handle unsafe.Pointer) { pointer.Unref(handle) }

//export golibeventOnWatch
func golibeventOnWatch(handle C.uintptr_t, us C.int64_t, loop **C.struct_golibevent_base) (stop C.uchar) {
	w := watchers.Get(uintptr(handle))
	if w == nil {
		return 0
	}
	if *loop != w.base.c {
		defer w.base.inLoop(loop)()
	}
	w.base.yield()
	w.serve(int64(us), &stop)
	return stop
}
