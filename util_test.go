package libevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

func TestAddressesKeepTheirMeaningInC(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("no network interface: ", err)
	}
	first := interfaces[0]
	number := netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("4000000000"), 1)
	for _, tt := range []struct{ have, want netip.AddrPort }{
		{netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("127.0.0.1:80")},
		{netip.MustParseAddrPort("255.254.253.252:65535"), netip.MustParseAddrPort("255.254.253.252:65535")},
		{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("0.0.0.0:0")},
		{netip.MustParseAddrPort("[::1]:258"), netip.MustParseAddrPort("[::1]:258")},
		{netip.MustParseAddrPort("[102:304:506:708:90a:b0c:d0e:f10]:1"), netip.MustParseAddrPort("[102:304:506:708:90a:b0c:d0e:f10]:1")},
		{netip.MustParseAddrPort("[::ffff:1.2.3.4]:1"), netip.MustParseAddrPort("[::ffff:1.2.3.4]:1")},
		{
			netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name), 9),
			netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name), 9),
		},
		{number, number}, // no interface has it
	} {
		got, err := libevent.ThroughSockaddr(tt.have, 0)
		if err != nil || got != tt.want {
			t.Errorf("%v becomes %v, %v", tt.have, got, err)
		}
		if got, _ := libevent.ThroughSockaddr(tt.have, 1); got.IsValid() {
			t.Errorf("%v cut short becomes %v", tt.have, got)
		}
	}
	for _, ap := range []netip.AddrPort{
		{},
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("no such zone"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("0"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("-1"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("4294967297"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("99999999999999999999"), 1),
		netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(first.Name+"\x00"), 1),
	} {
		if got, err := libevent.ThroughSockaddr(ap, 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v becomes %v, %v", ap, got, err)
		}
	}
}

func TestUnixPathsKeepTheirMeaningInC(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		err        error
	}{
		{"/tmp/socket", "/tmp/socket", nil},
		{"relative", "relative", nil},
		{strings.Repeat("x", 107), strings.Repeat("x", 107), nil},
		{strings.Repeat("x", 108), "", syscall.EINVAL},
		{"@name", "@name", nil},
		{"\x00name", "@name", nil},
		{"@na\x00me", "@na\x00me", nil},
		{"@" + strings.Repeat("x", 107), "@" + strings.Repeat("x", 107), nil},
		{"@" + strings.Repeat("x", 108), "", syscall.EINVAL},
		{"", "", syscall.EINVAL},
		{"a\x00b", "", syscall.EINVAL},
		{"a\x00", "", syscall.EINVAL},
	} {
		got, err := libevent.PathThroughSockaddr(tt.have)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q becomes %q, %v", tt.have, got, err)
		}
	}
}

// wrapped fails the test unless err is an *Error of the C function op with the reason errno,
// or nil if that is nil.
func wrapped(t *testing.T, op string, err error, errno error) {
	t.Helper()
	if errno == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	isErrno(t, err, errno)
	if e := new(libevent.Error); errors.As(err, &e) && e.Op != op {
		t.Errorf("error %v is not of %s", err, op)
	}
}

// since22 is nil with libevent 2.2, and the reason for which something fails without it.
func since22() error {
	if strings.HasPrefix(libevent.HeaderVersion(), "2.1.") {
		return syscall.ENOTSUP
	}
	return nil
}

