/* Pipes, and socket addresses between Go's form and C's. */
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

/* Makes a pipe whose ends do not block and are closed on exec. */
int
golibevent_pipe(int ends[2])
{
#ifdef __linux__
	return pipe2(ends, O_NONBLOCK | O_CLOEXEC);
#else
	int i, err;

	if (pipe(ends) == -1)
		return -1;
	for (i = 0; i < 2; i++) {
		if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) == -1 ||
		    fcntl(ends[i], F_SETFL, O_NONBLOCK) == -1) {
			err = errno;
			close(ends[0]);
			close(ends[1]);
			errno = err;
			return -1;
		}
	}
	return 0;
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
			sin6->sin6_scope_id = strtoul(zone, &end, 10);
			if (sin6->sin6_scope_id == 0 || *end != '\0')
				return 0;
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
