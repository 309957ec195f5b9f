//go:build linux

package difftest_test

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

// What callbacks there are.
const (
	onRead = 1 << iota
	onWrite
	onEvent
)

// bufferEventMachine runs a program of FuzzBufferEvent: bufferevent.c says the same in C.
type bufferEventMachine struct {
	tape
	base *libevent.Base
	bevs []*libevent.BufferEvent // the filters come last

	depth   int // of callbacks
	current int // whose callback runs
	looping bool
	filters bool // programs make filters

	connected bool // somebody was told so

	asides []*libevent.Buffer // of filters
}

// makeAll makes a pair, two over a pair of sockets, and one whose peer is a bare
// descriptor, with options from the tape.
func (m *bufferEventMachine) makeAll() {
	options := [4]libevent.BufferEventOptions{
		0, libevent.BEV_OPT_DEFER_CALLBACKS, libevent.BEV_OPT_THREADSAFE,
		libevent.BEV_OPT_THREADSAFE | libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_UNLOCK_CALLBACKS,
	}
	how := m.next()
	var err error
	if m.base, err = libevent.NewWithConfig(&libevent.Config{Priorities: 3}); err != nil {
		panic(err)
	}
	m.bevs = make([]*libevent.BufferEvent, 5, 5+maxFilters)
	m.bevs[0], m.bevs[1], err = m.base.NewBufferEventPair(options[how%4])
	for i := range m.bevs {
		switch {
		case i >= 4:
			m.bevs[i], err = m.base.NewBufferEvent(difftest.Descriptor(0), options[how/4%4])
		case i >= 2:
			m.bevs[i], err = m.base.NewBufferEvent(difftest.Descriptor(i), options[how/4%4])
		}
		if err != nil {
			panic(err)
		}
		m.setCallbacks(i, onRead|onWrite|onEvent)
		if how&16 != 0 {
			_ = m.bevs[i].Enable(libevent.EV_READ)
		}
	}
}

// callbacks returns those of which, nil for the others; each calls call.
func callbacks(which int, call func(kind int, what libevent.BufferEvents)) (
	read, write func(*libevent.BufferEvent), event func(*libevent.BufferEvent, libevent.BufferEvents),
) {
	if which&onRead != 0 {
		read = func(*libevent.BufferEvent) { call(onRead, 0) }
	}
	if which&onWrite != 0 {
		write = func(*libevent.BufferEvent) { call(onWrite, 0) }
	}
	if which&onEvent != 0 {
		event = func(_ *libevent.BufferEvent, what libevent.BufferEvents) { call(onEvent, what) }
	}
	return read, write, event
}

func (m *bufferEventMachine) setCallbacks(i, which int) {
	m.bevs[i].SetCallbacks(callbacks(which, func(kind int, what libevent.BufferEvents) {
		m.callback(i, kind, what)
	}))
}

// reason returns the number of an event's error. Of events that are joined the last says
// what errno is, if only by chance, and that may be what has come up to a filter and was
// told before: that it is connected.
func (m *bufferEventMachine) reason(bev *libevent.BufferEvent, what libevent.BufferEvents) int64 {
	const mixed = libevent.BEV_EVENT_EOF | libevent.BEV_EVENT_TIMEOUT | libevent.BEV_EVENT_CONNECTED
	byChance := what&mixed != 0 || (m.connected && bev.Underlying() != nil)
	if what&libevent.BEV_EVENT_ERROR != 0 && byChance {
		return 0
	}
	return number(bev.Err())
}

// callback does what the tape says.
func (m *bufferEventMachine) callback(i, kind int, what libevent.BufferEvents) {
	bev := m.bevs[i]
	var why int64
	if kind == onEvent {
		why = m.reason(bev, what)
	}
	m.say("callback", int64(i), int64(kind), int64(what), why,
		int64(bev.Input().Len()), int64(bev.Output().Len()))
	outer := m.current
	m.current = i
	m.depth++
	for n := m.next() % 4; n > 0 && m.step(); n-- {
	}
	m.depth--
	m.current = outer
	if m.over() {
		_ = bev.Close()
	}
	m.say("returns", int64(i))
}

// run runs the program, or the beginning of one that goes on without end.
func (m *bufferEventMachine) run() {
	defer func() {
		p := recover()
		if err, ok := p.(error); p != nil && !(ok && errors.Is(err, errEndless)) {
			panic(p)
		}
		if err := m.base.Close(); err != nil {
			panic(err)
		}
		for _, aside := range m.asides {
			_ = aside.Close()
		}
	}()
	m.makeAll()
	for m.step() {
	}
}

