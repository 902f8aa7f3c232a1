/* Exercise 09, solved. The inner `except` sees the limit of one attempt: wait_for raises TimeoutError where it is awaited. The outer
 * limit comes through the inner try as CancelledError, which is no TimeoutError, so the loop cannot mistake it for a slow
 * attempt; only at end_with does it become TimeoutError.
 */
#include "asyncio.h"

async_def(server, (int) attempt)
{
    static const double needs[] = {0.5, 0.4, 0.1};
    await(asyncio_sleep(needs[attempt - 1]));
    return format("answer %d", attempt);
}

async_def(ask, (double) patience)
{
    try {
        async_with (asyncio_timeout(patience)) {
            for (int attempt = 1; attempt <= 3; attempt++) {
                print("attempt", attempt);
                try {
                    return await(asyncio_wait_for(server(attempt), 0.2));
                } except (TimeoutError) {
                    continue;
                } end_try
            }
        } end_with
    } except (TimeoutError) {
    } end_try
    return V("no answer");
}

async_def(main_)
{
    static const double patience[] = {1.0, 0.3};
    for (int i = 0; i < 2; i++) {
        double start = loop_time(asyncio_get_running_loop());
        Value answer = await(ask(patience[i]));
        print(answer, format("after %.1f s", loop_time(asyncio_get_running_loop()) - start));
    }
    return None;
}

int main(void) { asyncio_run(main_()); }
