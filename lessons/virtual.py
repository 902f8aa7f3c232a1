#!/usr/bin/env python3
"""Runs a lesson's Python twin under a virtual clock: python3 lessons/virtual.py lessons/05-gather/lesson.py

Sleeping then costs nothing and the order of equal timers never depends on how busy the machine is: what
ASYNCIO_CLOCK=virtual does for the C programs. For programs that wait only for timers and for each other.
"""
import asyncio
import runpy
import selectors
import sys


class JumpingSelector(selectors.DefaultSelector):
    """Nobody outside is expected to call: instead of waiting, move the clock on."""

    now = 0.0

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            if timeout is None:
                raise SystemExit("nothing can ever wake this loop")
            self.now += max(timeout, 0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self):
        return self.jumping.now


if __name__ == "__main__":
    asyncio.new_event_loop = asyncio.events.new_event_loop = VirtualLoop
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
