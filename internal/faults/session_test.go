//go:build linux

package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
	"github.com/go-libevent/libevent/internal/faults"
)

var (
	errWrong   = errors.New("a wrong result")
	errTimeout = errors.New("nothing comes")
)

// parts are what a session does, each on a base of its own.
var parts = []struct {
	name string
	fn   func(b *libevent.Base) error
}{
	{"buffers", buffers},
	{"buffers between others", buffersBetween},
	{"buffer callbacks", bufferCallbacks},
	{"files", files},
	{"events", eventsAndTimers},
	{"activations", activations},
	{"walks and finalizers", walks},
	{"watchers", watchers},
	{"somebody else's base", borrowedBase},
	{"utilities", utilities},
	{"signals", signals},
	{"pair", pair},
	{"filters", filters},
	{"flow control", flowControl},
	{"rate limits", rateLimits},
	{"another base", anotherBase},
	{"listener", listenerOnSocket},
	{"connections", func(b *libevent.Base) error { return connections(b, false) }},
	{"eager connections", func(b *libevent.Base) error { return connections(b, true) }},
}

// session uses everything, and returns the first error. Without one, everything has
// come to its end.
func session() (err error) {
	keep := func(place string, e error) {
		if e != nil && err == nil {
			err = at(place, e)
		}
	}
	for _, part := range parts {
		b, e := base()
		if e != nil {
			keep(part.name, e)
			continue
		}
		keep(part.name, part.fn(b))
		if e := b.Close(); e != nil { // must work whatever has failed
			return fmt.Errorf("%s: Close: %v", part.name, e)
		}
	}
	return err
}

func base() (*libevent.Base, error) { return baseWith(libevent.EVENT_BASE_FLAG_PRECISE_TIMER) }

func baseWith(flags libevent.BaseFlags) (*libevent.Base, error) {
	return libevent.NewWithConfig(&libevent.Config{Avoid: []string{"select"}, Priorities: 3, Flags: flags})
}

func buffers(*libevent.Base) error {
	buf, err := libevent.NewBuffer()
	if err != nil {
		return err
	}
	defer buf.Close()
	other, err := libevent.NewBuffer()
	if err != nil {
		return err
	}
	defer other.Close()
	line := []byte("a line of text\n")
	want := bytes.Repeat(line, 1000)
	kept := bytes.Clone(want)
	for range 500 {
		if _, err := buf.Write(line); err != nil {
			return here(err)
		}
	}
	released := 0
	if err := buf.AddReference(kept[:len(line)*200], func() { released++ }); err != nil {
		return here(err)
	}
	for range 100 {
		if err := buf.Prepend(line); err != nil {
			return here(err)
		}
	}
	for range 200 {
		if _, err := other.Write(line); err != nil {
			return here(err)
		}
	}
	if err := buf.AddBuffer(other); err != nil {
		return here(err)
	}
	if err := buf.Expand(10000); err != nil {
		return here(err)
	}
	space, err := buf.Reserve(100, 2)
	if err != nil {
		return here(err)
	}
	copy(space[0], "0123456789")
	if err := buf.Commit(10); err != nil {
		return here(err)
	}
	if got, err := buf.PullUp(len(want)); err != nil || !bytes.Equal(got, want) {
		return here(errors.Join(err, buf.Close()))
	}
	if _, err := buf.RemoveBuffer(other, len(want)/2); err != nil {
		return here(err)
	}
	for range 500 {
		got, err := other.ReadLine(libevent.EVBUFFER_EOL_LF)
		if err != nil {
			return here(err)
		}
		if !bytes.Equal(got, line[:len(line)-1]) {
			return here(errWrong)
		}
	}
	if err := buf.Drain(len(want) / 2); err != nil {
		return here(err)
	}
	if string(buf.Bytes()) != "0123456789" || other.Len() != 0 || released != 1 {
		return here(errWrong)
	}
	return nil
}

