// An echo server on netpoll.
package main

import (
	"context"
	"log"

	"github.com/cloudwego/netpoll"

	"github.com/go-libevent/libevent/bench/internal/serve"
)

func main() {
	o := serve.Parse("netpoll")
	if err := netpoll.Configure(netpoll.Config{PollerNum: o.Loops, BufferSize: serve.Buffer}); err != nil {
		log.Fatal(err)
	}
	l, err := netpoll.CreateListener("tcp", serve.Address)
	if err != nil {
		log.Fatal(err)
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		log.Fatal(err)
	}
	serve.Listening(l.Addr())
	log.Fatal(loop.Serve(l))
}

func echo(_ context.Context, c netpoll.Connection) error {
	r, w := c.Reader(), c.Writer()
	buf, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := w.WriteBinary(buf); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}
