/*
 * Events: making, arming and freeing them.
 *
 * libevent's own calls may come from any thread, save event_assign, which is how an
 * event gets a new interest when its callback asks for one. So all of them are made
 * under the base's mutex, but for those that can wait for a callback.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include "internal.h"
#include <event2/event_struct.h>

#define IO (EV_READ | EV_WRITE | EV_CLOSED)

/* Reports with errno whether libevent can be given fd. */
int
golibevent_check_fd(const struct golibevent_base *gb, int fd)
{
	struct stat st;

	if (fcntl(fd, F_GETFD) == -1)
		return -1;
	if (gb->uses_select && fd >= FD_SETSIZE) {
		errno = EINVAL;
		return -1;
	}
	/* epoll refuses these itself, but with a change list only in the loop. */
	if (gb->uses_changelist && fstat(fd, &st) == 0 &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/*
 * Makes an event that is not pending. The caller owns it and frees it with
 * golibevent_event_free. NULL with errno: nothing was made.
 */
struct golibevent_event *
golibevent_event_new(struct golibevent_base *gb, int fd, short events, uintptr_t handle)
{
	struct golibevent_event *w;
	int err;

	if (fd >= 0 && !(events & EV_SIGNAL) && golibevent_check_fd(gb, fd) == -1)
		return NULL;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL;
	w->gb = gb;
	w->handle = handle;
	w->interval = -1;
	errno = 0;
	if (events & EV_SIGNAL)
		w->ev = event_new(gb->base, -1, EV_PERSIST, golibevent_on_signal, w);
	else
		w->ev = event_new(gb->base, fd, events | EV_PERSIST, golibevent_on_event, w);
	if (w->ev == NULL) {
		err = errno != 0 ? errno : ENOMEM;
		goto fail;
	}
	if (events & EV_SIGNAL && golibevent_signal_new(w, fd) == -1) {
		err = errno;
		event_free(w->ev);
		goto fail;
	}
	return w;
fail:
	free(w);
	errno = err;
	return NULL;
}

/*
 * Counts the event among those of its descriptor, or refuses it with EINVAL: epoll
 * has one mode a descriptor, and libevent would silently take the newest.
 */
static int
count_edge(struct golibevent_event *w)
{
	struct golibevent_base *gb = w->gb;
	short events = event_get_events(w->ev);
	int fd = event_get_fd(w->ev), n;
	struct golibevent_edges *e;

	if (!(events & IO))
		return 0;
	if (fd >= gb->nedges) {
		for (n = gb->nedges ? gb->nedges : 32; n <= fd; n *= 2)
			;
		if ((e = realloc(gb->edges, n * sizeof(*e))) == NULL)
			return -1;
		memset(e + gb->nedges, 0, (n - gb->nedges) * sizeof(*e));
		gb->edges = e;
		gb->nedges = n;
	}
	e = &gb->edges[fd];
	if (events & EV_ET ? e->level > 0 : e->edge > 0) {
		errno = EINVAL;
		return -1;
	}
	++*(events & EV_ET ? &e->edge : &e->level);
	return 0;
}

static void
uncount_edge(struct golibevent_event *w)
{
	struct golibevent_edges *e;
	short events = event_get_events(w->ev);

	if (!(events & IO))
		return;
	e = &w->gb->edges[event_get_fd(w->ev)];
	--*(events & EV_ET ? &e->edge : &e->level);
}

/* Disarms the event without waiting for its callback; gb->mu is held. */
static int
disarm(struct golibevent_event *w)
{
	if (w->signal != NULL)
		golibevent_signal_del(w);
	if (w->armed)
		uncount_edge(w);
	STORE(&w->armed, 0);
	return event_del_noblock(w->ev);
}

static void
clear_interval(void *arg)
{
	struct event *ev = arg;

	timerclear(&ev->ev_.ev_io.ev_timeout);
}

/*
 * Takes the timeout from the event, and the interval that libevent remembers, which
 * event_remove_timer leaves alone while no timeout is pending. In this order the loop on
 * another thread cannot add a timeout for the interval in between.
 */
static void
forget_interval(struct golibevent_event *w)
{
	golibevent_with_base_lock(w->gb->base, clear_interval, w->ev);
	event_remove_timer(w->ev);
	w->has_interval = 0;
}

/* Gives libevent the event and its timeout. */
static int
add(struct golibevent_event *w, int64_t us)
{
	struct golibevent_base *gb = w->gb;
	struct timeval tv = timeval_of(us);
	const struct timeval *tvp = &tv;
	short io = event_get_events(w->ev) & IO;
	int i;

	errno = 0;
	/* Of an event whose timeout is due but not told yet, event_add would watch
	 * the timeout alone. */
	if (io != 0 && event_pending(w->ev, io | EV_TIMEOUT, NULL) == EV_TIMEOUT)
		event_del_noblock(w->ev);
	if (us < 0) {
		/* event_add without a timeout would keep the one there was. */
		if (w->has_interval)
			forget_interval(w);
		tvp = NULL;
	} else {
		for (i = 0; i < gb->ncommon; i++) {
			if (gb->common[i].us == us) {
				tvp = gb->common[i].tv;
				break;
			}
		}
		w->has_interval = 1;
	}
	/* A signal's stand-in has nothing to wait for but the timeout. */
	return w->signal != NULL && tvp == NULL ? 0 : event_add(w->ev, tvp);
}

/* Arms the event; gb->mu is held. A failure leaves it disarmed if it was. */
static int
arm(struct golibevent_event *w, int64_t us)
{
	int was_armed = w->armed, err;

	if (w->dead) {
		errno = EBADF;
		return -1;
	}
	if (us < 0 && w->signal == NULL && !(event_get_events(w->ev) & IO)) {
		errno = EINVAL;		/* it would never fire */
		return -1;
	}
	if (!was_armed && count_edge(w) == -1)
		return -1;
	STORE(&w->armed, 1);
	if ((w->signal != NULL && golibevent_signal_add(w) == -1) || add(w, us) == -1) {
		err = errno;
		if (!was_armed)
			disarm(w);
		errno = err;
		return -1;
	}
	STORE(&w->interval, us);
	if (w->signal != NULL)
		golibevent_signal_remind(w);
	return 0;
}

/* Makes an event and adds it. us < 0 is no timeout. */
struct golibevent_event *
golibevent_event_new_add(struct golibevent_base *gb, int fd, short events, uintptr_t handle,
    int64_t us)
{
	struct golibevent_event *w = golibevent_event_new(gb, fd, events, handle);
	int rc, err;

	if (w == NULL)
		return NULL;
	pthread_mutex_lock(&gb->mu);
	rc = arm(w, us);
	err = errno;
	pthread_mutex_unlock(&gb->mu);
	if (rc == -1) {
		golibevent_event_free(w);
		errno = err;
		return NULL;
	}
	return w;
}

int
golibevent_event_add(struct golibevent_event *w, int64_t us)
{
	struct golibevent_base *gb = w->gb;
	int rc = 0, err;

	pthread_mutex_lock(&gb->mu);
	/* The descriptor may have been closed since the event was made or deleted,
	 * and not every backend says so. */
	if (!w->armed && event_get_events(w->ev) & IO)
		rc = golibevent_check_fd(gb, event_get_fd(w->ev));
	if (rc == 0)
		rc = arm(w, us);
	err = errno;
	pthread_mutex_unlock(&gb->mu);
	errno = err;
	return rc;
}

/*
 * Makes the event not pending. From another thread it waits until the event's
 * callback has returned, whose result then counts for nothing. If the event was added
 * again meanwhile the callback may have come again, so the wait is repeated.
 */
int
golibevent_event_del(struct golibevent_event *w)
{
	struct golibevent_base *gb = w->gb;
	int rc;

	pthread_mutex_lock(&gb->mu);
	errno = 0;
	rc = disarm(w);
	if (on_loop(gb)) {
		pthread_mutex_unlock(&gb->mu);
		return rc;
	}
	w->deleting++;
	do {
		disarm(w);
		pthread_mutex_unlock(&gb->mu);
		event_del_block(w->ev);
		pthread_mutex_lock(&gb->mu);
	} while (w->armed);
	w->deleting--;
	pthread_mutex_unlock(&gb->mu);
	/* The loop does not notice by itself that its last timer has gone. */
	if (LOAD(&gb->running) || gb->borrowed)
		event_base_loopcontinue(gb->base);
	return rc;
}

/* Frees the event's own part, when libevent's part has gone. */
void
golibevent_event_forget(struct golibevent_event *w)
{
	if (w->signal != NULL)
		golibevent_signal_free(w);
	free(w);
}

static void
on_finalize(struct event *ev, void *arg)
{
	(void)ev;
	golibevent_event_forget(arg);
}

/*
 * Ends the event while calls are still inside it: it watches its descriptor no more, and
 * comes to nothing with what they do. The last of them is to free it.
 */
void
golibevent_event_end(struct golibevent_event *w)
{
	pthread_mutex_lock(&w->gb->mu);
	w->dead = 1;
	disarm(w);
	pthread_mutex_unlock(&w->gb->mu);
}

/*
 * Frees the event on the loop's thread. In its own callback it leaves the rest to
 * the trampoline.
 */
static void
free_on_loop(struct golibevent_event *w)
{
	golibevent_event_end(w);
	event_free(w->ev);
	w->ev = NULL;
	if (!w->running)
		golibevent_event_forget(w);
}

/*
 * Frees the event. Its callback does not come again, but may be running: in the
 * caller's own thread, which is then inside it, or in the loop's, which then frees it.
 */
void
golibevent_event_free(struct golibevent_event *w)
{
	struct golibevent_base *gb = w->gb;

	if (on_loop(gb)) {
		free_on_loop(w);
		return;
	}
	pthread_mutex_lock(&gb->mu);
	w->dead = 1;
	disarm(w);
	if (LOAD(&gb->running) || gb->borrowed) {
		event_free_finalize(0, w->ev, on_finalize);
		pthread_mutex_unlock(&gb->mu);
		return;
	}
	pthread_mutex_unlock(&gb->mu);
	/* No loop runs, so nothing would run a finalizer; if one has just started,
	 * this waits for the callback, which cannot arm the event any more. */
	event_free(w->ev);
	golibevent_event_forget(w);
}

int
golibevent_event_remove_timer(struct golibevent_event *w)
{
	struct golibevent_base *gb = w->gb;
	int rc;

	pthread_mutex_lock(&gb->mu);
	errno = 0;
	/* It drops libevent's interval too, but only of a timeout that is pending. */
	rc = event_remove_timer(w->ev);
	STORE(&w->interval, -1);
	pthread_mutex_unlock(&gb->mu);
	if (!on_loop(gb) && (LOAD(&gb->running) || gb->borrowed))
		event_base_loopcontinue(gb->base);
	return rc;
}

void
golibevent_event_active(struct golibevent_event *w, short what)
{
	pthread_mutex_lock(&w->gb->mu);
	if (!w->dead)
		event_active(w->ev, what, 1);
	pthread_mutex_unlock(&w->gb->mu);
}

/* Returns what the event waits for, of what; *deadline_ns is set with EV_TIMEOUT. */
short
golibevent_event_pending(struct golibevent_event *w, short what, int64_t *deadline_ns)
{
	struct timeval tv = {0, 0};
	short pending;

	pthread_mutex_lock(&w->gb->mu);
	/* An event that never had a timeout can be active with EV_TIMEOUT. */
	pending = event_pending(w->ev, what, LOAD(&w->interval) < 0 ? NULL : &tv);
	if (w->signal != NULL && golibevent_signal_added(w))
		pending |= what & EV_SIGNAL;
	pthread_mutex_unlock(&w->gb->mu);
	*deadline_ns = (int64_t)tv.tv_sec * 1000000000 + (int64_t)tv.tv_usec * 1000;
	return pending;
}

struct priority_change {
	struct event *ev;
	int priority, rc;
};

static void
set_priority(void *arg)
{
	struct priority_change *change = arg;

	change->rc = event_priority_set(change->ev, change->priority);
}

int
golibevent_event_priority_set(struct golibevent_event *w, int priority)
{
	struct priority_change change = {w->ev, priority, -1};

	pthread_mutex_lock(&w->gb->mu);
	golibevent_with_base_lock(event_get_base(w->ev), set_priority, &change);
	pthread_mutex_unlock(&w->gb->mu);
	errno = EINVAL;
	return change.rc;
}

int
golibevent_event_get_priority(struct golibevent_event *w)
{
	int priority;

	pthread_mutex_lock(&w->gb->mu);
	priority = event_get_priority(w->ev);
	pthread_mutex_unlock(&w->gb->mu);
	return priority;
}

/* Returns the registered interest, without EV_PERSIST. */
short
golibevent_event_get_events(struct golibevent_event *w)
{
	short events;

	if (w->signal != NULL)
		return EV_SIGNAL;
	pthread_mutex_lock(&w->gb->mu);
	events = event_get_events(w->ev) & ~EV_PERSIST;
	pthread_mutex_unlock(&w->gb->mu);
	return events;
}

/* Gives the event another interest; gb->mu is held. */
static int
reassign(struct golibevent_event *w, short events, int64_t us)
{
	struct event *ev = w->ev;
	struct event_base *base;
	evutil_socket_t fd;
	event_callback_fn fn;
	void *arg;
	int priority = event_get_priority(ev);

	event_get_assignment(ev, &base, &fd, NULL, &fn, &arg);
	disarm(w);
	if (event_assign(ev, base, fd, events | EV_PERSIST, fn, arg) == -1)
		return -1;
	event_priority_set(ev, priority);
	STORE(&w->interval, -1);
	w->has_interval = 0;
	return arm(w, us);
}

/*
 * Arms the event as its callback wants; gb->mu is held. Active is what golibevent_event_active
 * has made it since that was called: to arm it may undo that, and is not to.
 */
static int
arm_again(struct golibevent_event *w, const struct golibevent_verdict *v, int same)
{
	int64_t us = v->set_timeout ? v->timeout : LOAD(&w->interval);
	int active = LOAD(&w->ev->ev_evcallback.evcb_flags) &
	    (EVLIST_ACTIVE | EVLIST_ACTIVE_LATER);
	short what = w->ev->ev_res;
	int rc = same ? arm(w, us) : reassign(w, v->events, us);

	if (rc == 0 && active)
		event_active(w->ev, what, 1);
	return rc;
}

/*
 * Does what the callback has asked for, on the loop's thread after its return.
 * Returns the errno of an event that cannot be armed as asked, else 0.
 */
int
golibevent_event_settle(struct golibevent_event *w, const struct golibevent_verdict *v)
{
	struct golibevent_base *gb = w->gb;
	int same, rc = 0, err;

	if (v->stop)
		event_base_loopbreak(gb->base);
	if (w->ev == NULL)	/* closed in its own callback */
		return 0;
	if (v->leave) {
		/* Go has let the handle go: nobody else can reach the event. The loop
		 * can be that of another golibevent_base over the same C base. */
		free_on_loop(w);
		return 0;
	}
	if (!v->set_events && !v->set_timeout)
		return 0;
	/* The interest changes here alone, so it can be read without the lock. */
	same = !v->set_events || w->signal != NULL ||
	    v->events == (event_get_events(w->ev) & ~EV_PERSIST);
	if (same && !v->set_timeout && LOAD(&w->armed))
		return 0;

	pthread_mutex_lock(&gb->mu);
	errno = 0;
	/* Else closed from another thread since the return, or being deleted. */
	if (!w->dead && w->deleting == 0)
		rc = arm_again(w, v, same);
	err = errno != 0 ? errno : EINVAL;
	pthread_mutex_unlock(&gb->mu);
	return rc == -1 ? err : 0;
}

/* The handles that a walk over a base's events has found. */
struct found {
	const struct golibevent_base *gb;
	uintptr_t *handles;
	size_t n, room;
};

static void
keep(struct found *found, const struct golibevent_event *w)
{
	if (found->n < found->room)
		found->handles[found->n] = w->handle;
	found->n++;
}

static int
on_each(const struct event_base *base, const struct event *ev, void *arg)
{
	event_callback_fn fn = event_get_callback(ev);
	struct found *found = arg;
	const struct golibevent_event *w;

	(void)base;
	if (fn != golibevent_on_event && fn != golibevent_on_signal)
		return 0;
	w = event_get_callback_arg(ev);
	/* What waits for a signal is found by on_each_signal. */
	if (w->gb == found->gb && (w->signal == NULL || !w->armed))
		keep(found, w);
	return 0;
}

static void
on_each_signal(struct golibevent_event *w, int signum, void *arg)
{
	(void)signum;
	keep(arg, w);
}

/*
 * Writes the handles of the events that are pending or active, and were made by Go on gb,
 * n of them at most. Returns how many there are.
 */
size_t
golibevent_base_events(struct golibevent_base *gb, uintptr_t *handles, size_t n)
{
	struct found found = {gb, handles, 0, n};

	/* Nothing is armed or disarmed meanwhile, so none is found twice. */
	pthread_mutex_lock(&gb->mu);
	event_base_foreach_event(gb->base, on_each, &found);
	golibevent_sink_foreach(gb, on_each_signal, &found);
	pthread_mutex_unlock(&gb->mu);
	return found.n;
}
