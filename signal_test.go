package libevent_test

import (
	"runtime"
	"syscall"
	"testing"
)

// raise sends a signal to its own thread, whose handler has run when it returns: none
// of them merges with another one.
func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Tgkill(syscall.Getpid(), syscall.Gettid(), sig); err != nil {
		t.Error(err)
	}
}
