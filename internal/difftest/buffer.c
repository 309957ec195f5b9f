/* The program of FuzzBuffer in C. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <event2/buffer.h>
#include "difftest.h"

#define NBUFFERS 3
#define MAX_EXTENTS 4
#define NCALLBACKS 8
#define NSEGMENTS 2
#define DEEPEST 8		/* how deep callbacks can be in callbacks and still act */

/* A buffer. It stays known when it is closed, for calls that go on then. */
struct buf {
	struct evbuffer *c;
	struct buf *next;	/* all that were made, the newest first */
	struct buf *doomed;	/* the one that was closed before, inside the same calls */
	bool closed;
	bool lent;		/* somebody reads into it, or writes from it */
	bool drains;		/* EVBUFFER_FLAG_DRAINS_TO_FD is set */
	bool files, shares;	/* there may be chunks of such kinds */
	bool watched;		/* callbacks were added */
	bool locks;
};

struct callback {
	struct evbuffer_cb_entry *entry;
	struct buf *buf;
	bool removed;
};

struct segment {
	struct evbuffer_file_segment *c;
	struct segment *next;	/* all that were made, the newest first */
	int64_t id, length;
	unsigned users;		/* calls, and one until it is closed */
	unsigned cleanups;
	bool in_file;		/* its bytes are in no memory */
	bool closed;
};

/* What libevent lets go of: memory, or a segment. */
struct reference {
	struct reference *next;
	struct segment *segment;
	int64_t id;
	size_t n;
	uint8_t data[];
};

static struct buf *buffers[NBUFFERS], *all, *doomed;
static struct callback callbacks[NCALLBACKS];
static struct segment *segments[NSEGMENTS], *all_segments;
static struct reference *released, **last_released;
static struct event_base *base;
static struct buf *deferred;	/* whose callbacks run in the loop */
static int64_t references, nsegments;
static unsigned ncallbacks;
static unsigned depth;		/* of callbacks */
static unsigned calls;		/* that the program is inside */
static unsigned changing;	/* callbacks of buffers that run */
static bool looping;
static bool quiet;		/* callbacks need not know what is done */

static int step(void);

/* What libevent refuses without a reason it refuses because of a frozen end. */
static int
permission(int64_t rc)
{
	return rc == -1 ? EPERM : 0;
}

/* Reports whether the end of a buffer is frozen. */
static bool
is_frozen(const struct buf *b)
{
	return evbuffer_commit_space(b->c, NULL, 0) == -1;
}

/* Lets the tape do something, in a callback. */
static void
act(unsigned n)
{
	if (depth >= DEEPEST)
		return;
	depth++;
	for (; n > 0 && step(); n--)
		;
	depth--;
}

/*
 * Begins a call inside which callbacks may run. What they close is freed when the last
 * call ends; and what libevent lets go of is told, and its cleanup acts, when a call ends.
 */
static void
begin(void)
{
	calls++;
}

static void
free_buf(struct buf *b)
{
	/* What shares chunks with others would keep its own, and what waits for the loop, also
	 * an empty one. */
	evbuffer_unfreeze(b->c, 1);
	if (evbuffer_get_length(b->c) == 0) {
		evbuffer_unfreeze(b->c, 0);
		evbuffer_add(b->c, "", 1);
	}
	evbuffer_drain(b->c, evbuffer_get_length(b->c));
	evbuffer_free(b->c);
	b->c = NULL;
}

/* Reports whether something was let go of. */
static bool
end(void)
{
	struct reference *first, *r;
	struct buf *b;
	int64_t k;
	bool some;

	while (calls == 1 && (b = doomed) != NULL) {
		doomed = b->doomed;
		free_buf(b);
	}
	calls--;
	first = released;
	released = NULL;
	last_released = &released;
	some = first != NULL;
	while ((r = first) != NULL) {
		first = r->next;
		if (r->segment == NULL) {
			SAY("released", r->id, r->n);
			act(next() % 4 == 3);
		} else {
			for (k = 0; k < r->segment->cleanups; k++)
				SAY("cleanup", r->segment->id, k);
		}
		free(r);
	}
	return some;
}

static void
release(struct reference *r)
{
	r->next = NULL;
	*last_released = r;
	last_released = &r->next;
}

static void
on_release(const void *p, size_t n, void *arg)
{
	(void)p;
	(void)n;
	release(arg);
}

static void
on_segment(const struct evbuffer_file_segment *seg, int flags, void *arg)
{
	(void)seg;
	(void)flags;
	release(arg);
}

static struct reference *
new_reference(int64_t id, size_t n, struct segment *segment)
{
	struct reference *r = malloc(sizeof(*r) + n);

	if (r == NULL)
		abort();
	r->segment = segment;
	r->id = id;
	r->n = n;
	golibevent_diff_fill(r->data, n, n);
	return r;
}

/* Begins what is done with a buffer, or refuses it. What is special about some of its bytes
 * goes with the last of them. */
static int
enter(struct buf *b)
{
	if (b->closed)
		return CLOSED;
	if (b->lent)
		return EBUSY;
	if (evbuffer_get_length(b->c) == 0)
		b->files = b->shares = false;
	return 0;
}

