package libevent

// #include "callbacks.h"
import "C"

import (
	"strconv"
	"strings"
	"time"
)

// Events is a set of event conditions, the EV_* constants. It says what an
// event waits for, what happened when it reaches a callback, and what a callback
// wants next when it returns it; there LEAVE stands for "no more".
type Events int

const (
	// LEAVE, returned by an EventCallback, deletes the event and frees it.
	// It is a value of its own, not a bit: compare with it, never mask it.
	LEAVE Events = -1

	// EV_TIMEOUT says that the timeout has passed. It is accepted where an
	// interest is asked for and carries none of its own.
	EV_TIMEOUT Events = C.EV_TIMEOUT
	// EV_READ waits until the descriptor can be read: data, a connection to
	// accept, or the end of the stream, a disconnect included.
	EV_READ Events = C.EV_READ
	// EV_WRITE waits until the descriptor can be written: room for data, or a
	// connect that has finished (it succeeded if SO_ERROR is 0).
	EV_WRITE Events = C.EV_WRITE
	// EV_SIGNAL waits for a signal; the descriptor is then the signal's number.
	EV_SIGNAL Events = C.EV_SIGNAL
	// EV_PERSIST keeps an event pending after its callback. Every event of
	// this package has it: it is accepted and ignored.
	EV_PERSIST Events = C.EV_PERSIST
	// EV_ET asks for edge-triggered notification of EV_READ, EV_WRITE and
	// EV_CLOSED. It needs EV_FEATURE_ET.
	EV_ET Events = C.EV_ET
	// EV_CLOSED waits until the peer has closed or shut down its side, without
	// data being read first. It needs EV_FEATURE_EARLY_CLOSE.
	EV_CLOSED Events = C.EV_CLOSED

	interestEvents = EV_READ | EV_WRITE | EV_SIGNAL | EV_ET | EV_CLOSED
	ioEvents       = EV_READ | EV_WRITE | EV_CLOSED
	knownEvents    = interestEvents | EV_TIMEOUT | EV_PERSIST
)

// NoTimeout stands for "without a timeout", where a timeout is asked for and in
// what a callback returns.
const NoTimeout time.Duration = -1

var eventsNames = []flagName{
	{int64(EV_TIMEOUT), "EV_TIMEOUT"},
	{int64(EV_READ), "EV_READ"},
	{int64(EV_WRITE), "EV_WRITE"},
	{int64(EV_SIGNAL), "EV_SIGNAL"},
	{int64(EV_PERSIST), "EV_PERSIST"},
	{int64(EV_ET), "EV_ET"},
	{int64(EV_CLOSED), "EV_CLOSED"},
}

// String returns the names of the bits, as in "EV_TIMEOUT|EV_READ", "LEAVE", or
// "0". Unknown bits follow in hexadecimal.
func (e Events) String() string {
	if e == LEAVE {
		return "LEAVE"
	}
	return flagString(int64(e), eventsNames)
}

// BufferEvents is what happened to a BufferEvent: BEV_EVENT_* constants, which
// luaevent calls EVBUFFER_*.
type BufferEvents int

const (
	// BEV_EVENT_READING says that it happened while reading.
	BEV_EVENT_READING BufferEvents = C.BEV_EVENT_READING
	// BEV_EVENT_WRITING says that it happened while writing.
	BEV_EVENT_WRITING BufferEvents = C.BEV_EVENT_WRITING
	// BEV_EVENT_EOF says that the peer has closed its side.
	BEV_EVENT_EOF BufferEvents = C.BEV_EVENT_EOF
	// BEV_EVENT_ERROR says that an error ended the transfer: BufferEvent.Err.
	BEV_EVENT_ERROR BufferEvents = C.BEV_EVENT_ERROR
	// BEV_EVENT_TIMEOUT says that a timeout of SetTimeouts has passed.
	BEV_EVENT_TIMEOUT BufferEvents = C.BEV_EVENT_TIMEOUT
	// BEV_EVENT_CONNECTED says that a connect has finished well.
	BEV_EVENT_CONNECTED BufferEvents = C.BEV_EVENT_CONNECTED

	knownBufferEvents = BEV_EVENT_READING | BEV_EVENT_WRITING | BEV_EVENT_EOF |
		BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT | BEV_EVENT_CONNECTED

	// EVBUFFER_READ is luaevent's word for the input being above its low
	// watermark; in an event callback it tags a read: BEV_EVENT_READING.
	EVBUFFER_READ = BEV_EVENT_READING
	// EVBUFFER_WRITE is luaevent's word for the output being below its low
	// watermark; in an event callback it tags a write: BEV_EVENT_WRITING.
	EVBUFFER_WRITE = BEV_EVENT_WRITING
	// EVBUFFER_EOF is BEV_EVENT_EOF.
	EVBUFFER_EOF = BEV_EVENT_EOF
	// EVBUFFER_ERROR is BEV_EVENT_ERROR.
	EVBUFFER_ERROR = BEV_EVENT_ERROR
	// EVBUFFER_TIMEOUT is BEV_EVENT_TIMEOUT.
	EVBUFFER_TIMEOUT = BEV_EVENT_TIMEOUT
)

