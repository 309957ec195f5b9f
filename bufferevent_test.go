package libevent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

const (
	bevThreadsafe = libevent.BEV_OPT_THREADSAFE
	bevDefer      = libevent.BEV_OPT_DEFER_CALLBACKS
	bevUnlock     = libevent.BEV_OPT_UNLOCK_CALLBACKS
	bevOwn        = libevent.BEV_OPT_CLOSE_ON_FREE
	bevRW         = libevent.EV_READ | libevent.EV_WRITE

	bevGuard = 20 * time.Second
)

// bevOptions are all the combinations that there are, less BEV_OPT_CLOSE_ON_FREE.
var bevOptions = []libevent.BufferEventOptions{
	0,
	bevDefer,
	bevThreadsafe,
	bevThreadsafe | bevDefer,
	bevDefer | bevUnlock,
	bevThreadsafe | bevDefer | bevUnlock,
}

// bevBase makes a base that is closed at the end of the test.
func bevBase(t testing.TB) *libevent.Base {
	t.Helper()
	b, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// bevRun runs the loop until it ends, and fails the test if it does not.
func bevRun(t testing.TB, b *libevent.Base) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bevGuard)
	defer cancel()
	if err := b.Run(ctx); err != nil {
		t.Error("the loop:", err)
	}
}

// bevSockets makes two connected non-blocking sockets. The caller owns them.
func bevSockets(t testing.TB) (int, int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX,
		syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// bevEager says that bevNew makes eager ones.
var bevEager bool

// bevNew makes a BufferEvent, which the base frees.
func bevNew(t testing.TB, b *libevent.Base, fd int, options libevent.BufferEventOptions) *libevent.BufferEvent {
	t.Helper()
	bev, err := b.NewBufferEvent(fd, options)
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "SetEager", bev.SetEager(bevEager), nil)
	return bev
}

// bevTwo makes two connected BufferEvents: a pair, or on sockets that they own.
func bevTwo(t testing.TB, b *libevent.Base, pair bool, options libevent.BufferEventOptions) (first, second *libevent.BufferEvent) {
	t.Helper()
	if pair {
		first, second, err := b.NewBufferEventPair(options)
		if err != nil {
			t.Fatal(err)
		}
		return first, second
	}
	one, two := bevSockets(t)
	return bevNew(t, b, one, options|bevOwn), bevNew(t, b, two, options|bevOwn)
}

// bevCheck fails the test if err is not want.
func bevCheck(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// bevRead reads all of the input.
func bevRead(t testing.TB, bev *libevent.BufferEvent) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := bev.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			if err != syscall.EAGAIN && err != io.EOF {
				t.Error("Read:", err)
			}
			return all
		}
	}
}

// bevBytes makes n different bytes.
func bevBytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

// bevListen makes a TCP listener whose connections a goroutine serves. closing it and
// waiting for the goroutines is the test's cleanup.
func bevListen(t testing.TB, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(bevGuard))
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// bevRefusing returns an address where nobody listens, and will not until the test ends.
func bevRefusing(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := sa.(*syscall.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

// bevOpenFDs counts the process's descriptors.
func bevOpenFDs(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc:", err)
	}
	return len(names)
}

// bevPanic returns what f panics with.
func bevPanic(f func()) (p *libevent.CallbackPanic) {
	defer func() { p, _ = recover().(*libevent.CallbackPanic) }()
	f()
	return nil
}

// One side writes 8333 bytes and the loop ends when the other has read them.
//
// Upstream: bufferevent/bufferevent
// Upstream: bufferevent/bufferevent_pair
// Upstream: bufferevent/bufferevent_flush_normal
// Upstream: bufferevent/bufferevent_flush_flush
// Upstream: bufferevent/bufferevent_flush_finished
// Upstream: bufferevent/bufferevent_pair_flush_normal
// Upstream: bufferevent/bufferevent_pair_flush_flush
// Upstream: bufferevent/bufferevent_pair_flush_finished
func TestBufferEventTransfer(t *testing.T) {
	const none = libevent.FlushMode(-1)
	for _, pair := range []bool{false, true} {
		for _, mode := range []libevent.FlushMode{none, libevent.BEV_NORMAL, libevent.BEV_FLUSH, libevent.BEV_FINISHED} {
			for _, options := range bevOptions {
				t.Run(fmt.Sprintf("pair=%v/%v/%v", pair, mode, options), func(t *testing.T) {
					b := bevBase(t)
					first, second := bevTwo(t, b, pair, options)
					data := bevBytes(8333)
					var got []byte
					var happened []libevent.BufferEvents
					written := false
					first.SetCallbacks(nil, func(*libevent.BufferEvent) { written = true }, nil)
					second.SetCallbacks(func(bev *libevent.BufferEvent) {
						if bev != second {
							t.Error("the callback gets another BufferEvent")
						}
						got = append(got, bevRead(t, bev)...)
						if len(got) == len(data) {
							bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
						}
					}, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
						happened = append(happened, what)
					})
					if pair {
						if first.FD() != -1 || first.Partner() != second || second.Partner() != first {
							t.Errorf("FD %d, partners %p of %p and %p of %p", first.FD(),
								first.Partner(), first, second.Partner(), second)
						}
					} else if first.FD() < 0 || first.Partner() != nil {
						t.Errorf("FD %d, partner %p", first.FD(), first.Partner())
					}
					bevCheck(t, "Disable", first.Disable(libevent.EV_READ), nil)
					bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
					if first.Enabled() != libevent.EV_WRITE || second.Enabled() != bevRW {
						t.Errorf("enabled: %v and %v", first.Enabled(), second.Enabled())
					}
					if n, err := first.Write(data); n != len(data) || err != nil {
						t.Errorf("Write: %d, %v", n, err)
					}
					if mode != none {
						bevCheck(t, "Flush", first.Flush(libevent.EV_WRITE, mode), nil)
					}
					bevRun(t, b)
					if !bytes.Equal(got, data) || !written {
						t.Errorf("%d bytes read, write callback %v", len(got), written)
					}
					var want []libevent.BufferEvents
					if pair && mode == libevent.BEV_FINISHED {
						want = append(want, libevent.BEV_EVENT_READING|libevent.BEV_EVENT_EOF)
					}
					if !slices.Equal(happened, want) {
						t.Errorf("events %v, want %v", happened, want)
					}
					bevCheck(t, "Close", second.Close(), nil)
					if first.Partner() != nil || second.Partner() != nil {
						t.Error("a partner after Close")
					}
				})
			}
		}
	}
}

// What a pair is told it knows also without callbacks.
func TestBufferEventPairWithoutCallbacks(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, true, 0)
	for _, bev := range []*libevent.BufferEvent{first, second} {
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		bevCheck(t, "Flush", bev.Partner().Flush(libevent.EV_WRITE, libevent.BEV_FINISHED), nil)
		bevRun(t, b)
		_, err := bev.Read(make([]byte, 1))
		bevCheck(t, "Read", err, io.EOF)
	}
}

// Finishing a pair tells the partner, the direction seen from there.
//
// Upstream: bufferevent/bufferevent_pair_flush
func TestBufferEventPairFinish(t *testing.T) {
	for _, tt := range []struct{ events, what int }{
		{int(libevent.EV_WRITE), int(libevent.BEV_EVENT_EOF | libevent.BEV_EVENT_READING)},
		{int(libevent.EV_READ), int(libevent.BEV_EVENT_EOF | libevent.BEV_EVENT_WRITING)},
	} {
		b := bevBase(t)
		first, second := bevTwo(t, b, true, 0)
		var got libevent.BufferEvents
		second.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { got = what })
		bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
		bevCheck(t, "Flush", first.Flush(libevent.Events(tt.events), libevent.BEV_FINISHED), nil)
		if got != 0 {
			t.Error("the callback of a pair is not deferred")
		}
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
		if got != libevent.BufferEvents(tt.what) {
			t.Errorf("Flush(%v): %v, want %v", libevent.Events(tt.events), got, libevent.BufferEvents(tt.what))
		}
		_, err := second.Read(make([]byte, 1))
		want := error(syscall.EAGAIN)
		if got&libevent.BEV_EVENT_READING != 0 {
			want = io.EOF
		}
		if err != want {
			t.Errorf("Read: %v, want %v", err, want)
		}
		bevCheck(t, "Close", second.Close(), nil)
		bevCheck(t, "Flush without a partner", first.Flush(libevent.EV_WRITE, libevent.BEV_FLUSH), syscall.ENOTCONN)
	}
}

// Each read callback sees 10 to 20 bytes, and the write callback at most 100 that are left.
//
// Upstream: bufferevent/bufferevent_watermarks
// Upstream: bufferevent/bufferevent_pair_watermarks
func TestBufferEventWatermarks(t *testing.T) {
	for _, pair := range []bool{false, true} {
		t.Run(fmt.Sprintf("pair=%v", pair), func(t *testing.T) {
			b := bevBase(t)
			first, second := bevTwo(t, b, pair, 0)
			for _, events := range []libevent.Events{libevent.EV_READ, libevent.EV_WRITE} {
				if low, high, err := first.Watermark(events); low != 0 || high != 0 || err != nil {
					t.Errorf("at first: %d, %d, %v", low, high, err)
				}
			}
			data := bevBytes(65000)
			var got []byte
			written := 0
			first.SetCallbacks(nil, func(*libevent.BufferEvent) {
				written++
				// What has left the output has been read or is on its way.
				moved := len(got) + 20
				if !pair {
					moved += bevWaiting(t, second.FD())
				}
				if moved < len(data)-100 {
					t.Errorf("write callback with only %d bytes moved", moved)
				}
			}, nil)
			second.SetCallbacks(func(bev *libevent.BufferEvent) {
				// One call: what it takes is replaced from the partner at once.
				p := make([]byte, 1000)
				n, err := bev.Read(p)
				if n < 10 || n > 20 || err != nil {
					t.Errorf("read callback with %d bytes, %v", n, err)
				}
				if got = append(got, p[:n]...); len(got) == len(data) {
					bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
				}
			}, nil, nil)
			bevCheck(t, "SetWatermark", second.SetWatermark(libevent.EV_READ, 10, 20), nil)
			bevCheck(t, "SetWatermark", first.SetWatermark(libevent.EV_WRITE, 100, 2000), nil)
			if low, high, err := second.Watermark(libevent.EV_READ); low != 10 || high != 20 || err != nil {
				t.Errorf("read watermarks: %d, %d, %v", low, high, err)
			}
			if low, high, err := first.Watermark(libevent.EV_WRITE); low != 100 || high != 2000 || err != nil {
				t.Errorf("write watermarks: %d, %d, %v", low, high, err)
			}
			_, _, err := first.Watermark(bevRW)
			bevCheck(t, "Watermark of both", err, syscall.EINVAL)
			bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
			if _, err := first.Write(data); err != nil {
				t.Error(err)
			}
			bevRun(t, b)
			if !bytes.Equal(got, data) || written == 0 {
				t.Errorf("%d bytes read, %d write callbacks", len(got), written)
			}
		})
	}
}

// bevWaiting returns how many bytes fd has to be read.
func bevWaiting(t testing.TB, fd int) int {
	p := make([]byte, 1<<17)
	n, _, err := syscall.Recvfrom(fd, p, syscall.MSG_PEEK)
	if err != nil && err != syscall.EAGAIN {
		t.Error(err)
	}
	return max(n, 0)
}

