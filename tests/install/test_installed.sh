#!/bin/sh
# test_installed.sh BUILD SOURCE COMPILER LIBDIR CMAKE: what a user of the library does. It is installed into an empty tree,
# the examples are built with pkg-config alone, shared and static, as C11 and as C++, and run; exported symbols are imp_* only.
set -eu
build=$1 source=$2 compiler=$3 libdir=$4 cmake=$5
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
model=$source/tests/unit/api/tiny.gguf

fail() {
    echo "test_installed.sh: $*" >&2
    exit 1
}

"$cmake" --install "$build" --prefix "$tree/first" > "$tree/install.log"
# An installed tree may move.
mv "$tree/first" "$tree/prefix"
prefix=$tree/prefix
PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
LD_LIBRARY_PATH=$prefix/$libdir
export PKG_CONFIG_PATH LD_LIBRARY_PATH
warnings="-Wall -Wextra -Wpedantic -Werror"

# Headers: every one by itself, in C and, where there is a compiler, in C++.
for header in "$prefix"/include/imp/*.h; do
    name=$(basename "$header")
    printf '#include <imp/%s>\nint main(void) { return 0; }\n' "$name" > "$tree/header.c"
    cp "$tree/header.c" "$tree/header.cc"
    # shellcheck disable=SC2046,SC2086
    "$compiler" -std=c11 $warnings -Wstrict-prototypes $(pkg-config --cflags imp) -c "$tree/header.c" -o "$tree/header.o"
    if command -v c++ > /dev/null; then
        # shellcheck disable=SC2046,SC2086
        c++ -std=c++11 $warnings $(pkg-config --cflags imp) -c "$tree/header.cc" -o "$tree/header.o"
    fi
done

# The examples, shared and static.
for example in ten_lines streaming_chat; do
    # shellcheck disable=SC2046,SC2086
    "$compiler" -std=gnu11 $warnings $(pkg-config --cflags imp) "$source/examples/$example.c" \
        $(pkg-config --libs imp) -o "$tree/$example"
    static_libs=$(pkg-config --static --libs imp | sed "s|-limp |$prefix/$libdir/libimp.a |")
    # shellcheck disable=SC2046,SC2086
    "$compiler" -std=gnu11 $warnings $(pkg-config --cflags imp) "$source/examples/$example.c" \
        $static_libs -o "$tree/${example}_static"
done
if command -v ldd > /dev/null && ldd "$tree/ten_lines_static" | grep -q libimp; then fail "the static example is not static"; fi

for kind in "" _static; do
    "$tree/ten_lines$kind" "$model" "the and" > "$tree/out" || fail "ten_lines$kind failed"
    [ -s "$tree/out" ] || fail "ten_lines$kind printed nothing"
    if "$tree/ten_lines$kind" /nowhere/model.gguf "x" 2> "$tree/error" > /dev/null; then
        fail "ten_lines$kind accepts a missing file"
    fi
    grep -q "/nowhere/model.gguf" "$tree/error" || fail "ten_lines$kind does not name the missing file"
    printf 'hello\nand then\n' | "$tree/streaming_chat$kind" "$model" > "$tree/out" 2> "$tree/error" ||
        fail "streaming_chat$kind: $(cat "$tree/error")"
    # The second turn knows what the first computed.
    sed -n 's/.*tokens, \([0-9]*\) of.*/\1/p' "$tree/error" | tail -n 1 | grep -qv '^0$' ||
        fail "streaming_chat$kind computes everything again"
done

# Symbols.
strange=$(nm -D --defined-only "$prefix/$libdir/libimp.so" | awk '{ print $NF }' | grep -v '^imp_' || true)
[ -z "$strange" ] || fail "libimp.so exports $strange"
strange=$(nm -g --defined-only "$prefix/$libdir/libimp.a" | awk 'NF == 3 { print $3 }' | grep -v '^imp_' || true)
[ -z "$strange" ] || fail "libimp.a exports $strange"
# Every function that a header declares is there.
declared=$(cat "$prefix"/include/imp/*.h | tr '\n' ' ' | grep -o 'IMP_API [^;(]*(' | grep -o 'imp_[a-z0-9_]*' | sort -u)
exported=$(nm -D --defined-only "$prefix/$libdir/libimp.so" | awk '{ print $NF }' | sort -u)
for name in $declared; do
    echo "$exported" | grep -qx "$name" || fail "$name is declared but not in the library"
done
for name in $exported; do
    echo "$declared" | grep -qx "$name" || fail "$name is exported but not declared"
done
echo "installed library: $(echo "$exported" | wc -l) functions, examples run, shared and static"
