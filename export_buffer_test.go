package libevent

// BuffersAlive counts the buffers of NewBuffer that are not closed.
func BuffersAlive() int { return int(buffers.Load()) }
