"""Lesson 16: how does a coroutine produce many values, one at a time, with pauses in between?"""
import asyncio


async def countdown(start):
    try:
        for i in range(start, 0, -1):
            await asyncio.sleep(0.1)
            yield i
    finally:
        print("  countdown is closed")


async def adder():
    total = 0
    while True:
        sent = yield total
        if sent is not None:
            total += sent


async def patient():
    i = 1
    while True:
        try:
            yield i
        except ValueError as e:
            print("  patient has caught:", e)
        i += 1


# The same as countdown(), by hand: an object with __anext__.
class Dice:
    def __init__(self, left):
        self.left = left

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.left == 0:
            raise StopAsyncIteration
        self.left -= 1
        await asyncio.sleep(0.1)
        return f"{self.left} left"


async def main():
    print("a generator")
    async for i in countdown(3):
        print("  ", i)

    print("left early")
    count = countdown(9)
    async for i in count:
        print("  ", i)
        if i == 8:
            break
    await count.aclose()

    print("one by one, until the end")
    count = countdown(1)
    print("  ", await anext(count))
    try:
        await anext(count)
    except StopAsyncIteration:
        print("  no more")

    print("values go in, too")
    sum_ = adder()
    await anext(sum_)
    await sum_.asend(10)
    print("  ", await sum_.asend(5))

    print("and exceptions")
    calm = patient()
    print("  ", await anext(calm))
    print("  ", await calm.athrow(ValueError("a complaint")))
    try:
        await calm.athrow(KeyError("too much"))
    except KeyError as e:
        print("  not caught there:", e)

    print("an iterator by hand")
    async for text in Dice(2):
        print("  ", text)

    print("comprehensions")
    print("  ", [i * i async for i in countdown(4)])
    print("  ", [i async for i in countdown(4) if i % 2 == 0])
    sleeps = [asyncio.sleep(0.1, "a"), asyncio.sleep(0.1, "b")]
    print("  ", [await a for a in sleeps])


asyncio.run(main())
