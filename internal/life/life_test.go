package life_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-libevent/libevent/internal/life"
)

func TestCloseOfTheUnused(t *testing.T) {
	var l life.Life
	if l.Closed() {
		t.Error("closed from the start")
	}
	if !l.Enter() || l.Leave() {
		t.Error("an open object refuses a call, or is freed by its end")
	}
	if first, free := l.Close(); !first || !free || !l.Closed() {
		t.Error("the first Close is not the one that frees:", first, free)
	}
	if first, free := l.Close(); first || free {
		t.Error("the second Close does something:", first, free)
	}
	if l.Enter() {
		t.Error("a closed object was entered")
	}
	l.Drain()
}

func TestCloseDuringCalls(t *testing.T) {
	var l life.Life
	for range 3 {
		if !l.Enter() {
			t.Fatal("refused")
		}
	}
	if first, free := l.Close(); !first || free {
		t.Error("Close frees under a call:", first, free)
	}
	if l.Enter() {
		t.Error("entered after Close")
	}
	for i := range 3 {
		if last := l.Leave(); last != (i == 2) {
			t.Errorf("leave %d of 3 frees: %v", i+1, last)
		}
	}
}

// CloseInside keeps the object, if others do, until the closer leaves too.
func TestCloseInside(t *testing.T) {
	var unused life.Life
	if first, free := unused.CloseInside(); !first || !free {
		t.Error("the first of the unused does not free:", first, free)
	}
	var used life.Life
	used.Enter()
	if first, free := used.CloseInside(); !first || free || !used.Closed() {
		t.Error("it frees under a call:", first, free)
	}
	if first, free := used.CloseInside(); first || free {
		t.Error("the second does something:", first, free)
	}
	if used.Leave() || !used.Leave() {
		t.Error("not freed by the last of two")
	}
}

// Exactly one of many closers and leavers frees, and nobody is inside then.
func TestFreedOnce(t *testing.T) {
	for range 30 {
		var l life.Life
		var inside, freed, firsts atomic.Int32
		free := func() {
			if freed.Add(1) != 1 || inside.Load() != 0 {
				t.Error("freed twice, or under a call")
			}
		}
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if g < 2 {
					first, now := l.Close()
					if first {
						firsts.Add(1)
					}
					if now {
						free()
					}
					return
				}
				for l.Enter() {
					inside.Add(1)
					if freed.Load() != 0 {
						t.Error("entered when freed")
					}
					inside.Add(-1)
					if l.Leave() {
						free()
					}
				}
			}()
		}
		wg.Wait()
		l.Drain()
		if freed.Load() != 1 || firsts.Load() != 1 {
			t.Fatalf("freed %d times, closed first %d times", freed.Load(), firsts.Load())
		}
	}
}

// Alone, a caller has the object to itself: nobody enters, and nobody closes it.
func TestAlone(t *testing.T) {
	var l life.Life
	never := func() { t.Error("called") }
	if l.Alone(never) {
		t.Error("alone without a call inside")
	}
	l.Enter()
	l.Enter()
	if l.Alone(never) {
		t.Error("alone with another call inside")
	}
	l.Leave()
	var done atomic.Bool
	var wg sync.WaitGroup
	if !l.Alone(func() {
		for _, enter := range []bool{true, false} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if enter {
					if l.Enter() && l.Leave() {
						t.Error("freed under the call inside")
					}
				} else if first, free := l.Close(); !first || free {
					t.Error("Close:", first, free)
				}
				if !done.Load() {
					t.Error("not kept out")
				}
			}()
		}
		for range 100 {
			runtime.Gosched()
		}
		done.Store(true)
	}) {
		t.Error("not alone")
	}
	wg.Wait()
	if l.Alone(never) {
		t.Error("alone with a closed object")
	}
	if !l.Leave() {
		t.Error("the last call does not free")
	}
}

func TestDrainWaits(t *testing.T) {
	var l life.Life
	l.Enter()
	l.Close()
	drained := make(chan bool)
	var left atomic.Bool
	go func() {
		l.Drain()
		drained <- left.Load()
	}()
	left.Store(true)
	if !l.Leave() {
		t.Error("the last call does not free")
	}
	if !<-drained {
		t.Error("drained under a call")
	}
}
