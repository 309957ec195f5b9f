//go:build linux

package faults_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
	"github.com/go-libevent/libevent/internal/faults"
)

// interrupt sends the process SIGALRM every d, until the result is called.
func interrupt(t testing.TB, d time.Duration) (stop func()) {
	t.Helper()
	set := func(us int64) {
		every := [4]int64{0, us, 0, us}
		if _, _, errno := syscall.Syscall(syscall.SYS_SETITIMER, 0, uintptr(unsafe.Pointer(&every)), 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(d.Microseconds())
	return func() { set(0) }
}

// Signals that interrupt everything, all the time, and system calls that say so more often
// than they would, change nothing: not a byte is lost.
func TestInterruptedTransfers(t *testing.T) {
	forEager(t, func(t *testing.T, eager bool) {
		b := newBase(t)
		alarms := 0
		alarm, err := b.AddSignal(syscall.SIGALRM, func(events) (events, time.Duration) {
			alarms++
			return 0, 0
		})
		must(t, err)
		defer interrupt(t, 200*time.Microsecond)()
		bev, conn := connect(t, b, eager)
		sent := bytes.Repeat([]byte("0123456789"), 400_000)
		var got []byte
		storm := func() {
			faults.Fail(faults.Transfer, 2, 3, syscall.EINTR)
			faults.Fail(faults.Wait, 2, 3, syscall.EINTR)
		}
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			storm()
			got = append(got, bev.Input().Bytes()...)
			if err := bev.WriteBuffer(bev.Input()); err != nil {
				t.Error(err)
			}
			if len(got) == len(sent) && alarms > 0 {
				_ = alarm.Close()
			}
		}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			if what&libevent.BEV_EVENT_EOF == 0 {
				t.Error(what, bev.Err())
			}
			_ = b.LoopBreak()
		})
		must(t, bev.Enable(libevent.EV_READ))
		back := make(chan []byte)
		go func() {
			_, _ = conn.Write(sent)
		}()
		go func() {
			p := make([]byte, 0, len(sent))
			for len(p) < len(sent) {
				n, err := conn.Read(p[len(p):cap(p)])
				if err != nil {
					break
				}
				p = p[:len(p)+n]
			}
			back <- p
			_ = conn.CloseWrite()
		}()
		ended := make(chan error, 1)
		go func() { ended <- runUntil(b, 3*patience) }()
		if p := <-back; !bytes.Equal(p, sent) {
			t.Errorf("%d of %d bytes came back", len(p), len(sent))
		}
		must(t, <-ended)
		faults.Fail(faults.Transfer, 0, 0, 0)
		faults.Fail(faults.Wait, 0, 0, 0)
	})
}

// A hundred thousand signals, in bursts and from all sides, with one P and with two. Every
// burst is seen, and the loop stays alive.
func TestSignalStorm(t *testing.T) {
	const storm, burst = 100_000, 1000
	for procs := 1; procs <= 2; procs++ {
		before := runtime.GOMAXPROCS(procs)
		b := newBase(t)
		var seen atomic.Int64
		ev, err := b.AddSignal(syscall.SIGUSR1, func(events) (events, time.Duration) {
			seen.Add(1)
			return 0, 0
		})
		must(t, err)
		ended := make(chan error, 1)
		go func() { ended <- b.Dispatch() }()
		for sent := 0; sent < storm; sent += burst {
			now := seen.Load()
			for range burst {
				must(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
			}
			// The kernel joins signals that wait; that one has come is seen after it.
			for deadline := time.Now().Add(patience); seen.Load() == now; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("a burst of signals is lost")
				}
			}
		}
		must(t, ev.Close())
		must(t, <-ended)
		t.Logf("GOMAXPROCS %d: %d signals sent, %d delivered", procs, storm, seen.Load())
		if n := seen.Load(); n < storm/burst || n > storm {
			t.Errorf("%d deliveries", n)
		}
		runtime.GOMAXPROCS(before)
	}
}

// The clock of the day can be set: timers do not care. The other one can leap, when a
// machine has slept: what is due then fires once.
func TestClockJumps(t *testing.T) {
	for _, flags := range []libevent.BaseFlags{0, libevent.EVENT_BASE_FLAG_PRECISE_TIMER} {
		b, err := libevent.NewWithConfig(&libevent.Config{Flags: flags})
		must(t, err)
		for _, wall := range []time.Duration{-240 * time.Hour, 240 * time.Hour} {
			ticks := 0
			start := time.Now()
			_, err := b.AddTimer(10*time.Millisecond, func(events) (events, time.Duration) {
				faults.Jump(wall, 0)
				defer faults.Jump(-wall, 0)
				if err := b.UpdateCachedTime(); err != nil {
					t.Error(err)
				}
				if ticks++; ticks == 3 {
					return libevent.LEAVE, 0
				}
				return 0, 0
			})
			must(t, err)
			run(t, b)
			if d := time.Since(start); d < 25*time.Millisecond || d > patience {
				t.Errorf("three ticks in %v", d)
			}
		}
		hours, far := 0, 0
		hourly, err := b.AddTimer(time.Hour, func(events) (events, time.Duration) { hours++; return 0, 0 })
		must(t, err)
		weekly, err := b.AddTimer(7*24*time.Hour, func(events) (events, time.Duration) { far++; return 0, 0 })
		must(t, err)
		must(t, b.Once(-1, libevent.EV_TIMEOUT, func(events) {
			faults.Jump(0, 50*time.Hour)
			_ = b.UpdateCachedTime() // epoll_wait would look at the kernel's own
		}, time.Millisecond))
		must(t, b.Once(-1, libevent.EV_TIMEOUT, func(events) {
			_ = b.LoopExit(20 * time.Millisecond)
		}, 2*time.Hour))
		run(t, b)
		if hours != 1 || far != 0 {
			t.Errorf("an hourly timer came %d times in a leap of 50 hours, a weekly one %d times", hours, far)
		}
		must(t, hourly.Close())
		must(t, weekly.Close())
		must(t, b.Close())
	}
}

