"""Lesson 31: whose threads are these, how many are there, and who waits for one? An executor."""
import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

gate = os.pipe()  # who reads from it blocks until somebody has written


def deliver(item):
    news.put_nowait(item)


def square(n):
    return n * n


def square_behind_the_gate(n):
    os.read(gate[0], 1)
    return square(n)


def told_square(n):
    loop.call_soon_threadsafe(deliver, "begun")
    return square_behind_the_gate(n)


def open_gate(for_each):
    for byte in for_each:
        os.write(gate[1], byte.encode())


async def two_threads(pool):
    calls = [loop.run_in_executor(pool, told_square, i + 1) for i in range(4)]
    print(" ", await news.get(), "and", await news.get(), "- and the other two?", news.qsize())

    print("  the first, cancelled:", calls[0].cancel(), "- the last, cancelled:", calls[3].cancel())
    open_gate("!")
    print(" ", await news.get(), "- a thread was free again")
    open_gate("!!")
    print("  results:", await asyncio.gather(calls[1], calls[2]))
    print("  begun after that:", news.qsize(), "- the last one never ran")


# Something that must not meet two threads at once, nor change from one to the other: many a database is like that.

def open_database(name):
    global owner
    owner = threading.current_thread()
    return f"{name} is open"


def query(what):
    same = owner is threading.current_thread()
    return what, same


async def one_thread():
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
    print(" ", await asyncio.to_thread(open_database, "database"))
    print("  in the thread that opened it:", await asyncio.gather(asyncio.to_thread(query, "anna"),
                                                                  asyncio.to_thread(query, "bert")))
    print("  and here:", query("cora"))


def fail(n):
    raise ValueError(f"{n} has no root")


async def both_kinds(pool):
    there = pool.submit(square, 8)
    print("  awaited:", await asyncio.wrap_future(there))
    try:
        await asyncio.wrap_future(pool.submit(fail, -1))
    except ValueError as e:
        print("  awaited:", repr(e))


async def main(pool):
    global loop, news
    loop = asyncio.get_running_loop()
    news = asyncio.Queue()

    print("two threads, four calls")
    await two_threads(pool)
    print("one thread, for what belongs to a thread")
    await one_thread()
    print("from one kind of future to the other")
    await both_kinds(pool)


pool = ThreadPoolExecutor(max_workers=2)
print("without any loop")
answer = pool.submit(square, 7)
print("  waited for:", answer.result(), "- done:", answer.done())
asyncio.run(main(pool))

print("shut down")
pool.submit(square_behind_the_gate, 5)
open_gate("!")
pool.shutdown()
print("  it has waited for what was begun")
try:
    pool.submit(square, 9)
except RuntimeError as e:
    print(" ", e)
