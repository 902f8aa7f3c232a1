"""Lesson 03: what is an event loop? No coroutine here, only functions that somebody calls."""
import asyncio

ticks = 0


def say(what):
    print("  ", what)


def twice(what):
    print("  ", what, "and it asks for one more call")
    loop.call_soon(say, "the call it asked for")


def clock_tick(what):
    global ticks
    ticks += 1
    print("  ", what, ticks)
    if ticks < 3:
        loop.call_later(0.2, clock_tick, what)
    else:
        loop.stop()


loop = asyncio.new_event_loop()

loop.call_later(0.3, say, "after 0.3 s")
loop.call_later(0.1, say, "after 0.1 s")
never = loop.call_at(loop.time() + 0.15, say, "never")
loop.call_soon(twice, "soon, first")
loop.call_soon(say, "soon, second")
loop.call_later(0.2, clock_tick, "tick")
never.cancel()

print("nothing has been called yet")
loop.run_forever()
print("stopped; was `never` cancelled?", never.cancelled())
loop.close()
