"""CPython's asyncio streams and ours, each as server and as client of the other: megabytes, half-closed connections, many at once."""
import sys

from peers import Program, UNDER, equal, finish, run

OURS, PYTHONS = ["build/tests/peers/echo"], [sys.executable, "tests/peers/echo.py"]
LOADS = [(1, 0), (1, 1), (3, 2_000_000), (200, 3000)]


def meet(server_side, client_side, what):
    server = Program(*server_side, "serve")
    for count, size in LOADS:
        got = run(*client_side, "visit", server.port, count, size)
        equal(f"{what}: {count} connections of {size} bytes", (f"{count} connections\n".encode(), 0), got)
    out, err, status = server.interrupt()
    equal(f"{what}: how the server ends", ("", "", 0), (out, err, status))


meet(PYTHONS, UNDER + OURS, "our client, Python's server")
meet(OURS, PYTHONS, "Python's client, our server")
meet(OURS, UNDER + OURS, "our client, our server")
finish()
