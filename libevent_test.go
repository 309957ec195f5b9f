package libevent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// events shortens the signature of the many callbacks in these tests.
type events = libevent.Events

const (
	// guardTime ends a test whose loop should have ended by itself.
	guardTime = 10 * time.Second

	// allEvents is everything that Event.Pending can report.
	allEvents = libevent.EV_TIMEOUT | libevent.EV_READ | libevent.EV_WRITE |
		libevent.EV_SIGNAL | libevent.EV_CLOSED
)

// children are what this binary does when a test starts it again, by name. They
// return the exit status.
var children = map[string]func() int{}

const (
	childVariable = "LIBEVENT_TEST_CHILD"

	// debugModeVariable makes all tests run in libevent's debug mode, its locks watched.
	debugModeVariable = "LIBEVENT_TEST_DEBUG_MODE"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(children[name]())
	}
	if os.Getenv(debugModeVariable) != "" {
		if err := errors.Join(libevent.EnableDebugMode(), libevent.EnableLockDebugging()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	libevent.SupportedMethods() // libevent keeps the list
	run := ctest.Balanced
	if os.Getenv(debugModeVariable) != "" {
		run = func(run func() int) int { return run() } // it keeps what it has seen
	}
	status := run(m.Run)
	for what, count := range libevent.Alive {
		if n := count(); n != 0 {
			fmt.Fprintf(os.Stderr, "%d of type %s still alive after the tests\n", n, what)
			status = 1
		}
	}
	os.Exit(status)
}

// child returns a command that runs children[name].
func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	return cmd
}

// newBase makes a base that is closed when the test ends.
func newBase(t testing.TB) *libevent.Base {
	t.Helper()
	return newBaseWith(t, nil)
}

// newBaseWith is newBase with a configuration.
func newBaseWith(t testing.TB, cfg *libevent.Config) *libevent.Base {
	t.Helper()
	b, err := libevent.NewWithConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, libevent.ErrBroken) {
			t.Error(err)
		}
	})
	return b
}

// socketpair makes two connected non-blocking stream sockets, closed when the test
// ends. It comes before newBase in a test, so that the base is closed first.
func socketpair(t testing.TB) [2]int {
	t.Helper()
	p, err := syscall.Socketpair(syscall.AF_UNIX,
		syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(p[0])
		_ = syscall.Close(p[1])
	})
	return p
}

// closeSocket closes the socket of fd and keeps the number for the test, whose cleanup
// would otherwise close somebody else's descriptor.
func closeSocket(t testing.TB, fd int) {
	t.Helper()
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer syscall.Close(null)
	if err := syscall.Dup3(null, fd, syscall.O_CLOEXEC); err != nil {
		t.Error(err)
	}
}

// useAgain closes the socket of fd and gives the number to a new one, which is connected
// with peer, the caller's.
func useAgain(t testing.TB, fd int) (peer int) {
	t.Helper()
	p, err := syscall.Socketpair(syscall.AF_UNIX,
		syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(syscall.Dup3(p[0], fd, syscall.O_CLOEXEC), syscall.Close(p[0]))
	}
	if err != nil {
		t.Error(err)
	}
	return p[1]
}

// send writes all of s to fd, which must have room for it.
func send(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := syscall.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Errorf("write of %d bytes: %d, %v", len(s), n, err)
	}
}

// fill writes to fd until it has no more room.
func fill(fd int) {
	for {
		if _, err := syscall.Write(fd, make([]byte, 4096)); err != nil {
			return
		}
	}
}

// drain reads all that is waiting in fd.
func drain(fd int) string {
	var s []byte
	var buf [4096]byte
	for {
		n, err := syscall.Read(fd, buf[:])
		if err != nil || n == 0 {
			return string(s)
		}
		s = append(s, buf[:n]...)
	}
}

// guard stops b, and fails the test, if the result is not called in guardTime.
func guard(t testing.TB, b *libevent.Base) (done func()) {
	timer := time.AfterFunc(guardTime, func() {
		t.Error("the loop does not end")
		_ = b.Stop()
	})
	return func() { timer.Stop() }
}

// loop is b.Loop under a guard.
func loop(t testing.TB, b *libevent.Base, flags libevent.LoopFlags) error {
	defer guard(t, b)()
	return b.Loop(flags)
}

// dispatch runs b's loop until it ends by itself, which it must.
func dispatch(t testing.TB, b *libevent.Base) {
	t.Helper()
	defer guard(t, b)()
	if err := b.Dispatch(); err != nil {
		t.Fatal(err)
	}
}

