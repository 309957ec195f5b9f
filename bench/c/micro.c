/*
 * The C references for what needs no server.
 *
 *	micro -bench active|chain|timers|events|post [-impl locks|nolocks] [-n 1000]
 *	    [-a 1] [-w n] [-common 0|1] [-ms 200]
 *
 * locks is libevent after evthread_use_pthreads, which a Go program cannot do without.
 * It prints one JSON object, of nanoseconds of CPU time per operation: the medians of
 * what was repeated for ms milliseconds. micro/main.go does the same, benchmark by
 * benchmark, over the binding.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/thread.h>
#include "common.h"

#define HOUR 3600

static long n, a, w, budget;
static int common;
static struct event_base *base;
static int first = 1;

/* The samples of one figure. */
struct samples {
	double *v;
	int n, room;
};

static void
sample(struct samples *s, int64_t ns, long operations)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		if ((s->v = realloc(s->v, s->room * sizeof(*s->v))) == NULL)
			die("out of memory");
	}
	s->v[s->n++] = (double)ns / operations;
}

static int
by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static void
report(const char *name, struct samples *s)
{
	qsort(s->v, s->n, sizeof(*s->v), by_value);
	printf("%s\"%s\": %.2f", first ? "{" : ", ", name, s->v[s->n / 2]);
	first = 0;
}

static int64_t
cpu(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Reports whether there is time for another repetition. */
static int
again(const struct samples *s)
{
	static int64_t end;
	int64_t now = clock_ns(CLOCK_MONOTONIC);

	if (end == 0)
		end = now + budget * 1000000;
	return s->n < 1 || now < end;
}

static void *
allocate(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (p == NULL)
		die("out of memory");
	return p;
}

static uint32_t
rnd(void)
{
	static uint32_t x = 1;

	return x = x * 1664525 + 1013904223;
}

static void
once(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

/* ---- active: n events that were activated and have nothing to do */

static void
nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void
bench_active(void)
{
	struct event **evs = allocate(n, sizeof(*evs));
	struct samples dispatch = {0}, activate = {0};
	int64_t t0, t1;
	long i;

	for (i = 0; i < n; i++)
		evs[i] = event_new(base, -1, EV_PERSIST, nothing, NULL);
	while (again(&dispatch)) {
		t0 = cpu();
		for (i = 0; i < n; i++)
			event_active(evs[i], EV_READ, 1);
		t1 = cpu();
		sample(&activate, t1 - t0, n);
		once();
		sample(&dispatch, cpu() - t1, n);
	}
	report("activate", &activate);
	report("dispatch", &dispatch);
}

/* ---- chain: n socketpairs, a of them readable, w more bytes written by the callbacks */

static int *reads, *writes;
static long left, served;

static void
on_chain(evutil_socket_t fd, short what, void *arg)
{
	intptr_t i = (intptr_t)arg;
	char byte;

	(void)what;
	if (read(fd, &byte, 1) != 1)
		return;
	if (++served == a + w)
		event_base_loopbreak(base);
	if (left > 0) {
		left--;
		if (write(writes[(i + 1) % n], "e", 1) != 1)
			die("write: %s", strerror(errno));
	}
}

static void
bench_chain(void)
{
	struct samples event = {0};
	int64_t t0;
	int pair[2];
	long i;

	reads = allocate(n, sizeof(*reads));
	writes = allocate(n, sizeof(*writes));
	for (i = 0; i < n; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == -1)
			die("socketpair: %s", strerror(errno));
		reads[i] = pair[0];
		writes[i] = pair[1];
		event_add(event_new(base, pair[0], EV_READ | EV_PERSIST, on_chain,
		    (void *)(intptr_t)i), NULL);
	}
	while (again(&event)) {
		left = w;
		served = 0;
		for (i = 0; i < a; i++)
			if (write(writes[i * (n / a)], "e", 1) != 1)
				die("write: %s", strerror(errno));
		t0 = cpu();
		event_base_dispatch(base);
		sample(&event, cpu() - t0, a + w);
	}
	report("event", &event);
}

/* ---- timers: n of them made and added, added anew, deleted and freed; and n that fire */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_free(*(struct event **)arg);
	served++;
}

