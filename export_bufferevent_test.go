package libevent

func init() {
	Alive["BufferEvent"] = bufferEvents.Len
	Alive["RateLimitGroup"] = func() int { return int(groups.Load()) }
}

// LiveBufferEvents returns the number of BufferEvents that have not been closed.
func LiveBufferEvents() int { return bufferEvents.Len() }

// LivePanics returns the number of panics on their way through C.
func LivePanics() int { return panics.Len() }

// AbandonBufferEvent takes a BufferEvent, and its base, that a Goexit has broken out of
// the count of what is alive: nothing can close them.
func AbandonBufferEvent(bev *BufferEvent) {
	bufferEvents.Delete(bev.handle)
	bev.input.unwatch()
	bev.output.unwatch()
	bases.Delete(bev.Base().handle)
}
