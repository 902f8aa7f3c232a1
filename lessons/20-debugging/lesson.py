"""Lesson 20: the program hangs, or an error has disappeared. Who waits for whom, and where is it?"""
import asyncio
import sys
import time


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


def block():
    time.sleep(0.06)


async def blocked_loop():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.05
    print("a callback blocks the loop; debug mode:", loop.get_debug())
    loop.call_soon(block)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # what debug mode says about it is on stderr
    loop.set_debug(False)


# A house is built when the permit is there; two families wait to move in.

async def dig(permit):
    return await permit


async def build(permit):
    return await dig(permit)


async def move_in(house):
    return await house


def capture_call_graph(task):
    # What asyncio.capture_call_graph(task) finds, by hand, as there is none before Python 3.14.
    functions, coro = [], task.get_coro()
    while hasattr(coro, "cr_code"):
        functions.insert(0, coro.cr_code.co_name)
        coro = coro.cr_await
    waiting = sorted((each for each in asyncio.all_tasks() if each._fut_waiter is task), key=lambda each: each.get_name())
    return task, functions, [capture_call_graph(each) for each in waiting]


def show_graph(graph, level):
    task, functions, awaited_by = graph
    print(f"{'':{2 + 2 * level}}{task.get_name()} is in", functions)
    for each in awaited_by:
        show_graph(each, level + 1)


async def call_graph():
    print("who awaits whom, from the bottom up")
    permit = asyncio.get_running_loop().create_future()
    house = asyncio.create_task(build(permit), name="house")
    cora = asyncio.create_task(move_in(house), name="cora")
    dora = asyncio.create_task(move_in(house), name="dora")
    await asyncio.sleep(0)
    show_graph(capture_call_graph(house), 0)
    permit.set_result("granted")
    await asyncio.gather(cora, dora)


async def main():
    await lost_errors()
    await blocked_loop()
    await call_graph()

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
