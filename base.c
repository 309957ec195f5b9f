/* The base: making, running, stopping and freeing it. */
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include "internal.h"
#include <event2/event_struct.h>

__thread struct golibevent_base *golibevent_loop;

/* Forgets the loop and the calls that the thread is in, which goes on to serve others. The
 * references that the calls hold back the next one finds; what was to be freed at their end
 * stays, as nobody knows in what state. */
void
golibevent_forget_calls(void)
{
	struct golibevent_call *call = &golibevent_call;

	golibevent_loop = NULL;
	*call = (struct golibevent_call){.first = call->first, .last = call->last};
}

/*
 * Reports whether the library that runs lays out an event as the headers did that the
 * binding was built with, which reads members of it. The library tells the size alone.
 */
int
golibevent_fits(void)
{
	return event_get_struct_event_size() == sizeof(struct event);
}

/* Turns libevent's locking on. It must come before the first base. */
int
golibevent_use_threads(void)
{
	return evthread_use_pthreads();
}

/* Has a result for cgo's sake, as golibevent_enable_debug_mode. */
int
golibevent_enable_lock_debugging(void)
{
	evthread_enable_lock_debugging();
	return 0;
}

/* Breaks the loop if the request still stands, which is served with that. Its event has
 * the best priority and stays active across the start of a loop, which forgets a plain
 * loopbreak. */
static void
on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_base *gb = arg;

	(void)fd;
	(void)what;
	if (EXCHANGE(&gb->stop, 0) != 0)
		event_base_loopbreak(gb->base);
}

struct locked_call {
	void (*fn)(void *);
	void *arg;
	int called;
};

static int
on_first_event(const struct event_base *base, const struct event *ev, void *arg)
{
	struct locked_call *call = arg;

	(void)base;
	(void)ev;
	call->fn(call->arg);
	call->called = 1;
	return 1;
}

/*
 * Calls fn under the base's lock, which libevent itself forgets for an event's priority:
 * the loop on another thread may be putting the event into a queue meanwhile. The walk
 * over the events is the one public way to that lock. Where there is none to walk over,
 * none can become active.
 */
void
golibevent_with_base_lock(struct event_base *base, void (*fn)(void *), void *arg)
{
	struct locked_call call = {fn, arg, 0};

	event_base_foreach_event(base, on_first_event, &call);
	if (!call.called)
		fn(arg);
}

/* Puts the binding's own events where a change of the priorities left them. */
static void
place_own_events(struct golibevent_base *gb)
{
	event_priority_set(gb->stop_ev, 0);
	event_priority_set(gb->post_ev, event_base_get_npriorities(gb->base) / 2);
}

/* Wraps base, which may be NULL. The caller owns the result. */
static struct golibevent_base *
wrap(struct event_base *base, int borrowed)
{
	struct golibevent_base *gb;

	if (base == NULL)
		return NULL;
	if ((gb = calloc(1, sizeof(*gb))) == NULL)
		goto fail;
	gb->base = base;
	gb->borrowed = borrowed;
	gb->uses_select = strcmp(event_base_get_method(base), "select") == 0;
	if (pthread_mutex_init(&gb->mu, NULL) != 0) {
		free(gb);
		gb = NULL;
		goto fail;
	}
	gb->stop_ev = event_new(base, -1, 0, on_stop, gb);
	gb->post_ev = event_new(base, -1, 0, golibevent_on_post, gb);
	if (gb->stop_ev == NULL || gb->post_ev == NULL) {
		golibevent_base_free(gb);
		errno = ENOMEM;
		return NULL;
	}
	place_own_events(gb);
	return gb;
fail:
	if (!borrowed)
		event_base_free(base);
	errno = ENOMEM;
	return NULL;
}

/* Makes a base; the caller owns it. cfg may be NULL; flags are those that it carries. */
struct golibevent_base *
golibevent_base_new(const struct event_config *cfg, int flags)
{
	struct golibevent_base *gb;

	errno = 0;
	gb = wrap(cfg != NULL ? event_base_new_with_config(cfg) : event_base_new(), 0);
	if (gb != NULL)
		gb->uses_changelist = flags & EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST ||
		    (!(flags & EVENT_BASE_FLAG_IGNORE_ENV) &&
			getenv("EVENT_EPOLL_USE_CHANGELIST") != NULL);
	return gb;
}

/* Wraps a base that somebody else made and will free, later than the result. */
struct golibevent_base *
golibevent_base_borrow(struct event_base *base)
{
	return wrap(base, 1);
}

int
golibevent_base_priority_init(struct golibevent_base *gb, int n)
{
	int now, rc = -1, err;

	pthread_mutex_lock(&gb->mu);
	now = event_base_get_npriorities(gb->base);
	if (LOAD(&gb->running) || on_loop(gb)) {
		/* libevent would free the queue that the loop is in. */
		err = EBUSY;
	} else if (n < now && (gb->borrowed || event_base_get_num_events(gb->base,
	    EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE) > 0)) {
		/* An event with a priority that is no more aborts the process, and of
		 * a borrowed base's events only C knows. */
		err = EINVAL;
	} else {
		errno = 0;
		rc = event_base_priority_init(gb->base, n);
		err = errno;
		if (rc == 0)
			place_own_events(gb);
		else if (event_base_get_npriorities(gb->base) == 0)
			/* libevent has freed its queues already, and would abort. */
			event_base_priority_init(gb->base, now);
	}
	pthread_mutex_unlock(&gb->mu);
	errno = err;
	return rc;
}

