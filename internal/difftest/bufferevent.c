/*
 * The program of FuzzBufferEvent in C: a pair, two buffer events over a pair of sockets,
 * one whose peer is a bare descriptor, and filters on top of them and of each other.
 *
 * An event callback is there in any case: it is how the binding's Read and Err learn what
 * has happened. One that is closed by a callback inside a call of its own goes with that
 * call, as in Go.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_struct.h>
#include "difftest.h"

#define NBEVS 5			/* that are there from the start */
#define NFILTERS 5		/* that can be made */
#define DIRECTIONS (EV_READ | EV_WRITE)

/* What callbacks there are. */
#define ON_READ 1
#define ON_WRITE 2
#define ON_EVENT 4

/* What a filter does with data. */
enum kind { NOTHING, PASS, LIMIT, COLLECT, GROW, SWALLOW, FAIL, PUT_ASIDE };

struct function {
	enum kind kind;
	size_t n, done;		/* what that is depends on the kind */
	struct evbuffer *aside;
	bool busy;
};

struct bev {
	struct bufferevent *bev;
	struct bev *underlying;	/* of a filter */
	struct bev *above;	/* the filter on top of it */
	struct function functions[2];
	int options;
	unsigned inside;	/* calls */
	int err;		/* of the last event */
	int ended;		/* the event that ended reading */
	int callbacks;
	bool socket, closed;
};

static struct bev bevs[NBEVS + NFILTERS];
static unsigned nbevs;
static struct event_base *base;
static uint8_t data[1 << 20];	/* the longest line, too */
static unsigned depth;		/* of callbacks */
static struct bev *current;	/* whose callback runs, or NULL */
static bool looping;
static bool with_filters;	/* programs make filters */
static bool connected;		/* somebody was told so */

static int step(void);

static int64_t
id(const struct bev *b)
{
	return b - bevs;
}

static void on_read(struct bufferevent *, void *);
static void on_write(struct bufferevent *, void *);
static void on_event(struct bufferevent *, short, void *);

/* Those of a filter stay until it is closed. */
static void
set_callbacks(struct bev *b, int which)
{
	b->callbacks = which;
	if (b->above == NULL || b->above->closed)
		bufferevent_setcb(b->bev, which & ON_READ ? on_read : NULL,
		    which & ON_WRITE ? on_write : NULL, on_event, b);
}

static void close_bev(struct bev *);
static void leave(struct bev *);

static void
enter(struct bev *b)
{
	b->inside++;
}

/* Frees b. What is underneath a filter is freed by hand, as libevent frees it once too
 * often if it was before, or has its callbacks again. */
static void
free_bev(struct bev *b)
{
	struct bev *underlying = b->underlying;

	/* Else libevent would start the timeouts of a filter freed in its callback. */
	bufferevent_set_timeouts(b->bev, NULL, NULL);
	/* A socket that is lent is not used any more, even if b stays for a callback. */
	if (underlying == NULL && bufferevent_getfd(b->bev) != -1 &&
	    !(b->options & BEV_OPT_CLOSE_ON_FREE)) {
		bufferevent_disable(b->bev, DIRECTIONS);
		event_del(&b->bev->ev_write);	/* a connect */
	}
	bufferevent_free(b->bev);
	if (underlying == NULL)
		return;
	if (b->options & BEV_OPT_CLOSE_ON_FREE) {
		close_bev(underlying);
	} else if (!underlying->closed) {
		enter(underlying);
		set_callbacks(underlying, underlying->callbacks);
		leave(underlying);
	}
}

static void
leave(struct bev *b)
{
	if (--b->inside == 0 && b->closed)
		free_bev(b);
}

static void
close_bev(struct bev *b)
{
	bool free = b->inside == 0;

	if (b->closed)
		return;
	b->closed = true;
	if (b->above != NULL)
		close_bev(b->above);
	if (free)
		free_bev(b);
}

/* Returns the error of an event. Of events that are joined the last says what errno is, if
 * only by chance, and that may be what has come up to a filter and was told before: that it
 * is connected. */
static int
reason(const struct bev *b, int what)
{
	int mixed = BEV_EVENT_EOF | BEV_EVENT_TIMEOUT | BEV_EVENT_CONNECTED;

	if (what & BEV_EVENT_ERROR && (what & mixed || (connected && b->underlying != NULL)))
		return 0;
	return b->err;
}

