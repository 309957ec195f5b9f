/*
 * Rate limits. libevent keeps a pointer to a configuration, and an assertion in wait for
 * what it does not expect.
 */
#include "internal.h"

/* The caller owns the result. */
struct ev_token_bucket_cfg *
golibevent_token_bucket_cfg_new(size_t read_rate, size_t read_burst, size_t write_rate,
    size_t write_burst, int64_t us)
{
	struct timeval tick = timeval_of(us);

	errno = ENOMEM;
	return ev_token_bucket_cfg_new(read_rate, read_burst, write_rate, write_burst, &tick);
}

static int64_t
get_limit(struct bufferevent *bev, short direction)
{
	return direction == EV_READ ? bufferevent_get_read_limit(bev) :
	    bufferevent_get_write_limit(bev);
}

static int
decrement(struct bufferevent *bev, short direction, int64_t n)
{
	return direction == EV_READ ? bufferevent_decrement_read_limit(bev, n) :
	    bufferevent_decrement_write_limit(bev, n);
}

/* Takes what bev has more than before. */
static void
lower(struct bufferevent *bev, short direction, int64_t before)
{
	int64_t now = get_limit(bev, direction);

	if (now > before)
		decrement(bev, direction, now - before);
}

/*
 * Gives bev, which is locked, another configuration. libevent counts ticks from 1970 and
 * keeps the number of the last one: after a change of their length it would count from
 * what stands for another time, and perhaps never fill the bucket again.
 */
static int
set_cfg(struct bufferevent *bev, const struct golibevent_limit *before,
    const struct golibevent_limit *limit)
{
	int64_t before_read, before_write;

	if (before->cfg == NULL || limit->cfg == NULL || before->tick == limit->tick)
		return bufferevent_set_rate_limit(bev, limit->cfg);
	before_read = get_limit(bev, EV_READ);
	before_write = get_limit(bev, EV_WRITE);
	bufferevent_set_rate_limit(bev, NULL);
	if (bufferevent_set_rate_limit(bev, limit->cfg) == -1)
		return -1;
	lower(bev, EV_READ, before_read);
	lower(bev, EV_WRITE, before_write);
	return 0;
}

/* Gives bev a limit, whose cfg is then its, and returns how many changes there were. On
 * failure, -1, cfg stays the caller's. */
int64_t
golibevent_bufferevent_set_rate_limit(struct bufferevent *bev,
    struct golibevent_limits *limits, struct golibevent_limit limit, bool eager)
{
	struct ev_token_bucket_cfg *before = NULL;
	int64_t rc;

	bufferevent_lock(bev);
	golibevent_bufferevent_let_eager(bev,
	    eager && limit.cfg == NULL && limits->group == NULL);
	errno = 0;
	rc = set_cfg(bev, &limits->own, &limit);
	if (rc == 0) {
		before = limits->own.cfg;
		limits->own = limit;
		limits->ever |= limit.cfg != NULL;
		rc = ++limits->changes;
		if (errno != 0)
			golibevent_bufferevent_see_to(bev, EV_READ | EV_WRITE);
	}
	bufferevent_unlock(bev);
	if (before != NULL)
		ev_token_bucket_cfg_free(before);
	errno = ENOMEM;
	return rc;
}

/*
 * A group: libevent's, which must go last of what refers to it, and on the loop's thread.
 */
struct golibevent_group {
	struct bufferevent_rate_limit_group *g;
	struct event *last;	/* whose finalizer frees the group */
	unsigned refs;		/* atomic: the members', and the Go side's */
};

static void
on_unused(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Makes sure that base has room for one more timer: libevent does not look whether the one
 * that fills a group's buckets could be added. ev is not added, and is not then. */
static int
make_room(struct event *ev)
{
	const struct timeval far = {1000000000, 0};

	return event_add(ev, &far) == -1 || event_del(ev) == -1 ? -1 : 0;
}

/* Makes a group. The caller owns a reference. */
struct golibevent_group *
golibevent_group_new(struct golibevent_base *gb, const struct ev_token_bucket_cfg *cfg)
{
	struct golibevent_group *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->refs = 1;
	/* The finalizer gets the callback's argument. */
	w->last = event_new(gb->base, -1, 0, on_unused, w);
	if (w->last != NULL && make_room(w->last) == 0)
		w->g = bufferevent_rate_limit_group_new(gb->base, cfg);
	if (w->g == NULL) {
		if (w->last != NULL)
			event_free(w->last);
		free(w);
		errno = ENOMEM;
		return NULL;
	}
	return w;
}

struct bufferevent_rate_limit_group *
golibevent_group_c(const struct golibevent_group *w)
{
	return w->g;
}

static void
on_finalize(struct event *ev, void *arg)
{
	struct golibevent_group *w = arg;

	(void)ev;
	bufferevent_rate_limit_group_free(w->g);
	free(w);
}

/* Drops a reference. After the last one the loop's next pass frees the group, or that of
 * the base does. */
void
golibevent_group_unref(struct golibevent_group *w)
{
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_SEQ_CST) == 0)
		event_free_finalize(0, w->last, on_finalize);
}

