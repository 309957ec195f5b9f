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
	status=0
	(cd "$work/src" && timeout 120 $go test -run '^$' -fuzz "^$2\$" -fuzztime "$limit" \
	    -fuzzminimizetime 1x -parallel 2 ./internal/difftest) >"$work/out" 2>&1 || status=$?
	# 124 is of timeout, and go test fails too when a busy machine does not let it end.
	if [ $status = 0 ] || [ $status = 124 ] || grep -q '^ *context deadline exceeded$' "$work/out"; then
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
fault posts-dropped FuzzEvents base.go 's/append(round\[next:len(round):len(round)\], b.posts...)/append(round[:0], b.posts...)/'
fault once-again FuzzEvents event.go '/^func (b \*Base) Once/,/^}/s/us, once)/us, added)/;/^func (b \*Base) Once/,/^}/s/return LEAVE, 0/return 0, 0/'
fault drain-one-less FuzzBuffer buffer.c '/^golibevent_buffer_drain/,/^}/s/evbuffer_drain(buf, n)/evbuffer_drain(buf, n - (n > 1))/'
fault cleanup-forgotten FuzzBuffer buffer.go '/^func (buf \*Buffer) finishIO/,/^}/s/_, _ = buf.finish(op, done, nil)//'
fault end-of-line-kept FuzzBuffer buffer.c 's/evbuffer_drain(buf, n + eol)/evbuffer_drain(buf, n + (eol > 0))/'
fault watermarks-swapped FuzzBufferEvent bufferevent.go 's/C.short(events), C.size_t(low), C.size_t(high)/C.short(events), C.size_t(high), C.size_t(low)/'
fault view-drains-one-more FuzzEager view.go 's/bev.view.drained += C.size_t(n)/bev.view.drained += C.size_t(n) + 1/'
fault queue-broken FuzzBufferEvent bufferevent.c 's/change.quiet = .*/change.quiet = 1;/'
fault events-joined FuzzBufferEvent callbacks.c 's/GOLIBEVENT_EVENT, what, errno/GOLIBEVENT_EVENT, what | BEV_EVENT_EOF, errno/'
fault written-twice FuzzEager bufferevent.c 's/evbuffer_add(bev->output, p + sent.n, n - sent.n)/evbuffer_add(bev->output, p, n)/;s/(size_t)sent.n < n)/sent.n >= 0)/'
fault not-told FuzzEager bufferevent.c 's/sent->tells = bev->writecb != NULL;/sent->tells = 0;/'
fault callback-after-remove FuzzBuffer buffercallback.go 's/ && !cb.removed.Load()//'
fault callback-not-disabled FuzzBuffer buffercallback.go 's/!cb.disabled.Load() && //'
fault callback-of-closed FuzzBuffer buffercallback.go 's/ && !w.closed()//'
fault deferred-and-lost FuzzBuffer buffercallback.go '/^func (w \*bufferWatch) deferred/,/^}/s/w.sum.Deleted += info.Deleted//'
fault told-of-pieces FuzzBuffer buffer.go 's/C.bool(dst.watched())/C.bool(false)/'
fault memory-before-cleanup FuzzBuffer buffer.go 's/case done.released != nil:/case false:/'
fault chunk-shared-too-far FuzzBuffer buffer.go '/^func (buf \*Buffer) PullUp/,/^}/s/if !buf.has(bufferShares) {/if buf.c != nil {/'
fault kept-by-another FuzzBuffer buffer.go 's/bufferShares|bufferLends)), buf/bufferShares)), buf/'
fault file-in-memory FuzzBuffer filesegment.go 's/buf.state.Or(bufferFiles)//'
fault short-write-forgotten FuzzBuffer buffer.go 's/return total, io.ErrShortWrite/return total, nil/'
fault filter-not-called-again FuzzFilter bufferevent.c 's/^\tif (high > 0 \&\& bev->enabled & EV_READ/\tif (0 \&\& bev->enabled \& EV_READ/'
fault filter-limit-lost FuzzFilter filter.go 's/&lent\[1\], limit, mode)/\&lent[1], -1, mode)/'
fault filter-error-taken-for-ok FuzzFilter filter.go '/^func (f \*filter) serve/,/^}/s/return BEV_ERROR/return BEV_OK/'
fault filter-keeps-callbacks FuzzFilter filter.go '/^func (f \*filter) uncover/,/^}/s/f.underlying.setCallbacks()//'

exit $missed
