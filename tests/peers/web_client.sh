#!/bin/bash
# examples/crawler against nginx.
exec python3 "${0%.sh}.py"
