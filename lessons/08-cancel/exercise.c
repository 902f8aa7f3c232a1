/* Exercise 08: the task that cannot be stopped.
 *
 * poll() asks a thermometer again and again, whatever happens: it "survives everything". Too much: it survives its cancellation too, and
 * main_ gives up after three attempts:
 *
 *     20 degrees
 *     the thermometer has a hiccup: RuntimeError
 *     22 degrees
 *     the thermometer has a hiccup: CancelledError
 *     the thermometer has a hiccup: CancelledError
 *     the thermometer has a hiccup: CancelledError
 *     after 3 attempts, stopped: False
 *
 * Repair poll() so that it still survives the RuntimeError, says good-bye when it is cancelled, and stops. Wanted:
 *
 *     20 degrees
 *     the thermometer has a hiccup: RuntimeError
 *     22 degrees
 *     switching the thermometer off
 *     after 1 attempts, stopped: True
 *
 * It is one word, and a finally.
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
    for (volatile int i = 1; i <= 6; i++) {
        try {
            print(await(read_thermometer(i)), "degrees");
        } except (BaseException, e) {                   /* >>> this catches too much */
            print("the thermometer has a hiccup:", value_type(e));
        } end_try
    }
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
