/* The program of FuzzBuffer in C. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/buffer.h>
#include "difftest.h"

#define NBUFFERS 3
#define MAX_EXTENTS 4

static struct evbuffer *buffers[NBUFFERS];
static uint8_t data[MOST + 1];
static int64_t references;

static struct evbuffer **
slot(unsigned i)
{
	return &buffers[i % NBUFFERS];
}

/* What libevent refuses without a reason it refuses because of a frozen end. */
static int
permission(int rc)
{
	return rc == -1 ? EPERM : 0;
}

/* Reports whether the end of a buffer is frozen. */
static bool
is_frozen(struct evbuffer *buf)
{
	return evbuffer_commit_space(buf, NULL, 0) == -1;
}

static void
on_release(const void *p, size_t n, void *arg)
{
	SAY("released", (intptr_t)arg, n);
	free((void *)p);
}

/* Tells all that is in a buffer, chunk by chunk. */
static void
show(unsigned i)
{
	struct evbuffer *buf = *slot(i);
	struct evbuffer_iovec vec[2048];
	int n = evbuffer_peek(buf, -1, NULL, vec, LENGTH(vec)), k;
	int64_t sum = 0, chunks = 0;

	for (k = 0; k < n && k < (int)LENGTH(vec); k++) {
		if (vec[k].iov_len == 0)
			continue;
		sum = sum * 31 + golibevent_diff_sum(vec[k].iov_base, vec[k].iov_len);
		chunks++;
	}
	SAY("buffer", i % NBUFFERS, evbuffer_get_length(buf), chunks, sum);
}

static void
do_add(unsigned i, bool front)
{
	size_t n = golibevent_diff_size();
	int rc;

	golibevent_diff_fill(data, n, n);
	rc = front ? evbuffer_prepend(*slot(i), data, n) : evbuffer_add(*slot(i), data, n);
	SAY(front ? "prepend" : "write", n, permission(rc));
	show(i);
}

/* evbuffer_add_iovec may add a part: there is to be room for all first. Where that is
 * decides how much there is for what comes. */
static void
do_add_iovec(unsigned i)
{
	struct evbuffer_iovec room[2];
	size_t n = 0, k, len, first;
	int got, rc = 0;

	for (k = 0; k < 3; k++) {
		len = next();
		golibevent_diff_fill(data + n, len, k);
		n += len;
	}
	if (n == 0) {
		rc = evbuffer_add(*slot(i), data, 0);
	} else if (is_frozen(*slot(i))) {
		rc = -1;
	} else {
		got = evbuffer_reserve_space(*slot(i), n, room, LENGTH(room));
		first = n < room[0].iov_len ? n : room[0].iov_len;
		memcpy(room[0].iov_base, data, first);
		room[0].iov_len = first;
		if (got == 2) {
			memcpy(room[1].iov_base, data + first, n - first);
			room[1].iov_len = n - first;
		}
		rc = evbuffer_commit_space(*slot(i), room, got);
	}
	SAY("iovec", n, permission(rc));
	show(i);
}

static void
do_move(unsigned i, bool front)
{
	unsigned j = next();
	int err = EINVAL;

	if (*slot(i) != *slot(j))
		err = permission(front ? evbuffer_prepend_buffer(*slot(i), *slot(j)) :
		    evbuffer_add_buffer(*slot(i), *slot(j)));
	SAY(front ? "prepend_buffer" : "add_buffer", j % NBUFFERS, err);
	show(i);
	show(j);
}

static void
do_remove_buffer(unsigned i)
{
	unsigned j = next();
	size_t n = golibevent_diff_size();
	int rc = 0, err = EINVAL;

	if (*slot(i) != *slot(j)) {
		rc = evbuffer_remove_buffer(*slot(i), *slot(j), n);
		err = permission(rc);
	}
	SAY("remove_buffer", j % NBUFFERS, n, rc < 0 ? 0 : rc, err);
	show(i);
	show(j);
}

static void
do_drain(unsigned i)
{
	size_t n = golibevent_diff_size();
	int rc = evbuffer_drain(*slot(i), n);

	SAY("drain", n, permission(rc));
	show(i);
}

