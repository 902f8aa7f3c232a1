/* Exercise 17, solved. The exception of the block is raised at the yield: a finally around it runs in any case. */
#include "asyncio.h"

static double now(void) { return loop_time(asyncio_get_running_loop()); }

async_gen(stopwatch, (const char *) what)
{
    double start = now();
    print(format("%s...", what));
    try {
        yield(None);
    } finally {
        print(format("%s took %.1f s", what, now() - start));
    } end_try
    return None;
}

async_def(main_)
{
    async_with (asyncio_contextmanager(stopwatch("breakfast"))) {
        await(asyncio_sleep(0.2));
    } end_with

    try {
        async_with (asyncio_contextmanager(stopwatch("washing up"))) {
            await(asyncio_sleep(0.1));
            throw(RuntimeError, "broken plate");
        } end_with
    } except (RuntimeError, e) {
        print(e);
    } end_try
    return None;
}

int main(void) { asyncio_run(main_()); }
