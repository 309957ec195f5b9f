//go:build linux

package faults_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
	"github.com/go-libevent/libevent/internal/faults"
)

type events = libevent.Events

// patience ends what should have ended by itself.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	libevent.SupportedMethods() // libevent keeps the list
	os.Exit(ctest.Balanced(func() int {
		// libevent has something to say about every fault.
		if err := libevent.SetLogger(slog.New(slog.DiscardHandler)); err != nil {
			panic(err)
		}
		status := m.Run()
		_ = libevent.SetLogger(nil)
		return status
	}))
}

// must ends the test unless err is nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBase makes a base that is closed when the test ends.
func newBase(t testing.TB) *libevent.Base {
	t.Helper()
	b, err := libevent.New()
	must(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs b's loop, which must end by itself.
func run(t testing.TB, b *libevent.Base) {
	t.Helper()
	if err := runUntil(b, patience); err != nil {
		t.Error(err)
	}
}

var errStalled = errors.New("the loop does not end")

// runUntil runs b's loop, for d at most.
func runUntil(b *libevent.Base, d time.Duration) error {
	stalled := false
	stop := time.AfterFunc(d, func() {
		_ = b.Post(func() { stalled = true })
		_ = b.Stop()
	})
	err := b.Dispatch()
	stop.Stop()
	if stalled {
		return errStalled
	}
	return err
}

// balance is what a session must leave as it has found it.
type balance struct {
	blocks, bytes, own int64
	descriptors        int
}

// takeBalance takes it when it has come to rest: a thread that the Go runtime starts has a
// block of memory for a moment.
func takeBalance() (b balance) {
	for {
		var now balance
		now.blocks, now.bytes = ctest.Allocated()
		now.own = faults.Blocks()
		now.descriptors = len(ctest.Descriptors())
		if now == b {
			return b
		}
		b = now
		time.Sleep(time.Millisecond)
	}
}

// A fault is what goes wrong in a session.
type fault struct {
	name string
	// fail makes the n-th call from now on fail, with n 0 none, and reports whether
	// that of the last time has.
	fail func(n int) (failed bool)
	// reason is the errno that the session must then report.
	reason syscall.Errno
	// silent is how many libevent keeps to itself: when a rate limit's pause ends and it
	// cannot watch the socket again, nobody tries until the next write.
	silent int
}

// ofCall makes one call fail, and fromCall all from then on.
func ofCall(name string, call faults.Call, reason syscall.Errno, silent int) fault {
	return fault{name, func(n int) bool { return faults.Fail(call, n, min(n, 1), reason) > 0 }, reason, silent}
}

func fromCall(name string, call faults.Call, reason syscall.Errno) fault {
	return fault{name, func(n int) bool { return faults.Fail(call, n, n*1000, reason) > 0 }, reason, 0}
}

var all = []fault{
	{"libevent's memory", func(n int) bool {
		return ctest.FailAllocation(int64(n)) == 0
	}, syscall.ENOMEM, 0},
	ofCall("memory", faults.Memory, syscall.ENOMEM, 0),
	ofCall("EMFILE", faults.Descriptor, syscall.EMFILE, 0),
	ofCall("ENFILE", faults.Descriptor, syscall.ENFILE, 0),
	fromCall("EMFILE from then on", faults.Descriptor, syscall.EMFILE),
	fromCall("ENFILE from then on", faults.Descriptor, syscall.ENFILE),
	ofCall("accept EMFILE", faults.Accept, syscall.EMFILE, 0),
	ofCall("accept ENFILE", faults.Accept, syscall.ENFILE, 0),
	ofCall("accept ECONNABORTED", faults.Accept, syscall.ECONNABORTED, 0),
	ofCall("epoll_ctl ENOMEM", faults.Watch, syscall.ENOMEM, 3),
	ofCall("epoll_ctl ENOSPC", faults.Watch, syscall.ENOSPC, 3),
	ofCall("epoll_wait EINTR", faults.Wait, syscall.EINTR, 0),
	ofCall("epoll_wait EINVAL", faults.Wait, syscall.EINVAL, 0),
	ofCall("EINTR", faults.Transfer, syscall.EINTR, 0),
	ofCall("EAGAIN", faults.Transfer, syscall.EAGAIN, 0),
	ofCall("ECONNRESET", faults.Transfer, syscall.ECONNRESET, 0),
	ofCall("ENOBUFS", faults.Setup, syscall.ENOBUFS, 0),
}

// TestEveryCallFails runs a session that uses everything, and lets its first call fail,
// and then its second, until there are no more. Whatever fails, the session has an error
// to report or goes on to its end; it never hangs, crashes, or leaves anything behind.
func TestEveryCallFails(t *testing.T) {
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			f.fail(0)
			for range 2 { // what is made only once
				if err := session(); err != nil {
					t.Fatal("without a fault: ", err)
				}
			}
			reported, absorbed, waited := 0, 0, 0
			for n := 1; ; n++ {
				before := takeBalance()
				f.fail(n)
				err := session()
				failed := f.fail(0)
				after := takeBalance()
				// A busy machine can let what the Go runtime does on another thread,
				// as to start one, wait.
				for until := time.Now().Add(time.Second); after != before && time.Now().Before(until); {
					time.Sleep(time.Millisecond)
					after = takeBalance()
				}
				if after != before {
					t.Errorf("call %d (%v): leaves %+v, had %+v", n, err, after, before)
				}
				if !failed {
					if err != nil {
						t.Errorf("call %d does not come, and yet: %v", n, err)
					}
					break
				}
				switch {
				case err == nil:
					absorbed++
				case errors.Is(err, f.reason):
					reported++
				case errors.Is(err, errTimeout):
					waited++
				default:
					t.Errorf("call %d: %v, want %v", n, err, f.reason)
				}
			}
			t.Logf("%d errors reported, %d made good, %d told by a timeout", reported, absorbed, waited)
			if reported+absorbed == 0 || waited != f.silent {
				t.Errorf("want some failures, and %d told by a timeout alone", f.silent)
			}
		})
	}
}

// at names the place of an error in the session.
func at(place string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return nil
}

// here is at with the caller's line.
func here(err error) error {
	_, _, line, _ := runtime.Caller(1)
	return at(fmt.Sprint("line ", line), err)
}

// A change of the priorities that finds no memory leaves the base as it was: libevent has
// then let its queues go already.
func TestSetPrioritiesWithoutMemory(t *testing.T) {
	for n := int64(1); n <= 2; n++ {
		b := newBase(t)
		must(t, b.SetPriorities(3))
		ctest.FailAllocation(n)
		err := b.SetPriorities(5)
		if failed := ctest.FailAllocation(0) == 0; failed != errors.Is(err, syscall.ENOMEM) {
			t.Errorf("allocation %d: %v", n, err)
		}
		ran := false
		must(t, b.Post(func() { ran = true }))
		run(t, b)
		if want := map[bool]int{true: 3, false: 5}[err != nil]; !ran || b.Priorities() != want {
			t.Errorf("allocation %d: posted function ran: %v, %d priorities, want %d", n, ran, b.Priorities(), want)
		}
	}
}
