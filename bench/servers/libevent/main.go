// An echo server on the binding: with raw events and, where the package has them, with
// bufferevents.
package main

import (
	"errors"
	"log"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/bench/internal/serve"
)

// loop is one event loop, with its listener on a port that it may share.
type loop struct {
	base *libevent.Base
	open func(l *loop, fd int) error // takes over an accepted connection
	fd   int
	addr *net.TCPAddr
	buf  []byte
}

// opens names the implementations.
var opens = map[string]func(*loop, int) error{"raw": openRaw}

func main() {
	o := serve.Parse(impls()...)
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	var running sync.WaitGroup
	for range o.Loops {
		l, err := newLoop(opens[o.Impl], addr, o.Loops > 1)
		if err != nil {
			log.Fatal(err)
		}
		addr = l.addr
		running.Go(func() { log.Fatal(l.base.Dispatch()) })
	}
	serve.Listening(addr)
	running.Wait()
}

// impls returns the names with the default first.
func impls() []string {
	names := []string{"raw"}
	for name := range opens {
		if name != "raw" {
			names = append(names, name)
		}
	}
	return names
}

func newLoop(open func(*loop, int) error, addr *net.TCPAddr, share bool) (*loop, error) {
	base, err := libevent.New()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return nil, err
		}
	}
	sa := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	if err := errors.Join(unix.Bind(fd, sa), unix.Listen(fd, 1024)); err != nil {
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	l := &loop{
		base: base, open: open, fd: fd, buf: make([]byte, serve.Buffer),
		addr: &net.TCPAddr{IP: addr.IP, Port: bound.(*unix.SockaddrInet4).Port},
	}
	_, err = base.AddEvent(fd, libevent.EV_READ, l.accept, libevent.NoTimeout)
	return l, err
}

// accept takes every connection that waits.
func (l *loop) accept(libevent.Events) (libevent.Events, time.Duration) {
	for {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EAGAIN {
			return 0, 0
		}
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
		if err == nil {
			err = l.open(l, fd)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// conn is a connection on a raw event.
type conn struct {
	loop *loop
	ev   *libevent.Event
	rest []byte // what the socket did not take
}

func openRaw(l *loop, fd int) (err error) {
	c := &conn{loop: l}
	c.ev, err = l.base.AddEvent(fd, libevent.EV_READ, c.echo, libevent.NoTimeout)
	return err
}

func (c *conn) echo(libevent.Events) (libevent.Events, time.Duration) {
	if len(c.rest) > 0 {
		n, err := c.ev.Write(c.rest)
		c.rest = c.rest[n:]
		return c.next(err)
	}
	buf := c.loop.buf
	n, err := c.ev.Read(buf)
	if err != nil {
		if err == syscall.EAGAIN {
			return 0, 0
		}
		return c.close()
	}
	m, err := c.ev.Write(buf[:n])
	if m < n {
		c.rest = append(c.rest, buf[m:n]...)
		return c.next(err)
	}
	return 0, 0
}

// next waits for what the connection needs after a write that may have been short.
func (c *conn) next(err error) (libevent.Events, time.Duration) {
	switch {
	case err == nil:
		return libevent.EV_READ, 0
	case err == syscall.EAGAIN:
		return libevent.EV_WRITE, 0
	}
	return c.close()
}

func (c *conn) close() (libevent.Events, time.Duration) {
	fd := c.ev.FD()
	_ = c.ev.Close()
	_ = unix.Close(fd)
	return libevent.LEAVE, 0
}