static const struct timeval *
timeout(const struct timeval *tv)
{
	return common ? event_base_init_common_timeout(base, tv) : tv;
}

/* Returns hour if timeouts are common, else one of an hour or more, in tv. */
static const struct timeval *
long_timeout(const struct timeval *hour, struct timeval *tv)
{
	if (common)
		return hour;
	tv->tv_sec = HOUR + rnd() % HOUR;
	tv->tv_usec = rnd() % 1000000;
	return tv;
}

static void
bench_timers(void)
{
	struct event **evs = allocate(n, sizeof(*evs));
	struct samples add = {0}, rearm = {0}, del = {0}, fire = {0};
	struct timeval hour = {HOUR, 0}, ms = {0, 1000}, tv;
	const struct timeval *in_an_hour = timeout(&hour), *in_a_ms = timeout(&ms);
	int64_t t0, t1;
	long i;

	while (again(&fire)) {
		t0 = cpu();
		for (i = 0; i < n; i++) {
			evs[i] = event_new(base, -1, 0, on_timer, &evs[i]);
			event_add(evs[i], long_timeout(in_an_hour, &tv));
		}
		t1 = cpu();
		sample(&add, t1 - t0, n);
		for (i = 0; i < n; i++)
			event_add(evs[i], long_timeout(in_an_hour, &tv));
		t0 = cpu();
		sample(&rearm, t0 - t1, n);
		for (i = 0; i < n; i++)
			event_free(evs[i]);
		sample(&del, cpu() - t0, n);

		for (i = 0; i < n; i++) {
			evs[i] = event_new(base, -1, 0, on_timer, &evs[i]);
			tv.tv_sec = 0;
			tv.tv_usec = 1 + rnd() % 1000;
			event_add(evs[i], common ? in_a_ms : &tv);
		}
		usleep(3000);
		served = 0;
		t0 = cpu();
		while (served < n)
			once();
		sample(&fire, cpu() - t0, n);
	}
	report("add", &add);
	report("rearm", &rearm);
	report("del", &del);
	report("fire", &fire);
}

/* ---- events: a hundred are made, added, re-armed and freed among n others */

#define FEW 100

static struct event *few[FEW];
static short interest;

static void
on_rearm_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = {HOUR, rnd() % 1000000};

	(void)fd;
	(void)what;
	event_add(*(struct event **)arg, &tv);
}

static void
on_rearm_interest(evutil_socket_t fd, short what, void *arg)
{
	struct event *ev = *(struct event **)arg;

	(void)what;
	event_del(ev);
	event_assign(ev, base, fd, interest | EV_PERSIST, on_rearm_interest, arg);
	event_add(ev, NULL);
}

static void
bench_few(const int *fds, event_callback_fn fn, const struct timeval *tv, struct samples *add,
    struct samples *rearm, struct samples *del)
{
	int64_t t0 = cpu();
	int i, times;

	for (i = 0; i < FEW; i++) {
		few[i] = event_new(base, fds[i], EV_READ | EV_PERSIST, fn, &few[i]);
		event_add(few[i], tv);
	}
	sample(add, cpu() - t0, FEW);
	for (times = 0; times < 20; times++) {
		interest = times % 2 ? EV_READ : EV_READ | EV_CLOSED;
		for (i = 0; i < FEW; i++)
			event_active(few[i], EV_READ, 1);
		t0 = cpu();
		once();
		sample(rearm, cpu() - t0, FEW);
	}
	t0 = cpu();
	for (i = 0; i < FEW; i++)
		event_free(few[i]);
	sample(del, cpu() - t0, FEW);
}