static size_t
length(struct buf *b)
{
	return enter(b) == 0 ? evbuffer_get_length(b->c) : 0;
}

static void
on_change(struct evbuffer *evbuf, const struct evbuffer_cb_info *info, void *arg)
{
	struct callback *cb = arg;
	int err = errno;

	(void)evbuf;
	if (quiet || cb->buf->closed || cb->removed)
		return;
	changing++;
	SAY("changed", cb - callbacks, info->orig_size, info->n_added, info->n_deleted,
	    length(cb->buf));
	act(next() % 4);
	SAY("returns", cb - callbacks);
	changing--;
	errno = err;
}

static struct buf *
new_buf(void)
{
	struct buf *b = calloc(1, sizeof(*b));

	if (b == NULL || (b->c = evbuffer_new()) == NULL)
		abort();
	b->next = all;
	all = b;
	return b;
}

static struct buf *
slot(unsigned i)
{
	return buffers[i % NBUFFERS];
}

/* For what looks at the bytes, which those of a file that is to be sent are not there for. */
static int
enter_read(struct buf *b)
{
	int err = enter(b);

	return err == 0 && b->files ? ENOTSUP : err;
}

static int
enter_two(struct buf *b, struct buf *other)
{
	int err = enter(b);

	if (err == 0)
		err = enter(other);
	return err == 0 && b == other ? EINVAL : err;
}

/* For chunks of src that are to come into b. */
static int
enter_move(struct buf *b, struct buf *src)
{
	int err = enter_two(b, src);

	if (err != 0)
		return err;
	if (src->files && !b->drains)
		return ENOTSUP;
	b->files = b->files || src->files;
	b->shares = b->shares || src->shares;
	return 0;
}

/* Tells all that is in a buffer, chunk by chunk. */
static void
show(unsigned i)
{
	struct buf *b = slot(i);
	struct evbuffer_iovec vec[2048];
	int n = 0, k;
	int64_t sum = 0, chunks = 0;

	if (enter_read(b) == 0)
		n = evbuffer_peek(b->c, -1, NULL, vec, LENGTH(vec));
	for (k = 0; k < n && k < (int)LENGTH(vec); k++) {
		if (vec[k].iov_len == 0)
			continue;
		sum = sum * 31 + golibevent_diff_sum(vec[k].iov_base, vec[k].iov_len);
		chunks++;
	}
	SAY("buffer", i % NBUFFERS, length(b), chunks, sum);
}

static int
add(struct buf *b, const void *p, size_t n, bool front)
{
	int err = enter(b);

	if (err != 0)
		return err;
	begin();
	err = permission(front ? evbuffer_prepend(b->c, p, n) : evbuffer_add(b->c, p, n));
	end();
	return err;
}

static void
do_add(unsigned i, bool front)
{
	size_t n = golibevent_diff_size();
	uint8_t data[MOST];

	golibevent_diff_fill(data, n, n);
	SAY(front ? "prepend" : "write", n, add(slot(i), data, n, front));
	show(i);
}

/* A cleanup can change the buffer, and then it is to be done again. */
static int
reserve(struct buf *b, size_t n, struct evbuffer_iovec *vec, int extents, int *got)
{
	bool again;
	int err;

	do {
		*got = 0;
		if ((err = enter(b)) != 0)
			return err;
		begin();
		if (is_frozen(b))
			err = EPERM;
		else
			*got = evbuffer_reserve_space(b->c, n, vec, extents);
		again = end();
	} while (err == 0 && again);
	return err;
}

static int
commit(struct buf *b, struct evbuffer_iovec *vec, int extents)
{
	int err = enter(b);

	if (err != 0)
		return err;
	begin();
	if (is_frozen(b))
		err = EPERM;
	else
		err = evbuffer_commit_space(b->c, vec, extents) == 0 ? 0 : EINVAL;
	end();
	return err;
}

/* evbuffer_add_iovec may add a part: there is to be room for all first. Where that is
 * decides how much there is for what comes. */
static void
do_add_iovec(unsigned i)
{
	struct evbuffer_iovec room[2];
	uint8_t data[3 * 255];
	struct buf *b = slot(i);
	size_t n = 0, k, len, first;
	int got, err;

	for (k = 0; k < 3; k++) {
		len = next();
		golibevent_diff_fill(data + n, len, k);
		n += len;
	}
	if (n == 0) {
		err = add(b, data, 0, false);
	} else if ((err = reserve(b, n, room, LENGTH(room), &got)) == 0) {
		first = n < room[0].iov_len ? n : room[0].iov_len;
		memcpy(room[0].iov_base, data, first);
		room[0].iov_len = first;
		if (got == 2) {
			memcpy(room[1].iov_base, data + first, n - first);
			room[1].iov_len = n - first;
		}
		err = commit(b, room, got);
	}
	SAY("iovec", n, err);
	show(i);
}

static int
add_buffer(struct buf *b, struct buf *src, bool front)
{
	int err = enter_move(b, src);

	if (err != 0)
		return err;
	begin();
	err = permission(front ? evbuffer_prepend_buffer(b->c, src->c) :
	    evbuffer_add_buffer(b->c, src->c));
	end();
	return err;
}

