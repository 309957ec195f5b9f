package libevent_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/ctest"
)

// newFile makes a file with text in it, open for reading and writing.
func newFile(t testing.TB, text string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, second(f.WriteString(text)))
	return f
}

// newSegment makes a segment that is closed when the test ends.
func newSegment(t testing.TB, f *os.File, offset, length int64, flags libevent.FileSegmentFlags) *libevent.FileSegment {
	t.Helper()
	seg, err := libevent.NewFileSegment(f, offset, length, flags)
	must(t, err)
	t.Cleanup(func() { must(t, seg.Close()) })
	return seg
}

// toFD makes buf one whose files are sent with sendfile.
func toFD(t testing.TB, buf *libevent.Buffer) *libevent.Buffer {
	t.Helper()
	must(t, buf.SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD))
	return buf
}

// sent returns all that buf writes to a descriptor.
func sent(t testing.TB, buf *libevent.Buffer, r, w int) string {
	t.Helper()
	var all strings.Builder
	for buf.Len() > 0 {
		n, err := buf.WriteFD(w, -1)
		if err != nil && err != syscall.EAGAIN {
			t.Fatal(err)
		}
		if n == 0 && err == nil {
			t.Fatal("WriteFD does nothing")
		}
		all.WriteString(drain(r))
	}
	all.WriteString(drain(r))
	return all.String()
}

// TestFileContents sends files of all sizes by all ways, whole and in parts. What libevent
// would map is read.
//
// Upstream: evbuffer/add_file_sendfile
// Upstream: evbuffer/add_file_mmap
// Upstream: evbuffer/add_file_linear
// Upstream: evbuffer/add_file_nosegment
// Upstream: evbuffer/add_big_file_sendfile
// Upstream: evbuffer/add_big_file_mmap
// Upstream: evbuffer/add_big_file_linear
// Upstream: evbuffer/add_big_file_nosegment
// Upstream: evbuffer/add_file_offset_sendfile
// Upstream: evbuffer/add_file_offset_mmap
// Upstream: evbuffer/add_file_offset_linear
// Upstream: evbuffer/add_file_offset_nosegment
// Upstream: evbuffer/add_file_offset2_sendfile
// Upstream: evbuffer/add_file_offset2_mmap
// Upstream: evbuffer/add_file_offset2_linear
// Upstream: evbuffer/add_file_offset3_sendfile
// Upstream: evbuffer/add_file_offset3_mmap
// Upstream: evbuffer/add_file_offset3_linear
func TestFileContents(t *testing.T) {
	var big strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&big, "%07d\n", i)
	}
	for _, size := range []struct {
		name, text string
	}{{"small", "a file with little in it"}, {"big", big.String()}} {
		n := int64(len(size.text))
		for _, part := range []struct {
			name                   string
			inFile, inFileLen      int64 // of the segment
			inSegment, inSegLength int64 // of what is added
		}{
			{"whole", 0, -1, 0, -1},
			{"offset of the segment", n / 3, -1, 0, -1},
			{"offset in the segment", 0, n, n / 4, n / 2},
			{"offset of both", n / 2, n / 3, n / 5, -1},
		} {
			from, length := part.inFile, part.inFileLen
			if length < 0 {
				length = n - from
			}
			want := size.text[from : from+length][part.inSegment:]
			if part.inSegLength >= 0 {
				want = want[:part.inSegLength]
			}
			for _, mode := range []struct {
				name  string
				drain bool
				flags libevent.FileSegmentFlags
			}{
				{"sendfile", true, 0},
				{"mmap", false, libevent.EVBUF_FS_DISABLE_SENDFILE},
				{"linear", false, libevent.EVBUF_FS_DISABLE_SENDFILE | libevent.EVBUF_FS_DISABLE_MMAP},
				{"linear, to a descriptor", true, libevent.EVBUF_FS_DISABLE_SENDFILE},
				{"nosegment", false, 0},
				{"nosegment, sendfile", true, 0},
			} {
				for _, to := range []string{"socket", "pipe"} {
					t.Run(fmt.Sprint(size.name, " ", part.name, " ", mode.name, " ", to), func(t *testing.T) {
						r, w := pipe(t)
						if to == "socket" {
							fds := socketpair(t)
							r, w = fds[0], fds[1]
						}
						f := newFile(t, size.text)
						buf := newBuffer(t, "head ")
						if mode.drain {
							toFD(t, buf)
						}
						if strings.HasPrefix(mode.name, "nosegment") {
							must(t, buf.AddFile(f, from+part.inSegment, int64(len(want))))
						} else {
							seg := newSegment(t, f, from, part.inFileLen, mode.flags)
							if seg.Len() != length {
								t.Errorf("Len is %d, want %d", seg.Len(), length)
							}
							must(t, buf.AddFileSegment(seg, part.inSegment, part.inSegLength))
							must(t, seg.Close())
						}
						must(t, f.Close())
						write(t, buf, " tail")
						if !mode.drain {
							check(t, buf, "head "+want+" tail")
						}
						if got := sent(t, buf, r, w); got != "head "+want+" tail" {
							t.Errorf("%d bytes have come, want %d: %.40q", len(got), len(want)+10, got)
						}
					})
				}
			}
		}
	}
}

