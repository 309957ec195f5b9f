#!/bin/sh
# Refuse Debian packages of libevent without the security suite's fixes.
#
#	docker/assert-libevent.sh package ...
#
# Debian's 2.1.12-stable-8+deb12u1 mends eight flaws that 2.1.12-stable-8 has, and
# both call themselves 2.1.12-stable. Good are that package, its successors for
# bookworm, and 2.1.13, with which libevent itself has caught up.
set -eu

[ $# -gt 0 ] || {
	echo "usage: $0 package ..." >&2
	exit 2
}
for package; do
	version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null || true)
	case $version in
	'')
		echo "$package is not installed" >&2
		exit 1
		;;
	2.1.12-stable-8+deb12u[1-9]*) ;;
	*)
		if dpkg --compare-versions "$version" lt 2.1.13; then
			echo "$package $version lacks security fixes:" \
				'add the security suite to the sources of apt' >&2
			exit 1
		fi
		;;
	esac
	echo "$package $version"
done
