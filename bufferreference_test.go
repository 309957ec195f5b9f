package libevent_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// TestBufferMulticast adds one buffer to many, which then go their own ways.
//
// Upstream: evbuffer/multicast
func TestBufferMulticast(t *testing.T) {
	src := newBuffer(t, "first ", "second ", "third")
	write(t, src, " written")
	text := "first second third written"
	one, two := newBuffer(t), newBuffer(t, "before ")
	must(t, one.AddBufferReference(src))
	must(t, two.AddBufferReference(src))
	write(t, one, " one")
	write(t, src, " later")
	check(t, src, text+" later")
	check(t, one, text+" one")
	check(t, two, "before "+text)

	// Where one puts its chunks together the others do not notice.
	for range 2 {
		pulled(t, two, "before "+text)
		pulled(t, one, text+" one")
		pulled(t, src, text+" later")
	}
}

// TestBufferMulticastPullUp pulls together chunks with free space behind them, where
// libevent would put what belongs to somebody else.
func TestBufferMulticastPullUp(t *testing.T) {
	src := newBuffer(t)
	write(t, src, "shared ")
	var all []*libevent.Buffer
	var views [][]byte
	seen := 0
	for i := range 4 {
		buf := newBuffer(t)
		must(t, buf.AddBufferReference(src))
		write(t, buf, fmt.Sprint("own ", i))
		addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { seen++ })
		all = append(all, buf)
	}
	write(t, src, "source")
	for _, buf := range append(all, src) {
		p, err := buf.PullUp(9)
		must(t, err)
		views = append(views, p)
	}
	for i, view := range views {
		if want := []string{"shared ow", "shared so"}[i/4]; string(copyOf(view)) != want {
			t.Errorf("buffer %d begins with %q, want %q", i, view, want)
		}
	}
	for i, buf := range all {
		pulled(t, buf, fmt.Sprint("shared own ", i))
		wantErr(t, second(buf.PullUp(100)), "evbuffer_pullup", syscall.EINVAL)
	}
	pulled(t, src, "shared source")
	if seen != 0 {
		t.Errorf("the callbacks have come %d times", seen)
	}
	write(t, all[0], "!")
	if seen != 1 {
		t.Errorf("then the callback has come %d times, want 1", seen)
	}

	// Chunks stay shared where they go to.
	moved := newBuffer(t)
	must(t, moved.AddBuffer(src))
	other := newBuffer(t)
	must(t, other.AddBuffer(all[1]))
	pulled(t, moved, "shared source")
	pulled(t, other, "shared own 1")

	ctest.FailAllocation(1)
	_, err := all[2].PullUp(-1)
	ctest.FailAllocation(0)
	if err != nil { // it may be one chunk by now
		wantErr(t, err, "evbuffer_pullup", syscall.ENOMEM)
	}
	pulled(t, all[2], "shared own 2")
}

// TestBufferMulticastPullUpOutOfMemory leaves all as it was.
func TestBufferMulticastPullUpOutOfMemory(t *testing.T) {
	for n := int64(1); ; n++ {
		src, buf := newBuffer(t, "abc"), newBuffer(t)
		must(t, buf.AddBufferReference(src))
		write(t, buf, "def")
		ctest.FailAllocation(n)
		_, err := buf.PullUp(-1)
		if ctest.FailAllocation(0) > 0 {
			if n < 3 {
				t.Errorf("there were %d allocations", n-1)
			}
			return
		}
		wantErr(t, err, "evbuffer_pullup", syscall.ENOMEM)
		pulled(t, buf, "abcdef")
	}
}

// TestBufferMulticastDrain drains and closes the buffers in all orders: memory goes with
// the last that has it.
//
// Upstream: evbuffer/multicast_drain
func TestBufferMulticastDrain(t *testing.T) {
	blocks, size := ctest.Allocated()
	for _, order := range []string{"srcOneTwo", "oneSrcTwo", "twoOneSrc"} {
		for _, how := range []string{"drain", "close", "parts"} {
			src, one, two := newBuffer(t), newBuffer(t), newBuffer(t)
			cleaned := 0
			write(t, src, "written ")
			must(t, src.AddReference([]byte("referred to"), func() { cleaned++ }))
			must(t, one.AddBufferReference(src))
			must(t, two.AddBufferReference(src))
			left := map[string]*libevent.Buffer{"src": src, "one": one, "two": two}
			for i := range 3 {
				name := strings.ToLower(order[3*i : 3*i+3])
				buf := left[name]
				delete(left, name)
				if cleaned != 0 {
					t.Errorf("%s, %s: cleaned up before %s", order, how, name)
				}
				switch how {
				case "drain":
					must(t, buf.Drain(100))
				case "parts":
					for buf.Len() > 0 {
						must(t, buf.Drain(5))
						for _, other := range left {
							check(t, other, "written referred to")
						}
					}
				case "close":
					must(t, buf.Close())
				}
				for _, other := range left {
					check(t, other, "written referred to")
				}
			}
			if cleaned != 1 {
				t.Errorf("%s, %s: %d cleanups, want 1", order, how, cleaned)
			}
			for _, buf := range []*libevent.Buffer{src, one, two} {
				must(t, buf.Close())
			}
		}
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks and %d bytes more than before", b-blocks, s-size)
	}
}

