/* Exercise 21: the last lines are lost.
 *
 * A writer collects lines and writes them every 0.3 seconds. main_ says five lines and returns. The last two are never written:
 *
 *     wrote 3 lines
 *     the writer ended as one who was cancelled: True
 *     written: 3 of 5
 *
 * asyncio_run cancels the writer; that is where it can still do something. Wanted:
 *
 *     wrote 3 lines
 *     wrote 2 lines
 *     the writer ended as one who was cancelled: True
 *     written: 5 of 5
 *
 * Writing takes 0.1 seconds and awaits: that is allowed while a task is being cancelled. Do not swallow the cancellation.
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
    forever {                                           /* >>> and when it is cancelled? */
        await(asyncio_sleep(0.3));
        await(write_lines());
    }
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
