package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// impl is a program that does a workload.
type impl struct {
	Name   string
	args   []string // the program and its first arguments
	dir    bool     // the program is in the directory of the benchmark's own
	golang bool     // it takes -cpuprofile
	single bool     // it does best with GOMAXPROCS=1 on one CPU
}

// The names of the implementations that others are held against.
const (
	cRaw         = "c-raw"
	cBufferevent = "c-bufferevent"
	cLocks       = "c"
)

var servers = []impl{
	{Name: cRaw, args: []string{"c-server", "-impl", "raw"}, dir: true},
	{Name: cBufferevent, args: []string{"c-server", "-impl", "bufferevent"}, dir: true},
	{Name: "raw", args: []string{"libevent", "-impl", "raw"}, dir: true, golang: true},
	{Name: "bufferevent", args: []string{"libevent", "-impl", "bufferevent"}, dir: true, golang: true},
	{Name: "bufferevent-copy", args: []string{"libevent", "-impl", "bufferevent-copy"}, dir: true, golang: true},
	{Name: "eager", args: []string{"libevent", "-impl", "eager"}, dir: true, golang: true},
	{Name: "luaevent", args: []string{"lua5.1", "lua/server.lua"}},
	{Name: "net", args: []string{"net"}, dir: true, golang: true, single: true},
	{Name: "gnet", args: []string{"gnet"}, dir: true, golang: true},
	{Name: "netpoll", args: []string{"netpoll"}, dir: true, golang: true, single: true},
	{Name: "evio", args: []string{"evio"}, dir: true, golang: true},
	{Name: "nbio", args: []string{"nbio"}, dir: true, golang: true},
}

var micros = []impl{
	{Name: cLocks, args: []string{"c-micro", "-impl", "locks"}, dir: true},
	{Name: "c-nolocks", args: []string{"c-micro", "-impl", "nolocks"}, dir: true},
	{Name: "libevent", args: []string{"micro", "-impl", "libevent"}, dir: true, golang: true},
	{Name: "nolock", args: []string{"micro", "-impl", "nolock"}, dir: true, golang: true},
	{Name: "time", args: []string{"micro", "-impl", "go"}, dir: true, golang: true, single: true},
}

// workload is what every implementation does once a round.
type workload struct {
	Name     string
	args     []string // for the load generator or the micro-benchmark
	server   bool     // is for servers
	idle     bool     // has idle connections
	allCores bool     // the server has as many loops as there are CPUs, and all of them
	not      string   // implementations that do not do it, between spaces
}

func echo(size, inflight, active int) workload {
	bytes := fmt.Sprintf("%d B", size)
	if size >= 1024 {
		bytes = fmt.Sprintf("%d KiB", size/1024)
	}
	return workload{
		Name:   fmt.Sprintf("echo %s x%d, %d connections", bytes, inflight, active),
		args:   []string{"-size", fmt.Sprint(size), "-inflight", fmt.Sprint(inflight), "-active", fmt.Sprint(active)},
		server: true,
	}
}

func echoIdle(idle int) workload {
	w := echo(64, 1, 64)
	w.Name += fmt.Sprintf(" and %d idle", idle)
	w.args = append(w.args, "-idle", fmt.Sprint(idle))
	w.idle = true
	return w
}

// luaevent knows no threads.
func echoAllCores() workload {
	w := echo(64, 1, 64)
	w.Name += ", a loop per core"
	w.allCores = true
	w.not = " luaevent "
	return w
}

func micro(bench, not string, args ...string) workload {
	return workload{
		Name: strings.Join(append([]string{bench}, args...), " "),
		args: append([]string{"-bench", bench}, args...),
		not:  " " + not + " ",
	}
}

func active() workload { return micro("active", "time", "-n", "1000") }

func chain(a int) workload {
	return micro("chain", "time", "-n", "1000", "-a", fmt.Sprint(a))
}

func timers(n, common int) workload {
	return micro("timers", "nolock c-nolocks", "-n", fmt.Sprint(n), "-common", fmt.Sprint(common))
}

func events(n int) workload {
	return micro("events", "nolock c-nolocks time", "-n", fmt.Sprint(n))
}

func post(n int) workload {
	return micro("post", "nolock c-nolocks time", "-n", fmt.Sprint(n))
}

// plan is what a run measures.
type plan struct {
	workloads []workload
	impls     []impl
}

var (
	allImpls = slices.Concat(servers, micros)

	fullPlan = plan{impls: allImpls, workloads: slices.Concat(
		echoes([]int{1, 64, 1000}),
		[]workload{
			echoIdle(10000), echoAllCores(),
			active(), chain(1), chain(100), chain(1000),
			timers(1e5, 0), timers(1e6, 0), timers(1e6, 1),
			events(100), events(1000), events(10000), events(100000),
			post(100), post(1000), post(10000), post(100000),
		})}

	quickPlan = plan{impls: allImpls, workloads: []workload{
		echo(64, 1, 64), echo(1024, 16, 64), echo(16384, 1, 64), echo(64, 1, 1), echoIdle(2000),
		active(), chain(1), chain(100), chain(1000),
		timers(1e5, 0), timers(1e5, 1),
		events(100), events(100000), post(100), post(100000),
	}}
)

func echoes(connections []int) (w []workload) {
	for _, n := range connections {
		w = append(w, echo(64, 1, n), echo(64, 16, n), echo(1024, 1, n), echo(1024, 16, n), echo(16384, 1, n))
	}
	return w
}

// matching returns the part of the plan that is asked for, and C with it.
func (p plan) matching(name, implName *regexp.Regexp) plan {
	p.workloads = slices.DeleteFunc(slices.Clone(p.workloads), func(w workload) bool {
		return !name.MatchString(w.Name)
	})
	p.impls = slices.DeleteFunc(slices.Clone(p.impls), func(i impl) bool {
		return !isReference(i.Name) && !implName.MatchString(i.Name)
	})
	return p
}

func isReference(name string) bool {
	return name == cRaw || name == cBufferevent || name == cLocks
}

func (i impl) server() bool {
	return slices.ContainsFunc(servers, func(s impl) bool { return s.Name == i.Name })
}

// does reports whether i can do w.
func (i impl) does(w workload) bool {
	return i.server() == w.server && !strings.Contains(w.not, " "+i.Name+" ")
}
