package libevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// filterNew makes a filter, which the base frees.
func filterNew(t testing.TB, bev *libevent.BufferEvent, input, output libevent.Filter, options libevent.BufferEventOptions) *libevent.BufferEvent {
	t.Helper()
	f, err := bev.NewFilter(input, output, options)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// filterPass moves everything that it may.
func filterPass(src, dst *libevent.Buffer, limit int, _ libevent.FlushMode) libevent.FilterResult {
	if limit < 0 {
		limit = src.Len()
	}
	if _, err := src.RemoveBuffer(dst, limit); err != nil {
		return libevent.BEV_ERROR
	}
	return libevent.BEV_OK
}

// filterNothing moves nothing.
func filterNothing(*libevent.Buffer, *libevent.Buffer, int, libevent.FlushMode) libevent.FilterResult {
	return libevent.BEV_NEED_MORE
}

// filterWiden puts an x before every byte.
func filterWiden(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
	for _, c := range src.Bytes() {
		if _, err := dst.Write([]byte{'x', c}); err != nil {
			return libevent.BEV_ERROR
		}
	}
	if src.Drain(src.Len()) != nil {
		return libevent.BEV_ERROR
	}
	return libevent.BEV_OK
}

// filterNarrow takes the x before every byte away, and waits for the byte.
func filterNarrow(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
	var two [2]byte
	if src.Len() < len(two) {
		return libevent.BEV_NEED_MORE
	}
	for src.Len() >= len(two) {
		if _, err := src.Read(two[:]); err != nil || two[0] != 'x' {
			return libevent.BEV_ERROR
		}
		if dst.WriteByte(two[1]) != nil {
			return libevent.BEV_ERROR
		}
	}
	return libevent.BEV_OK
}

// filterUnder are what a filter can be on top of.
var filterUnder = []struct {
	name string
	two  func(testing.TB, *libevent.Base, libevent.BufferEventOptions) (first, second *libevent.BufferEvent)
}{
	{"socket", func(t testing.TB, b *libevent.Base, options libevent.BufferEventOptions) (first, second *libevent.BufferEvent) {
		return bevTwo(t, b, false, options)
	}},
	{"pair", func(t testing.TB, b *libevent.Base, options libevent.BufferEventOptions) (first, second *libevent.BufferEvent) {
		return bevTwo(t, b, true, options)
	}},
	{"filter", func(t testing.TB, b *libevent.Base, options libevent.BufferEventOptions) (first, second *libevent.BufferEvent) {
		first, second = bevTwo(t, b, false, options)
		return filterNew(t, first, nil, nil, options|bevOwn), filterNew(t, second, filterPass, filterPass, options|bevOwn)
	}},
}

// filterEverywhere runs fn over all of filterUnder, with all options that a filter can have
// there.
func filterEverywhere(t *testing.T, fn func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions)) {
	t.Helper()
	for _, under := range filterUnder {
		for _, options := range bevOptions {
			if options&bevThreadsafe != 0 && options != fromAnywhere {
				continue
			}
			t.Run(under.name+"/"+options.String(), func(t *testing.T) {
				b := bevBase(t)
				first, second := under.two(t, b, options)
				fn(t, b, first, second, options)
			})
		}
	}
}

// What is written through one filter is read through another. What the output filter
// writes to its own filter does not call it a second time meanwhile.
//
// Upstream: bufferevent/bufferevent_filters
// Upstream: bufferevent/bufferevent_pair_filters
// Upstream: bufferevent/bufferevent_filters_disable
// Upstream: bufferevent/bufferevent_pair_filters_disable
func TestFilterTransfer(t *testing.T) {
	for _, writes := range []bool{false, true} {
		filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
			data := bevBytes(8333)
			var left *libevent.BufferEvent
			inside, calls := false, 0
			left = filterNew(t, first, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
				if inside || limit != -1 || mode != libevent.BEV_NORMAL {
					t.Errorf("inside %v, limit %d, mode %v", inside, limit, mode)
				}
				inside = true
				defer func() { inside = false }()
				if calls++; writes && calls == 1 {
					if _, err := left.WriteString("!"); err != nil {
						t.Error(err)
					}
				}
				return filterWiden(src, dst, limit, mode)
			}, options|bevOwn)
			right := filterNew(t, second, filterNarrow, nil, options|bevOwn)
			if left.Underlying() != first || right.Underlying() != second {
				t.Errorf("underlying: %p of %p, %p of %p", left.Underlying(), first, right.Underlying(), second)
			}
			if left.FD() != first.FD() || left.Base() != b || left.Partner() != nil {
				t.Errorf("FD %d, want %d; base %p, want %p; partner %p", left.FD(), first.FD(), left.Base(), b, left.Partner())
			}
			if left.Enabled() != libevent.EV_WRITE || first.Enabled() != bevRW {
				t.Errorf("enabled: %v, underneath %v", left.Enabled(), first.Enabled())
			}
			want := len(data)
			if writes {
				want++
			}
			written := false
			var got []byte
			left.SetCallbacks(nil, func(bev *libevent.BufferEvent) { written = written || bev.Output().Len() == 0 }, nil)
			right.SetCallbacks(func(bev *libevent.BufferEvent) {
				if bev != right {
					t.Error("the callback gets another BufferEvent")
				}
				if got = append(got, bevRead(t, bev)...); len(got) == want {
					bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
				}
			}, nil, nil)
			bevCheck(t, "Enable", right.Enable(libevent.EV_READ), nil)
			if n, err := left.Write(data); n != len(data) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			bevRun(t, b)
			if len(got) != want || !bytes.Equal(got[:len(data)], data) || !written {
				t.Errorf("%d bytes read, want %d; written %v", len(got), want, written)
			}
		})
	}
}

// A filter can be made, and go, before there is a descriptor.
//
// Upstream: bufferevent/bufferevent_socket_filter_inactive
func TestFilterWithoutDescriptor(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	f := filterNew(t, bev, nil, nil, 0)
	if f.FD() != -1 {
		t.Errorf("FD is %d", f.FD())
	}
	one, two := bevSockets(t)
	defer syscall.Close(one)
	defer syscall.Close(two)
	bevCheck(t, "SetFD", f.SetFD(one), nil)
	if f.FD() != one || bev.FD() != one {
		t.Errorf("FD is %d, underneath %d, want %d", f.FD(), bev.FD(), one)
	}
	bevCheck(t, "SetFD", f.SetFD(-1), nil)
	bevCheck(t, "Close", f.Close(), nil)
	bevCheck(t, "Close", bev.Close(), nil)
}

