/*
 * Signals, delivered by a handler of our own.
 *
 * libevent's handler runs on whatever stack the signal finds, which may be a
 * goroutine's; it serves one base, and its count of waiting signals wraps around.
 * This one runs on the signal stack that Go gives each thread. It counts the signal
 * in the sink of every base that wants it and wakes those bases through a pipe.
 *
 * The handler takes no lock. Sinks are therefore never freed, only used again: a
 * sink is closed by clearing its open flag and then waiting until no handler is in it.
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include "internal.h"

#ifndef NSIG
#define NSIG 65
#endif

/* An event's signal. All but signum is under signals_mu. */
struct golibevent_signal {
	int signum;
	int added;
	unsigned owed;		/* deliveries that its callback has yet to see */
	int bursting;		/* its trampoline is taking them */
	struct golibevent_event *w;
	struct golibevent_signal *prev, *next;	/* in its sink, oldest first */
};

struct golibevent_sink {
	struct golibevent_sink *next;	/* set before it can be seen */

	/* Atomic: what the handler sees. */
	int open;
	int inside;			/* handlers in this sink */
	int woken;			/* a byte is in the pipe, or about to be */
	unsigned wanted[NSIG];		/* events for the signal */
	unsigned count[NSIG];		/* deliveries since the loop last looked */

	/* Under signals_mu. */
	int taken;			/* from before open is set until all is closed */
	int pipe[2];
	struct event *ev;		/* the pipe's reading end */
	struct golibevent_signal *first, *last;
	int nadded;
};

static void uninstall(int signum);

static pthread_mutex_t signals_mu = PTHREAD_MUTEX_INITIALIZER;
static struct golibevent_sink *sinks;	/* atomic */
static pid_t process;			/* whose signals are counted */

static struct {
	int users;
	struct sigaction previous;
} dispositions[NSIG];

static void
handler(int signum)
{
	struct golibevent_sink *sink;
	struct sigaction dfl;
	int err = errno;
	ssize_t n;

	/* A child between fork and exec can share our memory, but the signal is
	 * its own: there it does what it would have done after the exec. */
	if (getpid() != process) {
		memset(&dfl, 0, sizeof(dfl));
		dfl.sa_handler = SIG_DFL;
		sigaction(signum, &dfl, NULL);
		kill(getpid(), signum);
		errno = err;
		return;
	}
	for (sink = LOAD(&sinks); sink != NULL; sink = sink->next) {
		__atomic_fetch_add(&sink->inside, 1, __ATOMIC_SEQ_CST);
		if (LOAD(&sink->open) && LOAD(&sink->wanted[signum]) != 0) {
			__atomic_fetch_add(&sink->count[signum], 1, __ATOMIC_SEQ_CST);
			if (!EXCHANGE(&sink->woken, 1)) {
				/* A full pipe wakes the loop just as well. */
				n = write(sink->pipe[1], "", 1);
				(void)n;
			}
		}
		__atomic_fetch_sub(&sink->inside, 1, __ATOMIC_SEQ_CST);
	}
	errno = err;
}

/* Hands what the handler has counted to the events that wait for it. */
static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_sink *sink = arg;
	struct golibevent_signal *s;
	unsigned count[NSIG];
	char bytes[64];
	int i;

	(void)what;
	while (read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
	/* Before the counts are read, so that a signal that comes after them
	 * writes to the pipe again. */
	STORE(&sink->woken, 0);
	pthread_mutex_lock(&signals_mu);
	for (i = 0; i < NSIG; i++)
		count[i] = LOAD(&sink->wanted[i]) != 0 ? EXCHANGE(&sink->count[i], 0) : 0;
	for (s = sink->first; s != NULL; s = s->next) {
		if (count[s->signum] == 0)
			continue;
		s->owed += count[s->signum];
		event_active(s->w->ev, EV_SIGNAL, 1);
	}
	pthread_mutex_unlock(&signals_mu);
}

