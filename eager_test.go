package libevent_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// eagerly runs fn with BufferEvents that are not eager, and with such that are.
func eagerly(t *testing.T, fn func(t *testing.T)) {
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprintf("eager=%v", eager), func(t *testing.T) {
			bevEager = eager
			defer func() { bevEager = false }()
			fn(t)
		})
	}
}

// eagerPoll waits until the kernel has events for fd, without taking anything from it.
func eagerPoll(t testing.TB, fd int, events int16) {
	t.Helper()
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: events}
	const ms = int(bevGuard / time.Millisecond)
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_POLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(ms))
		if errno == syscall.EINTR {
			continue
		}
		if n != 1 || p.revents&events == 0 {
			t.Fatalf("poll: %d, %#x, %v", int(n), p.revents, errno)
		}
		return
	}
}

// eagerTCP makes a connected BufferEvent and the other end of its connection.
func eagerTCP(t testing.TB, b *libevent.Base, options libevent.BufferEventOptions) (*libevent.BufferEvent, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return bevNew(t, b, fd, options|bevOwn), peer.(*net.TCPConn)
}

// Eager ones behave as all others do.
func TestEagerBehaves(t *testing.T) {
	bevEager = true
	defer func() { bevEager = false }()
	t.Run("Transfer", TestBufferEventTransfer)
	t.Run("Watermarks", TestBufferEventWatermarks)
	t.Run("Connect", TestBufferEventConnect)
	t.Run("ConnectRefused", TestBufferEventConnectRefused)
	t.Run("ConnectFailsAtOnce", TestBufferEventConnectFailsAtOnce)
	t.Run("ConnectTimeout", TestBufferEventConnectTimeout)
	t.Run("Timeouts", TestBufferEventTimeouts)
	t.Run("TimeoutNone", TestBufferEventTimeoutNone)
	t.Run("Trigger", TestBufferEventTrigger)
	t.Run("DeferredOrder", TestBufferEventDeferredOrder)
	t.Run("EOF", TestBufferEventEOF)
	t.Run("Errors", TestBufferEventErrors)
	t.Run("Panic", TestBufferEventPanic)
	t.Run("CloseInCallback", TestBufferEventCloseInCallback)
	t.Run("DroppedCallbacks", TestBufferEventDroppedCallbacks)
	t.Run("Descriptor", TestBufferEventDescriptor)
	t.Run("SetFD", TestBufferEventSetFD)
	t.Run("Priority", TestBufferEventPriority)
	t.Run("MaxSingle", TestBufferEventMaxSingle)
	t.Run("MoveBuffers", TestBufferEventMoveBuffers)
	t.Run("AfterClose", TestBufferEventAfterClose)
	t.Run("Lock", TestBufferEventLock)
	t.Run("LockExcludes", TestBufferEventLockExcludes)
	t.Run("CloseElsewhere", TestBufferEventCloseElsewhere)
	t.Run("TwoLoops", TestBufferEventTwoLoops)
	t.Run("Leaks", TestBufferEventLeaks)
	t.Run("BorrowedBase", TestBufferEventBorrowedBase)
}

func TestEagerSetting(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	if bev.Eager() {
		t.Error("eager from the start")
	}
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	if !bev.Eager() {
		t.Error("not eager")
	}
	bevCheck(t, "SetEager", bev.SetEager(false), nil)
	if bev.Eager() {
		t.Error("eager still")
	}
	bevCheck(t, "Close", bev.Close(), nil)
	bevCheck(t, "after Close", bev.SetEager(true), libevent.ErrClosed)
	first, _ := bevTwo(t, b, true, 0)
	bevCheck(t, "for a pair", first.SetEager(true), syscall.ENOTSUP)
	if first.Eager() {
		t.Error("a pair is eager")
	}
}