static void
do_move(unsigned i, bool front)
{
	unsigned j = next();

	SAY(front ? "prepend_buffer" : "add_buffer", j % NBUFFERS,
	    add_buffer(slot(i), slot(j), front));
	show(i);
	show(j);
}

/* Adds all of part, whose callbacks there are none of, also to what was frozen meanwhile. */
static void
give(struct buf *b, struct evbuffer *part)
{
	if (evbuffer_add_buffer(b->c, part) == -1) {
		evbuffer_unfreeze(b->c, 0);
		evbuffer_add_buffer(b->c, part);
		evbuffer_freeze(b->c, 0);
	}
	evbuffer_free(part);
}

/* libevent calls dst's callbacks while src is in pieces, so then a part takes a way round. */
static int
remove_buffer(struct buf *src, struct buf *dst, size_t n)
{
	size_t len = evbuffer_get_length(src->c);
	struct evbuffer *part;
	int rc;

	if (n == 0 || n >= len || !dst->watched)
		return evbuffer_remove_buffer(src->c, dst->c, len == 0 && n > 0 ? 1 : n);
	if (is_frozen(dst))
		return -1;
	part = evbuffer_new();
	rc = evbuffer_remove_buffer(src->c, part, n);
	give(dst, part);
	return rc;
}

static void
do_remove_buffer(unsigned i)
{
	unsigned j = next();
	size_t n = golibevent_diff_size();
	struct buf *b = slot(i);
	int rc = 0, err = enter_move(slot(j), b);

	if (err == 0 && b->files && n < evbuffer_get_length(b->c))
		err = ENOTSUP;
	if (err == 0) {
		begin();
		rc = remove_buffer(b, slot(j), n);
		err = permission(rc);
		end();
	}
	SAY("remove_buffer", j % NBUFFERS, n, rc < 0 ? 0 : rc, err);
	show(i);
	show(j);
}

static int
drain(struct buf *b, size_t n)
{
	int err = enter(b);

	if (err != 0)
		return err;
	begin();
	err = permission(evbuffer_drain(b->c, n));
	end();
	return err;
}

static void
do_drain(unsigned i)
{
	size_t n = golibevent_diff_size();

	SAY("drain", n, drain(slot(i), n));
	show(i);
}

static int
read_bytes(struct buf *b, uint8_t *p, size_t n, int *got)
{
	int err = enter_read(b);

	*got = 0;
	if (err != 0 || n == 0)
		return err;
	begin();
	*got = evbuffer_remove(b->c, p, n);
	err = *got == 0 ? END : permission(*got);
	end();
	*got = *got < 0 ? 0 : *got;
	return err;
}

static void
do_read(unsigned i)
{
	size_t n = golibevent_diff_size();
	uint8_t data[MOST];
	int got, err = read_bytes(slot(i), data, n, &got);

	SAY("read", n, got, err, golibevent_diff_sum(data, got));
	show(i);
}

static void
do_copyout(unsigned i)
{
	size_t start = golibevent_diff_size(), n = golibevent_diff_size();
	struct evbuffer_ptr at;
	uint8_t data[MOST];
	int64_t rc = 0;
	int err = enter_read(slot(i));

	if (err == 0 && evbuffer_ptr_set(slot(i)->c, &at, start, EVBUFFER_PTR_SET) == -1)
		err = EINVAL;
	if (err == 0) {
		rc = evbuffer_copyout_from(slot(i)->c, &at, data, n);
		err = permission(rc);
	}
	rc = rc < 0 ? 0 : rc;
	SAY("copyout", start, n, rc, err, golibevent_diff_sum(data, rc));
}

/*
 * Makes the first n bytes one chunk. Where chunks are shared the rest must not come into the
 * free space of the first, which has none with a byte before it.
 */
static const uint8_t *
join(struct buf *b, size_t n)
{
	const uint8_t *p;
	bool frozen;

	if (!b->shares || n <= evbuffer_get_contiguous_space(b->c))
		return evbuffer_pullup(b->c, n);
	quiet = true;
	if ((frozen = evbuffer_prepend(b->c, "", 1) == -1)) {
		evbuffer_unfreeze(b->c, 1);
		evbuffer_prepend(b->c, "", 1);
	}
	p = evbuffer_pullup(b->c, n + 1) + 1;
	evbuffer_drain(b->c, 1);
	if (frozen)
		evbuffer_freeze(b->c, 1);
	quiet = false;
	return p;
}

/* A cleanup can change the buffer, and then it is to be done again. */
static int
pullup(struct buf *b, bool everything, size_t n, const uint8_t **p)
{
	bool again;
	int err;

	do {
		*p = NULL;
		if ((err = enter_read(b)) != 0)
			return err;
		begin();
		if (everything)
			n = evbuffer_get_length(b->c);
		if (n > evbuffer_get_length(b->c))
			err = EINVAL;
		else if (n > 0)
			*p = join(b, n);
		again = end();
	} while (err == 0 && again);
	return err;
}

/* Not with deferred callbacks, which would get to know. */
static void
do_pullup(unsigned i)
{
	bool everything = next() % 4 == 0;
	size_t n = everything ? 0 : golibevent_diff_size();
	struct buf *b = slot(i);
	const uint8_t *p;
	int err;

	if (b == deferred)
		return;
	err = pullup(b, everything, n, &p);
	if (everything)
		n = length(b);
	SAY("pullup", n, err, p != NULL ? golibevent_diff_sum(p, n) : 0);
	show(i);
}