// background runs b's loop on a goroutine of its own until the result is called,
// which a cleanup also does. The loop waits for events that have yet to be made.
func background(t testing.TB, b *libevent.Base) (stop func()) {
	ended := make(chan error, 1)
	go func() { ended <- b.Loop(libevent.EVLOOP_NO_EXIT_ON_EMPTY) }()
	stop = sync.OnceFunc(func() {
		defer guard(t, b)()
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	// Nobody's Stop comes before the loop has begun.
	wait(t, "the loop to start", onLoop(t, b, func() {}))
	return stop
}

// onLoop posts fn and returns a channel that is closed when it has run.
func onLoop(t testing.TB, b *libevent.Base, fn func()) <-chan struct{} {
	ran := make(chan struct{})
	if err := b.Post(func() { defer close(ran); fn() }); err != nil {
		t.Error(err)
	}
	return ran
}

// wait waits for a channel, at most guardTime.
func wait[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(guardTime):
		t.Fatal("waited in vain for ", what)
	}
	return v
}

// endsInGoexit is called first by a test that leaves a callback by a Goexit: nothing frees
// what that was in. The address sanitizer takes the stack of C that is left behind for one that is still in use.
func endsInGoexit(t testing.TB) {
	t.Helper()
	if asanEnabled {
		t.Skip("not with the address sanitizer")
	}
	t.Cleanup(ctest.Forgive())
}

// isErrno fails the test unless err is an *Error whose reason is errno.
func isErrno(t testing.TB, err error, errno error) {
	t.Helper()
	var e *libevent.Error
	if !errors.As(err, &e) || !errors.Is(err, errno) {
		t.Errorf("error %v (%T), want %v", err, err, errno)
	}
}

// needsBlocking skips a test that gives libevent a descriptor in blocking mode, where
// that would end the process.
func needsBlocking(t testing.TB) {
	t.Helper()
	if os.Getenv(debugModeVariable) != "" {
		t.Skip("in debug mode libevent aborts on a blocking descriptor")
	}
}

// leave is a callback that ends its event.
func leave(events) (events, time.Duration) { return libevent.LEAVE, 0 }

// keep is a callback that changes nothing.
func keep(events) (events, time.Duration) { return 0, 0 }

// backends are the kinds of base that most behaviour is the same on.
var backends = []struct {
	name string
	cfg  libevent.Config
}{
	{"epoll", libevent.Config{Avoid: []string{"poll", "select"}}},
	{"poll", libevent.Config{Avoid: []string{"epoll", "select"}}},
	{"select", libevent.Config{Avoid: []string{"epoll", "poll"}}},
	{"changelist", libevent.Config{
		Avoid: []string{"poll", "select"},
		Flags: libevent.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST,
	}},
	{"precise", libevent.Config{Flags: libevent.EVENT_BASE_FLAG_PRECISE_TIMER}},
	{"nolock", libevent.Config{Flags: libevent.EVENT_BASE_FLAG_NOLOCK}},
}

// onlyMethod is the configuration of a base with one backend, whatever the environment
// says.
func onlyMethod(name string) *libevent.Config {
	return &libevent.Config{
		Avoid: slices.DeleteFunc(libevent.SupportedMethods(), func(method string) bool {
			return method == name
		}),
		Flags: libevent.EVENT_BASE_FLAG_IGNORE_ENV,
	}
}

// usesChangelist reports whether b finds out about a refused descriptor in its loop only.
func usesChangelist(b *libevent.Base) bool {
	return b.Method() == "epoll (with changelist)"
}

// forEachBackend runs fn with a configuration for each backend of the system and each
// flag that changes how the loop works.
func forEachBackend(t *testing.T, fn func(t *testing.T, cfg *libevent.Config)) {
	for _, backend := range backends {
		supported := libevent.SupportedMethods()
		if len(backend.cfg.Avoid) > 0 {
			supported = slices.DeleteFunc(supported, func(name string) bool {
				return slices.Contains(backend.cfg.Avoid, name)
			})
		}
		if len(supported) == 0 {
			continue
		}
		cfg := backend.cfg
		if len(cfg.Avoid) > 0 {
			// The environment must not take away what is left.
			cfg.Flags |= libevent.EVENT_BASE_FLAG_IGNORE_ENV
		}
		t.Run(backend.name, func(t *testing.T) { fn(t, &cfg) })
	}
}

// openFiles counts the process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc/self/fd: ", err)
	}
	return len(entries)
}

// Upstream: main/version
func TestVersionsAgree(t *testing.T) {
	if v := libevent.Version(); !regexp.MustCompile(`^2\.\d+\.\d+`).MatchString(v) {
		t.Errorf("Version is %q", v)
	}
	var major, minor, patch uint32
	if _, err := fmt.Sscanf(libevent.Version(), "%d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatal(err)
	}
	if got, want := libevent.VersionNumber()>>8, major<<16|minor<<8|patch; got != want {
		t.Errorf("VersionNumber is %#x, want %#x for %s", got, want, libevent.Version())
	}
	if libevent.HeaderVersion() != libevent.Version() {
		t.Errorf("built with %s, runs with %s", libevent.HeaderVersion(), libevent.Version())
	}
}

