package libevent_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent"
)

var (
	loopback4 = netip.MustParseAddrPort("127.0.0.1:0")
	loopback6 = netip.MustParseAddrPort("[::1]:0")
)

// usual are the options that most listeners have.
const usual = libevent.LEV_OPT_CLOSE_ON_FREE | libevent.LEV_OPT_REUSEABLE

// listen makes a listener on a port of 127.0.0.1.
func listen(t testing.TB, b *libevent.Base, options libevent.ListenerOptions, fn libevent.AcceptCallback) *libevent.Listener {
	t.Helper()
	ln, err := b.Listen(loopback4, options, 0, fn)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// dial connects to a listener, which need not have accepted yet.
func dial(t testing.TB, ln *libevent.Listener) net.Conn {
	t.Helper()
	network, addr := "tcp", ln.Addr().String()
	if ln.Path() != "" {
		network, addr = "unix", ln.Path()
	}
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// discard is an accept callback that closes what it gets.
func discard(_ *libevent.Listener, fd int, _ netip.AddrPort) { _ = syscall.Close(fd) }

func fcntl(t testing.TB, fd, cmd int) int {
	t.Helper()
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(cmd), 0)
	if errno != 0 {
		t.Errorf("fcntl %d of %d: %v", cmd, fd, errno)
	}
	return int(flags)
}

func isOpen(fd int) bool {
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	return errno == 0
}

// Upstream: listener/randport
// Upstream: listener/randport_ts
func TestListenersAcceptOnPortsOfTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen func(b *libevent.Base, options libevent.ListenerOptions, fn libevent.AcceptCallback) (*libevent.Listener, error)
	}{
		{"IPv4", func(b *libevent.Base, options libevent.ListenerOptions, fn libevent.AcceptCallback) (*libevent.Listener, error) {
			return b.Listen(loopback4, options, 0, fn)
		}},
		{"IPv6", func(b *libevent.Base, options libevent.ListenerOptions, fn libevent.AcceptCallback) (*libevent.Listener, error) {
			ln, err := b.Listen(loopback6, options, -1, fn)
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Skip("::1 is absent: ", err)
			}
			return ln, err
		}},
	} {
		for _, options := range []libevent.ListenerOptions{usual, usual | libevent.LEV_OPT_THREADSAFE} {
			t.Run(tt.name+" "+options.String(), func(t *testing.T) {
				b := newBase(t)
				left := map[*libevent.Listener]int{}
				var peers []netip.AddrPort
				accept := func(ln *libevent.Listener, fd int, addr netip.AddrPort) {
					peers = append(peers, addr)
					_ = syscall.Close(fd)
					if left[ln]--; left[ln] == 0 {
						if err := ln.Disable(); err != nil {
							t.Error(err)
						}
					}
				}
				first, err := tt.listen(b, options, accept)
				if err != nil {
					t.Fatal(err)
				}
				second, err := tt.listen(b, options, accept)
				if err != nil {
					t.Fatal(err)
				}
				if first.Addr().Port() == 0 || first.Addr() == second.Addr() {
					t.Errorf("addresses %v and %v", first.Addr(), second.Addr())
				}
				if !first.Addr().Addr().IsLoopback() || first.Path() != "" || first.Base() != b {
					t.Errorf("address %v, path %q, base %p", first.Addr(), first.Path(), first.Base())
				}
				left[first], left[second] = 2, 1
				var want []netip.AddrPort
				for _, ln := range []*libevent.Listener{first, first, second} {
					want = append(want, dial(t, ln).LocalAddr().(*net.TCPAddr).AddrPort())
				}
				dispatch(t, b)
				if left[first] != 0 || left[second] != 0 {
					t.Errorf("%d and %d connections did not come", left[first], left[second])
				}
				compare := func(x, y netip.AddrPort) int { return x.Compare(y) }
				slices.SortFunc(want, compare)
				slices.SortFunc(peers, compare)
				if !slices.Equal(peers, want) {
					t.Errorf("peers %v, want %v", peers, want)
				}
			})
		}
	}
}

func TestListenerOnUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	abstract := fmt.Sprintf("@libevent-test-%d", os.Getpid())
	for _, tt := range []struct{ name, path, want string }{
		{"path", path, path},
		{"abstract", abstract, abstract},
		{"abstract with NUL", "\x00" + abstract[1:], abstract},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want[0] == '@' && runtime.GOOS != "linux" {
				t.Skip("abstract names are Linux's")
			}
			b := newBase(t)
			ln, err := b.ListenUnix(tt.path, usual, 0, func(ln *libevent.Listener, fd int, addr netip.AddrPort) {
				if addr.IsValid() {
					t.Errorf("a unix peer has the address %v", addr)
				}
				send(t, fd, "hello")
				_ = syscall.Close(fd)
				_ = ln.Close()
			})
			if err != nil {
				t.Fatal(err)
			}
			if ln.Path() != tt.want || ln.Addr().IsValid() {
				t.Errorf("path %q, address %v", ln.Path(), ln.Addr())
			}
			if _, err := b.ListenUnix(tt.path, usual, 0, discard); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second listener: %v", err)
			}
			conn := dial(t, ln)
			dispatch(t, b)
			var buf [10]byte
			if n, _ := conn.Read(buf[:]); string(buf[:n]) != "hello" {
				t.Errorf("the client reads %q", buf[:n])
			}
		})
	}
}

