/* Exercise 10, solved. maxsize makes the producer wait for the cooks; shutdown() lets the cooks finish what is in the queue and tells
 * them at the first get() that can give nothing any more. The order in which they hear it is that of their waiting.
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
    queue_shutdown(orders);
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
    } except (QueueShutDown) {
        print(format("%s: going home", name));
    } end_try
    return None;
}

async_def(main_)
{
    Queue *orders = asyncio_Queue(.maxsize = 1);
    Task *a = asyncio_create_task(cook("a", orders)), *b = asyncio_create_task(cook("b", orders));
    await(producer(orders));
    await(asyncio_gather(a, b));
    print(format("%d orders cooked, %d left", cooked, queue_qsize(orders)));
    return None;
}

int main(void) { asyncio_run(main_()); }
