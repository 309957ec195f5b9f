/* The tape, the log and the descriptors of the interpreters. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "difftest.h"

struct golibevent_diff_tape golibevent_diff_tape;
struct golibevent_diff_log golibevent_diff_log;

static int descriptors[NDESCRIPTORS];

/* The log grows as needed; without memory the process ends, as it does in Go. */
static void
more(size_t n)
{
	struct golibevent_diff_log *log = &golibevent_diff_log;

	if (log->cap - log->n >= n)
		return;
	log->cap = 2 * log->cap + n;
	if ((log->p = realloc(log->p, log->cap)) == NULL)
		abort();
}

static size_t
decimal(char *p, int64_t v)
{
	char digits[20];
	size_t n = 0, len = 0;
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;

	if (v < 0)
		p[len++] = '-';
	do
		digits[n++] = '0' + u % 10;
	while ((u /= 10) > 0);
	while (n > 0)
		p[len++] = digits[--n];
	return len;
}

void
golibevent_diff_say(const char *word, const int64_t *numbers, size_t n)
{
	struct golibevent_diff_log *log = &golibevent_diff_log;
	size_t len = strlen(word), i;

	more(len + n * 22 + 1);
	memcpy(log->p + log->n, word, len);
	log->n += len;
	for (i = 0; i < n; i++) {
		log->p[log->n++] = ' ';
		log->n += decimal(log->p + log->n, numbers[i]);
	}
	log->p[log->n++] = '\n';
}

size_t
golibevent_diff_size(void)
{
	unsigned n = next();

	switch (n % 8) {
	case 6:
		return n * 7;
	case 7:
		return n * 67;
	}
	return n / 4;
}

/* The same as in Go: eight bytes at a time, because much is summed. */
int64_t
golibevent_diff_sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t sum = n, word;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	for (; n > 0; n--)
		sum = (sum ^ *p++) * UINT64_C(0x9e3779b97f4a7c15);
	return sum >> 1;
}

void
golibevent_diff_fill(uint8_t *p, size_t n, unsigned seed)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = "abcdefg\r\n\nab\r\nc"[(i + seed) % 16];
}

int
golibevent_diff_descriptor(unsigned i)
{
	int *pair = &descriptors[i & ~1u];
	int rc;

	if (pair[0] == 0) {
		rc = i < 4 ?
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) :
		    pipe2(pair, O_NONBLOCK | O_CLOEXEC);
		if (rc == -1)
			abort();
	}
	return descriptors[i];
}

int
golibevent_diff_file(void)
{
	static uint8_t data[FILE_SIZE];
	static FILE *file;

	if (file == NULL) {
		golibevent_diff_fill(data, sizeof(data), 0);
		if ((file = tmpfile()) == NULL ||
		    fwrite(data, sizeof(data), 1, file) != 1 || fflush(file) != 0)
			abort();
	}
	return fileno(file);
}

/* Begins a program: the tape and the clock are at their start, the log is empty. */
void
golibevent_diff_begin(const uint8_t *program, size_t n)
{
	golibevent_diff_tape.p = program;
	golibevent_diff_tape.end = program + n;
	golibevent_diff_log.n = 0;
	golibevent_diff_clock.us = 1000000;
	golibevent_diff_clock.passes = 0;
	golibevent_diff_clock.waits = NULL;
	golibevent_diff_clock.on = true;
}

/* Ends it, and closes its descriptors. */
void
golibevent_diff_end(void)
{
	size_t i;

	golibevent_diff_clock.on = false;
	for (i = 0; i < LENGTH(descriptors); i++) {
		if (descriptors[i] != 0)
			close(descriptors[i]);
		descriptors[i] = 0;
	}
}
