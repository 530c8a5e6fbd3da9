#!/usr/bin/env bash
# quickstart.sh - from a clone on a bare Debian 12 to an answer: installs what is missing, builds imp, fetches a small model
# and asks it.
#
#   ./quickstart.sh ["question"]
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh

install_packages "${BUILD_PACKAGES[@]}" "${FETCH_PACKAGES[@]}"
cmake -G Ninja -B build -DCMAKE_BUILD_TYPE=Release -DIMP_TESTS=OFF >&2
echo "Building imp" >&2
ninja --quiet -C build >&2
scripts/fetch_model.sh smollm2-135m-instruct >/dev/null
build/bin/imp-cli --model smollm2-135m-instruct --temperature 0 --prompt "${1:-What is the capital of France?}"
