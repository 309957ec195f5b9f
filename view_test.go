package libevent_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// viewProgram runs what seed chooses in read callbacks, and returns what it saw and what
// the peer received. A BufferEvent whose pointer was given away has no views.
func viewProgram(t *testing.T, seed uint64, eager, view bool) (log []string, received []byte) {
	const total = 100000
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := bevBase(t)
	bev, conn := eagerTCP(t, b, 0)
	bevCheck(t, "SetEager", bev.SetEager(eager), nil)
	if !view {
		bev.Pointer()
	}
	in := bev.Input()
	other, err := libevent.NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	scratch := make([]byte, 3000)
	steps := []func(){
		func() { note("Len %d", in.Len()) },
		func() { note("Peek %x", in.Peek()[:min(1, len(in.Peek()))]) },
		func() { n := rnd.IntN(300); note("Drain %d %v", n, in.Drain(n)) },
		func() { n, err := bev.Read(scratch[:rnd.IntN(3000)]); note("Read %x %v", scratch[:n], err) },
		func() { n, err := in.Read(scratch[:rnd.IntN(300)]); note("Buffer.Read %x %v", scratch[:n], err) },
		func() { c, err := in.ReadByte(); note("ReadByte %x %v", c, err) },
		func() { line, err := in.ReadLine(libevent.EVBUFFER_EOL_LF); note("ReadLine %x %v", line, err) },
		func() { n, err := in.CopyOut(scratch[:100]); note("CopyOut %x %v", scratch[:n], err) },
		func() { p, err := in.PullUp(min(200, in.Len())); note("PullUp %x %v", p, err) },
		func() { note("Search %d", in.Search([]byte{7, 8})) },
		func() { // How much is in a chunk is nobody's business.
			for left := rnd.IntN(5000); left > 0 && in.Len() > 0; {
				p := in.Peek()[:min(left, len(in.Peek()))]
				if n, err := bev.Write(p); n != len(p) || err != nil {
					note("Write %d %v", n, err)
				}
				if err := in.Drain(len(p)); err != nil {
					note("Drain %v", err)
				}
				left -= len(p)
			}
			note("moved, %d left", in.Len())
		},
		func() { n, err := bev.Write(scratch[:rnd.IntN(500)]); note("Write %d %v", n, err) },
		func() { n, err := bev.WriteString("text"); note("WriteString %d %v", n, err) },
		func() { n, err := bev.Output().Write(scratch[:50]); note("Output.Write %d %v", n, err) },
		func() {
			n, err := in.RemoveBuffer(other, rnd.IntN(200))
			note("RemoveBuffer %d %v %d", n, err, other.Len())
		},
		func() { note("WriteBuffer %v", bev.WriteBuffer(other)) },
		func() { note("ReadBuffer %v %d", bev.ReadBuffer(other), other.Len()) },
		func() { note("Prepend %v", in.Prepend(scratch[:20])) },
		func() { note("Disable %v", bev.Disable(libevent.EV_WRITE)) },
		func() { note("Enable %v", bev.Enable(libevent.EV_WRITE)) },
	}
	seen, wrote := 0, 0
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		note("read %d", in.Len())
		for range 1 + rnd.IntN(8) {
			steps[rnd.IntN(len(steps))]()
		}
		if seen++; seen%4 == 0 {
			note("Drain %v", in.Drain(1<<20))
		}
	}, func(*libevent.BufferEvent) { wrote++ }, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		note("event %#x", what)
		bevCheck(t, "Enable", bev.Enable(libevent.EV_WRITE), nil)
		bevCheck(t, "Stop", b.Stop(), nil)
	})
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)

	// A message is read as a whole before the next is sent: both runs get the same.
	message := bevBytes(total)
	collect := make(chan []byte)
	go func() {
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				collect <- all
				return
			}
		}
	}()
	for len(message) > 0 {
		n := min(len(message), 1+rnd.IntN(14000))
		if _, err := conn.Write(message[:n]); err != nil {
			t.Fatal(err)
		}
		message = message[n:]
		eagerPoll(t, bev.FD(), pollIn)
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_NONBLOCK|libevent.EVLOOP_ONCE), nil)
	}
	bevCheck(t, "CloseWrite", conn.CloseWrite(), nil)
	bevRun(t, b)
	for end := time.Now().Add(bevGuard); bev.Output().Len() > 0 && time.Now().Before(end); {
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
	}
	_ = syscall.Shutdown(bev.FD(), syscall.SHUT_WR)
	note("rest %x, %d writes told", in.Bytes(), min(wrote, 1))
	return log, <-collect
}

const pollIn = 0x1