// What the high watermark has left underneath comes when there is room.
//
// Upstream: bufferevent/bufferevent_filter_data_stuck
func TestFilterDataIsNotStuck(t *testing.T) {
	const high, header = 4096, 20
	for _, options := range []libevent.BufferEventOptions{0, bevDefer} {
		b := bevBase(t)
		first, second := bevTwo(t, b, true, options)
		for _, bev := range []*libevent.BufferEvent{first, second} {
			bevCheck(t, "SetWatermark", bev.SetWatermark(libevent.EV_READ, 0, high), nil)
		}
		inserted := false
		f := filterNew(t, second, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
			if limit < 1 || limit > high {
				t.Errorf("limit %d", limit)
			}
			if !inserted {
				inserted = true
				if _, err := dst.Write(make([]byte, header)); err != nil {
					t.Error(err)
				}
				limit -= header
			}
			return filterPass(src, dst, limit, mode)
		}, nil, options|bevOwn)
		total := 0
		f.SetCallbacks(func(bev *libevent.BufferEvent) { total += len(bevRead(t, bev)) }, nil, nil)
		bevCheck(t, "Enable", f.Enable(bevRW), nil)
		bevCheck(t, "SetWatermark", f.SetWatermark(libevent.EV_READ, 0, high), nil)
		if _, err := first.Write(make([]byte, high)); err != nil {
			t.Error(err)
		}
		bevRun(t, b)
		if total != high+header {
			t.Errorf("%v: %d bytes, want %d", options, total, high+header)
		}
	}
}

// The timeouts of a filter are its own: each comes once and disables what it is for. The
// write timeout counts from the last time that something went through.
//
// Upstream: bufferevent/bufferevent_timeout_filter
// Upstream: bufferevent/bufferevent_timeout_filter_pair
func TestFilterTimeouts(t *testing.T) {
	const wait = 30 * time.Millisecond
	filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
		f := filterNew(t, first, nil, nil, options|bevOwn)
		var happened []libevent.BufferEvents
		start := time.Now()
		f.SetCallbacks(nil, nil, func(bev *libevent.BufferEvent, what libevent.BufferEvents) {
			happened = append(happened, what)
			if d := time.Since(start); d < wait-10*time.Millisecond {
				t.Errorf("%v after %v", what, d)
			}
			bevCheck(t, "Err", bev.Err(), syscall.ETIMEDOUT)
			if len(happened) > 1 { // there is no third
				bevCheck(t, "LoopExit", b.LoopExit(2*wait), nil)
				return
			}
			bevCheck(t, "UpdateCachedTime", b.UpdateCachedTime(), nil)
			start = time.Now()
			bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		})
		bevCheck(t, "SetTimeouts", f.SetTimeouts(wait, wait), nil)
		if _, err := f.WriteString("nobody reads this"); err != nil {
			t.Error(err)
		}
		bevCheck(t, "Disable", second.Disable(libevent.EV_READ), nil)
		bevRun(t, b)
		if want := []libevent.BufferEvents{0x42, 0x41}; !slices.Equal(happened, want) || f.Enabled() != 0 {
			t.Errorf("%v, want %v; enabled %v", happened, want, f.Enabled())
		}
	})
}

// Afterwards the buffers that a filter was given are of no use.
func TestFilterBuffersAreBorrowed(t *testing.T) {
	b := bevBase(t)
	first, _ := bevTwo(t, b, true, 0)
	var src, dst *libevent.Buffer
	f := filterNew(t, first, nil, func(s, d *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
		src, dst = s, d
		bevCheck(t, "AddBuffer of the buffer itself", s.AddBuffer(src), syscall.EINVAL)
		return filterPass(s, d, limit, mode)
	}, 0)
	if _, err := f.WriteString("through"); err != nil {
		t.Fatal(err)
	}
	for name, buf := range map[string]*libevent.Buffer{"src": src, "dst": dst} {
		_, err := buf.Write([]byte("late"))
		bevCheck(t, "Write to "+name, err, libevent.ErrClosed)
		bevCheck(t, "Drain of "+name, buf.Drain(1), libevent.ErrClosed)
		bevCheck(t, "Close of "+name, buf.Close(), nil)
		if buf.Len() != 0 || buf.Peek() != nil || buf.Pointer() != nil {
			t.Errorf("%s has something", name)
		}
	}
	if first.Output().Len() != 7 {
		t.Errorf("%d bytes underneath", first.Output().Len())
	}
}

// Closing a borrowed buffer takes it from the filter and nobody else.
func TestFilterClosesBorrowedBuffers(t *testing.T) {
	b := bevBase(t)
	first, _ := bevTwo(t, b, true, 0)
	f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
		result := filterPass(src, dst, limit, mode)
		bevCheck(t, "Close", errors.Join(src.Close(), dst.Close()), nil)
		return result
	}, 0)
	if _, err := f.WriteString("through"); err != nil {
		t.Fatal(err)
	}
	if first.Output().Len() != 7 || f.Output().Len() != 0 {
		t.Errorf("%d bytes underneath, %d above", first.Output().Len(), f.Output().Len())
	}
}

// What a filter returns decides what becomes of the rest. None of it is called without end.
func TestFilterResults(t *testing.T) {
	for _, tt := range []struct {
		result libevent.FilterResult
		moves  int // bytes a call
		calls  int
		left   int
	}{
		{libevent.BEV_OK, 10, 1, 0},
		{libevent.BEV_OK, 3, 4, 0},
		{libevent.BEV_OK, 0, 1, 10},
		{libevent.BEV_NEED_MORE, 3, 1, 7},
		{libevent.BEV_ERROR, 0, 1, 10},
		{libevent.BEV_ERROR, 3, 1, 7},
		{7, 3, 1, 7},
		{-1, 0, 1, 10},
	} {
		t.Run(fmt.Sprintf("%v/%d", tt.result, tt.moves), func(t *testing.T) {
			b := bevBase(t)
			first, second := bevTwo(t, b, true, 0)
			calls := 0
			fn := func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
				calls++
				if _, err := src.RemoveBuffer(dst, tt.moves); err != nil {
					t.Error(err)
				}
				return tt.result
			}
			out := filterNew(t, first, nil, fn, 0)
			if _, err := out.WriteString("0123456789"); err != nil {
				t.Error(err)
			}
			if calls != tt.calls || out.Output().Len() != tt.left {
				t.Errorf("output: %d calls, %d bytes left, want %d, %d", calls, out.Output().Len(), tt.calls, tt.left)
			}
			bevCheck(t, "Close", out.Close(), nil)
			bevRun(t, b)

			calls = 0
			in := filterNew(t, second, fn, nil, 0)
			if _, err := first.WriteString("0123456789"[:10-second.Input().Len()]); err != nil {
				t.Error(err)
			}
			bevCheck(t, "Enable", in.Enable(libevent.EV_READ), nil)
			bevRun(t, b)
			if calls != tt.calls || second.Input().Len() != tt.left {
				t.Errorf("input: %d calls, %d bytes left, want %d, %d", calls, second.Input().Len(), tt.calls, tt.left)
			}
		})
	}
}

