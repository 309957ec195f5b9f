/*
 * Every C function that libevent calls and that calls Go. They have one of two shapes:
 *
 *	void
 *	golibevent_on_thing(... libevent's own parameters ..., void *arg)
 *	{
 *		golibeventOnThing((uintptr_t)arg, ...);
 *	}
 *
 * where arg is the handle of a Go object, which Go looks up; and, for events, whose
 * callbacks say what comes next,
 *
 *	struct golibevent_verdict v = {.event = w, .loop = &golibevent_loop};
 *
 *	golibeventOnEvent(w->handle, what, &v);
 *	settle(w, &v);
 *
 * where the verdict is filled by Go and carried out here, after Go has returned. What
 * must not run in the midst of libevent's work is kept for the end of the call.
 * No Go function is left other than by its return: each recovers its panics.
 */
#include "internal.h"
#include "_cgo_export.h"

/* Calls the event's Go callback once and does what it asks for. */
static void
call(struct golibevent_event *w, short what)
{
	struct golibevent_verdict v = {.event = w, .loop = &golibevent_loop};
	int err;

	golibeventOnEvent(w->handle, what, &v);
	err = golibevent_event_settle(w, &v);
	if (err != 0 && golibeventRearmFailed(w->handle, err, &golibevent_loop))
		event_base_loopbreak(w->gb->base);
}

void
golibevent_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_event *w = arg;

	(void)fd;
	w->running = 1;
	call(w, what);
	w->running = 0;
	if (w->ev == NULL)
		golibevent_event_forget(w);
}

/*
 * Once for each delivery, until the event goes or is deleted, or the loop is told to
 * stop. Without a delivery it is the timeout, or Event.Activate; what comes with one
 * goes with the first.
 */
void
golibevent_on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_event *w = arg;

	(void)fd;
	w->running = 1;
	if (golibevent_signal_take(w))
		what |= EV_SIGNAL;
	call(w, what);
	while (w->ev != NULL && golibevent_signal_take(w)) {
		if (event_base_got_break(w->gb->base)) {
			golibevent_signal_give_back(w);
			break;
		}
		call(w, EV_SIGNAL);
	}
	w->running = 0;
	if (w->ev == NULL)
		golibevent_event_forget(w);
}

void
golibevent_on_post(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_base *gb = arg;

	(void)fd;
	(void)what;
	if (golibeventOnPost(gb->handle, &golibevent_loop))
		event_base_loopbreak(gb->base);
}

/* Calls the buffer event's Go callback. C holds a reference until that has returned. What
 * the callback runs inside of may still have to look at errno. */
static void
call_buffer(struct bufferevent *bev, int kind, short what, int err, void *arg,
    struct golibevent_view *view)
{
	int before = errno;

	if (golibeventOnBuffer((uintptr_t)arg, kind, what, err, &golibevent_loop,
	    &golibevent_call, view))
		event_base_loopbreak(bufferevent_get_base(bev));
	errno = before;
}

void
golibevent_on_buffer_read(struct bufferevent *bev, void *arg)
{
	call_buffer(bev, GOLIBEVENT_READ, 0, 0, arg, NULL);
}

void
golibevent_on_buffer_view(struct bufferevent *bev, void *arg)
{
	struct golibevent_view view;

	golibevent_bufferevent_look(bev, &view);
	call_buffer(bev, GOLIBEVENT_READ, 0, 0, arg, &view);
	golibevent_bufferevent_settle(bev, &view);
}

void
golibevent_on_buffer_write(struct bufferevent *bev, void *arg)
{
	call_buffer(bev, GOLIBEVENT_WRITE, 0, 0, arg, NULL);
}

void
golibevent_on_eager_write(struct bufferevent *bev, void *arg)
{
	call_buffer(bev, GOLIBEVENT_WRITE, golibevent_bufferevent_above_low(bev), 0, arg,
	    NULL);
}

/* errno says what happened, and is lost with the first thing that is done. */
void
golibevent_on_buffer_event(struct bufferevent *bev, short what, void *arg)
{
	call_buffer(bev, GOLIBEVENT_EVENT, what, errno, arg, NULL);
}

/*
 * Calls a filter's Go function. libevent would call one that says BEV_OK without end for
 * as long as there is something to filter: when nothing has moved that is no BEV_OK.
 */
