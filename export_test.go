package libevent

import "net/netip"

// Alive counts, by type, the objects that have not been closed. A test file for
// another type adds its table here.
var Alive = map[string]func() int{
	"Base":    bases.Len,
	"Event":   events.Len,
	"Watcher": watchers.Len,
}

// Abandon takes a base that a Goexit has broken, and its events, out of the count of
// what is alive: nothing can close them.
func Abandon(b *Base, evs ...*Event) {
	bases.Delete(b.handle)
	for _, ev := range evs {
		events.Delete(ev.handle)
	}
}

// EnterEvent begins a call inside ev, as its methods do, and leave ends it.
func EnterEvent(ev *Event) (leave func()) {
	if err := ev.enter("test"); err != nil {
		panic(err)
	}
	return ev.leave
}

// ThroughSockaddr turns an address into C's form and back, also of a length cut by cut.
func ThroughSockaddr(ap netip.AddrPort, cut int) (netip.AddrPort, error) {
	sa, err := sockaddrIP(ap)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for range cut {
		sa.len--
	}
	return addrPortOf(sa.pointer(), sa.len), nil
}

// PathThroughSockaddr turns a unix address into C's form and back.
func PathThroughSockaddr(path string) (string, error) {
	sa, err := sockaddrUnix(path)
	if err != nil {
		return "", err
	}
	return pathOf(sa.pointer(), sa.len), nil
}
