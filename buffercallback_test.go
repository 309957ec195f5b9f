package libevent_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

type bufferInfo = libevent.BufferCallbackInfo

// addCallback adds a callback that must be possible.
func addCallback(t testing.TB, buf *libevent.Buffer, fn func(*libevent.Buffer, bufferInfo)) *libevent.BufferCallback {
	t.Helper()
	cb, err := buf.AddCallback(fn)
	must(t, err)
	return cb
}

// recordChanges adds a callback that keeps what it is told in the result.
func recordChanges(t testing.TB, buf *libevent.Buffer) *[]bufferInfo {
	t.Helper()
	var seen []bufferInfo
	addCallback(t, buf, func(_ *libevent.Buffer, info bufferInfo) { seen = append(seen, info) })
	return &seen
}

// told fails unless the callback of recordChanges was told exactly that since the last time.
func told(t testing.TB, what string, seen *[]bufferInfo, want ...bufferInfo) {
	t.Helper()
	if !slices.Equal(*seen, want) {
		t.Errorf("%s: the callback was told %v, want %v", what, *seen, want)
	}
	*seen = nil
}

// TestBufferCallbackInfo changes a buffer in every way: the callback is told once, and
// what is true.
//
// Upstream: evbuffer/callbacks
func TestBufferCallbackInfo(t *testing.T) {
	buf, other := newBuffer(t), newBuffer(t)
	seen, seenOther := recordChanges(t, buf), recordChanges(t, other)
	r, w := pipe(t)
	for _, step := range []struct {
		name string
		run  func() error
		want bufferInfo
	}{
		{"Write", func() error { return second(buf.Write([]byte("12345"))) }, bufferInfo{0, 5, 0}},
		{"WriteByte", func() error { return buf.WriteByte('6') }, bufferInfo{5, 1, 0}},
		{"Prepend", func() error { return buf.Prepend([]byte("00")) }, bufferInfo{6, 2, 0}},
		{"AddReference", func() error { return buf.AddReference([]byte("78"), nil) }, bufferInfo{8, 2, 0}},
		{"AddIovec", func() error { return second(buf.AddIovec([][]byte{[]byte("9"), []byte("a\n")})) }, bufferInfo{10, 3, 0}},
		{"Drain", func() error { return buf.Drain(2) }, bufferInfo{13, 0, 2}},
		{"Read", func() error { return second(buf.Read(make([]byte, 3))) }, bufferInfo{11, 0, 3}},
		{"Commit", func() error { must(t, second(buf.Reserve(10, 1))); return buf.Commit(4) }, bufferInfo{8, 4, 0}},
		{"WriteFD", func() error { return second(buf.WriteFD(w, 2)) }, bufferInfo{12, 0, 2}},
		{"ReadFD", func() error { return second(buf.ReadFD(r, -1)) }, bufferInfo{10, 2, 0}},
		{"ReadLine", func() error { return second(buf.ReadLine(libevent.EVBUFFER_EOL_LF)) }, bufferInfo{12, 0, 6}},
		{"AddBuffer", func() error { return buf.AddBuffer(newBuffer(t, "xyz")) }, bufferInfo{6, 3, 0}},
		{"PrependBuffer", func() error { return buf.PrependBuffer(newBuffer(t, "xyz")) }, bufferInfo{9, 3, 0}},
		{"AddBufferReference", func() error { return buf.AddBufferReference(newBuffer(t, "more")) }, bufferInfo{12, 4, 0}},
		{"RemoveBuffer", func() error { return second(buf.RemoveBuffer(other, 5)) }, bufferInfo{16, 0, 5}},
		{"WriteTo", func() error { return second(buf.WriteTo(other)) }, bufferInfo{11, 0, 11}},
		{"ReadFrom", func() error { return second(buf.ReadFrom(strings.NewReader("text"))) }, bufferInfo{0, 4, 0}},
	} {
		must(t, step.run())
		told(t, step.name, seen, step.want)
	}
	told(t, "the other buffer", seenOther, bufferInfo{0, 5, 0}, bufferInfo{5, 11, 0})

	// What leaves the length alone is not told.
	must(t, second(buf.PullUp(-1)))
	must(t, buf.Expand(5000))
	must(t, second(buf.CopyOut(make([]byte, 2))))
	must(t, buf.Drain(0))
	must(t, second(buf.Write(nil)))
	told(t, "nothing", seen)
}

// TestBufferCallbackOrder calls the newest first, and only those that are enabled.
func TestBufferCallbackOrder(t *testing.T) {
	buf := newBuffer(t)
	var log string
	add := func(name string) *libevent.BufferCallback {
		return addCallback(t, buf, func(_ *libevent.Buffer, info bufferInfo) { log += fmt.Sprint(name, info.OrigSize, " ") })
	}
	a, b := add("a"), add("b")
	for _, step := range []struct {
		run  func()
		want string
	}{
		{func() {}, "b0 a0 "},
		{a.Disable, "b1 "},
		{b.Disable, ""},
		{func() { a.Enable(); b.Enable() }, "b3 a3 "}, // it is not told of the one before
		{a.Remove, "b4 "},
		{b.Remove, ""},
		{func() { a.Remove(); a.Enable(); add("c") }, "c6 "},
	} {
		step.run()
		write(t, buf, "x")
		if log != step.want {
			t.Errorf("the callbacks were %q, want %q", log, step.want)
		}
		log = ""
	}
}

