"""Lesson 20: the program hangs, or an error has disappeared. Who waits for whom, and where is it?"""
import asyncio
import sys


async def transfer(from_, to):
    async with from_:
        await asyncio.sleep(0.1)
        async with to:
            print("never printed")


async def forgotten():
    raise ValueError("nobody looks at me")


def report(loop, what):
    print("  handler:", what["message"], "-", repr(what["exception"]))


def show_tasks():
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        if task is asyncio.current_task():
            continue
        innermost = task.get_stack()[-1]
        print("  ", task.get_name(), "stands in", innermost.f_code.co_name)


async def lost_errors():
    asyncio.get_running_loop().set_exception_handler(report)
    print("a task fails and nobody asks")
    asyncio.create_task(forgotten())
    await asyncio.sleep(0.1)
    trouble = OSError("the disk is nearly full")
    asyncio.get_running_loop().call_exception_handler({"message": "a report of our own", "exception": trouble})
    asyncio.get_running_loop().set_exception_handler(None)


async def main():
    await lost_errors()

    print("two tasks wait for each other")
    left, right = asyncio.Lock(), asyncio.Lock()
    anna = asyncio.create_task(transfer(left, right), name="anna")
    bert = asyncio.create_task(transfer(right, left), name="bert")
    await asyncio.sleep(0.2)
    show_tasks()
    print("  left is locked:", left.locked(), "- right is locked:", right.locked())
    anna.print_stack(file=sys.stderr)
    if sys.version_info >= (3, 14):
        asyncio.print_call_graph(anna, file=sys.stderr)
    async with asyncio.timeout(0.5):  # Python would hang here for ever
        await asyncio.gather(anna, bert)


try:
    asyncio.run(main())
except TimeoutError:
    print("deadlock")
