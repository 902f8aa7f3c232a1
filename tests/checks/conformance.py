#!/usr/bin/env python3
"""Makes docs/CONFORMANCE.md of tests/conformance.tsv, and checks it.

    tests/checks/conformance.py            checks: every C name is in asyncio.h, every test in the tests, the page up to date
    tests/checks/conformance.py --write    writes the page first

Ends with "N passed, N failed", one for each row and one for the page.
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
