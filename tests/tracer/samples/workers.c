/* Three workers share a queue of twenty sleeps. */
#include "asyncio.h"

async_def(worker, (const char *) name, (Queue *) queue) {
    while (true) {
        // Get a "work item" out of the queue.
        Value sleep_for = await(queue_get(queue));

        // Sleep for that long.
        await(asyncio_sleep(as_float(sleep_for)));

        // Notify the queue that the item has been processed.
        queue_task_done(queue);
        print(name, "has slept for", sleep_for, "seconds");
    }
}

async_def(main_) {
    Queue *queue = asyncio_Queue(.maxsize = 0);

    for (int i = 0; i < 20; i++) {
        double sleep_for = 0.05 + (i * 7 % 20) * 0.05;
        queue_put_nowait(queue, V(sleep_for));
    }

    Task *tasks[3];
    for (int i = 0; i < 3; i++) {
        tasks[i] = asyncio_create_task(worker(format("worker-%d", i), queue), .name = format("worker-%d", i));
    }

    double started_at = asyncio_time();
    await(queue_join(queue));
    print("3 workers slept in parallel");

    // Cancel our worker tasks, and wait until all of them are cancelled.
    for (int i = 0; i < 3; i++)
        task_cancel(tasks[i]);
    await(asyncio_gather(tasks[0], tasks[1], tasks[2], .return_exceptions = true));
    return None;
}

int main(void) {
    asyncio_run(main_());
}