// buffersBetween takes what other buffers, readers and writers give, by reference too.
func buffersBetween(*libevent.Base) error {
	var bufs [3]*libevent.Buffer
	for i := range bufs {
		buf, err := libevent.NewBuffer()
		if err != nil {
			return here(err)
		}
		defer buf.Close()
		bufs[i] = buf
	}
	first, second, third := bufs[0], bufs[1], bufs[2]
	released := 0
	text := bytes.Repeat([]byte("between "), 1000)
	if err := first.EnableLocking(); err != nil {
		return here(err)
	}
	if err := first.AddReference(text[8:], func() { released++ }); err != nil {
		return here(err)
	}
	if err := newer(second.SetMaxRead(5000)); err != nil {
		return here(err)
	}
	if err := newer(third.AddReferenceWithOffset(text, 0, 1, func() {})); err != nil {
		return here(err)
	}
	if err := third.Drain(1); err != nil {
		return here(err)
	}
	if err := second.WriteByte('-'); err != nil {
		return here(err)
	}
	if _, err := second.AddIovec([][]byte{text[:4000], text[4000:7000]}); err != nil {
		return here(err)
	}
	if err := first.PrependBuffer(second); err != nil {
		return here(err)
	}
	if err := third.AddBufferReference(first); err != nil {
		return here(err)
	}
	if _, err := second.ReadFrom(bytes.NewReader(text)); err != nil {
		return here(err)
	}
	var out bytes.Buffer
	if err := errors.Join(first.Lock(), first.Unlock()); err != nil {
		return here(err)
	}
	for _, buf := range []*libevent.Buffer{third, second} {
		if _, err := buf.WriteTo(&out); err != nil {
			return here(err)
		}
	}
	want := "-" + string(text[:7000]) + string(text[8:]) + string(text)
	if out.String() != want {
		return here(errWrong)
	}
	if err := first.Drain(first.Len()); err != nil {
		return here(err)
	}
	if released != 1 {
		return here(errWrong)
	}
	return nil
}

// bufferCallbacks are told of everything, also of what two buffers share.
func bufferCallbacks(b *libevent.Base) error {
	buf, err := libevent.NewBuffer()
	if err != nil {
		return err
	}
	defer buf.Close()
	borrowed, err := libevent.BufferFromPointer(buf.Pointer())
	if err != nil {
		return here(err)
	}
	defer borrowed.Close()
	sharing, err := libevent.NewBuffer()
	if err != nil {
		return here(err)
	}
	defer sharing.Close()
	added, deleted := 0, 0
	for _, of := range []*libevent.Buffer{buf, borrowed, sharing} {
		cb, err := of.AddCallback(func(_ *libevent.Buffer, info libevent.BufferCallbackInfo) {
			added += info.Added
			deleted += info.Deleted
		})
		if err != nil {
			return here(err)
		}
		defer cb.Remove()
	}
	if err := sharing.DeferCallbacks(b); err != nil {
		return here(err)
	}
	text := bytes.Repeat([]byte("shared "), 1000)
	if _, err := buf.Write(text); err != nil {
		return here(err)
	}
	if err := sharing.AddBufferReference(buf); err != nil {
		return here(err)
	}
	if got, err := sharing.PullUp(-1); err != nil || !bytes.Equal(got, text) {
		return here(errors.Join(err, sharing.Close()))
	}
	if err := errors.Join(buf.Drain(len(text)), sharing.Drain(len(text))); err != nil {
		return here(err)
	}
	if err := runUntil(b, patience); err != nil {
		return here(err)
	}
	if added != 3*len(text) || deleted != added {
		return here(errWrong)
	}
	return nil
}

