"""The operations that bench/run measures, on CPython's asyncio: the twin of bench/ours.c.

    cpython.py OPERATION N      does it N times, after a warm-up, and prints the nanoseconds of processor time that each took
"""
import asyncio
import sys
import time


async def nothing():
    pass


# Tasks.

async def yielding(n):
    for _ in range(n):
        await asyncio.sleep(0)


async def bench_switch(n):
    await asyncio.gather(yielding(n // 2), yielding(n // 2))


async def bench_task(n):
    for _ in range(n):
        await asyncio.create_task(nothing())


async def bench_await(n):
    for _ in range(n):
        await nothing()


async def bench_exception(n):
    for _ in range(n):
        try:
            raise ValueError("no")
        except ValueError:
            pass


# The loop: a callback that calls itself soon, n times.

async def bench_call_soon(n):
    loop = asyncio.get_running_loop()
    all_called = loop.create_future()

    def called():
        nonlocal n
        n -= 1
        if n:
            loop.call_soon(called)
        else:
            all_called.set_result(None)

    loop.call_soon(called)
    await all_called


# Queues.

async def producing(queue, n):
    for i in range(n):
        await queue.put(i)


async def consuming(queue, n):
    for _ in range(n):
        await queue.get()


async def through_queue(size, n):
    queue = asyncio.Queue(size)
    await asyncio.gather(producing(queue, n), consuming(queue, n))


async def bench_queue_1(n):
    await through_queue(1, n)


async def bench_queue_100(n):
    await through_queue(100, n)


# Synchronisation: two tasks that hand something to and fro, n times in all.

async def holding(lock, n):
    for _ in range(n):
        async with lock:
            await asyncio.sleep(0)


async def bench_lock(n):
    lock = asyncio.Lock()
    await asyncio.gather(holding(lock, n // 2), holding(lock, n // 2))


async def bench_semaphore(n):
    semaphore = asyncio.Semaphore(1)
    await asyncio.gather(holding(semaphore, n // 2), holding(semaphore, n // 2))


async def answering(mine, yours, n):
    for _ in range(n):
        yours.set()
        await mine.wait()
        mine.clear()
    yours.set()


async def bench_event(n):
    one, other = asyncio.Event(), asyncio.Event()
    await asyncio.gather(answering(one, other, n // 2), answering(other, one, n // 2))


async def bench_condition(n):
    condition = asyncio.Condition()
    turn = 0

    async def taking_turns(me, n):
        nonlocal turn
        for _ in range(n):
            async with condition:
                while turn != me:
                    await condition.wait()
                turn = 1 - me
                condition.notify()

    await asyncio.gather(taking_turns(0, n // 2), taking_turns(1, n // 2))


async def meeting(barrier, n):
    for _ in range(n):
        await barrier.wait()


async def bench_barrier(n):
    barrier = asyncio.Barrier(2)
    await asyncio.gather(meeting(barrier, n // 2), meeting(barrier, n // 2))


# Waiting.

async def bench_wait_for(n):
    for _ in range(n):
        await asyncio.wait_for(asyncio.sleep(0), 10)


async def bench_timeout(n):
    for _ in range(n):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


async def bench_shield(n):
    for _ in range(n):
        await asyncio.shield(nothing())


async def gathering(children, n):
    for _ in range(0, n, children):
        await asyncio.gather(*[nothing() for _ in range(children)])


async def bench_gather_100(n):
    await gathering(100, n)


async def bench_gather_1000(n):
    await gathering(1000, n)


async def bench_gather_10000(n):
    await gathering(10000, n)


async def bench_taskgroup(n):
    for _ in range(0, n, 100):
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(nothing())


async def bench_as_completed(n):
    for _ in range(0, n, 100):
        for each in asyncio.as_completed([nothing() for _ in range(100)]):
            await each


async def numbers(n):
    for i in range(n):
        yield i


async def bench_generator(n):
    async for _ in numbers(n):
        pass


# n tasks asleep at once, each for 0.5 to 1 second: the processor time of each, and the memory while all of them sleep.

def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def sleepers(n):
    tasks = []
    before = resident_bytes()
    began = time.process_time_ns()
    for i in range(n):
        tasks.append(asyncio.create_task(asyncio.sleep(0.5 + 0.5 * (i * 7919 % n) / n)))
    await asyncio.sleep(0)
    asleep = resident_bytes()
    for task in tasks:
        await task
    print("%.2f %.0f" % ((time.process_time_ns() - began) / n, (asleep - before) / n))


async def measure(operation, n):
    await operation(n // 10)
    began = time.process_time_ns()
    await operation(n)
    print("%.2f" % ((time.process_time_ns() - began) / n))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: cpython.py OPERATION N")
    operation, n = sys.argv[1], int(sys.argv[2])
    asyncio.run(sleepers(n) if operation == "sleepers" else measure(globals()["bench_" + operation], n))
