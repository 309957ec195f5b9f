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

# checkout writes the files of the checkout as a tar, without what git ignores.
checkout() {
	local list
	list=$(mktemp)
	if git ls-files -z --cached --others --exclude-standard >"$list" 2>/dev/null; then
		tar --null --files-from "$list" --ignore-failed-read -cf - 2>/dev/null
	else
		tar --exclude=./.git --exclude=./bin -cf - .
	fi
	rm "$list"
}

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

# run image command...: like docker run --rm --interactive.
run() {
	local image=$1 container status=0
	shift
	if [ "$engine" != buildah ]; then
		"$engine" run --rm --interactive "${environment[@]}" --entrypoint "$1" "$image" "${@:2}"
		return
	fi
	container=$(buildah from --pull-never "$image")
	buildah run --isolation chroot --network host "${environment[@]}" "$container" -- "$@" ||
		status=$?
	buildah rm "$container" >/dev/null
	return "$status"
}

if [ "$engine" = none ]; then
	echo 'check: no container engine here; CI runs on this machine'
	exec .ci/run
fi

build ci "$ci"
checkout | run "$ci" bash -c 'tar -xf - && .ci/run'
build runtime "$runtime"
run "$runtime" /usr/local/bin/libevent-echo </dev/null
echo "check: $engine, $suite: all passed"