// files go to a socket: their bytes, and they themselves.
func files(*libevent.Base) error {
	const name = "doc.go"
	text, err := os.ReadFile(name)
	if err != nil {
		return here(err)
	}
	f, err := os.Open(name)
	if err != nil {
		return here(err)
	}
	defer f.Close()
	fds, err := socketPair()
	if err != nil {
		return here(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	cleaned := 0
	for _, flags := range []libevent.FileSegmentFlags{0, libevent.EVBUF_FS_DISABLE_SENDFILE} {
		if err := file(f, fds[0], flags, &cleaned); err != nil {
			return err
		}
	}
	want := bytes.Repeat(text, 4)
	got := make([]byte, len(want)+1)
	n, err := syscall.Read(fds[1], got)
	if err != nil {
		return here(err)
	}
	if !bytes.Equal(got[:n], want) || cleaned != 2 {
		return here(errWrong)
	}
	return nil
}

// file sends f twice, as a segment and as it is.
func file(f *os.File, fd int, flags libevent.FileSegmentFlags, cleaned *int) error {
	buf, err := libevent.NewBuffer()
	if err != nil {
		return here(err)
	}
	defer buf.Close()
	if err := buf.SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD); err != nil {
		return here(err)
	}
	seg, err := libevent.NewFileSegment(f, 0, -1, flags)
	if err != nil {
		return here(err)
	}
	defer seg.Close()
	if err := seg.AddCleanup(func() { *cleaned++ }); err != nil {
		return here(err)
	}
	if err := buf.AddFileSegment(seg, 0, -1); err != nil {
		return here(err)
	}
	if err := buf.AddFile(f, 0, -1); err != nil {
		return here(err)
	}
	for buf.Len() > 0 {
		if _, err := buf.WriteFD(fd, -1); err != nil {
			return here(err)
		}
	}
	return nil
}

// newer lets pass that libevent is too old for a call.
func newer(err error) error {
	if errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// socketPair makes two sockets that are connected.
func socketPair() ([2]int, error) {
	return syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
}

// tasks ends the loop when all have ended, or one has failed.
type tasks struct {
	b    *libevent.Base
	left int
	err  error
}

func (t *tasks) done(err error) {
	t.left--
	if t.err == nil {
		t.err = err
	}
	if t.left == 0 || t.err != nil {
		_ = t.b.LoopBreak()
	}
}

// run runs the loop for the tasks.
func (t *tasks) run() error {
	err := runUntil(t.b, patience)
	switch {
	case t.err != nil:
		return t.err
	case err != nil:
		return err
	case t.left > 0:
		return fmt.Errorf("%d tasks have not ended: %w", t.left, errStalled)
	}
	return nil
}

func eventsAndTimers(b *libevent.Base) error {
	if err := b.InitCommonTimeout(time.Millisecond); err != nil {
		return here(err)
	}
	fds, err := socketPair()
	if err != nil {
		return here(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	t := &tasks{b: b, left: 6}
	var reader *libevent.Event
	reader, err = b.AddEvent(fds[0], libevent.EV_READ, func(events) (events, time.Duration) {
		var p [16]byte
		n, err := reader.Read(p[:])
		if err == nil && string(p[:n]) != "hello" {
			err = errWrong
		}
		t.done(err)
		return libevent.LEAVE, 0
	}, time.Minute)
	if err != nil {
		return here(err)
	}
	defer reader.Close()
	var writer *libevent.Event
	writer, err = b.AddEvent(fds[1], libevent.EV_WRITE, func(what events) (events, time.Duration) {
		if what != libevent.EV_WRITE { // the timeout that it has asked for
			t.done(nil)
			return libevent.LEAVE, 0
		}
		_, err := writer.Write([]byte("hello"))
		if err != nil {
			t.done(err)
		}
		return libevent.EV_READ, time.Millisecond
	}, libevent.NoTimeout)
	if err != nil {
		return here(err)
	}
	defer writer.Close()
	ticks := 0
	timer, err := b.AddTimer(time.Millisecond, func(events) (events, time.Duration) {
		if ticks++; ticks == 3 {
			t.done(nil)
			return libevent.LEAVE, 0
		}
		return 0, 0
	})
	if err != nil {
		return here(err)
	}
	defer timer.Close()
	if err := timer.SetPriority(0); err != nil {
		return here(err)
	}
	if err := b.Once(-1, libevent.EV_TIMEOUT, func(events) { t.done(nil) }, time.Millisecond); err != nil {
		return here(err)
	}
	active, err := b.NewEvent(-1, 0, func(events) (events, time.Duration) {
		t.done(nil)
		return 0, 0
	})
	if err != nil {
		return here(err)
	}
	defer active.Close()
	if err := b.Post(func() { t.done(active.Activate(libevent.EV_READ)) }); err != nil {
		return here(err)
	}
	if err := t.run(); err != nil {
		return err
	}
	if err := b.LoopExit(0); err != nil {
		return here(err)
	}
	return here(runUntil(b, patience))
}

// activations are events that come because somebody has said so.
func activations(b *libevent.Base) error {
	if err := b.SetPriorities(5); err != nil {
		return here(err)
	}
	fds, err := socketPair()
	if err != nil {
		return here(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	t := &tasks{b: b, left: 3}
	once := func(events) (events, time.Duration) {
		t.done(nil)
		return libevent.LEAVE, 0
	}
	reader, err := b.AddEvent(fds[0], libevent.EV_READ, once, time.Minute)
	if err != nil {
		return here(err)
	}
	defer reader.Close()
	signal, err := b.AddSignal(syscall.SIGUSR2, once)
	if err != nil {
		return here(err)
	}
	defer signal.Close()
	again, err := b.NewEvent(fds[1], libevent.EV_WRITE, once)
	if err != nil {
		return here(err)
	}
	defer again.Close()
	if err := errors.Join(reader.SetPriority(4), reader.RemoveTimer()); err != nil {
		return here(err)
	}
	for _, act := range []func() error{
		func() error { return again.Add(time.Minute) },
		again.Del,
		func() error { return again.Add(libevent.NoTimeout) },
		func() error {
			_, err := b.SignalMethod()
			return newer(err)
		},
		b.UpdateCachedTime,
		b.LoopContinue,
		func() error { return b.ActivateByFD(fds[0], libevent.EV_READ) },
		func() error { return b.ActivateBySignal(syscall.SIGUSR2) },
	} {
		if err := act(); err != nil {
			return here(err)
		}
	}
	return t.run()
}

// watchers look at every turn of the loop, with a libevent that has them.
func watchers(b *libevent.Base) error {
	turns := 0
	prepare, err := b.NewPrepareWatcher(func(time.Duration) { turns++ })
	if errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	if err != nil {
		return here(err)
	}
	defer prepare.Close()
	check, err := b.NewCheckWatcher(func() { turns++ })
	if err != nil {
		return here(err)
	}
	defer check.Close()
	timer, err := b.AddTimer(0, func(events) (events, time.Duration) { return libevent.LEAVE, 0 })
	if err != nil {
		return here(err)
	}
	defer timer.Close()
	if err := runUntil(b, patience); err != nil {
		return here(err)
	}
	if turns < 2 {
		return here(errWrong)
	}
	return nil
}

// borrowedBase is a base that others, as it were, have made.
func borrowedBase(b *libevent.Base) error {
	borrowed, err := libevent.BaseFromPointer(b.Pointer())
	if err != nil {
		return here(err)
	}
	calls := 0
	timer, err := borrowed.AddTimer(0, func(events) (events, time.Duration) {
		calls++
		return libevent.LEAVE, 0
	})
	if err == nil {
		defer timer.Close()
		err = borrowed.Post(func() { calls++ })
	}
	if err == nil {
		err = runUntil(b, patience)
	}
	if err == nil && calls != 2 {
		err = errWrong
	}
	return here(errors.Join(err, borrowed.Close()))
}

// utilities are what needs no base.
func utilities(*libevent.Base) error {
	libevent.SupportedMethods() // nil without memory
	fds, err := libevent.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return here(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	tcp, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return here(err)
	}
	defer syscall.Close(tcp)
	for _, set := range []func(int) error{
		libevent.MakeSocketNonblocking, libevent.MakeSocketCloseOnExec,
		libevent.MakeListenSocketReuseable, libevent.MakeListenSocketReuseablePort,
		libevent.MakeTCPListenSocketDeferred,
		func(fd int) error { return newer(libevent.SetTCPKeepalive(fd, true, time.Minute)) },
	} {
		if err := set(tcp); err != nil {
			return here(err)
		}
	}
	timer, err := libevent.NewMonotonicTimer(0)
	if err != nil {
		return here(err)
	}
	defer timer.Close()
	if _, err := timer.Time(); err != nil {
		return here(err)
	}
	return here(errors.Join(libevent.SecureRNGInit(), libevent.SecureRNGGetBytes(make([]byte, 16))))
}

// walks looks at all events, and ends them with finalizers.
func walks(b *libevent.Base) error {
	finalized := 0
	for range 3 {
		ev, err := b.AddTimer(time.Minute, func(events) (events, time.Duration) { return libevent.LEAVE, 0 })
		if err != nil {
			return here(err)
		}
		defer ev.Close()
	}
	var text bytes.Buffer
	if err := b.DumpEvents(&text); err != nil {
		return here(err)
	}
	seen := 0
	for ev := range b.Events() {
		seen++
		if err := ev.Finalize(func() { finalized++ }); err != nil {
			return here(err)
		}
	}
	if err := runUntil(b, patience); err != nil {
		return here(err)
	}
	if text.Len() == 0 || seen != 3 || finalized != 3 {
		return here(errWrong)
	}
	return nil
}

func signals(b *libevent.Base) error {
	t := &tasks{b: b, left: 2}
	for range 2 {
		ev, err := b.AddSignal(syscall.SIGUSR2, func(events) (events, time.Duration) {
			t.done(nil)
			return libevent.LEAVE, 0
		})
		if err != nil {
			return here(err)
		}
		defer ev.Close()
	}
	if err := b.Post(func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGUSR2) }); err != nil {
		return here(err)
	}
	// A signal's delivery is not something to wait for, and the loop cannot end without.
	return t.run()
}

func pair(b *libevent.Base) error {
	const options = libevent.BEV_OPT_THREADSAFE | libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_UNLOCK_CALLBACKS
	var first, second *libevent.BufferEvent
	var err error
	spared(func() { first, second, err = b.NewBufferEventPair(options) })
	if err != nil {
		return here(err)
	}
	defer first.Close()
	defer second.Close()
	t := &tasks{b: b, left: 1}
	message := bytes.Repeat([]byte("pair "), 2000)
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		if bev.Input().Len() < len(message) {
			return
		}
		if got, err := bev.Input().PullUp(-1); err != nil {
			t.done(err)
		} else if !bytes.Equal(got, message) {
			t.done(errWrong)
		} else {
			t.done(bev.Input().Drain(len(message)))
		}
	}, nil, nil)
	if err := second.Enable(libevent.EV_READ); err != nil {
		return here(err)
	}
	if _, err := first.Write(message); err != nil {
		return here(err)
	}
	return t.run()
}

// connected makes two BufferEvents whose sockets are connected.
func connected(t *tasks) (ends [2]*libevent.BufferEvent, err error) {
	fds, err := socketPair()
	if err != nil {
		return ends, err
	}
	for i, fd := range fds {
		if err == nil {
			ends[i], err = t.b.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
		}
		if ends[i] == nil {
			_ = syscall.Close(fd)
			continue
		}
		ends[i].SetCallbacks(nil, nil, t.ended)
	}
	return ends, err
}

// ended is told of what should not happen.
func (t *tasks) ended(bev *libevent.BufferEvent, what libevent.BufferEvents) {
	if what&libevent.BEV_EVENT_ERROR != 0 {
		t.done(here(bev.Err()))
	} else {
		t.done(fmt.Errorf("%v: %w", what, errTimeout))
	}
}

// expect has a task done when message has come to bev.
func (t *tasks) expect(bev *libevent.BufferEvent, message []byte) error {
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		if bev.Input().Len() < len(message) {
			return
		}
		if got, err := bev.Input().PullUp(-1); err != nil {
			t.done(here(err))
		} else if !bytes.Equal(got, message) {
			t.done(here(errWrong))
		} else {
			t.done(nil)
		}
	}, nil, t.ended)
	return bev.Enable(libevent.EV_READ)
}

