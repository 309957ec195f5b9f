/*
 * Buffers: what libevent's functions do not check, do not report, or leave half done.
 *
 * A function that changes an evbuffer holds back the references that it releases, and
 * sets errno when it fails: to EPERM where libevent gives no reason, which is when the
 * evbuffer is frozen.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include "internal.h"

/* An evbuffer or a buffer event that was closed in a callback. */
struct golibevent_doomed {
	struct golibevent_doomed *next;
	struct evbuffer *buf;
	struct bufferevent *bev;
	bool shares;
};

/* Frees buf. Where chunks are shared somebody may keep it, itself even: its own are to go. */
static void
let_go(struct evbuffer *buf, bool shares)
{
	if (shares) {
		evbuffer_unfreeze(buf, 1);
		/* References to nothing go with what is drained. */
		if (evbuffer_get_length(buf) == 0) {
			evbuffer_unfreeze(buf, 0);
			evbuffer_add(buf, "", 1);
		}
		evbuffer_drain(buf, evbuffer_get_length(buf));
	}
	evbuffer_free(buf);
}

/*
 * Ends a call with its result. The caller owns what it has released. The panic of a
 * filter that has run inside is told by the outermost call.
 */
static struct golibevent_done
end(struct golibevent_outer outer, int64_t n)
{
	struct golibevent_done done = {.n = n, .released = take_references()};

	done.panicked = end_call(outer);
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

void
golibevent_free_doomed(void)
{
	struct golibevent_doomed *doomed;
	int err = errno;

	while ((doomed = golibevent_call.doomed) != NULL) {
		golibevent_call.doomed = doomed->next;
		if (doomed->buf != NULL)
			let_go(doomed->buf, doomed->shares);
		if (doomed->bev != NULL)
			bufferevent_free(doomed->bev);
		free(doomed);
	}
	errno = err;
}

/* Leaves one of the two, the other being NULL, to the end of the outermost call. */
static int
doom(struct evbuffer *buf, struct bufferevent *bev, bool shares)
{
	struct golibevent_doomed *doomed = malloc(sizeof(*doomed));

	if (doomed == NULL)
		return -1;
	doomed->buf = buf;
	doomed->bev = bev;
	doomed->shares = shares;
	doomed->next = golibevent_call.doomed;
	golibevent_call.doomed = doomed;
	return 0;
}

/*
 * Frees buf; inside another call, which may be in the midst of changing it, that does. It
 * calls the callback of entry, which may be NULL, no more.
 */
struct golibevent_done
golibevent_buffer_free(struct evbuffer *buf, bool shares, struct evbuffer_cb_entry *entry)
{
	struct golibevent_outer outer = begin_call();

	if (golibevent_call.calls > 1)
		return end(outer, doom(buf, NULL, shares));
	if (entry != NULL)
		evbuffer_cb_clear_flags(buf, entry, EVBUFFER_CB_ENABLED);
	let_go(buf, shares);
	return end(outer, 0);
}

/*
 * Frees bev, inside a call. In the callback of an evbuffer that is left to the call that
 * changes it: a callback of libevent's own may be next. Where the loop makes the change it
 * holds a reference. Without memory to remember it by, bev stays.
 */
void
golibevent_let_bufferevent_go(struct bufferevent *bev)
{
	if (golibevent_call.changing > 0 && golibevent_call.calls > 1)
		doom(NULL, bev, false);
	else
		bufferevent_free(bev);
}

struct golibevent_done
golibevent_buffer_add(struct evbuffer *buf, const uint8_t *p, size_t n)
{
	struct golibevent_outer outer = begin_call();

	return end(outer, room(buf, n) ? evbuffer_add(buf, p, n) : -1);
}

struct golibevent_done
golibevent_buffer_prepend(struct evbuffer *buf, const uint8_t *p, size_t n)
{
	struct golibevent_outer outer = begin_call();
	size_t before = evbuffer_get_length(buf), after;
	int err;

	if (!room(buf, n))
		return end(outer, -1);
	if (evbuffer_prepend(buf, p, n) == 0)
		return end(outer, 0);
	/* Out of memory, it may have put the last part of p in free space. */
	err = errno;
	after = evbuffer_get_length(buf);
	if (after > before)
		evbuffer_drain(buf, after - before);
	errno = err;
	return end(outer, -1);
}

/* On success the reference has name, and gives it back when it is released. */
struct golibevent_done
golibevent_buffer_add_reference(struct evbuffer *buf, const uint8_t *p, size_t n, void *name)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_reference *ref;

	if (!room(buf, n) || (ref = malloc(sizeof(*ref))) == NULL)
		return end(outer, -1);
	ref->name = name;
	if (evbuffer_add_reference(buf, p, n, golibevent_on_release, ref) == 0)
		return end(outer, 0);
	free(ref);
	return end(outer, -1);
}

