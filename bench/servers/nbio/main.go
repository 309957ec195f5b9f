// An echo server on nbio.
package main

import (
	"log"
	"net"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"

	"github.com/go-libevent/libevent/bench/internal/serve"
)

func main() {
	o := serve.Parse("nbio")
	logging.SetLevel(logging.LevelError)
	engine := nbio.NewEngine(nbio.Config{
		Network: "tcp",
		Addrs:   []string{serve.Address},
		NPoller: o.Loops,
		Listen: func(network, addr string) (net.Listener, error) {
			l, err := net.Listen(network, addr)
			if err == nil {
				serve.Listening(l.Addr())
			}
			return l, err
		},
		ReadBufferSize: serve.Buffer,
	})
	engine.OnOpen(func(c *nbio.Conn) { _ = c.SetNoDelay(true) })
	// Write has copied what it could not send by the time it returns.
	engine.OnData(func(c *nbio.Conn, data []byte) { _, _ = c.Write(data) })
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	select {}
}
