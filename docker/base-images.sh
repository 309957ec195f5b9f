#!/usr/bin/env bash
# Make the images that the Dockerfile begins with, on a machine that has no container
# engine or cannot reach a registry: from Debian packages, with mmdebstrap, and
# from the Go of this machine. They get the names that the registry's images have,
# in buildah's own store.
#
#	docker/base-images.sh [suite]
#
# The suite is bookworm if it is not given. It needs root, buildah and mmdebstrap:
#
#	apt-get install buildah mmdebstrap
#
# MIRROR and SECURITY_MIRROR are where Debian is taken from. What this machine's apt
# knows of proxies, and its certificates, go into the images: keep them to yourself.
set -euo pipefail

suite=${1:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
security=${SECURITY_MIRROR:-http://deb.debian.org/debian-security}
go_version=${GO_VERSION:-1.26}

work=$(mktemp -d)
containers=()
finish() {
	[ ${#containers[@]} = 0 ] || buildah rm "${containers[@]}" >/dev/null
	rm -rf "$work"
}
trap finish EXIT

# from makes a container of an image and calls it $container.
from() {
	container=$(buildah from --pull-never "$1")
	containers+=("$container")
}

run() { buildah run --isolation chroot --network host "$container" -- "$@"; }

echo "base-images: debian:$suite"
apt-config dump --format '%F "%v";%n' Acquire |
	grep -E '^Acquire::(https?|Check-[^:]*|Retries)(::.*)? ' >"$work/apt.conf" || true
# A base without the security suite has libevent without its fixes.
mmdebstrap --quiet --variant=minbase --include=ca-certificates --aptopt="$work/apt.conf" \
	"$suite" "$work/debian.tar" \
	"deb $mirror $suite main" \
	"deb $mirror $suite-updates main" \
	"deb $security $suite-security main"

from scratch
buildah add --quiet "$container" "$work/debian.tar" /
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
	buildah add --quiet "$container" \
		/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
fi
buildah config --cmd bash "$container"
buildah commit --quiet "$container" "docker.io/library/debian:$suite"
buildah tag "docker.io/library/debian:$suite" "docker.io/library/debian:$suite-slim"

echo "base-images: golang:$go_version-$suite"
goroot=$(go env GOROOT)
case $(go env GOVERSION) in
go"$go_version"*) ;;
*)
	echo "base-images: Go $go_version is wanted, and $(go env GOVERSION) is here" >&2
	exit 1
	;;
esac
from "docker.io/library/debian:$suite"
# As in the registry's image: what cgo needs is there, libevent is not.
run apt-get update -q
run env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	gcc g++ git libc6-dev make pkg-config
run sh -c 'rm -rf /var/lib/apt/lists/*'
buildah add --quiet "$container" "$goroot" /usr/local/go
buildah config --env GOPATH=/go --env GOTOOLCHAIN=local \
	--env PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	--workingdir /go --cmd bash "$container"
buildah commit --quiet "$container" "docker.io/library/golang:$go_version-$suite"
