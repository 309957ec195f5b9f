package libevent

/*
#include "callbacks.h"
#cgo nocallback golibevent_token_bucket_cfg_new
#cgo nocallback golibevent_bufferevent_set_rate_limit
#cgo nocallback golibevent_bufferevent_set_rate_limit_group
#cgo nocallback golibevent_bufferevent_decrement
#cgo nocallback golibevent_group_new
#cgo nocallback golibevent_group_unref
#cgo nocallback golibevent_group_decrement
#cgo nocallback ev_token_bucket_cfg_free
#cgo nocallback bufferevent_get_read_limit
#cgo nocallback bufferevent_get_write_limit
#cgo nocallback bufferevent_get_max_to_read
#cgo nocallback bufferevent_get_max_to_write
#cgo nocallback bufferevent_rate_limit_group_set_cfg
#cgo nocallback bufferevent_rate_limit_group_set_min_share
#cgo nocallback bufferevent_rate_limit_group_get_read_limit
#cgo nocallback bufferevent_rate_limit_group_get_write_limit
#cgo noescape bufferevent_rate_limit_group_get_totals
#cgo nocallback bufferevent_rate_limit_group_get_totals
#cgo nocallback bufferevent_rate_limit_group_reset_totals
*/
import "C"

import (
	"io"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-libevent/libevent/internal/life"
	"github.com/go-libevent/libevent/internal/own"
)

// EV_RATE_LIMIT_MAX as a rate and burst is no limit.
const EV_RATE_LIMIT_MAX = C.EV_SSIZE_MAX

// TokenBucketConfig is a rate limit: a bucket for each direction, into which the rate
// falls in bytes each tick, until the burst is in it; what is read or written is taken
// out. A bucket begins with what falls in one tick.
//
// Each rate is 1 or more and no more than its burst. With a burst that equals its rate,
// what should have fallen while the loop was late is lost. EV_RATE_LIMIT_MAX for both is
// no limit. Tick is 1 to 2³²-1 ms, rounded up to 1 ms; 0 is a second. libevent counts
// ticks by the wall clock: after that is set back nothing falls until it has caught up.
//
// Wraps: struct ev_token_bucket_cfg
type TokenBucketConfig struct {
	ReadRate, ReadBurst   int // bytes per tick
	WriteRate, WriteBurst int
	Tick                  time.Duration
}

// normal returns the configuration with its tick as it will be, EINVAL if it is none.
func (cfg TokenBucketConfig) normal() (TokenBucketConfig, error) {
	if cfg.Tick == 0 {
		cfg.Tick = time.Second
	}
	switch {
	case cfg.ReadRate < 1, cfg.ReadRate > cfg.ReadBurst,
		cfg.WriteRate < 1, cfg.WriteRate > cfg.WriteBurst,
		cfg.Tick < time.Millisecond, cfg.Tick > math.MaxUint32*time.Millisecond:
		return cfg, syscall.EINVAL
	}
	if rest := cfg.Tick % time.Millisecond; rest != 0 {
		cfg.Tick += time.Millisecond - rest
	}
	return cfg, nil
}

// c makes C's form, which the caller frees.
func (cfg TokenBucketConfig) c() (*C.struct_ev_token_bucket_cfg, error) {
	c, err := C.golibevent_token_bucket_cfg_new(C.size_t(cfg.ReadRate), C.size_t(cfg.ReadBurst),
		C.size_t(cfg.WriteRate), C.size_t(cfg.WriteBurst), C.int64_t(cfg.Tick.Microseconds()))
	return c, err
}

// burst returns the most that a direction can have.
func (cfg TokenBucketConfig) burst(direction C.short) C.int64_t {
	if direction == C.EV_READ {
		return C.int64_t(cfg.ReadBurst)
	}
	return C.int64_t(cfg.WriteBurst)
}

