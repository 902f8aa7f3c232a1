"""Lesson 15: tasks that belong together: all end, or none goes on."""
import asyncio


async def step(name, seconds, failure=None):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print(name, "is cancelled")
        if failure:
            raise failure(f"{name} failed while stopping")
        raise
    if failure:
        raise failure(f"{name} failed")
    print(name, "is done")
    return name


async def with_failures():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(step("plan", 0.1))
            group.create_task(step("dig", 0.2, ValueError))
            group.create_task(step("pump", 0.4, OSError))
            await asyncio.sleep(9)
            print("never printed")
    except* ValueError as errors:
        print("value errors:", errors.exceptions)
    except* OSError as errors:
        print("OS errors:", errors.exceptions)


async def main():
    print("all goes well")
    tasks = []
    async with asyncio.TaskGroup() as group:
        tasks.append(group.create_task(step("plan", 0.2), name="plan"))
        tasks.append(group.create_task(step("build", 0.1), name="build"))
        print("two steps on their way")
    for task in tasks:
        print(task.get_name(), "gave", task.result())

    print("one fails, and one more while it is being stopped")
    await with_failures()

    print("one is not expected")
    try:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(step("dig", 0.1, KeyError))
        except* ValueError as errors:
            print("not this one", errors)
    except ExceptionGroup as group:
        print(group)
        print("inside:", group.exceptions[0])

    print("a group by hand, taken apart")
    cellar = ExceptionGroup("cellar", [ValueError("too deep"), OSError("wet")])
    house = ExceptionGroup("house", [cellar, ValueError("too high")])
    match, rest = house.split(ValueError)
    print("match:", repr(match))
    print("rest:", repr(rest))


asyncio.run(main())