// TestBufferMulticastOfItself moves what refers to a buffer into that: it goes all the same.
func TestBufferMulticastOfItself(t *testing.T) {
	blocks, size := ctest.Allocated()
	for _, closeIn := range []string{"a callback", "no callback"} {
		src, dst := newBuffer(t, "abc"), newBuffer(t)
		must(t, dst.AddBufferReference(src))
		must(t, src.AddBuffer(dst))
		check(t, src, "abcabc")
		must(t, src.Freeze(true))
		addCallback(t, src, func(_ *libevent.Buffer, info bufferInfo) {
			if info.Deleted > 0 {
				t.Error("the callback was told of Close")
			}
		})
		if closeIn == "a callback" {
			addCallback(t, dst, func(*libevent.Buffer, bufferInfo) { must(t, src.Close()) })
		}
		write(t, dst, "x")
		must(t, src.Close())
		must(t, dst.Close())
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks and %d bytes more than before", b-blocks, s-size)
	}
}

// TestBufferMulticastSourceLetsGo closes a buffer that others share chunks of, which it does
// not have any more itself: what it has goes, and does not wait for them.
func TestBufferMulticastSourceLetsGo(t *testing.T) {
	for _, own := range []string{"own", ""} {
		src, dst := newBuffer(t, "shared"), newBuffer(t)
		must(t, dst.AddBufferReference(src))
		must(t, src.Drain(6))
		check(t, src, "")
		ended := 0
		must(t, src.AddReference([]byte(own), func() { ended++ }))
		must(t, src.Close())
		if ended != 1 {
			t.Errorf("%q: %d cleanups after Close, want 1", own, ended)
		}
		pulled(t, dst, "shared")
	}
}

// TestBufferMulticastEmptyChunks has chunks without bytes on both sides, where libevent
// would add to memory that it has freed.
//
// Upstream: evbuffer/multicast_empty_chain
func TestBufferMulticastEmptyChunks(t *testing.T) {
	for _, empty := range []func(buf *libevent.Buffer){
		func(buf *libevent.Buffer) { must(t, buf.Expand(100)) },
		func(buf *libevent.Buffer) { must(t, second(buf.Reserve(100, 1))) },
		func(buf *libevent.Buffer) { must(t, buf.AddReference(nil, nil)) },
		func(buf *libevent.Buffer) {
			must(t, second(buf.Reserve(5000, 2)))
			if buf.Len() == 0 {
				write(t, buf, "gone")
				must(t, buf.Drain(4))
			}
		},
	} {
		src, dst := newBuffer(t, "abc"), newBuffer(t)
		empty(dst)
		empty(src)
		write(t, src, "def")
		empty(src)
		must(t, dst.AddBufferReference(src))
		pulled(t, dst, "abcdef")
		must(t, src.Drain(3))
		must(t, dst.Drain(1))
		pulled(t, src, "def")
		pulled(t, dst, "bcdef")
		must(t, dst.Drain(5))
		empty(dst)
		must(t, dst.AddBufferReference(src))
		pulled(t, dst, "def")
	}
}

// TestBufferMulticastBadArguments is refused and changes nothing.
func TestBufferMulticastBadArguments(t *testing.T) {
	const op = "evbuffer_add_buffer_reference"
	buf, src := newBuffer(t, "abc"), newBuffer(t, "def")
	closed := newBuffer(t)
	must(t, closed.Close())
	wantErr(t, buf.AddBufferReference(nil), op, syscall.EINVAL)
	wantErr(t, buf.AddBufferReference(buf), op, syscall.EINVAL)
	wantErr(t, buf.AddBufferReference(closed), op, libevent.ErrClosed)
	wantErr(t, closed.AddBufferReference(buf), op, libevent.ErrClosed)
	must(t, buf.AddBufferReference(newBuffer(t)))
	must(t, buf.Freeze(false))
	wantErr(t, buf.AddBufferReference(src), op, syscall.EPERM)
	must(t, buf.Unfreeze(false))
	check(t, buf, "abc")

	third := newBuffer(t)
	must(t, third.AddBufferReference(src))
	wantErr(t, buf.AddBufferReference(third), op, syscall.EINVAL)
	check(t, buf, "abc")
	must(t, third.AddFile(newFile(t, "file"), 0, -1))
	must(t, third.Drain(3))
	wantErr(t, buf.AddBufferReference(third), op, syscall.EINVAL)

	for n := int64(1); ; n++ {
		ctest.FailAllocation(n)
		err := buf.AddBufferReference(src)
		if ctest.FailAllocation(0) > 0 {
			break
		}
		wantErr(t, err, op, syscall.ENOMEM)
		check(t, buf, "abc")
	}
	pulled(t, buf, "abcdef")
}