// TestFileSegmentCleanup runs when nothing has the segment any more, once.
//
// Upstream: evbuffer/file_segment_add_cleanup_cb
func TestFileSegmentCleanup(t *testing.T) {
	before := openFiles(t)
	f := newFile(t, "some text")
	one, two := toFD(t, newBuffer(t)), toFD(t, newBuffer(t))
	seg, err := libevent.NewFileSegment(f, 5, -1, 0)
	must(t, err)
	var log string
	must(t, seg.AddCleanup(func() { log += "a" }))
	must(t, seg.AddCleanup(func() { log += "b" }))
	wantErr(t, seg.AddCleanup(nil), "evbuffer_file_segment_add_cleanup_cb", syscall.EINVAL)
	must(t, one.AddFileSegment(seg, 0, -1))
	must(t, two.AddFileSegment(seg, 0, 2))
	must(t, two.AddFileSegment(seg, 2, 2))
	must(t, f.Close())
	must(t, seg.Close())
	must(t, seg.Close())
	wantErr(t, seg.AddCleanup(func() {}), "evbuffer_file_segment_add_cleanup_cb", libevent.ErrClosed)
	wantErr(t, one.AddFileSegment(seg, 0, -1), "evbuffer_add_file_segment", libevent.ErrClosed)
	must(t, one.Drain(4))
	must(t, two.Drain(3))
	if log != "" {
		t.Errorf("the cleanups %q came early", log)
	}
	must(t, two.Drain(1))
	if log != "ab" {
		t.Errorf("the cleanups were %q, want ab", log)
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d descriptors more are open", n-before)
	}

	// Without a buffer it is Close that lets go of it.
	seg, err = libevent.NewFileSegment(newFile(t, "x"), 0, -1, 0)
	must(t, err)
	must(t, seg.AddCleanup(func() { panic("broken cup") }))
	defer func() {
		if r := recover(); r != "broken cup" {
			t.Errorf("recovered %v", r)
		}
	}()
	seg.Close()
}

// TestFileMeetsCleanup adds a file in a callback of a buffer that has just let go of a
// reference, whose cleanup closes the buffer that the file comes into.
func TestFileMeetsCleanup(t *testing.T) {
	f := newFile(t, "some text")
	buf, other := newBuffer(t), newBuffer(t)
	must(t, buf.AddReference([]byte("abc"), func() { must(t, other.Close()) }))
	addCallback(t, buf, func(*libevent.Buffer, bufferInfo) {
		must(t, other.AddFile(f, 0, -1))
		wantErr(t, other.AddFile(f, 0, -1), "evbuffer_add_file", libevent.ErrClosed)
	})
	must(t, buf.Drain(3))
}

