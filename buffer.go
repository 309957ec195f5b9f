package libevent

// #include "callbacks.h"
import "C"

// Buffer is a queue of bytes.
//
// Wraps: struct evbuffer
type Buffer struct {
	c     *C.struct_evbuffer // nil when closed
	owner *BufferEvent       // whose input or output it is, or nil
	uses  uint               // written by every method: misuse shows in the race detector
}
