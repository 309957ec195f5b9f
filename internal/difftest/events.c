/*
 * The program of FuzzEvents in C.
 *
 * The binding's contract, done by hand: every event is persistent, what a callback
 * "returns" arms its event anew, deletes it, or ends the loop with an error, and what the
 * binding refuses is refused. event_assign is how an event gets another interest.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/event_struct.h>
#include "difftest.h"

#define IO (EV_READ | EV_WRITE | EV_CLOSED)
#define INTEREST (IO | EV_SIGNAL | EV_ET)
#define KNOWN (INTEREST | EV_TIMEOUT | EV_PERSIST)
#define NO_TIMEOUT (-1)

#define NEVENTS 8
#define NBASES 2
#define LONGEST 1024		/* a program; none posts more */

/* What posted functions there are, and what comes when an event is gone for good. */
struct queue {
	int64_t ids[LONGEST];
	size_t first, last;
};

struct base {
	struct event_base *base;
	struct event post;	/* runs what was posted */
	struct queue posts;	/* END_OF_EVENT is for the first of ends */
	struct queue ends;
	bool posted;		/* post is about to run */
	unsigned breaks;	/* of the loop */
	bool made, running;
	int failure;		/* what the loop has to report */
	const struct timeval *common[16];
};

struct ev {
	struct ev *next;	/* all that were made, the newest first */
	struct event ev;
	struct base *base;
	int64_t id, interval;	/* microseconds; < 0 for no timeout */
	int fd;
	short interest;
	bool armed, closed;
	bool once;		/* it is gone after its first callback */
};

#define END_OF_EVENT (-1)

static struct base bases[NBASES];
static struct ev *events[NEVENTS], *all;
static int64_t made, nposts;

static const short interests[16] = {
	EV_READ, EV_WRITE, EV_READ | EV_WRITE, EV_READ | EV_ET, EV_WRITE | EV_ET,
	EV_READ | EV_CLOSED, EV_CLOSED, EV_TIMEOUT, EV_PERSIST | EV_READ, EV_PERSIST, 0, EV_ET,
	EV_SIGNAL | EV_READ, 0x40, EV_READ | EV_WRITE | EV_ET, EV_READ | EV_TIMEOUT,
};

/* Nanoseconds, as Go has them. */
static const int64_t durations[16] = {
	0, NO_TIMEOUT, 1000, 1000000, 1500000, 2000000, 5000000, 10000000, 1, 3600000000000,
	-5, 1501, 1000000, 0, 3000000, 0,
};

static const short whats[8] = {
	EV_READ, EV_WRITE, EV_TIMEOUT, EV_READ | EV_WRITE, EV_CLOSED, EV_SIGNAL,
	EV_READ | EV_ET, 0,
};

static const unsigned kinds[4] = {
	EVENT_BASE_COUNT_ADDED, EVENT_BASE_COUNT_ACTIVE, EVENT_BASE_COUNT_VIRTUAL,
	EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE,
};

static int step(void);

/* Converts a duration, or refuses it. */
static int
microseconds(int64_t ns, int64_t *us)
{
	if (ns < 0)
		return EINVAL;
	*us = (ns + 999) / 1000;
	return 0;
}

/* The timeout of an event that is added: none and 0 are one for a descriptor's. */
static int
add_timeout(short interest, int64_t ns, int64_t *us)
{
	*us = -1;
	if (ns == NO_TIMEOUT || (ns == 0 && interest & INTEREST))
		return 0;
	return microseconds(ns, us);
}

static int
check(int fd, short interest)
{
	if (interest & ~KNOWN || interest & EV_SIGNAL || (interest & INTEREST) == EV_ET)
		return EINVAL;
	if (fd == -1 && interest & INTEREST)
		return EBADF;
	return 0;
}

static void on_event(evutil_socket_t, short, void *);

/* Gives the event, which is not pending, its interest. It has no timeout then. */
static void
assign(struct ev *e, short interest)
{
	int priority = event_get_priority(&e->ev);

	event_assign(&e->ev, e->base->base, e->fd, interest | EV_PERSIST, on_event, e);
	event_priority_set(&e->ev, priority);
	e->interest = interest;
	e->armed = false;
}

