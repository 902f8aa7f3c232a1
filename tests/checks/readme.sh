#!/bin/bash
# README.md keeps its word: its program does what it says, its table compiles, what it points to exists.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/checks/checks.inc

# block LANGUAGE: the first such block
block() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/{ /^\`\`\`/d; p; }" README.md | sed "${2:-}"; }

# Both compile lines are tried without optimising, which takes a quarter of the time: the Makefile has the same line, with it.
block c >"$work/hello.c"
cp asyncio.c asyncio.h "$work"
command=$(block sh | grep -m1 '^cc .*hello.c asyncio.c')
check "the compile line: $command" bash -c "cd '$work' && ${command/-O2/-O0}"
equal "the program's output" "$(block text)" "$(ASYNCIO_CLOCK=virtual "$work/hello" 2>&1)"

if pkg-config --exists openssl; then
  command=$(block sh | grep -m1 '^cc .*-DASYNCIO_TLS')
  check "the compile line with TLS: $command" bash -c "cd '$work' && ${command/-O2/-O0}"
  equal "the program's output with TLS built in" "$(block text)" "$(ASYNCIO_CLOCK=virtual "$work/hello" 2>&1)"
else
  echo "SKIPPED: the compile line with TLS, OpenSSL (Debian's libssl-dev) is not installed"
fi

# The table's right column, each cell in a block of its own. Definitions stay outside, `...` is any statement.
{
  echo '#include "asyncio.h"'
  echo 'async_decl(f); async_decl(g); async_decl(main_); async_decl(say, (double) delay, (const char *) what); async_gen_decl(agen);'
  cells=$(sed -n 's/^| `.*` | `\(.*\)`.* |$/\1/p' README.md | sed 's/\.\.\./;/g')
  echo "$cells" | grep '^async_def'
  echo 'async_def(all, (Task *) task, (Lock *) lock, (TaskGroup *) tg, (Queue *) q, (int) n) {'
  echo "$cells" | grep -v '^async_def\|^yield' | sed 's/.*/{ & }/'
  echo 'return None; }'
  echo 'async_gen(agen) { Value v = None; yield(v); return None; }'
} >"$work/table.c"
check "the table compiles" "${CC:-cc}" -std=gnu11 -fsyntax-only -Wno-unused -I. "$work/table.c"
check "the table has rows" [ "$(grep -c '^{' "$work/table.c")" -ge 12 ]

for page in README.md docs/*.md lessons/README.md; do
  while read -r target; do
    check "$page points to $target" [ -e "$(dirname "$page")/$target" ]
  done < <(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -v '^http' | sort -u)
done

while read -r target; do
  check "README.md speaks of make $target" grep -qE "^$target:" Makefile
done < <(grep -oE '(^    |`)(sudo )?make [a-z-]+' README.md | sed 's/.*make //' | sort -u)

finish