static void
do_expand(unsigned i)
{
	size_t n = golibevent_diff_size();
	int err = enter(slot(i));

	if (err == 0) {
		begin();
		err = evbuffer_expand(slot(i)->c, n) == -1 ? ENOMEM : 0;
		end();
	}
	SAY("expand", n, err);
	show(i);
}

/* Reserves, fills, and commits: of every second extent half, of the others all or nothing. */
static void
do_reserve(unsigned i)
{
	size_t n = golibevent_diff_size();
	int extents = next() % 6, want = next() % 6, got = 0, err = EINVAL, k;
	struct evbuffer_iovec vec[MAX_EXTENTS + 2] = {{NULL, 0}};
	struct buf *b = slot(i);

	if (n > 0 && extents >= 1 && extents <= MAX_EXTENTS)
		err = reserve(b, n, vec, extents, &got);
	SAY("reserve", n, extents, got, err);
	if (err != 0) {
		show(i);
		return;
	}
	for (k = 0; k < got; k++) {
		SAY("extent", vec[k].iov_len);
		golibevent_diff_fill(vec[k].iov_base, vec[k].iov_len, k);
		if (k % 2 != 0)
			vec[k].iov_len /= 2;
		else if (n % 4 == 3)
			vec[k].iov_len = 0;
	}
	/* More pieces, or bytes, than were reserved. */
	if (want > got || (want > 0 && next() % 8 == 0))
		err = EINVAL;
	else
		err = commit(b, vec, want);
	SAY("commit", want, err);
	show(i);
}

static void
do_search(unsigned i)
{
	size_t n = next() % 6, start = golibevent_diff_size();
	int end = next() % 2 == 0 ? -1 : (int)golibevent_diff_size(), err = EINVAL;
	struct evbuffer_ptr from, to, found = {.pos = -1};
	struct buf *b = slot(i);
	char what[6];

	golibevent_diff_fill((uint8_t *)what, n, next());
	if (end < 0 || (size_t)end >= start)
		err = enter_read(b);
	if (err == 0 && (evbuffer_ptr_set(b->c, &from, start, EVBUFFER_PTR_SET) == -1 ||
	    (end >= 0 && evbuffer_ptr_set(b->c, &to, end, EVBUFFER_PTR_SET) == -1)))
		err = EINVAL;
	if (err == 0)
		found = end < 0 ? evbuffer_search(b->c, what, n, &from) :
		    evbuffer_search_range(b->c, what, n, &from, &to);
	SAY("search", n, start, end, found.pos, err);
}

static int
search_eol(struct buf *b, size_t start, unsigned style, struct evbuffer_ptr *found, size_t *n)
{
	struct evbuffer_ptr from;
	int err = EINVAL;

	found->pos = -1;
	if (style <= EVBUFFER_EOL_NUL)
		err = enter_read(b);
	if (err == 0 && evbuffer_ptr_set(b->c, &from, start, EVBUFFER_PTR_SET) == -1)
		err = EINVAL;
	if (err == 0)
		*found = evbuffer_search_eol(b->c, &from, n, style);
	if (found->pos < 0)
		*n = 0;
	return err;
}

static void
do_search_eol(unsigned i)
{
	size_t start = golibevent_diff_size(), n;
	unsigned style = next() % 6;
	struct evbuffer_ptr found;
	int err = search_eol(slot(i), start, style, &found, &n);

	SAY("search_eol", start, style, found.pos, n, err);
}

/* evbuffer_readln would tell callbacks twice, with half of it done. */
static int
readline(struct buf *b, unsigned style, size_t *n, int64_t *sum)
{
	struct evbuffer_ptr found;
	size_t eol;
	uint8_t *line = NULL;
	int err = search_eol(b, 0, style, &found, &eol);

	*n = 0;
	*sum = golibevent_diff_sum(NULL, 0);
	if (err == 0 && found.pos < 0)
		err = EAGAIN;
	if (err != 0)
		return err;
	if ((line = malloc(found.pos + 1)) == NULL)
		abort();
	begin();
	if (found.pos > 0)
		err = permission(evbuffer_copyout(b->c, line, found.pos));
	if (err == 0)
		err = permission(evbuffer_drain(b->c, found.pos + eol));
	end();
	if (err == 0) {
		*n = found.pos;
		*sum = golibevent_diff_sum(line, *n);
	}
	free(line);
	return err;
}

static void
do_readline(unsigned i)
{
	unsigned style = next() % 6;
	size_t n;
	int64_t sum;
	int err = readline(slot(i), style, &n, &sum);

	SAY("readline", style, n, err, sum);
	show(i);
}

