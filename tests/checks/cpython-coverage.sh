#!/bin/bash
# No test of CPython's is forgotten: each is a test here or on the list of what was left out.
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; echo "0 passed, 0 failed"; exit; }
exec python3 "$(dirname "$0")/cpython-coverage.py"
