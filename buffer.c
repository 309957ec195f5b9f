/*
 * Buffers: what libevent's functions do not check, do not report, or leave half done.
 *
 * A function that changes an evbuffer holds back the references that it releases, and
 * sets errno when it fails: to EPERM where libevent gives no reason, which is when the
 * evbuffer is frozen.
 */
#include <limits.h>
#include "internal.h"

static void
begin(void)
{
	hold_references();
	errno = 0;
}

/* Ends a call with its result. The caller owns what it has released. */
static struct golibevent_done
end(int64_t n)
{
	struct golibevent_done done = {.n = n, .released = take_references()};

	if (n < 0 && errno == 0)
		errno = EPERM;
	return done;
}

/* Reports with errno whether n more bytes can be counted. */
static int
room(struct evbuffer *buf, size_t n)
{
	if (n <= (size_t)EV_SSIZE_MAX - evbuffer_get_length(buf))
		return 1;
	errno = EOVERFLOW;
	return 0;
}

struct golibevent_done
golibevent_buffer_free(struct evbuffer *buf)
{
	begin();
	evbuffer_free(buf);
	return end(0);
}

struct golibevent_done
golibevent_buffer_add(struct evbuffer *buf, const uint8_t *p, size_t n)
{
	begin();
	return end(room(buf, n) ? evbuffer_add(buf, p, n) : -1);
}

struct golibevent_done
golibevent_buffer_prepend(struct evbuffer *buf, const uint8_t *p, size_t n)
{
	size_t before = evbuffer_get_length(buf), after;
	int err;

	begin();
	if (!room(buf, n))
		return end(-1);
	if (evbuffer_prepend(buf, p, n) == 0)
		return end(0);
	/* Out of memory, it may have put the last part of p in free space. */
	err = errno;
	after = evbuffer_get_length(buf);
	if (after > before)
		evbuffer_drain(buf, after - before);
	errno = err;
	return end(-1);
}

/* On success the reference has name, and gives it back when it is released. */
struct golibevent_done
golibevent_buffer_add_reference(struct evbuffer *buf, const uint8_t *p, size_t n, void *name)
{
	struct golibevent_reference *ref;

	begin();
	if (!room(buf, n) || (ref = malloc(sizeof(*ref))) == NULL)
		return end(-1);
	ref->name = name;
	if (evbuffer_add_reference(buf, p, n, golibevent_on_release, ref) == 0)
		return end(0);
	free(ref);
	return end(-1);
}

struct golibevent_done
golibevent_buffer_add_buffer(struct evbuffer *dst, struct evbuffer *src)
{
	begin();
	return end(room(dst, evbuffer_get_length(src)) ? evbuffer_add_buffer(dst, src) : -1);
}

struct golibevent_done
golibevent_buffer_prepend_buffer(struct evbuffer *dst, struct evbuffer *src)
{
	begin();
	return end(room(dst, evbuffer_get_length(src)) ? evbuffer_prepend_buffer(dst, src) : -1);
}

/*
 * Moves n bytes, in steps, as libevent's result is an int. libevent goes on when there
 * is no memory for the last part of a step, which is then lost: that is ENOMEM.
 */
struct golibevent_done
golibevent_buffer_remove_buffer(struct evbuffer *src, struct evbuffer *dst, size_t n)
{
	size_t len = evbuffer_get_length(src), moved = 0, step;
	int rc;

	begin();
	if (n > len)
		n = len;
	if (!room(dst, n))
		return end(-1);
	do {
		step = n - moved < INT_MAX ? n - moved : INT_MAX;
		rc = evbuffer_remove_buffer(src, dst, step);
		if (rc == -1 || errno == ENOMEM)
			return end(-1);
		moved += rc;
	} while (rc > 0 && moved < n);
	return end(moved);
}

/* n is INT_MAX at most, as libevent's result. */
struct golibevent_done
golibevent_buffer_remove(struct evbuffer *buf, uint8_t *p, size_t n)
{
	begin();
	return end(evbuffer_remove(buf, p, n));
}

/* Removes n bytes to p, and the eol bytes behind them: two calls made one. */
struct golibevent_done
golibevent_buffer_remove_line(struct evbuffer *buf, uint8_t *p, size_t n, size_t eol)
{
	begin();
	if (n > 0 && evbuffer_copyout(buf, p, n) == -1)
		return end(-1);
	return end(evbuffer_drain(buf, n + eol));
}

struct golibevent_done
golibevent_buffer_drain(struct evbuffer *buf, size_t n)
{
	begin();
	return end(evbuffer_drain(buf, n));
}

/* Makes the first n bytes, all with n < 0, one chunk. The data stay the evbuffer's. */
struct golibevent_done
golibevent_buffer_pullup(struct evbuffer *buf, int64_t n)
{
	size_t len = evbuffer_get_length(buf);
	struct golibevent_done done;
	uint8_t *data = NULL;

	begin();
	if (n < 0)
		n = len;
	if ((size_t)n > len) {
		errno = EINVAL;
		n = -1;
	} else if (n > 0 && (data = evbuffer_pullup(buf, n)) == NULL) {
		errno = ENOMEM;
		n = -1;
	}
	done = end(n);
	done.data = data;
	return done;
}