// Two clients connect, are told so before anything else, read a text and its end.
//
// Upstream: bufferevent/bufferevent_connect
// Upstream: bufferevent/bufferevent_connect_defer
// Upstream: bufferevent/bufferevent_connect_lock
// Upstream: bufferevent/bufferevent_connect_lock_defer
// Upstream: bufferevent/bufferevent_connect_unlocked_cbs
func TestBufferEventConnect(t *testing.T) {
	const text = "everything comes to him who waits in a loop"
	for _, options := range bevOptions {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(network+"/"+options.String(), func(t *testing.T) {
				b := bevBase(t)
				connect := bevTextServer(t, network, text)
				ends := 0
				for range 2 {
					bev := bevNew(t, b, -1, options|bevOwn)
					if bev.FD() != -1 {
						t.Error("a descriptor before Connect")
					}
					var got []byte
					var happened []libevent.BufferEvents
					bev.SetCallbacks(func(bev *libevent.BufferEvent) {
						if len(happened) != 1 {
							t.Errorf("read callback after %v", happened)
						}
						got = append(got, bevRead(t, bev)...)
					}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
						happened = append(happened, what)
						if bev.Err() != nil {
							t.Errorf("%v: %v", what, bev.Err())
						}
						if what&libevent.BEV_EVENT_EOF == 0 {
							return
						}
						ends++
						if string(got) != text {
							t.Errorf("%q", got)
						}
						if bev.Enabled() != libevent.EV_WRITE {
							t.Errorf("enabled at the end: %v", bev.Enabled())
						}
						if n, err := bev.Read(make([]byte, 1)); n != 0 || err != io.EOF {
							t.Errorf("Read at the end: %d, %v", n, err)
						}
						want := []libevent.BufferEvents{libevent.BEV_EVENT_CONNECTED, 0x11}
						if !slices.Equal(happened, want) {
							t.Errorf("%v, want %v", happened, want)
						}
					})
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					bevCheck(t, "Connect", connect(bev), nil)
					if len(happened) != 0 {
						t.Error("told of before the loop runs")
					}
					flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(bev.FD()), syscall.F_GETFD, 0)
					if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
						t.Errorf("descriptor flags %#x, %v", flags, errno)
					}
				}
				bevRun(t, b)
				if ends != 2 {
					t.Errorf("%d ends", ends)
				}
			})
		}
	}
}

// bevTextServer serves text to every connection, and returns what connects to it.
func bevTextServer(t *testing.T, network, text string) func(*libevent.BufferEvent) error {
	if network == "tcp" {
		address := bevListen(t, func(c net.Conn) { _, _ = io.WriteString(c, text) })
		return func(bev *libevent.BufferEvent) error { return bev.Connect(address) }
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return func(bev *libevent.BufferEvent) error { return bev.ConnectUnix(path) }
}

// A refused connect is one BEV_EVENT_ERROR and nothing else.
//
// Upstream: bufferevent/bufferevent_connect_fail
// Upstream: bufferevent/bufferevent_connect_fail_eventcb
// Upstream: bufferevent/bufferevent_connect_fail_eventcb_defer
func TestBufferEventConnectRefused(t *testing.T) {
	address := bevRefusing(t)
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		for _, options := range bevOptions {
			for _, events := range []libevent.Events{0, bevRW} {
				t.Run(fmt.Sprintf("%s/%v/%v", network, options, events), func(t *testing.T) {
					b := bevBase(t)
					bev := bevNew(t, b, -1, options|bevOwn)
					calls := 0
					data := func(*libevent.BufferEvent) { t.Error("a data callback") }
					bev.SetCallbacks(data, data, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
						calls++
						if what != libevent.BEV_EVENT_ERROR {
							t.Errorf("%v", what)
						}
						var e *libevent.Error
						if err := bev.Err(); !errors.As(err, &e) || e.Err != syscall.ECONNREFUSED {
							t.Errorf("Err: %v", err)
						}
					})
					bevCheck(t, "Enable", bev.Enable(events), nil)
					if network == "tcp" {
						bevCheck(t, "Connect", bev.Connect(address), nil)
					} else {
						bevCheck(t, "ConnectUnix", bev.ConnectUnix(path), nil)
					}
					if calls != 0 {
						t.Error("called before the loop runs")
					}
					bevRun(t, b)
					if calls != 1 {
						t.Errorf("%d events", calls)
					}
					bevCheck(t, "Close", bev.Close(), nil)
					bevCheck(t, "Err after Close", bev.Err(), syscall.ECONNREFUSED)
				})
			}
		}
	}
}

func TestBufferEventConnectFailsAtOnce(t *testing.T) {
	b := bevBase(t)
	before := bevOpenFDs(t)
	bev := bevNew(t, b, -1, bevOwn)
	bev.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		t.Errorf("%v", what)
	})
	address := netip.MustParseAddrPort
	bevCheck(t, "no such path", bev.ConnectUnix(filepath.Join(t.TempDir(), "none")), syscall.ENOENT)
	bevCheck(t, "no path", bev.ConnectUnix(""), syscall.EINVAL)
	bevCheck(t, "a NUL", bev.ConnectUnix("a\x00b"), syscall.EINVAL)
	bevCheck(t, "a long path", bev.ConnectUnix(strings.Repeat("x", 200)), syscall.EINVAL)
	bevCheck(t, "port 0", bev.Connect(address("127.0.0.1:0")), syscall.EINVAL)
	bevCheck(t, "no address", bev.Connect(netip.AddrPort{}), syscall.EINVAL)
	bevCheck(t, "no such zone", bev.Connect(address("[fe80::1%nosuch]:1")), syscall.EINVAL)
	if n := bevOpenFDs(t); n != before || bev.FD() != -1 {
		t.Errorf("%d descriptors, %d before; FD %d", n, before, bev.FD())
	}
	bevRun(t, b)

	// After that it still can.
	connected := false
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		connected = what == libevent.BEV_EVENT_CONNECTED
		bevCheck(t, "Close", bev.Close(), nil)
	})
	bevCheck(t, "Connect", bev.Connect(bevListen(t, func(net.Conn) {})), nil)
	bevRun(t, b)
	if !connected {
		t.Error("not connected")
	}
}

// Of connects at the same time one counts, and the others' sockets are closed.
func TestBufferEventConnectTwice(t *testing.T) {
	before := bevOpenFDs(t)
	b, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	address := bevRefusing(t)
	for range 50 {
		bev := bevNew(t, b, -1, bevThreadsafe|bevOwn)
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				_ = bev.Connect(address)
			}()
		}
		wg.Wait()
		if bev.FD() < 0 {
			t.Error("no socket")
		}
	}
	bevCheck(t, "Close", b.Close(), nil)
	if n := bevOpenFDs(t) - 1; n != before { // bevRefusing has one
		t.Errorf("%d descriptors, %d before", n, before)
	}
}

// The write timeout limits a connect. This one waits behind a full backlog.
func TestBufferEventConnectTimeout(t *testing.T) {
	ln, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ln)
	if err := syscall.Bind(ln, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(ln, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	b := bevBase(t)
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 4 {
		bevCheck(t, "Connect", bevNew(t, b, -1, bevOwn).Connect(address), nil)
	}
	bev := bevNew(t, b, -1, bevOwn)
	var happened []libevent.BufferEvents
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		if happened = append(happened, what); len(happened) < 2 {
			return
		}
		bevCheck(t, "Err", bev.Err(), syscall.ETIMEDOUT)
		bevCheck(t, "Close", bev.Close(), nil)
		bevCheck(t, "Stop", b.Stop(), nil)
	})
	bevCheck(t, "SetTimeouts", bev.SetTimeouts(0, 20*time.Millisecond), nil)
	bevCheck(t, "Connect", bev.Connect(address), nil)
	bevRun(t, b)
	if want := []libevent.BufferEvents{0x42, 0x42}; !slices.Equal(happened, want) {
		t.Errorf("%v, want %v", happened, want)
	}
}

// A socket that the backend refuses is not enabled. The others accept it, or find out in
// the loop.
func TestBufferEventEnableFails(t *testing.T) {
	b := newBaseWith(t, onlyMethod("epoll"))
	one, two := bevSockets(t)
	defer syscall.Close(two)
	bev := bevNew(t, b, one, 0)
	_ = syscall.Close(one)
	bevCheck(t, "Enable", bev.Enable(bevRW), syscall.EBADF)
	if bev.Enabled() != libevent.EV_WRITE {
		t.Errorf("enabled: %v", bev.Enabled())
	}
	bevRun(t, b)
}

// A read timeout and a write timeout each come once, not before their time, and end what
// they timed. A partner that neither reads nor has timeouts to lose is not told.
//
// Upstream: bufferevent/bufferevent_timeout
// Upstream: bufferevent/bufferevent_timeout_pair
func TestBufferEventTimeouts(t *testing.T) {
	for _, pair := range []bool{false, true} {
		for _, options := range []libevent.BufferEventOptions{0, bevDefer} {
			t.Run(fmt.Sprintf("pair=%v/%v", pair, options), func(t *testing.T) {
				b := bevBase(t)
				first, second := bevTwo(t, b, pair, options)
				if !pair {
					bevFill(t, first.FD())
				}
				const wait = 30 * time.Millisecond
				start := time.Now()
				var happened []libevent.BufferEvents
				first.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
					happened = append(happened, what)
					var e *libevent.Error
					if err := bev.Err(); !errors.As(err, &e) || !e.Timeout() || !errors.Is(err, syscall.ETIMEDOUT) {
						t.Errorf("Err: %v", err)
					}
					// libevent's clock steps by some milliseconds.
					if d := time.Since(start); d < wait-10*time.Millisecond {
						t.Errorf("%v after %v", what, d)
					}
					if bev.Enabled() != 0 {
						t.Errorf("%v leaves %v enabled", what, bev.Enabled())
					}
					if _, err := bev.Read(make([]byte, 1)); err != syscall.EAGAIN {
						t.Errorf("Read after a timeout: %v", err)
					}
					// One after the other: deferred, they could be ORed.
					if len(happened) == 1 {
						bevCheck(t, "UpdateCachedTime", b.UpdateCachedTime(), nil)
						start = time.Now()
						bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					}
				})
				second.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
					t.Errorf("the partner: %v", what)
				})
				bevCheck(t, "SetTimeouts", first.SetTimeouts(wait, wait), nil)
				bevCheck(t, "SetTimeouts", second.SetTimeouts(10*time.Millisecond, 0), nil)
				if _, err := first.WriteString("nobody reads this"); err != nil {
					t.Error(err)
				}
				bevCheck(t, "Enable", first.Enable(libevent.EV_WRITE), nil)
				bevRun(t, b)
				if want := []libevent.BufferEvents{0x42, 0x41}; !slices.Equal(happened, want) {
					t.Errorf("%v, want %v", happened, want)
				}
			})
		}
	}
}

// bevFill writes to fd until it takes no more.
func bevFill(t testing.TB, fd int) {
	t.Helper()
	for {
		if _, err := syscall.Write(fd, make([]byte, 4096)); err != nil {
			if err != syscall.EAGAIN {
				t.Error(err)
			}
			return
		}
	}
}