/* Reports whether another event has the descriptor in the other mode of the two. */
static bool
mixes(const struct ev *e)
{
	const struct ev *o;

	if (!(e->interest & IO))
		return false;
	for (o = all; o != NULL; o = o->next) {
		if (o->armed && o->base == e->base && o->fd == e->fd && o->interest & IO &&
		    (o->interest ^ e->interest) & EV_ET)
			return true;
	}
	return false;
}

static int
arm(struct ev *e, int64_t us)
{
	struct timeval tv = {us / 1000000, us % 1000000};
	const struct timeval *tvp = &tv;
	short io = e->interest & IO;
	size_t i;

	if (us < 0 && io == 0)
		return EINVAL;		/* it would never fire */
	if (!e->armed && mixes(e))
		return EINVAL;
	/* It is about to be told of its timeout: event_add would not watch io. */
	if (io != 0 && event_pending(&e->ev, io | EV_TIMEOUT, NULL) == EV_TIMEOUT)
		event_del(&e->ev);
	if (us < 0) {
		/* An event_add without a timeout keeps the one there was. */
		event_remove_timer(&e->ev);
		timerclear(&e->ev.ev_.ev_io.ev_timeout);
		tvp = NULL;
	}
	for (i = 0; i < LENGTH(durations); i++) {
		if (e->base->common[i] != NULL && us == (durations[i] + 999) / 1000)
			tvp = e->base->common[i];
	}
	if (event_add(&e->ev, tvp) == -1)
		return errno;
	e->armed = true;
	e->interval = us;
	return 0;
}

static void
del(struct ev *e)
{
	event_del(&e->ev);
	e->armed = false;
}

static void
close_event(struct ev *e)
{
	if (e->closed)
		return;
	del(e);
	e->closed = true;
}

/* An event that cannot be as its callback wants ends the loop. */
static void
fail(struct ev *e, int err)
{
	if (e->base->failure == 0)
		e->base->failure = err;
	event_base_loopbreak(e->base->base);
	close_event(e);
}

/* Does what a callback returns. */
static void
settle(struct ev *e, bool leave, short interest, int64_t ns)
{
	bool anew = false;
	int64_t us = e->interval;
	short active;
	int err = 0;

	if (leave) {
		close_event(e);
		return;
	}
	if (e->closed || (interest == 0 && ns == 0))
		return;
	if (interest & ~EV_PERSIST) {
		err = check(e->fd, interest);
		anew = (interest & INTEREST) != e->interest;
	} else if (ns == 0) {
		return;			/* EV_PERSIST is nothing to wait for */
	}
	if (err == 0 && ns == NO_TIMEOUT)
		us = -1;
	else if (err == 0 && ns != 0)
		err = microseconds(ns, &us);
	active = e->ev.ev_evcallback.evcb_flags & EVLIST_ACTIVE ? e->ev.ev_res : 0;
	if (err == 0 && anew) {
		del(e);
		assign(e, interest & INTEREST);
	}
	if (err == 0 && (ns != 0 || !e->armed))
		err = arm(e, us);
	if (err == 0 && active != 0)	/* made so by its callback, and meant */
		event_active(&e->ev, active, 1);
	if (err != 0)
		fail(e, err);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct ev *e = arg;
	unsigned n, result;
	short interest = 0;
	int64_t ns = 0;
	bool leave;

	(void)fd;
	SAY(e->once ? "once" : "callback", e->id, what);
	if (e->once)
		close_event(e);
	for (n = next() % 4; n > 0 && step(); n--)
		;
	if (e->once)
		return;
	leave = over();
	result = next() % 8;
	if (result == 1 || result == 3 || result == 5)
		interest = interests[next() % 16];
	if (result == 2 || result == 3)
		ns = durations[next() % 16];
	if (result == 4 || result == 5)
		ns = NO_TIMEOUT;
	leave = leave || result == 6;
	SAY("returns", e->id, leave ? -1 : interest, ns);
	settle(e, leave, interest, ns);
}