func (m *bufferEventMachine) loop() {
	flags := [4]libevent.LoopFlags{
		libevent.EVLOOP_NONBLOCK | libevent.EVLOOP_ONCE, libevent.EVLOOP_NONBLOCK, libevent.EVLOOP_ONCE, 0,
	}[m.next()%4]
	// Not in a callback that runs inside a call: what that closes goes with the call, and
	// until then such a loop may call in vain, again and again.
	if m.depth > 0 && !m.looping {
		return
	}
	m.say("loop", int64(flags))
	difftest.Wait(m.base.Pointer())
	outer := m.looping
	m.looping = true
	err := m.base.Loop(flags)
	m.looping = outer
	m.say("looped", number(err), truth(m.base.GotBreak()), difftest.Now())
}

func (m *bufferEventMachine) peer(op int) {
	fd := difftest.Descriptor(1)
	switch op % 8 {
	case 0:
		how := syscall.SHUT_WR
		if m.next()%4 == 0 {
			how = syscall.SHUT_RD
		}
		_ = syscall.Shutdown(fd, how)
		m.say("peer_shutdown", 0)
	case 1, 2, 3:
		p := make([]byte, m.size())
		n, _ := syscall.Read(fd, p)
		m.say("peer_read", int64(max(n, 0)), sum(p[:max(n, 0)]))
	default:
		n := m.size()
		n, _ = syscall.Write(fd, data(n, n))
		m.say("peer_write", int64(max(n, 0)))
	}
}

// step does what comes next, if anything does.
func (m *bufferEventMachine) step() bool {
	op, i := m.next()%38, m.next()
	if i >= 128 && m.depth > 0 {
		i = m.current
	}
	i %= len(m.bevs)
	if m.over() {
		return false
	}
	switch op {
	case 0, 1, 2, 3:
		m.loop()
	case 4:
		difftest.Advance(int64(m.next()) * 100)
	case 5, 6:
		m.peer(m.next())
	case 7:
		_ = m.base.LoopBreak()
		m.say("loopbreak", 0)
	case 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 30, 36, 37:
		m.move(m.bevs[i], int64(i), op)
	case 32, 33:
		if m.filters {
			m.newFilter(m.bevs[i], int64(i))
		}
	case 35:
		under := m.bevs[i].Underlying()
		m.say("underlying", int64(i), int64(slices.Index(m.bevs, under)))
	default:
		m.steer(m.bevs[i], i, op)
	}
	return true
}

// move is step for what has to do with data.
func (m *bufferEventMachine) move(bev *libevent.BufferEvent, id int64, op int) {
	switch op {
	case 8, 9, 10:
		n := m.size()
		_, err := bev.Write(data(n, n))
		m.say("write", id, int64(n), number(err))
	case 11:
		n := m.size()
		_, err := bev.Output().Write(data(n, n))
		m.say("write", id, int64(n), number(err))
	case 12, 13:
		p := make([]byte, m.size())
		n, err := bev.Read(p)
		if e := (*libevent.Error)(nil); errors.As(err, &e) && !errors.Is(err, libevent.ErrClosed) {
			err = syscall.EIO
		}
		m.say("read", id, int64(len(p)), int64(n), number(err), sum(p[:n]))
	case 14, 15:
		output := op == 15 && m.next()%2 != 0
		buf := bev.Input()
		if output {
			buf = bev.Output()
		}
		n := m.size()
		m.say("drain", id, truth(output), int64(n), number(buf.Drain(n)))
	case 16:
		m.look(bev, id)
	case 17:
		line, err := bev.Input().ReadLine(libevent.EVBUFFER_EOL_LF)
		m.say("line", id, int64(len(line)), number(err), sum(line))
	case 36:
		n, err := bev.Output().ReadFrom(shortStream{m})
		m.say("read_from", id, n, number(err))
	case 37:
		n, err := bev.Input().WriteTo(shortStream{m})
		m.say("write_to", id, n, number(err))
	default:
		if m.next()%4 == 0 {
			_ = bev.Close()
			m.say("close", id)
			return
		}
		n := m.size()
		m.say("prepend", id, int64(n), number(bev.Input().Prepend(data(n, n))))
	}
}

// shortStream is what a buffer reads from until it ends or fails, or writes to until it
// takes less or fails.
type shortStream struct{ m *bufferEventMachine }

func (s shortStream) Read(p []byte) (int, error) {
	m := s.m
	if m.over() {
		return 0, io.EOF
	}
	n := min(m.size(), len(p))
	fill(p[:n], n)
	switch m.next() % 4 {
	case 0:
		return n, io.EOF
	case 1:
		return n, syscall.EIO
	}
	return n, nil
}

func (s shortStream) Write(p []byte) (int, error) {
	m := s.m
	m.say("chunk", int64(len(p)), sum(p))
	n := min(m.size(), len(p))
	switch m.next() % 4 {
	case 0:
		return n, nil
	case 1:
		return n, syscall.EIO
	}
	return len(p), nil
}

func (m *bufferEventMachine) look(bev *libevent.BufferEvent, id int64) {
	// What needs no call into C comes first: it must be right without.
	first, in := bev.Input().Peek(), bev.Input().Len()
	low, high, err := bev.Watermark(libevent.EV_READ)
	if err != nil {
		m.say("look", id, number(err))
		return
	}
	m.say("look", id, int64(bev.Enabled()), int64(in), int64(bev.Output().Len()), int64(len(first)), sum(first),
		int64(low), int64(high), int64(bev.Priority()))
}

