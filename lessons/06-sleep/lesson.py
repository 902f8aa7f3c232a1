"""Lesson 06: what does sleep promise, and what does one greedy task do to the others?"""
import asyncio

start = 0


def seconds():
    return asyncio.get_running_loop().time() - start


async def alarm(delay):
    await asyncio.sleep(delay)
    print(f"{seconds():.1f}  alarm set for {delay:.1f}")


async def counter(name, polite):
    for i in range(1, 4):
        print(name, i)
        if polite:
            await asyncio.sleep(0)


async def main():
    global start
    start = asyncio.get_running_loop().time()

    print("alarms ring by time, not by creation")
    await asyncio.gather(alarm(0.3), alarm(0.1), alarm(0.2))

    print("greedy")
    await asyncio.gather(counter("a", False), counter("b", False))
    print("polite")
    await asyncio.gather(counter("a", True), counter("b", True))

    print("sleep gives back a result:", await asyncio.sleep(0.1, result="good morning"))

    print("a task that never awaits")
    alarm_task = asyncio.create_task(alarm(0.1))
    await asyncio.sleep(0)
    squares = []
    for i in range(1, 6):
        squares.append(i * i)
    print("computed", squares, "- has the alarm rung?", alarm_task.done())
    await alarm_task


asyncio.run(main())