static void
callback(struct bev *b, int kind, int what)
{
	struct bev *outer = current;
	unsigned n;

	SAY("callback", id(b), kind, what, kind == ON_EVENT ? reason(b, what) : 0,
	    evbuffer_get_length(bufferevent_get_input(b->bev)),
	    evbuffer_get_length(bufferevent_get_output(b->bev)));
	depth++;
	current = b;
	for (n = next() % 4; n > 0 && step(); n--)
		;
	depth--;
	current = outer;
	if (over())
		close_bev(b);
	SAY("returns", id(b));
}

/* Has a filter called again for what the high watermark of its input has left underneath:
 * libevent does only when callbacks are deferred. */
static void
unstick(struct bev *b)
{
	struct bufferevent *underlying = b->underlying->bev;
	size_t high = 0;

	bufferevent_getwatermark(b->bev, EV_READ, NULL, &high);
	if (high > 0 && bufferevent_get_enabled(b->bev) & EV_READ &&
	    evbuffer_get_length(bufferevent_get_input(b->bev)) < high &&
	    evbuffer_get_length(bufferevent_get_input(underlying)) > 0)
		bufferevent_trigger(underlying, EV_READ,
		    BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct bev *b = arg;

	(void)bev;
	if (b->closed || !(b->callbacks & ON_READ))
		return;
	callback(b, ON_READ, 0);
	if (b->underlying != NULL && !b->closed)
		unstick(b);
}

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct bev *b = arg;

	(void)bev;
	if (!b->closed && b->callbacks & ON_WRITE)
		callback(b, ON_WRITE, 0);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	int err = errno;
	struct bev *b = arg;

	(void)bev;
	if (b->closed)
		return;
	b->err = 0;
	if (what & BEV_EVENT_ERROR)
		b->err = err != 0 ? err : EIO;
	else if (what & BEV_EVENT_TIMEOUT)
		b->err = ETIMEDOUT;
	if (what & BEV_EVENT_READING && what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		b->ended = what;
	if (b->callbacks & ON_EVENT)
		callback(b, ON_EVENT, what);
}

/*
 * Moves up to n bytes, and no more than the limit. Returns -1 when libevent does not let
 * it. A part takes a way round: what happens in dst's callbacks must not meet src in pieces.
 */
static int
move(struct evbuffer *src, struct evbuffer *dst, size_t n, ev_ssize_t limit)
{
	struct evbuffer *part;
	int rc;

	if (limit >= 0 && n > (size_t)limit)
		n = limit;
	if (n == 0)
		return 0;
	if (n >= evbuffer_get_length(src))
		return evbuffer_remove_buffer(src, dst, n);
	part = evbuffer_new();
	rc = evbuffer_remove_buffer(src, part, n);
	evbuffer_add_buffer(dst, part);
	evbuffer_free(part);
	return rc;
}

/* Passes everything on. libevent's own function calls what is underneath while src is in
 * pieces. */
static enum bufferevent_filter_result
on_pass(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	(void)mode;
	(void)arg;
	return move(src, dst, evbuffer_get_length(src), limit) == -1 ? BEV_ERROR : BEV_OK;
}

/* Does what a filter is for, and sets *rc to -1 if libevent does not let it. */
static int
apply(struct function *f, struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    int mode, int *rc)
{
	size_t n = evbuffer_get_length(src);

	switch (f->kind) {
	case LIMIT:
		n = n < f->n + 1 ? n : f->n + 1;
		break;
	case COLLECT:
		if (mode == BEV_NORMAL && n < f->n)
			return BEV_NEED_MORE;
		break;
	case SWALLOW:
		*rc = evbuffer_drain(src, f->n + 1);
		return BEV_OK;
	case FAIL:
		if (f->done > f->n)
			return BEV_ERROR;
		f->done += n;
		break;
	case PUT_ASIDE:
		*rc = move(src, f->aside, n, -1);
		if (*rc != -1 && mode != BEV_NORMAL)
			*rc = evbuffer_add_buffer(dst, f->aside);
		return BEV_OK;
	default:
		break;
	}
	*rc = move(src, dst, n, limit);
	if (f->kind == GROW && *rc != -1)
		*rc = evbuffer_add(dst, "!", 1);
	return BEV_OK;
}

/* A function of a filter. The tape may do something in it, and change its result. */
static enum bufferevent_filter_result
filter(struct bev *b, unsigned which, struct evbuffer *src, struct evbuffer *dst,
    ev_ssize_t limit, int mode)
{
	static const int results[4] = {BEV_OK, BEV_NEED_MORE, BEV_ERROR, 7};
	struct function *f = &b->functions[which];
	size_t left = evbuffer_get_length(src), made = evbuffer_get_length(dst);
	struct bev *outer = current;
	int rc = 0, result;

	if (b->closed)
		return BEV_ERROR;
	if (f->busy)
		return BEV_NEED_MORE;
	f->busy = true;
	SAY("filter", id(b), which, left, made, limit, mode);
	depth++;
	current = b;
	if (next() % 4 == 3)
		step();
	result = apply(f, src, dst, limit, mode, &rc);
	if (next() % 8 == 7)
		result = results[next() % 4];
	SAY("filtered", id(b), which, evbuffer_get_length(src), evbuffer_get_length(dst), result,
	    rc == -1 ? EPERM : 0);
	depth--;
	current = outer;
	f->busy = false;
	/* libevent would call again, without end. */
	if (result == BEV_OK && left > 0 && evbuffer_get_length(src) == left &&
	    evbuffer_get_length(dst) == made)
		return BEV_NEED_MORE;
	return result == BEV_OK || result == BEV_NEED_MORE ? result : BEV_ERROR;
}

static enum bufferevent_filter_result
on_input(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return filter(arg, 0, src, dst, limit, mode);
}

static enum bufferevent_filter_result
on_output(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return filter(arg, 1, src, dst, limit, mode);
}

/* Until libevent has finished with a filter there is no other in its place. */
static void
on_gone(void *arg)
{
	struct bev *b = arg;

	if (b->underlying->above == b)
		b->underlying->above = NULL;
}

static int
new_filter(struct bev *b, unsigned kinds, size_t n, int options)
{
	const int anywhere =
	    BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS;
	struct bev *top = &bevs[nbevs];
	int i;

	if ((options & BEV_OPT_UNLOCK_CALLBACKS && !(options & BEV_OPT_DEFER_CALLBACKS)) ||
	    (options & BEV_OPT_THREADSAFE && (b->options & anywhere) != anywhere))
		return EINVAL;
	if (b->closed)
		return CLOSED;
	if (b->above != NULL)
		return EBUSY;
	nbevs++;
	memset(top, 0, sizeof(*top));
	top->underlying = b;
	top->options = options;
	b->above = top;
	for (i = 0; i < 2; i++) {
		top->functions[i].kind = kinds >> 3 * i & 7;
		top->functions[i].n = n;
		top->functions[i].aside = evbuffer_new();
	}
	enter(b);
	top->bev = bufferevent_filter_new(b->bev, top->functions[0].kind ? on_input : on_pass,
	    top->functions[1].kind ? on_output : on_pass, options & ~BEV_OPT_CLOSE_ON_FREE,
	    on_gone, top);
	set_callbacks(top, ON_READ | ON_WRITE | ON_EVENT);
	leave(b);
	return 0;
}

static void
do_new_filter(struct bev *b)
{
	static const int choice[8] = {
		0, BEV_OPT_CLOSE_ON_FREE, BEV_OPT_DEFER_CALLBACKS,
		BEV_OPT_DEFER_CALLBACKS | BEV_OPT_CLOSE_ON_FREE,
		BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS,
		0, BEV_OPT_THREADSAFE, BEV_OPT_UNLOCK_CALLBACKS,
	};
	unsigned kinds = next();
	size_t n = golibevent_diff_size();
	int options = choice[next() % 8];

	if (nbevs < LENGTH(bevs))
		SAY("new_filter", id(b), kinds, n, options, new_filter(b, kinds, n, options));
}

static void
do_write(struct bev *b, bool to_output)
{
	size_t n = golibevent_diff_size();
	int err = CLOSED;

	if (!b->closed) {
		golibevent_diff_fill(data, n, n);
		/* Only a method of the buffer event's own keeps it. */
		if (to_output) {
			err = evbuffer_add(bufferevent_get_output(b->bev), data, n);
		} else {
			enter(b);
			err = n > 0 ? bufferevent_write(b->bev, data, n) : 0;
			leave(b);
		}
		err = err == -1 ? EPERM : 0;
	}
	SAY("write", id(b), n, err);
}

static void
do_read(struct bev *b)
{
	size_t n = golibevent_diff_size(), got = 0;
	uint8_t p[MOST];	/* a filter that is called meanwhile uses data */
	int err = CLOSED;

	if (!b->closed) {
		err = 0;
		enter(b);
		got = n > 0 ? bufferevent_read(b->bev, p, n) : 0;
		leave(b);
		if (n > 0 && got == 0) {
			err = EAGAIN;
			if (b->ended & BEV_EVENT_ERROR)
				err = EIO;
			else if (b->ended & BEV_EVENT_EOF)
				err = END;
		}
	}
	SAY("read", id(b), n, got, err, golibevent_diff_sum(p, got));
}

static void
do_drain(struct bev *b, bool output)
{
	size_t n = golibevent_diff_size();
	int err = CLOSED;

	if (!b->closed)
		err = evbuffer_drain(output ? bufferevent_get_output(b->bev) :
		    bufferevent_get_input(b->bev), n) == -1 ? EPERM : 0;
	SAY("drain", id(b), output, n, err);
}

/* Adds what a reader gives, in memory of its own, until it ends or fails. */
static void
do_read_from(struct bev *b)
{
	struct evbuffer *output;
	uint8_t own[4096];
	int64_t total = 0;
	unsigned how = 2;
	size_t n;
	int err = 0;

	while (err == 0 && how >= 2 && !over() && !b->closed) {
		output = bufferevent_get_output(b->bev);
		n = golibevent_diff_size();
		how = next() % 4;
		if (n > sizeof(own))
			n = sizeof(own);
		golibevent_diff_fill(own, n, n);
		err = n > 0 && evbuffer_add(output, own, n) == -1 ? EPERM : 0;
		total += err == 0 ? n : 0;
	}
	if (err == 0 && how == 1)
		err = EIO;
	else if (err == 0 && how >= 2 && b->closed)
		err = CLOSED;
	SAY("read_from", id(b), total, err);
}

/* Gives a writer what there is, until it takes less or fails. */
static void
do_write_to(struct bev *b)
{
	struct evbuffer_iovec chunk = {NULL, 0};
	struct evbuffer_ptr start;	/* not a chunk without bytes */
	struct evbuffer *input;
	int64_t total = 0;
	int err = b->closed ? CLOSED : 0;
	unsigned how;
	size_t n;

	while (err == 0 && !b->closed) {
		input = bufferevent_get_input(b->bev);
		if (evbuffer_get_length(input) == 0)
			break;
		evbuffer_ptr_set(input, &start, 0, EVBUFFER_PTR_SET);
		evbuffer_peek(input, 1, &start, &chunk, 1);
		if (chunk.iov_len > 32768)	/* a copy */
			chunk.iov_len = 32768;
		SAY("chunk", chunk.iov_len, golibevent_diff_sum(chunk.iov_base, chunk.iov_len));
		n = golibevent_diff_size();
		how = next() % 4;
		if (how >= 2 || n > chunk.iov_len)
			n = chunk.iov_len;
		evbuffer_drain(input, n);
		total += n;
		if (how == 1)
			err = EIO;
		else if (n < chunk.iov_len)
			err = SHORT;
	}
	SAY("write_to", id(b), total, err);
}

static void
do_prepend(struct bev *b)
{
	size_t n = golibevent_diff_size();
	int err = CLOSED;

	golibevent_diff_fill(data, n, n);
	if (!b->closed)
		err = evbuffer_prepend(bufferevent_get_input(b->bev), data, n) == -1 ? EPERM : 0;
	SAY("prepend", id(b), n, err);
}

static void
do_look(struct bev *b)
{
	struct evbuffer_iovec vec = {NULL, 0};
	size_t low = 0, high = 0, n;
	struct evbuffer *input, *output;

	if (b->closed) {
		SAY("look", id(b), CLOSED);
		return;
	}
	input = bufferevent_get_input(b->bev);
	output = bufferevent_get_output(b->bev);
	evbuffer_peek(input, 1, NULL, &vec, 1);
	n = vec.iov_len;
	bufferevent_getwatermark(b->bev, EV_READ, &low, &high);
	SAY("look", id(b), bufferevent_get_enabled(b->bev), evbuffer_get_length(input),
	    evbuffer_get_length(output), n, golibevent_diff_sum(vec.iov_base, n), low, high,
	    bufferevent_get_priority(b->bev));
}

/* Not evbuffer_readln, which drains twice: of a read event whose timeout is due but not
 * told yet libevent would watch the timeout alone after once, and all after twice. */
static void
do_line(struct bev *b)
{
	struct evbuffer_ptr end;
	size_t n = 0, eol = 0;
	int64_t sum = golibevent_diff_sum(data, 0);
	int err = CLOSED;

	if (!b->closed) {
		end = evbuffer_search_eol(bufferevent_get_input(b->bev), NULL, &eol,
		    EVBUFFER_EOL_LF);
		err = EAGAIN;
		if (end.pos >= 0) {
			n = end.pos;
			evbuffer_copyout(bufferevent_get_input(b->bev), data, n);
			/* A filter that is called meanwhile uses data. */
			sum = golibevent_diff_sum(data, n);
			evbuffer_drain(bufferevent_get_input(b->bev), n + eol);
			err = 0;
		}
	}
	SAY("line", id(b), n, err, sum);
}

static void
do_enable(struct bev *b, bool on)
{
	short which = next() % 8, before;
	int err = EINVAL;

	if ((which & ~DIRECTIONS) == 0) {
		err = CLOSED;
		if (!b->closed) {
			enter(b);
			before = bufferevent_get_enabled(b->bev);
			errno = 0;
			err = 0;
			if ((on ? bufferevent_enable(b->bev, which) :
			    bufferevent_disable(b->bev, which)) == -1) {
				err = errno;
				if (on)
					bufferevent_disable(b->bev, which & ~before);
			}
			leave(b);
		}
	}
	SAY(on ? "enable" : "disable", id(b), which, err);
}

static void
do_set_watermark(struct bev *b)
{
	short which = next() % 8;
	size_t low = golibevent_diff_size(), high = next() % 2 == 0 ? golibevent_diff_size() : 0;
	int err = EINVAL;

	if (which != 0 && (which & ~DIRECTIONS) == 0 && !(high > 0 && low > high)) {
		err = CLOSED;
		if (!b->closed) {
			enter(b);
			bufferevent_setwatermark(b->bev, which, low, high);
			leave(b);
			err = 0;
		}
	}
	SAY("watermark", id(b), which, low, high, err);
}

static void
do_set_timeouts(struct bev *b)
{
	static const int64_t choice[4] = {0, -1, 5000, 3600000000};
	unsigned how = next();
	int64_t us[2] = {choice[how % 4], choice[how / 4 % 4]};
	struct timeval tv[2];
	int i, err = CLOSED;

	for (i = 0; i < 2; i++) {
		tv[i].tv_sec = us[i] / 1000000;
		tv[i].tv_usec = us[i] % 1000000;
	}
	if (!b->closed) {
		errno = 0;
		err = bufferevent_set_timeouts(b->bev, us[0] > 0 ? &tv[0] : NULL,
		    us[1] > 0 ? &tv[1] : NULL) == -1 ? errno : 0;
	}
	SAY("timeouts", id(b), us[0], us[1], err);
}

static void
do_flush(struct bev *b)
{
	short which = next() % 8;
	int mode = next() % 4, err = EINVAL;

	if (which != 0 && (which & ~DIRECTIONS) == 0 && mode <= BEV_FINISHED) {
		err = CLOSED;
		if (!b->closed) {
			enter(b);
			errno = 0;
			err = bufferevent_flush(b->bev, which, mode) == -1 ? ENOTCONN : 0;
			leave(b);
		}
	}
	SAY("flush", id(b), which, mode, err);
}

static void
do_trigger(struct bev *b)
{
	static const int choice[4] = {
		0, BEV_TRIG_IGNORE_WATERMARKS, BEV_TRIG_DEFER_CALLBACKS,
		BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS,
	};
	short which = next() % 8;
	int options = choice[next() % 4], err = EINVAL;

	SAY("trigger", id(b), which, options);
	if (which != 0 && (which & ~DIRECTIONS) == 0) {
		err = CLOSED;
		if (!b->closed) {
			enter(b);
			bufferevent_trigger(b->bev, which, options);
			leave(b);
			err = 0;
		}
	}
	SAY("triggered", id(b), err);
}

static void
do_trigger_event(struct bev *b)
{
	static const short choice[8] = {
		BEV_EVENT_CONNECTED, BEV_EVENT_EOF | BEV_EVENT_READING,
		BEV_EVENT_ERROR | BEV_EVENT_READING, BEV_EVENT_TIMEOUT | BEV_EVENT_WRITING,
		BEV_EVENT_ERROR | BEV_EVENT_WRITING, BEV_EVENT_READING, 0, 0x100,
	};
	short what = choice[next() % 8];
	int options = next() % 2 == 0 ? 0 : BEV_TRIG_DEFER_CALLBACKS, err = EINVAL;

	SAY("trigger_event", id(b), what, options);
	if (what != 0 && what != 0x100) {
		err = CLOSED;
		connected = connected || what == BEV_EVENT_CONNECTED;
		if (!b->closed) {
			enter(b);
			errno = 0;
			bufferevent_trigger_event(b->bev, what, options);
			leave(b);
			err = 0;
		}
	}
	SAY("triggered", id(b), err);
}

static int
change_priority(struct bufferevent *bev, int priority)
{
	if (event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) == 0)
		return bufferevent_priority_set(bev, priority);
	return event_priority_set(&bev->ev_read, priority) == 0 ?
	    event_priority_set(&bev->ev_write, priority) : -1;
}