// Flush tells the filter its mode, and calls it even when there is nothing, but for
// BEV_NORMAL. It flushes what is underneath too, and does not call the read callback.
func TestFilterFlush(t *testing.T) {
	for _, mode := range []libevent.FlushMode{libevent.BEV_NORMAL, libevent.BEV_FLUSH, libevent.BEV_FINISHED} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/full=%v", mode, full), func(t *testing.T) {
				b := bevBase(t)
				first, second := bevTwo(t, b, true, 0)
				var log []string
				fn := func(name string) libevent.Filter {
					return func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
						log = append(log, fmt.Sprint(name, src.Len(), mode))
						return filterPass(src, dst, limit, mode)
					}
				}
				f := filterNew(t, first, fn("in"), fn("out"), 0)
				f.SetCallbacks(func(*libevent.BufferEvent) { t.Error("the read callback is called") }, nil, nil)
				bevCheck(t, "Disable", f.Disable(bevRW), nil)
				if full {
					if _, err := f.WriteString("abc"); err != nil {
						t.Error(err)
					}
					if _, err := second.WriteString("abcd"); err != nil {
						t.Error(err)
					}
					// It comes to the input underneath, whether the filter reads or not.
					bevCheck(t, "Flush", second.Flush(libevent.EV_WRITE, libevent.BEV_FLUSH), nil)
					log = nil
				}
				var happened libevent.BufferEvents
				second.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { happened |= what })
				bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
				bevCheck(t, "Flush", f.Flush(bevRW, mode), nil)
				var want []string
				in, out := 0, 0
				if full {
					in, out = 4, 3
				}
				if mode != libevent.BEV_NORMAL {
					want = []string{fmt.Sprint("in", in, mode), fmt.Sprint("out", out, mode)}
				}
				if !slices.Equal(log, want) {
					t.Errorf("%v, want %v", log, want)
				}
				bevRun(t, b)
				if eof := happened&libevent.BEV_EVENT_EOF != 0; eof != (mode == libevent.BEV_FINISHED) {
					t.Errorf("the partner is told %v", happened)
				}
				if got := second.Input().Len(); mode != libevent.BEV_NORMAL && got != out {
					t.Errorf("the partner has %d bytes, want %d", got, out)
				}
			})
		}
	}
}

// What was written while EV_WRITE was disabled waits for the next Write or Flush, and what
// has come while EV_READ was, for more to come, as in C.
func TestFilterDisabled(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, true, 0)
	f := filterNew(t, first, filterPass, filterPass, 0)
	bevCheck(t, "Disable", f.Disable(libevent.EV_WRITE), nil)
	write := func() {
		t.Helper()
		if _, err := f.WriteString("ab"); err != nil {
			t.Error(err)
		}
	}
	check := func(what string, above, underneath int) {
		t.Helper()
		if a, u := f.Output().Len(), first.Output().Len(); a != above || u != underneath {
			t.Errorf("%s: %d bytes above, %d underneath, want %d, %d", what, a, u, above, underneath)
		}
	}
	write()
	check("disabled", 2, 0)
	bevCheck(t, "Enable", f.Enable(libevent.EV_WRITE), nil)
	check("enabled", 2, 0)
	bevCheck(t, "Flush", f.Flush(libevent.EV_WRITE, libevent.BEV_NORMAL), nil)
	check("flushed", 0, 2)
	bevCheck(t, "Close", second.Close(), nil)
}

// The high watermark underneath holds what is written back, and the limit says how much
// there is room for.
func TestFilterWriteWatermark(t *testing.T) {
	const high = 10
	b := bevBase(t)
	first, second := bevTwo(t, b, false, 0)
	bevCheck(t, "SetWatermark", first.SetWatermark(libevent.EV_WRITE, 0, high), nil)
	f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
		if limit < 1 || limit > high {
			t.Errorf("limit %d", limit)
		}
		result := filterPass(src, dst, limit, mode)
		if first.Output().Len() > high {
			t.Errorf("%d bytes underneath", first.Output().Len())
		}
		return result
	}, bevOwn)
	data := bevBytes(1000)
	var got []byte
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		if got = append(got, bevRead(t, bev)...); len(got) == len(data) {
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}
	}, nil, nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	if _, err := f.Write(data); err != nil {
		t.Error(err)
	}
	if first.Output().Len() != high || f.Output().Len() != len(data)-high {
		t.Errorf("%d bytes underneath, %d above", first.Output().Len(), f.Output().Len())
	}
	bevRun(t, b)
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes read", len(got))
	}
}

// The watermarks of the filter's input: no call sees more than the high one, and no
// callback fewer than the low one.
func TestFilterReadWatermarks(t *testing.T) {
	filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
		const low, high, total = 2, 20, 5000
		f := filterNew(t, second, filterPass, nil, options|bevOwn)
		bevCheck(t, "SetWatermark", f.SetWatermark(libevent.EV_READ, low, high), nil)
		got := 0
		f.SetCallbacks(func(bev *libevent.BufferEvent) {
			n := bev.Input().Len()
			if n < low || n > high {
				t.Errorf("%d bytes", n)
			}
			if got += n; got == total {
				bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
			}
			bevCheck(t, "Drain", bev.Input().Drain(n), nil)
		}, nil, nil)
		bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
		if _, err := first.Write(make([]byte, total)); err != nil {
			t.Error(err)
		}
		bevRun(t, b)
		if got != total {
			t.Errorf("%d bytes", got)
		}
	})
}