// SetRateLimit limits how fast the socket is read and written. It replaces the previous
// limit: what is left in the buckets stays, up to the new bursts. nil takes the limit
// away. cfg is copied.
//
// It returns EINVAL for an invalid cfg, ENOTSUP for one of a pair and for a filter, which
// take the limit of what is underneath, and ENOMEM.
//
// Wraps: bufferevent_set_rate_limit, ev_token_bucket_cfg_new, ev_token_bucket_cfg_free
func (bev *BufferEvent) SetRateLimit(cfg *TokenBucketConfig) error {
	const op = "bufferevent_set_rate_limit"
	var limit *TokenBucketConfig
	if cfg != nil {
		checked, err := cfg.normal()
		if err != nil {
			return opError(op, err)
		}
		limit = &checked
	}
	if !bev.isSocket() {
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	var c C.struct_golibevent_limit
	if limit != nil {
		var err error
		if c.cfg, err = limit.c(); c.cfg == nil {
			return opError("ev_token_bucket_cfg_new", err)
		}
		c.tick = C.int64_t(limit.Tick)
		c.read_burst, c.write_burst = C.int64_t(limit.ReadBurst), C.int64_t(limit.WriteBurst)
	}
	extra, eager := bev.more(), bev.Eager()
	rc, err := C.golibevent_bufferevent_set_rate_limit(bev.c, extra.limits, c, C.bool(eager))
	if rc == -1 || eager != bev.Eager() {
		bev.letEager()
	}
	if rc == -1 {
		C.ev_token_bucket_cfg_free(c.cfg)
		return opError(op, err)
	}
	extra.setLimit(&rateLimit{limit, rc})
	return nil
}

// rateLimit is what SetRateLimit has set: a limit or nil, and which change of C's that was.
type rateLimit struct {
	cfg    *TokenBucketConfig
	change C.int64_t
}

// setLimit keeps a limit that C has been given, unless it has got another one since.
func (extra *bufferEventExtra) setLimit(limit *rateLimit) {
	for {
		last := extra.limit.Load()
		if last != nil && last.change > limit.change || extra.limit.CompareAndSwap(last, limit) {
			return
		}
	}
}

// limits returns C's part of that, or nil if there never was any.
func (bev *BufferEvent) limits() *C.struct_golibevent_limits {
	if extra := bev.extra.Load(); extra != nil {
		return extra.limits
	}
	return nil
}

// RateLimit returns what SetRateLimit has set, with the tick that it has, and false when
// there is no limit. It is safe from any goroutine, also after Close.
//
// Wraps: bufferevent_get_token_bucket_cfg
func (bev *BufferEvent) RateLimit() (TokenBucketConfig, bool) {
	if extra := bev.extra.Load(); extra != nil {
		if limit := extra.limit.Load(); limit != nil && limit.cfg != nil {
			return *limit.cfg, true
		}
	}
	return TokenBucketConfig{}, false
}

// SetRateLimitGroup makes the BufferEvent a member of g, whose limit it shares, and takes
// it out of its previous group; nil is no group. Its own limit holds too.
//
// It returns EINVAL when g was made on another base, ENOTSUP for one of a pair and for a
// filter, and ENOMEM.
//
// Wraps: bufferevent_add_to_rate_limit_group, bufferevent_remove_from_rate_limit_group
func (bev *BufferEvent) SetRateLimitGroup(g *RateLimitGroup) error {
	op := "bufferevent_add_to_rate_limit_group"
	if g == nil {
		op = "bufferevent_remove_from_rate_limit_group"
	}
	if !bev.isSocket() {
		return opError(op, syscall.ENOTSUP)
	}
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	var c *C.struct_golibevent_group
	if g != nil {
		if g.base != bev.Base() {
			return opError(op, syscall.EINVAL)
		}
		// Not by enter: members come from everywhere.
		if !g.life.Enter() {
			return &Error{op, ErrClosed}
		}
		defer g.leave()
		c = g.c
	}
	eager := bev.Eager()
	rc, err := C.golibevent_bufferevent_set_rate_limit_group(bev.c, bev.more().limits, c, C.bool(eager))
	if eager != bev.Eager() {
		bev.letEager()
	}
	if rc == -1 {
		return opError(op, err)
	}
	return nil
}

// ReadLimit returns how many bytes the BufferEvent's own limit lets it read now;
// EV_RATE_LIMIT_MAX without one, and 0 after Close. It is negative when more was read,
// or taken by DecrementReadLimit.
//
// Wraps: bufferevent_get_read_limit
func (bev *BufferEvent) ReadLimit() int {
	if bev.enter("bufferevent_get_read_limit") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_read_limit(bev.c))
}

// WriteLimit is ReadLimit for writing.
//
// Wraps: bufferevent_get_write_limit
func (bev *BufferEvent) WriteLimit() int {
	if bev.enter("bufferevent_get_write_limit") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_write_limit(bev.c))
}

// MaxToRead returns how many bytes would be read now at one time at most: MaxSingleRead,
// or what the BufferEvent's own limit leaves, but no more than its share of its group's.
// It is 0 after Close.
//
// Wraps: bufferevent_get_max_to_read
func (bev *BufferEvent) MaxToRead() int {
	if bev.enter("bufferevent_get_max_to_read") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_max_to_read(bev.c))
}

// MaxToWrite is MaxToRead for writing.
//
// Wraps: bufferevent_get_max_to_write
func (bev *BufferEvent) MaxToWrite() int {
	if bev.enter("bufferevent_get_max_to_write") != nil {
		return 0
	}
	defer bev.leave()
	return int(C.bufferevent_get_max_to_write(bev.c))
}