/* Makes the loop run what is queued, from a callback in its next pass. */
static void
tell(struct base *b)
{
	static const struct timeval next_pass;

	if (b->posted)
		return;
	b->posted = true;
	if (b->running)
		event_add(&b->post, &next_pass);
	else
		event_active(&b->post, EV_TIMEOUT, 1);
}

static void
post(struct base *b, int64_t id)
{
	b->posts.ids[b->posts.last++] = id;
	tell(b);
}

static void
end_event(struct base *b)
{
	SAY("finalized", b->ends.ids[b->ends.first++]);
}

/* Runs what was queued until now. What a break leaves is told of again. */
static void
on_post(evutil_socket_t fd, short what, void *arg)
{
	struct base *b = arg;
	size_t last = b->posts.last;
	unsigned breaks = b->breaks, n;
	int64_t id;

	(void)fd;
	(void)what;
	b->posted = false;
	while (b->posts.first < last && b->breaks == breaks) {
		if ((id = b->posts.ids[b->posts.first++]) == END_OF_EVENT) {
			end_event(b);
			continue;
		}
		SAY("posted", id);
		for (n = next() % 4; n > 0 && step(); n--)
			;
	}
	if (b->posts.first < last)
		tell(b);
}

static struct base *
base(unsigned i)
{
	struct base *b = &bases[i % 8 == 7];

	if (!b->made) {
		b->made = true;
		b->base = event_base_new();
		event_assign(&b->post, b->base, -1, 0, on_post, b);
		event_priority_set(&b->post, event_base_get_npriorities(b->base) / 2);
	}
	return b;
}

static struct ev *
slot(unsigned i)
{
	return events[i % NEVENTS];
}

static int64_t
count(const struct base *b)
{
	const struct ev *e;
	int64_t n = 0;

	for (e = all; e != NULL; e = e->next)
		n += e->base == b && !e->closed;
	return n;
}

static int
make(struct base *b, int fd, short interest, int64_t ns, bool add, bool once,
    struct ev **made_event)
{
	int64_t us = -1;
	struct ev *e;
	int err;

	if (add && (err = add_timeout(interest, ns, &us)) != 0)
		return err;
	if ((err = check(fd, interest)) != 0)
		return err;
	interest &= INTEREST;
	if (add && interest == 0 && us < 0)
		return EINVAL;
	if (b->base == NULL)
		return CLOSED;
	if ((e = calloc(1, sizeof(*e))) == NULL)
		abort();
	e->base = b;
	e->fd = fd;
	e->interval = -1;
	e->once = once;
	event_assign(&e->ev, b->base, fd, interest | EV_PERSIST, on_event, e);
	e->interest = interest;
	e->next = all;
	all = e;
	if (add && (err = arm(e, us)) != 0) {
		close_event(e);
		return err;
	}
	e->id = made++;
	*made_event = e;
	return 0;
}

static void
do_make(void)
{
	unsigned i = next() % NEVENTS, fd = next() % 8;
	struct base *b = base(next());
	short interest = interests[next() % 16];
	bool add = next() % 4 != 0;
	int64_t ns = add ? durations[next() % 16] : 0;
	struct ev *e = slot(i);
	int err;

	if (e != NULL)
		close_event(e);
	events[i] = NULL;
	err = make(b, fd < NDESCRIPTORS ? golibevent_diff_descriptor(fd) : -1, interest, ns, add,
	    false, &events[i]);
	SAY("make", i, fd, interest, add, ns, err);
}

static void
do_once(void)
{
	unsigned fd = next() % 8;
	struct base *b = base(next());
	short interest = interests[next() % 16];
	int64_t ns = durations[next() % 16];
	struct ev *e;

	SAY("make_once", fd, interest, ns, make(b, fd < NDESCRIPTORS ?
	    golibevent_diff_descriptor(fd) : -1, interest, ns, true, true, &e));
}

