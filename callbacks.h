/*
 * What the C side of the binding offers to the Go side.
 *
 * golibevent_base and golibevent_event stand beside libevent's own structures and
 * hold what libevent has no place for. Go holds pointers to them; C holds a Go
 * object only as a handle, a number that Go looks up.
 */
#ifndef GOLIBEVENT_CALLBACKS_H
#define GOLIBEVENT_CALLBACKS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <event2/event.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <event2/util.h>

#if !defined(LIBEVENT_VERSION_NUMBER) || LIBEVENT_VERSION_NUMBER < 0x02010000
#error "github.com/go-libevent/libevent needs libevent 2.1 or later (Debian, Ubuntu: libevent-dev; Alpine: libevent-dev; Fedora: libevent-devel; macOS: brew install libevent)"
#endif

#if LIBEVENT_VERSION_NUMBER >= 0x02020000
#include <event2/watch.h>
#endif

struct golibevent_sink;
struct golibevent_event;
struct golibevent_listener;
struct golibevent_watcher;
struct golibevent_group;

/* A base: libevent's, and what the binding keeps for it. */
struct golibevent_base {
	struct event_base *base;
	uintptr_t handle;	/* the Go Base */
	int borrowed;		/* somebody else frees base */
	int uses_select;	/* descriptors must be below FD_SETSIZE */
	int uses_changelist;	/* a refused descriptor is reported too late */

	/* Held where an event is armed, disarmed or assigned anew, which is more
	 * than one call of libevent's. Never held while Go code runs, nor across a
	 * call that can wait for a callback. */
	pthread_mutex_t mu;

	/* By descriptor, the armed events that are edge-triggered and those that
	 * are not: only one of the two may be there. Under mu. */
	struct golibevent_edges { unsigned edge, level; } *edges;
	int nedges;

	int running;		/* atomic: in event_base_loop */
	unsigned stop;		/* atomic: who asked the loop to stop */
	struct event *stop_ev;	/* breaks the loop from the best priority */
	struct event *post_ev;	/* runs what Base.Post has queued */

	struct golibevent_sink *sink;	/* signals, or NULL */

	/* Where eager buffer events receive, whose end that is, or NULL, and for whom
	 * how much is in it. All are the thread's that is in the loop. */
	char *space;
	struct evbuffer *spare;
	struct bufferevent *receiver;
	size_t received;

	int ncommon;		/* atomic: entries of common that are filled */
	struct {
		int64_t us;
		const struct timeval *tv;
	} common[256];
};

/* What a Go callback wants done after it has returned. */
struct golibevent_verdict {
	struct golibevent_event *event;	/* whose callback it is */
	/* The base whose loop this thread is in. Go sets it around a callback of a
	 * borrowed base, whose loop the binding has not entered itself. */
	struct golibevent_base **loop;
	int64_t timeout;	/* microseconds; < 0 for none */
	short events;		/* the new interest */
	unsigned char set_events, set_timeout;
	unsigned char leave;	/* delete the event and free it */
	unsigned char stop;	/* break the loop: Go has an error to report */
};

/* Memory of Go's that an evbuffer refers to, or a segment of a file. */
struct golibevent_reference {
	struct golibevent_reference *next;
	void *name;		/* go-pointer's, of the Go object */
};

/*
 * What a call on an evbuffer has come to. libevent calls the cleanup of a reference
 * while the evbuffer is in pieces, so the binding only collects it then: the
 * references that the call has released come back here, for Go to see to when C has
 * returned.
 */
struct golibevent_done {
	int64_t n;		/* the result; < 0 with errno */
	uint8_t *data;		/* of golibevent_buffer_pullup */
	struct golibevent_reference *released;
	uintptr_t panicked;	/* a callback's panic, or 0 */
};

/* The end of a line. pos < 0: there is none; < -1: the start was past the end. */
struct golibevent_eol {
	int64_t pos;
	size_t n;
};

/* The most extents that golibevent_buffer_reserve gives. */
#define GOLIBEVENT_EXTENTS 4

/* Why a loop was asked to stop. */
#define GOLIBEVENT_STOP 1u	/* Base.Stop */
#define GOLIBEVENT_STOP_CTX 2u	/* the context of Base.Run */