/* Gives gb a sink; signals_mu is held. */
static int
open_sink(struct golibevent_base *gb)
{
	struct golibevent_sink *sink;
	int err;

	for (sink = sinks; sink != NULL && sink->taken; sink = sink->next)
		;
	if (sink == NULL) {
		if ((sink = calloc(1, sizeof(*sink))) == NULL)
			return -1;
		sink->next = sinks;
		STORE(&sinks, sink);
	}
	memset(sink->count, 0, sizeof(sink->count));
	sink->woken = 0;
	if (golibevent_pipe(sink->pipe) == -1)
		return -1;
	if (gb->uses_select && sink->pipe[0] >= FD_SETSIZE) {
		err = EMFILE;
		goto fail;
	}
	sink->ev = event_new(gb->base, sink->pipe[0], EV_READ | EV_PERSIST, on_wake, sink);
	if (sink->ev == NULL) {
		err = ENOMEM;
		goto fail;
	}
	event_priority_set(sink->ev, 0);
	gb->sink = sink;
	sink->taken = 1;
	STORE(&sink->open, 1);
	return 0;
fail:
	close(sink->pipe[0]);
	close(sink->pipe[1]);
	errno = err;
	return -1;
}

/* Frees the base's sink, which nothing waits in any more. */
void
golibevent_sink_free(struct golibevent_base *gb)
{
	struct golibevent_sink *sink = gb->sink;

	if (sink == NULL)
		return;
	event_free(sink->ev);
	STORE(&sink->open, 0);
	while (LOAD(&sink->inside) != 0)
		sched_yield();
	close(sink->pipe[0]);
	close(sink->pipe[1]);
	pthread_mutex_lock(&signals_mu);
	gb->sink = NULL;
	sink->taken = 0;
	pthread_mutex_unlock(&signals_mu);
}

/*
 * Gives the base's signals back, for a base that nothing will ever run or free: its
 * signals would otherwise be caught for good, and do nothing.
 */
void
golibevent_sink_abandon(struct golibevent_base *gb)
{
	struct golibevent_signal *s;

	pthread_mutex_lock(&signals_mu);
	if (gb->sink != NULL) {
		STORE(&gb->sink->open, 0);
		for (s = gb->sink->first; s != NULL; s = s->next) {
			uninstall(s->signum);
			s->added = 0;
		}
		gb->sink->first = gb->sink->last = NULL;
	}
	pthread_mutex_unlock(&signals_mu);
}

/* Makes our handler the signal's; signals_mu is held. */
static int
install(int signum)
{
	struct sigaction ours, current;

	if (sigaction(signum, NULL, &current) == -1)
		return -1;
	if (dispositions[signum].users == 0 || current.sa_handler != handler) {
		memset(&ours, 0, sizeof(ours));
		ours.sa_handler = handler;
		ours.sa_flags = SA_ONSTACK | SA_RESTART;
		sigfillset(&ours.sa_mask);
		process = getpid();
		if (sigaction(signum, &ours, NULL) == -1)
			return -1;
		dispositions[signum].previous = current;
	}
	dispositions[signum].users++;
	return 0;
}

/* Undoes install. A handler that somebody has put over ours stays. */
static void
uninstall(int signum)
{
	struct sigaction current;

	if (--dispositions[signum].users > 0)
		return;
	if (sigaction(signum, NULL, &current) == 0 && current.sa_handler == handler)
		sigaction(signum, &dispositions[signum].previous, NULL);
}

/* Makes w an event of the signal. golibevent_signal_free frees what it allocates. */
int
golibevent_signal_new(struct golibevent_event *w, int signum)
{
	struct golibevent_signal *s;

	if (signum <= 0 || signum >= NSIG) {
		errno = EINVAL;
		return -1;
	}
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return -1;
	s->signum = signum;
	s->w = w;
	w->signal = s;
	return 0;
}

int
golibevent_signal_add(struct golibevent_event *w)
{
	struct golibevent_signal *s = w->signal;
	struct golibevent_base *gb = w->gb;
	struct golibevent_sink *sink;
	int rc = -1, err;

	pthread_mutex_lock(&signals_mu);
	if (s->added) {
		rc = 0;
		goto done;
	}
	if (gb->sink == NULL && open_sink(gb) == -1)
		goto done;
	sink = gb->sink;
	if (sink->nadded == 0 && event_add(sink->ev, NULL) == -1)
		goto done;
	/* Wanted before the handler is there, and counted from then on: no signal is
	 * lost. What is left of an earlier time goes first. */
	if (LOAD(&sink->wanted[s->signum]) == 0)
		STORE(&sink->count[s->signum], 0);
	__atomic_fetch_add(&sink->wanted[s->signum], 1, __ATOMIC_SEQ_CST);
	if (install(s->signum) == -1) {
		err = errno;
		__atomic_fetch_sub(&sink->wanted[s->signum], 1, __ATOMIC_SEQ_CST);
		if (sink->nadded == 0)
			event_del_noblock(sink->ev);
		errno = err;
		goto done;
	}
	sink->nadded++;
	s->added = 1;
	s->next = NULL;
	s->prev = sink->last;
	if (sink->last != NULL)
		sink->last->next = s;
	else
		sink->first = s;
	sink->last = s;
	rc = 0;
done:
	pthread_mutex_unlock(&signals_mu);
	return rc;
}

