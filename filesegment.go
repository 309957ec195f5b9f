package libevent

// #include "callbacks.h"
import "C"

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-libevent/libevent/internal/life"
)

// FileSegment is a part of a file, or all of it, that buffers share: its bytes, or the
// file alone, from which a BufferEvent's output sends them with sendfile. One segment can
// be added more than once, and to more than one Buffer.
//
// Its methods are safe from any goroutine. After Close they return ErrClosed. The zero
// FileSegment is a closed one.
//
// Wraps: struct evbuffer_file_segment
type FileSegment struct {
	c      *C.struct_evbuffer_file_segment
	life   life.Life
	length int64
	inFile bool // its bytes are in no memory

	mu       sync.Mutex
	lost     bool // C has let go of it
	cleanups []func()
}

// segments counts those that are not closed.
var segments atomic.Int64

// NewFileSegment makes a segment of length bytes of a regular file, from offset on; length
// -1 is all that follows. The segment has a descriptor of its own: f stays the caller's,
// who may close it at once. The caller must Close the segment.
//
// With EVBUF_FS_DISABLE_SENDFILE the bytes are read now, during which f's own position
// changes, and are as any others. Without it they stay in the file until they are sent, for
// buffers with EVBUFFER_FLAG_DRAINS_TO_FD; the file must keep its length until then.
//
// It returns EINVAL for a nil f, for what is no regular file, for unknown flags, and for
// a part that is not in the file; EISDIR for a directory; EBADF when f is closed or not
// open for reading; ENOMEM, EMFILE, the system's errno, and io.ErrUnexpectedEOF when the
// file becomes shorter meanwhile.
//
// Wraps: evbuffer_file_segment_new
func NewFileSegment(f *os.File, offset, length int64, flags FileSegmentFlags) (*FileSegment, error) {
	return newFileSegment("evbuffer_file_segment_new", f, offset, length, flags)
}

func newFileSegment(op string, f *os.File, offset, length int64, flags FileSegmentFlags) (*FileSegment, error) {
	if f == nil || offset < 0 || length < -1 || flags&^knownFileSegmentFlags != 0 {
		return nil, opError(op, syscall.EINVAL)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, opError(op, syscall.EBADF)
	}
	lockDebugging.settle()
	flags &^= EVBUF_FS_DISABLE_LOCKING
	flags |= EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_MMAP
	seg := &FileSegment{inFile: flags&EVBUF_FS_DISABLE_SENDFILE == 0}
	ref, _ := newReference(nil, seg.cleanUp)
	n := C.int64_t(length)
	closed := raw.Control(func(fd uintptr) {
		seg.c, err = C.golibevent_file_segment_new(C.int(fd), C.int64_t(offset), &n, C.uint(flags), ref.name)
	})
	if seg.c == nil {
		ref.drop()
		switch {
		case closed != nil:
			err = syscall.EBADF
		case err == nil:
			err = io.ErrUnexpectedEOF
		}
		return nil, opError(op, err)
	}
	seg.length = int64(n)
	segments.Add(1)
	return seg, nil
}

// Len returns the length of the segment in bytes, also after Close.
func (seg *FileSegment) Len() int64 { return seg.length }

// AddCleanup makes cleanup run when the segment is closed and no buffer has it any more,
// and its descriptor is closed. What was added first runs first, where and when cleanups
// of Buffer.AddReference run. A nil cleanup is EINVAL.
//
// Wraps: evbuffer_file_segment_add_cleanup_cb
func (seg *FileSegment) AddCleanup(cleanup func()) error {
	const op = "evbuffer_file_segment_add_cleanup_cb"
	if cleanup == nil {
		return opError(op, syscall.EINVAL)
	}
	if !seg.enter() {
		return &Error{op, ErrClosed}
	}
	defer seg.leave()
	seg.mu.Lock()
	defer seg.mu.Unlock()
	seg.cleanups = append(seg.cleanups, cleanup)
	return nil
}

// cleanUp runs when nothing needs the segment any more.
func (seg *FileSegment) cleanUp() {
	seg.mu.Lock()
	cleanups := seg.cleanups
	seg.cleanups = nil
	seg.mu.Unlock()
	runAll(cleanups)
}

// Close lets go of the segment. Buffers that have it keep it until they have sent or
// drained it. The second Close does nothing.
//
// Wraps: evbuffer_file_segment_free
func (seg *FileSegment) Close() error {
	if seg.c == nil {
		return nil
	}
	first, free := seg.life.Close()
	if first {
		segments.Add(-1)
	}
	if free {
		seg.free()
	}
	return nil
}