func TestListenerOptionsOnTheListeningSocket(t *testing.T) {
	const soReusePort, tcpDeferAccept = 15, 9 // Linux's
	for _, tt := range []struct {
		name          string
		addr          netip.AddrPort
		option        libevent.ListenerOptions
		level, number int
	}{
		{"REUSEABLE", loopback4, libevent.LEV_OPT_REUSEABLE, syscall.SOL_SOCKET, syscall.SO_REUSEADDR},
		{"REUSEABLE_PORT", loopback4, libevent.LEV_OPT_REUSEABLE_PORT, syscall.SOL_SOCKET, soReusePort},
		{"DEFERRED_ACCEPT", loopback4, libevent.LEV_OPT_DEFERRED_ACCEPT, syscall.IPPROTO_TCP, tcpDeferAccept},
		// Linux sets this one by itself for any other address.
		{"BIND_IPV6ONLY", netip.MustParseAddrPort("[::]:0"), libevent.LEV_OPT_BIND_IPV6ONLY, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS != "linux" {
				t.Skip("the options' numbers are Linux's")
			}
			b := newBase(t)
			for _, options := range []libevent.ListenerOptions{0, tt.option} {
				ln, err := b.Listen(tt.addr, options|libevent.LEV_OPT_CLOSE_ON_FREE, 0, discard)
				if errors.Is(err, syscall.EAFNOSUPPORT) {
					t.Skip("there is no IPv6: ", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				value, err := syscall.GetsockoptInt(ln.FD(), tt.level, tt.number)
				if err != nil || (value != 0) != (options != 0) {
					t.Errorf("with options %v the socket option is %d, %v", options, value, err)
				}
				if fcntl(t, ln.FD(), syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 {
					t.Error("the listening socket is not close-on-exec")
				}
				if fcntl(t, ln.FD(), syscall.F_GETFL)&syscall.O_NONBLOCK == 0 {
					t.Error("the listening socket is blocking")
				}
			}
		})
	}
}

func TestListenerOptionsOnAcceptedSockets(t *testing.T) {
	for _, tt := range []struct {
		options  libevent.ListenerOptions
		blocking bool
	}{
		{0, false},
		{libevent.LEV_OPT_CLOSE_ON_EXEC, false},
		{libevent.LEV_OPT_LEAVE_SOCKETS_BLOCKING, true},
	} {
		t.Run(tt.options.String(), func(t *testing.T) {
			b := newBase(t)
			accepted := false
			ln := listen(t, b, usual|tt.options, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
				accepted = true
				if fcntl(t, fd, syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 {
					t.Error("not close-on-exec")
				}
				if blocking := fcntl(t, fd, syscall.F_GETFL)&syscall.O_NONBLOCK == 0; blocking != tt.blocking {
					t.Errorf("blocking: %v", blocking)
				}
				_ = syscall.Close(fd)
				_ = ln.Close()
			})
			dial(t, ln)
			dispatch(t, b)
			if !accepted {
				t.Error("nothing was accepted")
			}
		})
	}
}

func TestListenersShareAPort(t *testing.T) {
	b := newBase(t)
	const shared = usual | libevent.LEV_OPT_REUSEABLE_PORT
	first := listen(t, b, shared, discard)
	if _, err := b.Listen(first.Addr(), shared, 0, discard); err != nil {
		t.Error("both with LEV_OPT_REUSEABLE_PORT: ", err)
	}
	_, err := b.Listen(first.Addr(), usual, 0, discard)
	isErrno(t, err, syscall.EADDRINUSE)
}

func TestListenerDeferredAcceptWaitsForData(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_DEFER_ACCEPT is Linux's")
	}
	b := newBase(t)
	got := ""
	ln := listen(t, b, usual|libevent.LEV_OPT_DEFERRED_ACCEPT, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		got = drain(fd)
		_ = syscall.Close(fd)
		_ = ln.Close()
	})
	conn := dial(t, ln)
	if _, err := conn.Write([]byte("first words")); err != nil {
		t.Fatal(err)
	}
	dispatch(t, b)
	if got != "first words" {
		t.Errorf("the callback finds %q in the socket", got)
	}
}

func TestListenerMadeDisabledWaitsForEnable(t *testing.T) {
	b := newBase(t)
	accepted := 0
	ln := listen(t, b, usual|libevent.LEV_OPT_DISABLED, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		accepted++
		_ = syscall.Close(fd)
		_ = ln.Disable()
	})
	dial(t, ln)
	dispatch(t, b) // ends: nothing is enabled
	if accepted != 0 {
		t.Error("accepted while disabled")
	}
	if err := ln.Enable(); err != nil {
		t.Fatal(err)
	}
	dispatch(t, b)
	if accepted != 1 {
		t.Errorf("accepted %d connections after Enable", accepted)
	}
}

