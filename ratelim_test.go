package libevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-libevent/libevent"
)

// rateTick is a tick, at whose end the buckets fill.
const rateTick = 20 * time.Millisecond

// rateEach is a limit of n bytes a tick for each direction, with a burst of as much.
func rateEach(n int) libevent.TokenBucketConfig {
	return libevent.TokenBucketConfig{ReadRate: n, ReadBurst: n, WriteRate: n, WriteBurst: n, Tick: rateTick}
}

// rateSteady is rateEach with a burst that makes up for the ticks whose end the loop sees
// late.
func rateSteady(n int) libevent.TokenBucketConfig {
	cfg := rateEach(n)
	cfg.ReadBurst, cfg.WriteBurst = 4*n, 4*n
	return cfg
}

// rateStream makes two connected BufferEvents, of which the one sends without end what the
// other drops, each time that it has no more.
func rateStream(t testing.TB, b *libevent.Base) (from, to *libevent.BufferEvent, received *int) {
	t.Helper()
	from, conn := eagerTCP(t, b, 0)
	raw, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fd, err := syscall.Dup(int(raw.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	to = bevNew(t, b, fd, bevOwn)
	received = new(int)
	to.SetCallbacks(func(bev *libevent.BufferEvent) {
		*received += bev.Input().Len()
		bevCheck(t, "Drain", bev.Input().Drain(bev.Input().Len()), nil)
	}, nil, nil)
	more := make([]byte, 64<<10)
	refill := func(bev *libevent.BufferEvent) {
		if _, err := bev.Write(more); err != nil {
			t.Error(err)
		}
	}
	from.SetCallbacks(nil, refill, nil)
	refill(from)
	bevCheck(t, "Enable", to.Enable(libevent.EV_READ), nil)
	return from, to, received
}

// rateRun runs the loop for about d, and returns how many ticks of the wall clock began.
func rateRun(t testing.TB, b *libevent.Base, d time.Duration) (ticks int) {
	t.Helper()
	// It begins with a tick, so that what the buckets begin with counts as one.
	for now := time.Now().UnixNano(); time.Now().UnixNano()/int64(rateTick) == now/int64(rateTick); {
		time.Sleep(rateTick / 100)
	}
	start := time.Now().UnixNano() / int64(rateTick)
	end := start
	bevCheck(t, "Once", b.Once(-1, 0, func(libevent.Events) {
		end = b.CachedTime().UnixNano() / int64(rateTick)
		bevCheck(t, "LoopBreak", b.LoopBreak(), nil)
	}, d), nil)
	bevRun(t, b)
	return int(end - start + 1)
}

// rateHolds says that in a second rate bytes a tick are received, to a tenth. When less are,
// for a busy machine keeps the loop longer than a burst makes up for, it tries again.
func rateHolds(t testing.TB, b *libevent.Base, rate int, received func() int) {
	t.Helper()
	var got, want int
	for range 10 {
		before := received()
		want = rateRun(t, b, time.Second) * rate
		if got = received() - before; got >= want*9/10 {
			break
		}
	}
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// What goes through in a second is what the limit says, to a tenth: for the writer alone,
// the reader alone, both, and through what is eager otherwise.
func TestRateLimitHolds(t *testing.T) {
	const rate = 4000
	for _, tt := range []struct {
		name                string
		writer, reader      bool
		eagerOnes, filtered bool
	}{
		{"writer", true, false, false, false},
		{"reader", false, true, false, false},
		{"both", true, true, false, false},
		{"eager writer", true, false, true, false},
		{"eager reader", false, true, true, false},
		{"under a filter", false, true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			b := bevBase(t)
			from, to, received := rateStream(t, b)
			cfg := rateSteady(rate)
			for bev, limited := range map[*libevent.BufferEvent]bool{from: tt.writer, to: tt.reader} {
				bevCheck(t, "SetEager", bev.SetEager(tt.eagerOnes), nil)
				if limited {
					bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
				}
			}
			if tt.filtered {
				f := filterNew(t, to, nil, nil, 0)
				f.SetCallbacks(func(bev *libevent.BufferEvent) { *received += len(bevRead(t, bev)) }, nil, nil)
				bevCheck(t, "Enable", f.Enable(libevent.EV_READ), nil)
			}
			rateHolds(t, b, rate, func() int { return *received })
		})
	}
}

// A group shares its limit, whoever uses it, and counts what all of them have moved.
func TestRateLimitGroupHolds(t *testing.T) {
	const rate, members = 12_000, 4
	for _, writers := range []bool{false, true} {
		t.Run(fmt.Sprintf("writers=%v", writers), func(t *testing.T) {
			t.Parallel()
			b := bevBase(t)
			g, err := b.NewRateLimitGroup(rateSteady(rate))
			if err != nil {
				t.Fatal(err)
			}
			var each [members]*int
			for i := range each {
				from, to, received := rateStream(t, b)
				each[i] = received
				member := to
				if writers {
					member = from
				}
				bevCheck(t, "SetRateLimitGroup", member.SetRateLimitGroup(g), nil)
			}
			sum := func() (total int) {
				for _, n := range each {
					total += *n
				}
				return total
			}
			rateHolds(t, b, rate, sum)
			total := sum()
			read, written := g.Totals()
			counted, other := int(read), int(written)
			if writers {
				counted, other = other, counted
			}
			if counted < total || counted > total+members*64<<10 || other != 0 {
				t.Errorf("Totals: %d read, %d written, %d received", read, written, total)
			}
			bevCheck(t, "ResetTotals", g.ResetTotals(), nil)
			if read, written := g.Totals(); read != 0 || written != 0 {
				t.Errorf("Totals after ResetTotals: %d, %d", read, written)
			}
		})
	}
}

// A member's own limit holds within a group.
func TestRateLimitWithinGroup(t *testing.T) {
	b := bevBase(t)
	g, err := b.NewRateLimitGroup(rateEach(100_000))
	if err != nil {
		t.Fatal(err)
	}
	_, to, received := rateStream(t, b)
	cfg := rateSteady(2000)
	bevCheck(t, "SetRateLimitGroup", to.SetRateLimitGroup(g), nil)
	bevCheck(t, "SetRateLimit", to.SetRateLimit(&cfg), nil)
	rateHolds(t, b, 2000, func() int { return *received })
}

// Taken away in use, a limit limits no more, and set again it does.
func TestRateLimitChangesInUse(t *testing.T) {
	const rate = 1000
	b := bevBase(t)
	_, to, received := rateStream(t, b)
	g, err := b.NewRateLimitGroup(rateEach(rate))
	if err != nil {
		t.Fatal(err)
	}
	cfg := rateEach(rate)
	for _, step := range []struct {
		name    string
		set     func() error
		limited bool
	}{
		{"limit", func() error { return to.SetRateLimit(&cfg) }, true},
		{"no limit", func() error { return to.SetRateLimit(nil) }, false},
		{"group", func() error { return to.SetRateLimitGroup(g) }, true},
		{"no group", func() error { return to.SetRateLimitGroup(nil) }, false},
		{"limit again", func() error { return to.SetRateLimit(&cfg) }, true},
		{"both", func() error { return to.SetRateLimitGroup(g) }, true},
		{"neither", func() error { return errors.Join(to.SetRateLimit(nil), to.SetRateLimitGroup(nil)) }, false},
	} {
		bevCheck(t, step.name, step.set(), nil)
		*received = 0
		ticks := rateRun(t, b, 6*rateTick)
		if most := (ticks + 1) * rate; step.limited && *received > most {
			t.Errorf("%s: %d bytes, %d at most", step.name, *received, most)
		} else if !step.limited && *received < 10*most {
			t.Errorf("%s: %d bytes only", step.name, *received)
		}
	}
}

// With another tick the bucket fills on, where libevent alone would stop: it keeps the
// number of the tick before.
func TestRateLimitChangesTick(t *testing.T) {
	b := bevBase(t)
	_, to, received := rateStream(t, b)
	short, long := rateEach(1000), rateEach(1000)
	short.Tick = time.Millisecond
	for _, cfg := range []libevent.TokenBucketConfig{short, long, short, long} {
		bevCheck(t, "SetRateLimit", to.SetRateLimit(&cfg), nil)
		*received = 0
		rateRun(t, b, 10*rateTick)
		if *received < 2*cfg.ReadRate {
			t.Errorf("tick %v: %d bytes", cfg.Tick, *received)
		}
	}
	// To set it often gives nothing away.
	bevCheck(t, "DecrementReadLimit", to.DecrementReadLimit(100_000), nil)
	bevCheck(t, "DecrementWriteLimit", to.DecrementWriteLimit(100_000), nil)
	for _, cfg := range []libevent.TokenBucketConfig{short, long, short, long} {
		bevCheck(t, "SetRateLimit", to.SetRateLimit(&cfg), nil)
		if read, write := to.ReadLimit(), to.WriteLimit(); read > -90_000 || write > -90_000 {
			t.Errorf("the limits are %d and %d", read, write)
		}
	}
}

// What is eager steps aside for a limit, in a callback's view too, and is eager again.
func TestRateLimitEndsEager(t *testing.T) {
	const rate = 100
	message := bytes.Repeat([]byte("x"), 10*rate)
	for _, group := range []bool{false, true} {
		for _, inCallback := range []bool{false, true} {
			t.Run(fmt.Sprintf("group=%v/callback=%v", group, inCallback), func(t *testing.T) {
				b := bevBase(t)
				bev, conn := eagerTCP(t, b, 0)
				bevCheck(t, "SetEager", bev.SetEager(true), nil)
				cfg := rateEach(rate)
				cfg.Tick = time.Hour
				g, err := b.NewRateLimitGroup(cfg)
				if err != nil {
					t.Fatal(err)
				}
				set := func(on bool) {
					switch {
					case group && on:
						bevCheck(t, "SetRateLimitGroup", bev.SetRateLimitGroup(g), nil)
					case group:
						bevCheck(t, "SetRateLimitGroup", bev.SetRateLimitGroup(nil), nil)
					case on:
						bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
					default:
						bevCheck(t, "SetRateLimit", bev.SetRateLimit(nil), nil)
					}
				}
				use := func(*libevent.BufferEvent) {
					set(true)
					if !bev.Eager() {
						t.Error("SetEager is forgotten")
					}
					// Not even SetEager makes it so.
					bevCheck(t, "SetEager", bev.SetEager(true), nil)
					if _, err := bev.Write(message); err != nil {
						t.Error(err)
					}
					if n := bev.Output().Len(); n != len(message) {
						t.Errorf("%d bytes were sent at once", len(message)-n)
					}
				}
				if inCallback {
					bev.SetCallbacks(use, nil, nil)
					bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
					if _, err := conn.Write([]byte("go")); err != nil {
						t.Error(err)
					}
				} else {
					use(bev)
				}
				bevCheck(t, "LoopExit", b.LoopExit(5*rateTick), nil)
				bevRun(t, b)
				if n := bev.Output().Len(); n != len(message)-rate {
					t.Errorf("%d bytes are left, want %d", n, len(message)-rate)
				}
				set(false)
				bevCheck(t, "LoopExit", b.LoopExit(5*rateTick), nil)
				bevRun(t, b)
				if n := bev.Output().Len(); n != 0 {
					t.Errorf("%d bytes are left", n)
				}
				for range 2 {
					if _, err := bev.Write(message); err != nil || bev.Output().Len() != 0 {
						t.Errorf("eager no more: %d bytes, %v", bev.Output().Len(), err)
					}
					bevCheck(t, "SetEager", errors.Join(bev.SetEager(false), bev.SetEager(true)), nil)
				}
				bevCheck(t, "SetEager", bev.SetEager(false), nil)
				set(true)
				set(false)
				if _, err := bev.Write(message); err != nil || bev.Output().Len() != len(message) {
					t.Errorf("eager without being asked: %d bytes, %v", bev.Output().Len(), err)
				}
			})
		}
	}
}

// An eager one reads no more than its limit, or its group's.
func TestRateLimitEagerReads(t *testing.T) {
	for _, group := range []bool{false, true} {
		b := bevBase(t)
		bev, conn := eagerTCP(t, b, 0)
		bevCheck(t, "SetEager", bev.SetEager(true), nil)
		cfg := rateEach(100)
		cfg.Tick = time.Hour
		left := bev.ReadLimit
		if group {
			g, err := b.NewRateLimitGroup(cfg)
			if err != nil {
				t.Fatal(err)
			}
			bevCheck(t, "SetRateLimitGroup", bev.SetRateLimitGroup(g), nil)
			left = g.ReadLimit
		} else {
			bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
		}
		bevCheck(t, "Enable", bev.Enable(libevent.EV_READ), nil)
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		bevCheck(t, "LoopExit", b.LoopExit(5*rateTick), nil)
		bevRun(t, b)
		if n := bev.Input().Len(); n != 100 || left() != 0 {
			t.Errorf("group %v: %d bytes, %d to go", group, n, left())
		}
		if n := bev.MaxToRead(); n != 0 && !group { // a group's member may always read its share
			t.Errorf("%d at a time", n)
		}
	}
}

// What the getters say, with and without limits, and what DecrementReadLimit makes of it.
func TestRateLimitGetters(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	check := func(what string, read, write, maxRead, maxWrite int) {
		t.Helper()
		got := []int{bev.ReadLimit(), bev.WriteLimit(), bev.MaxToRead(), bev.MaxToWrite()}
		if want := []int{read, write, maxRead, maxWrite}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	most := libevent.EV_RATE_LIMIT_MAX
	check("no limit", most, most, 16384, 16384)
	bevCheck(t, "SetMaxSingleRead", bev.SetMaxSingleRead(10), nil)
	bevCheck(t, "SetMaxSingleWrite", bev.SetMaxSingleWrite(20), nil)
	check("single", most, most, 10, 20)
	if cfg, ok := bev.RateLimit(); ok || cfg != (libevent.TokenBucketConfig{}) {
		t.Errorf("RateLimit: %v, %v", cfg, ok)
	}

	cfg := libevent.TokenBucketConfig{ReadRate: 100, ReadBurst: 200, WriteRate: 300, WriteBurst: 400, Tick: time.Hour}
	bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
	if got, ok := bev.RateLimit(); !ok || got != cfg {
		t.Errorf("RateLimit: %v, %v", got, ok)
	}
	check("limit", 100, 300, 100, 300)
	bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(150), nil)
	bevCheck(t, "DecrementWriteLimit", bev.DecrementWriteLimit(50), nil)
	check("decremented", -50, 250, 0, 250)
	for _, n := range []int{-1000, math.MinInt} {
		bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(n), nil)
		bevCheck(t, "DecrementWriteLimit", bev.DecrementWriteLimit(n), nil)
		check("to the burst", 200, 400, 200, 400)
	}
	// However often, it does not come round.
	for range 20 {
		bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(math.MaxInt), nil)
	}
	if n := bev.ReadLimit(); n > -1<<40 {
		t.Errorf("%d", n)
	}
	bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(math.MinInt), nil)
	check("back at the burst", 200, 400, 200, 400)

	// A new limit cuts what is left to its burst.
	cfg.ReadRate, cfg.ReadBurst = 20, 50
	bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
	check("cut", 50, 400, 50, 400)
	bevCheck(t, "SetRateLimit", bev.SetRateLimit(nil), nil)
	check("taken away", most, most, 10, 20)
	bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(1), syscall.EINVAL)
	bevCheck(t, "DecrementWriteLimit", bev.DecrementWriteLimit(1), syscall.EINVAL)

	none := libevent.TokenBucketConfig{ReadRate: most, ReadBurst: most, WriteRate: most, WriteBurst: most}
	bevCheck(t, "SetRateLimit", bev.SetRateLimit(&none), nil)
	if got, _ := bev.RateLimit(); got.Tick != time.Second {
		t.Errorf("a tick of %v", got.Tick)
	}
	check("no limit after all", most, most, most, most)
	bevCheck(t, "DecrementReadLimit", bev.DecrementReadLimit(-1), nil)
	check("nor more than that", most, most, most, most)
}

