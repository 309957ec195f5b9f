#!/bin/sh
# Show that the fuzzers bite: plant faults in a copy of the binding, one at a time, and
# say how long it takes until each is found.
#
#	tools/bites.sh [name ...]
#
# BITETIME is how long the fuzzer may look for one. It begins with the checked-in programs
# and with those that Go's cache keeps. The exit status is 1 when one is not found.
set -eu

go=${GO:-go}
limit=${BITETIME:-60s}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chosen=" $* "
missed=0

# fault name target file 'sed script'
fault() {
	case $chosen in *" $1 "*|'  ') ;; *) return ;; esac
	rm -rf "$work/src"
	mkdir "$work/src"
	git ls-files -z | tar -c --null -T - | tar -x -C "$work/src"
	sed -i "$4" "$work/src/$3"
	if cmp -s "$3" "$work/src/$3"; then
		echo "$1: there is no place for it in $3"
		missed=1
		return
	fi
	if ! (cd "$work/src" && $go test -c -o /dev/null ./internal/difftest) >"$work/out" 2>&1; then
		echo "$1: it does not build"
		cat "$work/out"
		missed=1
		return
	fi
	begin=$(date +%s.%N)
	if (cd "$work/src" && timeout 120 $go test -run '^$' -fuzz "^$2\$" -fuzztime "$limit" \
	    -fuzzminimizetime 1x -parallel 2 ./internal/difftest) >"$work/out" 2>&1; then
		echo "$1: not found in $limit"
		missed=1
	else
		echo "$1: found by $2 after $(echo "$(date +%s.%N) $begin" | awk '{printf "%.1f", $1 - $2}') s"
	fi
}

fault lost-rearm FuzzEvents event.c 's/rc = same ? arm(w, us) :/rc = same ? 0 :/'
fault leave-ignored FuzzEvents event.go '/case next == LEAVE:/{n;s/ev.release(v)//}'
fault priority-lost FuzzEvents event.c '/^reassign/,/^}/s/event_priority_set(ev, priority);//'
fault priority-upside-down FuzzEvents event.go \
	's/C.golibevent_event_priority_set(ev.c, C.int(priority))/C.golibevent_event_priority_set(ev.c, C.int(ev.base.Priorities()-1-priority))/'
fault timeout-rounded-down FuzzEvents base.go 's/^\t\tus++$//'
fault old-interval-kept FuzzEvents event.c 's/^\t\t\tforget_interval(w);/\t\t\t;/'
fault drain-one-less FuzzBuffer buffer.c '/^golibevent_buffer_drain/,/^}/s/evbuffer_drain(buf, n)/evbuffer_drain(buf, n - (n > 1))/'
fault cleanup-forgotten FuzzBuffer buffer.go '/^func (buf \*Buffer) finishIO/,/^}/s/_, _ = buf.finish(op, done, nil)//'
fault end-of-line-kept FuzzBuffer buffer.c 's/evbuffer_drain(buf, n + eol)/evbuffer_drain(buf, n + (eol > 0))/'
fault watermarks-swapped FuzzBufferEvent bufferevent.go 's/C.short(events), C.size_t(low), C.size_t(high)/C.short(events), C.size_t(high), C.size_t(low)/'
fault view-drains-one-more FuzzEager view.go 's/bev.view.drained += C.size_t(n)/bev.view.drained += C.size_t(n) + 1/'
fault queue-broken FuzzBufferEvent bufferevent.c 's/change.quiet = .*/change.quiet = 1;/'
fault events-joined FuzzBufferEvent callbacks.c 's/GOLIBEVENT_EVENT, what, errno/GOLIBEVENT_EVENT, what | BEV_EVENT_EOF, errno/'
fault written-twice FuzzEager bufferevent.c 's/evbuffer_add(bev->output, p + sent.n, n - sent.n)/evbuffer_add(bev->output, p, n)/;s/(size_t)sent.n < n)/sent.n >= 0)/'
fault not-told FuzzEager bufferevent.c 's/sent->tells = bev->writecb != NULL;/sent->tells = 0;/'

exit $missed
