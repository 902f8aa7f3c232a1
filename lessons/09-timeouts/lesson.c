/* Lesson 09: what happens to a task whose time is up, and to one that makes it? */
#include "asyncio.h"

async_def(download, (const char *) what, (double) seconds)
{
    try {
        print(format("%s: started, needs %.1f s", what, seconds));
        await(asyncio_sleep(seconds));
        print(format("%s: complete", what));
    } except (CancelledError) {
        print(format("%s: cancelled, cleaning up", what));
        await(asyncio_sleep(0.1));
        print(format("%s: clean", what));
        rethrow;
    } end_try
    return format("<%s>", what);
}

async_def(fetch, (const char *) what, (double) seconds, (double) limit)
{
    double start = loop_time(asyncio_get_running_loop());
    try {
        Value page = await(asyncio_wait_for(download(what, seconds), limit));
        print("got", page);
    } except (TimeoutError) {
        print(format("%s: too late", what));
    } end_try
    print(format("after %.1f s, limit %.1f s", loop_time(asyncio_get_running_loop()) - start, limit));
    return None;
}

async_def(leg, (int) number, (double) until)
{
    try {
        async_with (asyncio_timeout_at(until)) {
            await(asyncio_sleep(0.2));
            print("leg", number, "in time");
        } end_with
    } except (TimeoutError) {
        print("leg", number, "too late");
    } end_try
    return None;
}

async_def(main_)
{
    await(fetch("small", 0.2, 0.5));
    await(fetch("large", 9.9, 0.5));

    try {
        async_with (limit, asyncio_timeout(0.3)) {
            await(asyncio_sleep(0.2));
            print("first half done, more time please");
            timeout_reschedule(limit, timeout_when(limit) + 0.2);
            await(asyncio_sleep(0.2));
            print("second half done, expired:", timeout_expired(limit));
            await(asyncio_sleep(9.9));
        } end_with
    } except (TimeoutError) {
        print("the whole block is over");
    } end_try

    double until = loop_time(asyncio_get_running_loop()) + 0.3;
    for (int number = 1; number <= 3; number++) await(leg(number, until));
    return None;
}

int main(void) { asyncio_run(main_()); }
