/* Exercise 12: busy waiting.
 *
 * A starter fires his pistol after 0.3 seconds, two runners wait for it. It works:
 *
 *     bang
 *     1 runs
 *     2 runs
 *     asked 8 times
 *
 * but each runner wakes up every 0.1 seconds to look at a flag. Give them an Event instead of the flag. Wanted: the same, but
 *
 *     asked 0 times
 *
 * That is half of it; `make exercise` wants the other half too. Make the starter wait until both have said that they are ready, with a Condition
 * or another Event: "on your marks" comes first.
 *
 *     1 is ready
 *     2 is ready
 *     on your marks
 *     bang
 *     1 runs
 *     2 runs
 *     asked 0 times
 *
 * Hint: a Condition and a count; the starter waits for it with condition_wait_for.
 */
#include "asyncio.h"

static bool fired;                                      /* >>> becomes an Event */
static int asked;

async_def(runner, (int) number)
{
    while (!fired) {
        asked++;
        await(asyncio_sleep(0.1));
    }
    print(number, "runs");
    return None;
}

async_def(starter)
{
    await(asyncio_sleep(0.35));
    print("bang");
    fired = true;
    return None;
}

async_def(main_)
{
    await(asyncio_gather(runner(1), runner(2), starter()));
    print("asked", asked, "times");
    return None;
}

int main(void) { asyncio_run(main_()); }