// What the getters say of a group, and what a member's share of it is.
func TestRateLimitGroupShares(t *testing.T) {
	b := bevBase(t)
	cfg := libevent.TokenBucketConfig{ReadRate: 1000, ReadBurst: 2000, WriteRate: 3000, WriteBurst: 4000, Tick: time.Hour}
	g, err := b.NewRateLimitGroup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if g.Base() != b || g.Config() != cfg {
		t.Errorf("base %p, config %v", g.Base(), g.Config())
	}
	var members [20]*libevent.BufferEvent
	share := func(what string, n, read, write int) {
		t.Helper()
		for i, bev := range members[:n] {
			if bev.MaxToRead() != read || bev.MaxToWrite() != write {
				t.Errorf("%s: member %d of %d: %d, %d, want %d, %d", what, i, n, bev.MaxToRead(), bev.MaxToWrite(), read, write)
			}
		}
	}
	for i := range members {
		members[i] = bevNew(t, b, -1, bevOptions[i%len(bevOptions)])
		bevCheck(t, "SetRateLimitGroup", members[i].SetRateLimitGroup(g), nil)
		bevCheck(t, "SetRateLimitGroup again", members[i].SetRateLimitGroup(g), nil)
		share("joined", i+1, max(1000/(i+1), 64), 3000/(i+1))
	}
	bevCheck(t, "SetMinShare", g.SetMinShare(1), nil)
	share("the smallest share", len(members), 50, 150)
	bevCheck(t, "SetMinShare", g.SetMinShare(1<<40), nil)
	share("no more than a rate", len(members), 1000, 1000)
	bevCheck(t, "SetMinShare", g.SetMinShare(120), nil)
	share("a larger share", len(members), 120, 150)

	bevCheck(t, "DecrementReadLimit", g.DecrementReadLimit(1100), nil)
	bevCheck(t, "DecrementWriteLimit", g.DecrementWriteLimit(-100), nil)
	if r, w := g.ReadLimit(), g.WriteLimit(); r != -100 || w != 3100 {
		t.Errorf("%d, %d", r, w)
	}
	share("suspended", len(members), 0, 155)
	bevCheck(t, "DecrementReadLimit", g.DecrementReadLimit(math.MinInt), nil)
	bevCheck(t, "DecrementWriteLimit", g.DecrementWriteLimit(math.MinInt), nil)
	if r, w := g.ReadLimit(), g.WriteLimit(); r != 2000 || w != 4000 {
		t.Errorf("%d, %d", r, w)
	}
	share("unsuspended", len(members), 120, 200)
	cfg.ReadRate, cfg.ReadBurst = 5, 400
	bevCheck(t, "SetConfig", g.SetConfig(cfg), nil)
	if g.ReadLimit() != 400 || g.Config() != cfg {
		t.Errorf("%d, %v", g.ReadLimit(), g.Config())
	}
	share("a share is cut to the rate", len(members), 20, 200)
	for range 20 {
		bevCheck(t, "DecrementReadLimit", g.DecrementReadLimit(math.MaxInt), nil)
	}
	if n := g.ReadLimit(); n > -1<<40 {
		t.Errorf("%d", n)
	}

	// Out of the group, closed or put elsewhere, they count no more.
	other, err := b.NewRateLimitGroup(rateEach(7))
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "SetRateLimitGroup", members[19].SetRateLimitGroup(other), nil)
	for _, bev := range members[2:19] {
		bevCheck(t, "Close", bev.Close(), nil)
	}
	share("two are left", 2, 0, 2000)
	if n := members[19].MaxToRead(); n != 7 {
		t.Errorf("elsewhere: %d", n)
	}
}

