package libevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// newBuffer makes a buffer of the given chunks, which stay chunks of their own.
func newBuffer(t testing.TB, chunks ...string) *libevent.Buffer {
	t.Helper()
	buf, err := libevent.NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, chunk := range chunks {
		if err := buf.AddReference([]byte(chunk), nil); err != nil {
			t.Fatal(err)
		}
	}
	return buf
}

// check fails unless the buffer holds want, however it is looked at.
func check(t testing.TB, buf *libevent.Buffer, want string) {
	t.Helper()
	if n := buf.Len(); n != len(want) {
		t.Errorf("Len is %d, want %d", n, len(want))
	}
	vec, err := buf.PeekVec(nil, 0, -1)
	if got := bytes.Join(vec, nil); err != nil || string(got) != want {
		t.Errorf("PeekVec gives %q and %v, want %q", got, err, want)
	}
	p := make([]byte, len(want)+1)
	n, err := buf.CopyOut(p)
	if err != nil || string(p[:n]) != want {
		t.Errorf("CopyOut gives %q and %v, want %q", p[:n], err, want)
	}
}

// pulled is check, and then looks at all of it in one chunk.
func pulled(t testing.TB, buf *libevent.Buffer, want string) {
	t.Helper()
	check(t, buf, want)
	if got := copyOf(buf.Bytes()); string(got) != want {
		t.Errorf("Bytes gives %q, want %q", got, want)
	}
	check(t, buf, want)
}

// copyOf copies C memory before Go compares it: of fewer than eight bytes Go also loads
// those behind them, and drops them in a way that valgrind takes for a use.
func copyOf(p []byte) []byte { return append(make([]byte, 0, len(p)+16), p...) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write adds s with Write.
func write(t testing.TB, buf *libevent.Buffer, s string) {
	t.Helper()
	if n, err := buf.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write of %d bytes gives %d and %v", len(s), n, err)
	}
}

// wantErr fails unless err is an *Error of op with that reason.
func wantErr(t testing.TB, err error, op string, reason error) {
	t.Helper()
	var e *libevent.Error
	if !errors.As(err, &e) || e.Op != op || !errors.Is(err, reason) {
		t.Errorf("the error is %v, want %v of %s", err, reason, op)
	}
}

// TestBufferMix puts adds, moves, reads and drains of several chunks together.
//
// Upstream: evbuffer/evbuffer
func TestBufferMix(t *testing.T) {
	a, b := newBuffer(t), newBuffer(t)
	fmt.Fprintf(a, "%s/%d", "night", 1)
	check(t, a, "night/1")
	must(t, a.Drain(len("night/")))
	check(t, a, "1")
	fmt.Fprintf(b, "%s", "/day")
	must(t, a.AddBuffer(b))
	check(t, a, "1/day")
	check(t, b, "")

	block := strings.Repeat("\x00", 512)
	write(t, a, block)
	pulled(t, a, "1/day"+block)
	must(t, a.Prepend([]byte("thing")))
	must(t, a.Prepend([]byte("some")))
	if p, err := a.PullUp(14); err != nil || string(p) != "something1/day" {
		t.Errorf("PullUp gives %q and %v", p, err)
	}
	check(t, a, "something1/day"+block)
	must(t, a.Drain(math.MaxInt))
	check(t, a, "")

	for range 3 {
		write(t, b, block)
		must(t, a.AddBuffer(b))
		check(t, b, "")
	}
	if n, err := a.RemoveBuffer(b, 1280); n != 1280 || err != nil {
		t.Errorf("RemoveBuffer gives %d and %v", n, err)
	}
	pulled(t, a, block[:256])
	pulled(t, b, block+block+block[:256])

	must(t, a.Drain(a.Len()))
	for range 3 {
		extents, err := a.Reserve(10000, 1)
		must(t, err)
		if len(extents) != 1 || len(extents[0]) < 10000 {
			t.Fatalf("Reserve gives %d extents, the first of %d bytes", len(extents), len(extents[0]))
		}
		for i := range 10000 {
			extents[0][i] = byte(i)
		}
		must(t, a.Commit(10000))
		if p, err := a.PullUp(10000); err != nil || p[9999] != 9999%256 || p[300] != 300%256 {
			t.Errorf("what was committed has not come: %v", err)
		}
		must(t, a.Drain(10000))
		check(t, a, "")
	}
}

// TestBufferEmptyChunks moves data about between chunks without any.
//
// Upstream: evbuffer/remove_buffer_with_empty
// Upstream: evbuffer/remove_buffer_with_empty2
// Upstream: evbuffer/remove_buffer_with_empty3
// Upstream: evbuffer/remove_buffer_with_empty_front
// Upstream: evbuffer/add_buffer_with_empty
// Upstream: evbuffer/add_buffer_with_empty2
// Upstream: evbuffer/pullup_with_empty
// Upstream: evbuffer/empty_reference_prepend
// Upstream: evbuffer/empty_reference_prepend_buffer
func TestBufferEmptyChunks(t *testing.T) {
	mixed := func(t *testing.T, tail ...string) *libevent.Buffer {
		buf := newBuffer(t)
		write(t, buf, "one")
		for _, s := range tail {
			must(t, buf.AddReference([]byte(s), nil))
		}
		return buf
	}
	remove := func(t *testing.T, src, dst *libevent.Buffer, n int) {
		t.Helper()
		if got, err := src.RemoveBuffer(dst, n); got != n || err != nil {
			t.Errorf("RemoveBuffer of %d gives %d and %v", n, got, err)
		}
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"remove to one that ends empty", func(t *testing.T) {
			src, dst := newBuffer(t, "xy", "zw"), newBuffer(t)
			write(t, dst, "ab")
			must(t, dst.AddReference(nil, nil))
			remove(t, src, dst, 3)
			pulled(t, src, "w")
			pulled(t, dst, "abxyz")
		}},
		{"remove across one in the middle", func(t *testing.T) {
			src, dst := newBuffer(t, "foo", ""), newBuffer(t, "bar", "")
			must(t, src.AddBuffer(mixed(t, "two")))
			must(t, dst.AddBuffer(mixed(t, "two")))
			check(t, src, "fooonetwo")
			remove(t, src, dst, 8)
			pulled(t, src, "o")
			pulled(t, dst, "baronetwofooonetw")
		}},
		{"remove after a prepend", func(t *testing.T) {
			src, dst := newBuffer(t, "foo", ""), newBuffer(t, "bar", "")
			must(t, src.PrependBuffer(mixed(t, "")))
			must(t, dst.PrependBuffer(mixed(t, "")))
			check(t, src, "onefoo")
			remove(t, src, dst, 5)
			pulled(t, src, "o")
			pulled(t, dst, "onebaronefo")
		}},
		{"prepend of nothing", func(t *testing.T) {
			src, dst := newBuffer(t, "foo"), newBuffer(t)
			must(t, src.Prepend(nil))
			remove(t, src, dst, 1)
			write(t, src, "bar")
			pulled(t, src, "oobar")
			pulled(t, dst, "f")
		}},
		{"add behind one at the end", func(t *testing.T) {
			for _, chunks := range [][]string{{"foo", ""}, {""}} {
				dst := newBuffer(t, chunks...)
				must(t, dst.AddBuffer(mixed(t)))
				must(t, dst.AddBuffer(mixed(t, "", "two")))
				pulled(t, dst, chunks[0]+"oneonetwo")
			}
		}},
		{"pull up", func(t *testing.T) {
			pulled(t, mixed(t, ""), "one")
			pulled(t, mixed(t, "", "two", ""), "onetwo")
			if p := newBuffer(t).Bytes(); p != nil {
				t.Errorf("Bytes of an empty buffer gives %q", p)
			}
			buf := mixed(t, "")
			if p, err := buf.PullUp(3); string(p) != "one" || err != nil {
				t.Errorf("PullUp gives %q and %v", p, err)
			}
		}},
		{"prepend to one", func(t *testing.T) {
			buf := newBuffer(t, "")
			must(t, buf.Prepend([]byte("foo")))
			pulled(t, buf, "foo")
			write(t, buf, "bar")
			pulled(t, buf, "foobar")
		}},
		{"prepend one", func(t *testing.T) {
			buf, empty := newBuffer(t, "foo"), newBuffer(t, "")
			must(t, buf.PrependBuffer(empty))
			pulled(t, buf, "foo")
			pulled(t, empty, "")
		}},
		{"peek behind one", func(t *testing.T) {
			if p := newBuffer(t, "", "", "foo").Peek(); string(p) != "foo" {
				t.Errorf("Peek gives %q", p)
			}
			if p := newBuffer(t, "").Peek(); p != nil {
				t.Errorf("Peek of nothing gives %q", p)
			}
		}},
	} {
		t.Run(test.name, test.run)
	}
}

// TestBufferReserveLeavesEmptyChunks uses less than was reserved, so that chunks without
// data stay behind, and goes on adding and moving.
//
// Upstream: evbuffer/reserve_with_empty
// Upstream: evbuffer/reserve_invalid_last_with_datap
// Upstream: evbuffer/remove_buffer_adjust_last_with_datap_with_empty
func TestBufferReserveLeavesEmptyChunks(t *testing.T) {
	fill := func(t *testing.T, buf *libevent.Buffer, room int, s string) {
		t.Helper()
		extents, err := buf.Reserve(room, 2)
		must(t, err)
		if len(extents) != 2 {
			t.Fatalf("Reserve gives %d extents, want 2", len(extents))
		}
		must(t, buf.Commit(copy(extents[0], s)))
	}

	buf := newBuffer(t)
	write(t, buf, "a")
	fill(t, buf, 4096, "b")
	write(t, buf, "c")
	pulled(t, buf, "abc")

	buf = newBuffer(t, "")
	must(t, buf.Prepend([]byte("foo")))
	write(t, buf, "")
	extents, err := buf.Reserve(4096, 2)
	must(t, err)
	must(t, buf.Commit(make([]int, len(extents))...))
	check(t, buf, "foo")
	if _, err := buf.Reserve(8192, 2); err != nil {
		t.Error(err)
	}
	pulled(t, buf, "foo")

	src, dst := newBuffer(t), newBuffer(t)
	write(t, src, "mmmmmm")
	fill(t, src, 971, "n")
	write(t, dst, "pp")
	must(t, dst.Prepend([]byte("ooo")))
	must(t, dst.PrependBuffer(src))
	check(t, dst, "mmmmmmnooopp")
	must(t, src.AddBuffer(dst))
	if n, err := src.RemoveBuffer(dst, 11); n != 11 || err != nil {
		t.Errorf("RemoveBuffer gives %d and %v", n, err)
	}
	pulled(t, dst, "mmmmmmnooop")
	pulled(t, src, "p")
}

