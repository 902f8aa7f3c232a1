"""Lesson 22: a function blocks. How does the loop go on meanwhile, and how does a thread reach it?"""
import asyncio
import contextvars
import os
import threading

ends = os.pipe()  # who reads from it blocks until somebody has written
user = contextvars.ContextVar("user", default="nobody")


def read_blocking(fd):
    return os.read(fd, 100)


def write_text(text):
    os.write(ends[1], text)


async def tick():
    for i in range(1, 4):
        await asyncio.sleep(0.1)
        print("  tick", i)
    write_text(b"done")
    return "ticked"


def fail(what):
    raise ValueError(f"no such {what}")


def who_am_i():
    name = user.get()
    user.set("nobody")
    return name


def deliver(item):
    news.put_nowait(item)


def report(last):
    for i in range(1, last + 1):
        loop.call_soon_threadsafe(deliver, i)
    return "all reported"


async def multiply(a, b):
    await asyncio.sleep(0.1)
    here = threading.current_thread() is loop_thread
    print("  multiply() runs in the loop's thread:", here)
    return a * b


def ask_the_loop():
    here = threading.current_thread() is loop_thread
    print("  ask_the_loop() runs in the loop's thread:", here)
    answer = asyncio.run_coroutine_threadsafe(multiply(6, 7), loop)
    return answer.result()  # blocks this thread, not the loop


async def main():
    global loop, loop_thread, news
    loop = asyncio.get_running_loop()
    loop_thread = threading.current_thread()

    print("a thread blocks, the loop goes on")
    both = await asyncio.gather(asyncio.to_thread(read_blocking, ends[0]), tick())
    print(" ", both)

    print("what the function raises arrives at the await")
    try:
        await asyncio.to_thread(fail, "file")
    except ValueError as e:
        print("  ValueError:", e)

    print("context variables go along, as a copy")
    user.set("anna")
    print("  in the thread:", await asyncio.to_thread(who_am_i), "- afterwards here:", user.get())

    print("from a thread into the loop: call_soon_threadsafe")
    news = asyncio.Queue()
    reporter = asyncio.create_task(asyncio.to_thread(report, 3))
    for _ in range(3):
        print("  news", await news.get())
    print(" ", await reporter)

    print("from a thread into a coroutine: run_coroutine_threadsafe")
    print("  answer:", await asyncio.to_thread(ask_the_loop))

    print("a timeout ends the waiting, not the thread")
    try:
        await asyncio.wait_for(asyncio.to_thread(read_blocking, ends[0]), 0.2)
    except TimeoutError:
        print("  time is up, and the thread still reads")
    write_text(b"over")


asyncio.run(main())
print("asyncio_run has waited for the thread")
