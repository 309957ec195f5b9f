/*
 * The load generator: it has messages echoed on a number of connections to a server and
 * measures for a while.
 *
 *	load -port n -pid n [-active 64] [-idle 0] [-size 64] [-inflight 1]
 *	    [-warmup 200] [-window 500] [-signal 0]
 *
 * Times are in milliseconds; pid is the server's, which with -signal 1 gets a SIGHUP before
 * its memory is looked at, a SIGUSR1 before the first echo and a SIGUSR2 after the last.
 * On each active connection inflight messages are sent at once, and the next ones when all
 * have come back, so that every server gets them in the same portions. Each idle connection
 * has one message echoed and is then left alone. What is received is compared with what
 * was sent until the warm-up is over. The program polls and never sleeps, so that the
 * server never has to wake it. It prints one JSON object:
 *
 *	{"rate": echoes a second, "p50", "p99": ns from the sending of a burst to its last
 *	 byte, "cpu": ns of the server's CPU time an echo, "busy": share of the window that
 *	 the server was on a CPU, "echoes": all there were on active connections,
 *	 "idle_rss": the server's resident bytes for one idle connection more}
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include "common.h"

#define BATCH 256
#define CHUNK 65536

/* Latencies, in buckets that are at most 1/64 wide of what they hold. */
#define SUB 64
static uint64_t buckets[40 * SUB];

struct conn {
	int fd;
	int events;		/* what epoll waits for */
	size_t unsent;		/* bytes of the burst that are due */
	size_t received;	/* bytes of the burst that have come back */
	int64_t sent_at;
};

static size_t burst;		/* bytes that are sent at once */
static int inflight, ep;
static char *pattern;		/* what is sent */
static struct sockaddr_in server;

static size_t
bucket(uint64_t ns)
{
	int shift = 0;

	while (ns >> shift >= 2 * SUB)
		shift++;
	return (size_t)shift * SUB + (ns >> shift);
}

static uint64_t
value(size_t b)
{
	int shift = b < 2 * SUB ? 0 : (int)(b / SUB) - 1;

	return (uint64_t)(b - (size_t)shift * SUB) << shift;
}

static uint64_t
percentile(uint64_t total, double p)
{
	uint64_t seen = 0;
	size_t b;

	for (b = 0; b < sizeof(buckets) / sizeof(buckets[0]); b++)
		if ((seen += buckets[b]) > (uint64_t)(total * p))
			return value(b);
	return 0;
}

