#!/bin/bash
# CPython's asyncio streams and ours, both ways.
exec python3 "${0%.sh}.py"
