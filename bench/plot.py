"""Draws the results of bench/run as a picture, in SVG, without any library.

    plot.py RESULTS.json > PICTURE.svg

A row per operation, time to the right on a logarithmic scale: the bar is how far asyncio.c is from the first CPython, the number at its end
how many times; the tick is the limit. The echo servers come last, each row the processor time of a request.
"""
import json
import math
import sys
from xml.sax.saxutils import escape

import echo

COLOURS = {"asyncio.c": "#0072B2", "CPython": "#D55E00", "CPython 3.13": "#E69F00", "State Threads": "#009E73", "GNU Pth": "#CC79A7",
           "libuv": "#7A5195", "uvloop": "#56B4E9"}
INK, PALE, GRID, BAR = "#24292F", "#57606A", "#E6E9ED", "#E3EDF5"
LEFT, RIGHT, TOP, ROW, WIDTH = 290, 80, 118, 27, 960


def colour(name):
    if name.startswith("CPython"):
        return COLOURS["CPython 3.13" if name.startswith("CPython 3.13") else "CPython"]
    return COLOURS.get(name, PALE)


def text(x, y, words, size=13, anchor="start", fill=INK, weight="normal"):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="%s" font-weight="%s">%s</text>' % (x, y, size, anchor, fill, weight, escape(words))


def dot(x, y, name, radius=5.5):
    if name.startswith("CPython"):
        return '<rect x="%.1f" y="%.1f" width="10" height="10" rx="2" fill="%s"/>' % (x - 5, y - 5, colour(name))
    if name == "asyncio.c":
        return '<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>' % (x, y, radius, colour(name))
    return '<path d="M%.1f %.1fl5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="%s"/>' % (x, y - 5.5, colour(name))


def tick(x, y):
    return '<path d="M%.1f %.1fv14" stroke="%s" stroke-width="2.5" stroke-linecap="round"/>' % (x, y - 7, INK)


def nanoseconds(ns):
    return "%d ns" % ns if ns < 1000 else "%d µs" % (ns // 1000)


def legend(names, y):
    x, parts = 28, []
    for name in names:
        parts += [dot(x + 6, y - 4, name), text(x + 17, y, name, 12, fill=PALE)]
        x += 17 + 7.2 * len(name) + 20
    parts += [tick(x + 6, y - 4), text(x + 15, y, "limit", 12, fill=PALE)]
    return parts


def draw(results, names, more=()):
    """more: further rows like those of the operations, whose dots may have other names."""
    rows = results["operations"] + list(more)
    values = [ns for row in rows for ns in list(row["ns"].values()) + [row["limit"]] if ns]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    height = TOP + ROW * len(rows) + 58

    def across(ns):
        return LEFT + (math.log10(ns) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
             'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">' % (WIDTH, height, WIDTH, height),
             '<rect x="0.5" y="0.5" width="%d" height="%d" rx="10" fill="#FFFFFF" stroke="%s"/>' % (WIDTH - 1, height - 1, GRID),
             text(28, 38, "Time per operation", 20, weight="600"),
             text(28, 60, "Logarithmic: each line is ten times the one before. The number is how many times faster asyncio.c is than %s." % names[1], 13, fill=PALE)]
    every_name = names + [name for name in dict.fromkeys(name for row in more for name in row["ns"]) if name not in names]
    parts += legend(every_name, 88)
    bottom = TOP + ROW * len(rows)
    for exponent in range(low, high + 1):
        x = across(10 ** exponent)
        parts += ['<path d="M%.1f %dV%d" stroke="%s"/>' % (x, TOP - 8, bottom + 4, GRID),
                  text(x, bottom + 22, nanoseconds(10 ** exponent), 12, "middle", PALE)]
    for i, row in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        ours, other = row["ns"][names[0]], row["ns"].get(names[1])
        parts.append(text(LEFT - 16, y + 4.5, row["what"], 13, "end"))
        if other:
            a, b = sorted((across(ours), across(other)))
            parts += ['<rect x="%.1f" y="%.1f" width="%.1f" height="12" rx="6" fill="%s"/>' % (a - 6, y - 6, b - a + 12, BAR),
                      text(WIDTH - 24, y + 4.5, "%.0f ×" % (other / ours) if other / ours >= 10 else "%.1f ×" % (other / ours), 13, "end", weight="600")]
        if row["limit"]:
            parts.append(tick(across(row["limit"]), y))
        parts += [dot(across(row["ns"][name]), y, name) for name in reversed(every_name) if name in row["ns"]]
    parts.append(text(28, height - 16, "Processor time, medians of alternating rounds in one run of bench/run. %s" % results["machine"], 11, fill=PALE))
    return "\n".join(parts + ["</svg>"]) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        loaded = json.load(file)
    every = list(max(loaded["operations"], key=lambda row: len(row["ns"]))["ns"])
    sys.stdout.write(draw(loaded, every, echo.for_plot(loaded["echo"], every[1])))