// TestBufferReserveTwo fills a reservation of one and of two pieces, in part.
//
// Upstream: evbuffer/reserve2
func TestBufferReserveTwo(t *testing.T) {
	buf := newBuffer(t)
	want := ""
	use := func(room int, lengths ...int) (sizes []int) {
		t.Helper()
		extents, err := buf.Reserve(room, 2)
		must(t, err)
		check(t, buf, want)
		for i, n := range lengths {
			s := strings.Repeat(string(rune('A'+len(want)%26)), n)
			copy(extents[i], s)
			want += s
		}
		for _, extent := range extents {
			sizes = append(sizes, len(extent))
		}
		must(t, buf.Commit(lengths...))
		check(t, buf, want)
		return sizes
	}
	sizes := use(1024, 512)
	if len(sizes) != 1 || sizes[0] < 1024 {
		t.Fatalf("an empty buffer reserves %v", sizes)
	}
	left := sizes[0] - 512
	if sizes = use(32, 8); len(sizes) != 1 || sizes[0] != left {
		t.Errorf("the rest of the chunk is %v, want %d", sizes, left)
	}
	left -= 8
	for _, lengths := range [][]int{{1}, {400, 60}} {
		if sizes = use(left+64, lengths...); len(sizes) != 2 || sizes[0] != left || sizes[1] < 64 {
			t.Errorf("two chunks are %v, want %d and at least 64", sizes, left)
		}
		left -= lengths[0]
	}
	vec, err := buf.PeekVec(nil, 0, -1)
	if err != nil || len(vec) != 2 || len(vec[0]) != 921 || len(vec[1]) != 60 {
		t.Errorf("%d chunks and %v, want one of 921 bytes and one of 60", len(vec), err)
	}
}

// TestBufferReserveMany asks for more pieces each time, and then for fewer.
//
// Upstream: evbuffer/reserve_many
// Upstream: evbuffer/reserve_many2
// Upstream: evbuffer/reserve_many3
func TestBufferReserveMany(t *testing.T) {
	for _, use := range []string{"nothing", "a byte", "all"} {
		t.Run(use, func(t *testing.T) {
			buf := newBuffer(t)
			reserve := func(n, extents, want int) (vec [][]byte, total int) {
				t.Helper()
				vec, err := buf.Reserve(n, extents)
				must(t, err)
				if len(vec) != want {
					t.Fatalf("Reserve gives %d extents, want %d", len(vec), want)
				}
				vec = slices.Clone(vec)
				for _, extent := range vec {
					total += len(extent)
				}
				if total < n {
					t.Fatalf("Reserve gives %d bytes, want %d", total, n)
				}
				return vec, total
			}
			vec, total := reserve(128, 2, 1)
			first := &vec[0][0]
			switch use {
			case "a byte":
				first = &vec[0][1]
				must(t, buf.Commit(1))
			case "all":
				must(t, buf.Commit(len(vec[0])))
				vec, total = reserve(128, 2, 1)
				if &vec[0][0] == first {
					t.Error("a full chunk was given again")
				}
				first = &vec[0][0]
			}
			vec, total = reserve(total+128, 2, 2)
			second := &vec[1][0]
			if &vec[0][0] != first {
				t.Error("the first chunk was not kept")
			}
			vec, total = reserve(total+128, 3, 3)
			if &vec[0][0] != first || &vec[1][0] != second {
				t.Error("the first chunks were not kept")
			}
			if use == "a byte" {
				if vec, _ = reserve(total+128, 2, 2); &vec[0][0] != first {
					t.Error("the chunk with data was not kept")
				}
				return
			}
			reserve(total+128, 2, 1)
		})
	}
}

// TestBufferExpand makes room without changing what is there.
//
// Upstream: evbuffer/expand
func TestBufferExpand(t *testing.T) {
	room := func(buf *libevent.Buffer) *byte {
		t.Helper()
		extents, err := buf.Reserve(1, 1)
		must(t, err)
		return &extents[0][0]
	}
	buf := newBuffer(t)
	must(t, buf.Expand(20000))
	check(t, buf, "")
	start := room(buf)
	data := strings.Repeat("X", 4096)
	write(t, buf, data[:1024])
	must(t, buf.Expand(1024))
	if first := buf.Peek(); &first[0] != start || len(first) != 1024 {
		t.Error("room that was there was not used")
	}

	// The last byte of a full chunk moves to its start, rather than to a new one.
	buf = newBuffer(t)
	extents, err := buf.Reserve(1, 1)
	must(t, err)
	start, size := &extents[0][0], len(extents[0])
	write(t, buf, data[:size-2]+"Y")
	must(t, buf.Drain(size-2))
	must(t, buf.Expand(40))
	if first := buf.Peek(); &first[0] != start || string(first) != "Y" {
		t.Error("the chunk was not reused")
	}

	buf = newBuffer(t)
	for range 3 {
		write(t, buf, data)
	}
	must(t, buf.Expand(1024))
	pulled(t, buf, data+data+data)
}

// TestBufferHugeSizes asks for more than there is, and gets an error and nothing else.
//
// Upstream: evbuffer/expand_overflow
func TestBufferHugeSizes(t *testing.T) {
	buf := newBuffer(t)
	write(t, buf, "1")
	for _, n := range []int{math.MaxInt, math.MaxInt - 1, math.MaxInt - 100, math.MaxInt/2 + 1} {
		wantErr(t, buf.Expand(n), "evbuffer_expand", syscall.ENOMEM)
		for extents := 1; extents <= libevent.MaxExtents; extents++ {
			_, err := buf.Reserve(n, extents)
			wantErr(t, err, "evbuffer_reserve_space", syscall.ENOMEM)
		}
		check(t, buf, "1")
	}
	write(t, buf, "2")
	pulled(t, buf, "12")
}

// TestBufferBadArguments gives what libevent would crash on, wait on or take in silence.
func TestBufferBadArguments(t *testing.T) {
	buf, other := newBuffer(t, "abc"), newBuffer(t)
	closed := newBuffer(t, "closed")
	must(t, closed.Close())
	same, err := libevent.BufferFromPointer(buf.Pointer())
	must(t, err)
	_, err = libevent.BufferFromPointer(nil)
	wantErr(t, err, "evbuffer_new", syscall.EINVAL)

	for _, test := range []struct {
		op     string
		reason error
		err    func() error
	}{
		{"evbuffer_add_buffer", syscall.EINVAL, func() error { return buf.AddBuffer(buf) }},
		{"evbuffer_add_buffer", syscall.EINVAL, func() error { return buf.AddBuffer(same) }},
		{"evbuffer_add_buffer", syscall.EINVAL, func() error { return buf.AddBuffer(nil) }},
		{"evbuffer_add_buffer", libevent.ErrClosed, func() error { return buf.AddBuffer(closed) }},
		{"evbuffer_prepend_buffer", syscall.EINVAL, func() error { return buf.PrependBuffer(buf) }},
		{"evbuffer_prepend_buffer", syscall.EINVAL, func() error { return buf.PrependBuffer(nil) }},
		{"evbuffer_remove_buffer", syscall.EINVAL, func() error { return second(buf.RemoveBuffer(buf, 1)) }},
		{"evbuffer_remove_buffer", syscall.EINVAL, func() error { return second(buf.RemoveBuffer(nil, 1)) }},
		{"evbuffer_remove_buffer", syscall.EINVAL, func() error { return second(buf.RemoveBuffer(other, -1)) }},
		{"evbuffer_remove_buffer", libevent.ErrClosed, func() error { return second(buf.RemoveBuffer(closed, 1)) }},
		{"evbuffer_drain", syscall.EINVAL, func() error { return buf.Drain(-1) }},
		{"evbuffer_expand", syscall.EINVAL, func() error { return buf.Expand(-1) }},
		{"evbuffer_pullup", syscall.EINVAL, func() error { return second(buf.PullUp(4)) }},
		{"evbuffer_peek", syscall.EINVAL, func() error { return second(buf.PeekVec(nil, -1, 1)) }},
		{"evbuffer_peek", syscall.EINVAL, func() error { return second(buf.PeekVec(nil, 4, 1)) }},
		{"evbuffer_copyout_from", syscall.EINVAL, func() error { return second(buf.CopyOutFrom(nil, -1)) }},
		{"evbuffer_copyout_from", syscall.EINVAL, func() error { return second(buf.CopyOutFrom(nil, 4)) }},
		{"evbuffer_search_range", syscall.EINVAL, func() error { return second(buf.SearchRange([]byte("a"), -1, -1)) }},
		{"evbuffer_search_range", syscall.EINVAL, func() error { return second(buf.SearchRange([]byte("a"), 4, -1)) }},
		{"evbuffer_search_range", syscall.EINVAL, func() error { return second(buf.SearchRange([]byte("a"), 0, 4)) }},
		{"evbuffer_search_range", syscall.EINVAL, func() error { return second(buf.SearchRange([]byte("a"), 0, -2)) }},
		{"evbuffer_search_range", syscall.EINVAL, func() error { return second(buf.SearchRange([]byte("a"), 2, 1)) }},
		{"evbuffer_readln", syscall.EINVAL, func() error { return second(buf.ReadLine(libevent.EVBUFFER_EOL_NUL + 1)) }},
		{"evbuffer_readln", syscall.EINVAL, func() error { return second(buf.ReadLine(-1)) }},
		{"evbuffer_search_eol", syscall.EINVAL, func() error { _, _, err := buf.SearchEOL(4, 0); return err }},
		{"evbuffer_search_eol", syscall.EINVAL, func() error { _, _, err := buf.SearchEOL(-1, 0); return err }},
		{"evbuffer_reserve_space", syscall.EINVAL, func() error { return second(buf.Reserve(0, 2)) }},
		{"evbuffer_reserve_space", syscall.EINVAL, func() error { return second(buf.Reserve(-1, 2)) }},
		{"evbuffer_reserve_space", syscall.EINVAL, func() error { return second(buf.Reserve(1, 0)) }},
		{"evbuffer_reserve_space", syscall.EINVAL, func() error { return second(buf.Reserve(1, libevent.MaxExtents+1)) }},
		{"evbuffer_commit_space", syscall.EINVAL, func() error { return buf.Commit(1) }},
		{"evbuffer_read", syscall.EBADF, func() error { return second(buf.ReadFD(-1, -1)) }},
		{"evbuffer_read", syscall.EBADF, func() error { return second(buf.ReadFD(math.MaxInt32, -1)) }},
		{"evbuffer_read", syscall.EBADF, func() error { return second(buf.ReadFD(math.MaxInt, -1)) }},
		{"evbuffer_write", syscall.EBADF, func() error { return second(buf.WriteFD(-1, -1)) }},
		{"evbuffer_write", syscall.EBADF, func() error { return second(buf.WriteFD(math.MaxInt, -1)) }},
	} {
		wantErr(t, test.err(), test.op, test.reason)
		check(t, buf, "abc")
	}
}

func second[T any](_ T, err error) error { return err }

// besidePointers is memory with a pointer to other Go memory next to it, which cgo must not
// take for something that C gets.
type besidePointers struct {
	other *besidePointers
	bytes [16]byte
}

