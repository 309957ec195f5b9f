//go:build linux

package faults_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
	"github.com/go-libevent/libevent/internal/faults"
)

// refusals are how often the backend refuses to watch a socket: libevent asks once, and
// the binding once more.
var refusals = []struct {
	name  string
	times int
	told  bool
}{{"once", 1, false}, {"for good", 1000, true}}

// outputs are the ways to the output of a BufferEvent.
var outputs = []struct {
	name string
	put  func(bev *libevent.BufferEvent, data []byte) error
}{
	{"Write", func(bev *libevent.BufferEvent, data []byte) error {
		_, err := bev.Write(data)
		return err
	}},
	{"WriteBuffer", func(bev *libevent.BufferEvent, data []byte) error {
		return from(data, bev.WriteBuffer)
	}},
	{"Output.Write", func(bev *libevent.BufferEvent, data []byte) error {
		_, err := bev.Output().Write(data)
		return err
	}},
	{"Output.AddBuffer", func(bev *libevent.BufferEvent, data []byte) error {
		return from(data, bev.Output().AddBuffer)
	}},
	{"Output.AddReference", func(bev *libevent.BufferEvent, data []byte) error {
		return bev.Output().AddReference(data, nil)
	}},
	{"RemoveBuffer", func(bev *libevent.BufferEvent, data []byte) error {
		return from(data, func(src *libevent.Buffer) error {
			_, err := src.RemoveBuffer(bev.Output(), len(data))
			return err
		})
	}},
	{"RemoveBuffer of a part", func(bev *libevent.BufferEvent, data []byte) error {
		return from(append(data, '.'), func(src *libevent.Buffer) error {
			_, err := src.RemoveBuffer(bev.Output(), len(data))
			return errors.Join(err, src.Drain(1))
		})
	}},
	{"RemoveBuffer of a part, with a callback", func(bev *libevent.BufferEvent, data []byte) error {
		_, err := bev.Output().AddCallback(func(*libevent.Buffer, libevent.BufferCallbackInfo) {})
		return errors.Join(err, from(append(data, '.'), func(src *libevent.Buffer) error {
			_, err := src.RemoveBuffer(bev.Output(), len(data))
			return errors.Join(err, src.Drain(1))
		}))
	}},
	{"filter", func(bev *libevent.BufferEvent, data []byte) error {
		return through(bev, nil, data)
	}},
	{"filter's function", func(bev *libevent.BufferEvent, data []byte) error {
		return through(bev, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
			if dst.AddBuffer(src) != nil {
				return libevent.BEV_ERROR
			}
			return libevent.BEV_OK
		}, data)
	}},
}

// from moves data by move.
func from(data []byte, move func(src *libevent.Buffer) error) error {
	src, err := libevent.NewBuffer()
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Write(data); err != nil {
		return err
	}
	return move(src)
}

// through writes data to a filter on top of bev, which has bev's event callback.
func through(bev *libevent.BufferEvent, output libevent.Filter, data []byte) error {
	faults.Fail(faults.Watch, 0, 0, 0)
	_, _, event := bev.Callbacks()
	top, err := bev.NewFilter(nil, output, 0)
	if err != nil {
		return err
	}
	top.SetCallbacks(nil, nil, event)
	// Making it has made libevent wait to write.
	if err := bev.Base().Loop(libevent.EVLOOP_ONCE | libevent.EVLOOP_NONBLOCK); err != nil {
		return err
	}
	refuse()
	_, err = top.Write(data)
	return err
}

// refuse begins the refusals that a test has set.
var refuse func()

// What is in the output is written, or the event callback told that it cannot be, however
// it has come there.
func TestOutputIsNotWatched(t *testing.T) {
	data := make([]byte, 1<<20)
	for _, refusal := range refusals {
		for _, output := range outputs {
			t.Run(refusal.name+"/"+output.name, func(t *testing.T) {
				forEager(t, func(t *testing.T, eager bool) {
					b := newBase(t)
					first, second := sockets(t)
					bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
					must(t, err)
					must(t, bev.SetEager(eager))
					var told libevent.BufferEvents
					var reason error
					bev.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
						told, reason = what, bev.Err()
						_ = b.LoopBreak()
					})
					refuse = func() { faults.Fail(faults.Watch, 1, refusal.times, syscall.ENOSPC) }
					refuse()
					must(t, output.put(bev, data))
					if refusal.told {
						run(t, b)
						if told != libevent.BEV_EVENT_WRITING|libevent.BEV_EVENT_ERROR || bev.Enabled()&libevent.EV_WRITE != 0 {
							t.Errorf("told %v, enabled %v", told, bev.Enabled())
						}
						if !errors.Is(reason, syscall.ENOSPC) {
							t.Error(reason)
						}
						told = 0
					}
					if n := faults.Fail(faults.Watch, 0, 0, 0); n == 0 {
						t.Error("nothing was refused")
					}
					must(t, bev.Enable(libevent.EV_WRITE))
					got := 0
					reader, err := b.AddEvent(second, libevent.EV_READ, func(events) (events, time.Duration) {
						n, _ := syscall.Read(second, make([]byte, 1<<16))
						if got += n; got == len(data) {
							_ = b.LoopBreak()
						}
						return 0, 0
					}, 0)
					must(t, err)
					run(t, b)
					if got != len(data) || told != 0 {
						t.Errorf("%d of %d bytes, told %v", got, len(data), told)
					}
					must(t, reader.Close())
				})
			})
		}
	}
}

