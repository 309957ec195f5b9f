// Signal-test waits for SIGINT (Ctrl-C) and says so each time. It ends after the third.
package main

import (
	"fmt"
	"log"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close()

	got := 0
	_, err = base.AddSignal(syscall.SIGINT, func(libevent.Events) (libevent.Events, time.Duration) {
		got++
		fmt.Printf("got SIGINT, %d of 3\n", got)
		if got == 3 {
			return libevent.LEAVE, 0 // no event is left: the loop ends
		}
		return 0, 0
	})
	if err != nil {
		return err
	}
	fmt.Println("waiting for SIGINT")
	return base.Dispatch()
}