struct golibevent_done
golibevent_buffer_add_buffer(struct evbuffer *dst, struct evbuffer *src)
{
	struct golibevent_outer outer = begin_call();
	int rc = -1;

	if (room(dst, evbuffer_get_length(src)))
		rc = evbuffer_add_buffer(dst, src);
	return end(outer, rc);
}

struct golibevent_done
golibevent_buffer_prepend_buffer(struct evbuffer *dst, struct evbuffer *src)
{
	struct golibevent_outer outer = begin_call();
	int rc = -1;

	if (room(dst, evbuffer_get_length(src)))
		rc = evbuffer_prepend_buffer(dst, src);
	return end(outer, rc);
}

/* Gives all of src to dst, whose end was not frozen when the call began, and frees src. */
static void
give(struct evbuffer *dst, struct evbuffer *src)
{
	if (evbuffer_add_buffer(dst, src) == -1) {
		evbuffer_unfreeze(dst, 0);
		evbuffer_add_buffer(dst, src);
		evbuffer_freeze(dst, 0);
	}
	evbuffer_free(src);
}

/*
 * Moves n bytes, fewer than there are, in steps, as libevent's result is an int. libevent
 * goes on when there is no memory for the last part of a step, which is then lost: that is
 * ENOMEM.
 */
static int64_t
move(struct evbuffer *src, struct evbuffer *dst, size_t n)
{
	size_t moved = 0, step, before;
	int rc;

	errno = 0;
	do {
		step = n - moved < INT_MAX ? n - moved : INT_MAX;
		before = evbuffer_get_length(dst);
		rc = evbuffer_remove_buffer(src, dst, step);
		/* Else it is the backend that has no memory, to watch a socket with. */
		if (rc == -1 || (errno == ENOMEM && evbuffer_get_length(dst) - before < (size_t)rc))
			return -1;
		moved += rc;
	} while (rc > 0 && moved < n);
	return moved;
}

/* Does the same by a way round: libevent calls dst's callbacks while src is in pieces. */
static int64_t
move_around(struct evbuffer *src, struct evbuffer *dst, size_t n)
{
	struct evbuffer *part;
	int64_t moved;
	int err;

	if (golibevent_buffer_end_is_frozen(dst) || (part = evbuffer_new()) == NULL)
		return -1;
	moved = move(src, part, n);
	err = errno;
	give(dst, part);
	if (moved == -1)
		errno = err;
	return moved;
}

/* Moves n bytes, all with n < 0. It is no call of Go's by itself. */
int
golibevent_buffer_move(struct evbuffer *src, struct evbuffer *dst, ev_ssize_t n)
{
	if (n < 0 || (size_t)n >= evbuffer_get_length(src))
		return evbuffer_add_buffer(dst, src);
	return move_around(src, dst, n) == -1 ? -1 : 0;
}

/* Moves n bytes, or all when there are fewer. */
struct golibevent_done
golibevent_buffer_remove_buffer(struct evbuffer *src, struct evbuffer *dst, size_t n,
    bool watched)
{
	struct golibevent_outer outer = begin_call();
	size_t len = evbuffer_get_length(src);

	if (n == 0)
		return end(outer, 0);
	if (len == 0)	/* where it is frozen that is refused */
		return end(outer, evbuffer_remove_buffer(src, dst, 1));
	if (!room(dst, n < len ? n : len))
		return end(outer, -1);
	if (n >= len)
		return end(outer, evbuffer_add_buffer(dst, src) == -1 ? -1 : (int64_t)len);
	return end(outer, watched ? move_around(src, dst, n) : move(src, dst, n));
}

/* n is INT_MAX at most, as libevent's result. */
struct golibevent_done
golibevent_buffer_remove(struct evbuffer *buf, uint8_t *p, size_t n)
{
	struct golibevent_outer outer = begin_call();

	return end(outer, evbuffer_remove(buf, p, n));
}