// Timeouts can be taken back, and common ones are timeouts too.
func TestBufferEventTimeoutNone(t *testing.T) {
	b := bevBase(t)
	bevCheck(t, "InitCommonTimeout", b.InitCommonTimeout(time.Millisecond), nil)
	first, second := bevTwo(t, b, false, 0)
	bevCheck(t, "SetTimeouts", first.SetTimeouts(time.Millisecond, 0), nil)
	bevCheck(t, "Enable", first.Enable(libevent.EV_READ), nil)
	for _, none := range []time.Duration{0, libevent.NoTimeout} {
		bevCheck(t, "SetTimeouts", first.SetTimeouts(none, none), nil)
	}
	first.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		t.Errorf("first: %v", what)
	})
	bevCheck(t, "SetTimeouts", second.SetTimeouts(time.Millisecond, 0), nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	var happened []libevent.BufferEvents
	second.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		happened = append(happened, what)
		// Time for the other's timeout, if it had one.
		if _, err := b.AddTimer(20*time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
			bevCheck(t, "Disable", first.Disable(libevent.EV_READ), nil)
			return libevent.LEAVE, 0
		}); err != nil {
			t.Error(err)
		}
	})
	bevRun(t, b)
	if want := []libevent.BufferEvents{0x41}; !slices.Equal(happened, want) {
		t.Errorf("%v, want %v", happened, want)
	}
}

// Trigger obeys the watermarks unless told otherwise, and calls before it returns unless
// either the BufferEvent or the call defers it.
//
// Upstream: bufferevent/bufferevent_trigger
// Upstream: bufferevent/bufferevent_trigger_defer
// Upstream: bufferevent/bufferevent_trigger_postpone
// Upstream: bufferevent/bufferevent_trigger_defer_postpone
func TestBufferEventTrigger(t *testing.T) {
	for _, options := range bevOptions {
		for _, later := range []libevent.TriggerOptions{0, libevent.BEV_TRIG_DEFER_CALLBACKS} {
			t.Run(fmt.Sprintf("%v/%v", options, later), func(t *testing.T) {
				b := bevBase(t)
				deferred := later != 0 || options&bevDefer != 0
				one, two := bevSockets(t)
				defer syscall.Close(two)
				bev := bevNew(t, b, one, options|bevOwn)
				var log []string
				expect := func(what string, want ...string) {
					t.Helper()
					if !slices.Equal(log, want) {
						t.Errorf("%s: %v, want %v", what, log, want)
					}
				}
				callbacks := func() {
					bev.SetCallbacks(
						func(*libevent.BufferEvent) { log = append(log, "read") },
						func(*libevent.BufferEvent) { log = append(log, "write") },
						func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
							log = append(log, what.String())
							if what&libevent.BEV_EVENT_ERROR != 0 {
								bevCheck(t, "Err", bev.Err(), syscall.EIO)
							}
						})
				}
				first := true
				bev.SetCallbacks(func(bev *libevent.BufferEvent) {
					if !first {
						return
					}
					first = false
					callbacks()
					bevCheck(t, "SetWatermark", bev.SetWatermark(libevent.EV_READ, 100, 0), nil)
					bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, later), nil)
					expect("below the watermark")
					bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, later|libevent.BEV_TRIG_IGNORE_WATERMARKS), nil)
					bevCheck(t, "Trigger", bev.Trigger(libevent.EV_WRITE, later), nil)
					bevCheck(t, "TriggerEvent", bev.TriggerEvent(libevent.BEV_EVENT_ERROR, later), nil)
					if deferred {
						expect("before the callbacks are due")
					} else {
						expect("at once", "read", "write", "BEV_EVENT_ERROR")
					}
					bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
				}, nil, nil)
				bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
				if _, err := syscall.Write(two, []byte("go")); err != nil {
					t.Fatal(err)
				}
				bevRun(t, b)
				if options&bevDefer != 0 {
					// The read callback that asked for it was in the middle of a round.
					expect("in the end", "write", "BEV_EVENT_ERROR", "read")
				} else {
					expect("in the end", "read", "write", "BEV_EVENT_ERROR")
				}

				// Without a loop.
				log = nil
				bevCheck(t, "Trigger", bev.Trigger(bevRW, later|libevent.BEV_TRIG_IGNORE_WATERMARKS), nil)
				if deferred {
					expect("no loop, deferred")
				} else {
					expect("no loop", "read", "write")
				}
				bevRun(t, b)
				expect("after the loop", "read", "write")
			})
		}
	}
}

// Deferred callbacks come in one order, whatever the order of their causes.
func TestBufferEventDeferredOrder(t *testing.T) {
	for _, options := range []libevent.BufferEventOptions{bevDefer, bevDefer | bevThreadsafe, bevDefer | bevThreadsafe | bevUnlock} {
		b := bevBase(t)
		bev := bevNew(t, b, -1, options)
		var log []string
		bev.SetCallbacks(
			func(*libevent.BufferEvent) { log = append(log, "read") },
			func(*libevent.BufferEvent) { log = append(log, "write") },
			func(_ *libevent.BufferEvent, what libevent.BufferEvents) { log = append(log, what.String()) })
		for _, err := range []error{
			bev.TriggerEvent(libevent.BEV_EVENT_EOF, 0),
			bev.Trigger(libevent.EV_WRITE, 0),
			bev.TriggerEvent(libevent.BEV_EVENT_READING, 0),
			bev.Trigger(libevent.EV_READ, 0),
			bev.Trigger(libevent.EV_READ, 0),
			bev.TriggerEvent(libevent.BEV_EVENT_CONNECTED, 0),
		} {
			bevCheck(t, "trigger", err, nil)
		}
		bevRun(t, b)
		want := []string{"BEV_EVENT_CONNECTED", "read", "write", "BEV_EVENT_READING|BEV_EVENT_EOF"}
		if !slices.Equal(log, want) {
			t.Errorf("%v: %v, want %v", options, log, want)
		}
	}
}

// The end of the stream comes after its data, ends reading and leaves writing alone.
func TestBufferEventEOF(t *testing.T) {
	for _, options := range bevOptions {
		b := bevBase(t)
		one, two := bevSockets(t)
		bev := bevNew(t, b, one, options|bevOwn)
		calls := 0
		bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			calls++
			if what != 0x11 || bev.Err() != nil || bev.Enabled() != libevent.EV_WRITE {
				t.Errorf("%v, %v, enabled %v", what, bev.Err(), bev.Enabled())
			}
			p := make([]byte, 10)
			if n, err := bev.Read(p[:0]); n != 0 || err != nil {
				t.Errorf("Read of nothing: %d, %v", n, err)
			}
			if n, err := bev.Read(p); string(p[:n]) != "last" || err != nil {
				t.Errorf("Read: %q, %v", p[:n], err)
			}
			if n, err := bev.Read(p); n != 0 || err != io.EOF {
				t.Errorf("Read at the end: %d, %v", n, err)
			}
		})
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		if _, err := syscall.Write(two, []byte("last")); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Close(two)
		if _, err := bev.Read(make([]byte, 1)); err != syscall.EAGAIN {
			t.Errorf("Read before the loop: %v", err)
		}
		bevRun(t, b)
		if calls != 1 {
			t.Errorf("%v: %d events", options, calls)
		}
	}
}

// A write that fails ends writing and leaves reading alone, and the other way round.
func TestBufferEventErrors(t *testing.T) {
	for _, options := range bevOptions {
		t.Run(options.String(), func(t *testing.T) {
			b := bevBase(t)
			one, two := bevSockets(t)
			defer syscall.Close(two)
			if err := syscall.Shutdown(one, syscall.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			bev := bevNew(t, b, one, options|bevOwn)
			var happened []libevent.BufferEvents
			bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
				happened = append(happened, what)
				if bev.Enabled() != libevent.EV_READ {
					t.Errorf("a write error leaves %v", bev.Enabled())
				}
				bevCheck(t, "Err", bev.Err(), syscall.EPIPE)
				bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
			})
			bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
			if _, err := bev.WriteString("x"); err != nil {
				t.Error(err)
			}
			bevRun(t, b)
			if want := []libevent.BufferEvents{0x22}; !slices.Equal(happened, want) {
				t.Errorf("%v, want %v", happened, want)
			}
			if _, err := bev.Read(make([]byte, 1)); err != syscall.EAGAIN {
				t.Errorf("Read after a write error: %v", err)
			}
		})
		t.Run("reset/"+options.String(), func(t *testing.T) {
			b := bevBase(t)
			accepted := make(chan struct{})
			address := bevListen(t, func(c net.Conn) {
				<-accepted
				_ = c.(*net.TCPConn).SetLinger(0)
			})
			bev := bevNew(t, b, -1, options|bevOwn)
			var happened []libevent.BufferEvents
			bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
				happened = append(happened, what)
				if what == libevent.BEV_EVENT_CONNECTED {
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					close(accepted)
					return
				}
				if bev.Enabled() != libevent.EV_WRITE {
					t.Errorf("a read error leaves %v", bev.Enabled())
				}
				bevCheck(t, "Err", bev.Err(), syscall.ECONNRESET)
				_, err := bev.Read(make([]byte, 1))
				bevCheck(t, "Read", err, syscall.ECONNRESET)
			})
			bevCheck(t, "Connect", bev.Connect(address), nil)
			bevRun(t, b)
			if want := []libevent.BufferEvents{libevent.BEV_EVENT_CONNECTED, 0x21}; !slices.Equal(happened, want) {
				t.Errorf("%v, want %v", happened, want)
			}
		})
	}
}

// bevKinds are the callbacks, and what makes C call them.
var bevKinds = []struct {
	name    string
	set     func(bev *libevent.BufferEvent, fn func())
	trigger func(bev *libevent.BufferEvent) error
}{
	{"read", func(bev *libevent.BufferEvent, fn func()) {
		bev.SetCallbacks(func(*libevent.BufferEvent) { fn() }, nil, nil)
	}, func(bev *libevent.BufferEvent) error { return bev.Trigger(libevent.EV_READ, 0) }},
	{"write", func(bev *libevent.BufferEvent, fn func()) {
		bev.SetCallbacks(nil, func(*libevent.BufferEvent) { fn() }, nil)
	}, func(bev *libevent.BufferEvent) error { return bev.Trigger(libevent.EV_WRITE, 0) }},
	{"event", func(bev *libevent.BufferEvent, fn func()) {
		bev.SetCallbacks(nil, nil, func(*libevent.BufferEvent, libevent.BufferEvents) { fn() })
	}, func(bev *libevent.BufferEvent) error { return bev.TriggerEvent(libevent.BEV_EVENT_EOF, 0) }},
}

// A panic inside a method comes out of the method; one in the loop comes out of Dispatch.
// Either way the BufferEvent and the base go on.
func TestBufferEventPanic(t *testing.T) {
	for _, kind := range bevKinds {
		for _, options := range bevOptions {
			t.Run(kind.name+"/"+options.String(), func(t *testing.T) {
				b := bevBase(t)
				bev := bevNew(t, b, -1, options)
				calls := 0
				kind.set(bev, func() {
					if calls++; calls <= 2 {
						panic(io.ErrNoProgress)
					}
				})
				deferred := options&bevDefer != 0
				p := bevPanic(func() { bevCheck(t, "trigger", kind.trigger(bev), nil) })
				if !deferred {
					if p == nil || p.Value != io.ErrNoProgress || !bytes.Contains(p.Stack, []byte("TestBufferEventPanic")) {
						t.Errorf("inside a method: %v", p)
					}
				} else if p != nil {
					t.Errorf("deferred: %v", p)
				}
				after := false
				if !deferred {
					// From here on in the loop, also inside a method.
					bevCheck(t, "Post", b.Post(func() {
						if p := bevPanic(func() { _ = kind.trigger(bev) }); p != nil {
							t.Error("inside a method in the loop:", p)
						}
						after = true
					}), nil)
				}
				for range 2 {
					p := bevPanic(func() { bevRun(t, b) })
					if p == nil || p.Value != io.ErrNoProgress {
						t.Errorf("in the loop: %v", p)
					}
					if !deferred {
						break
					}
					if calls == 1 {
						bevCheck(t, "trigger", kind.trigger(bev), nil)
					}
				}
				if !deferred && !after {
					t.Error("the method did not return")
				}
				bevCheck(t, "trigger", kind.trigger(bev), nil)
				bevRun(t, b)
				if calls != 3 || libevent.LivePanics() != 0 {
					t.Errorf("%d calls, %d panics left", calls, libevent.LivePanics())
				}
			})
		}
	}
}

