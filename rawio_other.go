//go:build !linux || 386 || s390x

package libevent

// #include <fcntl.h>
// static int status_flags(int fd) { return fcntl(fd, F_GETFL); }
import "C"

import "syscall"

func rawRead(fd int, p []byte) (int, syscall.Errno) { return retry(syscall.Read, fd, p) }

func rawWrite(fd int, p []byte) (int, syscall.Errno) { return retry(syscall.Write, fd, p) }

// Without a system call for each of them, sockets are read and written as all else is.

func rawRecv(int, []byte) (int, syscall.Errno) { return 0, syscall.ENOTSOCK }

func rawSend(int, []byte) (int, syscall.Errno) { return 0, syscall.ENOTSOCK }

func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, syscall.Errno) {
	for {
		n, err := call(fd, p)
		if err == nil {
			return n, 0
		}
		if errno, ok := err.(syscall.Errno); !ok {
			return 0, syscall.EIO
		} else if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func statusFlags(fd int) (int, syscall.Errno) {
	flags, err := C.status_flags(C.int(fd))
	if flags == -1 {
		return 0, err.(syscall.Errno)
	}
	return int(flags), 0
}
