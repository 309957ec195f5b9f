package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// atEnd is called when the tests have run.
var atEnd = func() {}

// What tests have left on purpose.
var forgiven struct {
	blocks, bytes int64
	descriptors   []string
}

// Balanced runs the tests of a package and returns their status: run is M.Run. It fails
// them when they have passed and left something: memory of libevent's, to the byte,
// descriptors, goroutines.
func Balanced(run func() int) int {
	// The Go runtime opens what it polls with for good.
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
	blocks, bytes := Allocated()
	descriptors := Descriptors()
	status := run()
	atEnd()
	if status != 0 {
		return status
	}
	// Goroutines end a little later than the tests that they have served.
	left := goroutines()
	for deadline := time.Now().Add(5 * time.Second); len(left) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		left = goroutines()
	}
	for _, stack := range left {
		fmt.Fprintf(os.Stderr, "a goroutine is left:\n%s\n", stack)
		status = 1
	}
	b, size := Allocated()
	b, size = b-blocks-forgiven.blocks, size-bytes-forgiven.bytes
	if b != 0 || size != 0 {
		fmt.Fprintf(os.Stderr, "libevent keeps %d blocks of %d bytes after the tests\n", b, size)
		status = 1
	}
	for _, fd := range without(Descriptors(), append(descriptors, forgiven.descriptors...)) {
		fmt.Fprintf(os.Stderr, "descriptor %s is left open after the tests\n", fd)
		status = 1
	}
	return status
}

// Forgive begins a part of a test that has to leave something behind. The result ends it:
// Balanced lets pass what has been made in between and is still there.
func Forgive() (end func()) {
	blocks, bytes := Allocated()
	descriptors := Descriptors()
	return func() {
		b, size := Allocated()
		forgiven.blocks += b - blocks
		forgiven.bytes += size - bytes
		forgiven.descriptors = append(forgiven.descriptors, without(Descriptors(), descriptors)...)
	}
}

// Descriptors returns the process's descriptors, each with what it is of; nil where the
// system does not tell.
func Descriptors() (open []string) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		// That of dir itself is closed by now.
		if of, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil {
			open = append(open, entry.Name()+" "+of)
		}
	}
	return open
}

func without(all, some []string) (rest []string) {
	for _, s := range all {
		if !slices.Contains(some, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

// goroutines returns the stacks of all goroutines but the caller's, and but those that the
// standard library keeps.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	for _, stack := range all[1:] {
		if !strings.Contains(stack, "os/signal.loop") && !strings.Contains(stack, "runtime.ensureSigM") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