func TestListenerClosesItsSocketIfAskedTo(t *testing.T) {
	for _, options := range []libevent.ListenerOptions{0, libevent.LEV_OPT_CLOSE_ON_FREE} {
		for _, while := range []string{"no loop runs", "the loop runs"} {
			t.Run(options.String()+" while "+while, func(t *testing.T) {
				b := newBase(t)
				ln := listen(t, b, options, discard)
				if while == "the loop runs" {
					defer background(t, b)()
				}
				for range 2 {
					if err := ln.Close(); err != nil {
						t.Error(err)
					}
				}
				if while == "the loop runs" {
					// The loop frees it at the priority of posts, in order.
					wait(t, "the loop", onLoop(t, b, func() {}))
				}
				open := isOpen(ln.FD())
				if open != (options == 0) {
					t.Errorf("the socket is open: %v", open)
				}
				if open {
					_ = syscall.Close(ln.FD())
				}
			})
		}
	}
}

// tcpSocket makes a TCP socket, bound to 127.0.0.1.
func tcpSocket(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// backlog returns the backlog of a listening TCP socket, which TCP_INFO has at the
// place of tcpi_sacked.
func backlog(t *testing.T, fd int) int {
	t.Helper()
	var info [104]byte
	size := uint32(len(info))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return int(*(*uint32)(unsafe.Pointer(&info[28])))
}

func TestListenerOnASocketThatIsThere(t *testing.T) {
	for _, tt := range []struct {
		name                string
		was, backlog, wants int
	}{
		{"bound, 0", 0, 0, 128},
		{"bound, negative", 0, -5, 128},
		{"bound, 9", 0, 9, 9},
		{"listening, 0", 7, 0, 7},
		{"listening, negative", 7, -1, 128},
		{"listening, 9", 7, 9, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd := tcpSocket(t)
			b := newBase(t)
			if tt.was != 0 {
				if err := syscall.Listen(fd, tt.was); err != nil {
					t.Fatal(err)
				}
			}
			accepted := false
			ln, err := b.NewListener(fd, 0, tt.backlog, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
				accepted = true
				_ = syscall.Close(fd)
				_ = ln.Close()
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := backlog(t, fd); n != tt.wants {
				t.Errorf("backlog %d, want %d", n, tt.wants)
			}
			if ln.FD() != fd || ln.Addr().Port() == 0 {
				t.Errorf("descriptor %d, address %v", ln.FD(), ln.Addr())
			}
			if fcntl(t, fd, syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 || fcntl(t, fd, syscall.F_GETFL)&syscall.O_NONBLOCK == 0 {
				t.Error("the socket is not non-blocking and close-on-exec")
			}
			dial(t, ln)
			dispatch(t, b)
			if !accepted {
				t.Error("nothing was accepted")
			}
			if !isOpen(fd) {
				t.Error("the caller's socket was closed")
			}
		})
	}
}

func TestListenerRefusesWrongArguments(t *testing.T) {
	pair := socketpair(t)
	bound := tcpSocket(t)
	datagram, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(datagram)
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b := newBase(t)
	fileErr := syscall.ENOTSOCK
	if usesChangelist(b) {
		fileErr = syscall.EPERM
	}
	before := openFiles(t)
	addr := func(addr netip.AddrPort, options libevent.ListenerOptions, backlog int) func(libevent.AcceptCallback) (*libevent.Listener, error) {
		return func(fn libevent.AcceptCallback) (*libevent.Listener, error) {
			return b.Listen(addr, options, backlog, fn)
		}
	}
	path := func(path string, options libevent.ListenerOptions) func(libevent.AcceptCallback) (*libevent.Listener, error) {
		return func(fn libevent.AcceptCallback) (*libevent.Listener, error) {
			return b.ListenUnix(path, options, 0, fn)
		}
	}
	fd := func(fd int, options libevent.ListenerOptions, backlog int) func(libevent.AcceptCallback) (*libevent.Listener, error) {
		return func(fn libevent.AcceptCallback) (*libevent.Listener, error) {
			return b.NewListener(fd, options, backlog, fn)
		}
	}
	for _, tt := range []struct {
		name string
		make func(libevent.AcceptCallback) (*libevent.Listener, error)
		fn   libevent.AcceptCallback
		want error
	}{
		{"nil callback", addr(loopback4, 0, 0), nil, syscall.EINVAL},
		{"nil callback, fd", fd(bound, 0, 0), nil, syscall.EINVAL},
		{"no address", addr(netip.AddrPort{}, 0, 0), discard, syscall.EINVAL},
		{"unknown zone", addr(netip.MustParseAddrPort("[fe80::1%nowhere]:0"), 0, 0), discard, syscall.EINVAL},
		{"address of another machine", addr(netip.MustParseAddrPort("192.0.2.1:0"), 0, 0), discard, syscall.EADDRNOTAVAIL},
		{"unknown options", addr(loopback4, 1<<20, 0), discard, syscall.EINVAL},
		{"huge backlog", addr(loopback4, 0, 1<<31), discard, syscall.EINVAL},
		{"IPv6 only on IPv4", addr(loopback4, libevent.LEV_OPT_BIND_IPV6ONLY, 0), discard, syscall.ENOPROTOOPT},
		{"no path", path("", 0), discard, syscall.EINVAL},
		{"long path", path("/"+strings.Repeat("x", 108), 0), discard, syscall.EINVAL},
		{"NUL in a path", path("/tmp/a\x00b", 0), discard, syscall.EINVAL},
		{"no such directory", path("/nowhere/socket", 0), discard, syscall.ENOENT},
		{"deferred on unix", path("@libevent-deferred", libevent.LEV_OPT_DEFERRED_ACCEPT), discard, syscall.EOPNOTSUPP},
		{"negative fd", fd(-1, 0, 0), discard, syscall.EBADF},
		{"fd not open", fd(987, 0, 0), discard, syscall.EBADF},
		{"huge fd", fd(100_000_000, 0, 0), discard, syscall.EBADF},
		{"fd beyond int", fd(1<<31, 0, 0), discard, syscall.EBADF},
		{"a file", fd(int(file.Fd()), 0, 0), discard, fileErr},
		{"datagrams", fd(datagram, 0, 0), discard, syscall.EOPNOTSUPP},
		{"connected", fd(pair[0], 0, 0), discard, syscall.EINVAL},
		{"unknown options, fd", fd(bound, -1<<9&(1<<32-1), 0), discard, syscall.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := tt.make(tt.fn)
			if ln != nil {
				t.Errorf("a listener at %v", ln.Addr())
			}
			isErrno(t, err, tt.want)
		})
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d descriptors are open, %d were", n, before)
	}
	if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
		t.Errorf("%d events are left", n)
	}
}