/* libevent expands a frozen evbuffer too: there is but one reason to fail. */
struct golibevent_done
golibevent_buffer_expand(struct evbuffer *buf, size_t n)
{
	int rc;

	begin();
	rc = evbuffer_expand(buf, n);
	if (rc == -1)
		errno = ENOMEM;
	return end(rc);
}

/* Reports whether the end is frozen, which shows when nothing is committed. */
int
golibevent_buffer_end_is_frozen(struct evbuffer *buf)
{
	return evbuffer_commit_space(buf, NULL, 0) == -1;
}

/* n must not be 0: libevent then aborts if the last chunk is full. */
struct golibevent_done
golibevent_buffer_reserve(struct evbuffer *buf, size_t n, struct evbuffer_iovec *vec,
    int extents)
{
	int rc;

	begin();
	if (golibevent_buffer_end_is_frozen(buf))
		return end(-1);
	rc = evbuffer_reserve_space(buf, n, vec, extents);
	if (rc == -1)
		errno = ENOMEM;
	return end(rc);
}

/* Fails with EINVAL when vec is not the space at the end of buf any more. */
struct golibevent_done
golibevent_buffer_commit(struct evbuffer *buf, struct evbuffer_iovec *vec, int extents)
{
	int rc;

	begin();
	if (golibevent_buffer_end_is_frozen(buf))
		return end(-1);
	rc = evbuffer_commit_space(buf, vec, extents);
	if (rc == -1)
		errno = EINVAL;
	return end(rc);
}

struct golibevent_done
golibevent_buffer_read(struct evbuffer *buf, int fd, int max)
{
	int n;

	begin();
	do {
		errno = 0;
		n = evbuffer_read(buf, fd, max);
	} while (n == -1 && errno == EINTR);
	return end(n);
}

struct golibevent_done
golibevent_buffer_write(struct evbuffer *buf, int fd, int64_t max)
{
	int n;

	begin();
	/* libevent reports nothing to write as an error without errno. */
	if (max == 0 || evbuffer_get_length(buf) == 0)
		return end(0);
	do {
		errno = 0;
		n = max < 0 ? evbuffer_write(buf, fd) : evbuffer_write_atmost(buf, fd, max);
	} while (n == -1 && errno == EINTR);
	return end(n);
}

/* Copies from start on; -1 with errno if that is past the end. */
int64_t
golibevent_buffer_copyout(struct evbuffer *buf, size_t start, uint8_t *p, size_t n)
{
	struct evbuffer_ptr at;
	int64_t copied;

	if (evbuffer_ptr_set(buf, &at, start, EVBUFFER_PTR_SET) == -1) {
		errno = EINVAL;
		return -1;
	}
	copied = evbuffer_copyout_from(buf, &at, p, n);
	if (copied == -1)
		errno = EPERM;
	return copied;
}

/*
 * Puts the chunks that hold n bytes from start on, whole, into vec, as far as its extents
 * go, and returns how many chunks there are; n < 0 is all. -1: start is past the end.
 */
int
golibevent_buffer_peek(struct evbuffer *buf, size_t start, int64_t n,
    struct evbuffer_iovec *vec, int extents)
{
	struct evbuffer_ptr from;

	if (evbuffer_ptr_set(buf, &from, start, EVBUFFER_PTR_SET) == -1)
		return -1;
	/* With -1 libevent would not count beyond the extents. */
	if (n < 0)
		n = evbuffer_get_length(buf) - start;
	return evbuffer_peek(buf, n, &from, vec, extents);
}

/*
 * Finds what between start and end; end < 0 is the end of the evbuffer. Returns its
 * position, -1 if it is not there, -2 if start or end are past the end.
 */
int64_t
golibevent_buffer_search(struct evbuffer *buf, const uint8_t *what, size_t n, size_t start,
    int64_t end)
{
	struct evbuffer_ptr from, to;

	if (evbuffer_ptr_set(buf, &from, start, EVBUFFER_PTR_SET) == -1 ||
	    (end >= 0 && evbuffer_ptr_set(buf, &to, end, EVBUFFER_PTR_SET) == -1))
		return -2;
	if (end < 0)
		return evbuffer_search(buf, (const char *)what, n, &from).pos;
	return evbuffer_search_range(buf, (const char *)what, n, &from, &to).pos;
}

struct golibevent_eol
golibevent_buffer_search_eol(struct evbuffer *buf, size_t start, int style)
{
	struct golibevent_eol eol = {.pos = -2};
	struct evbuffer_ptr from;

	if (evbuffer_ptr_set(buf, &from, start, EVBUFFER_PTR_SET) == 0)
		eol.pos = evbuffer_search_eol(buf, &from, &eol.n, style).pos;
	return eol;
}