// eagerWrites are the ways to write that send at once.
var eagerWrites = []struct {
	name  string
	write func(t testing.TB, bev *libevent.BufferEvent, p []byte) error
}{
	{"Write", func(_ testing.TB, bev *libevent.BufferEvent, p []byte) error {
		_, err := bev.Write(p)
		return err
	}},
	{"WriteString", func(_ testing.TB, bev *libevent.BufferEvent, p []byte) error {
		_, err := bev.WriteString(string(p))
		return err
	}},
	{"WriteBuffer", func(t testing.TB, bev *libevent.BufferEvent, p []byte) error {
		return eagerMove(t, p, bev.WriteBuffer)
	}},
	{"Output.Write", func(_ testing.TB, bev *libevent.BufferEvent, p []byte) error {
		_, err := bev.Output().Write(p)
		return err
	}},
	{"Output.AddBuffer", func(t testing.TB, bev *libevent.BufferEvent, p []byte) error {
		return eagerMove(t, p, bev.Output().AddBuffer)
	}},
}

// eagerMove moves p in a buffer of several chunks.
func eagerMove(t testing.TB, p []byte, move func(*libevent.Buffer) error) error {
	buf, err := libevent.NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Close()
	for part := range slices.Chunk(p, 1000) {
		if err := buf.AddReference(part, nil); err != nil {
			t.Error(err)
		}
	}
	err = move(buf)
	if err == nil && buf.Len() != 0 {
		t.Errorf("%d bytes are left in the source", buf.Len())
	}
	return err
}

// What is written is in the socket when the call returns. The write callback comes from
// the loop, once.
func TestEagerSendsAtOnce(t *testing.T) {
	for _, w := range eagerWrites {
		for _, options := range bevOptions {
			t.Run(w.name+"/"+options.String(), func(t *testing.T) {
				b := bevBase(t)
				first, second := bevTwo(t, b, false, options)
				bevCheck(t, "SetEager", first.SetEager(true), nil)
				calls := 0
				first.SetCallbacks(nil, func(*libevent.BufferEvent) { calls++ }, nil)
				data := bevBytes(3000)
				bevCheck(t, w.name, w.write(t, first, data), nil)
				if n := bevWaiting(t, second.FD()); n != len(data) || first.Output().Len() != 0 {
					t.Errorf("%d bytes sent, %d left", n, first.Output().Len())
				}
				if calls != 0 {
					t.Error("a callback inside the call")
				}
				bevRun(t, b)
				if calls != 1 {
					t.Errorf("%d write callbacks", calls)
				}
				p := make([]byte, len(data)+1)
				n, err := syscall.Read(second.FD(), p)
				if !bytes.Equal(p[:max(n, 0)], data) {
					t.Errorf("%d bytes arrived, %v", n, err)
				}

				// Nothing goes past what is not to be written, or cannot be.
				bevCheck(t, "Disable", first.Disable(libevent.EV_WRITE), nil)
				bevCheck(t, w.name, w.write(t, first, data), nil)
				if n := bevWaiting(t, second.FD()); n != 0 || first.Output().Len() != len(data) {
					t.Errorf("disabled: %d bytes sent, %d left", n, first.Output().Len())
				}
				bevCheck(t, "Enable", first.Enable(libevent.EV_WRITE), nil)
				bevRun(t, b)
				if n := bevWaiting(t, second.FD()); n != len(data) || calls != 2 {
					t.Errorf("enabled: %d bytes sent, %d write callbacks", n, calls)
				}
				bevCheck(t, "Freeze", first.Output().Freeze(false), nil)
				bevCheck(t, "frozen", w.write(t, first, data), syscall.EPERM)
				if n := bevWaiting(t, second.FD()); n != len(data) {
					t.Errorf("frozen: %d bytes sent", n)
				}
			})
		}
	}
}

