/*
 * Buffer events.
 *
 * Callbacks can run inside most calls, when they are not deferred. Such a call has a
 * struct golibevent_result: it brings a callback's panic, or rather its handle, past C,
 * and the references that were released.
 */
#include <fcntl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "internal.h"
#include <event2/bufferevent_struct.h>	/* wants bufferevent.h before it */

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0		/* Go sees to SIGPIPE */
#endif

__thread struct golibevent_call golibevent_call;

/* Ends a call of begin_call. It leaves errno alone. The caller owns what was released. */
static struct golibevent_result
end(struct golibevent_outer outer, int64_t rc)
{
	struct golibevent_result r = {.rc = rc, .released = take_references()};

	r.panicked = end_call(outer);
	return r;
}

/* A number that no other thread has while this one lives. */
uintptr_t
golibevent_thread(void)
{
	return (uintptr_t)&golibevent_call;
}

/* Readies fd for a buffer event, or reports with errno that it cannot be used. */
static int
prepare(const struct golibevent_base *gb, int fd, int options)
{
	struct stat st;

	if (fcntl(fd, F_GETFD) == -1)
		return -1;
	if (gb->uses_select && fd >= FD_SETSIZE) {
		errno = EINVAL;
		return -1;
	}
	/* The backend would refuse these only when something is to be written. */
	if (!(event_base_get_features(gb->base) & EV_FEATURE_FDS) && fstat(fd, &st) == 0 &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		errno = EPERM;
		return -1;
	}
	if (options & BEV_OPT_CLOSE_ON_FREE && evutil_make_socket_nonblocking(fd) == -1)
		return -1;
	return 0;
}

/* Reports whether an event of a buffer event is pending. That is locked, so that nobody
 * adds or deletes the event; that another thread activates it makes no difference. */
static int
is_pending(const struct event *ev)
{
	return LOAD(&ev->ev_evcallback.evcb_flags) &
	    (EVLIST_INSERTED | EVLIST_ACTIVE | EVLIST_ACTIVE_LATER);
}

/* Reports whether bev, which is locked, should wait for its socket in a direction, and
 * does not: its rate may be limited, its input full, or libevent was refused it. */
static int
is_stuck(const struct bufferevent *bev, short direction)
{
	const struct event *ev = direction == EV_READ ? &bev->ev_read : &bev->ev_write;

	/* Those of a pair and a filter are timers. */
	return bev->enabled & direction && !is_pending(ev) && ev->ev_events & direction &&
	    (direction == EV_READ || evbuffer_get_length(bev->output) > 0);
}

/* Has bev, which is locked, wait for its socket again, and tells the event callback when
 * it cannot, as of any other error that the socket meets. */
