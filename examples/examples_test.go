// Package examples_test builds the examples and runs them as their users do.
package examples_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long an example may take, on a busy machine too.
const patience = time.Minute

// bin is where the built examples are.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "examples"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "build", "-buildvcs=false", "-o", bin+string(filepath.Separator),
			"./echo", "./event-read-fifo", "./hello-world", "./signal-test", "./time-test")
		if output, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, output)
			return 1
		}
		return m.Run()
	}())
}

// program is an example that runs.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr strings.Builder
	ended  bool
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	p := &program{t: t, cmd: exec.CommandContext(ctx, filepath.Join(bin, name), args...)}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// expect reads the next line, which must match, and returns what its groups matched.
func (p *program) expect(pattern string) []string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatalf("no line that matches %q: %v\n%s", pattern, err, &p.stderr)
	}
	groups := regexp.MustCompile("^" + pattern + "\n$").FindStringSubmatch(line)
	if groups == nil {
		p.t.Fatalf("the line is %q and does not match %q", line, pattern)
	}
	return groups[1:]
}

func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the program, which must succeed and say nothing to stderr. It returns
// the rest of the output.
func (p *program) end() string {
	p.t.Helper()
	rest, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	p.ended = true
	if err := p.cmd.Wait(); err != nil || p.stderr.Len() > 0 {
		p.t.Fatalf("%v\n%s%s", err, rest, &p.stderr)
	}
	return string(rest)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestHelloWorld(t *testing.T) {
	hello := func(t *testing.T, p *program, addr string) {
		t.Helper()
		conn := dial(t, addr)
		p.expect("connection from " + regexp.QuoteMeta(conn.LocalAddr().String()))
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != "Hello, World!\n" {
			t.Errorf("it sends %q, %v", got, err)
		}
	}
	t.Run("once", func(t *testing.T) {
		p := start(t, "hello-world", "-port", "0", "-once")
		addr := p.expect(`listening on (127\.0\.0\.1:\d+)`)[0]
		hello(t, p, addr)
		p.end()
	})
	t.Run("until SIGINT", func(t *testing.T) {
		p := start(t, "hello-world", "-port", "0")
		addr := p.expect(`listening on (127\.0\.0\.1:\d+)`)[0]
		hello(t, p, addr)
		hello(t, p, addr)
		p.signal(syscall.SIGINT)
		p.expect("caught SIGINT")
		p.end()
	})
}

func TestTimeTest(t *testing.T) {
	p := start(t, "time-test", "-n", "3", "-interval", "20ms")
	total := 0.0
	for i := range 3 {
		elapsed := p.expect(fmt.Sprintf(`tick %d: (\d+\.\d{3}) seconds elapsed`, i+1))[0]
		seconds, err := strconv.ParseFloat(elapsed, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += seconds
	}
	// The clock of the loop is a coarse one, and what is printed is rounded.
	if total < 0.045 {
		t.Errorf("three ticks of 20 ms took %.3f s", total)
	}
	if rest := p.end(); rest != "" {
		t.Errorf("it goes on with %q", rest)
	}
}

func TestSignalTest(t *testing.T) {
	p := start(t, "signal-test")
	p.expect("waiting for SIGINT")
	for i := range 3 {
		p.signal(syscall.SIGINT)
		p.expect(fmt.Sprintf("got SIGINT, %d of 3", i+1))
	}
	p.end()
}

func TestEventReadFifo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	// Each write is a writer of its own: the fifo outlives it.
	write := func(t *testing.T, text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(t *testing.T) {
		t.Helper()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the fifo is still there: %v", err)
		}
	}
	t.Run("count", func(t *testing.T) {
		p := start(t, "event-read-fifo", "-fifo", path, "-n", "3")
		p.expect("write to " + regexp.QuoteMeta(path))
		write(t, "one\ntwo\nth")
		p.expect("read: one")
		p.expect("read: two")
		write(t, "ree\nfour\n")
		p.expect("read: three")
		p.expect("3 lines")
		p.end()
		gone(t)
	})
	t.Run("until SIGINT", func(t *testing.T) {
		p := start(t, "event-read-fifo", "-fifo", path)
		p.expect("write to " + regexp.QuoteMeta(path))
		write(t, "one\n")
		p.expect("read: one")
		p.signal(syscall.SIGINT)
		p.expect("1 lines")
		p.end()
		gone(t)
	})
}

func TestEcho(t *testing.T) {
	tests := []struct {
		name string
		args []string
	}{
		{"small", []string{"-connections", "20", "-duration", "600ms"}},
		{"large", []string{"-connections", "2", "-duration", "300ms", "-size", "4000000"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			output := start(t, "echo", test.args...).end()
			for _, pattern := range []string{
				`(?m)^libevent \d+\.\d+\.\d+-\w+, \w+$`,
				`(?m)^connections   ` + test.args[1] + `$`,
				`(?m)^messages      [1-9]\d* of \d+ bytes`,
				`(?m)^throughput    [1-9]\d* messages/s$`,
				`(?m)^latency       p50 [\d.]+[mµ]?s, p99 [\d.]+[mµ]?s$`,
			} {
				if !regexp.MustCompile(pattern).MatchString(output) {
					t.Errorf("nothing matches %q in\n%s", pattern, output)
				}
			}
		})
	}
	t.Run("progress, until SIGINT", func(t *testing.T) {
		p := start(t, "echo", "-connections", "3", "-duration", "1h")
		p.expect(` *\d+\.\d s  3 connections  [1-9]\d* messages/s`)
		p.signal(syscall.SIGINT)
		if rest := p.end(); !strings.Contains(rest, "\nthroughput ") {
			t.Errorf("no summary in\n%s", rest)
		}
	})
	t.Run("listen", func(t *testing.T) {
		p := start(t, "echo", "-listen", ":0")
		conn := dial(t, p.expect(`listening on (127\.0\.0\.1:\d+)`)[0])
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("the echo is %q, %v", got, err)
		}
		p.signal(syscall.SIGINT)
		p.end()
	})
}

// What was wrong on the command line is named.
func TestEchoRefusesAddresses(t *testing.T) {
	for _, address := range []string{"7777", "localhost:7777", "127.0.0.1", ":x"} {
		p := start(t, "echo", "-listen", address)
		rest, err := io.ReadAll(p.stdout)
		if err != nil {
			t.Fatal(err)
		}
		p.ended = true
		var exit *exec.ExitError
		if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s: %v", address, err)
		}
		if text := p.stderr.String(); !strings.Contains(text, address) || len(rest) > 0 {
			t.Errorf("%s: it says %q and %q", address, text, rest)
		}
	}
}
