package libevent

/*
#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "callbacks.h"
#cgo noescape golibevent_socketpair
#cgo nocallback golibevent_socketpair
#cgo noescape evutil_gettime_monotonic
#cgo nocallback evutil_gettime_monotonic
#cgo noescape golibevent_secure_rng_get_bytes
#cgo nocallback golibevent_secure_rng_get_bytes
#cgo noescape golibevent_sockaddr_ip
#cgo nocallback golibevent_sockaddr_ip
#cgo noescape golibevent_sockaddr_unix
#cgo nocallback golibevent_sockaddr_unix
#cgo noescape golibevent_sockaddr_parse
#cgo nocallback golibevent_sockaddr_parse
#cgo noescape golibevent_sockaddr_local
#cgo nocallback golibevent_sockaddr_local
*/
import "C"

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// MakeSocketNonblocking makes a descriptor non-blocking, which all must be that an Event or
// a Listener waits for. It returns EBADF for one that is not open.
//
// Wraps: evutil_make_socket_nonblocking
func MakeSocketNonblocking(fd int) error {
	return setSocket("evutil_make_socket_nonblocking", fd,
		C.golibevent_setter(C.evutil_make_socket_nonblocking))
}

// MakeSocketCloseOnExec keeps a descriptor from the programs that this one starts. It
// returns EBADF for one that is not open.
//
// Wraps: evutil_make_socket_closeonexec
func MakeSocketCloseOnExec(fd int) error {
	return setSocket("evutil_make_socket_closeonexec", fd,
		C.golibevent_setter(C.evutil_make_socket_closeonexec))
}

// MakeListenSocketReuseable lets a socket be bound to a port that has just been in use
// (SO_REUSEADDR), as LEV_OPT_REUSEABLE does. It comes before bind, and the Listener is
// made with NewListener. It returns EBADF for a descriptor that is not open, and ENOTSOCK.
//
// Wraps: evutil_make_listen_socket_reuseable
func MakeListenSocketReuseable(fd int) error {
	return setSocket("evutil_make_listen_socket_reuseable", fd,
		C.golibevent_setter(C.evutil_make_listen_socket_reuseable))
}

// MakeListenSocketReuseablePort lets several sockets be bound to one port, among which the
// system shares out the connections (SO_REUSEPORT), as LEV_OPT_REUSEABLE_PORT does. It
// does nothing where the system has no such thing. The rest is as for
// MakeListenSocketReuseable.
//
// Wraps: evutil_make_listen_socket_reuseable_port
func MakeListenSocketReuseablePort(fd int) error {
	return setSocket("evutil_make_listen_socket_reuseable_port", fd,
		C.golibevent_setter(C.evutil_make_listen_socket_reuseable_port))
}

// MakeListenSocketIPv6Only keeps an IPv6 socket from taking IPv4's connections too
// (IPV6_V6ONLY), as LEV_OPT_BIND_IPV6ONLY does. It returns ENOPROTOOPT or EOPNOTSUPP for
// a socket of another family. The rest is as for MakeListenSocketReuseable.
//
// Wraps: evutil_make_listen_socket_ipv6only
func MakeListenSocketIPv6Only(fd int) error {
	return setSocket("evutil_make_listen_socket_ipv6only", fd,
		C.golibevent_setter(C.evutil_make_listen_socket_ipv6only))
}

// MakeListenSocketNotIPv6Only is the reverse of MakeListenSocketIPv6Only, for systems where
// a socket is IPv6's alone by default. It returns ENOTSUP before libevent 2.2.
//
// Wraps: evutil_make_listen_socket_not_ipv6only
func MakeListenSocketNotIPv6Only(fd int) error {
	return setSocket("evutil_make_listen_socket_not_ipv6only", fd,
		C.golibevent_setter(C.golibevent_make_listen_socket_not_ipv6only))
}

// MakeTCPListenSocketDeferred has a connection accepted when it has data (TCP_DEFER_ACCEPT),
// as LEV_OPT_DEFERRED_ACCEPT does, which is for protocols where the client speaks first.
// It does nothing where the system has no such thing. It returns EBADF for a descriptor
// that is not open, and ENOTSOCK, ENOPROTOOPT or EOPNOTSUPP for one that is not TCP's.
//
// Wraps: evutil_make_tcp_listen_socket_deferred
func MakeTCPListenSocketDeferred(fd int) error {
	return setSocket("evutil_make_tcp_listen_socket_deferred", fd,
		C.golibevent_setter(C.evutil_make_tcp_listen_socket_deferred))
}

