package libevent

/*
#include "callbacks.h"
#cgo nocallback golibevent_watcher_new
#cgo nocallback golibevent_watcher_free
*/
import "C"

import (
	"io"
	"syscall"
	"time"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
	"github.com/go-libevent/libevent/internal/slots"
)

// Watcher calls a function in each pass of a loop, just before the loop waits for events
// or just after: for what has to be seen to around that wait, and to measure it. A watcher
// does not keep a loop running.
//
// It needs libevent 2.2. Its methods are safe from any goroutine.
//
// Wraps: struct evwatch
type Watcher struct {
	c      *C.struct_golibevent_watcher
	base   *Base
	fn     func(timeout time.Duration)
	handle uintptr
	life   life.Life
	node   own.Node
}

var _ io.Closer = (*Watcher)(nil)

// watchers finds the Watcher of a C callback's handle.
var watchers slots.Table[Watcher]

// NewPrepareWatcher has the loop call fn before each wait for events, with the longest that
// the wait will take: 0 when it is a look only, NoTimeout when only an event ends it. The
// watchers of a base are called in the order in which they were made.
//
// The wait takes place whatever fn does: a timeout that it adds, a LoopBreak and an event
// that it activates have no effect until the wait has ended. When fn panics the wait ends
// at once, on a base with locks.
//
// It returns EINVAL for a nil fn, and ENOTSUP when the package was built with a libevent
// before 2.2.
//
// Wraps: evwatch_prepare_new, evwatch_prepare_get_timeout
func (b *Base) NewPrepareWatcher(fn func(timeout time.Duration)) (*Watcher, error) {
	const op = "evwatch_prepare_new"
	if fn == nil {
		return nil, opError(op, syscall.EINVAL)
	}
	return b.newWatcher(op, fn, C.GOLIBEVENT_PREPARE)
}

// NewCheckWatcher has the loop call fn after each wait for events, before any of their
// callbacks runs. The watchers of a base are called in the order in which they were made.
//
// It returns EINVAL for a nil fn, and ENOTSUP when the package was built with a libevent
// before 2.2.
//
// Wraps: evwatch_check_new
func (b *Base) NewCheckWatcher(fn func()) (*Watcher, error) {
	const op = "evwatch_check_new"
	if fn == nil {
		return nil, opError(op, syscall.EINVAL)
	}
	return b.newWatcher(op, func(time.Duration) { fn() }, C.GOLIBEVENT_CHECK)
}

func (b *Base) newWatcher(op string, fn func(time.Duration), kind C.int) (*Watcher, error) {
	if err := b.enter(op); err != nil {
		return nil, err
	}
	defer b.leave()
	w := &Watcher{base: b, fn: fn}
	w.handle = watchers.Put(w)
	if w.handle == 0 {
		return nil, opError(op, syscall.ENOMEM)
	}
	// Before C has it: its callback may come, and close it, at once.
	w.node.Child = w
	w.life.Enter()
	if !b.children.Add(&w.node) {
		watchers.Delete(w.handle)
		return nil, opError(op, ErrClosed)
	}
	var err error
	w.c, err = C.golibevent_watcher_new(b.c, C.uintptr_t(w.handle), kind)
	if w.c == nil {
		w.life.Close()
		watchers.Delete(w.handle)
		b.children.Remove(&w.node)
		return nil, opError(op, err)
	}
	if w.life.Leave() {
		w.free()
	}
	return w, nil
}

// free gives the watcher's C part to the loop, which frees it.
func (w *Watcher) free() {
	C.golibevent_watcher_free(w.c)
	w.base.children.Remove(&w.node)
}

// Close ends the watcher. Its function is not called again, but one that is running on
// another goroutine is not waited for. Close may be called in the function itself. The
// second Close does nothing.
//
// It is safe from any goroutine.
//
// Wraps: evwatch_free
func (w *Watcher) Close() error {
	if w.base.broken.Load() {
		return &Error{"evwatch_free", ErrBroken}
	}
	first, free := w.life.Close()
	if first {
		watchers.Delete(w.handle)
	}
	if free {
		w.free()
	}
	return nil
}

// Base returns the base that the watcher was made on. It is safe from any goroutine, also
// after Close.
//
// Wraps: evwatch_base
func (w *Watcher) Base() *Base { return w.base }

// serve calls the function, of a wait for at most us microseconds; < 0 is no limit.
func (w *Watcher) serve(us int64, stop *C.uchar) {
	b := w.base
	returned := false
	defer func() {
		// The loop's own thread cannot keep the loop from the wait that is to come.
		if *stop != 0 {
			go func() { _ = b.LoopContinue() }()
		}
	}()
	defer b.caught(&returned, stop)
	timeout := NoTimeout
	if us >= 0 {
		timeout = time.Duration(us) * time.Microsecond
	}
	w.fn(timeout)
	returned = true
}
