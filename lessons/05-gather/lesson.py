"""Lesson 05: how do three coroutines run at the same time, and where do their results go?"""
import asyncio


async def speaker(name, pause):
    for i in range(1, 6):
        await asyncio.sleep(pause)
        print(f"{name}- line {i} of 5")
    return f"{name} has spoken"


async def main():
    results = await asyncio.gather(
        speaker("3", 0.33),
        speaker("1", 0.10),
        speaker("2", 0.23))
    print(results)


asyncio.run(main())
