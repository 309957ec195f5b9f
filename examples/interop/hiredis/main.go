// Hiredis shows a C library on a Go program's base: hiredis, through its own adapter for
// libevent, sends 20,000 INCRs beside a Go timer, on one loop and one thread. It starts a
// redis-server of its own, and ends it and itself when all commands are answered.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

const commands = 20000

func main() {
	log.SetFlags(0)
	if err := run(os.Stdout); err != nil {
		log.Fatal("hiredis: ", err)
	}
}

// run does all that main does, and writes a summary to w.
func run(w io.Writer) error {
	server, err := startServer()
	if err != nil {
		return err
	}
	defer server.stop()

	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close()

	start := time.Now()
	c, err := connect(base, server.socket, commands)
	if err != nil {
		return err
	}
	ticks := 0
	_, err = base.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		ticks++
		return 0, 0
	})
	if err != nil {
		return err
	}
	// The timer would keep the loop for ever: the end of the connection stops it.
	if err := base.Dispatch(); err != nil {
		return err
	}
	if c.err != nil {
		return c.err
	}
	elapsed := time.Since(start)
	fmt.Fprintf(w, "libevent %s, %s\n", libevent.Version(), base.Method())
	fmt.Fprintf(w, "%d INCRs by hiredis in %.3f s, %.0f/s, %d ticks of a Go timer beside them\n",
		c.answered, elapsed.Seconds(), float64(c.answered)/elapsed.Seconds(), ticks)
	return nil
}

// server is a redis-server on a unix socket, which keeps nothing.
type server struct {
	cmd    *exec.Cmd
	dir    string
	socket string
	output chan struct{} // closed when it has said its last
}

func startServer() (*server, error) {
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, socket: filepath.Join(dir, "socket"), output: make(chan struct{})}
	s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket,
		"--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no")
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.output)
		lines := bufio.NewScanner(out)
		for waiting := true; lines.Scan(); {
			if waiting && strings.Contains(lines.Text(), "eady to accept connections") {
				waiting = false
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.output:
		err = errors.New("redis-server has ended before it was ready")
	case <-time.After(30 * time.Second):
		err = errors.New("redis-server is not ready after 30 s")
	}
	s.stop()
	return nil, err
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.output
	_ = s.cmd.Wait()
	os.RemoveAll(s.dir)
}
