// Time-test runs a timer and prints how much time has passed at each tick. It ends after
// five ticks, or as many as -n says.
package main

import (
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/go-libevent/libevent"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 5, "end after this many ticks")
	interval := flag.Duration("interval", time.Second, "time between two ticks")
	flag.Parse()
	if *n < 1 {
		log.Fatal("-n must be at least 1")
	}
	if err := run(*n, *interval); err != nil {
		log.Fatal(err)
	}
}

func run(n int, interval time.Duration) error {
	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close()

	ticks := 0
	last := time.Now()
	_, err = base.AddTimer(interval, func(libevent.Events) (libevent.Events, time.Duration) {
		now := time.Now()
		ticks++
		fmt.Printf("tick %d: %.3f seconds elapsed\n", ticks, now.Sub(last).Seconds())
		last = now
		if ticks == n {
			return libevent.LEAVE, 0 // no event is left: the loop ends
		}
		return 0, 0 // again
	})
	if err != nil {
		return err
	}
	return base.Dispatch()
}
