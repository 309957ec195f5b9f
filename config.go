package libevent

// #include "callbacks.h"
import "C"

import (
	"errors"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Config says what kind of base NewWithConfig makes. The zero Config is what New
// uses.
//
// Wraps: event_config_new, event_config_free
type Config struct {
	// Avoid names backends not to use, such as "epoll": see SupportedMethods.
	//
	// Wraps: event_config_avoid_method
	Avoid []string

	// Require is what the backend must be able to do.
	//
	// Wraps: event_config_require_features
	Require Features

	// Flags change how the base works.
	//
	// Wraps: event_config_set_flag
	Flags BaseFlags

	// CPUs is how many processors the base may use, where that matters, which
	// is on Windows alone. 0 leaves it open.
	//
	// Wraps: event_config_set_num_cpus_hint
	CPUs int

	// MaxInterval is how long callbacks may run before the loop looks for new
	// events, rounded up to 1 µs. 0 is no limit. A limit makes events of a
	// better priority wait less, at some cost.
	//
	// Wraps: event_config_set_max_dispatch_interval
	MaxInterval time.Duration

	// MaxCallbacks is how many callbacks may run before the loop looks for new
	// events. 0 is no limit.
	MaxCallbacks int

	// LimitPriority is the first priority that MaxInterval and MaxCallbacks
	// hold for: 0 limits all events.
	LimitPriority int

	// Priorities is the number of priorities, 1 to 255; 0 stands for 1.
	// Callbacks of priority 0 run before those of priority 1, and so on.
	//
	// Wraps: event_base_priority_init
	Priorities int
}

// errNoMethod says that no backend is left to make a base of.
var errNoMethod = errors.New("no backend meets the configuration")

// NewWithConfig makes a base as cfg says; nil stands for the zero Config. The caller
// must Close it.
//
// An unknown method's name is no error, as in C. It returns EINVAL for unknown
// features and flags, negative numbers, and priorities out of range, ENOTSUP for flags
// that need a later libevent, and an Error that says so when no backend has what is
// required.
//
// Wraps: event_base_new_with_config
func NewWithConfig(cfg *Config) (*Base, error) {
	const op = "event_base_new_with_config"
	if cfg == nil {
		return New()
	}
	us, err := microseconds(cfg.MaxInterval)
	if err != nil || cfg.Require&^knownFeatures != 0 || cfg.Flags&^knownBaseFlags != 0 ||
		cfg.CPUs < 0 || cfg.CPUs > maxInt32 ||
		cfg.MaxCallbacks < 0 || cfg.MaxCallbacks > maxInt32 ||
		cfg.LimitPriority < 0 || cfg.LimitPriority > maxPriorities ||
		cfg.Priorities < 0 || cfg.Priorities > maxPriorities {
		return nil, opError(op, syscall.EINVAL)
	}
	if !has22 && cfg.Flags&baseFlags22 != 0 {
		return nil, opError(op, syscall.ENOTSUP)
	}
	c, err := C.event_config_new()
	if c == nil {
		return nil, opError(op, err)
	}
	defer C.event_config_free(c)
	for _, method := range cfg.Avoid {
		if strings.IndexByte(method, 0) >= 0 {
			return nil, opError("event_config_avoid_method", syscall.EINVAL)
		}
		name := C.CString(method)
		rc, err := C.event_config_avoid_method(c, name)
		C.free(unsafe.Pointer(name))
		if rc == -1 {
			return nil, opError("event_config_avoid_method", err)
		}
	}
	C.event_config_require_features(c, C.int(cfg.Require))
	C.event_config_set_flag(c, C.int(cfg.Flags))
	if cfg.CPUs > 0 {
		C.event_config_set_num_cpus_hint(c, C.int(cfg.CPUs))
	}
	if cfg.MaxInterval > 0 || cfg.MaxCallbacks > 0 {
		if cfg.MaxInterval == 0 {
			us = -1
		}
		callbacks := cfg.MaxCallbacks
		if callbacks == 0 {
			callbacks = maxInt32
		}
		C.golibevent_config_max_dispatch(c, us, C.int(callbacks), C.int(cfg.LimitPriority))
	}
	settleDebugMode()
	base, err := C.golibevent_base_new(c, C.int(cfg.Flags))
	if base == nil && (err == nil || len(cfg.Avoid) > 0 || cfg.Require != 0) {
		switch err {
		case syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC:
		default:
			err = errNoMethod
		}
	}
	b, err := newBase(base, op, err)
	if err != nil {
		return nil, err
	}
	b.nolock = cfg.Flags&EVENT_BASE_FLAG_NOLOCK != 0
	if cfg.Priorities > 1 {
		if err := b.SetPriorities(cfg.Priorities); err != nil {
			_ = b.Close()
			return nil, err
		}
	}
	return b, nil
}
