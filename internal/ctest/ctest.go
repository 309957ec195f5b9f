// Package ctest is the C that tests need: cgo is not allowed in test files.
package ctest

/*
#cgo pkg-config: libevent_core
#cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <event2/event.h>

// What libevent has allocated and not freed.
static int64_t blocks, bytes;
// Counts down to the allocation that fails; 0 is none.
static int64_t countdown;

static void
count(const void *p, int sign)
{
	if (p == NULL)
		return;
	__atomic_fetch_add(&blocks, sign, __ATOMIC_RELAXED);
	__atomic_fetch_add(&bytes, sign * (int64_t)malloc_usable_size((void *)p), __ATOMIC_RELAXED);
}

static int
fails(void)
{
	return __atomic_load_n(&countdown, __ATOMIC_RELAXED) > 0 &&
	    __atomic_sub_fetch(&countdown, 1, __ATOMIC_RELAXED) == 0;
}

static void *
counting_malloc(size_t n)
{
	void *p = fails() ? NULL : malloc(n);

	count(p, 1);
	return p;
}

static void *
counting_realloc(void *old, size_t n)
{
	void *p;

	if (fails())
		return NULL;
	count(old, -1);
	p = realloc(old, n);
	count(p != NULL ? p : old, 1);
	return p;
}

static void
counting_free(void *p)
{
	count(p, -1);
	free(p);
}

static void
count_allocations(void)
{
	event_set_mem_functions(counting_malloc, counting_realloc, counting_free);
}

static int64_t get_blocks(void) { return __atomic_load_n(&blocks, __ATOMIC_RELAXED); }
static int64_t get_bytes(void) { return __atomic_load_n(&bytes, __ATOMIC_RELAXED); }
static void fail_at(int64_t n) { __atomic_store_n(&countdown, n, __ATOMIC_RELAXED); }
static int64_t left(void) { return __atomic_load_n(&countdown, __ATOMIC_RELAXED); }
static uint64_t heap(void) { return mallinfo2().uordblks + mallinfo2().hblkhd; }
*/
import "C"

// The allocators stay plain malloc and free beneath, so that what libevent has
// allocated before this runs can still be freed: only the count starts here.
func init() { C.count_allocations() }

// Allocated returns the blocks and bytes that libevent has allocated and not freed.
func Allocated() (blocks, bytes int64) {
	return int64(C.get_blocks()), int64(C.get_bytes())
}

// Heap returns the bytes that all C code has allocated and not freed.
func Heap() uint64 { return uint64(C.heap()) }

// FailAllocation makes the n-th allocation of libevent's from now on fail, once; 0
// takes that back. It returns how many allocations were left of the last request, so
// that a caller can tell whether it was served.
func FailAllocation(n int64) (left int64) {
	left = int64(C.left())
	C.fail_at(C.int64_t(n))
	return left
}