// TestBufferCallbackChangesBuffer changes the buffer in its callback, which is told that
// too.
func TestBufferCallbackChangesBuffer(t *testing.T) {
	buf := newBuffer(t)
	var seen []bufferInfo
	addCallback(t, buf, func(buf *libevent.Buffer, info bufferInfo) {
		seen = append(seen, info)
		if info.Added > 0 {
			must(t, buf.Drain(1))
		}
		if len(seen) == 2 {
			write(t, buf, "d")
		}
	})
	write(t, buf, "abc")
	told(t, "nested", &seen, bufferInfo{0, 3, 0}, bufferInfo{3, 0, 1}, bufferInfo{2, 1, 0}, bufferInfo{3, 0, 1})
}

// TestBufferCallbackInReadByte moves bytes in the callback of one that is read.
func TestBufferCallbackInReadByte(t *testing.T) {
	buf := newBuffer(t, "abc")
	inside := false
	addCallback(t, buf, func(buf *libevent.Buffer, info bufferInfo) {
		if inside {
			return
		}
		inside = true
		must(t, buf.WriteByte('x'))
		if c, err := buf.ReadByte(); c != 'b' || err != nil {
			t.Errorf("ReadByte inside gives %q and %v, want b", c, err)
		}
	})
	if c, err := buf.ReadByte(); c != 'a' || err != nil {
		t.Errorf("ReadByte gives %q and %v, want a", c, err)
	}
	pulled(t, buf, "cx")
}

// TestBufferCallbackAddsNoLock: libevent would take back, after the callback, what it has not
// locked, and abort where locks are debugged.
func TestBufferCallbackAddsNoLock(t *testing.T) {
	buf := newBuffer(t)
	addCallback(t, buf, func(buf *libevent.Buffer, _ bufferInfo) {
		wantErr(t, buf.EnableLocking(), "evbuffer_enable_locking", syscall.EBUSY)
	})
	write(t, buf, "abc")
	must(t, buf.EnableLocking())
	pulled(t, buf, "abc")
}

// TestBufferCallbacksOfEachOther remove and add callbacks in callbacks.
func TestBufferCallbacksOfEachOther(t *testing.T) {
	buf := newBuffer(t)
	var log string
	var a, b *libevent.BufferCallback
	a = addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { log += "a" })
	b = addCallback(t, buf, func(buf *libevent.Buffer, _ bufferInfo) {
		log += "b"
		b.Remove()
		a.Remove()
		addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { log += "c" })
	})
	write(t, buf, "x")
	write(t, buf, "x")
	if log != "bc" {
		t.Errorf("the callbacks were %q", log)
	}
}

// TestBufferCallbackTouchesSource empties the source of a move in the destination's
// callback, where libevent itself is in the midst of it.
func TestBufferCallbackTouchesSource(t *testing.T) {
	src, dst := newBuffer(t, "first,", "second,", "third"), newBuffer(t)
	addCallback(t, dst, func(dst *libevent.Buffer, info bufferInfo) {
		must(t, src.Drain(src.Len()))
		must(t, dst.Freeze(false))
	})
	addCallback(t, src, func(*libevent.Buffer, bufferInfo) { must(t, dst.Freeze(false)) })
	if n, err := src.RemoveBuffer(dst, 9); n != 9 || err != nil {
		t.Errorf("RemoveBuffer gives %d and %v", n, err)
	}
	pulled(t, dst, "first,sec")
	pulled(t, src, "")
	wantErr(t, second(dst.Write([]byte("x"))), "evbuffer_add", syscall.EPERM)
}

// TestBufferCallbackKeepsCount does what chance wants with some buffers: each holds what a
// string does that the same is done with, and the callbacks know its length.
func TestBufferCallbackKeepsCount(t *testing.T) {
	f := newFile(t, "the contents of a file")
	blocks, size := ctest.Allocated()
	for seed := range uint64(fewer(2000)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var bufs [4]*libevent.Buffer
		var want [4]string
		var counted [4]int
		for i := range bufs {
			bufs[i] = newBuffer(t)
			addCallback(t, bufs[i], func(_ *libevent.Buffer, info bufferInfo) {
				if info.OrigSize != counted[i] {
					t.Errorf("OrigSize is %d, want %d", info.OrigSize, counted[i])
				}
				counted[i] += info.Added - info.Deleted
			})
		}
		for range 60 {
			i, j := rnd.IntN(len(bufs)), rnd.IntN(len(bufs)-1)
			if j >= i {
				j++
			}
			text := strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(700))
			n := rnd.IntN(len(want[i]) + 2)
			cut := min(n, len(want[i]))
			switch rnd.IntN(14) {
			case 0, 1:
				write(t, bufs[i], text)
				want[i] += text
			case 2:
				must(t, bufs[i].Prepend([]byte(text)))
				want[i] = text + want[i]
			case 3:
				must(t, bufs[i].AddReference([]byte(text), nil))
				want[i] += text
			case 4:
				must(t, bufs[i].Drain(n))
				want[i] = want[i][cut:]
			case 5:
				must(t, bufs[j].AddBuffer(bufs[i]))
				want[i], want[j] = "", want[j]+want[i]
			case 6:
				must(t, bufs[j].PrependBuffer(bufs[i]))
				want[i], want[j] = "", want[i]+want[j]
			case 7:
				must(t, second(bufs[i].RemoveBuffer(bufs[j], n)))
				want[i], want[j] = want[i][cut:], want[j]+want[i][:cut]
			case 8, 9:
				if err := bufs[j].AddBufferReference(bufs[i]); err == nil {
					want[j] += want[i]
				} else {
					wantErr(t, err, "evbuffer_add_buffer_reference", syscall.EINVAL)
				}
			case 10:
				must(t, second(bufs[i].PullUp(cut)))
			case 11:
				must(t, bufs[i].Expand(rnd.IntN(3000)))
				must(t, second(bufs[j].Reserve(1+rnd.IntN(3000), 1+rnd.IntN(4))))
			case 12:
				must(t, bufs[i].AddFile(f, 4, int64(cut%18)))
				want[i] += "contents of a file"[:cut%18]
			case 13:
				must(t, second(bufs[i].WriteFD(devNull, -1)))
				want[i] = want[i][len(want[i])-bufs[i].Len():]
			}
			for k, buf := range bufs {
				if counted[k] != len(want[k]) {
					t.Errorf("the callback has counted %d bytes, want %d", counted[k], len(want[k]))
				}
				check(t, buf, want[k])
			}
			if t.Failed() {
				t.Fatalf("with seed %d", seed)
			}
		}
		for _, buf := range bufs {
			must(t, buf.Close())
		}
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks and %d bytes more than before", b-blocks, s-size)
	}
}

