#!/usr/bin/env bash
# All of CI in a container, and the runtime image built and run: with docker, podman
# or buildah, whichever works here, or on this machine itself if none does.
#
#	docker/check.sh
#
# ENGINE names one of the three, or none. SUITE is Debian's, bookworm if it is not
# set, and GO_VERSION Go's. With buildah, images that docker/base-images.sh has made
# are used rather than a registry's.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${SUITE:-bookworm}
go_version=${GO_VERSION:-1.26}
ci=golibevent-ci:$suite
runtime=golibevent-echo:$suite

find_engine() {
	if docker info >/dev/null 2>&1; then
		echo docker
	elif podman info >/dev/null 2>&1; then
		echo podman
	elif command -v buildah >/dev/null && [ "$(id -u)" = 0 ]; then
		echo buildah
	else
		echo none
	fi
}
engine=${ENGINE:-$(find_engine)}

# The module proxy of this machine is that of the container.
environment=()
for name in GOPROXY GOSUMDB GONOSUMDB; do
	[ -z "${!name:-}" ] || environment+=(--env "$name=${!name}")
done

# A copy of the checkout, without what was built in it.
in_copy='tar -C /src --exclude=./.git --exclude=./bin -cf - . | tar -C /work -xf - &&
	cd /work && .ci/run'

build() {
	local target=$1 tag=$2
	echo "check: $engine builds $tag"
	set -- --target "$target" -t "$tag" \
		--build-arg "SUITE=$suite" --build-arg "GO_VERSION=$go_version"
	case $engine in
	docker | podman) "$engine" build "$@" . ;;
	buildah)
		if buildah images -q "docker.io/library/golang:$go_version-$suite" >/dev/null 2>&1; then
			set -- "$@" --pull-never
		fi
		buildah bud --layers --isolation chroot --network host "$@" .
		;;
	esac
}

# run [options] image command...: like docker run --rm.
run() {
	local options=() container status=0
	while [ "${1#-}" != "$1" ]; do
		options+=("$1" "$2")
		shift 2
	done
	if [ "$engine" != buildah ]; then
		"$engine" run --rm "${options[@]}" --entrypoint "$2" "$1" "${@:3}"
		return
	fi
	container=$(buildah from --pull-never "$1")
	buildah run --isolation chroot --network host "${options[@]}" "$container" -- "${@:2}" ||
		status=$?
	buildah rm "$container" >/dev/null
	return "$status"
}

if [ "$engine" = none ]; then
	echo 'check: no container engine here; CI runs on this machine'
	exec .ci/run
fi

build ci "$ci"
run "${environment[@]}" --volume "$PWD:/src:ro" "$ci" bash -c "$in_copy" </dev/null
build runtime "$runtime"
run "$runtime" /usr/local/bin/libevent-echo </dev/null
echo "check: $engine, $suite: all passed"