// DecrementReadLimit takes n bytes out of the BufferEvent's own read bucket, for what was
// read some other way. It may go below 0, and nothing is read until it is above. A
// negative n puts bytes back, up to the burst. It returns EINVAL without a limit.
//
// Wraps: bufferevent_decrement_read_limit
func (bev *BufferEvent) DecrementReadLimit(n int) error {
	return bev.decrement("bufferevent_decrement_read_limit", C.EV_READ, n)
}

// DecrementWriteLimit is DecrementReadLimit for writing.
//
// Wraps: bufferevent_decrement_write_limit
func (bev *BufferEvent) DecrementWriteLimit(n int) error {
	return bev.decrement("bufferevent_decrement_write_limit", C.EV_WRITE, n)
}

func (bev *BufferEvent) decrement(op string, direction C.short, n int) error {
	if err := bev.enter(op); err != nil {
		return err
	}
	defer bev.leave()
	limits := bev.limits()
	if limits == nil {
		return opError(op, syscall.EINVAL)
	}
	rc, err := C.golibevent_bufferevent_decrement(bev.c, limits, direction, C.int64_t(n))
	if rc == -1 {
		return opError(op, err)
	}
	return nil
}

// RateLimitGroup is a rate limit that BufferEvents of one base share. What it has is
// divided by the number of members, however many of them have something to do, but each
// may move the minimal share at a time. A group keeps its loop from ending.
//
// Its methods but Close are for the loop only. After Close they return ErrClosed, or a
// zero value.
//
// Wraps: struct bufferevent_rate_limit_group
type RateLimitGroup struct {
	c    *C.struct_golibevent_group
	g    *C.struct_bufferevent_rate_limit_group
	base *Base
	life life.Life
	node own.Node
	cfg  TokenBucketConfig
	uses uint32 // written by every method: misuse shows in the race detector
}

var _ io.Closer = (*RateLimitGroup)(nil)

// groups counts the groups that are not closed.
var groups atomic.Int64

// NewRateLimitGroup makes a group without members. Its minimal share is 64 bytes. It
// returns EINVAL for an invalid cfg, and ENOMEM. It is safe from any goroutine.
//
// Wraps: bufferevent_rate_limit_group_new, ev_token_bucket_cfg_new, ev_token_bucket_cfg_free
func (b *Base) NewRateLimitGroup(cfg TokenBucketConfig) (*RateLimitGroup, error) {
	const op = "bufferevent_rate_limit_group_new"
	cfg, err := cfg.normal()
	if err != nil {
		return nil, opError(op, err)
	}
	if err := b.enter(op); err != nil {
		return nil, err
	}
	defer b.leave()
	c, err := cfg.c()
	if c == nil {
		return nil, opError("ev_token_bucket_cfg_new", err)
	}
	defer C.ev_token_bucket_cfg_free(c)
	g := &RateLimitGroup{base: b, cfg: cfg}
	if g.c, err = C.golibevent_group_new(b.c, c); g.c == nil {
		return nil, opError(op, err)
	}
	g.g = C.golibevent_group_c(g.c)
	g.node.Child = g
	if !b.children.Add(&g.node) {
		C.golibevent_group_unref(g.c)
		return nil, opError(op, ErrClosed)
	}
	groups.Add(1)
	return g, nil
}

// enter begins a call into C for op. If it returns nil the caller must leave.
func (g *RateLimitGroup) enter(op string) error {
	if g.base.broken.Load() {
		return &Error{op, ErrBroken}
	}
	if !g.life.Enter() {
		return &Error{op, ErrClosed}
	}
	g.uses++
	return nil
}

func (g *RateLimitGroup) leave() {
	if g.life.Leave() {
		g.free()
	}
}

func (g *RateLimitGroup) free() {
	groups.Add(-1)
	C.golibevent_group_unref(g.c)
	g.base.children.Remove(&g.node)
}

// Close ends the group. It goes on to limit the members that it has, until the last of
// them is closed, or put elsewhere. The second Close does nothing. It is safe from any
// goroutine.
//
// Wraps: bufferevent_rate_limit_group_free
func (g *RateLimitGroup) Close() error {
	if g.base.broken.Load() {
		return &Error{"bufferevent_rate_limit_group_free", ErrBroken}
	}
	if _, free := g.life.Close(); free {
		g.free()
	}
	return nil
}

// Base returns the base that the group was made on.
func (g *RateLimitGroup) Base() *Base { return g.base }

// Config returns the group's limit, the zero one after Close.
func (g *RateLimitGroup) Config() TokenBucketConfig {
	if g.enter("bufferevent_rate_limit_group_new") != nil {
		return TokenBucketConfig{}
	}
	defer g.leave()
	return g.cfg
}