var bufferEventsNames = []flagName{
	{int64(BEV_EVENT_READING), "BEV_EVENT_READING"},
	{int64(BEV_EVENT_WRITING), "BEV_EVENT_WRITING"},
	{int64(BEV_EVENT_EOF), "BEV_EVENT_EOF"},
	{int64(BEV_EVENT_ERROR), "BEV_EVENT_ERROR"},
	{int64(BEV_EVENT_TIMEOUT), "BEV_EVENT_TIMEOUT"},
	{int64(BEV_EVENT_CONNECTED), "BEV_EVENT_CONNECTED"},
}

// String returns the names of the bits, as in "BEV_EVENT_READING|BEV_EVENT_EOF".
func (e BufferEvents) String() string { return flagString(int64(e), bufferEventsNames) }

// BufferEventOptions are the BEV_OPT_* constants, given when a BufferEvent is made.
type BufferEventOptions int

const (
	// BEV_OPT_CLOSE_ON_FREE closes the descriptor, or frees the underlying
	// BufferEvent, when this one is freed.
	BEV_OPT_CLOSE_ON_FREE BufferEventOptions = C.BEV_OPT_CLOSE_ON_FREE
	// BEV_OPT_THREADSAFE gives the BufferEvent a lock.
	BEV_OPT_THREADSAFE BufferEventOptions = C.BEV_OPT_THREADSAFE
	// BEV_OPT_DEFER_CALLBACKS runs callbacks from the loop, never from inside
	// the call that caused them.
	BEV_OPT_DEFER_CALLBACKS BufferEventOptions = C.BEV_OPT_DEFER_CALLBACKS
	// BEV_OPT_UNLOCK_CALLBACKS runs callbacks without the lock. It needs
	// BEV_OPT_DEFER_CALLBACKS.
	BEV_OPT_UNLOCK_CALLBACKS BufferEventOptions = C.BEV_OPT_UNLOCK_CALLBACKS

	knownBufferEventOptions = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE |
		BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS
)

var bufferEventOptionsNames = []flagName{
	{int64(BEV_OPT_CLOSE_ON_FREE), "BEV_OPT_CLOSE_ON_FREE"},
	{int64(BEV_OPT_THREADSAFE), "BEV_OPT_THREADSAFE"},
	{int64(BEV_OPT_DEFER_CALLBACKS), "BEV_OPT_DEFER_CALLBACKS"},
	{int64(BEV_OPT_UNLOCK_CALLBACKS), "BEV_OPT_UNLOCK_CALLBACKS"},
}

// String returns the names of the bits, as in "BEV_OPT_CLOSE_ON_FREE".
func (o BufferEventOptions) String() string {
	return flagString(int64(o), bufferEventOptionsNames)
}

// TriggerOptions are the BEV_TRIG_* constants of BufferEvent.Trigger.
type TriggerOptions int

const (
	// BEV_TRIG_IGNORE_WATERMARKS runs the callback whatever the watermarks say.
	BEV_TRIG_IGNORE_WATERMARKS TriggerOptions = C.BEV_TRIG_IGNORE_WATERMARKS
	// BEV_TRIG_DEFER_CALLBACKS runs the callback from the loop.
	BEV_TRIG_DEFER_CALLBACKS TriggerOptions = C.BEV_TRIG_DEFER_CALLBACKS

	knownTriggerOptions = BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS
)