static void
do_peek(unsigned i)
{
	size_t start = golibevent_diff_size(), n = golibevent_diff_size();
	struct evbuffer_ptr from;
	struct evbuffer_iovec vec[2048];
	int chunks, k, err = enter_read(slot(i));

	if (err == 0 && evbuffer_ptr_set(slot(i)->c, &from, start, EVBUFFER_PTR_SET) == -1)
		err = EINVAL;
	SAY("peek", start, n, err);
	if (err != 0)
		return;
	chunks = evbuffer_peek(slot(i)->c, n, &from, vec, LENGTH(vec));
	for (k = 0; k < chunks; k++) {
		if (vec[k].iov_len > n)
			vec[k].iov_len = n;
		n -= vec[k].iov_len;
		if (vec[k].iov_len > 0)
			SAY("chunk", vec[k].iov_len,
			    golibevent_diff_sum(vec[k].iov_base, vec[k].iov_len));
	}
}

static void
do_freeze(unsigned i)
{
	unsigned how = next() % 8;
	int err = enter(slot(i));

	/* It thaws more often than it freezes. */
	if (err == 0 && how < 2)
		evbuffer_freeze(slot(i)->c, how);
	else if (err == 0)
		evbuffer_unfreeze(slot(i)->c, how % 2);
	SAY("freeze", how, err);
}

static void
do_reference(unsigned i)
{
	size_t n = golibevent_diff_size();
	int64_t id = references++;
	struct reference *r;
	int err = enter(slot(i));

	if (err == 0) {
		r = new_reference(id, n, NULL);
		begin();
		err = permission(evbuffer_add_reference(slot(i)->c, r->data, n, on_release, r));
		if (err != 0)
			free(r);
		end();
	}
	SAY("reference", id, n, err);
	show(i);
}

static int
transfer(struct buf *b, bool out, int fd, int max, int *n)
{
	int err = enter(b);

	*n = 0;
	if (err != 0 || (max == 0 && !out))
		return err;
	begin();
	errno = 0;
	if (!out)
		*n = evbuffer_read(b->c, fd, max);
	else if (max != 0 && evbuffer_get_length(b->c) > 0)
		*n = evbuffer_write_atmost(b->c, fd, max);
	if (*n == -1)
		err = errno != 0 ? errno : EPERM;
	else if (*n == 0 && !out)
		err = END;
	else if (*n == 0 && errno != 0)	/* a file's bytes do not find room */
		err = errno;
	end();
	*n = *n < 0 ? 0 : *n;
	return err;
}

static void
do_transfer(unsigned i, bool out)
{
	static const unsigned fds[2][2] = {{1, 4}, {0, 5}};
	int fd = golibevent_diff_descriptor(fds[out][next() % 2]);
	int max = next() % 4 == 0 ? -1 : (int)golibevent_diff_size(), n;
	int err = transfer(slot(i), out, fd, max, &n);

	SAY(out ? "write_fd" : "read_fd", max, n, err);
	show(i);
}

static void
do_write(void)
{
	static const unsigned fds[2] = {0, 5};
	int fd = golibevent_diff_descriptor(fds[next() % 2]);
	size_t n = golibevent_diff_size();
	uint8_t data[MOST];
	int64_t rc;

	golibevent_diff_fill(data, n, n);
	rc = write(fd, data, n);
	SAY("write", rc < 0 ? 0 : rc);
}

/* Inside calls, which may be in the midst of changing it, it goes with the last of them. */
static int
close_buf(struct buf *b)
{
	if (b->lent)
		return EBUSY;
	if (b->closed)
		return 0;
	begin();
	b->closed = true;
	if (calls > 1) {
		b->doomed = doomed;
		doomed = b;
	} else {
		free_buf(b);
	}
	end();
	return 0;
}

static void
do_add_callback(unsigned i)
{
	struct callback *cb = &callbacks[ncallbacks];
	struct buf *b = slot(i);
	int err;

	if (ncallbacks == NCALLBACKS)
		return;
	if ((err = enter(b)) == 0) {
		ncallbacks++;
		cb->buf = b;
		cb->removed = false;
		cb->entry = evbuffer_add_cb(b->c, on_change, cb);
		b->watched = true;
	}
	SAY("add_callback", i % NBUFFERS, err);
}

/* Of what is deferred libevent is to know at once what is removed, so that is not done in
 * callbacks. */
static void
do_callback(void)
{
	unsigned id = next() % NCALLBACKS, what = next() % 4;
	struct callback *cb = &callbacks[id];

	if (id >= ncallbacks || (cb->buf == deferred && depth > 0))
		return;
	SAY("callback", id, what);
	if (what < 2)
		cb->removed = true;
	else if (cb->removed || cb->buf->closed)
		return;
	else if (what == 2)
		evbuffer_cb_clear_flags(cb->buf->c, cb->entry, EVBUFFER_CB_ENABLED);
	else
		evbuffer_cb_set_flags(cb->buf->c, cb->entry, EVBUFFER_CB_ENABLED);
}

/* Reports whether a callback of b's is left. */
static bool
is_watched(const struct buf *b)
{
	unsigned i;

	for (i = 0; i < ncallbacks; i++) {
		if (callbacks[i].buf == b && !callbacks[i].removed)
			return true;
	}
	return false;
}

/* Takes away what was removed, now that libevent cannot be about to call it. What the last one
 * was still to be told of libevent keeps for the next, unless another change comes before, if
 * only of no bytes. The binding forgets it. */