static void
do_read(unsigned i)
{
	size_t n = golibevent_diff_size();
	int rc = 0, err = 0;

	if (n > 0) {
		rc = evbuffer_remove(*slot(i), data, n);
		err = rc == 0 ? END : permission(rc);
	}
	rc = rc < 0 ? 0 : rc;
	SAY("read", n, rc, err, golibevent_diff_sum(data, rc));
	show(i);
}

static void
do_copyout(unsigned i)
{
	size_t start = golibevent_diff_size(), n = golibevent_diff_size();
	struct evbuffer_ptr at;
	int64_t rc = 0;
	int err = EINVAL;

	if (evbuffer_ptr_set(*slot(i), &at, start, EVBUFFER_PTR_SET) == 0) {
		rc = evbuffer_copyout_from(*slot(i), &at, data, n);
		err = permission(rc);
	}
	rc = rc < 0 ? 0 : rc;
	SAY("copyout", start, n, rc, err, golibevent_diff_sum(data, rc));
}

static void
do_pullup(unsigned i)
{
	bool everything = next() % 4 == 0;
	size_t n = everything ? evbuffer_get_length(*slot(i)) : golibevent_diff_size();
	const void *p = NULL;
	int err = EINVAL;

	if (n <= evbuffer_get_length(*slot(i))) {
		p = n > 0 ? evbuffer_pullup(*slot(i), n) : NULL;
		err = 0;
	}
	SAY("pullup", n, err, p != NULL ? golibevent_diff_sum(p, n) : 0);
	show(i);
}

static void
do_expand(unsigned i)
{
	size_t n = golibevent_diff_size();

	SAY("expand", n, evbuffer_expand(*slot(i), n) == -1 ? ENOMEM : 0);
	show(i);
}

/* Reserves, fills, and commits: of every second extent half. */
static void
do_reserve(unsigned i)
{
	size_t n = golibevent_diff_size();
	int extents = next() % 6, want = next() % 6, got = 0, err = 0, k;
	struct evbuffer_iovec vec[MAX_EXTENTS + 2] = {{NULL, 0}};

	if (n == 0 || extents < 1 || extents > MAX_EXTENTS)
		err = EINVAL;
	else if (is_frozen(*slot(i)))
		err = EPERM;
	else
		got = evbuffer_reserve_space(*slot(i), n, vec, extents);
	SAY("reserve", n, extents, got, err);
	if (err != 0) {
		show(i);
		return;
	}
	for (k = 0; k < got; k++) {
		SAY("extent", vec[k].iov_len);
		golibevent_diff_fill(vec[k].iov_base, vec[k].iov_len, k);
		vec[k].iov_len >>= k & 1;
	}
	if (want > got)
		err = EINVAL;
	else if (want > 0 && next() % 8 == 0)
		err = EINVAL;		/* more than was reserved */
	else
		err = evbuffer_commit_space(*slot(i), vec, want) == 0 ? 0 :
		    is_frozen(*slot(i)) ? EPERM : EINVAL;
	SAY("commit", want, err);
	show(i);
}

static void
do_search(unsigned i)
{
	size_t n = next() % 6, start = golibevent_diff_size();
	int end = next() % 2 == 0 ? -1 : (int)golibevent_diff_size(), err = 0;
	struct evbuffer_ptr from, to, found = {.pos = -1};

	golibevent_diff_fill(data, n, next());
	if ((end >= 0 && (size_t)end < start) ||
	    evbuffer_ptr_set(*slot(i), &from, start, EVBUFFER_PTR_SET) == -1 ||
	    (end >= 0 && evbuffer_ptr_set(*slot(i), &to, end, EVBUFFER_PTR_SET) == -1))
		err = EINVAL;
	else if (end < 0)
		found = evbuffer_search(*slot(i), (char *)data, n, &from);
	else
		found = evbuffer_search_range(*slot(i), (char *)data, n, &from, &to);
	SAY("search", n, start, end, found.pos, err);
}