func TestListenerRefusesDescriptorsBeyondSelect(t *testing.T) {
	high, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(tcpSocket(t)), syscall.F_DUPFD, 1024)
	if errno != 0 {
		t.Skip("no descriptor beyond 1024: ", errno)
	}
	defer syscall.Close(int(high))
	b := newBaseWith(t, onlyMethod("select"))
	_, err := b.NewListener(int(high), 0, 0, discard)
	isErrno(t, err, syscall.EINVAL)
}

func TestListenerAfterClose(t *testing.T) {
	for _, what := range []string{"the listener", "its base"} {
		t.Run(what, func(t *testing.T) {
			b := newBase(t)
			ln := listen(t, b, usual, discard)
			if ln.Pointer() == nil {
				t.Error("no pointer before Close")
			}
			closing := ln.Close
			if what == "its base" {
				closing = b.Close
			}
			if err := closing(); err != nil {
				t.Fatal(err)
			}
			if isOpen(ln.FD()) {
				t.Error("the socket is open")
			}
			for name, err := range map[string]error{
				"Enable":           ln.Enable(),
				"Disable":          ln.Disable(),
				"SetCallback":      ln.SetCallback(discard),
				"SetErrorCallback": ln.SetErrorCallback(nil),
			} {
				if !errors.Is(err, libevent.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if ln.Pointer() != nil {
				t.Error("a pointer after Close")
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	b := newBase(t)
	_ = b.Close()
	_, err := b.Listen(loopback4, usual, 0, discard)
	if !errors.Is(err, libevent.ErrClosed) {
		t.Errorf("Listen on a closed base: %v", err)
	}
}

// Upstream: listener/close_accepted_fd
func TestListenerClosedInItsCallbackLeaksNothing(t *testing.T) {
	for _, options := range []libevent.ListenerOptions{usual, usual | libevent.LEV_OPT_THREADSAFE} {
		t.Run(options.String(), func(t *testing.T) {
			b := newBase(t)
			before := openFiles(t)
			accepted := 0
			ln := listen(t, b, options, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
				accepted++
				if err := ln.Close(); err != nil {
					t.Error(err)
				}
				if _, err := syscall.Write(fd, []byte("bye")); err != nil {
					t.Error("the callback's descriptor: ", err)
				}
				_ = syscall.Close(fd)
			})
			clients := []net.Conn{dial(t, ln), dial(t, ln), dial(t, ln)}
			dispatch(t, b)
			if accepted != 1 {
				t.Errorf("%d connections were accepted", accepted)
			}
			for _, conn := range clients {
				_ = conn.Close()
			}
			if n := openFiles(t); n != before {
				t.Errorf("%d descriptors are open, %d were", n, before)
			}
		})
	}
}

// Upstream: listener/immediate_close
func TestListenerDisabledInItsCallbackAcceptsNoMore(t *testing.T) {
	b := newBase(t)
	accepted := 0
	ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		accepted++
		_ = syscall.Close(fd)
		if err := ln.Disable(); err != nil {
			t.Error(err)
		}
	})
	dial(t, ln)
	dial(t, ln)
	dispatch(t, b)
	if accepted != 1 {
		t.Errorf("%d connections were accepted", accepted)
	}
	if err := ln.Enable(); err != nil {
		t.Error(err)
	}
	dispatch(t, b)
	if accepted != 2 {
		t.Errorf("%d connections were accepted after Enable", accepted)
	}
}

func TestListenerStopsWithTheLoop(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func(b *libevent.Base) error
	}{
		{"LoopBreak", (*libevent.Base).LoopBreak},
		{"Stop", (*libevent.Base).Stop},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBase(t)
			accepted := 0
			ln := listen(t, b, usual, func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
				accepted++
				_ = syscall.Close(fd)
				if err := tt.stop(b); err != nil {
					t.Error(err)
				}
			})
			for want := 1; want <= 3; want++ {
				dial(t, ln)
				dial(t, ln)
				dispatch(t, b)
				if accepted != want {
					t.Errorf("%d connections were accepted, want %d", accepted, want)
				}
			}
		})
	}
}

