#!/bin/bash
# Runs one fuzz target for a while: tests/fuzz/run.sh TARGET [SECONDS] [BUILD_DIRECTORY]
#
# Builds it with clang, AddressSanitizer and UndefinedBehaviorSanitizer, gathers its seeds from the committed test data,
# and keeps the corpus in the build directory. A crash is left there as crash-…; once it is fixed it belongs into
# tests/fuzz/regressions/<what the target reads>/, which a unit test replays.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${1:?name a target, such as fuzz_gguf}
seconds=${2:-60}
build=${3:-$root/build-fuzz}
kind=${target#fuzz_}
corpus=$build/corpus/$kind

cmake -G Ninja -S "$root" -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DIMP_FUZZ=ON \
      -DIMP_TESTS=OFF -DIMP_SANITIZE=address,undefined >/dev/null
ninja -C "$build" "$target" || exit 1

mkdir -p "$corpus"
[ -d "$root/tests/fuzz/regressions/$kind" ] && cp "$root/tests/fuzz/regressions/$kind/"* "$corpus/"
seeds() { find "$root/tests" -name "$1" -size -32k; }
max_len=32768
case $kind in
gguf | gguf_vocab) files=$(seeds '*.gguf') ;;
tokenizer_json) files=$(seeds '*.tokenizer.json') ;;
safetensors) files=$(seeds '*.safetensors') ;;
conf) files=$root/imp.conf.example; max_len=8192 ;;
http_body) files=$(echo "$root"/tests/fuzz/seeds/http_body/*); max_len=8192 ;;
tool_parser) # each transcript behind the number of a format and of a way to cut
    max_len=4096
    python3 - "$root/tests/unit/runtime/tool_transcripts.json" "$corpus" <<'EOF'
import json, sys
for i, transcript in enumerate(json.load(open(sys.argv[1]))["transcripts"]):
    text = transcript["text"].replace("get_weather", "f").replace("search", "fg").replace("city", "s").replace("days", "n")
    for number in range(20):
        with open(f"{sys.argv[2]}/transcript-{i}-{number}", "wb") as file:
            file.write(bytes([number, i % 16]) + text.encode())
EOF
    files= ;;
tools_json)
    max_len=4096
    python3 - "$root/tests/unit/runtime/tool_transcripts.json" "$corpus" <<'EOF'
import json, sys
tools = json.load(open(sys.argv[1]))["tools"]
for choice in range(80):
    for i, tool in enumerate(tools):
        with open(f"{sys.argv[2]}/tool-{i}-{choice}", "wb") as file:
            file.write(bytes([choice]) + json.dumps([tool]).encode() + b"\0<tool")
EOF
    files= ;;
config_json) files=$(seeds 'config.json'); max_len=8192 ;;
jinja) files=$(seeds '*.jinja'); max_len=8192 ;;
*) files= ;;
esac
for file in $files; do
    cp "$file" "$corpus/$(basename "$(dirname "$file")")-$(basename "$file")"
done
# Every quoted word that the readers look for, as a dictionary.
dictionary=$build/dictionary-$kind
grep -ohE '"[A-Za-z0-9_.]{3,40}"' -r "$root/src/format" "$root/src/text/tokenizer" "$root/src/model" "$root/tools/imp-server" "$root/src/runtime/tools" --include='*.c' | sort -u >"$dictionary"
cd "$build"
exec nice -n 19 "$build/$target" "$corpus" -max_total_time="$seconds" -max_len=$max_len -rss_limit_mb=2048 \
     -dict="$dictionary" -timeout=20 -artifact_prefix="$build/crash-$kind-" -print_final_stats=1
