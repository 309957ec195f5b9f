package libevent

import "syscall"

// newStreamSocket makes a socket that does not block and is closed on exec.
func newStreamSocket(family int) (int, error) {
	return syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
}