var triggerOptionsNames = []flagName{
	{int64(BEV_TRIG_IGNORE_WATERMARKS), "BEV_TRIG_IGNORE_WATERMARKS"},
	{int64(BEV_TRIG_DEFER_CALLBACKS), "BEV_TRIG_DEFER_CALLBACKS"},
}

// String returns the names of the bits, as in "BEV_TRIG_DEFER_CALLBACKS".
func (o TriggerOptions) String() string { return flagString(int64(o), triggerOptionsNames) }

// FlushMode says how hard BufferEvent.Flush tries: one of the BEV_* modes.
type FlushMode int

const (
	// BEV_NORMAL moves what is ready to be moved.
	BEV_NORMAL FlushMode = C.BEV_NORMAL
	// BEV_FLUSH moves as much as possible.
	BEV_FLUSH FlushMode = C.BEV_FLUSH
	// BEV_FINISHED moves everything and marks the end of the data.
	BEV_FINISHED FlushMode = C.BEV_FINISHED
)

// String returns the name of the mode, as in "BEV_FLUSH".
func (m FlushMode) String() string {
	return enumString(int(m), "BEV_NORMAL", "BEV_FLUSH", "BEV_FINISHED")
}

// FilterResult is what a Filter returns: one of the BEV_* results.
type FilterResult int

const (
	// BEV_OK says that the filter has moved something.
	BEV_OK FilterResult = C.BEV_OK
	// BEV_NEED_MORE says that the filter can move nothing until there is more input.
	BEV_NEED_MORE FilterResult = C.BEV_NEED_MORE
	// BEV_ERROR says that the filter has failed.
	BEV_ERROR FilterResult = C.BEV_ERROR
)

// String returns the name of the result, as in "BEV_NEED_MORE".
func (r FilterResult) String() string {
	return enumString(int(r), "BEV_OK", "BEV_NEED_MORE", "BEV_ERROR")
}

// LoopFlags are the EVLOOP_* constants of Base.Loop.
type LoopFlags int

const (
	// EVLOOP_ONCE waits until events are active, runs their callbacks, returns.
	EVLOOP_ONCE LoopFlags = C.EVLOOP_ONCE
	// EVLOOP_NONBLOCK does not wait. Alone it goes on for as long as anything
	// is ready; with EVLOOP_ONCE it is one pass.
	EVLOOP_NONBLOCK LoopFlags = C.EVLOOP_NONBLOCK
	// EVLOOP_NO_EXIT_ON_EMPTY keeps the loop running when no events are left.
	EVLOOP_NO_EXIT_ON_EMPTY LoopFlags = C.EVLOOP_NO_EXIT_ON_EMPTY

	knownLoopFlags = EVLOOP_ONCE | EVLOOP_NONBLOCK | EVLOOP_NO_EXIT_ON_EMPTY
)

var loopFlagsNames = []flagName{
	{int64(EVLOOP_ONCE), "EVLOOP_ONCE"},
	{int64(EVLOOP_NONBLOCK), "EVLOOP_NONBLOCK"},
	{int64(EVLOOP_NO_EXIT_ON_EMPTY), "EVLOOP_NO_EXIT_ON_EMPTY"},
}

// String returns the names of the bits, as in "EVLOOP_ONCE|EVLOOP_NONBLOCK".
func (f LoopFlags) String() string { return flagString(int64(f), loopFlagsNames) }

// Features are the EV_FEATURE_* constants: what a backend can do.
type Features int

const (
	// EV_FEATURE_ET is edge-triggered notification, EV_ET.
	EV_FEATURE_ET Features = C.EV_FEATURE_ET
	// EV_FEATURE_O1 means that the cost of one event does not grow with the
	// number of events.
	EV_FEATURE_O1 Features = C.EV_FEATURE_O1
	// EV_FEATURE_FDS is any kind of descriptor, not sockets alone.
	EV_FEATURE_FDS Features = C.EV_FEATURE_FDS
	// EV_FEATURE_EARLY_CLOSE is EV_CLOSED.
	EV_FEATURE_EARLY_CLOSE Features = C.EV_FEATURE_EARLY_CLOSE

	knownFeatures = EV_FEATURE_ET | EV_FEATURE_O1 | EV_FEATURE_FDS | EV_FEATURE_EARLY_CLOSE
)