/* Puts bev, which is locked, into group, or into none, and out of the one before. */
static int
join(struct bufferevent *bev, struct golibevent_limits *limits, struct golibevent_group *group)
{
	struct golibevent_group *before = limits->group;

	if (group == before)
		return 0;
	if (before != NULL)
		bufferevent_remove_from_rate_limit_group(bev);
	limits->group = NULL;
	if (before != NULL)
		golibevent_group_unref(before);
	if (group == NULL)
		return 0;
	if (bufferevent_add_to_rate_limit_group(bev, group->g) == -1)
		return -1;
	__atomic_add_fetch(&group->refs, 1, __ATOMIC_SEQ_CST);
	limits->group = group;
	limits->ever = 1;
	return 0;
}

int
golibevent_bufferevent_set_rate_limit_group(struct bufferevent *bev,
    struct golibevent_limits *limits, struct golibevent_group *group, bool eager)
{
	int rc;

	bufferevent_lock(bev);
	errno = 0;
	rc = join(bev, limits, group);
	golibevent_bufferevent_let_eager(bev,
	    eager && limits->own.cfg == NULL && limits->group == NULL);
	if (rc == 0 && errno != 0)
		golibevent_bufferevent_see_to(bev, EV_READ | EV_WRITE);
	bufferevent_unlock(bev);
	errno = ENOMEM;
	return rc;
}

void
golibevent_bufferevent_unlimit(struct bufferevent *bev, struct golibevent_limits *limits)
{
	if (limits == NULL || (limits->own.cfg == NULL && limits->group == NULL))
		return;
	bufferevent_lock(bev);
	/* It would go on reading and writing when the limits are gone. */
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	join(bev, limits, NULL);
	if (limits->own.cfg != NULL) {
		bufferevent_set_rate_limit(bev, NULL);
		ev_token_bucket_cfg_free(limits->own.cfg);
		limits->own.cfg = NULL;
	}
	bufferevent_unlock(bev);
}

/*
 * Cuts what is to be taken from a limit: it must not come above burst, from where libevent
 * would let it grow without end, nor near to where it overflows.
 */
static int64_t
cut(int64_t n, int64_t limit, int64_t burst)
{
	const int64_t most = EV_SSIZE_MAX / 4;

	if (n > 0)
		return limit < -most ? 0 : n < most ? n : most;
	if (burst > most)
		burst = most;
	if (limit >= burst)
		return 0;
	return n > limit - burst ? n : limit - burst;
}

/* Without a limit libevent aborts. */
int
golibevent_bufferevent_decrement(struct bufferevent *bev,
    const struct golibevent_limits *limits, short direction, int64_t n)
{
	int rc = -1, err = EINVAL;

	bufferevent_lock(bev);
	if (limits->own.cfg != NULL) {
		errno = 0;
		rc = decrement(bev, direction, cut(n, get_limit(bev, direction),
		    direction == EV_READ ? limits->own.read_burst :
		    limits->own.write_burst));
		err = errno;
	}
	bufferevent_unlock(bev);
	errno = err;
	return rc;
}

int
golibevent_group_decrement(struct golibevent_group *w, short direction, int64_t n,
    int64_t burst)
{
	errno = 0;
	if (direction == EV_READ)
		return bufferevent_rate_limit_group_decrement_read(w->g,
		    cut(n, bufferevent_rate_limit_group_get_read_limit(w->g), burst));
	return bufferevent_rate_limit_group_decrement_write(w->g,
	    cut(n, bufferevent_rate_limit_group_get_write_limit(w->g), burst));
}