/* Undoes golibevent_signal_add. Deliveries that wait are dropped, as event_del does. */
void
golibevent_signal_del(struct golibevent_event *w)
{
	struct golibevent_signal *s = w->signal;
	struct golibevent_sink *sink = w->gb->sink;

	pthread_mutex_lock(&signals_mu);
	if (s->added) {
		uninstall(s->signum);
		__atomic_fetch_sub(&sink->wanted[s->signum], 1, __ATOMIC_SEQ_CST);
		*(s->prev != NULL ? &s->prev->next : &sink->first) = s->next;
		*(s->next != NULL ? &s->next->prev : &sink->last) = s->prev;
		s->added = 0;
		if (--sink->nadded == 0)
			event_del_noblock(sink->ev);
	}
	s->owed = 0;
	pthread_mutex_unlock(&signals_mu);
}

int
golibevent_signal_added(const struct golibevent_event *w)
{
	int added;

	pthread_mutex_lock(&signals_mu);
	added = w->signal->added;
	pthread_mutex_unlock(&signals_mu);
	return added;
}

void
golibevent_signal_free(struct golibevent_event *w)
{
	free(w->signal);
	w->signal = NULL;
}

/* Takes one of the deliveries that the event's callback has yet to see, if any. */
int
golibevent_signal_take(struct golibevent_event *w)
{
	struct golibevent_signal *s = w->signal;
	int taken = 0;

	pthread_mutex_lock(&signals_mu);
	if (s->owed > 0) {
		s->owed--;
		taken = 1;
	}
	s->bursting = taken;
	pthread_mutex_unlock(&signals_mu);
	return taken;
}

/* Keeps a delivery that was taken for the next run of the loop, with those behind it. */
void
golibevent_signal_give_back(struct golibevent_event *w)
{
	struct golibevent_signal *s = w->signal;

	pthread_mutex_lock(&signals_mu);
	s->bursting = 0;
	if (s->added) {
		s->owed++;
		event_active(w->ev, EV_SIGNAL, 1);
	}
	pthread_mutex_unlock(&signals_mu);
}

/* Makes the event active for what it has waiting, after event_add may have undone it. */
void
golibevent_signal_remind(struct golibevent_event *w)
{
	struct golibevent_signal *s = w->signal;

	pthread_mutex_lock(&signals_mu);
	if (s->owed > 0 && !s->bursting)
		event_active(w->ev, EV_SIGNAL, 1);
	pthread_mutex_unlock(&signals_mu);
}

/* How many more events the program has than libevent counts: a signal's stand-in
 * is not added, and the pipe is. */
int
golibevent_sink_surplus(struct golibevent_base *gb)
{
	struct golibevent_sink *sink;
	int n = 0;

	pthread_mutex_lock(&signals_mu);
	sink = gb->sink;
	if (sink != NULL && sink->nadded > 0)
		n = sink->nadded - 1;
	pthread_mutex_unlock(&signals_mu);
	return n;
}

/* Calls fn with each event of gb that is added, and its signal, in the order they were. */
void
golibevent_sink_foreach(struct golibevent_base *gb,
    void (*fn)(struct golibevent_event *, int signum, void *), void *arg)
{
	struct golibevent_signal *s;

	pthread_mutex_lock(&signals_mu);
	if (gb->sink != NULL) {
		for (s = gb->sink->first; s != NULL; s = s->next)
			fn(s->w, s->signum, arg);
	}
	pthread_mutex_unlock(&signals_mu);
}

static void
activate(struct golibevent_event *w, int signum, void *arg)
{
	if (signum == *(int *)arg)
		event_active(w->ev, EV_SIGNAL, 1);
}

/* Makes the events of the signal active: the program's, and what C has on the base. */
void
golibevent_base_active_by_signal(struct golibevent_base *gb, int signum)
{
	golibevent_sink_foreach(gb, activate, &signum);
	event_base_active_by_signal(gb->base, signum);
}
