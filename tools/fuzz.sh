#!/bin/sh
# Let fuzzers of internal/difftest look for programs that end differently in Go and in C.
#
#	tools/fuzz.sh time fuzzer ...
#
# Each has the time, one after the other. What one finds is written below
# internal/difftest/testdata/fuzz.
set -eu

go=${GO:-go}
time=$1
shift
if [ "$(uname)" != Linux ]; then
	echo 'fuzz: skipped, this is not Linux'
	exit 0
fi
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for fuzzer; do
	echo "== $fuzzer"
	{ $go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime "$time" -fuzzminimizetime 1s -parallel 2 \
		./internal/difftest 2>&1 || echo failed; } | tee "$log"
	# go test calls it a failure when a busy machine does not let it end in time.
	if grep -q '^failed$' "$log" && { grep -q 'Failing input\|panic\|build failed' "$log" ||
	    ! grep -q '^ *context deadline exceeded$' "$log"; }; then
		exit 1
	fi
done
