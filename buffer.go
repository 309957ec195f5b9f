package libevent

/*
#include "callbacks.h"
#cgo nocallback golibevent_bufferevent_see_to
#cgo nocallback golibevent_buffer_end_is_frozen
#cgo nocallback golibevent_buffer_pullup
#cgo nocallback golibevent_buffer_set_max_read
#cgo nocallback golibevent_buffer_get_max_read
#cgo nocallback golibevent_buffer_lock
#cgo nocallback evbuffer_unlock
#cgo nocallback evbuffer_set_flags
#cgo nocallback evbuffer_clear_flags
#cgo nocallback golibevent_buffer_expand
#cgo nocallback golibevent_buffer_reserve
#cgo noescape golibevent_buffer_copyout
#cgo nocallback golibevent_buffer_copyout
#cgo noescape golibevent_buffer_search
#cgo nocallback golibevent_buffer_search
#cgo noescape golibevent_buffer_search_eol
#cgo nocallback golibevent_buffer_search_eol
#cgo noescape golibevent_buffer_peek
#cgo nocallback golibevent_buffer_peek
#cgo noescape evbuffer_get_length
#cgo nocallback evbuffer_get_length
#cgo nocallback evbuffer_new
#cgo nocallback golibevent_inside
#cgo nocallback evbuffer_enable_locking
#cgo nocallback evbuffer_freeze
#cgo nocallback evbuffer_unfreeze
*/
import "C"

import (
	"io"
	"iter"
	"math"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/mattn/go-pointer"
)

// MaxExtents is the most extents that Buffer.Reserve gives.
const MaxExtents = C.GOLIBEVENT_EXTENTS

// maxSpace is more than a process has memory for: what is larger C need not try.
const maxSpace = (1<<47 - 1) & math.MaxInt

// Buffer is a queue of bytes: they are added at its end and removed at its start. It is
// made of chunks, which move from one Buffer to another without being copied.
//
// A slice of the buffer's own memory, from Peek, PeekVec, PullUp, Bytes or Reserve, is
// C memory. It is valid until the next call that changes the buffer, and, in a
// BufferEvent's buffer, until the callback returns.
//
// A Buffer is for one goroutine at a time; the race detector reports when it is not. One
// that belongs to a BufferEvent is for the loop only. A frozen end refuses all that
// would change it with EPERM: of a BufferEvent's buffers that is the end of the input,
// where nothing can be added, and the start of the output, where nothing can be removed.
// After Close every method returns ErrClosed, or a zero value.
//
// Wraps: struct evbuffer
type Buffer struct {
	c     *C.struct_evbuffer // nil when closed
	owner *BufferEvent       // whose input or output it is, or nil
	extra *bufferExtra
	state atomic.Uint32 // bits of what follows
	uses  uint16        // written by every method: misuse shows in the race detector

	lent bool    // ReadFrom or WriteTo is in the midst of the buffer
	one  [1]byte // what WriteByte adds
}

// What is known of a Buffer.
const (
	bufferBorrowed = 1 << iota // somebody else frees c
	bufferBroken               // a Goexit has left a change of c half done
	bufferLocks                // it has a lock
	bufferDrains               // EVBUFFER_FLAG_DRAINS_TO_FD is set
	bufferFiles                // there may be chunks whose bytes are in no memory
	bufferShares               // there may be chunks that other buffers have too
	bufferLent                 // it is a BufferEvent's, and in a Filter's hands
	bufferLends                // chunks of other buffers may keep c
	bufferRefused              // something has failed inside a change
	bufferPaired               // it is the input of one of a pair

	// What moves with chunks.
	bufferChunks = bufferFiles | bufferShares
)

// bufferExtra is what few buffers need, and a BufferEvent has two.
type bufferExtra struct {
	room  reservation
	watch *bufferWatch
	lock  sharing
}

// reservation is what Reserve has given and Commit takes.
type reservation struct {
	n       int // 0 after Commit
	vec     [MaxExtents]C.struct_evbuffer_iovec
	extents [MaxExtents][]byte
}

var (
	_ io.ReadWriteCloser = (*Buffer)(nil)
	_ io.ReaderFrom      = (*Buffer)(nil)
	_ io.WriterTo        = (*Buffer)(nil)
	_ io.StringWriter    = (*Buffer)(nil)
	_ io.ByteReader      = (*Buffer)(nil)
	_ io.ByteWriter      = (*Buffer)(nil)
)

// buffers counts those of NewBuffer that are not closed.
var buffers atomic.Int64

// NewBuffer makes an empty buffer. The caller must Close it. It returns ENOMEM.
//
// Wraps: evbuffer_new
func NewBuffer() (*Buffer, error) {
	c, err := C.evbuffer_new()
	if c == nil {
		return nil, opError("evbuffer_new", err)
	}
	buffers.Add(1)
	return &Buffer{c: c}, nil
}

// enter begins a call for op.
func (buf *Buffer) enter(op string) error {
	buf.uses++
	switch {
	case buf.c == nil, buf.owner != nil && buf.owner.closed():
		return &Error{op, ErrClosed}
	case buf.lent:
		return opError(op, syscall.EBUSY)
	case buf.has(bufferBroken | bufferChunks):
		if buf.has(bufferBroken) {
			return &Error{op, ErrBroken}
		}
		// What is special goes with the last byte.
		if C.evbuffer_get_length(buf.c) == 0 {
			buf.state.And(^uint32(bufferChunks))
		}
	}
	if buf.owner != nil && buf.owner.view != nil {
		buf.owner.settle()
	}
	return nil
}

// enterRead begins a call for op that looks at the bytes, which those of a file that is
// to be sent are not there for.
func (buf *Buffer) enterRead(op string) error {
	if err := buf.enter(op); err != nil {
		return err
	}
	if buf.has(bufferFiles) {
		return opError(op, syscall.ENOTSUP)
	}
	return nil
}

func (buf *Buffer) has(bits uint32) bool { return buf.state.Load()&bits != 0 }

// belongs says whether the evbuffer is a BufferEvent's.
func (buf *Buffer) belongs() bool { return buf.owner != nil || buf.has(bufferLent) }

