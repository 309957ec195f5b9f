package main

import (
	"github.com/go-libevent/libevent"
)

func init() {
	opens["bufferevent"] = func(l *loop, fd int) error {
		_, err := openBufferEvent(l, fd, move)
		return err
	}
	opens["bufferevent-copy"] = func(l *loop, fd int) error {
		_, err := openBufferEvent(l, fd, copyOut)
		return err
	}
	opens["eager"] = func(l *loop, fd int) error {
		bev, err := openBufferEvent(l, fd, copyOut)
		if err != nil {
			return err
		}
		return bev.SetEager(true)
	}
}

func openBufferEvent(l *loop, fd int, echo func(*libevent.BufferEvent)) (*libevent.BufferEvent, error) {
	bev, err := l.base.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		return nil, err
	}
	bev.SetCallbacks(echo, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		if what&(libevent.BEV_EVENT_EOF|libevent.BEV_EVENT_ERROR) != 0 {
			_ = bev.Close()
		}
	})
	return bev, bev.Enable(libevent.EV_READ)
}

// move has libevent move the input's chunks, as the C reference does. An error here is
// one of the connection, which the event callback is told of.
func move(bev *libevent.BufferEvent) {
	_ = bev.WriteBuffer(bev.Input())
}

// copyOut lets the program see the bytes, as one that does more than to echo does.
func copyOut(bev *libevent.BufferEvent) {
	in := bev.Input()
	for p := in.Peek(); len(p) > 0; p = in.Peek() {
		if _, err := bev.Write(p); err != nil {
			return
		}
		if err := in.Drain(len(p)); err != nil {
			return
		}
	}
}
