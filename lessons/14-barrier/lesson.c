/* Lesson 14: nobody goes on before all have arrived. */
#include "asyncio.h"

async_def(hiker, (const char *) name, (double) pace, (Barrier *) hut)
{
    for (int day = 1; day <= 2; day++) {
        await(asyncio_sleep(pace));
        print(format("day %d: %s is at the hut, %d wait there", day, name, barrier_n_waiting(hut)));
        int64_t place = as_int(await(barrier_wait(hut)));
        if (place == 0) print("        all here; the first to arrive locks up");
    }
    return V(name);
}

async_def(late, (Barrier *) hut)
{
    try {
        await(barrier_wait(hut));
    } except (BrokenBarrierError) {
        print("the others have given up");
    } end_try
    return None;
}

async_def(main_)
{
    Barrier *hut = asyncio_Barrier(3);
    print(await(asyncio_gather(
        hiker("anna", 0.3, hut),
        hiker("bert", 0.1, hut),
        hiker("cora", 0.2, hut))));

    Task *waiting = asyncio_create_task(late(hut));
    await(asyncio_sleep(0.1));
    print("waiting:", barrier_n_waiting(hut), "of", barrier_parties(hut));
    await(barrier_abort(hut));
    await(waiting);
    print("broken:", barrier_broken(hut));
    await(barrier_reset(hut));
    print("broken after reset:", barrier_broken(hut));
    return None;
}

int main(void) { asyncio_run(main_()); }
