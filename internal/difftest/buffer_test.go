//go:build linux

package difftest_test

import (
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

// bufferMachine runs a program of FuzzBuffer: buffer.c says the same in C.
type bufferMachine struct {
	tape
	buffers    [3]*libevent.Buffer
	references int64
	vec        [][]byte

	depth     int // of callbacks
	callbacks []bufferCallback
	deferred  *libevent.Buffer // whose callbacks run in the loop
	base      *libevent.Base

	segments  [2]*fileSegment
	nsegments int64
}

func newBuffer() *libevent.Buffer {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	return buf
}

// size returns how much: mostly little, at times some chunks.
func (t *tape) size() int {
	n := t.next()
	switch n % 8 {
	case 6:
		return n * 7
	case 7:
		return n * 67
	}
	return n / 4
}

// data returns n bytes to write.
func data(n, seed int) []byte {
	p := make([]byte, n)
	fill(p, seed)
	return p
}

// show tells all that is in a buffer, chunk by chunk.
func (m *bufferMachine) show(i int) {
	i %= 3
	var total int64
	m.vec, _ = m.buffers[i].PeekVec(m.vec[:0], 0, -1)
	for _, p := range m.vec {
		total = total*31 + sum(p)
	}
	m.say("buffer", int64(i), int64(m.buffers[i].Len()), int64(len(m.vec)), total)
}

func (m *bufferMachine) run() {
	for i := range m.buffers {
		m.buffers[i] = newBuffer()
	}
	for m.step() {
	}
	for _, buf := range m.buffers {
		_ = buf.Close()
	}
	for _, seg := range m.segments {
		if seg != nil {
			_ = seg.Close()
		}
	}
	if m.base != nil {
		_ = m.base.Close()
	}
}

// step does what comes next, if anything does.
func (m *bufferMachine) step() bool {
	op, i := m.next()%48, m.next()
	if m.over() {
		return false
	}
	buf := m.buffers[i%3]
	switch op {
	case 0, 1, 2:
		n := m.size()
		_, err := buf.Write(data(n, n))
		m.say("write", int64(n), number(err))
	case 3, 4:
		n := m.size()
		m.say("prepend", int64(n), number(buf.Prepend(data(n, n))))
	case 5:
		var vec [3][]byte
		total := 0
		for k := range vec {
			vec[k] = data(m.next(), k)
			total += len(vec[k])
		}
		_, err := buf.AddIovec(vec[:])
		m.say("iovec", int64(total), number(err))
	case 6, 7:
		j := m.next()
		m.say("add_buffer", int64(j%3), number(buf.AddBuffer(m.buffers[j%3])))
		defer m.show(j)
	case 8:
		j := m.next()
		m.say("prepend_buffer", int64(j%3), number(buf.PrependBuffer(m.buffers[j%3])))
		defer m.show(j)
	case 9, 10:
		j, n := m.next(), m.size()
		moved, err := buf.RemoveBuffer(m.buffers[j%3], n)
		m.say("remove_buffer", int64(j%3), int64(n), int64(moved), number(err))
		defer m.show(j)
	case 11, 12:
		n := m.size()
		m.say("drain", int64(n), number(buf.Drain(n)))
	case 13:
		n := m.size()
		p := make([]byte, n)
		got, err := buf.Read(p)
		m.say("read", int64(n), int64(got), number(err), sum(p[:got]))
	case 15:
		n := -1
		if m.next()%4 != 0 {
			n = m.size()
		}
		// Of what is deferred libevent, but not the binding, tells what it takes.
		if m.deferred == buf {
			return true
		}
		p, err := buf.PullUp(n)
		if n == -1 {
			n = buf.Len()
		}
		var s int64
		if len(p) > 0 {
			s = sum(p)
		}
		m.say("pullup", int64(n), number(err), s)
	case 16:
		n := m.size()
		m.say("expand", int64(n), number(buf.Expand(n)))
	case 17, 18:
		m.reserve(buf)
	case 21, 22:
		style := libevent.EOL(m.next() % 6)
		line, err := buf.ReadLine(style)
		m.say("readline", int64(style), int64(len(line)), number(err), sum(line))
	case 26, 27:
		n, id := m.size(), m.references
		m.references++
		err := buf.AddReference(data(n, n), func() {
			m.say("released", id, int64(n))
			m.act(m.next() % 4 / 3)
		})
		m.say("reference", id, int64(n), number(err))
	case 28, 29:
		m.transfer(buf, op == 29)
	case 37, 38, 39, 43, 44, 45:
		m.stepMore(buf, op)
	case 40:
		if !m.segment(buf) {
			return true
		}
	default:
		m.stepAside(buf, op, i%3)
		return true
	}
	m.show(i)
	return true
}

// stepAside is step for what does not change the buffer's bytes.
func (m *bufferMachine) stepAside(buf *libevent.Buffer, op, i int) {
	switch op {
	case 14:
		start, n := m.size(), m.size()
		p := make([]byte, n)
		got, err := buf.CopyOutFrom(p, start)
		m.say("copyout", int64(start), int64(n), int64(got), number(err), sum(p[:got]))
	case 19:
		n, start, end := m.next()%6, m.size(), -1
		if m.next()%2 != 0 {
			end = m.size()
		}
		pos, err := buf.SearchRange(data(n, m.next()), start, end)
		m.say("search", int64(n), int64(start), int64(end), int64(pos), number(err))
	case 20:
		start, style := m.size(), libevent.EOL(m.next()%6)
		pos, n, err := buf.SearchEOL(start, style)
		m.say("search_eol", int64(start), int64(style), int64(pos), int64(n), number(err))
	case 23:
		start, n := m.size(), m.size()
		var err error
		m.vec, err = buf.PeekVec(m.vec[:0], start, n)
		m.say("peek", int64(start), int64(n), number(err))
		for _, p := range m.vec {
			m.say("chunk", int64(len(p)), sum(p))
		}
	case 24, 25:
		// It thaws more often than it freezes.
		how, change := m.next()%8, buf.Unfreeze
		if how < 2 {
			change = buf.Freeze
		}
		m.say("freeze", int64(how), number(change(how%2 == 1)))
	case 30:
		fd := difftest.Descriptor([2]int{0, 5}[m.next()%2])
		n := m.size()
		n, _ = syscall.Write(fd, data(n, n))
		m.say("write", int64(max(n, 0)))
	case 31:
		err := buf.Close()
		if err == nil && m.buffers[i] == buf { // a cleanup can do the same
			m.buffers[i] = newBuffer()
		}
		m.say("renew", int64(i), number(err))
	default:
		m.stepWatched(buf, op, i)
	}
}

// reserve reserves, fills, and commits: of every second extent half, of the others all or
// nothing.
func (m *bufferMachine) reserve(buf *libevent.Buffer) {
	n, extents, want := m.size(), m.next()%6, m.next()%6
	room, err := buf.Reserve(n, extents)
	m.say("reserve", int64(n), int64(extents), int64(len(room)), number(err))
	if err != nil {
		return
	}
	var lengths [6]int
	for k, p := range room {
		m.say("extent", int64(len(p)))
		fill(p, k)
		switch {
		case k%2 != 0:
			lengths[k] = len(p) / 2
		case n%4 != 3:
			lengths[k] = len(p)
		}
	}
	if want > 0 && want <= len(room) && m.next()%8 == 0 {
		lengths[want-1] = len(room[want-1]) + 1
	}
	m.say("commit", int64(want), number(buf.Commit(lengths[:want]...)))
}

func (m *bufferMachine) transfer(buf *libevent.Buffer, out bool) {
	fds := [2]int{1, 4}
	if out {
		fds = [2]int{0, 5}
	}
	fd, limit := difftest.Descriptor(fds[m.next()%2]), -1
	if m.next()%4 != 0 {
		limit = m.size()
	}
	word, move := "read_fd", buf.ReadFD
	if out {
		word, move = "write_fd", buf.WriteFD
	}
	n, err := move(fd, limit)
	m.say(word, int64(limit), int64(n), number(err))
}

// runBuffer runs a program of FuzzBuffer both ways.
func runBuffer(program []byte) (inGo, inC []byte) {
	m := bufferMachine{tape: tape{program: program}}
	difftest.Begin()
	m.run()
	difftest.Finish()
	return m.log, difftest.Buffer(program)
}

// FuzzBuffer runs programs of buffers, with references, files, descriptors and callbacks.
func FuzzBuffer(f *testing.F) { fuzz(f, runBuffer) }

func TestRandomBuffer(t *testing.T) { random(t, runBuffer) }