// TestMemoryBesidePointers gives memory of all kinds to what copies to it and from it.
func TestMemoryBesidePointers(t *testing.T) {
	p := socketpair(t)
	b := newBase(t)
	ev, err := b.NewEvent(p[0], libevent.EV_READ, keep)
	must(t, err)
	first, second := bevTwo(t, b, true, 0)
	must(t, second.Enable(libevent.EV_READ))
	buf := newBuffer(t)
	heap := &besidePointers{other: new(besidePointers)}
	m := heap.bytes[:]
	for _, test := range []struct {
		name string
		call func() (int, error)
	}{
		{"Buffer.Write", func() (int, error) { return buf.Write(m) }},
		{"Buffer.CopyOut", func() (int, error) { return buf.CopyOut(m) }},
		{"Buffer.Read", func() (int, error) { return buf.Read(m) }},
		{"Buffer.Prepend", func() (int, error) { return len(m), buf.Prepend(m) }},
		{"Buffer.Search", func() (int, error) { return len(m) + buf.Search(m), nil }},
		{"Buffer.AddIovec", func() (int, error) { return buf.AddIovec([][]byte{m}) }},
		{"Buffer.AddReference", func() (int, error) { return len(m), buf.AddReference(m, nil) }},
		{"BufferEvent.Write", func() (int, error) { return first.Write(m) }},
		{"BufferEvent.Read", func() (int, error) { return second.Read(m) }},
		{"Event.Write", func() (int, error) { return ev.Write(m) }},
		{"Event.Read", func() (int, error) { send(t, p[1], string(m)); return ev.Read(m) }},
		{"SecureRNGGetBytes", func() (int, error) { return len(m), libevent.SecureRNGGetBytes(m) }},
	} {
		if n, err := test.call(); n != len(m) || err != nil {
			t.Errorf("%s: %d, %v", test.name, n, err)
		}
	}
	runtime.KeepAlive(heap)
}

// TestBufferCommitBounds commits what was not reserved.
func TestBufferCommitBounds(t *testing.T) {
	buf := newBuffer(t)
	write(t, buf, "abc")
	for _, lengths := range [][]int{{-1}, {0, -1}, {math.MaxInt}, {1, 1, 1}} {
		extents, err := buf.Reserve(4096, 2)
		must(t, err)
		if len(extents) != 2 {
			t.Fatalf("%d extents, want 2", len(extents))
		}
		wantErr(t, buf.Commit(lengths...), "evbuffer_commit_space", syscall.EINVAL)
		wantErr(t, buf.Commit(len(extents[0])+1), "evbuffer_commit_space", syscall.EINVAL)
		wantErr(t, buf.Commit(0, len(extents[1])+1), "evbuffer_commit_space", syscall.EINVAL)
		check(t, buf, "abc")
	}
	// A refused Commit leaves the reservation in force, a good one ends it.
	must(t, buf.Commit(0, 0))
	wantErr(t, buf.Commit(1), "evbuffer_commit_space", syscall.EINVAL)

	extents, err := buf.Reserve(10, 1)
	must(t, err)
	copy(extents[0], "XXXX")
	write(t, buf, "def")
	wantErr(t, buf.Commit(4), "evbuffer_commit_space", syscall.EINVAL)
	check(t, buf, "abcdef")

	// The chunk that was reserved has gone with the data.
	_, err = buf.Reserve(10, 1)
	must(t, err)
	must(t, buf.Drain(6))
	wantErr(t, buf.Commit(4), "evbuffer_commit_space", syscall.EINVAL)
	check(t, buf, "")
	must(t, buf.Commit())
}

// TestBufferReadIntoFullChunk reads 0 bytes and reserves beside a chunk without room.
func TestBufferReadIntoFullChunk(t *testing.T) {
	buf := newBuffer(t)
	extents, err := buf.Reserve(1, 1)
	must(t, err)
	n := len(extents[0])
	must(t, buf.Commit(n))
	r, _ := pipe(t)
	if got, err := buf.ReadFD(r, 0); got != 0 || err != nil {
		t.Errorf("ReadFD of 0 bytes gives %d and %v", got, err)
	}
	if buf.Len() != n {
		t.Errorf("Len is %d, want %d", buf.Len(), n)
	}
}

// TestBufferAddAcrossChunks adds at the border of a chunk.
//
// Upstream: evbuffer/add1
// Upstream: evbuffer/add2
// Upstream: evbuffer/reference2
func TestBufferAddAcrossChunks(t *testing.T) {
	buf := newBuffer(t)
	write(t, buf, "1")
	must(t, buf.Expand(2048))
	write(t, buf, "2")
	fmt.Fprint(buf, 3)
	pulled(t, buf, "123")

	for _, reference := range []bool{false, true} {
		buf := newBuffer(t)
		extents, err := buf.Reserve(1, 1)
		must(t, err)
		data := strings.Repeat("P", len(extents[0])-10)
		write(t, buf, data)
		must(t, buf.Expand(100))
		if reference {
			must(t, buf.AddReference([]byte("2"), nil))
		} else {
			write(t, buf, "2")
		}
		fmt.Fprint(buf, 3)
		pulled(t, buf, data+"23")
	}
}

// TestBufferIterative makes a buffer of a hundred thousand small pieces.
//
// Upstream: evbuffer/iterative
func TestBufferIterative(t *testing.T) {
	alphabet := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 4)
	buf := newBuffer(t)
	var want strings.Builder
	for range 1000 {
		for n := 1; n < len(alphabet); n++ {
			fmt.Fprintf(buf, "%.*s", n, alphabet)
			want.WriteString(alphabet[:n])
		}
	}
	check(t, buf, want.String())
}

// TestBufferReadLine finds the ends of lines in every style.
//
// Upstream: evbuffer/readln
func TestBufferReadLine(t *testing.T) {
	for _, test := range []struct {
		name   string
		style  libevent.EOL
		chunks []string
		lines  []string
		rest   string
		more   string // makes a last line of the rest
	}{
		{"a run of ends", libevent.EVBUFFER_EOL_ANY, []string{"odd\r\n\n\r\n\n\reven\x00\n"}, []string{"odd", "even\x00"}, "", ""},
		{"nothing first", libevent.EVBUFFER_EOL_ANY, []string{"\nfour"}, []string{""}, "four", "\r"},
		{"LF or CRLF", libevent.EVBUFFER_EOL_CRLF, []string{"a\rb\nc\r\n\nd\nx"}, []string{"a\rb", "c", "", "d"}, "x", "\n"},
		{"CR before the border", libevent.EVBUFFER_EOL_CRLF, []string{"a\r", "\nb\r"}, []string{"a"}, "b\r", "\n"},
		{"CRLF", libevent.EVBUFFER_EOL_CRLF_STRICT, []string{"x y\nz\r\n\r\nMore\r"}, []string{"x y\nz", ""}, "More\r", "\n"},
		{"CR alone", libevent.EVBUFFER_EOL_CRLF_STRICT, []string{"in\r side\r\nlast"}, []string{"in\r side"}, "last", "\r\n"},
		{"CRLF across chunks", libevent.EVBUFFER_EOL_CRLF_STRICT, []string{"p\nq\r", "\n\r", "\nMore\r"}, []string{"p\nq", ""}, "More\r", "\n"},
		{"LF", libevent.EVBUFFER_EOL_LF, []string{"a\rb\n\nText"}, []string{"a\rb", ""}, "Text", "\n"},
		{"NUL", libevent.EVBUFFER_EOL_NUL, []string{"n\n\x00\x00time\x00space"}, []string{"n\n", "", "time"}, "space", "\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			buf := newBuffer(t, test.chunks...)
			for _, want := range test.lines {
				line, err := buf.ReadLine(test.style)
				if err != nil || line == nil || string(line) != want {
					t.Errorf("ReadLine gives %q and %v, want %q", line, err, want)
				}
			}
			line, err := buf.ReadLine(test.style)
			if line != nil || err != syscall.EAGAIN {
				t.Errorf("ReadLine without a line gives %q and %v", line, err)
			}
			check(t, buf, test.rest)
			if test.more == "" {
				return
			}
			write(t, buf, test.more)
			want := strings.TrimSuffix(test.rest, "\r")
			if line, err = buf.ReadLine(test.style); err != nil || string(line) != want {
				t.Errorf("ReadLine gives %q and %v, want %q", line, err, want)
			}
			check(t, buf, "")
		})
	}
}

// TestBufferSearchEOL gives the position and the length of a line's end.
//
// Upstream: evbuffer/search_eol
func TestBufferSearchEOL(t *testing.T) {
	for _, chunks := range [][]string{{"thread! \r\n\r\nx\n"}, {"thread! \r", "", "\n", "\r\nx", "\n"}} {
		buf := newBuffer(t, chunks...)
		for _, test := range []struct {
			start  int
			style  libevent.EOL
			pos, n int
		}{
			{0, libevent.EVBUFFER_EOL_CRLF, 8, 2},
			{8, libevent.EVBUFFER_EOL_CRLF, 8, 2},
			{9, libevent.EVBUFFER_EOL_CRLF, 9, 1},
			{9, libevent.EVBUFFER_EOL_CRLF_STRICT, 10, 2},
			{0, libevent.EVBUFFER_EOL_ANY, 8, 4},
			{0, libevent.EVBUFFER_EOL_LF, 9, 1},
			{9, libevent.EVBUFFER_EOL_LF, 9, 1},
			{10, libevent.EVBUFFER_EOL_LF, 11, 1},
			{0, libevent.EVBUFFER_EOL_NUL, -1, 0},
			{14, libevent.EVBUFFER_EOL_LF, -1, 0},
		} {
			pos, n, err := buf.SearchEOL(test.start, test.style)
			if pos != test.pos || n != test.n || err != nil {
				t.Errorf("%v from %d in %q is at %d, %d bytes, %v; want %d and %d",
					test.style, test.start, chunks, pos, n, err, test.pos, test.n)
			}
		}
	}
}

// TestBufferSearch finds bytes within a chunk, across chunks and in a range.
//
// Upstream: evbuffer/search
// Upstream: evbuffer/ptr_set
func TestBufferSearch(t *testing.T) {
	if pos := newBuffer(t).Search([]byte("x")); pos != -1 {
		t.Errorf("an empty buffer has x at %d", pos)
	}
	buf := newBuffer(t, "hello", "foo", "cat", "attack")
	for _, test := range []struct {
		what            string
		start, end, pos int
	}{
		{"attack", 0, -1, 11},
		{"attacker", 0, -1, -1},
		{"oc", 0, -1, 7},
		{"cat", 7, -1, 8},
		{"tacking", 8, -1, -1},
		{"foo", 5, -1, 5},
		{"foo", 6, -1, -1},
		{"tat", 7, -1, 10},
		{"foo", 0, 12, 5},
		{"foocata", 0, 12, 5},
		{"foocatat", 0, 12, -1},
		{"ack", 0, 12, -1},
		{"attack", 0, 17, 11},
		{"attack", 11, 17, 11},
		{"attack", 17, 17, -1},
		{"attack", 17, -1, -1},
		{"h", 0, 0, -1},
		{"", 3, -1, 3},
	} {
		pos, err := buf.SearchRange([]byte(test.what), test.start, test.end)
		if pos != test.pos || err != nil {
			t.Errorf("%q from %d to %d is at %d, %v; want %d", test.what, test.start, test.end, pos, err, test.pos)
		}
		if test.start == 0 && test.end == -1 {
			if pos := buf.Search([]byte(test.what)); pos != test.pos {
				t.Errorf("%q is at %d, want %d", test.what, pos, test.pos)
			}
		}
	}
}

// TestBufferSearchStaysInside does not find what was drained or is not complete.
//
// Upstream: evbuffer/find
func TestBufferSearchStaysInside(t *testing.T) {
	buf := newBuffer(t)
	write(t, buf, "0123456789\r\n")
	must(t, buf.Drain(12))
	write(t, buf, "0123456789\r")
	if pos := buf.Search([]byte("\r\n")); pos != -1 {
		t.Errorf("what was drained is found at %d", pos)
	}
	must(t, buf.Drain(11))
	write(t, buf, strings.Repeat("a", 255)+"x")
	if pos := buf.Search([]byte("xy")); pos != -1 {
		t.Errorf("what is not there is found at %d", pos)
	}
	if pos := buf.Search([]byte("ax")); pos != 254 {
		t.Errorf("what ends the buffer is found at %d", pos)
	}
}

