#!/bin/bash
# curl and wrk against examples/http_server.
exec python3 "${0%.sh}.py"