// TestFileBadArguments is refused, and leaves nothing behind.
func TestFileBadArguments(t *testing.T) {
	const newOp, addOp = "evbuffer_file_segment_new", "evbuffer_add_file_segment"
	before := openFiles(t)
	blocks, _ := ctest.Allocated()
	f := newFile(t, "0123456789")
	closed := newFile(t, "")
	must(t, closed.Close())
	dir, err := os.Open(t.TempDir())
	must(t, err)
	null, err := os.Open(os.DevNull)
	must(t, err)
	writeOnly, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	for _, test := range []struct {
		name           string
		f              *os.File
		offset, length int64
		flags          libevent.FileSegmentFlags
		want           error
	}{
		{"nil", nil, 0, -1, 0, syscall.EINVAL},
		{"closed", closed, 0, -1, 0, syscall.EBADF},
		{"directory", dir, 0, -1, 0, syscall.EISDIR},
		{"device", null, 0, -1, 0, syscall.EINVAL},
		{"pipe", r, 0, -1, 0, syscall.EINVAL},
		{"open for writing", writeOnly, 0, -1, 0, syscall.EBADF},
		{"negative offset", f, -1, -1, 0, syscall.EINVAL},
		{"negative length", f, 0, -2, 0, syscall.EINVAL},
		{"offset past the end", f, 11, -1, 0, syscall.EINVAL},
		{"length past the end", f, 0, 11, 0, syscall.EINVAL},
		{"both past the end", f, 5, 6, 0, syscall.EINVAL},
		{"huge", f, 1<<63 - 1, 1<<63 - 1, 0, syscall.EINVAL},
		{"unknown flags", f, 0, -1, 0x10, syscall.EINVAL},
	} {
		for _, flags := range []libevent.FileSegmentFlags{0, libevent.EVBUF_FS_DISABLE_SENDFILE} {
			seg, err := libevent.NewFileSegment(test.f, test.offset, test.length, test.flags|flags)
			if seg != nil {
				t.Errorf("%s: there is a segment", test.name)
			}
			wantErr(t, err, newOp, test.want)
		}
		if test.flags == 0 {
			buf := newBuffer(t)
			wantErr(t, buf.AddFile(test.f, test.offset, test.length), "evbuffer_add_file", test.want)
			must(t, buf.Close())
		}
	}

	seg, err := libevent.NewFileSegment(f, 2, 6, 0)
	must(t, err)
	buf := newBuffer(t)
	wantErr(t, buf.AddFileSegment(seg, 0, -1), addOp, syscall.ENOTSUP)
	toFD(t, buf)
	for _, part := range [][2]int64{{-1, -1}, {0, -2}, {7, -1}, {0, 7}, {3, 4}, {1<<63 - 1, 1}} {
		wantErr(t, buf.AddFileSegment(seg, part[0], part[1]), addOp, syscall.EINVAL)
	}
	wantErr(t, buf.AddFileSegment(nil, 0, -1), addOp, syscall.EINVAL)
	must(t, buf.AddFileSegment(seg, 6, -1))
	must(t, buf.AddFileSegment(seg, 3, 0))
	check(t, buf, "")
	must(t, buf.Freeze(false))
	wantErr(t, buf.AddFileSegment(seg, 0, -1), addOp, syscall.EPERM)
	wantErr(t, buf.AddFile(f, 0, -1), "evbuffer_add_file", syscall.EPERM)
	must(t, buf.Close())
	wantErr(t, buf.AddFileSegment(seg, 0, -1), addOp, libevent.ErrClosed)
	wantErr(t, buf.AddFile(f, 0, -1), "evbuffer_add_file", libevent.ErrClosed)
	must(t, seg.Close())

	for _, f := range []*os.File{f, dir, null, writeOnly, r, w} {
		must(t, f.Close())
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d descriptors more are open", n-before)
	}
	if b, _ := ctest.Allocated(); b != blocks {
		t.Errorf("%d blocks more than before", b-blocks)
	}
}

// TestFileEmpty adds nothing, whatever the way.
func TestFileEmpty(t *testing.T) {
	f := newFile(t, "")
	for _, flags := range []libevent.FileSegmentFlags{0, libevent.EVBUF_FS_DISABLE_SENDFILE} {
		seg := newSegment(t, f, 0, -1, flags)
		for _, buf := range []*libevent.Buffer{newBuffer(t), toFD(t, newBuffer(t))} {
			must(t, buf.AddFileSegment(seg, 0, -1))
			must(t, buf.AddFile(f, 0, 0))
			write(t, buf, "abc")
			pulled(t, buf, "abc")
		}
	}
}

