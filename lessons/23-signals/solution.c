/* Exercise 23, solved. Both handlers run in the loop while the writer sleeps. The second cancels it, and the cancellation does at the
 * writer's await what it always does: the finally runs.
 */
#include "asyncio.h"
#include <signal.h>

static int lines;

async_def(writer)
{
    try {
        forever {
            await(asyncio_sleep(0.05));
            print("line", ++lines);
            if (lines == 2) raise(SIGHUP);
            if (lines == 4) raise(SIGTERM);
        }
    } finally {
        print("saved", lines, "lines");
    } end_try
    return None;
}

static void on_status(Value unused)
{
    (void)unused;
    print("status:", lines, "lines, none saved");
}

static void on_stop(Value task)
{
    print("asked to stop");
    task_cancel(as_task(task));
}

async_def(main_)
{
    Loop *loop = asyncio_get_running_loop();
    Task *task = asyncio_create_task(writer());
    loop_add_signal_handler(loop, SIGHUP, on_status);
    loop_add_signal_handler(loop, SIGTERM, on_stop, .arg = V(task));
    try {
        await(task);
    } except (CancelledError) {
        print("the end");
    } end_try
    return None;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    asyncio_run(main_());
}