// With the smallest share there are times when a member may move less than a byte, which
// must not look like the end of the stream.
func TestRateLimitManyMembers(t *testing.T) {
	b := bevBase(t)
	g, err := b.NewRateLimitGroup(rateEach(50))
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "SetMinShare", g.SetMinShare(1), nil)
	total := 0
	for range 100 {
		from, to := bevTwo(t, b, false, 0)
		to.SetCallbacks(func(bev *libevent.BufferEvent) { total += len(bevRead(t, bev)) }, nil,
			func(_ *libevent.BufferEvent, what libevent.BufferEvents) { t.Errorf("%v", what) })
		bevCheck(t, "SetRateLimitGroup", to.SetRateLimitGroup(g), nil)
		bevCheck(t, "Enable", to.Enable(libevent.EV_READ), nil)
		if _, err := from.WriteString("a few bytes"); err != nil {
			t.Error(err)
		}
	}
	ticks := rateRun(t, b, 10*rateTick)
	if total == 0 || total > (ticks+1)*50 {
		t.Errorf("%d bytes", total)
	}
}

// A closed group goes on to limit its members. It keeps no loop from ending.
func TestRateLimitGroupClose(t *testing.T) {
	b := bevBase(t)
	_, to, received := rateStream(t, b)
	g, err := b.NewRateLimitGroup(rateEach(1000))
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "SetRateLimitGroup", to.SetRateLimitGroup(g), nil)
	bevCheck(t, "Close", g.Close(), nil)
	bevCheck(t, "Close", g.Close(), nil)
	ticks := rateRun(t, b, 10*rateTick)
	if *received == 0 || *received > (ticks+1)*1000 {
		t.Errorf("%d bytes", *received)
	}
	bevCheck(t, "SetRateLimitGroup", to.SetRateLimitGroup(g), libevent.ErrClosed)
	for name, err := range map[string]error{
		"SetConfig":           g.SetConfig(rateEach(1)),
		"SetMinShare":         g.SetMinShare(1),
		"DecrementReadLimit":  g.DecrementReadLimit(1),
		"DecrementWriteLimit": g.DecrementWriteLimit(1),
		"ResetTotals":         g.ResetTotals(),
	} {
		bevCheck(t, name, err, libevent.ErrClosed)
	}
	if r, w := g.Totals(); r != 0 || w != 0 || g.ReadLimit() != 0 || g.WriteLimit() != 0 ||
		g.Config() != (libevent.TokenBucketConfig{}) {
		t.Error("something other than zero after Close")
	}
	bevCheck(t, "SetRateLimitGroup", to.SetRateLimitGroup(nil), nil)

	idle := bevBase(t)
	if g, err = idle.NewRateLimitGroup(rateEach(1)); err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "Post", idle.Post(func() { bevCheck(t, "Close", g.Close(), nil) }), nil)
	bevRun(t, idle)
}

