#!/bin/sh
# Install with apt, apk, dnf or brew what it takes to build and test this repository, and
# say nothing when it is all there.
#
#	tools/deps.sh build	a C compiler, pkg-config and libevent
#	tools/deps.sh test	and what the tests and the examples with C libraries need
#	tools/deps.sh check	and what make check needs
#	tools/deps.sh bench	as build, and what the benchmarks compare with
#
# Go is not installed: the distributions' own is often too old.
set -eu

level=${1:-check}
go=${GO:-go}

has() { command -v "$1" >/dev/null 2>&1; }
has_lib() { has pkg-config && pkg-config --exists "$@"; }

# Debian 12 released libevent with flaws that its security suite has mended under
# the same upstream version. An installed copy of the first is to be replaced.
is_mended() {
	has dpkg-query || return 0
	[ "$(dpkg-query -W -f '${Version}' libevent-dev 2>/dev/null)" != 2.1.12-stable-8 ]
}

# missing prints the packages, of the package manager $1, for what is not there:
# one line a need, with the names for apt, apk, dnf and brew ("-" where there is none).
missing() {
	need() {
		case $1 in
		apt) echo "$2" ;;
		apk) echo "$3" ;;
		dnf) echo "$4" ;;
		brew) echo "$5" ;;
		esac | sed 's/^-$//'
	}
	has cc || need "$1" 'gcc libc6-dev' 'gcc musl-dev' gcc -
	has gcc || need "$1" gcc gcc gcc -
	has make || need "$1" make make make make
	has pkg-config || need "$1" pkg-config pkgconf pkgconf-pkg-config pkgconf
	{ has_lib libevent_core libevent_pthreads && is_mended; } ||
		need "$1" libevent-dev libevent-dev libevent-devel libevent
	[ "$level" = build ] && return
	if [ "$level" = bench ]; then
		lua5.1 -e 'require "luaevent.core" require "socket"' 2>/dev/null ||
			need "$1" 'lua5.1 lua-event lua-socket' - - -
		return
	fi
	has_lib hiredis || need "$1" libhiredis-dev hiredis-dev hiredis-devel hiredis
	has redis-server || need "$1" redis-server redis /usr/bin/redis-server redis
	[ "$level" = test ] && return
	has valgrind || need "$1" valgrind valgrind valgrind -
	[ "$1" != dnf ] || [ -e /usr/lib64/libasan.so ] ||
		ls /usr/lib/gcc/*/*/libasan.so >/dev/null 2>&1 || echo libasan
}

root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif has sudo; then
		sudo "$@"
	else
		echo "deps: neither root nor sudo, for: $*" >&2
		return 1
	fi
}

install_with() {
	manager=$1
	shift
	case $manager in
	apt)
		root apt-get update -q
		root env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -q --no-install-recommends "$@"
		;;
	apk) root apk add "$@" ;;
	dnf) root dnf install -y "$@" ;;
	brew) brew install "$@" ;;
	esac
}

manager=none
for m in apt:apt-get apk:apk dnf:dnf brew:brew; do
	has "${m#*:}" && manager=${m%:*} && break
done

# The names of another package manager stand for what is missing here.
names=$manager
[ "$manager" != none ] || names=apt
wanted=$(missing "$names" | tr '\n' ' ')
if [ -n "$(echo "$wanted" | tr -d ' ')" ]; then
	echo "deps: installing $wanted"
	# shellcheck disable=SC2086 # a list
	[ "$manager" != none ] && install_with "$manager" $wanted </dev/null ||
		echo "deps: that did not work" >&2
	is_mended || echo 'deps: libevent-dev 2.1.12-stable-8 lacks fixes of' \
		'security flaws; add the bookworm-security suite to apt' >&2
fi

if ! has_lib libevent_core libevent_pthreads; then
	cat >&2 <<-'END'
		deps: pkg-config does not find libevent_core and libevent_pthreads. Install them:

		  Debian, Ubuntu  apt-get install gcc make pkg-config libevent-dev
		  Alpine          apk add gcc musl-dev make pkgconf libevent-dev
		  Fedora          dnf install gcc make pkgconf-pkg-config libevent-devel
		  macOS           brew install pkgconf libevent

		or name the place of libevent_core.pc in PKG_CONFIG_PATH.
	END
	exit 1
fi
case $level in test | check) [ "$(uname)" = Linux ] || echo 'deps: the tests need Linux' >&2 ;; esac
if ! has "$go"; then
	echo 'deps: there is no Go here. Install 1.24 or later: https://go.dev/dl/' >&2
	exit 1
fi