// What was let go of when it was sent at once is cleaned up before the call returns.
func TestEagerReferences(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, false, 0)
	bevCheck(t, "SetEager", first.SetEager(true), nil)
	buf, err := libevent.NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Close()
	cleanups := 0
	bevCheck(t, "AddReference", buf.AddReference([]byte("referred to"), func() { cleanups++ }), nil)
	bevCheck(t, "Freeze", buf.Freeze(true), nil)
	bevCheck(t, "WriteBuffer of a frozen one", first.WriteBuffer(buf), syscall.EPERM)
	if n := bevWaiting(t, second.FD()); n != 0 || buf.Len() != 11 {
		t.Errorf("%d bytes sent of a frozen buffer, %d left", n, buf.Len())
	}
	bevCheck(t, "Unfreeze", buf.Unfreeze(true), nil)
	bevCheck(t, "WriteBuffer", first.WriteBuffer(buf), nil)
	if n := bevWaiting(t, second.FD()); n != 11 || cleanups != 1 {
		t.Errorf("%d bytes sent, %d cleanups", n, cleanups)
	}
}

// A descriptor that is no socket is written to by libevent.
func TestEagerPipe(t *testing.T) {
	b := bevBase(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	bev := bevNew(t, b, fd, bevOwn)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
		if what != 0x22 {
			t.Errorf("%v", what)
		}
		bevCheck(t, "Err", bev.Err(), syscall.EPIPE)
	})
	if _, err := bev.WriteString("text"); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	p := make([]byte, 10)
	if n, err := r.Read(p); string(p[:n]) != "text" {
		t.Errorf("%q, %v", p[:n], err)
	}
	_ = r.Close()
	if _, err := bev.WriteString("text"); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	if bev.Err() == nil {
		t.Error("the broken pipe was not told of")
	}
}

// Megabytes go through small socket buffers to a reader that pauses, written in all
// ways and sizes: nothing is lost, doubled or out of order.
func TestEagerPartialSends(t *testing.T) {
	const total = 8 << 20
	for _, options := range bevOptions {
		t.Run(options.String(), func(t *testing.T) {
			b := bevBase(t)
			one, two := bevSockets(t)
			if err := syscall.SetsockoptInt(one, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096); err != nil {
				t.Fatal(err)
			}
			bev := bevNew(t, b, one, options|bevOwn)
			bevCheck(t, "SetEager", bev.SetEager(true), nil)
			peer := os.NewFile(uintptr(two), "peer")
			defer peer.Close()
			_ = peer.SetDeadline(time.Now().Add(bevGuard))
			got := make(chan uint32, 1)
			go func() {
				sum := crc32.NewIEEE()
				p := make([]byte, 30000)
				for n := 0; ; n++ {
					m, err := peer.Read(p)
					_, _ = sum.Write(p[:m])
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						got <- sum.Sum32()
						return
					}
					if n%16 == 0 {
						runtime.Gosched()
					}
				}
			}()
			want := crc32.NewIEEE()
			rng := rand.New(rand.NewPCG(1, uint64(options)))
			written, left := 0, 0
			step := func(bev *libevent.BufferEvent) {
				for range 3 {
					if written >= total {
						break
					}
					p := make([]byte, 1+rng.IntN(20000))
					for i := range p {
						p[i] = byte(rng.Uint32())
					}
					_, _ = want.Write(p)
					written += len(p)
					w := eagerWrites[rng.IntN(len(eagerWrites))]
					bevCheck(t, w.name, w.write(t, bev, p), nil)
					left = max(left, bev.Output().Len())
				}
				if written >= total && bev.Output().Len() == 0 {
					if err := syscall.Shutdown(bev.FD(), syscall.SHUT_WR); err != nil {
						t.Error(err)
					}
					bev.SetCallbacks(nil, nil, nil)
				}
			}
			bev.SetCallbacks(nil, step, nil)
			step(bev)
			bevRun(t, b)
			if sum := <-got; sum != want.Sum32() || written < total {
				t.Errorf("%d bytes written, checksum %#x, want %#x", written, sum, want.Sum32())
			}
			if left == 0 {
				t.Error("the socket took everything: nothing was tested")
			}
		})
	}
}

