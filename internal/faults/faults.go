//go:build linux

package faults

/*
#cgo CFLAGS: -Wall -Wextra -Wno-unused-parameter
#cgo LDFLAGS: -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=malloc -Wl,--wrap=free
#cgo LDFLAGS: -Wl,--wrap=open_memstream
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum call { MEMORY, DESCRIPTOR, ACCEPT, WATCH, WAIT, TRANSFER, SETUP, CALLS };

// The calls that fail: times of them, after the next first - 1. And how many have.
static struct plan { int64_t first, times, failed; int err; } plans[CALLS];

static int
fails(enum call call)
{
	struct plan *plan = &plans[call];
	int64_t times = __atomic_load_n(&plan->times, __ATOMIC_RELAXED), n;

	if (times == 0)
		return 0;
	n = __atomic_sub_fetch(&plan->first, 1, __ATOMIC_RELAXED);
	if (n > 0 || n <= -times)
		return 0;
	__atomic_fetch_add(&plan->failed, 1, __ATOMIC_RELAXED);
	errno = plan->err;
	return 1;
}

static int64_t
plan(int call, int64_t first, int64_t times, int err)
{
	struct plan *plan = &plans[call];
	int64_t failed = __atomic_exchange_n(&plan->failed, 0, __ATOMIC_RELAXED);

	__atomic_store_n(&plan->times, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&plan->first, first, __ATOMIC_RELAXED);
	plan->err = err;
	__atomic_store_n(&plan->times, times, __ATOMIC_RELAXED);
	return failed;
}

// Blocks that the program's own objects have allocated and not freed. malloc is Go's too,
// which cannot do without, and so only the others fail.
static int64_t blocks;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void __real_free(void *);

static void *
counted(void *p)
{
	if (p != NULL)
		__atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
	return p;
}

void *
__wrap_malloc(size_t n)
{
	return counted(__real_malloc(n));
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return fails(MEMORY) ? NULL : counted(__real_calloc(count, n));
}

void *
__wrap_realloc(void *old, size_t n)
{
	void *p = fails(MEMORY) ? NULL : __real_realloc(old, n);

	return old == NULL ? counted(p) : p;
}

// The block is the C library's until the stream is closed, and then the caller's.
FILE *__real_open_memstream(char **, size_t *);

FILE *
__wrap_open_memstream(char **text, size_t *n)
{
	return fails(MEMORY) ? NULL : counted(__real_open_memstream(text, n));
}

void
__wrap_free(void *p)
{
	if (p != NULL)
		__atomic_fetch_sub(&blocks, 1, __ATOMIC_RELAXED);
	__real_free(p);
}

static int64_t get_blocks(void) { return __atomic_load_n(&blocks, __ATOMIC_RELAXED); }

// How far the clocks are off, in nanoseconds: CLOCK_REALTIME, and what does not jump when
// somebody sets it.
static int64_t wall, monotonic;

// Whether they have stopped, and stand at 0 but for that: only to wait moves them on.
static int stopped;

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t *offset = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? &wall : &monotonic;
	int64_t ns = 0;

	if (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
		if (syscall(SYS_clock_gettime, id, ts) == -1)
			return -1;
		ns = ts->tv_sec * INT64_C(1000000000) + ts->tv_nsec;
	}
	ns += __atomic_load_n(offset, __ATOMIC_RELAXED);
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return 0;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

static void
jump(int64_t wall_ns, int64_t monotonic_ns)
{
	__atomic_fetch_add(&wall, wall_ns, __ATOMIC_RELAXED);
	__atomic_fetch_add(&monotonic, monotonic_ns, __ATOMIC_RELAXED);
}

// The first second is not all 0, which libevent takes for no time.
static void
stop(int on)
{
	int64_t start = on ? INT64_C(1000000000) : 0;

	__atomic_store_n(&wall, start, __ATOMIC_RELAXED);
	__atomic_store_n(&monotonic, start, __ATOMIC_RELAXED);
	__atomic_store_n(&stopped, on, __ATOMIC_RELAXED);
}

// The prototypes of some are not the system's, whose header has unions for them: so that
// header is not included.
#define OR_FAIL(call, ...) (fails(call) ? -1 : syscall(__VA_ARGS__))

int epoll_create(int size) { return OR_FAIL(DESCRIPTOR, SYS_epoll_create1, 0); }
int epoll_create1(int flags) { return OR_FAIL(DESCRIPTOR, SYS_epoll_create1, flags); }
int eventfd(unsigned n, int flags) { return OR_FAIL(DESCRIPTOR, SYS_eventfd2, n, flags); }
int pipe(int fd[2]) { return OR_FAIL(DESCRIPTOR, SYS_pipe2, fd, 0); }
int pipe2(int fd[2], int flags) { return OR_FAIL(DESCRIPTOR, SYS_pipe2, fd, flags); }
int timerfd_create(int id, int flags) { return OR_FAIL(DESCRIPTOR, SYS_timerfd_create, id, flags); }

int
socket(int domain, int type, int protocol)
{
	return OR_FAIL(DESCRIPTOR, SYS_socket, domain, type, protocol);
}

int
accept4(int fd, void *addr, void *len, int flags)
{
	return OR_FAIL(ACCEPT, SYS_accept4, fd, addr, len, flags);
}

// The kernel needs memory, and has a limit, for a new descriptor only.
int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD && fails(WATCH))
		return -1;
	return syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

// Returns how long to wait really when that is to be ms milliseconds, and what came of it.
static int
really(int ms)
{
	return ms > 0 && __atomic_load_n(&stopped, __ATOMIC_RELAXED) ? 0 : ms;
}

static int
waited(int ms, int n)
{
	if (n == 0 && ms != really(ms))
		jump(ms * INT64_C(1000000), ms * INT64_C(1000000));
	return n;
}

int
epoll_wait(int epfd, struct epoll_event *events, int max, int ms)
{
	return waited(ms, OR_FAIL(WAIT, SYS_epoll_pwait, epfd, events, max, really(ms), NULL, 8));
}

int
poll(void *fds, unsigned long n, int ms)
{
	struct timespec ts = {really(ms) / 1000, really(ms) % 1000 * 1000000L};

	return waited(ms, syscall(SYS_ppoll, fds, n, ms < 0 ? NULL : &ts, NULL, 8));
}

ssize_t
recv(int fd, void *p, size_t n, int flags)
{
	return OR_FAIL(TRANSFER, SYS_recvfrom, fd, p, n, flags, NULL, NULL);
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	return OR_FAIL(TRANSFER, SYS_sendto, fd, p, n, flags, NULL, 0);
}

ssize_t read(int fd, void *p, size_t n) { return OR_FAIL(TRANSFER, SYS_read, fd, p, n); }
ssize_t readv(int fd, const void *v, int n) { return OR_FAIL(TRANSFER, SYS_readv, fd, v, n); }
ssize_t writev(int fd, const void *v, int n) { return OR_FAIL(TRANSFER, SYS_writev, fd, v, n); }

int bind(int fd, const void *sa, unsigned n) { return OR_FAIL(SETUP, SYS_bind, fd, sa, n); }
int connect(int fd, const void *sa, unsigned n) { return OR_FAIL(SETUP, SYS_connect, fd, sa, n); }
int listen(int fd, int backlog) { return OR_FAIL(SETUP, SYS_listen, fd, backlog); }

int
setsockopt(int fd, int level, int name, const void *p, unsigned n)
{
	return OR_FAIL(SETUP, SYS_setsockopt, fd, level, name, p, n);
}
*/
import "C"

