package libevent

import (
	"syscall"
	"unsafe"
)

// The raw calls skip what the Go runtime does around a system call that may wait,
// which in a callback costs more than the call.

func rawRead(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_READ, fd, p)
}

func rawWrite(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_WRITE, fd, p)
}

func raw(trap uintptr, fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

func statusFlags(fd int) (int, syscall.Errno) {
	flags, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	return int(flags), errno
}