// The write callback finds the output at its low watermark, whatever was written since
// the data that it comes for were sent, unless it is asked for in any case.
func TestEagerWriteCallback(t *testing.T) {
	for _, low := range []int{0, 1000} {
		t.Run(fmt.Sprint(low), func(t *testing.T) {
			eagerly(t, func(t *testing.T) {
				b := bevBase(t)
				first, second := bevTwo(t, b, false, 0)
				if err := syscall.SetsockoptInt(first.FD(), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096); err != nil {
					t.Fatal(err)
				}
				bevCheck(t, "SetWatermark", first.SetWatermark(libevent.EV_WRITE, low, 0), nil)
				const total = 1<<20 + 2
				calls, got := 0, 0
				first.SetCallbacks(nil, func(bev *libevent.BufferEvent) {
					calls++
					if n := bev.Output().Len(); n > low {
						t.Errorf("write callback with %d bytes left", n)
					}
				}, nil)
				second.SetCallbacks(func(bev *libevent.BufferEvent) {
					if got += len(bevRead(t, bev)); got == total {
						bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
					}
				}, nil, nil)
				// The first goes at once, the second stays for the most part.
				for _, n := range []int{2, total - 2} {
					if _, err := first.Write(make([]byte, n)); err != nil {
						t.Error(err)
					}
				}
				if first.Output().Len() == 0 {
					t.Error("the socket took everything: nothing was tested")
				}
				bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_NONBLOCK), nil)
				if calls != 0 {
					t.Errorf("%d write callbacks before the output was written", calls)
				}
				bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
				bevRun(t, b)
				if calls == 0 || (low == 0 && calls != 1) || got != total {
					t.Errorf("%d write callbacks, %d bytes read", calls, got)
				}
			})
		})
	}
	t.Run("asked for", func(t *testing.T) {
		eagerly(t, func(t *testing.T) {
			b := bevBase(t)
			first, _ := bevTwo(t, b, false, 0)
			calls := 0
			first.SetCallbacks(nil, func(*libevent.BufferEvent) { calls++ }, nil)
			for _, n := range []int{2, 1 << 20} {
				if _, err := first.Write(make([]byte, n)); err != nil {
					t.Error(err)
				}
			}
			bevCheck(t, "Trigger", first.Trigger(libevent.EV_WRITE,
				libevent.BEV_TRIG_IGNORE_WATERMARKS|libevent.BEV_TRIG_DEFER_CALLBACKS), nil)
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_NONBLOCK|libevent.EVLOOP_ONCE), nil)
			if calls != 1 {
				t.Errorf("%d write callbacks", calls)
			}
		})
	})
}

// A write callback that writes again goes on for as long as it does, and other events
// have their turn.
func TestEagerWriteCallbackWrites(t *testing.T) {
	eagerly(t, func(t *testing.T) {
		b := bevBase(t)
		first, second := bevTwo(t, b, false, 0)
		writes, ticks := 0, 0
		first.SetCallbacks(nil, func(bev *libevent.BufferEvent) {
			if writes++; writes < 1000 {
				_, _ = bev.WriteString("x")
			}
		}, nil)
		if _, err := b.AddTimer(0, func(libevent.Events) (libevent.Events, time.Duration) {
			ticks = writes
			return libevent.LEAVE, 0
		}); err != nil {
			t.Fatal(err)
		}
		got := 0
		second.SetCallbacks(func(bev *libevent.BufferEvent) {
			if got += len(bevRead(t, bev)); got == 1000 {
				bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
			}
		}, nil, nil)
		bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
		_, _ = first.WriteString("x")
		bevRun(t, b)
		if got != 1000 || writes != 1000 {
			t.Errorf("%d bytes, %d callbacks", got, writes)
		}
		if ticks == 1000 {
			t.Error("the timer had no turn")
		}
	})
}

