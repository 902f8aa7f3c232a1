/* Exercise 02: breakfast takes too long.
 *
 * The toast must be toasted before it is buttered; the coffee needs nobody. The program takes 0.9 seconds:
 *
 *     coffee is ready
 *     toast is ready
 *     butter is ready
 *     breakfast after 0.9 s
 *
 * Make a task of whatever need not wait for the rest, and of nothing else. Wanted:
 *
 *     toast is ready
 *     coffee is ready
 *     butter is ready
 *     breakfast after 0.5 s
 *
 * Hint: only one create_task. Where do you await it?
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

    /* >>> Your change goes between here ... */
    await(make("coffee", 0.4));
    await(make("toast", 0.3));
    await(make("butter", 0.2));
    /* <<< ... and here. */

    print(format("breakfast after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
