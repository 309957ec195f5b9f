package libevent

// #include "callbacks.h"
import "C"

import (
	"syscall"
	"unsafe"
)

// Pointer returns the struct event_base *, for a C library that takes one. Other
// packages' cgo types never match this package's, so it comes untyped and the
// caller casts it in his own. It is valid until Close; nil after it.
//
// It is safe from any goroutine; what C does with it then is up to C.
func (b *Base) Pointer() unsafe.Pointer {
	if b.enter("event_base_new") != nil {
		return nil
	}
	defer b.leave()
	return unsafe.Pointer(b.c.base)
}

// BaseFromPointer borrows a struct event_base * that C owns. Events made on the
// result live on the loop that C runs; Dispatch and Loop run it from Go, if C does
// not. Close frees what was made on the result and leaves the C base alone: it must
// come before C frees that. A callback that fails breaks the loop that C runs, and Err
// says why. Stop from another goroutine ends that loop after the callbacks of priority
// 0 that are active already.
//
// C sets the number of priorities before this call, or leaves it alone. Whether
// goroutines other than the loop's may use the result is up to C: they may when
// evthread_use_pthreads was called before event_base_new. This package calls it when
// the program starts, which for a Go library inside a C program can be too late. A
// nil pointer is EINVAL.
func BaseFromPointer(base unsafe.Pointer) (*Base, error) {
	if base == nil {
		return nil, opError("event_base_new", syscall.EINVAL)
	}
	settleDebugMode()
	c, err := C.golibevent_base_borrow((*C.struct_event_base)(base))
	return newBase(c, "event_base_new", err)
}

// Pointer returns the struct bufferevent *, untyped as Base.Pointer is, for C code that
// takes one. It is valid until Close; nil after it. C code that sets its callbacks cuts
// off those of SetCallbacks.
func (bev *BufferEvent) Pointer() unsafe.Pointer {
	if bev.enter("bufferevent_socket_new") != nil {
		return nil
	}
	defer bev.leave()
	bev.hide()
	return unsafe.Pointer(bev.c)
}

// Pointer returns the struct evbuffer *, for C code that takes one. It is valid until
// Close, or that of the buffer's BufferEvent; nil after it. While C changes the evbuffer
// no slice of the buffer's memory may be in use. If the buffer has files, C code may only
// send what is in it; see Buffer.AddFileSegment.
func (buf *Buffer) Pointer() unsafe.Pointer {
	if buf.enter("evbuffer_new") != nil {
		return nil
	}
	buf.hide()
	return unsafe.Pointer(buf.c)
}

// BufferFromPointer borrows a struct evbuffer * that C owns. Close leaves that alone: it
// must come before C frees it, and not in a callback that C itself has put there. A nil
// pointer is EINVAL.
func BufferFromPointer(buf unsafe.Pointer) (*Buffer, error) {
	if buf == nil {
		return nil, opError("evbuffer_new", syscall.EINVAL)
	}
	b := &Buffer{c: (*C.struct_evbuffer)(buf)}
	b.state.Store(bufferBorrowed)
	return b, nil
}

// Pointer returns the struct evconnlistener *, for a C library that takes one. The
// listener's callbacks must stay the binding's. It is valid until Close; nil after it.
//
// It is safe from any goroutine; what C does with it then is up to C.
func (ln *Listener) Pointer() unsafe.Pointer {
	if ln.enter("evconnlistener_new") != nil {
		return nil
	}
	defer ln.leave()
	return unsafe.Pointer(ln.lev)
}

// goStrings copies a C array of strings that ends with NULL.
func goStrings(p **C.char) []string {
	var s []string
	for ; p != nil && *p != nil; p = (**C.char)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(*p))) {
		s = append(s, C.GoString(*p))
	}
	return s
}
