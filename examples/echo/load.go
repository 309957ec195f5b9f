package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

const (
	// How long an answer may take.
	patience = 10 * time.Second
	// How many messages differ from one another.
	variety = 1 << 12
	// Latencies are counted by the microsecond, up to this.
	maxLatency = time.Second
)

// load keeps a number of connections busy. Its fields belong to its base's loop.
type load struct {
	base *libevent.Base
	size int

	clients  []*client
	random   []byte // every message is a piece of it
	buf      []byte // what was read last
	timer    *libevent.Event
	finished bool  // nothing more is to be sent
	err      error // the first thing that went wrong

	messages  int
	elapsed   time.Duration
	latencies []int // by microsecond
}

func newLoad(connections, size int) (*load, error) {
	base, err := libevent.New()
	if err != nil {
		return nil, err
	}
	l := &load{
		base:      base,
		size:      size,
		clients:   make([]*client, connections),
		random:    make([]byte, size+variety),
		buf:       make([]byte, 16<<10),
		latencies: make([]int, maxLatency/time.Microsecond+1),
	}
	for i := range l.random {
		l.random[i] = byte(rand.Uint32())
	}
	for i := range l.clients {
		l.clients[i] = &client{load: l, fd: -1}
	}
	return l, nil
}

// close frees the base, and with it the events, and then their descriptors.
func (l *load) close() {
	_ = l.base.Close()
	for _, c := range l.clients {
		if c.fd >= 0 {
			syscall.Close(c.fd)
		}
	}
}

// run sends for the duration, and returns when the last answer has come.
func (l *load) run(addr netip.AddrPort, duration time.Duration) error {
	for _, c := range l.clients {
		if err := c.connect(addr); err != nil {
			return err
		}
	}
	start := time.Now()
	var err error
	l.timer, err = l.base.AddTimer(duration, func(libevent.Events) (libevent.Events, time.Duration) {
		l.finished = true
		return libevent.LEAVE, 0
	})
	if err != nil {
		return err
	}
	// Then each client's event leaves with its last answer. With none left the
	// loop ends.
	if err := l.base.Dispatch(); err != nil {
		return err
	}
	l.elapsed = time.Since(start)
	return l.err
}

// finish makes run return before its time. It is for other goroutines.
func (l *load) finish() error {
	return l.base.Post(func() {
		l.finished = true
		_ = l.timer.Close()
	})
}

// stop makes run return without waiting for answers. It is for other goroutines.
func (l *load) stop() error { return l.base.Stop() }

func (l *load) fail(err error) {
	if l.err == nil {
		l.err = err
	}
	_ = l.base.LoopBreak()
}

// client is one connection. It sends a message, waits until the same has come back, and
// sends the next.
type client struct {
	load *load
	fd   int
	ev   *libevent.Event

	message []byte
	sent    int
	got     int
	start   time.Time
}

// connect begins to connect. The first message goes out when that is done.
func (c *client) connect(addr netip.AddrPort) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	c.fd = fd
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	peer := &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	if err := syscall.Connect(fd, peer); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return err
	}
	// A socket that can be written is connected, or has failed to: writing tells.
	c.next()
	c.ev, err = c.load.base.AddEvent(fd, libevent.EV_WRITE, c.ready, patience)
	return err
}

// next makes the next message the one to send.
func (c *client) next() {
	at := rand.IntN(variety)
	c.message = c.load.random[at : at+c.load.size]
	c.sent, c.got = 0, 0
}

// ready is the event's callback. It returns what to wait for next.
func (c *client) ready(what libevent.Events) (libevent.Events, time.Duration) {
	var err error
	switch what {
	case libevent.EV_WRITE:
		err = c.write()
	case libevent.EV_READ:
		err = c.read()
	default: // EV_TIMEOUT
		err = fmt.Errorf("no answer within %v", patience)
	}
	if err == nil && c.got == len(c.message) {
		c.load.count(time.Since(c.start))
		if c.load.finished {
			return libevent.LEAVE, 0
		}
		c.next()
		err = c.write()
	}
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		c.load.fail(err)
		return libevent.LEAVE, 0
	}
	if c.sent < len(c.message) {
		return libevent.EV_WRITE, 0
	}
	return libevent.EV_READ, 0
}

func (c *client) write() error {
	if c.sent == 0 {
		c.start = time.Now()
	}
	n, err := c.ev.Write(c.message[c.sent:])
	c.sent += n
	return err
}

func (c *client) read() error {
	n, err := c.ev.Read(c.load.buf)
	if errors.Is(err, io.EOF) {
		return errors.New("the server has closed a connection")
	}
	if err != nil {
		return err
	}
	if n > len(c.message)-c.got || !bytes.Equal(c.load.buf[:n], c.message[c.got:c.got+n]) {
		return errors.New("an answer is not what was sent")
	}
	c.got += n
	return nil
}

func (l *load) count(latency time.Duration) {
	l.messages++
	l.latencies[min(latency, maxLatency)/time.Microsecond]++
}

// percentile returns the latency that p percent of the messages stayed within.
func (l *load) percentile(p int) time.Duration {
	rest := (l.messages*p + 99) / 100
	for us, n := range l.latencies {
		if rest -= n; rest <= 0 {
			return time.Duration(us) * time.Microsecond
		}
	}
	return maxLatency
}

func (l *load) report(method string) {
	seconds := l.elapsed.Seconds()
	fmt.Printf(`
libevent %s, %s
connections   %d
messages      %d of %d bytes, each answered with what was sent
transferred   %.1f MB each way in %.1f s
throughput    %.0f messages/s
latency       p50 %v, p99 %v
`,
		libevent.Version(), method, len(l.clients), l.messages, l.size,
		float64(l.messages)*float64(l.size)/1e6, seconds, float64(l.messages)/seconds,
		l.percentile(50), l.percentile(99))
}
