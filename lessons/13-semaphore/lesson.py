"""Lesson 13: at most two at a time."""
import asyncio

inside = most = start = 0


async def request(number, seconds, connections):
    global inside, most
    async with connections:
        inside += 1
        if inside > most:
            most = inside
        print(f"{asyncio.get_running_loop().time() - start:.1f}  request {number} starts")
        await asyncio.sleep(seconds)
        inside -= 1
    return number


async def main():
    global start
    start = asyncio.get_running_loop().time()
    connections = asyncio.Semaphore(value=2)
    print(await asyncio.gather(request(1, 0.1, connections), request(2, 0.4, connections), request(3, 0.2, connections),
                               request(4, 0.3, connections), request(5, 0.1, connections)))
    print("most at the same time:", most)

    # By hand. A permit that is released goes to who has waited longest.
    await connections.acquire()
    print("one taken, would a second wait?", connections.locked())
    await connections.acquire()
    print("two taken, would a third wait?", connections.locked())
    connections.release()
    connections.release()

    connections.release()
    print("released once too often: nobody notices")
    strict = asyncio.BoundedSemaphore(value=2)
    try:
        strict.release()
    except ValueError as e:
        print("bounded:", e)


asyncio.run(main())
