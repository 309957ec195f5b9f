/*
 * Buffer events.
 *
 * Callbacks can run inside most calls, when they are not deferred. Such a call has a
 * struct golibevent_result: it brings a callback's panic, or rather its handle, past C.
 */
#include <fcntl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "internal.h"

__thread struct golibevent_call golibevent_call;

/* Begins a call inside which callbacks may run, and returns the one around it. */
static struct golibevent_call
begin(void)
{
	struct golibevent_call outer = golibevent_call;

	golibevent_call.inside = 1;
	golibevent_call.panicked = 0;
	return outer;
}

/* Ends the call. It leaves errno alone. */
static struct golibevent_result
end(struct golibevent_call outer, int64_t rc)
{
	struct golibevent_result r = {.rc = rc, .panicked = golibevent_call.panicked};

	golibevent_call = outer;
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

/* Makes a buffer event, with fd -1 without a socket. The caller owns it. */
struct bufferevent *
golibevent_bufferevent_new(struct golibevent_base *gb, int fd, int options, uintptr_t handle)
{
	struct bufferevent *bev;

	if (fd >= 0 && prepare(gb, fd, options) == -1)
		return NULL;
	if ((bev = bufferevent_socket_new(gb->base, fd, options)) == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	golibevent_bufferevent_setcb(bev, handle, false, false);
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
	golibevent_bufferevent_setcb(pair.bev[0], first, false, false);
	golibevent_bufferevent_setcb(pair.bev[1], second, false, false);
	return pair;
}

void
golibevent_bufferevent_setcb(struct bufferevent *bev, uintptr_t handle, bool read, bool write)
{
	bufferevent_setcb(bev, read ? golibevent_on_buffer_read : NULL,
	    write ? golibevent_on_buffer_write : NULL, golibevent_on_buffer_event, (void *)handle);
}

/* Enables all of events, or none that was not enabled before. */
struct golibevent_result
golibevent_bufferevent_enable(struct bufferevent *bev, short events)
{
	struct golibevent_call outer = begin();
	short before;
	int rc, err;

	bufferevent_lock(bev);
	before = bufferevent_get_enabled(bev);
	errno = 0;
	rc = bufferevent_enable(bev, events);
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
	struct golibevent_call outer = begin();

	errno = 0;
	return end(outer, bufferevent_disable(bev, events));
}

struct golibevent_result
golibevent_bufferevent_setwatermark(struct bufferevent *bev, short events, size_t low,
    size_t high)
{
	struct golibevent_call outer = begin();

	bufferevent_setwatermark(bev, events, low, high);
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
golibevent_bufferevent_read(struct bufferevent *bev, void *data, size_t n)
{
	struct golibevent_call outer = begin();

	/* What C returns is an int, with -1 for failure, made unsigned. */
	return end(outer, (int)bufferevent_read(bev, data, n));
}

struct golibevent_result
golibevent_bufferevent_write(struct bufferevent *bev, const void *data, size_t n)
{
	struct golibevent_call outer = begin();

	return end(outer, bufferevent_write(bev, data, n));
}

struct golibevent_result
golibevent_bufferevent_read_buffer(struct bufferevent *bev, struct evbuffer *buf)
{
	struct golibevent_call outer = begin();

	return end(outer, bufferevent_read_buffer(bev, buf));
}

struct golibevent_result
golibevent_bufferevent_write_buffer(struct bufferevent *bev, struct evbuffer *buf)
{
	struct golibevent_call outer = begin();

	return end(outer, bufferevent_write_buffer(bev, buf));
}

struct priority_change {
	struct bufferevent *bev;
	int priority, rc;
};

/* Sets both events' priority, or neither's. */
static void
set_priority(void *arg)
{
	struct priority_change *change = arg;
	int before = bufferevent_get_priority(change->bev);

	change->rc = bufferevent_priority_set(change->bev, change->priority);
	if (change->rc == -1)
		bufferevent_priority_set(change->bev, before);
}

/* Gives bev, which is locked, a priority. */
static int
change_priority(struct bufferevent *bev, int priority)
{
	struct priority_change change = {bev, priority, 0};

	if (bufferevent_get_priority(bev) != priority)
		golibevent_with_base_lock(bufferevent_get_base(bev), set_priority, &change);
	return change.rc;
}

struct golibevent_result
golibevent_bufferevent_setfd(struct golibevent_base *gb, struct bufferevent *bev, int fd,
    int options)
{
	struct golibevent_call outer = begin();
	int priority;

	if (fd >= 0 && prepare(gb, fd, options) == -1)
		return end(outer, -1);
	bufferevent_lock(bev);
	priority = bufferevent_get_priority(bev);
	bufferevent_setfd(bev, fd);
	change_priority(bev, priority);
	bufferevent_unlock(bev);
	return end(outer, 0);
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
	struct golibevent_call outer = begin();
	int priority, has, rc = -1, err;

	bufferevent_lock(bev);
	has = bufferevent_getfd(bev);
	priority = bufferevent_get_priority(bev);
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
	}
	change_priority(bev, priority);
done:
	bufferevent_unlock(bev);
	errno = err;
	return end(outer, rc);
}

struct golibevent_result
golibevent_bufferevent_trigger(struct bufferevent *bev, short events, int options)
{
	struct golibevent_call outer = begin();

	bufferevent_trigger(bev, events, options);
	return end(outer, 0);
}

struct golibevent_result
golibevent_bufferevent_trigger_event(struct bufferevent *bev, short what, int options)
{
	struct golibevent_call outer = begin();

	errno = 0;
	bufferevent_trigger_event(bev, what, options);
	return end(outer, 0);
}

struct golibevent_result
golibevent_bufferevent_flush(struct bufferevent *bev, short events, int mode)
{
	struct golibevent_call outer = begin();

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

/* Locks bev and returns the caller's thread. */
uintptr_t
golibevent_bufferevent_lock(struct bufferevent *bev)
{
	bufferevent_lock(bev);
	return golibevent_thread();
}