// TestBufferMulticastToBufferEvents sends one message to many sockets, and shares nothing
// where that is not safe.
func TestBufferMulticastToBufferEvents(t *testing.T) {
	const op = "evbuffer_add_buffer_reference"
	b := newBase(t)
	message := newBuffer(t, "one ", "for ")
	write(t, message, "all")
	var peers []int
	for i := range 5 {
		fds := socketpair(t)
		bev := bevNew(t, b, fds[0], 0)
		bevCheck(t, "SetEager", bev.SetEager(i%2 == 0), nil)
		must(t, bev.Output().AddBufferReference(message))
		peers = append(peers, fds[1])
	}
	must(t, message.Close())
	for range 2 {
		loopPass(t, b)
	}
	for _, fd := range peers {
		if got := drain(fd); got != "one for all" {
			t.Errorf("a peer has got %q", got)
		}
	}

	fds := socketpair(t)
	locked := bevNew(t, b, fds[0], libevent.BEV_OPT_THREADSAFE)
	must(t, second(locked.WriteString("abc")))
	wantErr(t, newBuffer(t).AddBufferReference(locked.Output()), op, syscall.ENOTSUP)
	unlocked := bevNew(t, b, fds[1], 0)
	must(t, second(unlocked.WriteString("abc")))
	wantErr(t, newBuffer(t).AddBufferReference(unlocked.Output()), op, syscall.ENOTSUP)
	one, _ := bevTwo(t, b, true, 0)
	src := newBuffer(t, "x")
	wantErr(t, one.Output().AddBufferReference(src), op, syscall.ENOTSUP)
	shared := newBuffer(t)
	must(t, shared.AddBufferReference(src))
	wantErr(t, one.WriteBuffer(shared), "bufferevent_write_buffer", syscall.ENOTSUP)
	wantErr(t, one.Output().AddBuffer(src), "evbuffer_add_buffer", syscall.ENOTSUP)
}

// TestBufferMulticastFromBufferEvent keeps what a BufferEvent has read when that is closed.
func TestBufferMulticastFromBufferEvent(t *testing.T) {
	fds := socketpair(t)
	b := newBase(t)
	bev := bevNew(t, b, fds[0], 0)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	kept := newBuffer(t)
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		must(t, bev.Input().Drain(2))
		must(t, kept.AddBufferReference(bev.Input()))
		must(t, bev.Input().Drain(1))
		must(t, kept.AddBufferReference(bev.Input()))
		must(t, bev.Close())
	}, nil, nil)
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	send(t, fds[1], "012345")
	loopPass(t, b)
	loopPass(t, b)
	pulled(t, kept, "2345345")
}

// TestBufferSince22 is of libevent 2.2; before, it is refused.
func TestBufferSince22(t *testing.T) {
	buf := newBuffer(t)
	if n := buf.MaxRead(); n != 4096 {
		t.Errorf("MaxRead is %d", n)
	}
	want := error(syscall.ENOTSUP)
	if libevent.VersionNumber() >= 0x02020100 {
		want = nil
	}
	only := func(err error, op string) {
		t.Helper()
		if want == nil {
			must(t, err)
		} else {
			wantErr(t, err, op, want)
		}
	}
	const setOp, addOp = "evbuffer_set_max_read", "evbuffer_add_reference_with_offset"
	only(buf.SetMaxRead(8192), setOp)
	cleaned := false
	only(buf.AddReferenceWithOffset([]byte("0123456789"), 3, 4, func() { cleaned = true }), addOp)
	if want == nil {
		pulled(t, buf, "3456")
		must(t, buf.Drain(4))
	}
	if cleaned != (want == nil) {
		t.Errorf("cleaned up: %v", cleaned)
	}
	for _, n := range []int{-1, 0, 1 << 31} {
		wantErr(t, buf.SetMaxRead(n), setOp, syscall.EINVAL)
	}
	for _, part := range [][2]int{{-1, 0}, {0, -1}, {4, 0}, {0, 4}, {2, 2}, {1 << 62, 1 << 62}} {
		wantErr(t, buf.AddReferenceWithOffset([]byte("abc"), part[0], part[1], nil), addOp, syscall.EINVAL)
	}
	must(t, buf.Close())
	wantErr(t, buf.SetMaxRead(1), setOp, libevent.ErrClosed)
	wantErr(t, buf.AddReferenceWithOffset(nil, 0, 0, nil), addOp, libevent.ErrClosed)
	if n := buf.MaxRead(); n != 0 {
		t.Errorf("MaxRead is %d after Close", n)
	}
}

