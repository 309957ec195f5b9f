//go:build !linux

package libevent

import "syscall"

// newStreamSocket makes a socket that does not block and is closed on exec.
func newStreamSocket(family int) (int, error) {
	// No exec may come between the two calls.
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}