// filters turn every byte around on its way out, and back on its way in.
func filters(b *libevent.Base) error {
	t := &tasks{b: b, left: 1}
	ends, err := connected(t)
	if err != nil {
		return here(err)
	}
	turn := func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		p, err := src.PullUp(-1)
		if err == nil {
			p = bytes.Clone(p)
			for i := range p {
				p[i] ^= 0xff
			}
			_, err = dst.Write(p)
		}
		if err == nil {
			err = src.Drain(len(p))
		}
		if err != nil {
			t.done(here(err))
			return libevent.BEV_ERROR
		}
		return libevent.BEV_OK
	}
	var tops [2]*libevent.BufferEvent
	for i, end := range ends {
		// bufferevent_filter_new does not look whether evbuffer_add_cb has made an entry.
		spared(func() { tops[i], err = end.NewFilter(turn, turn, libevent.BEV_OPT_CLOSE_ON_FREE) })
		if err != nil {
			return here(err)
		}
		tops[i].SetCallbacks(nil, nil, t.ended)
	}
	message := bytes.Repeat([]byte("filtered "), 1000)
	if err := t.expect(tops[1], message); err != nil {
		return here(err)
	}
	if _, err := tops[0].Write(message); err != nil {
		return here(err)
	}
	return t.run()
}

