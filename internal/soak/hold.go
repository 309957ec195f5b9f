package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// childVariable makes this program the other end of connections: their number, and the
// addresses to connect to.
const childVariable = "LIBEVENT_SOAK_CHILD"

func isChild() bool { return os.Getenv(childVariable) != "" }

// child makes connections, says so, and then does what it reads: "again" asks on every
// connection once more, the end closes them.
func child() int {
	fields := strings.Fields(os.Getenv(childVariable))
	var n int
	_, err := fmt.Sscan(fields[0], &n)
	c := &clients{keep: true}
	for _, field := range fields[1:] {
		addr, e := netip.ParseAddrPort(field)
		err = errors.Join(err, e)
		c.addrs = append(c.addrs, addr)
	}
	l, e := newLoop()
	if err = errors.Join(err, e); err != nil {
		fmt.Println(err)
		return 1
	}
	c.base = l.base
	l.start()
	say := func(err error) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("answered")
	}
	if _, err := files(n); err != nil {
		say(err)
		return 1
	}
	_ = l.base.Post(func() { c.run(n, say) })
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		_ = l.base.Post(func() { c.again(say) })
	}
	if err := l.close(); err != nil {
		say(err)
		return 1
	}
	return 0
}

// other is a child that runs.
type other struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startOther(n int, addrs []netip.AddrPort) (*other, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := &other{cmd: exec.Command(path)}
	o.cmd.Env = append(os.Environ(), childVariable+"="+fmt.Sprint(n)+" "+strings.Trim(fmt.Sprint(addrs), "[]"))
	o.cmd.Stderr = os.Stderr
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	o.out = bufio.NewReader(out)
	return o, o.cmd.Start()
}

// answered waits until the child has all its answers.
func (o *other) answered() error {
	line, err := o.out.ReadString('\n')
	if err == nil && line != "answered\n" {
		err = errors.New(strings.TrimSpace(line))
	}
	return err
}

// end lets the child close its connections and go.
func (o *other) end() error {
	return errors.Join(o.in.Close(), o.cmd.Wait())
}

// hold has n connections open at one time, all of which are used at first and in the end.
func hold(n int) (err error) {
	possible, err := files(n)
	if err != nil {
		return err
	}
	if possible < n {
		fmt.Printf("   RLIMIT_NOFILE cannot be raised here: %d connections rather than %d\n", possible, n)
		n = possible
	}
	s, err := newServer(4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	before := measure()
	// A child has as many descriptors as this process.
	o, err := startOther(n, s.addrs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.end()) }()
	if err := o.answered(); err != nil {
		return err
	}
	if open := s.open.Load(); open != int64(n) {
		return fmt.Errorf("%d of %d connections are open", open, n)
	}
	u := measure()
	fmt.Printf("   %d connections: %v, %d bytes resident each\n", n, u, (u.resident-before.resident)/int64(n))
	if _, err := io.WriteString(o.in, "again\n"); err != nil {
		return err
	}
	return o.answered()
}