func TestRateLimitArguments(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, 0)
	g, err := b.NewRateLimitGroup(rateEach(1))
	if err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	for _, cfg := range []libevent.TokenBucketConfig{
		{},
		{0, 1, 1, 1, ms},
		{1, 1, 0, 1, ms},
		{-1, 1, 1, 1, ms},
		{1, 1, math.MinInt, 1, ms},
		{2, 1, 1, 1, ms},
		{1, 1, 2, 1, ms},
		{1, -1, 1, 1, ms},
		{1, 0, 1, 1, ms},
		{1, 1, 1, 1, 1},
		{1, 1, 1, 1, ms - 1},
		{1, 1, 1, 1, -1},
		{1, 1, 1, 1, -time.Second},
		{1, 1, 1, 1, math.MinInt64},
		// Its milliseconds come round to 0.
		{1, 1, 1, 1, (math.MaxUint32 + 1) * ms},
		{1, 1, 1, 1, math.MaxInt64},
	} {
		bevCheck(t, fmt.Sprint("SetRateLimit ", cfg), bev.SetRateLimit(&cfg), syscall.EINVAL)
		bevCheck(t, fmt.Sprint("SetConfig ", cfg), g.SetConfig(cfg), syscall.EINVAL)
		other, err := b.NewRateLimitGroup(cfg)
		if other != nil {
			t.Error("a group")
		}
		bevCheck(t, fmt.Sprint("NewRateLimitGroup ", cfg), err, syscall.EINVAL)
	}
	for tick, want := range map[time.Duration]time.Duration{
		0: time.Second, ms: ms, ms + 1: 2 * ms, 2*ms - 1: 2 * ms, math.MaxUint32 * ms: math.MaxUint32 * ms,
	} {
		cfg := rateEach(1)
		cfg.Tick = tick
		bevCheck(t, "SetRateLimit", bev.SetRateLimit(&cfg), nil)
		if got, _ := bev.RateLimit(); got.Tick != want || cfg.Tick != tick {
			t.Errorf("%v becomes %v, want %v", tick, got.Tick, want)
		}
	}
	slower := rateEach(1)
	slower.Tick *= 2
	bevCheck(t, "SetConfig with another tick", g.SetConfig(slower), syscall.EINVAL)
	bevCheck(t, "SetMinShare", g.SetMinShare(0), syscall.EINVAL)
	bevCheck(t, "SetMinShare", g.SetMinShare(-1), syscall.EINVAL)

	foreign := bevNew(t, bevBase(t), -1, 0)
	bevCheck(t, "another base's group", foreign.SetRateLimitGroup(g), syscall.EINVAL)
	one, _ := bevTwo(t, b, true, 0)
	cfg := rateEach(1)
	bevCheck(t, "SetRateLimit of a pair", one.SetRateLimit(&cfg), syscall.ENOTSUP)
	wrapped(t, "bufferevent_add_to_rate_limit_group", one.SetRateLimitGroup(g), syscall.ENOTSUP)
	wrapped(t, "bufferevent_remove_from_rate_limit_group", one.SetRateLimitGroup(nil), syscall.ENOTSUP)

	bevCheck(t, "Close", bev.Close(), nil)
	for name, err := range map[string]error{
		"SetRateLimit":        bev.SetRateLimit(&cfg),
		"SetRateLimitGroup":   bev.SetRateLimitGroup(g),
		"no group":            bev.SetRateLimitGroup(nil),
		"DecrementReadLimit":  bev.DecrementReadLimit(1),
		"DecrementWriteLimit": bev.DecrementWriteLimit(1),
	} {
		bevCheck(t, name, err, libevent.ErrClosed)
	}
	if bev.ReadLimit() != 0 || bev.WriteLimit() != 0 || bev.MaxToRead() != 0 || bev.MaxToWrite() != 0 {
		t.Error("something other than zero after Close")
	}
	closed, err := libevent.New()
	if err != nil {
		t.Fatal(err)
	}
	bevCheck(t, "Close", closed.Close(), nil)
	_, err = closed.NewRateLimitGroup(cfg)
	bevCheck(t, "on a closed base", err, libevent.ErrClosed)
}