/* Removes n bytes to p, and the eol bytes behind them: two calls made one. */
struct golibevent_done
golibevent_buffer_remove_line(struct evbuffer *buf, uint8_t *p, size_t n, size_t eol)
{
	struct golibevent_outer outer = begin_call();

	if (n > 0 && evbuffer_copyout(buf, p, n) == -1)
		return end(outer, -1);
	return end(outer, evbuffer_drain(buf, n + eol));
}

struct golibevent_done
golibevent_buffer_drain(struct evbuffer *buf, size_t n)
{
	struct golibevent_outer outer = begin_call();

	return end(outer, evbuffer_drain(buf, n));
}

/* Makes the first n bytes, all with n < 0, one chunk. The data stay the evbuffer's. */
struct golibevent_done
golibevent_buffer_pullup(struct evbuffer *buf, int64_t n)
{
	struct golibevent_outer outer = begin_call();
	size_t len = evbuffer_get_length(buf);
	struct golibevent_done done;
	uint8_t *data = NULL;

	if (n < 0)
		n = len;
	if ((size_t)n > len) {
		errno = EINVAL;
		n = -1;
	} else if (n > 0 && (data = evbuffer_pullup(buf, n)) == NULL) {
		errno = ENOMEM;
		n = -1;
	}
	done = end(outer, n);
	done.data = data;
	return done;
}

/*
 * Does the same with chunks that other evbuffers may share: libevent would move the rest
 * into the free space of the first, where others do so too. With a byte before it the
 * first has none. The callback of entry, which may be NULL, does not get to know.
 */
struct golibevent_done
golibevent_buffer_pullup_shared(struct evbuffer *buf, int64_t n,
    struct evbuffer_cb_entry *entry)
{
	size_t len = evbuffer_get_length(buf);
	struct golibevent_outer outer;
	struct golibevent_done done;
	uint8_t *data = NULL;
	int frozen = 0;

	if (n < 0)
		n = len;
	if ((size_t)n > len || (size_t)n <= evbuffer_get_contiguous_space(buf))
		return golibevent_buffer_pullup(buf, n);
	outer = begin_call();
	if (entry != NULL)
		evbuffer_cb_clear_flags(buf, entry, EVBUFFER_CB_ENABLED);
	if (evbuffer_prepend(buf, "", 1) == -1 && errno == 0) {
		frozen = 1;
		evbuffer_unfreeze(buf, 1);
		evbuffer_prepend(buf, "", 1);
	}
	if (evbuffer_get_length(buf) > len) {
		if ((data = evbuffer_pullup(buf, n + 1)) != NULL)
			data++;
		evbuffer_drain(buf, 1);
	}
	if (frozen)
		evbuffer_freeze(buf, 1);
	if (entry != NULL)
		evbuffer_cb_set_flags(buf, entry, EVBUFFER_CB_ENABLED);
	if (data == NULL) {
		errno = ENOMEM;
		n = -1;
	}
	done = end(outer, n);
	done.data = data;
	return done;
}

/* libevent expands a frozen evbuffer too: there is but one reason to fail. */
struct golibevent_done
golibevent_buffer_expand(struct evbuffer *buf, size_t n)
{
	struct golibevent_outer outer = begin_call();
	int rc;

	rc = evbuffer_expand(buf, n);
	if (rc == -1)
		errno = ENOMEM;
	return end(outer, rc);
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
	struct golibevent_outer outer = begin_call();
	int rc;

	if (golibevent_buffer_end_is_frozen(buf))
		return end(outer, -1);
	rc = evbuffer_reserve_space(buf, n, vec, extents);
	if (rc == -1)
		errno = ENOMEM;
	return end(outer, rc);
}

/* Fails with EINVAL when vec is not the space at the end of buf any more. */
struct golibevent_done
golibevent_buffer_commit(struct evbuffer *buf, struct evbuffer_iovec *vec, int extents)
{
	struct golibevent_outer outer = begin_call();
	int rc;

	if (golibevent_buffer_end_is_frozen(buf))
		return end(outer, -1);
	rc = evbuffer_commit_space(buf, vec, extents);
	if (rc == -1)
		errno = EINVAL;
	return end(outer, rc);
}

