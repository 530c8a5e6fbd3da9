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
failures=()

# check NAME COMMAND…: one test; 77 is a skip.
check() {
    local name=$1 status
    shift
    "$@" >"/tmp/imp-gpu-test.log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
    elif [ $status -ne 77 ]; then
        failed=$((failed + 1))
        failures+=("$name")
        tail -n 25 /tmp/imp-gpu-test.log
    fi
    echo "$name: $([ $status -eq 0 ] && echo passed || { [ $status -eq 77 ] && echo "skipped: no GPU" || echo FAILED; })"
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
if $timings; then
    python3 bench/measure_gpu.py --imp-bench "$build/bin/imp-bench" --models "${TMPDIR:-/tmp}/imp-models" --discard \
        --out "${results:-$build/results.json}" || failed=$((failed + 1))
fi
for name in "${failures[@]}"; do echo "failed: $name"; done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