// changes are calls that change dst, and some of them src.
var changes = []struct {
	name string
	run  func(dst, src *libevent.Buffer) error
}{
	{"Write", func(dst, _ *libevent.Buffer) error { return second(dst.Write([]byte("x"))) }},
	{"Prepend", func(dst, _ *libevent.Buffer) error { return dst.Prepend([]byte("x")) }},
	{"Drain", func(dst, _ *libevent.Buffer) error { return dst.Drain(1) }},
	{"Read", func(dst, _ *libevent.Buffer) error { return second(dst.Read(make([]byte, 1))) }},
	{"ReadLine", func(dst, _ *libevent.Buffer) error { return second(dst.ReadLine(libevent.EVBUFFER_EOL_NUL)) }},
	{"Commit", func(dst, _ *libevent.Buffer) error { dst.Reserve(1, 1); return dst.Commit(1) }},
	{"AddReference", func(dst, _ *libevent.Buffer) error { return dst.AddReference([]byte("x"), nil) }},
	{"WriteFD", func(dst, _ *libevent.Buffer) error { return second(dst.WriteFD(devNull, -1)) }},
	{"AddBuffer", func(dst, src *libevent.Buffer) error { return dst.AddBuffer(src) }},
	{"PrependBuffer", func(dst, src *libevent.Buffer) error { return dst.PrependBuffer(src) }},
	{"RemoveBuffer", func(dst, src *libevent.Buffer) error { return second(src.RemoveBuffer(dst, 2)) }},
	{"RemoveBuffer, all", func(dst, src *libevent.Buffer) error { return second(src.RemoveBuffer(dst, 99)) }},
	{"AddBufferReference", func(dst, src *libevent.Buffer) error { return dst.AddBufferReference(src) }},
}

var devNull, _ = syscall.Open(os.DevNull, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)

// TestBufferCallbackCloses closes the buffers of a call in their callbacks: they are freed
// when the call is over.
func TestBufferCallbackCloses(t *testing.T) {
	blocks, size := ctest.Allocated()
	for _, change := range changes {
		for _, who := range []string{"dst", "src", "both"} {
			dst, src := newBuffer(t, "abc\x00", "def"), newBuffer(t, "ghi", "jkl")
			cleaned := 0
			must(t, dst.AddReference([]byte("end"), func() { cleaned++ }))
			for _, buf := range []*libevent.Buffer{dst, src} {
				addCallback(t, buf, func(*libevent.Buffer, bufferInfo) {
					if who != "src" {
						must(t, dst.Close())
					}
					if who != "dst" {
						must(t, src.Close())
					}
				})
			}
			if err := change.run(dst, src); err != nil && who == "dst" {
				t.Errorf("%s: %v", change.name, err)
			}
			if who != "src" && cleaned != 1 {
				t.Errorf("%s: %d cleanups after the call, want 1", change.name, cleaned)
			}
			must(t, dst.Close())
			must(t, src.Close())
		}
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks and %d bytes more than before", b-blocks, s-size)
	}
}

// TestBufferCallbackEndsWithClose calls no other callback when one has closed the buffer.
func TestBufferCallbackEndsWithClose(t *testing.T) {
	fds := socketpair(t)
	bev := bevNew(t, newBase(t), fds[0], 0)
	plain := newBuffer(t)
	for buf, closeIt := range map[*libevent.Buffer]func() error{plain: plain.Close, bev.Output(): bev.Close} {
		addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { t.Error("a callback has come after Close") })
		addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { must(t, closeIt()) })
		write(t, buf, "abc")
	}
}

// TestBufferCallbackPanics gets a callback's panic from the call, when the other callbacks
// have run and the call is complete.
func TestBufferCallbackPanics(t *testing.T) {
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			dst, src := newBuffer(t, "abc\x00"), newBuffer(t, "ghi", "jkl")
			before := libevent.LivePanics()
			calls := 0
			addCallback(t, dst, func(*libevent.Buffer, bufferInfo) { calls++ })
			addCallback(t, dst, func(*libevent.Buffer, bufferInfo) { panic(io.ErrNoProgress) })
			p := bevPanic(func() { _ = change.run(dst, src) })
			if p == nil || p.Value != io.ErrNoProgress || !strings.Contains(string(p.Stack), "TestBufferCallbackPanics") {
				t.Errorf("the panic is %v", p)
			}
			if calls != 1 {
				t.Errorf("%d calls of the other callback, want 1", calls)
			}
			if n := libevent.LivePanics(); n != before {
				t.Errorf("%d panics are left", n-before)
			}
			must(t, dst.Drain(0))
			must(t, src.Drain(0))
		})
	}
}

