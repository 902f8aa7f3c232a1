"""Echo servers beside each other: 64 bytes to and fro over loopback, asked by one load generator (echo/load.c).

A part of bench/run. The servers take turns, several rounds long; each turn starts a server anew. A ratio is the median of the ratios of
the rounds, since what is near in time was disturbed alike.
"""
import os
import resource
import statistics
import subprocess

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "echo")
SELECT, STREAMS, PROTOCOL, UV = "bare select()", "asyncio.c", "asyncio.c protocol", "libuv"
CASES = [(50, 0), (500, 0), (2000, 0), (1, 1000), (50, 1000), (50, 5000)]       # active and idle connections
LIMIT_WANTED, PYTHON_WANTED, IDLE_WANTED = 0.9, 4, 100000
REQUESTS, MEDIAN, P99, PROCESSOR = range(4)                                    # what load prints


def title(case):
    active, idle = case
    return "%s active" % format(active, ",") + (" of %s" % format(active + idle, ",") if idle else "")


class Server:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.turns = {}

    def measure(self, load, case, seconds):
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        try:
            port = process.stdout.readline().strip()
            active, idle = case
            command = [load, port, str(process.pid), str(active), str(idle), str(seconds)]
            result = subprocess.run(command, capture_output=True, text=True, timeout=60 + 3 * seconds)
        finally:
            process.kill()
            process.wait()
        if result.returncode:
            raise SystemExit("bench: %s, %s: %s" % (self.name, title(case), result.stderr.strip()))
        self.turns.setdefault(case, []).append([float(word) for word in result.stdout.split()])

    def median(self, case, column):
        return statistics.median(turn[column] for turn in self.turns[case])

    def times(self, other, case):
        """How many times the requests of the other."""
        return statistics.median(a[REQUESTS] / b[REQUESTS] for a, b in zip(self.turns[case], other.turns[case]))


def has_uvloop(python):
    return subprocess.run([python, "-c", "import uvloop"], capture_output=True).returncode == 0


def servers(compile_program, python, python_name, note):
    """The load generator and the servers, those of asyncio.c and CPython first; None if the generator cannot be compiled."""
    load = compile_program("echo-load", ["bench/echo/load.c"], [])
    select = compile_program("echo-select", ["bench/echo/select.c"], [], "-U_FORTIFY_SOURCE")
    ours = compile_program("echo-ours", ["bench/echo/ours.c", "asyncio.c"], ["-lm", "-lpthread"])
    uv = compile_program("echo-uv", ["bench/echo/uv.c"], ["-luv"])
    if not (load and select and ours):
        return None, []
    script = [python, os.path.join(HERE, "python.py")]
    found = [Server(SELECT, [select]), Server(STREAMS, [ours, "streams"]), Server(PROTOCOL, [ours, "protocol"]),
             Server(python_name, script + ["streams"]), Server(python_name + " protocol", script + ["protocol"])]
    if has_uvloop(python):
        found += [Server("uvloop", script + ["streams", "uvloop"]), Server("uvloop protocol", script + ["protocol", "uvloop"])]
    else:
        note("uvloop is left out: %s does not find it" % python)
    if uv:
        found.append(Server(UV, [uv]))
    return load, found


def possible_cases(quick, note):
    """Those for which there are descriptors enough."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = [(50, 0), (50, 5000)] if quick else CASES
    cases = [case for case in wanted if hard == resource.RLIM_INFINITY or sum(case) + 50 <= hard]
    if cases != wanted:
        note("echo with more than %d connections is left out: a process may have no more descriptors" % (hard - 50))
    return cases


def measure(load, found, cases, quick, progress):
    rounds, seconds = (1, 0.2) if quick else (7, 0.3)
    for turn in range(rounds):
        for case in cases:
            for server in found:
                progress("round %d of %d: echo, %s: %s" % (turn + 1, rounds, title(case), server.name))
                server.measure(load, case, seconds)
    progress("")


def collect(found, cases):
    """By case and server: the medians, and how many times the requests of the bare select()."""
    select = found[0]
    return [{"what": title(case), "active": case[0], "idle": case[1],
             "servers": {server.name: {"requests": server.median(case, REQUESTS), "median": server.median(case, MEDIAN),
                                       "p99": server.median(case, P99), "processor": server.median(case, PROCESSOR),
                                       "of_select": server.times(select, case), "times": streams.times(server, case)}
                         for server in found}}
            for case in cases for streams in [next(server for server in found if server.name == STREAMS)]]


def print_results(rows):
    names = list(rows[0]["servers"])
    columns = [("requests/s", "requests", "%.0f"), ("of select()", "of_select", "%.2f"), ("median µs", "median", "%.0f"), ("p99 µs", "p99", "%.0f"),
               ("processor µs", "processor", "%.2f")]
    print("\nEcho: 64 bytes to and fro on loopback; processor time of the server for a request")
    for row in rows:
        print("  %-30s" % row["what"] + "".join("%14s" % title for title, _, _ in columns))
        for name in names:
            cells = [format(round(row["servers"][name][key]), ",") if key in ("requests", "p99", "median") else form % row["servers"][name][key]
                     for _, key, form in columns]
            print("    %-28s" % name + "".join("%14s" % cell for cell in cells))


def verdicts(rows, python_name):
    """(what, is, wanted, reached): streams against the others."""
    for row in rows:
        what, found = "echo, %s: " % row["what"], row["servers"]
        if row["idle"]:
            if (row["active"], row["idle"]) == (50, 5000):
                requests = found[STREAMS]["requests"]
                yield what + "requests per second", format(round(requests), ","), format(IDLE_WANTED, ","), requests >= IDLE_WANTED
            continue
        ratio = found[STREAMS]["of_select"]
        yield what + "of the bare select()", "%.2f ×" % ratio, "%.1f ×" % LIMIT_WANTED, ratio >= LIMIT_WANTED
        for other, wanted in ((python_name, PYTHON_WANTED), ("uvloop", 1), (UV, 1)):
            if other in found:
                ratio = found[other]["times"]
                yield what + "against " + other, "%.2f ×" % ratio, "%d ×" % wanted, ratio >= wanted


def for_plot(rows, python_name):
    """Rows like those of the operations: nanoseconds of processor time per request. The bare select() is the limit if all are active."""
    return [{"what": "echo, %s, per request" % row["what"], "limit": None if row["idle"] else row["servers"][SELECT]["processor"] * 1000,
             "ns": {name: row["servers"][name]["processor"] * 1000 for name in (STREAMS, python_name, "uvloop", UV) if name in row["servers"]}}
            for row in rows]