/* What this thread is doing in C, for callbacks that run inside a call of Go's. */
struct golibevent_call {
	unsigned calls;		/* how many there are, each inside the one before */
	unsigned changing;	/* callbacks of evbuffers, each in the midst of a change */
	uintptr_t panicked;	/* a callback's panic, which the call has to report */

	/* What libevent has released meanwhile, and what was closed in callbacks. The
	 * lists are not on the stack of a call: a Goexit in a callback would leave
	 * pointers to them behind. */
	struct golibevent_reference *first, **last;
	struct golibevent_doomed *doomed;
};

/* How a call of Go's ended inside which callbacks may have run. */
struct golibevent_result {
	int64_t rc;
	uintptr_t panicked;	/* a callback's panic, or 0 */
	struct golibevent_reference *released;
};

/* What came of data that an eager buffer event was given to write. */
struct golibevent_sent {
	struct golibevent_result r;	/* rc -1: the rest, all of it, found no place */
	int64_t n;		/* bytes that went to the socket at once */
	int err;		/* the socket's error, which it does not tell twice; or 0 */
	int tells;		/* the write callback will come, for what was sent */
};

/*
 * What a buffer event's read callback can do without a call into C, where nobody else
 * reaches the buffers: drain the start of the input, and send.
 */
struct golibevent_view {
	const uint8_t *data;	/* the input's first chunk */
	size_t n, len;		/* its length, and the input's */
	size_t max;		/* what may be sent at one time */
	int fd;			/* where what is written would go at once, or -1 */
	struct golibevent_base *received;	/* in its space, and not in the input */
	/* By Go. */
	size_t drained;		/* of the chunk */
	unsigned char tells;	/* the write callback is due, for what was sent */
};

struct golibevent_pair {
	struct bufferevent *bev[2];
};

/* A buffer event that has been made, or NULL, in a call inside which callbacks may have
 * run. */
struct golibevent_made {
	struct golibevent_result r;
	struct bufferevent *bev;
};

/* A rate limit: libevent's configuration, or NULL for none, and what that does not tell. */
struct golibevent_limit {
	struct ev_token_bucket_cfg *cfg;
	int64_t tick, read_burst, write_burst;
};

/* What limits the rate of a buffer event, under whose lock it is. */
struct golibevent_limits {
	struct golibevent_limit own;		/* its cfg is freed with the buffer event */
	int64_t changes;			/* of own */
	struct golibevent_group *group;		/* or NULL; it counts this as a member */
	unsigned char ever;	/* libevent keeps an event for them, on the base */
};

/* Which callback of a buffer event it is. */
#define GOLIBEVENT_READ 1
#define GOLIBEVENT_WRITE 2
#define GOLIBEVENT_EVENT 3

/* Which of a filter's functions it is. */
#define GOLIBEVENT_INPUT 0
#define GOLIBEVENT_OUTPUT 1

/* base.c */
int golibevent_fits(void);
int golibevent_use_threads(void);
int golibevent_enable_lock_debugging(void);
void golibevent_forget_calls(void);
struct golibevent_base *golibevent_base_new(const struct event_config *, int flags);
struct golibevent_base *golibevent_base_borrow(struct event_base *);
int golibevent_base_priority_init(struct golibevent_base *, int n);
struct golibevent_reference *golibevent_base_free(struct golibevent_base *);
int golibevent_base_loop(struct golibevent_base *, int flags);
int golibevent_inside(void);
void golibevent_base_stop(struct golibevent_base *, unsigned why);
void golibevent_base_unstop(struct golibevent_base *, unsigned why);
int golibevent_base_loopexit(struct golibevent_base *, int64_t us);
void golibevent_base_post(struct golibevent_base *);
int golibevent_base_init_common_timeout(struct golibevent_base *, int64_t us);
const char *golibevent_base_signal_method(const struct golibevent_base *);
int golibevent_base_num_events(struct golibevent_base *, unsigned);
char *golibevent_base_dump_events(struct golibevent_base *, size_t *n);
int golibevent_base_time(struct golibevent_base *, int64_t *ns);
int golibevent_base_monotonic(struct golibevent_base *, int64_t *ns);
int golibevent_config_max_dispatch(struct event_config *, int64_t us, int callbacks,
    int min_priority);

