/* Pipes, sockets, clocks, and socket addresses between Go's form and C's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include "internal.h"

#ifndef __linux__
/* Makes both ends non-blocking and close-on-exec. -1 with errno: they are closed. */
static int
set_ends(int ends[2])
{
	int i, err;

	for (i = 0; i < 2; i++) {
		if (evutil_make_socket_nonblocking(ends[i]) == -1 ||
		    evutil_make_socket_closeonexec(ends[i]) == -1) {
			err = errno;
			close(ends[0]);
			close(ends[1]);
			errno = err;
			return -1;
		}
	}
	return 0;
}
#endif

/* Makes a pipe whose ends do not block and are closed on exec. */
int
golibevent_pipe(int ends[2])
{
#ifdef __linux__
	return pipe2(ends, O_NONBLOCK | O_CLOEXEC);
#else
	return pipe(ends) == -1 ? -1 : set_ends(ends);
#endif
}

/* Makes two connected sockets that do not block and are closed on exec. */
int
golibevent_socketpair(int domain, int type, int protocol, int fds[2])
{
#ifdef __linux__
	return evutil_socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol, fds);
#else
	return evutil_socketpair(domain, type, protocol, fds) == -1 ? -1 : set_ends(fds);
#endif
}

/* Calls set, for an open descriptor: for others libevent would also log what is wrong. */
int
golibevent_set_socket(int fd, golibevent_setter set)
{
	return fcntl(fd, F_GETFD) == -1 ? -1 : set(fd);
}

int
golibevent_make_listen_socket_not_ipv6only(evutil_socket_t fd)
{
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
	return evutil_make_listen_socket_not_ipv6only(fd);
#else
	(void)fd;
	errno = ENOTSUP;
	return -1;
#endif
}

int
golibevent_set_tcp_keepalive(int fd, int on, int seconds)
{
#if LIBEVENT_VERSION_NUMBER >= 0x02020000
	return evutil_set_tcp_keepalive(fd, on, seconds);
#else
	(void)fd;
	(void)on;
	(void)seconds;
	errno = ENOTSUP;
	return -1;
#endif
}

/* The caller frees the result with evutil_monotonic_timer_free. */
struct evutil_monotonic_timer *
golibevent_monotonic_timer_new(int flags)
{
	struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
	int err;

	if (timer != NULL && evutil_configure_monotonic_time(timer, flags) == -1) {
		err = errno;
		evutil_monotonic_timer_free(timer);
		errno = err;
		return NULL;
	}
	return timer;
}

/* Sees to the seed. libevent does not say why there is none. */
int
golibevent_secure_rng_init(void)
{
	errno = 0;
	if (evutil_secure_rng_init() == 0)
		return 0;
	if (errno == 0)
		errno = EIO;
	return -1;
}

/* Fills p with n bytes, which libevent would also do without a seed. */
int
golibevent_secure_rng_get_bytes(uint8_t *p, size_t n)
{
	if (golibevent_secure_rng_init() == -1)
		return -1;
	evutil_secure_rng_get_bytes(p, n);
	return 0;
}

/* Mixes n bytes into the generator, where that is libevent's own or can be added to. */
int
golibevent_secure_rng_add_bytes(const uint8_t *p, size_t n)
{
	/* Else some libraries lack the function, and in others it does nothing. */
#if !defined(EVENT__HAVE_ARC4RANDOM) || defined(EVENT__HAVE_ARC4RANDOM_ADDRANDOM)
	evutil_secure_rng_add_bytes((const char *)p, n);
	return 0;
#else
	(void)p;
	(void)n;
	errno = ENOTSUP;
	return -1;
#endif
}

/*
 * Fills ss with an IPv4 (n 4) or IPv6 (n 16) address. zone is an interface's name or
 * number, or "". Returns the length, or 0 when there is no such zone.
 */
int
golibevent_sockaddr_ip(struct sockaddr_storage *ss, const uint8_t *addr, int n, uint16_t port,
    const char *zone)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	ev_int64_t number;
	char *end;

	memset(ss, 0, sizeof(*ss));
	if (n == 4) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, addr, 4);
		return sizeof(*sin);
	}
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(port);
	memcpy(&sin6->sin6_addr, addr, 16);
	if (*zone != '\0') {
		sin6->sin6_scope_id = if_nametoindex(zone);
		if (sin6->sin6_scope_id == 0) {
			number = evutil_strtoll(zone, &end, 10);
			if (number <= 0 || number > UINT32_MAX || *end != '\0')
				return 0;
			sin6->sin6_scope_id = number;
		}
	}
	return sizeof(*sin6);
}

/*
 * Fills ss with a unix address of n bytes; one that begins with NUL is abstract.
 * Returns the length, or 0 when it is too long.
 */
int
golibevent_sockaddr_unix(struct sockaddr_storage *ss, const char *path, size_t n)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)ss;

	/* A name in the file system ends with a NUL. */
	if (n == 0 || n > sizeof(sun->sun_path) - (path[0] != '\0'))
		return 0;
	memset(ss, 0, sizeof(*ss));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, n);
	return offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '\0');
}

/*
 * Takes an IP address apart. Returns the number of bytes put into addr, 4 or 16, or 0
 * for another family. zone has room for an interface's name.
 */
int
golibevent_sockaddr_parse(const struct sockaddr *sa, int len, uint8_t *addr, uint16_t *port,
    char *zone)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;

	*zone = '\0';
	if (sa == NULL || len < (int)sizeof(sa->sa_family))
		return 0;
	if (sa->sa_family == AF_INET && len >= (int)sizeof(*sin)) {
		memcpy(addr, &sin->sin_addr, 4);
		*port = ntohs(sin->sin_port);
		return 4;
	}
	if (sa->sa_family == AF_INET6 && len >= (int)sizeof(*sin6)) {
		memcpy(addr, &sin6->sin6_addr, 16);
		*port = ntohs(sin6->sin6_port);
		if (sin6->sin6_scope_id != 0 && if_indextoname(sin6->sin6_scope_id, zone) == NULL)
			snprintf(zone, IF_NAMESIZE, "%u", (unsigned)sin6->sin6_scope_id);
		return 16;
	}
	return 0;
}

/* Fills ss with the address that a socket is bound to. Returns the length, or 0. */
int
golibevent_sockaddr_local(int fd, struct sockaddr_storage *ss)
{
	socklen_t len = sizeof(*ss);

	return getsockname(fd, (struct sockaddr *)ss, &len) == 0 ? (int)len : 0;
}
