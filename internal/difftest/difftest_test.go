//go:build linux

package difftest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-libevent/libevent"
	"github.com/go-libevent/libevent/internal/difftest"
)

// events shortens the signature of callbacks.
type events = libevent.Events

// longest is the length of the programs that are run: a longer one says nothing that a
// shorter one does not.
const longest = 1024

var (
	programs = flag.Int("programs", 1000, "how many programs of chance each test runs")
	seed     = flag.Uint64("seed", 1, "where chance begins")
)

// tape is a program: what is left of it says what comes next, also in a callback.
type tape struct {
	program []byte
	log     []byte
	endless bool // the log has become too long
}

// next returns the next byte, 0 when there are no more.
func (t *tape) next() int {
	if len(t.program) == 0 {
		return 0
	}
	b := t.program[0]
	t.program = t.program[1:]
	return int(b)
}

// over reports whether the program is over: callbacks then end what they belong to.
func (t *tape) over() bool { return len(t.program) == 0 }

// errEndless is what a program panics with that goes on without end.
var errEndless = errors.New("the program goes on without end")

// say adds a line to the log. A log without end is of a loop that has none, and that the
// program has left nothing for: it ends with a panic.
func (t *tape) say(word string, numbers ...int64) {
	if t.endless {
		return
	}
	if len(t.log) > 1<<20 {
		t.endless = true
		panic(errEndless)
	}
	t.log = append(t.log, word...)
	for _, n := range numbers {
		t.log = append(t.log, ' ')
		t.log = strconv.AppendInt(t.log, n, 10)
	}
	t.log = append(t.log, '\n')
}

// number stands for an error in the log.
func number(err error) int64 {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, libevent.ErrClosed):
		return difftest.Closed
	case errors.Is(err, libevent.ErrRunning):
		return difftest.Running
	case err == io.EOF:
		return difftest.End
	case err == io.ErrShortWrite:
		return difftest.Short
	case errors.As(err, &errno):
		return int64(errno)
	}
	return -1
}

// truth is 1 or 0.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// sum stands for bytes in the log.
func sum(p []byte) int64 {
	const factor = 0x9e3779b97f4a7c15
	s := uint64(len(p))
	for ; len(p) >= 8; p = p[8:] {
		s = (s ^ binary.NativeEndian.Uint64(p)) * factor
		s ^= s >> 32
	}
	for _, b := range p {
		s = (s ^ uint64(b)) * factor
	}
	return int64(s >> 1)
}

// fill fills p with what a program writes.
func fill(p []byte, seed int) {
	for i := range p {
		p[i] = "abcdefg\r\n\nab\r\nc\x00"[(i+seed)%16]
	}
}

// compare fails the test at the first line in which Go and C differ.
func compare(t *testing.T, inGo, inC []byte) {
	t.Helper()
	if bytes.Equal(inGo, inC) {
		return
	}
	g, c := strings.Split(string(inGo), "\n"), strings.Split(string(inC), "\n")
	n := 0
	for n < min(len(g), len(c)) && g[n] == c[n] {
		n++
	}
	t.Errorf("after\n  %s\nGo goes on with\n  %s\nand C with\n  %s", strings.Join(g[:n], "\n  "),
		strings.Join(g[n:min(n+4, len(g))], "\n  "), strings.Join(c[n:min(n+4, len(c))], "\n  "))
}

// fuzz lets the fuzzer write the programs.
func fuzz(f *testing.F, run func(program []byte) (inGo, inC []byte)) {
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) <= longest {
			inGo, inC := run(program)
			compare(t, inGo, inC)
		}
	})
}

// random runs programs of chance. That is faster, and there is more in each of them.
func random(t *testing.T, run func(program []byte) (inGo, inC []byte)) {
	rng := rand.New(rand.NewPCG(*seed, 0))
	program := make([]byte, longest)
	n := *programs
	if testing.Short() {
		n /= 10
	}
	for range n {
		p := program[:rng.IntN(longest)]
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if inGo, inC := run(p); !bytes.Equal(inGo, inC) {
			p = shorten(p, run)
			inGo, inC = run(p)
			compare(t, inGo, inC)
			t.Fatalf("the program is %q", p)
		}
	}
}

// shorten returns a part of a program in which Go and C differ that is enough for that.
func shorten(program []byte, run func(program []byte) (inGo, inC []byte)) []byte {
	for n := len(program) / 2; n > 0; n /= 2 {
		for at := 0; at+n <= len(program); {
			p := slices.Delete(slices.Clone(program), at, at+n)
			if inGo, inC := run(p); !bytes.Equal(inGo, inC) {
				program = p
			} else {
				at += n
			}
		}
	}
	return program
}
