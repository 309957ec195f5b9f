package libevent

/*
#include "callbacks.h"
#cgo noescape golibevent_log
#cgo nocallback golibevent_log
#cgo noescape golibevent_log_take
#cgo nocallback golibevent_log_take
*/
import "C"

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	C.event_set_log_callback(C.event_log_cb(C.golibevent_log))
	C.event_set_fatal_callback(C.event_fatal_cb(C.golibevent_on_fatal))
}

// logs is where libevent's messages go.
var logs struct {
	mu   sync.Mutex    // held by SetLogger
	done chan struct{} // closed when the fetching goroutine has ended; nil without one

	handing sync.Mutex // held while messages are handed on, for their order
	logger  *slog.Logger
}

// SetLogger sends libevent's log to l, from a goroutine of its own: EVENT_LOG_DEBUG as
// slog.LevelDebug, EVENT_LOG_MSG as LevelInfo, EVENT_LOG_WARN as LevelWarn and
// EVENT_LOG_ERR as LevelError, each with the attribute severity. With nil the messages
// go to the standard error, as they do at the start.
//
// 256 messages are kept until l has them, each with up to 1023 bytes. More are dropped
// and counted, and the count is logged with the attribute lost.
//
// The messages so far reach the logger before SetLogger returns. A handler may use
// this package, but not SetLogger and FlushLog, which wait for it. When it panics on that
// goroutine the program ends. SetLogger is safe from any goroutine. It returns EINVAL for a
// Logger without a handler, as the zero one is, and the error of pipe.
//
// Wraps: event_set_log_callback
func SetLogger(l *slog.Logger) error {
	if l != nil && l.Handler() == nil {
		return opError("event_set_log_callback", syscall.EINVAL)
	}
	logs.mu.Lock()
	defer logs.mu.Unlock()
	switch {
	case logs.done == nil && l == nil:
		return nil
	case logs.done == nil:
		var fd C.int
		if rc, err := C.golibevent_log_open(&fd); rc == -1 {
			return opError("pipe", err)
		}
		setLogger(l)
		logs.done = make(chan struct{})
		go fetchLog(os.NewFile(uintptr(fd), "libevent log"), logs.done)
	case l == nil:
		_ = C.golibevent_log_close()
		<-logs.done
		logs.done = nil
		setLogger(nil)
	default:
		setLogger(l)
	}
	return nil
}

// setLogger hands on what there is to the logger so far, and sets the next one.
func setLogger(l *slog.Logger) {
	logs.handing.Lock()
	defer logs.handing.Unlock()
	handLog()
	logs.logger = l
}

// fetchLog hands messages on whenever C has written to the pipe, and until that ends.
func fetchLog(pipe *os.File, done chan struct{}) {
	defer close(done)
	defer pipe.Close()
	var bytes [64]byte
	for {
		_, err := pipe.Read(bytes[:])
		FlushLog()
		if err != nil {
			return
		}
	}
}

// FlushLog returns when the messages so far have reached the logger of SetLogger: call
// it before the program ends. It is safe from any goroutine.
func FlushLog() {
	logs.handing.Lock()
	defer logs.handing.Unlock()
	handLog()
}

// handLog hands all messages on; logs.handing is held.
func handLog() {
	if logs.logger == nil {
		return
	}
	var m C.struct_golibevent_message
	for C.golibevent_log_take(&m) != 0 {
		if m.lost > 0 {
			handOn(time.Now(), EVENT_LOG_WARN, "messages of libevent were dropped", slog.Uint64("lost", uint64(m.lost)))
		}
		if m.text[0] != 0 {
			handOn(time.Unix(0, int64(m.ns)), LogSeverity(m.severity), C.GoString(&m.text[0]))
		}
	}
}

func handOn(when time.Time, severity LogSeverity, text string, attrs ...slog.Attr) {
	level := slog.LevelError
	switch severity {
	case EVENT_LOG_DEBUG:
		level = slog.LevelDebug
	case EVENT_LOG_MSG:
		level = slog.LevelInfo
	case EVENT_LOG_WARN:
		level = slog.LevelWarn
	}
	ctx := context.Background()
	handler := logs.logger.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(when, level, text, 0)
	r.AddAttrs(slog.String("severity", severity.String()))
	r.AddAttrs(attrs...)
	_ = handler.Handle(ctx, r)
}

// warn logs an error that nobody has asked for.
func warn(err error) {
	text := C.CString(err.Error())
	defer C.free(unsafe.Pointer(text))
	C.golibevent_log(C.EVENT_LOG_WARN, text)
}

// EnableDebugLogging turns EVENT_LOG_DEBUG messages on or off, for all bases. There is
// one for each step that libevent takes. libevent does not lock what it sets here: call
// it while no loop runs.
//
// Wraps: event_enable_debug_logging
func EnableDebugLogging(on bool) {
	var which C.uint = C.EVENT_DBG_NONE
	if on {
		which = C.EVENT_DBG_ALL
	}
	C.event_enable_debug_logging(which)
}

// debugging is what libevent does to find misuse, if it is asked to in time.
type debugging struct {
	mu       sync.Mutex
	on, late bool
}

// enable has fn turn it on, unless it is on already, or says for op that it is too late.
func (d *debugging) enable(op string, tooLate error, fn func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.on:
		return nil
	case d.late:
		return &Error{op, tooLate}
	}
	fn()
	d.on = true
	return nil
}

// settle makes it too late.
func (d *debugging) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = true
}

var (
	debugMode  debugging // of events
	errTooLate = errors.New("a base has been made already")
)

// EnableDebugMode makes libevent watch over its events and end the process when one is
// misused, as when a descriptor in blocking mode is waited for, at some cost. It must
// come before the first base, and returns an Error that says so afterwards. To enable
// it again does nothing.
//
// Wraps: event_enable_debug_mode
func EnableDebugMode() error {
	return debugMode.enable("event_enable_debug_mode", errTooLate, func() { C.golibevent_enable_debug_mode() })
}

// settleDebugMode notes that a base is about to be made.
func settleDebugMode() {
	debugMode.settle()
	lockDebugging.settle()
}
