/*
 * Listeners.
 *
 * evconnlistener waits for its callback while it holds its own lock, which the callback
 * wants back: to disable or free one off the loop is a deadlock. So libevent's listener
 * is touched by the loop's thread only, and by others while no loop can start. From
 * elsewhere a change is left for an event of our own to make.
 */
#include "internal.h"

/* libevent's own default. */
#define DEFAULT_BACKLOG 128

/* How long a listener pauses after a failed accept, in microseconds: the first time,
 * and at most after more failures in a row. */
#define FIRST_PAUSE 100000
#define LONGEST_PAUSE 1000000

/* Brings libevent's listener into the state that is wanted. */
static int
apply(struct golibevent_listener *w)
{
	errno = 0;
	if (!LOAD(&w->enabled)) {
		w->paused = 0;
		event_del(w->resume);
		return evconnlistener_disable(w->lev);
	}
	if (w->paused)
		return 0;
	if (evconnlistener_enable(w->lev) == -1)
		return -1;
	/* Closed since, by one who may not have met it enabled. */
	return LOAD(&w->enabled) ? 0 : evconnlistener_disable(w->lev);
}

/* A listener that cannot be enabled says so where nobody can be told otherwise. */
static void
apply_or_report(struct golibevent_listener *w)
{
	if (apply(w) == -1)
		golibevent_on_enable_error(w, errno);
}

static void
on_change(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	apply_or_report(arg);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_listener *w = arg;

	(void)fd;
	(void)what;
	w->paused = 0;
	apply_or_report(w);
}

/* Frees what was made of w, which nothing has enabled. */
static void
discard(struct golibevent_listener *w)
{
	int err = errno;

	if (w->change != NULL)
		event_free(w->change);
	if (w->resume != NULL)
		event_free(w->resume);
	free(w);
	errno = err;
}

/* Makes all but libevent's part. The caller owns the result. */
static struct golibevent_listener *
prepare(struct golibevent_base *gb, unsigned options, void *handle)
{
	struct golibevent_listener *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->gb = gb;
	w->handle = handle;
	w->lent = !(options & LEV_OPT_CLOSE_ON_FREE);
	w->change = event_new(gb->base, -1, 0, on_change, w);
	w->resume = event_new(gb->base, -1, 0, on_resume, w);
	if (w->change == NULL || w->resume == NULL) {
		errno = ENOMEM;
		discard(w);
		return NULL;
	}
	return w;
}

/*
 * Makes a listener on a socket of its own, disabled. The caller owns it and frees it
 * with golibevent_listener_free. NULL with errno: nothing was made.
 */
struct golibevent_listener *
golibevent_listener_bind(struct golibevent_base *gb, const struct sockaddr *sa, int len,
    unsigned options, int backlog, void *handle)
{
	struct golibevent_listener *w = prepare(gb, options, handle);
	int fd, err;

	if (w == NULL)
		return NULL;
	errno = 0;
	w->lev = evconnlistener_new_bind(gb->base, golibevent_on_accept, w,
	    options | LEV_OPT_DISABLED, backlog > 0 ? backlog : DEFAULT_BACKLOG, sa, len);
	if (w->lev == NULL) {
		if (errno == 0)
			errno = ENOMEM;
		discard(w);
		return NULL;
	}
	fd = evconnlistener_get_fd(w->lev);
	if (golibevent_check_fd(gb, fd) == -1) {
		err = errno;
		evconnlistener_free(w->lev);
		if (!(options & LEV_OPT_CLOSE_ON_FREE))
			evutil_closesocket(fd);
		errno = err;
		discard(w);
		return NULL;
	}
	evconnlistener_set_error_cb(w->lev, golibevent_on_accept_error);
	return w;
}