// A filter that asks for itself while it runs is not called again, and the C stack stays
// within its bounds.
func TestFilterCallsItself(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, true, 0)
	var f *libevent.BufferEvent
	calls := 0
	fn := func(events libevent.Events) libevent.Filter {
		inside := false
		return func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
			if inside {
				t.Errorf("%v: called while it runs", events)
				return libevent.BEV_ERROR
			}
			inside = true
			defer func() { inside = false }()
			// The pair comes back to it from the loop.
			if calls++; calls < 100 {
				bevCheck(t, "Flush", f.Flush(events, libevent.BEV_FLUSH), nil)
			}
			return filterPass(src, dst, limit, mode)
		}
	}
	f = filterNew(t, first, fn(libevent.EV_READ), fn(libevent.EV_WRITE), 0)
	bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
	if _, err := f.WriteString("a"); err != nil {
		t.Error(err)
	}
	if _, err := second.WriteString("b"); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	if calls < 2 || f.Input().Len() != 1 {
		t.Errorf("%d calls, %d bytes", calls, f.Input().Len())
	}
}

// filterPanics are what calls an output filter.
var filterPanics = []struct {
	name string
	call func(f *libevent.BufferEvent) error
}{
	{"Write", func(f *libevent.BufferEvent) error { _, err := f.WriteString("x"); return err }},
	{"Output.Write", func(f *libevent.BufferEvent) error { _, err := f.Output().WriteString("x"); return err }},
	{"Output.AddReference", func(f *libevent.BufferEvent) error { return f.Output().AddReference([]byte("x"), nil) }},
	{"Output.Commit", func(f *libevent.BufferEvent) error {
		room, err := f.Output().Reserve(1, 1)
		if err != nil {
			return err
		}
		room[0][0] = 'x'
		return f.Output().Commit(1)
	}},
	{"Flush", func(f *libevent.BufferEvent) error { return f.Flush(libevent.EV_WRITE, libevent.BEV_FLUSH) }},
}

// A panic in a filter comes out of the method that has called it, and in the loop out of
// Dispatch. The filter stays, and what it has not moved.
func TestFilterPanic(t *testing.T) {
	for _, tt := range filterPanics {
		filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
			calls := 0
			f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
				if calls++; calls <= 2 {
					panic(io.ErrNoProgress)
				}
				return filterPass(src, dst, limit, mode)
			}, options|bevOwn)
			p := bevPanic(func() { _ = tt.call(f) })
			if p == nil || p.Value != io.ErrNoProgress || !bytes.Contains(p.Stack, []byte("TestFilterPanic")) {
				t.Errorf("%s: %v", tt.name, p)
			}
			if err := b.Err(); err != nil {
				t.Errorf("%s: left for the loop: %v", tt.name, err)
			}
			bevCheck(t, "Post", b.Post(func() {
				if p := bevPanic(func() { _ = tt.call(f) }); p != nil {
					t.Errorf("%s: in the loop: %v", tt.name, p)
				}
			}), nil)
			if p := bevPanic(func() { bevRun(t, b) }); p == nil || p.Value != io.ErrNoProgress {
				t.Errorf("%s: in the loop: %v", tt.name, p)
			}
			bevCheck(t, tt.name, tt.call(f), nil)
			if calls != 3 || f.Output().Len() != 0 || libevent.LivePanics() != 0 {
				t.Errorf("%s: %d calls, %d bytes left, %d panics", tt.name, calls, f.Output().Len(), libevent.LivePanics())
			}
			bevCheck(t, "Close", second.Close(), nil)
		})
	}
}

// A panic in an input filter, which the loop calls, and one in a callback that draining
// calls outside it.
func TestFilterPanicWhileReading(t *testing.T) {
	filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
		const high = 4
		calls := 0
		f := filterNew(t, second, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
			if calls++; calls == 1 || calls == 3 {
				panic(fmt.Sprint("call ", calls))
			}
			return filterPass(src, dst, limit, mode)
		}, nil, options|bevOwn)
		bevCheck(t, "SetWatermark", f.SetWatermark(libevent.EV_READ, 0, high), nil)
		bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
		if _, err := first.WriteString("0123456789"); err != nil {
			t.Error(err)
		}
		if p := bevPanic(func() { bevRun(t, b) }); p == nil || p.Value != "call 1" {
			t.Errorf("%v", p)
		}
		// What has come waits for more.
		if _, err := first.WriteString("more"); err != nil {
			t.Error(err)
		}
		for calls < 2 {
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
		}
		if f.Input().Len() != high {
			t.Fatalf("%d bytes", f.Input().Len())
		}
		if p := bevPanic(func() { _ = f.Input().Drain(high) }); p == nil || p.Value != "call 3" {
			t.Errorf("%v", p)
		}
		if libevent.LivePanics() != 0 {
			t.Errorf("%d panics left", libevent.LivePanics())
		}
	})
}

// A Goexit in a filter breaks the base.
func TestFilterGoexit(t *testing.T) {
	endsInGoexit(t)
	for _, tt := range filterPanics {
		b, err := libevent.New()
		if err != nil {
			t.Fatal(err)
		}
		first, second := bevTwo(t, b, true, 0)
		f := filterNew(t, first, nil, func(*libevent.Buffer, *libevent.Buffer, int, libevent.FlushMode) libevent.FilterResult {
			runtime.Goexit()
			return libevent.BEV_OK
		}, 0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = tt.call(f)
			t.Error("the goroutine goes on")
		}()
		<-done
		_, err = f.WriteString("x")
		bevCheck(t, "Write", err, libevent.ErrBroken)
		bevCheck(t, "Close", f.Close(), libevent.ErrBroken)
		_, err = second.NewFilter(nil, nil, 0)
		bevCheck(t, "NewFilter", err, libevent.ErrBroken)
		bevCheck(t, "Close of the base", b.Close(), libevent.ErrBroken)
		for _, bev := range []*libevent.BufferEvent{first, second, f} {
			libevent.AbandonBufferEvent(bev)
		}
	}
}

// filterCloses are ways to close a filter while it is in use.
var filterCloses = []struct {
	name  string
	close func(f, under *libevent.BufferEvent) error
	under bool // what is underneath is closed too
}{
	{"filter", func(f, _ *libevent.BufferEvent) error { return f.Close() }, false},
	{"underneath", func(_, under *libevent.BufferEvent) error { return under.Close() }, true},
	{"both", func(f, under *libevent.BufferEvent) error { return errors.Join(f.Close(), under.Close()) }, true},
	{"both, the other way", func(f, under *libevent.BufferEvent) error { return errors.Join(under.Close(), f.Close()) }, true},
}

