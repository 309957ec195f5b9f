#!/bin/sh
# Run the tests of the module under valgrind, which sees into the system's libevent:
# reads and writes of freed memory, reads past the end, jumps on what nobody has set.
#
#	tools/valgrind.sh [directory ...]
#
# VALGRIND_RUN is the pattern of the tests to run, . for all, which takes half an hour. Each is
# run with -test.short.
set -eu

go=${GO:-go}
if [ "$(uname)" != Linux ]; then
	echo 'valgrind: skipped, this is not Linux'
	exit 0
fi
# From 1.25 on the Go runtime tells valgrind of its stacks and its heap.
case $($go env GOVERSION) in
go1.2[0-4]*)
	echo 'valgrind: skipped, it needs Go 1.25'
	exit 0
	;;
esac

cd "$(dirname "$0")/.."
# valgrind before 3.21 cannot read what Go writes as DWARF 5.
nodwarf5=nodwarf5
GOEXPERIMENT=$nodwarf5 $go env GOVERSION >/dev/null 2>&1 || nodwarf5=
suppressions=$PWD/tools/valgrind.supp
# valgrind runs one thread at a time, thirty times as slow: of the tests those that make,
# move and free things in all ways, and none that lets threads work against a clock or
# moves megabytes.
chosen='TestEager|TestFilterCloseOfTheBase|TestFilterLeavesUnderlying|TestRateLimitsLeaveNothing|TestBufferEventTransfer|TestReadWriteReturns|TestLeave|TestCloseInOwnCallback|TestOnce'
# What must be done in so many seconds fails even alone.
timed='PartialSends|TestTransfer|SignalStorm|SignalWithTimeout|ProgramsOfGoroutines|NewFilterAmongOthers'
# It uses nil pointers, in Go, as it is to: valgrind takes that for errors.
nil=ZeroValues
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# = 0 ]; then
	# Packages with tests that come to C, by themselves or through another.
	# shellcheck disable=SC2016 # a template
	dirs=$($go list -f '{{$dir := .Dir}}{{if or .TestGoFiles .XTestGoFiles -}}
		{{range .Deps}}{{if eq . "runtime/cgo"}}{{$dir}}{{end}}{{end}}{{end}}' ./...)
	# shellcheck disable=SC2086 # a list
	set -- $dirs
fi
for dir; do
	echo "== $dir"
	GOEXPERIMENT=$nodwarf5 $go test -C "$dir" -tags valgrind -c -o "$work/test"
	pattern=${VALGRIND_RUN:-$chosen}
	attempt=1
	while :; do
		status=0
		# Preemption by signals would interrupt what valgrind has made slow for ever.
		(cd "$dir" && GODEBUG=asyncpreemptoff=1 valgrind -q --error-exitcode=9 --leak-check=no \
			--suppressions="$suppressions" "$work/test" \
			-test.short -test.run "$pattern" -test.skip "$timed|$nil" -test.timeout 1h) >"$work/log" 2>&1 || status=$?
		cat "$work/log"
		[ $status != 0 ] || break
		# What depends on time can fail where all is thirty times as slow, and may be
		# tried again. What valgrind has found, status 9, may not.
		[ $status = 1 ] && [ $attempt -lt 3 ] || exit $status
		attempt=$((attempt + 1))
		failed=$(sed -n 's/^--- FAIL: \([^ ]*\).*/\1/p' "$work/log" | paste -sd '|' -)
		[ -n "$failed" ] || exit $status
		echo "valgrind: again, attempt $attempt: $failed"
		pattern="^($failed)\$"
	done
done
