package libevent

// LiveBufferEvents returns the number of BufferEvents that have not been closed.
func LiveBufferEvents() int { return bufferEvents.Len() }

// LivePanics returns the number of panics on their way through C.
func LivePanics() int { return panics.Len() }
