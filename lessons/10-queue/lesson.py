"""Lesson 10: how do three workers share twenty jobs, and when is all done?"""
import asyncio

# The documentation's example draws these at random. Fixed ones make every run the same.
sleeps = [0.10, 0.14, 0.06, 0.26, 0.11, 0.14, 0.15, 0.24, 0.09, 0.22,
          0.06, 0.34, 0.16, 0.14, 0.25, 0.25, 0.33, 0.28, 0.07, 0.26]


async def worker(name, queue):
    while True:
        sleep_for = await queue.get()
        await asyncio.sleep(sleep_for)
        queue.task_done()
        print(f"{name} has slept for {sleep_for:.2f} seconds")


def put_and_get(kind, queue):
    for number in [2, 3, 1]:
        queue.put_nowait(number)
    full = queue.full()
    got = []
    while not queue.empty():
        got.append(queue.get_nowait())
    print(kind, "gives", got, "- was it full?", full)


async def main():
    queue = asyncio.Queue()

    total_sleep_time = 0
    for sleep_for in sleeps:
        total_sleep_time += sleep_for
        queue.put_nowait(sleep_for)

    tasks = []
    for i in range(3):
        tasks.append(asyncio.create_task(worker(f"worker-{i}", queue), name=f"worker-{i}"))

    started_at = asyncio.get_running_loop().time()
    await queue.join()
    total_slept_for = asyncio.get_running_loop().time() - started_at

    for task in tasks:
        task.cancel()
    print(await asyncio.gather(*tasks, return_exceptions=True))

    print("====")
    print(f"3 workers slept in parallel for {total_slept_for:.1f} seconds")
    print(f"total expected sleep time: {total_sleep_time:.2f} seconds")

    put_and_get("Queue", asyncio.Queue())
    put_and_get("LifoQueue", asyncio.LifoQueue())
    put_and_get("PriorityQueue", asyncio.PriorityQueue(maxsize=3))


asyncio.run(main())
