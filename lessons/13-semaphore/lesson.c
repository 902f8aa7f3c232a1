/* Lesson 13: at most two at a time. */
#include "asyncio.h"

static int inside, most;
static double start;

async_def(request, (int) number, (double) seconds, (Semaphore *) connections)
{
    async_with (connections) {
        inside++;
        if (inside > most) most = inside;
        print(format("%.1f  request %d starts", loop_time(asyncio_get_running_loop()) - start, number));
        await(asyncio_sleep(seconds));
        inside--;
    } end_with
    return V(number);
}

async_def(main_)
{
    start = loop_time(asyncio_get_running_loop());
    Semaphore *connections = asyncio_Semaphore(.value = 2);
    print(await(asyncio_gather(
        request(1, 0.1, connections),
        request(2, 0.4, connections),
        request(3, 0.2, connections),
        request(4, 0.3, connections),
        request(5, 0.1, connections))));
    print("most at the same time:", most);

    /* By hand. A permit that is released goes to who has waited longest. */
    await(semaphore_acquire(connections));
    print("one taken, would a second wait?", semaphore_locked(connections));
    await(semaphore_acquire(connections));
    print("two taken, would a third wait?", semaphore_locked(connections));
    semaphore_release(connections);
    semaphore_release(connections);

    semaphore_release(connections);
    print("released once too often: nobody notices");
    Semaphore *strict = asyncio_BoundedSemaphore(.value = 2);
    try {
        semaphore_release(strict);
    } except (ValueError, e) {
        print("bounded:", e);
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