// Only what waits in the output has a write timeout.
func TestEagerWriteTimeout(t *testing.T) {
	b := bevBase(t)
	first, _ := bevTwo(t, b, false, 0)
	bevCheck(t, "SetEager", first.SetEager(true), nil)
	const timeout = 20 * time.Millisecond
	bevCheck(t, "SetTimeouts", first.SetTimeouts(0, timeout), nil)
	var happened []libevent.BufferEvents
	first.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		happened = append(happened, what)
	})
	if _, err := first.WriteString("taken"); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	if len(happened) != 0 {
		t.Errorf("with nothing to write: %v", happened)
	}
	start := time.Now()
	if _, err := first.Write(make([]byte, 1<<20)); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	if want := []libevent.BufferEvents{0x42}; !slices.Equal(happened, want) || time.Since(start) < timeout {
		t.Errorf("%v, want %v, after %v", happened, want, time.Since(start))
	}
}

// What a read callback finds of 40,000 bytes that wait in the socket.
func TestEagerReadsOn(t *testing.T) {
	const total = 40000
	for _, tt := range []struct {
		name      string
		max, high int
		want      int // bytes at one time, without and with SetEager
		wantEager int
	}{
		{"default", 0, 0, 4096, 16384},
		{"high watermark", 0, 5000, 4096, 5000},
		{"low high watermark", 0, 100, 100, 100},
		{"more at one time", 30000, 0, 4096, 16384},
		{"little more at one time", 5000, 0, 4096, 5000},
		{"less at one time", 1000, 0, 1000, 1000},
	} {
		for _, options := range bevOptions {
			t.Run(tt.name+"/"+options.String(), func(t *testing.T) {
				eagerly(t, func(t *testing.T) {
					want := tt.want
					if bevEager {
						want = tt.wantEager
					}
					b := bevBase(t)
					one, two := bevSockets(t)
					data := bevBytes(total)
					if n, err := syscall.Write(two, data); n != total {
						t.Fatal(n, err)
					}
					_ = syscall.Close(two)
					bev := bevNew(t, b, one, options|bevOwn)
					if tt.max > 0 {
						bevCheck(t, "SetMaxSingleRead", bev.SetMaxSingleRead(tt.max), nil)
					}
					bevCheck(t, "SetWatermark", bev.SetWatermark(libevent.EV_READ, 0, tt.high), nil)
					var got []byte
					var happened []libevent.BufferEvents
					first := 0
					bev.SetCallbacks(func(bev *libevent.BufferEvent) {
						n := bev.Input().Len()
						if first == 0 {
							first = n
						}
						if n > want {
							t.Errorf("%d bytes at one time", n)
						}
						// At once, so that the callback is not called for the rest.
						p := make([]byte, n)
						_, err := bev.Read(p)
						bevCheck(t, "Read", err, nil)
						got = append(got, p...)
					}, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
						happened = append(happened, what)
						if len(got) != total {
							t.Errorf("%v after %d bytes", what, len(got))
						}
					})
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					bevRun(t, b)
					if first != want || !bytes.Equal(got, data) {
						t.Errorf("%d bytes the first time, want %d; %d in all", first, want, len(got))
					}
					if want := []libevent.BufferEvents{0x11}; !slices.Equal(happened, want) {
						t.Errorf("%v, want %v", happened, want)
					}
				})
			})
		}
	}
}

// A callback that disables reading, or that is called by hand, gets nothing that libevent
// would not have read.
func TestEagerReadDisabled(t *testing.T) {
	eagerly(t, func(t *testing.T) {
		b := bevBase(t)
		one, two := bevSockets(t)
		defer syscall.Close(two)
		bev := bevNew(t, b, one, bevOwn)
		calls := 0
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			calls++
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}, nil, nil)
		if n, err := syscall.Write(two, make([]byte, 40000)); n != 40000 {
			t.Fatal(n, err)
		}
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		bevRun(t, b)
		n := bev.Input().Len()
		bevCheck(t, "Trigger", bev.Trigger(libevent.EV_READ, 0), nil)
		if calls != 2 || bev.Input().Len() != n {
			t.Errorf("%d calls, %d bytes, then %d", calls, n, bev.Input().Len())
		}
	})
}