// A descriptor that somebody has closed behind libevent's back is an error, and never a
// crash: of an event, a BufferEvent, a listener, and of the backend itself.
func TestDescriptorsClosedBehindOurBack(t *testing.T) {
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	must(t, err)
	defer syscall.Close(null)
	t.Run("event", func(t *testing.T) {
		first, _ := sockets(t)
		b := newBase(t)
		ev, err := b.AddEvent(first, libevent.EV_READ, func(events) (events, time.Duration) {
			return libevent.LEAVE, 0
		}, 10*time.Millisecond)
		must(t, err)
		must(t, syscall.Close(first))
		run(t, b)
		if _, err := ev.Read(make([]byte, 1)); !errors.Is(err, libevent.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := b.AddEvent(first, libevent.EV_READ, func(events) (events, time.Duration) { return 0, 0 }, 0); !errors.Is(err, syscall.EBADF) {
			t.Errorf("AddEvent: %v", err)
		}
	})
	t.Run("bufferevent", func(t *testing.T) {
		forEager(t, func(t *testing.T, eager bool) {
			first, second := sockets(t)
			b := newBase(t)
			bev, err := b.NewBufferEvent(first, 0)
			must(t, err)
			must(t, bev.SetEager(eager))
			_, what := collect(b, bev)
			must(t, bev.SetTimeouts(10*time.Millisecond, 10*time.Millisecond))
			must(t, bev.Enable(libevent.EV_READ))
			must(t, syscall.Close(first))
			_, err = bev.Write([]byte("into the void"))
			if err != nil && !errors.Is(err, syscall.EBADF) {
				t.Errorf("Write: %v", err)
			}
			run(t, b)
			if *what == 0 {
				t.Error("nothing is told")
			}
			_ = second
			must(t, bev.Close())
		})
	})
	t.Run("listener", func(t *testing.T) {
		b := newBase(t)
		ln, err := b.Listen(netip.MustParseAddrPort("127.0.0.1:0"), 0, 0,
			func(*libevent.Listener, int, netip.AddrPort) {})
		must(t, err)
		must(t, syscall.Close(ln.FD()))
		must(t, b.LoopExit(10*time.Millisecond))
		run(t, b)
		must(t, ln.Disable())
		must(t, ln.Close())
	})
	t.Run("backend", func(t *testing.T) {
		before := ctest.Descriptors()
		b := newBase(t)
		for _, fd := range ctest.Descriptors() {
			if strings.HasSuffix(fd, "anon_inode:[eventpoll]") && !strings.Contains(strings.Join(before, "\n"), fd) {
				n := 0
				for _, c := range strings.Fields(fd)[0] {
					n = 10*n + int(c-'0')
				}
				must(t, syscall.Dup3(null, n, syscall.O_CLOEXEC)) // keeps the number
			}
		}
		_, err := b.AddTimer(time.Minute, func(events) (events, time.Duration) { return 0, 0 })
		must(t, err)
		if err := runUntil(b, patience); err == nil || errors.Is(err, errStalled) {
			t.Errorf("Dispatch: %v", err)
		}
	})
}

// A child that is started beside running loops inherits none of their descriptors.
func TestChildrenInheritNothing(t *testing.T) {
	// What the program itself was started with.
	before := strings.Join(ctest.Descriptors(), "\n") + "\n"
	for range 2 {
		b := newBase(t)
		ev, err := b.AddSignal(syscall.SIGUSR1, func(events) (events, time.Duration) { return 0, 0 })
		must(t, err)
		defer ev.Close()
		_, err = b.ListenUnix("@"+t.Name()+b.Method()+time.Now().String(), libevent.LEV_OPT_CLOSE_ON_FREE, 0,
			func(_ *libevent.Listener, fd int, _ netip.AddrPort) { _ = syscall.Close(fd) })
		must(t, err)
		var ln *libevent.Listener
		// Connections are made, accepted and closed all the time.
		ln, err = b.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0,
			func(_ *libevent.Listener, fd int, _ netip.AddrPort) {
				bev, err := b.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
				if err != nil {
					t.Error(err)
					return
				}
				bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) { _ = bev.Close() })
				_ = bev.Enable(libevent.EV_READ)
			})
		must(t, err)
		_, err = b.AddTimer(time.Millisecond, func(events) (events, time.Duration) {
			bev, err := b.NewBufferEvent(-1, libevent.BEV_OPT_CLOSE_ON_FREE)
			if err == nil {
				bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, _ libevent.BufferEvents) { _ = bev.Close() })
				err = bev.Connect(ln.Addr())
			}
			if err != nil {
				t.Error(err)
			}
			return 0, 0
		})
		must(t, err)
		end := make(chan error, 1)
		go func() { end <- b.Dispatch() }()
		defer func() {
			must(t, b.Stop())
			must(t, <-end)
		}()
	}
	for range 30 {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		must(t, err)
		for _, line := range strings.Split(string(out), "\n") {
			name, of, ok := strings.Cut(line, " -> ")
			fd, _ := strconv.Atoi(name[strings.LastIndex(name, " ")+1:])
			// 0 to 2 are the child's own, and the directory is.
			if ok && fd > 2 && !strings.HasSuffix(of, "/fd") && !strings.Contains(before, " "+of+"\n") {
				t.Fatalf("the child has:\n%s", out)
			}
		}
	}
}
