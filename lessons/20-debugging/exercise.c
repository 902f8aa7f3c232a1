/* Exercise 20: find out why it hangs.
 *
 * A pipeline: reader -> lines -> counter -> numbers -> writer. It should print
 *
 *     3
 *     5
 *     4
 *     done
 *
 * but it prints only
 *
 *     3
 *     hangs
 *
 * and, on stderr, who waits for whom. Read that report before you read the code: start at any task and follow "waits for" until you come
 * back to where you were or to somebody who will never do what he is waited for. In two places one line is missing; none
 * is wrong. The second place shows itself only when the first is repaired.
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
    }
    return None;
}

async_def(writer, (Queue *) numbers)
{
    forever {
        print(await(queue_get(numbers)));
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
