package main

import "fmt"

// bar is a bound that the binding is to keep.
type bar struct {
	What     string  `json:"what"`
	Limit    float64 `json:"limit"` // at most
	Measured float64 `json:"measured"`
	Holds    bool    `json:"holds"`
}

func (b bar) verdict() string {
	if b.Holds {
		return "ok"
	}
	return "MISSED"
}

// bars holds what was measured against what is promised. What was not measured is
// left out.
func (r *report) bars() (bars []bar) {
	atMost := func(what string, limit, measured float64) {
		bars = append(bars, bar{what, limit, measured, measured <= limit})
	}
	against := func(w workload, impl, figure, ref string, limit float64) {
		if x := r.find(w.Name, impl, figure); x != nil {
			if v, ok := x.Ratios[ref]; ok {
				atMost(fmt.Sprintf("%s: %s, %s against %s", w.Name, figure, impl, ref), limit, v)
			}
		}
	}
	absolute := func(w workload, impl, figure string, limit float64) {
		if x := r.find(w.Name, impl, figure); x != nil {
			atMost(fmt.Sprintf("%s: %s, %s", w.Name, figure, impl), limit, x.Median)
		}
	}

	for _, a := range []int{1, 100, 1000} {
		against(chain(a), "libevent", "event", cLocks, 1.15)
	}
	small, large, burst := echo(64, 1, 64), echo(16384, 1, 64), echo(1024, 16, 64)
	against(small, "raw", "cpu", cRaw, 1.10)
	against(large, "raw", "cpu", cRaw, 1.05)
	against(small, "bufferevent", "cpu", cBufferevent, 1.20)
	against(small, "eager", "cpu", cBufferevent, 0.80)
	against(large, "eager", "cpu", cBufferevent, 0.28)
	against(burst, "eager", "cpu", cBufferevent, 0.28)
	for _, w := range echoes([]int{64}) {
		for _, peer := range []string{"gnet", "netpoll", "evio", "nbio", "net", "luaevent"} {
			against(w, "raw", "cpu", peer, 1)
			if peer != "luaevent" {
				against(w, "eager", "cpu", peer, 1)
			}
		}
		absolute(w, "raw", "allocs", 0.05)
		absolute(w, "bufferevent", "allocs", 0.05)
		absolute(w, "eager", "allocs", 0.05)
	}
	against(active(), "libevent", "dispatch", cLocks, 3)
	absolute(active(), "libevent", "allocs", 0.05)
	for _, n := range []int{1e5, 1e6} {
		against(timers(n, 0), "libevent", "add+del", "time", 0.5)
		against(timers(n, 1), "libevent", "add+del", "time", 0.2)
	}
	for _, n := range []int{2000, 10000} {
		for _, impl := range []string{"bufferevent", "eager"} {
			against(echoIdle(n), impl, "idle_rss", cBufferevent, 1.3)
			against(echoIdle(n), impl, "idle_rss", "net", 0.5)
		}
	}
	return bars
}
