// Soak puts the package under load for as long as it is told to, and looks for what grows.
// It ends by itself, with status 1 when something was lost, or was not given back:
//
//	go run ./internal/soak                 # 50,000 connections, 1,000,000 more, ten minutes
//	go run ./internal/soak -connections 1000 -churn 10000 -duration 10s
//
// A connection takes a descriptor of this process, and one of a child that is the other
// end. Where RLIMIT_NOFILE cannot be raised as far there are fewer, and it says so; in the
// virtual machine of tools/vm.sh it can be.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if isChild() {
		os.Exit(child())
	}
	connections := flag.Int("connections", 50_000, "`number` of connections at one time")
	churn := flag.Int("churn", 1_000_000, "`number` of connections one after the other")
	duration := flag.Duration("duration", 10*time.Minute, "`time` of mixed load")
	flag.Parse()
	if err := run(*connections, *churn, *duration); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run goes through the phases. What libevent has allocated must be the same after each.
func run(connections, churned int, duration time.Duration) error {
	for _, phase := range []struct {
		name string
		fn   func() error
	}{
		{"many connections", func() error { return hold(connections) }},
		{"churn", func() error { return churn(churned) }},
		{"slow reader", slowReader},
		{"mixed load", func() error { return mix(duration) }},
	} {
		fmt.Printf("== %s\n", phase.name)
		before := measure()
		start := time.Now()
		if err := phase.fn(); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		after := measure()
		fmt.Printf("   %v, then %v\n", time.Since(start).Round(time.Millisecond), after)
		if after.blocks != before.blocks || after.bytes != before.bytes {
			return fmt.Errorf("%s: libevent keeps %d blocks of %d bytes", phase.name,
				after.blocks-before.blocks, after.bytes-before.bytes)
		}
	}
	fmt.Println("soak: nothing lost, nothing left")
	return nil
}
