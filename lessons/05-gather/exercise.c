/* Exercise 05: four downloads, one of which fails.
 *
 * As it stands the program fetches one page after the other and gives up at the first failure. It prints
 *
 *     got a
 *     got b
 *     stopped: c is gone
 *     after 0.8 s
 *
 * Change main_() so that all four run at the same time and a failure does not hide the other results. Wanted:
 *
 *     got a
 *     got d
 *     got b
 *     ['<a>', '<b>', RuntimeError('c is gone'), '<d>']
 *     after 0.4 s
 *
 * One call is enough: asyncio_gather with an option. Look it up in asyncio.h.
 */
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

    /* >>> Your change goes between here ... */
    try {
        await(fetch("a", 0.1, false));
        await(fetch("b", 0.4, false));
        await(fetch("c", 0.3, true));
        await(fetch("d", 0.2, false));
    } except (RuntimeError, e) {
        print(format("stopped: %s", as_str(str(e))));
    } end_try
    /* <<< ... and here. */

    print(format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    return None;
}

int main(void) { asyncio_run(main_()); }
