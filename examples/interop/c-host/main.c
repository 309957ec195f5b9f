//go:build ignore

/*
 * A C program with an event_base of its own and a library written in Go on it. It runs
 * the loop; the library's events, beside its own, are in guest.go. It ends when neither
 * has events left, with status 0 if all that should happen has.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/thread.h>
#include "libguest.h"

static int answered;

static void
fail(const char *what)
{
	fprintf(stderr, "host: %s failed\n", what);
	exit(1);
}

/* The guest's answer: the end of its stream follows, and then that of ours. */
static void
on_answer(evutil_socket_t fd, short what, void *arg)
{
	char answer[64];
	ssize_t n = read(fd, answer, sizeof(answer) - 1);

	(void)what;
	(void)arg;
	if (n <= 0)
		fail("read");
	answer[n] = '\0';
	printf("host: the guest says %s\n", answer);
	answered = strcmp(answer, "HELLO") == 0;
	shutdown(fd, SHUT_WR);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	printf("host: timer\n");
	raise(SIGUSR1);
}

int
main(void)
{
	const struct timeval ten_ms = {0, 10000};
	struct event_base *base;
	struct event *timer, *answer;
	char *error;
	int pair[2], rc;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Before the base is made, or goroutines could not reach its loop. The Go
	 * library calls it too, but not necessarily in time. */
	if (evthread_use_pthreads() == -1 || (base = event_base_new()) == NULL)
		fail("event_base_new");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1)
		fail("socketpair");
	timer = evtimer_new(base, on_timer, NULL);
	answer = event_new(base, pair[0], EV_READ, on_answer, NULL);
	if (timer == NULL || answer == NULL || event_add(timer, &ten_ms) == -1 ||
	    event_add(answer, NULL) == -1)
		fail("event_add");

	if (guest_start(base, pair[1]) == -1)
		fail("guest_start");
	if (write(pair[0], "hello", 5) != 5)
		fail("write");
	rc = event_base_dispatch(base);
	printf("host: the loop returns %d, %d ticks, posted %d\n", rc, guest_ticks(),
	    guest_posted());
	if (rc != 1 || guest_ticks() != 3 || !guest_posted() || !answered)
		fail("the guest");

	/* A panic in a callback breaks the loop. The guest knows why. */
	if (guest_fail() == -1)
		fail("guest_fail");
	rc = event_base_dispatch(base);
	if (rc != 0 || !event_base_got_break(base) || (error = guest_error()) == NULL)
		fail("the guest's failing");
	printf("host: the guest has failed: %s\n", error);
	free(error);

	/* First the guest, then the base. */
	if (guest_stop() == -1)
		fail("guest_stop");
	event_free(timer);
	event_free(answer);
	event_base_free(base);
	close(pair[0]);
	printf("host: done\n");
	return 0;
}