// Upstream: main/methods
func TestSupportedMethodsCanBeAvoided(t *testing.T) {
	methods := libevent.SupportedMethods()
	if len(methods) == 0 {
		t.Fatal("no methods")
	}
	anyMethod := &libevent.Config{Flags: libevent.EVENT_BASE_FLAG_IGNORE_ENV}
	first := newBaseWith(t, anyMethod).Method()
	if !slices.Contains(methods, first) {
		t.Errorf("%q is not among %q", first, methods)
	}
	if len(methods) > 1 {
		second := newBaseWith(t, onlyMethod(methods[1])).Method()
		if second == first || !slices.Contains(methods, second) {
			t.Errorf("%q although %q is avoided", second, first)
		}
	}
	_, err := libevent.NewWithConfig(&libevent.Config{Avoid: methods})
	if err == nil || errors.As(err, new(syscall.Errno)) {
		t.Errorf("with every method avoided: %v", err)
	}
}

// libevent keeps the list of its methods, and frees it when it is asked again.
func TestSupportedMethodsAmongGoroutines(t *testing.T) {
	want := libevent.SupportedMethods()
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range rounds(20_000) {
				if got := libevent.SupportedMethods(); !slices.Equal(got, want) {
					t.Errorf("%q, want %q", got, want)
					return
				}
			}
		}()
	}
	wg.Wait()
}

// Whatever is done with what no function of the package has made, the process goes on. The
// zero Base and the zero FileSegment say that they are closed.
func TestZeroValues(t *testing.T) {
	plausible := map[reflect.Type]any{
		reflect.TypeFor[context.Context]():        context.Background(),
		reflect.TypeFor[io.Reader]():              strings.NewReader("x"),
		reflect.TypeFor[io.Writer]():              io.Discard,
		reflect.TypeFor[netip.AddrPort]():         netip.MustParseAddrPort("127.0.0.1:1"),
		reflect.TypeFor[*libevent.Base]():         new(libevent.Base),
		reflect.TypeFor[*libevent.Buffer]():       newBuffer(t, "x"),
		reflect.TypeFor[*libevent.FileSegment]():  new(libevent.FileSegment),
		reflect.TypeFor[libevent.Events]():        libevent.EV_READ,
		reflect.TypeFor[libevent.BufferEvents]():  libevent.BEV_EVENT_EOF,
		reflect.TypeFor[libevent.BufferFlags]():   libevent.EVBUFFER_FLAG_DRAINS_TO_FD,
		reflect.TypeFor[int]():                    1,
		reflect.TypeFor[[]byte]():                 []byte("x"),
		reflect.TypeFor[string]():                 "x",
		reflect.TypeFor[time.Duration]():          time.Second,
		reflect.TypeFor[libevent.EventCallback](): libevent.EventCallback(keep),
	}
	argument := func(of reflect.Type) reflect.Value {
		if arg, ok := plausible[of]; ok {
			return reflect.ValueOf(arg)
		}
		if of.Kind() == reflect.Func {
			return reflect.MakeFunc(of, func([]reflect.Value) (out []reflect.Value) {
				for i := range of.NumOut() {
					out = append(out, reflect.Zero(of.Out(i)))
				}
				return out
			})
		}
		return reflect.Zero(of)
	}
	for _, object := range []any{
		new(libevent.Base), new(libevent.Event), new(libevent.Buffer), new(libevent.BufferCallback),
		new(libevent.BufferEvent), new(libevent.FileSegment), new(libevent.Listener),
		new(libevent.MonotonicTimer), new(libevent.RateLimitGroup), new(libevent.Watcher),
	} {
		v := reflect.ValueOf(object)
		for i := range v.NumMethod() {
			for _, argument := range []func(reflect.Type) reflect.Value{reflect.Zero, argument} {
				m := v.Method(i)
				var args []reflect.Value
				for i := range m.Type().NumIn() {
					args = append(args, argument(m.Type().In(i)))
				}
				func() {
					defer func() { _ = recover() }() // of a nil pointer in Go
					call := m.Call
					if m.Type().IsVariadic() {
						call = m.CallSlice
					}
					call(args)
				}()
			}
		}
	}
	var b libevent.Base
	isErrno(t, b.Dispatch(), libevent.ErrClosed)
	must(t, b.Close())
	var seg libevent.FileSegment
	isErrno(t, newBuffer(t).AddFileSegment(&seg, 0, -1), libevent.ErrClosed)
	must(t, seg.Close())
}
