/*
 * What the C files of the binding share among themselves. Go does not see it.
 */
#ifndef GOLIBEVENT_INTERNAL_H
#define GOLIBEVENT_INTERNAL_H

#include "callbacks.h"

#define LOAD(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define EXCHANGE(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* Where an event's signal stands; NULL in every other event. */
struct golibevent_signal;

/*
 * An event: libevent's, and what the binding keeps for it. It is the argument of
 * the event's callback, and lives until no callback can come any more.
 */
struct golibevent_event {
	struct event *ev;
	struct golibevent_base *gb;
	uintptr_t handle;		/* the Go Event */
	int64_t interval;		/* atomic: the timeout in force, < 0 for none */
	struct golibevent_signal *signal;
	unsigned char armed;		/* atomic: added, and not deleted since */
	unsigned char running;		/* in its callback; the loop's thread only */
	/* Under gb->mu. */
	unsigned char dead;		/* freed: nothing may arm it */
	unsigned char has_interval;	/* libevent remembers a timeout */
	unsigned deleting;		/* calls of golibevent_event_del that wait */
};

/*
 * A listener. What is not atomic belongs to the loop's thread, or to the holder of
 * gb->mu while no loop runs. In a callback of a borrowed base gb may be gone.
 */
struct golibevent_listener {
	struct evconnlistener *lev;	/* NULL when freed in its own callback */
	struct golibevent_base *gb;
	void *handle;			/* the Go Listener */
	struct event *change;		/* does what another thread has asked for */
	struct event *resume;		/* ends a pause */
	int64_t pause;			/* the last one, if nothing was accepted since */
	int enabled;			/* atomic: what the user wants */
	unsigned char lent;		/* somebody else closes the socket */
	unsigned char paused;
	unsigned char running;		/* in its callback */
};

/* The functions of a filter, which belong to the buffer event that libevent makes of it. */
struct golibevent_filter {
	struct bufferevent *underlying;
	void *name;			/* go-pointer's, of the Go filter */
};

/* The base whose loop this thread is in, or NULL. */
extern __thread struct golibevent_base *golibevent_loop;

/* The call of Go's that this thread is in. */
extern __thread struct golibevent_call golibevent_call;

/* Reports whether the caller is in a callback of gb. */
static inline int
on_loop(const struct golibevent_base *gb)
{
	return golibevent_loop == gb;
}

static inline struct timeval
timeval_of(int64_t us)
{
	struct timeval tv;

	tv.tv_sec = us / 1000000;
	tv.tv_usec = us % 1000000;
	return tv;
}

/* What begin_call found. */
struct golibevent_outer {
	uintptr_t panicked;
};

/* buffer.c: free what was closed inside the calls that now end. */
void golibevent_free_doomed(void);

/* Begins a call of Go's inside which callbacks may run, and returns the one around it.
 * What libevent releases is held back until it ends. What comes of the call without an
 * errno of its own is to have none. */
static inline struct golibevent_outer
begin_call(void)
{
	struct golibevent_outer outer = {golibevent_call.panicked};

	errno = 0;
	golibevent_call.calls++;
	golibevent_call.panicked = 0;
	return outer;
}

/* Returns what was released in the call that ends, the oldest first. The caller owns the
 * list. end_call is to follow. */
static inline struct golibevent_reference *
take_references(void)
{
	struct golibevent_reference *first;

	if (golibevent_call.doomed != NULL && golibevent_call.calls == 1)
		golibevent_free_doomed();
	first = golibevent_call.first;
	golibevent_call.first = NULL;
	return first;
}

/* Ends a call and returns a callback's panic, or 0. */
static inline uintptr_t
end_call(struct golibevent_outer outer)
{
	uintptr_t panicked = golibevent_call.panicked;

	golibevent_call.calls--;
	golibevent_call.panicked = outer.panicked;
	return panicked;
}

/* base.c: call fn while the loop can activate nothing and no thread can add. */
void golibevent_with_base_lock(struct event_base *, void (*fn)(void *), void *arg);