// TestBufferLock takes and gives back the lock, which a thread of C waits for.
func TestBufferLock(t *testing.T) {
	buf := newBuffer(t, "abc")
	wantErr(t, buf.Lock(), "evbuffer_lock", syscall.EINVAL)
	wantErr(t, buf.Unlock(), "evbuffer_unlock", syscall.EPERM)
	must(t, buf.EnableLocking())
	must(t, buf.Lock())
	must(t, buf.Lock())
	wantErr(t, buf.Close(), "evbuffer_free", syscall.EBUSY)
	waits, drained := make(chan struct{}), make(chan struct{})
	p := buf.Pointer()
	go func() {
		if err := buf.Unlock(); err == nil {
			t.Error("another goroutine has unlocked")
		}
		close(waits)
		ctest.Drain(p)
		close(drained)
	}()
	<-waits
	for range 1000 {
		check(t, buf, "abc")
	}
	must(t, buf.Unlock())
	check(t, buf, "abc")
	must(t, buf.Unlock())
	wait(t, "C to drain", drained)
	wantErr(t, buf.Unlock(), "evbuffer_unlock", syscall.EPERM)
	check(t, buf, "")
	must(t, buf.Close())
	wantErr(t, buf.Lock(), "evbuffer_lock", libevent.ErrClosed)

	// A BufferEvent's buffers have its lock.
	fds := socketpair(t)
	bev := bevNew(t, newBase(t), fds[0], libevent.BEV_OPT_THREADSAFE)
	must(t, bev.Input().Lock())
	must(t, bev.Output().Unlock())
	plain := bevNew(t, newBase(t), fds[1], 0)
	wantErr(t, plain.Input().Lock(), "bufferevent_lock", syscall.EINVAL)
}

// TestBufferIterators goes through chunks and lines, and stops where it is told.
func TestBufferIterators(t *testing.T) {
	buf := newBuffer(t, "one\ntw", "o\nthree", "\nfour")
	var got []string
	for chunk := range buf.Chunks() {
		got = append(got, string(copyOf(chunk)))
	}
	for chunk := range buf.Chunks() {
		got = append(got, string(copyOf(chunk)))
		break
	}
	if want := "one\ntw|o\nthree|\nfour|one\ntw"; strings.Join(got, "|") != want {
		t.Errorf("the chunks are %q", got)
	}
	got = nil
	for line := range buf.Lines(libevent.EVBUFFER_EOL_LF) {
		if got = append(got, string(line)); len(got) == 2 {
			break
		}
	}
	check(t, buf, "three\nfour")
	for line := range buf.Lines(libevent.EVBUFFER_EOL_LF) {
		got = append(got, string(line))
	}
	if want := "one two three"; strings.Join(got, " ") != want {
		t.Errorf("the lines are %q", got)
	}
	check(t, buf, "four")
	must(t, buf.Close())
	for range buf.Chunks() {
		t.Error("a closed buffer has chunks")
	}
	for range buf.Lines(libevent.EVBUFFER_EOL_LF) {
		t.Error("a closed buffer has lines")
	}
}

func ExampleBuffer_AddBufferReference() {
	message, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer message.Close()
	fmt.Fprint(message, "to whom it may concern")
	for _, name := range []string{"Alice", "Bob"} {
		letter, err := libevent.NewBuffer()
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(letter, "%s, ", name)
		if err := letter.AddBufferReference(message); err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", letter.Bytes())
		letter.Close()
	}
	// Output:
	// Alice, to whom it may concern
	// Bob, to whom it may concern
}

func ExampleBuffer_Lines() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	fmt.Fprint(buf, "one\r\ntwo\r\nthr")
	for line := range buf.Lines(libevent.EVBUFFER_EOL_CRLF) {
		fmt.Printf("%s\n", line)
	}
	fmt.Println(buf.Len(), "bytes wait for their end")
	// Output:
	// one
	// two
	// 3 bytes wait for their end
}
