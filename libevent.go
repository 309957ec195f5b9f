// Package libevent is a binding of the C library libevent: events on descriptors,
// timeouts and signals, buffers, buffered connections and listeners, with the semantics
// of the C library, from the system's own copy of it. DNS, HTTP and TLS are not bound.
//
// # The loop
//
// A [Base] is an event loop. [Base.AddEvent] makes an [Event] on it, and
// [Base.Dispatch] runs callbacks until no events are left:
//
//	base, err := libevent.New()
//	...
//	_, err = base.AddEvent(fd, libevent.EV_READ, func(what libevent.Events) (libevent.Events, time.Duration) {
//		if what == libevent.EV_TIMEOUT {
//			return libevent.LEAVE, 0 // nothing came in ten seconds: done
//		}
//		...
//		return 0, 0 // go on as before
//	}, 10*time.Second)
//	...
//	err = base.Dispatch()
//
// # What a callback returns
//
// An [EventCallback] returns what to wait for next and for how long:
//
//	LEAVE, anything        the event is deleted and freed
//	0, 0                   nothing changes
//	events, 0              wait for events instead; the timeout in force stays
//	0, d and events, d     d is the new timeout, rounded up to 1 µs
//	..., NoTimeout         no timeout
//
// # Goroutines
//
// Dispatch runs every callback on the goroutine that called it. The type or the method
// says whether a method is safe from any goroutine or only from the loop, which means:
// from a callback, or while no loop runs on the base. [Base.Post] brings a function to
// the loop from anywhere, and [Base.Stop] ends the loop from anywhere.
//
// # Ownership
//
// A base owns what was made on it, and [Base.Close] frees it all. Close an Event before
// its descriptor: otherwise the system gives the descriptor's number to another file, and
// libevent never tells the kernel to watch that. The garbage collector frees nothing and
// cancels nothing.
//
// # Panics
//
// A panic in a callback ends the loop, and Dispatch panics with a [*CallbackPanic]. The
// base can be used again afterwards.
//
// # Errors
//
// A failed call returns an [*Error] with the name of the C function. Ask [errors.Is] for the
// reason: a [syscall.Errno], [ErrClosed], [ErrRunning] or [ErrBroken].
package libevent

/*
#cgo pkg-config: libevent_core libevent_pthreads
#cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
#include "callbacks.h"
#cgo noescape event_get_version
#cgo nocallback event_get_version
*/
import "C"

import "sync"

// libevent's locks exist only if this runs before the first base is made.
func init() {
	if C.golibevent_fits() == 0 {
		panic("libevent: built with the headers of " + HeaderVersion() + ", whose events are not those of the library " +
			Version() + ": build the program again")
	}
	if C.golibevent_use_threads() == -1 {
		panic("libevent: evthread_use_pthreads failed")
	}
}

// Version returns the version of the library that runs, such as "2.1.12-stable".
//
// Wraps: event_get_version
func Version() string { return C.GoString(C.event_get_version()) }

// VersionNumber returns the version of the library that runs as a number, such as
// 0x02010c00 for 2.1.12.
//
// Wraps: event_get_version_number
func VersionNumber() uint32 { return uint32(C.event_get_version_number()) }

// HeaderVersion returns the version of the headers that this program was built
// with. It differs from Version when the library was replaced since.
//
// Wraps: LIBEVENT_VERSION
func HeaderVersion() string { return C.LIBEVENT_VERSION }

// SupportedMethods returns the names of the backends that the library was built
// with, the preferred first: "epoll", "poll", "select" on Linux.
//
// Wraps: event_get_supported_methods
func SupportedMethods() []string {
	methodsMu.Lock()
	defer methodsMu.Unlock()
	return goStrings(C.event_get_supported_methods())
}

// methodsMu is held while libevent's list of methods is made or read: each call frees the
// list of the one before.
var methodsMu sync.Mutex