var featuresNames = []flagName{
	{int64(EV_FEATURE_ET), "EV_FEATURE_ET"},
	{int64(EV_FEATURE_O1), "EV_FEATURE_O1"},
	{int64(EV_FEATURE_FDS), "EV_FEATURE_FDS"},
	{int64(EV_FEATURE_EARLY_CLOSE), "EV_FEATURE_EARLY_CLOSE"},
}

// String returns the names of the bits, as in "EV_FEATURE_ET|EV_FEATURE_O1".
func (f Features) String() string { return flagString(int64(f), featuresNames) }

// BaseFlags are the EVENT_BASE_FLAG_* constants of Config.
type BaseFlags int

const (
	// EVENT_BASE_FLAG_NOLOCK makes a base without locks, for one goroutine
	// only: not even Stop and Post may then be called from another one.
	EVENT_BASE_FLAG_NOLOCK BaseFlags = C.EVENT_BASE_FLAG_NOLOCK
	// EVENT_BASE_FLAG_IGNORE_ENV ignores EVENT_NOEPOLL and its like in the
	// environment.
	EVENT_BASE_FLAG_IGNORE_ENV BaseFlags = C.EVENT_BASE_FLAG_IGNORE_ENV
	// EVENT_BASE_FLAG_STARTUP_IOCP is for Windows and ignored elsewhere.
	EVENT_BASE_FLAG_STARTUP_IOCP BaseFlags = C.EVENT_BASE_FLAG_STARTUP_IOCP
	// EVENT_BASE_FLAG_NO_CACHE_TIME asks the clock for each timeout instead of
	// once in a pass of the loop.
	EVENT_BASE_FLAG_NO_CACHE_TIME BaseFlags = C.EVENT_BASE_FLAG_NO_CACHE_TIME
	// EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST hands the changes of a pass to epoll
	// together. A descriptor that is duplicated must then not be used.
	EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST BaseFlags = C.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST
	// EVENT_BASE_FLAG_PRECISE_TIMER makes timeouts exact to the microsecond
	// instead of the millisecond, at some cost.
	EVENT_BASE_FLAG_PRECISE_TIMER BaseFlags = C.EVENT_BASE_FLAG_PRECISE_TIMER
	// EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD has EVENT_BASE_FLAG_PRECISE_TIMER do
	// without a timerfd on epoll. It needs libevent 2.2.
	EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD BaseFlags = 0x40
	// EVENT_BASE_FLAG_USE_SIGNALFD delivers signals to C code on the base through
	// a signalfd. It needs libevent 2.2, and changes nothing for AddSignal.
	EVENT_BASE_FLAG_USE_SIGNALFD BaseFlags = 0x80

	knownBaseFlags = EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
		EVENT_BASE_FLAG_STARTUP_IOCP | EVENT_BASE_FLAG_NO_CACHE_TIME |
		EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | EVENT_BASE_FLAG_PRECISE_TIMER |
		baseFlags22
	baseFlags22 = EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD | EVENT_BASE_FLAG_USE_SIGNALFD
)

var baseFlagsNames = []flagName{
	{int64(EVENT_BASE_FLAG_NOLOCK), "EVENT_BASE_FLAG_NOLOCK"},
	{int64(EVENT_BASE_FLAG_IGNORE_ENV), "EVENT_BASE_FLAG_IGNORE_ENV"},
	{int64(EVENT_BASE_FLAG_STARTUP_IOCP), "EVENT_BASE_FLAG_STARTUP_IOCP"},
	{int64(EVENT_BASE_FLAG_NO_CACHE_TIME), "EVENT_BASE_FLAG_NO_CACHE_TIME"},
	{int64(EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST), "EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST"},
	{int64(EVENT_BASE_FLAG_PRECISE_TIMER), "EVENT_BASE_FLAG_PRECISE_TIMER"},
	{int64(EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD), "EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD"},
	{int64(EVENT_BASE_FLAG_USE_SIGNALFD), "EVENT_BASE_FLAG_USE_SIGNALFD"},
}

// String returns the names of the bits, as in "EVENT_BASE_FLAG_NOLOCK".
func (f BaseFlags) String() string { return flagString(int64(f), baseFlagsNames) }

// CountFlags say which events Base.NumEvents and Base.MaxEvents count.
type CountFlags int