// TestBufferMovesReferences moves chunks that refer to Go memory, and writes around them.
//
// Upstream: evbuffer/reference
func TestBufferMovesReferences(t *testing.T) {
	const text = "these bytes are only to be looked at"
	mem := []byte(text)
	ended := 0
	src, dst := newBuffer(t), newBuffer(t)
	must(t, src.AddReference(mem, func() { ended++ }))
	if p := src.Peek(); &p[0] != &mem[0] {
		t.Error("the memory was copied")
	}
	extents, err := dst.Reserve(len(text), 1)
	must(t, err)
	n, err := src.Read(extents[0][:10])
	must(t, err)
	must(t, src.Prepend([]byte("aaaaa")))
	check(t, src, "aaaaa"+text[10:])
	must(t, src.Drain(5))
	if ended != 0 {
		t.Error("the cleanup came early")
	}
	m, err := src.Read(extents[0][10:])
	must(t, err)
	must(t, dst.Commit(n+m))
	if ended != 1 {
		t.Errorf("the cleanup came %d times, want 1", ended)
	}
	if string(mem) != text {
		t.Errorf("the memory became %q", mem)
	}
	pulled(t, dst, text)
}

// TestBufferReference calls the cleanup when the last byte has gone, once, however it
// goes.
//
// Upstream: evbuffer/add_reference
func TestBufferReference(t *testing.T) {
	const one, two = "whoever knows how to do it", "should say so"
	var ended []string
	ends := func(name string) func() { return func() { ended = append(ended, name) } }
	want := func(names ...string) {
		t.Helper()
		if !slices.Equal(ended, names) {
			t.Errorf("the cleanups of %q came, want %q", ended, names)
		}
	}
	a, b := newBuffer(t), newBuffer(t)
	must(t, a.AddReference([]byte(one), ends("one")))
	write(t, a, ", ")
	must(t, a.AddReference([]byte(two), ends("two")))
	check(t, a, one+", "+two)

	var p [32]byte
	n, err := a.Read(p[:7])
	must(t, err)
	if string(p[:n]) != "whoever" {
		t.Errorf("Read gives %q", p[:n])
	}
	must(t, a.Prepend([]byte("he who")))
	must(t, a.Drain(6))
	must(t, a.Drain(len(one)-7-1))
	want()
	if c, err := a.ReadByte(); c != 't' || err != nil {
		t.Errorf("ReadByte gives %q and %v", c, err)
	}
	want("one")

	must(t, a.Drain(2+7))
	write(t, b, "I ")
	must(t, b.AddBuffer(a))
	want("one")
	n, err = b.Read(p[:])
	must(t, err)
	if string(p[:n]) != "I say so" {
		t.Errorf("Read gives %q", p[:n])
	}
	want("one", "two")

	write(t, a, "before")
	must(t, a.AddReference([]byte("three"), ends("three")))
	write(t, a, "after")
	must(t, a.AddReference([]byte("four"), ends("four")))
	must(t, a.Close())
	want("one", "two", "three", "four")
}

// TestBufferReferenceReleases lets go of references by every call that can.
func TestBufferReferenceReleases(t *testing.T) {
	_, w := pipe(t)
	for _, test := range []struct {
		name string
		run  func(buf, other *libevent.Buffer) error
	}{
		{"Drain", func(buf, _ *libevent.Buffer) error { return buf.Drain(6) }},
		{"Read", func(buf, _ *libevent.Buffer) error { return second(buf.Read(make([]byte, 6))) }},
		{"ReadLine", func(buf, _ *libevent.Buffer) error { return second(buf.ReadLine(libevent.EVBUFFER_EOL_LF)) }},
		{"PullUp", func(buf, _ *libevent.Buffer) error { return second(buf.PullUp(6)) }},
		{"WriteFD", func(buf, _ *libevent.Buffer) error { return second(buf.WriteFD(w, -1)) }},
		{"WriteTo", func(buf, _ *libevent.Buffer) error { return second(buf.WriteTo(io.Discard)) }},
		{"Close", func(buf, _ *libevent.Buffer) error { return buf.Close() }},
		{"RemoveBuffer", func(buf, other *libevent.Buffer) error {
			if _, err := buf.RemoveBuffer(other, 5); err != nil {
				return err
			}
			if err := buf.Drain(1); err != nil {
				return err
			}
			return other.Drain(5)
		}},
		{"Close of another", func(buf, other *libevent.Buffer) error {
			if err := other.AddBuffer(buf); err != nil {
				return err
			}
			return other.Close()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			buf, other := newBuffer(t), newBuffer(t)
			ended := 0
			must(t, buf.AddReference([]byte("abc"), func() { ended++ }))
			must(t, buf.AddReference([]byte("de\n"), func() { ended++ }))
			must(t, test.run(buf, other))
			if ended != 2 {
				t.Errorf("%d cleanups, want 2", ended)
			}
		})
	}

	// An empty one goes with its neighbours, here when data are added behind it.
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference(nil, func() { ended++ }))
	write(t, buf, "x")
	if ended != 1 {
		t.Errorf("%d cleanups of an empty reference, want 1", ended)
	}
}

// TestBufferCleanupUsesBuffer changes the buffer in the cleanup of its own reference.
func TestBufferCleanupUsesBuffer(t *testing.T) {
	buf := newBuffer(t)
	left := 3
	var next func()
	next = func() {
		if left--; left == 0 {
			return
		}
		check(t, buf, "")
		must(t, buf.AddReference([]byte("abc"), next))
	}
	must(t, buf.AddReference([]byte("abc"), next))
	for i := 2; i >= 0; i-- {
		must(t, buf.Drain(3))
		if left != i {
			t.Fatalf("%d left, want %d", left, i)
		}
	}
	must(t, buf.AddReference([]byte("abc"), func() { must(t, buf.Close()) }))
	must(t, buf.Drain(3))
	wantErr(t, buf.Drain(1), "evbuffer_drain", libevent.ErrClosed)
}

// TestBufferCleanupBeforeMemory closes a buffer in the cleanup of a reference that a call lets
// go of on the way to memory of the buffer: it must not give what is no more.
func TestBufferCleanupBeforeMemory(t *testing.T) {
	for _, test := range []struct {
		name string
		op   string
		call func(*libevent.Buffer) error
	}{
		{"Reserve", "evbuffer_reserve_space", func(buf *libevent.Buffer) error {
			return second(buf.Reserve(5000, 2))
		}},
		{"AddIovec", "evbuffer_reserve_space", func(buf *libevent.Buffer) error {
			return second(buf.AddIovec([][]byte{make([]byte, 5000)}))
		}},
		{"ReadFrom", "evbuffer_reserve_space", func(buf *libevent.Buffer) error {
			return second(buf.ReadFrom(unread{t}))
		}},
		{"PullUp", "evbuffer_pullup", func(buf *libevent.Buffer) error {
			must(t, buf.Prepend([]byte("abc")))
			must(t, buf.AddReference([]byte("def"), nil))
			return second(buf.PullUp(-1))
		}},
	} {
		buf := newBuffer(t)
		closes := func() { must(t, buf.Close()) }
		if test.op == "evbuffer_pullup" {
			must(t, buf.AddReference([]byte("old"), closes))
		} else {
			must(t, buf.AddReference(nil, closes))
		}
		t.Run(test.name, func(t *testing.T) { wantErr(t, test.call(buf), test.op, libevent.ErrClosed) })
	}

	// One that only changes it: the memory is of the buffer as it is then.
	buf := newBuffer(t)
	must(t, buf.AddReference([]byte("old"), func() { must(t, buf.Drain(4)) }))
	write(t, buf, " text")
	if p, err := buf.PullUp(5); string(p) != "" || err == nil {
		t.Errorf("PullUp gives %q and %v of what is not there any more", p, err)
	}
	pulled(t, buf, "text")
}

// unread is a reader that must not be asked.
type unread struct{ t *testing.T }

func (r unread) Read([]byte) (int, error) {
	r.t.Error("Read was called for a closed buffer")
	return 0, io.EOF
}

// TestBufferCleanupPanics gets a cleanup's panic from the call that caused it, after the
// others have run.
func TestBufferCleanupPanics(t *testing.T) {
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference([]byte("abc"), func() { ended++ }))
	must(t, buf.AddReference([]byte("def"), func() { panic("broken cup") }))
	must(t, buf.AddReference([]byte("ghi"), func() { ended++ }))
	write(t, buf, "tail")
	func() {
		defer func() {
			if r := recover(); r != "broken cup" {
				t.Errorf("recovered %v", r)
			}
		}()
		buf.Drain(9)
	}()
	if ended != 2 {
		t.Errorf("%d other cleanups, want 2", ended)
	}
	pulled(t, buf, "tail")
}

// TestBufferCleanupGoexit ends the goroutine in a cleanup, and finds the buffer whole.
func TestBufferCleanupGoexit(t *testing.T) {
	endsInGoexit(t)
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference([]byte("abc"), runtime.Goexit))
	must(t, buf.AddReference([]byte("def"), func() { ended++ }))
	write(t, buf, "tail")
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf.Drain(6)
		t.Error("Drain has returned")
	}()
	<-done
	if ended != 1 {
		t.Errorf("%d other cleanups, want 1", ended)
	}
	pulled(t, buf, "tail")
}

// TestBufferReleaseInLoop lets go of references in the loop, as a BufferEvent does.
func TestBufferReleaseInLoop(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	defer b.Close()
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference([]byte("abc"), func() {
		ended++
		if _, err := buf.WriteString("next"); err != nil {
			t.Error(err)
		}
	}))
	must(t, buf.AddReference([]byte("def"), func() { panic("broken cup") }))
	must(t, buf.AddReference([]byte("ghi"), func() { ended++ }))
	if !ctest.DrainInLoop(b.Pointer(), buf.Pointer()) {
		t.Fatal("event_base_once failed")
	}
	func() {
		defer func() {
			var p *libevent.CallbackPanic
			if err, _ := recover().(error); !errors.As(err, &p) || p.Value != "broken cup" {
				t.Errorf("recovered %v", err)
			}
		}()
		b.Dispatch()
	}()
	if ended != 1 {
		t.Errorf("%d cleanups before the panic, want 1", ended)
	}
	must(t, b.Dispatch())
	if ended != 2 {
		t.Errorf("%d cleanups after the panic, want 2", ended)
	}
	check(t, buf, "next")
}

// TestBufferReleaseInClosedLoop closes the base before its loop has come to a cleanup.
func TestBufferReleaseInClosedLoop(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference([]byte("abc"), func() { ended++ }))
	if !ctest.DrainInLoop(b.Pointer(), buf.Pointer()) {
		t.Fatal("event_base_once failed")
	}
	must(t, b.Loop(libevent.EVLOOP_ONCE))
	if buf.Len() != 0 || ended != 0 {
		t.Fatalf("%d bytes and %d cleanups after one pass, want none", buf.Len(), ended)
	}
	must(t, b.Close())
	if ended != 1 {
		t.Errorf("%d cleanups after Close, want 1", ended)
	}
}

