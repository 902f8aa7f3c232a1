/* Exercise 07: three mirrors, the fastest answer counts.
 *
 * The same file lies on three servers. As it stands the program asks all three and waits for all:
 *
 *     file from paris
 *     0.5 s, 2 servers asked to the end, 0 still at it
 *
 * Take the answer of the first server that answers *well*: tokyo is fast but answers with an error. As soon as you have it, cancel the others and
 * wait until they are really cancelled. Wanted:
 *
 *     tokyo failed: ConnectionError('tokyo is down')
 *     file from berlin
 *     0.2 s, 1 servers asked to the end, 0 still at it
 *
 * asyncio_wait(.return_when = FIRST_COMPLETED) in a loop, while there is something pending; or async_for over asyncio_as_completed.
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
    /* >>> Your change goes here: the first that succeeds, not all. */
    Value results = await(asyncio_gather_list(tasks, .return_exceptions = true));
    return list_get(results, 0);
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
