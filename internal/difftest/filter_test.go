//go:build linux

package difftest_test

import "github.com/go-libevent/libevent"

// maxFilters is how many filters a program can make.
const maxFilters = 5

// What a filter does with data.
const (
	nothing = iota
	pass
	limited
	collect
	grow
	swallow
	fail
	putAside
)

// filterFunction is a function of a filter, which FuzzBufferEvent's programs make.
type filterFunction struct {
	m       *bufferEventMachine
	id      int // the filter's number
	which   int
	kind    int
	n, done int // what that is depends on the kind
	aside   *libevent.Buffer
}

func (m *bufferEventMachine) newFilter(bev *libevent.BufferEvent, id int64) {
	const all = libevent.BEV_OPT_THREADSAFE | libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_UNLOCK_CALLBACKS
	kinds, n := m.next(), m.size()
	options := [8]libevent.BufferEventOptions{
		0, libevent.BEV_OPT_CLOSE_ON_FREE, libevent.BEV_OPT_DEFER_CALLBACKS,
		libevent.BEV_OPT_DEFER_CALLBACKS | libevent.BEV_OPT_CLOSE_ON_FREE,
		all, 0, libevent.BEV_OPT_THREADSAFE, libevent.BEV_OPT_UNLOCK_CALLBACKS,
	}[m.next()%8]
	if len(m.bevs) == cap(m.bevs) {
		return
	}
	i := len(m.bevs)
	var functions [2]libevent.Filter
	for which := range functions {
		f := &filterFunction{m: m, id: i, which: which, kind: kinds >> (3 * which) & 7, n: n}
		if f.kind == putAside {
			f.aside = newBuffer()
			m.asides = append(m.asides, f.aside)
		}
		if f.kind != nothing {
			functions[which] = f.filter
		}
	}
	top, err := bev.NewFilter(functions[0], functions[1], options)
	if err == nil {
		m.bevs = append(m.bevs, top)
		m.setCallbacks(i, onRead|onWrite|onEvent)
	}
	m.say("new_filter", id, int64(kinds), int64(n), int64(options), number(err))
}

// filter lets the tape do something, and change the result.
func (f *filterFunction) filter(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) libevent.FilterResult {
	m, id, which := f.m, int64(f.id), int64(f.which)
	m.say("filter", id, which, int64(src.Len()), int64(dst.Len()), int64(limit), int64(mode))
	outer := m.current
	m.current = f.id
	m.depth++
	if m.next()%4 == 3 {
		m.step()
	}
	result, err := f.apply(src, dst, limit, mode)
	if m.next()%8 == 7 {
		result = [4]libevent.FilterResult{libevent.BEV_OK, libevent.BEV_NEED_MORE, libevent.BEV_ERROR, 7}[m.next()%4]
	}
	m.say("filtered", id, which, int64(src.Len()), int64(dst.Len()), int64(result), number(err))
	m.depth--
	m.current = outer
	return result
}

// apply does what the filter is for.
func (f *filterFunction) apply(src, dst *libevent.Buffer, limit int, mode libevent.FlushMode) (libevent.FilterResult, error) {
	n := src.Len()
	switch f.kind {
	case limited:
		n = min(n, f.n+1)
	case collect:
		if mode == libevent.BEV_NORMAL && n < f.n {
			return libevent.BEV_NEED_MORE, nil
		}
	case swallow:
		return libevent.BEV_OK, src.Drain(f.n + 1)
	case fail:
		if f.done > f.n {
			return libevent.BEV_ERROR, nil
		}
		f.done += n
	case putAside:
		_, err := src.RemoveBuffer(f.aside, n)
		if err == nil && mode != libevent.BEV_NORMAL {
			err = dst.AddBuffer(f.aside)
		}
		return libevent.BEV_OK, err
	}
	if limit >= 0 {
		n = min(n, limit)
	}
	_, err := src.RemoveBuffer(dst, n)
	if err == nil && f.kind == grow {
		_, err = dst.Write([]byte("!"))
	}
	return libevent.BEV_OK, err
}
