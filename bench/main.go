// Bench measures the binding beside C programs over the same library and beside other
// Go networking libraries, and prints what it found.
//
// Every round does every workload once with every implementation, one directly after
// the other and in an order that changes with the round, so that what disturbs the
// machine for a while disturbs all of them. An echo server runs on one CPU and the load
// generator on another. Ratios are of figures of one round; what is reported of figures
// and of ratios is the median over the rounds.
//
// The table is printed, and written together with all samples to results.json in the
// directory of -out, with plots beside it. The programs it runs are in -bin: see the
// Makefile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// A child is killed when the thread that started it ends: let that be the main one.
func init() { runtime.LockOSThread() }

func main() {
	var r runner
	quick := flag.Bool("quick", false, "measure less, and for less than two minutes")
	rounds := flag.Int("rounds", 7, "how often to measure everything")
	only := flag.String("run", "", "only the workloads that match this `regexp`")
	impls := flag.String("impl", "", "only the implementations that match this `regexp`, and C")
	out := flag.String("out", "results", "the `directory` to write to")
	doc := flag.String("doc", "", "put the figures into this `file`, between its marks, and the plots beside it")
	flag.StringVar(&r.bin, "bin", "bin", "the `directory` of the programs to run")
	flag.StringVar(&r.profiles, "cpuprofile", "", "have the Go programs write CPU profiles to this `directory`")
	flag.DurationVar(&r.window, "window", 300*time.Millisecond, "how long to measure once")
	flag.Parse()
	log.SetFlags(0)

	p := fullPlan
	if *quick {
		p = quickPlan
		if !given("rounds") {
			*rounds = 3
		}
		if !given("window") {
			r.window = 150 * time.Millisecond
		}
	}
	p = p.matching(regexp.MustCompile(*only), regexp.MustCompile(*impls))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.prepare(); err != nil {
		log.Fatal(err)
	}
	rep := newReport(p)
	for round := range *rounds {
		samples, err := r.round(ctx, p, round, *rounds)
		if err != nil {
			log.Fatal(err)
		}
		rep.Samples = append(rep.Samples, samples...)
	}
	rep.finish()
	rep.print(os.Stdout)
	if err := errors.Join(os.MkdirAll(*out, 0o777), rep.write(*out), rep.plot(*out, "")); err != nil {
		log.Fatal(err)
	}
	if *doc != "" {
		if err := rep.document(*doc); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("\nAll samples are in %s/results.json.\n", *out)
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