/* signal.c */
void golibevent_sink_abandon(struct golibevent_base *);
void golibevent_base_active_by_signal(struct golibevent_base *, int signum);

/* event.c */
struct golibevent_event *golibevent_event_new(struct golibevent_base *, int fd,
    short events, uintptr_t handle);
struct golibevent_event *golibevent_event_new_add(struct golibevent_base *, int fd,
    short events, uintptr_t handle, int64_t us);
void golibevent_event_end(struct golibevent_event *);
void golibevent_event_free(struct golibevent_event *);
int golibevent_event_add(struct golibevent_event *, int64_t us);
int golibevent_event_del(struct golibevent_event *);
int golibevent_event_remove_timer(struct golibevent_event *);
void golibevent_event_active(struct golibevent_event *, short what);
short golibevent_event_pending(struct golibevent_event *, short what, int64_t *deadline_ns);
int golibevent_event_priority_set(struct golibevent_event *, int priority);
int golibevent_event_get_priority(struct golibevent_event *);
short golibevent_event_get_events(struct golibevent_event *);
size_t golibevent_base_events(struct golibevent_base *, uintptr_t *handles, size_t n);

/* bufferevent.c */
uintptr_t golibevent_thread(void);
struct bufferevent *golibevent_bufferevent_new(struct golibevent_base *, int fd, int options,
    uintptr_t handle);
struct golibevent_pair golibevent_bufferevent_pair_new(struct golibevent_base *, int options,
    uintptr_t first, uintptr_t second);
struct golibevent_made golibevent_bufferevent_filter_new(struct bufferevent *underlying,
    bool input, bool output, int options, uintptr_t handle, void *name);
void golibevent_bufferevent_unstick(struct bufferevent *);
struct golibevent_result golibevent_bufferevent_free(struct bufferevent *,
    struct golibevent_limits *, bool lent);
void golibevent_bufferevent_setcb(struct bufferevent *, const struct bufferevent *closed,
    uintptr_t handle, bool read, bool write, bool eager, bool view);
void golibevent_bufferevent_look(struct bufferevent *, struct golibevent_view *);
void golibevent_bufferevent_settle(struct bufferevent *, struct golibevent_view *);
struct golibevent_result golibevent_bufferevent_enable(struct bufferevent *, short events);
struct golibevent_result golibevent_bufferevent_disable(struct bufferevent *, short events);
struct golibevent_result golibevent_bufferevent_setwatermark(struct bufferevent *,
    short events, size_t low, size_t high);
int golibevent_bufferevent_set_timeouts(struct golibevent_base *, struct bufferevent *,
    int64_t read_us, int64_t write_us);
struct golibevent_result golibevent_bufferevent_read(struct bufferevent *, uint8_t *, size_t);
struct golibevent_result golibevent_bufferevent_write(struct bufferevent *, const uint8_t *,
    size_t);
struct golibevent_result golibevent_bufferevent_read_buffer(struct bufferevent *,
    struct evbuffer *);
struct golibevent_result golibevent_bufferevent_write_buffer(struct bufferevent *,
    struct evbuffer *);
void golibevent_bufferevent_set_eager(struct bufferevent *, bool eager,
    const struct golibevent_limits *);
struct golibevent_sent golibevent_bufferevent_send(struct bufferevent *, const uint8_t *p,
    size_t n);
struct golibevent_sent golibevent_bufferevent_send_buffer(struct bufferevent *,
    struct evbuffer *);
struct golibevent_result golibevent_bufferevent_setfd(struct golibevent_base *,
    struct bufferevent *, int fd, int options);
struct golibevent_result golibevent_bufferevent_replacefd(struct golibevent_base *,
    struct bufferevent *, int fd, int options);
int golibevent_bufferevent_base_set(struct golibevent_base *, struct bufferevent *);
struct golibevent_result golibevent_bufferevent_connect(struct golibevent_base *,
    struct bufferevent *, int fd, const struct sockaddr *, int len);
