//go:build linux

// Package difftest runs programs of API calls in C, for tests that run the same programs
// in Go: both must tell the same story.
//
// A program is a string of bytes, a tape. What is done takes its arguments from the tape,
// and so do the callbacks that come of it: they do something themselves, and return what
// the tape says. Every step is a line of the log. What the binding decides by itself, such
// as what a callback's results mean or which arguments it refuses, the C interpreters do
// by hand, as a program in C would that wants the same.
//
// No clock decides anything: in this process libevent's time is that of the program.
package difftest

/*
#cgo pkg-config: libevent_core libevent_pthreads
#cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
#include "difftest.h"
*/
import "C"

import "unsafe"

// Numbers in the log for errors that have no errno.
const (
	Closed  = C.CLOSED
	Running = C.RUNNING
	End     = C.END
	Short   = C.SHORT
)

// Events runs a program of FuzzEvents and returns its log, valid until the next call.
func Events(program []byte) []byte {
	C.golibevent_diff_events(bytes(program), C.size_t(len(program)))
	return log()
}

// Buffer is Events for FuzzBuffer.
func Buffer(program []byte) []byte {
	C.golibevent_diff_buffer(bytes(program), C.size_t(len(program)))
	return log()
}

// BufferEvent is Events for FuzzBufferEvent.
func BufferEvent(program []byte, filters bool) []byte {
	C.golibevent_diff_bufferevent(bytes(program), C.size_t(len(program)), C.bool(filters))
	return log()
}

// Eager is Events for FuzzEager.
func Eager(program []byte) []byte {
	C.golibevent_diff_eager(bytes(program), C.size_t(len(program)))
	return log()
}

func bytes(p []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(p)) }

func log() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(C.golibevent_diff_log.p)), int(C.golibevent_diff_log.n))
}

// Begin begins a program that runs in Go, with the clock that one in C has.
func Begin() { C.golibevent_diff_begin(nil, 0) }

// Finish ends it.
func Finish() { C.golibevent_diff_end() }

// Advance moves the clock, in microseconds.
func Advance(us int64) { C.golibevent_diff_clock.us += C.int64_t(us) }

// Now returns what the clock shows, in microseconds.
func Now() int64 { return int64(C.golibevent_diff_clock.us) }

// Descriptor returns the number of a program's descriptor: 0-1 and 2-3 are socket pairs, 4
// and 5 the ends of a pipe. They last until Finish.
func Descriptor(i int) int { return int(C.golibevent_diff_descriptor(C.uint(i))) }

// File returns the number of the descriptor of a regular file, which lasts as long as the
// process.
func File() int { return int(C.golibevent_diff_file()) }

// Wait says whose loop, of a struct event_base *, is broken when it waits for what cannot
// come.
func Wait(base unsafe.Pointer) { C.golibevent_diff_clock.waits = (*C.struct_event_base)(base) }
