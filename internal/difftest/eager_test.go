//go:build linux

package difftest_test

import (
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

// eagerMachine runs a program of FuzzEager: eager.c says the same of libevent.
type eagerMachine struct {
	tape
	base   *libevent.Base
	bev    *libevent.BufferEvent
	room   int // for the peer's bytes: one read is to take them all
	closed bool
}

func (m *eagerMachine) close() {
	_ = m.bev.Close()
	m.closed = true
}

func (m *eagerMachine) act(op int) {
	n := m.size()
	switch op % 6 {
	case 0, 1, 2:
		_, err := m.bev.Write(data(n, n))
		m.say("write", int64(n), number(err))
	case 3, 4:
		p := make([]byte, n)
		n, _ = m.bev.Read(p)
		m.say("read", int64(n), sum(p[:n]))
	default:
		m.say("drain", int64(n), number(m.bev.Input().Drain(n)))
	}
}

func (m *eagerMachine) callback(kind int, what libevent.BufferEvents) {
	m.say("callback", int64(kind), int64(what), int64(m.bev.Input().Len()))
	for n := m.next() % 3; n > 0; n-- {
		m.act(m.next())
	}
	if m.over() {
		m.close()
	}
}

func (m *eagerMachine) setCallbacks(which int) { m.bev.SetCallbacks(callbacks(which, m.callback)) }

// loop runs the loop until nothing is left to do, and tells what has come to the peer.
func (m *eagerMachine) loop() {
	m.say("loop", 0)
	difftest.Wait(m.base.Pointer())
	p := make([]byte, 255*67)
	total := 0
	for {
		_ = m.base.Dispatch()
		for {
			n, err := syscall.Read(difftest.Descriptor(1), p)
			if err != nil || n == 0 {
				break
			}
			total += n
		}
		if m.closed || m.bev.Enabled()&libevent.EV_WRITE == 0 || m.bev.Output().Len() == 0 {
			break
		}
	}
	m.room = 4096
	// What was not written when it was closed is lost, or was not.
	if m.closed {
		total = 0
	}
	m.say("looped", int64(total))
}

// step does what comes next, if anything does.
func (m *eagerMachine) step() bool {
	op := m.next() % 16
	if m.over() {
		return false
	}
	switch op {
	case 0, 1, 2:
		m.loop()
	case 3, 4, 5:
		n := min(m.size(), m.room)
		m.room -= n
		n, _ = syscall.Write(difftest.Descriptor(1), data(n, n))
		m.say("peer_write", int64(n))
	case 6:
		n := m.size()
		m.say("watermark", int64(n))
		_ = m.bev.SetWatermark(libevent.EV_READ, n, 0)
	case 7:
		which := m.next() % 8
		m.say("callbacks", int64(which))
		m.setCallbacks(which)
	default:
		// Apart from what the peer does: of a socket that can be read from and written to
		// at the same time it is libevent's affair which is told first.
		m.loop()
		if op == 8 {
			_ = syscall.Shutdown(difftest.Descriptor(1), syscall.SHUT_WR)
		} else {
			m.act(op - 9)
		}
		m.loop()
	}
	return true
}

func (m *eagerMachine) run() {
	var err error
	if m.base, err = libevent.New(); err != nil {
		panic(err)
	}
	var options libevent.BufferEventOptions
	if m.next()%2 != 0 {
		options = libevent.BEV_OPT_DEFER_CALLBACKS
	}
	if m.bev, err = m.base.NewBufferEvent(difftest.Descriptor(0), options); err != nil {
		panic(err)
	}
	m.setCallbacks(onRead | onWrite | onEvent)
	if err = m.bev.SetEager(true); err == nil {
		err = m.bev.Enable(libevent.EV_READ)
	}
	if err != nil {
		panic(err)
	}
	for m.step() {
	}
	if err := m.base.Close(); err != nil {
		panic(err)
	}
}

// runEager runs a program of FuzzEager both ways.
func runEager(program []byte) (inGo, inC []byte) {
	m := eagerMachine{tape: tape{program: program}, room: 4096}
	difftest.Begin()
	m.run()
	difftest.Finish()
	return m.log, difftest.Eager(program)
}

// FuzzEager holds an eager BufferEvent against libevent's, in what SetEager promises.
func FuzzEager(f *testing.F) { fuzz(f, runEager) }

func TestRandomEager(t *testing.T) { random(t, runEager) }
