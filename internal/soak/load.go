package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/go-libevent/libevent"
)

// within runs fn on the loop and waits for what it gives to done.
func (l *loop) within(fn func(done func(error))) error {
	result := make(chan error, 1)
	if err := l.base.Post(func() { fn(func(err error) { result <- err }) }); err != nil {
		return err
	}
	return <-result
}

// churn makes n connections one after the other, with a few at one time, on two loops.
func churn(n int) (err error) {
	s, err := newServer(8)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := newLoop()
	if err != nil {
		return err
	}
	l.start()
	defer func() { err = errors.Join(err, l.close()) }()
	start := time.Now()
	c := &clients{base: l.base, addrs: s.addrs}
	if err := l.within(func(done func(error)) { c.run(n, done) }); err != nil {
		return err
	}
	fmt.Printf("   %d connections, %.0f a second\n", s.accepted.Load(), float64(n)/time.Since(start).Seconds())
	if s.accepted.Load() != int64(n) {
		return fmt.Errorf("%d of %d connections were accepted", s.accepted.Load(), n)
	}
	return nil
}

const (
	highWatermark = 64 << 10
	// A chunk may be a little larger than what is in it, and the socket has its own.
	slack = 256 << 10
)

// slowReader reads from one who sends as fast as he can, a little at a time. No more than
// the high watermark is ever kept here.
func slowReader() (err error) {
	const sip, enough = 10 << 10, 2 << 20
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	l, err := newLoop()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.base.Close()) }()
	bev, err := l.base.NewBufferEvent(-1, libevent.BEV_OPT_CLOSE_ON_FREE)
	if err != nil {
		return err
	}
	err = errors.Join(bev.SetWatermark(libevent.EV_READ, 0, highWatermark),
		bev.Connect(ln.Addr().(*net.TCPAddr).AddrPort()), bev.Enable(libevent.EV_READ))
	if err != nil {
		return err
	}
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	sent := make(chan int64, 1)
	go func() {
		var total int64
		for {
			n, err := conn.Write(make([]byte, 64<<10))
			if total += int64(n); err != nil {
				sent <- total
				return
			}
		}
	}()
	before := measure()
	most, read := 0, 0
	var grown int64
	deadline := time.Now().Add(patience)
	_, err = l.base.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		most = max(most, bev.Input().Len())
		u := measure()
		grown = max(grown, u.bytes-before.bytes)
		got, err := bev.Read(make([]byte, sip))
		read += got
		failed := err != nil && !errors.Is(err, syscall.EAGAIN)
		if failed {
			fmt.Println(err)
		}
		if failed || read >= enough || time.Now().After(deadline) {
			_ = l.base.LoopBreak()
			return libevent.LEAVE, 0
		}
		return 0, 0
	})
	if err != nil {
		return err
	}
	if err := l.base.Dispatch(); err != nil {
		return err
	}
	_ = conn.Close()
	fmt.Printf("   %d bytes sent, %d read; %d kept at most, %d bytes allocated\n", <-sent, read, most, grown)
	if most > highWatermark || grown > highWatermark+slack || read < enough {
		return fmt.Errorf("the high watermark is %d", highWatermark)
	}
	return nil
}

// mix has everything at once, for d: connections that come and go, some that stay, timers,
// posted functions, and signals. What is resident in the last quarter must not be more than
// in the second, if the process has had the time to settle by then.
func mix(d time.Duration) (err error) {
	const samples, settles, grows, enough = 20, 5, 8 << 20, 30 * time.Second
	s, err := newServer(8)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := newLoop()
	if err != nil {
		return err
	}
	var timers, posts, signals int
	_, err = l.base.AddSignal(syscall.SIGUSR1, func(libevent.Events) (libevent.Events, time.Duration) {
		signals++
		return 0, 0
	})
	if err != nil {
		return err
	}
	_, err = l.base.AddTimer(time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
		timers++
		for range 10 {
			_, _ = l.base.AddTimer(time.Duration(timers%10)*time.Millisecond, func(libevent.Events) (libevent.Events, time.Duration) {
				timers++
				return libevent.LEAVE, 0
			})
			_ = l.base.Post(func() { posts++ })
		}
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
		return 0, 0
	})
	if err != nil {
		return err
	}
	stay := &clients{base: l.base, addrs: s.addrs, keep: true}
	come := &clients{base: l.base, addrs: s.addrs}
	end := time.Now().Add(d)
	l.start()
	if err := l.within(func(done func(error)) { stay.run(500, done) }); err != nil {
		return errors.Join(err, l.close())
	}
	load := make(chan error, 1)
	go func() {
		var err error
		for err == nil && time.Now().Before(end) {
			err = errors.Join(l.within(func(done func(error)) { come.run(1000, done) }),
				l.within(stay.again))
		}
		load <- err
	}()
	var resident []int64
	for range samples {
		time.Sleep(d / samples)
		resident = append(resident, measure().resident)
	}
	// What the loop counts is to be read when it has ended.
	err = errors.Join(<-load, l.close())
	fmt.Printf("   %d connections, %d timers, %d posts, %d signals; resident KiB:", s.accepted.Load(), timers, posts, signals)
	for _, r := range resident {
		fmt.Print(" ", r>>10)
	}
	fmt.Println()
	early, late := resident[settles:2*settles], resident[samples-settles:]
	if grown := mean(late) - mean(early); grown > grows && d >= enough {
		err = errors.Join(err, fmt.Errorf("what is resident has grown by %d bytes", grown))
	}
	return err
}

func mean(values []int64) (m int64) {
	for _, v := range values {
		m += v
	}
	return m / int64(len(values))
}