struct golibevent_done
golibevent_buffer_read(struct evbuffer *buf, int fd, int max)
{
	struct golibevent_outer outer = begin_call();
	int n;

	do {
		errno = 0;
		n = evbuffer_read(buf, fd, max);
	} while (n == -1 && errno == EINTR);
	return end(outer, n);
}

struct golibevent_done
golibevent_buffer_write(struct evbuffer *buf, int fd, int64_t max)
{
	struct golibevent_outer outer = begin_call();
	int n;

	/* libevent reports nothing to write as an error without errno. */
	if (max == 0 || evbuffer_get_length(buf) == 0)
		return end(outer, 0);
	do {
		errno = 0;
		n = max < 0 ? evbuffer_write(buf, fd) : evbuffer_write_atmost(buf, fd, max);
	} while (n <= 0 && errno == EINTR);
	if (n == 0) {
		/* It has met a file: one that has become shorter, if nothing else. */
		n = -1;
		if (errno == 0)
			errno = ENODATA;
	}
	return end(outer, n);
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

/*
 * Adds references to what is in src. libevent would add to chunks that it has just freed
 * when dst is empty and has one, and would leave out, without a word, what there is no
 * memory for. So it gets a new evbuffer to add to, whose chunks then move.
 */
struct golibevent_done
golibevent_buffer_add_buffer_reference(struct evbuffer *dst, struct evbuffer *src)
{
	struct golibevent_outer outer = begin_call();
	size_t len = evbuffer_get_length(src);
	struct evbuffer *part;

	if (!room(dst, len) || golibevent_buffer_end_is_frozen(dst) ||
	    (part = evbuffer_new()) == NULL)
		return end(outer, -1);
	if (evbuffer_add_buffer_reference(part, src) == -1)
		errno = EINVAL;
	else if (evbuffer_get_length(part) < len)
		errno = ENOMEM;
	else
		len = 0;
	if (len > 0) {
		evbuffer_free(part);
		return end(outer, -1);
	}
	give(dst, part);
	return end(outer, 0);
}

#if LIBEVENT_VERSION_NUMBER >= 0x02020100

/* On success the reference has name, as that of golibevent_buffer_add_reference. */
struct golibevent_done
golibevent_buffer_add_reference_with_offset(struct evbuffer *buf, const uint8_t *p,
    size_t offset, size_t n, void *name)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_reference *ref;

	if (!room(buf, n) || (ref = malloc(sizeof(*ref))) == NULL)
		return end(outer, -1);
	ref->name = name;
	if (evbuffer_add_reference_with_offset(buf, p, offset, n, golibevent_on_release,
	    ref) == 0)
		return end(outer, 0);
	free(ref);
	return end(outer, -1);
}

int
golibevent_buffer_set_max_read(struct evbuffer *buf, size_t n)
{
	return evbuffer_set_max_read(buf, n);
}

size_t
golibevent_buffer_get_max_read(struct evbuffer *buf)
{
	return evbuffer_get_max_read(buf);
}

#else

struct golibevent_done
golibevent_buffer_add_reference_with_offset(struct evbuffer *buf, const uint8_t *p,
    size_t offset, size_t n, void *name)
{
	struct golibevent_done done = {.n = -1};

	(void)buf;
	(void)p;
	(void)offset;
	(void)n;
	(void)name;
	errno = ENOTSUP;
	return done;
}

int
golibevent_buffer_set_max_read(struct evbuffer *buf, size_t n)
{
	(void)buf;
	(void)n;
	errno = ENOTSUP;
	return -1;
}

/* What libevent 2.1 has built in. */
size_t
golibevent_buffer_get_max_read(struct evbuffer *buf)
{
	(void)buf;
	return 4096;
}

#endif

/*
 * Makes a segment of a regular file, which the caller keeps: the segment has a descriptor
 * of its own. *length is set if it is negative. The caller owns the result, whose
 * reference has name and gives it back when nothing needs the segment any more. If it
 * fails without errno the file has become shorter meanwhile.
 */