// flowControl stops an input at its high watermark, and goes on, over sockets that were
// given later.
func flowControl(b *libevent.Base) error {
	const options = libevent.BEV_OPT_CLOSE_ON_FREE | libevent.BEV_OPT_THREADSAFE
	t := &tasks{b: b, left: 1}
	fds, err := socketPair()
	if err != nil {
		return here(err)
	}
	var ends [2]*libevent.BufferEvent
	for i, fd := range fds {
		end, err := b.NewBufferEvent(-1, options)
		if err == nil {
			defer end.Close()
			err = end.SetFD(fd)
		}
		if err != nil {
			for _, fd := range fds[i:] {
				_ = syscall.Close(fd)
			}
			return here(err)
		}
		ends[i] = end
	}
	first, second := ends[0], ends[1]
	first.SetCallbacks(nil, nil, t.ended)
	message := bytes.Repeat([]byte("flow "), 1000)
	var got []byte
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		p := make([]byte, 600)
		n, err := bev.Read(p)
		if got = append(got, p[:n]...); err == nil && len(got) < len(message) {
			return
		}
		if err == nil && !bytes.Equal(got, message) {
			err = errWrong
		}
		t.done(here(err))
	}, nil, t.ended)
	// libevent does not look whether it has memory for the callback at the watermark.
	spared(func() { err = second.SetWatermark(libevent.EV_READ, 1, 500) })
	if err != nil {
		return here(err)
	}
	for _, set := range []func() error{
		func() error { return errors.Join(second.Lock(), second.SetPriority(0), second.Unlock()) },
		func() error { return second.SetMaxSingleRead(1000) },
		func() error { return second.SetMaxSingleWrite(1000) },
		func() error { return second.SetTimeouts(time.Minute, time.Minute) },
		func() error { return second.Enable(libevent.EV_READ) },
		func() error { return second.Trigger(libevent.EV_WRITE, 0) },
		func() error { return first.Flush(libevent.EV_WRITE, libevent.BEV_NORMAL) },
		func() error { return first.Disable(libevent.EV_WRITE) },
		func() error { return from(message, first.WriteBuffer) },
		func() error { return first.Enable(libevent.EV_WRITE) },
	} {
		if err := set(); err != nil {
			return here(err)
		}
	}
	return t.run()
}