static void
do_search_eol(unsigned i)
{
	size_t start = golibevent_diff_size(), n = 0;
	unsigned style = next() % 6;
	struct evbuffer_ptr from, found = {.pos = -1};
	int err = EINVAL;

	if (style <= EVBUFFER_EOL_NUL &&
	    evbuffer_ptr_set(*slot(i), &from, start, EVBUFFER_PTR_SET) == 0) {
		found = evbuffer_search_eol(*slot(i), &from, &n, style);
		err = 0;
	}
	SAY("search_eol", start, style, found.pos, found.pos < 0 ? 0 : n, err);
}

static void
do_readline(unsigned i)
{
	unsigned style = next() % 6;
	struct evbuffer_ptr found;
	size_t n = 0;
	char *line = NULL;
	int err = EINVAL;

	if (style <= EVBUFFER_EOL_NUL) {
		found = evbuffer_search_eol(*slot(i), NULL, NULL, style);
		line = evbuffer_readln(*slot(i), &n, style);
		err = line != NULL ? 0 : found.pos < 0 ? EAGAIN : EPERM;
	}
	n = line != NULL ? n : 0;
	SAY("readline", style, n, err, golibevent_diff_sum(line, n));
	free(line);
	show(i);
}

static void
do_peek(unsigned i)
{
	size_t start = golibevent_diff_size(), n = golibevent_diff_size();
	struct evbuffer_ptr from;
	struct evbuffer_iovec vec[2048];
	int chunks, k;

	if (evbuffer_ptr_set(*slot(i), &from, start, EVBUFFER_PTR_SET) == -1) {
		SAY("peek", start, n, EINVAL);
		return;
	}
	chunks = evbuffer_peek(*slot(i), n, &from, vec, LENGTH(vec));
	SAY("peek", start, n, 0);
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

	/* It thaws more often than it freezes. */
	if (how < 2)
		evbuffer_freeze(*slot(i), how);
	else
		evbuffer_unfreeze(*slot(i), how % 2);
	SAY("freeze", how);
}

static void
do_reference(unsigned i)
{
	size_t n = golibevent_diff_size();
	int64_t id = references++;
	uint8_t *p = malloc(n + 1);
	int rc;

	if (p == NULL)
		abort();
	golibevent_diff_fill(p, n, n);
	rc = evbuffer_add_reference(*slot(i), p, n, on_release, (void *)(intptr_t)id);
	if (rc == -1)
		free(p);
	SAY("reference", id, n, permission(rc));
	show(i);
}

static void
do_transfer(unsigned i, bool out)
{
	static const unsigned fds[2][2] = {{1, 4}, {0, 5}};
	int fd = golibevent_diff_descriptor(fds[out][next() % 2]);
	int max = next() % 4 == 0 ? -1 : (int)golibevent_diff_size(), n = 0, err = 0;

	if (max != 0 && (!out || evbuffer_get_length(*slot(i)) > 0)) {
		errno = 0;
		n = !out ? evbuffer_read(*slot(i), fd, max) :
		    evbuffer_write_atmost(*slot(i), fd, max);
		if (n == -1)
			err = errno != 0 ? errno : EPERM;
		else if (n == 0 && !out)
			err = END;
		n = n < 0 ? 0 : n;
	}
	SAY(out ? "write_fd" : "read_fd", max, n, err);
	show(i);
}

static void
do_write(void)
{
	static const unsigned fds[2] = {0, 5};
	int fd = golibevent_diff_descriptor(fds[next() % 2]);
	size_t n = golibevent_diff_size();
	int64_t rc;

	golibevent_diff_fill(data, n, n);
	rc = write(fd, data, n);
	SAY("write", rc < 0 ? 0 : rc);
}

static void
do_renew(unsigned i)
{
	evbuffer_free(*slot(i));
	*slot(i) = evbuffer_new();
	SAY("renew", i % NBUFFERS);
}

static int
step(void)
{
	unsigned op = next() % 32, i = next();

	if (over())
		return 0;
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
	default:
		do_renew(i);
		break;
	}
	return 1;
}

void
golibevent_diff_buffer(const uint8_t *program, size_t n)
{
	size_t i;

	golibevent_diff_begin(program, n);
	references = 0;
	for (i = 0; i < NBUFFERS; i++)
		buffers[i] = evbuffer_new();
	while (step())
		;
	for (i = 0; i < NBUFFERS; i++)
		evbuffer_free(buffers[i]);
	golibevent_diff_end();
}
