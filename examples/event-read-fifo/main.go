// Event-read-fifo makes a fifo and prints the lines that are written to it:
//
//	go run ./examples/event-read-fifo &
//	echo hello > event.fifo
//
// It ends, and removes the fifo, after SIGINT (Ctrl-C) or after as many lines as -n says.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

func main() {
	log.SetFlags(0)
	path := flag.String("fifo", "event.fifo", "the fifo to make")
	n := flag.Int("n", 0, "end after this many lines; 0 is no limit")
	flag.Parse()
	if err := run(*path, *n); err != nil {
		log.Fatal(err)
	}
}

func run(path string, n int) error {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	defer os.Remove(path)
	// Open for writing too, for as long as this runs, so that the fifo does not
	// end each time the last of the others closes it.
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)

	base, err := libevent.New()
	if err != nil {
		return err
	}
	defer base.Close() // and with it the events, before the descriptor

	r := reader{limit: n}
	r.ev, err = base.AddEvent(fd, libevent.EV_READ, func(libevent.Events) (libevent.Events, time.Duration) {
		r.err = r.read()
		if r.err != nil || r.full() {
			_ = base.LoopBreak()
		}
		return 0, 0
	}, libevent.NoTimeout)
	if err != nil {
		return err
	}
	_, err = base.AddSignal(syscall.SIGINT, func(libevent.Events) (libevent.Events, time.Duration) {
		_ = base.LoopBreak()
		return 0, 0
	})
	if err != nil {
		return err
	}
	fmt.Println("write to", path)
	if err := base.Dispatch(); err != nil {
		return err
	}
	fmt.Printf("%d lines\n", r.lines)
	return r.err
}

// reader prints lines as they come.
type reader struct {
	ev      *libevent.Event
	limit   int
	lines   int
	partial []byte // a line whose end has not come yet
	err     error
}

func (r *reader) full() bool { return r.limit > 0 && r.lines == r.limit }

func (r *reader) read() error {
	var chunk [4096]byte
	n, err := r.ev.Read(chunk[:])
	if errors.Is(err, syscall.EAGAIN) {
		return nil // somebody else was faster
	}
	if err != nil {
		return err
	}
	r.partial = append(r.partial, chunk[:n]...)
	for !r.full() {
		line, rest, found := bytes.Cut(r.partial, []byte("\n"))
		if !found {
			break
		}
		r.lines++
		fmt.Printf("read: %s\n", line)
		r.partial = rest
	}
	return nil
}
