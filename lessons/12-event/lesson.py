"""Lesson 12: how does one task tell others that something has happened?"""
import asyncio


async def guest(name, doors_open):
    print(name, "waits")
    await doors_open.wait()
    print(name, "goes in")


# A kitchen shelf: how many loaves lie on it. Who changes or reads the number holds the condition's lock.
loaves = 0


async def customer(name, wanted, shelf):
    global loaves
    async with shelf:
        await shelf.wait_for(lambda: loaves >= wanted)
        loaves -= wanted
        print(f"{name} takes {wanted}, {loaves} left")


async def baker(shelf):
    global loaves
    for i in range(1, 4):
        await asyncio.sleep(0.1)
        async with shelf:
            loaves += 2
            print("baker brings 2, there are", loaves)
            shelf.notify_all()


async def sleeper(name, bell):
    async with bell:
        await bell.wait()
        print(name, "heard the bell")


async def main():
    print("an event")
    doors_open = asyncio.Event()
    anna = asyncio.create_task(guest("anna", doors_open))
    bert = asyncio.create_task(guest("bert", doors_open))
    await asyncio.sleep(0.1)
    print("is it set?", doors_open.is_set())
    doors_open.set()
    print("set; nobody has gone in yet")
    await asyncio.gather(anna, bert)
    await guest("late cora", doors_open)

    doors_open.clear()
    dora = asyncio.create_task(guest("dora", doors_open))
    await asyncio.sleep(0)
    doors_open.set()
    doors_open.clear()
    await dora

    print("a condition")
    shelf = asyncio.Condition()
    await asyncio.gather(customer("hotel", 3, shelf), customer("child", 1, shelf), customer("widow", 2, shelf), baker(shelf))

    print("some, not all")
    bell = asyncio.Condition()
    sleepers = asyncio.gather(sleeper("emil", bell), sleeper("fritz", bell), sleeper("gerda", bell))
    await asyncio.sleep(0.1)
    await bell.acquire()
    bell.notify()
    print("rung for one; the lock is held:", bell.locked())
    bell.release()
    await asyncio.sleep(0.1)
    async with bell:
        bell.notify(2)
        print("rung for two")
    await sleepers


asyncio.run(main())
