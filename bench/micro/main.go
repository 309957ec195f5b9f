// Micro does over the binding what c/micro.c does over libevent alone, benchmark by
// benchmark, with the same command line and the same output. With -impl go the timers
// are those of package time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-libevent/libevent"
)

var (
	n      = flag.Int("n", 1000, "how many events")
	a      = flag.Int("a", 1, "how many of a chain are active at first")
	w      = flag.Int("w", 0, "how many writes the chain does; n when 0")
	common = flag.Int("common", 0, "1 for common timeouts")
	ms     = flag.Int("ms", 200, "milliseconds to repeat a measurement for")
)

var base *libevent.Base

var benches = map[string]func(){
	"libevent active": active,
	"libevent chain":  chain,
	"libevent timers": timers,
	"libevent events": events,
	"libevent post":   post,
	"nolock active":   active,
	"nolock chain":    chain,
	"nolock timers":   timers,
	"go timers":       goTimers,
}

func main() {
	bench := flag.String("bench", "active", "active, chain, timers, events or post")
	impl := flag.String("impl", "libevent", "libevent, nolock for a base without locks, or go")
	flag.Parse()
	if *w == 0 {
		*w = *n
	}
	run := benches[*impl+" "+*bench]
	if run == nil {
		log.Fatalf("no -bench %s for -impl %s", *bench, *impl)
	}
	var cfg libevent.Config
	if *impl == "nolock" {
		cfg.Flags = libevent.EVENT_BASE_FLAG_NOLOCK
	}
	base = must(libevent.NewWithConfig(&cfg))
	run()
	out := map[string]float64{}
	for name, s := range figures {
		slices.Sort(s)
		out[name] = s[len(s)/2]
	}
	fmt.Println(string(must(json.Marshal(out))))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// figures has the samples of each figure.
var figures = map[string][]float64{}

func sample(name string, total int64, operations int) {
	figures[name] = append(figures[name], float64(total)/float64(operations))
}

// cpu returns the nanoseconds that the process has been running on a CPU.
func cpu() int64 {
	var ts unix.Timespec
	check(unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts))
	return ts.Nano()
}

// repeat calls fn for as long as there is time, at least once.
func repeat(fn func()) {
	for end := time.Now().Add(time.Duration(*ms) * time.Millisecond); ; {
		fn()
		if time.Now().After(end) {
			return
		}
	}
}

// countAllocs is repeat for an fn of so many operations, and counts what they allocate.
func countAllocs(operations int, fn func()) {
	var before, after runtime.MemStats
	times := 0
	runtime.ReadMemStats(&before)
	repeat(func() { fn(); times++ })
	runtime.ReadMemStats(&after)
	sample("allocs", int64(after.Mallocs-before.Mallocs), times*operations)
}

func once() { check(base.Loop(libevent.EVLOOP_NONBLOCK | libevent.EVLOOP_ONCE)) }

func nothing(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 }

func active() {
	evs := make([]*libevent.Event, *n)
	for i := range evs {
		evs[i] = must(base.NewEvent(-1, 0, nothing))
	}
	countAllocs(*n, func() {
		t0 := cpu()
		for _, ev := range evs {
			check(ev.Activate(libevent.EV_READ))
		}
		t1 := cpu()
		sample("activate", t1-t0, *n)
		once()
		sample("dispatch", cpu()-t1, *n)
	})
}

func chain() {
	var (
		served, left int
		readers      = make([]*libevent.Event, *n)
		writers      = make([]*libevent.Event, *n)
		e            = []byte("e")
		buf          = make([]byte, 1)
	)
	for i := range readers {
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0))
		readers[i] = must(base.AddEvent(pair[0], libevent.EV_READ,
			func(libevent.Events) (libevent.Events, time.Duration) {
				if m, _ := readers[i].Read(buf); m != 1 {
					return 0, 0
				}
				if served++; served == *a+*w {
					check(base.LoopBreak())
				}
				if left > 0 {
					left--
					must(writers[(i+1)%*n].Write(e))
				}
				return 0, 0
			}, libevent.NoTimeout))
		writers[i] = must(base.NewEvent(pair[1], libevent.EV_WRITE, nothing))
	}
	countAllocs(*a+*w, func() {
		left, served = *w, 0
		for i := range *a {
			must(writers[i*(*n / *a)].Write(e))
		}
		t0 := cpu()
		check(base.Dispatch())
		sample("event", cpu()-t0, *a+*w)
	})
}

// longTimeout is between one and two hours, or one that is common.
func longTimeout() time.Duration {
	if *common != 0 {
		return time.Hour
	}
	return time.Hour + time.Microsecond*time.Duration(rand.Int64N(time.Hour.Microseconds()))
}