const (
	// EVENT_BASE_COUNT_ACTIVE counts events whose callback is about to run.
	EVENT_BASE_COUNT_ACTIVE CountFlags = C.EVENT_BASE_COUNT_ACTIVE
	// EVENT_BASE_COUNT_VIRTUAL counts what keeps the loop running without
	// being an event of its own.
	EVENT_BASE_COUNT_VIRTUAL CountFlags = C.EVENT_BASE_COUNT_VIRTUAL
	// EVENT_BASE_COUNT_ADDED counts pending events.
	EVENT_BASE_COUNT_ADDED CountFlags = C.EVENT_BASE_COUNT_ADDED

	knownCountFlags = EVENT_BASE_COUNT_ACTIVE | EVENT_BASE_COUNT_VIRTUAL | EVENT_BASE_COUNT_ADDED
)

var countFlagsNames = []flagName{
	{int64(EVENT_BASE_COUNT_ACTIVE), "EVENT_BASE_COUNT_ACTIVE"},
	{int64(EVENT_BASE_COUNT_VIRTUAL), "EVENT_BASE_COUNT_VIRTUAL"},
	{int64(EVENT_BASE_COUNT_ADDED), "EVENT_BASE_COUNT_ADDED"},
}

// String returns the names of the bits, as in "EVENT_BASE_COUNT_ADDED".
func (f CountFlags) String() string { return flagString(int64(f), countFlagsNames) }

// EOL says how Buffer.ReadLine recognises the end of a line.
type EOL int

const (
	// EVBUFFER_EOL_ANY is any run of CR and LF characters.
	EVBUFFER_EOL_ANY EOL = C.EVBUFFER_EOL_ANY
	// EVBUFFER_EOL_CRLF is an LF, with or without a CR before it.
	EVBUFFER_EOL_CRLF EOL = C.EVBUFFER_EOL_CRLF
	// EVBUFFER_EOL_CRLF_STRICT is a CR followed by an LF.
	EVBUFFER_EOL_CRLF_STRICT EOL = C.EVBUFFER_EOL_CRLF_STRICT
	// EVBUFFER_EOL_LF is an LF.
	EVBUFFER_EOL_LF EOL = C.EVBUFFER_EOL_LF
	// EVBUFFER_EOL_NUL is a zero byte.
	EVBUFFER_EOL_NUL EOL = C.EVBUFFER_EOL_NUL
)

// String returns the name of the style, as in "EVBUFFER_EOL_CRLF".
func (e EOL) String() string {
	return enumString(int(e), "EVBUFFER_EOL_ANY", "EVBUFFER_EOL_CRLF",
		"EVBUFFER_EOL_CRLF_STRICT", "EVBUFFER_EOL_LF", "EVBUFFER_EOL_NUL")
}

// BufferFlags are the EVBUFFER_FLAG_* constants of Buffer.SetFlags.
type BufferFlags int

const (
	// EVBUFFER_FLAG_DRAINS_TO_FD says that the bytes go to a descriptor and nowhere
	// else: files that are added are sent with sendfile then, and their bytes cannot be
	// looked at. The output of a BufferEvent with a socket has it.
	EVBUFFER_FLAG_DRAINS_TO_FD BufferFlags = C.EVBUFFER_FLAG_DRAINS_TO_FD
)

var bufferFlagsNames = []flagName{
	{int64(EVBUFFER_FLAG_DRAINS_TO_FD), "EVBUFFER_FLAG_DRAINS_TO_FD"},
}

// String returns the names of the bits, as in "EVBUFFER_FLAG_DRAINS_TO_FD".
func (f BufferFlags) String() string { return flagString(int64(f), bufferFlagsNames) }

// FileSegmentFlags are the EVBUF_FS_* constants, given when a FileSegment is made.
type FileSegmentFlags uint

const (
	// EVBUF_FS_CLOSE_ON_FREE closes the descriptor with the segment. It is always set:
	// a FileSegment has a descriptor of its own.
	EVBUF_FS_CLOSE_ON_FREE FileSegmentFlags = C.EVBUF_FS_CLOSE_ON_FREE
	// EVBUF_FS_DISABLE_MMAP reads the file instead of mapping it. It is always set:
	// when somebody shortens a mapped file, looking at it ends the process.
	EVBUF_FS_DISABLE_MMAP FileSegmentFlags = C.EVBUF_FS_DISABLE_MMAP
	// EVBUF_FS_DISABLE_SENDFILE reads the file when the segment is made, for buffers
	// whose bytes are looked at.
	EVBUF_FS_DISABLE_SENDFILE FileSegmentFlags = C.EVBUF_FS_DISABLE_SENDFILE
	// EVBUF_FS_DISABLE_LOCKING makes a segment without a lock. It is ignored: a
	// FileSegment is safe from any goroutine.
	EVBUF_FS_DISABLE_LOCKING FileSegmentFlags = C.EVBUF_FS_DISABLE_LOCKING

	knownFileSegmentFlags = EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_MMAP |
		EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_LOCKING
)