// An input that was full is read on, or the event callback told that it cannot be.
func TestInputIsNotWatched(t *testing.T) {
	for _, refusal := range refusals {
		t.Run(refusal.name, func(t *testing.T) {
			for name, take := range map[string]func(bev *libevent.BufferEvent) error{
				"Drain": func(bev *libevent.BufferEvent) error { return bev.Input().Drain(100) },
				"Read": func(bev *libevent.BufferEvent) error {
					_, err := bev.Read(make([]byte, 100))
					return err
				},
				"ReadBuffer": func(bev *libevent.BufferEvent) error {
					return from(nil, bev.ReadBuffer)
				},
				"AddBuffer": func(bev *libevent.BufferEvent) error {
					return from(nil, func(dst *libevent.Buffer) error { return dst.AddBuffer(bev.Input()) })
				},
				"WriteBuffer": func(bev *libevent.BufferEvent) error { return bev.WriteBuffer(bev.Input()) },
				"SetWatermark": func(bev *libevent.BufferEvent) error {
					return bev.SetWatermark(libevent.EV_READ, 0, 1000)
				},
			} {
				b := newBase(t)
				first, second := sockets(t)
				bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
				must(t, err)
				var told libevent.BufferEvents
				until := 100
				bev.SetCallbacks(func(bev *libevent.BufferEvent) {
					if bev.Input().Len() == until {
						_ = b.LoopBreak()
					}
				}, nil,
					func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
						told = what
						_ = b.LoopBreak()
					})
				must(t, bev.SetWatermark(libevent.EV_READ, 0, 100))
				must(t, bev.Enable(libevent.EV_READ))
				_, err = syscall.Write(second, make([]byte, 150))
				must(t, err)
				run(t, b)
				must(t, b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK))
				if n := bev.Input().Len(); n != 100 {
					t.Errorf("%s: %d bytes read, want 100", name, n)
				}
				faults.Fail(faults.Watch, 1, refusal.times, syscall.ENOSPC)
				must(t, take(bev))
				until = bev.Input().Len() + 50
				run(t, b)
				if n := faults.Fail(faults.Watch, 0, 0, 0); n == 0 {
					t.Errorf("%s: nothing was refused", name)
				}
				switch {
				case refusal.told && told&(libevent.BEV_EVENT_READING|libevent.BEV_EVENT_ERROR) == 0:
					t.Errorf("%s: told %v", name, told)
				case !refusal.told && (told != 0 || bev.Input().Len() != until):
					t.Errorf("%s: told %v, %d bytes are there, want %d", name, told, bev.Input().Len(), until)
				}
			}
		})
	}
}

// A filter that cannot have read what is underneath says so.
func TestFilterIsNotWatched(t *testing.T) {
	b := newBase(t)
	first, second := sockets(t)
	bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	top, err := bev.NewFilter(nil, nil, libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	run(t, b) // making it has made libevent wait to write
	faults.Fail(faults.Watch, 1, 1000, syscall.ENOSPC)
	if err := top.Enable(libevent.EV_READ); !errors.Is(err, syscall.ENOSPC) || top.Enabled()&libevent.EV_READ != 0 {
		t.Errorf("%v, enabled %v", err, top.Enabled())
	}
	faults.Fail(faults.Watch, 1, 1, syscall.ENOSPC)
	must(t, top.Enable(libevent.EV_READ))
	faults.Fail(faults.Watch, 0, 0, 0)
	_, err = syscall.Write(second, []byte("x"))
	must(t, err)
	top.SetCallbacks(func(*libevent.BufferEvent) { _ = b.LoopBreak() }, nil, nil)
	run(t, b)
	if n := top.Input().Len(); n != 1 {
		t.Errorf("%d bytes", n)
	}
}

// Whatever memory was missing when it was made, a BufferEvent that there is writes.
func TestBufferEventWithoutMemory(t *testing.T) {
	for n := int64(1); ; n++ {
		b := newBase(t)
		first, second := sockets(t)
		ctest.FailAllocation(n)
		bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
		failed := ctest.FailAllocation(0) == 0
		if err != nil {
			must(t, syscall.Close(first))
			if !failed || !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("allocation %d: %v", n, err)
			}
			continue
		}
		for range 2 {
			_, err := bev.WriteString("x")
			must(t, err)
			run(t, b)
			if n, err := syscall.Read(second, make([]byte, 1)); n != 1 {
				t.Errorf("allocation %d: %v", n, err)
			}
		}
		if !failed {
			break
		}
	}
}

// What libevent would go through NULL for without memory is refused before.
func TestCallbacksWithoutMemory(t *testing.T) {
	b := newBase(t)
	first, _ := sockets(t)
	bev, err := b.NewBufferEvent(first, libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	for name, fn := range map[string]func() error{
		"SetWatermark": func() error { return bev.SetWatermark(libevent.EV_READ, 0, 100) },
		"NewFilter": func() error {
			_, err := bev.NewFilter(nil, nil, 0)
			return err
		},
	} {
		for n := int64(1); n <= 2; n++ {
			ctest.FailAllocation(n)
			err := fn()
			if left := ctest.FailAllocation(0); left != 0 || !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("%s, allocation %d: %v", name, n, err)
			}
		}
	}
	if _, high, err := bev.Watermark(libevent.EV_READ); high != 0 || err != nil {
		t.Errorf("high watermark %d, %v", high, err)
	}
}
