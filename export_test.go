package libevent

// Alive counts, by type, the objects that have not been closed. A test file for
// another type adds its table here.
var Alive = map[string]func() int{
	"Base":  bases.Len,
	"Event": events.Len,
}

// Abandon takes a base that a Goexit has broken, and its events, out of the count of
// what is alive: nothing can close them.
func Abandon(b *Base, evs ...*Event) {
	bases.Delete(b.handle)
	for _, ev := range evs {
		events.Delete(ev.handle)
	}
}