/* Adds n events that do nothing for an hour or more. */
static void
add_others(void)
{
	struct timeval tv;
	long i;

	for (i = 0; i < n; i++)
		event_add(event_new(base, -1, EV_PERSIST, nothing, NULL), long_timeout(NULL, &tv));
}

static void
bench_events(void)
{
	struct samples add = {0}, add_timeout = {0}, rearm_timeout = {0}, rearm_interest = {0},
	    del = {0}, del_timeout = {0};
	struct timeval hour = {HOUR, 0};
	int fds[FEW], i;

	for (i = 0; i < FEW; i++)
		if ((fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) == -1)
			die("eventfd: %s", strerror(errno));
	add_others();
	while (again(&add)) {
		bench_few(fds, on_rearm_interest, NULL, &add, &rearm_interest, &del);
		bench_few(fds, on_rearm_timeout, &hour, &add_timeout, &rearm_timeout, &del_timeout);
	}
	report("add", &add);
	report("add_timeout", &add_timeout);
	report("rearm_interest", &rearm_interest);
	report("rearm_timeout", &rearm_timeout);
	report("del", &del);
	report("del_timeout", &del_timeout);
}

/* ---- post: another thread has the loop run functions, while n timers wait */

#define POSTS 100000

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct post {
	struct post *next;
	void (*fn)(void);
} *head, **tail = &head;
static struct event *post_ev;

static void
count_post(void)
{
	if (++served == POSTS)
		event_base_loopbreak(base);
}

static void
on_post(evutil_socket_t fd, short what, void *arg)
{
	struct post *p, *next;

	(void)fd;
	(void)what;
	(void)arg;
	pthread_mutex_lock(&mu);
	p = head;
	head = NULL;
	tail = &head;
	pthread_mutex_unlock(&mu);
	for (; p != NULL; p = next) {
		next = p->next;
		p->fn();
		free(p);
	}
}

static void *
post_all(void *arg)
{
	struct post *p;
	long i;
	int tell;

	for (i = 0; i < POSTS; i++) {
		p = allocate(1, sizeof(*p));
		p->fn = count_post;
		pthread_mutex_lock(&mu);
		tell = head == NULL;
		*tail = p;
		tail = &p->next;
		pthread_mutex_unlock(&mu);
		if (tell)
			event_active(post_ev, EV_READ, 1);
	}
	return arg;
}

static void
bench_post(void)
{
	struct samples post = {0};
	pthread_t thread;
	int64_t t0;

	post_ev = event_new(base, -1, EV_PERSIST, on_post, NULL);
	add_others();
	while (again(&post)) {
		served = 0;
		t0 = cpu();
		if (pthread_create(&thread, NULL, post_all, NULL) != 0)
			die("pthread_create failed");
		event_base_dispatch(base);
		pthread_join(thread, NULL);
		sample(&post, cpu() - t0, POSTS);
	}
	report("post", &post);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} benches[] = {
		{"active", bench_active}, {"chain", bench_chain}, {"timers", bench_timers},
		{"events", bench_events}, {"post", bench_post},
	};
	const char *name = option(argc, argv, "bench", "active");
	const char *impl = option(argc, argv, "impl", "locks");
	size_t i;

	n = number(argc, argv, "n", 1000);
	a = number(argc, argv, "a", 1);
	w = number(argc, argv, "w", n);
	common = number(argc, argv, "common", 0);
	budget = number(argc, argv, "ms", 200);
	raise_nofile(16384);
	if (strcmp(impl, "locks") == 0) {
		if (evthread_use_pthreads() == -1)
			die("evthread_use_pthreads failed");
	} else if (strcmp(impl, "nolocks") != 0)
		die("unknown -impl %s", impl);
	if ((base = event_base_new()) == NULL)
		die("event_base_new failed");
	for (i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		if (strcmp(name, benches[i].name) == 0) {
			benches[i].run();
			printf("}\n");
			return 0;
		}
	}
	die("unknown -bench %s", name);
}