// Limits and groups go in any order, with the base, in callbacks, suspended or not.
func TestRateLimitsLeaveNothing(t *testing.T) {
	needsNoDebugMode(t)
	leavesNothing(t, fewer(5000), func(n int) {
		for i := range n {
			b, err := libevent.New()
			if err != nil {
				t.Fatal(err)
			}
			g, err := b.NewRateLimitGroup(rateEach(5))
			if err != nil {
				t.Fatal(err)
			}
			left, right := bevTwo(t, b, false, bevOptions[i%len(bevOptions)])
			cfg := rateEach(3)
			right.SetCallbacks(func(bev *libevent.BufferEvent) {
				if i%7 == 0 {
					bevCheck(t, "Close", errors.Join(bev.Close(), g.Close()), nil)
				}
			}, nil, nil)
			if i%2 == 0 {
				bevCheck(t, "SetRateLimit", right.SetRateLimit(&cfg), nil)
				bevCheck(t, "SetRateLimit", right.SetRateLimit(&cfg), nil)
			}
			if i%3 != 0 {
				bevCheck(t, "SetRateLimitGroup", right.SetRateLimitGroup(g), nil)
				bevCheck(t, "SetRateLimitGroup", left.SetRateLimitGroup(g), nil)
			}
			bevCheck(t, "Enable", right.Enable(libevent.EV_READ), nil)
			if _, err := left.WriteString("more than that at once"); err != nil {
				t.Error(err)
			}
			for range i % 4 {
				bevRunNothing(t, b)
			}
			switch i % 5 {
			case 0:
				bevCheck(t, "Close", errors.Join(g.Close(), left.Close(), right.Close()), nil)
			case 1:
				bevCheck(t, "Close", errors.Join(left.Close(), right.Close(), g.Close()), nil)
			case 2:
				bevCheck(t, "Close", g.Close(), nil)
				bevRunNothing(t, b)
			case 3:
				_ = right.SetRateLimit(nil)
				_ = right.SetRateLimitGroup(nil)
			}
			bevCheck(t, "Close", b.Close(), nil)
		}
	})
}

