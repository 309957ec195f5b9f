package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip(err)
	}
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`20000 INCRs by hiredis in .* [1-9]\d* ticks of a Go timer`).MatchString(out.String()) {
		t.Errorf("run said %q", out.String())
	}
}
