package own_test

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-libevent/libevent/internal/own"
)

// closer is a child that has nothing but a Close.
type closer func() error

func (c closer) Close() error { return c() }

// children makes n children of s whose Close removes them and tells its number.
func children(s *own.Set, n int, closed func(i int)) []*own.Node {
	nodes := make([]*own.Node, n)
	for i := range nodes {
		node := &own.Node{}
		node.Child = closer(func() error {
			defer s.Remove(node)
			closed(i)
			return errors.New("which nobody asks for")
		})
		nodes[i] = node
		if !s.Add(node) {
			panic("a new set is closed")
		}
	}
	return nodes
}

func TestCloseAllNewestFirst(t *testing.T) {
	for name, test := range map[string]struct {
		remove []int
		want   []int
	}{
		"all":             {nil, []int{4, 3, 2, 1, 0}},
		"without newest":  {[]int{4}, []int{3, 2, 1, 0}},
		"without oldest":  {[]int{0}, []int{4, 3, 2, 1}},
		"without middle":  {[]int{2}, []int{4, 3, 1, 0}},
		"removed twice":   {[]int{2, 2, 4, 4, 0, 0}, []int{3, 1}},
		"none left":       {[]int{0, 1, 2, 3, 4}, nil},
		"two neighbours":  {[]int{1, 2}, []int{4, 3, 0}},
		"newest in turns": {[]int{4, 3}, []int{2, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var s own.Set
			var closed []int
			nodes := children(&s, 5, func(i int) { closed = append(closed, i) })
			for _, i := range test.remove {
				s.Remove(nodes[i])
			}
			if s.Len() != len(test.want) {
				t.Errorf("Len is %d, want %d", s.Len(), len(test.want))
			}
			s.CloseAll()
			if !slices.Equal(closed, test.want) || s.Len() != 0 {
				t.Errorf("closed %v, want %v; Len %d", closed, test.want, s.Len())
			}
			if s.Add(&own.Node{}) {
				t.Error("a closed set takes a child")
			}
			s.CloseAll()
		})
	}
}

func TestRemoveOfAStranger(t *testing.T) {
	var s own.Set
	s.Remove(&own.Node{})
}

// A child's Close may close others, in any order.
func TestChildClosesAnother(t *testing.T) {
	var s own.Set
	var closed []int
	var nodes []*own.Node
	nodes = children(&s, 3, func(i int) {
		if slices.Contains(closed, i) {
			return
		}
		closed = append(closed, i)
		if i == 2 {
			_ = nodes[0].Child.Close()
			_ = nodes[1].Child.Close()
		}
	})
	s.CloseAll()
	if !slices.Equal(closed, []int{2, 0, 1}) || s.Len() != 0 {
		t.Errorf("closed %v, Len %d", closed, s.Len())
	}
}

// A panic of a child's Close comes out when the others are closed.
func TestChildPanics(t *testing.T) {
	var s own.Set
	var closed []int
	children(&s, 4, func(i int) {
		closed = append(closed, i)
		if i%2 == 1 {
			panic(i)
		}
	})
	defer func() {
		if p := recover(); p != 1 || !slices.Equal(closed, []int{3, 2, 1, 0}) || s.Len() != 0 {
			t.Errorf("panic %v, closed %v, Len %d", p, closed, s.Len())
		}
	}()
	s.CloseAll()
}

// CloseAll returns when the last child is out, however late that is.
func TestCloseAllWaits(t *testing.T) {
	var s own.Set
	late := &own.Node{}
	asked := make(chan bool, 1)
	late.Child = closer(func() error { asked <- true; return nil })
	s.Add(late)
	var out atomic.Bool
	done := make(chan bool)
	go func() {
		s.CloseAll()
		done <- out.Load()
	}()
	<-asked
	out.Store(true)
	s.Remove(late)
	if !<-done {
		t.Error("CloseAll returned with a child inside")
	}
}

func TestConcurrently(t *testing.T) {
	var s own.Set
	var live atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				node := &own.Node{}
				var once sync.Once
				child := closer(func() error {
					once.Do(func() {
						live.Add(-1)
						s.Remove(node)
					})
					return nil
				})
				node.Child = child
				live.Add(1)
				if !s.Add(node) {
					live.Add(-1)
					return
				}
				if i%3 != 0 && i > 100 {
					_ = child.Close()
				}
			}
		}()
	}
	for s.Len() < 200 {
		runtime.Gosched()
	}
	s.CloseAll()
	wg.Wait()
	if live.Load() != 0 || s.Len() != 0 {
		t.Errorf("%d children alive, Len %d", live.Load(), s.Len())
	}
}
