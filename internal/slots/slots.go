// Package slots maps handles that C code carries to the Go values they stand for.
//
// A handle is an index and a generation. It goes stale when its value is deleted,
// and a stale handle finds nothing, even when the place is in use again. Finding
// takes no lock and allocates nothing.
package slots

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// A handle's low half is the place, plus one so that no handle is 0; its
	// high half is the place's generation.
	indexBits = bits.UintSize / 2
	indexMask = 1<<indexBits - 1

	// The table grows a chunk at a time, each twice as large as the one before,
	// so that a place never moves and an empty table costs little.
	firstBits = 6
	chunks    = indexBits - firstBits
)

// Table maps handles to values. The zero Table is empty and ready. All its methods
// are safe from any goroutine.
type Table[T any] struct {
	chunks [chunks]atomic.Pointer[[]slot[T]]

	mu   sync.Mutex
	free []uintptr // places that are free, the last freed first
	size uintptr   // places that were ever in use
	live int
}

type slot[T any] struct {
	// Set before value is: a reader that sees a later value sees its generation.
	generation atomic.Uintptr
	value      atomic.Pointer[T]
}

// Put stores v, which must not be nil, and returns its handle, which is never 0.
// It returns 0 when every place is taken.
func (t *Table[T]) Put(v *T) uintptr {
	t.mu.Lock()
	defer t.mu.Unlock()
	var place uintptr
	if n := len(t.free); n > 0 {
		place = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		place = t.size
		c, _ := locate(place)
		if c == chunks {
			return 0
		}
		if t.chunks[c].Load() == nil {
			chunk := make([]slot[T], 1<<(firstBits+c))
			t.chunks[c].Store(&chunk)
		}
		t.size++
	}
	t.live++
	s := t.at(place)
	s.value.Store(v)
	return s.generation.Load()<<indexBits | (place + 1)
}

// Get returns the value of handle, or nil when it is stale or never was one.
func (t *Table[T]) Get(handle uintptr) *T {
	s := t.at(handle&indexMask - 1)
	if s == nil {
		return nil
	}
	v := s.value.Load()
	if s.generation.Load() != handle>>indexBits {
		return nil
	}
	return v
}

// Delete makes handle stale and reports whether it was not.
func (t *Table[T]) Delete(handle uintptr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	place := handle&indexMask - 1
	s := t.at(place)
	if s == nil || s.generation.Load() != handle>>indexBits || s.value.Load() == nil {
		return false
	}
	s.generation.Store((handle>>indexBits + 1) & indexMask)
	s.value.Store(nil)
	t.free = append(t.free, place)
	t.live--
	return true
}

// Len returns the number of values in the table.
func (t *Table[T]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

// at returns the slot of a place, or nil when there is none.
func (t *Table[T]) at(place uintptr) *slot[T] {
	// The place before the first one, of a handle without an index, has no chunk: -1.
	c, i := locate(place)
	if uint(c) < chunks {
		if chunk := t.chunks[c].Load(); chunk != nil {
			return &(*chunk)[i]
		}
	}
	return nil
}

// locate returns the chunk of a place and the index in it.
func locate(place uintptr) (chunk int, index uintptr) {
	// Shifted by the first chunk's size, the top bit is the chunk.
	n := uint(place) + 1<<firstBits
	c := bits.Len(n) - 1 - firstBits
	return c, uintptr(n - 1<<(firstBits+c))
}