// Closed in a filter or in a callback, nothing more of it comes, whatever is closed.
func TestFilterCloseInside(t *testing.T) {
	for _, tt := range filterCloses {
		for _, own := range []libevent.BufferEventOptions{0, bevOwn} {
			for _, where := range []string{"in", "out", "read", "write", "event"} {
				t.Run(fmt.Sprintf("%s/%v/%s", tt.name, own, where), func(t *testing.T) {
					filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
						var f *libevent.BufferEvent
						closed := false
						reached := func(here string) {
							if closed {
								t.Errorf("%s comes after Close", here)
							}
							if here == where {
								closed = true
								bevCheck(t, "Close", tt.close(f, first), nil)
								_, err := f.WriteString("after Close")
								bevCheck(t, "Write", err, libevent.ErrClosed)
							}
						}
						pass := func(here string) libevent.Filter {
							return func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
								reached(here)
								// What was lent stays good until here.
								return filterPass(src, dst, min(1, src.Len()), mode)
							}
						}
						f = filterNew(t, first, pass("in"), pass("out"), options|own)
						f.SetCallbacks(func(*libevent.BufferEvent) { reached("read") },
							func(*libevent.BufferEvent) { reached("write") },
							func(*libevent.BufferEvent, libevent.BufferEvents) { reached("event") })
						bevCheck(t, "Enable", f.Enable(bevRW), nil)
						_, _ = f.WriteString("one way")
						_, _ = second.WriteString("and the other")
						if !closed {
							_ = f.TriggerEvent(libevent.BEV_EVENT_EOF, libevent.BEV_TRIG_DEFER_CALLBACKS)
						}
						for range 4 {
							bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
						}
						if !closed {
							t.Fatal("never closed")
						}
						bevCheck(t, "underneath", first.Enable(libevent.EV_WRITE),
							map[bool]error{true: libevent.ErrClosed}[tt.under || own != 0])
						if f.Underlying() != nil || f.FD() != -1 {
							t.Errorf("underlying %p, FD %d", f.Underlying(), f.FD())
						}
					})
				})
			}
		}
	}
}

// RemoveBuffer into a filter's output runs that filter, which may change what the bytes
// come from.
func TestFilterRemoveBufferInside(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, true, 0)
	var top *libevent.BufferEvent
	lower := filterNew(t, first, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		bevCheck(t, "Drain", top.Output().Drain(top.Output().Len()), nil)
		bevCheck(t, "AddBuffer", dst.AddBuffer(src), nil)
		return libevent.BEV_OK
	}, 0)
	top = filterNew(t, lower, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		n, err := src.RemoveBuffer(dst, 5000)
		bevCheck(t, "RemoveBuffer", err, nil)
		if n != 5000 || src.Len() != 0 {
			t.Errorf("%d bytes are moved, %d left of what was drained", n, src.Len())
		}
		return libevent.BEV_OK
	}, 0)
	want := bevBytes(10000)
	_, err := top.Write(want)
	bevCheck(t, "Write", err, nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
	if got := bevRead(t, second); !bytes.Equal(got, want[:5000]) {
		t.Errorf("%d other bytes come", len(got))
	}
}

// Without BEV_OPT_CLOSE_ON_FREE what is underneath goes on, with its own callbacks, and can
// have another filter when the loop has seen to the first.
func TestFilterLeavesUnderlying(t *testing.T) {
	filterEverywhere(t, func(t *testing.T, b *libevent.Base, first, second *libevent.BufferEvent, options libevent.BufferEventOptions) {
		var got []byte
		read := func(bev *libevent.BufferEvent) { got = append(got, bevRead(t, bev)...) }
		second.SetCallbacks(read, nil, nil)
		f := filterNew(t, second, filterNothing, nil, options)
		// They are kept for later, and do not cut the filter off.
		second.SetCallbacks(func(bev *libevent.BufferEvent) {
			read(bev)
			bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
		}, nil, nil)
		_ = second.Pointer()
		_, err := second.NewFilter(nil, nil, 0)
		bevCheck(t, "a second filter", err, syscall.EBUSY)
		bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
		_, err = first.WriteString("hidden ")
		bevCheck(t, "Write", err, nil)
		for second.Input().Len() == 0 {
			bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE), nil)
		}
		bevCheck(t, "Close", f.Close(), nil)
		if len(got) != 0 || second.Enabled() != bevRW {
			t.Errorf("%q came through, enabled %v", got, second.Enabled())
		}
		_, err = first.WriteString("seen")
		bevCheck(t, "Write", err, nil)
		bevRun(t, b)
		if string(got) != "hidden seen" {
			t.Errorf("%q", got)
		}
		f, err = second.NewFilter(nil, nil, options)
		bevCheck(t, "another filter", err, nil)
		if f != nil && f.Underlying() != second {
			t.Error("on top of something else")
		}
	})
}

// The end of the stream and an error underneath are the filter's to know.
func TestFilterEnd(t *testing.T) {
	b := bevBase(t)
	one, two := bevSockets(t)
	bev := bevNew(t, b, one, bevOwn)
	f := filterNew(t, bev, nil, nil, bevOwn)
	var happened []libevent.BufferEvents
	f.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) { happened = append(happened, what) })
	bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
	send(t, two, "the last")
	bevCheck(t, "close", syscall.Close(two), nil)
	bevRun(t, b)
	if got := bevRead(t, f); string(got) != "the last" {
		t.Errorf("%q", got)
	}
	_, err := f.Read(make([]byte, 1))
	bevCheck(t, "Read", err, io.EOF)
	if _, err := f.WriteString("to nobody"); err != nil {
		t.Error(err)
	}
	bevRun(t, b)
	want := []libevent.BufferEvents{
		libevent.BEV_EVENT_READING | libevent.BEV_EVENT_EOF,
		libevent.BEV_EVENT_WRITING | libevent.BEV_EVENT_ERROR,
	}
	if !slices.Equal(happened, want) {
		t.Errorf("%v, want %v", happened, want)
	}
	bevCheck(t, "Err", f.Err(), syscall.EPIPE)
}

// A Connect underneath is told to the filter.
func TestFilterConnect(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, bevOwn)
	f := filterNew(t, bev, nil, nil, bevOwn)
	var what libevent.BufferEvents
	f.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, w libevent.BufferEvents) { what = w })
	bevCheck(t, "Connect", bev.Connect(bevRefusing(t)), nil)
	bevRun(t, b)
	if what != libevent.BEV_EVENT_ERROR {
		t.Errorf("%v", what)
	}
	bevCheck(t, "Err", f.Err(), syscall.ECONNREFUSED)
}

