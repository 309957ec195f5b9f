package libevent

// #include "callbacks.h"
import "C"

import "errors"

var (
	lockDebugging debugging // settled before a lock of libevent's is made or taken
	errLocksInUse = errors.New("locks are in use already")
)

// EnableLockDebugging makes libevent watch over its locks and end the process when one is
// misused, as when C code gives one back that another thread has taken, at some cost. It
// must come before the first base, the first Buffer.EnableLocking and the first use of
// the random generator, and returns an Error that says so afterwards. To enable it again
// does nothing.
//
// Wraps: evthread_enable_lock_debugging
func EnableLockDebugging() error {
	return lockDebugging.enable("evthread_enable_lock_debugging", errLocksInUse,
		func() { C.golibevent_enable_lock_debugging() })
}
