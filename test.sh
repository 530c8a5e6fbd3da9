#!/usr/bin/env bash
# test.sh - everything that must hold: builds without a warning on gcc and clang; unit tests plain, under AddressSanitizer
# and UndefinedBehaviorSanitizer, and the threaded ones under ThreadSanitizer; comparisons with the reference
# implementations; the fuzz targets on their corpora and for a short while on new input; real models end to end.
#
#   ./test.sh             installs what is missing (Debian packages, and Python packages into .venv)
#
# Ends with a line "N passed, N failed" and exits 0 only when nothing failed.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
. scripts/packages.sh

fuzz_seconds=${IMP_FUZZ_SECONDS:-10}
jobs=$(nproc)
passed=0
failed=0
failures=()

# check NAME COMMAND…: one test.
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
        echo "FAILED: $name"
    fi
}

# build DIRECTORY TARGET… -- OPTION…: configures and builds; a failure counts as one.
build() {
    local directory=$1 targets=()
    shift
    while [ "$1" != -- ]; do targets+=("$1") && shift; done
    shift
    cmake -G Ninja -B "$directory" -DIMP_WERROR=ON "$@" >/dev/null && ninja --quiet -C "$directory" "${targets[@]}"
}

# run_ctest NAME DIRECTORY COMMAND…: COMMAND is ctest with its options; counts each test.
run_ctest() {
    local name=$1 directory=$2 line
    shift 2
    "$@" --test-dir "$directory" --output-on-failure --timeout 900 --parallel "$jobs" | tee "$directory/ctest.log"
    line=$(grep -E 'tests passed, [0-9]+ tests? failed out of [0-9]+' "$directory/ctest.log")
    if [[ $line =~ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]]; then
        failed=$((failed + BASH_REMATCH[1]))
        passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
        [ "${BASH_REMATCH[1]}" -eq 0 ] || failures+=("$name")
    else
        check "$name: ctest ran" false
    fi
}

# run_pytest DIRECTORY: counts each test.
run_pytest() {
    local line status word
    .venv/bin/python -m pytest -q "$1" | tee build/pytest.log
    status=${PIPESTATUS[0]}
    line=$(tail -n 1 build/pytest.log)
    [[ $line =~ ([0-9]+)\ passed ]] && passed=$((passed + BASH_REMATCH[1]))
    for word in failed error; do
        [[ $line =~ ([0-9]+)\ $word ]] && failed=$((failed + BASH_REMATCH[1])) && failures+=("$1")
    done
    [[ $status -eq 0 || $line =~ failed|error ]] || check "$1: pytest ran" false
}

# fuzz TARGET: what once failed must not fail again; then a short while of new input.
fuzz() {
    tests/fuzz/run.sh "$1" "$fuzz_seconds" "$PWD/build/asan" >"build/$1.log" 2>&1 && return
    tail -n 40 "build/$1.log"
    return 1
}

install_packages "${BUILD_PACKAGES[@]}" "${FETCH_PACKAGES[@]}" "${TEST_PACKAGES[@]}" || exit 1
[ -x .venv/bin/python ] || python3 -m venv .venv || exit 1
.venv/bin/python -m pip install --quiet --requirement tests/requirements.txt || exit 1

echo "== gcc"
check "build with gcc" build build all -- -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release -DIMP_TESTS=ON
run_ctest "unit tests" build ctest
if [ -f build/libimp_kernels.a ]; then
    check "instructions of the GPU kernels" .venv/bin/python tests/gpu/check_instructions.py build
else
    echo "instructions of the GPU kernels: not checked, there is no nvcc here"
fi

echo "== clang, AddressSanitizer, UndefinedBehaviorSanitizer"
export UBSAN_OPTIONS=print_stacktrace=1
check "build with clang" build build/asan all -- -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DIMP_SANITIZE=address,undefined -DIMP_FUZZ=ON -DIMP_TESTS=ON
run_ctest "unit tests under AddressSanitizer" build/asan ctest
for source in tests/fuzz/fuzz_*.c; do
    check "$(basename "$source" .c)" fuzz "$(basename "$source" .c)"
done

echo "== clang, ThreadSanitizer, on the rooms that have threads"
check "build with ThreadSanitizer" build build/tsan tests_core tests_compute tests_runtime tests_api -- \
    -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DIMP_SANITIZE=thread
# Addresses are not randomized: clang 14's runtime knows only the older layouts of a process.
run_ctest "threads under ThreadSanitizer" build/tsan setarch --addr-no-randomize ctest -R '^(core|compute|runtime|api)_'

echo "== against the reference implementations"
smollm2=$(scripts/fetch_model.sh smollm2-135m-instruct) && gemma3=$(scripts/fetch_model.sh gemma-3-270m)
check "real models fetched" [ -f "$smollm2" -a -f "$gemma3" ]
check "tokenizers" .venv/bin/python tests/text/compare_tokenizers.py build/tokenize_driver --gguf "$smollm2" \
    --gguf "$gemma3"
check "random templates" .venv/bin/python tests/text/compare_jinja.py build/jinja_driver
check "chat templates" .venv/bin/python tests/text/compare_templates.py build/jinja_driver tests/oracle/chat_templates

echo "== end to end"
run_pytest tests/e2e

echo
for name in "${failures[@]}"; do echo "failed: $name"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