// TestFileKeepsPosition reads a file without moving it.
func TestFileKeepsPosition(t *testing.T) {
	f := newFile(t, "0123456789")
	must(t, second(f.Seek(4, io.SeekStart)))
	buf := newBuffer(t)
	must(t, buf.AddFile(f, 0, -1))
	pulled(t, buf, "0123456789")
	rest, err := io.ReadAll(f)
	if err != nil || string(rest) != "456789" {
		t.Errorf("the file goes on with %q, %v", rest, err)
	}
}

// TestFileShortened shortens a file in a buffer: what is in memory stays, and what is not
// there any more is an error, not a signal.
func TestFileShortened(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	f := newFile(t, text)
	inMemory, inFile := newBuffer(t), toFD(t, newBuffer(t))
	must(t, inMemory.AddFile(f, 0, -1))
	must(t, inFile.AddFile(f, 0, -1))
	must(t, f.Truncate(5))
	pulled(t, inMemory, text)

	fds := socketpair(t)
	if n, err := inFile.WriteFD(fds[0], -1); n != 5 || err != nil {
		t.Errorf("WriteFD gives %d and %v, want 5", n, err)
	}
	n, err := inFile.WriteFD(fds[0], -1)
	wantErr(t, err, "evbuffer_write", io.ErrUnexpectedEOF)
	if n != 0 || inFile.Len() != len(text)-5 {
		t.Errorf("WriteFD gives %d, and %d bytes are left", n, inFile.Len())
	}
	must(t, inFile.Drain(inFile.Len()))
}

// TestFileShortenedInBufferEvent is an end of the stream to a BufferEvent.
func TestFileShortenedInBufferEvent(t *testing.T) {
	f := newFile(t, "0123456789")
	fds := socketpair(t)
	b := newBase(t)
	bev := bevNew(t, b, fds[0], 0)
	bev.SetCallbacks(nil, nil, func(_ *libevent.BufferEvent, what libevent.BufferEvents) {
		if what != libevent.BEV_EVENT_WRITING|libevent.BEV_EVENT_EOF {
			t.Errorf("the event is %v", what)
		}
		must(t, b.Stop())
	})
	must(t, bev.Output().AddFile(f, 0, -1))
	must(t, f.Truncate(5))
	bevRun(t, b)
	if got := drain(fds[1]); got != "01234" {
		t.Errorf("the peer has got %q", got)
	}
}

// TestFileSocketFull writes a file to a socket that takes nothing.
func TestFileSocketFull(t *testing.T) {
	fds := socketpair(t)
	fill(fds[0])
	buf := toFD(t, newBuffer(t))
	must(t, buf.AddFile(newFile(t, "abc"), 0, -1))
	if n, err := buf.WriteFD(fds[0], -1); n != 0 || err != syscall.EAGAIN {
		t.Errorf("WriteFD gives %d and %v, want EAGAIN", n, err)
	}
	drain(fds[1])
	if got := sent(t, buf, fds[1], fds[0]); got != "abc" {
		t.Errorf("the peer has got %q", got)
	}
	must(t, buf.AddFile(newFile(t, "abc"), 0, -1))
	must(t, syscall.Shutdown(fds[1], syscall.SHUT_RD))
	wantErr(t, second(buf.WriteFD(fds[0], -1)), "evbuffer_write", syscall.EPIPE)
}

// TestFileGoesPastTheLimit writes all that the socket takes of a file, whatever the limit,
// and no more than the limit of other bytes.
func TestFileGoesPastTheLimit(t *testing.T) {
	fds := socketpair(t)
	buf := toFD(t, newBuffer(t, "head"))
	must(t, buf.AddFile(newFile(t, "file"), 0, -1))
	write(t, buf, "tail")
	for _, want := range []string{"he", "ad", "file", "ta", "il"} {
		n, err := buf.WriteFD(fds[0], 2)
		if got := drain(fds[1]); n != len(want) || err != nil || got != want {
			t.Errorf("WriteFD gives %d and %v, and sends %q, want %q", n, err, got, want)
		}
	}
}