var fileSegmentFlagsNames = []flagName{
	{int64(EVBUF_FS_CLOSE_ON_FREE), "EVBUF_FS_CLOSE_ON_FREE"},
	{int64(EVBUF_FS_DISABLE_MMAP), "EVBUF_FS_DISABLE_MMAP"},
	{int64(EVBUF_FS_DISABLE_SENDFILE), "EVBUF_FS_DISABLE_SENDFILE"},
	{int64(EVBUF_FS_DISABLE_LOCKING), "EVBUF_FS_DISABLE_LOCKING"},
}

// String returns the names of the bits, as in "EVBUF_FS_DISABLE_SENDFILE".
func (f FileSegmentFlags) String() string {
	return flagString(int64(f), fileSegmentFlagsNames)
}

// ListenerOptions are the LEV_OPT_* constants, given when a Listener is made.
type ListenerOptions uint

const (
	// LEV_OPT_LEAVE_SOCKETS_BLOCKING leaves accepted sockets blocking.
	LEV_OPT_LEAVE_SOCKETS_BLOCKING ListenerOptions = C.LEV_OPT_LEAVE_SOCKETS_BLOCKING
	// LEV_OPT_CLOSE_ON_FREE closes the listening socket with the Listener.
	LEV_OPT_CLOSE_ON_FREE ListenerOptions = C.LEV_OPT_CLOSE_ON_FREE
	// LEV_OPT_CLOSE_ON_EXEC marks sockets close-on-exec. It is always set.
	LEV_OPT_CLOSE_ON_EXEC ListenerOptions = C.LEV_OPT_CLOSE_ON_EXEC
	// LEV_OPT_REUSEABLE sets SO_REUSEADDR.
	LEV_OPT_REUSEABLE ListenerOptions = C.LEV_OPT_REUSEABLE
	// LEV_OPT_THREADSAFE gives the Listener a lock.
	LEV_OPT_THREADSAFE ListenerOptions = C.LEV_OPT_THREADSAFE
	// LEV_OPT_DISABLED makes the Listener disabled: Enable starts it.
	LEV_OPT_DISABLED ListenerOptions = C.LEV_OPT_DISABLED
	// LEV_OPT_DEFERRED_ACCEPT reports a connection when it has data, where
	// the system can (TCP_DEFER_ACCEPT).
	LEV_OPT_DEFERRED_ACCEPT ListenerOptions = C.LEV_OPT_DEFERRED_ACCEPT
	// LEV_OPT_REUSEABLE_PORT sets SO_REUSEPORT.
	LEV_OPT_REUSEABLE_PORT ListenerOptions = C.LEV_OPT_REUSEABLE_PORT
	// LEV_OPT_BIND_IPV6ONLY sets IPV6_V6ONLY.
	LEV_OPT_BIND_IPV6ONLY ListenerOptions = C.LEV_OPT_BIND_IPV6ONLY
	// LEV_OPT_BIND_IPV4_AND_IPV6 clears IPV6_V6ONLY. It needs libevent 2.2.
	LEV_OPT_BIND_IPV4_AND_IPV6 ListenerOptions = 0x200

	knownListenerOptions = LEV_OPT_LEAVE_SOCKETS_BLOCKING | LEV_OPT_CLOSE_ON_FREE |
		LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE | LEV_OPT_THREADSAFE |
		LEV_OPT_DISABLED | LEV_OPT_DEFERRED_ACCEPT | LEV_OPT_REUSEABLE_PORT |
		LEV_OPT_BIND_IPV6ONLY | LEV_OPT_BIND_IPV4_AND_IPV6
)