// shortTimeout is at most a millisecond, or one that is common.
func shortTimeout() time.Duration {
	if *common != 0 {
		return time.Millisecond
	}
	return time.Microsecond * time.Duration(1+rand.Int64N(1000))
}

func timers() {
	if *common != 0 {
		check(base.InitCommonTimeout(time.Hour))
		check(base.InitCommonTimeout(time.Millisecond))
	}
	evs := make([]*libevent.Event, *n)
	fired := 0
	fire := func(libevent.Events) (libevent.Events, time.Duration) {
		fired++
		return libevent.LEAVE, 0
	}
	repeat(func() {
		t0 := cpu()
		for i := range evs {
			evs[i] = must(base.AddTimer(longTimeout(), fire))
		}
		t1 := cpu()
		sample("add", t1-t0, *n)
		for _, ev := range evs {
			check(ev.Add(longTimeout()))
		}
		t0 = cpu()
		sample("rearm", t0-t1, *n)
		for _, ev := range evs {
			check(ev.Close())
		}
		sample("del", cpu()-t0, *n)

		for i := range evs {
			evs[i] = must(base.AddTimer(shortTimeout(), fire))
		}
		time.Sleep(3 * time.Millisecond)
		fired = 0
		t0 = cpu()
		for fired < *n {
			once()
		}
		sample("fire", cpu()-t0, *n)
	})
}

// goTimers lets its timers fire when all have been added, as the others do.
func goTimers() {
	ts := make([]*time.Timer, *n)
	var fired atomic.Int64
	done := make(chan struct{}, 1)
	fire := func() {
		if fired.Add(1) == int64(*n) {
			done <- struct{}{}
		}
	}
	repeat(func() {
		t0 := cpu()
		for i := range ts {
			ts[i] = time.AfterFunc(longTimeout(), fire)
		}
		t1 := cpu()
		sample("add", t1-t0, *n)
		for _, t := range ts {
			t.Reset(longTimeout())
		}
		t0 = cpu()
		sample("rearm", t0-t1, *n)
		for _, t := range ts {
			t.Stop()
		}
		sample("del", cpu()-t0, *n)

		fired.Store(0)
		due := time.Now().Add(time.Duration(*n) * 2 * time.Microsecond)
		for i := range ts {
			ts[i] = time.AfterFunc(time.Until(due)+shortTimeout(), fire)
		}
		if time.Now().After(due) {
			log.Fatal("adding the timers took longer than foreseen")
		}
		t0 = cpu()
		<-done
		sample("fire", cpu()-t0, *n)
	})
}

// addOthers adds events that do nothing for an hour or more.
func addOthers() {
	for range *n {
		must(base.AddTimer(time.Hour+time.Duration(rand.Int64N(int64(time.Hour))), nothing))
	}
}

func events() {
	const few = 100
	fds := make([]int, few)
	for i := range fds {
		fds[i] = must(unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	}
	addOthers()
	evs := make([]*libevent.Event, few)
	measure := func(suffix, rearm string, fn libevent.EventCallback, timeout time.Duration, prepare func(time int)) {
		t0 := cpu()
		for i, fd := range fds {
			evs[i] = must(base.AddEvent(fd, libevent.EV_READ, fn, timeout))
		}
		sample("add"+suffix, cpu()-t0, few)
		for i := range 20 {
			prepare(i)
			for _, ev := range evs {
				check(ev.Activate(libevent.EV_READ))
			}
			t0 = cpu()
			once()
			sample(rearm, cpu()-t0, few)
		}
		t0 = cpu()
		for _, ev := range evs {
			check(ev.Close())
		}
		sample("del"+suffix, cpu()-t0, few)
	}
	repeat(func() {
		var interest libevent.Events
		measure("", "rearm_interest", func(libevent.Events) (libevent.Events, time.Duration) {
			return interest, 0
		}, libevent.NoTimeout, func(i int) {
			interest = libevent.EV_READ
			if i%2 == 0 {
				interest |= libevent.EV_CLOSED
			}
		})
		measure("_timeout", "rearm_timeout", func(libevent.Events) (libevent.Events, time.Duration) {
			return 0, time.Hour + time.Duration(rand.Int64N(int64(time.Second)))
		}, time.Hour, func(int) {})
	})
}

func post() {
	const posts = 100000
	served := 0
	count := func() {
		if served++; served == posts {
			check(base.LoopBreak())
		}
	}
	addOthers()
	countAllocs(posts, func() {
		served = 0
		t0 := cpu()
		go func() {
			for range posts {
				check(base.Post(count))
			}
		}()
		check(base.Dispatch())
		sample("post", cpu()-t0, posts)
	})
}