// TestBufferCallbackPanicsInCleanup has a callback and a cleanup panic in one call.
func TestBufferCallbackPanicsInCleanup(t *testing.T) {
	buf := newBuffer(t)
	must(t, buf.AddReference([]byte("abc"), func() { panic("cleanup") }))
	addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { panic("callback") })
	before := libevent.LivePanics()
	if p := bevPanic(func() { _ = buf.Drain(3) }); p == nil || p.Value != "callback" {
		t.Errorf("the panic is %v", p)
	}
	if n := libevent.LivePanics(); n != before {
		t.Errorf("%d panics are left", n-before)
	}
}

// TestBufferCallbackGoexit ends the goroutine in a callback: the buffer is broken.
func TestBufferCallbackGoexit(t *testing.T) {
	endsInGoexit(t)
	buf, err := libevent.NewBuffer()
	must(t, err)
	defer libevent.AbandonBuffer(buf)
	addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { runtime.Goexit() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf.WriteString("abc")
		t.Error("Write has returned")
	}()
	<-done
	wantErr(t, second(buf.WriteString("def")), "evbuffer_add", libevent.ErrBroken)
	wantErr(t, buf.Close(), "evbuffer_free", libevent.ErrBroken)
	if buf.Len() != 0 || buf.Peek() != nil {
		t.Error("a broken buffer has something in it")
	}
	pulled(t, newBuffer(t, "others work"), "others work")
}

// TestBufferCallbackRunsNoLoop can neither run a loop nor close a base in a callback.
func TestBufferCallbackRunsNoLoop(t *testing.T) {
	b := newBase(t)
	buf := newBuffer(t)
	ran := false
	addCallback(t, buf, func(*libevent.Buffer, bufferInfo) {
		ran = true
		wantErr(t, b.Dispatch(), "event_base_dispatch", libevent.ErrRunning)
		wantErr(t, b.Loop(libevent.EVLOOP_NONBLOCK), "event_base_loop", libevent.ErrRunning)
		wantErr(t, b.Close(), "event_base_free", libevent.ErrRunning)
	})
	write(t, buf, "x")
	if !ran {
		t.Error("the callback has not run")
	}
	loopPass(t, b)
}

// TestBufferCallbackOfC is told what C code does to the evbuffer, and cannot close it then.
func TestBufferCallbackOfC(t *testing.T) {
	b := newBase(t)
	buf := newBuffer(t, "abc")
	var seen []bufferInfo
	addCallback(t, buf, func(buf *libevent.Buffer, info bufferInfo) {
		seen = append(seen, info)
		if info.Deleted > 0 {
			wantErr(t, buf.Close(), "evbuffer_free", syscall.EBUSY)
		}
	})
	ctest.Drain(buf.Pointer())
	told(t, "C drains", &seen, bufferInfo{3, 0, 3})

	// In a loop its panic is the loop's.
	cb := addCallback(t, buf, func(_ *libevent.Buffer, info bufferInfo) {
		if info.Deleted > 0 {
			panic("for the test")
		}
	})
	write(t, buf, "def")
	if !ctest.DrainInLoop(b.Pointer(), buf.Pointer()) {
		t.Fatal("no event")
	}
	if p := bevPanic(func() { _ = b.Dispatch() }); p == nil || p.Value != "for the test" {
		t.Errorf("the panic is %v", p)
	}
	cb.Remove()
	told(t, "C drains in the loop", &seen, bufferInfo{0, 3, 0}, bufferInfo{3, 0, 3})
}

func init() {
	children["panic for C"] = func() int {
		buf, err := libevent.NewBuffer()
		if err == nil {
			_, err = buf.WriteString("abc")
		}
		if err == nil {
			_, err = buf.AddCallback(func(*libevent.Buffer, bufferInfo) { panic("nobody to tell") })
		}
		if err != nil {
			return 3
		}
		ctest.Drain(buf.Pointer())
		select {}
	}
}

// TestBufferCallbackPanicsForC ends the program when there is no Go to tell of a panic.
func TestBufferCallbackPanicsForC(t *testing.T) {
	out, err := child("panic for C").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nobody to tell") || !strings.Contains(string(out), "goroutine") {
		t.Errorf("the child ends with %v and prints\n%s", err, out)
	}
}

// TestBufferCallbackOfBorrowed ends with the borrowed Buffer, not with C's evbuffer.
func TestBufferCallbackOfBorrowed(t *testing.T) {
	buf := newBuffer(t)
	borrowed, err := libevent.BufferFromPointer(buf.Pointer())
	must(t, err)
	mine, theirs := recordChanges(t, buf), recordChanges(t, borrowed)
	write(t, buf, "abc")
	must(t, borrowed.Drain(1))
	for _, seen := range []*[]bufferInfo{mine, theirs} {
		told(t, "both", seen, bufferInfo{0, 3, 0}, bufferInfo{3, 0, 1})
	}
	must(t, borrowed.Close())
	write(t, buf, "d")
	told(t, "the owner", mine, bufferInfo{2, 1, 0})
	told(t, "the closed one", theirs)
}

