"""Lesson 30: a task begins at the next turn of the loop. What if it began at once? Needs Python 3.13."""
import asyncio

known = []  # what has been fetched before


async def fetch(what):
    print("    fetch begins:", what)
    if what in known:
        return f"{what}, known"
    await asyncio.sleep(0.1)
    known.append(what)
    return f"{what}, from afar"


# A factory is a function that makes the loop's tasks. This one counts them.

made = 0


def counting_factory(loop, coro, **options):
    global made
    made += 1
    print("  task number", made, "is for", coro.__name__)
    return asyncio.Task(coro, loop=loop, **options)


# From Python 3.14 on it is asyncio.create_task(coro, eager_start=True).

def create_eager_task(coro):
    return asyncio.Task(coro, loop=asyncio.get_running_loop(), eager_start=True)


# Who begins at once runs before its creator has gone on.

worker = None


async def work():
    print("    worker is set:", worker is not None)
    print("    current_task() is it:", asyncio.current_task() is worker)


async def main():
    global worker
    loop = asyncio.get_running_loop()

    print("the usual way")
    task = asyncio.create_task(fetch("map"))
    print("  created; done:", task.done())
    print(" ", await task)

    print("eager, and there is nothing to wait for")
    task = create_eager_task(fetch("map"))
    print("  created; done:", task.done(), "- a coroutine is left:", task.get_coro() is not None)
    print(" ", await task)

    print("eager, and it has to wait: from there on it is a task like any other")
    task = create_eager_task(fetch("plan"))
    print("  created; done:", task.done(), "- a coroutine is left:", task.get_coro() is not None)
    print(" ", await task)

    print("all of them: a task factory")
    loop.set_task_factory(asyncio.eager_task_factory)
    all_ = asyncio.gather(fetch("map"), fetch("sea"), fetch("plan"))
    print("  gathered, and nobody has been awaited yet")
    print(" ", await all_)

    print("a factory of our own")
    loop.set_task_factory(counting_factory)
    await asyncio.gather(fetch("map"), fetch("plan"))
    loop.set_task_factory(None)

    print("the price: the next line comes too late")
    worker = asyncio.create_task(work())
    await worker
    worker = None
    worker = create_eager_task(work())
    await worker


asyncio.run(main())