static int
listens(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/*
 * Makes a listener on a socket of the caller's, disabled, and the socket non-blocking:
 * libevent accepts until there is nothing left. With backlog 0 a socket that listens
 * is left as it is. The rest as golibevent_listener_bind.
 */
struct golibevent_listener *
golibevent_listener_new(struct golibevent_base *gb, int fd, unsigned options, int backlog,
    void *handle)
{
	struct golibevent_listener *w;

	if (golibevent_check_fd(gb, fd) == -1)
		return NULL;
	if (!(backlog == 0 && listens(fd)) &&
	    listen(fd, backlog > 0 ? backlog : DEFAULT_BACKLOG) == -1)
		return NULL;
	if (evutil_make_socket_nonblocking(fd) == -1 || evutil_make_socket_closeonexec(fd) == -1)
		return NULL;
	if ((w = prepare(gb, options, handle)) == NULL)
		return NULL;
	w->lev = evconnlistener_new(gb->base, golibevent_on_accept, w,
	    options | LEV_OPT_DISABLED, 0, fd);
	if (w->lev == NULL) {
		errno = ENOMEM;
		discard(w);
		return NULL;
	}
	evconnlistener_set_error_cb(w->lev, golibevent_on_accept_error);
	return w;
}

/* Enables a new listener, from any thread: nobody else has it yet. */
int
golibevent_listener_start(struct golibevent_listener *w)
{
	STORE(&w->enabled, 1);
	errno = 0;
	return evconnlistener_enable(w->lev);
}

struct evconnlistener *
golibevent_listener_c(const struct golibevent_listener *w)
{
	return w->lev;
}

/* Enables or disables the listener, at once or, off a running loop, by that. */
int
golibevent_listener_set_enabled(struct golibevent_listener *w, int enabled)
{
	struct golibevent_base *gb = w->gb;
	int rc = 0, err = 0;

	STORE(&w->enabled, enabled);
	if (on_loop(gb))
		return apply(w);
	pthread_mutex_lock(&gb->mu);
	if (LOAD(&gb->running) || gb->borrowed) {
		event_active(w->change, EV_TIMEOUT, 1);
	} else {
		rc = apply(w);
		err = errno;
	}
	pthread_mutex_unlock(&gb->mu);
	errno = err;
	return rc;
}

/*
 * What comes after a callback. Libevent goes on accepting for as long as connections
 * wait: this keeps it from that when the loop is to end, where the next loop takes it up
 * again, and when another thread has disabled the listener.
 */
void
golibevent_listener_settle(struct golibevent_listener *w)
{
	if (w->lev == NULL) {
		/* Freed in the callback. */
		free(w);
		return;
	}
	if (!LOAD(&w->enabled)) {
		evconnlistener_disable(w->lev);
	} else if (event_base_got_break(evconnlistener_get_base(w->lev))) {
		evconnlistener_disable(w->lev);
		event_active(w->change, EV_TIMEOUT, 1);
	}
}

/* Lets the listener rest after a failed accept, which would only fail again. */
void
golibevent_listener_pause(struct golibevent_listener *w)
{
	int64_t us = w->pause > 0 ? 2 * w->pause : FIRST_PAUSE;
	struct timeval tv;

	w->pause = us < LONGEST_PAUSE ? us : LONGEST_PAUSE;
	tv = timeval_of(w->pause);
	if (event_add(w->resume, &tv) == -1)
		return;		/* better busy than deaf */
	w->paused = 1;
	evconnlistener_disable(w->lev);
}

/* Frees libevent's listener; in its own callback that goes when it has returned. */
static void
release(struct golibevent_listener *w)
{
	evconnlistener_disable(w->lev);	/* free waits for a callback that runs */
	evconnlistener_free(w->lev);
	w->lev = NULL;
	event_free(w->resume);
}

/* The base may have been closed meanwhile, if it was borrowed. */
static void
on_finalize(struct event *ev, void *arg)
{
	struct golibevent_listener *w = arg;

	(void)ev;
	release(w);
	golibevent_on_listener_gone(w->handle);
	free(w);
}

/* The event of a listener, which libevent keeps to itself. */
struct search {
	const struct evconnlistener *lev;
	struct event *ev;
};

static int
on_each(const struct event_base *base, const struct event *ev, void *arg)
{
	struct search *search = arg;

	(void)base;
	if (event_get_callback_arg(ev) != search->lev)
		return 0;
	search->ev = (struct event *)(uintptr_t)ev;
	return 1;
}

/*
 * Keeps the listener, which the loop is to free, from its socket, which the owner may close
 * next: it is not waited for, and nothing is accepted after the callback that may run now.
 */
static void
let_socket_go(struct golibevent_listener *w)
{
	struct search search = {w->lev, NULL};

	STORE(&w->enabled, 0);
	if (!w->lent)
		return;
	event_base_foreach_event(w->gb->base, on_each, &search);
	if (search.ev != NULL)
		event_del_noblock(search.ev);
}

/*
 * Frees the listener: at once or, off a running loop, in its next pass. Libevent closes
 * the socket then if it was asked to.
 */
void
golibevent_listener_free(struct golibevent_listener *w)
{
	struct golibevent_base *gb = w->gb;
	void *handle = w->handle;
	int here = on_loop(gb);

	if (!here)
		pthread_mutex_lock(&gb->mu);
	if (!here && (LOAD(&gb->running) || gb->borrowed)) {
		let_socket_go(w);
		event_free_finalize(0, w->change, on_finalize);
		pthread_mutex_unlock(&gb->mu);
		return;
	}
	event_free(w->change);
	release(w);
	if (!here)
		pthread_mutex_unlock(&gb->mu);
	if (!w->running)
		free(w);
	golibevent_on_listener_gone(handle);
}