// A method's panic unwinds the callback that called it, on another base's loop.
func TestBufferEventPanicAcrossBases(t *testing.T) {
	outer, inner := bevBase(t), bevBase(t)
	bev := bevNew(t, inner, -1, 0)
	bev.SetCallbacks(func(*libevent.BufferEvent) { panic("inner") }, nil, nil)
	bevCheck(t, "Post", outer.Post(func() {
		_ = bev.Trigger(libevent.EV_READ, 0)
		t.Error("Trigger returned")
	}), nil)
	p := bevPanic(func() { bevRun(t, outer) })
	var cause *libevent.CallbackPanic
	if p == nil || !errors.As(p.Unwrap(), &cause) || cause.Value != "inner" {
		t.Errorf("%v", p)
	}
	bevCheck(t, "the other base", inner.Dispatch(), nil)
}

// A method on another goroutine than the loop's panics there, and the loop goes on.
func TestBufferEventPanicElsewhere(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, bevThreadsafe)
	bev.SetCallbacks(func(*libevent.BufferEvent) { panic("elsewhere") }, nil, nil)
	keep, err := b.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 })
	if err != nil {
		t.Fatal(err)
	}
	looping, done := make(chan struct{}), make(chan struct{})
	bevCheck(t, "Post", b.Post(func() { close(looping) }), nil)
	go func() {
		defer close(done)
		bevRun(t, b)
	}()
	<-looping
	p := bevPanic(func() { _ = bev.Trigger(libevent.EV_READ, 0) })
	if p == nil || p.Value != "elsewhere" {
		t.Errorf("%v", p)
	}
	served := false
	bevCheck(t, "Post", b.Post(func() {
		served = true
		bevCheck(t, "Close", keep.Close(), nil)
	}), nil)
	<-done
	if !served {
		t.Error("the loop has ended")
	}
}

// A Goexit in a callback breaks the base, inside a method as in the loop.
func TestBufferEventGoexit(t *testing.T) {
	endsInGoexit(t)
	for _, options := range bevOptions {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		bev := bevNew(t, b, -1, options)
		bev.SetCallbacks(func(*libevent.BufferEvent) { runtime.Goexit() }, nil, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = bev.Trigger(libevent.EV_READ, 0)
			_ = b.Dispatch()
			t.Error("the goroutine goes on")
		}()
		<-done
		bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), libevent.ErrBroken)
		bevCheck(t, "Close", bev.Close(), libevent.ErrBroken)
		bevCheck(t, "Close of the base", b.Close(), libevent.ErrBroken)
		_, err = b.NewBufferEvent(-1, 0)
		bevCheck(t, "another one", err, libevent.ErrBroken)
		libevent.AbandonBufferEvent(bev)
	}
}

// Closed in its own callback, nothing more comes, and what it owned is closed.
func TestBufferEventCloseInCallback(t *testing.T) {
	for _, kind := range bevKinds {
		for _, options := range bevOptions {
			for _, loop := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v/loop=%v", kind.name, options, loop), func(t *testing.T) {
					before := bevOpenFDs(t)
					b, err := libevent.New()
					if err != nil {
						t.Fatal(err)
					}
					first, second := bevTwo(t, b, false, options)
					calls := 0
					kind.set(first, func() {
						calls++
						bevCheck(t, "Close", first.Close(), nil)
						bevCheck(t, "again", first.Close(), nil)
						bevCheck(t, "use", kind.trigger(first), libevent.ErrClosed)
						if loop || options&bevDefer != 0 {
							bevCheck(t, "Close of the base", b.Close(), libevent.ErrRunning)
						}
					})
					trigger := func() {
						bevCheck(t, "trigger", kind.trigger(first), nil)
						bevCheck(t, "trigger", kind.trigger(first), map[bool]error{true: nil, false: libevent.ErrClosed}[options&bevDefer != 0])
					}
					if loop {
						bevCheck(t, "Post", b.Post(trigger), nil)
					} else {
						trigger()
					}
					bevRun(t, b)
					if calls != 1 {
						t.Errorf("%d calls", calls)
					}
					bevCheck(t, "Close", second.Close(), nil)
					bevCheck(t, "Close", b.Close(), nil)
					if n := bevOpenFDs(t); n != before {
						t.Errorf("%d descriptors, %d before", n, before)
					}
				})
			}
		}
	}
}

// A base cannot be closed by a callback that runs inside a method, outside any loop.
func TestBufferEventCloseBaseInside(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	calls := 0
	bev.SetCallbacks(func(*libevent.BufferEvent) {
		calls++
		bevCheck(t, "Close", b.Close(), libevent.ErrRunning)
	}, nil, nil)
	bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), nil)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// A callback that was due when its BufferEvent was closed does not come.
func TestBufferEventDroppedCallbacks(t *testing.T) {
	for _, pair := range []bool{false, true} {
		b := bevBase(t)
		first, second := bevTwo(t, b, pair, bevDefer)
		drop := func(*libevent.BufferEvent) { t.Error("called after Close") }
		first.SetCallbacks(drop, drop, func(*libevent.BufferEvent, libevent.BufferEvents) { t.Error("told after Close") })
		bevCheck(t, "Trigger", first.Trigger(bevRW, 0), nil)
		bevCheck(t, "TriggerEvent", first.TriggerEvent(libevent.BEV_EVENT_EOF, 0), nil)
		bevCheck(t, "Enable", first.Enable(libevent.EV_READ), nil)
		if _, err := second.WriteString("for nobody"); err != nil {
			t.Error(err)
		}
		bevCheck(t, "Close", first.Close(), nil)
		// It takes the place of the first in the table of handles.
		third := bevNew(t, b, -1, 0)
		third.SetCallbacks(drop, drop, nil)
		bevRun(t, b)
	}
}

// The descriptor is closed by the loop's next pass when it is the BufferEvent's, never
// when it is the caller's.
func TestBufferEventDescriptor(t *testing.T) {
	needsBlocking(t)
	for _, own := range []bool{false, true} {
		b := bevBase(t)
		one, two := bevSockets(t)
		if err := syscall.SetNonblock(one, false); err != nil {
			t.Fatal(err)
		}
		options := libevent.BufferEventOptions(0)
		if own {
			options = bevOwn
		}
		bev := bevNew(t, b, one, options)
		flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(one), syscall.F_GETFL, 0)
		if nonblocking := flags&syscall.O_NONBLOCK != 0; nonblocking != own {
			t.Errorf("own %v: non-blocking %v", own, nonblocking)
		}
		bevCheck(t, "Close", bev.Close(), nil)
		if bev.FD() != -1 {
			t.Error("FD after Close")
		}
		if n, err := syscall.Read(two, make([]byte, 1)); err != syscall.EAGAIN {
			t.Errorf("closed before the loop has run: %d, %v", n, err)
		}
		bevRun(t, b)
		n, err := syscall.Read(two, make([]byte, 1))
		if own && (n != 0 || err != nil) {
			t.Errorf("not closed by the loop: %d, %v", n, err)
		}
		if !own {
			if err != syscall.EAGAIN {
				t.Errorf("closed: %d, %v", n, err)
			}
			_ = syscall.Close(one)
		}
		_ = syscall.Close(two)
	}
}

func TestBufferEventSetFD(t *testing.T) {
	for _, options := range bevOptions {
		b, err := libevent.NewWithConfig(&libevent.Config{Priorities: 3})
		if err != nil {
			t.Fatal(err)
		}
		bev := bevNew(t, b, -1, options)
		one, two := bevSockets(t)
		got := ""
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			got += string(bevRead(t, bev))
			bevCheck(t, "Disable", bev.Disable(bevRW), nil)
		}, nil, nil)
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		bevCheck(t, "SetPriority", bev.SetPriority(2), nil)
		bevCheck(t, "an open one", bev.SetFD(one), nil)
		if bev.FD() != one || bev.Priority() != 2 || bev.Enabled() != bevRW {
			t.Errorf("FD %d, priority %d, enabled %v", bev.FD(), bev.Priority(), bev.Enabled())
		}
		bevCheck(t, "one that is not open", bev.SetFD(1<<20), syscall.EBADF)
		bevCheck(t, "-2", bev.SetFD(-2), syscall.EBADF)
		if _, err := syscall.Write(two, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		bevRun(t, b)
		if got != "hello" {
			t.Errorf("%q", got)
		}
		bevCheck(t, "none", bev.SetFD(-1), nil)
		bevCheck(t, "Close", b.Close(), nil)
		_ = syscall.Close(one)
		_ = syscall.Close(two)
	}
}

// A descriptor does not block when the BufferEvent owns it; somebody else's stays as it is.
func TestBufferEventOwnDoesNotBlock(t *testing.T) {
	needsBlocking(t)
	b := bevBase(t)
	for _, options := range []libevent.BufferEventOptions{0, bevOwn} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		bevNew(t, b, fds[0], options)
		bevCheck(t, "SetFD", bevNew(t, b, -1, options).SetFD(fds[1]), nil)
		for i, fd := range fds {
			if own := options&bevOwn != 0; (fcntl(t, fd, syscall.F_GETFL)&syscall.O_NONBLOCK != 0) != own {
				t.Errorf("descriptor %d with options %v: non-blocking %v", i, options, !own)
			}
			if options&bevOwn == 0 {
				defer syscall.Close(fd)
			}
		}
	}
}

