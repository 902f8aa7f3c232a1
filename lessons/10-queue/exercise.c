/* Exercise 10: a bounded queue, and workers that go home by themselves.
 *
 * A producer makes eight orders, one every 0.05 seconds; two cooks need 0.12 seconds each. The program works, but
 *   - the queue grows without limit if the cooks are slow, and
 *   - the cooks have to be cancelled from outside.
 * It prints
 *
 *     most orders waiting: 2
 *     a: cancelled
 *     b: cancelled
 *     8 orders cooked, 0 left
 *
 * Change it so that
 *   1. at most one order waits: asyncio_Queue(.maxsize = 1). Then queue_put() makes the producer wait: backpressure.
 *   2. the producer says when the kitchen closes: queue_shutdown(orders) after the last order. A cook who then waits at an
 *      empty queue gets QueueShutDown: he catches it, prints "a: going home" and returns. No join, no cancel.
 * Wanted:
 *
 *     most orders waiting: 1
 *     a: going home
 *     b: going home
 *     8 orders cooked, 0 left
 */
#include "asyncio.h"

static int most_waiting, cooked;

async_def(producer, (Queue *) orders)
{
    for (int i = 1; i <= 8; i++) {
        await(queue_put(orders, i));
        if (queue_qsize(orders) > most_waiting) most_waiting = queue_qsize(orders);
        await(asyncio_sleep(0.05));
    }
    print("most orders waiting:", most_waiting);
    /* >>> 2: close the kitchen here */
    return None;
}

async_def(cook, (const char *) name, (Queue *) orders)
{
    try {
        forever {
            await(queue_get(orders));
            await(asyncio_sleep(0.12));
            cooked++;
            queue_task_done(orders);
        }
    } except (CancelledError) {                         /* >>> 2: another exception, another message */
        print(format("%s: cancelled", name));
    } end_try
    return None;
}

async_def(main_)
{
    Queue *orders = asyncio_Queue();                    /* >>> 1 */
    Task *a = asyncio_create_task(cook("a", orders)), *b = asyncio_create_task(cook("b", orders));
    await(producer(orders));
    await(queue_join(orders));                          /* >>> 2: these three lines are then too many */
    task_cancel(a);
    task_cancel(b);
    await(asyncio_gather(a, b));
    print(format("%d orders cooked, %d left", cooked, queue_qsize(orders)));
    return None;
}

int main(void) { asyncio_run(main_()); }
