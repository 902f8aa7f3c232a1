#!/bin/bash
# What a lesson's README tells the reader to look for in the tracer (`/ text`) is there to be found.
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

for lesson in lessons/[0-9]*; do
  if [[ $lesson == *-tls ]] && ! openssl_is_there; then echo "SKIPPED: $lesson, for which OpenSSL is needed"; continue; fi
  if [ ! -x "build/$lesson/lesson" ] || [ ! -x build/tracer ]; then echo "$lesson or the tracer was not built"; failed=$((failed + 1)); continue; fi
  said=$(sentences "$lesson")
  while IFS= read -r wanted; do
    if [[ $said == *"$wanted"* ]]; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "$lesson/README.md: no step says: $wanted"; fi
  done < <(grep -o '`/ [^`]*`' "$lesson/README.md" | sed 's/^`\/ //; s/`$//' | tr -s ' ' | sort -u)
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