// Goroutines limit BufferEvents, free them of it, and close them, while the loop serves
// them and their buckets fill.
func TestRateLimitElsewhere(t *testing.T) {
	b := bevBase(t)
	cfg := libevent.TokenBucketConfig{ReadRate: 50, ReadBurst: 50, WriteRate: 50, WriteBurst: 50, Tick: time.Millisecond}
	g, err := b.NewRateLimitGroup(libevent.TokenBucketConfig{
		ReadRate: 5000, ReadBurst: 5000, WriteRate: 5000, WriteBurst: 5000, Tick: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere(t, b, false, func(i int, left, right *libevent.BufferEvent) {
		heard := make(chan struct{}, 1)
		left.SetCallbacks(func(bev *libevent.BufferEvent) { _ = bev.WriteBuffer(bev.Input()) }, nil, nil)
		right.SetCallbacks(func(bev *libevent.BufferEvent) {
			_ = bev.WriteBuffer(bev.Input())
			select {
			case heard <- struct{}{}:
			default:
			}
		}, nil, nil)
		mine := cfg
		mine.Tick *= time.Duration(1 + i%3)
		bevCheck(t, "SetRateLimit", errors.Join(left.SetRateLimit(&cfg), right.SetRateLimit(&mine)), nil)
		for range 20 {
			bevCheck(t, "SetRateLimitGroup", errors.Join(left.SetRateLimitGroup(nil), right.SetRateLimitGroup(nil)), nil)
			bevCheck(t, "SetRateLimitGroup", errors.Join(left.SetRateLimitGroup(g), right.SetRateLimitGroup(g)), nil)
		}
		bevCheck(t, "Enable", errors.Join(left.Enable(bevRW), right.Enable(bevRW)), nil)
		if _, err := left.Write(make([]byte, 60)); err != nil {
			t.Error(err)
		}
		wait(t, "an answer", heard)
		bevCheck(t, "SetRateLimit", left.SetRateLimit(&mine), nil)
		bevCheck(t, "SetRateLimitGroup", errors.Join(left.SetRateLimitGroup(nil), right.SetRateLimit(nil)), nil)
	})
	bevCheck(t, "Close", g.Close(), nil)
}

// What RateLimit says is what holds, whoever was the last to set it.
func TestRateLimitSetTwiceAtOnce(t *testing.T) {
	b := bevBase(t)
	bev := bevNew(t, b, -1, fromAnywhere)
	limit := rateEach(100)
	for i := range rounds(100_000) {
		both(func() { bevCheck(t, "SetRateLimit", bev.SetRateLimit(&limit), nil) },
			func() { bevCheck(t, "SetRateLimit", bev.SetRateLimit(nil), nil) })
		_, limited := bev.RateLimit()
		if holds := bev.ReadLimit() != libevent.EV_RATE_LIMIT_MAX; limited != holds {
			t.Fatalf("round %d: RateLimit says %v, and it is %v", i, limited, holds)
		}
	}
}

func ExampleTokenBucketConfig() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	bev, err := base.NewBufferEvent(-1, 0)
	orPanic(err)
	// 100 kB a second each way, ten times a second; up to a second's worth after a pause.
	orPanic(bev.SetRateLimit(&libevent.TokenBucketConfig{
		ReadRate: 10_000, ReadBurst: 100_000,
		WriteRate: 10_000, WriteBurst: 100_000,
		Tick: 100 * time.Millisecond,
	}))
	cfg, limited := bev.RateLimit()
	fmt.Println(cfg.Tick, limited)
	orPanic(bev.SetRateLimit(nil))
	fmt.Println(bev.ReadLimit() == libevent.EV_RATE_LIMIT_MAX)
	// Output:
	// 100ms true
	// true
}

func ExampleRateLimitGroup() {
	base, err := libevent.New()
	orPanic(err)
	defer base.Close()
	group, err := base.NewRateLimitGroup(libevent.TokenBucketConfig{
		ReadRate: 4000, ReadBurst: 4000,
		WriteRate: libevent.EV_RATE_LIMIT_MAX, WriteBurst: libevent.EV_RATE_LIMIT_MAX,
	})
	orPanic(err)
	for range 3 {
		bev, err := base.NewBufferEvent(-1, 0)
		orPanic(err)
		orPanic(bev.SetRateLimitGroup(group))
		fmt.Println(bev.MaxToRead())
	}
	// Output:
	// 4000
	// 2000
	// 1333
}
