/* Exercise 20, solved. The report: reader and main_ wait for the counter, the counter waits in queue.join() of the numbers, the writer waits
 * for more numbers. Nobody is left who could call task_done(): the writer should have. When he does, the same is missing in the counter: main_
 * then waits for the lines to be done, while everybody else waits for more of them.
 */
#include "asyncio.h"
#include <string.h>

async_def(reader, (Queue *) lines)
{
    static const char *const words[] = {"one", "three", "four"};
    for (int i = 0; i < 3; i++) await(queue_put(lines, words[i]));
    return None;
}

async_def(counter, (Queue *) lines, (Queue *) numbers)
{
    forever {
        Value line = await(queue_get(lines));
        await(queue_put(numbers, len(line)));
        await(queue_join(numbers));
        queue_task_done(lines);
    }
    return None;
}

async_def(writer, (Queue *) numbers)
{
    forever {
        print(await(queue_get(numbers)));
        queue_task_done(numbers);
    }
    return None;
}

async_def(main_)
{
    Queue *lines = asyncio_Queue(.maxsize = 1), *numbers = asyncio_Queue(.maxsize = 1);
    Task *counting = asyncio_create_task(counter(lines, numbers), .name = "counter");
    Task *writing = asyncio_create_task(writer(numbers), .name = "writer");
    Task *reading = asyncio_create_task(reader(lines), .name = "reader");
    await(reading);
    await(queue_join(lines));
    task_cancel(counting);
    task_cancel(writing);
    print("done");
    return None;
}

int main(void)
{
    try {
        asyncio_run(main_());
    } except (DeadlockError, e) {
        print("hangs");
        fprintf(stderr, "%s\n", as_str(str(e)));
    } end_try
}
