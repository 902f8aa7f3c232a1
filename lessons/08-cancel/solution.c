/* Exercise 08, solved. CancelledError is a BaseException but not an Exception, exactly so that `except (Exception)` lets it through. The
 * good-bye stands in a finally: it is said however poll_() ends.
 */
#include "asyncio.h"

async_def(read_thermometer, (int) number)
{
    await(asyncio_sleep(number == 4 ? 9 : 0.1));
    if (number == 2) throw(RuntimeError, "no contact");
    return V(19 + number);
}

async_def(poll_)
{
    try {
        for (volatile int i = 1; i <= 6; i++) {
            try {
                print(await(read_thermometer(i)), "degrees");
            } except (Exception, e) {
                print("the thermometer has a hiccup:", value_type(e));
            } end_try
        }
    } finally {
        print("switching the thermometer off");
    } end_try
    return None;
}

async_def(main_)
{
    Task *polling = asyncio_create_task(poll_());
    await(asyncio_sleep(0.45));
    int attempts = 0;
    while (attempts < 3 && !task_done(polling)) {
        task_cancel(polling);
        attempts++;
        await(asyncio_sleep(0.05));
    }
    print(format("after %d attempts, stopped:", attempts), task_cancelled(polling));
    return None;
}

int main(void) { asyncio_run(main_()); }
