// Package life keeps a C object alive while calls are inside it.
//
// Close may come from any goroutine while others are in a method. A lock held
// across the C call would be held while C waits for a callback, which may itself
// want to close the object; so the calls are counted, and the last one out frees.
package life

import (
	"runtime"
	"sync/atomic"
)

// closed is the bit that says so; the bits below count the calls inside.
const closed = 1 << 30

// Life is the state of one object. The zero Life is open and unused. All its
// methods are safe from any goroutine.
type Life struct{ state atomic.Int32 }

// Enter begins a call and reports whether the object is open. If it is, the
// caller must Leave.
func (l *Life) Enter() bool {
	for {
		s := l.state.Load()
		if s&closed != 0 {
			return false
		}
		if l.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// Leave ends a call. It reports true when the object was closed meanwhile and
// this was the last call inside: the caller must then free it.
func (l *Life) Leave() bool {
	return l.state.Add(-1) == closed
}

// Close closes the object. first reports whether it was open, and free whether
// no call was inside, so that the caller must free it.
func (l *Life) Close() (first, free bool) {
	for {
		s := l.state.Load()
		if s&closed != 0 {
			return false, false
		}
		if l.state.CompareAndSwap(s, s|closed) {
			return true, s == 0
		}
	}
}

// Drain waits until no call is inside. It is for calls that are short.
func (l *Life) Drain() {
	for l.state.Load()&^closed != 0 {
		runtime.Gosched()
	}
}

// Closed reports whether Close was called.
func (l *Life) Closed() bool { return l.state.Load()&closed != 0 }
