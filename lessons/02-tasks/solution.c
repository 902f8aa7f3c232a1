/* Exercise 02, solved. The coffee is a task; toast and butter are calls, one after the other, and need no task: somebody is standing there
 * waiting for them anyway. The coffee is awaited last, so that nothing ends before it has.
 */
#include "asyncio.h"

async_def(make, (const char *) what, (double) seconds)
{
    await(asyncio_sleep(seconds));
    print(what, "is ready");
    return None;
}

async_def(main_)
{
    double start = loop_time(asyncio_get_running_loop());

    Task *coffee = asyncio_create_task(make("coffee", 0.4));
    await(make("toast", 0.3));
    await(make("butter", 0.2));
    await(coffee);

    print(format("breakfast after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
