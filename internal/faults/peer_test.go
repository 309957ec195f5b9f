//go:build linux

package faults_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/faults"
)

// sockets makes two connected non-blocking sockets, the second of which the test closes.
func sockets(t testing.TB) (first, second int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = syscall.Close(fds[1]) })
	return fds[0], fds[1]
}

// connect makes a BufferEvent that is connected over TCP, and the other end.
func connect(t testing.TB, b *libevent.Base, eager bool) (*libevent.BufferEvent, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	bev, err := b.NewBufferEvent(-1, libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	must(t, bev.SetEager(eager))
	must(t, bev.Connect(ln.Addr().(*net.TCPAddr).AddrPort()))
	conn, err := ln.Accept()
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	connected := false
	bev.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		connected = what == libevent.BEV_EVENT_CONNECTED
		_ = b.LoopBreak()
	})
	run(t, b)
	if !connected {
		t.Fatal("not connected")
	}
	return bev, conn.(*net.TCPConn)
}

func forEager(t *testing.T, fn func(t *testing.T, eager bool)) {
	t.Run("plain", func(t *testing.T) { fn(t, false) })
	t.Run("eager", func(t *testing.T) { fn(t, true) })
}

// collect has bev collect what it reads, and the events that come, and breaks the loop
// at the first of them.
func collect(b *libevent.Base, bev *libevent.BufferEvent) (data *[]byte, what *libevent.BufferEvents) {
	data, what = new([]byte), new(libevent.BufferEvents)
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		*data = append(*data, bev.Input().Bytes()...)
		_ = bev.Input().Drain(bev.Input().Len())
	}, nil, func(_ *libevent.BufferEvent, w libevent.BufferEvents) {
		*what |= w
		_ = b.LoopBreak()
	})
	return data, what
}

func TestPeerResets(t *testing.T) {
	forEager(t, func(t *testing.T, eager bool) {
		b := newBase(t)
		bev, conn := connect(t, b, eager)
		_, what := collect(b, bev)
		must(t, bev.Enable(libevent.EV_READ))
		must(t, conn.SetLinger(0))
		must(t, conn.Close())
		run(t, b)
		if *what != libevent.BEV_EVENT_READING|libevent.BEV_EVENT_ERROR || !errors.Is(bev.Err(), syscall.ECONNRESET) {
			t.Errorf("%v, %v", *what, bev.Err())
		}
	})
}

// A peer that has ended its own stream still gets what is written to it.
func TestPeerHalfCloses(t *testing.T) {
	forEager(t, func(t *testing.T, eager bool) {
		b := newBase(t)
		bev, conn := connect(t, b, eager)
		data, what := collect(b, bev)
		must(t, bev.Enable(libevent.EV_READ))
		_, err := conn.Write([]byte("last words"))
		must(t, err)
		must(t, conn.CloseWrite())
		run(t, b)
		if *what != libevent.BEV_EVENT_READING|libevent.BEV_EVENT_EOF || string(*data) != "last words" {
			t.Errorf("%v after %q", *what, *data)
		}
		answer := bytes.Repeat([]byte("answer"), 100000)
		_, err = bev.Write(answer)
		must(t, err)
		got := make(chan []byte)
		go func() {
			p, _ := io.ReadAll(io.LimitReader(conn, int64(len(answer))))
			got <- p
			_ = b.Stop()
		}()
		bev.SetCallbacks(nil, nil, nil)
		_, err = b.AddTimer(patience, func(events) (events, time.Duration) { return libevent.LEAVE, 0 })
		must(t, err)
		ended := make(chan error, 1)
		go func() { ended <- b.Dispatch() }()
		if p := <-got; !bytes.Equal(p, answer) {
			t.Errorf("%d of %d bytes", len(p), len(answer))
		}
		must(t, <-ended)
	})
}

