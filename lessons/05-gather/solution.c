/* Exercise 05, solved: with .return_exceptions = true an exception is a result like any other. */
#include "asyncio.h"

async_def(fetch, (const char *) page, (double) seconds, (bool) missing)
{
    await(asyncio_sleep(seconds));
    if (missing) throw(RuntimeError, "%s is gone", page);
    print(format("got %s", page));
    return format("<%s>", page);
}

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());
    print(await(asyncio_gather(
        fetch("a", 0.1, false),
        fetch("b", 0.4, false),
        fetch("c", 0.3, true),
        fetch("d", 0.2, false),
        .return_exceptions = true)));
    print(format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