// TestFileIsNotLookedAt refuses all that would look at bytes that are in a file, and works
// again when they are gone.
func TestFileIsNotLookedAt(t *testing.T) {
	buf := toFD(t, newBuffer(t, "head"))
	pulled(t, buf, "head")
	must(t, buf.AddFile(newFile(t, "in the file"), 0, -1))
	plain := newBuffer(t, "x")
	p := make([]byte, 4)
	for _, err := range []error{
		second(buf.Read(p)),
		second(buf.ReadByte()),
		second(buf.ReadLine(libevent.EVBUFFER_EOL_LF)),
		func() error { _, _, err := buf.SearchEOL(0, libevent.EVBUFFER_EOL_LF); return err }(),
		second(buf.SearchRange([]byte("x"), 0, -1)),
		second(buf.CopyOut(p)),
		second(buf.CopyOutFrom(p, 5)),
		second(buf.PeekVec(nil, 0, -1)),
		second(buf.PullUp(2)),
		second(buf.WriteTo(io.Discard)),
		second(buf.WriteTo(plain)),
		plain.AddBuffer(buf),
		plain.PrependBuffer(buf),
		second(buf.RemoveBuffer(plain, 1)),
		second(buf.RemoveBuffer(toFD(t, newBuffer(t)), 6)),
	} {
		if e := new(libevent.Error); !errors.As(err, &e) || e.Err != syscall.ENOTSUP {
			t.Errorf("the error is %v, want ENOTSUP", err)
		}
	}
	wantErr(t, plain.AddBufferReference(buf), "evbuffer_add_buffer_reference", syscall.EINVAL)
	if buf.Peek() != nil || buf.Bytes() != nil || buf.Search([]byte("h")) != -1 {
		t.Error("something is to be seen")
	}
	for range buf.Chunks() {
		t.Error("there are chunks to be seen")
	}
	for range buf.Lines(libevent.EVBUFFER_EOL_LF) {
		t.Error("there are lines to be seen")
	}

	// What looks at nothing goes on working, and where the file goes this goes too.
	must(t, buf.Prepend([]byte("the ")))
	write(t, buf, "tail")
	must(t, buf.Drain(2))
	other := toFD(t, newBuffer(t))
	must(t, other.AddBuffer(buf))
	write(t, buf, "works")
	pulled(t, buf, "works")
	wantErr(t, second(other.PullUp(1)), "evbuffer_pullup", syscall.ENOTSUP)
	must(t, buf.PrependBuffer(other))
	must(t, second(buf.RemoveBuffer(other, 100)))
	must(t, buf.ClearFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD))
	must(t, second(other.WriteFD(devNull, -1)))
	fds := socketpair(t)
	if got := sent(t, other, fds[1], fds[0]); !strings.HasSuffix(got, "in the filetailworks") {
		t.Errorf("the peer has got %q", got)
	}
	write(t, other, "again")
	pulled(t, other, "again")
	must(t, buf.AddFile(newFile(t, "in memory"), 0, -1))
	pulled(t, buf, "in memory")
}