// TestBufferReleaseInBorrowedLoop closes a borrowed base in a callback, with a cleanup
// waiting behind that for its turn.
func TestBufferReleaseInBorrowedLoop(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	defer b.Close()
	borrowed, err := libevent.BaseFromPointer(b.Pointer())
	must(t, err)
	defer borrowed.Close()
	buf := newBuffer(t)
	ended := 0
	must(t, buf.AddReference([]byte("abc"), func() { ended++ }))
	must(t, borrowed.Post(func() {
		if err := borrowed.Post(func() {
			if ended != 0 {
				t.Error("the cleanup did not wait")
			}
			if err := borrowed.Close(); err != nil {
				t.Error(err)
			}
			if ended != 1 {
				t.Errorf("%d cleanups after Close, want 1", ended)
			}
		}); err != nil {
			t.Error(err)
		}
		ctest.Drain(buf.Pointer())
	}))
	must(t, b.Dispatch())
	if ended != 1 {
		t.Errorf("%d cleanups, want 1", ended)
	}
}

// TestBufferReleaseByC lets C code that this package does not know let go.
func TestBufferReleaseByC(t *testing.T) {
	buf := newBuffer(t)
	ended := make(chan struct{})
	must(t, buf.AddReference([]byte("abc"), func() { close(ended) }))
	ctest.Drain(buf.Pointer())
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the cleanup has not come")
	}
	check(t, buf, "")
}

// TestBufferReferenceKeepsMemory gives memory away that nothing else holds.
func TestBufferReferenceKeepsMemory(t *testing.T) {
	buf := newBuffer(t)
	var want strings.Builder
	for i := range 64 {
		p := bytes.Repeat([]byte{byte('a' + i%26)}, 10000)
		want.Write(p)
		must(t, buf.AddReference(p, nil))
	}
	for range 3 {
		runtime.GC()
		garbage := make([][]byte, 0, 64)
		for range 64 {
			garbage = append(garbage, bytes.Repeat([]byte{'#'}, 10000))
		}
		runtime.KeepAlive(garbage)
	}
	check(t, buf, want.String())

	// Memory of C's and a constant's need no pin.
	extents, err := newBuffer(t).Reserve(3, 1)
	must(t, err)
	copy(extents[0], "C's")
	constant := "text"
	must(t, buf.Drain(buf.Len()))
	must(t, buf.AddReference(extents[0][:3], nil))
	must(t, buf.AddReference(unsafe.Slice(unsafe.StringData(constant), len(constant)), nil))
	check(t, buf, "C'stext")
	must(t, buf.Drain(7))
}

// TestBufferPrepend puts bytes and buffers in front.
//
// Upstream: evbuffer/prepend
func TestBufferPrepend(t *testing.T) {
	buf := newBuffer(t)
	must(t, buf.Prepend([]byte("this text has 24 letters")))
	pulled(t, buf, "this text has 24 letters")
	must(t, buf.Prepend([]byte("Brief.")))
	check(t, buf, "Brief.this text has 24 letters")
	must(t, buf.Drain(6+10))
	must(t, buf.Prepend([]byte("it ")))
	if p := buf.Peek(); string(p) != "it has 24 letters" {
		t.Errorf("the first chunk is %q", p)
	}
	must(t, buf.Prepend([]byte("Nobody would say any more that ")))
	pulled(t, buf, "Nobody would say any more that it has 24 letters")

	a, b := newBuffer(t), newBuffer(t)
	write(t, a, "second. ")
	must(t, b.PrependBuffer(a))
	pulled(t, b, "second. ")
	write(t, a, "first, ")
	must(t, b.PrependBuffer(a))
	check(t, a, "")
	check(t, b, "first, second. ")
	write(t, b, "last.")
	pulled(t, b, "first, second. last.")

	long := strings.Repeat("A", 8096)
	must(t, b.Prepend([]byte(long)))
	if p, err := b.PullUp(8096); string(p) != long || err != nil {
		t.Errorf("PullUp of what was prepended gives %d bytes and %v", len(p), err)
	}
	must(t, b.Drain(8096))
	pulled(t, b, "first, second. last.")
}

// TestBufferPeek looks at chunks without taking them.
//
// Upstream: evbuffer/peek
// Upstream: evbuffer/peek_first_gt
func TestBufferPeek(t *testing.T) {
	var chunks []string
	for i := range 20 {
		chunks = append(chunks, fmt.Sprintf("what chunk <%d> has\n", i))
	}
	buf := newBuffer(t, chunks...)
	all := strings.Join(chunks, "")
	for _, test := range []struct {
		start, n int
		want     []string
	}{
		{0, -1, chunks},
		{0, math.MaxInt, chunks},
		{0, 0, nil},
		{0, 1, []string{"w"}},
		{0, 19, chunks[:1]},
		{0, 20, []string{chunks[0], "w"}},
		{0, 38, chunks[:2]},
		{0, 100, append(slices.Clone(chunks[:5]), chunks[5][:5])},
		{19, 19, chunks[1:2]},
		{30, 30, []string{chunks[1][11:], chunks[2], "wha"}},
		{len(all) - 1, -1, []string{"\n"}},
		{len(all), -1, nil},
		{len(all), 5, nil},
	} {
		vec, err := buf.PeekVec(nil, test.start, test.n)
		var got []string
		for _, p := range vec {
			got = append(got, string(p))
		}
		if !slices.Equal(got, test.want) || err != nil {
			t.Errorf("PeekVec(%d, %d) gives %q and %v, want %q", test.start, test.n, got, err, test.want)
		}
	}
	if p := buf.Peek(); string(p) != chunks[0] {
		t.Errorf("Peek gives %q", p)
	}
	check(t, buf, all)
	vec, err := buf.PeekVec([][]byte{[]byte("mine")}, 19, 1)
	if err != nil || len(vec) != 2 || string(vec[0]) != "mine" || string(vec[1]) != "w" {
		t.Errorf("PeekVec behind another slice gives %q and %v", vec, err)
	}
	if vec, err := newBuffer(t).PeekVec(nil, 0, 50); vec != nil || err != nil {
		t.Errorf("PeekVec of an empty buffer gives %q and %v", vec, err)
	}
}

// TestBufferFreeze refuses at the frozen end, leaves everything as it was, and goes on at
// the other.
//
// Upstream: evbuffer/freeze_start
// Upstream: evbuffer/freeze_end
func TestBufferFreeze(t *testing.T) {
	r, w := pipe(t)
	atEnd := []struct {
		op  string
		run func(buf *libevent.Buffer) error
	}{
		{"evbuffer_add", func(buf *libevent.Buffer) error { return second(buf.Write(nil)) }},
		{"evbuffer_add", func(buf *libevent.Buffer) error { return second(buf.Write([]byte("abc"))) }},
		{"evbuffer_add", func(buf *libevent.Buffer) error { return second(buf.WriteString("abc")) }},
		{"evbuffer_add", func(buf *libevent.Buffer) error { return buf.WriteByte('a') }},
		{"evbuffer_add", func(buf *libevent.Buffer) error { return second(buf.AddIovec(nil)) }},
		{"evbuffer_reserve_space", func(buf *libevent.Buffer) error { return second(buf.AddIovec([][]byte{{'a'}})) }},
		{"evbuffer_reserve_space", func(buf *libevent.Buffer) error { return second(buf.Reserve(10, 1)) }},
		{"evbuffer_reserve_space", func(buf *libevent.Buffer) error { return second(buf.ReadFrom(strings.NewReader("abc"))) }},
		{"evbuffer_commit_space", func(buf *libevent.Buffer) error { return buf.Commit() }},
		{"evbuffer_add_reference", func(buf *libevent.Buffer) error {
			return buf.AddReference([]byte("abc"), func() { t.Error("the cleanup of what was refused came") })
		}},
		{"evbuffer_add_buffer", func(buf *libevent.Buffer) error { return buf.AddBuffer(newBuffer(t, "xyz")) }},
		{"evbuffer_remove_buffer", func(buf *libevent.Buffer) error { return second(newBuffer(t, "xyz").RemoveBuffer(buf, 2)) }},
		{"evbuffer_read", func(buf *libevent.Buffer) error {
			if _, err := syscall.Write(w, []byte("abc")); err != nil {
				t.Fatal(err)
			}
			return second(buf.ReadFD(r, -1))
		}},
	}
	atStart := []struct {
		op  string
		run func(buf *libevent.Buffer) error
	}{
		{"evbuffer_remove", func(buf *libevent.Buffer) error { return second(buf.Read(make([]byte, 1))) }},
		{"evbuffer_remove", func(buf *libevent.Buffer) error { return second(buf.ReadByte()) }},
		{"evbuffer_drain", func(buf *libevent.Buffer) error { return buf.Drain(3) }},
		{"evbuffer_drain", func(buf *libevent.Buffer) error { return second(buf.WriteTo(io.Discard)) }},
		{"evbuffer_prepend", func(buf *libevent.Buffer) error { return buf.Prepend([]byte("abc")) }},
		{"evbuffer_prepend_buffer", func(buf *libevent.Buffer) error { return buf.PrependBuffer(newBuffer(t, "xyz")) }},
		{"evbuffer_readln", func(buf *libevent.Buffer) error { return second(buf.ReadLine(libevent.EVBUFFER_EOL_LF)) }},
		{"evbuffer_copyout", func(buf *libevent.Buffer) error { return second(buf.CopyOut(make([]byte, 1))) }},
		{"evbuffer_remove_buffer", func(buf *libevent.Buffer) error { return second(buf.RemoveBuffer(newBuffer(t), 3)) }},
		{"evbuffer_add_buffer", func(buf *libevent.Buffer) error { return newBuffer(t).AddBuffer(buf) }},
		{"evbuffer_write", func(buf *libevent.Buffer) error { return second(buf.WriteFD(w, -1)) }},
	}
	for _, start := range []bool{false, true} {
		frozen, free := atEnd, atStart
		if start {
			frozen, free = atStart, atEnd
		}
		for _, test := range frozen {
			buf := newBuffer(t, "\nline\n", "more")
			must(t, buf.Freeze(start))
			wantErr(t, test.run(buf), test.op, syscall.EPERM)
			vec, err := buf.PeekVec(nil, 0, -1)
			if got := bytes.Join(vec, nil); err != nil || string(got) != "\nline\nmore" {
				t.Errorf("after %s the buffer has %q, %v", test.op, got, err)
			}
			must(t, buf.Unfreeze(start))
			if test.op != "evbuffer_add_reference" {
				must(t, test.run(buf))
			}
		}
		for _, test := range free {
			if test.op == "evbuffer_add_reference" {
				continue
			}
			buf := newBuffer(t, "\nline\n", "more")
			must(t, buf.Freeze(start))
			if err := test.run(buf); err != nil {
				t.Errorf("with the other end frozen: %v", err)
			}
		}
	}
}

// TestBufferAddIovec adds several slices at once.
//
// Upstream: evbuffer/add_iovec
func TestBufferAddIovec(t *testing.T) {
	for _, vec := range [][]string{
		{"An edge is ", "no place ", "", "to stand."},
		{strings.Repeat("a", 10), strings.Repeat("b", 2000), strings.Repeat("c", 30000), "d"},
		{"", ""},
		nil,
	} {
		for _, before := range []string{"", strings.Repeat("-", 900)} {
			buf := newBuffer(t)
			write(t, buf, before)
			var slices [][]byte
			for _, s := range vec {
				slices = append(slices, []byte(s))
			}
			want := strings.Join(vec, "")
			if n, err := buf.AddIovec(slices); n != len(want) || err != nil {
				t.Errorf("AddIovec of %d bytes gives %d and %v", len(want), n, err)
			}
			check(t, buf, before+want)
		}
	}
}

