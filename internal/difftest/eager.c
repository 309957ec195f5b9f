/*
 * The program of FuzzEager in C: a buffer event of libevent's, where Go has an eager one.
 *
 * What SetEager promises to be the same is what is told: the callbacks, their order, and
 * what is in the input then; and what has come to the peer when nothing is left to do.
 */
#include <sys/socket.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include "difftest.h"

#define ON_READ 1
#define ON_WRITE 2
#define ON_EVENT 4

static struct event_base *base;
static struct bufferevent *bev;
static bool closed;
static size_t room;		/* for the peer's bytes: one read is to take them all */
static uint8_t data[MOST];

static void
close_it(void)
{
	if (!closed)
		bufferevent_free(bev);
	closed = true;
}

static void
act(unsigned op)
{
	size_t n = golibevent_diff_size();

	switch (op % 6) {
	case 0: case 1: case 2:
		golibevent_diff_fill(data, n, n);
		SAY("write", n, closed ? CLOSED : 0);
		if (!closed && n > 0)
			bufferevent_write(bev, data, n);
		break;
	case 3: case 4:
		n = closed ? 0 : bufferevent_read(bev, data, n);
		SAY("read", n, golibevent_diff_sum(data, n));
		break;
	default:
		SAY("drain", n, closed ? CLOSED : 0);
		if (!closed)
			evbuffer_drain(bufferevent_get_input(bev), n);
		break;
	}
}

static void
callback(int kind, int what)
{
	unsigned n;

	SAY("callback", kind, what, evbuffer_get_length(bufferevent_get_input(bev)));
	for (n = next() % 3; n > 0; n--)
		act(next());
	if (over())
		close_it();
}

static void
on_read(struct bufferevent *b, void *arg)
{
	(void)b;
	(void)arg;
	callback(ON_READ, 0);
}

static void
on_write(struct bufferevent *b, void *arg)
{
	(void)b;
	(void)arg;
	callback(ON_WRITE, 0);
}

static void
on_event(struct bufferevent *b, short what, void *arg)
{
	(void)b;
	(void)arg;
	callback(ON_EVENT, what);
}

/* Runs the loop until nothing is left to do, and tells what has come to the peer. */
static void
do_loop(void)
{
	int fd = golibevent_diff_descriptor(1);
	int64_t total = 0;
	ssize_t n;

	SAY("loop", 0);
	golibevent_diff_clock.waits = base;
	do {
		event_base_loop(base, 0);
		n = read(fd, data, sizeof(data));
		for (; n > 0; n = read(fd, data, sizeof(data)))
			total += n;
	} while (!closed && bufferevent_get_enabled(bev) & EV_WRITE &&
	    evbuffer_get_length(bufferevent_get_output(bev)) > 0);
	room = 4096;
	/* What was not written when it was closed is lost, or was not. */
	SAY("looped", closed ? 0 : total);
}

static int
step(void)
{
	unsigned op = next() % 16;
	size_t n;

	if (over())
		return 0;
	switch (op) {
	case 0: case 1: case 2:
		do_loop();
		break;
	case 3: case 4: case 5:
		n = golibevent_diff_size();
		n = n < room ? n : room;
		room -= n;
		golibevent_diff_fill(data, n, n);
		SAY("peer_write", write(golibevent_diff_descriptor(1), data, n));
		break;
	case 6:
		n = golibevent_diff_size();
		SAY("watermark", n);
		if (!closed)
			bufferevent_setwatermark(bev, EV_READ, n, 0);
		break;
	case 7:
		op = next() % 8;
		SAY("callbacks", op);
		if (!closed)
			bufferevent_setcb(bev, op & ON_READ ? on_read : NULL,
			    op & ON_WRITE ? on_write : NULL, op & ON_EVENT ? on_event : NULL,
			    NULL);
		break;
	default:
		/* Apart from what the peer does: of a socket that can be read from and written
		 * to at the same time it is libevent's affair which is told first. */
		do_loop();
		if (op == 8)
			shutdown(golibevent_diff_descriptor(1), SHUT_WR);
		else
			act(op - 9);
		do_loop();
		break;
	}
	return 1;
}

void
golibevent_diff_eager(const uint8_t *program, size_t n)
{
	golibevent_diff_begin(program, n);
	closed = false;
	room = 4096;
	base = event_base_new();
	bev = bufferevent_socket_new(base, golibevent_diff_descriptor(0),
	    next() % 2 != 0 ? BEV_OPT_DEFER_CALLBACKS : 0);
	bufferevent_setcb(bev, on_read, on_write, on_event, NULL);
	bufferevent_enable(bev, EV_READ);
	while (step())
		;
	close_it();
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	event_base_free(base);
	golibevent_diff_end();
}