static void
do_set_priority(struct bev *b)
{
	int priority = (int)(next() % 5) - 1, before, err = EINVAL;

	if (priority >= 0 && !b->socket) {
		err = ENOTSUP;
	} else if (priority >= 0 && b->closed) {
		err = CLOSED;
	} else if (priority >= 0) {
		err = 0;
		before = bufferevent_get_priority(b->bev);
		/* Of both events or of none, and of the deferred callback if it cannot be
		 * in a queue, which libevent would break. */
		if (priority != before && change_priority(b->bev, priority) == -1) {
			change_priority(b->bev, before);
			err = EINVAL;
		}
	}
	SAY("set_priority", id(b), priority, err);
}

static void
do_set_max(struct bev *b)
{
	unsigned which = next() % 2;
	size_t n = golibevent_diff_size();
	int err = CLOSED;

	if (!b->closed)
		err = (which ? bufferevent_set_max_single_read(b->bev, n) :
		    bufferevent_set_max_single_write(b->bev, n)) == -1 ? EINVAL : 0;
	SAY("max_single", id(b), which, n, err);
}

static void
do_loop(void)
{
	static const int flags[4] = {
		EVLOOP_NONBLOCK | EVLOOP_ONCE, EVLOOP_NONBLOCK, EVLOOP_ONCE, 0,
	};
	int flag = flags[next() % 4], rc = RUNNING;

	/* Not in a callback that runs inside a call: what that closes goes with the call,
	 * and until then such a loop may call in vain, again and again. */
	if (depth > 0 && !looping)
		return;
	SAY("loop", flag);
	if (!looping) {
		golibevent_diff_clock.waits = base;
		looping = true;
		rc = event_base_loop(base, flag) == -1 ? errno : 0;
		looping = false;
	}
	SAY("looped", rc, event_base_got_break(base), golibevent_diff_clock.us);
}