// setSocket sets an option of a socket, or says for op why not.
func setSocket(op string, fd int, set C.golibevent_setter) error {
	if fd < 0 || fd > maxInt32 {
		return opError(op, syscall.EBADF)
	}
	if rc, err := C.golibevent_set_socket(C.int(fd), set); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// SetTCPKeepalive has the system probe the peer of a TCP connection when that has been
// silent for idle, and break the connection when the third probe gets no answer. With on
// false it stops that, and idle is ignored. idle is rounded up to 1 s. It returns EBADF
// for a descriptor that cannot be one, EINVAL for an idle of 0, less, or more than C can
// hold, the errors of setsockopt, and ENOTSUP before libevent 2.2.
//
// Wraps: evutil_set_tcp_keepalive
func SetTCPKeepalive(fd int, on bool, idle time.Duration) error {
	const op = "evutil_set_tcp_keepalive"
	enable, seconds := C.int(0), time.Duration(0)
	if on {
		enable, seconds = 1, (idle-1)/time.Second+1
	}
	switch {
	case fd < 0 || fd > maxInt32:
		return opError(op, syscall.EBADF)
	case on && (idle <= 0 || seconds > maxInt32):
		return opError(op, syscall.EINVAL)
	}
	if rc, err := C.golibevent_set_tcp_keepalive(C.int(fd), enable, C.int(seconds)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Socketpair makes two sockets that are connected to each other, non-blocking and
// close-on-exec. domain, typ and protocol are those of the system's socketpair, whose
// errors it returns; domain is AF_UNIX almost everywhere. The descriptors are the caller's.
//
// Wraps: evutil_socketpair
func Socketpair(domain, typ, protocol int) (fds [2]int, err error) {
	const op = "evutil_socketpair"
	for _, n := range []int{domain, typ, protocol} {
		if n < 0 || n > maxInt32 {
			return fds, opError(op, syscall.EINVAL)
		}
	}
	var pair [2]C.int
	// Where close-on-exec takes a second call, no exec may come between.
	syscall.ForkLock.RLock()
	rc, err := C.golibevent_socketpair(C.int(domain), C.int(typ), C.int(protocol), &pair[0])
	syscall.ForkLock.RUnlock()
	if rc == -1 {
		return fds, opError(op, err)
	}
	return [2]int{int(pair[0]), int(pair[1])}, nil
}

// MonotonicTimer is a clock that never goes back, whatever happens to the wall clock. It is
// the one that loops measure timeouts with; Base.Monotonic asks that of a base.
//
// Its methods are safe from any goroutine.
//
// Wraps: struct evutil_monotonic_timer
type MonotonicTimer struct {
	mu sync.Mutex
	c  *C.struct_evutil_monotonic_timer // nil after Close
}

// NewMonotonicTimer makes a MonotonicTimer. With 0 it is the clock that costs least, which
// on Linux may move in steps of some milliseconds. The caller must Close it. It returns
// EINVAL for unknown flags.
//
// Wraps: evutil_monotonic_timer_new, evutil_configure_monotonic_time
func NewMonotonicTimer(flags MonotonicFlags) (*MonotonicTimer, error) {
	const op = "evutil_configure_monotonic_time"
	if flags&^knownMonotonicFlags != 0 {
		return nil, opError(op, syscall.EINVAL)
	}
	c, err := C.golibevent_monotonic_timer_new(C.int(flags))
	if c == nil {
		return nil, opError(op, err)
	}
	return &MonotonicTimer{c: c}, nil
}

// Time returns the clock's time, in steps of 1 µs or more. It has no meaning but in
// differences between times of the same MonotonicTimer. It returns ErrClosed after Close.
//
// Wraps: evutil_gettime_monotonic
func (t *MonotonicTimer) Time() (time.Duration, error) {
	const op = "evutil_gettime_monotonic"
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c == nil {
		return 0, opError(op, ErrClosed)
	}
	var tv C.struct_timeval
	if rc, err := C.evutil_gettime_monotonic(t.c, &tv); rc == -1 {
		return 0, opError(op, err)
	}
	return time.Duration(tv.tv_sec)*time.Second + time.Duration(tv.tv_usec)*time.Microsecond, nil
}

// Close frees the MonotonicTimer. The second Close does nothing.
//
// Wraps: evutil_monotonic_timer_free
func (t *MonotonicTimer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c != nil {
		C.evutil_monotonic_timer_free(t.c)
		t.c = nil
	}
	return nil
}

// SecureRNGInit seeds libevent's random generator, which libevent does by itself when it
// first needs it: a program calls it before it gives up what that takes, as by a chroot
// without /dev/urandom. It returns the system's error, or EIO, when there is no seed to be
// had. It is safe from any goroutine.
//
// Wraps: evutil_secure_rng_init
func SecureRNGInit() error {
	lockDebugging.settle()
	if rc, err := C.golibevent_secure_rng_init(); rc == -1 {
		return opError("evutil_secure_rng_init", err)
	}
	return nil
}

// SecureRNGGetBytes fills p from libevent's random generator, which is what its DNS client
// numbers its queries with. For keys there is crypto/rand. Its errors are those of
// SecureRNGInit. It is safe from any goroutine.
//
// Wraps: evutil_secure_rng_get_bytes
func SecureRNGGetBytes(p []byte) error {
	lockDebugging.settle()
	rc, err := C.golibevent_secure_rng_get_bytes(cBytes(p), C.size_t(len(p)))
	if rc == -1 {
		return opError("evutil_secure_rng_get_bytes", err)
	}
	return nil
}

// SecureRNGAddBytes adds p, which should be hard to guess, to the seed of libevent's random
// generator. It returns ENOTSUP where the generator is the system's, which seeds itself. It
// is safe from any goroutine.
//
// Wraps: evutil_secure_rng_add_bytes
func SecureRNGAddBytes(p []byte) error {
	lockDebugging.settle()
	rc, err := C.golibevent_secure_rng_add_bytes(cBytes(p), C.size_t(len(p)))
	if rc == -1 {
		return opError("evutil_secure_rng_add_bytes", err)
	}
	return nil
}

// SetURandomDeviceFile has libevent's random generator seeded from another file than
// /dev/urandom. Call it before anything else, C code included, uses the generator. It
// returns EINVAL for a name that is empty or contains NUL, and ENOTSUP where the
// generator is the system's. The file is looked for when the seed is needed.
//
// Wraps: evutil_secure_rng_set_urandom_device_file
func SetURandomDeviceFile(name string) error {
	const op = "evutil_secure_rng_set_urandom_device_file"
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return opError(op, syscall.EINVAL)
	}
	file := C.CString(name) // libevent's for good, if it takes it
	if C.evutil_secure_rng_set_urandom_device_file(file) == -1 {
		C.free(unsafe.Pointer(file))
		return opError(op, syscall.ENOTSUP)
	}
	return nil
}

// sockaddr is a socket address in C's form.
type sockaddr struct {
	storage C.struct_sockaddr_storage
	len     C.int
}

func (sa *sockaddr) pointer() *C.struct_sockaddr {
	return (*C.struct_sockaddr)(unsafe.Pointer(&sa.storage))
}

// sockaddrIP gives C's form of ap. An invalid address, or an unknown zone, is EINVAL.
func sockaddrIP(ap netip.AddrPort) (*sockaddr, error) {
	addr := ap.Addr()
	zone := addr.Zone()
	if !addr.IsValid() || strings.IndexByte(zone, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	czone := C.CString(zone)
	defer C.free(unsafe.Pointer(czone))
	sa := &sockaddr{}
	octets := addr.AsSlice()
	sa.len = C.golibevent_sockaddr_ip(&sa.storage, (*C.uint8_t)(&octets[0]), C.int(len(octets)),
		C.uint16_t(ap.Port()), czone)
	if sa.len == 0 {
		return nil, syscall.EINVAL
	}
	return sa, nil
}

// sockaddrUnix gives C's form of a unix address: a path, or on Linux a name that
// begins with "@" or NUL and is not in the file system. It returns EINVAL for one that
// is empty, too long, or has a NUL inside a path.
func sockaddrUnix(path string) (*sockaddr, error) {
	name := []byte(path)
	switch {
	case path == "":
		return nil, syscall.EINVAL
	case path[0] == '@':
		name[0] = 0
	case path[0] != 0 && strings.IndexByte(path, 0) >= 0:
		return nil, syscall.EINVAL
	}
	sa := &sockaddr{}
	sa.len = C.golibevent_sockaddr_unix(&sa.storage, (*C.char)(unsafe.Pointer(&name[0])), C.size_t(len(name)))
	if sa.len == 0 {
		return nil, syscall.EINVAL
	}
	return sa, nil
}

// addrPortOf gives Go's form of a C address, the zero AddrPort for one that is not IP.
func addrPortOf(sa *C.struct_sockaddr, n C.int) netip.AddrPort {
	var (
		octets [16]byte
		port   C.uint16_t
		zone   [C.IF_NAMESIZE]C.char
	)
	count := C.golibevent_sockaddr_parse(sa, n, (*C.uint8_t)(&octets[0]), &port, &zone[0])
	addr, ok := netip.AddrFromSlice(octets[:count])
	if !ok {
		return netip.AddrPort{}
	}
	if zone[0] != 0 {
		addr = addr.WithZone(C.GoString(&zone[0]))
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// pathOf gives Go's form of a unix address, with "@" for the NUL of one that is not in
// the file system. It gives "" for one without a name, and for another family.
func pathOf(sa *C.struct_sockaddr, n C.int) string {
	var sun C.struct_sockaddr_un
	length := int(n) - int(unsafe.Offsetof(sun.sun_path))
	if sa.sa_family != C.AF_UNIX || length <= 0 || length > len(sun.sun_path) {
		return ""
	}
	path := C.GoBytes(unsafe.Pointer(&(*C.struct_sockaddr_un)(unsafe.Pointer(sa)).sun_path), C.int(length))
	if path[0] == 0 {
		return "@" + string(path[1:])
	}
	path, _, _ = bytes.Cut(path, []byte{0})
	return string(path)
}

// boundTo gives the address of a socket in both of its forms.
func boundTo(fd int) (netip.AddrPort, string) {
	sa := &sockaddr{}
	sa.len = C.golibevent_sockaddr_local(C.int(fd), &sa.storage)
	if sa.len == 0 {
		return netip.AddrPort{}, ""
	}
	return addrPortOf(sa.pointer(), sa.len), pathOf(sa.pointer(), sa.len)
}
