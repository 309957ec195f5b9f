#!/bin/sh
# Measure which lines of our own C the tests run, with gcov, and print it file by file
# with the lines that no test has run.
#
#	tools/coverage.sh [floor]
#
# It fails when less than floor percent, 90 if it is not given, of the lines have run.
set -eu

floor=${1:-90}
go=${GO:-go}
cd "$(dirname "$0")/.."
if ! command -v gcov >/dev/null; then
	echo 'coverage: skipped, there is no gcov'
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# gcc leaves what gcov needs beside the objects, where the program adds its counts. Go
# keeps that directory if it is asked to, and makes no object that is in its cache.
mkdir "$work/go" "$work/gcov"
n=0
for package in . ./internal/faults; do
	CC=gcc CGO_CFLAGS='-O0 -g --coverage' CGO_LDFLAGS=--coverage \
		GOTMPDIR=$work/go GOCACHE=$work/cache \
		$go test -work -tags gcov -c -o "$work/test" "$package" 2>"$work/log" || {
		cat "$work/log"
		exit 1
	}
	(cd "$package" && "$work/test" -test.short -test.timeout 10m) >"$work/log" 2>&1 || {
		cat "$work/log"
		exit 1
	}
	for data in "$work"/go/*/*/*.gcda; do
		gcov -t "$data" >"$work/gcov/$n" 2>/dev/null || true
		rm "$data"
		n=$((n + 1))
	done
done

# In a line of gcov's the count comes first: - is no code, ##### is never.
awk -F: -v floor="$floor" '
	$2 + 0 == 0 && $3 == "Source" {
		file = $4
		ours = file ~ /^[a-z]+[.][ch]$/ && (getline text < file) > 0
		close(file)
	}
	!ours { next }
	{ count = $1; gsub(/[ \t*]/, "", count); line = $2 + 0 }
	line == 0 || count == "-" { next }
	{ code[file, line] = 1; files[file] }
	count !~ /^[#=]/ { ran[file, line] = 1 }
	END {
		for (key in code) {
			split(key, at, SUBSEP)
			lines[at[1]]++; all++
			if (key in ran) { reached[at[1]]++; allran++ }
			else missed[at[1]] = missed[at[1]] " " at[2]
		}
		for (file in files) {
			printf "%-18s %5.1f %% of %4d lines", file, 100 * reached[file] / lines[file], lines[file]
			n = split(missed[file], at, " ")
			for (i = 2; i <= n; i++) {
				for (j = i; j > 1 && at[j - 1] + 0 > at[j] + 0; j--) {
					t = at[j]; at[j] = at[j - 1]; at[j - 1] = t
				}
			}
			for (i = 1; i <= n; i++) printf "%s%s", i == 1 ? ", not " : " ", at[i]
			print ""
		}
		printf "total %.1f %% of %d lines\n", 100 * allran / all, all
		exit 100 * allran < floor * all
	}
' "$work"/gcov/*