// Err and Read tell what has happened to the descriptor that there is, and what C was doing.
func TestBufferEventErrBeginsAnew(t *testing.T) {
	b := bevBase(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	bev := bevNew(t, b, -1, bevOwn)
	read := func() error {
		_, err := bev.Read(make([]byte, 1))
		return err
	}
	const reading, writing = libevent.BEV_EVENT_READING, libevent.BEV_EVENT_WRITING
	for _, tt := range []struct {
		what  libevent.BufferEvents
		op    string
		errno error
		read  error
	}{
		{libevent.BEV_EVENT_ERROR | reading, "evbuffer_read", syscall.EIO, syscall.EIO},
		{libevent.BEV_EVENT_ERROR | writing, "evbuffer_write", syscall.EIO, syscall.EAGAIN},
		{libevent.BEV_EVENT_ERROR, "bufferevent_socket_connect", syscall.EIO, syscall.EAGAIN},
		{libevent.BEV_EVENT_TIMEOUT | reading, "bufferevent_set_timeouts", syscall.ETIMEDOUT, syscall.EAGAIN},
		{libevent.BEV_EVENT_EOF | reading, "", nil, io.EOF},
		{libevent.BEV_EVENT_EOF | writing, "", nil, syscall.EAGAIN},
	} {
		bevCheck(t, "TriggerEvent", bev.TriggerEvent(tt.what, 0), nil)
		if tt.op != "" {
			wrapped(t, tt.op, bev.Err(), tt.errno)
		} else {
			bevCheck(t, "Err", bev.Err(), nil)
		}
		bevCheck(t, "Read after "+tt.what.String(), read(), tt.read)
		bevCheck(t, "SetFD, and Err after that", errors.Join(bev.SetFD(-1), bev.Err()), nil)
		bevCheck(t, "Read after SetFD", read(), syscall.EAGAIN)
	}
	bevCheck(t, "TriggerEvent", bev.TriggerEvent(libevent.BEV_EVENT_ERROR|reading, 0), nil)
	bevCheck(t, "Connect", bev.Connect(netip.MustParseAddrPort(ln.Addr().String())), nil)
	bevCheck(t, "Err after Connect", bev.Err(), nil)
	bevCheck(t, "Read after Connect", read(), syscall.EAGAIN)
}

// ReadBuffer reads, also what is eager to write, and into a buffer with chunks that no input
// could take.
func TestBufferEventReadBuffer(t *testing.T) {
	for _, eager := range []bool{false, true} {
		b := bevBase(t)
		first, second := bevTwo(t, b, false, 0)
		bevCheck(t, "SetEager", first.SetEager(eager), nil)
		shared, dst := newBuffer(t), newBuffer(t)
		for _, err := range []error{
			shared.Prepend([]byte("shared ")), dst.AddBufferReference(shared),
			first.Enable(libevent.EV_READ),
		} {
			bevCheck(t, "before", err, nil)
		}
		first.SetCallbacks(func(bev *libevent.BufferEvent) {
			bevCheck(t, "ReadBuffer", bev.ReadBuffer(dst), nil)
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}, nil, nil)
		if _, err := second.WriteString("and read"); err != nil {
			t.Fatal(err)
		}
		bevRun(t, b)
		if got := string(dst.Bytes()); got != "shared and read" {
			t.Errorf("eager %v: %q", eager, got)
		}
	}
}

func TestBufferEventPriority(t *testing.T) {
	b, err := libevent.NewWithConfig(&libevent.Config{Priorities: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var order []int
	for _, priority := range []int{2, 0, 1} {
		bev := bevNew(t, b, -1, bevDefer)
		if bev.Priority() != 1 {
			t.Errorf("priority %d at first", bev.Priority())
		}
		bevCheck(t, "SetPriority", bev.SetPriority(priority), nil)
		if bev.Priority() != priority {
			t.Errorf("priority %d, want %d", bev.Priority(), priority)
		}
		bev.SetCallbacks(func(bev *libevent.BufferEvent) { order = append(order, bev.Priority()) }, nil, nil)
		bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), nil)
		bevCheck(t, "beyond the last", bev.SetPriority(3), syscall.EINVAL)
		bevCheck(t, "negative", bev.SetPriority(-1), syscall.EINVAL)
		if bev.Priority() != priority {
			t.Errorf("priority %d after a failure, want %d", bev.Priority(), priority)
		}
	}
	bevRun(t, b)
	if !slices.Equal(order, []int{0, 1, 2}) {
		t.Errorf("%v", order)
	}
}

// Single reads and writes are no larger than they may be.
func TestBufferEventMaxSingle(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, false, 0)
	if first.MaxSingleRead() != 16384 || first.MaxSingleWrite() != 16384 {
		t.Errorf("at first %d and %d", first.MaxSingleRead(), first.MaxSingleWrite())
	}
	bevCheck(t, "SetMaxSingleWrite", first.SetMaxSingleWrite(300), nil)
	bevCheck(t, "SetMaxSingleRead", second.SetMaxSingleRead(100), nil)
	if first.MaxSingleWrite() != 300 || second.MaxSingleRead() != 100 {
		t.Errorf("%d and %d", first.MaxSingleWrite(), second.MaxSingleRead())
	}
	total := 0
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		n := len(bevRead(t, bev))
		if n > 100 {
			t.Errorf("%d bytes at one time", n)
		}
		if total += n; total == 1000 {
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}
	}, nil, nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	if _, err := first.Write(make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
	times := 1
	if bevEager {
		times++ // at once, before the loop
	}
	if n := total + bevWaiting(t, second.FD()); n > 300*times {
		t.Errorf("%d bytes written at one time", n)
	}
	bevRun(t, b)
	if total != 1000 {
		t.Errorf("%d bytes", total)
	}
	bevCheck(t, "negative", first.SetMaxSingleRead(-1), syscall.EINVAL)
	bevCheck(t, "negative", first.SetMaxSingleWrite(-1), syscall.EINVAL)
	bevCheck(t, "default", first.SetMaxSingleWrite(0), nil)
	if first.MaxSingleWrite() != 16384 {
		t.Errorf("%d", first.MaxSingleWrite())
	}
}

// Whole buffers are moved: an echo that copies nothing.
func TestBufferEventMoveBuffers(t *testing.T) {
	for _, pair := range []bool{false, true} {
		b := bevBase(t)
		first, second := bevTwo(t, b, pair, 0)
		in, out := first.Input(), first.Output()
		if in == out || in != first.Input() || out != first.Output() {
			t.Error("a buffer is not always the same")
		}
		data := bevBytes(10000)
		var got []byte
		for _, bev := range []*libevent.BufferEvent{first, second} {
			bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
			bevCheck(t, "itself", bev.ReadBuffer(bev.Input()), syscall.EINVAL)
			bevCheck(t, "itself", bev.WriteBuffer(bev.Output()), syscall.EINVAL)
			bevCheck(t, "nil", bev.ReadBuffer(nil), syscall.EINVAL)
			bevCheck(t, "nil", bev.WriteBuffer(nil), syscall.EINVAL)
		}
		second.SetCallbacks(func(bev *libevent.BufferEvent) {
			bevCheck(t, "WriteBuffer", bev.WriteBuffer(bev.Input()), nil)
		}, nil, nil)
		first.SetCallbacks(func(bev *libevent.BufferEvent) {
			got = append(got, bevRead(t, bev)...)
			if len(got) == len(data) {
				bevCheck(t, "Close", second.Close(), nil)
				bevCheck(t, "of a closed one", bev.WriteBuffer(second.Input()), libevent.ErrClosed)
				bevCheck(t, "Close", bev.Close(), nil)
			}
		}, nil, nil)
		if _, err := first.Write(data); err != nil {
			t.Error(err)
		}
		closed, err := libevent.NewBuffer()
		if err != nil {
			t.Fatal(err)
		}
		bevCheck(t, "Close", closed.Close(), nil)
		bevCheck(t, "to a closed buffer", first.ReadBuffer(closed), libevent.ErrClosed)
		bevCheck(t, "from a closed buffer", first.WriteBuffer(closed), libevent.ErrClosed)
		if !pair && !bevEager { // which has sent it
			bevCheck(t, "output of a socket", second.WriteBuffer(first.Output()), syscall.EPERM)
		}
		bevRun(t, b)
		if !bytes.Equal(got, data) {
			t.Errorf("pair %v: %d bytes came back", pair, len(got))
		}
	}
}

func TestBufferEventArguments(t *testing.T) {
	b := newBaseWith(t, onlyMethod("epoll")) // which refuses files
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := libevent.LiveBufferEvents()
	for _, tt := range []struct {
		name    string
		fd      int
		options libevent.BufferEventOptions
		want    error
	}{
		{"negative", -2, 0, syscall.EBADF},
		{"not open", 1 << 20, 0, syscall.EBADF},
		{"huge", 1 << 40, 0, syscall.EBADF},
		{"a file", int(file.Fd()), bevOwn, syscall.EPERM},
		{"unlock alone", -1, bevUnlock, syscall.EINVAL},
		{"unlock with a lock", -1, bevUnlock | bevThreadsafe, syscall.EINVAL},
		{"unknown option", -1, 1 << 7, syscall.EINVAL},
		{"negative option", -1, -1, syscall.EINVAL},
	} {
		bev, err := b.NewBufferEvent(tt.fd, tt.options)
		if bev != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, bev, err, tt.want)
		}
		if tt.fd == -1 {
			first, second, err := b.NewBufferEventPair(tt.options)
			if first != nil || second != nil || !errors.Is(err, tt.want) {
				t.Errorf("pair, %s: %v, %v, %v, want %v", tt.name, first, second, err, tt.want)
			}
		}
	}
	if n := libevent.LiveBufferEvents(); n != before {
		t.Errorf("%d alive, %d before", n, before)
	}

	bev := bevNew(t, b, -1, 0)
	second := func(_, _ int, err error) error { return err }
	for name, err := range map[string]error{
		"Enable EV_SIGNAL":        bev.Enable(libevent.EV_SIGNAL),
		"Enable LEAVE":            bev.Enable(libevent.LEAVE),
		"Disable EV_TIMEOUT":      bev.Disable(libevent.EV_TIMEOUT),
		"SetWatermark nothing":    bev.SetWatermark(0, 1, 2),
		"SetWatermark EV_ET":      bev.SetWatermark(libevent.EV_ET, 1, 2),
		"SetWatermark low":        bev.SetWatermark(bevRW, -1, 0),
		"SetWatermark high":       bev.SetWatermark(bevRW, 0, -1),
		"SetWatermark low > high": bev.SetWatermark(bevRW, 3, 2),
		"Watermark nothing":       second(bev.Watermark(0)),
		"SetTimeouts read":        bev.SetTimeouts(-2, 0),
		"SetTimeouts write":       bev.SetTimeouts(0, -time.Second),
		"Trigger nothing":         bev.Trigger(0, 0),
		"Trigger EV_CLOSED":       bev.Trigger(libevent.EV_CLOSED, 0),
		"Trigger options":         bev.Trigger(libevent.EV_READ, 1),
		"TriggerEvent nothing":    bev.TriggerEvent(0, 0),
		"TriggerEvent unknown":    bev.TriggerEvent(0x100, 0),
		"TriggerEvent options":    bev.TriggerEvent(libevent.BEV_EVENT_EOF, 1),
		"Flush nothing":           bev.Flush(0, libevent.BEV_FLUSH),
		"Flush EV_CLOSED":         bev.Flush(libevent.EV_CLOSED|libevent.EV_READ, libevent.BEV_FLUSH),
		"Flush mode":              bev.Flush(libevent.EV_READ, 3),
		"Flush mode below":        bev.Flush(libevent.EV_READ, -1),
		"Lock":                    bev.Lock(),
		"SetMaxSingleRead":        bev.SetMaxSingleRead(1 << 31),
	} {
		bevCheck(t, name, err, syscall.EINVAL)
	}
	bevCheck(t, "SetWatermark, low without high", bev.SetWatermark(bevRW, 3, 0), nil)
	if bev.Enabled() != libevent.EV_WRITE {
		t.Errorf("enabled %v", bev.Enabled())
	}

	one, _ := bevTwo(t, b, true, 0)
	bevCheck(t, "SetFD of a pair", one.SetFD(0), syscall.ENOTSUP)
	bevCheck(t, "Connect of a pair", one.Connect(netip.MustParseAddrPort("127.0.0.1:1")), syscall.ENOTSUP)
	bevCheck(t, "ConnectUnix of a pair", one.ConnectUnix("/x"), syscall.ENOTSUP)
	bevCheck(t, "SetPriority of a pair", one.SetPriority(0), syscall.ENOTSUP)
}