// steer is step for what has to do with callbacks.
func (m *bufferEventMachine) steer(bev *libevent.BufferEvent, i, op int) {
	id := int64(i)
	switch op {
	case 18, 19, 20:
		which := events(m.next() % 8)
		m.say("enable", id, int64(which), number(bev.Enable(which)))
	case 21:
		which := events(m.next() % 8)
		m.say("disable", id, int64(which), number(bev.Disable(which)))
	case 22, 23:
		which, low, high := events(m.next()%8), m.size(), 0
		if m.next()%2 == 0 {
			high = m.size()
		}
		m.say("watermark", id, int64(which), int64(low), int64(high), number(bev.SetWatermark(which, low, high)))
	case 24:
		choice := [4]time.Duration{0, libevent.NoTimeout, 5 * time.Millisecond, time.Hour}
		how := m.next()
		r, w := choice[how%4], choice[how/4%4]
		us := func(d time.Duration) int64 {
			if d < 0 {
				return -1
			}
			return d.Microseconds()
		}
		m.say("timeouts", id, us(r), us(w), number(bev.SetTimeouts(r, w)))
	case 25, 34:
		which, mode := events(m.next()%8), libevent.FlushMode(m.next()%4)
		m.say("flush", id, int64(which), int64(mode), number(bev.Flush(which, mode)))
	case 26:
		which := events(m.next() % 8)
		options := [4]libevent.TriggerOptions{
			0, libevent.BEV_TRIG_IGNORE_WATERMARKS, libevent.BEV_TRIG_DEFER_CALLBACKS,
			libevent.BEV_TRIG_IGNORE_WATERMARKS | libevent.BEV_TRIG_DEFER_CALLBACKS,
		}[m.next()%4]
		m.say("trigger", id, int64(which), int64(options))
		m.say("triggered", id, number(bev.Trigger(which, options)))
	case 27:
		m.triggerEvent(bev, id)
	case 28:
		which := m.next() % 8
		m.setCallbacks(i, which)
		m.say("callbacks", id, int64(which))
	case 29:
		priority := m.next()%5 - 1
		m.say("set_priority", id, int64(priority), number(bev.SetPriority(priority)))
	default:
		which, set := m.next()%2, bev.SetMaxSingleWrite
		if which != 0 {
			set = bev.SetMaxSingleRead
		}
		n := m.size()
		m.say("max_single", id, int64(which), int64(n), number(set(n)))
	}
}

func (m *bufferEventMachine) triggerEvent(bev *libevent.BufferEvent, id int64) {
	what := [8]libevent.BufferEvents{
		libevent.BEV_EVENT_CONNECTED,
		libevent.BEV_EVENT_EOF | libevent.BEV_EVENT_READING,
		libevent.BEV_EVENT_ERROR | libevent.BEV_EVENT_READING,
		libevent.BEV_EVENT_TIMEOUT | libevent.BEV_EVENT_WRITING,
		libevent.BEV_EVENT_ERROR | libevent.BEV_EVENT_WRITING,
		libevent.BEV_EVENT_READING,
		0, 0x100,
	}[m.next()%8]
	var options libevent.TriggerOptions
	if m.next()%2 != 0 {
		options = libevent.BEV_TRIG_DEFER_CALLBACKS
	}
	m.connected = m.connected || what == libevent.BEV_EVENT_CONNECTED
	m.say("trigger_event", id, int64(what), int64(options))
	m.say("triggered", id, number(bev.TriggerEvent(what, options)))
}

// runBufferEvent runs a program of FuzzBufferEvent both ways.
func runBufferEvent(program []byte) (inGo, inC []byte) { return runBufferEvents(program, false) }

// runFilter runs a program of FuzzFilter, which makes filters too.
func runFilter(program []byte) (inGo, inC []byte) { return runBufferEvents(program, true) }

func runBufferEvents(program []byte, filters bool) (inGo, inC []byte) {
	m := bufferEventMachine{tape: tape{program: program}, filters: filters}
	difftest.Begin()
	m.run()
	difftest.Finish()
	// Filters can feed each other without end, in C too.
	if m.endless {
		return nil, nil
	}
	return m.log, difftest.BufferEvent(program, filters)
}

// FuzzFilter runs programs of filters on pairs, on sockets and on each other.
func FuzzFilter(f *testing.F) { fuzz(f, runFilter) }

func TestRandomFilter(t *testing.T) { random(t, runFilter) }

// FuzzBufferEvent runs programs of bufferevents: pairs and sockets.
func FuzzBufferEvent(f *testing.F) { fuzz(f, runBufferEvent) }

func TestRandomBufferEvent(t *testing.T) { random(t, runBufferEvent) }