// takes prepares for chunks of those kinds. Only where C does nothing with them but send
// them, or nothing at all, it need not know them.
func (buf *Buffer) takes(kinds uint32) error {
	switch {
	case kinds == 0:
		return nil
	case !buf.has(bufferDrains) && (buf.belongs() || kinds&bufferFiles != 0):
		return syscall.ENOTSUP
	}
	buf.state.Or(kinds)
	return nil
}

// more returns what few buffers need.
func (buf *Buffer) more() *bufferExtra {
	if buf.extra == nil {
		buf.extra = new(bufferExtra)
	}
	return buf.extra
}

// hide is for what views know nothing of.
func (buf *Buffer) hide() {
	if buf.owner != nil {
		buf.owner.hide()
	}
}

// finish ends a call for op with its result, after the cleanups of what it has released.
func (buf *Buffer) finish(op string, done C.struct_golibevent_done, err error) (int, error) {
	buf.seeTo(done.n, err)
	if done.released != nil || done.panicked != 0 {
		endCall(done.released, done.panicked)
	}
	if done.n < 0 {
		return 0, opError(op, err)
	}
	return int(done.n), nil
}

// seeTo is to be called with the result and the errno of a change. One that was made can have
// an errno too: libevent could then not wait for the socket of the BufferEvent to which the
// buffer belongs, to take what is in the output, or to fill the input again.
func (buf *Buffer) seeTo(rc C.int64_t, err error) {
	switch bev := buf.owner; {
	case err == nil || rc < 0:
	case bev == nil: // which a Filter sees to
		buf.state.Or(bufferRefused)
	case bev.closed():
	case buf == &bev.output:
		C.golibevent_bufferevent_see_to(bev.c, C.EV_WRITE)
	default:
		C.golibevent_bufferevent_see_to(bev.c, C.EV_READ)
	}
}

// endCall runs the cleanups of what a call into C has released, and panics as a callback
// in it did.
func endCall(released *C.struct_golibevent_reference, panicked C.uintptr_t) {
	if p := panics.Get(uintptr(panicked)); p != nil {
		panics.Delete(uintptr(panicked))
		defer panic(p)
	}
	runAll(takeReferences(released))
}

// Close frees the buffer and what is in it; the second Close does nothing. For a buffer
// of BufferFromPointer it leaves C's evbuffer alone. The buffer of a BufferEvent is freed
// with that, and Close returns EINVAL.
//
// It returns EBUSY while the buffer is locked, during ReadFrom and WriteTo, and in a
// callback for a change that C code has made, not a method; ErrBroken after a Goexit in a
// callback; and ENOMEM in the buffer's other callbacks, where it frees later, if there is
// no memory for that. The buffer then stays as it is.
//
// Wraps: evbuffer_free
func (buf *Buffer) Close() error {
	const op = "evbuffer_free"
	buf.uses++
	switch {
	case buf.owner != nil:
		return opError(op, syscall.EINVAL)
	case buf.lent:
		return opError(op, syscall.EBUSY)
	case buf.c == nil:
		return nil
	case buf.has(bufferBroken):
		return &Error{op, ErrBroken}
	case buf.extra != nil && buf.extra.busy():
		return opError(op, syscall.EBUSY)
	}
	c := buf.c
	if buf.has(bufferBorrowed) {
		buf.unwatch()
		buf.c = nil
		return nil
	}
	done, err := C.golibevent_buffer_free(c, C.bool(buf.has(bufferShares|bufferLends)), buf.entry())
	if done.n == 0 {
		buf.unwatch()
		buf.c = nil
		buffers.Add(-1)
	}
	_, err = buf.finish(op, done, err)
	return err
}

// busy says whether the evbuffer must stay: it is locked, or somebody else changes it.
func (extra *bufferExtra) busy() bool {
	w := extra.watch
	return extra.lock.held.Load() != 0 || (w != nil && w.foreign.Load() != 0)
}

// EnableLocking gives the evbuffer a lock, for C code that uses it from another thread.
// It makes each single call of C safe, but no method of the Buffer. A buffer must have
// the lock before it shares chunks with others. It returns EALREADY when the evbuffer has
// a lock; and EBUSY in a callback of a Buffer, and in any that runs inside a method,
// where libevent would unlock what it has not locked.
//
// Wraps: evbuffer_enable_locking
func (buf *Buffer) EnableLocking() error {
	const op = "evbuffer_enable_locking"
	if err := buf.enter(op); err != nil {
		return err
	}
	if C.golibevent_inside() != 0 {
		return opError(op, syscall.EBUSY)
	}
	lockDebugging.settle()
	rc, err := C.evbuffer_enable_locking(buf.c, nil)
	switch {
	case rc != -1:
		buf.state.Or(bufferLocks)
		return nil
	case err == syscall.ENOMEM:
		return opError(op, err)
	}
	return opError(op, syscall.EALREADY)
}

