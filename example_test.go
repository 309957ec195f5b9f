package libevent_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

func orPanic(err error) {
	if err != nil {
		panic(err)
	}
}

func Example() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()

	n := 0
	_, err = base.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		n++
		fmt.Println("tick", n)
		if n == 3 {
			return libevent.LEAVE, 0
		}
		return 0, 0
	})
	orPanic(err)
	orPanic(base.Dispatch()) // until no events are left
	// Output:
	// tick 1
	// tick 2
	// tick 3
}

func ExampleNew() {
	base, err := libevent.New()
	orPanic(err)
	fmt.Println(base.Dispatch()) // nothing to wait for
	fmt.Println(base.Close())
	fmt.Println(errors.Is(base.Dispatch(), libevent.ErrClosed))
	// Output:
	// <nil>
	// <nil>
	// true
}

// The callback's results make a little state machine: read the request, then wait
// until the answer can be written, then leave.
func ExampleBase_AddEvent() {
	pair, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close() // frees the event before its descriptor is closed

	var ev *libevent.Event
	ev, err = base.AddEvent(pair[0], libevent.EV_READ, func(what libevent.Events) (libevent.Events, time.Duration) {
		switch what {
		case libevent.EV_READ:
			var buf [64]byte
			n, err := ev.Read(buf[:])
			fmt.Printf("read %q, %v\n", buf[:n], err)
			return libevent.EV_WRITE, 0
		case libevent.EV_WRITE:
			n, err := ev.Write([]byte("pong"))
			fmt.Println("wrote", n, err)
			return libevent.EV_READ, time.Millisecond
		default:
			fmt.Println(what)
			return libevent.LEAVE, 0
		}
	}, time.Second)
	orPanic(err)

	_, err = syscall.Write(pair[1], []byte("ping"))
	orPanic(err)
	orPanic(base.Dispatch())
	// Output:
	// read "ping", <nil>
	// wrote 4 <nil>
	// EV_TIMEOUT
}

func ExampleBase_AddTimer() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	d := time.Millisecond
	_, err = base.AddTimer(d, func(libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println("retry after", d)
		if d *= 2; d > 4*time.Millisecond {
			return libevent.LEAVE, 0
		}
		return 0, d // the next timeout
	})
	orPanic(err)
	orPanic(base.Dispatch())
	// Output:
	// retry after 1ms
	// retry after 2ms
	// retry after 4ms
}

func ExampleBase_AddSignal() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddSignal(syscall.SIGUSR1, func(what libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println(what)
		return libevent.LEAVE, 0
	})
	orPanic(err)
	orPanic(syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
	orPanic(base.Dispatch())
	// Output: EV_SIGNAL
}

func ExampleBase_Once() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	orPanic(base.Once(-1, 0, func(what libevent.Events) { fmt.Println(what) }, time.Millisecond))
	orPanic(base.Dispatch())
	// Output: EV_TIMEOUT
}

func ExampleBase_NewEvent() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	// An event that the program itself makes active.
	ev, err := base.NewEvent(-1, 0, func(what libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println(what)
		return 0, 0
	})
	orPanic(err)
	fmt.Println("pending:", ev.Pending(libevent.EV_TIMEOUT|libevent.EV_READ))
	orPanic(ev.Activate(libevent.EV_READ))
	orPanic(base.Dispatch())
	orPanic(ev.Add(time.Millisecond))
	fmt.Println("pending:", ev.Pending(libevent.EV_TIMEOUT|libevent.EV_READ))
	orPanic(base.Loop(libevent.EVLOOP_ONCE))
	orPanic(ev.Close())
	// Output:
	// pending: 0
	// EV_READ
	// pending: EV_TIMEOUT
	// EV_TIMEOUT
}