func TestListenerSetCallback(t *testing.T) {
	b := newBase(t)
	ln := listen(t, b, usual, func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
		t.Error("the first callback is called")
		_ = syscall.Close(fd)
	})
	isErrno(t, ln.SetCallback(nil), syscall.EINVAL)
	called := false
	err := ln.SetCallback(func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		called = true
		_ = syscall.Close(fd)
		_ = ln.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	dial(t, ln)
	dispatch(t, b)
	if !called {
		t.Error("the second callback is not called")
	}
}

// Once Close has returned the socket can be closed and its number be used again, also when
// the loop has yet to see that the Listener is closed.
func TestListenerNumberUsedAgain(t *testing.T) {
	for _, inItsCallback := range []bool{false, true} {
		t.Run(fmt.Sprint("in its callback=", inItsCallback), func(t *testing.T) {
			b := newBase(t)
			entered, leave := make(chan struct{}), make(chan struct{})
			hold := func() {
				close(entered)
				<-leave
			}
			ln := listen(t, b, libevent.LEV_OPT_REUSEABLE, func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
				_ = syscall.Close(fd)
				hold()
			})
			background(t, b)
			if inItsCallback {
				dial(t, ln)
			} else {
				onLoop(t, b, hold)
			}
			wait(t, "the loop", entered)
			must(t, ln.Close())
			must(t, syscall.Dup3(tcpSocket(t), ln.FD(), syscall.O_CLOEXEC))
			accepted := make(chan struct{}, 1)
			next, err := b.NewListener(ln.FD(), libevent.LEV_OPT_CLOSE_ON_FREE, 0, func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
				_ = syscall.Close(fd)
				accepted <- struct{}{}
			})
			must(t, err)
			if inItsCallback { // which must not take what is not its own
				dial(t, next)
			}
			close(leave)
			wait(t, "a pass", onLoop(t, b, func() {}))
			if !inItsCallback {
				dial(t, next)
			}
			wait(t, "the connection", accepted)
		})
	}
}

// So can one that is closed on the loop, in its own callback.
func TestListenerNumberUsedAgainInCallback(t *testing.T) {
	b := newBase(t)
	var peer int
	heard := false
	ln := listen(t, b, libevent.LEV_OPT_REUSEABLE, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		must(t, errors.Join(syscall.Close(fd), ln.Close()))
		peer = useAgain(t, ln.FD())
		send(t, peer, "x")
		_, err := b.AddEvent(ln.FD(), libevent.EV_READ, func(events) (events, time.Duration) {
			heard = true
			return libevent.LEAVE, 0
		}, time.Minute)
		must(t, err)
	})
	dial(t, ln)
	dispatch(t, b)
	must(t, errors.Join(syscall.Close(peer), syscall.Close(ln.FD())))
	if !heard {
		t.Error("what used the number next hears nothing")
	}
}

// stopListening makes accept fail with EINVAL, and the socket readable, for good.
func stopListening(t *testing.T, ln *libevent.Listener) {
	t.Helper()
	if err := syscall.Shutdown(ln.FD(), syscall.SHUT_RD); err != nil {
		t.Fatal(err)
	}
}

// Upstream: listener/error
// Upstream: listener/error_ts
func TestListenerErrorCallback(t *testing.T) {
	for _, options := range []libevent.ListenerOptions{usual, usual | libevent.LEV_OPT_THREADSAFE} {
		for _, tt := range []struct {
			name string
			end  func(ln *libevent.Listener) error
		}{
			{"Disable", (*libevent.Listener).Disable},
			{"Close", (*libevent.Listener).Close},
		} {
			t.Run(tt.name+" "+options.String(), func(t *testing.T) {
				b := newBase(t)
				ln := listen(t, b, options, discard)
				called := 0
				err := ln.SetErrorCallback(func(l *libevent.Listener, err error) {
					called++
					if l != ln {
						t.Error("called with another listener")
					}
					isErrno(t, err, syscall.EINVAL)
					if err := tt.end(l); err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				stopListening(t, ln)
				dispatch(t, b)
				if called != 1 {
					t.Errorf("the error callback was called %d times", called)
				}
			})
		}
	}
}

func TestListenerPausesAfterAnError(t *testing.T) {
	b := newBase(t)
	ln := listen(t, b, usual, discard)
	stopListening(t, ln)
	var times []time.Time
	_ = ln.SetErrorCallback(func(ln *libevent.Listener, _ error) {
		times = append(times, time.Now())
		// Neither ends the pause.
		if err := ln.Enable(); err != nil {
			t.Error(err)
		}
		if len(times) == 4 {
			_ = ln.Close()
		}
	})
	dispatch(t, b)
	// What the loop takes for now is up to a millisecond old.
	const slack = 5 * time.Millisecond
	for i, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		if got := times[i+1].Sub(times[i]); got < want-slack {
			t.Errorf("pause %d took %v, want %v", i, got, want)
		}
	}
}

// limitFiles sets the highest number of descriptors, of the process in the child.
func limitFiles(n uint64) (before uint64) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	before, limit.Cur = limit.Cur, n
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	return before
}

