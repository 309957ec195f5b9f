// Guest is a library for C programs (-buildmode=c-shared): events that a C program runs on
// its own event_base, with callbacks in Go. main.c is such a program, and the Makefile
// builds and runs it. It ends when the guest and the host have no events left.
package main

/*
#include <stdint.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent"
)

// guest is what this library has on the host's base. Its fields belong to the loop.
var guest struct {
	base   *libevent.Base
	echo   *libevent.Event
	ticks  int
	posted bool
}

// guest_start puts the guest's events on base, which is the host's and has to outlive
// them. fd is a stream socket, which the guest closes. It returns 0, or -1.
//
//export guest_start
func guest_start(base unsafe.Pointer, fd C.int) C.int {
	if err := start(base, int(fd)); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		return -1
	}
	return 0
}

func start(pointer unsafe.Pointer, fd int) error {
	base, err := libevent.BaseFromPointer(pointer)
	if err != nil {
		return err
	}
	guest.base = base

	// A timer, for three ticks.
	_, err = base.AddTimer(10*time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		guest.ticks++
		if guest.ticks == 3 {
			return libevent.LEAVE, 0
		}
		return 0, 0
	})
	if err != nil {
		return err
	}
	// A descriptor: what comes in goes back in capitals, until the end of the stream.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	guest.echo, err = base.AddEvent(fd, libevent.EV_READ, shout, libevent.NoTimeout)
	if err != nil {
		return err
	}
	// A signal, of which one is enough.
	_, err = base.AddSignal(syscall.SIGUSR1, func(libevent.Events) (libevent.Events, time.Duration) {
		fmt.Println("guest: SIGUSR1")
		return libevent.LEAVE, 0
	})
	if err != nil {
		return err
	}
	// Another goroutine, which has something to do on the loop.
	go base.Post(func() {
		guest.posted = true
		fmt.Println("guest: a goroutine's function runs on the host's loop")
	})
	return nil
}

func shout(libevent.Events) (libevent.Events, time.Duration) {
	ev := guest.echo
	var buf [64]byte
	n, err := ev.Read(buf[:])
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return 0, 0
	case err != nil: // io.EOF
		_ = ev.Close()
		syscall.Close(ev.FD())
		return 0, 0
	}
	for i, c := range buf[:n] {
		if 'a' <= c && c <= 'z' {
			buf[i] = c - 'a' + 'A'
		}
	}
	if _, err := ev.Write(buf[:n]); err != nil {
		panic(err)
	}
	return 0, 0
}

// guest_fail adds a timer whose callback panics.
//
//export guest_fail
func guest_fail() C.int {
	_, err := guest.base.AddTimer(0, func(libevent.Events) (libevent.Events, time.Duration) {
		panic("the guest has lost its way")
	})
	if err != nil {
		return -1
	}
	return 0
}

// guest_error says why the guest has broken the host's loop, or returns NULL. The caller
// frees the result.
//
//export guest_error
func guest_error() *C.char {
	err := guest.base.Err()
	if err == nil {
		return nil
	}
	var p *libevent.CallbackPanic
	if errors.As(err, &p) { // without the stack
		return C.CString(fmt.Sprint(p.Value))
	}
	return C.CString(err.Error())
}

// guest_ticks and guest_posted tell the host how far the guest is.
//
//export guest_ticks
func guest_ticks() C.int { return C.int(guest.ticks) }

//export guest_posted
func guest_posted() C.int {
	if guest.posted {
		return 1
	}
	return 0
}

// guest_stop takes the guest's events off the host's base. It must come before the host
// frees that.
//
//export guest_stop
func guest_stop() C.int {
	if err := guest.base.Close(); err != nil {
		return -1
	}
	return 0
}

func main() {}