struct golibevent_result golibevent_bufferevent_trigger(struct bufferevent *, short events,
    int options);
struct golibevent_result golibevent_bufferevent_trigger_event(struct bufferevent *,
    short what, int options);
struct golibevent_result golibevent_bufferevent_flush(struct bufferevent *, short events,
    int mode);
int golibevent_bufferevent_priority_set(struct bufferevent *, int priority);
int golibevent_bufferevent_get_priority(struct bufferevent *);
void golibevent_bufferevent_see_to(struct bufferevent *, short directions);
bool golibevent_bufferevent_has_high(const struct bufferevent *);
uintptr_t golibevent_bufferevent_lock(struct bufferevent *);

/* ratelim.c */
struct ev_token_bucket_cfg *golibevent_token_bucket_cfg_new(size_t read_rate,
    size_t read_burst, size_t write_rate, size_t write_burst, int64_t us);
int64_t golibevent_bufferevent_set_rate_limit(struct bufferevent *, struct golibevent_limits *,
    struct golibevent_limit, bool eager);
int golibevent_bufferevent_set_rate_limit_group(struct bufferevent *,
    struct golibevent_limits *, struct golibevent_group *, bool eager);
int golibevent_bufferevent_decrement(struct bufferevent *, const struct golibevent_limits *,
    short direction, int64_t n);
struct golibevent_group *golibevent_group_new(struct golibevent_base *,
    const struct ev_token_bucket_cfg *);
struct bufferevent_rate_limit_group *golibevent_group_c(const struct golibevent_group *);
void golibevent_group_unref(struct golibevent_group *);
int golibevent_group_decrement(struct golibevent_group *, short direction, int64_t n,
    int64_t burst);

/* buffer.c */
struct golibevent_done golibevent_buffer_free(struct evbuffer *, bool shares,
    struct evbuffer_cb_entry *);
struct golibevent_done golibevent_buffer_add(struct evbuffer *, const uint8_t *p, size_t n);
struct golibevent_done golibevent_buffer_prepend(struct evbuffer *, const uint8_t *p, size_t n);
struct golibevent_done golibevent_buffer_add_reference(struct evbuffer *, const uint8_t *p,
    size_t n, void *name);
struct golibevent_done golibevent_buffer_add_buffer(struct evbuffer *dst, struct evbuffer *src);
struct golibevent_done golibevent_buffer_prepend_buffer(struct evbuffer *dst,
    struct evbuffer *src);
struct golibevent_done golibevent_buffer_remove_buffer(struct evbuffer *src,
    struct evbuffer *dst, size_t n, bool watched);
struct golibevent_done golibevent_buffer_remove(struct evbuffer *, uint8_t *p, size_t n);
struct golibevent_done golibevent_buffer_remove_line(struct evbuffer *, uint8_t *p, size_t n,
    size_t eol);
struct golibevent_done golibevent_buffer_drain(struct evbuffer *, size_t n);
struct golibevent_done golibevent_buffer_pullup(struct evbuffer *, int64_t n);
struct golibevent_done golibevent_buffer_expand(struct evbuffer *, size_t n);
struct golibevent_done golibevent_buffer_reserve(struct evbuffer *, size_t n,
    struct evbuffer_iovec *, int extents);
struct golibevent_done golibevent_buffer_commit(struct evbuffer *, struct evbuffer_iovec *,
    int extents);
struct golibevent_done golibevent_buffer_read(struct evbuffer *, int fd, int max);
struct golibevent_done golibevent_buffer_write(struct evbuffer *, int fd, int64_t max);
int64_t golibevent_buffer_copyout(struct evbuffer *, size_t start, uint8_t *p, size_t n);
int golibevent_buffer_peek(struct evbuffer *, size_t start, int64_t n, struct evbuffer_iovec *,
    int extents);
int64_t golibevent_buffer_search(struct evbuffer *, const uint8_t *what, size_t n,
    size_t start, int64_t end);
struct golibevent_eol golibevent_buffer_search_eol(struct evbuffer *, size_t start, int style);
struct golibevent_done golibevent_buffer_pullup_shared(struct evbuffer *, int64_t n,
    struct evbuffer_cb_entry *);