// What is written to a peer that has gone is an error, and no SIGPIPE.
func TestPeerHasGone(t *testing.T) {
	forEager(t, func(t *testing.T, eager bool) {
		b := newBase(t)
		first, second := sockets(t)
		bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
		must(t, err)
		must(t, bev.SetEager(eager))
		_, what := collect(b, bev)
		must(t, syscall.Close(second))
		_, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(t, err) // keeps the number for the cleanup
		for *what == 0 {
			if _, err := bev.Write([]byte("anybody there?")); err != nil {
				t.Fatal(err)
			}
			run(t, b)
		}
		if *what&libevent.BEV_EVENT_ERROR == 0 || !errors.Is(bev.Err(), syscall.EPIPE) {
			t.Errorf("%v, %v", *what, bev.Err())
		}
		ev, err := b.NewEvent(first, libevent.EV_WRITE, func(events) (events, time.Duration) { return 0, 0 })
		must(t, err)
		if _, err := ev.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Event.Write: %v", err)
		}
		must(t, ev.Close())
	})
}

// A full pipe takes what it has room for, and no more.
func TestFullPipe(t *testing.T) {
	var p [2]int
	must(t, syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC))
	defer syscall.Close(p[0])
	defer syscall.Close(p[1])
	b := newBase(t)
	total := 0
	var writer *libevent.Event
	writer, err := b.AddEvent(p[1], libevent.EV_WRITE, func(what events) (events, time.Duration) {
		if what == libevent.EV_TIMEOUT {
			return libevent.LEAVE, 0 // it was full
		}
		for {
			n, err := writer.Write(make([]byte, 5000))
			total += n
			if errors.Is(err, syscall.EAGAIN) {
				return 0, 0
			}
			if err != nil {
				t.Error(err)
				return libevent.LEAVE, 0
			}
		}
	}, 20*time.Millisecond)
	must(t, err)
	run(t, b)
	read := 0
	buf, err := libevent.NewBuffer()
	must(t, err)
	defer buf.Close()
	for {
		n, err := buf.ReadFD(p[0], -1)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		must(t, err)
		read += n
	}
	if total == 0 || read != total {
		t.Errorf("%d bytes written, %d read", total, read)
	}
}

// A peer that is silent, and one that does not read, run into the timeouts.
func TestPeerIsDead(t *testing.T) {
	forEager(t, func(t *testing.T, eager bool) {
		for _, reading := range []bool{true, false} {
			b := newBase(t)
			bev, _ := connect(t, b, eager)
			_, what := collect(b, bev)
			want := libevent.BEV_EVENT_TIMEOUT
			start := time.Now()
			if reading {
				want |= libevent.BEV_EVENT_READING
				must(t, bev.SetTimeouts(20*time.Millisecond, 0))
				must(t, bev.Enable(libevent.EV_READ))
			} else {
				want |= libevent.BEV_EVENT_WRITING
				must(t, bev.SetTimeouts(0, 20*time.Millisecond))
				_, err := bev.Write(make([]byte, 32<<20))
				must(t, err)
			}
			run(t, b)
			if *what != want || time.Since(start) < 10*time.Millisecond { // the clock is coarse
				t.Errorf("%v after %v, want %v", *what, time.Since(start), want)
			}
		}
	})
}

// A connection that its peer has given up before it was accepted is no failure: the next
// one is accepted.
func TestConnectionAborted(t *testing.T) {
	b := newBase(t)
	accepted := 0
	ln, err := b.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0,
		func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
			_ = syscall.Close(fd)
			if accepted++; accepted == 3 {
				_ = ln.Close()
			}
		})
	must(t, err)
	must(t, ln.SetErrorCallback(func(_ *libevent.Listener, err error) { t.Error(err) }))
	for range 3 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
	}
	faults.Fail(faults.Accept, 1, 100, syscall.ECONNABORTED)
	run(t, b)
	if n := faults.Fail(faults.Accept, 0, 0, 0); n != 100 || accepted != 3 {
		t.Errorf("%d accepted, after %d were aborted", accepted, n)
	}
}

// While descriptors are short everywhere a listener only pauses.
func TestAcceptWithoutDescriptors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		b := newBase(t)
		ln, err := b.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0,
			func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
				_ = syscall.Close(fd)
				_ = ln.Close()
			})
		must(t, err)
		told := 0
		must(t, ln.SetErrorCallback(func(_ *libevent.Listener, err error) {
			if told++; !errors.Is(err, errno) {
				t.Errorf("%v, want %v", err, errno)
			}
		}))
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
		faults.Fail(faults.Accept, 1, 1, errno)
		run(t, b)
		if told != 1 {
			t.Errorf("%v: told %d times", errno, told)
		}
	}
	faults.Fail(faults.Accept, 0, 0, 0)
}
