// Hello-world accepts connections on 127.0.0.1, port 9995 or what -port says, sends each
// "Hello, World!" and closes it when all is written:
//
//	go run ./examples/hello-world &
//	nc 127.0.0.1 9995
//
// It ends with SIGINT (Ctrl-C), or with -once after the first connection.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

const message = "Hello, World!\n"

func main() {
	log.SetFlags(0)
	port := flag.Uint("port", 9995, "port to listen on; 0 takes a free one")
	once := flag.Bool("once", false, "end after the first connection")
	flag.Parse()
	if *port > 65535 {
		log.Fatal("-port must be below 65536")
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(*port))
	if err := run(addr, *once); err != nil {
		log.Fatal(err)
	}
}

func run(addr netip.AddrPort, once bool) error {
	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close() // and with it the listener and the connections

	options := libevent.LEV_OPT_REUSEABLE | libevent.LEV_OPT_CLOSE_ON_FREE
	ln, err := base.Listen(addr, options, 0, func(_ *libevent.Listener, fd int, peer netip.AddrPort) {
		fmt.Println("connection from", peer)
		greet(base, fd, func() {
			if once {
				_ = base.LoopBreak()
			}
		})
	})
	if err != nil {
		return err
	}
	_, err = base.AddSignal(syscall.SIGINT, func(libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println("caught SIGINT")
		_ = base.LoopBreak()
		return 0, 0
	})
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return base.Dispatch()
}

// greet sends the message on fd, closes fd and calls done.
func greet(base *libevent.Base, fd int, done func()) {
	bev, err := base.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		log.Print(err)
		syscall.Close(fd)
		return
	}
	end := func() {
		_ = bev.Close()
		done()
	}
	bev.SetCallbacks(
		nil,
		func(*libevent.BufferEvent) { end() }, // the output is empty
		func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			if what&libevent.BEV_EVENT_ERROR != 0 {
				log.Print(bev.Err())
			}
			end()
		})
	// Writing is enabled from the start, reading is not.
	if _, err := bev.Write([]byte(message)); err != nil {
		log.Print(err)
		end()
	}
}
