/* What the loop is to run, as Base.Post has it. */
#include "difftest.h"

static void on_posts(evutil_socket_t, short, void *);

void
golibevent_diff_posts_init(struct golibevent_diff_posts *posts, struct event_base *base,
    void (*run)(void *, int64_t), void *arg)
{
	posts->run = run;
	posts->arg = arg;
	posts->first = posts->last = 0;
	posts->breaks = 0;
	posts->told = false;
	event_assign(&posts->ev, base, -1, 0, on_posts, posts);
	event_priority_set(&posts->ev, event_base_get_npriorities(base) / 2);
}

/* Makes the loop run what is queued, from a callback in its next pass. */
static void
tell(struct golibevent_diff_posts *posts, bool looping)
{
	static const struct timeval next_pass;

	if (posts->told)
		return;
	posts->told = true;
	if (looping)
		event_add(&posts->ev, &next_pass);
	else
		event_active(&posts->ev, EV_TIMEOUT, 1);
}

void
golibevent_diff_post(struct golibevent_diff_posts *posts, int64_t id, bool looping)
{
	posts->ids[posts->last++ % LONGEST] = id;
	tell(posts, looping);
}

/* Runs what was queued until now. What a break leaves is told of again. */
static void
on_posts(evutil_socket_t fd, short what, void *arg)
{
	struct golibevent_diff_posts *posts = arg;
	size_t last = posts->last;
	unsigned breaks = posts->breaks;

	(void)fd;
	(void)what;
	posts->told = false;
	while (posts->first < last && posts->breaks == breaks)
		posts->run(posts->arg, posts->ids[posts->first++ % LONGEST]);
	if (posts->first < last)
		tell(posts, true);
}