struct evbuffer_file_segment *
golibevent_file_segment_new(int file, int64_t offset, int64_t *length, unsigned flags,
    void *name)
{
	struct evbuffer_file_segment *seg;
	struct golibevent_reference *ref;
	struct stat st;
	int mode, fd, err;

	if (fstat(file, &st) == -1 || (mode = fcntl(file, F_GETFL)) == -1)
		return NULL;
	err = 0;
	if ((mode & O_ACCMODE) == O_WRONLY)
		err = EBADF;
	else if (S_ISDIR(st.st_mode))
		err = EISDIR;
	else if (!S_ISREG(st.st_mode) || offset > st.st_size || *length > st.st_size - offset)
		err = EINVAL;
	if (err != 0) {
		errno = err;
		return NULL;
	}
	if (*length < 0)
		*length = st.st_size - offset;
	/* libevent would cut off what a size of 32 bits has no room for. */
	if ((flags & EVBUF_FS_DISABLE_SENDFILE) && (int64_t)(size_t)*length != *length) {
		errno = ENOMEM;
		return NULL;
	}
	/* No memory of length 0 can be had; nor is it needed. */
	if (*length == 0)
		flags &= ~EVBUF_FS_DISABLE_SENDFILE;
	if ((ref = malloc(sizeof(*ref))) == NULL)
		return NULL;
	if ((fd = fcntl(file, F_DUPFD_CLOEXEC, 0)) == -1) {
		err = errno;
		free(ref);
		errno = err;
		return NULL;
	}
	errno = 0;
	if ((seg = evbuffer_file_segment_new(fd, offset, *length, flags)) == NULL) {
		err = errno;
		close(fd);
		free(ref);
		errno = err;
		return NULL;
	}
	ref->name = name;
	evbuffer_file_segment_add_cleanup_cb(seg, golibevent_on_segment, ref);
	return seg;
}

struct golibevent_done
golibevent_file_segment_free(struct evbuffer_file_segment *seg)
{
	struct golibevent_outer outer = begin_call();

	evbuffer_file_segment_free(seg);
	return end(outer, 0);
}

/*
 * Makes an evbuffer of length bytes, not 0, from offset on, which are in the segment. It
 * fails with ENOMEM alone. libevent 2.1 then lets go of the segment once, although it has
 * not taken it: *lost says that the caller does not own it any more. What other calls have
 * released is left to golibevent_buffer_take, which follows: a cleanup could close what takes
 * the part.
 */
struct golibevent_done
golibevent_file_segment_part(struct evbuffer_file_segment *seg, bool drains, int64_t offset,
    int64_t length, struct evbuffer **part, bool *lost)
{
	struct golibevent_outer outer = begin_call();
	struct golibevent_done done = {.n = 0};

	if ((*part = evbuffer_new()) == NULL)
		return end(outer, -1);
	if (drains)
		evbuffer_set_flags(*part, EVBUFFER_FLAG_DRAINS_TO_FD);
	if (evbuffer_add_file_segment(*part, seg, offset, length) == 0) {
		end_call(outer);
		return done;
	}
	*lost = LIBEVENT_VERSION_NUMBER < 0x02020000;
	evbuffer_free(*part);
	errno = ENOMEM;
	return end(outer, -1);
}

/* Gives all of part to buf, and frees part in any case. */
struct golibevent_done
golibevent_buffer_take(struct evbuffer *buf, struct evbuffer *part)
{
	struct golibevent_outer outer = begin_call();

	if (room(buf, evbuffer_get_length(part)) && !golibevent_buffer_end_is_frozen(buf)) {
		give(buf, part);
		return end(outer, 0);
	}
	evbuffer_free(part);
	return end(outer, -1);
}

/* Has libevent tell Go, by its handle, of every change of buf. */
struct evbuffer_cb_entry *
golibevent_buffer_add_cb(struct evbuffer *buf, uintptr_t handle)
{
	struct evbuffer_cb_entry *entry;

	entry = evbuffer_add_cb(buf, golibevent_on_buffer_change, (void *)handle);
	if (entry == NULL)
		errno = ENOMEM;
	return entry;
}

/*
 * Takes entry away from buf, which is somebody else's. Inside a call or a callback buf may be
 * in the midst of going through its entries, and this may be the next: it stays then,
 * disabled, and goes with buf.
 */
void
golibevent_buffer_remove_cb(struct evbuffer *buf, struct evbuffer_cb_entry *entry)
{
	if (golibevent_inside())
		evbuffer_cb_clear_flags(buf, entry, EVBUFFER_CB_ENABLED);
	else
		evbuffer_remove_cb_entry(buf, entry);
}

/* Locks buf and returns the caller's thread. */
uintptr_t
golibevent_buffer_lock(struct evbuffer *buf)
{
	evbuffer_lock(buf);
	return golibevent_thread();
}