func init() {
	children["EMFILE"] = childWithoutDescriptors
	children["EMFILE unheard"] = childWithoutDescriptorsUnheard
}

// starve makes a listener with a connection that cannot be accepted until the result
// is called.
func starve(fn libevent.AcceptCallback) (b *libevent.Base, ln *libevent.Listener, feed func()) {
	b, err := libevent.New()
	if err != nil {
		panic(err)
	}
	ln, err = b.Listen(loopback4, usual|libevent.LEV_OPT_THREADSAFE, 0, fn)
	if err != nil {
		panic(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err != nil {
		panic(err)
	}
	next, err := syscall.Dup(0)
	if err != nil {
		panic(err)
	}
	_ = syscall.Close(next)
	before := limitFiles(uint64(next))
	return b, ln, func() { limitFiles(before) }
}

func childWithoutDescriptors() int {
	status := 0
	fail := func(format string, args ...any) {
		fmt.Printf(format+"\n", args...)
		status = 1
	}
	var accepted, failed time.Time
	failures := 0
	b, ln, feed := starve(func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		accepted = time.Now()
		_ = syscall.Close(fd)
		_ = ln.Close()
	})
	_ = ln.SetErrorCallback(func(_ *libevent.Listener, err error) {
		failures++
		failed = time.Now()
		if !errors.Is(err, syscall.EMFILE) {
			fail("error %v", err)
		}
		if failures == 2 {
			feed()
		}
	})
	started := time.Now()
	if err := b.Dispatch(); err != nil {
		fail("Dispatch: %v", err)
	}
	switch {
	case accepted.IsZero():
		fail("nothing was accepted")
	case failures != 2:
		fail("%d failures", failures)
	case failed.Sub(started) < 95*time.Millisecond || accepted.Sub(failed) < 195*time.Millisecond:
		fail("pauses of %v and %v", failed.Sub(started), accepted.Sub(failed))
	}
	if err := b.Close(); err != nil {
		fail("Close: %v", err)
	}
	return status
}

// Upstream: listener/error_unlock
func TestListenerOutOfDescriptorsPausesAndResumes(t *testing.T) {
	out, err := child("EMFILE").CombinedOutput()
	if err != nil || len(out) != 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func childWithoutDescriptorsUnheard() int {
	b, _, feed := starve(func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		_ = syscall.Close(fd)
		_ = ln.Close()
	})
	_, err := b.AddTimer(250*time.Millisecond, func(events) (events, time.Duration) {
		feed()
		return libevent.LEAVE, 0
	})
	if err != nil {
		panic(err)
	}
	if err := b.Dispatch(); err != nil {
		panic(err)
	}
	return 0
}

func TestListenerLogsAnErrorThatNobodyAsksFor(t *testing.T) {
	out, err := child("EMFILE unheard").CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	for _, line := range lines {
		if want := "[warn] libevent: accept: " + syscall.EMFILE.Error(); line != want {
			t.Errorf("log %q, want %q", line, want)
		}
	}
	if len(lines) > 10 {
		t.Errorf("%d messages in a quarter of a second", len(lines))
	}
}

func TestListenerCallbackPanics(t *testing.T) {
	t.Run("accept", func(t *testing.T) {
		b := newBase(t)
		before := openFiles(t)
		accepted := 0
		ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
			accepted++
			_ = syscall.Close(fd)
			if accepted == 1 {
				panic("accept")
			}
			_ = ln.Close()
		})
		clients := []net.Conn{dial(t, ln), dial(t, ln)}
		if p := dispatchPanic(t, b); p == nil || p.Value != "accept" || !strings.Contains(string(p.Stack), "TestListenerCallbackPanics") {
			t.Errorf("Dispatch panicked with %v", p)
		}
		if accepted != 1 {
			t.Errorf("%d connections were accepted before the panic came out", accepted)
		}
		dispatch(t, b)
		if accepted != 2 {
			t.Errorf("%d connections were accepted by the next loop", accepted)
		}
		for _, conn := range clients {
			_ = conn.Close()
		}
		if n := openFiles(t); n != before {
			t.Errorf("%d descriptors are open, %d were", n, before)
		}
	})
	t.Run("accept, closed", func(t *testing.T) {
		b := newBase(t)
		ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
			_ = syscall.Close(fd)
			_ = ln.Close()
			panic("accept")
		})
		dial(t, ln)
		if p := dispatchPanic(t, b); p == nil || p.Value != "accept" {
			t.Errorf("Dispatch panicked with %v", p)
		}
		if isOpen(ln.FD()) {
			t.Error("the socket is open")
		}
	})
	t.Run("error", func(t *testing.T) {
		b := newBase(t)
		ln := listen(t, b, usual, discard)
		stopListening(t, ln)
		called := 0
		_ = ln.SetErrorCallback(func(ln *libevent.Listener, _ error) {
			if called++; called == 1 {
				panic("error")
			}
			_ = ln.Close()
		})
		if p := dispatchPanic(t, b); p == nil || p.Value != "error" {
			t.Errorf("Dispatch panicked with %v", p)
		}
		dispatch(t, b)
		if called != 2 {
			t.Errorf("the error callback was called %d times", called)
		}
	})
}

