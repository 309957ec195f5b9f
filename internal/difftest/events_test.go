//go:build linux

package difftest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

const (
	interestBits = libevent.EV_READ | libevent.EV_WRITE | libevent.EV_SIGNAL | libevent.EV_ET | libevent.EV_CLOSED
	knownBits    = interestBits | libevent.EV_TIMEOUT | libevent.EV_PERSIST
)

var (
	interests = [16]events{
		libevent.EV_READ,
		libevent.EV_WRITE,
		libevent.EV_READ | libevent.EV_WRITE,
		libevent.EV_READ | libevent.EV_ET,
		libevent.EV_WRITE | libevent.EV_ET,
		libevent.EV_READ | libevent.EV_CLOSED,
		libevent.EV_CLOSED,
		libevent.EV_TIMEOUT,
		libevent.EV_PERSIST | libevent.EV_READ,
		libevent.EV_PERSIST,
		0,
		libevent.EV_ET,
		libevent.EV_SIGNAL | libevent.EV_READ,
		0x40,
		libevent.EV_READ | libevent.EV_WRITE | libevent.EV_ET,
		libevent.EV_READ | libevent.EV_TIMEOUT,
	}
	durations = [16]time.Duration{
		0, libevent.NoTimeout, 1000, 1000000, 1500000, 2000000, 5000000, 10000000,
		1, 3600000000000, -5, 1501, 1000000, 0, 3000000, 0,
	}
	whats = [8]events{
		libevent.EV_READ,
		libevent.EV_WRITE,
		libevent.EV_TIMEOUT,
		libevent.EV_READ | libevent.EV_WRITE,
		libevent.EV_CLOSED,
		libevent.EV_SIGNAL,
		libevent.EV_READ | libevent.EV_ET,
		0,
	}
	kinds = [4]libevent.CountFlags{
		libevent.EVENT_BASE_COUNT_ADDED,
		libevent.EVENT_BASE_COUNT_ACTIVE,
		libevent.EVENT_BASE_COUNT_VIRTUAL,
		libevent.EVENT_BASE_COUNT_ADDED | libevent.EVENT_BASE_COUNT_ACTIVE,
	}
)

// eventMachine runs a program of FuzzEvents: events.c says the same in C.
type eventMachine struct {
	tape
	bases [2]*libevent.Base
	slots [8]*eventSlot
	ids   map[*libevent.Event]int64
	made  int64
	posts int64

	looping *int // the base whose loop runs
}

type eventSlot struct {
	*libevent.Event
	id int64
}

func (m *eventMachine) run() {
	for m.step() {
	}
	for i := range m.bases {
		m.closeBase(i)
	}
}

// callback does what the tape says, and returns it.
func (m *eventMachine) callback(s *eventSlot, what events) (next events, timeout time.Duration) {
	m.say("callback", s.id, int64(what))
	for n := m.next() % 4; n > 0 && m.step(); n-- {
	}
	leave := m.over()
	result := m.next() % 8
	switch result {
	case 1, 3, 5:
		next = interests[m.next()%16]
	}
	switch result {
	case 2, 3:
		timeout = durations[m.next()%16]
	case 4, 5:
		timeout = libevent.NoTimeout
	}
	if leave || result == 6 {
		next = libevent.LEAVE
	}
	m.say("returns", s.id, int64(next), int64(timeout))
	return next, timeout
}

// base returns the number of the base that the tape means, which is made when it is not.
func (m *eventMachine) base() int {
	i := 0
	if m.next()%8 == 7 {
		i = 1
	}
	if m.bases[i] == nil {
		b, err := libevent.New()
		if err != nil {
			panic(err)
		}
		m.bases[i] = b
	}
	return i
}

