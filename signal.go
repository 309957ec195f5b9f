package libevent

// #include <signal.h>
import "C"

import "syscall"

// maxSignal is above every signal's number.
const maxSignal = C.NSIG

// signalAllowed says whether an event may wait for a signal: not for those that cannot
// be caught, nor for those that the Go runtime and the C library live on.
func signalAllowed(signum int) bool {
	switch syscall.Signal(signum) {
	case syscall.SIGKILL, syscall.SIGSTOP,
		syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL,
		syscall.SIGPROF, syscall.SIGSEGV, syscall.SIGSYS, syscall.SIGTRAP,
		syscall.SIGURG, 32, 33:
		return false
	}
	return signum > 0 && signum < maxSignal
}