// What a callback does on its view has the results that it has without one.
func TestViewIsWithoutConsequence(t *testing.T) {
	for _, eager := range []bool{false, true} {
		for seed := range uint64(40) {
			log, received := viewProgram(t, seed, eager, true)
			wantLog, want := viewProgram(t, seed, eager, false)
			if !slices.Equal(log, wantLog) {
				for i := range min(len(log), len(wantLog)) {
					if log[i] != wantLog[i] {
						t.Fatalf("eager %v, seed %d, step %d:\n%s\nwithout a view\n%s", eager, seed, i, log[i], wantLog[i])
					}
				}
				t.Fatalf("eager %v, seed %d: %d steps, %d without a view", eager, seed, len(log), len(wantLog))
			}
			if !bytes.Equal(received, want) {
				t.Fatalf("eager %v, seed %d: the peer received other bytes", eager, seed)
			}
		}
	}
}

// viewCallback has fn run in a read callback with the message in the input.
func viewCallback(t *testing.T, message []byte, eager bool, fn func(bev *libevent.BufferEvent, conn *net.TCPConn)) (*libevent.Base, *libevent.BufferEvent) {
	t.Helper()
	b := bevBase(t)
	bev, conn := eagerTCP(t, b, 0)
	bevCheck(t, "SetEager", bev.SetEager(eager), nil)
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		bevCheck(t, "Stop", b.Stop(), nil)
		fn(bev, conn)
	}, nil, nil)
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	return b, bev
}

// C code that gets the evbuffer finds in it what the program has left there.
func TestViewEndsWithPointer(t *testing.T) {
	b, bev := viewCallback(t, []byte("headers and body"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		in := bev.Input()
		bevCheck(t, "Drain", in.Drain(8), nil)
		p := in.Pointer()
		if got := in.Bytes(); string(got) != "and body" {
			t.Errorf("%q is left", got)
		}
		ctest.Drain(p)
		if p, n := in.Peek(), in.Len(); len(p) != 0 || n != 0 {
			t.Errorf("%q, %d bytes, after C has drained them", p, n)
		}
	})
	bevRun(t, b)
	_ = bev
}

// Once C code has the evbuffer, or its start is frozen, no later callback has a view either.
func TestViewEndsForGood(t *testing.T) {
	b, _ := viewCallback(t, []byte("headers"), false, func(bev *libevent.BufferEvent, conn *net.TCPConn) {
		in := bev.Input()
		p := in.Pointer()
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			bevCheck(t, "Stop", bev.Base().Stop(), nil)
			ctest.Drain(p)
			if p, n := in.Peek(), in.Len(); len(p) != 0 || n != 0 {
				t.Errorf("%q, %d bytes, after C has drained them", p, n)
			}
		}, nil, nil)
		if _, err := conn.Write([]byte("body")); err != nil {
			t.Error(err)
		}
	})
	bevRun(t, b)
	bevRun(t, b)

	b, bev := viewCallback(t, []byte("frozen"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		in := bev.Input()
		bevCheck(t, "Drain", in.Drain(1), syscall.EPERM)
		_, err := in.Read(make([]byte, 1))
		bevCheck(t, "Read", err, syscall.EPERM)
	})
	bevCheck(t, "Freeze", bev.Input().Freeze(true), nil)
	bevRun(t, b)
	bevCheck(t, "Unfreeze", bev.Input().Unfreeze(true), nil)
	if got := string(bev.Input().Bytes()); got != "frozen" {
		t.Errorf("%q is left", got)
	}
}

// One of a pair has no view: its partner writes into the input.
func TestViewOfAPair(t *testing.T) {
	b := bevBase(t)
	first, second, err := b.NewBufferEventPair(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bev := range []*libevent.BufferEvent{first, second} {
		got := ""
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			in := bev.Input()
			if string(in.Peek()) != "some" {
				return // called once more, for what has come meanwhile
			}
			if _, err := bev.Partner().WriteString(" more"); err != nil {
				t.Error(err)
			}
			if n := in.Len(); n != len("some more") {
				t.Errorf("%d bytes", n)
			}
			got = string(bevRead(t, bev))
		}, nil, nil)
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		if _, err := bev.Partner().WriteString("some"); err != nil {
			t.Fatal(err)
		}
		bevRun(t, b)
		if got != "some more" {
			t.Errorf("%q", got)
		}
	}
}