// An eager one is not under a filter, which would not see what it sends.
func TestFilterEndsEager(t *testing.T) {
	b := bevBase(t)
	bev, conn := eagerTCP(t, b, 0)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
	f := filterNew(t, bev, filterNarrow, filterWiden, 0)
	if bev.Eager() || f.Eager() {
		t.Error("eager")
	}
	bevCheck(t, "SetEager", bev.SetEager(true), syscall.ENOTSUP)
	bevCheck(t, "SetEager", bev.SetEager(false), nil)
	bevCheck(t, "SetEager", f.SetEager(true), syscall.ENOTSUP)
	if _, err := f.WriteString("ab"); err != nil {
		t.Error(err)
	}
	if f.Output().Len() != 0 || bev.Output().Len() != 4 {
		t.Errorf("%d bytes above, %d underneath", f.Output().Len(), bev.Output().Len())
	}
	bevRun(t, b)
	if got := viewReceive(t, conn, 4); string(got) != "xaxb" {
		t.Errorf("%q", got)
	}
	bevCheck(t, "Close", f.Close(), nil)
	bevRunNothing(t, b)
	bevCheck(t, "SetEager", bev.SetEager(true), nil)
}

// bevRunNothing makes a pass of the loop, which ends what has been closed.
func bevRunNothing(t testing.TB, b *libevent.Base) {
	t.Helper()
	bevCheck(t, "Loop", b.Loop(libevent.EVLOOP_ONCE|libevent.EVLOOP_NONBLOCK), nil)
}

func TestFilterArguments(t *testing.T) {
	b := bevBase(t)
	before := libevent.LiveBufferEvents()
	for _, tt := range []struct {
		under, options libevent.BufferEventOptions
		want           error
	}{
		{0, bevThreadsafe, syscall.EINVAL},
		{bevThreadsafe, bevThreadsafe, syscall.EINVAL},
		{bevThreadsafe | bevDefer, bevThreadsafe | bevDefer, syscall.EINVAL},
		{fromAnywhere, bevThreadsafe, nil},
		{fromAnywhere, fromAnywhere, nil},
		{fromAnywhere, 0, nil},
		{bevThreadsafe, bevDefer, nil},
		{0, bevUnlock, syscall.EINVAL},
		{0, 1 << 7, syscall.EINVAL},
		{0, -1, syscall.EINVAL},
	} {
		bev := bevNew(t, b, -1, tt.under)
		f, err := bev.NewFilter(nil, nil, tt.options)
		if !errors.Is(err, tt.want) || (f == nil) != (tt.want != nil) {
			t.Errorf("%v on %v: %v, %v, want %v", tt.options, tt.under, f, err, tt.want)
		}
		bevCheck(t, "Close", bev.Close(), nil)
	}
	if n := libevent.LiveBufferEvents(); n != before {
		t.Errorf("%d alive, %d before", n, before)
	}
	bev := bevNew(t, b, -1, 0)
	f := filterNew(t, bev, nil, nil, 0)
	for name, err := range map[string]error{
		"Connect":           f.Connect(netip.MustParseAddrPort("127.0.0.1:1")),
		"ConnectUnix":       f.ConnectUnix("/x"),
		"SetPriority":       f.SetPriority(0),
		"SetEager":          f.SetEager(true),
		"SetBase":           f.SetBase(b),
		"ReplaceFD":         f.ReplaceFD(-1),
		"SetRateLimit":      f.SetRateLimit(nil),
		"SetRateLimitGroup": f.SetRateLimitGroup(nil),
	} {
		bevCheck(t, name, err, syscall.ENOTSUP)
	}
	if bev.Underlying() != nil {
		t.Error("something is under a socket")
	}
	bevCheck(t, "Close", bev.Close(), nil)
	_, err := bev.NewFilter(nil, nil, 0)
	bevCheck(t, "NewFilter after Close", err, libevent.ErrClosed)
	bevCheck(t, "the filter after Close", f.Enable(libevent.EV_READ), libevent.ErrClosed)
	bevCheck(t, "Close", f.Close(), nil)
}

// Whatever is on top of what, and in whatever state it is, Base.Close frees it all.
func TestFilterCloseOfTheBase(t *testing.T) {
	needsNoDebugMode(t)
	leavesNothing(t, fewer(5000), func(n int) {
		for i := range n {
			b, err := libevent.New()
			if err != nil {
				t.Fatal(err)
			}
			options := bevOptions[i%len(bevOptions)]
			first, second := bevTwo(t, b, i%3 == 0, options)
			top, own := first, libevent.BufferEventOptions(i)&bevOwn
			for range i % 4 {
				o := options | own
				if options != fromAnywhere {
					o &^= bevThreadsafe
				}
				top = filterNew(t, top, filterPass, nil, o)
				top.SetCallbacks(func(*libevent.BufferEvent) {}, func(*libevent.BufferEvent) {}, nil)
			}
			bevCheck(t, "Enable", top.Enable(bevRW), nil)
			_, err = top.WriteString("left behind")
			bevCheck(t, "Write", err, nil)
			_, err = second.WriteString("and so is this")
			bevCheck(t, "Write", err, nil)
			switch i % 5 {
			case 0:
				bevRunNothing(t, b)
			case 1:
				bevCheck(t, "Close", top.Close(), nil)
			case 2:
				bevCheck(t, "Close", first.Close(), nil)
			case 3:
				bevRunNothing(t, b)
				bevCheck(t, "Close", top.Close(), nil)
				bevRunNothing(t, b)
			}
			bevCheck(t, "Close", b.Close(), nil)
			bevCheck(t, "Close", top.Close(), nil)
		}
	})
}

// A base that a filter runs on cannot be closed.
func TestFilterCloseOfTheBaseInside(t *testing.T) {
	b := bevBase(t)
	first, _ := bevTwo(t, b, true, 0)
	f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
		bevCheck(t, "Close", b.Close(), libevent.ErrRunning)
		return filterPass(src, dst, limit, mode)
	}, 0)
	for _, tt := range filterPanics {
		bevCheck(t, tt.name, tt.call(f), nil)
	}
}

// A reference goes through filters, and its cleanup comes once.
func TestFilterReferences(t *testing.T) {
	b := bevBase(t)
	first, second := bevTwo(t, b, false, 0)
	cleanups := 0
	text := []byte("by reference")
	f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		bevCheck(t, "Drain", src.Drain(src.Len()), nil)
		bevCheck(t, "AddReference", dst.AddReference(text, func() { cleanups++ }), nil)
		return libevent.BEV_OK
	}, bevOwn)
	bevCheck(t, "AddReference", f.Output().AddReference([]byte("replaced"), func() { cleanups++ }), nil)
	if cleanups != 1 {
		t.Errorf("%d cleanups", cleanups)
	}
	var got []byte
	second.SetCallbacks(func(bev *libevent.BufferEvent) {
		got = append(got, bevRead(t, bev)...)
		bevCheck(t, "Disable", bev.Disable(libevent.EV_READ), nil)
	}, nil, nil)
	bevCheck(t, "Enable", second.Enable(libevent.EV_READ), nil)
	bevRun(t, b)
	if !bytes.Equal(got, text) || cleanups != 2 {
		t.Errorf("%q, %d cleanups", got, cleanups)
	}
}

