"""Lesson 07: how do you wait for the first of several, or for each as it comes?"""
# needs Python 3.13: for as_completed as an asynchronous iterator
import asyncio


async def runner(name, seconds):
    await asyncio.sleep(seconds)
    return name


def race():
    tasks = []
    for name, seconds in ("snail", 0.5), ("hare", 0.1), ("dog", 0.3):
        tasks.append(asyncio.create_task(runner(name, seconds), name=name))
    return tasks


def show(what, tasks):
    # wait() gives sets, which have no order in Python. In C they are lists in the order given.
    print(what, sorted((task.get_name() for task in tasks), key=["snail", "hare", "dog"].index))


async def main():
    print("the first")
    done, pending = await asyncio.wait(race(), return_when=asyncio.FIRST_COMPLETED)
    show("  done:", done)
    show("  pending:", pending)
    for task in pending:
        task.cancel()
    done, pending = await asyncio.wait(pending)
    show("  now done, cancelled:", done)

    print("at most 0.4 seconds")
    done, pending = await asyncio.wait(race(), timeout=0.4)
    show("  done:", done)
    show("  pending, and still running:", pending)
    print("  the last one, a little later:", await pending.pop())

    print("each as it comes")
    for next_one in asyncio.as_completed(race()):
        print("  ", await next_one)

    print("as they come, the tasks themselves")
    async for task in asyncio.as_completed(race()):
        print("  ", task.get_name(), "gave", await task)


asyncio.run(main())
