#!/bin/bash
# docs/CONFORMANCE.md: every row has a C name that exists and a test that exists.
cd "$(dirname "$0")/../.." || exit 1
command -v python3 >/dev/null || { echo "SKIPPED: there is no python3"; echo "0 passed, 0 failed"; exit 0; }
exec python3 tests/checks/conformance.py
