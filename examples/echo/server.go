package main

import (
	"log"
	"net/netip"
	"syscall"

	"github.com/go-libevent/libevent"
)

const (
	// How many connections may wait to be accepted.
	backlog = 1024
	// A connection with more than this in its output is not read from until all
	// of it is sent: a peer that does not read must not fill the memory.
	maxOutput = 1 << 20
)

// server sends back what it gets. Its fields belong to its base's loop.
type server struct {
	base        *libevent.Base
	ln          *libevent.Listener
	connections int
	bytes       int64
}

func newServer(base *libevent.Base, addr netip.AddrPort) (*server, error) {
	s := &server{base: base}
	options := libevent.LEV_OPT_REUSEABLE | libevent.LEV_OPT_CLOSE_ON_FREE
	ln, err := base.Listen(addr, options, backlog, s.accept)
	if err != nil {
		return nil, err
	}
	s.ln = ln
	return s, nil
}

func (s *server) addr() netip.AddrPort { return s.ln.Addr() }

// accept is called for each new connection.
func (s *server) accept(_ *libevent.Listener, fd int, _ netip.AddrPort) {
	bev, err := s.base.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		log.Print(err)
		syscall.Close(fd)
		return
	}
	// Else the end of an answer can wait 40 ms until its beginning is acknowledged.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	bev.SetCallbacks(s.read, nil, s.ended)
	if err := bev.Enable(libevent.EV_READ | libevent.EV_WRITE); err != nil {
		log.Print(err)
		_ = bev.Close()
		return
	}
	s.connections++
}

// read is called when there is input. It moves it to the output, which copies nothing.
func (s *server) read(bev *libevent.BufferEvent) {
	in, out := bev.Input(), bev.Output()
	s.bytes += int64(in.Len())
	if err := out.AddBuffer(in); err != nil {
		log.Print(err)
		s.close(bev)
		return
	}
	if out.Len() > maxOutput {
		_ = bev.Disable(libevent.EV_READ)
		bev.SetCallbacks(s.read, s.written, s.ended)
	}
}

// written is called when the output of a connection that was not read from is empty.
func (s *server) written(bev *libevent.BufferEvent) {
	bev.SetCallbacks(s.read, nil, s.ended)
	_ = bev.Enable(libevent.EV_READ)
}

// ended is called when the peer has closed the connection, or an error has.
func (s *server) ended(bev *libevent.BufferEvent, what libevent.BufferEvents) {
	if what&libevent.BEV_EVENT_ERROR != 0 {
		log.Print(bev.Err())
	}
	s.close(bev)
}

func (s *server) close(bev *libevent.BufferEvent) {
	_ = bev.Close() // and with it the descriptor
	s.connections--
}
