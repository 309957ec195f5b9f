// An echo server on gnet.
package main

import (
	"log"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/go-libevent/libevent/bench/internal/serve"
)

type server struct{ gnet.BuiltinEventEngine }

func main() {
	o := serve.Parse("gnet")
	err := gnet.Run(&server{}, "tcp://"+serve.Address,
		gnet.WithNumEventLoop(o.Loops),
		gnet.WithReusePort(o.Loops > 1),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithReadBufferCap(serve.Buffer))
	log.Fatal(err)
}

func (*server) OnBoot(engine gnet.Engine) gnet.Action {
	fd, err := engine.Dup()
	if err != nil {
		log.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		log.Fatal(err)
	}
	serve.Listening(&net.TCPAddr{Port: sa.(*unix.SockaddrInet4).Port})
	return gnet.None
}

func (*server) OnTraffic(c gnet.Conn) gnet.Action {
	buf, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(buf); err != nil {
		return gnet.Close
	}
	return gnet.None
}
