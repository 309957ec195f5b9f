// Package own keeps what was made on a base, so that the base can free it first,
// newest first, whatever package it comes from.
package own

import (
	"io"
	"runtime"
	"sync"
)

// Set is the children of one parent. The zero Set is empty and open. All its
// methods are safe from any goroutine.
type Set struct {
	mu     sync.Mutex
	newest *Node
	len    int
	closed bool
}

// Node is a child's place in a Set. It is meant to be a field of the child.
type Node struct {
	// Child is what the node is for. Its Close removes the node when it is freed.
	// CloseAll takes it out.
	Child io.Closer

	newer, older *Node
}

// Of returns the set of a base. The package that makes bases sets it.
var Of func(base any) *Set

// Add makes n the newest child, and reports false when the set is closed.
func (s *Set) Add(n *Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	n.older, n.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = n
	}
	s.newest = n
	s.len++
	return true
}

// Remove takes n out of the set. To remove it again does nothing.
func (s *Set) Remove(n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.newer == nil && s.newest != n {
		return // out already, or never in
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		s.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	}
	n.newer, n.older = nil, nil
	s.len--
}

// Len returns the number of children.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.len
}

// WhileEmpty calls fn, during which nothing can be added, if there are no children.
func (s *Set) WhileEmpty(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		fn()
	}
}

// CloseAll closes the set and every child, newest first, and returns when the last
// of them is out: a child that is closed while a call is inside it leaves later. When
// a Close panics, the panic comes after all that.
func (s *Set) CloseAll() {
	returned := false
	defer func() {
		if !returned {
			s.CloseAll()
		}
	}()
	for child := s.takeOpen(); child != nil; child = s.takeOpen() {
		_ = child.Close()
	}
	for s.Len() > 0 {
		runtime.Gosched()
	}
	returned = true
}

// takeOpen closes the set, and returns the newest child that it has not returned before.
func (s *Set) takeOpen() (child io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	n := s.newest
	for n != nil && n.Child == nil {
		n = n.older
	}
	if n != nil {
		child, n.Child = n.Child, nil
	}
	return child
}