// enter begins a call and reports whether the segment is open. If it is the caller must leave.
func (seg *FileSegment) enter() bool { return seg.c != nil && seg.life.Enter() }

func (seg *FileSegment) leave() {
	if seg.life.Leave() {
		seg.free()
	}
}

// free lets go of the C part when the segment is closed and no call is inside.
func (seg *FileSegment) free() {
	if seg.lost {
		return
	}
	done := C.golibevent_file_segment_free(seg.c)
	endCall(done.released, done.panicked)
}

// AddFile adds length bytes of a regular file from offset on; length -1 is all that
// follow. In a buffer with EVBUFFER_FLAG_DRAINS_TO_FD, such as the output of a
// BufferEvent with a socket, they stay in the file until sendfile sends them. For another
// buffer they are read now. f stays the caller's, who may close it at once. It returns
// the errors of NewFileSegment and AddFileSegment.
//
// Wraps: evbuffer_add_file
func (buf *Buffer) AddFile(f *os.File, offset, length int64) error {
	const op = "evbuffer_add_file"
	flags := EVBUF_FS_DISABLE_SENDFILE
	if buf.has(bufferDrains) {
		flags = 0
	}
	seg, err := newFileSegment(op, f, offset, length, flags)
	if err != nil {
		return err
	}
	defer seg.Close()
	return buf.addFileSegment(op, seg, 0, -1)
}

// AddFileSegment adds length bytes of the segment from offset on; length -1 is all that
// follow.
//
// While the buffer may have bytes that are still in a file, methods that look at bytes
// return ENOTSUP or nothing, and chunks move only to a buffer with
// EVBUFFER_FLAG_DRAINS_TO_FD; others refuse them with ENOTSUP. When the file has become
// shorter by the time they are sent, WriteFD returns io.ErrUnexpectedEOF, and a
// BufferEvent's event callback gets BEV_EVENT_WRITING|BEV_EVENT_EOF. One system call
// sends as much of a file as the descriptor takes, whatever limit there is.
//
// It returns ENOTSUP for a segment without EVBUF_FS_DISABLE_SENDFILE when the buffer has
// no EVBUFFER_FLAG_DRAINS_TO_FD; EINVAL for a nil segment and for a part that is not in
// it, ErrClosed when either is closed, EPERM when the end is frozen, EOVERFLOW, and ENOMEM,
// which it may then return for the segment from then on.
//
// Wraps: evbuffer_add_file_segment
func (buf *Buffer) AddFileSegment(seg *FileSegment, offset, length int64) error {
	return buf.addFileSegment("evbuffer_add_file_segment", seg, offset, length)
}

func (buf *Buffer) addFileSegment(op string, seg *FileSegment, offset, length int64) error {
	if seg == nil || offset < 0 || offset > seg.length || length < -1 || length > seg.length-offset {
		return opError(op, syscall.EINVAL)
	}
	if !seg.enter() {
		return &Error{op, ErrClosed}
	}
	defer seg.leave()
	if err := buf.enter(op); err != nil {
		return err
	}
	if length == -1 {
		length = seg.length - offset
	}
	switch {
	case length == 0:
		return nil
	case int64(int(length)) != length:
		return opError(op, syscall.EOVERFLOW)
	}
	drains := buf.has(bufferDrains)
	if seg.inFile && !drains {
		return opError(op, syscall.ENOTSUP)
	}
	part, done, err := seg.part(drains, offset, length)
	if _, err := buf.finish(op, done, err); err != nil {
		return err
	}
	if seg.inFile {
		buf.state.Or(bufferFiles)
	}
	done, err = C.golibevent_buffer_take(buf.c, part)
	_, err = buf.finish(op, done, err)
	return err
}

// part makes an evbuffer of a part of the segment.
func (seg *FileSegment) part(drains bool, offset, length int64) (*C.struct_evbuffer, C.struct_golibevent_done, error) {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	if seg.lost {
		return nil, C.struct_golibevent_done{n: -1}, syscall.ENOMEM
	}
	var part *C.struct_evbuffer
	var lost C.bool
	done, err := C.golibevent_file_segment_part(seg.c, C.bool(drains), C.int64_t(offset), C.int64_t(length), &part, &lost)
	seg.lost = bool(lost)
	return part, done, err
}

// fileError turns what C says about a file that has become shorter into Go's error.
func fileError(err error) error {
	if err == syscall.ENODATA {
		return io.ErrUnexpectedEOF
	}
	return err
}