static void
sweep(void)
{
	unsigned i;

	for (i = 0; i < ncallbacks; i++) {
		struct callback *cb = &callbacks[i];

		if (cb->removed && cb->entry != NULL && !cb->buf->closed) {
			if (cb->buf == deferred && !is_watched(deferred)) {
				evbuffer_cb_clear_flags(deferred->c, cb->entry,
				    EVBUFFER_CB_ENABLED);
				event_base_loop(base, EVLOOP_NONBLOCK);
			}
			evbuffer_remove_cb_entry(cb->buf->c, cb->entry);
			cb->entry = NULL;
		}
	}
}

/* Of one at a time: where nothing has changed libevent queues callbacks, too, which is seen
 * in the order of two. */
static void
do_defer(unsigned i)
{
	struct buf *b = slot(i);
	int err;

	if (depth > 0 || (deferred != NULL && deferred != b && !deferred->closed))
		return;
	if (base == NULL)
		base = event_base_new();
	if ((err = enter(b)) == 0 && b == deferred)
		err = EALREADY;
	if (err == 0) {
		evbuffer_defer_callbacks(b->c, base);
		b->watched = true;
	}
	deferred = b;
	SAY("defer", i % NBUFFERS, err);
}

static void
do_loop(void)
{
	int err = RUNNING;

	if (base == NULL)
		return;
	SAY("loop", 0);
	if (!looping && changing == 0) {
		looping = true;
		err = event_base_loop(base, EVLOOP_NONBLOCK) == -1 ? errno : 0;
		looping = false;
	}
	SAY("looped", err);
}

/* libevent would add to chunks that it has just freed when dst has one that is empty. */
static void
do_add_buffer_reference(unsigned i)
{
	unsigned j = next();
	struct buf *b = slot(i), *src = slot(j);
	struct evbuffer *part;
	int err = enter_two(b, src);

	if (err == 0 && evbuffer_get_length(src->c) > 0) {
		b->shares = src->shares = true;
		begin();
		part = evbuffer_new();
		if (is_frozen(b))
			err = EPERM;
		else if (evbuffer_add_buffer_reference(part, src->c) == -1)
			err = EINVAL;
		if (err == 0)
			give(b, part);
		else
			evbuffer_free(part);
		end();
	}
	SAY("add_buffer_reference", j % NBUFFERS, err);
	show(j);
	show(i);
}

static struct segment *
new_segment(int64_t offset, int64_t length, unsigned flags)
{
	struct segment *s;
	int fd;

	if (offset > FILE_SIZE || length > FILE_SIZE - offset)
		return NULL;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		abort();
	s->length = length < 0 ? FILE_SIZE - offset : length;
	s->in_file = !(flags & EVBUF_FS_DISABLE_SENDFILE);
	if (s->length == 0)
		flags = 0;		/* there is no memory of that length */
	fd = fcntl(golibevent_diff_file(), F_DUPFD_CLOEXEC, 0);
	s->c = evbuffer_file_segment_new(fd, offset, s->length,
	    flags | EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_MMAP);
	evbuffer_file_segment_add_cleanup_cb(s->c, on_segment, new_reference(0, 0, s));
	s->users = 1;
	s->next = all_segments;
	all_segments = s;
	return s;
}

static void
leave_segment(struct segment *s)
{
	if (--s->users > 0)
		return;
	begin();
	evbuffer_file_segment_free(s->c);
	end();
}

static void
close_segment(struct segment *s)
{
	if (s->closed)
		return;
	s->closed = true;
	leave_segment(s);
}

static int
add_segment(struct buf *b, struct segment *s, int64_t offset, int64_t length)
{
	struct evbuffer *part;
	int err;

	if (offset > s->length || length > s->length - offset)
		return EINVAL;
	if (s->closed)
		return CLOSED;
	s->users++;
	if (length < 0)
		length = s->length - offset;
	err = enter(b);
	if (err == 0 && length > 0 && s->in_file && !b->drains)
		err = ENOTSUP;
	if (err == 0 && length > 0) {
		part = evbuffer_new();
		if (b->drains)
			evbuffer_set_flags(part, EVBUFFER_FLAG_DRAINS_TO_FD);
		evbuffer_add_file_segment(part, s->c, offset, length);
		b->files = b->files || s->in_file;
		begin();
		if (is_frozen(b)) {
			evbuffer_free(part);
			err = EPERM;
		} else {
			give(b, part);
		}
		end();
	}
	leave_segment(s);
	return err;
}

/* Takes a length from the tape, -1 for all that follow. */
static int64_t
some_or_all(void)
{
	return next() % 2 == 0 ? -1 : (int64_t)golibevent_diff_size();
}

static void
do_add_file(unsigned i)
{
	int64_t offset = golibevent_diff_size(), length = some_or_all();
	struct segment *s;
	int err = EINVAL;

	s = new_segment(offset, length, slot(i)->drains ? 0 : EVBUF_FS_DISABLE_SENDFILE);
	if (s != NULL) {
		err = add_segment(slot(i), s, 0, -1);
		close_segment(s);
	}
	SAY("add_file", offset, length, err);
	show(i);
}

