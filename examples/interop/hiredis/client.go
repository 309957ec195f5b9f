package main

/*
#cgo pkg-config: hiredis libevent_core
#cgo CFLAGS: -Wall -Wextra
#include <stdlib.h>
#include "redis.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"

	"github.com/go-libevent/libevent"
)

// How many commands may wait for their reply at a time.
const window = 100

// client is a connection of hiredis's that counts to limit. Its fields belong to the
// base's loop.
type client struct {
	base   *libevent.Base
	ac     *C.redisAsyncContext // hiredis frees it after onDisconnect
	key    *C.char
	handle cgo.Handle // what C has of the client

	limit    int
	sent     int
	answered int
	err      error // the first thing that went wrong
}

// connect begins to connect. The loop is stopped when the connection has ended.
func connect(base *libevent.Base, socket string, limit int) (*client, error) {
	path := C.CString(socket)
	defer C.free(unsafe.Pointer(path))
	var text [256]C.char
	c := &client{base: base, limit: limit}
	c.handle = cgo.NewHandle(c)
	// The base is untyped between two packages: this one's struct event_base is
	// not the other's.
	c.ac = C.redis_connect((*C.struct_event_base)(base.Pointer()), path, C.uintptr_t(c.handle),
		&text[0], C.size_t(len(text)))
	if c.ac == nil {
		c.handle.Delete()
		return nil, errors.New(C.GoString(&text[0]))
	}
	c.key = C.CString("counter")
	return c, nil
}

// send fills the window, and disconnects when all is answered.
func (c *client) send() {
	for c.sent < c.limit && c.sent-c.answered < window {
		if C.redis_incr(c.ac, c.key) != C.REDIS_OK {
			c.fail("cannot send")
			return
		}
		c.sent++
	}
	if c.answered == c.limit {
		C.redisAsyncDisconnect(c.ac)
	}
}

// fail keeps the first failure and disconnects.
func (c *client) fail(text string) {
	if c.err == nil {
		c.err = errors.New(text)
		C.redisAsyncDisconnect(c.ac)
	}
}

// end is the last that C tells of the client.
func (c *client) end() {
	c.handle.Delete()
	C.free(unsafe.Pointer(c.key))
	_ = c.base.Stop()
}

// What follows is called by hiredis, in C: libevent's binding is not between, and so
// none of it may panic.

//export onConnect
func onConnect(handle C.uintptr_t, text *C.char) {
	c := cgo.Handle(handle).Value().(*client)
	if text != nil {
		c.err = fmt.Errorf("connect: %s", C.GoString(text))
		c.end()
		return
	}
	c.send()
}

//export onReply
func onReply(handle C.uintptr_t, n C.longlong, text *C.char) {
	c := cgo.Handle(handle).Value().(*client)
	switch {
	case c.err != nil:
		// What was sent before the failure is answered still.
	case text != nil:
		c.fail(C.GoString(text))
	case int(n) != c.answered+1:
		c.fail(fmt.Sprintf("INCR %d is answered with %d", c.answered+1, n))
	default:
		c.answered++
		c.send()
	}
}

//export onDisconnect
func onDisconnect(handle C.uintptr_t, text *C.char) {
	c := cgo.Handle(handle).Value().(*client)
	if c.err == nil && text != nil {
		c.err = fmt.Errorf("disconnect: %s", C.GoString(text))
	}
	c.end()
}
