package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The Makefile builds the library and the program, which is then run as it is.
func TestHost(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("the Makefile is for systems with ELF")
	}
	for _, tool := range []string{"make", "cc", "pkg-config"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out := t.TempDir()
	host := filepath.Join(out, "host")
	if output, err := exec.CommandContext(ctx, "make", host, "OUT="+out).CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, output)
	}
	output, err := exec.CommandContext(ctx, host).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	got := strings.Split(strings.TrimSpace(string(output)), "\n")
	for _, want := range []string{
		"host: the guest says HELLO",
		"guest: a goroutine's function runs on the host's loop",
		"host: timer",
		"guest: SIGUSR1",
		"host: the loop returns 1, 3 ticks, posted 1",
		"host: the guest has failed: the guest has lost its way",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("the program did not say %q", want)
		}
	}
	if got[len(got)-1] != "host: done" {
		t.Errorf("the program's last words were %q", got[len(got)-1])
	}
	if t.Failed() {
		t.Logf("it said:\n%s", output)
	}
}
