package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/go-libevent/libevent/internal/ctest"
)

// usage is what the process uses.
type usage struct {
	blocks, bytes int64 // of libevent's
	resident      int64 // bytes, of all; 0 where the system does not tell
}

func (u usage) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f MiB in %d blocks of libevent's",
		float64(u.resident)/(1<<20), float64(u.bytes)/(1<<20), u.blocks)
}

// measure collects Go's garbage, and says what is then in use.
func measure() (u usage) {
	debug.FreeOSMemory()
	u.blocks, u.bytes = ctest.Allocated()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u
	}
	var size int64
	if _, err := fmt.Sscan(string(text), &size, &u.resident); err == nil {
		u.resident *= int64(os.Getpagesize())
	}
	return u
}

// files raises the limit of open descriptors as far as it goes, to want at most, and
// returns how many of those are left for connections.
func files(want int) (connections int, err error) {
	const others = 200 // the Go runtime's, the loops', the listeners'
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	if need := uint64(want + others); limit.Cur < need {
		raised := syscall.Rlimit{Cur: need, Max: max(limit.Max, need)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil { // not allowed
			raised = syscall.Rlimit{Cur: min(limit.Max, need), Max: limit.Max}
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
				return 0, err
			}
		}
		limit = raised
	}
	return min(want, int(limit.Cur)-others), nil
}
