/* Exercise 17: a stopwatch around a block.
 *
 * Somebody measures by hand, and forgets the end when something fails:
 *
 *     breakfast...
 *     breakfast took 0.2 s
 *     washing up...
 *     broken plate
 *
 * Write a context manager `stopwatch` as a generator (async_gen with one yield) and use it in both blocks, so that the time is always told:
 *
 *     breakfast...
 *     breakfast took 0.2 s
 *     washing up...
 *     washing up took 0.1 s
 *     broken plate
 *
 * What has to stand around the yield?
 */
#include "asyncio.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }

/* >>> async_gen(stopwatch, (const char *) what) { ... } */

async_def(main_)
{
    /* >>> async_with (asyncio_contextmanager(stopwatch("breakfast"))) { ... } end_with */
    double start = now();
    print("breakfast...");
    await(asyncio_sleep(0.2));
    print(format("breakfast took %.1f s", now() - start));

    try {
        start = now();
        print("washing up...");
        await(asyncio_sleep(0.1));
        throw(RuntimeError, "broken plate");
        print(format("washing up took %.1f s", now() - start));
    } except (RuntimeError, e) {
        print(e);
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
