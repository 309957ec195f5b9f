package libevent

/*
#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "callbacks.h"
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
	"syscall"
	"unsafe"
)

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