func (m *eventMachine) make() {
	i, fd := m.next()%8, m.next()%8
	b := m.bases[m.base()]
	interest := interests[m.next()%16]
	add := m.next()%4 != 0
	var timeout time.Duration
	if add {
		timeout = durations[m.next()%16]
	}
	if m.slots[i] != nil {
		_ = m.slots[i].Close()
	}
	m.slots[i] = nil
	descriptor := descriptorOrNone(fd)
	s := &eventSlot{id: m.made}
	fn := func(what events) (events, time.Duration) { return m.callback(s, what) }
	var err error
	if add {
		s.Event, err = b.AddEvent(descriptor, interest, fn, timeout)
	} else {
		s.Event, err = b.NewEvent(descriptor, interest, fn)
	}
	if err == nil {
		m.made++
		m.slots[i] = s
		m.ids[s.Event] = s.id
	}
	m.say("make", int64(i), int64(fd), int64(interest), truth(add), int64(timeout), number(err))
}

// descriptorOrNone returns the number of a program's descriptor, and -1 for 6 and 7.
func descriptorOrNone(i int) int {
	if i < 6 {
		return difftest.Descriptor(i)
	}
	return -1
}

func (m *eventMachine) once() {
	fd := m.next() % 8
	b := m.bases[m.base()]
	interest, timeout := interests[m.next()%16], durations[m.next()%16]
	id := m.made
	err := b.Once(descriptorOrNone(fd), interest, func(what events) {
		m.say("once", id, int64(what))
		for n := m.next() % 4; n > 0 && m.step(); n-- {
		}
	}, timeout)
	if err == nil {
		m.made++
	}
	m.say("make_once", int64(fd), int64(interest), int64(timeout), number(err))
}

func (m *eventMachine) post(i int) {
	id := m.posts
	m.posts++
	err := m.bases[i].Post(func() {
		m.say("posted", id)
		for n := m.next() % 4; n > 0 && m.step(); n-- {
		}
	})
	m.say("post", int64(i), id, number(err))
}

func (m *eventMachine) activateByFD(i int) {
	fd, what := m.next()%8, whats[m.next()%8]
	m.say("activate_by_fd", int64(i), int64(fd), int64(what),
		number(m.bases[i].ActivateByFD(descriptorOrNone(fd), what)))
}

func (m *eventMachine) highest(i int) {
	kind, clear := kinds[m.next()%4], m.next()%2
	m.say("highest", int64(i), int64(kind), int64(clear), int64(m.bases[i].MaxEvents(kind, clear != 0)))
}

func (m *eventMachine) times(i int) {
	var now int64
	if t := m.bases[i].CachedTime(); !t.IsZero() {
		now = t.UnixMicro()
	}
	m.say("times", int64(i), now, m.bases[i].Monotonic().Microseconds())
}

// events tells which events of the base are pending or active, in no order.
func (m *eventMachine) events(i int) {
	var n, total int64
	for ev := range m.bases[i].Events() {
		if id, ok := m.ids[ev]; ok {
			n++
			total += id
		}
	}
	m.say("events", int64(i), n, total)
}

func (m *eventMachine) transfer(s *eventSlot, out bool) {
	n := m.next()
	if n%8 == 7 {
		n *= 64
	}
	p := make([]byte, n)
	var err error
	if out {
		fill(p, n)
		n, err = s.Write(p)
		m.say("write", s.id, int64(n), number(err), sum(nil))
		return
	}
	n, err = s.Read(p)
	m.say("read", s.id, int64(n), number(err), sum(p[:n]))
}

func (m *eventMachine) loop(i int) {
	flags := [4]libevent.LoopFlags{
		libevent.EVLOOP_NONBLOCK | libevent.EVLOOP_ONCE, libevent.EVLOOP_NONBLOCK, libevent.EVLOOP_ONCE, 0,
	}[m.next()%4]
	// A loop within another base's loop is left out: what the binding does about that
	// other base then is what it does from another goroutine.
	if m.looping != nil {
		i = *m.looping
	}
	m.say("loop", int64(i), int64(flags))
	b := m.bases[i]
	outer := m.looping
	m.looping = &i
	difftest.Wait(b.Pointer())
	err := b.Loop(flags)
	m.looping = outer
	m.say("looped", int64(i), number(err), truth(b.GotExit()), truth(b.GotBreak()),
		difftest.Now())
}

func (m *eventMachine) loopExit(i int) {
	d := durations[m.next()%16]
	m.say("loopexit", int64(i), int64(d), number(m.bases[i].LoopExit(d)))
}