static void
forget(struct golibevent_base *gb)
{
	pthread_mutex_destroy(&gb->mu);
	if (gb->spare != NULL)
		evbuffer_free(gb->spare);
	free(gb->edges);
	free(gb);
}

static void
on_finalize(struct event *ev, void *arg)
{
	(void)ev;
	forget(arg);
}

static void
on_finalize_stop(struct event *ev, void *arg)
{
	(void)ev;
	(void)arg;
}

/* Events that a walk has found. */
struct left {
	struct event *ev[64];
	int n;
};

static int
on_left(const struct event_base *base, const struct event *ev, void *arg)
{
	struct left *left = arg;

	(void)base;
	if (!(ev->ev_evcallback.evcb_flags & (EVLIST_INTERNAL | EVLIST_FINALIZING)))
		left->ev[left->n++] = (struct event *)(uintptr_t)ev;
	return left->n == (int)(sizeof(left->ev) / sizeof(left->ev[0]));
}

/* Deletes the events that are left, as event_base_free does: they are C code's. */
static void
delete_left(struct event_base *base)
{
	struct left left;
	int more;

	do {
		left.n = 0;
		more = event_base_foreach_event(base, on_left, &left);
		while (left.n > 0)
			event_del(left.ev[--left.n]);
	} while (more);
}

/*
 * Runs what is active, with the children gone. A bufferevent's deferred callback holds a
 * reference, which event_base_free would not give back: neither it nor its socket would go.
 * Events are not called, and what is ready for one cannot keep the loop here.
 */
