#!/usr/bin/env bash
# docker/check.sh for each of the Debian releases that are supported.
#
#	docker/matrix.sh [suite ...]
set -euo pipefail
cd "$(dirname "$0")"

[ $# -gt 0 ] || set -- bookworm trixie
for suite; do
	SUITE=$suite ./check.sh
done
