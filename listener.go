package libevent

/*
#include "callbacks.h"
#cgo noescape golibevent_listener_bind
#cgo nocallback golibevent_listener_bind
#cgo nocallback golibevent_listener_new
#cgo nocallback golibevent_listener_start
#cgo nocallback golibevent_listener_set_enabled
*/
import "C"

import (
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/mattn/go-pointer"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
)

// AcceptCallback is what a Listener calls for each connection. fd is the connection's
// socket, which the callback owns from then on; it is close-on-exec, and non-blocking
// unless the Listener has LEV_OPT_LEAVE_SOCKETS_BLOCKING. addr is the peer's address, the
// zero AddrPort for a unix socket; an IPv4 peer of an IPv6 socket is IPv4-mapped.
type AcceptCallback func(ln *Listener, fd int, addr netip.AddrPort)

// Listener accepts connections on a socket.
//
// When accept fails, as it does for want of descriptors (EMFILE, ENFILE), the Listener
// pauses, for the socket stays readable and the next try would fail at once: for 100 ms,
// and twice as long after each further failure up to 1 s, until a connection is
// accepted. It resumes by itself. SetErrorCallback's function is told once a pause.
//
// Its methods are safe from any goroutine, with or without LEV_OPT_THREADSAFE, unless
// the base was made with EVENT_BASE_FLAG_NOLOCK; after Close they return ErrClosed, or a
// zero value. What another goroutine than the loop's asks for while the loop runs is
// done by the loop, in its next pass; none of them waits for a callback.
//
// Wraps: struct evconnlistener
type Listener struct {
	c    *C.struct_golibevent_listener
	lev  *C.struct_evconnlistener
	base *Base
	fd   int
	addr netip.AddrPort
	path string
	life life.Life
	node own.Node

	accept atomic.Pointer[AcceptCallback]
	failed atomic.Pointer[func(*Listener, error)]
}

// Listen makes a Listener on a TCP socket of its own, which is bound to addr; with port
// 0 the system picks one, see Addr. backlog is how many connections may wait to be
// accepted; 0 and less is libevent's default, 128.
//
// The socket is close-on-exec and stays open after Close, unless options has
// LEV_OPT_CLOSE_ON_FREE: it is then the caller's, see FD. A port that has just been in
// use needs LEV_OPT_REUSEABLE.
//
// It returns EINVAL for a nil fn, an invalid addr, unknown options and a backlog that C
// cannot hold; ENOTSUP for an option that needs a later libevent; ENOPROTOOPT or EOPNOTSUPP
// for options that the address family has not; and the errors of socket, bind and listen,
// such as EADDRINUSE.
//
// Wraps: evconnlistener_new_bind
func (b *Base) Listen(addr netip.AddrPort, options ListenerOptions, backlog int, fn AcceptCallback) (*Listener, error) {
	sa, err := sockaddrIP(addr)
	return b.listen(sa, err, options, backlog, fn)
}

// ListenUnix is Listen on a unix socket: a path, which must not be there and is not
// removed afterwards, or on Linux a name that begins with "@" or NUL and is not in the
// file system. It returns EINVAL for a path that is empty, too long or contains NUL.
//
// Wraps: evconnlistener_new_bind
func (b *Base) ListenUnix(path string, options ListenerOptions, backlog int, fn AcceptCallback) (*Listener, error) {
	sa, err := sockaddrUnix(path)
	return b.listen(sa, err, options, backlog, fn)
}

func (b *Base) listen(sa *sockaddr, err error, options ListenerOptions, backlog int, fn AcceptCallback) (*Listener, error) {
	const op = "evconnlistener_new_bind"
	if err != nil {
		return nil, opError(op, err)
	}
	return b.newListener(op, options, backlog, fn, true, func(options C.uint, backlog C.int, handle unsafe.Pointer) (*C.struct_golibevent_listener, error) {
		c, err := C.golibevent_listener_bind(b.c, sa.pointer(), sa.len, options, backlog, handle)
		return c, err
	})
}

