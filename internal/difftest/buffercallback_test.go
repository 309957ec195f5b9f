//go:build linux

package difftest_test

import (
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

const (
	maxBufferCallbacks = 8 // that a program can add
	deepest            = 8 // how deep callbacks can be in callbacks and still act
)

type bufferCallback struct {
	*libevent.BufferCallback
	buf *libevent.Buffer
}

type fileSegment struct {
	*libevent.FileSegment
	id, cleanups int64
}

// file is the file whose parts are added.
var file = sync.OnceValue(func() *os.File { return os.NewFile(uintptr(difftest.File()), "file") })

// act lets the tape do n things, in a callback.
func (m *bufferMachine) act(n int) {
	if m.depth >= deepest {
		return
	}
	m.depth++
	for n > 0 && m.step() {
		n--
	}
	m.depth--
}

// stepWatched is stepAside for callbacks, and for what is known of a buffer.
func (m *bufferMachine) stepWatched(buf *libevent.Buffer, op, i int) {
	switch op {
	case 32, 33:
		m.changeCallback(m.next()%maxBufferCallbacks, m.next()%4)
	case 34:
		m.deferCallbacks(buf, int64(i))
	case 35, 36:
		if m.base != nil {
			m.say("loop", 0)
			m.say("looped", number(m.base.Loop(libevent.EVLOOP_NONBLOCK)))
		}
	case 41:
		how := m.next() % 4
		flags, change := libevent.EVBUFFER_FLAG_DRAINS_TO_FD, buf.SetFlags
		switch how {
		case 2:
			change = buf.ClearFlags
		case 3:
			flags = 1 << 20
		}
		m.say("flags", int64(how), number(change(flags)))
	case 42:
		n := m.size()
		err := buf.SetMaxRead(n)
		m.say("max_read", int64(n), int64(buf.MaxRead()), number(err))
	default:
		m.addCallback(buf, int64(i))
	}
}

// deferCallbacks defers those of one buffer at a time: where nothing has changed libevent
// queues callbacks, too, which is seen in the order of two.
func (m *bufferMachine) deferCallbacks(buf *libevent.Buffer, i int64) {
	if m.depth > 0 || (m.deferred != nil && m.deferred != buf && slices.Contains(m.buffers[:], m.deferred)) {
		return
	}
	m.deferred = buf
	if m.base == nil {
		var err error
		if m.base, err = libevent.New(); err != nil {
			panic(err)
		}
	}
	m.say("defer", i, number(buf.DeferCallbacks(m.base)))
}

func (m *bufferMachine) addCallback(buf *libevent.Buffer, i int64) {
	if len(m.callbacks) == maxBufferCallbacks {
		return
	}
	id := int64(len(m.callbacks))
	cb, err := buf.AddCallback(func(buf *libevent.Buffer, info libevent.BufferCallbackInfo) {
		m.say("changed", id, int64(info.OrigSize), int64(info.Added), int64(info.Deleted), int64(buf.Len()))
		m.act(m.next() % 4)
		m.say("returns", id)
	})
	if err == nil {
		m.callbacks = append(m.callbacks, bufferCallback{cb, buf})
	}
	m.say("add_callback", i, number(err))
}

// changeCallback changes a callback. Of what is deferred libevent is to know at once what is
// removed, so that is not done in callbacks.
func (m *bufferMachine) changeCallback(id, what int) {
	if id >= len(m.callbacks) || (m.callbacks[id].buf == m.deferred && m.depth > 0) {
		return
	}
	cb := m.callbacks[id]
	m.say("callback", int64(id), int64(what))
	switch what {
	case 0, 1:
		cb.Remove()
	case 2:
		cb.Disable()
	default:
		cb.Enable()
	}
}

// stepMore is step for what adds bytes that others have, too, or that come from elsewhere.
func (m *bufferMachine) stepMore(buf *libevent.Buffer, op int) {
	switch op {
	case 37, 38:
		j := m.next()
		m.say("add_buffer_reference", int64(j%3), number(buf.AddBufferReference(m.buffers[j%3])))
		defer m.show(j)
	case 39:
		offset, length := int64(m.size()), m.someOrAll()
		m.say("add_file", offset, length, number(buf.AddFile(file(), offset, length)))
	case 43:
		style := libevent.EOL(m.next() % 6)
		for line := range buf.Lines(style) {
			m.say("line", int64(len(line)), sum(line))
			if m.next()%4 == 0 {
				break
			}
		}
		m.say("lines", int64(style))
	case 44:
		m.stream(buf)
	default:
		m.little(buf)
	}
}

// someOrAll takes a length from the tape, -1 for all that follow.
func (m *bufferMachine) someOrAll() int64 {
	if m.next()%2 == 0 {
		return -1
	}
	return int64(m.size())
}

// segment has to do with segments of the file. It reports whether it has changed buf.
func (m *bufferMachine) segment(buf *libevent.Buffer) bool {
	what, k := m.next()%8, m.next()%len(m.segments)
	seg := m.segments[k]
	switch {
	case what < 2:
		m.newSegment(what, k)
	case seg == nil:
	case what < 6:
		offset, length := int64(m.size()), m.someOrAll()
		err := buf.AddFileSegment(seg.FileSegment, offset, length)
		m.say("add_segment", int64(k), offset, length, number(err))
		return true
	case what == 6:
		n := seg.cleanups
		err := seg.AddCleanup(func() { m.say("cleanup", seg.id, n) })
		if err == nil {
			seg.cleanups++
		}
		m.say("add_cleanup", int64(k), number(err))
	default:
		_ = seg.Close()
		m.say("close_segment", int64(k))
	}
	return false
}

func (m *bufferMachine) newSegment(what, k int) {
	offset, length := int64(m.size()), m.someOrAll()
	if m.segments[k] != nil {
		_ = m.segments[k].Close()
	}
	m.segments[k] = nil
	flags := [2]libevent.FileSegmentFlags{libevent.EVBUF_FS_DISABLE_SENDFILE, 0}[what]
	seg, err := libevent.NewFileSegment(file(), offset, length, flags)
	if err == nil {
		m.segments[k] = &fileSegment{FileSegment: seg, id: m.nsegments}
		m.nsegments++
	}
	m.say("segment", int64(k), int64(what), offset, length, number(err))
}

// stream is what the buffer reads from, or writes to: on the way it does something else, a
// part, too much, or fails.
type stream struct{ m *bufferMachine }

func (s stream) do(word string, room int) (int, error) {
	m := s.m
	m.say(word, int64(room))
	m.act(m.next() % 4 / 3)
	how, n := m.next()%8, min(m.size(), room)
	if how == 7 {
		n = room + 1
	}
	switch {
	case m.over(), how == 5:
		return n, io.EOF
	case how == 6:
		return n, syscall.EIO
	}
	return n, nil
}

func (s stream) Read(p []byte) (int, error) {
	n, err := s.do("reader", len(p))
	if n <= len(p) {
		fill(p[:n], n)
	}
	return n, err
}

func (s stream) Write(p []byte) (int, error) {
	s.m.say("chunk", sum(p))
	return s.do("writer", len(p))
}

func (m *bufferMachine) stream(buf *libevent.Buffer) {
	how, j := m.next()%4, m.next()
	var n int64
	var err error
	switch how {
	case 0:
		n, err = buf.ReadFrom(stream{m})
	case 1:
		n, err = buf.WriteTo(stream{m})
	case 2:
		n, err = buf.ReadFrom(m.buffers[j%3])
	default:
		n, err = m.buffers[j%3].WriteTo(buf)
	}
	m.say("stream", int64(how), int64(j%3), n, number(err))
	defer m.show(j)
}

func (m *bufferMachine) little(buf *libevent.Buffer) {
	how, n := m.next()%7, m.next()
	p := data(n, n)
	got := 0
	var err error
	switch how {
	case 0:
		err = buf.WriteByte('x')
	case 1:
		var c byte
		c, err = buf.ReadByte()
		got = int(c)
	case 2:
		_, err = buf.WriteString(string(p))
	case 3:
		got = buf.Search(p[:n%6])
	case 4:
		got, err = buf.CopyOut(p)
		m.say("copyout", sum(p[:got]))
	case 5:
		p = buf.Peek()
		got = len(p)
		m.say("peek", sum(p))
	default:
		err = buf.EnableLocking()
	}
	m.say("little", int64(how), int64(got), number(err))
}
