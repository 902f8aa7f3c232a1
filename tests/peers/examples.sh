#!/bin/bash
# Every program in examples/ does what its first lines say, and ends by Ctrl-C as a Python program does.
exec python3 "${0%.sh}.py"