// A socket that somebody else has emptied, after it was found readable, is no failure.
func TestEagerReadsNothing(t *testing.T) {
	eagerly(t, func(t *testing.T) {
		b := newBaseWith(t, &libevent.Config{Priorities: 2})
		one, two := bevSockets(t)
		defer syscall.Close(two)
		bev := bevNew(t, b, one, bevOwn)
		got := ""
		bev.SetCallbacks(func(bev *libevent.BufferEvent) {
			got += string(bevRead(t, bev))
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { t.Error("told", what) })
		first, err := b.AddEvent(one, libevent.EV_READ, func(events) (events, time.Duration) {
			got = drain(one) + " "
			return libevent.LEAVE, 0
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		bevCheck(t, "SetPriority", errors.Join(first.SetPriority(0), bev.SetPriority(1)), nil)
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		send(t, two, "elsewhere")
		for range 2 {
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
		}
		send(t, two, "here")
		bevRun(t, b)
		if got != "elsewhere here" {
			t.Errorf("%q", got)
		}
	})
}

// A reset is told of as one, in whichever direction it is met first.
func TestEagerReset(t *testing.T) {
	for _, options := range bevOptions {
		for _, size := range []int{0, 100, 4096, 16384, 20000} {
			t.Run(fmt.Sprintf("read/%d/%v", size, options), func(t *testing.T) {
				eagerly(t, func(t *testing.T) {
					b := bevBase(t)
					bev, peer := eagerTCP(t, b, options)
					if _, err := peer.Write(make([]byte, size)); err != nil {
						t.Fatal(err)
					}
					_ = peer.SetLinger(0)
					_ = peer.Close()
					eagerPoll(t, bev.FD(), 0x10) // POLLHUP
					got := 0
					var happened []libevent.BufferEvents
					bev.SetCallbacks(func(bev *libevent.BufferEvent) {
						got += len(bevRead(t, bev))
					}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
						happened = append(happened, what)
						bevCheck(t, "Err", bev.Err(), syscall.ECONNRESET)
					})
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					bevRun(t, b)
					if want := []libevent.BufferEvents{0x21}; !slices.Equal(happened, want) || got != size {
						t.Errorf("%v, want %v, %d bytes", happened, want, got)
					}
				})
			})
		}
		t.Run("write/"+options.String(), func(t *testing.T) {
			eagerly(t, func(t *testing.T) {
				b := bevBase(t)
				bev, peer := eagerTCP(t, b, options)
				_ = peer.SetLinger(0)
				_ = peer.Close()
				eagerPoll(t, bev.FD(), 0x10) // POLLHUP
				var happened []libevent.BufferEvents
				bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
					happened = append(happened, what)
					bevCheck(t, "Err", bev.Err(), syscall.ECONNRESET)
					if bev.Enabled() != 0 {
						t.Errorf("enabled: %v", bev.Enabled())
					}
				})
				if _, err := bev.WriteString("to nobody"); err != nil {
					t.Error(err)
				}
				if bev.Enabled() != libevent.EV_WRITE || len(happened) != 0 {
					t.Errorf("before the loop: enabled %v, %v", bev.Enabled(), happened)
				}
				bevRun(t, b)
				if want := []libevent.BufferEvents{0x22}; !slices.Equal(happened, want) {
					t.Errorf("%v, want %v", happened, want)
				}
				if n := bev.Output().Len(); n != len("to nobody") {
					t.Errorf("%d bytes left in the output", n)
				}
			})
		})
	}
}

