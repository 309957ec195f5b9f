package libevent

// #include "callbacks.h"
import "C"

// BufferEvent is a buffered connection.
//
// Wraps: struct bufferevent
type BufferEvent struct {
	c *C.struct_bufferevent
}