// A panic, a Close and a nested callback find and leave the input as it is.
func TestViewEndsWithItsCallback(t *testing.T) {
	b, bev := viewCallback(t, []byte("abcdef"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		bevCheck(t, "Drain", bev.Input().Drain(2), nil)
		panic("for the test")
	})
	if p := bevPanic(func() { _ = b.Dispatch() }); p == nil || p.Value != "for the test" {
		t.Errorf("panic %v", p)
	}
	if got := string(bev.Input().Bytes()); got != "cdef" {
		t.Errorf("%q is left after the panic", got)
	}

	var nested []string
	b, _ = viewCallback(t, []byte("abcdef"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		nested = append(nested, string(bev.Input().Peek()))
		bevCheck(t, "Drain", bev.Input().Drain(2), nil)
		if len(nested) < 3 {
			bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), nil)
		}
		nested = append(nested, string(bev.Input().Peek()))
	})
	bevRun(t, b)
	if want := []string{"abcdef", "cdef", "ef", "", "", ""}; !slices.Equal(nested, want) {
		t.Errorf("%q, want %q", nested, want)
	}

	b, bev = viewCallback(t, []byte("abcdef"), true, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		bevCheck(t, "Drain", bev.Input().Drain(2), nil)
		if n, err := bev.Write([]byte("out")); n != 3 || err != nil {
			t.Error(n, err)
		}
		bevCheck(t, "Close", bev.Close(), nil)
		bevCheck(t, "Drain", bev.Input().Drain(2), libevent.ErrClosed)
		if _, err := bev.Write([]byte("out")); err == nil || bev.Input().Peek() != nil || bev.Input().Len() != 0 {
			t.Error("a closed one can be used:", err)
		}
	})
	bevRun(t, b)
	_ = bev
}

// The callback comes when there is as much as the low watermark, in one piece or two.
func TestViewAndLowWatermark(t *testing.T) {
	b := bevBase(t)
	bev, conn := eagerTCP(t, b, 0)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	bevCheck(t, "SetWatermark", bev.SetWatermark(libevent.EV_READ, 10, 0), nil)
	var got []int
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		got = append(got, bev.Input().Len())
		bevCheck(t, "Drain", bev.Input().Drain(bev.Input().Len()), nil)
	}, nil, nil)
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	for _, n := range []int{20, 9, 1, 10} {
		if _, err := conn.Write(bevBytes(n)); err != nil {
			t.Fatal(err)
		}
		eagerPoll(t, bev.FD(), pollIn)
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
	}
	if want := []int{20, 10, 10}; !slices.Equal(got, want) {
		t.Errorf("called with %v bytes, want %v", got, want)
	}
}

// Reading goes on when a callback has drained below the high watermark.
func TestViewAndHighWatermark(t *testing.T) {
	message, got := bevBytes(100), []byte(nil)
	b := bevBase(t)
	bev, conn := eagerTCP(t, b, 0)
	bevCheck(t, "SetWatermark", bev.SetWatermark(libevent.EV_READ, 0, 10), nil)
	bev.SetCallbacks(func(bev *libevent.BufferEvent) {
		p := bev.Input().Peek()
		if len(p) > 10 {
			t.Errorf("%d bytes in the input", len(p))
		}
		got = append(got, p...)
		bevCheck(t, "Drain", bev.Input().Drain(len(p)), nil)
		if len(got) == len(message) {
			bevCheck(t, "Stop", b.Stop(), nil)
		}
	}, nil, nil)
	bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	bevRun(t, b)
	if !bytes.Equal(got, message) {
		t.Errorf("%d bytes: %x", len(got), got)
	}
}

// A frozen input refuses in a callback too, and a reference in it is released by the call
// that drains it.
func TestViewIsNotOfAChangedInput(t *testing.T) {
	frozen := false
	b, bev := viewCallback(t, []byte("abc"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		bevCheck(t, "Freeze", bev.Input().Freeze(true), nil)
		bevCheck(t, "Drain", bev.Input().Drain(1), syscall.EPERM)
		frozen = true
	})
	bevRun(t, b)
	if err := bev.Input().Unfreeze(true); err != nil || !frozen {
		t.Error(err, frozen)
	}

	src, err := libevent.NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	released := false
	bevCheck(t, "AddReference", src.AddReference([]byte("head"), func() { released = true }), nil)
	b, bev = viewCallback(t, []byte("body"), false, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
		if got := string(bev.Input().Peek()); got != "head" {
			t.Errorf("%q is first", got)
		}
		bevCheck(t, "Drain", bev.Input().Drain(4), nil)
		if !released {
			t.Error("Drain returned before the cleanup")
		}
	})
	bevCheck(t, "PrependBuffer", bev.Input().PrependBuffer(src), nil)
	bevRun(t, b)
}

// viewReceive reads n bytes from the peer's end.
func viewReceive(t *testing.T, conn *net.TCPConn, n int) []byte {
	t.Helper()
	buf := make([]byte, n)
	bevCheck(t, "SetReadDeadline", conn.SetReadDeadline(time.Now().Add(bevGuard)), nil)
	if _, err := io.ReadFull(conn, buf); err != nil {
		t.Error(err)
	}
	return buf
}

