/* Exercise 07, solved. What as_completed gives is the finished task itself, so its failure can be looked at without a try. Cancelling
 * is a request: the gather at the end waits until it has been granted.
 */
#include "asyncio.h"

static int to_the_end;

async_def(ask, (const char *) server, (double) seconds, (bool) works)
{
    await(asyncio_sleep(seconds));
    if (!works) throw(ConnectionError, "%s is down", server);
    to_the_end++;
    return format("file from %s", server);
}

async_def(fastest, (Value) tasks)
{
    Value answer = None;
    async_for (task, asyncio_as_completed(tasks)) {
        Value failure = task_exception(as_task(task));
        if (is_none(failure)) {
            answer = keep(task_result(as_task(task)));
            break;
        }
        print(task_get_name(as_task(task)), "failed:", repr(failure));
    }
    for_in (task, tasks) task_cancel(as_task(task));
    await(asyncio_gather_list(tasks, .return_exceptions = true));
    return answer;
}

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());
    Value tasks = list(asyncio_create_task(ask("paris", 0.5, true), .name = "paris"),
                       asyncio_create_task(ask("tokyo", 0.1, false), .name = "tokyo"),
                       asyncio_create_task(ask("berlin", 0.2, true), .name = "berlin"));
    print(await(fastest(tasks)));
    int still = len(asyncio_all_tasks()) - 1;           /* all but main_'s own */
    print(format("%.1f s, %d servers asked to the end, %d still at it", loop_time(asyncio_get_running_loop()) - start, to_the_end, still));
    return None;
}

int main(void) { asyncio_run(main_()); }