// dispatchPanic returns what b's Dispatch panics with, or nil.
func dispatchPanic(t *testing.T, b *libevent.Base) (p *libevent.CallbackPanic) {
	t.Helper()
	defer guard(t, b)()
	defer func() { p, _ = recover().(*libevent.CallbackPanic) }()
	if err := b.Dispatch(); err != nil {
		t.Error(err)
	}
	return nil
}

// In C each of these waits for the callback, which waits for the listener's lock.
func TestListenerChangedOffTheLoopDuringItsCallback(t *testing.T) {
	for _, options := range []libevent.ListenerOptions{usual, usual | libevent.LEV_OPT_THREADSAFE} {
		for _, tt := range []struct {
			name   string
			change func(ln *libevent.Listener) error
			more   bool // connections come afterwards
		}{
			{"Disable", (*libevent.Listener).Disable, false},
			{"Close", (*libevent.Listener).Close, false},
			{"Enable", (*libevent.Listener).Enable, true},
			{"Disable, Enable", func(ln *libevent.Listener) error {
				return errors.Join(ln.Disable(), ln.Enable())
			}, true},
		} {
			t.Run(tt.name+" "+options.String(), func(t *testing.T) {
				b := newBase(t)
				before := openFiles(t)
				accepted := 0
				ln := listen(t, b, options, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
					accepted++
					_ = syscall.Close(fd)
					if accepted == 2 {
						_ = ln.Close()
						return
					}
					changed := make(chan error)
					go func() { changed <- tt.change(ln) }()
					if err := wait(t, "the change", changed); err != nil {
						t.Error(err)
					}
				})
				clients := []net.Conn{dial(t, ln), dial(t, ln)}
				dispatch(t, b)
				if more := accepted > 1; more != tt.more {
					t.Errorf("%d connections were accepted", accepted)
				}
				_ = ln.Close()
				for _, conn := range clients {
					_ = conn.Close()
				}
				if n := openFiles(t); n != before {
					t.Errorf("%d descriptors are open, %d were", n, before)
				}
			})
		}
	}
}

// A listener that another goroutine has disabled accepts nothing until it is enabled again.
func TestListenerDisabledOffTheLoop(t *testing.T) {
	b := newBase(t)
	stop := background(t, b)
	accepted := make(chan struct{}, 1)
	ln := listen(t, b, usual, func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
		_ = syscall.Close(fd)
		accepted <- struct{}{}
	})
	pass := func() { wait(t, "the loop", onLoop(t, b, func() {})) }
	for range 2 {
		if err := ln.Disable(); err != nil {
			t.Fatal(err)
		}
		pass()
		conn := dial(t, ln)
		for range 3 { // each looks for connections first
			pass()
		}
		select {
		case <-accepted:
			t.Error("a connection was accepted")
			continue
		default:
		}
		if err := ln.Enable(); err != nil {
			t.Fatal(err)
		}
		wait(t, "a connection", accepted)
		_ = conn.Close()
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	stop()
}

func TestListenerUsedFromManyGoroutines(t *testing.T) {
	b := newBase(t)
	before := openFiles(t)
	stop := background(t, b)
	const rounds = 50
	accepted := 0 // by the loop
	for range rounds {
		var closed atomic.Bool
		got := make(chan struct{}, 1)
		ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
			accepted++
			_ = syscall.Close(fd)
			select {
			case got <- struct{}{}:
			default:
			}
		})
		dialled, toggled := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(dialled)
			for !closed.Load() {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					break
				}
				_ = conn.Close()
				runtime.Gosched()
			}
		}()
		go func() {
			defer close(toggled)
			for ln.Disable() == nil && ln.Enable() == nil && ln.SetErrorCallback(nil) == nil {
				runtime.Gosched()
			}
		}()
		wait(t, "a connection", got)
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		closed.Store(true)
		// The last call that was inside frees the listener, and the loop the socket.
		wait(t, "the end of the calls", toggled)
		wait(t, "the loop", onLoop(t, b, func() {}))
		if isListening(ln) {
			t.Error("the socket is open after Close")
		}
		wait(t, "the end of the connections", dialled)
	}
	stop()
	if accepted < rounds {
		t.Errorf("%d connections were accepted", accepted)
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d descriptors are open, %d were", n, before)
	}
}