func (m *eventMachine) setPriorities(i int) {
	n := m.next() % 6
	m.say("set_priorities", int64(i), int64(n), number(m.bases[i].SetPriorities(n)))
}

func (m *eventMachine) initCommonTimeout(i int) {
	d := m.next() % 16
	m.say("common_timeout", int64(i), int64(d), number(m.bases[i].InitCommonTimeout(durations[d])))
}

func (m *eventMachine) count(i int) {
	kind := kinds[m.next()%4]
	m.say("count", int64(i), int64(kind), int64(m.bases[i].NumEvents(kind)), int64(m.bases[i].Priorities()))
}

func (m *eventMachine) closeBase(i int) {
	var err error
	if m.bases[i] != nil {
		err = m.bases[i].Close()
	}
	m.say("close_base", int64(i), number(err))
}

func (m *eventMachine) look(s *eventSlot) {
	var deadline int64
	if at, ok := s.Deadline(); ok {
		deadline = at.UnixMicro()
	}
	m.say("look", s.id, int64(s.Pending(knownBits)), deadline, int64(s.Priority()), int64(s.Events()))
}

// step does what comes next, if anything does.
func (m *eventMachine) step() bool {
	op := m.next() % 40
	if m.over() {
		return false
	}
	switch op {
	case 0, 1, 2, 3, 4:
		m.make()
	case 5, 6, 7, 8:
		m.loop(m.base())
	case 9:
		m.loopExit(m.base())
	case 10:
		i := m.base()
		m.say("loopbreak", int64(i), number(m.bases[i].LoopBreak()))
	case 11:
		i := m.base()
		m.say("loopcontinue", int64(i), number(m.bases[i].LoopContinue()))
	case 12:
		m.setPriorities(m.base())
	case 13:
		m.initCommonTimeout(m.base())
	case 14:
		m.count(m.base())
	case 15:
		if m.next()%4 == 0 {
			m.closeBase(m.base())
		}
	case 16:
		i := m.next() % 4
		_ = syscall.Shutdown(difftest.Descriptor(i), syscall.SHUT_WR)
		m.say("shutdown", int64(i))
	case 17:
		difftest.Advance(int64(m.next()) * 100)
	case 18:
		i := m.base()
		m.say("update_time", int64(i), number(m.bases[i].UpdateCachedTime()))
	case 32:
		m.once()
	case 33:
		m.highest(m.base())
	case 34, 35:
		m.post(m.base())
	case 36:
		m.activateByFD(m.base())
	case 37:
		m.times(m.base())
	case 38:
		m.events(m.base())
	default:
		if s := m.slots[m.next()%8]; s != nil {
			m.stepOn(s, op)
		}
	}
	return true
}

// stepOn is step for what an event is to do.
func (m *eventMachine) stepOn(s *eventSlot, op int) {
	switch op {
	case 19, 20:
		d := durations[m.next()%16]
		m.say("add", s.id, int64(d), number(s.Add(d)))
	case 21, 22:
		m.say("del", s.id, number(s.Del()))
	case 23, 24:
		what := whats[m.next()%8]
		m.say("activate", s.id, int64(what), number(s.Activate(what)))
	case 25:
		priority := m.next()%6 - 1
		m.say("set_priority", s.id, int64(priority), number(s.SetPriority(priority)))
	case 26:
		m.say("remove_timer", s.id, number(s.RemoveTimer()))
	case 27:
		m.look(s)
	case 28:
		_ = s.Close()
		m.say("close", s.id)
	case 39:
		m.say("finalize", s.id, number(s.Finalize(func() { m.say("finalized", s.id) })))
	default:
		m.transfer(s, op != 29)
	}
}

// runEvents runs a program of FuzzEvents both ways.
func runEvents(program []byte) (inGo, inC []byte) {
	m := eventMachine{tape: tape{program: program}, ids: make(map[*libevent.Event]int64)}
	difftest.Begin()
	m.run()
	difftest.Finish()
	return m.log, difftest.Events(program)
}

// FuzzEvents runs programs of events on several descriptors and bases.
func FuzzEvents(f *testing.F) { fuzz(f, runEvents) }

func TestRandomEvents(t *testing.T) { random(t, runEvents) }
