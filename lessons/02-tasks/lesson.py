"""Lesson 02: await is a call. What makes things run at the same time?"""
import asyncio

start = 0


def seconds():
    return asyncio.get_running_loop().time() - start


async def boil(what, minutes):
    print(f"{seconds():.1f}  {what}: on")
    await asyncio.sleep(minutes)
    print(f"{seconds():.1f}  {what}: done")
    return what


async def main():
    global start
    start = asyncio.get_running_loop().time()

    print("one after the other")
    await boil("eggs", 0.2)
    await boil("tea", 0.3)

    print("at the same time")
    eggs = asyncio.create_task(boil("eggs", 0.2), name="eggs")
    tea = asyncio.create_task(boil("tea", 0.3), name="tea")
    print(f"{seconds():.1f}  two tasks exist, neither has begun")
    print("first", await eggs)
    print("then", await tea)

    print("is tea done?", tea.done(), "its result:", tea.result())
    print(f"{seconds():.1f}  finished")


asyncio.run(main())