// Moved to another base, a BufferEvent goes on there, as it was: with its callbacks,
// priority and timeouts, which the other base has common ones for, or not. The base that
// it was on can go.
func TestBufferEventSetBase(t *testing.T) {
	const wait = 50 * time.Millisecond
	for _, options := range bevOptions {
		for _, common := range []string{"none", "from", "to"} {
			for _, eager := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%s/eager=%v", options, common, eager), func(t *testing.T) {
					from, to := bevBase(t), bevBase(t)
					bevCheck(t, "SetPriorities", errors.Join(from.SetPriorities(5), to.SetPriorities(5)), nil)
					switch common {
					case "from":
						bevCheck(t, "InitCommonTimeout", from.InitCommonTimeout(wait), nil)
					case "to":
						bevCheck(t, "InitCommonTimeout", to.InitCommonTimeout(wait), nil)
					}
					fd, peer := bevSockets(t)
					defer syscall.Close(peer)
					bev := bevNew(t, from, fd, options|bevOwn)
					bevCheck(t, "SetEager", bev.SetEager(eager), nil)
					var got []byte
					var happened libevent.BufferEvents
					bev.SetCallbacks(func(bev *libevent.BufferEvent) {
						got = append(got, bevRead(t, bev)...)
					}, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { happened |= what })
					bevCheck(t, "SetPriority", bev.SetPriority(1), nil)
					bevCheck(t, "SetTimeouts", bev.SetTimeouts(wait, 0), nil)
					bevCheck(t, "SetBase", bev.SetBase(to), nil)
					bevCheck(t, "SetBase again", bev.SetBase(to), nil)
					bevCheck(t, "Close", from.Close(), nil)
					if bev.Base() != to || bev.Priority() != 1 {
						t.Errorf("base %p, want %p; priority %d", bev.Base(), to, bev.Priority())
					}
					send(t, peer, "hello")
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					bevRun(t, to)
					if string(got) != "hello" || happened != libevent.BEV_EVENT_READING|libevent.BEV_EVENT_TIMEOUT {
						t.Errorf("%q, %v", got, happened)
					}
					if _, err := bev.WriteString("bye"); err != nil {
						t.Error(err)
					}
					bevRun(t, to)
					if s := drain(peer); s != "bye" {
						t.Errorf("the peer has %q", s)
					}
				})
			}
		}
	}
}

// What SetBase does not do, and nothing has changed then.
func TestBufferEventSetBaseRefuses(t *testing.T) {
	from, to, few := bevBase(t), bevBase(t), bevBase(t)
	bevCheck(t, "SetPriorities", few.SetPriorities(2), nil)
	borrowed, err := libevent.BaseFromPointer(to.Pointer())
	if err != nil {
		t.Fatal(err)
	}
	defer borrowed.Close()
	closed, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "Close", closed.Close(), nil)
	one, two := bevSockets(t)
	defer syscall.Close(two)
	bev := bevNew(t, from, one, bevOwn|bevThreadsafe)
	refused := func(what string, to *libevent.Base, want error) {
		t.Helper()
		bevCheck(t, what, bev.SetBase(to), want)
		if bev.Base() != from {
			t.Errorf("%s: another base", what)
		}
	}
	refused("nil", nil, syscall.EINVAL)
	refused("other priorities", few, syscall.EINVAL)
	refused("closed", closed, libevent.ErrClosed)
	refused("borrowed", borrowed, syscall.ENOTSUP)

	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	refused("reading", to, syscall.EBUSY)
	bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)

	bevCheck(t, "Lock", bev.Lock(), nil)
	refused("locked", to, syscall.EBUSY)
	bevCheck(t, "Unlock", bev.Unlock(), nil)

	bev.SetCallbacks(func(*libevent.BufferEvent) { refused("in a callback", to, libevent.ErrRunning) }, nil, nil)
	bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, libevent.BEV_TRIG_DEFER_CALLBACKS), nil)
	refused("a deferred callback waits", to, syscall.EBUSY)
	bevRun(t, from)
	bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), nil)

	for _, base := range []*libevent.Base{from, to} {
		bevCheck(t, "Post", base.Post(func() { refused("a loop runs", to, libevent.ErrRunning) }), nil)
		bevRun(t, base)
	}

	f := filterNew(t, bev, nil, nil, 0)
	refused("a filter", to, syscall.EBUSY)
	bevCheck(t, "Close", f.Close(), nil)
	bevRunNothing(t, from)
	bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)

	fill(one)
	if _, err := bev.WriteString("waits"); err != nil {
		t.Error(err)
	}
	refused("output", to, syscall.EBUSY)
	drain(two)
	bevRun(t, from)
	drain(two)

	bevCheck(t, "SetRateLimit", bev.SetRateLimit(&libevent.TokenBucketConfig{ReadRate: 1, ReadBurst: 1, WriteRate: 1, WriteBurst: 1}), nil)
	bevCheck(t, "SetRateLimit", bev.SetRateLimit(nil), nil)
	refused("was limited", to, syscall.EBUSY)

	pair, _ := bevTwo(t, from, true, 0)
	bevCheck(t, "a pair", pair.SetBase(to), syscall.ENOTSUP)
	bevCheck(t, "from a borrowed base", bevNew(t, borrowed, -1, 0).SetBase(from), syscall.ENOTSUP)
	three, four := bevSockets(t)
	defer syscall.Close(four)
	stale := bevNew(t, from, three, 0)
	bevCheck(t, "Disable", stale.Disable(bevRW), nil)
	bevCheck(t, "close", syscall.Close(three), nil)
	bevCheck(t, "a descriptor that is closed", stale.SetBase(to), syscall.EBADF)
	bevCheck(t, "Close", bev.Close(), nil)
	bevCheck(t, "after Close", bev.SetBase(to), libevent.ErrClosed)
}

// SetBase among calls of other goroutines: it waits for none, and they need not know.
func TestBufferEventSetBaseElsewhere(t *testing.T) {
	bases := [2]*libevent.Base{bevBase(t), bevBase(t)}
	bev := bevNew(t, bases[0], -1, fromAnywhere)
	const times = 1000
	var calls, moves atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ; moves.Load() < times; calls.Add(1) {
				if b := bev.Base(); b != bases[0] && b != bases[1] {
					t.Error("on no base")
				}
				if e := bev.Enabled(); e != libevent.EV_WRITE {
					t.Error(e)
				}
			}
		}()
	}
	for i := 0; moves.Load() < times; i++ {
		err := bev.SetBase(bases[i%2])
		if err == nil && calls.Load() > 0 {
			moves.Add(1)
		}
		closedOr(t, err, syscall.EBUSY)
	}
	wg.Wait()
}

// ReplaceFD closes the descriptor before, with a libevent that has it.
func TestBufferEventReplaceFD(t *testing.T) {
	b := bevBase(t)
	before := bevOpenFDs(t)
	one, two := bevSockets(t)
	defer syscall.Close(two)
	bev := bevNew(t, b, one, bevOwn)
	err := bev.ReplaceFD(-1)
	if errors.Is(err, syscall.ENOTSUP) {
		if bev.FD() != one {
			t.Errorf("FD is %d", bev.FD())
		}
		t.Skip(libevent.Version(), "does not have it")
	}
	bevCheck(t, "ReplaceFD", err, nil)
	if n := bevOpenFDs(t); n != before+1 || bev.FD() != -1 {
		t.Errorf("%d descriptors, %d before; FD is %d", n, before, bev.FD())
	}
}

// The backend select cannot have descriptors beyond FD_SETSIZE.
func TestBufferEventSelect(t *testing.T) {
	needsBlocking(t)
	b, err := libevent.NewWithConfig(&libevent.Config{Avoid: []string{"epoll", "poll", "kqueue", "devpoll", "evport"}})
	if err != nil {
		t.Skip("no select:", err)
	}
	defer b.Close()
	one, two := bevSockets(t)
	defer syscall.Close(one)
	defer syscall.Close(two)
	high, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(one), syscall.F_DUPFD_CLOEXEC, 1024)
	if errno != 0 {
		t.Skip("no descriptor beyond 1023:", errno)
	}
	defer syscall.Close(int(high))
	bev, err := b.NewBufferEvent(int(high), 0)
	if bev != nil || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v, %v", bev, err)
	}
	bev = bevNew(t, b, -1, 0)
	bevCheck(t, "SetFD", bev.SetFD(int(high)), syscall.EINVAL)

	// This backend takes files.
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	bevCheck(t, "SetFD of a file", bev.SetFD(int(file.Fd())), nil)
	bevCheck(t, "Close", bev.Close(), nil)
}

func TestBufferEventAfterClose(t *testing.T) {
	b := bevBase(t)
	bev, _ := bevTwo(t, b, false, bevThreadsafe)
	if bev.Pointer() == nil || bev.Base() != b {
		t.Error("no pointer, or another base")
	}
	bevCheck(t, "Close", bev.Close(), nil)
	bevCheck(t, "Close", bev.Close(), nil)
	second := func(_ int, err error) error { return err }
	third := func(_, _ int, err error) error { return err }
	for name, err := range map[string]error{
		"Enable":            bev.Enable(libevent.EV_READ),
		"Disable":           bev.Disable(libevent.EV_READ),
		"SetWatermark":      bev.SetWatermark(libevent.EV_READ, 0, 0),
		"Watermark":         third(bev.Watermark(libevent.EV_READ)),
		"SetTimeouts":       bev.SetTimeouts(0, 0),
		"Read":              second(bev.Read(make([]byte, 1))),
		"Write":             second(bev.Write(make([]byte, 1))),
		"Write of nothing":  second(bev.Write(nil)),
		"WriteString":       second(bev.WriteString("x")),
		"ReadBuffer":        bev.ReadBuffer(bev.Output()),
		"WriteBuffer":       bev.WriteBuffer(bev.Input()),
		"Connect":           bev.Connect(netip.MustParseAddrPort("127.0.0.1:1")),
		"ConnectUnix":       bev.ConnectUnix("x"),
		"SetFD":             bev.SetFD(-1),
		"Trigger":           bev.Trigger(libevent.EV_READ, 0),
		"TriggerEvent":      bev.TriggerEvent(libevent.BEV_EVENT_EOF, 0),
		"Flush":             bev.Flush(libevent.EV_READ, libevent.BEV_FLUSH),
		"SetPriority":       bev.SetPriority(0),
		"SetMaxSingleRead":  bev.SetMaxSingleRead(1),
		"SetMaxSingleWrite": bev.SetMaxSingleWrite(1),
		"Lock":              bev.Lock(),
		"SetEager":          bev.SetEager(true),
	} {
		bevCheck(t, name, err, libevent.ErrClosed)
	}
	bev.SetCallbacks(nil, nil, nil)
	if bev.Enabled() != 0 || bev.FD() != -1 || bev.Priority() != 0 || bev.MaxSingleRead() != 0 ||
		bev.MaxSingleWrite() != 0 || bev.Pointer() != nil || bev.Err() != nil || bev.Partner() != nil {
		t.Error("something other than zero after Close")
	}
	other, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "Close", other.Close(), nil)
	_, err = other.NewBufferEvent(-1, 0)
	bevCheck(t, "on a closed base", err, libevent.ErrClosed)
	_, _, err = other.NewBufferEventPair(0)
	bevCheck(t, "a pair on a closed base", err, libevent.ErrClosed)
}

