/*
 * The C references: an echo server over libevent alone.
 *
 *	server -impl raw|bufferevent [-loops n]
 *
 * raw is a persistent event a connection, with one read(2) and one write(2) a callback;
 * bufferevent moves the input to the output. It listens on a free port of 127.0.0.1,
 * prints "port <n>" and serves until it is killed. With more than one loop each has its
 * thread and its listener on the port.
 */
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <event2/util.h>
#include "common.h"

#define BUFFER 16384

struct conn {
	struct event *ev;
	char *rest;		/* what the socket did not take, or NULL */
	size_t sent, len;
};

static int use_bufferevents;

static void
finish(struct conn *c)
{
	int fd = event_get_fd(c->ev);

	event_free(c->ev);
	close(fd);
	free(c->rest);
	free(c);
}

static void on_conn(evutil_socket_t fd, short what, void *arg);

/* Makes the connection wait for something else. */
static void
wait_for(struct conn *c, short what)
{
	struct event_base *base = event_get_base(c->ev);
	int fd = event_get_fd(c->ev);

	event_del(c->ev);
	event_assign(c->ev, base, fd, what | EV_PERSIST, on_conn, c);
	event_add(c->ev, NULL);
}

/* Reports whether the connection is still there. */
static int
send_rest(struct conn *c)
{
	ssize_t n = write(event_get_fd(c->ev), c->rest + c->sent, c->len - c->sent);

	if (n == -1 && errno != EAGAIN) {
		finish(c);
		return 0;
	}
	if (n > 0)
		c->sent += n;
	if (c->sent == c->len) {
		free(c->rest);
		c->rest = NULL;
		wait_for(c, EV_READ);
	}
	return 1;
}

static void
on_conn(evutil_socket_t fd, short what, void *arg)
{
	static __thread char buf[BUFFER];
	struct conn *c = arg;
	ssize_t n, m;

	(void)what;
	if (c->rest != NULL) {
		send_rest(c);
		return;
	}
	n = read(fd, buf, sizeof(buf));
	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		finish(c);
		return;
	}
	m = write(fd, buf, n);
	if (m == n)
		return;
	if (m == -1 && errno != EAGAIN) {
		finish(c);
		return;
	}
	if (m == -1)
		m = 0;
	if ((c->rest = malloc(n - m)) == NULL)
		die("out of memory");
	memcpy(c->rest, buf + m, n - m);
	c->sent = 0;
	c->len = n - m;
	wait_for(c, EV_WRITE);
}

static void
on_readable(struct bufferevent *bev, void *arg)
{
	(void)arg;
	evbuffer_add_buffer(bufferevent_get_output(bev), bufferevent_get_input(bev));
}

static void
on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		bufferevent_free(bev);
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len,
    void *arg)
{
	struct event_base *base = arg;
	int on = 1;

	(void)listener;
	(void)sa;
	(void)len;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (use_bufferevents) {
		struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

		if (bev == NULL)
			die("bufferevent_socket_new failed");
		bufferevent_setcb(bev, on_readable, NULL, on_end, NULL);
		bufferevent_enable(bev, EV_READ);
	} else {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL ||
		    (c->ev = event_new(base, fd, EV_READ | EV_PERSIST, on_conn, c)) == NULL ||
		    event_add(c->ev, NULL) == -1)
			die("event_new failed");
	}
}

/* Makes a loop that listens on the address, which gets the port that was chosen. */
static struct event_base *
make_loop(struct sockaddr_in *sin, int share)
{
	struct event_base *base = event_base_new();
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE |
	    (share ? LEV_OPT_REUSEABLE_PORT : 0);
	struct evconnlistener *listener;
	socklen_t len = sizeof(*sin);

	if (base == NULL)
		die("event_base_new failed");
	listener = evconnlistener_new_bind(base, on_accept, base, flags, 1024,
	    (struct sockaddr *)sin, sizeof(*sin));
	if (listener == NULL ||
	    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)sin, &len) == -1)
		die("cannot listen: %s", strerror(errno));
	return base;
}

static void *
run(void *arg)
{
	event_base_dispatch(arg);
	return NULL;
}

int
main(int argc, char **argv)
{
	const char *impl = option(argc, argv, "impl", "raw");
	long i, loops = number(argc, argv, "loops", 1);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct event_base *base;
	pthread_t thread;

	if (strcmp(impl, "bufferevent") == 0)
		use_bufferevents = 1;
	else if (strcmp(impl, "raw") != 0)
		die("unknown -impl %s", impl);
	raise_nofile(16384);
	/* Several loops share no base, but libevent has to be told of the threads. */
	if (loops > 1 && evthread_use_pthreads() == -1)
		die("evthread_use_pthreads failed");
	base = make_loop(&sin, loops > 1);
	for (i = 1; i < loops; i++)
		if (pthread_create(&thread, NULL, run, make_loop(&sin, 1)) != 0)
			die("pthread_create failed");
	printf("port %d\n", ntohs(sin.sin_port));
	fflush(stdout);
	run(base);
	return 0;
}
