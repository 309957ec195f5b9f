// Echo is an echo server on 127.0.0.1 that puts itself to the test: 200 connections send
// it messages for three seconds and check that what comes back is what they sent. The
// terminal shows how it goes, and at the end what came of it. It ends with status 0, or
// with 1 when an answer was wrong or missing; SIGINT (Ctrl-C) ends it sooner.
//
// With -listen it only serves, until SIGINT. An address that begins with the colon is one
// of 127.0.0.1:
//
//	go run ./examples/echo -listen :7777
//
// The server (server.go) is a Listener and a BufferEvent for each connection. The load
// (load.go) is an Event for each connection, on a base and a goroutine of its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "only serve, on this `address`")
	connections := flag.Int("connections", 200, "number of connections")
	duration := flag.Duration("duration", 3*time.Second, "how long to send")
	size := flag.Int("size", 64, "bytes in a message")
	flag.Parse()

	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case *connections < 1 || *size < 1 || *duration <= 0:
		err = errors.New("-connections, -size and -duration must be positive")
	case *listen != "":
		err = serve(*listen)
	default:
		err = demo(*connections, *size, *duration)
	}
	if err != nil {
		log.Fatal("echo: ", err)
	}
}

// serve runs the server until SIGINT.
func serve(address string) error {
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("-listen %q is not an IP address and a port, such as 127.0.0.1:7777", address)
	}
	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close()
	s, err := newServer(base, addr)
	if err != nil {
		return err
	}
	_, err = base.AddSignal(syscall.SIGINT, func(libevent.Events) (libevent.Events, time.Duration) {
		_ = base.LoopExit(0)
		return libevent.LEAVE, 0
	})
	if err != nil {
		return err
	}
	fmt.Println("listening on", s.addr())
	return base.Dispatch()
}

// demo runs the server under load.
func demo(connections, size int, duration time.Duration) error {
	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close() // and with it all that is made on it
	s, err := newServer(base, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return err
	}

	// The load has a loop of its own. When that has ended it ends this one.
	l, err := newLoad(connections, size)
	if err != nil {
		return err
	}
	defer l.close()
	done := make(chan error, 1)
	go func() {
		done <- l.run(s.addr(), duration)
		_ = base.Stop()
	}()
	err = watch(base, s, l)
	_ = l.stop() // if it runs still
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	l.report(base.Method())
	return nil
}

// watch runs the server's loop and says what it does.
func watch(base *libevent.Base, s *server, l *load) error {
	start := time.Now()
	last, bytes := start, int64(0)
	_, err := base.AddTimer(500*time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		now := time.Now()
		messages := float64(s.bytes-bytes) / float64(l.size)
		fmt.Printf("%4.1f s  %d connections  %.0f messages/s\n",
			now.Sub(start).Seconds(), s.connections, messages/now.Sub(last).Seconds())
		last, bytes = now, s.bytes
		return 0, 0
	})
	if err != nil {
		return err
	}
	_, err = base.AddSignal(syscall.SIGINT, func(libevent.Events) (libevent.Events, time.Duration) {
		_ = l.finish() // and with the load this loop ends
		return 0, 0
	})
	if err != nil {
		return err
	}
	return base.Dispatch()
}
