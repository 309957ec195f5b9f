// An echo server on evio.
package main

import (
	"log"

	"github.com/tidwall/evio"

	"github.com/go-libevent/libevent/bench/internal/serve"
)

func main() {
	o := serve.Parse("evio")
	log.Fatal(evio.Serve(evio.Events{
		NumLoops: o.Loops,
		Serving: func(s evio.Server) evio.Action {
			serve.Listening(s.Addrs[0])
			return evio.None
		},
		Opened: func(evio.Conn) ([]byte, evio.Options, evio.Action) {
			return nil, evio.Options{ReuseInputBuffer: true}, evio.None
		},
		Data: func(_ evio.Conn, in []byte) ([]byte, evio.Action) {
			return in, evio.None
		},
	}, "tcp://"+serve.Address))
}
