#!/bin/sh
# Hold our own C files against all the warnings, as errors. The packages have to let
# unused parameters pass in their builds, because the code that cgo generates has some.
set -eu

go=${GO:-go}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

$go list -f '{{if .CFiles}}{{.Dir}}{{end}}' ./... | while read -r dir; do
	cd "$dir"
	pkgs=$(cat ./*.go | sed -n 's/^\(\/\/ \)\{0,1\}#cgo pkg-config: //p')
	# shellcheck disable=SC2046,SC2086 # lists
	set -- $(pkg-config --cflags $pkgs)
	# This makes _cgo_export.h, with the prototypes of what Go exports.
	# shellcheck disable=SC2046
	$go tool cgo -objdir "$work" -- -I. "$@" $($go list -f '{{join .CgoFiles " "}}')
	for file in $($go list -f '{{join .CFiles " "}}'); do
		gcc -std=gnu99 -O2 -Wall -Wextra -Werror -I. -I"$work" "$@" -c -o /dev/null "$file"
	done
done