// TestBufferCallbackLeavesBorrowed leaves nothing in C's evbuffer when the borrowed Buffer
// is closed, so often as that may be.
func TestBufferCallbackLeavesBorrowed(t *testing.T) {
	buf := newBuffer(t)
	blocks, size := ctest.Allocated()
	for range 10 {
		borrowed, err := libevent.BufferFromPointer(buf.Pointer())
		must(t, err)
		addCallback(t, borrowed, func(*libevent.Buffer, bufferInfo) { t.Error("called") }).Remove()
		addCallback(t, borrowed, func(*libevent.Buffer, bufferInfo) { t.Error("called") })
		must(t, borrowed.Close())
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks of %d bytes are left", b-blocks, s-size)
	}
	write(t, buf, "abc")
}

// TestBufferCallbackClosesBorrowed closes borrowed Buffers in a callback of each of three
// on one evbuffer, which is going through its callbacks: those of the others still come.
func TestBufferCallbackClosesBorrowed(t *testing.T) {
	for closes := range 3 {
		for closed := range 3 {
			buf := newBuffer(t)
			var borrowed [3]*libevent.Buffer
			var calls [3]int
			for i := range borrowed {
				var err error
				borrowed[i], err = libevent.BufferFromPointer(buf.Pointer())
				must(t, err)
				addCallback(t, borrowed[i], func(*libevent.Buffer, bufferInfo) {
					calls[i]++
					if i == closes {
						must(t, borrowed[closed].Close())
					}
				})
			}
			write(t, buf, "a")
			write(t, buf, "b")
			for i, n := range calls {
				// The newest is called first.
				want := 2
				if i == closed && i < closes {
					want = 0
				} else if i == closed {
					want = 1
				}
				if n != want {
					t.Errorf("callback %d closes %d: callback %d is called %d times, want %d", closes, closed, i, n, want)
				}
			}
			for _, b := range borrowed {
				must(t, b.Close())
			}
			write(t, buf, "c")
		}
	}
}

// TestBufferCallbackDeferred tells in the loop, once, what was done since.
func TestBufferCallbackDeferred(t *testing.T) {
	b := newBase(t)
	buf := newBuffer(t)
	seen := recordChanges(t, buf)
	must(t, buf.DeferCallbacks(b))
	wantErr(t, buf.DeferCallbacks(b), "evbuffer_defer_callbacks", syscall.EALREADY)
	write(t, buf, "abc")
	must(t, buf.Drain(2))
	write(t, buf, "defg")
	told(t, "before the loop", seen)
	dispatch(t, b)
	told(t, "in the loop", seen, bufferInfo{0, 7, 2})
	write(t, buf, "h")
	dispatch(t, b)
	told(t, "in the next loop", seen, bufferInfo{5, 1, 0})

	// One that changes the buffer comes again.
	cb := addCallback(t, buf, func(buf *libevent.Buffer, info bufferInfo) {
		if info.Added > 0 {
			must(t, buf.Drain(info.Added))
		}
	})
	write(t, buf, "ij")
	dispatch(t, b)
	told(t, "changed in the loop", seen, bufferInfo{6, 2, 0}, bufferInfo{8, 0, 2})
	cb.Remove()

	// A panic is the loop's.
	cb = addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { panic("for the test") })
	write(t, buf, "k")
	if p := bevPanic(func() { _ = b.Dispatch() }); p == nil || p.Value != "for the test" {
		t.Errorf("the panic is %v", p)
	}
	told(t, "beside a panic", seen, bufferInfo{6, 1, 0})
	cb.Remove()

	// Of a closed buffer nothing comes, nor with a closed base.
	write(t, buf, "l")
	must(t, buf.Close())
	dispatch(t, b)
	told(t, "after Close", seen)
}

// TestBufferCallbackDeferredWithoutOne changes a buffer whose last callback was removed
// before the loop told it: the next one is told what adds up, of what came after.
func TestBufferCallbackDeferredWithoutOne(t *testing.T) {
	b := newBase(t)
	buf := newBuffer(t)
	must(t, buf.DeferCallbacks(b))
	cb := addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { t.Error("called after Remove") })
	write(t, buf, "abcde")
	cb.Remove()
	cb = addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { t.Error("told of what came before") })
	dispatch(t, b)
	cb.Remove()
	write(t, buf, "fgh")
	seen := recordChanges(t, buf)
	dispatch(t, b)
	told(t, "nothing since", seen)
	write(t, buf, "i")
	dispatch(t, b)
	told(t, "since", seen, bufferInfo{8, 1, 0})

	cb = addCallback(t, buf, func(*libevent.Buffer, bufferInfo) {})
	write(t, buf, "jk")
	cb.Remove()
	must(t, buf.Drain(1))
	dispatch(t, b)
	told(t, "beside another", seen, bufferInfo{9, 2, 1})
}

// TestBufferCallbackDeferredAndClosedBase changes a buffer whose base is gone.
func TestBufferCallbackDeferredAndClosedBase(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	buf := newBuffer(t)
	seen := recordChanges(t, buf)
	must(t, buf.DeferCallbacks(b))
	write(t, buf, "abc")
	must(t, b.Close())
	write(t, buf, "def")
	must(t, buf.Drain(1))
	told(t, "without a base", seen)
	pulled(t, buf, "bcdef")
	wantErr(t, newBuffer(t).DeferCallbacks(b), "evbuffer_defer_callbacks", libevent.ErrClosed)
}