static void
do_post(struct base *b)
{
	int64_t id = nposts++;
	int err = b->base == NULL ? CLOSED : 0;

	if (err == 0)
		post(b, id);
	SAY("post", b - bases, id, err);
}

static void
do_finalize(struct ev *e)
{
	int err = e->closed ? CLOSED : 0;

	if (err == 0) {
		close_event(e);
		e->base->ends.ids[e->base->ends.last++] = e->id;
		post(e->base, END_OF_EVENT);
	}
	SAY("finalize", e->id, err);
}

static void
do_activate_by_fd(struct base *b)
{
	unsigned fd = next() % 8;
	short what = whats[next() % 8];
	int err = 0;

	if (what == 0 || what & ~IO)
		err = EINVAL;
	else if (fd >= NDESCRIPTORS)
		err = EBADF;
	else if (b->base == NULL)
		err = CLOSED;
	else
		event_base_active_by_fd(b->base, golibevent_diff_descriptor(fd), what);
	SAY("activate_by_fd", b - bases, fd, what, err);
}

static void
do_highest(struct base *b)
{
	unsigned kind = kinds[next() % 4];
	int clear = next() % 2;

	SAY("highest", b - bases, kind, clear,
	    b->base != NULL ? event_base_get_max_events(b->base, kind, clear) : 0);
}

static void
do_times(struct base *b)
{
	struct timeval now = {0, 0}, monotonic = {0, 0};

	if (b->base != NULL) {
		event_base_gettimeofday_cached(b->base, &now);
		event_gettime_monotonic(b->base, &monotonic);
	}
	SAY("times", b - bases, now.tv_sec * INT64_C(1000000) + now.tv_usec,
	    monotonic.tv_sec * INT64_C(1000000) + monotonic.tv_usec);
}

/* Tells which events of the base are pending or active, in no order. */
static void
do_events(struct base *b)
{
	struct ev *e;
	int64_t n = 0, sum = 0;

	for (e = all; e != NULL; e = e->next) {
		if (e->base == b && !e->closed && !e->once && event_pending(&e->ev, KNOWN, NULL)) {
			n++;
			sum += e->id;
		}
	}
	SAY("events", b - bases, n, sum);
}

static void
do_add(struct ev *e)
{
	int64_t ns = durations[next() % 16], us;
	int err = CLOSED;

	if (!e->closed && (err = add_timeout(e->interest, ns, &us)) == 0)
		err = arm(e, us);
	SAY("add", e->id, ns, err);
}

static void
do_del(struct ev *e)
{
	if (!e->closed)
		del(e);
	SAY("del", e->id, e->closed ? CLOSED : 0);
}

static void
do_activate(struct ev *e)
{
	short what = whats[next() % 8];
	int err = 0;

	if (what == 0 || what & EV_ET)
		err = EINVAL;
	else if (e->closed)
		err = CLOSED;
	else
		event_active(&e->ev, what, 1);
	SAY("activate", e->id, what, err);
}

static void
do_set_priority(struct ev *e)
{
	int priority = (int)(next() % 6) - 1, err = EINVAL;

	if (priority >= 0 && e->closed)
		err = CLOSED;
	else if (priority >= 0 && event_priority_set(&e->ev, priority) == 0)
		err = 0;
	SAY("set_priority", e->id, priority, err);
}

static void
do_remove_timer(struct ev *e)
{
	if (!e->closed) {
		event_remove_timer(&e->ev);
		e->interval = -1;
	}
	SAY("remove_timer", e->id, e->closed ? CLOSED : 0);
}

static void
do_look(struct ev *e)
{
	struct timeval tv = {0, 0};
	int pending = 0;
	int64_t deadline = 0;

	if (e->closed) {
		SAY("look", e->id, 0, 0, 0, 0);
		return;
	}
	pending = event_pending(&e->ev, KNOWN, NULL);
	/* One without a timeout can be active with EV_TIMEOUT. */
	if (pending & EV_TIMEOUT && e->interval >= 0) {
		event_pending(&e->ev, EV_TIMEOUT, &tv);
		deadline = tv.tv_sec * INT64_C(1000000) + tv.tv_usec;
	}
	SAY("look", e->id, pending, deadline, event_get_priority(&e->ev), e->interest);
}