import (
	"syscall"
	"time"
)

// A Call is a group of calls that can be made to fail.
type Call int

// What can fail.
const (
	Memory     Call = C.MEMORY     // calloc, realloc and open_memstream, of the binding's own
	Descriptor Call = C.DESCRIPTOR // epoll_create, eventfd, pipe, socket
	Accept     Call = C.ACCEPT     // accept4
	Watch      Call = C.WATCH      // epoll_ctl, of a new descriptor
	Wait       Call = C.WAIT       // epoll_wait
	Transfer   Call = C.TRANSFER   // read, readv, recv, writev, send
	Setup      Call = C.SETUP      // bind, listen, connect, setsockopt
)

// Fail makes the n-th call from now on fail with errno, and more after it: times in all.
// With times 0 none fails. It returns how many have failed since the last Fail.
func Fail(call Call, n, times int, errno syscall.Errno) (failed int) {
	return int(C.plan(C.int(call), C.int64_t(n), C.int64_t(times), C.int(errno)))
}

// Blocks returns how many blocks of memory the program's own objects have allocated and
// not freed: the binding's, cgo's, and none of libevent's.
func Blocks() int64 { return int64(C.get_blocks()) }

// Jump moves the clocks that C reads: the one of the time of day, and those that
// nobody can set.
func Jump(wall, monotonic time.Duration) { C.jump(C.int64_t(wall), C.int64_t(monotonic)) }

// StopClock stops the clocks that C reads, or lets them go on. While they are stopped, a
// wait for a time is over at once, and moves them on by that, when nothing else comes.
// timerfd knows nothing of it.
func StopClock(on bool) {
	stop := C.int(0)
	if on {
		stop = 1
	}
	C.stop(stop)
}
