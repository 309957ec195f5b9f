//go:build !386 && !s390x

package libevent

import (
	"syscall"
	"unsafe"
)

// The raw calls skip what the Go runtime does around a system call that may wait,
// which in a callback costs more than the call.

func rawRead(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_READ, fd, p, 0)
}

func rawWrite(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_WRITE, fd, p, 0)
}

// rawRecv and rawSend are what rawRead and rawWrite are in the end for a socket, a little
// sooner, and wait for nothing in any mode. ENOTSOCK is for other descriptors.

func rawRecv(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_RECVFROM, fd, p, syscall.MSG_DONTWAIT)
}

func rawSend(fd int, p []byte) (int, syscall.Errno) {
	return raw(syscall.SYS_SENDTO, fd, p, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func raw(trap uintptr, fd int, p []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

func statusFlags(fd int) (int, syscall.Errno) {
	flags, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	return int(flags), errno
}