// TestBufferCallbackDeferredElsewhere changes a buffer on one goroutine, and is told on
// another.
func TestBufferCallbackDeferredElsewhere(t *testing.T) {
	const total = 1000
	b := newBase(t)
	buf := newBuffer(t)
	must(t, buf.DeferCallbacks(b))
	all := make(chan struct{})
	sum := 0
	addCallback(t, buf, func(_ *libevent.Buffer, info bufferInfo) {
		if info.OrigSize != sum {
			t.Errorf("OrigSize is %d, want %d", info.OrigSize, sum)
		}
		if sum += info.Added; sum == total {
			close(all)
		}
	})
	background(t, b)
	for range total {
		write(t, buf, "x")
	}
	wait(t, "the callbacks", all)
}

// TestBufferCallbackBadArguments is refused.
func TestBufferCallbackBadArguments(t *testing.T) {
	buf := newBuffer(t)
	wantErr(t, second(buf.AddCallback(nil)), "evbuffer_add_cb", syscall.EINVAL)
	wantErr(t, buf.DeferCallbacks(nil), "evbuffer_defer_callbacks", syscall.EINVAL)
	cb := addCallback(t, buf, func(*libevent.Buffer, bufferInfo) {})
	must(t, buf.Close())
	cb.Disable()
	cb.Enable()
	cb.Remove()
	wantErr(t, second(buf.AddCallback(func(*libevent.Buffer, bufferInfo) {})), "evbuffer_add_cb", libevent.ErrClosed)
	wantErr(t, buf.DeferCallbacks(newBase(t)), "evbuffer_defer_callbacks", libevent.ErrClosed)

	buf = newBuffer(t)
	ctest.FailAllocation(1)
	_, err := buf.AddCallback(func(*libevent.Buffer, bufferInfo) {})
	ctest.FailAllocation(0)
	wantErr(t, err, "evbuffer_add_cb", syscall.ENOMEM)
}

// TestBufferCallbackOfBufferEvent is told what a BufferEvent reads and writes, by its loop
// and by the methods, eagerly or not.
func TestBufferCallbackOfBufferEvent(t *testing.T) {
	for _, eager := range []bool{false, true} {
		for _, options := range []libevent.BufferEventOptions{
			0,
			libevent.BEV_OPT_DEFER_CALLBACKS,
			libevent.BEV_OPT_THREADSAFE | libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_UNLOCK_CALLBACKS,
		} {
			t.Run(fmt.Sprint(eager, options), func(t *testing.T) {
				fds := socketpair(t)
				b := newBase(t)
				bev := bevNew(t, b, fds[0], options)
				bevCheck(t, "SetEager", bev.SetEager(eager), nil)
				in, out := recordChanges(t, bev.Input()), recordChanges(t, bev.Output())
				sum := func(seen *[]bufferInfo) (added, deleted int) {
					for _, info := range *seen {
						if info.OrigSize != added-deleted {
							t.Errorf("OrigSize is %d, want %d", info.OrigSize, added-deleted)
						}
						added += info.Added
						deleted += info.Deleted
					}
					return added, deleted
				}
				bev.SetCallbacks(func(bev *libevent.BufferEvent) {
					// Nothing is put off: the callback knows at once.
					must(t, bev.Input().Drain(4))
					if _, deleted := sum(in); deleted != 4 {
						t.Errorf("%d bytes are drained, the callback knows of %d", 4, deleted)
					}
					must(t, second(bev.WriteString("answer")))
					if added, deleted := sum(out); added != 6 || deleted != 0 {
						t.Errorf("the callback knows of %d bytes written and %d sent", added, deleted)
					}
					must(t, b.Stop())
				}, nil, nil)
				bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
				send(t, fds[1], "question")
				bevRun(t, b)
				loopPass(t, b)
				if added, deleted := sum(in); added != 8 || deleted != 4 {
					t.Errorf("input: %d added, %d deleted", added, deleted)
				}
				if added, deleted := sum(out); added != 6 || deleted != 6 {
					t.Errorf("output: %d added, %d deleted", added, deleted)
				}
				if got := drain(fds[1]); got != "answer" {
					t.Errorf("the peer has got %q", got)
				}
			})
		}
	}
}

// The loop can watch the buffers of a BufferEvent that other goroutines use.
func TestBufferCallbackElsewhere(t *testing.T) {
	b := bevBase(t)
	for range rounds(5000) {
		bev := bevNew(t, b, -1, fromAnywhere)
		var watched atomic.Bool
		using, used := make(chan struct{}), make(chan struct{})
		go func() {
			close(using)
			for !watched.Load() {
				bev.Enabled()
			}
			close(used)
		}()
		<-using
		addCallback(t, bev.Output(), func(*libevent.Buffer, bufferInfo) {})
		watched.Store(true)
		<-used
		bevCheck(t, "Close", bev.Close(), nil)
	}
}