// socketOf makes a socket that is closed when the test ends.
func socketOf(t *testing.T, domain, typ int) int {
	t.Helper()
	fd, err := syscall.Socket(domain, typ, 0)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skip("no such sockets: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	return fd
}

func TestSocketFlags(t *testing.T) {
	for _, tt := range []struct {
		op        string
		set       func(int) error
		get, flag int
	}{
		{"evutil_make_socket_nonblocking", libevent.MakeSocketNonblocking, syscall.F_GETFL, syscall.O_NONBLOCK},
		{"evutil_make_socket_closeonexec", libevent.MakeSocketCloseOnExec, syscall.F_GETFD, syscall.FD_CLOEXEC},
	} {
		t.Run(tt.op, func(t *testing.T) {
			fd := socketOf(t, syscall.AF_INET, syscall.SOCK_STREAM)
			before := fcntl(t, fd, tt.get)
			for range 2 {
				wrapped(t, tt.op, tt.set(fd), nil)
				if got := fcntl(t, fd, tt.get); got != before|tt.flag {
					t.Errorf("flags %#x, want %#x", got, before|tt.flag)
				}
			}
		})
	}
}

func TestListenSocketOptions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the options' numbers are Linux's")
	}
	const soReusePort, tcpDeferAccept = 15, 9
	for _, tt := range []struct {
		op                    string
		set                   func(int) error
		domain, level, number int
		elsewhere             error // on a unix socket
	}{
		{
			op: "evutil_make_listen_socket_reuseable", set: libevent.MakeListenSocketReuseable,
			domain: syscall.AF_INET, level: syscall.SOL_SOCKET, number: syscall.SO_REUSEADDR,
		},
		{
			op: "evutil_make_listen_socket_reuseable_port", set: libevent.MakeListenSocketReuseablePort,
			domain: syscall.AF_INET, level: syscall.SOL_SOCKET, number: soReusePort,
		},
		{
			op: "evutil_make_listen_socket_ipv6only", set: libevent.MakeListenSocketIPv6Only,
			domain: syscall.AF_INET6, level: syscall.IPPROTO_IPV6, number: syscall.IPV6_V6ONLY,
			elsewhere: syscall.EOPNOTSUPP,
		},
		{
			op: "evutil_make_tcp_listen_socket_deferred", set: libevent.MakeTCPListenSocketDeferred,
			domain: syscall.AF_INET, level: syscall.IPPROTO_TCP, number: tcpDeferAccept,
			elsewhere: syscall.EOPNOTSUPP,
		},
	} {
		t.Run(tt.op, func(t *testing.T) {
			unix := socketpair(t)
			fd := socketOf(t, tt.domain, syscall.SOCK_STREAM)
			get := func() int {
				value, err := syscall.GetsockoptInt(fd, tt.level, tt.number)
				if err != nil {
					t.Error(err)
				}
				return value
			}
			if get() != 0 && tt.number != syscall.IPV6_V6ONLY {
				t.Errorf("the option is %d from the start", get())
			}
			wrapped(t, tt.op, tt.set(fd), nil)
			if get() == 0 {
				t.Error("the option is not set")
			}
			if tt.elsewhere != nil {
				wrapped(t, tt.op, tt.set(unix[0]), tt.elsewhere)
			}
		})
	}
}

func TestSocketOptionsRefuseWrongDescriptors(t *testing.T) {
	r := &recorder{}
	record(t, r)
	closed := socketOf(t, syscall.AF_INET, syscall.SOCK_STREAM)
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	for _, tt := range []struct {
		op     string
		set    func(int) error
		onPipe error
	}{
		{"evutil_make_socket_nonblocking", libevent.MakeSocketNonblocking, nil},
		{"evutil_make_socket_closeonexec", libevent.MakeSocketCloseOnExec, nil},
		{"evutil_make_listen_socket_reuseable", libevent.MakeListenSocketReuseable, syscall.ENOTSOCK},
		{"evutil_make_listen_socket_reuseable_port", libevent.MakeListenSocketReuseablePort, syscall.ENOTSOCK},
		{"evutil_make_listen_socket_ipv6only", libevent.MakeListenSocketIPv6Only, syscall.ENOTSOCK},
		{"evutil_make_tcp_listen_socket_deferred", libevent.MakeTCPListenSocketDeferred, syscall.ENOTSOCK},
	} {
		for _, fd := range []int{-1, math.MinInt, math.MaxInt32, math.MaxInt32 + 1, 1<<32 + closed} {
			wrapped(t, tt.op, tt.set(fd), syscall.EBADF)
		}
		wrapped(t, tt.op, tt.set(pipe[0]), tt.onPipe)
	}
	libevent.FlushLog()
	if all := r.all(); len(all) != 0 {
		t.Errorf("libevent has logged %d messages, the first: %s", len(all), all[0].Message)
	}
}

