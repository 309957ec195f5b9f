// An echo server with a goroutine a connection, as one writes it with package net.
package main

import (
	"flag"
	"log"
	"net"

	"github.com/go-libevent/libevent/bench/internal/serve"
)

func main() {
	size := flag.Int("buffer", serve.Buffer, "bytes of a connection's buffer")
	serve.Parse("net")
	l, err := net.Listen("tcp", serve.Address)
	if err != nil {
		log.Fatal(err)
	}
	serve.Listening(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(c, make([]byte, *size))
	}
}

func echo(c net.Conn, buf []byte) {
	defer c.Close()
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