// TestBufferCallbackLetsEagerGoOn sends eagerly again when the output has no callback any
// more.
func TestBufferCallbackLetsEagerGoOn(t *testing.T) {
	fds := socketpair(t)
	bev := bevNew(t, newBase(t), fds[0], 0)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	cb := addCallback(t, bev.Output(), func(*libevent.Buffer, bufferInfo) {})
	other, err := libevent.NewBuffer()
	must(t, err)
	defer other.Close()
	for _, write := range []func() error{
		func() error { return second(bev.WriteString("w")) },
		func() error { return second(bev.Output().WriteString("o")) },
		func() error { other.WriteString("b"); return bev.WriteBuffer(other) },
		func() error { other.WriteString("a"); return bev.Output().AddBuffer(other) },
	} {
		must(t, write())
		if got := drain(fds[1]); got != "" {
			t.Errorf("%q was sent past the callback", got)
		}
	}
	if !bev.Eager() {
		t.Error("it is not eager")
	}
	loopPass(t, bev.Base())
	if got := drain(fds[1]); got != "woba" {
		t.Errorf("the peer has got %q", got)
	}
	cb.Remove()
	must(t, second(bev.WriteString("now")))
	if got := drain(fds[1]); got != "now" {
		t.Errorf("the peer has got %q, eagerly", got)
	}

	// That the callback is deferred makes no difference.
	must(t, bev.Output().DeferCallbacks(bev.Base()))
	cb = addCallback(t, bev.Output(), func(*libevent.Buffer, bufferInfo) {})
	must(t, second(bev.WriteString("in the loop")))
	if got := drain(fds[1]); got != "" {
		t.Errorf("%q was sent past the callback", got)
	}
	loopPass(t, bev.Base())
	cb.Remove()
	drain(fds[1])
	must(t, second(bev.WriteString("now")))
	if got := drain(fds[1]); got != "now" {
		t.Errorf("the peer has got %q, eagerly", got)
	}
}

// TestBufferCallbackClosesBufferEvent closes the BufferEvent in the callbacks of its
// buffers, in its methods and in the loop.
func TestBufferCallbackClosesBufferEvent(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(bev *libevent.BufferEvent, fd int)
	}{
		{"Write", func(bev *libevent.BufferEvent, _ int) { bev.WriteString("abc") }},
		{"Output.Write", func(bev *libevent.BufferEvent, _ int) { bev.Output().WriteString("abc") }},
		{"AddBuffer", func(bev *libevent.BufferEvent, _ int) {
			src, err := libevent.NewBuffer()
			must(t, err)
			src.WriteString("abc")
			addCallback(t, src, func(src *libevent.Buffer, _ bufferInfo) { must(t, src.Close()) })
			must(t, bev.Output().AddBuffer(src))
		}},
		{"WriteBuffer", func(bev *libevent.BufferEvent, _ int) {
			src, err := libevent.NewBuffer()
			must(t, err)
			src.WriteString("abc")
			addCallback(t, src, func(src *libevent.Buffer, _ bufferInfo) { must(t, src.Close()) })
			must(t, bev.WriteBuffer(src))
		}},
		{"reading", func(bev *libevent.BufferEvent, fd int) {
			must(t, bev.Enable(libevent.EV_READ))
			send(t, fd, "abc")
			loopPass(t, bev.Base())
		}},
	} {
		for _, eager := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, eager), func(t *testing.T) {
				fds := socketpair(t)
				b := newBase(t)
				bev := bevNew(t, b, fds[0], 0)
				bevCheck(t, "SetEager", bev.SetEager(eager), nil)
				for _, buf := range []*libevent.Buffer{bev.Input(), bev.Output()} {
					addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { must(t, bev.Close()) })
				}
				test.run(bev, fds[1])
				if bev.FD() != -1 {
					t.Error("it is not closed")
				}
				loopPass(t, b)
			})
		}
	}
}

// TestBufferCallbackPanicsInLoop panics while the loop reads: Dispatch does.
func TestBufferCallbackPanicsInLoop(t *testing.T) {
	fds := socketpair(t)
	b := newBase(t)
	bev := bevNew(t, b, fds[0], 0)
	addCallback(t, bev.Input(), func(*libevent.Buffer, bufferInfo) { panic("for the test") })
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	send(t, fds[1], "abc")
	if p := bevPanic(func() { _ = b.Dispatch() }); p == nil || p.Value != "for the test" {
		t.Errorf("the panic is %v", p)
	}
	check(t, bev.Input(), "abc")

	// In a method it is the method's, also in a callback of the loop.
	addCallback(t, bev.Output(), func(*libevent.Buffer, bufferInfo) { panic("in a method") })
	wrote := false
	must(t, b.Post(func() {
		p := bevPanic(func() { bev.WriteString("def") })
		wrote = p != nil && p.Value == "in a method"
		must(t, b.Stop())
	}))
	bevRun(t, b)
	if !wrote {
		t.Error("the method has not panicked")
	}
	must(t, bev.Close())
	loopPass(t, b)
}

// TestBufferCallbackGoexitInLoop breaks the base.
func TestBufferCallbackGoexitInLoop(t *testing.T) {
	endsInGoexit(t)
	fds := socketpair(t)
	b, err := libevent.New()
	must(t, err)
	bev, err := b.NewBufferEvent(fds[0], 0)
	must(t, err)
	addCallback(t, bev.Input(), func(*libevent.Buffer, bufferInfo) { runtime.Goexit() })
	must(t, bev.Enable(libevent.EV_READ))
	send(t, fds[1], "abc")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Dispatch()
		t.Error("Dispatch has returned")
	}()
	<-done
	wantErr(t, b.Close(), "event_base_free", libevent.ErrBroken)
	libevent.AbandonBufferEvent(bev)
}

// TestBufferCallbackOfPair is told what comes over a pair.
func TestBufferCallbackOfPair(t *testing.T) {
	b := newBase(t)
	one, two := bevTwo(t, b, true, 0)
	in, out := recordChanges(t, two.Input()), recordChanges(t, one.Output())
	must(t, two.Enable(libevent.EV_READ))
	must(t, second(one.WriteString("abc")))
	loopPass(t, b)
	told(t, "output", out, bufferInfo{0, 3, 0}, bufferInfo{3, 0, 3})
	told(t, "input", in, bufferInfo{0, 3, 0})
}