static int
dial(void)
{
	struct linger reset = {1, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd == -1 || connect(fd, (struct sockaddr *)&server, sizeof(server)) == -1)
		die("connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* No port is to be left in TIME_WAIT. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

/* Opens a connection that does no more than to echo once. */
static void
dial_idle(void)
{
	char buf[64] = {0};
	int fd = dial();
	size_t got = 0;
	ssize_t n;

	if (write(fd, buf, sizeof(buf)) != sizeof(buf))
		die("write: %s", strerror(errno));
	while (got < sizeof(buf)) {
		if ((n = read(fd, buf, sizeof(buf) - got)) <= 0)
			die("an idle connection was not echoed");
		got += n;
	}
}

static long
resident(int pid, int tell)
{
	char path[64];
	long pages = 0;
	FILE *f;

	if (tell && kill(pid, SIGHUP) == -1)
		die("kill: %s", strerror(errno));
	usleep(300000);
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if ((f = fopen(path, "r")) == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		die("cannot read %s", path);
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Sends what is due, as much as the socket takes. */
static void
push(struct conn *c)
{
	struct epoll_event ee = {.data.ptr = c};
	ssize_t n = write(c->fd, pattern + burst - c->unsent, c->unsent);

	if (n == -1 && errno != EAGAIN)
		die("write: %s", strerror(errno));
	if (n > 0)
		c->unsent -= n;
	ee.events = c->unsent > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN;
	if ((int)ee.events != c->events && epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ee) == -1)
		die("epoll_ctl: %s", strerror(errno));
	c->events = ee.events;
}

static void
start_burst(struct conn *c)
{
	c->received = 0;
	c->unsent = burst;
	c->sent_at = clock_ns(CLOCK_MONOTONIC);
	push(c);
}

/* Returns how many messages have come back, which is none or all. */
static int
pull(struct conn *c, int check)
{
	static char buf[CHUNK];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	if (n == -1 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		die("the server closed a connection: %s", n == 0 ? "end" : strerror(errno));
	if (c->received + n > burst - c->unsent)
		die("more came back than was sent");
	if (check && memcmp(buf, pattern + c->received, n) != 0)
		die("what came back is not what was sent");
	c->received += n;
	if (c->received < burst)
		return 0;
	buckets[bucket(clock_ns(CLOCK_MONOTONIC) - c->sent_at)]++;
	start_burst(c);
	return inflight;
}

/* Runs until the clock says end; returns how many messages came back. */
static uint64_t
run(int64_t end, int check)
{
	struct epoll_event evs[BATCH];
	uint64_t echoes = 0;
	int64_t last = clock_ns(CLOCK_MONOTONIC), now;
	int i, n;

	while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
		if (now - last > 5 * (int64_t)1000000000)
			die("no echo came for five seconds");
		n = epoll_wait(ep, evs, BATCH, 0);
		for (i = 0; i < n; i++) {
			struct conn *c = evs[i].data.ptr;

			if (evs[i].events & EPOLLOUT)
				push(c);
			if (evs[i].events & ~EPOLLOUT)
				echoes += pull(c, check);
			last = now;
		}
	}
	return echoes;
}

int
main(int argc, char **argv)
{
	long active = number(argc, argv, "active", 64), idle = number(argc, argv, "idle", 0);
	int64_t warmup = number(argc, argv, "warmup", 200) * 1000000;
	int64_t window = number(argc, argv, "window", 500) * 1000000;
	int pid = number(argc, argv, "pid", 0), tell = number(argc, argv, "signal", 0);
	long rss = 0, i;
	uint64_t before, echoes;
	struct conn *conns;
	int64_t start, cpu;
	clockid_t clock;

	inflight = number(argc, argv, "inflight", 1);
	burst = inflight * number(argc, argv, "size", 64);
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.sin_port = htons(number(argc, argv, "port", 0));
	if (clock_getcpuclockid(pid, &clock) != 0)
		die("no process %d", pid);
	if (!raise_nofile(active + idle + 64))
		die("too few descriptors: see ulimit -n");

	if ((pattern = malloc(burst)) == NULL)
		die("out of memory");
	for (i = 0; i < (long)burst; i++)
		pattern[i] = (i * 2654435761u) >> 13;

	if (idle > 0) {
		for (i = 0; i < idle / 10; i++)
			dial_idle();
		rss = resident(pid, tell);
		for (; i < idle; i++)
			dial_idle();
		rss = (resident(pid, tell) - rss) * 10 / 9;
	}

	if ((ep = epoll_create1(EPOLL_CLOEXEC)) == -1)
		die("epoll_create1: %s", strerror(errno));
	if ((conns = calloc(active, sizeof(*conns))) == NULL)
		die("out of memory");
	for (i = 0; i < active; i++) {
		struct conn *c = &conns[i];
		struct epoll_event ee = {.events = EPOLLIN, .data.ptr = c};

		c->fd = dial();
		c->events = EPOLLIN;
		if (fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1 ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ee) == -1)
			die("epoll_ctl: %s", strerror(errno));
	}
	/* A server that is idle does at once what the signal asks for. */
	if (tell && kill(pid, SIGUSR1) == -1)
		die("kill: %s", strerror(errno));
	usleep(50000);
	for (i = 0; i < active; i++)
		start_burst(&conns[i]);

	before = run(clock_ns(CLOCK_MONOTONIC) + warmup, 1);
	memset(buckets, 0, sizeof(buckets));
	start = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(clock);
	echoes = run(start + window, 0);
	cpu = clock_ns(clock) - cpu;
	window = clock_ns(CLOCK_MONOTONIC) - start;
	if (tell && kill(pid, SIGUSR2) == -1)
		die("kill: %s", strerror(errno));
	if (echoes == 0)
		die("nothing was echoed");
	printf("{\"rate\": %.1f, \"p50\": %llu, \"p99\": %llu, \"cpu\": %.1f, \"busy\": %.3f, "
	    "\"echoes\": %llu", echoes * 1e9 / window,
	    (unsigned long long)percentile(echoes / inflight, 0.50),
	    (unsigned long long)percentile(echoes / inflight, 0.99),
	    (double)cpu / echoes, (double)cpu / window, (unsigned long long)(before + echoes));
	if (idle > 0)
		printf(", \"idle_rss\": %.1f", (double)rss / idle);
	printf("}\n");
	return 0;
}