static void
do_peer(unsigned op)
{
	int fd = golibevent_diff_descriptor(1);
	size_t n;
	int64_t rc;

	switch (op % 8) {
	case 0:
		shutdown(fd, next() % 4 == 0 ? SHUT_RD : SHUT_WR);
		SAY("peer_shutdown", 0);
		break;
	case 1: case 2: case 3:
		n = golibevent_diff_size();
		rc = read(fd, data, n);
		rc = rc < 0 ? 0 : rc;
		SAY("peer_read", rc, golibevent_diff_sum(data, rc));
		break;
	default:
		n = golibevent_diff_size();
		golibevent_diff_fill(data, n, n);
		rc = write(fd, data, n);
		SAY("peer_write", rc < 0 ? 0 : rc);
		break;
	}
}

static int
step(void)
{
	unsigned op = next() % 38;
	struct bev *b;
	unsigned i = next();

	b = i >= 128 && current != NULL ? current : &bevs[i % nbevs];
	if (over())
		return 0;
	switch (op) {
	case 0: case 1: case 2: case 3:
		do_loop();
		break;
	case 4:
		golibevent_diff_clock.us += next() * 100;
		break;
	case 5: case 6:
		do_peer(next());
		break;
	case 7:
		event_base_loopbreak(base);
		SAY("loopbreak", 0);
		break;
	case 8: case 9: case 10:
		do_write(b, false);
		break;
	case 11:
		do_write(b, true);
		break;
	case 12: case 13:
		do_read(b);
		break;
	case 14: case 15:
		do_drain(b, op == 15 && next() % 2);
		break;
	case 16:
		do_look(b);
		break;
	case 17:
		do_line(b);
		break;
	case 18: case 19: case 20:
		do_enable(b, true);
		break;
	case 21:
		do_enable(b, false);
		break;
	case 22: case 23:
		do_set_watermark(b);
		break;
	case 24:
		do_set_timeouts(b);
		break;
	case 25:
		do_flush(b);
		break;
	case 26:
		do_trigger(b);
		break;
	case 27:
		do_trigger_event(b);
		break;
	case 28:
		op = next() % 8;
		if (!b->closed)
			set_callbacks(b, op);
		SAY("callbacks", id(b), op);
		break;
	case 29:
		do_set_priority(b);
		break;
	case 30:
		if (next() % 4 == 0) {
			close_bev(b);
			SAY("close", id(b));
		} else {
			do_prepend(b);
		}
		break;
	case 31:
		do_set_max(b);
		break;
	case 32: case 33:
		if (with_filters)
			do_new_filter(b);
		break;
	case 34:
		do_flush(b);
		break;
	case 36:
		do_read_from(b);
		break;
	case 37:
		do_write_to(b);
		break;
	default:
		SAY("underlying", id(b),
		    b->closed || b->underlying == NULL ? -1 : id(b->underlying));
		break;
	}
	return 1;
}