// TestBufferCopyOut copies from anywhere and takes nothing.
//
// Upstream: evbuffer/copyout
func TestBufferCopyOut(t *testing.T) {
	text := strings.Repeat("0123456789abcdefghijkl", 10)[:206]
	buf := newBuffer(t, text[:80], text[80:160])
	write(t, buf, text[160:])
	for _, test := range []struct{ start, n, want int }{
		{0, 0, 0},
		{0, 10, 10},
		{0, 100, 100},
		{0, 230, 206},
		{15, 10, 10},
		{15, 65, 65},
		{15, 90, 90},
		{15, 160, 160},
		{15, 999, 191},
		{206, 10, 0},
	} {
		p := make([]byte, test.n)
		n, err := buf.CopyOutFrom(p, test.start)
		if want := text[test.start:][:test.want]; err != nil || string(p[:n]) != want {
			t.Errorf("%d bytes from %d are %q and %v, want %q", test.n, test.start, p[:n], err, want)
		}
		if test.start == 0 {
			if n, err := buf.CopyOut(p); n != test.want || err != nil {
				t.Errorf("CopyOut of %d gives %d and %v", test.n, n, err)
			}
		}
	}
	check(t, buf, text)
}

// pipe makes a non-blocking pipe.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var fds [2]int
	must(t, syscall.Pipe(fds[:]))
	for _, fd := range fds {
		must(t, syscall.SetNonblock(fd, true))
		t.Cleanup(func() { syscall.Close(fd) })
	}
	return fds[0], fds[1]
}

// TestBufferFD moves bytes through a pipe until it is full, empty and at its end.
func TestBufferFD(t *testing.T) {
	var fds [2]int
	must(t, syscall.Pipe(fds[:]))
	r, w := fds[0], fds[1]
	defer syscall.Close(r)
	must(t, syscall.SetNonblock(r, true))
	must(t, syscall.SetNonblock(w, true))
	buf := newBuffer(t)

	if n, err := buf.ReadFD(r, -1); n != 0 || err != syscall.EAGAIN {
		t.Errorf("ReadFD of an empty pipe gives %d and %v", n, err)
	}
	if n, err := buf.WriteFD(w, -1); n != 0 || err != nil {
		t.Errorf("WriteFD of an empty buffer gives %d and %v", n, err)
	}
	write(t, buf, strings.Repeat("x", 5000))
	for _, max := range []int{0, 100, 5000 - 100} {
		if n, err := buf.WriteFD(w, max); n != max || err != nil {
			t.Errorf("WriteFD of %d gives %d and %v", max, n, err)
		}
	}
	check(t, buf, "")
	for _, test := range []struct{ max, want int }{{0, 0}, {10, 10}, {-1, 4096}, {math.MaxInt, 894}} {
		if n, err := buf.ReadFD(r, test.max); n != test.want || err != nil {
			t.Errorf("ReadFD of %d gives %d and %v, want %d", test.max, n, err, test.want)
		}
	}
	check(t, buf, strings.Repeat("x", 5000))

	// Fill the pipe.
	for {
		write(t, buf, strings.Repeat("y", 1<<16))
		n, err := buf.WriteFD(w, -1)
		if err == syscall.EAGAIN && n == 0 {
			break
		}
		must(t, err)
	}
	left := buf.Len()
	must(t, buf.Drain(left))
	syscall.Close(w)
	for {
		_, err := buf.ReadFD(r, -1)
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	if n, err := buf.ReadFD(r, -1); n != 0 || err != io.EOF {
		t.Errorf("ReadFD at the end gives %d and %v", n, err)
	}
	_, err := buf.WriteFD(w, -1)
	wantErr(t, err, "evbuffer_write", syscall.EBADF)
}

// TestBufferFDPeerGone writes to a pipe that nobody reads.
func TestBufferFDPeerGone(t *testing.T) {
	var fds [2]int
	must(t, syscall.Pipe(fds[:]))
	syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	buf := newBuffer(t, "abc")
	n, err := buf.WriteFD(fds[1], -1)
	if n != 0 {
		t.Errorf("WriteFD gives %d", n)
	}
	wantErr(t, err, "evbuffer_write", syscall.EPIPE)
	check(t, buf, "abc")
}

// TestBufferIO uses the buffer through package io.
func TestBufferIO(t *testing.T) {
	text := strings.Repeat("all that goes in comes out again; ", 1000)

	t.Run("iotest", func(t *testing.T) {
		buf := newBuffer(t)
		write(t, buf, text)
		must(t, iotest.TestReader(struct{ io.Reader }{buf}, []byte(text)))
	})
	t.Run("empty", func(t *testing.T) {
		buf := newBuffer(t)
		if n, err := buf.Read(nil); n != 0 || err != nil {
			t.Errorf("Read of nothing gives %d and %v", n, err)
		}
		if n, err := buf.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read of an empty buffer gives %d and %v", n, err)
		}
		if _, err := buf.ReadByte(); err != io.EOF {
			t.Errorf("ReadByte of an empty buffer gives %v", err)
		}
	})
	t.Run("bytes and strings", func(t *testing.T) {
		buf := newBuffer(t)
		must(t, buf.WriteByte('a'))
		if n, err := io.WriteString(buf, "bc"); n != 2 || err != nil {
			t.Errorf("WriteString gives %d and %v", n, err)
		}
		check(t, buf, "abc")
		if c, err := buf.ReadByte(); c != 'a' || err != nil {
			t.Errorf("ReadByte gives %q and %v", c, err)
		}
		check(t, buf, "bc")
	})
	t.Run("ReadFrom", func(t *testing.T) {
		for _, r := range []io.Reader{
			strings.NewReader(text),
			iotest.OneByteReader(strings.NewReader(text[:1000])),
			iotest.DataErrReader(strings.NewReader(text)),
			newBuffer(t, text[:10], text[10:]),
		} {
			buf := newBuffer(t)
			n, err := buf.ReadFrom(r)
			if err != nil || int(n) != buf.Len() || n < 1000 {
				t.Errorf("ReadFrom %T gives %d and %v", r, n, err)
			}
			check(t, buf, text[:n])
		}
	})
	t.Run("WriteTo", func(t *testing.T) {
		buf := newBuffer(t, text[:10], "", text[10:])
		var out bytes.Buffer
		if n, err := buf.WriteTo(&out); int(n) != len(text) || err != nil || out.String() != text {
			t.Errorf("WriteTo gives %d and %v", n, err)
		}
		check(t, buf, "")
		write(t, buf, text)
		other := newBuffer(t)
		if n, err := io.Copy(other, buf); int(n) != len(text) || err != nil {
			t.Errorf("Copy gives %d and %v", n, err)
		}
		check(t, other, text)
		check(t, buf, "")
	})
	t.Run("failures", func(t *testing.T) {
		buf := newBuffer(t)
		n, err := buf.ReadFrom(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(os.ErrDeadlineExceeded)))
		if n != 3 || err != os.ErrDeadlineExceeded {
			t.Errorf("ReadFrom gives %d and %v", n, err)
		}
		check(t, buf, "abc")
		wantErr(t, second(buf.ReadFrom(buf)), "evbuffer_add_buffer", syscall.EINVAL)
		wantErr(t, second(buf.WriteTo(buf)), "evbuffer_add_buffer", syscall.EINVAL)
		wantErr(t, second(buf.ReadFrom(count(-1))), "evbuffer_commit_space", syscall.EINVAL)
		wantErr(t, second(buf.ReadFrom(count(math.MaxInt))), "evbuffer_commit_space", syscall.EINVAL)
		wantErr(t, second(buf.WriteTo(count(-1))), "evbuffer_drain", syscall.EINVAL)
		wantErr(t, second(buf.WriteTo(count(4))), "evbuffer_drain", syscall.EINVAL)
		wantErr(t, second(buf.ReadFrom(nil)), "evbuffer_commit_space", syscall.EINVAL)
		wantErr(t, second(buf.WriteTo(nil)), "evbuffer_drain", syscall.EINVAL)
		wantErr(t, second(buf.ReadFrom((*libevent.Buffer)(nil))), "evbuffer_add_buffer", syscall.EINVAL)
		wantErr(t, second(buf.WriteTo((*libevent.Buffer)(nil))), "evbuffer_add_buffer", syscall.EINVAL)
		check(t, buf, "abc")
		if n, err := buf.WriteTo(count(1)); n != 1 || err != io.ErrShortWrite {
			t.Errorf("WriteTo gives %d and %v", n, err)
		}
		check(t, buf, "bc")
	})
	t.Run("from inside", func(t *testing.T) {
		buf := newBuffer(t, "abc")
		busy := user(func() {
			if n := buf.Len(); n != 0 {
				t.Errorf("Len gives %d", n)
			}
			wantErr(t, buf.Drain(3), "evbuffer_drain", syscall.EBUSY)
			wantErr(t, buf.Close(), "evbuffer_free", syscall.EBUSY)
		})
		if n, err := buf.WriteTo(busy); n != 3 || err != nil {
			t.Errorf("WriteTo gives %d and %v", n, err)
		}
		if n, err := buf.ReadFrom(busy); n != 0 || err != nil {
			t.Errorf("ReadFrom gives %d and %v", n, err)
		}
		// A panic in between does not leave it busy.
		func() {
			defer func() { recover() }()
			buf.ReadFrom(user(func() { panic("reader") }))
			t.Error("ReadFrom has returned")
		}()
		write(t, buf, "def")
		check(t, buf, "def")
	})
}

// count is a reader and writer that says it has moved so many bytes.
type count int

func (c count) Read([]byte) (int, error)  { return int(c), nil }
func (c count) Write([]byte) (int, error) { return int(c), nil }

// user is a reader at its end, and a writer, that calls a function.
type user func()

func (u user) Read([]byte) (int, error)    { u(); return 0, io.EOF }
func (u user) Write(p []byte) (int, error) { u(); return len(p), nil }