func TestSocketOptionsOfLibevent22(t *testing.T) {
	const keepalive, notIPv6Only = "evutil_set_tcp_keepalive", "evutil_make_listen_socket_not_ipv6only"
	fd := socketOf(t, syscall.AF_INET, syscall.SOCK_STREAM)
	for _, on := range []bool{true, false} {
		wrapped(t, keepalive, libevent.SetTCPKeepalive(fd, on, 1500*time.Millisecond), since22())
		if since22() == nil {
			value, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			if err != nil || (value != 0) != on {
				t.Errorf("SO_KEEPALIVE is %d, %v", value, err)
			}
		}
	}
	wrapped(t, keepalive, libevent.SetTCPKeepalive(fd, false, -1), since22())
	for _, idle := range []time.Duration{0, -1, -time.Second, math.MinInt64, math.MaxInt64} {
		wrapped(t, keepalive, libevent.SetTCPKeepalive(fd, true, idle), syscall.EINVAL)
	}
	wrapped(t, keepalive, libevent.SetTCPKeepalive(-1, true, time.Second), syscall.EBADF)
	wrapped(t, keepalive, libevent.SetTCPKeepalive(math.MaxInt32+1, true, time.Second), syscall.EBADF)

	fd = socketOf(t, syscall.AF_INET6, syscall.SOCK_STREAM)
	wrapped(t, notIPv6Only, libevent.MakeListenSocketNotIPv6Only(fd), since22())
	wrapped(t, notIPv6Only, libevent.MakeListenSocketNotIPv6Only(-1), syscall.EBADF)
}

func TestSocketpair(t *testing.T) {
	files := openFiles(t)
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if fcntl(t, fd, syscall.F_GETFD)&syscall.FD_CLOEXEC == 0 {
			t.Error("not close-on-exec")
		}
		if fcntl(t, fd, syscall.F_GETFL)&syscall.O_NONBLOCK == 0 {
			t.Error("blocking")
		}
	}
	send(t, fds[0], "there")
	send(t, fds[1], "back")
	if there, back := drain(fds[1]), drain(fds[0]); there != "there" || back != "back" {
		t.Errorf("received %q and %q", there, back)
	}
	_ = syscall.Close(fds[0])
	_ = syscall.Close(fds[1])
	for _, tt := range []struct {
		domain, typ, protocol int
		want                  error
	}{
		{syscall.AF_INET, syscall.SOCK_STREAM, 0, syscall.EOPNOTSUPP},
		{syscall.AF_UNIX, syscall.SOCK_STREAM, 77, syscall.EPROTONOSUPPORT},
		{-1, syscall.SOCK_STREAM, 0, syscall.EINVAL},
		{syscall.AF_UNIX, 1<<32 + syscall.SOCK_STREAM, 0, syscall.EINVAL},
		{syscall.AF_UNIX, syscall.SOCK_STREAM, math.MaxInt, syscall.EINVAL},
	} {
		fds, err := libevent.Socketpair(tt.domain, tt.typ, tt.protocol)
		wrapped(t, "evutil_socketpair", err, tt.want)
		if fds != [2]int{} {
			t.Errorf("%v comes with the error", fds)
		}
	}
	if n := openFiles(t); n != files {
		t.Errorf("%d descriptors are open, %d were", n, files)
	}
}

func TestMonotonicTimer(t *testing.T) {
	for _, flags := range []libevent.MonotonicFlags{
		0, libevent.EV_MONOT_PRECISE, libevent.EV_MONOT_FALLBACK, libevent.EV_MONOT_PRECISE | libevent.EV_MONOT_FALLBACK,
	} {
		t.Run(flags.String(), func(t *testing.T) {
			timer, err := libevent.NewMonotonicTimer(flags)
			if err != nil {
				t.Fatal(err)
			}
			const op = "evutil_gettime_monotonic"
			var wg sync.WaitGroup
			for range 4 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					last := time.Duration(0)
					for range rounds(10000) {
						now, err := timer.Time()
						if err != nil || now < last {
							t.Errorf("%v after %v, %v", now, last, err)
							return
						}
						last = now
					}
				}()
			}
			wg.Wait()
			const nap, coarse = 20 * time.Millisecond, 10 * time.Millisecond
			before, err := timer.Time()
			wrapped(t, op, err, nil)
			time.Sleep(nap)
			after, err := timer.Time()
			wrapped(t, op, err, nil)
			if passed := after - before; passed < nap-coarse {
				t.Errorf("%v have passed in %v", passed, nap)
			}
			for range 2 {
				if err := timer.Close(); err != nil {
					t.Error(err)
				}
				_, err = timer.Time()
				wrapped(t, op, err, libevent.ErrClosed)
			}
		})
	}
	for _, flags := range []libevent.MonotonicFlags{-1, 4, 1 << 40} {
		_, err := libevent.NewMonotonicTimer(flags)
		wrapped(t, "evutil_configure_monotonic_time", err, syscall.EINVAL)
	}
}

