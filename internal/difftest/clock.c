/*
 * The clock of the interpreters. The names that libevent takes from the C library are
 * found here first, because the program comes before its libraries: while a program runs,
 * time stands still but when it is moved, and waiting for a timeout moves it.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "difftest.h"

struct golibevent_diff_clock golibevent_diff_clock;

int golibevent_diff_gettime(clockid_t, struct timespec *) __asm__("clock_gettime");
int golibevent_diff_gettimeofday(struct timeval *, void *) __asm__("gettimeofday");
int golibevent_diff_epoll_wait(int, struct epoll_event *, int, int) __asm__("epoll_wait");

static int
real_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	return syscall(SYS_epoll_pwait, epfd, events, max, timeout, NULL, 8);
}

int
golibevent_diff_gettime(clockid_t id, struct timespec *ts)
{
	if (!golibevent_diff_clock.on)
		return syscall(SYS_clock_gettime, id, ts);
	ts->tv_sec = golibevent_diff_clock.us / 1000000;
	ts->tv_nsec = golibevent_diff_clock.us % 1000000 * 1000;
	return 0;
}

int
golibevent_diff_gettimeofday(struct timeval *tv, void *tz)
{
	if (!golibevent_diff_clock.on)
		return syscall(SYS_gettimeofday, tv, tz);
	tv->tv_sec = golibevent_diff_clock.us / 1000000 + WALL_CLOCK;
	tv->tv_usec = golibevent_diff_clock.us % 1000000;
	return 0;
}

/* Nobody else does anything while a program runs: what is not ready will not be. */
int
golibevent_diff_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	int n;

	if (!golibevent_diff_clock.on)
		return real_wait(epfd, events, max, timeout);
	if (++golibevent_diff_clock.passes > 1 << 16 && golibevent_diff_clock.waits != NULL)
		event_base_loopbreak(golibevent_diff_clock.waits);
	n = real_wait(epfd, events, max, 0);
	if (n != 0 || timeout == 0)
		return n;
	if (timeout > 0)
		golibevent_diff_clock.us += (int64_t)timeout * 1000;
	else if (golibevent_diff_clock.waits != NULL)
		event_base_loopbreak(golibevent_diff_clock.waits);
	return 0;
}
