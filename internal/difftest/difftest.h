/*
 * What the interpreters share. One program runs at a time in a process, so there is one
 * tape, one log and one clock.
 */
#ifndef GOLIBEVENT_DIFFTEST_H
#define GOLIBEVENT_DIFFTEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <event2/event.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Errors of the binding that are no errno. */
#define CLOSED 1001
#define RUNNING 1002
#define END 1003		/* io.EOF */
#define SHORT 1004		/* io.ErrShortWrite */

#define NDESCRIPTORS 6

/* The program: what is left of it says what comes next, also in a callback. */
extern struct golibevent_diff_tape {
	const uint8_t *p, *end;
} golibevent_diff_tape;

/* Returns the next byte, 0 when there are no more. */
static inline unsigned
next(void)
{
	struct golibevent_diff_tape *t = &golibevent_diff_tape;

	return t->p < t->end ? *t->p++ : 0;
}

/* Reports whether the program is over: callbacks then end what they belong to. */
static inline bool
over(void)
{
	return golibevent_diff_tape.p == golibevent_diff_tape.end;
}

/* Adds a line to the log: a word and numbers. */
void golibevent_diff_say(const char *word, const int64_t *numbers, size_t n);
#define SAY(word, ...) golibevent_diff_say((word), (const int64_t[]){__VA_ARGS__}, \
    LENGTH(((const int64_t[]){__VA_ARGS__})))

/* Takes a number of bytes from the tape: mostly little, at times some chunks. */
size_t golibevent_diff_size(void);
#define MOST (255 * 67)

/* Stands for bytes in the log. */
int64_t golibevent_diff_sum(const void *, size_t);

/* Returns a descriptor of a pair that is made when it is first asked for: 0-1 and 2-3 are
 * sockets, 4 and 5 the ends of a pipe. */
int golibevent_diff_descriptor(unsigned i);

/* Returns a descriptor of a file, which lasts as long as the process. */
int golibevent_diff_file(void);
#define FILE_SIZE 12000

/* Fills the buffer of n bytes with what a program writes: letters and ends of lines. */
void golibevent_diff_fill(uint8_t *, size_t n, unsigned seed);

/* clock.c: the time that libevent sees; a loop that waits for nothing breaks base. */
extern struct golibevent_diff_clock {
	bool on;
	int64_t us;
	int passes;		/* of loops; a loop that goes round in vain is broken, too */
	struct event_base *waits;
} golibevent_diff_clock;
#define WALL_CLOCK 1000000000	/* the wall clock's lead, in seconds */

/* What runs a program; the log is in golibevent_diff_log. */
extern struct golibevent_diff_log {
	char *p;
	size_t n, cap;
} golibevent_diff_log;
void golibevent_diff_begin(const uint8_t *, size_t n);
void golibevent_diff_end(void);
void golibevent_diff_events(const uint8_t *, size_t n);
void golibevent_diff_buffer(const uint8_t *, size_t n);
void golibevent_diff_bufferevent(const uint8_t *, size_t n, bool filters);
void golibevent_diff_eager(const uint8_t *, size_t n);

#endif