// NewListener makes a Listener on a socket that is bound already. backlog is how many
// connections may wait to be accepted; a negative one is libevent's default, 128. With 0
// a socket that listens already is left as it is, and any other listens with the default.
//
// The socket becomes non-blocking and close-on-exec. It stays the caller's, who closes
// the Listener first, unless options has LEV_OPT_CLOSE_ON_FREE. Options for binding, such
// as LEV_OPT_REUSEABLE, come too late and do nothing.
//
// It returns EBADF for a descriptor that is not open, ENOTSOCK and EOPNOTSUPP for one
// that cannot listen, EINVAL and ENOTSUP for what Listen refuses, for a descriptor beyond
// what the select backend can watch, and for a socket that is connected. On failure the
// socket is left open, unless the backend could not watch one more (ENOMEM, ENOSPC).
//
// Wraps: evconnlistener_new
func (b *Base) NewListener(fd int, options ListenerOptions, backlog int, fn AcceptCallback) (*Listener, error) {
	const op = "evconnlistener_new"
	if fd < 0 || fd > maxInt32 {
		return nil, opError(op, syscall.EBADF)
	}
	return b.newListener(op, options, backlog, fn, false, func(options C.uint, backlog C.int, handle unsafe.Pointer) (*C.struct_golibevent_listener, error) {
		c, err := C.golibevent_listener_new(b.c, C.int(fd), options, backlog, handle)
		return c, err
	})
}

// listenerMaker makes a Listener's C part.
type listenerMaker func(options C.uint, backlog C.int, handle unsafe.Pointer) (*C.struct_golibevent_listener, error)

// newListener completes a Listener whose C part create makes, disabled, on its own socket
// or on the caller's.
func (b *Base) newListener(op string, options ListenerOptions, backlog int, fn AcceptCallback, ownSocket bool, create listenerMaker) (*Listener, error) {
	if fn == nil || options&^knownListenerOptions != 0 || backlog > maxInt32 {
		return nil, opError(op, syscall.EINVAL)
	}
	if !has22 && options&LEV_OPT_BIND_IPV4_AND_IPV6 != 0 {
		return nil, opError(op, syscall.ENOTSUP)
	}
	if err := b.enter(op); err != nil {
		return nil, err
	}
	defer b.leave()
	ln := &Listener{base: b}
	ln.accept.Store(&fn)
	handle := pointer.Save(ln)
	var err error
	ln.c, err = create(C.uint(options|LEV_OPT_CLOSE_ON_EXEC), C.int(max(backlog, -1)), handle)
	if ln.c == nil {
		pointer.Unref(handle)
		return nil, opError(op, err)
	}
	ln.lev = C.golibevent_listener_c(ln.c)
	ln.fd = int(C.evconnlistener_get_fd(ln.lev))
	ln.addr, ln.path = boundTo(ln.fd)
	ln.node.Child = ln
	if err := ln.start(op, options); err != nil {
		_ = ln.Close()
		if ownSocket && options&LEV_OPT_CLOSE_ON_FREE == 0 {
			_ = syscall.Close(ln.fd)
		}
		return nil, err
	}
	return ln, nil
}

// start gives the Listener to its base and enables it, which libevent would do by
// itself but without a word when it fails.
func (ln *Listener) start(op string, options ListenerOptions) error {
	ln.life.Enter() // as the only caller until the base has it
	defer ln.leave()
	if !ln.base.children.Add(&ln.node) {
		return opError(op, ErrClosed)
	}
	if options&LEV_OPT_DISABLED != 0 {
		return nil
	}
	if rc, err := C.golibevent_listener_start(ln.c); rc == -1 {
		return opError("evconnlistener_enable", err)
	}
	return nil
}

// enter begins a call into C for op. If it returns nil the caller must leave.
func (ln *Listener) enter(op string) error {
	if ln.base.broken.Load() {
		return &Error{op, ErrBroken}
	}
	if !ln.life.Enter() {
		return &Error{op, ErrClosed}
	}
	return nil
}

func (ln *Listener) leave() {
	if ln.life.Leave() {
		ln.free()
	}
}

// free frees the Listener's C part when it is closed and no call is inside.
func (ln *Listener) free() {
	C.golibevent_listener_free(ln.c)
	ln.base.children.Remove(&ln.node)
}

