/*
 * libevent's log.
 *
 * libevent logs while it holds the lock of a base, so neither Go nor libevent may be
 * called from here. A message is copied into a ring, and a byte in a pipe tells Go to
 * fetch it. libevent's own pointer to the callback is set once and never cleared: it
 * reads that twice, without a lock.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

#define RING 256

/* Under mu, which is a leaf. */
static struct {
	pthread_mutex_t mu;
	struct golibevent_message ring[RING];
	unsigned first, count;
	uint64_t lost;		/* since the last message that found room */
	int open;		/* Go wants the messages */
	int woken;		/* a byte was written since the ring was last empty */
	int wake;		/* the pipe's writing end */
	char error[GOLIBEVENT_MESSAGE];	/* the last message of EVENT_LOG_ERR */
} logs = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* What libevent prints when nobody wants its messages. */
static void
print(int severity, const char *text)
{
	static const char *const names[] = {"debug", "msg", "warn", "err"};

	fprintf(stderr, "[%s] %s\n",
	    severity >= EVENT_LOG_DEBUG && severity <= EVENT_LOG_ERR ? names[severity] : "???",
	    text);
}

static void
copy(char *to, const char *text)
{
	size_t n = strlen(text);

	if (n >= GOLIBEVENT_MESSAGE)
		n = GOLIBEVENT_MESSAGE - 1;
	memcpy(to, text, n);
	to[n] = '\0';
}

/* Takes a message into the ring; mu is held. */
static void
keep(int severity, const char *text)
{
	struct golibevent_message *m = &logs.ring[(logs.first + logs.count) % RING];
	struct timespec now;
	ssize_t n;

	if (logs.count == RING) {
		logs.lost++;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	m->ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	m->severity = severity;
	m->lost = logs.lost;
	copy(m->text, text);
	logs.lost = 0;
	logs.count++;
	if (!logs.woken) {
		/* A full pipe wakes Go just as well. */
		logs.woken = 1;
		n = write(logs.wake, "", 1);
		(void)n;
	}
}

/* Logs a message: libevent's, or one of our own. errno stays as it is. */
void
golibevent_log(int severity, const char *text)
{
	int err = errno, open;

	pthread_mutex_lock(&logs.mu);
	if (severity == EVENT_LOG_ERR)
		copy(logs.error, text);
	open = logs.open;
	if (open)
		keep(severity, text);
	pthread_mutex_unlock(&logs.mu);
	if (!open)
		print(severity, text);
	errno = err;
}

/* libevent exits after this whatever it does; to abort makes Go print its goroutines. */
void
golibevent_on_fatal(int code)
{
	(void)code;
	pthread_mutex_lock(&logs.mu);
	for (; logs.count > 0; logs.count--) {
		print(logs.ring[logs.first].severity, logs.ring[logs.first].text);
		logs.first = (logs.first + 1) % RING;
	}
	fprintf(stderr, "libevent: fatal error, from which it cannot return: %s\n", logs.error);
	abort();
}

/* A result, for cgo's code for a function with neither that nor arguments draws a
 * warning. */
int
golibevent_enable_debug_mode(void)
{
	event_enable_debug_mode();
	return 0;
}

/*
 * Begins to keep messages. *fd is set to the end of a pipe that can be read when there
 * are some; the caller closes it. -1 with errno: nothing was opened.
 */
int
golibevent_log_open(int *fd)
{
	int ends[2];

	if (golibevent_pipe(ends) == -1)
		return -1;
	pthread_mutex_lock(&logs.mu);
	logs.wake = ends[1];
	logs.woken = 0;
	logs.open = 1;
	pthread_mutex_unlock(&logs.mu);
	*fd = ends[0];
	return 0;
}

/* Ends the keeping of messages, and the pipe. What was kept can still be taken. */
int
golibevent_log_close(void)
{
	int rc;

	pthread_mutex_lock(&logs.mu);
	logs.open = 0;
	rc = close(logs.wake);
	pthread_mutex_unlock(&logs.mu);
	return rc;
}

/*
 * Takes the oldest message and returns 1, or 0 when there is none. Messages that found
 * no room are told with the one that came after them, or by a message without text.
 */
int
golibevent_log_take(struct golibevent_message *m)
{
	int found = 1;

	pthread_mutex_lock(&logs.mu);
	if (logs.count > 0) {
		*m = logs.ring[logs.first];
		logs.first = (logs.first + 1) % RING;
		logs.count--;
	} else {
		found = logs.lost > 0;
		m->lost = logs.lost;
		m->text[0] = '\0';
		logs.lost = 0;
		logs.woken = 0;
	}
	pthread_mutex_unlock(&logs.mu);
	return found;
}
