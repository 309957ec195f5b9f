package main

import (
	"os"
	"testing"
	"time"

	"github.com/go-libevent/libevent/internal/ctest"
)

func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(child())
	}
	os.Exit(ctest.Balanced(m.Run))
}

// The short form of make soak.
func TestSoak(t *testing.T) {
	if err := run(500, 2000, time.Second); err != nil {
		t.Error(err)
	}
}