// isListening says whether somebody listens at ln's address.
func isListening(ln *libevent.Listener) bool {
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func TestListenerOnBorrowedBase(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(t *testing.T, owner, b *libevent.Base, ln *libevent.Listener)
	}{
		{"closed by its callback", func(t *testing.T, owner, _ *libevent.Base, ln *libevent.Listener) {
			dial(t, ln)
			dispatch(t, owner)
		}},
		{"closed before a loop", func(t *testing.T, owner, _ *libevent.Base, ln *libevent.Listener) {
			dial(t, ln)
			_ = ln.Close()
			dispatch(t, owner)
		}},
		{"base closed before a loop", func(t *testing.T, owner, b *libevent.Base, ln *libevent.Listener) {
			dial(t, ln)
			_ = b.Close()
			dispatch(t, owner)
		}},
		{"base closed and no loop", func(t *testing.T, owner, b *libevent.Base, ln *libevent.Listener) {
			dial(t, ln)
			_ = b.Close()
			_ = owner.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			owner := newBase(t)
			b, err := libevent.BaseFromPointer(owner.Pointer())
			if err != nil {
				t.Fatal(err)
			}
			ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
				_ = syscall.Close(fd)
				_ = ln.Close()
				_ = b.Close()
			})
			tt.use(t, owner, b, ln)
			if isListening(ln) {
				t.Error("the socket is open")
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a callback refers to is let go when the listener has gone.
func TestListenerIsCollectedAfterClose(t *testing.T) {
	b := newBase(t)
	for _, where := range []string{"idle", "in the callback", "on another goroutine"} {
		t.Run(where, func(t *testing.T) {
			collected := make(chan struct{})
			func() {
				token := new([64]byte)
				runtime.AddCleanup(token, func(c chan struct{}) { close(c) }, collected)
				ln := listen(t, b, usual, func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
					token[0]++
					_ = syscall.Close(fd)
					if where == "in the callback" {
						_ = ln.Close()
						return
					}
					closed := make(chan error)
					go func() { closed <- ln.Close() }()
					wait(t, "Close", closed)
				})
				if where == "idle" {
					_ = ln.Close()
					return
				}
				dial(t, ln)
				dispatch(t, b)
			}()
			deadline := time.After(guardTime)
			for {
				runtime.GC()
				select {
				case <-collected:
					return
				case <-deadline:
					t.Fatal("the callback is still referred to")
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
}

func TestListenerOptionOfLibevent22(t *testing.T) {
	b := newBase(t)
	ln, err := b.Listen(netip.MustParseAddrPort("[::]:0"), usual|libevent.LEV_OPT_BIND_IPV4_AND_IPV6, 0, discard)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skip("there is no IPv6: ", err)
	}
	wrapped(t, "evconnlistener_new_bind", err, since22())
	if err == nil {
		_ = ln.Close()
	}
}

func ExampleBase_Listen() {
	base, err := libevent.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer base.Close()
	greet := func(ln *libevent.Listener, fd int, addr netip.AddrPort) {
		fmt.Println("a connection from", addr.Addr())
		_, _ = syscall.Write(fd, []byte("hello\n"))
		_ = syscall.Close(fd)
		_ = ln.Close() // one is enough
	}
	ln, err := base.Listen(netip.MustParseAddrPort("127.0.0.1:0"),
		libevent.LEV_OPT_CLOSE_ON_FREE|libevent.LEV_OPT_REUSEABLE, 0, greet)
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if err := base.Dispatch(); err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 16)
	n, _ := conn.Read(buf)
	fmt.Printf("%s", buf[:n])
	// Output:
	// a connection from 127.0.0.1
	// hello
}

// A Listener that takes one connection at a time.
func ExampleListener() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	left := 2
	serve := func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		fmt.Println("a connection")
		orPanic(ln.Disable())
		orPanic(base.Once(fd, libevent.EV_READ, func(libevent.Events) {
			fmt.Println("its end")
			orPanic(syscall.Close(fd))
			if left--; left == 0 {
				orPanic(ln.Close())
			} else {
				orPanic(ln.Enable())
			}
		}, libevent.NoTimeout))
	}
	ln, err := base.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0, serve)
	orPanic(err)
	orPanic(ln.SetErrorCallback(func(_ *libevent.Listener, err error) { fmt.Println(err) }))
	for range left {
		conn, err := net.Dial("tcp", ln.Addr().String())
		orPanic(err)
		orPanic(conn.Close())
	}
	orPanic(base.Dispatch())
	// Output:
	// a connection
	// its end
	// a connection
	// its end
}

func ExampleAcceptCallback() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	var first, second libevent.AcceptCallback
	first = func(ln *libevent.Listener, fd int, addr netip.AddrPort) {
		fmt.Println("the first one is from", addr.Addr())
		orPanic(syscall.Close(fd))
		orPanic(ln.SetCallback(second))
	}
	second = func(ln *libevent.Listener, fd int, addr netip.AddrPort) {
		fmt.Println("the second one too:", addr.Addr())
		orPanic(syscall.Close(fd))
		orPanic(ln.Close())
	}
	ln, err := base.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0, first)
	orPanic(err)
	for range 2 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		orPanic(err)
		defer conn.Close()
	}
	orPanic(base.Dispatch())
	// Output:
	// the first one is from 127.0.0.1
	// the second one too: 127.0.0.1
}

// Two listeners share a port, and the system shares out the connections.
func ExampleListenerOptions() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	options := libevent.LEV_OPT_CLOSE_ON_FREE | libevent.LEV_OPT_REUSEABLE_PORT
	for range 2 {
		ln, err := base.Listen(addr, options, 0, func(*libevent.Listener, int, netip.AddrPort) {})
		orPanic(err)
		addr = ln.Addr()
	}
	fmt.Println(options)
	// Output: LEV_OPT_CLOSE_ON_FREE|LEV_OPT_REUSEABLE_PORT
}
