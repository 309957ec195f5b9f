package slots_test

import (
	"math"
	"math/rand"
	"runtime/cgo"
	"sync"
	"testing"
	"unsafe"

	"github.com/mattn/go-pointer"

	"github.com/go-libevent/libevent/internal/slots"
)

func TestPutGetDelete(t *testing.T) {
	var table slots.Table[int]
	seen := map[uintptr]*int{}
	for i := range 10_000 { // several chunks
		v := new(int)
		*v = i
		h := table.Put(v)
		if h == 0 || seen[h] != nil {
			t.Fatalf("handle %#x is 0 or not new", h)
		}
		seen[h] = v
	}
	if table.Len() != len(seen) {
		t.Errorf("Len is %d, want %d", table.Len(), len(seen))
	}
	for h, v := range seen {
		if got := table.Get(h); got != v {
			t.Fatalf("Get(%#x) is %v, want %v", h, got, v)
		}
	}
	for h := range seen {
		if !table.Delete(h) || table.Delete(h) || table.Get(h) != nil {
			t.Fatalf("handle %#x is not stale after Delete", h)
		}
	}
	if table.Len() != 0 {
		t.Errorf("Len is %d after everything was deleted", table.Len())
	}
}

func TestWhatNeverWasAHandle(t *testing.T) {
	var table slots.Table[int]
	never := []uintptr{0, 1, 2, 64, 65, 1 << 16, 1 << 31, 1<<31 - 1, math.MaxUint32, math.MaxUint32 << 1, math.MaxUint, math.MaxUint - 1}
	check := func() {
		t.Helper()
		for _, h := range never {
			if v := table.Get(h); v != nil {
				t.Errorf("Get(%#x) is %v", h, v)
			}
			if table.Delete(h) {
				t.Errorf("Delete(%#x) is true", h)
			}
		}
	}
	check()
	h := table.Put(new(int))
	never = append(never[:1], never[2:]...) // 1 is the first handle
	check()
	if h != 1 || table.Get(h) == nil || table.Len() != 1 {
		t.Errorf("handle %#x, Len %d", h, table.Len())
	}
}

// A stale handle finds nothing, also when its place is in use again.
func TestStaleHandle(t *testing.T) {
	var table slots.Table[int]
	var stale []uintptr
	for i := range 1000 {
		v := &i
		h := table.Put(v)
		if table.Get(h) != v {
			t.Fatal("a new handle finds nothing")
		}
		for _, old := range stale {
			if old == h || table.Get(old) != nil || table.Delete(old) {
				t.Fatalf("stale handle %#x lives in %#x", old, h)
			}
		}
		stale = append(stale, h)
		table.Delete(h)
	}
	if table.Len() != 0 {
		t.Errorf("Len is %d", table.Len())
	}
}

// Readers race with a place that is given up and taken again: what they find is what
// their handle stands for, or nothing.
func TestConcurrently(t *testing.T) {
	type value struct{ n int }
	type entry struct {
		handle uintptr
		value  *value
	}
	var table slots.Table[value]
	handles := make(chan entry, 64)
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for e := range handles {
				for range 20 {
					if v := table.Get(e.handle); v != nil && v != e.value {
						t.Errorf("handle %#x finds %p, want %p or nothing", e.handle, v, e.value)
					}
				}
			}
		}()
		writers.Add(1)
		go func() {
			defer writers.Done()
			mine := map[uintptr]*value{}
			for n := range 5000 {
				v := &value{n}
				h := table.Put(v)
				if mine[h] != nil || table.Get(h) != v {
					t.Errorf("handle %#x finds %p, want %p", h, table.Get(h), v)
				}
				mine[h] = v
				handles <- entry{h, v}
				if rand.Intn(2) == 0 {
					for h := range mine {
						if !table.Delete(h) || table.Get(h) != nil {
							t.Errorf("handle %#x lives on", h)
						}
						delete(mine, h)
					}
				}
			}
			for h := range mine {
				table.Delete(h)
			}
		}()
	}
	writers.Wait()
	close(handles)
	readers.Wait()
	if table.Len() != 0 {
		t.Errorf("Len is %d", table.Len())
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	var table slots.Table[int]
	h := table.Put(new(int))
	if n := testing.AllocsPerRun(100, func() { table.Get(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a callback pays to find its object among a thousand, and what it would pay to
// find it otherwise.
func BenchmarkGet(b *testing.B) {
	const n = 1000
	var table slots.Table[int]
	var m sync.Map
	var handles [n]uintptr
	var cgoHandles [n]cgo.Handle
	var pointers [n]unsafe.Pointer
	for i := range n {
		v := new(int)
		handles[i] = table.Put(v)
		m.Store(handles[i], v)
		cgoHandles[i] = cgo.NewHandle(v)
		pointers[i] = pointer.Save(v)
		defer cgoHandles[i].Delete()
		defer pointer.Unref(pointers[i])
	}
	found := 0
	b.Run("slots", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if table.Get(handles[i%n]) != nil {
				found++
			}
		}
	})
	b.Run("sync.Map", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if v, ok := m.Load(handles[i%n]); ok && v.(*int) != nil {
				found++
			}
		}
	})
	b.Run("cgo.Handle", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if cgoHandles[i%n].Value().(*int) != nil {
				found++
			}
		}
	})
	b.Run("go-pointer", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if pointer.Restore(pointers[i%n]).(*int) != nil {
				found++
			}
		}
	})
	if found == 0 {
		b.Error("nothing found")
	}
}