// TestBufferCallbackNotInBaseClose closes a filter and its pair with their base, which moves
// what the filter has kept the pair from reading: no callback comes any more, and the panic of
// a cleanup comes when all is freed.
func TestBufferCallbackNotInBaseClose(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	one, two := bevTwo(t, b, true, 0)
	filterNew(t, two, nil, nil, 0)
	// Memory without bytes goes when there are some.
	must(t, two.Input().Unfreeze(false))
	must(t, two.Input().AddReference(nil, func() { panic("a cleanup") }))
	must(t, two.Input().Freeze(false))
	must(t, second(one.WriteString("x")))
	addCallback(t, two.Input(), func(*libevent.Buffer, bufferInfo) { t.Error("a callback came") })
	defer func() {
		if p := recover(); p != "a cleanup" {
			t.Errorf("panic %v", p)
		}
		must(t, b.Close())
	}()
	must(t, b.Close())
}

// TestBufferCallbacksLeaveNothing makes callbacks and closes their buffers in all ways.
func TestBufferCallbacksLeaveNothing(t *testing.T) {
	needsNoDebugMode(t)
	leavesNothing(t, fewer(20_000), func(n int) {
		b, err := libevent.New()
		must(t, err)
		defer b.Close()
		for i := range n {
			buf, err := libevent.NewBuffer()
			must(t, err)
			cb := addCallback(t, buf, func(buf *libevent.Buffer, info bufferInfo) {
				if info.Deleted > 0 {
					must(t, buf.Close())
				}
			})
			addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { cb.Disable(); cb.Enable() })
			if i%3 == 0 {
				must(t, buf.DeferCallbacks(b))
			}
			write(t, buf, "abc")
			must(t, buf.Drain(1))
			if i%2 == 0 {
				cb.Remove()
				must(t, buf.Close())
			}
			if i%100 == 0 {
				loopPass(t, b)
				left, right := streamPair(t, b)
				addCallback(t, left.Output(), func(*libevent.Buffer, bufferInfo) { must(t, left.Close()) })
				addCallback(t, right.Input(), func(*libevent.Buffer, bufferInfo) {})
				must(t, second(left.WriteString("abc")))
				loopPass(t, b)
			}
			must(t, buf.Close())
		}
	})
}

func ExampleBuffer_AddCallback() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	cb, err := buf.AddCallback(func(buf *libevent.Buffer, info libevent.BufferCallbackInfo) {
		fmt.Printf("had %d bytes, %d added, %d removed\n", info.OrigSize, info.Added, info.Deleted)
	})
	if err != nil {
		panic(err)
	}
	fmt.Fprint(buf, "hello")
	buf.Drain(2)
	cb.Remove()
	buf.Drain(3)
	// Output:
	// had 0 bytes, 5 added, 0 removed
	// had 5 bytes, 0 added, 2 removed
}

func ExampleBufferCallback() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	total := 0
	cb, err := buf.AddCallback(func(_ *libevent.Buffer, info libevent.BufferCallbackInfo) { total += info.Added })
	if err != nil {
		panic(err)
	}
	fmt.Fprint(buf, "counted")
	cb.Disable()
	fmt.Fprint(buf, "not counted")
	cb.Enable()
	fmt.Println(total)
	// Output: 7
}

func ExampleBufferCallbackInfo() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	_, err = buf.AddCallback(func(_ *libevent.Buffer, info libevent.BufferCallbackInfo) {
		fmt.Printf("%d bytes, %d more, %d less\n", info.OrigSize, info.Added, info.Deleted)
	})
	if err != nil {
		panic(err)
	}
	fmt.Fprint(buf, "a line\n")
	if _, err := buf.ReadLine(libevent.EVBUFFER_EOL_LF); err != nil {
		panic(err)
	}
	// Output:
	// 0 bytes, 7 more, 0 less
	// 7 bytes, 0 more, 7 less
}

// libevent tells the input of one of a pair with a high watermark of bytes that it is still
// moving: a callback that took them out would make it move them again.
func TestBufferCallbackOfPairWithWatermark(t *testing.T) {
	b := newBase(t)
	first, second, err := b.NewBufferEventPair(0)
	must(t, errors.Join(err, second.SetWatermark(libevent.EV_READ, 0, 4), second.Enable(libevent.EV_READ)))
	var got []byte
	_, err = second.Input().AddCallback(func(buf *libevent.Buffer, info libevent.BufferCallbackInfo) {
		p := make([]byte, buf.Len())
		n, _ := buf.Read(p)
		got = append(got, p[:n]...)
	})
	must(t, err)
	const text = "a text that is longer than the watermark"
	_, err = first.WriteString(text)
	must(t, err)
	dispatch(t, b)
	if string(got) != text {
		t.Errorf("%q came", got)
	}
	must(t, errors.Join(first.Close(), second.Close()))
}

func TestBufferCallbackOfFilterOverPair(t *testing.T) {
	b := newBase(t)
	first, second, err := b.NewBufferEventPair(0)
	must(t, err)
	refused := false
	top, err := second.NewFilter(func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		_, err := src.AddCallback(func(*libevent.Buffer, libevent.BufferCallbackInfo) {})
		isErrno(t, err, syscall.ENOTSUP)
		refused = true
		return libevent.BEV_ERROR
	}, nil, 0)
	must(t, errors.Join(err, top.Enable(libevent.EV_READ)))
	_, err = first.WriteString("x")
	must(t, err)
	dispatch(t, b)
	if !refused {
		t.Error("the filter was not called")
	}
	must(t, errors.Join(top.Close(), first.Close(), second.Close()))
}
