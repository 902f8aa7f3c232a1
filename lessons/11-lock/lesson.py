"""Lesson 11: one thread, no preemption - and still a race?"""
import asyncio

balance = 0


async def deposit(amount):
    global balance
    seen = balance  # read
    await asyncio.sleep(0.1)  # meanwhile others run
    balance = seen + amount  # write what was true 0.1 s ago


async def safe_deposit(amount, lock):
    async with lock:
        print("in :", amount, "- locked:", lock.locked())
        await deposit(amount)
        print("out:", amount)


async def main():
    global balance
    await asyncio.gather(deposit(10), deposit(20), deposit(30))
    print("without a lock:", balance)

    balance = 0
    lock = asyncio.Lock()
    await asyncio.gather(safe_deposit(10, lock), safe_deposit(20, lock), safe_deposit(30, lock))
    print("with a lock:", balance)

    # A lock is fair: who asked first is served first, and nobody pushes in.
    await lock.acquire()
    first = asyncio.create_task(safe_deposit(1, lock))
    await asyncio.sleep(0)
    lock.release()
    print("released; locked:", lock.locked())
    await lock.acquire()
    print("main_ has it again, after", balance)
    lock.release()
    await first

    # It does not know who holds it: taking it twice waits for oneself.
    await lock.acquire()
    try:
        await asyncio.wait_for(lock.acquire(), 0.2)
    except TimeoutError:
        print("waited for myself")
    lock.release()
    try:
        lock.release()
    except RuntimeError as e:
        print(e)


asyncio.run(main())
