// Package serve is what the echo servers of the benchmark have in common: the command
// line, the line that says where they listen, and how they end.
package serve

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"syscall"
)

// Buffer is the size of a read buffer, where a server chooses one. No message that
// comes back in one piece is longer.
const Buffer = 16 << 10

// Address is where every server listens.
const Address = "127.0.0.1:0"

// Options is the command line.
type Options struct {
	Impl  string // which of the implementations in the program
	Loops int    // how many loops, where there is a choice
}

// Parse reads the command line of a program that has the implementations named, the
// first of which is the default. Asked for another one it prints "unsupported" and ends
// the program.
func Parse(impls ...string) Options {
	var o Options
	flag.StringVar(&o.Impl, "impl", impls[0], "one of "+fmt.Sprint(impls))
	flag.IntVar(&o.Loops, "loops", 1, "the number of event loops")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file` at the end")
	flag.Parse()
	if !slices.Contains(impls, o.Impl) {
		fmt.Println("unsupported")
		os.Exit(0)
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
	}
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	go obey(signals)
	return o
}

// obey says at SIGUSR1 and SIGUSR2 how often the program has allocated, gives back at
// SIGHUP the memory that is not in use, and ends the program at SIGTERM.
func obey(signals <-chan os.Signal) {
	var m runtime.MemStats
	for s := range signals {
		switch s {
		case syscall.SIGTERM:
			pprof.StopCPUProfile()
			os.Exit(0)
		case syscall.SIGHUP:
			debug.FreeOSMemory()
			continue
		}
		runtime.ReadMemStats(&m)
		fmt.Println("mallocs", m.Mallocs)
	}
}

// Listening prints where the server listens: a free port that the system has chosen.
func Listening(addr net.Addr) {
	fmt.Println("port", addr.(*net.TCPAddr).Port)
}
