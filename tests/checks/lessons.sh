#!/bin/bash
# What a lesson's README tells the reader to look for in the tracer (`/ text`) is there to be found, and so is what the course's
# README tells the teacher to go to. Each lesson is in the course's table, and what the index says to be told there is.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# All that the tracer says of the lesson, in one line.
sentences() {
  ASYNCIO_CLOCK=$(tools/lesson-clock "$1") ASYNCIO_TRACE=$work/trace.json "build/$1/lesson" </dev/null >/dev/null 2>&1
  build/tracer --text --source "$1" "$work/trace.json" | grep -v '^──' | tr '\n' ' ' | tr -s ' '
}

openssl_is_there() { { pkg-config --exists openssl && command -v openssl; } >/dev/null 2>&1; }

number_of() { basename "$1" | cut -d- -f1; }

expect() {
  local complaint=$1; shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "lessons/README.md: $complaint"; fi
}

# A row of the index: | `name`, `name` | 05 | 10, 28 |
while IFS='|' read -r _ names number _; do
  while IFS= read -r name; do
    expect "$name is not told in lesson ${number// /}" grep -rqF -- "$name" lessons/"${number// /}"-*
  done < <(grep -o '`[^`]*`' <<<"$names" | tr -d '`')
done < <(sed -n '/^## Where is/,/^## Files/p' lessons/README.md | grep '^| .*`')

for lesson in lessons/[0-9]*; do
  expect "$lesson is not in the table" grep -q "^| $(number_of "$lesson") | .*(${lesson#lessons/}/README.md)" lessons/README.md
  expect "$lesson has no moment for the projector" grep -q "^| $(number_of "$lesson") | \`/ " lessons/README.md
  if [[ $lesson == *-tls ]] && ! openssl_is_there; then echo "SKIPPED: $lesson, for which OpenSSL is needed"; continue; fi
  if [ ! -x "build/$lesson/lesson" ] || [ ! -x build/tracer ]; then echo "$lesson or the tracer was not built"; failed=$((failed + 1)); continue; fi
  said=$(sentences "$lesson")
  while IFS= read -r wanted; do
    if [[ $said == *"$wanted"* ]]; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "$lesson/README.md: no step says: $wanted"; fi
  done < <({ cat "$lesson/README.md"; grep "^| $(number_of "$lesson") | \`/ " lessons/README.md; } | grep -o '`/ [^`]*`' | sed 's/^`\/ //; s/`$//' | tr -s ' ' | sort -u)
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
