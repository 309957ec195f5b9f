/* Watchers of a loop's passes, which libevent has from 2.2 on. */
#include "internal.h"

#if LIBEVENT_VERSION_NUMBER >= 0x02020000

/* A watcher. It goes with the finalizer of its event. */
struct golibevent_watcher {
	struct evwatch *watch;
	struct event *end;
};

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Makes a watcher; the caller frees it. NULL with errno: nothing was made. */
struct golibevent_watcher *
golibevent_watcher_new(struct golibevent_base *gb, uintptr_t handle, int kind)
{
	struct golibevent_watcher *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	if ((w->end = event_new(gb->base, -1, 0, on_end, w)) == NULL)
		goto fail;
	if (kind == GOLIBEVENT_PREPARE)
		w->watch = evwatch_prepare_new(gb->base, golibevent_on_prepare,
		    (void *)handle);
	else
		w->watch = evwatch_check_new(gb->base, golibevent_on_check, (void *)handle);
	if (w->watch == NULL)
		goto fail;
	return w;
fail:
	if (w->end != NULL)
		event_free(w->end);
	free(w);
	errno = ENOMEM;
	return NULL;
}

static void
on_finalize(struct event *ev, void *arg)
{
	struct golibevent_watcher *w = arg;

	(void)ev;
	evwatch_free(w->watch);
	free(w);
}

/*
 * Frees the watcher when the loop comes to its events, or with the base: while it goes
 * through its watchers, and has called one, that must not be taken from under it.
 */
void
golibevent_watcher_free(struct golibevent_watcher *w)
{
	event_free_finalize(0, w->end, on_finalize);
}

#else

struct golibevent_watcher *
golibevent_watcher_new(struct golibevent_base *gb, uintptr_t handle, int kind)
{
	(void)gb;
	(void)handle;
	(void)kind;
	errno = ENOTSUP;
	return NULL;
}

/* There is none to free. */
void
golibevent_watcher_free(struct golibevent_watcher *w)
{
	(void)w;
}

#endif
