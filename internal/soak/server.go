package main

import (
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/go-libevent/libevent"
)

// loop runs a base on a goroutine of its own.
type loop struct {
	base  *libevent.Base
	ended chan error
}

func newLoop() (*loop, error) {
	base, err := libevent.New()
	if err != nil {
		return nil, err
	}
	return &loop{base, make(chan error, 1)}, nil
}

func (l *loop) start() {
	go func() { l.ended <- l.base.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY) }()
}

// close stops the loop and frees everything.
func (l *loop) close() error {
	if err := l.base.Stop(); err != nil {
		return err
	}
	if err := <-l.ended; err != nil {
		return err
	}
	return l.base.Close()
}

// server sends back what it gets.
type server struct {
	*loop
	addrs          []netip.AddrPort
	open, accepted atomic.Int64
}

// newServer listens on that many addresses of the loopback network: of one address to
// another there are no more connections than there are ports.
func newServer(addresses int) (*server, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	s := &server{loop: l}
	for i := range addresses {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), 0)
		ln, err := l.base.Listen(addr, libevent.LEV_OPT_CLOSE_ON_FREE, 4096, s.accept)
		if err != nil {
			_ = l.base.Close()
			return nil, err
		}
		s.addrs = append(s.addrs, ln.Addr())
	}
	l.start()
	return s, nil
}

func (s *server) accept(_ *libevent.Listener, fd int, _ netip.AddrPort) {
	bev, err := s.base.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		_ = syscall.Close(fd)
		return
	}
	s.open.Add(1)
	s.accepted.Add(1)
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		if bev.WriteBuffer(bev.Input()) != nil {
			s.drop(bev)
		}
	}, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) { s.drop(bev) })
	if bev.SetEager(true) != nil || bev.Enable(libevent.EV_READ) != nil {
		s.drop(bev)
	}
}

func (s *server) drop(bev *libevent.BufferEvent) {
	_ = bev.Close()
	s.open.Add(-1)
}