// An eager write in a read callback obeys what governs all writing.
func TestViewWrites(t *testing.T) {
	t.Run("callback", func(t *testing.T) {
		b := bevBase(t)
		bev, conn := eagerTCP(t, b, 0)
		bevCheck(t, "SetEager", bev.SetEager(true), nil)
		var order []string
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			_, _ = bev.WriteString("a")
			_, _ = bev.WriteString("b")
			bevCheck(t, "Drain", bev.Input().Drain(3), nil)
			order = append(order, "read")
		}, func(*libevent.BufferEvent) {
			order = append(order, "write")
			bevCheck(t, "Stop", b.Stop(), nil)
		}, nil)
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		if _, err := conn.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		bevRun(t, b)
		bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_NONBLOCK), nil)
		if want := []string{"read", "write"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		if got := string(viewReceive(t, conn, 2)); got != "ab" {
			t.Errorf("received %q", got)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		b, bev := viewCallback(t, []byte("abc"), true, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
			if n, err := bev.Write([]byte("kept")); n != 4 || err != nil {
				t.Error(n, err)
			}
		})
		bevCheck(t, "Disable", bev.Disable(libevent.EV_WRITE), nil)
		bevRun(t, b)
		if n := bev.Output().Len(); n != 4 {
			t.Errorf("%d bytes in the output", n)
		}
	})
	t.Run("most at once", func(t *testing.T) {
		b, bev := viewCallback(t, []byte("abc"), true, func(bev *libevent.BufferEvent, _ *net.TCPConn) {
			if n, err := bev.Write(bevBytes(100)); n != 100 || err != nil {
				t.Error(n, err)
			}
			if n := bev.Output().Len(); n != 90 {
				t.Errorf("%d bytes in the output", n)
			}
		})
		bevCheck(t, "SetMaxSingleWrite", bev.SetMaxSingleWrite(10), nil)
		bevRun(t, b)
	})
	t.Run("what the socket leaves", func(t *testing.T) {
		message := make([]byte, 16<<20)
		for i := range len(message) / 8 { // no part of it is like another
			binary.LittleEndian.PutUint64(message[8*i:], uint64(i))
		}
		received := make(chan []byte, 1)
		b, bev := viewCallback(t, []byte("abc"), true, func(bev *libevent.BufferEvent, conn *net.TCPConn) {
			if n, err := bev.Write(message); n != len(message) || err != nil {
				t.Error(n, err)
			}
			if n := bev.Output().Len(); n == 0 || n == len(message) {
				t.Errorf("%d bytes in the output", n)
			}
			go func() { received <- viewReceive(t, conn, len(message)) }()
		})
		bevCheck(t, "SetMaxSingleWrite", bev.SetMaxSingleWrite(len(message)), nil)
		bevRun(t, b)
		for bev.Output().Len() > 0 {
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
		}
		if got := <-received; !bytes.Equal(got, message) {
			t.Error("received something else")
		}
	})
	t.Run("error", func(t *testing.T) {
		b := bevBase(t)
		bev, conn := eagerTCP(t, b, 0)
		bevCheck(t, "SetEager", bev.SetEager(true), nil)
		fd := bev.FD() // which asks C: in the callback that would end the view
		var happened []libevent.BufferEvents
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			bevCheck(t, "SetLinger", conn.SetLinger(0), nil)
			bevCheck(t, "Close", conn.Close(), nil)
			eagerPoll(t, fd, 0x10) // POLLHUP
			bevCheck(t, "Drain", bev.Input().Drain(3), nil)
			if n, err := bev.Write([]byte("lost")); n != 4 || err != nil {
				t.Error(n, err)
			}
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			happened = append(happened, what)
			bevCheck(t, "Err", bev.Err(), syscall.ECONNRESET)
		})
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		if _, err := conn.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		bevRun(t, b)
		if want := []libevent.BufferEvents{0x22}; !slices.Equal(happened, want) {
			t.Errorf("%v, want %v", happened, want)
		}
	})
}

// A message that is answered in a read callback: on the view, and with a call into C for
// each step.
func BenchmarkReadCallback(b *testing.B) {
	for _, view := range []bool{true, false} {
		name := map[bool]string{true: "view", false: "calls"}[view]
		b.Run(name, func(b *testing.B) {
			base := bevBase(b)
			first, second := bevSockets(b)
			bev := bevNew(b, base, first, 0)
			bevCheck(b, "SetEager", bev.SetEager(true), nil)
			if !view {
				bev.Pointer()
			}
			in := bev.Input()
			bev.SetCallbacks(func(bev *libevent.BufferEvent) {
				for p := in.Peek(); len(p) > 0; p = in.Peek() {
					_, _ = bev.Write(p)
					_ = in.Drain(len(p))
				}
			}, nil, nil)
			bevCheck(b, "Enable", bev.Enable(libevent.EV_READ), nil)
			message := bevBytes(64)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = syscall.Write(second, message)
				bevCheck(b, "Loop", base.Loop(libevent.EVLOOP_ONCE), nil)
				if n, err := syscall.Read(second, message); n != len(message) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
