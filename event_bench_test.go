package libevent_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// benchmarkLoop runs b.N callbacks of an event, made by add, in one Dispatch.
func benchmarkLoop(b *testing.B, add func(base *libevent.Base, fn libevent.EventCallback) error,
	each func() (events, time.Duration),
) {
	b.Helper()
	base := newBase(b)
	n := 0
	if err := add(base, func(events) (events, time.Duration) {
		if n++; n >= b.N {
			return libevent.LEAVE, 0
		}
		return each()
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := base.Dispatch(); err != nil {
		b.Fatal(err)
	}
}

// An event that makes itself active: libevent's queue, the way into Go and back, and one
// call of C.
func BenchmarkActivateAndDispatch(b *testing.B) {
	var ev *libevent.Event
	benchmarkLoop(b, func(base *libevent.Base, fn libevent.EventCallback) (err error) {
		if ev, err = base.NewEvent(-1, 0, fn); err != nil {
			return err
		}
		return ev.Activate(libevent.EV_READ)
	}, func() (events, time.Duration) {
		if err := ev.Activate(libevent.EV_READ); err != nil {
			b.Error(err)
		}
		return 0, 0
	})
}

// A descriptor that is always ready, with nothing changed by the result, with a new
// timeout, and with a new interest each time.
func BenchmarkResult(b *testing.B) {
	for _, test := range []struct {
		name string
		each func() func() (events, time.Duration)
	}{
		{"keep", func() func() (events, time.Duration) {
			return func() (events, time.Duration) { return 0, 0 }
		}},
		{"timeout", func() func() (events, time.Duration) {
			return func() (events, time.Duration) { return 0, time.Hour }
		}},
		{"interest", func() func() (events, time.Duration) {
			next := libevent.EV_READ
			return func() (events, time.Duration) {
				next ^= libevent.EV_READ | libevent.EV_WRITE
				return next, 0
			}
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			p := socketpair(b)
			send(b, p[1], "x")
			benchmarkLoop(b, func(base *libevent.Base, fn libevent.EventCallback) error {
				_, err := base.AddEvent(p[0], libevent.EV_READ, fn, 0)
				return err
			}, test.each())
		})
	}
}

func BenchmarkAddEventClose(b *testing.B) {
	p := socketpair(b)
	base := newBase(b)
	b.ReportAllocs()
	for b.Loop() {
		ev, err := base.AddEvent(p[0], libevent.EV_READ, keep, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := ev.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// A timer that does not get to fire, of this package and of Go's runtime.
func BenchmarkTimer(b *testing.B) {
	b.Run("AddTimer and Close", func(b *testing.B) {
		base := newBase(b)
		b.ReportAllocs()
		for b.Loop() {
			ev, err := base.AddTimer(time.Hour, keep)
			if err != nil {
				b.Fatal(err)
			}
			if err := ev.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Add and Del", func(b *testing.B) {
		ev, err := newBase(b).NewEvent(-1, 0, keep)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := ev.Add(time.Hour); err != nil {
				b.Fatal(err)
			}
			if err := ev.Del(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("time.AfterFunc and Stop", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			time.AfterFunc(time.Hour, func() {}).Stop()
		}
	})
}

func BenchmarkPost(b *testing.B) {
	base := newBase(b)
	n := 0
	var again func()
	again = func() {
		if n++; n < b.N {
			if err := base.Post(again); err != nil {
				b.Error(err)
			}
		}
	}
	b.ReportAllocs()
	if err := base.Post(again); err != nil {
		b.Fatal(err)
	}
	if err := base.Dispatch(); err != nil {
		b.Fatal(err)
	}
}

// A byte written and read again in each callback, with the methods of Event and with
// package syscall.
func BenchmarkTransferInCallback(b *testing.B) {
	for _, test := range []struct {
		name  string
		write func(ev *libevent.Event, p []byte) (int, error)
		read  func(ev *libevent.Event, p []byte) (int, error)
	}{
		{"Event", (*libevent.Event).Write, (*libevent.Event).Read},
		{
			"syscall",
			func(ev *libevent.Event, p []byte) (int, error) { return syscall.Write(ev.FD(), p) },
			func(ev *libevent.Event, p []byte) (int, error) { return syscall.Read(ev.FD(), p) },
		},
	} {
		b.Run(test.name, func(b *testing.B) {
			p := socketpair(b)
			buf := make([]byte, 64)
			var w, r *libevent.Event
			benchmarkLoop(b, func(base *libevent.Base, fn libevent.EventCallback) (err error) {
				if w, err = base.NewEvent(p[1], libevent.EV_WRITE, keep); err != nil {
					return err
				}
				r, err = base.AddEvent(p[0], libevent.EV_READ, fn, 0)
				send(b, p[1], "x")
				return err
			}, func() (events, time.Duration) {
				if n, err := test.read(r, buf); n != 1 || err != nil {
					b.Error(n, err)
				}
				if n, err := test.write(w, buf[:1]); n != 1 || err != nil {
					b.Error(n, err)
				}
				return 0, 0
			})
		})
	}
}

// A callback costs no allocation, whatever it returns.
func TestCallbacksAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := socketpair(t)
	send(t, p[1], "x")
	b := newBase(t)
	next := libevent.EV_READ
	ev, err := b.AddEvent(p[0], libevent.EV_READ, func(events) (events, time.Duration) {
		next ^= libevent.EV_READ | libevent.EV_WRITE
		return next, time.Hour
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	addSignal(t, b, syscall.SIGUSR1, keep)
	buf := make([]byte, 1)
	if got := testing.AllocsPerRun(200, func() {
		if err := ev.Activate(libevent.EV_READ); err != nil {
			t.Error(err)
		}
		raise(t, syscall.SIGUSR1)
		if _, err := ev.Read(buf); err == nil {
			_, err = syscall.Write(p[1], buf)
			if err != nil {
				t.Error(err)
			}
		}
		if err := b.Loop(libevent.EVLOOP_ONCE); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations in a pass with callbacks", got)
	}
}
