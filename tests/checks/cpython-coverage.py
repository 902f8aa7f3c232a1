#!/usr/bin/env python3
"""Is every method of CPython 3.13's tests of asyncio either a test in C or on the list of what was left out?

tests/cpython/methods-3.13*.txt   CPython's methods, one to a line: file.Class.method
tests/cpython/test_*.c            the tests: Class__method, in the C file of the same name, NAME_io.c or NAME_tls.c
tests/cpython/LEFT-OUT*.md        what was left out: lines `file.Class.method: code: reason`

    tests/checks/cpython-coverage.py                    prints what is missing; the last line is `N passed, N failed`
    tests/checks/cpython-coverage.py --methods DIR      prints methods-3.13.txt anew, DIR being CPython's Lib/test/test_asyncio
"""
import ast
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent / "cpython"
FILES = ("test_base_events test_context test_eager_task_factory test_events test_futures test_futures2 test_locks "
         "test_pep492 test_queues test_runners test_sendfile test_server test_sock_lowlevel test_streams test_taskgroups "
         "test_tasks test_timeouts test_waitfor").split()


def methods_of(source, file):
    """The test methods of a module's classes, also of those inside an if."""
    def functions(statements):
        for node in statements:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name
            elif isinstance(node, ast.If):
                yield from functions(node.body + node.orelse)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            for name in functions(node.body):
                if name.startswith("test"):
                    yield f"{file}.{node.name}.{name}"


def carried_over():
    for path in sorted(HERE.glob("test_*.c")):
        text, file = path.read_text(), path.stem.removesuffix("_io").removesuffix("_tls")
        for name in re.findall(r"^[A-Z_]*TEST\((\w+)[,)]", text, re.M):
            cls, separator, method = name.partition("__test")
            if separator:
                yield f"{file}.{cls}.test{method}"
        # A mixin's method, for each of the classes that CPython mixes it into.
        for group, method in re.findall(r"^FOR_EACH_QUEUE\w*\((\w+)s, (test_\w+)", text, re.M):
            yield f"{file}._Queue{group}Mixin.{method}"


def left_out():
    for path in sorted(HERE.glob("LEFT-OUT*.md")):
        yield from re.findall(r"^(test_\w+\.\w+\.\w+): \S+: \S", path.read_text(), re.M)


def main():
    if sys.argv[1:2] == ["--methods"]:
        for file in FILES:
            print(*methods_of((pathlib.Path(sys.argv[2]) / f"{file}.py").read_text(), file), sep="\n")
        return 0
    methods = [name for path in sorted(HERE.glob("methods-3.13*.txt")) for name in path.read_text().split()]
    tests, out = set(carried_over()), set(left_out())
    problems = [f"{name}: neither a test nor left out" for name in methods if name not in tests and name not in out]
    problems += [f"{name}: left out, though there is a test" for name in sorted(tests & out)]
    problems += [f"{name}: a test, but CPython has no such method" for name in sorted(tests - set(methods))]
    for problem in problems:
        print(problem)
    if "-v" in sys.argv:
        print(f"{len(methods)} methods: {len(tests)} carried over, {len(out)} left out")
    print(f"{len(set(methods)) - len(problems)} passed, {len(problems)} failed")
    return bool(problems)


sys.exit(main())
