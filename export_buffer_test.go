package libevent

func init() {
	Alive["Buffer"] = BuffersAlive
	Alive["FileSegment"] = func() int { return int(segments.Load()) }
	Alive["BufferCallback"] = watches.Len
}

// BuffersAlive counts the buffers of NewBuffer that are not closed.
func BuffersAlive() int { return int(buffers.Load()) }

// AbandonBuffer takes a buffer that a Goexit has broken out of the count of what is
// alive: nothing can close it.
func AbandonBuffer(buf *Buffer) {
	buffers.Add(-1)
	buf.unwatch()
}
