#!/usr/bin/env bash
# run.sh - everything that wants a GPU: builds, tests in the tiers that this card has, looks for races and bad accesses, times.
#
#   tests/gpu/run.sh                 all of it, in build/gpu
#   tests/gpu/run.sh --tests         no timings
#   tests/gpu/run.sh --build DIR     a build that is there already (made elsewhere, say)
#   tests/gpu/run.sh --results FILE  where the timings go (build/gpu/results.json)
#
# Timings need Python with numpy and gguf, and room for the largest model (18 GB) under $TMPDIR.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=build/gpu results="" timings=true make=true
while [ $# -gt 0 ]; do
    case $1 in
    --tests) timings=false ;;
    --build) build=$2 make=false && shift ;;
    --results) results=$2 && shift ;;
    *) echo "usage: tests/gpu/run.sh [--tests] [--build DIR] [--results FILE]" >&2 && exit 2 ;;
    esac
    shift
done
passed=0 failed=0
at_once=$(($(nproc) > 8 ? 8 : $(nproc)))
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
names=() failures=()

# check NAME COMMAND…: one test, beside others: what they wait for is mostly their references on the processor.
check() {
    local name=$1 number=${#names[@]}
    shift
    names+=("$name")
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
    { timeout 300 "$@" >"$logs/$number.log" 2>&1; echo $? >"$logs/$number.status"; } &
}

# report: waits for all tests and says what became of each; 77 is a skip.
report() {
    local number status
    wait
    for number in "${!names[@]}"; do
        read -r status <"$logs/$number.status"
        case $status in
        0) passed=$((passed + 1)) && echo "${names[number]}: passed" ;;
        77) echo "${names[number]}: skipped: no GPU" ;;
        *)
            failed=$((failed + 1))
            failures+=("${names[number]}")
            tail -n 25 "$logs/$number.log"
            echo "${names[number]}: $([ "$status" -eq 124 ] && echo "FAILED: not done after 300 s" || echo FAILED)"
            ;;
        esac
    done
    echo "tests took $SECONDS s"
}

if $make; then
    cmake -G Ninja -B $build -DCMAKE_BUILD_TYPE=Release -DIMP_CUDA=ON -DIMP_TESTS=ON >/dev/null && ninja --quiet -C $build || exit 1
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || exit 1

for test in "$build"/gpu_*; do
    [ -x "$test" ] && [[ $test != *gpu_bench_* ]] || continue
    name=$(basename "$test")
    check "$name" "$test"
    IMP_TIER=0 check "$name, portable kernels" "$test"
done
IMP_SPLIT=1 check "goldens, first layer on the processor" "$build/gpu_golden"
IMP_SPLIT=1 check "engine, first layer on the processor" "$build/gpu_engine"
# Whole models for bad accesses, each family of kernels for races too; both with few and small cases.
if command -v compute-sanitizer >/dev/null; then
    for tier in 2 0; do
        check "memcheck of models, tier $tier" env IMP_TIER=$tier compute-sanitizer --tool memcheck --error-exitcode 1 \
            "$build/gpu_against_cpu" --short
    done
    for source in tests/gpu/test_*.c; do
        name=$(basename "$source" .c)
        name=gpu_${name#test_}
        [ "$name" != gpu_against_cpu ] || continue
        for tool in memcheck racecheck; do
            check "$tool of $name" env IMP_TEST_SHORT=1 compute-sanitizer --tool $tool --error-exitcode 1 "$build/$name"
        done
    done
fi
report
if $timings; then
    python3 bench/measure_gpu.py --imp-bench "$build/bin/imp-bench" --models "${TMPDIR:-/tmp}/imp-models" --discard \
        --out "${results:-$build/results.json}" || failed=$((failed + 1))
fi
for name in "${failures[@]}"; do echo "failed: $name"; done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