// TestFileInBufferEvent sends a file from a BufferEvent: past the eager way, and not into
// buffers that C would look into.
func TestFileInBufferEvent(t *testing.T) {
	text := strings.Repeat("a large file ", 50_000)
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprint(eager), func(t *testing.T) {
			f := newFile(t, text)
			fds := socketpair(t)
			b := newBase(t)
			bev := bevNew(t, b, fds[0], 0)
			bevCheck(t, "SetEager", bev.SetEager(eager), nil)
			must(t, bev.Output().AddFile(f, 0, -1))
			must(t, second(bev.WriteString("between")))
			src := toFD(t, newBuffer(t))
			must(t, src.AddFile(f, 7, 5))
			must(t, bev.WriteBuffer(src))
			if bev.Output().Peek() != nil || bev.Output().Search([]byte("a")) != -1 {
				t.Error("something is to be seen")
			}
			wantErr(t, second(bev.Output().PullUp(-1)), "evbuffer_pullup", syscall.ENOTSUP)
			done := false
			bev.SetCallbacks(nil, func(bev *libevent.BufferEvent) {
				done = true
				// With nothing else in the output a file can be the first of it.
				must(t, src.AddFile(f, 0, 2))
				must(t, bev.Output().AddBuffer(src))
				bev.SetCallbacks(nil, func(*libevent.BufferEvent) { must(t, b.Stop()) }, nil)
			}, nil)
			var got strings.Builder
			for !done || bev.Output().Len() > 0 {
				loopPass(t, b)
				got.WriteString(drain(fds[1]))
			}
			if want := text + "between" + text[7:12] + text[:2]; got.String() != want {
				t.Errorf("the peer has got %d bytes, want %d", got.Len(), len(want))
			}
			loopPass(t, b)

			one, two := bevTwo(t, b, true, 0)
			must(t, src.AddFile(f, 0, 2))
			wantErr(t, one.WriteBuffer(src), "bufferevent_write_buffer", syscall.ENOTSUP)
			wantErr(t, one.Output().AddBuffer(src), "evbuffer_add_buffer", syscall.ENOTSUP)
			wantErr(t, one.Output().SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD), "evbuffer_set_flags", syscall.EINVAL)
			must(t, src.Drain(2))
			must(t, one.Output().AddFile(f, 0, 7))
			must(t, two.Enable(libevent.EV_READ))
			loopPass(t, b)
			check(t, two.Input(), text[:7])
		})
	}
}

// TestFileSegmentOfMany sends one segment from many goroutines.
func TestFileSegmentOfMany(t *testing.T) {
	f := newFile(t, "shared by all")
	for _, flags := range []libevent.FileSegmentFlags{0, libevent.EVBUF_FS_DISABLE_SENDFILE} {
		seg, err := libevent.NewFileSegment(f, 0, -1, flags)
		must(t, err)
		cleaned := make(chan struct{})
		must(t, seg.AddCleanup(func() { close(cleaned) }))
		var all sync.WaitGroup
		for i := range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				for range 50 {
					buf, err := libevent.NewBuffer()
					if err != nil {
						t.Error(err)
						return
					}
					if i%2 == 0 || flags == 0 {
						err = buf.SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD)
					}
					if err == nil {
						err = buf.AddFileSegment(seg, 0, -1)
					}
					if err != nil {
						t.Error(err)
					}
					buf.Close()
				}
			}()
		}
		all.Wait()
		must(t, seg.Close())
		wait(t, "the cleanup", cleaned)
	}
}

// TestFileOutOfMemory lets each allocation fail in turn. What libevent then does wrong
// harms nobody: neither the segment nor the buffers that have it already.
func TestFileOutOfMemory(t *testing.T) {
	f := newFile(t, "0123456789")
	before := openFiles(t)
	blocks, _ := ctest.Allocated()
	for _, flags := range []libevent.FileSegmentFlags{0, libevent.EVBUF_FS_DISABLE_SENDFILE} {
		cleanups, segments := 0, 0
		for n := int64(1); ; n++ {
			buf, other, more := toFD(t, newBuffer(t, "abc")), toFD(t, newBuffer(t)), toFD(t, newBuffer(t))
			ctest.FailAllocation(n)
			seg, err := libevent.NewFileSegment(f, 0, -1, flags)
			if err == nil {
				segments++
				must(t, seg.AddCleanup(func() { cleanups++ }))
				if err = other.AddFileSegment(seg, 0, 3); err == nil {
					err = buf.AddFileSegment(seg, 0, -1)
				}
				for range 3 {
					if err := more.AddFileSegment(seg, 0, -1); err != nil && !errors.Is(err, syscall.ENOMEM) {
						t.Errorf("allocation %d: the next error is %v", n, err)
					}
				}
				must(t, seg.Close())
			}
			left := ctest.FailAllocation(0)
			if err != nil && !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("allocation %d: the error is %v", n, err)
			}
			if err != nil {
				pulled(t, buf, "abc")
			}
			must(t, buf.Close())
			must(t, other.Close())
			must(t, more.Close())
			if left > 0 {
				break
			}
		}
		if cleanups != segments || segments < 3 {
			t.Errorf("%d cleanups of %d segments", cleanups, segments)
		}
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d descriptors more are open", n-before)
	}
	if b, _ := ctest.Allocated(); b != blocks {
		t.Errorf("%d blocks more than before", b-blocks)
	}
}

