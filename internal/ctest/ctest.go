// Package ctest is the C that tests need: cgo is not allowed in test files.
package ctest

/*
#cgo pkg-config: libevent_core
#cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <event2/buffer.h>
#include <event2/event.h>

// What libevent has allocated and not freed.
static int64_t blocks, bytes;
// Counts down to the allocation that fails; 0 is none.
static int64_t countdown;

// Stands before each block: what was asked for. The size that malloc gives can be another
// one the next time.
union header {
	size_t n;
	max_align_t align;
};

// Counts a block, which may be NULL, and returns what is in it.
static void *
count(union header *h, int sign)
{
	if (h == NULL)
		return NULL;
	__atomic_fetch_add(&blocks, sign, __ATOMIC_RELAXED);
	__atomic_fetch_add(&bytes, sign * (int64_t)h->n, __ATOMIC_RELAXED);
	return h + 1;
}

// Counts what was given out no more and returns its block; NULL of NULL.
static union header *
uncount(void *p)
{
	union header *h = p;

	if (h == NULL)
		return NULL;
	count(--h, -1);
	return h;
}

static int
fails(void)
{
	if (__atomic_load_n(&countdown, __ATOMIC_RELAXED) <= 0 ||
	    __atomic_sub_fetch(&countdown, 1, __ATOMIC_RELAXED) != 0)
		return 0;
	errno = ENOMEM;
	return 1;
}

static void *
counting_realloc(void *old, size_t n)
{
	union header *h, *before;

	if (fails())
		return NULL;
	before = uncount(old);
	// Not realloc for both, which the optimizer alone would make malloc: internal/faults
	// would take it for an allocation of the binding's, and let it fail.
	h = before == NULL ? malloc(sizeof(*h) + n) : realloc(before, sizeof(*h) + n);
	if (h == NULL) {
		count(before, 1);
		return NULL;
	}
	h->n = n;
	return count(h, 1);
}

static void *
counting_malloc(size_t n)
{
	return counting_realloc(NULL, n);
}

static void
counting_free(void *p)
{
	free(uncount(p));
}

// A result, for cgo's code for a function with neither that nor arguments draws a
// warning.
static int
count_allocations(void)
{
	event_set_mem_functions(counting_malloc, counting_realloc, counting_free);
	return 0;
}

static int64_t get_blocks(void) { return __atomic_load_n(&blocks, __ATOMIC_RELAXED); }
static int64_t get_bytes(void) { return __atomic_load_n(&bytes, __ATOMIC_RELAXED); }
static void fail_at(int64_t n) { __atomic_store_n(&countdown, n, __ATOMIC_RELAXED); }
static int64_t left(void) { return __atomic_load_n(&countdown, __ATOMIC_RELAXED); }

static void
on_drain(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	evbuffer_drain(arg, (size_t)-1);
}

static void drain(void *buf) { evbuffer_drain(buf, (size_t)-1); }
static void unlock(void *buf) { evbuffer_unlock(buf); }

static int
drain_in_loop(void *base, void *buf)
{
	static const struct timeval now;

	return event_base_once(base, -1, EV_TIMEOUT, on_drain, buf, &now);
}

static int calls;

static int
ready_once(evutil_socket_t fd, void *base);

static void
on_ready(evutil_socket_t fd, short what, void *base)
{
	(void)what;
	calls++;
	ready_once(fd, base);
}

static int
ready_once(evutil_socket_t fd, void *base)
{
	return event_base_once(base, fd, EV_READ, on_ready, base, NULL);
}

static int
ready_for_ever(void *base, int fd)
{
	calls = 0;
	return ready_once(fd, base);
}

static int get_calls(void) { return calls; }

static void loop(void *base) { event_base_loop(base, EVLOOP_ONCE); }

static int signals;

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	signals++;
}

static struct event *
add_signal(void *base, int signum)
{
	struct event *ev = evsignal_new(base, signum, on_signal, NULL);

	signals = 0;
	if (ev != NULL && event_add(ev, NULL) == -1) {
		event_free(ev);
		ev = NULL;
	}
	return ev;
}

static int get_signals(void) { return signals; }

#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
#include <malloc.h>
static uint64_t heap(void) { return mallinfo2().uordblks + mallinfo2().hblkhd; }
#else
static uint64_t heap(void) { return 0; }
#endif
*/
import "C"

import "unsafe"

// The allocators stay plain malloc and free beneath, so that what libevent has
// allocated before this runs can still be freed: only the count starts here.
func init() { C.count_allocations() }

// Allocated returns the blocks and bytes that libevent has allocated and not freed.
func Allocated() (blocks, bytes int64) {
	return int64(C.get_blocks()), int64(C.get_bytes())
}

// Heap returns the bytes that all C code has allocated and not freed, or 0 where the C
// library does not tell: only glibc does, from 2.33 on.
func Heap() uint64 { return uint64(C.heap()) }

// FailAllocation makes the n-th allocation of libevent's from now on fail, once; 0
// takes that back. It returns how many allocations were left of the last request, so
// that a caller can tell whether it was served.
func FailAllocation(n int64) (left int64) {
	left = int64(C.left())
	C.fail_at(C.int64_t(n))
	return left
}

// Drain empties a struct evbuffer *, as C code does.
func Drain(buf unsafe.Pointer) { C.drain(buf) }

// Unlock gives back the lock of a struct evbuffer *, as C code does.
func Unlock(buf unsafe.Pointer) { C.unlock(buf) }

// DrainInLoop makes the loop of a struct event_base * empty a struct evbuffer *, and
// reports whether it could.
func DrainInLoop(base, buf unsafe.Pointer) bool { return C.drain_in_loop(base, buf) == 0 }

// ReadyForEver makes C wait for fd to be readable on a struct event_base *, again and again,
// until that is freed. It returns how often that was so, and panics when C cannot.
func ReadyForEver(base unsafe.Pointer, fd int) (calls func() int) {
	if C.ready_for_ever(base, C.int(fd)) == -1 {
		panic("ctest: event_base_once failed")
	}
	return func() int { return int(C.get_calls()) }
}

// Loop runs one pass of the loop of a struct event_base *, as C code does.
func Loop(base unsafe.Pointer) { C.loop(base) }

// AddSignal makes C wait for a signal on a struct event_base *, with libevent's own handler:
// it must not be sent. calls returns how often its event was called. It panics when C
// cannot.
func AddSignal(base unsafe.Pointer, signum int) (calls func() int, free func()) {
	ev := C.add_signal(base, C.int(signum))
	if ev == nil {
		panic("ctest: event_add failed")
	}
	return func() int { return int(C.get_signals()) }, func() { C.event_free(ev) }
}
