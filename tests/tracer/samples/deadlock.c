/* Two locks, taken in different order, and one who waits for what nobody puts. */
#include "asyncio.h"

async_def(transfer, (Lock *) from, (Lock *) to) {
    async_with (_, from) {
        await(asyncio_sleep(0.1));
        async_with (_, to)
            print("done");
        end_with
    } end_with
    return None;
}

async_def(auditor, (Queue *) queue) {
    print(await(queue_get(queue)));
    return None;
}

async_def(main_) {
    Lock *a = asyncio_Lock(), *b = asyncio_Lock();
    Queue *queue = asyncio_Queue();
    Task *there = asyncio_create_task(transfer(a, b), .name = "there");
    Task *back = asyncio_create_task(transfer(b, a), .name = "back");
    await(asyncio_gather(there, back, auditor(queue)));
    return None;
}

int main(void) { asyncio_run(main_()); }