var listenerOptionsNames = []flagName{
	{int64(LEV_OPT_LEAVE_SOCKETS_BLOCKING), "LEV_OPT_LEAVE_SOCKETS_BLOCKING"},
	{int64(LEV_OPT_CLOSE_ON_FREE), "LEV_OPT_CLOSE_ON_FREE"},
	{int64(LEV_OPT_CLOSE_ON_EXEC), "LEV_OPT_CLOSE_ON_EXEC"},
	{int64(LEV_OPT_REUSEABLE), "LEV_OPT_REUSEABLE"},
	{int64(LEV_OPT_THREADSAFE), "LEV_OPT_THREADSAFE"},
	{int64(LEV_OPT_DISABLED), "LEV_OPT_DISABLED"},
	{int64(LEV_OPT_DEFERRED_ACCEPT), "LEV_OPT_DEFERRED_ACCEPT"},
	{int64(LEV_OPT_REUSEABLE_PORT), "LEV_OPT_REUSEABLE_PORT"},
	{int64(LEV_OPT_BIND_IPV6ONLY), "LEV_OPT_BIND_IPV6ONLY"},
	{int64(LEV_OPT_BIND_IPV4_AND_IPV6), "LEV_OPT_BIND_IPV4_AND_IPV6"},
}

// String returns the names of the bits, as in "LEV_OPT_REUSEABLE".
func (o ListenerOptions) String() string { return flagString(int64(o), listenerOptionsNames) }

// MonotonicFlags are the EV_MONOT_* constants, given when a MonotonicTimer is made.
type MonotonicFlags int

const (
	// EV_MONOT_PRECISE is the clock that is exact to the microsecond, at some cost.
	EV_MONOT_PRECISE MonotonicFlags = C.EV_MONOT_PRECISE
	// EV_MONOT_FALLBACK is the wall clock, kept from going back.
	EV_MONOT_FALLBACK MonotonicFlags = C.EV_MONOT_FALLBACK

	knownMonotonicFlags = EV_MONOT_PRECISE | EV_MONOT_FALLBACK
)

var monotonicFlagsNames = []flagName{
	{int64(EV_MONOT_PRECISE), "EV_MONOT_PRECISE"},
	{int64(EV_MONOT_FALLBACK), "EV_MONOT_FALLBACK"},
}

// String returns the names of the bits, as in "EV_MONOT_PRECISE".
func (f MonotonicFlags) String() string { return flagString(int64(f), monotonicFlagsNames) }

// LogSeverity is how grave a message of libevent's log is: one of EVENT_LOG_*.
type LogSeverity int

const (
	// EVENT_LOG_DEBUG is for following what libevent does: EnableDebugLogging.
	EVENT_LOG_DEBUG LogSeverity = C.EVENT_LOG_DEBUG
	// EVENT_LOG_MSG is for information.
	EVENT_LOG_MSG LogSeverity = C.EVENT_LOG_MSG
	// EVENT_LOG_WARN is for failures and misuse.
	EVENT_LOG_WARN LogSeverity = C.EVENT_LOG_WARN
	// EVENT_LOG_ERR is for what libevent ends the process after.
	EVENT_LOG_ERR LogSeverity = C.EVENT_LOG_ERR
)

// String returns the name of the severity, as in "EVENT_LOG_WARN".
func (s LogSeverity) String() string {
	return enumString(int(s), "EVENT_LOG_DEBUG", "EVENT_LOG_MSG", "EVENT_LOG_WARN", "EVENT_LOG_ERR")
}

// has22 says that this program was built for libevent 2.2 or later.
const has22 = C.LIBEVENT_VERSION_NUMBER >= 0x02020000

// flagName names one bit of a flag family.
type flagName struct {
	bit  int64
	name string
}

func flagString(v int64, names []flagName) string {
	if v == 0 {
		return "0"
	}
	var parts []string
	for _, n := range names {
		if v&n.bit != 0 {
			parts = append(parts, n.name)
			v &^= n.bit
		}
	}
	if v != 0 {
		parts = append(parts, hexString(v))
	}
	return strings.Join(parts, "|")
}

func enumString(v int, names ...string) string {
	if v >= 0 && v < len(names) {
		return names[v]
	}
	return hexString(int64(v))
}

// hexString prints v as 0x2a, and negative values as -0x2a.
func hexString(v int64) string {
	if v < 0 {
		return "-0x" + strconv.FormatUint(uint64(-v), 16)
	}
	return "0x" + strconv.FormatUint(uint64(v), 16)
}