// rateLimits sends more than a tick allows, alone and in a group. How many ticks that
// takes is not up to the machine.
func rateLimits(*libevent.Base) (err error) {
	faults.StopClock(true)
	defer faults.StopClock(false)
	b, err := baseWith(0)
	if err != nil {
		return here(err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	t := &tasks{b: b, left: 1}
	// Where a limit's pause ends libevent keeps to itself that it cannot go on.
	giveUp, err := b.AddTimer(time.Minute, func(events) (events, time.Duration) {
		t.done(errTimeout)
		return libevent.LEAVE, 0
	})
	if err != nil {
		return here(err)
	}
	defer giveUp.Close()
	ends, err := connected(t)
	if err != nil {
		return here(err)
	}
	cfg := libevent.TokenBucketConfig{
		ReadRate: 4000, ReadBurst: 4000, WriteRate: 4000, WriteBurst: 4000, Tick: time.Second,
	}
	g, err := b.NewRateLimitGroup(cfg)
	if err != nil {
		return here(err)
	}
	defer g.Close()
	if err := errors.Join(g.SetConfig(cfg), g.SetMinShare(100), g.DecrementReadLimit(1), g.DecrementWriteLimit(1)); err != nil {
		return here(err)
	}
	for _, end := range ends {
		if err := errors.Join(end.SetRateLimit(&cfg), end.SetRateLimitGroup(g)); err != nil {
			return here(err)
		}
		if err := errors.Join(end.DecrementReadLimit(1), end.DecrementWriteLimit(1)); err != nil {
			return here(err)
		}
	}
	message := bytes.Repeat([]byte("limited "), 1500)
	if err := t.expect(ends[1], message); err != nil {
		return here(err)
	}
	if _, err := ends[0].Write(message); err != nil {
		return here(err)
	}
	return t.run()
}

// anotherBase gets a BufferEvent, and runs it.
func anotherBase(b *libevent.Base) (err error) {
	other, err := base()
	if err != nil {
		return here(err)
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	t := &tasks{b: b, left: 1}
	ends, err := connected(t)
	if err != nil {
		return here(err)
	}
	for _, end := range ends {
		if err := end.SetBase(other); err != nil {
			return here(err)
		}
	}
	t.b = other
	message := []byte("elsewhere")
	if err := t.expect(ends[1], message); err != nil {
		return here(err)
	}
	if _, err := ends[0].Write(message); err != nil {
		return here(err)
	}
	return t.run()
}

// listenerOnSocket listens on a socket of its own making.
func listenerOnSocket(b *libevent.Base) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return here(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return here(errors.Join(err, syscall.Close(fd)))
	}
	ln, err := b.NewListener(fd, libevent.LEV_OPT_CLOSE_ON_FREE, 0, func(*libevent.Listener, int, netip.AddrPort) {})
	if err != nil {
		return here(errors.Join(err, syscall.Close(fd)))
	}
	return here(errors.Join(ln.Disable(), ln.Enable(), ln.Close()))
}

// spared runs fn without a fault of libevent's memory: for what libevent itself does not
// survive. bufferevent_pair_new frees what it has not completed, with a NULL for it.
func spared(fn func()) {
	left := ctest.FailAllocation(0)
	fn()
	ctest.FailAllocation(left)
}

// connections connects to a listener, and has what it sends sent back.
func connections(b *libevent.Base, eager bool) error {
	t := &tasks{b: b, left: 1}
	message := bytes.Repeat([]byte("0123456789abcdef"), 250)
	if eager {
		message = bytes.Repeat(message, 10)
	}
	open := func(fd int) (*libevent.BufferEvent, error) {
		bev, err := b.NewBufferEvent(fd, libevent.BEV_OPT_CLOSE_ON_FREE)
		if err != nil {
			return nil, err
		}
		return bev, errors.Join(bev.SetEager(eager), bev.SetTimeouts(patience, 0))
	}
	ended := func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		switch {
		case what&libevent.BEV_EVENT_CONNECTED != 0:
			if err := bev.Enable(libevent.EV_READ); err != nil {
				t.done(here(err))
			}
			if _, err := bev.Write(message); err != nil {
				t.done(here(err))
			}
		case what&libevent.BEV_EVENT_ERROR != 0:
			t.done(here(bev.Err()))
		default:
			t.done(fmt.Errorf("%v: %w", what, errTimeout))
		}
	}
	echo := func(bev *libevent.BufferEvent) {
		if err := bev.WriteBuffer(bev.Input()); err != nil {
			t.done(here(err))
		}
	}
	accept := func(ln *libevent.Listener, fd int, _ netip.AddrPort) {
		bev, err := open(fd)
		if bev == nil {
			_ = syscall.Close(fd)
		}
		if err != nil {
			t.done(here(err))
			return
		}
		bev.SetCallbacks(echo, nil, ended)
		if err := bev.Enable(libevent.EV_READ); err != nil {
			t.done(here(err))
		}
	}
	var ln *libevent.Listener
	var err error
	path := fmt.Sprintf("@libevent-faults-%d", syscall.Getpid())
	if eager {
		ln, err = b.ListenUnix(path, libevent.LEV_OPT_CLOSE_ON_FREE, 0, accept)
	} else {
		ln, err = b.Listen(netip.MustParseAddrPort("127.0.0.1:0"), libevent.LEV_OPT_CLOSE_ON_FREE, 0, accept)
	}
	if err != nil {
		return here(err)
	}
	if err := ln.SetErrorCallback(func(_ *libevent.Listener, err error) { t.done(here(err)) }); err != nil {
		return here(err)
	}
	client, err := open(-1)
	if err != nil {
		return here(err)
	}
	client.SetCallbacks(func(bev *libevent.BufferEvent) {
		if bev.Input().Len() < len(message) {
			return
		}
		got := make([]byte, len(message))
		if _, err := bev.Input().CopyOut(got); err != nil {
			t.done(here(err))
		} else if !bytes.Equal(got, message) {
			t.done(here(errWrong))
		} else {
			t.done(nil)
		}
	}, nil, ended)
	if eager {
		err = client.ConnectUnix(path)
	} else {
		err = client.Connect(ln.Addr())
	}
	if err != nil {
		return here(err)
	}
	return t.run()
}