// Goroutines write to filters, and close them, while the loop serves them.
func TestFilterElsewhere(t *testing.T) {
	for _, pair := range []bool{false, true} {
		t.Run(fmt.Sprintf("pair=%v", pair), func(t *testing.T) {
			elsewhere(t, bevBase(t), pair, func(i int, one, two *libevent.BufferEvent) {
				options := fromAnywhere | bevOwn*libevent.BufferEventOptions(i%2)
				left, err := one.NewFilter(filterNarrow, filterWiden, options)
				if err != nil {
					t.Error(err)
					return
				}
				right, err := two.NewFilter(filterNarrow, filterWiden, options)
				if err != nil {
					t.Error(err)
					return
				}
				const balls = 10
				heard := make(chan struct{}, balls)
				right.SetCallbacks(func(bev *libevent.BufferEvent) {
					for range bevRead(t, bev) {
						heard <- struct{}{}
					}
				}, nil, nil)
				bevCheck(t, "Enable", errors.Join(left.Enable(bevRW), right.Enable(bevRW)), nil)
				for range balls {
					if _, err := left.WriteString("o"); err != nil {
						t.Error(err)
					}
				}
				for range balls {
					wait(t, "a ball", heard)
				}
				_, _ = right.WriteString("for nobody")
				bevCheck(t, "Close", errors.Join(left.Close(), right.Close()), nil)
			})
		})
	}
}

// Callbacks returns what SetCallbacks was given.
func TestBufferEventCallbacks(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	if r, w, e := bev.Callbacks(); r != nil || w != nil || e != nil {
		t.Error("callbacks from the start")
	}
	calls := 0
	bev.SetCallbacks(func(*libevent.BufferEvent) { calls |= 1 }, func(*libevent.BufferEvent) { calls |= 2 },
		func(*libevent.BufferEvent, libevent.BufferEvents) { calls |= 4 })
	r, w, e := bev.Callbacks()
	r(nil)
	w(nil)
	e(nil, 0)
	if calls != 7 {
		t.Errorf("%b", calls)
	}
}

// A filter that counts what goes through it, and one that cannot be read aloud.
func ExampleBufferEvent_NewFilter() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	near, far, err := base.NewBufferEventPair(0)
	orPanic(err)

	total := 0
	count := func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		total += src.Len()
		if dst.AddBuffer(src) != nil {
			return libevent.BEV_ERROR
		}
		return libevent.BEV_OK
	}
	counted, err := near.NewFilter(nil, count, libevent.BEV_OPT_CLOSE_ON_FREE)
	orPanic(err)
	_, err = counted.WriteString("hello, ")
	orPanic(err)
	_, err = counted.WriteString("world")
	orPanic(err)

	far.SetCallbacks(func(bev *libevent.BufferEvent) {
		fmt.Printf("%s\n", bev.Input().Bytes())
	}, nil, nil)
	orPanic(far.Enable(libevent.EV_READ))
	orPanic(base.Dispatch())
	fmt.Println(total, counted.Underlying() == near)
	// Output:
	// hello, world
	// 12 true
}

func ExampleFilter() {
	// A line at a time, in capitals.
	var upper libevent.Filter = func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		line, err := src.ReadLine(libevent.EVBUFFER_EOL_LF)
		if err != nil {
			return libevent.BEV_NEED_MORE
		}
		if _, err := dst.Write(append(bytes.ToUpper(line), '\n')); err != nil {
			return libevent.BEV_ERROR
		}
		return libevent.BEV_OK
	}

	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	near, far, err := base.NewBufferEventPair(0)
	orPanic(err)
	filtered, err := far.NewFilter(upper, nil, libevent.BEV_OPT_CLOSE_ON_FREE)
	orPanic(err)
	filtered.SetCallbacks(func(bev *libevent.BufferEvent) {
		fmt.Printf("%s", bev.Input().Bytes())
	}, nil, nil)
	orPanic(filtered.Enable(libevent.EV_READ))
	_, err = near.WriteString("one\ntwo\nthr")
	orPanic(err)
	orPanic(base.Dispatch())
	// Output:
	// ONE
	// TWO
}

func ExampleFilterResult() {
	fmt.Println(libevent.BEV_OK, libevent.BEV_NEED_MORE, libevent.BEV_ERROR)
	// Output: BEV_OK BEV_NEED_MORE BEV_ERROR
}

// libevent goes on with a filter after its write callback, and would start the write
// timeout of one that was freed there: a loop that comes to the timeout finds no such event.
func TestFilterClosedInItsWriteCallback(t *testing.T) {
	b := bevBase(t)
	left, right := bevTwo(t, b, false, bevOwn)
	ready := false
	f := filterNew(t, left, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		if !ready {
			return libevent.BEV_NEED_MORE
		}
		must(t, dst.AddBuffer(src))
		return libevent.BEV_OK
	}, 0)
	must(t, f.SetTimeouts(libevent.NoTimeout, faraway))
	must(t, second(f.WriteString("x")))
	called := false
	f.SetCallbacks(nil, func(bev *libevent.BufferEvent) {
		called = true
		must(t, bev.Close())
	}, nil)
	// What is underneath has written, and asks the filter for more.
	ready = true
	must(t, second(left.WriteString("y")))
	for range 3 {
		loopPass(t, b)
	}
	if !called {
		t.Error("the callback has not come")
	}
	must(t, left.Close())
	must(t, right.Close())
	loopPass(t, b)
	if n := b.NumEvents(libevent.EVENT_BASE_COUNT_ADDED); n != 0 {
		t.Errorf("%d events are left", n)
	}
}