static void
run_active(struct event_base *base)
{
	int passes = 2 * event_base_get_npriorities(base);

	if (event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0)
		delete_left(base);
	while (passes-- > 0 && event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/*
 * Frees the base, which must have no children left. A borrowed one may be running: a
 * callback of ours may even be the caller. What we keep of it then goes when that has
 * returned, with the loop's next pass or with the base itself. Returns the references that
 * went with the base's bufferevents; the caller owns them.
 */
struct golibevent_reference *
golibevent_base_free(struct golibevent_base *gb)
{
	struct event *stop_ev = gb->stop_ev, *post_ev = gb->post_ev;
	struct golibevent_reference *released;
	struct golibevent_outer outer;

	golibevent_sink_free(gb);
	if (gb->borrowed && stop_ev != NULL && post_ev != NULL) {
		event_free_finalize(0, stop_ev, on_finalize_stop);
		event_free_finalize(0, post_ev, on_finalize);
		return NULL;
	}
	if (stop_ev != NULL)
		event_free(stop_ev);
	if (post_ev != NULL)
		event_free(post_ev);
	outer = begin_call();
	if (!gb->borrowed) {
		run_active(gb->base);
		event_base_free(gb->base);
	}
	forget(gb);
	released = take_references();
	end_call(outer);
	return released;
}

/* Takes the stop request back, with all its traces. One that is only about to be made is
 * left to the next loop, as a whole. */
static unsigned
end_stop(struct golibevent_base *gb)
{
	unsigned why;

	if (LOAD(&gb->stop) == 0)
		return 0;
	pthread_mutex_lock(&gb->mu);
	why = EXCHANGE(&gb->stop, 0);
	if (why != 0)
		event_del(gb->stop_ev);
	pthread_mutex_unlock(&gb->mu);
	return why;
}

/*
 * Reports whether the thread is in a callback that a change of an evbuffer or a call of Go's
 * has brought about. What that is in the midst of a loop could free, and so could the end of
 * a base, which might also wait for the call.
 */
int
golibevent_inside(void)
{
	return golibevent_call.changing > 0 || golibevent_call.calls > 0;
}

/*
 * Runs the loop, unless a Stop has come before it. Of the requests that come while
 * it starts, one seen by neither end_stop is found by on_stop.
 */
int
golibevent_base_loop(struct golibevent_base *gb, int flags)
{
	struct golibevent_base *outer = golibevent_loop;
	int rc, err;

	if (golibevent_inside()) {
		errno = EBUSY;
		return -1;
	}
	if (end_stop(gb) != 0)
		return 0;
	golibevent_loop = gb;
	/* Whoever holds gb->mu and sees that no loop runs can rely on it. */
	pthread_mutex_lock(&gb->mu);
	STORE(&gb->running, 1);
	pthread_mutex_unlock(&gb->mu);
	errno = 0;
	rc = flags == 0 ? event_base_dispatch(gb->base) : event_base_loop(gb->base, flags);
	err = errno;
	STORE(&gb->running, 0);
	golibevent_loop = outer;
	end_stop(gb);
	errno = err;
	return rc;
}

/*
 * Ends the running loop, or the next one. The mutex makes the steps one: a loop that
 * sees the request as it ends must not leave a part of it to the next. A loop that C
 * runs takes no request back when it ends, so there it is made in one way alone: in two
 * it would end two loops.
 */
void
golibevent_base_stop(struct golibevent_base *gb, unsigned why)
{
	int run_by_c = gb->borrowed && !LOAD(&gb->running);

	pthread_mutex_lock(&gb->mu);
	if (!run_by_c || !on_loop(gb)) {
		__atomic_fetch_or(&gb->stop, why, __ATOMIC_SEQ_CST);
		event_active(gb->stop_ev, EV_TIMEOUT, 1);
	}
	if (!run_by_c || on_loop(gb))
		event_base_loopbreak(gb->base);
	pthread_mutex_unlock(&gb->mu);
}

/* Withdraws a request that no loop has served. */
void
golibevent_base_unstop(struct golibevent_base *gb, unsigned why)
{
	pthread_mutex_lock(&gb->mu);
	if (__atomic_and_fetch(&gb->stop, ~why, __ATOMIC_SEQ_CST) == 0)
		event_del(gb->stop_ev);
	pthread_mutex_unlock(&gb->mu);
}

int
golibevent_base_loopexit(struct golibevent_base *gb, int64_t us)
{
	struct timeval tv = timeval_of(us);
	int rc, err;

	pthread_mutex_lock(&gb->mu);
	errno = 0;
	rc = event_base_loopexit(gb->base, &tv);
	err = errno;
	pthread_mutex_unlock(&gb->mu);
	errno = err;
	return rc;
}

/*
 * Makes the loop run what was posted. From a callback it is due in the next pass,
 * so that a function that posts itself does not keep the loop from polling.
 */
void
golibevent_base_post(struct golibevent_base *gb)
{
	static const struct timeval next_pass;

	pthread_mutex_lock(&gb->mu);
	if (!on_loop(gb) || event_add(gb->post_ev, &next_pass) == -1)
		event_active(gb->post_ev, EV_TIMEOUT, 1);
	pthread_mutex_unlock(&gb->mu);
}

/* Makes every later timeout of us microseconds a common one. */
int
golibevent_base_init_common_timeout(struct golibevent_base *gb, int64_t us)
{
	struct timeval tv = timeval_of(us);
	const struct timeval *common;
	int i, rc = -1;

	pthread_mutex_lock(&gb->mu);
	for (i = 0; i < gb->ncommon; i++) {
		if (gb->common[i].us == us) {
			rc = 0;
			goto done;
		}
	}
	errno = 0;
	if (gb->ncommon == (int)(sizeof(gb->common) / sizeof(gb->common[0])) ||
	    (common = event_base_init_common_timeout(gb->base, &tv)) == NULL) {
		if (errno == 0)
			errno = ENOSPC;
		goto done;
	}
	gb->common[gb->ncommon].us = us;
	gb->common[gb->ncommon].tv = common;
	STORE(&gb->ncommon, gb->ncommon + 1);
	rc = 0;
done:
	pthread_mutex_unlock(&gb->mu);
	return rc;
}

/* Counts as libevent does, with signals as events and without our own. */
int
golibevent_base_num_events(struct golibevent_base *gb, unsigned flags)
{
	int n = event_base_get_num_events(gb->base, flags);

	if (flags & EVENT_BASE_COUNT_ADDED)
		n += golibevent_sink_surplus(gb);
	return n;
}

/* Returns libevent's description of its events, *n bytes; the caller frees it. NULL with
 * errno. */
char *
golibevent_base_dump_events(struct golibevent_base *gb, size_t *n)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, n);
	int err;

	if (f == NULL)
		return NULL;
	event_base_dump_events(gb->base, f);
	if (fclose(f) != 0) {
		err = errno;
		free(text);
		errno = err;
		return NULL;
	}
	return text;
}

static int64_t
nanoseconds(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * 1000000000 + (int64_t)tv->tv_usec * 1000;
}

int
golibevent_base_time(struct golibevent_base *gb, int64_t *ns)
{
	struct timeval tv;
	int rc = event_base_gettimeofday_cached(gb->base, &tv);

	*ns = nanoseconds(&tv);
	return rc;
}

/* NULL with errno where libevent does not tell. */
const char *
golibevent_base_signal_method(const struct golibevent_base *gb)
{
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
	return event_base_get_signal_method(gb->base);
#else
	(void)gb;
	errno = ENOTSUP;
	return NULL;
#endif
}

int
golibevent_base_monotonic(struct golibevent_base *gb, int64_t *ns)
{
	struct timeval tv;
	int rc = event_gettime_monotonic(gb->base, &tv);

	*ns = nanoseconds(&tv);
	return rc;
}

/* us < 0 sets no limit of time. */
int
golibevent_config_max_dispatch(struct event_config *cfg, int64_t us, int callbacks,
    int min_priority)
{
	struct timeval tv = timeval_of(us);

	return event_config_set_max_dispatch_interval(cfg, us < 0 ? NULL : &tv,
	    callbacks, min_priority);
}
