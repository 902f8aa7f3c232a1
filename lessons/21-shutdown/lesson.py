"""Lesson 21: main returns. What happens to everything that is still running?"""
import asyncio


async def numbers():
    try:
        i = 1
        while True:
            yield i
            i += 1
    finally:
        print("  3. generator: closed")


async def background(name, needs):
    try:
        await asyncio.sleep(9)
    except asyncio.CancelledError:
        await asyncio.sleep(needs)
        print("  2.", name, "was cancelled and has saved its work")
        raise


async def spoiled():
    try:
        await asyncio.sleep(9)
    finally:
        await asyncio.sleep(0.3)
        print("  2. spoiled fails while it is being cancelled")
        raise RuntimeError("disk full")


tasks = []  # in Python somebody must hold a task


def report(loop, what):
    print("  2. handler:", what["message"], "-", repr(what["exception"]))


async def main(kept):
    asyncio.get_running_loop().set_exception_handler(report)
    tasks.append(asyncio.create_task(background("first", 0.1)))
    tasks.append(asyncio.create_task(background("second", 0.2)))
    tasks.append(asyncio.create_task(spoiled()))
    standing = numbers()
    kept.append(standing)  # held from outside, or it would be closed when main returns
    await anext(standing)
    await asyncio.sleep(0.1)
    print("  1. main_ returns")
    return "result"


async def failing():
    tasks.append(asyncio.create_task(background("third", 0.1)))
    await asyncio.sleep(0.1)
    raise ValueError("main_ failed")


async def nested():
    inner = nested()
    try:
        asyncio.run(inner)
    except RuntimeError as e:
        print(" ", e)
    inner.close()


async def count_up(counter):
    counter.append(len(counter))
    return len(counter)


kept = []
print("everything is taken down, in order")
print("  4. asyncio_run gives", asyncio.run(main(kept)))

print("also when main_ fails")
try:
    asyncio.run(failing())
except ValueError as e:
    print("  3. asyncio_run raises", repr(e))

print("one loop at a time")
asyncio.run(nested())

print("by hand: a Runner keeps its loop between runs")
counter = []
runner = asyncio.Runner()
loop = runner.get_loop()
print(" ", runner.run(count_up(counter)), runner.run(count_up(counter)))
runner.close()
print("  closed?", loop.is_closed())