func ExampleBase_Events() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	for range 3 {
		_, err := base.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) {
			return 0, 0
		})
		orPanic(err)
	}
	// Nothing is left to wait for when they are closed.
	for ev := range base.Events() {
		fmt.Println(ev.FD(), ev.Pending(libevent.EV_TIMEOUT))
		orPanic(ev.Close())
	}
	orPanic(base.Dispatch())
	// Output:
	// -1 EV_TIMEOUT
	// -1 EV_TIMEOUT
	// -1 EV_TIMEOUT
}

func ExampleBase_ActivateBySignal() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddSignal(syscall.SIGHUP, func(what libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println("reloading:", what)
		return libevent.LEAVE, 0
	})
	orPanic(err)
	orPanic(base.ActivateBySignal(syscall.SIGHUP)) // as if it had come
	orPanic(base.Dispatch())
	// Output: reloading: EV_SIGNAL
}

// How long the loop has waited, where libevent can tell.
func ExampleWatcher() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	var began time.Time
	var waited time.Duration
	_, err = base.NewPrepareWatcher(func(time.Duration) { began = time.Now() })
	if errors.Is(err, syscall.ENOTSUP) {
		began = time.Now() // libevent 2.1: the loop as a whole
	} else {
		orPanic(err)
		_, err = base.NewCheckWatcher(func() { waited += time.Since(began) })
		orPanic(err)
	}
	orPanic(base.Once(-1, 0, func(libevent.Events) {}, time.Millisecond))
	orPanic(base.Dispatch())
	if waited == 0 {
		waited = time.Since(began)
	}
	fmt.Println(waited >= time.Millisecond/2)
	// Output: true
}

// The descriptor is closed when nobody uses it any more.
func ExampleEvent_Finalize() {
	pair, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(pair[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	ev, err := base.AddEvent(pair[0], libevent.EV_READ, func(libevent.Events) (libevent.Events, time.Duration) {
		return 0, 0
	}, 0)
	orPanic(err)
	go func() { // anywhere, and at any time
		orPanic(ev.Finalize(func() {
			fmt.Println(syscall.Close(pair[0]))
			orPanic(base.Stop())
		}))
	}()
	orPanic(base.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY))
	// Output: <nil>
}

func ExampleBase_Post() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		orPanic(base.Post(func() { fmt.Println("on the loop") }))
		orPanic(base.Post(func() { orPanic(base.LoopExit(0)) }))
	}()
	orPanic(base.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY))
	<-done
	// Output: on the loop
}

func ExampleBase_Run() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) {
		return 0, 0
	})
	orPanic(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(base.Run(ctx))
	// Output: context deadline exceeded
}

func ExampleBase_Stop() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) {
		return 0, 0
	})
	orPanic(err)
	// Before the loop, and still not lost.
	orPanic(base.Stop())
	fmt.Println(base.Dispatch(), base.GotBreak())
	// Output: <nil> true
}

func ExampleBase_InitCommonTimeout() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	const idle = 2 * time.Millisecond
	orPanic(base.InitCommonTimeout(idle)) // for thousands of connections
	n := 0
	for range 1000 {
		orPanic(base.Once(-1, 0, func(libevent.Events) { n++ }, idle))
	}
	orPanic(base.Dispatch())
	fmt.Println(n)
	// Output: 1000
}

func ExampleConfig() {
	base, err := libevent.NewWithConfig(&libevent.Config{
		Avoid:      []string{"epoll", "kqueue", "select"},
		Flags:      libevent.EVENT_BASE_FLAG_IGNORE_ENV,
		Priorities: 2,
	})
	orPanic(err)
	defer base.Close()
	fmt.Println(base.Method(), base.Priorities())

	for _, name := range []string{"later", "first"} {
		ev, err := base.NewEvent(-1, 0, func(libevent.Events) (libevent.Events, time.Duration) {
			fmt.Println(name)
			return libevent.LEAVE, 0
		})
		orPanic(err)
		if name == "first" {
			orPanic(ev.SetPriority(0))
		}
		orPanic(ev.Activate(libevent.EV_READ))
	}
	orPanic(base.Dispatch())
	// Output:
	// poll 2
	// first
	// later
}