static enum bufferevent_filter_result
filter(int which, struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	const struct golibevent_filter *w = arg;
	size_t left = evbuffer_get_length(src), made = evbuffer_get_length(dst);
	unsigned char stop = 0;
	int result, err = errno;

	result = golibeventOnFilter(w->name, which, src, dst, limit, mode, &golibevent_loop,
	    &golibevent_call, &stop);
	errno = err;
	if (stop)
		event_base_loopbreak(bufferevent_get_base(w->underlying));
	if (result == BEV_OK && left > 0 && evbuffer_get_length(src) == left &&
	    evbuffer_get_length(dst) == made)
		return BEV_NEED_MORE;
	return result;
}

enum bufferevent_filter_result
golibevent_on_filter_input(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return filter(GOLIBEVENT_INPUT, src, dst, limit, mode, arg);
}

enum bufferevent_filter_result
golibevent_on_filter_output(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return filter(GOLIBEVENT_OUTPUT, src, dst, limit, mode, arg);
}

/* A filter's last call. */
void
golibevent_on_filter_free(void *arg)
{
	struct golibevent_filter *w = arg;

	golibeventOnFilterGone(w->name);
	free(w);
}

/* The last that is heard of a reference: nobody but this knows it any more. */
static void
release(struct golibevent_reference *ref)
{
	struct golibevent_call *call = &golibevent_call;

	ref->next = NULL;
	if (call->calls == 0) {
		golibeventOnRelease(ref, golibevent_loop != NULL ? golibevent_loop->handle : 0);
		return;
	}
	if (call->first == NULL)
		call->first = ref;
	else
		*call->last = ref;
	call->last = &ref->next;
}

void
golibevent_on_release(const void *data, size_t n, void *arg)
{
	(void)data;
	(void)n;
	release(arg);
}

void
golibevent_on_segment(const struct evbuffer_file_segment *seg, int flags, void *arg)
{
	(void)seg;
	(void)flags;
	release(arg);
}

/* The function that has changed the evbuffer may still have to look at errno. */
void
golibevent_on_buffer_change(struct evbuffer *buf, const struct evbuffer_cb_info *info,
    void *arg)
{
	int err = errno;

	(void)buf;
	golibevent_call.changing++;
	golibeventOnBufferChange((uintptr_t)arg, info->orig_size, info->n_added,
	    info->n_deleted, &golibevent_loop, &golibevent_call);
	golibevent_call.changing--;
	errno = err;
}

/*
 * A connection that nobody takes, of a listener that was closed while it was accepted,
 * is closed here.
 */
void
golibevent_on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *arg)
{
	struct golibevent_listener *w = arg;
	unsigned char stop = 0;

	w->pause = 0;
	w->running = 1;
	if (!golibeventOnAccept(w->handle, fd, sa, len, &golibevent_loop, &stop)) {
		evutil_closesocket(fd);
		evconnlistener_disable(lev);
	}
	w->running = 0;
	if (stop)
		event_base_loopbreak(evconnlistener_get_base(lev));
	golibevent_listener_settle(w);
}

static void
report(struct golibevent_listener *w, int err, int accepting)
{
	struct event_base *base = evconnlistener_get_base(w->lev);
	unsigned char stop = 0;

	w->running = 1;
	golibeventOnListenerError(w->handle, err, accepting, &golibevent_loop, &stop);
	w->running = 0;
	if (stop)
		event_base_loopbreak(base);
	golibevent_listener_settle(w);
}

void
golibevent_on_accept_error(struct evconnlistener *lev, void *arg)
{
	int err = errno;

	(void)lev;
	golibevent_listener_pause(arg);
	report(arg, err, 1);
}

void
golibevent_on_enable_error(struct golibevent_listener *w, int err)
{
	report(w, err, 0);
}

void
golibevent_on_listener_gone(void *handle)
{
	golibeventOnListenerGone(handle);
}

#if LIBEVENT_VERSION_NUMBER >= 0x02020000

void
golibevent_on_prepare(struct evwatch *watch, const struct evwatch_prepare_cb_info *info,
    void *arg)
{
	struct timeval tv;
	int64_t us = -1;

	if (evwatch_prepare_get_timeout(info, &tv))
		us = (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
	if (golibeventOnWatch((uintptr_t)arg, us, &golibevent_loop))
		event_base_loopbreak(evwatch_base(watch));
}

void
golibevent_on_check(struct evwatch *watch, const struct evwatch_check_cb_info *info, void *arg)
{
	(void)info;
	if (golibeventOnWatch((uintptr_t)arg, -1, &golibevent_loop))
		event_base_loopbreak(evwatch_base(watch));
}

#endif