static void
do_transfer(struct ev *e, bool out)
{
	static uint8_t data[255 * 64];
	size_t n = next();
	ssize_t rc = 0;
	int err = 0;

	n *= n % 8 == 7 ? 64 : 1;
	if (e->closed) {
		err = CLOSED;
	} else if (e->fd < 0) {
		err = EBADF;
	} else if (n > 0) {
		if (out) {
			golibevent_diff_fill(data, n, n);
			rc = send(e->fd, data, n, MSG_NOSIGNAL);
			if (rc == -1 && errno == ENOTSOCK)
				rc = write(e->fd, data, n);
		} else {
			rc = read(e->fd, data, n);
		}
		if (rc == -1) {
			err = errno;
			rc = 0;
		} else if (rc == 0) {
			err = END;
		} else if (out && (size_t)rc < n) {
			err = EAGAIN;
		}
	}
	SAY(out ? "write" : "read", e->id, rc, err, golibevent_diff_sum(data, out ? 0 : rc));
}

static void
do_loop(struct base *b)
{
	static const int flags[4] = {
		EVLOOP_NONBLOCK | EVLOOP_ONCE, EVLOOP_NONBLOCK, EVLOOP_ONCE, 0,
	};
	int flag = flags[next() % 4], rc = 0;

	/* A loop within another base's loop is left out: what the binding does about that
	 * other base then is what it does from another thread. */
	if (bases[0].running || bases[1].running)
		b = &bases[bases[1].running];
	SAY("loop", b - bases, flag);
	if (b->base == NULL) {
		rc = CLOSED;
	} else if (b->running) {
		rc = RUNNING;
	} else {
		golibevent_diff_clock.waits = b->base;
		b->running = true;
		if (event_base_loop(b->base, flag) == -1)
			rc = errno;
		b->running = false;
		if (b->failure != 0)
			rc = b->failure;
		b->failure = 0;
	}
	SAY("looped", b - bases, rc, b->base != NULL ? event_base_got_exit(b->base) : 0,
	    b->base != NULL ? event_base_got_break(b->base) : 0, golibevent_diff_clock.us);
}

static void
do_loopexit(struct base *b)
{
	int64_t ns = durations[next() % 16], us;
	struct timeval tv;
	int err = microseconds(ns, &us);

	if (err == 0 && b->base == NULL)
		err = CLOSED;
	if (err == 0) {
		tv.tv_sec = us / 1000000;
		tv.tv_usec = us % 1000000;
		if (event_base_loopexit(b->base, &tv) == -1)
			err = errno;
	}
	SAY("loopexit", b - bases, ns, err);
}

static void
do_steer(struct base *b, const char *word, int (*fn)(struct event_base *))
{
	int err = CLOSED;

	if (b->base != NULL) {
		b->breaks += fn == event_base_loopbreak;
		err = fn(b->base) == -1 ? errno : 0;
	}
	SAY(word, b - bases, err);
}

static void
do_set_priorities(struct base *b)
{
	int n = next() % 6, err = EINVAL, now;

	if (n >= 1 && b->base == NULL) {
		err = CLOSED;
	} else if (n >= 1) {
		now = event_base_get_npriorities(b->base);
		if (count(b) > 0)
			err = n == now ? 0 : EINVAL;
		else if (b->running)
			err = RUNNING;
		else if (n >= now || event_base_get_num_events(b->base,
		    EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE) == 0)
			err = event_base_priority_init(b->base, n) == 0 || n == now ? 0 : EINVAL;
		if (err == 0)
			event_priority_set(&b->post, n / 2);
	}
	SAY("set_priorities", b - bases, n, err);
}