static void
see_to_direction(struct bufferevent *bev, short direction)
{
	short what = direction == EV_READ ? BEV_EVENT_READING : BEV_EVENT_WRITING;
	int err;

	if (!is_stuck(bev, direction) || bufferevent_enable(bev, direction) == 0)
		return;
	err = errno;
	bufferevent_disable(bev, direction);
	errno = err;
	bufferevent_trigger_event(bev, what | BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
}

/*
 * To be called when errno, which was 0, says that something has failed in what makes libevent
 * wait for bev's socket: it keeps to itself that the backend, or memory, refuses that. errno
 * stays as it is.
 */
void
golibevent_bufferevent_see_to(struct bufferevent *bev, short directions)
{
	int err = errno;

	bufferevent_lock(bev);
	if (directions & EV_READ)
		see_to_direction(bev, EV_READ);
	if (directions & EV_WRITE)
		see_to_direction(bev, EV_WRITE);
	bufferevent_unlock(bev);
	errno = err;
}

static void
on_nothing(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *arg)
{
	(void)buf;
	(void)info;
	(void)arg;
}

/*
 * Reports with errno whether there is memory for two callbacks of buf. Where libevent adds
 * its own it does not look, and goes through NULL: it finds now what this has given back.
 */
static int
fit_callbacks(struct evbuffer *buf)
{
	struct evbuffer_cb_entry *first = evbuffer_add_cb(buf, on_nothing, NULL);
	struct evbuffer_cb_entry *second = evbuffer_add_cb(buf, on_nothing, NULL);
	int fit = first != NULL && second != NULL;

	if (first != NULL)
		evbuffer_remove_cb_entry(buf, first);
	if (second != NULL)
		evbuffer_remove_cb_entry(buf, second);
	if (!fit)
		errno = ENOMEM;
	return fit;
}

/* Reports whether bev's input has a high watermark. */
bool
golibevent_bufferevent_has_high(const struct bufferevent *bev)
{
	return bev->wm_read.high > 0;
}

/* Makes a buffer event, with fd -1 without a socket. The caller owns it. */
struct bufferevent *
golibevent_bufferevent_new(struct golibevent_base *gb, int fd, int options, uintptr_t handle)
{
	struct bufferevent *bev;

	if (fd >= 0 && prepare(gb, fd, options) == -1)
		return NULL;
	errno = 0;
	bev = bufferevent_socket_new(gb->base, fd, options);
	if (bev != NULL && errno == ENOMEM) {
		/* It does not look whether it could add the callback of its output. */
		bufferevent_setfd(bev, -1);
		bufferevent_free(bev);
		bev = NULL;
	}
	if (bev == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	golibevent_bufferevent_setcb(bev, NULL, handle, false, false, false, false);
	return bev;
}

/* Makes two that are connected. The caller owns them; if it fails they are NULL. */
struct golibevent_pair
golibevent_bufferevent_pair_new(struct golibevent_base *gb, int options, uintptr_t first,
    uintptr_t second)
{
	struct golibevent_pair pair = {{NULL, NULL}};

	if (bufferevent_pair_new(gb->base, options, pair.bev) == -1) {
		pair.bev[0] = NULL;
		errno = ENOMEM;
		return pair;
	}
	golibevent_bufferevent_setcb(pair.bev[0], NULL, first, false, false, false, false);
	golibevent_bufferevent_setcb(pair.bev[1], NULL, second, false, false, false, false);
	return pair;
}

/* libevent's own callback, which each filter sets underneath, with itself for an argument. */
static bufferevent_event_cb filter_event;

/*
 * What a filter without a function does. libevent's own calls dst's callbacks while src is
 * in pieces, and what is underneath can be a filter.
 */
static enum bufferevent_filter_result
pass(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	const struct golibevent_filter *w = arg;
	int rc, err = errno;

	(void)mode;
	errno = 0;
	rc = golibevent_buffer_move(src, dst, limit);
	if (rc == 0 && errno != 0 && dst == w->underlying->output)
		golibevent_bufferevent_see_to(w->underlying, EV_WRITE);
	if (errno == 0)
		errno = err;
	return rc == -1 ? BEV_ERROR : BEV_OK;
}

/*
 * Makes a filter on top of underlying. The caller owns it; name is then its, and given
 * back when it is gone. BEV_OPT_CLOSE_ON_FREE is for the caller to see to: libevent frees
 * underlying once too often when that has been freed before and is still in use.
 */
struct golibevent_made
golibevent_bufferevent_filter_new(struct bufferevent *underlying, bool input, bool output,
    int options, uintptr_t handle, void *name)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_filter *w = NULL;
	struct golibevent_made made = {.bev = NULL};

	if (fit_callbacks(underlying->output))
		w = malloc(sizeof(*w));
	if (w != NULL) {
		w->underlying = underlying;
		w->name = name;
		bufferevent_lock(underlying);
		made.bev = bufferevent_filter_new(underlying,
		    input ? golibevent_on_filter_input : pass,
		    output ? golibevent_on_filter_output : pass,
		    options & ~BEV_OPT_CLOSE_ON_FREE, golibevent_on_filter_free, w);
		if (made.bev != NULL)
			STORE(&filter_event, underlying->errorcb);
		bufferevent_unlock(underlying);
	}
	if (made.bev != NULL)
		golibevent_bufferevent_setcb(made.bev, NULL, handle, false, false, false, false);
	else
		free(w);
	made.r = end(outer, 0);
	return made;
}

/*
 * Has a filter called again for what the high watermark of bev's input has left
 * underneath. libevent sees to that only when the read callback, which has just come,
 * was deferred: else the room that it makes is there before libevent waits for it.
 */
void
golibevent_bufferevent_unstick(struct bufferevent *bev)
{
	struct bufferevent *underlying = bufferevent_get_underlying(bev);
	size_t high = bev->wm_read.high;

	bufferevent_lock(bev);
	if (high > 0 && bev->enabled & EV_READ && evbuffer_get_length(bev->input) < high &&
	    evbuffer_get_length(underlying->input) > 0)
		bufferevent_trigger(underlying, EV_READ,
		    BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
	bufferevent_unlock(bev);
}

/*
 * Drops the owner's reference, and what limits the rate. A callback, also one that is due,
 * has a reference too: a socket that is lent is not used until that is gone, for the owner
 * may close it next.
 */
struct golibevent_result
golibevent_bufferevent_free(struct bufferevent *bev, struct golibevent_limits *limits,
    bool lent)
{
	struct golibevent_outer outer = begin_call();

	golibevent_bufferevent_unlimit(bev, limits);
	if (lent) {
		bufferevent_lock(bev);
		bufferevent_disable(bev, EV_READ | EV_WRITE);
		event_del(&bev->ev_write);	/* a connect */
		bufferevent_unlock(bev);
	}
	/* A filter that is freed in its callback is gone on with, and libevent would start
	 * the timeouts of what it has written or read by then. */
	if (evutil_timerisset(&bev->timeout_read) || evutil_timerisset(&bev->timeout_write))
		bufferevent_set_timeouts(bev, NULL, NULL);
	golibevent_let_bufferevent_go(bev);
	return end(outer, 0);
}

/* Sets bev's callbacks, unless they are those of a filter on top of it, other than closed. */
void
golibevent_bufferevent_setcb(struct bufferevent *bev, const struct bufferevent *closed,
    uintptr_t handle, bool read, bool write, bool eager, bool view)
{
	bufferevent_data_cb on_read = view ? golibevent_on_buffer_view :
	    golibevent_on_buffer_read;
	bufferevent_data_cb on_write = eager ? golibevent_on_eager_write :
	    golibevent_on_buffer_write;

	bufferevent_lock(bev);
	if (bev->errorcb == NULL || bev->errorcb != LOAD(&filter_event) || bev->cbarg == closed)
		bufferevent_setcb(bev, read ? on_read : NULL, write ? on_write : NULL,
		    golibevent_on_buffer_event, (void *)handle);
	bufferevent_unlock(bev);
}

/* Has what is underneath a filter read, when all above it wants that; of a failure
 * libevent does not tell. */
static int
enable_underneath(struct bufferevent *bev)
{
	struct bufferevent *bottom = bev, *under;
	int rc = 0;

	while ((under = bufferevent_get_underlying(bottom)) != NULL)
		bottom = under;
	if (bottom == bev)
		return 0;
	bufferevent_lock(bottom);
	if (is_stuck(bottom, EV_READ))
		rc = bufferevent_enable(bottom, EV_READ);
	bufferevent_unlock(bottom);
	return rc;
}

/* Enables all of events, or none that was not enabled before. */
struct golibevent_result
golibevent_bufferevent_enable(struct bufferevent *bev, short events)
{
	struct golibevent_outer outer = begin_call();
	short before;
	int rc, err;

	bufferevent_lock(bev);
	before = bufferevent_get_enabled(bev);
	errno = 0;
	rc = bufferevent_enable(bev, events);
	if (rc == 0 && errno != 0)
		rc = enable_underneath(bev);
	err = errno;
	if (rc == -1)
		bufferevent_disable(bev, events & ~before);
	bufferevent_unlock(bev);
	errno = err;
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_disable(struct bufferevent *bev, short events)
{
	struct golibevent_outer outer = begin_call();

	return end(outer, bufferevent_disable(bev, events));
}

struct golibevent_result
golibevent_bufferevent_setwatermark(struct bufferevent *bev, short events, size_t low,
    size_t high)
{
	struct golibevent_outer outer = begin_call();

	if (events & EV_READ && high > 0 && !fit_callbacks(bev->input))
		return end(outer, -1);
	bufferevent_setwatermark(bev, events, low, high);
	if (errno != 0)
		golibevent_bufferevent_see_to(bev, events & EV_READ);
	return end(outer, 0);
}

/* Returns what stands for us microseconds, NULL for us < 0. tv is where it may be put. */
static const struct timeval *
timeout(struct golibevent_base *gb, int64_t us, struct timeval *tv)
{
	int i;

	if (us < 0)
		return NULL;
	for (i = 0; i < LOAD(&gb->ncommon); i++) {
		if (gb->common[i].us == us)
			return gb->common[i].tv;
	}
	*tv = timeval_of(us);
	return tv;
}

int
golibevent_bufferevent_set_timeouts(struct golibevent_base *gb, struct bufferevent *bev,
    int64_t read_us, int64_t write_us)
{
	struct timeval read_tv, write_tv;

	errno = 0;
	return bufferevent_set_timeouts(bev, timeout(gb, read_us, &read_tv),
	    timeout(gb, write_us, &write_tv));
}

struct golibevent_result
golibevent_bufferevent_read(struct bufferevent *bev, uint8_t *data, size_t n)
{
	struct golibevent_outer outer = begin_call();
	/* What C returns is an int, with -1 for failure, made unsigned. */
	int rc = (int)bufferevent_read(bev, data, n);

	if (rc >= 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_READ);
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_write(struct bufferevent *bev, const uint8_t *data, size_t n)
{
	struct golibevent_outer outer = begin_call();
	int rc = bufferevent_write(bev, data, n);

	if (rc >= 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_WRITE);
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_read_buffer(struct bufferevent *bev, struct evbuffer *buf)
{
	struct golibevent_outer outer = begin_call();
	int rc = bufferevent_read_buffer(bev, buf);

	if (rc >= 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_READ);
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_write_buffer(struct bufferevent *bev, struct evbuffer *buf)
{
	struct golibevent_outer outer = begin_call();
	int rc = bufferevent_write_buffer(bev, buf);

	if (rc >= 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_WRITE);
	return end(outer, rc);
}

/* libevent's own callback, the same for the read event of every socket. */
static event_callback_fn libevent_readable;

static void on_readable(evutil_socket_t, short, void *);

/* Where the read event keeps its callback. To give it another by event_assign it would
 * have to be deleted, and would come after the write event when it is added again. */
static event_callback_fn *
readable(struct bufferevent *bev)
{
	return &bev->ev_read.ev_evcallback.evcb_cb_union.evcb_callback;
}

static int
is_eager(struct bufferevent *bev)
{
	return LOAD(readable(bev)) == on_readable;
}

/*
 * Reports whether all that libevent would do about what is written now is to wait until
 * the socket takes it: there is output, then, that can as well go at once. An EV_WRITE
 * that is pending can also be a connect. bev is locked.
 */
static int
is_idle(struct bufferevent *bev)
{
	return is_eager(bev) && bev->enabled & EV_WRITE &&
	    evbuffer_get_length(bev->output) == 0 && bufferevent_getfd(bev) >= 0 &&
	    !event_pending(&bev->ev_write, EV_WRITE, NULL) &&
	    !golibevent_buffer_end_is_frozen(bev->output);
}

/*
 * Completes *sent, with n what the socket took, or -1 with errno. libevent meets the same
 * error with what is then in the output, except for one that the socket had for somebody
 * to ask. bev is locked.
 */
static void
end_send(struct bufferevent *bev, struct golibevent_sent *sent, ssize_t n)
{
	if (n > 0) {
		sent->n = n;
		/* As libevent tells of what it has written: from the loop. */
		sent->tells = bev->writecb != NULL;
		if (sent->tells)
			bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
	} else if (n == -1 && errno != EAGAIN && errno != EINTR && errno != EPIPE &&
	    errno != ENOTSOCK) {
		sent->err = errno;
	}
}

/*
 * Writes n bytes: to the socket as much as that takes at once, the rest to the output. A
 * descriptor that is no socket takes nothing.
 */
struct golibevent_sent
golibevent_bufferevent_send(struct bufferevent *bev, const uint8_t *p, size_t n)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_sent sent = {.n = 0};
	ssize_t taken;
	size_t max;
	int rc = 0;

	bufferevent_lock(bev);
	if (is_idle(bev)) {
		max = bufferevent_get_max_single_write(bev);
		do {
			taken = send(bufferevent_getfd(bev), p, n < max ? n : max,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (taken == -1 && errno == EINTR);
		end_send(bev, &sent, taken);
	}
	if ((size_t)sent.n < n) {
		errno = 0;
		rc = evbuffer_add(bev->output, p + sent.n, n - sent.n);
		if (rc == 0 && errno != 0)
			golibevent_bufferevent_see_to(bev, EV_WRITE);
		else if (rc == -1 && errno == 0)
			errno = EPERM;	/* a frozen end sets none */
	}
	bufferevent_unlock(bev);
	sent.r = end(outer, rc);
	return sent;
}

/* Does the same with all of src. */
struct golibevent_sent
golibevent_bufferevent_send_buffer(struct bufferevent *bev, struct evbuffer *src)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_sent sent = {.n = 0};
	int rc;

	bufferevent_lock(bev);
	if (is_idle(bev) && evbuffer_get_length(src) > 0) {
		errno = EAGAIN;		/* src may be frozen, which sets none */
		end_send(bev, &sent, evbuffer_write_atmost(src, bufferevent_getfd(bev),
		    bufferevent_get_max_single_write(bev)));
	}
	errno = 0;
	rc = evbuffer_add_buffer(bev->output, src);
	if (rc == 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_WRITE);
	bufferevent_unlock(bev);
	sent.r = end(outer, rc);
	return sent;
}

/* What came of a receive. */
enum received {
	LEFT,		/* libevent has to see to the socket */
	NOTHING,
	DATA,
	FAILED,		/* with errno */
};

#define MOST 16384		/* bytes of one receive */

/* Returns where to receive MOST bytes, NULL if there is no memory. */
static void *
space(struct golibevent_base *gb)
{
	struct evbuffer_iovec vec;

	if (gb->spare == NULL && (gb->spare = evbuffer_new()) == NULL)
		return NULL;
	if (gb->space == NULL && evbuffer_reserve_space(gb->spare, MOST, &vec, 1) == 1)
		gb->space = vec.iov_base;
	return gb->space;
}

/*
 * Adds n bytes of the space to an input, from the place at on; an input that is not empty
 * gets all of it. A little is copied, so that the chunk is no larger than needed. More is
 * given with the space itself, and so is what there is no memory to copy: it cannot be
 * given back to the socket.
 */
static void
add_received(struct golibevent_base *gb, struct bufferevent *bev, size_t at, size_t n)
{
	struct evbuffer_iovec vec = {gb->space, at + n};

	evbuffer_unfreeze(bev->input, 0);
	if (n > MOST / 2 || evbuffer_add(bev->input, gb->space + at, n) == -1) {
		gb->space = NULL;
		evbuffer_commit_space(gb->spare, &vec, 1);
		evbuffer_add_buffer(bev->input, gb->spare);
		evbuffer_drain(bev->input, at);
	}
	evbuffer_freeze(bev->input, 0);
}

/*
 * Receives once, up to the limit of one read and to the high watermark. What comes to an
 * empty input without watermarks, whose callback gets a view, is left in the space for
 * that. bev is locked.
 */
static enum received
receive(struct bufferevent *bev, int fd)
{
	struct golibevent_base *gb = golibevent_loop;
	void *data;
	size_t room = bufferevent_get_max_single_read(bev), high = bev->wm_read.high;
	size_t len = evbuffer_get_length(bev->input);
	ssize_t n;

	/* A connect may be under way, whose outcome is for libevent to find. */
	if (is_pending(&bev->ev_write) || (high > 0 && len >= high))
		return LEFT;
	/* A loop that C runs has no space, and may run in a callback of one that has. */
	if (gb == NULL || gb->base != bev->ev_base || (data = space(gb)) == NULL)
		return LEFT;
	if (high > 0 && room > high - len)
		room = high - len;
	if (room > MOST)
		room = MOST;
	do {
		n = recv(fd, data, room, MSG_DONTWAIT);
	} while (n == -1 && errno == EINTR);
	/* It will find the end of the stream again. */
	if (n == 0 || (n == -1 && errno == ENOTSOCK))
		return LEFT;
	if (n == -1)
		return errno == EAGAIN ? NOTHING : FAILED;
	if (len == 0 && high == 0 && bev->wm_read.low == 0 &&
	    bev->readcb == golibevent_on_buffer_view) {
		gb->receiver = bev;
		gb->received = n;
	} else {
		add_received(gb, bev, 0, n);
	}
	return DATA;
}

/*
 * The read event of an eager one has fired. libevent would ask the socket how much there
 * is, and read 4096 bytes of it at most; what it does then is done here too.
 */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_base *gb = golibevent_loop;
	struct bufferevent *bev = arg;
	int err;

	bufferevent_incref(bev);
	bufferevent_lock(bev);
	switch (what == EV_TIMEOUT ? LEFT : receive(bev, fd)) {
	case LEFT:
		LOAD(&libevent_readable)(fd, what, bev);
		break;
	case NOTHING:
		break;
	case DATA:
		bufferevent_trigger(bev, EV_READ, 0);
		if (gb->receiver == bev) {	/* it is a deferred callback */
			gb->receiver = NULL;
			add_received(gb, bev, 0, gb->received);
		}
		break;
	case FAILED:
		err = errno;
		bufferevent_disable(bev, EV_READ);
		errno = err;
		bufferevent_trigger_event(bev, BEV_EVENT_READING | BEV_EVENT_ERROR, 0);
		break;
	}
	bufferevent_unlock(bev);
	bufferevent_decref(bev);
}

/* Puts our callback into the read event, or libevent's. */
void
golibevent_bufferevent_let_eager(struct bufferevent *bev, bool eager)
{
	if (eager == is_eager(bev))
		return;
	if (eager)
		STORE(&libevent_readable, LOAD(readable(bev)));
	STORE(readable(bev), eager ? on_readable : LOAD(&libevent_readable));
}

/* Lets bev be eager, unless its rate is limited. */
void
golibevent_bufferevent_set_eager(struct bufferevent *bev, bool eager,
    const struct golibevent_limits *limits)
{
	bufferevent_lock(bev);
	golibevent_bufferevent_let_eager(bev,
	    eager && (limits == NULL || (limits->own.cfg == NULL && limits->group == NULL)));
	bufferevent_unlock(bev);
}

/* Reports whether more is in the output than the write callback may find there. */
int
golibevent_bufferevent_above_low(struct bufferevent *bev)
{
	int above;

	bufferevent_lock(bev);
	above = evbuffer_get_length(bev->output) > bev->wm_write.low;
	bufferevent_unlock(bev);
	return above;
}

/* Fills the view of bev's read callback. */
void
golibevent_bufferevent_look(struct bufferevent *bev, struct golibevent_view *view)
{
	struct golibevent_base *gb = golibevent_loop;
	struct evbuffer_iovec chunk = {NULL, 0};

	if (gb != NULL && gb->receiver == bev) {
		gb->receiver = NULL;
		view->received = gb;
		view->data = (const uint8_t *)gb->space;
		view->n = view->len = gb->received;
	} else {
		evbuffer_peek(bev->input, 1, NULL, &chunk, 1);
		view->received = NULL;
		view->data = chunk.iov_base;
		view->n = chunk.iov_len;
		view->len = evbuffer_get_length(bev->input);
	}
	view->drained = 0;
	view->tells = 0;
	view->fd = -1;
	if (is_eager(bev) && bev->enabled & EV_WRITE && !is_pending(&bev->ev_write) &&
	    evbuffer_get_length(bev->output) == 0) {
		view->fd = bufferevent_getfd(bev);
		view->max = bufferevent_get_max_single_write(bev);
	}
}

/* Does what was done on the view, once. */
void
golibevent_bufferevent_settle(struct bufferevent *bev, struct golibevent_view *view)
{
	struct golibevent_base *received = view->received;
	size_t drained = view->drained;
	int tells = view->tells, err = errno;

	view->received = NULL;
	view->drained = 0;
	view->tells = 0;
	if (received == NULL && drained > 0) {
		errno = 0;
		evbuffer_drain(bev->input, drained);
		if (errno != 0)
			golibevent_bufferevent_see_to(bev, EV_READ);
	}
	if (received != NULL && drained < view->n)
		add_received(received, bev, drained, view->n - drained);
	if (tells)
		bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
	errno = err;
}

struct priority_change {
	struct bufferevent *bev;
	int priority, quiet, rc;
};

static int
set_priorities(struct priority_change *change, int priority)
{
	struct bufferevent *bev = change->bev;

	if (change->quiet)
		return bufferevent_priority_set(bev, priority);
	return event_priority_set(&bev->ev_read, priority) == -1 ||
	    event_priority_set(&bev->ev_write, priority) == -1 ? -1 : 0;
}

/* Sets both events' priority, or neither's. */
static void
set_priority(void *arg)
{
	struct priority_change *change = arg;
	int before = bufferevent_get_priority(change->bev);

	change->rc = set_priorities(change, change->priority);
	if (change->rc == -1)
		set_priorities(change, before);
}

/*
 * Gives bev, which is locked, a priority. libevent gives it to the deferred callback too,
 * even when that is in the queue of the priority before, which is broken then. Nobody can
 * see whether it is, but that nothing is active: else the callback stays as it was.
 */
static int
change_priority(struct bufferevent *bev, int priority)
{
	struct event_base *base = bufferevent_get_base(bev);
	struct priority_change change = {bev, priority, 0, 0};

	if (bufferevent_get_priority(bev) == priority)
		return 0;
	change.quiet = event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) == 0;
	golibevent_with_base_lock(base, set_priority, &change);
	return change.rc;
}

/* Gives bev fd by change. What that forgets it has again afterwards. */
static struct golibevent_result
change_fd(struct golibevent_base *gb, struct bufferevent *bev, int fd, int options,
    int (*change)(struct bufferevent *, evutil_socket_t))
{
	struct golibevent_outer outer = begin_call();
	int priority, eager, rc, err;

	if (fd >= 0 && prepare(gb, fd, options) == -1)
		return end(outer, -1);
	bufferevent_lock(bev);
	priority = bufferevent_get_priority(bev);
	eager = is_eager(bev);
	errno = 0;
	rc = change(bev, fd);
	err = errno;
	change_priority(bev, priority);
	golibevent_bufferevent_let_eager(bev, eager);
	if (err != 0)
		golibevent_bufferevent_see_to(bev, EV_READ | EV_WRITE);
	bufferevent_unlock(bev);
	errno = err;
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_setfd(struct golibevent_base *gb, struct bufferevent *bev, int fd,
    int options)
{
	return change_fd(gb, bev, fd, options, bufferevent_setfd);
}

/* libevent has it since 2.2; before that it fails with ENOTSUP. */
struct golibevent_result
golibevent_bufferevent_replacefd(struct golibevent_base *gb, struct bufferevent *bev, int fd,
    int options)
{
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
	return change_fd(gb, bev, fd, options, bufferevent_replacefd);
#else
	struct golibevent_result r = {.rc = -1};

	(void)gb;
	(void)bev;
	(void)fd;
	(void)options;
	errno = ENOTSUP;
	return r;
#endif
}

/* Microseconds of a timeval, which may be one of a base's common timeouts; -1 for none. */
static int64_t
microseconds(const struct timeval *tv)
{
	const suseconds_t common = ~(suseconds_t)0xfffff;
	int64_t us = (int64_t)tv->tv_sec * 1000000 + (tv->tv_usec & ~common);

	return us > 0 ? us : -1;
}

/*
 * Moves bev, with its priority and timeouts, to gb, which has as many priorities. No loop
 * runs on either base. What its own base still has of bev stops that: EBUSY.
 */
int
golibevent_bufferevent_base_set(struct golibevent_base *gb, struct bufferevent *bev)
{
	const short any = EV_READ | EV_WRITE | EV_TIMEOUT;
	int fd = bufferevent_getfd(bev), priority = bufferevent_get_priority(bev), rc;
	int64_t read_us = microseconds(&bev->timeout_read);
	int64_t write_us = microseconds(&bev->timeout_write);
	struct event_base *base = bufferevent_get_base(bev);

	if (fd >= 0 && prepare(gb, fd, 0) == -1)
		return -1;
	errno = EINVAL;
	if (event_base_get_npriorities(base) != event_base_get_npriorities(gb->base))
		return -1;
	/* Its deferred callback is in the base's queue, and libevent tells of none. */
	errno = EBUSY;
	if (event_pending(&bev->ev_read, any, NULL) || event_pending(&bev->ev_write, any, NULL) ||
	    event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0)
		return -1;
	errno = 0;
	rc = bufferevent_base_set(gb->base, bev);
	if (rc == 0) {
		change_priority(bev, priority);
		golibevent_bufferevent_set_timeouts(gb, bev, read_us, write_us);
	}
	return rc;
}

/*
 * Connects bev by fd, which it may have already, and does what
 * bufferevent_socket_connect does. That is not given the address, because it wants the
 * socket in place first: the loop may then see the socket before it connects, and take
 * what it sees for the outcome.
 */
struct golibevent_result
golibevent_bufferevent_connect(struct golibevent_base *gb, struct bufferevent *bev, int fd,
    const struct sockaddr *sa, int len)
{
	struct golibevent_outer outer = begin_call();
	int priority, eager, has, rc = -1, err;

	bufferevent_lock(bev);
	has = bufferevent_getfd(bev);
	priority = bufferevent_get_priority(bev);
	eager = is_eager(bev);
	if (has >= 0 && has != fd) {
		err = EALREADY;		/* another thread was faster */
		goto done;
	}
	if (gb->uses_select && fd >= FD_SETSIZE) {
		err = EMFILE;
		goto done;
	}
	rc = connect(fd, sa, len);
	err = rc == -1 ? errno : 0;
	if (err == ECONNREFUSED) {
		bufferevent_setfd(bev, fd);
		errno = err;
		bufferevent_trigger_event(bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
		bufferevent_disable(bev, EV_READ | EV_WRITE);
		rc = 0;
	} else if (rc == 0 || err == EINPROGRESS || err == EINTR) {
		bufferevent_setfd(bev, fd);
		errno = 0;
		rc = bufferevent_socket_connect(bev, NULL, 0);
		err = errno;
		if (rc == -1)
			bufferevent_setfd(bev, has);
		else if (err != 0)
			golibevent_bufferevent_see_to(bev, EV_READ);
	}
	change_priority(bev, priority);
	golibevent_bufferevent_let_eager(bev, eager);
done:
	bufferevent_unlock(bev);
	errno = err;
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_trigger(struct bufferevent *bev, short events, int options)
{
	struct golibevent_outer outer = begin_call();

	bufferevent_trigger(bev, events, options);
	return end(outer, 0);
}

struct golibevent_result
golibevent_bufferevent_trigger_event(struct bufferevent *bev, short what, int options)
{
	struct golibevent_outer outer = begin_call();

	bufferevent_trigger_event(bev, what, options);
	return end(outer, 0);
}

struct golibevent_result
golibevent_bufferevent_flush(struct bufferevent *bev, short events, int mode)
{
	struct golibevent_outer outer = begin_call();

	return end(outer, bufferevent_flush(bev, events, mode));
}

int
golibevent_bufferevent_priority_set(struct bufferevent *bev, int priority)
{
	int rc;

	bufferevent_lock(bev);
	rc = change_priority(bev, priority);
	bufferevent_unlock(bev);
	errno = EINVAL;
	return rc;
}

/* Waits for a change of the socket, in the midst of which it is another one. */
int
golibevent_bufferevent_get_priority(struct bufferevent *bev)
{
	int priority;

	bufferevent_lock(bev);
	priority = bufferevent_get_priority(bev);
	bufferevent_unlock(bev);
	return priority;
}

/* Locks bev and returns the caller's thread. */
uintptr_t
golibevent_bufferevent_lock(struct bufferevent *bev)
{
	bufferevent_lock(bev);
	return golibevent_thread();
}
