/*
 * What the Go side calls of hiredis. C's types, and functions with a variable number
 * of arguments, are easier dealt with here than in Go.
 */
#ifndef REDIS_H
#define REDIS_H

#include <stdint.h>
#include <hiredis/async.h>

struct event_base;

/*
 * Connects to the server on a unix socket and attaches the connection to base. What
 * happens to it is told to Go's onConnect, onReply and onDisconnect with the handle.
 * hiredis frees the result when the connection has failed or ended. Returns NULL with
 * a text in error, which has n bytes of room.
 */
redisAsyncContext *redis_connect(struct event_base *base, const char *path, uintptr_t handle,
    char *error, size_t n);

/* Sends INCR. Returns REDIS_OK, or REDIS_ERR when the connection is ending. */
int redis_incr(redisAsyncContext *ac, const char *key);

#endif
