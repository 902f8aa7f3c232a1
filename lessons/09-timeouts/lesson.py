"""Lesson 09: what happens to a task whose time is up, and to one that makes it?"""
import asyncio


async def download(what, seconds):
    try:
        print(f"{what}: started, needs {seconds:.1f} s")
        await asyncio.sleep(seconds)
        print(f"{what}: complete")
    except asyncio.CancelledError:
        print(f"{what}: cancelled, cleaning up")
        await asyncio.sleep(0.1)
        print(f"{what}: clean")
        raise
    return f"<{what}>"


async def fetch(what, seconds, limit):
    start = asyncio.get_running_loop().time()
    try:
        page = await asyncio.wait_for(download(what, seconds), limit)
        print("got", page)
    except TimeoutError:
        print(f"{what}: too late")
    print(f"after {asyncio.get_running_loop().time() - start:.1f} s, limit {limit:.1f} s")


async def leg(number, until):
    try:
        async with asyncio.timeout_at(until):
            await asyncio.sleep(0.2)
            print("leg", number, "in time")
    except TimeoutError:
        print("leg", number, "too late")


async def main():
    await fetch("small", 0.2, 0.5)
    await fetch("large", 9.9, 0.5)

    try:
        async with asyncio.timeout(0.3) as limit:
            await asyncio.sleep(0.2)
            print("first half done, more time please")
            limit.reschedule(limit.when() + 0.2)
            await asyncio.sleep(0.2)
            print("second half done, expired:", limit.expired())
            await asyncio.sleep(9.9)
    except TimeoutError:
        print("the whole block is over")

    until = asyncio.get_running_loop().time() + 0.3
    for number in range(1, 4):
        await leg(number, until)


asyncio.run(main())