static void
do_segment(unsigned i)
{
	unsigned what = next() % 8, k = next() % NSEGMENTS;
	int64_t offset, length;
	int err;

	if (what < 2) {
		offset = golibevent_diff_size();
		length = some_or_all();
		if (segments[k] != NULL)
			close_segment(segments[k]);
		segments[k] = new_segment(offset, length,
		    what == 0 ? EVBUF_FS_DISABLE_SENDFILE : 0);
		if (segments[k] != NULL)
			segments[k]->id = nsegments++;
		SAY("segment", k, what, offset, length, segments[k] == NULL ? EINVAL : 0);
	} else if (segments[k] == NULL) {
		return;
	} else if (what < 6) {
		offset = golibevent_diff_size();
		length = some_or_all();
		SAY("add_segment", k, offset, length, add_segment(slot(i), segments[k], offset,
		    length));
		show(i);
	} else if (what == 6) {
		err = segments[k]->closed ? CLOSED : 0;
		if (err == 0)
			segments[k]->cleanups++;
		SAY("add_cleanup", k, err);
	} else {
		close_segment(segments[k]);
		SAY("close_segment", k);
	}
}

static void
do_flags(unsigned i)
{
	unsigned how = next() % 4;
	struct buf *b = slot(i);
	int err = how == 3 ? EINVAL : enter(b);

	if (err == 0) {
		b->drains = how < 2;
		(b->drains ? evbuffer_set_flags : evbuffer_clear_flags)(b->c,
		    EVBUFFER_FLAG_DRAINS_TO_FD);
	}
	SAY("flags", how, err);
}

static void
do_max_read(unsigned i)
{
	size_t n = golibevent_diff_size(), max = 0;
	int err = n == 0 ? EINVAL : enter(slot(i));

#if LIBEVENT_VERSION_NUMBER >= 0x02020000
	if (err == 0)
		evbuffer_set_max_read(slot(i)->c, n);
	if (enter(slot(i)) == 0)
		max = evbuffer_get_max_read(slot(i)->c);
#else
	if (err == 0)
		err = ENOTSUP;
	if (enter(slot(i)) == 0)
		max = 4096;
#endif
	SAY("max_read", n, max, err);
}

static void
do_lines(unsigned i)
{
	unsigned style = next() % 6;
	struct buf *b = slot(i);
	int64_t sum;
	size_t n;

	while (readline(b, style, &n, &sum) == 0) {
		SAY("line", n, sum);
		if (next() % 4 == 0)
			break;
	}
	SAY("lines", style);
	show(i);
}

/* What a reader does, and a writer: something else, a part, too much, or fail. */
static int
on_stream(const char *word, size_t room, size_t *n)
{
	unsigned how;

	SAY(word, room);
	act(next() % 4 == 3);
	how = next() % 8;
	*n = golibevent_diff_size();
	if (*n > room)
		*n = room;
	if (how == 7)
		*n = room + 1;
	return over() ? END : how == 6 ? EIO : how == 5 ? END : 0;
}

static int
read_from(struct buf *b, int64_t *total)
{
	struct evbuffer_iovec room;
	int err, got, failed;
	size_t n;

	*total = 0;
	for (;;) {
		if ((err = reserve(b, 4096, &room, 1, &got)) != 0)
			return err;
		b->lent = true;
		failed = on_stream("reader", room.iov_len, &n);
		b->lent = false;
		if (n > room.iov_len)
			return EINVAL;
		golibevent_diff_fill(room.iov_base, n, n);
		room.iov_len = n;
		if ((err = commit(b, &room, 1)) != 0)
			return err;
		*total += n;
		if (failed != 0)
			return failed == END ? 0 : failed;
	}
}

/* Finds the first chunk that is not empty. */
static bool
first_chunk(struct buf *b, struct evbuffer_iovec *chunk)
{
	struct evbuffer_iovec vec[2048];
	int n = 0, k;

	if (enter_read(b) == 0)
		n = evbuffer_peek(b->c, -1, NULL, vec, LENGTH(vec));
	for (k = 0; k < n && k < (int)LENGTH(vec); k++) {
		*chunk = vec[k];
		if (chunk->iov_len > 0)
			return true;
	}
	return false;
}

static int
write_to(struct buf *b, int64_t *total)
{
	struct evbuffer_iovec chunk;
	int err, failed;
	size_t n;

	*total = 0;
	if ((err = enter_read(b)) != 0 || (err = drain(b, 0)) != 0)
		return err;
	while (first_chunk(b, &chunk)) {
		b->lent = true;
		SAY("chunk", golibevent_diff_sum(chunk.iov_base, chunk.iov_len));
		failed = on_stream("writer", chunk.iov_len, &n);
		b->lent = false;
		if (n > chunk.iov_len)
			return EINVAL;
		if ((err = drain(b, n)) != 0)
			return err;
		*total += n;
		if (failed != 0)
			return failed;
		if (n < chunk.iov_len)
			return SHORT;
	}
	return 0;
}

static void
do_stream(unsigned i)
{
	unsigned how = next() % 4, j = next();
	struct buf *b = slot(i), *src = slot(j);
	int64_t n = 0;
	int err;

	if (how == 0) {
		err = read_from(b, &n);
	} else if (how == 1) {
		err = write_to(b, &n);
	} else {
		n = length(src);
		err = add_buffer(b, src, false);
		n = err == 0 ? n : 0;
	}
	SAY("stream", how, j % NBUFFERS, n, err);
	show(j);
	show(i);
}

