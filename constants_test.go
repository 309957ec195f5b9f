package libevent_test

import (
	"fmt"
	"testing"

	"github.com/go-libevent/libevent"
)

func TestConstantsPrintTheirNames(t *testing.T) {
	for want, v := range map[string]fmt.Stringer{
		"0":                  libevent.Events(0),
		"LEAVE":              libevent.LEAVE,
		"EV_TIMEOUT":         libevent.EV_TIMEOUT,
		"EV_TIMEOUT|EV_READ": libevent.EV_READ | libevent.EV_TIMEOUT,
		"EV_WRITE|EV_SIGNAL": libevent.EV_WRITE | libevent.EV_SIGNAL,
		"EV_PERSIST|EV_ET":   libevent.EV_PERSIST | libevent.EV_ET,
		"EV_CLOSED|0x4000":   libevent.EV_CLOSED | 0x4000,
		"0x100":              libevent.Events(0x100),
		"BEV_EVENT_READING":  libevent.EVBUFFER_READ,
		"BEV_EVENT_WRITING":  libevent.EVBUFFER_WRITE,
		"BEV_EVENT_EOF":      libevent.EVBUFFER_EOF,
		"BEV_EVENT_ERROR":    libevent.EVBUFFER_ERROR,
		"BEV_EVENT_TIMEOUT":  libevent.EVBUFFER_TIMEOUT,
		"BEV_EVENT_READING|BEV_EVENT_EOF|BEV_EVENT_CONNECTED": libevent.BEV_EVENT_READING |
			libevent.BEV_EVENT_EOF | libevent.BEV_EVENT_CONNECTED,
		"BEV_OPT_CLOSE_ON_FREE|BEV_OPT_THREADSAFE": libevent.BEV_OPT_CLOSE_ON_FREE |
			libevent.BEV_OPT_THREADSAFE,
		"BEV_OPT_DEFER_CALLBACKS|BEV_OPT_UNLOCK_CALLBACKS": libevent.BEV_OPT_DEFER_CALLBACKS |
			libevent.BEV_OPT_UNLOCK_CALLBACKS,
		"BEV_TRIG_IGNORE_WATERMARKS": libevent.BEV_TRIG_IGNORE_WATERMARKS,
		"BEV_TRIG_DEFER_CALLBACKS":   libevent.BEV_TRIG_DEFER_CALLBACKS,
		"BEV_NORMAL":                 libevent.BEV_NORMAL,
		"BEV_FLUSH":                  libevent.BEV_FLUSH,
		"BEV_FINISHED":               libevent.BEV_FINISHED,
		"BEV_OK":                     libevent.BEV_OK,
		"BEV_NEED_MORE":              libevent.BEV_NEED_MORE,
		"BEV_ERROR":                  libevent.BEV_ERROR,
		"0x3":                        libevent.FilterResult(3),
		"0x7":                        libevent.FlushMode(7),
		"-0x1":                       libevent.FlushMode(-1),
		"EVLOOP_ONCE|EVLOOP_NONBLOCK": libevent.EVLOOP_ONCE |
			libevent.EVLOOP_NONBLOCK,
		"EVLOOP_NO_EXIT_ON_EMPTY": libevent.EVLOOP_NO_EXIT_ON_EMPTY,
		"EV_FEATURE_ET|EV_FEATURE_O1|EV_FEATURE_FDS|EV_FEATURE_EARLY_CLOSE": libevent.EV_FEATURE_ET |
			libevent.EV_FEATURE_O1 | libevent.EV_FEATURE_FDS | libevent.EV_FEATURE_EARLY_CLOSE,
		"EVENT_BASE_FLAG_NOLOCK|EVENT_BASE_FLAG_IGNORE_ENV": libevent.EVENT_BASE_FLAG_NOLOCK |
			libevent.EVENT_BASE_FLAG_IGNORE_ENV,
		"EVENT_BASE_FLAG_STARTUP_IOCP|EVENT_BASE_FLAG_NO_CACHE_TIME": libevent.EVENT_BASE_FLAG_STARTUP_IOCP |
			libevent.EVENT_BASE_FLAG_NO_CACHE_TIME,
		"EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST|EVENT_BASE_FLAG_PRECISE_TIMER": libevent.EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST |
			libevent.EVENT_BASE_FLAG_PRECISE_TIMER,
		"EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD|EVENT_BASE_FLAG_USE_SIGNALFD": libevent.EVENT_BASE_FLAG_EPOLL_DISALLOW_TIMERFD |
			libevent.EVENT_BASE_FLAG_USE_SIGNALFD,
		"EV_MONOT_PRECISE|EV_MONOT_FALLBACK": libevent.EV_MONOT_PRECISE | libevent.EV_MONOT_FALLBACK,
		"LEV_OPT_BIND_IPV4_AND_IPV6":         libevent.LEV_OPT_BIND_IPV4_AND_IPV6,
		"EVENT_BASE_COUNT_ACTIVE|EVENT_BASE_COUNT_VIRTUAL|EVENT_BASE_COUNT_ADDED": libevent.EVENT_BASE_COUNT_ACTIVE |
			libevent.EVENT_BASE_COUNT_VIRTUAL | libevent.EVENT_BASE_COUNT_ADDED,
		"EVBUFFER_EOL_ANY":               libevent.EVBUFFER_EOL_ANY,
		"EVBUFFER_EOL_CRLF":              libevent.EVBUFFER_EOL_CRLF,
		"EVBUFFER_EOL_CRLF_STRICT":       libevent.EVBUFFER_EOL_CRLF_STRICT,
		"EVBUFFER_EOL_LF":                libevent.EVBUFFER_EOL_LF,
		"EVBUFFER_EOL_NUL":               libevent.EVBUFFER_EOL_NUL,
		"EVBUFFER_FLAG_DRAINS_TO_FD|0x2": libevent.EVBUFFER_FLAG_DRAINS_TO_FD | 2,
		"EVBUF_FS_CLOSE_ON_FREE|EVBUF_FS_DISABLE_MMAP": libevent.EVBUF_FS_CLOSE_ON_FREE |
			libevent.EVBUF_FS_DISABLE_MMAP,
		"EVBUF_FS_DISABLE_SENDFILE|EVBUF_FS_DISABLE_LOCKING": libevent.EVBUF_FS_DISABLE_SENDFILE |
			libevent.EVBUF_FS_DISABLE_LOCKING,
		"LEV_OPT_REUSEABLE|LEV_OPT_DISABLED": libevent.LEV_OPT_DISABLED |
			libevent.LEV_OPT_REUSEABLE,
	} {
		if got := v.String(); got != want {
			t.Errorf("%T prints %q, want %q", v, got, want)
		}
	}
}