func ExampleError() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddEvent(-1, libevent.EV_READ, func(libevent.Events) (libevent.Events, time.Duration) {
		return 0, 0
	}, 0)
	var e *libevent.Error
	fmt.Println(errors.As(err, &e), e.Op, errors.Is(err, syscall.EBADF))
	fmt.Println(err)
	// Output:
	// true event_new true
	// libevent: event_new: bad file descriptor
}

func ExampleCallbackPanic() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	n := 0
	_, err = base.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		if n++; n == 1 {
			panic(io.ErrUnexpectedEOF)
		}
		return libevent.LEAVE, 0
	})
	orPanic(err)
	func() {
		defer func() {
			p := recover().(*libevent.CallbackPanic)
			fmt.Println(p.Value, errors.Is(p, io.ErrUnexpectedEOF), len(p.Stack) > 0)
		}()
		_ = base.Dispatch()
	}()
	// The event is still there, and the loop goes on.
	fmt.Println(base.Dispatch(), n)
	// Output:
	// unexpected EOF true true
	// <nil> 2
}

func ExampleEvents() {
	fmt.Println(libevent.EV_READ|libevent.EV_TIMEOUT, libevent.LEAVE, libevent.Events(0))
	// Output: EV_TIMEOUT|EV_READ LEAVE 0
}

func ExampleEvent() {
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	var ev *libevent.Event
	ev, err = base.NewEvent(fds[0], libevent.EV_READ, func(libevent.Events) (libevent.Events, time.Duration) {
		buf := make([]byte, 64)
		n, err := ev.Read(buf)
		if err == io.EOF {
			return libevent.LEAVE, 0
		}
		orPanic(err)
		fmt.Printf("%s\n", buf[:n])
		return 0, 0
	})
	orPanic(err)
	orPanic(ev.Add(libevent.NoTimeout))
	fmt.Println(ev.Events(), ev.Pending(libevent.EV_READ|libevent.EV_TIMEOUT))
	_, err = syscall.Write(fds[1], []byte("hello"))
	orPanic(err)
	orPanic(syscall.Shutdown(fds[1], syscall.SHUT_WR))
	orPanic(base.Dispatch())
	// Output:
	// EV_READ EV_READ
	// hello
}

// What a callback returns decides how its event goes on.
func ExampleEventCallback() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	ticks := 0
	var tick libevent.EventCallback = func(libevent.Events) (libevent.Events, time.Duration) {
		ticks++
		fmt.Println("tick", ticks)
		switch ticks {
		case 1:
			return 0, 0 // the same again
		case 2:
			return 0, 2 * time.Millisecond // slower from now on
		}
		return libevent.LEAVE, 0
	}
	_, err = base.AddTimer(time.Millisecond, tick)
	orPanic(err)
	orPanic(base.Dispatch())
	// Output:
	// tick 1
	// tick 2
	// tick 3
}

func ExampleLoopFlags() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	_, err = base.AddTimer(50*time.Millisecond, func(what libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println(what)
		return libevent.LEAVE, 0
	})
	orPanic(err)
	// Nothing is waited for, and then the first thing that happens.
	for _, flags := range []libevent.LoopFlags{libevent.EVLOOP_ONCE | libevent.EVLOOP_NONBLOCK, libevent.EVLOOP_ONCE} {
		fmt.Println(flags)
		orPanic(base.Loop(flags))
	}
	// Output:
	// EVLOOP_ONCE|EVLOOP_NONBLOCK
	// EVLOOP_ONCE
	// EV_TIMEOUT
}

func ExampleFeatures() {
	base, err := libevent.NewWithConfig(&libevent.Config{Require: libevent.EV_FEATURE_FDS})
	if err != nil {
		fmt.Println("no backend takes every kind of descriptor")
		return
	}
	defer base.Close()
	fmt.Println(base.Features() & libevent.EV_FEATURE_FDS)
	// Output: EV_FEATURE_FDS
}

