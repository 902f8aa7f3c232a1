"""Lesson 19: what is at the bottom of every await? We build sleep() and Event ourselves."""
import asyncio


# ---- sleep, by hand: a future that a timer completes ----

def ring(future):
    future.set_result("slept")


async def my_sleep(seconds):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(seconds, ring, future)
    return await future


# ---- Event, by hand: a flag and a line of futures. Here it is a list: [flag, [future, ...]] ----

def my_event():
    return [False, []]


async def my_event_wait(event):
    if event[0]:
        return
    future = asyncio.get_running_loop().create_future()
    event[1].append(future)
    await future


def my_event_set(event):
    event[0] = True
    for future in event[1]:
        future.set_result(None)
    event[1].clear()


# ---- what a future can do ----

def tell(arg):
    return lambda future: print("  callback", arg, "sees", future.result())


async def guest(name, event):
    await my_event_wait(event)
    print(" ", name, "goes in")


def fail(future):
    future.set_exception(OSError("line is dead"))


async def main():
    loop = asyncio.get_running_loop()

    print("a sleep of our own")
    print(" ", await asyncio.gather(my_sleep(0.2), my_sleep(0.1)))

    print("an event of our own")
    event = my_event()
    anna = asyncio.create_task(guest("anna", event))
    bert = asyncio.create_task(guest("bert", event))
    await my_sleep(0.1)
    my_event_set(event)
    print("  set")
    await asyncio.gather(anna, bert)

    print("a future by itself")
    future = loop.create_future()
    future.add_done_callback(tell(1))
    future.add_done_callback(tell(2))
    print("  done?", future.done())
    future.set_result(42)
    print("  done?", future.done(), "- the callbacks have not run yet")
    print("  await gives", await future, "without suspending")
    await asyncio.sleep(0)

    try:
        future.set_result(43)
    except asyncio.InvalidStateError:
        print("  only once: InvalidStateError")

    print("it can fail, and it can be cancelled")
    future = loop.create_future()
    loop.call_soon(fail, future)
    try:
        await future
    except OSError as e:
        print("  failed:", e)
    future = loop.create_future()
    future.cancel()
    print("  cancelled?", future.cancelled())

    print("whatever can be awaited becomes a future")
    coro = my_sleep(0.1)
    print("  coroutine?", asyncio.iscoroutine(coro), "future?", asyncio.isfuture(coro))
    future = asyncio.ensure_future(coro)
    print("  coroutine?", asyncio.iscoroutine(future), "future?", asyncio.isfuture(future))
    print("  a second time it stays what it is:", asyncio.ensure_future(future) is future)
    callback = tell(3)
    future.add_done_callback(callback)
    print("  callbacks taken back:", future.remove_done_callback(callback))
    print(" ", await future, "- its exception:", future.exception(), "- its loop is this one:", future.get_loop() is loop)


asyncio.run(main())
