#include <stdio.h>
#include <hiredis/hiredis.h>
/* hiredis's own glue to libevent, unchanged. Its functions are static, and so is what
 * a file does not use of them: it is for a file of its own, never for a cgo preamble. */
#include <hiredis/adapters/libevent.h>
#include "redis.h"
#include "_cgo_export.h"

static uintptr_t
handle_of(const redisAsyncContext *ac)
{
	return (uintptr_t)ac->data;
}

static void
on_connect(const redisAsyncContext *ac, int status)
{
	onConnect(handle_of(ac), status == REDIS_OK ? NULL : (char *)ac->errstr);
}

static void
on_disconnect(const redisAsyncContext *ac, int status)
{
	onDisconnect(handle_of(ac), status == REDIS_OK ? NULL : (char *)ac->errstr);
}

static void
on_reply(redisAsyncContext *ac, void *answer, void *arg)
{
	const redisReply *reply = answer;

	(void)arg;
	if (reply == NULL)	/* the connection ends without one */
		onReply(handle_of(ac), 0, "no reply");
	else if (reply->type == REDIS_REPLY_ERROR)
		onReply(handle_of(ac), 0, reply->str);
	else if (reply->type != REDIS_REPLY_INTEGER)
		onReply(handle_of(ac), 0, "the reply is not an integer");
	else
		onReply(handle_of(ac), reply->integer, NULL);
}

redisAsyncContext *
redis_connect(struct event_base *base, const char *path, uintptr_t handle, char *error, size_t n)
{
	redisAsyncContext *ac = redisAsyncConnectUnix(path);

	if (ac == NULL || ac->err != 0) {
		snprintf(error, n, "%s", ac == NULL ? "out of memory" : ac->errstr);
		goto fail;
	}
	ac->data = (void *)handle;
	if (redisLibeventAttach(ac, base) != REDIS_OK ||
	    redisAsyncSetConnectCallback(ac, on_connect) != REDIS_OK ||
	    redisAsyncSetDisconnectCallback(ac, on_disconnect) != REDIS_OK) {
		snprintf(error, n, "cannot attach to the base");
		goto fail;
	}
	return ac;
fail:
	if (ac != NULL)
		redisAsyncFree(ac);
	return NULL;
}

int
redis_incr(redisAsyncContext *ac, const char *key)
{
	return redisAsyncCommand(ac, on_reply, NULL, "INCR %s", key);
}