// A base for one goroutine alone, with timeouts that are exact to the microsecond.
func ExampleBaseFlags() {
	flags := libevent.EVENT_BASE_FLAG_NOLOCK | libevent.EVENT_BASE_FLAG_PRECISE_TIMER
	base, err := libevent.NewWithConfig(&libevent.Config{Flags: flags})
	orPanic(err)
	defer base.Close()
	fmt.Println(flags)
	// Output: EVENT_BASE_FLAG_NOLOCK|EVENT_BASE_FLAG_PRECISE_TIMER
}

func ExampleCountFlags() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	for range 3 {
		ev, err := base.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 })
		orPanic(err)
		defer ev.Close()
	}
	fmt.Println(base.NumEvents(libevent.EVENT_BASE_COUNT_ADDED), base.NumEvents(libevent.EVENT_BASE_COUNT_ACTIVE))
	// Output: 3 0
}

// What is written before the connection is made waits in the output.
func ExampleBufferEvent_Connect() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	orPanic(err)
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		orPanic(err)
		defer conn.Close()
		line, err := bufio.NewReader(conn).ReadString('\n')
		orPanic(err)
		fmt.Fprintf(conn, "you said %q", line)
	}()

	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	bev, err := base.NewBufferEvent(-1, libevent.BEV_OPT_CLOSE_ON_FREE)
	orPanic(err)
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		switch {
		case what&libevent.BEV_EVENT_CONNECTED != 0:
			fmt.Println("connected")
			return
		case what&libevent.BEV_EVENT_EOF != 0:
			fmt.Printf("%s\n", bev.Input().Bytes())
		default: // an error or a timeout
			fmt.Println(bev.Err())
		}
		orPanic(bev.Close())
	})
	orPanic(bev.SetTimeouts(time.Minute, time.Minute)) // of the connect too
	orPanic(bev.Enable(libevent.EV_READ))
	_, err = bev.WriteString("hello\n")
	orPanic(err)
	orPanic(bev.Connect(server.Addr().(*net.TCPAddr).AddrPort()))
	orPanic(base.Dispatch())
	// Output:
	// connected
	// you said "hello\n"
}

// A peer that says nothing for too long is given up.
func ExampleBufferEvent_SetTimeouts() {
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(fds[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	bev, err := base.NewBufferEvent(fds[0], libevent.BEV_OPT_CLOSE_ON_FREE)
	orPanic(err)
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		fmt.Println(what, errors.Is(bev.Err(), syscall.ETIMEDOUT))
		orPanic(bev.Close())
	})
	orPanic(bev.SetTimeouts(time.Millisecond, libevent.NoTimeout))
	orPanic(bev.Enable(libevent.EV_READ))
	orPanic(base.Dispatch())
	// Output: BEV_EVENT_READING|BEV_EVENT_TIMEOUT true
}

// An echo that looks at the input where it is, sends it at once and then removes it.
func ExampleBufferEvent_SetEager() {
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	orPanic(err)
	defer syscall.Close(fds[1])
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	bev, err := base.NewBufferEvent(fds[0], libevent.BEV_OPT_CLOSE_ON_FREE)
	orPanic(err)
	orPanic(bev.SetEager(true))
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		in := bev.Input()
		for p := in.Peek(); len(p) > 0; p = in.Peek() {
			_, err := bev.Write(p)
			orPanic(err)
			orPanic(in.Drain(len(p)))
		}
	}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		fmt.Println(what)
		orPanic(bev.Close())
	})
	orPanic(bev.Enable(libevent.EV_READ))
	_, err = syscall.Write(fds[1], []byte("hello"))
	orPanic(err)
	orPanic(syscall.Shutdown(fds[1], syscall.SHUT_WR))
	orPanic(base.Dispatch())
	buf := make([]byte, 16)
	n, err := syscall.Read(fds[1], buf)
	fmt.Printf("%s %v\n", buf[:n], err)
	// Output:
	// BEV_EVENT_READING|BEV_EVENT_EOF
	// hello <nil>
}
