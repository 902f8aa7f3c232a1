"""Lesson 08: what does cancel() really do?"""
import asyncio


async def sleeper(name):
    try:
        print(name, "goes to sleep")
        await asyncio.sleep(9)
    except asyncio.CancelledError as e:
        print(name, "was told:", e)
        raise
    finally:
        print(name, "tidies up")


async def stubborn():
    try:
        await asyncio.sleep(9)
    except asyncio.CancelledError:
        print("stubborn swallows it and goes on; requests left:", asyncio.current_task().uncancel())
    await asyncio.sleep(0.1)
    return "finished all the same"


async def save():
    await asyncio.sleep(0.3)
    print("saved")
    return "42 bytes"


async def customer(saving):
    return await asyncio.shield(saving)


async def main():
    print("a request, not an act")
    task = asyncio.create_task(sleeper("anna"))
    await asyncio.sleep(0.1)
    print("cancel() says", task.cancel(msg="time to get up"), "- done?", task.done(), "- requests:", task.cancelling())
    try:
        await task
    except asyncio.CancelledError as e:
        print("await raises it here:", e)
    print("cancelled?", task.cancelled(), "- cancel() again says", task.cancel())

    print("before the first step")
    task = asyncio.create_task(sleeper("bert"))
    task.cancel()
    await asyncio.wait([task])
    print("bert never began; cancelled?", task.cancelled())

    print("swallowed")
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0.1)
    task.cancel()
    print(await task, "- cancelled?", task.cancelled())

    print("shielded")
    saving = asyncio.create_task(save())
    task = asyncio.create_task(customer(saving))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    print("customer cancelled?", task.cancelled(), "- saving done?", saving.done())
    print("saving gave", await saving)


asyncio.run(main())
