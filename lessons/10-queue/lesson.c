/* Lesson 10: how do three workers share twenty jobs, and when is all done? */
#include "asyncio.h"

/* The documentation's example draws these at random. Fixed ones make every run the same. */
static const double sleeps[20] = {0.10, 0.14, 0.06, 0.26, 0.11, 0.14, 0.15, 0.24, 0.09, 0.22,
                                  0.06, 0.34, 0.16, 0.14, 0.25, 0.25, 0.33, 0.28, 0.07, 0.26};

async_def(worker, (const char *) name, (Queue *) queue)
{
    forever {
        Value sleep_for = await(queue_get(queue));
        await(asyncio_sleep(as_float(sleep_for)));
        queue_task_done(queue);
        print(format("%s has slept for %.2f seconds", name, as_float(sleep_for)));
    }
    return None;
}

static void put_and_get(const char *kind, Queue *queue)
{
    static const int numbers[] = {2, 3, 1};
    for (int i = 0; i < 3; i++) queue_put_nowait(queue, numbers[i]);
    bool full = queue_full(queue);
    Value got = list();
    while (!queue_empty(queue)) list_append(got, queue_get_nowait(queue));
    print(kind, "gives", got, "- was it full?", full);
}

async_def(main_)
{
    Queue *queue = asyncio_Queue();

    double total_sleep_time = 0;
    for (int i = 0; i < 20; i++) {
        total_sleep_time += sleeps[i];
        queue_put_nowait(queue, sleeps[i]);
    }

    Value tasks = list();
    static const char *const names[] = {"worker-0", "worker-1", "worker-2"};
    for (int i = 0; i < 3; i++)
        list_append(tasks, asyncio_create_task(worker(names[i], queue), .name = names[i]));

    double started_at = loop_time(asyncio_get_running_loop());
    await(queue_join(queue));
    double total_slept_for = loop_time(asyncio_get_running_loop()) - started_at;

    for_in (task, tasks) task_cancel(as_task(task));
    print(await(asyncio_gather_list(tasks, .return_exceptions = true)));

    print("====");
    print(format("3 workers slept in parallel for %.1f seconds", total_slept_for));
    print(format("total expected sleep time: %.2f seconds", total_sleep_time));

    put_and_get("Queue", asyncio_Queue());
    put_and_get("LifoQueue", asyncio_LifoQueue());
    put_and_get("PriorityQueue", asyncio_PriorityQueue(.maxsize = 3));
    return None;
}

int main(void) { asyncio_run(main_()); }
