package libevent

// #include "callbacks.h"
import "C"

import (
	"errors"
	"sync"
)

// lockDebugging says whether libevent watches over its locks, and whether it is too late.
var lockDebugging struct {
	mu       sync.Mutex
	on, late bool
}

var errLocksInUse = errors.New("locks are in use already")

// EnableLockDebugging makes libevent watch over its locks and end the process when one is
// misused, as when C code gives one back that another thread has taken, at some cost. It
// must come before the first base, the first Buffer.EnableLocking and the first use of
// the random generator, and returns an Error that says so afterwards. To enable it again
// does nothing.
//
// Wraps: evthread_enable_lock_debugging
func EnableLockDebugging() error {
	lockDebugging.mu.Lock()
	defer lockDebugging.mu.Unlock()
	switch {
	case lockDebugging.on:
		return nil
	case lockDebugging.late:
		return &Error{"evthread_enable_lock_debugging", errLocksInUse}
	}
	C.golibevent_enable_lock_debugging()
	lockDebugging.on = true
	return nil
}

// settleLockDebugging notes that a lock of libevent's is about to be made or taken.
func settleLockDebugging() {
	lockDebugging.mu.Lock()
	defer lockDebugging.mu.Unlock()
	lockDebugging.late = true
}