// Close stops accepting and frees the Listener; with LEV_OPT_CLOSE_ON_FREE it closes
// the socket. Its callbacks do not come again, but one that is running on another
// goroutine is not waited for. Connections that nobody has accepted are reset, if the
// socket is closed. Close may be called in the Listener's own callbacks. The second
// Close does nothing.
//
// It is safe from any goroutine. While the loop runs on another one, the socket is
// closed in the loop's next pass. One without LEV_OPT_CLOSE_ON_FREE is the caller's when
// Close returns, or when the methods have in which other goroutines are.
//
// Wraps: evconnlistener_free
func (ln *Listener) Close() error {
	if ln.base.broken.Load() {
		return &Error{"evconnlistener_free", ErrBroken}
	}
	if _, free := ln.life.Close(); free {
		ln.free()
	}
	return nil
}

// Enable accepts connections again after Disable or LEV_OPT_DISABLED. It does not end a
// pause. When the loop does it for another goroutine, a failure goes to the function of
// SetErrorCallback.
//
// It is safe from any goroutine.
//
// Wraps: evconnlistener_enable
func (ln *Listener) Enable() error { return ln.setEnabled("evconnlistener_enable", 1) }

// Disable stops accepting connections; the socket goes on listening, and they wait.
// After Disable from the loop none comes; from another goroutine, one that is being
// accepted may still come.
//
// It is safe from any goroutine.
//
// Wraps: evconnlistener_disable
func (ln *Listener) Disable() error { return ln.setEnabled("evconnlistener_disable", 0) }

func (ln *Listener) setEnabled(op string, enabled C.int) error {
	if err := ln.enter(op); err != nil {
		return err
	}
	defer ln.leave()
	if rc, err := C.golibevent_listener_set_enabled(ln.c, enabled); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// SetCallback replaces the function that is called for each connection. A nil fn is
// EINVAL: see Disable. It is safe from any goroutine.
//
// Wraps: evconnlistener_set_cb
func (ln *Listener) SetCallback(fn AcceptCallback) error {
	const op = "evconnlistener_set_cb"
	if fn == nil {
		return opError(op, syscall.EINVAL)
	}
	if err := ln.enter(op); err != nil {
		return err
	}
	defer ln.leave()
	ln.accept.Store(&fn)
	return nil
}

// SetErrorCallback sets the function that is called when accept has failed and the
// Listener has paused. err is an *Error with the system's errno. Without one, or with
// nil, the error goes to libevent's log as a warning: see SetLogger.
//
// Not an error are EINTR, EAGAIN and ECONNABORTED, after which the Listener just goes
// on. It is safe from any goroutine.
//
// Wraps: evconnlistener_set_error_cb
func (ln *Listener) SetErrorCallback(fn func(ln *Listener, err error)) error {
	if err := ln.enter("evconnlistener_set_error_cb"); err != nil {
		return err
	}
	defer ln.leave()
	if fn == nil {
		ln.failed.Store(nil)
	} else {
		ln.failed.Store(&fn)
	}
	return nil
}

// Addr returns the address that the socket was bound to when the Listener was made, with
// the port that the system has picked; the zero AddrPort for a unix socket. It is safe
// from any goroutine, also after Close.
func (ln *Listener) Addr() netip.AddrPort { return ln.addr }

// Path returns the path of a unix socket, or its name with "@" in front when it is not in
// the file system; "" for another socket. It is safe from any goroutine, also after Close.
func (ln *Listener) Path() string { return ln.path }

// FD returns the socket's descriptor. It is safe from any goroutine, also after Close,
// when the number may stand for another file.
//
// Wraps: evconnlistener_get_fd
func (ln *Listener) FD() int { return ln.fd }

// Base returns the base that the Listener was made on.
//
// Wraps: evconnlistener_get_base
func (ln *Listener) Base() *Base { return ln.base }

// onAccept serves a connection. When the callback panics it has the descriptor already.
func (ln *Listener) onAccept(fd int, addr netip.AddrPort, stop *C.uchar) {
	returned := false
	defer ln.base.caught(&returned, stop)
	(*ln.accept.Load())(ln, fd, addr)
	returned = true
}

func (ln *Listener) onError(err error, stop *C.uchar) {
	fn := ln.failed.Load()
	if fn == nil {
		warn(err)
		return
	}
	returned := false
	defer ln.base.caught(&returned, stop)
	(*fn)(ln, err)
	returned = true
}