// Lock takes the lock of EnableLocking, so that several calls act as one: C code on
// another thread that uses the evbuffer waits meanwhile. The goroutine may take it again,
// and stays on its thread until it has called Unlock as often. Until then Close returns
// EBUSY. For the buffer of a BufferEvent, it is BufferEvent.Lock.
//
// It returns EINVAL when the buffer has no lock.
//
// Wraps: evbuffer_lock
func (buf *Buffer) Lock() error {
	const op = "evbuffer_lock"
	if buf.owner != nil {
		return buf.owner.Lock()
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	if !buf.has(bufferLocks | bufferBorrowed) {
		return opError(op, syscall.EINVAL)
	}
	lock := &buf.more().lock
	runtime.LockOSThread()
	lock.holder.Store(uintptr(C.golibevent_buffer_lock(buf.c)))
	lock.held.Add(1)
	return nil
}

// Unlock undoes one Lock of the same goroutine. It returns EPERM when that does not hold
// the lock.
//
// Wraps: evbuffer_unlock
func (buf *Buffer) Unlock() error {
	if buf.owner != nil {
		return buf.owner.Unlock()
	}
	if buf.extra == nil || buf.extra.lock.holder.Load() != uintptr(C.golibevent_thread()) {
		return opError("evbuffer_unlock", syscall.EPERM)
	}
	lock := &buf.extra.lock
	if lock.held.Add(-1) == 0 {
		lock.holder.Store(0)
	}
	C.evbuffer_unlock(buf.c)
	runtime.UnlockOSThread()
	return nil
}

// SetFlags sets flags of the buffer, beside those that are set. It returns EINVAL for
// unknown flags, and for the buffer of a BufferEvent, which has what it needs.
//
// Wraps: evbuffer_set_flags
func (buf *Buffer) SetFlags(flags BufferFlags) error {
	const op = "evbuffer_set_flags"
	if err := buf.enterFlags(op, flags); err != nil {
		return err
	}
	C.evbuffer_set_flags(buf.c, C.ev_uint64_t(flags))
	if flags&EVBUFFER_FLAG_DRAINS_TO_FD != 0 {
		buf.state.Or(bufferDrains)
	}
	return nil
}

// ClearFlags takes flags back, for what is added from then on. The errors are those of
// SetFlags.
//
// Wraps: evbuffer_clear_flags
func (buf *Buffer) ClearFlags(flags BufferFlags) error {
	const op = "evbuffer_clear_flags"
	if err := buf.enterFlags(op, flags); err != nil {
		return err
	}
	C.evbuffer_clear_flags(buf.c, C.ev_uint64_t(flags))
	if flags&EVBUFFER_FLAG_DRAINS_TO_FD != 0 {
		buf.state.And(^uint32(bufferDrains))
	}
	return nil
}

func (buf *Buffer) enterFlags(op string, flags BufferFlags) error {
	if buf.belongs() || flags&^EVBUFFER_FLAG_DRAINS_TO_FD != 0 {
		return opError(op, syscall.EINVAL)
	}
	return buf.enter(op)
}

// Len returns the number of bytes in the buffer.
//
// Wraps: evbuffer_get_length
func (buf *Buffer) Len() int {
	if _, ok := buf.first(); ok {
		view := buf.owner.view
		return int(view.len - view.drained)
	}
	if buf.enter("evbuffer_get_length") != nil {
		return 0
	}
	return int(C.evbuffer_get_length(buf.c))
}

// Write adds a copy of p. It returns len(p), or 0 and EPERM when the end is frozen,
// ENOMEM, or EOVERFLOW when the buffer would become longer than C can count.
//
// Wraps: evbuffer_add
func (buf *Buffer) Write(p []byte) (int, error) {
	const op = "evbuffer_add"
	if err := buf.enter(op); err != nil {
		return 0, err
	}
	if bev := buf.sender(); bev != nil && len(p) > 0 {
		return bev.send(op, unsafe.SliceData(p), len(p))
	}
	return buf.add(op, p)
}

// add is Write for what waits its turn.
func (buf *Buffer) add(op string, p []byte) (int, error) {
	done, err := C.golibevent_buffer_add(buf.c, cBytes(p), C.size_t(len(p)))
	if _, err := buf.finish(op, done, err); err != nil {
		return 0, err
	}
	return len(p), nil
}

// sender returns the BufferEvent that is to send what is added to the buffer.
func (buf *Buffer) sender() *BufferEvent {
	if bev := buf.owner; bev != nil && buf == &bev.output && bev.sendsAtOnce() {
		return bev
	}
	return nil
}

// WriteString is Write for a string.
//
// Wraps: evbuffer_add
func (buf *Buffer) WriteString(s string) (int, error) {
	return buf.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// WriteByte is Write for a byte.
//
// Wraps: evbuffer_add
func (buf *Buffer) WriteByte(c byte) error {
	buf.one[0] = c
	_, err := buf.Write(buf.one[:])
	return err
}

// AddIovec adds a copy of the slices, one after the other, and returns their length. All
// of them are added or none. It returns the errors of Write.
//
// Wraps: evbuffer_add_iovec
func (buf *Buffer) AddIovec(vec [][]byte) (int, error) {
	total := 0
	for _, p := range vec {
		if len(p) > math.MaxInt-total {
			return 0, opError("evbuffer_add_iovec", syscall.EOVERFLOW)
		}
		total += len(p)
	}
	if total == 0 {
		return buf.Write(nil)
	}
	extents, err := buf.Reserve(total, 2)
	if err != nil {
		return 0, err
	}
	var used [2]int
	at := 0
	for _, p := range vec {
		for len(p) > 0 {
			n := copy(extents[at][used[at]:], p)
			used[at] += n
			if p = p[n:]; len(p) > 0 {
				at++
			}
		}
	}
	if err := buf.Commit(used[:len(extents)]...); err != nil {
		return 0, err
	}
	return total, nil
}

// Prepend adds a copy of p at the start. It returns EPERM when the start is frozen, and
// ENOMEM and EOVERFLOW as Write.
//
// Wraps: evbuffer_prepend
func (buf *Buffer) Prepend(p []byte) error {
	const op = "evbuffer_prepend"
	if err := buf.enter(op); err != nil {
		return err
	}
	done, err := C.golibevent_buffer_prepend(buf.c, cBytes(p), C.size_t(len(p)))
	_, err = buf.finish(op, done, err)
	return err
}

// AddBuffer moves all of src to the end, without a copy. It returns EINVAL for a nil src
// and for the buffer itself, EPERM when buf's end or src's start is frozen, EOVERFLOW,
// ENOTSUP when src has files or shared chunks that AddFileSegment or AddBufferReference
// would not add to buf, and ErrClosed also when src is closed.
//
// Wraps: evbuffer_add_buffer
func (buf *Buffer) AddBuffer(src *Buffer) error {
	const op = "evbuffer_add_buffer"
	if err := buf.enterMove(op, src); err != nil {
		return err
	}
	if bev := buf.sender(); bev != nil && bev.sends(src) {
		return bev.sendBuffer(op, src)
	}
	done, err := C.golibevent_buffer_add_buffer(buf.c, src.c)
	src.seeTo(done.n, err)
	_, err = buf.finish(op, done, err)
	return err
}

// PrependBuffer moves all of src to the start, without a copy. It returns the errors of
// AddBuffer, EPERM when either start is frozen.
//
// Wraps: evbuffer_prepend_buffer
func (buf *Buffer) PrependBuffer(src *Buffer) error {
	const op = "evbuffer_prepend_buffer"
	if err := buf.enterMove(op, src); err != nil {
		return err
	}
	buf.hide()
	done, err := C.golibevent_buffer_prepend_buffer(buf.c, src.c)
	src.seeTo(done.n, err)
	_, err = buf.finish(op, done, err)
	return err
}

// RemoveBuffer moves the first n bytes, or all when there are fewer, to the end of dst
// and returns how many. Whole chunks are not copied. It returns EINVAL for a negative n,
// a nil dst and the buffer itself, EPERM when buf's start or dst's end is frozen, ENOTSUP
// as AddBuffer does and for a part of a buffer with files, and ErrClosed also when dst is
// closed. After ENOMEM bytes may be lost.
//
// Wraps: evbuffer_remove_buffer
func (buf *Buffer) RemoveBuffer(dst *Buffer, n int) (int, error) {
	const op = "evbuffer_remove_buffer"
	if n < 0 || dst == nil {
		return 0, opError(op, syscall.EINVAL)
	}
	if err := dst.enterMove(op, buf); err != nil {
		return 0, err
	}
	if buf.has(bufferFiles) && n < int(C.evbuffer_get_length(buf.c)) {
		return 0, opError(op, syscall.ENOTSUP)
	}
	done, err := C.golibevent_buffer_remove_buffer(buf.c, dst.c, C.size_t(n), C.bool(dst.watched()))
	dst.seeTo(done.n, err)
	return buf.finish(op, done, err)
}

// watched says whether a change can make something else happen at once: by callbacks, by
// the filter that the buffer is the output of, or by the other one of a pair.
func (buf *Buffer) watched() bool {
	return buf.entry() != nil || buf.has(bufferBorrowed) || (buf.owner != nil && !buf.owner.isSocket())
}

// enterWith begins a call that needs another buffer too.
func (buf *Buffer) enterWith(op string, other *Buffer) error {
	if other == nil {
		return opError(op, syscall.EINVAL)
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	if err := other.enter(op); err != nil {
		return err
	}
	if buf.c == other.c {
		return opError(op, syscall.EINVAL)
	}
	return nil
}

// enterMove is enterWith for the chunks of src, which are to come into the buffer.
func (buf *Buffer) enterMove(op string, src *Buffer) error {
	if err := buf.enterWith(op, src); err != nil {
		return err
	}
	if err := buf.takes(src.state.Load() & bufferChunks); err != nil {
		return opError(op, err)
	}
	return nil
}

// Read removes up to len(p) bytes into p. It returns io.EOF when the buffer is empty,
// and EPERM when its start is frozen.
//
// Wraps: evbuffer_remove
func (buf *Buffer) Read(p []byte) (int, error) {
	const op = "evbuffer_remove"
	if _, ok := buf.first(); ok {
		if n, ok := buf.owner.take(p); ok {
			return n, nil
		}
	}
	if err := buf.enterRead(op); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	done, err := C.golibevent_buffer_remove(buf.c, cBytes(p), C.size_t(min(len(p), maxInt32)))
	n, err := buf.finish(op, done, err)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// ReadByte is Read for a byte: io.EOF when the buffer is empty.
//
// Wraps: evbuffer_remove
func (buf *Buffer) ReadByte() (byte, error) {
	if p, ok := buf.first(); ok && len(p) > 0 {
		c := p[0]
		buf.owner.drained(1)
		return c, nil
	}
	// Not to memory of the buffer's own, which a callback can use meanwhile.
	var p [1]byte
	n, err := buf.copyOut("evbuffer_remove", p[:], 0)
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	if err := buf.Drain(1); err != nil {
		return 0, err
	}
	return p[0], nil
}

// Drain removes n bytes, or all when there are fewer. It returns EINVAL for a negative n,
// and EPERM when the start is frozen.
//
// Wraps: evbuffer_drain
func (buf *Buffer) Drain(n int) error {
	const op = "evbuffer_drain"
	if n < 0 {
		return opError(op, syscall.EINVAL)
	}
	if p, ok := buf.first(); ok && n <= len(p) {
		buf.owner.drained(n)
		return nil
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	done, err := C.golibevent_buffer_drain(buf.c, C.size_t(n))
	_, err = buf.finish(op, done, err)
	return err
}

// ReadLine removes the first line and its end, and returns a copy of it without the end.
// When there is no full line nothing is removed, and it returns syscall.EAGAIN. The
// other errors are EINVAL for an unknown style, and EPERM when the start is frozen.
//
// A line has no limit but Len: against an unfriendly peer look at that after EAGAIN.
//
// Wraps: evbuffer_readln
func (buf *Buffer) ReadLine(style EOL) ([]byte, error) {
	const op = "evbuffer_readln"
	eol, err := buf.searchEOL(op, 0, style)
	if err != nil {
		return nil, err
	}
	if eol.pos < 0 {
		return nil, syscall.EAGAIN
	}
	line := make([]byte, eol.pos)
	done, err := C.golibevent_buffer_remove_line(buf.c, cBytes(line), C.size_t(len(line)), eol.n)
	if _, err := buf.finish(op, done, err); err != nil {
		return nil, err
	}
	return line, nil
}

// SearchEOL returns where the first end of a line at or after start is, and how many
// bytes it has; -1 and 0 when there is none. It returns EINVAL for an unknown style, and
// for a start outside 0 to Len.
//
// Wraps: evbuffer_search_eol, evbuffer_ptr_set
func (buf *Buffer) SearchEOL(start int, style EOL) (pos, n int, err error) {
	eol, err := buf.searchEOL("evbuffer_search_eol", start, style)
	if err != nil || eol.pos < 0 {
		return -1, 0, err
	}
	return int(eol.pos), int(eol.n), nil
}

func (buf *Buffer) searchEOL(op string, start int, style EOL) (C.struct_golibevent_eol, error) {
	var eol C.struct_golibevent_eol
	if start < 0 || style < EVBUFFER_EOL_ANY || style > EVBUFFER_EOL_NUL {
		return eol, opError(op, syscall.EINVAL)
	}
	if err := buf.enterRead(op); err != nil {
		return eol, err
	}
	eol = C.golibevent_buffer_search_eol(buf.c, C.size_t(start), C.int(style))
	if eol.pos < -1 {
		return eol, opError(op, syscall.EINVAL)
	}
	return eol, nil
}

// Search returns where what begins for the first time, -1 when it does not. An empty
// what is at 0.
//
// Wraps: evbuffer_search
func (buf *Buffer) Search(what []byte) int {
	pos, err := buf.search("evbuffer_search", what, 0, -1)
	if err != nil {
		return -1
	}
	return pos
}

// SearchRange is Search between the positions start and end, where -1 is the end of the
// buffer: what must lie in between as a whole. It returns EINVAL for a position outside
// 0 to Len, and for an end before start.
//
// Wraps: evbuffer_search_range, evbuffer_ptr_set
func (buf *Buffer) SearchRange(what []byte, start, end int) (int, error) {
	const op = "evbuffer_search_range"
	if start < 0 || end < -1 || (end >= 0 && end < start) {
		return -1, opError(op, syscall.EINVAL)
	}
	return buf.search(op, what, start, end)
}

func (buf *Buffer) search(op string, what []byte, start, end int) (int, error) {
	if err := buf.enterRead(op); err != nil {
		return -1, err
	}
	pos := C.golibevent_buffer_search(buf.c, cBytes(what), C.size_t(len(what)), C.size_t(start), C.int64_t(end))
	if pos < -1 {
		return -1, opError(op, syscall.EINVAL)
	}
	return int(pos), nil
}

// CopyOut copies the first len(p) bytes to p, or all when there are fewer, and returns
// how many. They stay in the buffer. It returns EPERM when the start is frozen.
//
// Wraps: evbuffer_copyout
func (buf *Buffer) CopyOut(p []byte) (int, error) {
	return buf.copyOut("evbuffer_copyout", p, 0)
}

// CopyOutFrom is CopyOut from the position start on. It returns EINVAL for one outside
// 0 to Len.
//
// Wraps: evbuffer_copyout_from, evbuffer_ptr_set
func (buf *Buffer) CopyOutFrom(p []byte, start int) (int, error) {
	return buf.copyOut("evbuffer_copyout_from", p, start)
}

func (buf *Buffer) copyOut(op string, p []byte, start int) (int, error) {
	if start < 0 {
		return 0, opError(op, syscall.EINVAL)
	}
	if err := buf.enterRead(op); err != nil {
		return 0, err
	}
	n, err := C.golibevent_buffer_copyout(buf.c, C.size_t(start), cBytes(p), C.size_t(len(p)))
	if n == -1 {
		return 0, opError(op, err)
	}
	return int(n), nil
}

// Peek returns the first chunk, without a copy; nil when the buffer is empty. Drain then
// removes what was used of it.
//
// Wraps: evbuffer_peek, evbuffer_get_contiguous_space
func (buf *Buffer) Peek() []byte {
	if p, ok := buf.first(); ok {
		return p
	}
	if buf.enterRead("evbuffer_peek") != nil {
		return nil
	}
	var chunk C.struct_evbuffer_iovec
	if C.golibevent_buffer_peek(buf.c, 0, 1, &chunk, 1) == 0 {
		return nil
	}
	return goBytes(&chunk)
}

// PeekVec appends the n bytes from the position start on to vec, a slice for each chunk,
// without a copy, and returns the result. A negative n, or one past the end, is all that
// there is. It returns EINVAL for a start outside 0 to Len.
//
// Wraps: evbuffer_peek, evbuffer_ptr_set
func (buf *Buffer) PeekVec(vec [][]byte, start, n int) ([][]byte, error) {
	const op = "evbuffer_peek"
	if start < 0 {
		return vec, opError(op, syscall.EINVAL)
	}
	if err := buf.enterRead(op); err != nil {
		return vec, err
	}
	var few [16]C.struct_evbuffer_iovec
	chunks := few[:]
	count := C.golibevent_buffer_peek(buf.c, C.size_t(start), C.int64_t(n), &chunks[0], C.int(len(chunks)))
	if int(count) > len(chunks) {
		chunks = make([]C.struct_evbuffer_iovec, count)
		count = C.golibevent_buffer_peek(buf.c, C.size_t(start), C.int64_t(n), &chunks[0], count)
	}
	if count < 0 {
		return vec, opError(op, syscall.EINVAL)
	}
	for i := range chunks[:count] {
		chunk := goBytes(&chunks[i])
		if n >= 0 {
			chunk = chunk[:min(n, len(chunk)):len(chunk)]
			n -= len(chunk)
		}
		if len(chunk) > 0 {
			vec = append(vec, chunk)
		}
	}
	return vec, nil
}

// Bytes returns all that is in the buffer, as PullUp(-1); nil when it is empty, or when
// there is no memory for that.
//
// Wraps: evbuffer_pullup
func (buf *Buffer) Bytes() []byte {
	p, _ := buf.PullUp(-1)
	return p
}

// PullUp returns the first n bytes, all with a negative n. It moves them into one chunk if
// they are not. It returns EINVAL when there are fewer, and ENOMEM.
//
// Wraps: evbuffer_pullup
func (buf *Buffer) PullUp(n int) ([]byte, error) {
	const op = "evbuffer_pullup"
	if err := buf.enterRead(op); err != nil {
		return nil, err
	}
	var done C.struct_golibevent_done
	var err error
	if !buf.has(bufferShares) {
		done, err = C.golibevent_buffer_pullup(buf.c, C.int64_t(n))
	} else {
		done, err = C.golibevent_buffer_pullup_shared(buf.c, C.int64_t(n), buf.entry())
	}
	got, err := buf.finish(op, done, err)
	switch {
	case err != nil:
		return nil, err
	case done.released != nil: // a cleanup can have changed the buffer
		return buf.PullUp(n)
	case got == 0:
		return nil, nil
	}
	return unsafe.Slice((*byte)(done.data), got), nil
}

// Expand makes room for n bytes in one chunk, so that adding them needs no memory. It
// returns EINVAL for a negative n, and ENOMEM.
//
// Wraps: evbuffer_expand
func (buf *Buffer) Expand(n int) error {
	const op = "evbuffer_expand"
	switch {
	case n < 0:
		return opError(op, syscall.EINVAL)
	case n > maxSpace:
		return opError(op, syscall.ENOMEM)
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	done, err := C.golibevent_buffer_expand(buf.c, C.size_t(n))
	_, err = buf.finish(op, done, err)
	return err
}

// Reserve returns room for n bytes or more at the end, in up to extents pieces, for the
// caller to fill and Commit. More than one piece saves libevent from copying. The slice
// of pieces is the Buffer's own, valid until the next Reserve. Nothing has changed until
// Commit, and a Reserve without one does no harm.
//
// It returns EINVAL unless n > 0 and extents is 1 to MaxExtents, EPERM when the end is
// frozen, and ENOMEM.
//
// Wraps: evbuffer_reserve_space
func (buf *Buffer) Reserve(n, extents int) ([][]byte, error) {
	const op = "evbuffer_reserve_space"
	switch {
	case n <= 0, extents < 1, extents > MaxExtents:
		return nil, opError(op, syscall.EINVAL)
	case n > maxSpace:
		return nil, opError(op, syscall.ENOMEM)
	}
	if err := buf.enter(op); err != nil {
		return nil, err
	}
	room := &buf.more().room
	room.n = 0
	done, err := C.golibevent_buffer_reserve(buf.c, C.size_t(n), &room.vec[0], C.int(extents))
	count, err := buf.finish(op, done, err)
	switch {
	case err != nil:
		return nil, err
	case done.released != nil: // a cleanup can have changed the buffer
		return buf.Reserve(n, extents)
	}
	room.n = count
	for i := range room.extents[:count] {
		room.extents[i] = goBytes(&room.vec[i])
	}
	return room.extents[:count], nil
}

// Commit adds what was filled of the last Reserve: the first lengths[0] bytes of its first
// piece, the first lengths[1] of its second, and so on. It ends the reservation. It
// returns EINVAL for more pieces or bytes than were reserved, for a negative length,
// without a Reserve, and when the buffer has changed since; EPERM when the end is frozen.
//
// Wraps: evbuffer_commit_space
func (buf *Buffer) Commit(lengths ...int) error {
	const op = "evbuffer_commit_space"
	if err := buf.enter(op); err != nil {
		return err
	}
	room := &buf.more().room
	if len(lengths) > room.n {
		return opError(op, syscall.EINVAL)
	}
	for i, n := range lengths {
		if n < 0 || n > len(room.extents[i]) {
			return opError(op, syscall.EINVAL)
		}
	}
	for i, n := range lengths {
		room.vec[i].iov_len = C.size_t(n)
	}
	room.n = 0
	done, err := C.golibevent_buffer_commit(buf.c, &room.vec[0], C.int(len(lengths)))
	_, err = buf.finish(op, done, err)
	return err
}

// Freeze makes the start of the buffer, or its end, refuse changes with EPERM, until
// Unfreeze.
//
// Wraps: evbuffer_freeze
func (buf *Buffer) Freeze(start bool) error {
	const op = "evbuffer_freeze"
	if err := buf.enter(op); err != nil {
		return err
	}
	buf.hide()
	C.evbuffer_freeze(buf.c, cBool(start))
	return nil
}

// Unfreeze takes Freeze back. A BufferEvent relies on what it has frozen itself.
//
// Wraps: evbuffer_unfreeze
func (buf *Buffer) Unfreeze(start bool) error {
	const op = "evbuffer_unfreeze"
	if err := buf.enter(op); err != nil {
		return err
	}
	buf.hide()
	C.evbuffer_unfreeze(buf.c, cBool(start))
	return nil
}

// ReadFD reads up to max bytes from a descriptor to the end of the buffer, with one
// system call. libevent takes 4096 bytes at most, or what SetMaxRead says, which is also
// what a negative max stands for. It returns io.EOF at the end of the stream,
// syscall.EAGAIN when there is nothing to read from a non-blocking descriptor, EPERM when
// the end is frozen, ENOMEM, and the system's errno. With a blocking descriptor it waits.
//
// Wraps: evbuffer_read
func (buf *Buffer) ReadFD(fd, max int) (int, error) {
	const op = "evbuffer_read"
	if err := buf.enter(op); err != nil {
		return 0, err
	}
	switch {
	case fd < 0 || fd > maxInt32:
		return 0, opError(op, syscall.EBADF)
	case max == 0:
		return 0, nil
	}
	done, err := C.golibevent_buffer_read(buf.c, C.int(fd), C.int(atMost(max)))
	n, err := buf.finishIO(op, done, err)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// WriteFD writes up to max bytes from the start of the buffer to a descriptor, with one
// system call, and removes what the system took. A negative max is as much as libevent
// writes at once: 128 chunks. From an empty buffer it writes 0 bytes. It returns
// syscall.EAGAIN when a non-blocking descriptor takes nothing, EPERM when the start is
// frozen, and the system's errno. With a blocking descriptor it waits. A file goes further
// than max, and can have become shorter: see AddFileSegment.
//
// Wraps: evbuffer_write, evbuffer_write_atmost
func (buf *Buffer) WriteFD(fd, max int) (int, error) {
	const op = "evbuffer_write"
	if err := buf.enter(op); err != nil {
		return 0, err
	}
	if fd < 0 || fd > maxInt32 {
		return 0, opError(op, syscall.EBADF)
	}
	done, err := C.golibevent_buffer_write(buf.c, C.int(fd), C.int64_t(atMost(max)))
	return buf.finishIO(op, done, err)
}

// atMost gives C's form of a limit: -1 for none.
func atMost(n int) int {
	return min(max(n, -1), maxInt32)
}

// finishIO is finish with a bare EAGAIN, which is no failure and costs no allocation.
func (buf *Buffer) finishIO(op string, done C.struct_golibevent_done, err error) (int, error) {
	if done.n < 0 && err == syscall.EAGAIN {
		done.n = 0
		_, _ = buf.finish(op, done, nil)
		return 0, syscall.EAGAIN
	}
	return buf.finish(op, done, fileError(err))
}

// ReadFrom adds what r gives until io.EOF, which it does not return. r reads straight
// into the buffer, or, where others can change that, as in a BufferEvent's, into a copy;
// the buffer returns EBUSY to all other calls meanwhile. Another Buffer is emptied as with
// AddBuffer. Beside r's error it returns those of Reserve, and EINVAL for a nil r and one
// that says to have read what it cannot have.
//
// Wraps: evbuffer_reserve_space, evbuffer_commit_space
func (buf *Buffer) ReadFrom(r io.Reader) (int64, error) {
	const op = "evbuffer_commit_space"
	switch src := r.(type) {
	case nil:
		return 0, opError(op, syscall.EINVAL)
	case *Buffer:
		return buf.addAll(src)
	}
	const room = 4096
	var own []byte
	if buf.othersChange() {
		own = make([]byte, room)
	}
	var total int64
	for {
		p := own
		if own == nil {
			extents, err := buf.Reserve(room, 1)
			if err != nil {
				return total, err
			}
			p = extents[0]
		} else if err := buf.checkEnd(op); err != nil {
			return total, err
		}
		n, readErr := buf.lend(r.Read, p, false)
		var err error
		switch {
		case own == nil:
			err = buf.Commit(n)
		case n < 0 || n > len(own):
			err = opError(op, syscall.EINVAL)
		default:
			err = buf.addOwn(own[:n])
		}
		if err != nil {
			return total, err
		}
		total += int64(n)
		if readErr == io.EOF {
			return total, nil
		}
		if readErr != nil {
			return total, readErr
		}
	}
}

// checkEnd returns the error of adding something.
func (buf *Buffer) checkEnd(op string) error {
	if err := buf.enter(op); err != nil {
		return err
	}
	if C.golibevent_buffer_end_is_frozen(buf.c) != 0 {
		return opError(op, syscall.EPERM)
	}
	return nil
}

// addOwn adds what ReadFrom has read.
func (buf *Buffer) addOwn(p []byte) error {
	const op = "evbuffer_add"
	if err := buf.enter(op); err != nil || len(p) == 0 {
		return err
	}
	_, err := buf.add(op, p)
	return err
}

// WriteTo writes everything to w, a chunk at a time, or, where others can change the
// buffer, a copy of up to 32768 bytes, and removes what w took. Until it returns, the
// buffer returns EBUSY to all other calls. Another Buffer gets the chunks themselves, as
// with AddBuffer. It returns w's error, EPERM when the start is frozen, and EINVAL for a
// nil w and one that says to have taken what it cannot have.
//
// Wraps: evbuffer_peek, evbuffer_drain
func (buf *Buffer) WriteTo(w io.Writer) (int64, error) {
	const op = "evbuffer_drain"
	switch dst := w.(type) {
	case nil:
		return 0, opError(op, syscall.EINVAL)
	case *Buffer:
		return dst.addAll(buf)
	}
	if err := buf.enterRead("evbuffer_peek"); err != nil {
		return 0, err
	}
	// What w has taken must not come a second time: a frozen start shows first.
	if err := buf.Drain(0); err != nil {
		return 0, err
	}
	const most = 32768
	var own []byte
	var total int64
	for {
		chunk := buf.Peek()
		if len(chunk) == 0 {
			return total, nil
		}
		if buf.othersChange() {
			own = append(own[:0], chunk[:min(len(chunk), most)]...)
			chunk = own
		}
		n, writeErr := buf.lend(w.Write, chunk, true)
		if n < 0 || n > len(chunk) {
			return total, opError(op, syscall.EINVAL)
		}
		if err := buf.Drain(n); err != nil {
			return total, err
		}
		total += int64(n)
		if writeErr != nil {
			return total, writeErr
		}
		if n < len(chunk) {
			return total, io.ErrShortWrite
		}
	}
}

// othersChange says whether others than the buffer's methods can change the evbuffer, which
// can then do that also in the midst of ReadFrom and WriteTo: memory of it is not lent.
func (buf *Buffer) othersChange() bool { return buf.owner != nil || buf.has(bufferBorrowed) }

// addAll is AddBuffer with a count.
func (buf *Buffer) addAll(src *Buffer) (int64, error) {
	if buf == nil || src == nil {
		return 0, opError("evbuffer_add_buffer", syscall.EINVAL)
	}
	n := src.Len()
	if err := buf.AddBuffer(src); err != nil {
		return 0, err
	}
	return int64(n), nil
}

// lend calls fn with p, which is or will be the buffer's at its start or its end. Nothing
// else may change that meanwhile: where others have the evbuffer the end is frozen, and what
// it belongs to stays.
func (buf *Buffer) lend(fn func([]byte) (int, error), p []byte, start bool) (int, error) {
	if bev := buf.owner; bev != nil {
		if err := bev.enter("evbuffer_freeze"); err != nil {
			return 0, err
		}
		defer bev.leave()
		b := bev.Base() // whose Close would wait for this
		b.inline.Add(1)
		defer b.inline.Add(-1)
	}
	if buf.othersChange() {
		C.evbuffer_freeze(buf.c, cBool(start))
		defer C.evbuffer_unfreeze(buf.c, cBool(start))
	}
	buf.lent = true
	defer func() { buf.lent = false }()
	return fn(p)
}

// reference is Go memory that an evbuffer refers to, or a file.
type reference struct {
	pinner  runtime.Pinner
	cleanup func()
	name    unsafe.Pointer // C's for it
}

// newReference makes a reference of p, which it returns as C is to get it.
func newReference(p []byte, cleanup func()) (*reference, []byte) {
	ref := &reference{cleanup: cleanup}
	if len(p) > 0 {
		ref.pinner.Pin(&p[0])
	} else {
		p = nil // C must not keep what is not pinned
	}
	ref.name = pointer.Save(ref)
	return ref, p
}

// drop ends a reference that C does not know any more.
func (ref *reference) drop() {
	pointer.Unref(ref.name)
	ref.pinner.Unpin()
}

// finishReference is finish for a call that adds a reference.
func (buf *Buffer) finishReference(op string, ref *reference, done C.struct_golibevent_done, err error) error {
	if done.n < 0 {
		ref.drop()
	}
	_, err = buf.finish(op, done, err)
	return err
}

// AddReference adds p itself, without a copy. p must not change until libevent lets go of
// it, and cleanup, if it is not nil, is called then, once: by the call of this package
// that has let go of it, before that returns, on its goroutine; by the loop, in its next
// pass, when a BufferEvent has sent it; by Base.Close, if that comes first. The buffers
// are whole again by then: cleanup may use them, and a panic is an ordinary one. When
// other C code lets go of p, or runs the loop, cleanup runs on a goroutine of its own.
//
// libevent lets go of an empty p with the bytes around it. After an error cleanup is not
// called: EPERM when the end is frozen, ENOMEM, EOVERFLOW.
//
// Wraps: evbuffer_add_reference
func (buf *Buffer) AddReference(p []byte, cleanup func()) error {
	const op = "evbuffer_add_reference"
	if err := buf.enter(op); err != nil {
		return err
	}
	ref, p := newReference(p, cleanup)
	done, err := C.golibevent_buffer_add_reference(buf.c, cBytes(p), C.size_t(len(p)), ref.name)
	return buf.finishReference(op, ref, done, err)
}

// AddReferenceWithOffset is AddReference for the n bytes of p from offset on. It returns
// ENOTSUP before libevent 2.2, where AddReference(p[offset:offset+n], cleanup) does the
// same, and EINVAL for what is not in p.
//
// Wraps: evbuffer_add_reference_with_offset
func (buf *Buffer) AddReferenceWithOffset(p []byte, offset, n int, cleanup func()) error {
	const op = "evbuffer_add_reference_with_offset"
	if offset < 0 || n < 0 || offset > len(p) || n > len(p)-offset {
		return opError(op, syscall.EINVAL)
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	ref, p := newReference(p, cleanup)
	done, err := C.golibevent_buffer_add_reference_with_offset(buf.c, cBytes(p), C.size_t(offset), C.size_t(n), ref.name)
	return buf.finishReference(op, ref, done, err)
}

// AddBufferReference adds what is in src to the end, without a copy, and leaves src as it
// is: the two share the chunks. What is added to src later is not shared, and src may be
// drained and closed. All buffers that have shared chunks are for one goroutine at a time
// together, as if they were one, unless src has a lock (EnableLocking) and its chunks
// stay in it.
//
// It returns EINVAL for a nil src, for the buffer itself, and when src has a file or
// shares chunks of a third buffer; ENOTSUP when src is the output of a BufferEvent, the
// input of one with BEV_OPT_THREADSAFE, or one that a Filter was given, and when buf is a
// BufferEvent's and not the Output of a socket; EPERM when buf's end is frozen, ENOMEM,
// EOVERFLOW, and ErrClosed also when src is closed.
//
// Wraps: evbuffer_add_buffer_reference
func (buf *Buffer) AddBufferReference(src *Buffer) error {
	const op = "evbuffer_add_buffer_reference"
	if err := buf.enterWith(op, src); err != nil {
		return err
	}
	if src.Len() == 0 {
		return nil
	}
	// The evbuffer outlives the BufferEvent then, whose lock is its own, and whose output
	// could get itself to send.
	bev := src.owner
	if src.has(bufferLent) || (bev != nil && (bev.has(BEV_OPT_THREADSAFE) || src == &bev.output)) {
		return opError(op, syscall.ENOTSUP)
	}
	if err := buf.takes(bufferShares); err != nil {
		return opError(op, err)
	}
	src.state.Or(bufferShares | bufferLends)
	done, err := C.golibevent_buffer_add_buffer_reference(buf.c, src.c)
	_, err = buf.finish(op, done, err)
	return err
}

// Chunks returns an iterator over the buffer's chunks, without a copy and without
// removing them. The buffer must not be changed meanwhile.
//
// Wraps: evbuffer_peek
func (buf *Buffer) Chunks() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		chunks, _ := buf.PeekVec(nil, 0, -1)
		for _, chunk := range chunks {
			if !yield(chunk) {
				return
			}
		}
	}
}

// Lines returns an iterator that removes the full lines, as ReadLine does, one after the
// other. It ends when there is none, and with any other error of ReadLine.
//
// Wraps: evbuffer_readln
func (buf *Buffer) Lines(style EOL) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			line, err := buf.ReadLine(style)
			if err != nil || !yield(line) {
				return
			}
		}
	}
}

// SetMaxRead sets how many bytes ReadFD takes at most; it is 4096 at first. It returns
// EINVAL for n < 1 and beyond 2³¹-1, ENOTSUP before libevent 2.2, and EINVAL for the
// buffer of a BufferEvent, which has SetMaxSingleRead.
//
// Wraps: evbuffer_set_max_read
func (buf *Buffer) SetMaxRead(n int) error {
	const op = "evbuffer_set_max_read"
	if n < 1 || n > maxInt32 || buf.belongs() {
		return opError(op, syscall.EINVAL)
	}
	if err := buf.enter(op); err != nil {
		return err
	}
	if rc, err := C.golibevent_buffer_set_max_read(buf.c, C.size_t(n)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// MaxRead returns how many bytes ReadFD takes at most, 0 after Close.
//
// Wraps: evbuffer_get_max_read
func (buf *Buffer) MaxRead() int {
	if buf.enter("evbuffer_get_max_read") != nil {
		return 0
	}
	return int(C.golibevent_buffer_get_max_read(buf.c))
}

// takeReferences ends released references and returns the cleanups to call.
func takeReferences(released *C.struct_golibevent_reference) []func() {
	var cleanups []func()
	for released != nil {
		r := released
		released = r.next
		ref := pointer.Restore(r.name).(*reference)
		C.free(unsafe.Pointer(r))
		ref.drop()
		if ref.cleanup != nil {
			cleanups = append(cleanups, ref.cleanup)
		}
	}
	return cleanups
}

// cBytes gives C's form of a slice's memory.
func cBytes(p []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(p)) }

// goBytes gives Go's form of C's memory.
func goBytes(v *C.struct_evbuffer_iovec) []byte {
	return unsafe.Slice((*byte)(v.iov_base), int(v.iov_len))
}

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