// TestFileSegmentsLeaveNothing makes segments and closes them in all ways.
func TestFileSegmentsLeaveNothing(t *testing.T) {
	needsNoDebugMode(t)
	f := newFile(t, strings.Repeat("x", 5000))
	fds := socketpair(t)
	leavesNothing(t, fewer(20_000), func(n int) {
		b, err := libevent.New()
		must(t, err)
		defer b.Close()
		for i := range n {
			seg, err := libevent.NewFileSegment(f, 0, -1, libevent.FileSegmentFlags(i%2)*libevent.EVBUF_FS_DISABLE_SENDFILE)
			must(t, err)
			must(t, seg.AddCleanup(func() {}))
			buf, err := libevent.NewBuffer()
			must(t, err)
			must(t, buf.SetFlags(libevent.EVBUFFER_FLAG_DRAINS_TO_FD))
			must(t, buf.AddFileSegment(seg, 10, 20))
			must(t, buf.AddFileSegment(seg, 10, 20))
			must(t, second(buf.WriteFD(fds[0], -1)))
			drain(fds[1])
			must(t, buf.AddFile(f, 0, -1))
			must(t, seg.Close())
			must(t, buf.Close())
			if i%100 == 0 {
				left, _ := streamPair(t, b)
				must(t, left.Output().AddFile(f, 0, -1))
				must(t, left.Close())
				loopPass(t, b)
			}
		}
		left, _ := streamPair(t, b)
		must(t, left.Output().AddFile(f, 0, -1))
	})
}

// TestBufferFlagsBadArguments is refused.
func TestBufferFlagsBadArguments(t *testing.T) {
	buf := newBuffer(t)
	wantErr(t, buf.SetFlags(2), "evbuffer_set_flags", syscall.EINVAL)
	wantErr(t, buf.ClearFlags(-1), "evbuffer_clear_flags", syscall.EINVAL)
	must(t, buf.Close())
	wantErr(t, buf.SetFlags(0), "evbuffer_set_flags", libevent.ErrClosed)
	wantErr(t, buf.ClearFlags(0), "evbuffer_clear_flags", libevent.ErrClosed)
}

func ExampleFileSegment() {
	f, err := os.CreateTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.Remove(f.Name())
	fmt.Fprint(f, "a header, and a body")

	body, err := libevent.NewFileSegment(f, 10, -1, libevent.EVBUF_FS_DISABLE_SENDFILE)
	if err != nil {
		panic(err)
	}
	f.Close() // the segment has a descriptor of its own
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	if err := buf.AddFileSegment(body, 4, -1); err != nil {
		panic(err)
	}
	body.Close() // the buffer has the bytes
	fmt.Printf("%s\n", buf.Bytes())
	// Output: a body
}

func ExampleFileSegmentFlags() {
	fmt.Println(libevent.EVBUF_FS_DISABLE_SENDFILE | libevent.EVBUF_FS_DISABLE_LOCKING)
	// Output: EVBUF_FS_DISABLE_SENDFILE|EVBUF_FS_DISABLE_LOCKING
}

func ExampleBufferFlags() {
	buf, err := libevent.NewBuffer()
	if err != nil {
		panic(err)
	}
	defer buf.Close()
	flags := libevent.EVBUFFER_FLAG_DRAINS_TO_FD
	if err := buf.SetFlags(flags); err != nil {
		panic(err)
	}
	fmt.Println(flags)
	// Output: EVBUFFER_FLAG_DRAINS_TO_FD
}
