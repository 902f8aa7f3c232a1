"""Lesson 14: nobody goes on before all have arrived."""
import asyncio


async def hiker(name, pace, hut):
    for day in range(1, 3):
        await asyncio.sleep(pace)
        print(f"day {day}: {name} is at the hut, {hut.n_waiting} wait there")
        place = await hut.wait()
        if place == 0:
            print("        all here; the first to arrive locks up")
    return name


async def late(hut):
    try:
        await hut.wait()
    except asyncio.BrokenBarrierError:
        print("the others have given up")


async def main():
    hut = asyncio.Barrier(3)
    print(await asyncio.gather(hiker("anna", 0.3, hut), hiker("bert", 0.1, hut), hiker("cora", 0.2, hut)))

    waiting = asyncio.create_task(late(hut))
    await asyncio.sleep(0.1)
    print("waiting:", hut.n_waiting, "of", hut.parties)
    await hut.abort()
    await waiting
    print("broken:", hut.broken)
    await hut.reset()
    print("broken after reset:", hut.broken)


asyncio.run(main())