// SetConfig changes the group's limit. What is left in the buckets stays, up to the new
// bursts. It returns EINVAL for an invalid cfg, and for another tick, with which libevent
// might never fill the buckets again; and ENOMEM.
//
// Wraps: bufferevent_rate_limit_group_set_cfg
func (g *RateLimitGroup) SetConfig(cfg TokenBucketConfig) error {
	const op = "bufferevent_rate_limit_group_set_cfg"
	cfg, err := cfg.normal()
	if err != nil {
		return opError(op, err)
	}
	if err := g.enter(op); err != nil {
		return err
	}
	defer g.leave()
	if cfg.Tick != g.cfg.Tick {
		return opError(op, syscall.EINVAL)
	}
	c, err := cfg.c()
	if c == nil {
		return opError("ev_token_bucket_cfg_new", err)
	}
	defer C.ev_token_bucket_cfg_free(c)
	if rc, err := C.bufferevent_rate_limit_group_set_cfg(g.g, c); rc == -1 {
		return opError(op, err)
	}
	g.cfg = cfg
	return nil
}

// SetMinShare sets how many bytes a member may always move at a time, so that many of
// them do not move a few bytes each; above the lower of the two rates it counts as that
// rate. It returns EINVAL for n < 1.
//
// Wraps: bufferevent_rate_limit_group_set_min_share
func (g *RateLimitGroup) SetMinShare(n int) error {
	const op = "bufferevent_rate_limit_group_set_min_share"
	if n < 1 {
		return opError(op, syscall.EINVAL)
	}
	if err := g.enter(op); err != nil {
		return err
	}
	defer g.leave()
	if rc, err := C.bufferevent_rate_limit_group_set_min_share(g.g, C.size_t(n)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// ReadLimit returns how many bytes the members may read now, all together. It is negative
// when more was read, or taken by DecrementReadLimit.
//
// Wraps: bufferevent_rate_limit_group_get_read_limit
func (g *RateLimitGroup) ReadLimit() int {
	if g.enter("bufferevent_rate_limit_group_get_read_limit") != nil {
		return 0
	}
	defer g.leave()
	return int(C.bufferevent_rate_limit_group_get_read_limit(g.g))
}

// WriteLimit is ReadLimit for writing.
//
// Wraps: bufferevent_rate_limit_group_get_write_limit
func (g *RateLimitGroup) WriteLimit() int {
	if g.enter("bufferevent_rate_limit_group_get_write_limit") != nil {
		return 0
	}
	defer g.leave()
	return int(C.bufferevent_rate_limit_group_get_write_limit(g.g))
}

// DecrementReadLimit takes n bytes out of the group's read bucket, for what was read some
// other way. It may go below 0, and no member reads until it is above. A negative n puts
// bytes back, up to the burst.
//
// Wraps: bufferevent_rate_limit_group_decrement_read
func (g *RateLimitGroup) DecrementReadLimit(n int) error {
	return g.decrement("bufferevent_rate_limit_group_decrement_read", C.EV_READ, n)
}

// DecrementWriteLimit is DecrementReadLimit for writing.
//
// Wraps: bufferevent_rate_limit_group_decrement_write
func (g *RateLimitGroup) DecrementWriteLimit(n int) error {
	return g.decrement("bufferevent_rate_limit_group_decrement_write", C.EV_WRITE, n)
}

func (g *RateLimitGroup) decrement(op string, direction C.short, n int) error {
	if err := g.enter(op); err != nil {
		return err
	}
	defer g.leave()
	if rc, err := C.golibevent_group_decrement(g.c, direction, C.int64_t(n), g.cfg.burst(direction)); rc == -1 {
		return opError(op, err)
	}
	return nil
}

// Totals returns how many bytes the members have read and written since the group was
// made, or since ResetTotals.
//
// Wraps: bufferevent_rate_limit_group_get_totals
func (g *RateLimitGroup) Totals() (read, written uint64) {
	if g.enter("bufferevent_rate_limit_group_get_totals") != nil {
		return 0, 0
	}
	defer g.leave()
	var r, w C.uint64_t
	C.bufferevent_rate_limit_group_get_totals(g.g, &r, &w)
	return uint64(r), uint64(w)
}

// ResetTotals makes Totals count from 0 again.
//
// Wraps: bufferevent_rate_limit_group_reset_totals
func (g *RateLimitGroup) ResetTotals() error {
	if err := g.enter("bufferevent_rate_limit_group_reset_totals"); err != nil {
		return err
	}
	defer g.leave()
	C.bufferevent_rate_limit_group_reset_totals(g.g)
	return nil
}