/* Makes them all, with options from the tape. */
static void
make_all(void)
{
	static const int options[4] = {
		0, BEV_OPT_DEFER_CALLBACKS, BEV_OPT_THREADSAFE,
		BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS,
	};
	unsigned how = next(), i;
	struct bufferevent *pair[2];

	base = event_base_new();
	event_base_priority_init(base, 3);
	memset(bevs, 0, sizeof(bevs));
	nbevs = NBEVS;
	bufferevent_pair_new(base, options[how % 4], pair);
	for (i = 0; i < NBEVS; i++) {
		bevs[i].socket = i >= 2;
		bevs[i].options = options[(i < 2 ? how : how / 4) % 4];
		bevs[i].bev = i < 2 ? pair[i] : bufferevent_socket_new(base,
		    golibevent_diff_descriptor(i < 4 ? i : 0), bevs[i].options);
		set_callbacks(&bevs[i], ON_READ | ON_WRITE | ON_EVENT);
		if (how & 16)
			bufferevent_enable(bevs[i].bev, EV_READ);
	}
}

void
golibevent_diff_bufferevent(const uint8_t *program, size_t n, bool filters)
{
	size_t i;

	with_filters = filters;
	connected = false;
	golibevent_diff_begin(program, n);
	make_all();
	while (step())
		;
	for (i = nbevs; i-- > 0;)
		close_bev(&bevs[i]);
	/* A deferred callback holds its buffer event. */
	for (i = 0; i < 6 && event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0; i++)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	event_base_free(base);
	for (i = NBEVS; i < nbevs; i++) {
		evbuffer_free(bevs[i].functions[0].aside);
		evbuffer_free(bevs[i].functions[1].aside);
	}
	golibevent_diff_end();
}
