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

const (
	// closed is the bit that says so, alone the one that keeps calls out for a moment;
	// the bits below count the calls inside.
	closed = 1 << 30
	alone  = 1 << 29
)

// Life is the state of one object. The zero Life is open and unused. All its
// methods are safe from any goroutine.
type Life struct{ state atomic.Int32 }

// Enter begins a call and reports whether the object is open. If it is, the
// caller must Leave.
func (l *Life) Enter() bool {
	for {
		s := l.state.Load()
		if s&(closed|alone) != 0 {
			if s&closed != 0 {
				return false
			}
			runtime.Gosched()
			continue
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
func (l *Life) Close() (first, free bool) { return l.close(0) }

// CloseInside is Close, but when calls are inside, and it is the first, it begins another
// one, which the caller must Leave: for what cannot wait until the others have left.
func (l *Life) CloseInside() (first, free bool) { return l.close(1) }

// close closes the object, and begins so many calls when others are inside.
func (l *Life) close(calls int32) (first, free bool) {
	for {
		s := l.state.Load()
		if s&closed != 0 {
			return false, false
		}
		if s&alone != 0 {
			runtime.Gosched()
			continue
		}
		next := s | closed
		if s != 0 {
			next += calls
		}
		if l.state.CompareAndSwap(s, next) {
			return true, s == 0
		}
	}
}

// Alone calls fn while no call is inside but the caller's: others wait before they enter,
// and so does Close. It reports false, without a call, when there are others, or the
// object is closed. It is for what is short.
func (l *Life) Alone(fn func()) bool {
	if !l.state.CompareAndSwap(1, 1|alone) {
		return false
	}
	defer l.state.Store(1)
	fn()
	return true
}

// Drain waits until no call is inside. It is for calls that are short.
func (l *Life) Drain() {
	for l.state.Load()&^closed != 0 {
		runtime.Gosched()
	}
}

// Closed reports whether Close was called.
func (l *Life) Closed() bool { return l.state.Load()&closed != 0 }