// While one goroutine has the lock, others wait, and Close takes effect with Unlock.
func TestBufferEventLock(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, bevThreadsafe)
	bevCheck(t, "Unlock without Lock", bev.Unlock(), syscall.EPERM)
	bevCheck(t, "Lock", bev.Lock(), nil)
	bevCheck(t, "Lock again", bev.Lock(), nil)
	inside := make(chan error)
	var unlocked atomic.Bool
	go func() {
		inside <- bev.Unlock()
		err := bev.Enable(libevent.EV_READ)
		if !unlocked.Load() {
			err = errors.New("Enable did not wait")
		}
		inside <- err
	}()
	bevCheck(t, "Unlock of another goroutine", <-inside, syscall.EPERM)
	bevCheck(t, "Unlock", bev.Unlock(), nil)
	bevCheck(t, "a call of the holder", bev.Disable(libevent.EV_READ), nil)
	unlocked.Store(true)
	bevCheck(t, "Unlock again", bev.Unlock(), nil)
	bevCheck(t, "Enable after it", <-inside, nil)
	bevCheck(t, "Unlock once too often", bev.Unlock(), syscall.EPERM)

	bevCheck(t, "Lock", bev.Lock(), nil)
	bevCheck(t, "Close", bev.Close(), nil)
	bevCheck(t, "Unlock after Close", bev.Unlock(), nil)
}

// The lock makes several calls one, for goroutines and for the loop's callbacks.
func TestBufferEventLockExcludes(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, bevThreadsafe|bevDefer|bevUnlock)
	counter := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				bevCheck(t, "Lock", bev.Lock(), nil)
				counter++
				bevCheck(t, "Unlock", bev.Unlock(), nil)
			}
		}()
	}
	wg.Wait()
	if counter != 800 {
		t.Errorf("%d", counter)
	}
}

// BufferEvents closed by other goroutines while the loop serves them.
func TestBufferEventCloseElsewhere(t *testing.T) {
	for _, pair := range []bool{false, true} {
		for _, options := range []libevent.BufferEventOptions{bevThreadsafe, bevThreadsafe | bevDefer | bevUnlock} {
			t.Run(fmt.Sprintf("pair=%v/%v", pair, options), func(t *testing.T) {
				b := bevBase(t)
				looping := make(chan struct{})
				done := make(chan struct{})
				if _, err := b.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 }); err != nil {
					t.Fatal(err)
				}
				bevCheck(t, "Post", b.Post(func() { close(looping) }), nil)
				go func() {
					defer close(done)
					bevRun(t, b)
				}()
				<-looping
				var wg sync.WaitGroup
				for range 4 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for range 50 {
							first, second, err := bevTwoOf(b, pair, options)
							if err != nil {
								t.Error(err)
								return
							}
							heard := make(chan struct{}, 1)
							echo := func(bev *libevent.BufferEvent) {
								_ = bev.WriteBuffer(bev.Input())
								select {
								case heard <- struct{}{}:
								default:
								}
							}
							first.SetCallbacks(echo, nil, nil)
							second.SetCallbacks(echo, nil, nil)
							_ = first.Enable(libevent.EV_READ)
							_ = second.Enable(libevent.EV_READ)
							_, _ = first.WriteString("ball")
							<-heard
							bevCheck(t, "Close", first.Close(), nil)
							_, _ = second.WriteString("ball")
							bevCheck(t, "Close", second.Close(), nil)
						}
					}()
				}
				wg.Wait()
				bevCheck(t, "Stop", b.Stop(), nil)
				<-done
			})
		}
	}
}

// bevTwoOf is bevTwo for any goroutine.
func bevTwoOf(b *libevent.Base, pair bool, options libevent.BufferEventOptions) (first, second *libevent.BufferEvent, err error) {
	if pair {
		return b.NewBufferEventPair(options)
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if first, err = b.NewBufferEvent(fds[0], options|bevOwn); err == nil {
		second, err = b.NewBufferEvent(fds[1], options|bevOwn)
	}
	return first, second, err
}

// Two loops write to each other's BufferEvents and neither locks the other out.
func TestBufferEventTwoLoops(t *testing.T) {
	const options = bevThreadsafe | bevDefer | bevUnlock | bevOwn
	const total = 1 << 20
	bases := [2]*libevent.Base{bevBase(t), bevBase(t)}
	var in, out [2]*libevent.BufferEvent
	for i, b := range bases {
		// What goes into out[i] comes out of in[i], on the other loop's base.
		one, two := bevSockets(t)
		out[i], in[i] = bevNew(t, b, one, options), bevNew(t, bases[1-i], two, options)
	}
	var finished atomic.Int32
	chunk := bevBytes(4096)
	for i := range bases {
		got := 0
		in[i].SetCallbacks(func(bev *libevent.BufferEvent) {
			for _, c := range bevRead(t, bev) {
				if c != chunk[got%len(chunk)] {
					t.Errorf("byte %d of direction %d is wrong", got, i)
				}
				got++
			}
			if got >= total {
				bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
				// The loop that is done first still has the other's output to write.
				if finished.Add(1) == 2 {
					_ = bases[0].Stop()
					_ = bases[1].Stop()
				}
				return
			}
			// This loop writes to the other loop's BufferEvent.
			if _, err := out[i].Write(chunk); err != nil {
				t.Error(err)
			}
		}, nil, nil)
		bevCheck(t, "Enable", in[i].Enable(libevent.EV_READ), nil)
		for range 4 {
			if _, err := out[i].Write(chunk); err != nil {
				t.Error(err)
			}
		}
	}
	var wg sync.WaitGroup
	for _, b := range bases {
		if _, err := b.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 }); err != nil {
			t.Fatal(err)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			bevRun(t, b)
		}()
	}
	wg.Wait()
}

// Thousands of them leave no handle and no descriptor.
func TestBufferEventLeaks(t *testing.T) {
	alive, fds := libevent.LiveBufferEvents(), bevOpenFDs(t)
	b, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	refusing := bevRefusing(t)
	fds++ // of bevRefusing
	for i := range 3000 {
		options := bevOptions[i%len(bevOptions)]
		var bevs [2]*libevent.BufferEvent
		if i%7 == 0 {
			bevs[0], bevs[1] = bevNew(t, b, -1, options|bevOwn), bevNew(t, b, -1, options|bevOwn)
			bevCheck(t, "Connect", bevs[0].Connect(refusing), nil)
		} else {
			bevs[0], bevs[1] = bevTwo(t, b, i%3 == 0, options)
		}
		for _, bev := range bevs {
			bev.SetCallbacks(func(*libevent.BufferEvent) {}, nil, func(*libevent.BufferEvent, libevent.BufferEvents) {})
			bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
			if _, err := bev.WriteString("left behind"); err != nil {
				t.Error(err)
			}
		}
		if i%2 == 0 {
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
		}
		bevCheck(t, "Close", bevs[i%2].Close(), nil)
		bevCheck(t, "Close", bevs[1-i%2].Close(), nil)
		if i%100 == 99 {
			// Descriptors wait for the loop.
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
		}
	}
	if n := libevent.LiveBufferEvents(); n != alive {
		t.Errorf("%d handles, %d before", n, alive)
	}
	// Some are left to the base.
	for range 100 {
		bevTwo(t, b, false, bevThreadsafe)
	}
	bevCheck(t, "Close", b.Close(), nil)
	if n := libevent.LiveBufferEvents(); n != alive {
		t.Errorf("%d handles after the base, %d before", n, alive)
	}
	if n := bevOpenFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// On a base that C owns and runs, callbacks are in its loop as any.
func TestBufferEventBorrowedBase(t *testing.T) {
	owner := bevBase(t)
	b, err := libevent.BaseFromPointer(owner.Pointer())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, options := range bevOptions {
		first, second := bevTwo(t, b, false, options)
		posted := false
		second.SetCallbacks(func(bev *libevent.BufferEvent) {
			bevCheck(t, "Post", b.Post(func() { posted = true }), nil)
			bevCheck(t, "Close", first.Close(), nil)
			bevCheck(t, "Close", bev.Close(), nil)
			panic("borrowed")
		}, nil, nil)
		bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
		if _, err := first.WriteString("x"); err != nil {
			t.Error(err)
		}
		bevRun(t, owner)
		if !owner.GotBreak() {
			t.Error("the panic did not break the loop")
		}
		p := bevPanic(func() { bevRun(t, b) })
		if p == nil || p.Value != "borrowed" || !posted {
			t.Errorf("%v: %v, posted %v", options, p, posted)
		}
	}
}

func ExampleBufferEvent() {
	base, err := libevent.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer base.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := base.NewBufferEvent(fds[0], libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := base.NewBufferEvent(fds[1], libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The server sends back what comes and closes when nothing more does.
	server.SetCallbacks(
		func(bev *libevent.BufferEvent) { _ = bev.WriteBuffer(bev.Input()) }, nil,
		func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			fmt.Println("server:", what)
			_ = bev.Close()
		})
	client.SetCallbacks(func(bev *libevent.BufferEvent) {
		var buf [64]byte
		n, _ := bev.Read(buf[:])
		fmt.Printf("client: %s\n", buf[:n])
		_ = bev.Close()
	}, nil, nil)
	_ = server.Enable(libevent.EV_READ)
	_ = client.Enable(libevent.EV_READ)
	_, _ = client.WriteString("hello")
	if err := base.Dispatch(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// client: hello
	// server: BEV_EVENT_READING|BEV_EVENT_EOF
}

// A cleanup runs while the method that has brought it about is inside its BufferEvents, for
// which Close of their bases waits.
func TestCleanupInsideMethodLeavesBases(t *testing.T) {
	pair := func(b *libevent.Base) (from, to *libevent.BufferEvent) {
		from, to, err := b.NewBufferEventPair(0)
		must(t, errors.Join(err, from.Enable(libevent.EV_WRITE), to.Enable(libevent.EV_READ)))
		return from, to
	}
	one, other := newBase(t), newBase(t)
	from, to := pair(one)
	second, last := pair(other)
	var errs []error
	must(t, from.Output().AddReference([]byte("text"), func() {
		errs = append(errs, one.Close(), other.Close())
	}))
	callback, err := last.Input().AddCallback(func(buf *libevent.Buffer, _ libevent.BufferCallbackInfo) {
		_ = buf.Drain(buf.Len())
	})
	must(t, err)
	must(t, second.WriteBuffer(to.Input())) // comes to last
	callback.Remove()
	if len(errs) != 2 || !errors.Is(errs[0], libevent.ErrRunning) || !errors.Is(errs[1], libevent.ErrRunning) {
		t.Errorf("Close in a cleanup inside WriteBuffer: %v", errs)
	}
	must(t, from.Output().AddReference([]byte("text"), func() { errs = []error{one.Close()} }))
	if n, err := to.Read(make([]byte, 9)); n != 4 || err != nil {
		t.Errorf("Read: %d, %v", n, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], libevent.ErrRunning) {
		t.Errorf("Close in a cleanup inside Read: %v", errs)
	}
	must(t, errors.Join(from.Close(), to.Close(), second.Close(), last.Close(), one.Close(), other.Close()))
}

func ExampleBase_NewBufferEventPair() {
	base, err := libevent.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer base.Close()
	near, far, err := base.NewBufferEventPair(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	far.SetCallbacks(func(bev *libevent.BufferEvent) {
		var buf [64]byte
		n, _ := bev.Read(buf[:])
		fmt.Printf("%s\n", buf[:n])
	}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		fmt.Println(what)
	})
	_ = far.Enable(libevent.EV_READ)
	_, _ = near.WriteString("from one to the other")
	_ = near.Flush(libevent.EV_WRITE, libevent.BEV_FINISHED)
	if err := base.Dispatch(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// from one to the other
	// BEV_EVENT_READING|BEV_EVENT_EOF
}

func ExampleBufferEvents() {
	fmt.Println(libevent.BEV_EVENT_READING | libevent.BEV_EVENT_TIMEOUT)
	// luaevent has other names for some.
	fmt.Println(libevent.EVBUFFER_EOF == libevent.BEV_EVENT_EOF)
	// Output:
	// BEV_EVENT_READING|BEV_EVENT_TIMEOUT
	// true
}

// A BufferEvent that all goroutines may use needs these three.
func ExampleBufferEventOptions() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	left, right, err := base.NewBufferEventPair(libevent.BEV_OPT_THREADSAFE |
		libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_UNLOCK_CALLBACKS)
	orPanic(err)
	right.SetCallbacks(func(bev *libevent.BufferEvent) {
		fmt.Println(bev.Input().Len(), "bytes")
		orPanic(bev.Close())
	}, nil, nil)
	orPanic(right.Enable(libevent.EV_READ))
	written := make(chan error)
	go func() {
		_, err := left.WriteString("hello")
		written <- err
	}()
	orPanic(<-written)
	orPanic(base.Dispatch())
	// Without the second the third would be wrong.
	_, err = base.NewBufferEvent(-1, libevent.BEV_OPT_UNLOCK_CALLBACKS)
	fmt.Println(errors.Is(err, syscall.EINVAL))
	// Output:
	// 5 bytes
	// true
}

// The partner in a pair is told of an end, where a socket would have to be shut down.
func ExampleFlushMode() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	left, right, err := base.NewBufferEventPair(0)
	orPanic(err)
	right.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { fmt.Println(what) })
	orPanic(right.Enable(libevent.EV_READ))
	for _, mode := range []libevent.FlushMode{libevent.BEV_NORMAL, libevent.BEV_FINISHED} {
		fmt.Println(mode)
		orPanic(left.Flush(libevent.EV_WRITE, mode))
		orPanic(base.Dispatch())
	}
	// Output:
	// BEV_NORMAL
	// BEV_FINISHED
	// BEV_EVENT_READING|BEV_EVENT_EOF
}

// Below its low watermark a read callback is not called, unless by hand.
func ExampleTriggerOptions() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	left, right, err := base.NewBufferEventPair(0)
	orPanic(err)
	right.SetCallbacks(func(bev *libevent.BufferEvent) { fmt.Println(bev.Input().Len(), "bytes") }, nil, nil)
	orPanic(right.SetWatermark(libevent.EV_READ, 100, 0))
	orPanic(right.Enable(libevent.EV_READ))
	_, err = left.WriteString("hello")
	orPanic(err)
	for _, options := range []libevent.TriggerOptions{0, libevent.BEV_TRIG_IGNORE_WATERMARKS} {
		fmt.Println(options)
		orPanic(right.Trigger(libevent.EV_READ, options))
		orPanic(base.Dispatch())
	}
	// Output:
	// 0
	// BEV_TRIG_IGNORE_WATERMARKS
	// 5 bytes
}

