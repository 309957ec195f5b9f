#!/bin/sh
# Hold our own C files against all the warnings, as errors. The packages have to let
# unused parameters pass in their builds, because the code that cgo generates has some.
set -eu

go=${GO:-go}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dirs=$($go list -f '{{if .CFiles}}{{.Dir}}{{end}}' ./...)
for dir in $dirs; do
	cd "$dir"
	pkgs=$(cat ./*.go | sed -n 's/^\(\/\/ \)\{0,1\}#cgo pkg-config: //p')
	# shellcheck disable=SC2086 # a list
	cflags=$(pkg-config --cflags $pkgs)
	gofiles=$($go list -f '{{join .CgoFiles " "}}')
	cfiles=$($go list -f '{{join .CFiles " "}}')
	# This makes _cgo_export.h, with the prototypes of what Go exports.
	# shellcheck disable=SC2086 # lists
	$go tool cgo -objdir "$work" -- -I. $cflags $gofiles
	for file in $cfiles; do
		# shellcheck disable=SC2086 # a list
		gcc -std=gnu99 -O2 -Wall -Wextra -Werror -I. -I"$work" $cflags -c -o /dev/null "$file"
	done
done
