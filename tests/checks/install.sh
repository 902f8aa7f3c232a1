#!/bin/bash
# make install puts things where they belong, a program can be built with what is there, and make uninstall leaves nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/checks/checks.inc

run_make() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -o build/libasyncio.a -o build/tracer "$@" DESTDIR="$work/root" PREFIX=/opt/asyncio; }

check "make install" run_make install
equal "what is installed" "bin/tracer include/asyncio.h lib/libasyncio.a lib/pkgconfig/asyncio.pc share/man/man1/tracer.1 share/man/man3/asyncio.3" \
  "$(cd "$work/root/opt/asyncio" && find . -type f | sed 's|^\./||' | LC_ALL=C sort | xargs)"

export PKG_CONFIG_PATH=$work/root/opt/asyncio/lib/pkgconfig
equal "pkg-config's version" "$(sed -n 's/^#define ASYNCIO_VERSION "\(.*\)"/\1/p' asyncio.h)" "$(pkg-config --modversion asyncio)"
sed -n '/^```c$/,/^```$/{ /^```/d; p; }' README.md >"$work/hello.c"
command=$(grep -m1 '^cc .*pkg-config' README.md)
check "README's compile line with pkg-config: $command" env PKG_CONFIG_SYSROOT_DIR="$work/root" bash -c "cd '$work' && ${command/cc /${CC:-cc} ${CFLAGS:-} }"
equal "the program runs" "hello world ['done', 'done'] timeout!" "$(ASYNCIO_CLOCK=virtual "$work/hello" | xargs -d '\n')"
check "the tracer runs" "$work/root/opt/asyncio/bin/tracer" --version
for page in "$work"/root/opt/asyncio/share/man/man?/*; do
  check "$(basename "$page") is a manual page" grep -q '^\.SH NAME' "$page"
done

check "make uninstall" run_make uninstall
equal "what uninstall leaves" "" "$(find "$work/root" -type f)"
finish