static void
do_little(unsigned i)
{
	unsigned how = next() % 7;
	size_t n = next();
	struct buf *b = slot(i);
	struct evbuffer_iovec chunk = {NULL, 0};
	uint8_t data[255];
	int err = 0, got = 0;

	golibevent_diff_fill(data, n, n);
	switch (how) {
	case 0:
		err = add(b, "x", 1, false);
		break;
	case 1:
		if ((err = enter_read(b)) == 0) {
			got = evbuffer_copyout(b->c, data, 1);
			err = got == 0 ? END : permission(got);
		}
		if (err == 0)
			err = drain(b, 1);
		got = err == 0 ? data[0] : 0;
		break;
	case 2:
		err = add(b, data, n, false);
		break;
	case 3:
		err = enter_read(b);
		got = err == 0 ? evbuffer_search(b->c, (char *)data, n % 6, NULL).pos : -1;
		err = 0;
		break;
	case 4:
		if ((err = enter_read(b)) == 0) {
			got = evbuffer_copyout(b->c, data, n);
			err = permission(got);
		}
		got = got < 0 ? 0 : got;
		SAY("copyout", golibevent_diff_sum(data, got));
		break;
	case 5:
		first_chunk(b, &chunk);
		got = chunk.iov_len;
		SAY("peek", golibevent_diff_sum(chunk.iov_base, got));
		break;
	default:
		if ((err = enter(b)) == 0 && (calls > 0 || b->locks))
			err = calls > 0 ? EBUSY : EALREADY;
		if (err == 0) {
			evbuffer_enable_locking(b->c, NULL);
			b->locks = true;
		}
		break;
	}
	SAY("little", how, got, err);
	show(i);
}

static void
do_renew(unsigned i)
{
	struct buf *b = slot(i);
	int err = close_buf(b);

	/* A cleanup can do the same. */
	if (err == 0 && slot(i) == b)
		buffers[i % NBUFFERS] = new_buf();
	SAY("renew", i % NBUFFERS, err);
}

static int
step(void)
{
	unsigned op = next() % 48, i = next();

	if (over())
		return 0;
	if (depth == 0)
		sweep();
	switch (op) {
	case 0: case 1: case 2:
		do_add(i, false);
		break;
	case 3: case 4:
		do_add(i, true);
		break;
	case 5:
		do_add_iovec(i);
		break;
	case 6: case 7:
		do_move(i, false);
		break;
	case 8:
		do_move(i, true);
		break;
	case 9: case 10:
		do_remove_buffer(i);
		break;
	case 11: case 12:
		do_drain(i);
		break;
	case 13:
		do_read(i);
		break;
	case 14:
		do_copyout(i);
		break;
	case 15:
		do_pullup(i);
		break;
	case 16:
		do_expand(i);
		break;
	case 17: case 18:
		do_reserve(i);
		break;
	case 19:
		do_search(i);
		break;
	case 20:
		do_search_eol(i);
		break;
	case 21: case 22:
		do_readline(i);
		break;
	case 23:
		do_peek(i);
		break;
	case 24: case 25:
		do_freeze(i);
		break;
	case 26: case 27:
		do_reference(i);
		break;
	case 28:
		do_transfer(i, false);
		break;
	case 29:
		do_transfer(i, true);
		break;
	case 30:
		do_write();
		break;
	case 31:
		do_renew(i);
		break;
	case 32: case 33:
		do_callback();
		break;
	case 34:
		do_defer(i);
		break;
	case 35: case 36:
		do_loop();
		break;
	case 37: case 38:
		do_add_buffer_reference(i);
		break;
	case 39:
		do_add_file(i);
		break;
	case 40:
		do_segment(i);
		break;
	case 41:
		do_flags(i);
		break;
	case 42:
		do_max_read(i);
		break;
	case 43:
		do_lines(i);
		break;
	case 44:
		do_stream(i);
		break;
	case 45:
		do_little(i);
		break;
	default:
		do_add_callback(i);
		break;
	}
	return 1;
}

/* Frees what is left, and has libevent forget what was deferred. */
static void
finish(void)
{
	struct segment *s;
	struct buf *b;
	size_t i;

	for (i = 0; i < NBUFFERS; i++)
		close_buf(buffers[i]);
	for (i = 0; i < NSEGMENTS; i++) {
		if (segments[i] != NULL)
			close_segment(segments[i]);
		segments[i] = NULL;
	}
	if (base != NULL) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	base = NULL;
	deferred = NULL;
	while ((b = all) != NULL) {
		all = b->next;
		free(b);
	}
	while ((s = all_segments) != NULL) {
		all_segments = s->next;
		free(s);
	}
}

void
golibevent_diff_buffer(const uint8_t *program, size_t n)
{
	size_t i;

	golibevent_diff_begin(program, n);
	references = nsegments = 0;
	ncallbacks = 0;
	last_released = &released;
	for (i = 0; i < NBUFFERS; i++)
		buffers[i] = new_buf();
	while (step())
		;
	finish();
	golibevent_diff_end();
}