func TestMonotonicTimersLeaveNothing(t *testing.T) {
	leavesNothing(t, fewer(100_000), func(n int) {
		for range n {
			timer, err := libevent.NewMonotonicTimer(0)
			if err != nil {
				t.Fatal(err)
			}
			if err := timer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSecureRNG(t *testing.T) {
	var wg sync.WaitGroup
	var all [4][32]byte
	for i := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for _, err := range []error{libevent.SecureRNGInit(), libevent.SecureRNGGetBytes(all[i][:])} {
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	for i := range all {
		for j := range i {
			if all[i] == all[j] {
				t.Errorf("%x comes twice", all[i])
			}
		}
	}
	p := make([]byte, 3, 64)
	for _, p := range [][]byte{nil, {}, p[:0]} {
		if err := libevent.SecureRNGGetBytes(p); err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		if err := libevent.SecureRNGGetBytes(p); err != nil {
			t.Error(err)
		}
	}
	if rest := p[3:64]; !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Errorf("%x behind the end", rest)
	}
}

// Where the generator is the system's there is nothing to add to, or to seed.
func TestSecureRNGSeed(t *testing.T) {
	name := func(p []byte) error { return libevent.SetURandomDeviceFile(string(p)) }
	for _, tt := range []struct {
		op   string
		call func([]byte) error
		arg  string
		want []error
	}{
		{"evutil_secure_rng_add_bytes", libevent.SecureRNGAddBytes, "hard to guess", []error{nil, syscall.ENOTSUP}},
		{"evutil_secure_rng_add_bytes", libevent.SecureRNGAddBytes, "", []error{nil, syscall.ENOTSUP}},
		{"evutil_secure_rng_set_urandom_device_file", name, "/dev/urandom", []error{nil, syscall.ENOTSUP}},
		{"evutil_secure_rng_set_urandom_device_file", name, "", []error{syscall.EINVAL}},
		{"evutil_secure_rng_set_urandom_device_file", name, "/dev/urandom\x00", []error{syscall.EINVAL}},
	} {
		err := tt.call([]byte(tt.arg))
		if !slices.ContainsFunc(tt.want, func(want error) bool { return errors.Is(err, want) }) {
			t.Errorf("%s of %q: %v", tt.op, tt.arg, err)
		} else if err != nil {
			wrapped(t, tt.op, err, errors.Unwrap(err))
		}
	}
	if err := libevent.SecureRNGGetBytes(make([]byte, 8)); err != nil {
		t.Error(err)
	}
}

func ExampleSecureRNGInit() {
	// Before a chroot into a directory that has no /dev/urandom.
	fmt.Println(libevent.SecureRNGInit())
	// Output: <nil>
}

func ExampleSocketpair() {
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddEvent(fds[0], libevent.EV_READ, func(libevent.Events) (libevent.Events, time.Duration) {
		buf := make([]byte, 16)
		n, err := syscall.Read(fds[0], buf)
		orPanic(err)
		fmt.Printf("%s\n", buf[:n])
		return libevent.LEAVE, 0
	}, libevent.NoTimeout)
	orPanic(err)
	_, err = syscall.Write(fds[1], []byte("hello"))
	orPanic(err)
	orPanic(base.Dispatch())
	// Output: hello
}

func ExampleMonotonicTimer() {
	timer, err := libevent.NewMonotonicTimer(libevent.EV_MONOT_PRECISE)
	orPanic(err)
	defer timer.Close()
	start, err := timer.Time()
	orPanic(err)
	time.Sleep(5 * time.Millisecond)
	end, err := timer.Time()
	orPanic(err)
	fmt.Println(end-start >= 5*time.Millisecond)
	// Output: true
}

// The clock where a system has no monotonic one.
func ExampleMonotonicFlags() {
	flags := libevent.EV_MONOT_FALLBACK
	timer, err := libevent.NewMonotonicTimer(flags)
	orPanic(err)
	defer timer.Close()
	now, err := timer.Time()
	orPanic(err)
	fmt.Println(flags, now > 0)
	// Output: EV_MONOT_FALLBACK true
}

// A socket that is bound by hand, with an option that Listen has no name for.
func ExampleMakeListenSocketReuseablePort() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	orPanic(err)
	orPanic(libevent.MakeListenSocketReuseablePort(fd))
	orPanic(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10))
	orPanic(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	ln, err := base.NewListener(fd, libevent.LEV_OPT_CLOSE_ON_FREE, 0, func(*libevent.Listener, int, netip.AddrPort) {})
	orPanic(err)
	fmt.Println(ln.Addr().Addr())
	// Output: 127.0.0.1
}