// TestBufferClosed uses a closed buffer.
func TestBufferClosed(t *testing.T) {
	before := libevent.BuffersAlive()
	buf := newBuffer(t, "abc")
	if n := libevent.BuffersAlive(); n != before+1 {
		t.Errorf("%d more buffers are alive, want 1", n-before)
	}
	must(t, buf.Close())
	must(t, buf.Close())
	if n := libevent.BuffersAlive(); n != before {
		t.Errorf("%d more buffers are alive, want 0", n-before)
	}
	if buf.Len() != 0 || buf.Bytes() != nil || buf.Peek() != nil || buf.Search([]byte("a")) != -1 || buf.Pointer() != nil {
		t.Error("a closed buffer has something in it")
	}
	other := newBuffer(t, "abc")
	for _, err := range []error{
		second(buf.Write(nil)),
		second(buf.WriteString("")),
		buf.WriteByte(0),
		second(buf.AddIovec(nil)),
		buf.Prepend(nil),
		buf.AddBuffer(other),
		other.AddBuffer(buf),
		buf.PrependBuffer(other),
		other.PrependBuffer(buf),
		second(buf.RemoveBuffer(other, 1)),
		second(other.RemoveBuffer(buf, 1)),
		second(buf.Read(nil)),
		second(buf.ReadByte()),
		buf.Drain(0),
		second(buf.ReadLine(0)),
		func() error { _, _, err := buf.SearchEOL(0, 0); return err }(),
		second(buf.SearchRange(nil, 0, -1)),
		second(buf.CopyOut(nil)),
		second(buf.CopyOutFrom(nil, 0)),
		second(buf.PeekVec(nil, 0, -1)),
		second(buf.PullUp(0)),
		buf.Expand(0),
		second(buf.Reserve(1, 1)),
		buf.Commit(),
		buf.Freeze(true),
		buf.Unfreeze(true),
		second(buf.ReadFD(0, 0)),
		second(buf.WriteFD(0, 0)),
		second(buf.ReadFrom(other)),
		second(other.ReadFrom(buf)),
		second(buf.ReadFrom(strings.NewReader("abc"))),
		second(buf.WriteTo(io.Discard)),
		buf.AddReference(nil, func() { t.Error("the cleanup of what was refused came") }),
		buf.EnableLocking(),
	} {
		if !errors.Is(err, libevent.ErrClosed) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("the error is %v, want ErrClosed", err)
		}
	}
	check(t, other, "abc")
}

// TestBufferBorrowed closes a borrowed buffer, which leaves the evbuffer as it is.
func TestBufferBorrowed(t *testing.T) {
	buf := newBuffer(t, "abc")
	borrowed, err := libevent.BufferFromPointer(buf.Pointer())
	must(t, err)
	write(t, borrowed, "def")
	if borrowed.Pointer() != buf.Pointer() {
		t.Error("the pointers differ")
	}
	must(t, borrowed.Close())
	wantErr(t, borrowed.Drain(1), "evbuffer_drain", libevent.ErrClosed)
	pulled(t, buf, "abcdef")
}

// TestBufferOfBufferEvent uses the buffers of a BufferEvent, whose loop sends what was
// added by reference.
func TestBufferOfBufferEvent(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	defer b.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	must(t, err)
	defer syscall.Close(fds[0])
	bev, err := b.NewBufferEvent(fds[1], libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	in, out := bev.Input(), bev.Output()

	wantErr(t, in.Close(), "evbuffer_free", syscall.EINVAL)
	wantErr(t, second(in.Write([]byte("abc"))), "evbuffer_add", syscall.EPERM)
	wantErr(t, in.AddBuffer(newBuffer(t, "abc")), "evbuffer_add_buffer", syscall.EPERM)
	write(t, out, "first, ")
	wantErr(t, out.Drain(1), "evbuffer_drain", syscall.EPERM)
	ended := 0
	must(t, out.AddReference([]byte("last"), func() {
		ended++
		if n := out.Len(); n != 0 {
			t.Errorf("%d bytes are left in the cleanup", n)
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	}))
	guard := time.AfterFunc(10*time.Second, func() { b.Stop() })
	defer guard.Stop()
	must(t, b.Dispatch())
	if ended != 1 {
		t.Errorf("%d cleanups, want 1", ended)
	}
	p := make([]byte, 32)
	n, err := syscall.Read(fds[0], p)
	if err != nil || string(p[:n]) != "first, last" {
		t.Errorf("the peer has got %q and %v", p[:n], err)
	}

	must(t, bev.Close())
	for _, buf := range []*libevent.Buffer{in, out} {
		wantErr(t, second(buf.Write(nil)), "evbuffer_add", libevent.ErrClosed)
		wantErr(t, buf.Close(), "evbuffer_free", syscall.EINVAL)
		if buf.Len() != 0 || buf.Peek() != nil || buf.Pointer() != nil {
			t.Error("the buffer of a closed BufferEvent has something in it")
		}
	}
}

// TestBufferReferenceEndsWithBase closes the base while a reference waits to be sent.
func TestBufferReferenceEndsWithBase(t *testing.T) {
	b, err := libevent.New()
	must(t, err)
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	must(t, err)
	defer syscall.Close(fds[0])
	bev, err := b.NewBufferEvent(fds[1], libevent.BEV_OPT_CLOSE_ON_FREE)
	must(t, err)
	ended := 0
	must(t, bev.Output().AddReference([]byte("abc"), func() { ended++ }))
	must(t, b.Close())
	if ended != 1 {
		t.Errorf("%d cleanups after Close, want 1", ended)
	}
}

// TestBufferLocking gives a buffer its lock, once.
func TestBufferLocking(t *testing.T) {
	buf := newBuffer(t)
	must(t, buf.EnableLocking())
	wantErr(t, buf.EnableLocking(), "evbuffer_enable_locking", syscall.EALREADY)
	write(t, buf, "abc")
	must(t, buf.AddBuffer(newBuffer(t, "def")))
	pulled(t, buf, "abcdef")
}

// TestBufferOutOfMemory lets each allocation of each call fail in turn: the call says so
// and changes nothing.
func TestBufferOutOfMemory(t *testing.T) {
	block, reference := strings.Repeat("b", 3000), strings.Repeat("r", 3000)
	for _, test := range []struct {
		name string
		run  func(buf *libevent.Buffer) error
	}{
		{"Write", func(buf *libevent.Buffer) error { return second(buf.Write([]byte(block))) }},
		{"Prepend", func(buf *libevent.Buffer) error { return buf.Prepend([]byte(block)) }},
		{"AddIovec", func(buf *libevent.Buffer) error { return second(buf.AddIovec([][]byte{[]byte(block), []byte(block)})) }},
		{"PullUp", func(buf *libevent.Buffer) error { return second(buf.PullUp(-1)) }},
		{"Expand", func(buf *libevent.Buffer) error { return buf.Expand(10000) }},
		{"Reserve", func(buf *libevent.Buffer) error { return second(buf.Reserve(10000, 1)) }},
		{"Reserve in many", func(buf *libevent.Buffer) error { return second(buf.Reserve(10000, 4)) }},
		{"AddReference", func(buf *libevent.Buffer) error { return buf.AddReference([]byte("abc"), nil) }},
		{"EnableLocking", (*libevent.Buffer).EnableLocking},
	} {
		t.Run(test.name, func(t *testing.T) {
			for n := int64(1); ; n++ {
				buf := newBuffer(t)
				// The first chunk has free space at its start.
				write(t, buf, "123456789")
				must(t, buf.Drain(4))
				must(t, buf.AddReference([]byte(reference), nil))
				ctest.FailAllocation(n)
				err := test.run(buf)
				if ctest.FailAllocation(0) > 0 {
					if n == 1 {
						t.Error("it allocates nothing")
					}
					return
				}
				if !errors.Is(err, syscall.ENOMEM) {
					t.Errorf("without memory the error is %v", err)
				}
				pulled(t, buf, "56789"+reference)
			}
		})
	}
	ctest.FailAllocation(1)
	_, err := libevent.NewBuffer()
	ctest.FailAllocation(0)
	wantErr(t, err, "evbuffer_new", syscall.ENOMEM)
}

// TestBufferRemoveBufferOutOfMemory has no memory for the part of a chunk that moves.
func TestBufferRemoveBufferOutOfMemory(t *testing.T) {
	src, dst := newBuffer(t, "one", "two"), newBuffer(t)
	ctest.FailAllocation(1)
	_, err := src.RemoveBuffer(dst, 4)
	ctest.FailAllocation(0)
	wantErr(t, err, "evbuffer_remove_buffer", syscall.ENOMEM)
}

// TestBufferLeaks frees all that it has allocated.
func TestBufferLeaks(t *testing.T) {
	blocks, size := ctest.Allocated()
	for range 100 {
		a, err := libevent.NewBuffer()
		must(t, err)
		b, err := libevent.NewBuffer()
		must(t, err)
		must(t, a.AddReference(make([]byte, 3000), func() {}))
		write(t, a, "abc\n")
		must(t, a.Expand(5000))
		must(t, b.AddBuffer(a))
		must(t, b.EnableLocking())
		must(t, b.Drain(3000))
		must(t, second(b.ReadLine(libevent.EVBUFFER_EOL_LF)))
		must(t, a.AddReference(nil, nil))
		must(t, a.Close())
		must(t, b.Close())
	}
	if b, s := ctest.Allocated(); b != blocks || s != size {
		t.Errorf("%d blocks and %d bytes more than before", b-blocks, s-size)
	}
}

// TestBufferAllocations does the common things without allocating in Go.
func TestBufferAllocations(t *testing.T) {
	buf := newBuffer(t)
	p := make([]byte, 64)
	vec := make([][]byte, 0, 4)
	r, w := pipe(t)
	for name, run := range map[string]func(){
		"Write, Read":      func() { buf.Write(p); buf.Read(p) },
		"Write, Drain":     func() { buf.Write(p); buf.Drain(buf.Len()) },
		"Write, Peek":      func() { buf.Write(p); buf.Drain(len(buf.Peek())) },
		"PeekVec":          func() { vec, _ = buf.PeekVec(vec[:0], 0, -1) },
		"bytes":            func() { buf.WriteByte('x'); buf.ReadByte() },
		"WriteString":      func() { buf.WriteString("text"); buf.Drain(4) },
		"Reserve, Commit":  func() { buf.Reserve(64, 2); buf.Commit(1); buf.Drain(1) },
		"Search":           func() { buf.Search(p); buf.SearchEOL(0, libevent.EVBUFFER_EOL_ANY) },
		"WriteFD, ReadFD":  func() { buf.Write(p); buf.WriteFD(w, -1); buf.ReadFD(r, -1); buf.Drain(64) },
		"ReadFD, EAGAIN":   func() { buf.ReadFD(r, -1) },
		"ReadLine, EAGAIN": func() { buf.ReadLine(libevent.EVBUFFER_EOL_LF) },
	} {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// model is what a Buffer ought to be.
type model struct {
	buf  *libevent.Buffer
	want []byte
}

// FuzzBuffer makes the same changes to two Buffers and to two byte slices.
func FuzzBuffer(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 64 {
		program := make([]byte, 600)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		var ended, added int
		m := [2]model{{buf: newBuffer(t)}, {buf: newBuffer(t)}}
		letters := byte(0)
		for len(program) >= 3 {
			op, n := program[0], int(program[1])*int(program[2]>>4+1)
			program = program[3:]
			a, b := &m[op>>7], &m[1-op>>7]
			data := make([]byte, n)
			for i := range data {
				letters++
				data[i] = letters
			}
			most := min(n, len(a.want))
			switch op & 0x7f % 15 {
			case 0:
				must(t, second(a.buf.Write(data)))
				a.want = append(a.want, data...)
			case 1:
				must(t, a.buf.Prepend(data))
				a.want = append(slices.Clone(data), a.want...)
			case 2:
				must(t, a.buf.Drain(n))
				a.want = a.want[most:]
			case 3:
				got, err := a.buf.Read(data)
				if n > 0 && most == 0 && err == io.EOF {
					err = nil
				}
				if err != nil || !bytes.Equal(data[:got], a.want[:most]) {
					t.Fatalf("Read gives %q and %v, want %q", data[:got], err, a.want[:most])
				}
				a.want = a.want[most:]
			case 4:
				must(t, a.buf.AddBuffer(b.buf))
				a.want, b.want = append(a.want, b.want...), nil
			case 5:
				must(t, a.buf.PrependBuffer(b.buf))
				a.want, b.want = append(slices.Clone(b.want), a.want...), nil
			case 6:
				got, err := a.buf.RemoveBuffer(b.buf, n)
				if got != most || err != nil {
					t.Fatalf("RemoveBuffer of %d gives %d and %v, want %d", n, got, err, most)
				}
				b.want, a.want = append(b.want, a.want[:most]...), a.want[most:]
			case 7:
				p, err := a.buf.PullUp(most)
				if err != nil || !bytes.Equal(copyOf(p), a.want[:most]) {
					t.Fatalf("PullUp gives %q and %v, want %q", p, err, a.want[:most])
				}
			case 8:
				must(t, a.buf.Expand(n))
			case 9:
				extents, err := a.buf.Reserve(n+1, int(op>>4)%libevent.MaxExtents+1)
				must(t, err)
				lengths := make([]int, len(extents))
				for i, extent := range extents {
					// Every second one is left short.
					lengths[i] = copy(extent[:len(extent)>>(i&1)], data)
					a.want = append(a.want, data[:lengths[i]]...)
					data = data[lengths[i]:]
				}
				must(t, a.buf.Commit(lengths...))
			case 10:
				added++
				must(t, a.buf.AddReference(data, func() { ended++ }))
				a.want = append(a.want, data...)
			case 11:
				half := n / 2
				must(t, second(a.buf.AddIovec([][]byte{data[:half], data[half:]})))
				a.want = append(a.want, data...)
			case 12:
				if most == 0 {
					break
				}
				what := a.want[most-1 : min(most+2, len(a.want))]
				if got, want := a.buf.Search(what), bytes.Index(a.want, what); got != want {
					t.Fatalf("Search gives %d, want %d", got, want)
				}
			case 13:
				line, err := a.buf.ReadLine(libevent.EVBUFFER_EOL_LF)
				want, rest, found := bytes.Cut(a.want, []byte("\n"))
				if found != (err == nil) || (found && !bytes.Equal(line, want)) {
					t.Fatalf("ReadLine gives %q and %v, want %q", line, err, want)
				}
				if found {
					a.want = rest
				}
			case 14:
				chunk := copyOf(a.buf.Peek())
				if (len(chunk) == 0) != (len(a.want) == 0) || !bytes.HasPrefix(a.want, chunk) {
					t.Fatalf("Peek gives %q of %q", chunk, a.want)
				}
			}
			for i := range m {
				vec, err := m[i].buf.PeekVec(nil, 0, -1)
				if got := bytes.Join(vec, nil); err != nil || m[i].buf.Len() != len(m[i].want) || !bytes.Equal(got, m[i].want) {
					t.Fatalf("after %d of buffer %d the buffer %d has %q and %v, want %q",
						op&0x7f%15, op>>7, i, got, err, m[i].want)
				}
			}
		}
		for i := range m {
			must(t, m[i].buf.Close())
		}
		if ended != added {
			t.Errorf("%d cleanups of %d references", ended, added)
		}
	})
}

func ExampleBuffer() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()

	buf.WriteString("GET / HTTP/1.0\r\nHost: local")
	for {
		line, err := buf.ReadLine(libevent.EVBUFFER_EOL_CRLF)
		if err == syscall.EAGAIN {
			break // the rest of the line has yet to come
		}
		fmt.Printf("%q\n", line)
	}
	fmt.Println(buf.Len(), "bytes left")
	// Output:
	// "GET / HTTP/1.0"
	// 11 bytes left
}

func ExampleEOL() {
	for _, style := range []libevent.EOL{libevent.EVBUFFER_EOL_ANY, libevent.EVBUFFER_EOL_CRLF, libevent.EVBUFFER_EOL_LF} {
		buf, err := libevent.NewBuffer()
		orPanic(err)
		_, err = buf.WriteString("a line\r\n\r\nthe next\n")
		orPanic(err)
		first, err := buf.ReadLine(style)
		orPanic(err)
		second, err := buf.ReadLine(style)
		orPanic(err)
		fmt.Printf("%v: %q %q\n", style, first, second)
		orPanic(buf.Close())
	}
	// Output:
	// EVBUFFER_EOL_ANY: "a line" "the next"
	// EVBUFFER_EOL_CRLF: "a line" ""
	// EVBUFFER_EOL_LF: "a line\r" "\r"
}

func ExampleBuffer_Peek() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()

	buf.WriteString("to be looked at, and then taken")
	for buf.Len() > 0 {
		chunk := buf.Peek() // the buffer's own memory
		fmt.Printf("%s\n", chunk)
		buf.Drain(len(chunk))
	}
	// Output: to be looked at, and then taken
}

func ExampleBuffer_AddReference() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()

	page := []byte("a page that many share")
	buf.WriteString("header: ")
	buf.AddReference(page, func() { fmt.Println("nobody needs the page any more") })

	io.Copy(os.Stdout, buf)
	// Output: header: a page that many sharenobody needs the page any more
}