// Writes of many goroutines while the loop runs, each whole and each goroutine's in order.
func TestEagerWritesElsewhere(t *testing.T) {
	const writers, writes, size = 4, 500, 300
	b := bevBase(t)
	first, second := bevTwo(t, b, false, bevThreadsafe|bevDefer|bevUnlock)
	bevCheck(t, "SetEager", first.SetEager(true), nil)
	bevCheck(t, "SetEager", second.SetEager(true), nil)
	first.SetCallbacks(nil, func(*libevent.BufferEvent) {}, nil)
	var next [writers]uint32
	got := 0
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		p := make([]byte, size)
		for bev.Input().Len() >= size {
			if _, err := bev.Read(p); err != nil {
				t.Error(err)
			}
			who, n := p[0], binary.BigEndian.Uint32(p[1:])
			if int(who) >= writers || n != next[who] || !bytes.Equal(p[5:], bytes.Repeat([]byte{who}, size-5)) {
				t.Errorf("message %d of %d, want %d: %x", n, who, next, p[:10])
				_ = b.Stop()
				return
			}
			next[who]++
			if got++; got == writers*writes {
				_ = b.Stop()
			}
		}
	}, nil, nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	var wg sync.WaitGroup
	for who := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p := bytes.Repeat([]byte{byte(who)}, size)
			for n := range writes {
				binary.BigEndian.PutUint32(p[1:], uint32(n))
				if _, err := first.Write(p); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	bevRun(t, b)
	wg.Wait()
	if got != writers*writes {
		t.Errorf("%d messages", got)
	}
}

