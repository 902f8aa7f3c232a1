#!/usr/bin/env python3
"""Makes docs/CONFORMANCE.md of tests/conformance.tsv, and checks it.

    tests/checks/conformance.py            checks: every C name is in asyncio.h, every test in the tests, no row that has to be
                                           there is missing, the page up to date
    tests/checks/conformance.py --write    writes the page first

Ends with "N passed, N failed", one for each row, one for each that has to be there, and one for the page.
"""
import functools
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
table = root / "tests" / "conformance.tsv"
page = root / "docs" / "CONFORMANCE.md"

header_names = set(re.findall(r"\w+", (root / "asyncio.h").read_text()))

introduction = """# Conformance

What of Python's asyncio there is here, under which name in C, and which tests prove it. The behaviour is that of CPython 3.13,
with a few things of 3.14. Tests in `cpython/` are CPython's own, under their own names, written anew in C.

This page is made of `tests/conformance.tsv` by `tests/checks/conformance.py --write`; the test suite checks that every name and
every test in it exists.
"""


# The numbered rows, but for the argument loop= (102, 114, 159), which Python has given up; the rules; and what the chapters have to name.
numbers = [str(n) for n in range(1, 159) if n not in (102, 114)] + [f"rule {n}" for n in range(1, 41)]
named = {
    "Streams, beyond the basics": """read(n) readexactly readuntil at_eof async_for writelines write_eof can_write_eof is_closing
        get_extra_info transport IncompleteReadError LimitOverrunError open_unix_connection start_unix_server cleanup_socket= feed_data
        feed_eof set_exception exception set_transport happy_eyeballs_delay interleave all_errors keep_alive""",
    "Servers": "close wait_closed is_serving start_serving serve_forever sockets get_loop async_with close_clients abort_clients",
    "Subprocesses, beyond the basics": "kill send_signal pid stdin stdout stderr DEVNULL STDOUT limit= cwd env start_new_session",
    "The loop and the world outside": """sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect
        sock_accept sock_sendfile sendfile SendfileNotAvailableError add_signal_handler remove_signal_handler getaddrinfo getnameinfo
        create_connection create_server connect_accepted_socket create_unix_connection create_unix_server create_datagram_endpoint
        reuse_port allow_broadcast connect_read_pipe connect_write_pipe wrap_future""",
    "Transports and protocols": """close is_closing get_extra_info set_protocol get_protocol abort is_reading pause_reading resume_reading
        write writelines write_eof can_write_eof get_write_buffer_size get_write_buffer_limits set_write_buffer_limits connection_made
        connection_lost data_received eof_received pause_writing resume_writing get_buffer buffer_updated datagram_received error_received""",
}


@functools.cache
def tests_in(file):
    """The names of the tests in a file of tests/: TEST(name), ASYNC_TEST(name) and the like."""
    path = root / "tests" / file
    text = path.read_text() if path.exists() else ""
    return set(re.findall(r"^\w*TEST\w*\((\w+)", text, re.MULTILINE))


def read_rows():
    for number, line in enumerate(table.read_text().splitlines(), 1):
        if line.startswith("# ") or not line:
            continue
        fields = line.split("\t")
        yield number, fields


def problems_of(fields):
    if len(fields) != 4 or not all(fields):
        return ["needs four columns: number, what it is, C names, tests"]
    problems = [f"{name} is not in asyncio.h" for name in fields[2].split() if name not in header_names]
    for test in fields[3].split():
        file, _, name = test.partition(":")
        if name not in tests_in(file):
            problems.append(f"there is no test {name} in tests/{file}")
    return problems


def words_of(text):
    return set(re.findall(r"[\w()=]+", text))


def missing_in(rows):
    """What has to be there and is not, and how many were looked for."""
    chapter, words, numbered = None, {}, set()
    for _, fields in rows:
        if fields[0] == "#":
            chapter = fields[1]
            continue
        numbered.add(fields[0])
        words.setdefault(chapter, set()).update(words_of(" ".join(fields[1:3])))
    missing = [f"there is no row {number}" for number in numbers if number not in numbered]
    for chapter, names in named.items():
        missing += [f"{chapter}: {name} is not named" for name in names.split() if name not in words.get(chapter, ())]
    return missing, len(numbers) + sum(len(names.split()) for names in named.values())


def cell(text):
    return text.replace("|", "\\|").replace("*", "\\*")


def make_page(rows):
    lines = [introduction]
    for _, fields in rows:
        if fields[0] == "#":
            lines += ["", f"## {fields[1]}", "", "| | Python | C | Tests |", "|---|---|---|---|"]
            continue
        names = " ".join(f"`{name}`" for name in fields[2].split())
        tests = "<br>".join(f"{file}: {name}" for file, _, name in (test.partition(":") for test in fields[3].split()))
        lines.append(f"| {fields[0]} | {cell(fields[1])} | {names} | {tests} |")
    return "\n".join(lines) + "\n"


def main():
    rows = list(read_rows())
    passed = failed = 0
    for number, fields in rows:
        if fields[0] == "#":
            continue
        problems = problems_of(fields)
        for problem in problems:
            print(f"{table.relative_to(root)}:{number}: {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)

    missing, looked_for = missing_in(rows)
    for problem in missing:
        print(f"{table.relative_to(root)}: {problem}")
    passed, failed = passed + looked_for - len(missing), failed + len(missing)

    text = make_page(rows)
    if "--write" in sys.argv[1:]:
        page.write_text(text)
    if page.exists() and page.read_text() == text:
        passed += 1
    else:
        failed += 1
        print(f"{page.relative_to(root)} is not up to date: run tests/checks/conformance.py --write")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