func ExampleBuffer_Reserve() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()

	extents, err := buf.Reserve(64, 1)
	if err != nil {
		panic(err)
	}
	text := time.Date(2020, 12, 30, 12, 0, 0, 0, time.UTC).AppendFormat(extents[0][:0], time.DateOnly)
	if err := buf.Commit(len(text)); err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", buf.Bytes())
	// Output: 2020-12-30
}

// BenchmarkBuffer moves 1 KiB in and out of a Buffer, and of a bytes.Buffer, which needs
// no crossing to C.
func BenchmarkBuffer(b *testing.B) {
	p := make([]byte, 1024)
	buf := newBuffer(b)
	for _, bench := range []struct {
		name string
		run  func()
	}{
		{"Write+Read", func() { buf.Write(p); buf.Read(p) }},
		{"Write+Peek+Drain", func() { buf.Write(p); buf.Drain(len(buf.Peek())) }},
		{"Reserve+Commit+Drain", func() { buf.Reserve(1024, 1); buf.Commit(1024); buf.Drain(1024) }},
		{"AddReference+Drain", func() { buf.AddReference(p, nil); buf.Drain(1024) }},
		{"Len", func() { buf.Len() }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.run()
			}
		})
	}
	b.Run("bytes.Buffer Write+Read", func(b *testing.B) {
		b.ReportAllocs()
		var buf bytes.Buffer
		for b.Loop() {
			buf.Write(p)
			buf.Read(p)
		}
	})
}

// A read that finds nothing can still let go of an empty reference.
func TestReadFDReleasesReferences(t *testing.T) {
	buf := newBuffer(t)
	r, _ := pipe(t)
	released := 0
	must(t, buf.AddReference(nil, func() { released++ }))
	if _, err := buf.ReadFD(r, -1); err != syscall.EAGAIN {
		t.Errorf("ReadFD gives %v", err)
	}
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

// Frozen ends refuse also when there is nothing to move.
func TestRemoveBufferOfNothingFrozen(t *testing.T) {
	src, dst := newBuffer(t), newBuffer(t)
	must(t, dst.Freeze(false))
	_, err := src.RemoveBuffer(dst, 1)
	isErrno(t, err, syscall.EPERM)
}

// rw is a function as a Reader and a Writer.
type rw func(p []byte) (int, error)

func (f rw) Read(p []byte) (int, error)  { return f(p) }
func (f rw) Write(p []byte) (int, error) { return f(p) }

// TestBufferLentByBufferEvent uses a BufferEvent while a Reader or a Writer has memory of its
// buffers, which stays as it is. The chunk is large enough to have a mapping of its own.
func TestBufferLentByBufferEvent(t *testing.T) {
	text := strings.Repeat("0123456789", 100_000)
	for _, inLoop := range []bool{false, true} {
		b, err := libevent.New()
		must(t, err)
		near, far := bevTwo(t, b, true, 0)
		must(t, far.Enable(libevent.EV_READ))
		must(t, second(near.WriteString(text)))
		own := newBuffer(t)
		// use does what would let go of the memory.
		use := func() {
			isErrno(t, second(far.Read(make([]byte, 10))), syscall.EPERM)
			isErrno(t, far.ReadBuffer(own), syscall.EPERM)
			if _, err := near.WriteString(text); err == nil {
				t.Error("more is written to the output")
			}
			must(t, near.Close())
			must(t, far.Close())
			isErrno(t, b.Close(), libevent.ErrRunning)
			if !inLoop {
				loopPass(t, b)
				loopPass(t, b)
			}
		}
		read, written := 0, ""
		run := func() {
			_, err := near.Output().ReadFrom(rw(func(p []byte) (int, error) {
				_, err := far.Input().WriteTo(rw(func(p []byte) (int, error) {
					use()
					written = string(p)
					return len(p), nil
				}))
				isErrno(t, err, libevent.ErrClosed)
				read = copy(p, text)
				return read, io.EOF
			}))
			isErrno(t, err, libevent.ErrClosed)
		}
		if inLoop {
			must(t, b.Post(run))
			loopPass(t, b)
		} else {
			run()
		}
		if read == 0 || written == "" || !strings.HasPrefix(text, written) {
			t.Errorf("%d bytes read, %d written", read, len(written))
		}
		must(t, b.Close())
	}
}

// What a BufferEvent, or a Filter, does to the buffer meanwhile moves nothing that a reader
// or a writer has: they have no memory of the buffer's.
func TestBufferLendsNoMemoryOfOthers(t *testing.T) {
	t.Run("reader", func(t *testing.T) {
		b := bevBase(t)
		near, far := bevTwo(t, b, false, 0)
		must(t, far.Enable(libevent.EV_READ))
		must(t, second(near.WriteString("what was written, ")))
		n, err := near.Output().ReadFrom(rw(func(p []byte) (int, error) {
			loopPass(t, b) // the output is sent, and its memory given back
			return copy(p, "what was read"), io.EOF
		}))
		if n != 13 || err != nil {
			t.Fatalf("ReadFrom gives %d and %v", n, err)
		}
		for far.Input().Len() < 31 {
			loopPass(t, b)
		}
		check(t, far.Input(), "what was written, what was read")
	})
	t.Run("writer", func(t *testing.T) {
		b := bevBase(t)
		first, _ := bevTwo(t, b, false, 0)
		// The first chunk is a small one, which is given back when the two become one.
		small, large := strings.Repeat("x", 600), strings.Repeat("y", 5000)
		var f *libevent.BufferEvent
		written := ""
		f = filterNew(t, first, nil, func(src, dst *libevent.Buffer, _ int, _ libevent.FlushMode) libevent.FilterResult {
			must(t, src.Unfreeze(true))
			must(t, second(src.WriteTo(rw(func(p []byte) (int, error) {
				if f.Output().Bytes() == nil {
					t.Error("there are no bytes")
				}
				for range 10 {
					newBuffer(t, strings.Repeat("z", len(small)))
				}
				written += string(p)
				return len(p), nil
			}))))
			must(t, src.Freeze(true))
			return libevent.BEV_OK
		}, 0)
		must(t, f.Disable(libevent.EV_WRITE))
		must(t, second(f.WriteString(small)))
		must(t, f.Output().AddReference([]byte(large), nil))
		must(t, f.Enable(libevent.EV_WRITE))
		must(t, f.Flush(libevent.EV_WRITE, libevent.BEV_FLUSH))
		if written != small+large {
			t.Errorf("%d bytes are written, %d of them %.10q", len(written), strings.Count(written, "x"), written)
		}
	})
}
