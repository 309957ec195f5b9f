package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

var errWrongAnswer = errors.New("the answer is not what was sent")

// inFlight is how many connections may wait for their answer at one time.
const inFlight = 200

// patience is how long an answer may take.
const patience = 30 * time.Second

var message = bytes.Repeat([]byte("libevent"), 8)

// clients make connections, each of which is answered once, with inFlight at most under
// way. They belong to their loop; done is called there, once, when all have been answered,
// or with what went wrong.
type clients struct {
	base  *libevent.Base
	addrs []netip.AddrPort
	keep  bool // the connections stay open, in open

	left, waiting int // to be made, and to be answered
	made          int
	open          []*libevent.BufferEvent
	done          func(error)
}

// run makes n connections.
func (c *clients) run(n int, done func(error)) {
	c.left, c.done = n, done
	c.next()
}

func (c *clients) finish(err error) {
	if done := c.done; done != nil {
		c.done = nil
		done(err)
	}
}

// next makes as many connections as may be under way.
func (c *clients) next() {
	for c.left > 0 && c.waiting < inFlight && c.done != nil {
		c.left--
		c.waiting++
		if err := c.connect(c.addrs[c.made%len(c.addrs)]); err != nil {
			c.finish(err)
		}
		c.made++
	}
	if c.left == 0 && c.waiting == 0 {
		c.finish(nil)
	}
}

func (c *clients) connect(addr netip.AddrPort) error {
	bev, err := c.base.NewBufferEvent(-1, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		return err
	}
	bev.SetCallbacks(c.answered, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		if what == libevent.BEV_EVENT_CONNECTED {
			return
		}
		c.finish(fmt.Errorf("%v: %w", what, errors.Join(bev.Err())))
	})
	if err := errors.Join(bev.SetEager(c.made%2 == 0), bev.SetTimeouts(patience, patience), bev.Connect(addr)); err != nil {
		return err
	}
	return ask(bev)
}

// ask sends the message. Before the connection is made it waits in the output.
func ask(bev *libevent.BufferEvent) error {
	_, err := bev.Write(message)
	return errors.Join(err, bev.Enable(libevent.EV_READ))
}

func (c *clients) answered(bev *libevent.BufferEvent) {
	if bev.Input().Len() < len(message) {
		return
	}
	answer := make([]byte, len(message)+1)
	if n, err := bev.Read(answer); err != nil || !bytes.Equal(answer[:n], message) {
		c.finish(errors.Join(errWrongAnswer, err))
		return
	}
	c.waiting--
	if c.keep {
		c.keepOpen(bev)
	} else {
		if c.made%2 == 0 { // a reset, and no port in TIME_WAIT
			_ = syscall.SetsockoptLinger(bev.FD(), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		}
		_ = bev.Close()
	}
	c.next()
}

// keepOpen leaves a connection idle.
func (c *clients) keepOpen(bev *libevent.BufferEvent) {
	if err := errors.Join(bev.SetTimeouts(0, 0), bev.Disable(libevent.EV_READ)); err != nil {
		c.finish(err)
	}
	c.open = append(c.open, bev)
}

// again has everyone ask once more.
func (c *clients) again(done func(error)) {
	open := c.open
	c.open, c.done = nil, done
	c.waiting = len(open)
	for _, bev := range open {
		if err := ask(bev); err != nil {
			c.finish(err)
		}
	}
}