static void
do_init_common_timeout(struct base *b)
{
	size_t i = next() % 16;
	int64_t us = 0;
	struct timeval tv;
	int err = microseconds(durations[i], &us) != 0 || us == 0 ? EINVAL : 0;

	if (err == 0 && b->base == NULL)
		err = CLOSED;
	if (err == 0 && b->common[i] == NULL) {
		tv.tv_sec = us / 1000000;
		tv.tv_usec = us % 1000000;
		b->common[i] = event_base_init_common_timeout(b->base, &tv);
	}
	SAY("common_timeout", b - bases, i, err);
}

static void
do_count(struct base *b)
{
	unsigned kind = kinds[next() % 4];

	SAY("count", b - bases, kind,
	    b->base != NULL ? event_base_get_num_events(b->base, kind) : 0,
	    b->base != NULL ? event_base_get_npriorities(b->base) : 0);
}

static int
close_base(struct base *b)
{
	struct ev *e;

	if (b->running)
		return RUNNING;
	if (b->base == NULL)
		return 0;
	for (e = all; e != NULL; e = e->next) {
		if (e->base == b)
			close_event(e);
	}
	event_del(&b->post);
	event_base_free(b->base);
	b->base = NULL;
	while (b->ends.first < b->ends.last)
		end_event(b);
	return 0;
}

static void
do_close_base(struct base *b)
{
	SAY("close_base", b - bases, close_base(b));
}

static void
do_shutdown(void)
{
	unsigned i = next() % 4;

	shutdown(golibevent_diff_descriptor(i), SHUT_WR);
	SAY("shutdown", i);
}

/* Does what comes next, if anything does. */
static int
step(void)
{
	unsigned op = next() % 40;
	struct ev *e;

	if (over())
		return 0;
	switch (op) {
	case 0: case 1: case 2: case 3: case 4:
		do_make();
		return 1;
	case 5: case 6: case 7: case 8:
		do_loop(base(next()));
		return 1;
	case 9:
		do_loopexit(base(next()));
		return 1;
	case 10:
		do_steer(base(next()), "loopbreak", event_base_loopbreak);
		return 1;
	case 11:
		do_steer(base(next()), "loopcontinue", event_base_loopcontinue);
		return 1;
	case 12:
		do_set_priorities(base(next()));
		return 1;
	case 13:
		do_init_common_timeout(base(next()));
		return 1;
	case 14:
		do_count(base(next()));
		return 1;
	case 15:
		if (next() % 4 == 0)
			do_close_base(base(next()));
		return 1;
	case 16:
		do_shutdown();
		return 1;
	case 17:
		golibevent_diff_clock.us += next() * 100;
		return 1;
	case 18:
		do_steer(base(next()), "update_time", event_base_update_cache_time);
		return 1;
	case 32:
		do_once();
		return 1;
	case 33:
		do_highest(base(next()));
		return 1;
	case 34: case 35:
		do_post(base(next()));
		return 1;
	case 36:
		do_activate_by_fd(base(next()));
		return 1;
	case 37:
		do_times(base(next()));
		return 1;
	case 38:
		do_events(base(next()));
		return 1;
	}
	if ((e = slot(next())) == NULL)
		return 1;
	switch (op) {
	case 19: case 20:
		do_add(e);
		break;
	case 21: case 22:
		do_del(e);
		break;
	case 23: case 24:
		do_activate(e);
		break;
	case 25:
		do_set_priority(e);
		break;
	case 26:
		do_remove_timer(e);
		break;
	case 27:
		do_look(e);
		break;
	case 28:
		close_event(e);
		SAY("close", e->id);
		break;
	case 29:
		do_transfer(e, false);
		break;
	case 39:
		do_finalize(e);
		break;
	default:
		do_transfer(e, true);
		break;
	}
	return 1;
}

void
golibevent_diff_events(const uint8_t *program, size_t n)
{
	struct ev *e;
	size_t i;

	golibevent_diff_begin(program, n);
	made = nposts = 0;
	while (step())
		;
	for (i = 0; i < NBASES; i++)
		do_close_base(&bases[i]);
	while ((e = all) != NULL) {
		all = e->next;
		free(e);
	}
	memset(bases, 0, sizeof(bases));
	memset(events, 0, sizeof(events));
	golibevent_diff_end();
}