// What a filter leaves undone with the buffers that it was given is undone after it.
func TestFilterBuffersGivenBack(t *testing.T) {
	filterEverywhere(t, func(t *testing.T, _ *libevent.Base, first, _ *libevent.BufferEvent, options libevent.BufferEventOptions) {
		handles := libevent.Alive["BufferCallback"]()
		changes := 0
		var kept []*libevent.Buffer
		f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
			for _, buf := range []*libevent.Buffer{src, dst} {
				kept = append(kept, buf)
				must(t, buf.Lock())
				must(t, buf.Lock())
				addCallback(t, buf, func(*libevent.Buffer, bufferInfo) { changes++ })
			}
			return libevent.BEV_NEED_MORE
		}, options)
		for range 3 {
			must(t, second(f.WriteString("x")))
		}
		if len(kept) != 6 || changes != 0 {
			t.Errorf("%d buffers, %d changes told", len(kept), changes)
		}
		if n := libevent.Alive["BufferCallback"](); n != handles {
			t.Errorf("%d handles, were %d", n, handles)
		}
		for _, buf := range kept {
			wantErr(t, buf.Unlock(), "evbuffer_unlock", syscall.EPERM)
			wantErr(t, buf.Lock(), "evbuffer_lock", libevent.ErrClosed)
		}
		// Another thread can have the lock.
		written := make(chan error)
		go func() { written <- second(f.WriteString("x")) }()
		must(t, wait(t, "a write elsewhere", written))
	})
}

// The buffers that a filter is given are those of BufferEvents, and take what those do.
func TestFilterBuffersBelong(t *testing.T) {
	file := newFile(t, "a file")
	own := newBuffer(t, "own")
	shared := newBuffer(t)
	must(t, shared.AddBufferReference(own))
	b := bevBase(t)
	left, right := bevTwo(t, b, false, bevOwn)
	called := 0
	try := func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		called++
		for _, buf := range []*libevent.Buffer{src, dst} {
			wantErr(t, buf.SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD), "evbuffer_set_flags", syscall.EINVAL)
			wantErr(t, buf.ClearFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD), "evbuffer_clear_flags", syscall.EINVAL)
			wantErr(t, buf.AddBufferReference(own), "evbuffer_add_buffer_reference", syscall.ENOTSUP)
			wantErr(t, buf.AddBuffer(shared), "evbuffer_add_buffer", syscall.ENOTSUP)
		}
		wantErr(t, own.AddBufferReference(src), "evbuffer_add_buffer_reference", syscall.ENOTSUP)
		return filterPass(src, dst, -1, libevent.BEV_NORMAL)
	}
	// Not sent, the file is in the output of what is underneath when the filter comes.
	must(t, left.Disable(libevent.EV_WRITE))
	must(t, left.Output().AddFile(file, 0, -1))
	f := filterNew(t, left, try, func(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
		if dst.Len() != len("a file") || dst.Peek() != nil {
			t.Errorf("%d bytes of a file, %q", dst.Len(), dst.Peek())
		}
		wantErr(t, second(dst.PullUp(-1)), "evbuffer_pullup", syscall.ENOTSUP)
		return try(src, dst, limit, mode)
	}, 0)
	must(t, f.Enable(libevent.EV_READ))
	must(t, second(f.WriteString(", a text")))
	must(t, second(right.WriteString("an answer")))
	must(t, right.Enable(libevent.EV_READ))
	for range 4 {
		loopPass(t, b)
	}
	if got := string(bevRead(t, right)); called != 2 || got != "a file, a text" {
		t.Errorf("%d calls, %q", called, got)
	}
	if got := string(bevRead(t, f)); got != "an answer" {
		t.Errorf("%q came", got)
	}
}

// What is underneath is closed in a callback that NewFilter brings about, which then panics.
func TestFilterClosedAndPanicInNew(t *testing.T) {
	b := bevBase(t)
	one, two := bevTwo(t, b, true, 0)
	must(t, second(one.WriteString("x")))
	addCallback(t, two.Input(), func(*libevent.Buffer, bufferInfo) {
		must(t, two.Close())
		panic("in NewFilter")
	})
	p := bevPanic(func() { _, _ = two.NewFilter(nil, nil, 0) })
	if p == nil || p.Value != "in NewFilter" || libevent.LivePanics() != 0 {
		t.Errorf("NewFilter panicked with %v, %d panics left", p, libevent.LivePanics())
	}
}

// A filter reads into the output of what is underneath, to which its Reader then wants to
// write too: the memory that the Reader has stays as it is.
func TestFilterLends(t *testing.T) {
	b := bevBase(t)
	first, far := bevTwo(t, b, false, bevOwn)
	f := filterNew(t, first, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
		must(t, src.Drain(src.Len()))
		n, err := dst.ReadFrom(rw(func(p []byte) (int, error) {
			if n, err := first.Write(bevBytes(10_000)); n != 0 || err == nil {
				t.Errorf("%d bytes written meanwhile, %v", n, err)
			}
			return copy(p, "what was read"), io.EOF
		}))
		if n != 13 || err != nil {
			t.Errorf("ReadFrom: %d, %v", n, err)
		}
		return libevent.BEV_OK
	}, 0)
	must(t, second(f.WriteString("x")))
	must(t, far.Enable(libevent.EV_READ))
	for range 3 {
		loopPass(t, b)
	}
	if got := string(bevRead(t, far)); got != "what was read" {
		t.Errorf("%d bytes came", len(got))
	}
}

// A filter has what is underneath, whatever another goroutine sets there while it is made.
func TestNewFilterAmongOthers(t *testing.T) {
	b := bevBase(t)
	for i := range rounds(5000) {
		under, other := bevTwo(t, b, i%2 == 0, fromAnywhere)
		var top *libevent.BufferEvent
		var done atomic.Bool
		both(func() {
			for !done.Load() {
				if i%4 == 1 {
					closedOr(t, under.SetEager(true), syscall.ENOTSUP)
				}
				under.SetCallbacks(func(*libevent.BufferEvent) { t.Error("called underneath") }, nil, nil)
				runtime.Gosched()
			}
		}, func() {
			for range i % 50 {
				runtime.Gosched()
			}
			var err error
			if top, err = under.NewFilter(nil, nil, fromAnywhere); err != nil {
				t.Error(err)
			}
			done.Store(true)
		})
		if under.Eager() {
			t.Error("eager underneath")
		}
		heard := ""
		top.SetCallbacks(func(bev *libevent.BufferEvent) { heard += string(bevRead(t, bev)) }, nil, nil)
		bevCheck(t, "Enable", top.Enable(libevent.EV_READ), nil)
		_, err := other.WriteString("x")
		bevCheck(t, "Write", err, nil)
		for range 3 {
			loopPass(t, b)
		}
		if heard != "x" {
			t.Fatalf("round %d: the filter hears %q", i, heard)
		}
		bevCheck(t, "Close", errors.Join(top.Close(), under.Close(), other.Close()), nil)
		loopPass(t, b)
	}
}
