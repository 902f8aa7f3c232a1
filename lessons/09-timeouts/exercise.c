/* Exercise 09: ask again, with a limit for each attempt and one for everything.
 *
 * The server answers slowly: attempt 1 needs 0.5 s, attempt 2 needs 0.4 s, attempt 3 needs 0.1 s. As it stands ask() waits as
 * long as it takes:
 *
 *     attempt 1
 *     answer 1 after 0.5 s
 *     attempt 1
 *     answer 1 after 0.5 s
 *
 * Wanted: no attempt may take more than 0.2 seconds, then the next one begins. And all attempts together get `patience`
 * seconds; when these are over ask() returns "no answer". The second call of ask() has a patience of 0.3 seconds:
 *
 *     attempt 1
 *     attempt 2
 *     attempt 3
 *     answer 3 after 0.5 s
 *     attempt 1
 *     attempt 2
 *     no answer after 0.3 s
 *
 * You need asyncio_wait_for for the attempt and async_with (asyncio_timeout(patience)) { } end_with around the loop. Which of the
 * two `except (TimeoutError)` sees which timeout? That is the point of the exercise. `return` from inside both is fine. If gcc says that
 * `attempt` "might be clobbered", that is lesson 04: here it is safe, and `volatile int attempt` is right too.
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
    (void)patience;                                     /* >>> yours: the two limits */
    for (int attempt = 1; attempt <= 3; attempt++) {
        print("attempt", attempt);
        return await(server(attempt));
    }
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
