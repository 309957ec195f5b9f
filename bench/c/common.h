/* What the C programs of the benchmark share. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Prints what went wrong and ends the program. */
static inline void
die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static inline int64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) == -1)
		die("no such clock");
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/*
 * Allows the program as many descriptors as it may have, and n if the system lets it.
 * Reports whether n are to be had.
 */
static inline int
raise_nofile(rlim_t n)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == -1)
		return 0;
	if (lim.rlim_max < n) {
		struct rlimit more = {n, n};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return 1;
	}
	lim.rlim_cur = lim.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur >= n;
}

/* Returns the value of the argument called name, or what it is when not given. */
static inline const char *
option(int argc, char **argv, const char *name, const char *otherwise)
{
	int i;

	for (i = 1; i + 1 < argc; i += 2)
		if (argv[i][0] == '-' && strcmp(argv[i] + 1, name) == 0)
			return argv[i + 1];
	return otherwise;
}

static inline long
number(int argc, char **argv, const char *name, long otherwise)
{
	const char *s = option(argc, argv, name, NULL);

	return s != NULL ? atol(s) : otherwise;
}

#endif