// A callback may close the BufferEvent right after it has written, and the write callback
// does not come any more.
func TestEagerCloseAfterWrite(t *testing.T) {
	for _, options := range bevOptions {
		eagerly(t, func(t *testing.T) {
			b := bevBase(t)
			first, second := bevTwo(t, b, false, options)
			second.SetCallbacks(func(bev *libevent.BufferEvent) {
				_, _ = bev.WriteString("answer")
				bevCheck(t, "Close", bev.Close(), nil)
				_, err := bev.WriteString("more")
				bevCheck(t, "Write", err, libevent.ErrClosed)
				_, err = bev.Output().WriteString("more")
				bevCheck(t, "Output.Write", err, libevent.ErrClosed)
			}, func(*libevent.BufferEvent) { t.Error("a callback after Close") }, nil)
			var got []byte
			first.SetCallbacks(func(bev *libevent.BufferEvent) {
				got = append(got, bevRead(t, bev)...)
			}, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
				bevCheck(t, "Close", bev.Close(), nil)
			})
			bevCheck(t, "Enable", first.Enable(libevent.EV_READ), nil)
			bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
			_, _ = first.WriteString("question")
			bevRun(t, b)
			want := "" // C loses output that Close finds
			if bevEager {
				want = "answer"
			}
			if string(got) != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// An echo allocates nothing.
func TestEagerAllocations(t *testing.T) {
	eagerly(t, func(t *testing.T) {
		b := bevBase(t)
		client, server := bevTwo(t, b, false, 0)
		server.SetCallbacks(func(bev *libevent.BufferEvent) {
			in := bev.Input()
			p := in.Peek()
			_, _ = bev.Write(p)
			_ = in.Drain(len(p))
		}, func(*libevent.BufferEvent) {}, nil)
		const rounds = 2000
		message, buf := bevBytes(64), make([]byte, 64)
		var before, after runtime.MemStats
		round := 0
		client.SetCallbacks(func(bev *libevent.BufferEvent) {
			if n, err := bev.Read(buf); n != len(message) || err != nil {
				t.Error(n, err)
			}
			switch round++; round {
			case rounds / 2:
				runtime.ReadMemStats(&before)
			case rounds:
				runtime.ReadMemStats(&after)
				bevCheck(t, "Stop", b.Stop(), nil)
				return
			}
			_, _ = bev.Write(message)
		}, nil, nil)
		bevCheck(t, "Enable", client.Enable(libevent.EV_READ), nil)
		bevCheck(t, "Enable", server.Enable(libevent.EV_READ), nil)
		_, _ = client.Write(message)
		bevRun(t, b)
		// Others in the process allocate now and then.
		if n := after.Mallocs - before.Mallocs; n > rounds/20 {
			t.Errorf("%d allocations in %d echoes", n, rounds/2)
		}
	})
}

// Without memory a write says how much the socket took.
func TestEagerNoMemory(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, false, 0)
	bevCheck(t, "SetEager", first.SetEager(true), nil)
	bevCheck(t, "SetEager", second.SetEager(true), nil)
	bevCheck(t, "SetMaxSingleWrite", first.SetMaxSingleWrite(100), nil)
	ctest.FailAllocation(1)
	n, err := first.Write(bevBytes(3000))
	if left := ctest.FailAllocation(0); n != 100 || !errors.Is(err, syscall.ENOMEM) || left != 0 {
		t.Errorf("Write: %d, %v", n, err)
	}
	if sent := bevWaiting(t, second.FD()); sent != 100 || first.Output().Len() != 0 {
		t.Errorf("%d bytes sent, %d left", sent, first.Output().Len())
	}
}

// Whatever allocation fails, what was received is not lost. Other backends than epoll need
// memory themselves, and their loop ends without.
func TestEagerReadsWithoutMemory(t *testing.T) {
	message := bevBytes(3000)
	served := 0
	for n := range int64(5) {
		b := newBaseWith(t, onlyMethod("epoll"))
		first, second := bevTwo(t, b, false, 0)
		bevCheck(t, "SetEager", second.SetEager(true), nil)
		second.SetCallbacks(func(bev *libevent.BufferEvent) {
			if got := bev.Input().Bytes(); !bytes.Equal(got, message) {
				t.Errorf("allocation %d failed: received %d bytes", n, len(got))
			}
			bevCheck(t, "Drain", bev.Input().Drain(len(message)), nil)
			bevCheck(t, "Stop", b.Stop(), nil)
		}, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
			t.Errorf("allocation %d failed: event %#x", n, what)
		})
		bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
		for range 2 { // what was used up is made anew
			if _, err := syscall.Write(first.FD(), message); err != nil {
				t.Fatal(err)
			}
			ctest.FailAllocation(n + 1)
			bevRun(t, b)
			if ctest.FailAllocation(0) == 0 {
				served++
			}
		}
	}
	if served < 4 {
		t.Errorf("%d allocations failed", served)
	}
}

// What a read callback has before it stays as it is while C runs another loop in it, and that
// one's go to their own.
func TestEagerBesideLoopOfC(t *testing.T) {
	pairs := [2][2]int{socketpair(t), socketpair(t)}
	b := newBase(t)
	host, guest := borrow(t)
	bevEager = true
	defer func() { bevEager = false }()
	outer, inner := bevNew(t, b, pairs[0][0], 0), bevNew(t, guest, pairs[1][0], 0)
	got := ""
	inner.SetCallbacks(func(bev *libevent.BufferEvent) { got = string(bevRead(t, bev)) }, nil, nil)
	outer.SetCallbacks(func(bev *libevent.BufferEvent) {
		p := bev.Input().Peek()
		send(t, pairs[1][1], "INSIDE")
		ctest.Loop(host.Pointer())
		if string(p) != "outside" || got != "INSIDE" {
			t.Errorf("%q was read outside, %q inside", p, got)
		}
	}, nil, nil)
	must(t, outer.Enable(libevent.EV_READ))
	must(t, inner.Enable(libevent.EV_READ))
	send(t, pairs[0][1], "outside")
	must(t, loop(t, b, libevent.EVLOOP_ONCE))
	if got == "" {
		t.Error("the inner callback did not come")
	}
}