struct golibevent_done golibevent_buffer_add_buffer_reference(struct evbuffer *dst,
    struct evbuffer *src);
struct golibevent_done golibevent_buffer_add_reference_with_offset(struct evbuffer *,
    const uint8_t *p, size_t offset, size_t n, void *name);
int golibevent_buffer_set_max_read(struct evbuffer *, size_t n);
size_t golibevent_buffer_get_max_read(struct evbuffer *);
struct evbuffer_file_segment *golibevent_file_segment_new(int file, int64_t offset,
    int64_t *length, unsigned flags, void *name);
struct golibevent_done golibevent_file_segment_free(struct evbuffer_file_segment *);
struct golibevent_done golibevent_file_segment_part(struct evbuffer_file_segment *,
    bool drains, int64_t offset, int64_t length, struct evbuffer **part, bool *lost);
struct golibevent_done golibevent_buffer_take(struct evbuffer *, struct evbuffer *part);
struct evbuffer_cb_entry *golibevent_buffer_add_cb(struct evbuffer *, uintptr_t handle);
int golibevent_buffer_end_is_frozen(struct evbuffer *);
void golibevent_buffer_remove_cb(struct evbuffer *, struct evbuffer_cb_entry *);
uintptr_t golibevent_buffer_lock(struct evbuffer *);

/* listener.c */
struct golibevent_listener *golibevent_listener_bind(struct golibevent_base *,
    const struct sockaddr *, int len, unsigned options, int backlog, void *handle);
struct golibevent_listener *golibevent_listener_new(struct golibevent_base *, int fd,
    unsigned options, int backlog, void *handle);
struct evconnlistener *golibevent_listener_c(const struct golibevent_listener *);
int golibevent_listener_start(struct golibevent_listener *);
int golibevent_listener_set_enabled(struct golibevent_listener *, int enabled);
void golibevent_listener_free(struct golibevent_listener *);

/* When a watcher is called: before or after the loop waits for events. */
#define GOLIBEVENT_PREPARE 0
#define GOLIBEVENT_CHECK 1

/* watch.c */
struct golibevent_watcher *golibevent_watcher_new(struct golibevent_base *,
    uintptr_t handle, int kind);
void golibevent_watcher_free(struct golibevent_watcher *);

/* A message of libevent's log. */
#define GOLIBEVENT_MESSAGE 1024		/* as long as libevent makes them */
struct golibevent_message {
	int64_t ns;		/* when, by the wall clock */
	int severity;		/* EVENT_LOG_* */
	uint64_t lost;		/* messages before it that found no room */
	char text[GOLIBEVENT_MESSAGE];
};

/* log.c */
int golibevent_enable_debug_mode(void);
void golibevent_on_fatal(int code);
void golibevent_log(int severity, const char *text);
int golibevent_log_open(int *fd);
int golibevent_log_close(void);
int golibevent_log_take(struct golibevent_message *);

/* What sets an option of a socket, as libevent's functions for that do. */
typedef int (*golibevent_setter)(evutil_socket_t);

/* util.c */
int golibevent_set_socket(int fd, golibevent_setter);
int golibevent_make_listen_socket_not_ipv6only(evutil_socket_t);
int golibevent_set_tcp_keepalive(int fd, int on, int seconds);
int golibevent_socketpair(int domain, int type, int protocol, int fds[2]);
struct evutil_monotonic_timer *golibevent_monotonic_timer_new(int flags);
int golibevent_secure_rng_init(void);
int golibevent_secure_rng_get_bytes(uint8_t *, size_t);
int golibevent_secure_rng_add_bytes(const uint8_t *, size_t);
int golibevent_sockaddr_ip(struct sockaddr_storage *, const uint8_t *addr, int n,
    uint16_t port, const char *zone);
int golibevent_sockaddr_unix(struct sockaddr_storage *, const char *path, size_t n);
int golibevent_sockaddr_local(int fd, struct sockaddr_storage *);
int golibevent_sockaddr_parse(const struct sockaddr *, int len, uint8_t *addr,
    uint16_t *port, char *zone);

#endif