// An echo round: 64 bytes there and back, between two BufferEvents on one loop.
func BenchmarkBufferEventEcho(b *testing.B) {
	for _, bench := range []struct {
		name    string
		pair    bool
		options libevent.BufferEventOptions
		eager   bool
	}{
		{"socketpair", false, 0, false},
		{"socketpair/defer", false, bevDefer, false},
		{"socketpair/threadsafe", false, bevThreadsafe | bevDefer | bevUnlock, false},
		{"eager", false, 0, true},
		{"eager/threadsafe", false, bevThreadsafe | bevDefer | bevUnlock, true},
		{"pair", true, 0, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			bevEager = bench.eager
			defer func() { bevEager = false }()
			base := bevBase(b)
			client, server := bevTwo(b, base, bench.pair, bench.options)
			message := bevBytes(64)
			buf := make([]byte, len(message))
			server.SetCallbacks(func(bev *libevent.BufferEvent) {
				_ = bev.WriteBuffer(bev.Input())
			}, nil, nil)
			rounds := 0
			client.SetCallbacks(func(bev *libevent.BufferEvent) {
				if n, err := bev.Read(buf); n != len(buf) || err != nil {
					b.Error(n, err)
					_ = base.Stop()
				}
				if rounds++; rounds == b.N {
					_ = base.Stop()
					return
				}
				_, _ = bev.Write(message)
			}, nil, nil)
			_ = server.Enable(libevent.EV_READ)
			_ = client.Enable(libevent.EV_READ)
			b.ReportAllocs()
			b.ResetTimer()
			_, _ = client.Write(message)
			if err := base.Dispatch(); err != nil {
				b.Error(err)
			}
		})
	}
}

// A deferred callback that is about to run stays in the queue that it is in: libevent
// would take it out of another one, and lose what comes into its own.
func TestSetPriorityWhileCallbackIsDeferred(t *testing.T) {
	p := socketpair(t)
	b := newBaseWith(t, &libevent.Config{Priorities: 3})
	bev, err := b.NewBufferEvent(p[0], libevent.BEV_OPT_DEFER_CALLBACKS)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	bev.SetCallbacks(nil, nil, func(*libevent.BufferEvent, libevent.BufferEvents) { got = append(got, "event") })
	if err := bev.TriggerEvent(libevent.BEV_EVENT_CONNECTED, 0); err != nil {
		t.Fatal(err)
	}
	if err := bev.SetPriority(0); err != nil || bev.Priority() != 0 {
		t.Errorf("priority %d, %v", bev.Priority(), err)
	}
	ev, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
		got = append(got, "timer")
		return libevent.LEAVE, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		// It comes into the queue where the callback was.
		_ = ev.Activate(libevent.EV_TIMEOUT)
	}
	if want := []string{"event", "timer"}; !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

// An end of stream that Flush tells brings no errno of something else along.
func TestFlushHasNoErrno(t *testing.T) {
	b := newBase(t)
	first, second, err := b.NewBufferEventPair(0)
	if err != nil {
		t.Fatal(err)
	}
	second.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) {
		isErrno(t, bev.Err(), syscall.EIO)
	})
	if err := second.TriggerEvent(libevent.BEV_EVENT_ERROR, 0); err != nil {
		t.Fatal(err)
	}
	ev, err := b.AddTimer(faraway, keep)
	if err != nil {
		t.Fatal(err)
	}
	// The last thing that fails before leaves EINVAL.
	isErrno(t, ev.SetPriority(9), syscall.EINVAL)
	if err := first.Flush(libevent.EV_WRITE, libevent.BEV_FINISHED); err != nil {
		t.Fatal(err)
	}
	if err := loop(t, b, libevent.EVLOOP_NONBLOCK); err != nil {
		t.Fatal(err)
	}
}

// A callback that runs inside a method can neither run a loop nor close a base, which might
// be that of what the method moves.
func TestBufferEventInsideRunsNoLoop(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(f *libevent.BufferEvent, src *libevent.Buffer) error
	}{
		{"WriteBuffer", func(f *libevent.BufferEvent, src *libevent.Buffer) error { return f.WriteBuffer(src) }},
		{"AddBuffer", func(f *libevent.BufferEvent, src *libevent.Buffer) error { return f.Output().AddBuffer(src) }},
		{"RemoveBuffer", func(f *libevent.BufferEvent, src *libevent.Buffer) error {
			return second(src.RemoveBuffer(f.Output(), 10))
		}},
		{"Trigger", func(f *libevent.BufferEvent, _ *libevent.Buffer) error {
			return f.Trigger(libevent.EV_WRITE, libevent.BEV_TRIG_IGNORE_WATERMARKS)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, other := bevBase(t), bevBase(t)
			idle := bevBase(t)
			under, _ := bevTwo(t, b, true, 0)
			from, to := bevTwo(t, other, true, 0)
			must(t, to.Enable(libevent.EV_READ))
			must(t, second(from.WriteString("x")))
			inside := 0
			try := func() {
				inside++
				must(t, to.Close())
				for _, b := range []*libevent.Base{b, other, idle} {
					isErrno(t, b.Loop(libevent.EVLOOP_NONBLOCK), libevent.ErrRunning)
					isErrno(t, b.Close(), libevent.ErrRunning)
				}
			}
			f := filterNew(t, under, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
				try()
				return filterPass(src, dst, limit, mode)
			}, 0)
			f.SetCallbacks(nil, func(*libevent.BufferEvent) { try() }, nil)
			must(t, test.call(f, to.Input()))
			if inside == 0 {
				t.Error("no callback came")
			}
			// One that runs in a loop can, of other bases.
			must(t, b.Post(func() {
				must(t, other.Loop(libevent.EVLOOP_NONBLOCK))
				must(t, idle.Close())
			}))
			loopPass(t, b)
		})
	}
}

// Once Close has returned the descriptor can be closed and its number be used again, also
// when a callback is due, or runs.
func TestBufferEventNumberUsedAgain(t *testing.T) {
	for _, options := range bevOptions {
		for _, inCallback := range []bool{false, true} {
			t.Run(fmt.Sprint(options, "/in its callback=", inCallback), func(t *testing.T) {
				p := socketpair(t)
				b := bevBase(t)
				bev := bevNew(t, b, p[0], options)
				peer, heard := -1, false
				use := func(bev *libevent.BufferEvent) {
					bevCheck(t, "Close", bev.Close(), nil)
					peer = useAgain(t, p[0])
					next := bevNew(t, b, p[0], options)
					next.SetCallbacks(func(bev *libevent.BufferEvent) {
						heard = true
						bevCheck(t, "Close", bev.Close(), nil)
					}, nil, nil)
					bevCheck(t, "Enable", next.Enable(libevent.EV_READ), nil)
				}
				bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
				if inCallback {
					bev.SetCallbacks(use, nil, nil)
					send(t, p[1], "x")
				} else {
					bev.SetCallbacks(func(*libevent.BufferEvent) { t.Error("called") }, nil, nil)
					bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ,
						libevent.BEV_TRIG_DEFER_CALLBACKS|libevent.BEV_TRIG_IGNORE_WATERMARKS), nil)
					use(bev)
				}
				for peer == -1 {
					loopPass(t, b)
				}
				defer syscall.Close(peer)
				loopPass(t, b)
				send(t, peer, "y")
				dispatch(t, b)
				if !heard {
					t.Error("what used the number next hears nothing")
				}
			})
		}
	}
}

// One that is closed when it has connected writes nothing to what uses the number next.
func TestBufferEventClosedWhenConnected(t *testing.T) {
	b := bevBase(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	fd := tcpSocket(t)
	must(t, syscall.SetNonblock(fd, true))
	bev := bevNew(t, b, fd, 0)
	var peer int
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) {
		bevCheck(t, "Close", bev.Close(), nil)
		peer = useAgain(t, fd)
	})
	_, err = bev.Write([]byte("for the one that accepts"))
	must(t, errors.Join(err, bev.Connect(ln.Addr().(*net.TCPAddr).AddrPort())))
	dispatch(t, b)
	defer syscall.Close(peer)
	if got := drain(peer); got != "" {
		t.Errorf("%q was written", got)
	}
}

// Callbacks that are set while another goroutine sets something else are there afterwards.
func TestSetCallbacksAmongOthers(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, fromAnywhere)
	for i := range rounds(20_000) {
		called := false
		var done atomic.Bool
		both(func() {
			for on := false; !done.Load(); on = !on {
				bevCheck(t, "SetEager", bev.SetEager(on), nil)
				runtime.Gosched()
			}
		}, func() {
			for range i % 50 {
				bev.SetCallbacks(nil, nil, nil)
			}
			bev.SetCallbacks(func(*libevent.BufferEvent) { called = true }, nil, nil)
			done.Store(true)
		})
		bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, libevent.BEV_TRIG_IGNORE_WATERMARKS), nil)
		loopPass(t, b)
		if !called {
			t.Fatalf("round %d: not called", i)
		}
	}
}
