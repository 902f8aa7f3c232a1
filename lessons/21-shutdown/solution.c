/* Exercise 21, solved. A finally would do too. What the writer must not do is go on collecting: after the last lines it lets the cancellation
 * take its course.
 */
#include "asyncio.h"

static int waiting, written;

async_def(write_lines)
{
    int lines = waiting;
    waiting = 0;
    await(asyncio_sleep(0.1));
    written += lines;
    print("wrote", lines, "lines");
    return None;
}

async_def(writer)
{
    try {
        forever {
            await(asyncio_sleep(0.3));
            await(write_lines());
        }
    } except (CancelledError) {
        await(write_lines());
        rethrow;
    } end_try
    return None;
}

static void ended(Future *task, Value unused)
{
    (void)unused;
    print("the writer ended as one who was cancelled:", future_cancelled(task));
}

async_def(main_)
{
    task_add_done_callback(asyncio_create_task(writer()), ended);
    for (int i = 1; i <= 5; i++) {
        await(asyncio_sleep(i == 4 ? 0.2 : 0.08));
        waiting++;
    }
    return None;
}

int main(void)
{
    asyncio_run(main_());
    print(format("written: %d of 5", written));
}
