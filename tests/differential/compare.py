#!/usr/bin/env python3
"""Runs scenarios in C and in this Python, which must be CPython 3.13, compares their logs, and shrinks what disagrees.

tests/differential/run calls this. A disagreement is printed as a scenario, with both logs side by side, and as a C program
and a Python program that do the same.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

import translate

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORDED = 10_000
BATCH = 500


class Interpreter:
    """One of the two: runs scenarios in batches, and says what each of them logged."""

    def __init__(self, command):
        self.command = command

    def logs(self, scenarios):
        logs = {}
        names = [name_of(text) for text in scenarios]
        while scenarios:
            ended = subprocess.run(self.command, input="\n".join(scenarios), capture_output=True, text=True, errors="replace")
            logs |= split_logs(ended.stdout)
            done = sum(name in logs for name in names)
            if ended.returncode == 0:
                break
            broken = names[min(done, len(names) - 1)] if done < len(names) else names[-1]
            logs[broken] = f"ended with status {ended.returncode}: {ended.stderr.strip()[-600:]}\n"
            scenarios, names = scenarios[done + 1:], names[done + 1:]
        return logs


def name_of(scenario):
    return scenario.split(maxsplit=2)[1].rstrip(")")


def split_logs(text):
    logs = {}
    for part in text.split("# ")[1:]:
        name, _, log = part.partition("\n")
        logs[name] = log
    return logs


# ---- Shrinking ---------------------------------------------------------------------------------------------------------

def write(node):
    return node if isinstance(node, str) else "(" + " ".join(map(write, node)) + ")"


def parse(text):
    stack = [[]]
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return stack[0]


BODY_AT = {"with": 2, "timeout": 3, "timeoutat": 3, "group": 2, "manage": 2, "for": 3}
BODIES_AT = {"try": (2, 3), "trystar": (2, 3), "finally": (1, 2)}


def blocks_of(node, path=()):
    """Where lists of operations stand: a path to the list, and the index at which they begin."""
    if not isinstance(node, list) or not node:
        return
    head = node[0] if isinstance(node[0], str) else ""
    if head[:1] == "f" and head[1:].isdigit():
        yield path, 1
    elif head[:1] == "g" and head[1:].isdigit():
        yield (*path, 1), 0
        yield (*path, 2), 0
    elif head in BODY_AT:
        yield path, BODY_AT[head]
    elif head in BODIES_AT:
        for at in BODIES_AT[head]:
            yield (*path, at), 0
    elif head == "gather":
        yield path, 2
    elif head in ("wait", "completed", "acompleted"):
        yield path, 3 if head == "wait" else 2
    for index, child in enumerate(node):
        yield from blocks_of(child, (*path, index))


def at(tree, path):
    for index in path:
        tree = tree[index]
    return tree


def copy(node):
    return node if isinstance(node, str) else [copy(child) for child in node]


def smaller(tree):
    """Every scenario that lacks one operation, or has one instead of the block around it."""
    for path, first in list(blocks_of(tree)):
        items = at(tree, path)
        for size in (8, 4, 2, 1):
            for index in range(first, len(items) - size + 1, size):
                shorter = copy(tree)
                del at(shorter, path)[index:index + size]
                yield shorter
        for index in range(first, len(items)):
            child = items[index]
            if isinstance(child, list) and child and (child[0] in BODY_AT or child[0] in BODIES_AT):
                inner = child[BODY_AT[child[0]]:] if child[0] in BODY_AT else [op for i in BODIES_AT[child[0]] for op in child[i] if op != ["reraise"]]
                flatter = copy(tree)
                at(flatter, path)[index:index + 1] = copy(inner)
                yield flatter
    for index in range(len(tree) - 1, 2, -1):
        name = tree[index][0]
        if f" {name})" not in write(tree) and f" {name} " not in write(tree):
            yield tree[:index] + tree[index + 1:]


def shrink(scenario, ours, theirs, seconds=60):
    """The smallest scenario found that still disagrees."""
    end = time.monotonic() + seconds
    tree = parse(scenario)[0]
    again = True
    while again and time.monotonic() < end:
        again = False
        candidates = list(smaller(tree))
        for number, candidate in enumerate(candidates):
            candidate[1] = str(number)
        texts = [write(candidate) for candidate in candidates]
        our_logs, their_logs = ours.logs(texts), theirs.logs(texts)
        differing = [i for i in range(len(texts)) if our_logs.get(str(i)) != their_logs.get(str(i))]
        if differing:
            tree = min((candidates[i] for i in differing), key=lambda candidate: len(write(candidate)))
            again = True
    tree[1] = name_of(scenario)
    return write(tree)


# ---- What the user sees ------------------------------------------------------------------------------------------------

def side_by_side(ours, theirs):
    """Both logs, without the long tail of the final states that agree."""
    ours, theirs = ours.splitlines(), theirs.splitlines()
    same = 0
    while same < min(len(ours), len(theirs)) and ours[-1 - same] == theirs[-1 - same]:
        same += 1
    ours, theirs = ours[:len(ours) - same], theirs[:len(theirs) - same]
    width = max([len(line) for line in ours] + [20])
    lines = [f"  {'C':{width}}     CPython"]
    for i in range(max(len(ours), len(theirs))):
        left, right = (log[i] if i < len(log) else "" for log in (ours, theirs))
        lines.append(f"  {left:{width}}  {' ' if left == right else '|'}  {right}")
    return "\n".join(lines)


def report(scenario, ours, theirs):
    small = shrink(scenario, ours, theirs)
    name = name_of(small)
    print(f"\n=== scenario {name} disagrees; shrunk:\n{small}\n")
    print(side_by_side(ours.logs([small])[name], theirs.logs([small])[name]))
    print("\n--- as a C program\n" + translate.to_c(parse(small)[0]))
    print("\n--- as a Python program\n" + translate.to_python(parse(small)[0]))


def scenarios_of(ours, first, last):
    return subprocess.run([*ours.command, "-s", str(first), str(last)], capture_output=True, text=True, check=True).stdout.splitlines()


def compare(scenarios, ours, theirs, show):
    failed = 0
    for start in range(0, len(scenarios), BATCH):
        batch = scenarios[start:start + BATCH]
        our_logs, their_logs = ours.logs(batch), theirs.logs(batch)
        for scenario in batch:
            name = name_of(scenario)
            if our_logs.get(name, "missing in C") != their_logs.get(name, "missing in Python"):
                failed += 1
                if failed <= show:
                    report(scenario, ours, theirs)
                else:
                    print(f"scenario {name} disagrees")
    return len(scenarios) - failed, failed


def corpus():
    lines = (HERE / "corpus.txt").read_text().splitlines()
    return [line for line in lines if line.startswith("(")]


def record(ours, theirs):
    """expected.txt: ten digests of CPython's logs per line for the seeds, then a line for each scenario of the corpus."""
    names, found = [], {}
    scenarios = scenarios_of(ours, 1, RECORDED) + corpus()
    for start in range(0, len(scenarios), BATCH):
        text = "\n".join(scenarios[start:start + BATCH])
        out = subprocess.run([*theirs.command, "-d"], input=text, capture_output=True, text=True, check=True).stdout
        found |= dict(line.split() for line in out.splitlines())
    with open(HERE / "expected.txt", "w") as file:
        for first in range(1, RECORDED + 1, 10):
            print(*(found[str(seed)] for seed in range(first, first + 10)), file=file)
        for scenario in corpus():
            print(name_of(scenario), found[name_of(scenario)], file=file)
    print(f"{len(found)} recorded")


