package libevent_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

func TestSmoke(t *testing.T) {
	b, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	_, err = b.AddTimer(time.Millisecond, func(what libevent.Events) (libevent.Events, time.Duration) {
		n++
		if n == 1 {
			return 0, 2 * time.Millisecond
		}
		if n == 5 {
			return libevent.LEAVE, 0
		}
		return 0, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	sigs := 0
	_, err = b.AddSignal(syscall.SIGUSR1, func(what libevent.Events) (libevent.Events, time.Duration) {
		sigs++
		if sigs == 3 {
			return libevent.LEAVE, 0
		}
		return what, 0
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
	}
	var p [2]int
	syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	fds, _ := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	p = fds
	var ev *libevent.Event
	ev, err = b.AddEvent(p[0], libevent.EV_READ, func(what libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println(what)
		if what == libevent.EV_WRITE {
			return libevent.LEAVE, 0
		}
		var buf [10]byte
		n, err := ev.Read(buf[:])
		fmt.Println(n, err)
		return libevent.EV_WRITE, 0
	}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	b.Post(func() { syscall.Write(p[1], []byte("hi")) })
	if err := b.Dispatch(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(n, sigs, b.NumEvents(7))
	b.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) { panic("x") })
	func() {
		defer func() { fmt.Println(recover().(*libevent.CallbackPanic).Value) }()
		b.Dispatch()
	}()
	b.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) { return 77777, 0 })
	b.Stop()
	fmt.Println(b.Dispatch())
	func() {
		defer func() { fmt.Println(recover().(*libevent.CallbackPanic).Value) }()
		b.Dispatch()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	b.Close()
	b, _ = libevent.New()
	b.AddTimer(time.Hour, func(libevent.Events) (libevent.Events, time.Duration) { return 0, 0 })
	fmt.Println(b.Run(ctx))
	fmt.Println(b.Close(), b.Close(), errors.Is(b.Dispatch(), libevent.ErrClosed))
}