/* event.c: report with errno whether libevent can be given a descriptor. */
int golibevent_check_fd(const struct golibevent_base *, int fd);
/* event.c: free what a finished event leaves. */
void golibevent_event_forget(struct golibevent_event *);
/* event.c: do what the Go callback has asked for. */
int golibevent_event_settle(struct golibevent_event *, const struct golibevent_verdict *);

/* callbacks.c: the trampolines that other files hand to libevent. */
void golibevent_on_event(evutil_socket_t, short, void *);
void golibevent_on_signal(evutil_socket_t, short, void *);
void golibevent_on_post(evutil_socket_t, short, void *);
void golibevent_on_buffer_read(struct bufferevent *, void *);
void golibevent_on_buffer_view(struct bufferevent *, void *);
void golibevent_on_buffer_write(struct bufferevent *, void *);
void golibevent_on_buffer_event(struct bufferevent *, short, void *);
void golibevent_on_eager_write(struct bufferevent *, void *);

enum bufferevent_filter_result golibevent_on_filter_input(struct evbuffer *,
    struct evbuffer *, ev_ssize_t, enum bufferevent_flush_mode, void *);
enum bufferevent_filter_result golibevent_on_filter_output(struct evbuffer *,
    struct evbuffer *, ev_ssize_t, enum bufferevent_flush_mode, void *);
void golibevent_on_filter_free(void *);

void golibevent_on_release(const void *, size_t, void *);
void golibevent_on_segment(const struct evbuffer_file_segment *, int, void *);
void golibevent_on_buffer_change(struct evbuffer *, const struct evbuffer_cb_info *, void *);

void golibevent_on_accept(struct evconnlistener *, evutil_socket_t, struct sockaddr *, int,
    void *);
void golibevent_on_accept_error(struct evconnlistener *, void *);
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
void golibevent_on_prepare(struct evwatch *, const struct evwatch_prepare_cb_info *, void *);
void golibevent_on_check(struct evwatch *, const struct evwatch_check_cb_info *, void *);
#endif

/* callbacks.c: what the listener itself has to tell Go. */
void golibevent_on_enable_error(struct golibevent_listener *, int err);
void golibevent_on_listener_gone(void *handle);

/* listener.c */
void golibevent_listener_settle(struct golibevent_listener *);
void golibevent_listener_pause(struct golibevent_listener *);

/* buffer.c: free a buffer event, now or when the evbuffer that is being changed has been. */
void golibevent_let_bufferevent_go(struct bufferevent *);
/* buffer.c: move bytes of one evbuffer to another, for a filter. */
int golibevent_buffer_move(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t n);
/* bufferevent.c: let bev, which is locked, be eager or not. */
void golibevent_bufferevent_let_eager(struct bufferevent *, bool eager);
/* bufferevent.c: for the trampoline of eager ones. */
int golibevent_bufferevent_above_low(struct bufferevent *);

/* ratelim.c: take away what limits the rate of bev, which is about to go. */
void golibevent_bufferevent_unlimit(struct bufferevent *, struct golibevent_limits *);

/* util.c */
int golibevent_pipe(int ends[2]);

/* signal.c */
int golibevent_signal_new(struct golibevent_event *, int signum);
int golibevent_signal_add(struct golibevent_event *);
void golibevent_signal_del(struct golibevent_event *);
int golibevent_signal_added(const struct golibevent_event *);
void golibevent_signal_free(struct golibevent_event *);
int golibevent_signal_take(struct golibevent_event *);
void golibevent_signal_give_back(struct golibevent_event *);
void golibevent_signal_remind(struct golibevent_event *);
void golibevent_sink_free(struct golibevent_base *);
int golibevent_sink_surplus(struct golibevent_base *);
void golibevent_sink_foreach(struct golibevent_base *,
    void (*fn)(struct golibevent_event *, int signum, void *), void *arg);

#endif