def compare_seeds(first, last, ours, theirs, show):
    passed = failed = 0
    for start in range(first, last + 1, BATCH * 10):
        scenarios = scenarios_of(ours, start, min(last, start + BATCH * 10 - 1))
        good, bad = compare(scenarios, ours, theirs, max(0, show - failed))
        passed, failed = passed + good, failed + bad
    return passed, failed


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", metavar="A-B", help="compare the scenarios of these seeds")
    options.add_argument("--count", type=int, help="compare so many new ones")
    options.add_argument("--file", help="compare the scenarios in a file")
    options.add_argument("--record", action="store_true", help="write expected.txt anew")
    options.add_argument("--show", type=int, default=3, help="how many disagreements to shrink and print (3)")
    options.add_argument("--binary", required=True, help="interpreter.c, built")
    given = options.parse_args()
    ours, theirs = Interpreter([given.binary]), Interpreter([sys.executable, str(HERE / "interpreter.py")])
    if given.record:
        record(ours, theirs)
        return
    if given.file:
        lines = Path(given.file).read_text().splitlines()
        passed, failed = compare([line for line in lines if line.startswith("(")], ours, theirs, given.show)
    else:
        first = int(time.time()) * 1000
        last = first + (given.count or 1000) - 1
        if given.seeds:
            first, last = map(int, given.seeds.split("-"))
        else:
            print(f"seeds {first}-{last}")
        passed, failed = compare_seeds(first, last, ours, theirs, given.show)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
