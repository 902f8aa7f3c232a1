#!/bin/bash
# What must not compile does not; the compiler's message names the trouble, and does not bury it.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/checks/checks.inc

# compile COMPILER STATEMENTS: as the body of a coroutine
compile() {
  cat >"$work/refused.c" <<C
#include "asyncio.h"
struct Point { int x, y; };
async_def(child, (double) delay, (const char *) what) { await(asyncio_sleep(delay)); print(what); return None; }
async_def(main_)
{
    struct Point point = {1, 2};
    (void)point;
    $2
    return None;
}
int main(void) { asyncio_run(main_()); }
C
  "$1" -std=gnu11 -Wall -Wextra -c -o /dev/null -I. "$work/refused.c" 2>&1
}

# refused STATEMENTS WORDS: an error with these words in its text, in at most 120 lines
refused() {
  local said compiler
  for compiler in "${compilers[@]}"; do
    if said=$(compile "$compiler" "$1"); then fail "$compiler compiles: $1"; continue; fi
    if grep -E 'error: ' <<<"$said" | grep -qE "$2"; then pass; else fail "$compiler does not say $2 of: $1"; head -20 <<<"$said"; fi
    check "$compiler says it in few lines: $1" [ "$(wc -l <<<"$said")" -le 120 ]
  done
}

# refused_as_parameter DEFINITION WORDS: a coroutine at file level. What follows from the first error may be long.
refused_as_parameter() {
  local compiler
  for compiler in "${compilers[@]}"; do
    contains "$compiler says it first of: $1" "$2" "$(printf '#include "asyncio.h"\n%s\n' "$1" | "$compiler" -std=gnu11 -fsyntax-only -I. -x c - 2>&1 | grep -m1 error:)"
  done
}

# warned STATEMENTS WORDS: compiles, as pointers do in C, with a warning
warned() {
  local compiler
  for compiler in "${compilers[@]}"; do contains "$compiler warns of: $1" "$2" "$(compile "$compiler" "$1" | grep -E 'warning: |error: |note: expected')"; done
}

compilers=("${CC:-cc}")
for compiler in gcc clang; do command -v $compiler >/dev/null && compilers+=($compiler); done
children() { for ((i = 1; i < $1; i++)); do printf 'child(%d, "a"), ' $i; done; printf 'child(0, "a")'; }

for compiler in "${compilers[@]}"; do
  equal "$compiler accepts what is right" '' "$(compile "$compiler" "await(child(1, \"a\")); print(point.x, 2.5); await(asyncio_gather($(children 24))); asyncio_Queue(3);")"
done

refused "await(asyncio_gather($(children 25)));" too_many_arguments_use_asyncio_gather_list
refused 'await(child("a", "b"));' "'?‘?char ?\[2\]|argument 1"
refused 'await(child(1));' 'too few arguments'
refused 'await(child(1, "a", 2));' 'too many arguments'
refused 'print("a", point);' 'struct Point'
refused 'Value all = list(1, 2, point);' 'struct Point'
refused 'await(3);' "'int'|‘int’"
refused 'await(asyncio_wait_for(child(1, "a"), "soon"));' 'timeout_of_number|char ?\[5\]'
refused 'Queue *queue = asyncio_Queue(.size = 3);' "size.*QueueOptions|QueueOptions.*size"
refused 'loop_call_soon(asyncio_get_running_loop(), NULL, .arg = 5);' 'braces'
refused 'loop_call_soon(asyncio_get_running_loop(), NULL, 0);' 'braces'
refused 'try { print(1); } except (ValueError) { print(2); }' end_try_is_missing
refused 'try { print(1); } finally { print(2); }' end_try_is_missing
refused 'try { print(1); } except (ValueError) { print(2); } end_with' end_try_is_missing
refused 'async_with (asyncio_Lock()) { print(1); }' end_with_is_missing
refused 'async_with (asyncio_Lock()) { print(1); } end_try' end_with_is_missing
refused 'await(asyncio_wait_for(child(1, "a"), .timeout = 1));' 'in its place, without a name'
refused 'async_with (asyncio_timeout(.delay = 1)) { print(1); } end_with' 'in its place, without a name'
refused 'try { print(1); } except (ValueError, TypeError) { print(2); } end_try' 'two classes are except_any'
refused_as_parameter 'async_def(f, double delay) { return None; }' 'a parameter is written (type) name'
refused_as_parameter 'async_def(f, (double delay)) { return None; }' 'a parameter is written (type) name'
refused_as_parameter 'async_def(f, void) { return None; }' 'a parameter is written (type) name'
warned 'child(1, "a");' 'gnoring return value of '
warned 'asyncio_sleep(1);' 'gnoring return value of '
warned 'queue_put(asyncio_Queue(), 1);' 'gnoring return value of '
warned 'asyncio_create_task(3);' 'Coroutine'
warned 'lock_acquire(asyncio_Event());' 'Lock'
finish
